/**
 * A KV Connect server (versions 1 to 3 of the protocol) over any Deno KV: what `Deno.openKv("http://…")`
 * speaks. It lets several processes, also on several machines, share one database file, which Deno KV
 * itself only half does (its watches say nothing to other processes), and stands in for the databases of
 * Deno Deploy.
 *
 * A client posts to the URL it was given and learns the version, the endpoint and the token; then it posts
 * messages of Protobuf to three paths below the endpoint:
 *
 * | path | request | answer |
 * | --- | --- | --- |
 * | `snapshot_read` | ranges of keys | entries. Single keys are read together, as of one moment; another range comes alone |
 * | `atomic_write` | checks, mutations | a versionstamp, or that a check failed |
 * | `watch` | keys | a stream of frames (4 bytes length, little-endian): what changed; empty ones keep it alive |
 *
 * Versionstamps are those of the database, so who opened the file itself goes on with them. Queues are not
 * part of the protocol. A refused request is 4xx with the reason as text; the client tells its caller. 5xx
 * makes it try again for ever: that is for a database that fails now and may not in a moment.
 *
 * `deno task kv-server --data FILE [--port 4512] [--host 127.0.0.1]`; the token comes by the environment,
 * DENO_KV_ACCESS_TOKEN, on both sides. It speaks plain HTTP: on a network, put TLS in front of it.
 */

import { timingSafeEqual } from "node:crypto";
import { parseArgs } from "node:util";
import { type Clock, RealClock, type Timer } from "./clock.ts";
import { DatabaseError } from "./contract.ts";
import { keyBytes, keyOf, selectorOf, withByte } from "./key_bytes.ts";
import {
  CONNECT_BODY_BYTES_MAX,
  CONNECT_METADATA_MS,
  CONNECT_PING_MS,
  CONNECT_TOKEN_LENGTH_MIN,
  CONNECT_WATCHES_MAX,
  KV_GET_MANY_MAX,
  KV_LIST_BATCH_MAX,
} from "./limits.ts";
import { isFile, openBackend } from "./open.ts";
import { patiently } from "./patience.ts";
import { Message, message, WireError } from "./protobuf.ts";
import { SEAL_KEY_BYTES } from "./seal.ts";
import { COUNTER_ENCODING, decodeValue, encodeValue } from "./value_bytes.ts";

/** What a server needs. */
export interface ConnectOptions {
  kv: Deno.Kv;
  clock: Clock;
  /** What clients must send. */
  token: string;
  /** Watches at the same time (default `CONNECT_WATCHES_MAX`). */
  watchesMax?: number;
}

/** The databases of one server have one name: a client that knew it may go on after a restart. */
const DATABASE_ID = "00000000-0000-0000-0000-000000000000";
const VERSIONS = [3, 2, 1];

/** Statuses of the protocol. */
const READ_SUCCESS = 1;
const WRITE_SUCCESS = 1;
const WRITE_CHECK_FAILED = 2;

/** Kinds of mutations of the protocol. */
const SET = 1;
const DELETE = 2;
const SUM = 3;
const MAX = 4;
const MIN = 5;

/** A request that is refused. */
class Refusal extends Error {
  readonly status: number;
  constructor(status: number, text: string) {
    super(text);
    this.status = status;
  }
}

/** A KV Connect server as a function of requests. Throws TypeError for a token that is easily guessed. */
export function connectHandler(options: ConnectOptions): (request: Request) => Promise<Response> {
  if (options.token.length < CONNECT_TOKEN_LENGTH_MIN) {
    throw new TypeError(
      `Cannot serve with an access token of ${options.token.length} characters: ` +
        `at least ${CONNECT_TOKEN_LENGTH_MIN} are needed`,
    );
  }
  const server = new ConnectServer(options);
  return async (request) => {
    try {
      return await server.answer(request);
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      const status = error instanceof Refusal
        ? error.status
        : error instanceof WireError || error instanceof TypeError
        ? 400
        : 500;
      return new Response(text, { status, headers: { "content-type": "text/plain" } });
    }
  };
}

class ConnectServer {
  readonly #o: ConnectOptions;
  readonly #token: Uint8Array;
  #watches = 0;

