/**
 * Writes Kubernetes Events the way client-go's recorder and correlator do, so that `kubectl describe`
 * reads as it does elsewhere and a loop that repeats itself does not flood the store:
 *
 * - spam: one source may say `EVENT_SPAM_BURST` things about one object at once, then one more every
 *   `EVENT_SPAM_REFILL_MS`; the rest is dropped.
 * - similar: from the tenth different message of the same source, object, type and reason within
 *   `EVENT_SIMILAR_MS` on, they become one Event that begins `(combined from similar events): `.
 * - equal: an Event that was written before is patched with a higher count.
 *
 * Recording never blocks and never fails its caller. What happens while an Event is being written is
 * merged into its next write.
 *
 * Behaviour matched: client-go tools/record (events_cache.go, event.go), v1.36.
 */
import { Memory } from "../../api/machinery/memory.ts";
import { formatTime } from "../../api/machinery/time.ts";
import type { Client } from "../../api/client/contract.ts";
import type { DeepReadonly, KubeObject } from "../../api/machinery/types.ts";
import type { Clock, Timer } from "../../kv/clock.ts";
import type { Logger, ObjectRef, Recorder } from "./contract.ts";
import {
  EVENT_MEMORY_MAX,
  EVENT_RETRY_MS,
  EVENT_SIMILAR_MAX,
  EVENT_SIMILAR_MS,
  EVENT_SPAM_BURST,
  EVENT_SPAM_REFILL_MS,
  EVENT_TRIES_MAX,
  EVENT_WRITERS,
  EVENTS_WAITING_MAX,
} from "./limits.ts";

const EVENTS = { group: "", version: "v1", plural: "events" };
const COMBINED = "(combined from similar events): ";

const NANOS_PER_MS = 1_000_000;

/** Where a source's serial numbers begin: two that speak of one object in the same millisecond give two names. */
function firstSerial({ component, host = "" }: RecorderOptions): number {
  let hash = 0x811c9dc5;
  for (const letter of `${component}/${host}`) {
    hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193) >>> 0;
  }
  return hash % NANOS_PER_MS;
}

/** What a recorder is built from. */
export interface RecorderOptions {
  client: Client;
  clock: Clock;
  log: Logger;
  /** `source.component` and `reportingComponent`. */
  component: string;
  /** `source.host` and `reportingInstance`. */
  host?: string;
}

/** An Event that was said: what it looks like now, and what of that is written. */
interface Entry {
  key: string;
  event: KubeObject;
  /** The server has it, under this name. */
  written: boolean;
  queued: boolean;
  writing: boolean;
  tries: number;
}

