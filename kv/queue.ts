/**
 * Durable mail, by two transports with one contract (`tests/contracts/queue.ts`).
 *
 * - `MailboxQueue`, the default: records under a mailbox key. Delivered at once in the process that sent
 *   it; a bell key wakes other processes. Works on every Deno KV and under a manual clock.
 * - `NativeQueue`, on request: Deno KV's own queue. Some 50 ms late, silent across processes, and on a
 *   full disk or a damaged file its thread ends the whole process (Deno 2.9), which no caller can catch.
 *
 * A handler takes the key over and returns; what it does with it is its own matter. If it throws, the
 * message comes again after a backoff, and after the last one it is kept among the undelivered. A message
 * whose process died comes again at the next start. Any listener of the database may get a message.
 */

import type { Clock, Timer } from "./clock.ts";
import { ClosedError, type Mail, type Queue } from "./contract.ts";
import type { MailOutlet } from "./committer.ts";
import { MAIL_BELL_KEY, MAIL_PREFIX, mailKey, UNDELIVERED_PREFIX, undeliveredKey } from "./keys.ts";
import {
  MAIL_ACKS_PER_COMMIT,
  MAIL_BACKOFF_MS,
  MAIL_HANDLERS_MAX,
  UNDELIVERED_MAX,
} from "./limits.ts";
import { patiently } from "./patience.ts";
import { checkMail } from "./state.ts";

/** What takes a message over. */
export type MailHandler = (mail: Mail) => void | Promise<void>;

/** A queue that can also put its mail into other commits. */
export interface MailTransport extends Queue, MailOutlet {}

/** A message as stored. */
interface Letter {
  readonly to: string;
  readonly key: string;
  readonly id: string;
  readonly sentMs: number;
  /** Deliveries that failed. */
  readonly failed: number;
}

/** A delivery to be recorded. */
interface Ack {
  readonly key: Deno.KvKey;
  /** Where the message goes that failed, and when it is due there. */
  readonly again?: { key: Deno.KvKey; value: Letter; dueMs?: number };
  resolve(): void;
}

/** What a queue needs. */
export interface QueueOptions {
  kv: Deno.Kv;
  clock: Clock;
  /** Whether other processes listen on the same database (default: true). */
  shared?: boolean;
}

/** Mail by Deno KV's own queue. */
export class NativeQueue implements MailTransport {
  readonly #kv: Deno.Kv;
  readonly #clock: Clock;
  #isListening = false;
  #closed = false;

  constructor(options: QueueOptions) {
    this.#kv = options.kv;
    this.#clock = options.clock;
  }