  constructor(options: ConnectOptions) {
    this.#o = options;
    this.#token = new TextEncoder().encode(`Bearer ${options.token}`);
  }

  async answer(request: Request): Promise<Response> {
    if (request.method !== "POST") throw new Refusal(405, "KV Connect is spoken by POST");
    this.#authenticate(request.headers.get("authorization") ?? "");
    const { pathname } = new URL(request.url);
    const call = /\/v([123])\/(\w+)$/.exec(pathname);
    const body = await bodyOf(request);
    if (call === null) return this.#metadata(request, body);
    const [, version, name] = call;
    const { headers } = request;
    const id = headers.get(version === "1" ? "x-transaction-domain-id" : "x-denokv-database-id");
    if (id !== DATABASE_ID) throw new Refusal(400, `There is no database "${id}" here`);
    if (name === "snapshot_read") return protobuf(await this.#read(new Message(body)));
    if (name === "atomic_write") return protobuf(await this.#write(new Message(body)));
    if (name === "watch") return this.#watch(new Message(body));
    throw new Refusal(404, `KV Connect has no "${name}"`);
  }

  #authenticate(given: string): void {
    const bytes = new TextEncoder().encode(given);
    if (bytes.length === this.#token.length && timingSafeEqual(bytes, this.#token)) return;
    throw new Refusal(401, "The access token is wrong: it comes as `authorization: Bearer …`");
  }

  /** Says which version is spoken, and where. */
  #metadata(request: Request, body: Uint8Array): Response {
    let wanted: unknown = [1];
    try {
      if (body.length > 0) {
        wanted = JSON.parse(new TextDecoder().decode(body)).supportedVersions ?? wanted;
      }
    } catch (error) {
      throw new Refusal(400, `The metadata request is not JSON: ${(error as Error).message}`);
    }
    const version = VERSIONS.find((one) => Array.isArray(wanted) && wanted.includes(one));
    if (version === undefined) {
      throw new Refusal(400, "The client supports none of the versions 1 to 3 of KV Connect");
    }
    const path = `${new URL(request.url).pathname.replace(/\/+$/, "")}/v${version}`;
    // The first version knows no relative addresses.
    const url = version === 1 ? new URL(path, request.url).href : path;
    return Response.json({
      version,
      databaseId: DATABASE_ID,
      uuid: DATABASE_ID,
      endpoints: [{ url, consistency: "strong" }],
      token: this.#o.token,
      expiresAt: new Date(this.#o.clock.now() + CONNECT_METADATA_MS).toISOString(),
    });
  }

  async #read(request: Message): Promise<Uint8Array> {
    const ranges = request.messages(1);
    const points = ranges.map(pointOf);
    const lists = points.every((key) => key !== undefined)
      ? (await this.#get(points)).map((entry) => [entry])
      : [await this.#list(ranges)];
    return message({
      1: lists.map((entries) => message({ 1: entries.flatMap(entryBytes) })),
      4: true,
      8: READ_SUCCESS,
    });
  }

  async #get(keys: Deno.KvKey[]): Promise<Deno.KvEntryMaybe<unknown>[]> {
    atMost("keys are read", keys.length, KV_GET_MANY_MAX);
    return await this.#o.kv.getMany(keys);
  }

  async #list(ranges: readonly Message[]): Promise<Deno.KvEntry<unknown>[]> {
    if (ranges.length > 1) {
      throw new Refusal(400, "Ranges of more than one key are read one at a time");
    }
    const [range] = ranges;
    const selector = selectorOf({ start: range.bytes(1), end: range.bytes(2) });
    if (selector === undefined) throw new Refusal(400, "The range is not one of keys of Deno KV");
    const limit = range.number(3);
    if (limit === 0) throw new Refusal(400, "A range is read with a limit");
    atMost("entries are read", limit, KV_LIST_BATCH_MAX);
    const reverse = range.number(4) !== 0;
    // One batch is one read: what it gives is as of one moment.
    const found = this.#o.kv.list(selector, { limit, batchSize: limit, reverse });
    return await Array.fromAsync(found);
  }

  async #write(request: Message): Promise<Uint8Array> {
    if (request.all(3).length > 0) throw new Refusal(400, "KV Connect has no queues");
    const checks = request.messages(1).map((check) => ({
      key: keyIn(check),
      versionstamp: check.maybe(2)?.length ? check.bytes(2).toHex() : null,
    }));
    const mutations = request.messages(2);
    const result = await patiently(this.#o.clock, () => {
      const op = this.#o.kv.atomic().check(...checks);
      for (const mutation of mutations) mutate(op, mutation, this.#o.clock.now());
      return op.commit();
    });
    if (result.ok) {
      return message({ 1: WRITE_SUCCESS, 2: Uint8Array.fromHex(result.versionstamp) });
    }
    const found = await this.#o.kv.getMany(checks.slice(0, KV_GET_MANY_MAX).map(({ key }) => key));
    const failed = found.flatMap(({ versionstamp }, i) =>
      versionstamp === checks[i].versionstamp ? [] : [i]
    );
    // A list of small numbers is their bytes.
    return message({ 1: WRITE_CHECK_FAILED, 4: new Uint8Array(failed) });
  }

