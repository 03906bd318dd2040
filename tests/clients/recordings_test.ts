/**
 * Clients of languages that are not on every machine, by the very bytes that they once sent (`recordings/`, made by
 * `recording.ts`): each request again, in their order, on a connection of its own; the answer must tell what it told the
 * real client. A question is asked again until it is so, since the real client waited as well; everything else is sent once,
 * and only when the watches before it have told what the real client knew then.
 */
import { assertEquals, equal } from "@std/assert";
import { Buffer } from "node:buffer";
import type { Access } from "../e2e/raw_http.ts";
import { Server } from "../e2e/server.ts";
import {
  eventOf,
  fileOf,
  framesOf,
  heardOf,
  RECORDED,
  type Recorded,
  telling,
  unnamed,
} from "./recording.ts";

// deno-lint-ignore no-explicit-any -- whatever JSON the server sends
type Json = any;

const WITHIN_MS = 30_000;

async function until(what: () => string, so: () => Promise<boolean> | boolean): Promise<void> {
  const end = Date.now() + WITHIN_MS;
  while (!await so()) {
    if (Date.now() > end) throw new Error(`not in time: ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A request on a connection of its own, and what comes back on it. */
class Sent {
  status = 0;
  readonly #connection: Deno.TlsConn;
  #received = Buffer.alloc(0);
  #head = 0;
  #ended = false;

  private constructor(connection: Deno.TlsConn) {
    this.#connection = connection;
  }

  static async open(access: Access, row: Recorded, body: string | undefined): Promise<Sent> {
    const { hostname, port, caPem, certificatePem: cert, keyPem: key } = access;
    const alpnProtocols = ["http/1.1"];
    const options = { hostname, port, caCerts: [caPem], cert, key, alpnProtocols };
    const sent = new Sent(await Deno.connectTls(options));
    const payload = Buffer.from(body ?? "", "latin1");
    const length = body === undefined ? [] : [`Content-Length: ${payload.length}`];
    const head = [`${row.request} HTTP/1.1`, `Host: ${hostname}:${port}`, ...row.headers];
    const text = [...head, ...length, "", ""].join("\r\n");
    await sent.write(Buffer.concat([Buffer.from(text, "latin1"), payload]));
    sent.#pump();
    await until(() => `an answer to ${row.request}`, () => sent.#head > 0 || sent.#ended);
    return sent;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#connection.write(bytes.subarray(at));
  }

  async #pump(): Promise<void> {
    const buffer = new Uint8Array(1 << 16);
    for (;;) {
      const read = await this.#connection.read(buffer).catch(() => null);
      if (read === null) break;
      this.#received = Buffer.concat([this.#received, buffer.subarray(0, read)]);
      this.#head ||= this.#endOfHead();
    }
    this.#ended = true;
  }

  #endOfHead(): number {
    const end = this.#received.indexOf("\r\n\r\n");
    if (end < 0) return 0;
    this.status = Number(this.#received.subarray(9, 12).toString());
    return end + 4;
  }

  header(name: string): string {
    const head = this.#received.subarray(0, this.#head).toString("latin1");
    return new RegExp(`^${name}: (.*)\r$`, "im").exec(head)?.[1] ?? "";
  }

  /** What has come after the head, as it is. */
  get stream(): Buffer {
    return this.#received.subarray(this.#head);
  }

  /** The body as far as it has come, and whether that is all. */
  get body(): { text: string; whole: boolean } {
    const { stream } = this;
    if (this.header("transfer-encoding") !== "chunked") {
      return { text: `${stream}`, whole: stream.length >= Number(this.header("content-length")) };
    }
    const parts: Buffer[] = [];
    for (let at = 0;;) {
      const end = stream.indexOf("\r\n", at);
      const size = end < 0 ? NaN : parseInt(stream.subarray(at, end).toString(), 16);
      const whole = size === 0;
      if (whole || !(end + 2 + size + 2 <= stream.length)) {
        return { text: Buffer.concat(parts).toString(), whole };
      }
      parts.push(stream.subarray(end + 2, end + 2 + size));
      at = end + 2 + size + 2;
    }
  }

  async text(): Promise<string> {
    await until(() => "the rest of an answer", () => this.body.whole || this.#ended);
    return this.body.text;
  }

  close(): void {
    this.#connection.close();
  }
}

/** Events that a watch has told so far. */
function eventsOf(watch: Sent): string[] {
  const texts = watch.status === 101
    ? framesOf(watch.stream).map(({ payload }) => `${payload}`)
    : watch.body.text.split("\n").slice(0, -1);
  return texts.map(eventOf);
}

/** A watch that goes on from a list, and the number of the list's request. */
const GOES_ON = /resourceVersion=\{\{(\d+):.*&watch=true|watch=true.*resourceVersion=\{\{(\d+):/;

function listOf({ request }: Recorded): number | undefined {
  const found = GOES_ON.exec(request);
  return found ? Number(found[1] ?? found[2]) : undefined;
}

/**
 * What is ready may be so before its client asked for it: that counts where the client was told so. Where a watch goes on
 * from a list, something may be told by either.
 */
function told(value: Json, ready: boolean, watched: boolean): Json {
  const text = JSON.stringify(value);
  const plain = JSON.parse(ready ? text : text.replaceAll(' ready"', '"'));
  if (watched) delete plain.items;
  return plain;
}

/** Whether a list said what a watch need not tell any more. */
function listed(event: string, list: Json): boolean {
  if (!list) return false;
  const [type, name] = event.split(" ");
  const { items } = telling(JSON.stringify(list));
  if (type === "DELETED") return !items.includes(name) && !items.includes(`${name} ready`);
  return items.includes(`${name} ready`) || (type === "ADDED" && items.includes(name));
}

class Replay {
  readonly #access: Access;
  readonly #answers: Json[] = [];
  readonly #watches: { sent: Sent; row: Recorded; list?: number }[] = [];
  readonly #rows: readonly Recorded[];
  /** Lists that a watch goes on from. */
  readonly #lists: ReadonlySet<number | undefined>;

  constructor(access: Access, rows: readonly Recorded[]) {
    this.#access = access;
    this.#rows = rows;
    this.#lists = new Set(rows.map(listOf));
  }

  async run(): Promise<void> {
    for (const index of this.#rows.keys()) await this.#send(index);
    await this.#caughtUp(Infinity);
    for (const { sent } of this.#watches) sent.close();
  }

  /** Waits until the watches have told what they had told before this request. */
  async #caughtUp(index: number): Promise<void> {
    for (const { sent, row, list } of this.#watches) {
      const due = row.events!.filter(({ at }) => at <= index).map(({ event }) => event);
      const missing = () =>
        due.filter((event) =>
          !eventsOf(sent).includes(event) && !listed(event, this.#answers[list ?? -1])
        );
      await until(() => `${row.request}: ${missing()}`, () => missing().length === 0);
    }
  }

  async #send(index: number): Promise<void> {
    const recorded = this.#rows[index];
    await this.#caughtUp(index);
    const row = { ...recorded, request: unnamed(recorded.request, this.#answers) };
    const body = recorded.body && unnamed(recorded.body, this.#answers);
    if (row.events || row.heard) return await this.#stream(row, listOf(recorded));
    const question = row.request.startsWith("GET ");
    const ready = question && JSON.stringify(row.tells).includes(' ready"');
    const watched = this.#lists.has(index);
    let got: Json;
    let wanted: Json;
    const ask = async () => {
      const sent = await Sent.open(this.#access, row, body);
      const text = await sent.text();
      sent.close();
      this.#answers[index] = text.startsWith("{") ? JSON.parse(text) : undefined;
      const tells = JSON.parse(unnamed(JSON.stringify(row.tells), this.#answers));
      wanted = { status: row.status, type: row.type, tells: told(tells, ready, watched) };
      const type = sent.header("content-type");
      got = { status: sent.status, type, tells: told(telling(text), ready, watched) };
      return equal(got, wanted);
    };
    if (question) await until(() => row.request, ask).catch(() => undefined);
    else await ask();
    assertEquals(got, wanted, row.request);
  }

  async #stream(row: Recorded, list?: number): Promise<void> {
    const sent = await Sent.open(this.#access, row, undefined);
    const type = sent.status === 101 ? "sec-websocket-protocol" : "content-type";
    assertEquals([sent.status, sent.header(type)], [row.status, row.type], row.request);
    if (row.events) {
      this.#watches.push({ sent, row, list });
      return;
    }
    await sent.write(Buffer.from(row.sent!, "base64"));
    const heard = () => heardOf(sent.stream);
    const what = () => `${row.request}: ${JSON.stringify(heard())}`;
    await until(what, () => equal(heard(), row.heard));
    sent.close();
  }
}

for (const [name, client] of Object.entries(RECORDED)) {
  Deno.test(`${client}: what it once sent is answered as it was`, async () => {
    const text = await Deno.readTextFile(fileOf(name));
    const rows: Recorded[] = text.trim().split("\n").map((line) => JSON.parse(line));
    await using server = await Server.start();
    await new Replay(server.access, rows).run();
  });
}
