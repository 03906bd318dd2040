/**
 * Connections between processes of one database that cannot reach one another otherwise: messages are records, which the
 * other side reads, hands over in order and deletes. Slow and dear beside a socket, and always there.
 *
 * - A message is cut into records of `LINK_PIECE_BYTES`; what waits to be sent goes in one commit, with a bell for the
 *   other side.
 * - Who sends waits while `LINK_UNREAD_MAX` of its records may be unread: what is read is deleted, so it looks for its
 *   oldest one. What nobody has read is deleted with its reader (`processes.ts`); not every database lets keys expire.
 */

import type { Clock } from "./clock.ts";
import type { Link } from "./contract.ts";
import { linkBellKey, linkKey, linkPrefix } from "./keys.ts";
import { GROUP_BYTES_WANTED, LINK_LOOK_MS, LINK_PIECE_BYTES, LINK_UNREAD_MAX } from "./limits.ts";
import { patiently } from "./patience.ts";

/** What a record is: the first byte of it. */
const PART = 0;
const WHOLE = 1;
const OPENS = 2;
const ENDS = 3;

/** Takes a connection that another process opens; `subject` is what it asks for. */
export type LinkHandler = (subject: string, link: Link) => void;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** See the module's text. */
export class Links {
  readonly #kv: Deno.Kv;
  readonly #clock: Clock;
  readonly #holder: string;
  readonly #open = new Map<string, RecordLink>();
  #handler: LinkHandler | undefined;
  #bell: ReadableStreamDefaultReader<unknown> | undefined;
  #reading: Promise<void> | undefined;
  #again = false;
  #closed = false;

  constructor({ kv, clock, holder }: { kv: Deno.Kv; clock: Clock; holder: string }) {
    this.#kv = kv;
    this.#clock = clock;
    this.#holder = holder;
  }

  /** Hears of connections that others open, from now on. */
  listen(handler: LinkHandler): void {
    this.#handler = handler;
    this.#listen();
  }