  attach(op: Deno.AtomicOperation, mail: Mail): void {
    enqueueLetter(op, letterOf(mail, this.#clock), mail.delayMs ?? 0);
  }

  sent(): void {}

  async send(mail: Mail): Promise<void> {
    checkMail(mail);
    if (this.#closed) throw new ClosedError("The queue is closed");
    await sendBy(this, this.#kv, this.#clock, mail);
  }

  listen(handler: MailHandler): void {
    checkFirst(this.#isListening, this.#closed);
    this.#isListening = true;
    this.#kv.listenQueue(async (value: unknown) => {
      // A message that is not ours cannot be told apart later either: it is dropped.
      if (this.#closed || !isLetter(value)) return;
      try {
        await handler({ to: value.to, key: value.key });
      } catch {
        // Done here rather than left to Deno KV, which writes each failure to the terminal.
        await this.#fail(value);
      }
    }).catch(() => {
      // The database is closed.
    });
  }

  undelivered(): Promise<Mail[]> {
    return listUndelivered(this.#kv);
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }

  /** Sends a message again later, or keeps it among the undelivered. */
  async #fail(letter: Letter): Promise<void> {
    const again = { ...letter, failed: letter.failed + 1 };
    const backoffMs = MAIL_BACKOFF_MS[letter.failed];
    const op = this.#kv.atomic();
    if (backoffMs === undefined) op.set(undeliveredKey(letter.sentMs, letter.id), again);
    else enqueueLetter(op, again, backoffMs);
    await op.commit();
  }
}

/** Mail by records. */
export class MailboxQueue implements MailTransport {
  readonly #kv: Deno.Kv;
  readonly #clock: Clock;
  readonly #shared: boolean;
  readonly #underWay: Set<string> = new Set();
  /** Records deleted since the mailbox was last looked at: that look may still see them. */
  readonly #deleted: Set<string> = new Set();
  readonly #closing = new AbortController();
  #acks: Ack[] = [];
  #flushing: Promise<void> | undefined;
  #handler: MailHandler | undefined;
  #passing: Promise<void> | undefined;
  #again = false;
  #timer: Timer | undefined;
  #timerAt = Infinity;
  #bell: ReadableStreamDefaultReader<unknown> | undefined;
  #free: (() => void) | undefined;
  #closed = false;

  constructor(options: QueueOptions) {
    this.#kv = options.kv;
    this.#clock = options.clock;
    this.#shared = options.shared ?? true;
  }

  attach(op: Deno.AtomicOperation, mail: Mail): void {
    const letter = letterOf(mail, this.#clock);
    op.set(mailKey(letter.sentMs + (mail.delayMs ?? 0), letter.id), letter);
    if (this.#shared) op.set(MAIL_BELL_KEY, letter.id);
  }

  sent(mails: readonly Mail[]): void {
    for (const mail of mails) {
      if (mail.delayMs) this.#wakeAt(this.#clock.now() + mail.delayMs);
      else this.#pass();
    }
  }

  async send(mail: Mail): Promise<void> {
    checkMail(mail);
    if (this.#closed) throw new ClosedError("The queue is closed");
    await sendBy(this, this.#kv, this.#clock, mail);
    this.sent([mail]);
  }

  listen(handler: MailHandler): void {
    checkFirst(this.#handler !== undefined, this.#closed);
    this.#handler = handler;
    if (this.#shared) this.#listenToBell();
    this.#pass();
  }

  undelivered(): Promise<Mail[]> {
    return listUndelivered(this.#kv);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#closing.abort();
    this.#timer?.cancel();
    this.#free?.();
    this.#bell?.cancel().catch(() => {});
    await this.#passing;
    await this.#flushing;
  }

  /** Looks at the mailbox now, or once more if it is being looked at. */
  #pass(): void {
    if (this.#handler === undefined || this.#closed) return;
    this.#again = true;
    this.#passing ??= this.#passes().finally(() => {
      this.#passing = undefined;
      if (this.#again) this.#pass();
    });
  }

  async #passes(): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false;
      try {
        await this.#deliverDue();
      } catch {
        // The database cannot be read now: look again in a while.
        if (!this.#closed) this.#wakeAt(this.#clock.now() + MAIL_BACKOFF_MS[1]);
      }
    }
  }

  async #deliverDue(): Promise<void> {
    this.#deleted.clear();
    const entries = this.#kv.list<Letter>({ prefix: MAIL_PREFIX }, { batchSize: 100 });
    for await (const { key, value } of entries) {
      if (this.#closed) return;
      const dueMs = key[1] as number;
      if (dueMs > this.#clock.now()) return this.#wakeAt(dueMs);
      if (this.#underWay.has(value.id) || this.#deleted.has(key.join())) continue;
      while (this.#underWay.size >= MAIL_HANDLERS_MAX && !this.#closed) {
        await new Promise<void>((resolve) => this.#free = resolve);
      }
      this.#underWay.add(value.id);
      void this.#deliver(key, value).finally(() => {
        this.#underWay.delete(value.id);
        this.#free?.();
      });
    }
  }

  async #deliver(key: Deno.KvKey, letter: Letter): Promise<void> {
    let again: Ack["again"];
    try {
      await this.#handler!({ to: letter.to, key: letter.key });
    } catch {
      if (this.#closed) return;
      again = this.#nextTry(letter);
    }
    await new Promise<void>((resolve) => {
      this.#acks.push({ key, again, resolve });
      this.#flushing ??= this.#flush().finally(() => this.#flushing = undefined);
    });
  }

  /** Where a message that failed goes. */
  #nextTry(letter: Letter): Ack["again"] {
    const value = { ...letter, failed: letter.failed + 1 };
    const backoffMs = MAIL_BACKOFF_MS[letter.failed];
    if (backoffMs === undefined) return { key: undeliveredKey(letter.sentMs, letter.id), value };
    const dueMs = this.#clock.now() + backoffMs;
    return { key: mailKey(dueMs, letter.id), value, dueMs };
  }

  /** Records what was delivered: everything that waits in one commit. */
  async #flush(): Promise<void> {
    while (this.#acks.length > 0) {
      const acks = this.#acks.splice(0, MAIL_ACKS_PER_COMMIT);
      const op = this.#kv.atomic();
      for (const { key, again } of acks) {
        op.delete(key);
        if (again !== undefined) op.set(again.key, again.value);
      }
      try {
        await patiently(this.#clock, () => op.commit());
      } catch {
        // Until it is recorded the messages count as under way, and are not delivered again here.
        this.#acks.unshift(...acks);
        if (!await this.#pause(MAIL_BACKOFF_MS[1])) return;
        continue;
      }
      for (const { key, again, resolve } of acks) {
        this.#deleted.add(key.join());
        resolve();
        if (again?.dueMs !== undefined) this.#wakeAt(again.dueMs);
      }
    }
  }

  /** Waits; false when the queue was closed meanwhile. */
  async #pause(ms: number): Promise<boolean> {
    try {
      await this.#clock.sleep(ms, { kind: "background", signal: this.#closing.signal });
    } catch {
      // Closed.
    }
    return !this.#closed;
  }

  #wakeAt(dueMs: number): void {
    if (this.#closed || this.#handler === undefined || dueMs >= this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = dueMs;
    this.#timer = this.#clock.timer("work", Math.max(0, dueMs - this.#clock.now()), () => {
      this.#timerAt = Infinity;
      this.#pass();
    });
  }

  #listenToBell(): void {
    const reader = this.#kv.watch([MAIL_BELL_KEY]).getReader();
    this.#bell = reader as ReadableStreamDefaultReader<unknown>;
    const read = async () => {
      for (;;) {
        const { done } = await reader.read();
        if (done) return;
        this.#pass();
      }
    };
    read().catch(() => {
      // The database is closed.
    });
  }
}

function letterOf(mail: Mail, clock: Clock): Letter {
  return { to: mail.to, key: mail.key, id: clock.uuid(), sentMs: clock.now(), failed: 0 };
}

function enqueueLetter(op: Deno.AtomicOperation, letter: Letter, delayMs: number): void {
  op.enqueue(letter, {
    delay: delayMs,
    backoffSchedule: [...MAIL_BACKOFF_MS],
    keysIfUndelivered: [undeliveredKey(letter.sentMs, letter.id)],
  });
}

/** Sends one message in a commit of its own. */
async function sendBy(outlet: MailOutlet, kv: Deno.Kv, clock: Clock, mail: Mail): Promise<void> {
  await patiently(clock, () => {
    const op = kv.atomic();
    outlet.attach(op, mail);
    return op.commit();
  });
}

function isLetter(value: unknown): value is Letter {
  const letter = value as Letter | null;
  return typeof letter === "object" && letter !== null && typeof letter.to === "string" &&
    typeof letter.key === "string";
}

function checkFirst(isListening: boolean, isClosed: boolean): void {
  if (isClosed) throw new ClosedError("The queue is closed");
  if (isListening) throw new TypeError("Cannot listen twice: a queue has one listener");
}

/** Mail that failed to the end, newest last; older than the newest `UNDELIVERED_MAX` is deleted. */
async function listUndelivered(kv: Deno.Kv): Promise<Mail[]> {
  const entries: Deno.KvEntry<Letter>[] = [];
  for await (const entry of kv.list<Letter>({ prefix: UNDELIVERED_PREFIX })) entries.push(entry);
  const excess = Math.max(0, entries.length - UNDELIVERED_MAX);
  for (const { key } of entries.slice(0, excess)) await kv.delete(key);
  return entries.slice(excess).map(({ value }) => ({ to: value.to, key: value.key }));
}