  #watch(request: Message): Response {
    const keys = request.messages(1).map(keyIn);
    if (keys.length === 0) throw new Refusal(400, "A watch names keys");
    atMost("keys are watched", keys.length, KV_GET_MANY_MAX);
    const watchesMax = this.#o.watchesMax ?? CONNECT_WATCHES_MAX;
    if (this.#watches >= watchesMax) {
      throw new Refusal(503, `There are ${watchesMax} watches already: no more are allowed`);
    }
    this.#watches++;
    const over = () => this.#watches--;
    return new Response(watchFrames(this.#o.kv.watch(keys), this.#o.clock, over), {
      headers: { "content-type": "application/octet-stream" },
    });
  }
}

async function bodyOf(request: Request): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of request.body ?? []) {
    length += part.length;
    if (length > CONNECT_BODY_BYTES_MAX) {
      throw new Refusal(413, `A request has at most ${CONNECT_BODY_BYTES_MAX} bytes`);
    }
    parts.push(part);
  }
  if (parts.length === 1) return parts[0];
  const body = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    body.set(part, at);
    at += part.length;
  }
  return body;
}

function protobuf(body: Uint8Array): Response {
  return new Response(body as Uint8Array<ArrayBuffer>, {
    headers: { "content-type": "application/x-protobuf" },
  });
}

function atMost(what: string, count: number, max: number): void {
  if (count > max) throw new Refusal(400, `${count} ${what} at once: at most ${max} are allowed`);
}

function keyIn(holder: Message): Deno.KvKey {
  const key = keyOf(holder.bytes(1));
  if (key === undefined || key.length === 0) throw new Refusal(400, "A key is not one of Deno KV");
  return key;
}

/** The key that a range is: from it up to just behind it. */
function pointOf(range: Message): Deno.KvKey | undefined {
  const [start, end] = [range.bytes(1), range.bytes(2)];
  if (end.length !== start.length + 1 || end.at(-1) !== 0) return undefined;
  const key = keyOf(start);
  if (key === undefined || key.length === 0) return undefined;
  return withByte(start, 0).every((byte, i) => byte === end[i]) ? key : undefined;
}

/** An entry as a message; nothing when there is none. */
function entryBytes({ key, value, versionstamp }: Deno.KvEntryMaybe<unknown>): Uint8Array[] {
  if (versionstamp === null) return [];
  const { data, encoding } = encodeValue(value);
  return [message({ 1: keyBytes(key), 2: data, 3: encoding, 4: Uint8Array.fromHex(versionstamp) })];
}

function mutate(op: Deno.AtomicOperation, mutation: Message, now: number): void {
  const key = keyIn(mutation);
  const kind = mutation.number(3);
  if (kind === DELETE) return void op.delete(key);
  const held = new Message(mutation.bytes(2));
  const encoded = { data: held.bytes(1), encoding: held.number(2) };
  if (kind === SET) {
    const expiry = mutation.number(4);
    const options = expiry === 0 ? undefined : { expireIn: Math.max(1, expiry - now) };
    return void op.set(key, decodeValue(encoded), options);
  }
  const add = kind === SUM ? op.sum : kind === MAX ? op.max : kind === MIN ? op.min : undefined;
  if (add === undefined) throw new Refusal(400, `There is no mutation of kind ${kind} here`);
  if (encoded.encoding !== COUNTER_ENCODING || mutation.maybe(5) || mutation.maybe(6)) {
    throw new Refusal(400, "Sums, minima and maxima are of 64-bit counters, without bounds");
  }
  add.call(op, key, (decodeValue(encoded) as Deno.KvU64).value);
}