/** See the module's text. */
export class EventRecorder implements Recorder {
  readonly #options: RecorderOptions;
  readonly #spam = new Memory<{ tokens: number; at: number }>(EVENT_MEMORY_MAX);
  readonly #similar = new Memory<{ messages: Set<string>; at: number }>(EVENT_MEMORY_MAX);
  readonly #entries = new Memory<Entry>(EVENT_MEMORY_MAX);
  readonly #queue: Entry[] = [];
  readonly #retries = new Set<Timer>();
  #writers = 0;
  #serial: number;
  #stopped = false;
  #idle: (() => void)[] = [];

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#serial = firstSerial(options);
  }

  /** Events are on their way to the server. */
  get busy(): boolean {
    return this.#writers > 0;
  }

  event(
    object: DeepReadonly<KubeObject> | ObjectRef,
    type: "Normal" | "Warning",
    reason: string,
    message: string,
    options: { action?: string; related?: ObjectRef } = {},
  ): void {
    if (this.#stopped) return;
    const regarding = referenceTo(object);
    const now = this.#options.clock.now();
    const { kind, namespace = "", name, uid = "", apiVersion = "", fieldPath = "" } = regarding;
    const subject = `${kind}\n${namespace}\n${name}\n${uid}\n${apiVersion}`;
    if (this.#isSpam(subject, now)) return;
    const group = `${subject}\n${type}\n${reason}`;
    let key = `${group}\n${fieldPath}\n${message}`;
    if (this.#isSimilar(group, message, now)) {
      key = group;
      message = COMBINED + message;
    }
    const at = formatTime(now);
    const known = this.#entries.get(key);
    if (known) {
      known.event = {
        ...known.event,
        message,
        count: known.event.count + 1,
        lastTimestamp: at,
      };
      this.#enqueue(known);
      return;
    }
    const event = this.#make(regarding, { type, reason, message, at, now, ...options });
    const entry: Entry = { key, event, written: false, queued: false, writing: false, tries: 0 };
    if (this.#queue.length >= EVENTS_WAITING_MAX) return;
    this.#entries.set(key, entry);
    this.#enqueue(entry);
  }

  /** Waits for the writes under way; nothing is recorded any more. */
  stop(): Promise<void> {
    this.#stopped = true;
    this.#queue.length = 0;
    for (const timer of this.#retries) timer.cancel();
    this.#retries.clear();
    if (this.#writers === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #isSpam(subject: string, now: number): boolean {
    const bucket = this.#spam.get(subject);
    if (!bucket) {
      this.#spam.set(subject, { tokens: EVENT_SPAM_BURST - 1, at: now });
      return false;
    }
    const refill = (now - bucket.at) / EVENT_SPAM_REFILL_MS;
    bucket.tokens = Math.min(EVENT_SPAM_BURST, bucket.tokens + refill);
    bucket.at = now;
    if (bucket.tokens < 1) return true;
    bucket.tokens--;
    return false;
  }

  #isSimilar(group: string, message: string, now: number): boolean {
    let record = this.#similar.get(group);
    if (!record || now - record.at > EVENT_SIMILAR_MS) {
      record = { messages: new Set(), at: now };
      this.#similar.set(group, record);
    }
    record.at = now;
    record.messages.add(message);
    if (record.messages.size < EVENT_SIMILAR_MAX) return false;
    // One is let go, so that the set stays bounded while the storm lasts.
    record.messages.delete(record.messages.values().next().value!);
    return true;
  }

  #make(
    regarding: ObjectRef,
    said: {
      type: string;
      reason: string;
      message: string;
      at: string;
      now: number;
      action?: string;
      related?: ObjectRef;
    },
  ): KubeObject {
    const { component, host } = this.#options;
    // Nanoseconds in upstream's names; the serial number stands for those a clock here does not have.
    const nanos = BigInt(said.now) * 1_000_000n + BigInt(this.#serial++ % NANOS_PER_MS);
    const event: KubeObject = {
      apiVersion: "v1",
      kind: "Event",
      metadata: {
        name: `${regarding.name.slice(0, 236)}.${nanos.toString(16)}`,
        namespace: regarding.namespace || "default",
      } as KubeObject["metadata"],
      involvedObject: regarding,
      reason: said.reason,
      message: said.message,
      source: host ? { component, host } : { component },
      firstTimestamp: said.at,
      lastTimestamp: said.at,
      count: 1,
      type: said.type,
      reportingComponent: component,
      reportingInstance: host ?? "",
    };
    if (said.action) event.action = said.action;
    if (said.related) event.related = said.related;
    return event;
  }

  #enqueue(entry: Entry): void {
    if (entry.queued) return;
    entry.queued = true;
    if (entry.writing) return; // Its writer takes it up again.
    this.#queue.push(entry);
    if (this.#writers < EVENT_WRITERS) void this.#work();
  }

  async #work(): Promise<void> {
    this.#writers++;
    for (let entry = this.#queue.shift(); entry; entry = this.#queue.shift()) {
      entry.writing = true;
      while (entry.queued && !this.#stopped) {
        entry.queued = false;
        await this.#write(entry);
      }
      entry.writing = false;
    }
    this.#writers--;
    if (this.#writers === 0) { for (const resolve of this.#idle.splice(0)) resolve(); }
  }

  /** Writes an entry as it stands. Failures that may pass are tried again later. */
  async #write(entry: Entry): Promise<void> {
    const { client, log } = this.#options;
    const { namespace, name } = entry.event.metadata;
    const { count, lastTimestamp, message } = entry.event;
    try {
      if (entry.written) {
        try {
          await client.patch({ resource: EVENTS, namespace, name }, {
            type: "strategic",
            body: { count, lastTimestamp, message },
          });
          entry.tries = 0;
          return;
        } catch (error) {
          // It expired: say it anew.
          if ((error as { code?: number }).code !== 404) throw error;
        }
      }
      await client.create({ resource: EVENTS, namespace }, entry.event);
      entry.written = true;
      entry.tries = 0;
    } catch (error) {
      const code = (error as { code?: number }).code;
      if (code !== undefined && code >= 400 && code < 500 && code !== 429) {
        if (code === 409) entry.written = true;
        log("debug", "event refused", { event: name, error: String(error) });
        return;
      }
      if (++entry.tries >= EVENT_TRIES_MAX || this.#stopped) {
        log("warn", "event given up", { event: name, error: String(error) });
        return;
      }
      const timer: Timer = this.#options.clock.timer("background", EVENT_RETRY_MS, () => {
        this.#retries.delete(timer);
        this.#enqueue(entry);
      });
      this.#retries.add(timer);
    }
  }
}

/** The reference an Event carries: an object's, or one that was made by hand. */
export function referenceTo(object: DeepReadonly<KubeObject> | ObjectRef): ObjectRef {
  const { metadata } = object as DeepReadonly<KubeObject>;
  if (!metadata) return object as ObjectRef;
  const { apiVersion, kind } = object;
  const reference: ObjectRef = { kind, name: metadata.name, uid: metadata.uid, apiVersion };
  if (metadata.namespace) reference.namespace = metadata.namespace;
  if (metadata.resourceVersion) reference.resourceVersion = metadata.resourceVersion;
  return reference;
}