  /** Opens a connection to a process, for a subject. It is open at once; whether anybody is there shows. */
  connect(to: string, subject: string): Link {
    this.#listen();
    const id = this.#clock.uuid();
    const link = this.#make(id, to);
    link.put(OPENS, encoder.encode(JSON.stringify({ from: this.#holder, subject })));
    return link;
  }

  close(): void {
    this.#closed = true;
    for (const link of this.#open.values()) link.end();
    this.#bell?.cancel().catch(() => {});
  }

  #make(id: string, to: string): RecordLink {
    const link = new RecordLink({ kv: this.#kv, clock: this.#clock, to, id });
    this.#open.set(id, link);
    void link.closed.then(() => this.#open.delete(id));
    return link;
  }

  #listen(): void {
    if (this.#bell) return;
    const reader = this.#kv.watch([linkBellKey(this.#holder)]).getReader();
    this.#bell = reader as ReadableStreamDefaultReader<unknown>;
    const read = async () => {
      // The first answer says what is there: records may have come before the watch
      while (!(await reader.read()).done) this.#read();
    };
    read().catch(() => {
      // The database is closed
    });
  }

  #read(): void {
    this.#again = true;
    this.#reading ??= this.#readAll().catch(() => {
      // The database cannot be read now; no sooner than the next bell is it tried again
    }).finally(() => {
      this.#reading = undefined;
      if (this.#again && !this.#closed) this.#read();
    });
  }

  async #readAll(): Promise<void> {
    this.#again = false;
    let op = this.#kv.atomic();
    let count = 0;
    const records = this.#kv.list<Uint8Array>({ prefix: linkPrefix(this.#holder) });
    for await (const { key, value } of records) {
      this.#take(key[2] as string, key[3] as number, value);
      op.delete(key);
      if (++count % LINK_UNREAD_MAX) continue;
      await op.commit();
      op = this.#kv.atomic();
    }
    if (count % LINK_UNREAD_MAX) await op.commit();
  }

  #take(id: string, index: number, record: Uint8Array): void {
    const [what] = record;
    const content = record.subarray(1);
    if (what === OPENS) {
      const { from, subject } = JSON.parse(decoder.decode(content));
      if (this.#handler && !this.#open.has(id)) this.#handler(subject, this.#make(id, from));
      return;
    }
    // One that is over here may still be written to
    this.#open.get(id)?.take(index, what, content);
  }
}

/** A record that waits to be written. */
interface Outgoing {
  readonly record: Uint8Array;
  sent(): void;
}

/** One side of a connection. */
class RecordLink implements Link {
  readonly closed: Promise<void>;
  readonly #o: { kv: Deno.Kv; clock: Clock; to: string; id: string };
  readonly #over: () => void;
  readonly #waiting: Outgoing[] = [];
  readonly #early: Uint8Array[] = [];
  #parts: Uint8Array[] = [];
  #handler: ((data: Uint8Array) => Promise<void> | void) | undefined;
  #work: Promise<void> = Promise.resolve();
  #sending: Promise<void> | undefined;
  #next = 0;
  /** Records of the other side that were taken. */
  #heard = 0;
  /** The oldest of the records sent that may be unread. */
  #oldest = 0;
  #isOver = false;

  constructor(options: { kv: Deno.Kv; clock: Clock; to: string; id: string }) {
    this.#o = options;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#over = resolve;
  }

  async send(data: Uint8Array): Promise<void> {
    let sent: Promise<void> | undefined;
    for (let at = 0; at === 0 || at < data.length; at += LINK_PIECE_BYTES) {
      const isLast = at + LINK_PIECE_BYTES >= data.length;
      sent = this.put(isLast ? WHOLE : PART, data.subarray(at, at + LINK_PIECE_BYTES));
    }
    await sent;
  }

  receive(handler: (data: Uint8Array) => Promise<void> | void): void {
    this.#handler = handler;
    for (const data of this.#early.splice(0)) this.#deal(data);
  }

  close(): void {
    if (this.#isOver) return;
    void this.put(ENDS, new Uint8Array()).finally(() => this.end());
  }

  /** It is over on this side. */
  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const { sent } of this.#waiting.splice(0)) sent();
    this.#over();
  }

  /** A record from the other side. One that could not be deleted comes again. */
  take(index: number, what: number, content: Uint8Array): void {
    if (index < this.#heard) return;
    this.#heard = index + 1;
    if (what === ENDS) return this.end();
    this.#parts.push(content);
    if (what === PART) return;
    const parts = this.#parts;
    this.#parts = [];
    const whole = parts.length === 1 ? parts[0] : joined(parts);
    if (this.#handler) this.#deal(whole);
    else this.#early.push(whole);
  }

  /** Sends a record; resolves when it is written, or the connection is over. */
  put(what: number, content: Uint8Array): Promise<void> {
    if (this.#isOver) return Promise.resolve();
    const record = new Uint8Array(1 + content.length);
    record[0] = what;
    record.set(content, 1);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ record, sent: resolve });
    this.#begin();
    return promise;
  }

  #begin(): void {
    this.#sending ??= this.#send().catch(() => this.end()).finally(() => {
      this.#sending = undefined;
      if (this.#waiting.length > 0 && !this.#isOver) this.#begin();
    });
  }

  #deal(data: Uint8Array): void {
    this.#work = this.#work.then(() => this.#handler!(data)).catch(() => this.close());
  }

  async #send(): Promise<void> {
    const { kv, clock, to, id } = this.#o;
    // What is said in one turn goes together
    await undefined;
    while (this.#waiting.length > 0 && !this.#isOver) {
      await this.#room();
      const group: Outgoing[] = [];
      const op = kv.atomic();
      let bytes = 0;
      while (this.#waiting.length > 0 && group.length < LINK_UNREAD_MAX / 4) {
        bytes += this.#waiting[0].record.length;
        if (bytes > GROUP_BYTES_WANTED && group.length > 0) break;
        const next = this.#waiting.shift()!;
        op.set(linkKey(to, id, this.#next++), next.record);
        group.push(next);
      }
      op.set(linkBellKey(to), clock.uuid());
      await patiently(clock, () => op.commit());
      for (const { sent } of group) sent();
    }
  }

  /** Waits until so many of its records have been read that more may be written. */
  async #room(): Promise<void> {
    const { kv, clock, to, id } = this.#o;
    while (this.#next - this.#oldest >= LINK_UNREAD_MAX / 2 && !this.#isOver) {
      let oldest = this.#next;
      const unread = kv.list({ prefix: linkPrefix(to, id) }, { limit: 1 });
      for await (const { key } of unread) oldest = key[3] as number;
      this.#oldest = oldest;
      if (this.#next - oldest < LINK_UNREAD_MAX / 2) return;
      await clock.sleep(LINK_LOOK_MS, { kind: "background" });
    }
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