/** Frames of what a watch tells. */
function watchFrames(
  watch: ReadableStream<Deno.KvEntryMaybe<unknown>[]>,
  clock: Clock,
  over: () => void,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const reader = watch.getReader();
  let ping: Timer | undefined;
  let isOver = false;
  const end = () => {
    if (isOver) return;
    isOver = true;
    ping?.cancel();
    over();
    // A client that is gone and a database that is closed end the same way.
    reader.cancel().catch(() => undefined);
  };
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      const keepAlive = () => {
        ping = clock.timer("background", CONNECT_PING_MS, () => {
          if ((controller.desiredSize ?? 0) > 0) controller.enqueue(frameOf(new Uint8Array()));
          keepAlive();
        });
      };
      keepAlive();
    },
    async pull(controller) {
      try {
        const { done, value: entries } = await reader.read();
        if (isOver) return;
        if (done) {
          end();
          return controller.close();
        }
        // All of them every time: Deno's client forgets an entry that is said to be unchanged.
        const outputs = entries.map((entry) => message({ 1: true, 2: entryBytes(entry)[0] }));
        controller.enqueue(frameOf(message({ 1: READ_SUCCESS, 2: outputs })));
      } catch (error) {
        end();
        controller.error(error);
      }
    },
    cancel: end,
  });
}

function frameOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(4 + bytes.length);
  new DataView(frame.buffer).setUint32(0, bytes.length, true);
  frame.set(bytes, 4);
  return frame;
}

/** A server that listens. */
export interface ListeningServer {
  /** For `Deno.openKv`. */
  readonly url: string;
  close(): Promise<void>;
}

/** Serves a database. Throws where the address cannot be had. */
export function serveConnect(
  options: ConnectOptions & { hostname?: string; port?: number },
): ListeningServer {
  const { hostname = "127.0.0.1", port = 0, ...rest } = options;
  const closing = new AbortController();
  const server = Deno.serve(
    { hostname, port, signal: closing.signal, onListen: () => {} },
    connectHandler(rest),
  );
  const host = server.addr.hostname.includes(":")
    ? `[${server.addr.hostname}]`
    : server.addr.hostname;
  return {
    url: `http://${host}:${server.addr.port}/`,
    close: async () => {
      // Watches never end by themselves.
      closing.abort();
      await server.finished;
    },
  };
}

const HELP = "deno task kv-server --data FILE|:memory: [--port 4512] [--host 127.0.0.1]";

async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      data: { type: "string" },
      port: { type: "string", default: "4512" },
      host: { type: "string", default: "127.0.0.1" },
    },
  });
  const port = Number(values.port);
  if (values.data === undefined || !(Number.isInteger(port) && port >= 0 && port < 65_536)) {
    throw new TypeError(HELP);
  }
  if (!isFile(values.data) && values.data !== ":memory:") {
    throw new TypeError(`Cannot serve "${values.data}": a file or :memory: is served`);
  }
  const token = Deno.env.get("DENO_KV_ACCESS_TOKEN");
  if (!token) throw new TypeError("Set DENO_KV_ACCESS_TOKEN to the token that clients must send");
  const clock = new RealClock();
  const newKey = () => clock.bytes(SEAL_KEY_BYTES);
  const backend = await openBackend(values.data, { owner: true, newKey });
  const server = serveConnect({ kv: backend.kv, clock, token, hostname: values.host, port });
  console.log(`The database "${values.data}" is served at ${server.url}`);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => {
      backend.close();
      Deno.exit(0);
    });
  }
}

if (import.meta.main) {
  try {
    await main(Deno.args);
  } catch (error) {
    const known = error instanceof DatabaseError || error instanceof TypeError ||
      error instanceof Deno.errors.AddrInUse;
    console.error(known ? `kv-server: ${(error as Error).message}` : error);
    Deno.exit(1);
  }
}
