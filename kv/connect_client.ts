/**
 * KV Connect, from the client's side: the same protocol as `Deno.openKv("http://…")`, which see in
 * `connect_server.ts`.
 *
 * Deno's own client sends the head and the body of a request as two packets and waits for the receiver's
 * delayed acknowledgement in between: 44 ms for every commit of more than about 1,000 bytes, which is every
 * object. It also tries what failed for ever, after `close` too, and writes each try to the terminal. This
 * one does neither.
 */

import type { Clock } from "./clock.ts";
import { CONNECT_CALL_MS, CONNECT_FRAME_BYTES_MAX, CONNECT_SILENCE_MS } from "./limits.ts";
import { Message, message } from "./protobuf.ts";
import {
  type ByteCommit,
  type ByteEntry,
  type ByteRead,
  type ByteStore,
  Unreachable,
} from "./remote_kv.ts";

/** Kinds of mutations and statuses of the protocol. */
const SET = 1;
const DELETE = 2;
const SUCCESS = 1;
const CHECK_FAILED = 2;

/** How long before its end what was learned of a server is learned anew. */
const METADATA_MARGIN_MS = 60_000;

interface Metadata {
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly expiresMs: number;
}

/** A store of bytes by KV Connect. Nothing is sent before the first call. */
export class ConnectStore implements ByteStore {
  readonly name: string;
  readonly #url: string;
  readonly #token: string;
  readonly #clock: Clock;
  readonly #closing = new AbortController();
  // Over HTTP/2, Deno's fetch stalls as its KV client does.
  readonly #client = Deno.createHttpClient({ http2: false });
  #metadata: Promise<Metadata> | undefined;

  constructor(options: { url: string; token: string; clock: Clock }) {
    this.#url = options.url;
    this.#token = options.token;
    this.#clock = options.clock;
    this.name = `The database at ${new URL(options.url).host}`;
  }

