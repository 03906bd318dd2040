/**
 * A watch as bytes: a stream of events in the representation that was asked for. An event's bytes are made
 * once per representation and shared by all who watch, as long as they are recent.
 */
import type { Item } from "../../kv/contract.ts";
import { joinedBytes } from "../machinery/joined_bytes.ts";
import type { Histogram } from "../machinery/metric_series.ts";
import { ApiError, type Kind, type KubeObject } from "../machinery/types.ts";
import { atRevision, itemJson, served } from "./codec.ts";
import { asApiError, type Deps } from "./deps.ts";
import { Disconnected } from "./http.ts";
import { bookmarkOf } from "./local_client.ts";
import { protobufEvent } from "./parse.ts";
import { type ReplyOptions, transformed } from "./reply.ts";
import type { Frame, FrameStream } from "./request.ts";

/** Encoded events that are remembered for other watchers. */
const SHARED_EVENTS_MAX = 1_024;

/** A kind's encoded events by item; one map per representation and type. */
class SharedEvents {
  #maps = new Map<string, Map<Item<KubeObject>, Uint8Array>>();

  get(form: string, item: Item<KubeObject>): Uint8Array | undefined {
    return this.#maps.get(form)?.get(item);
  }

  set(form: string, item: Item<KubeObject>, bytes: Uint8Array): void {
    let map = this.#maps.get(form);
    if (!map) this.#maps.set(form, map = new Map());
    if (map.size >= SHARED_EVENTS_MAX) {
      // The oldest half goes: a map remembers the order of insertion
      let n = SHARED_EVENTS_MAX / 2;
      for (const key of map.keys()) {
        if (n-- === 0) break;
        map.delete(key);
      }
    }
    map.set(item, bytes);
  }
}

/** By row: another row of a custom resource shows the same item otherwise. */
const shared = new WeakMap<Kind, SharedEvents>();

function sharedOf(kind: Kind): SharedEvents {
  let events = shared.get(kind);
  if (!events) shared.set(kind, events = new SharedEvents());
  return events;
}

/** Encodes a watch's frames. */
export class EventEncoder {
  readonly #deps: Deps;
  readonly #kind: Kind;
  readonly #options: ReplyOptions;
  /** Absent: nobody else is sent the same. */
  readonly #shared: SharedEvents | undefined;
  readonly #sizes: Histogram;
  #headersSent = false;

  constructor(deps: Deps, kind: Kind, options: ReplyOptions) {
    this.#deps = deps;
    this.#kind = kind;
    this.#options = options;
    if (!options.representation.as) this.#shared = sharedOf(kind);
    this.#sizes = deps.watchEvents.of(kind);
  }

  /** One event's bytes, delimiter included. */
  event(frame: Frame): Uint8Array {
    const bytes = this.#event(frame);
    this.#sizes.add(bytes.length);
    return bytes;
  }

  #event(frame: Frame): Uint8Array {
    const { item, type, revision } = frame;
    const shared = this.#shared;
    if (!item || !shared || revision !== item.revision) return this.#encode(frame);
    const form = this.#options.representation.media + type;
    const known = shared.get(form, item);
    if (known) return known;
    const bytes = this.#encode(frame);
    shared.set(form, item, bytes);
    return bytes;
  }

  #encode({ type, item, revision, ...rest }: Frame): Uint8Array {
    const kind = this.#kind;
    const { representation } = this.#options;
    const before = `{"type":"${type}","object":`;
    if (item && !representation.as && representation.media === "json") {
      return itemJson(kind, item, { revision, before, after: "}\n" });
    }
    const object = item
      ? atRevision(served(kind, item), revision)
      : bookmarkOf(kind, { type, revision, ...rest });
    if (!representation.as) {
      return representation.media === "protobuf"
        ? protobufEvent(type, kind, object)
        : lineOf({ type, object });
    }
    const options = { ...this.#options, noHeaders: this.#headersSent };
    this.#headersSent = true;
    const document = transformed(this.#deps, kind, object, options);
    return representation.media === "protobuf"
      ? protobufEvent(type, undefined, document as KubeObject)
      : lineOf({ type, object: document });
  }

  /** The event that ends a watch that cannot go on. */
  error(error: unknown): Uint8Array {
    const { status } = error instanceof ApiError ? error : asApiError(error, this.#kind);
    if (this.#options.representation.media === "protobuf") {
      return protobufEvent("ERROR", undefined, status as unknown as KubeObject);
    }
    return lineOf({ type: "ERROR", object: status });
  }
}

function lineOf(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value) + "\n");
}

/** A watch's events as pieces of a body: what arrives together is sent together. */
export function watchPieces(stream: FrameStream, encoder: EventEncoder): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const pieces = encoded(stream, encoder);
      return {
        next: () => pieces.next(),
        return(value) {
          // A generator that waits for an event returns only after it: the stream must end first
          stream.close();
          return pieces.return(value);
        },
      };
    },
  };
}

async function* encoded(stream: FrameStream, encoder: EventEncoder): AsyncGenerator<Uint8Array> {
  try {
    for await (const frames of stream) {
      if (frames.length === 1) yield encoder.event(frames[0]);
      else yield joinedBytes(frames.map((frame) => encoder.event(frame)));
    }
  } catch (error) {
    if (error instanceof Disconnected) throw error;
    yield encoder.error(error);
  } finally {
    stream.close();
  }
}