  async read(ranges: readonly ByteRead[]): Promise<ByteEntry[][]> {
    const answer = await this.#call("snapshot_read", {
      1: ranges.map(({ start, end, limit, reverse }) =>
        message({ 1: start, 2: end, 3: limit, 4: reverse })
      ),
    });
    if (answer.number(2) !== 0 || answer.number(4) === 0) {
      throw this.#unreachable("it cannot read with strong consistency now");
    }
    return answer.messages(1).map((range) => range.messages(1).map(entryOf));
  }

  async commit({ checks, mutations }: ByteCommit): Promise<string | undefined> {
    const answer = await this.#call("atomic_write", {
      1: checks.map(({ key, versionstamp }) =>
        message({ 1: key, 2: versionstamp === null ? undefined : Uint8Array.fromHex(versionstamp) })
      ),
      2: mutations.map(({ key, value }) =>
        value === undefined
          ? message({ 1: key, 3: DELETE })
          : message({ 1: key, 2: message({ 1: value.data, 2: value.encoding }), 3: SET })
      ),
    });
    const status = answer.number(1);
    if (status === SUCCESS) return answer.bytes(2).toHex();
    if (status === CHECK_FAILED) return undefined;
    throw this.#unreachable("it does not take writes now");
  }

  async *watch(
    keys: readonly Uint8Array[],
    signal: AbortSignal,
  ): AsyncGenerator<(ByteEntry | undefined)[]> {
    const request = { 1: keys.map((key) => message({ 1: key })) };
    const hush = new AbortController();
    const response = await this.#inTime((late) =>
      this.#post("watch", request, AbortSignal.any([signal, hush.signal, late]))
    );
    const latest: (ByteEntry | undefined)[] = keys.map(() => undefined);
    for await (const frame of framesOf(this.#partsOf(response, hush))) {
      const output = new Message(frame);
      if (output.number(1) !== SUCCESS) throw this.#unreachable("it cannot be watched now");
      for (const [i, key] of output.messages(2).entries()) {
        if (key.number(1) === 0) continue;
        const entry = key.maybe(2);
        latest[i] = entry && entryOf(new Message(entry));
      }
      yield [...latest];
    }
  }

  close(): void {
    this.#closing.abort(new TypeError("The database is closed"));
    this.#client.close();
  }

  async #call(name: string, request: Parameters<typeof message>[0]): Promise<Message> {
    return await this.#inTime(async (signal) => {
      const response = await this.#post(name, request, signal);
      try {
        return new Message(await response.bytes());
      } catch (error) {
        throw this.#unreachable(textOf(error), error);
      }
    });
  }

  /** Asks for something that is answered soon, or not at all. */
  async #inTime<R>(ask: (signal: AbortSignal) => Promise<R>): Promise<R> {
    const late = new AbortController();
    const timer = this.#clock.timer(
      "background",
      CONNECT_CALL_MS,
      () => late.abort(new Error("it does not answer")),
    );
    try {
      return await ask(late.signal);
    } finally {
      timer.cancel();
    }
  }

  /** Sends a message to a path below the endpoint. */
  async #post(
    name: string,
    request: Parameters<typeof message>[0],
    signal: AbortSignal,
  ): Promise<Response> {
    const metadata = await this.#learned();
    const { headers } = metadata;
    try {
      return await this.#fetch(`${metadata.url}/${name}`, {
        headers: { ...headers, "content-type": "application/x-protobuf" },
        body: message(request),
        signal,
      });
    } catch (error) {
      // What is refused may be refused because it is another server now.
      this.#metadata = undefined;
      throw error;
    }
  }

  #learned(): Promise<Metadata> {
    this.#metadata ??= this.#learn().catch((error) => {
      this.#metadata = undefined;
      throw error;
    });
    return this.#metadata.then((metadata) => {
      if (metadata.expiresMs - METADATA_MARGIN_MS > this.#clock.now()) return metadata;
      this.#metadata = undefined;
      return this.#learned();
    });
  }

  /** Asks which version is spoken, and where. */
  async #learn(): Promise<Metadata> {
    const headers = {
      authorization: `Bearer ${this.#token}`,
      "content-type": "application/json",
    };
    const body = JSON.stringify({ supportedVersions: [2, 3] });
    const { url, metadata } = await this.#inTime(async (signal) => {
      const response = await this.#fetch(this.#url, { headers, body, signal }, false);
      return { url: response.url || this.#url, metadata: await response.json() };
    });
    const { version, databaseId, endpoints, token, expiresAt } = metadata;
    const strong = endpoints?.find?.(({ consistency }: Record<string, string>) =>
      consistency === "strong"
    );
    const expiresMs = Date.parse(expiresAt);
    if (!(version === 2 || version === 3) || strong === undefined || Number.isNaN(expiresMs)) {
      throw new TypeError(`${this.name} does not speak KV Connect of version 2 or 3`);
    }
    return {
      url: new URL(strong.url, url).href.replace(/\/+$/, ""),
      headers: {
        authorization: `Bearer ${token}`,
        "x-denokv-version": String(version),
        "x-denokv-database-id": databaseId,
      },
      // A server with a clock of its own must not keep its clients busy asking.
      expiresMs: Math.max(expiresMs, this.#clock.now() + 2 * METADATA_MARGIN_MS),
    };
  }

  async #fetch(
    url: string,
    init: {
      headers: Record<string, string>;
      body: string | Uint8Array<ArrayBuffer>;
      signal: AbortSignal;
    },
    isSent = true,
  ): Promise<Response> {
    const signal = AbortSignal.any([init.signal, this.#closing.signal]);
    let response: Response;
    try {
      const { headers, body } = init;
      response = await fetch(url, { method: "POST", headers, body, signal, client: this.#client });
    } catch (error) {
      this.#closing.signal.throwIfAborted();
      const text = textOf(error);
      throw this.#unreachable(text, error, isSent && !/tcp connect error/.test(text));
    }
    if (response.ok) return response;
    const text = (await response.text().catch(() => "")).slice(0, 500);
    if (response.status >= 500) throw this.#unreachable(text, undefined, isSent);
    throw new TypeError(`${this.name} refused the request (${response.status}): ${text}`);
  }

  /** The pieces of an answer that goes on. Servers keep it alive: a silent one is gone, and `hush` ends it. */
  async *#partsOf(response: Response, hush: AbortController): AsyncGenerator<Uint8Array> {
    const silence = () =>
      this.#clock.timer(
        "background",
        CONNECT_SILENCE_MS,
        () => hush.abort(new Error("it is silent")),
      );
    let timer = silence();
    try {
      for await (const part of response.body ?? []) {
        timer.cancel();
        timer = silence();
        yield part;
      }
    } catch (error) {
      throw this.#unreachable(textOf(error), error);
    } finally {
      timer.cancel();
    }
  }

  #unreachable(text: string, cause?: unknown, isSent = true): Unreachable {
    return new Unreachable(`${this.name} cannot be reached: ${text}`, { isSent, cause });
  }
}

/** An error in words; those of fetch say what happened in their causes. */
function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${textOf(error.cause)}`;
}

function entryOf(entry: Message): ByteEntry {
  return {
    key: entry.bytes(1),
    value: { data: entry.bytes(2), encoding: entry.number(3) },
    versionstamp: entry.bytes(4).toHex(),
  };
}

/** Frames of a stream: 4 bytes length, little-endian, then as many; empty ones are left out. */
async function* framesOf(parts: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let held = new Uint8Array();
  for await (const part of parts) {
    const joined = new Uint8Array(held.length + part.length);
    joined.set(held);
    joined.set(part, held.length);
    held = joined;
    while (held.length >= 4) {
      const length = new DataView(held.buffer, held.byteOffset).getUint32(0, true);
      if (length > CONNECT_FRAME_BYTES_MAX) {
        throw new TypeError(`A watch sent ${length} bytes at once`);
      }
      if (held.length < 4 + length) break;
      if (length > 0) yield held.subarray(4, 4 + length);
      held = held.subarray(4 + length);
    }
  }
}
