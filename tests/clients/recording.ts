/**
 * Recordings of clients that are not on every machine: what each sent, byte for byte, and what it was told by what came
 * back. `deno run -A tests/clients/recording.ts NAME` runs the client of the table through a proxy and writes
 * `recordings/FILE.jsonl`, an exchange a line; `recordings_test.ts` sends the same again. What differs from run to run is
 * named by where it came from: `{{3:metadata.resourceVersion}}` is that of the fourth exchange's answer.
 */
import { Buffer } from "node:buffer";
import { createAuthority, issueServer } from "../../api/auth/mod.ts";
import { RealClock } from "../../kv/mod.ts";
import { Server } from "../e2e/server.ts";
import { CLIENTS } from "./table.ts";
import { type Exchange, Wire } from "./wire.ts";

// deno-lint-ignore no-explicit-any -- whatever JSON goes over the wire
type Json = any;

/** One exchange. */
export interface Recorded {
  /** `POST /api/v1/namespaces?…`. */
  request: string;
  /** Lines of the head, as they were sent, without Host and Content-Length. */
  headers: string[];
  body?: string;
  status: number;
  /** Content type, or the protocol that was agreed on. */
  type: string;
  /** What the answer says: see `telling`. */
  tells?: Json;
  /** Of a watch: what came, and before which request of the recording. */
  events?: Seen[];
  /** Of a connection that was upgraded: what the client said on it, in base64, and what it heard by channel. */
  sent?: string;
  heard?: Record<string, string>;
}

/** Recorded clients of the table, by their file's name. */
export const RECORDED: Readonly<Record<string, string>> = {
  fabric8: "Java: fabric8, by both of its HTTP clients",
  kube_rs: "Rust: kube",
};

/** The file of a recording. */
export function fileOf(name: string): URL {
  return new URL(`recordings/${name}.jsonl`, import.meta.url);
}

/** A frame, and where it ends in its stream. */
interface Frame {
  payload: Buffer;
  raw: Uint8Array;
  end: number;
}

/** Frames of WebSocket, without what only keeps a connection or ends it; a message is one of them here. */
export function framesOf(stream: Uint8Array): Frame[] {
  const bytes = Buffer.from(stream);
  const frames: Frame[] = [];
  for (let at = 0; at + 2 <= bytes.length;) {
    const from = at;
    const opcode = bytes[at] & 15;
    const masked = bytes[at + 1] >= 128;
    let length = bytes[at + 1] & 127;
    at += 2;
    if (length >= 126) {
      const size = length === 126 ? 2 : 8;
      if (at + size > bytes.length) break;
      length = size === 2 ? bytes.readUInt16BE(at) : Number(bytes.readBigUInt64BE(at));
      at += size;
    }
    const mask = masked ? bytes.subarray(at, at + 4) : undefined;
    at += (masked ? 4 : 0) + length;
    if (at > bytes.length) break;
    const payload = Buffer.from(bytes.subarray(at - length, at));
    if (mask) { for (let i = 0; i < payload.length; i++) payload[i] ^= mask[i % 4]; }
    if (opcode < 8) frames.push({ payload, raw: bytes.subarray(from, at), end: at });
  }
  return frames;
}

/** What a client hears by channel, without times. */
export function heardOf(stream: Uint8Array): Record<string, string> {
  const heard: Record<string, string> = {};
  for (const { payload } of framesOf(stream)) {
    if (payload.length < 2) continue;
    heard[payload[0]] = (heard[payload[0]] ?? "") + payload.subarray(1).toString("latin1");
  }
  for (const channel of Object.keys(heard)) {
    heard[channel] = heard[channel].replace(/date: .*GMT/i, "date");
  }
  return heard;
}

/** An event of a watch, and how many requests had begun when it came. */
export interface Seen {
  at: number;
  event: string;
}

/** Whether an object has become what its client waits for. */
function readyOf({ spec, status, metadata }: Json): boolean {
  const is = (type: string) =>
    status?.conditions?.some((c: Json) => c.type === type && c.status === "True");
  if (status?.readyReplicas !== undefined) {
    return status.readyReplicas === spec?.replicas &&
      status.observedGeneration === metadata.generation;
  }
  return is("Ready") || is("Established");
}

/** What an event says, `TYPE name`; that something changed counts when it became ready. Bookmarks come when they will. */
export function eventOf(text: string): string {
  const { type, object } = JSON.parse(text);
  const name = object.metadata?.name ?? object.reason;
  if (type === "MODIFIED") return readyOf(object) ? `READY ${name}` : "";
  return type === "BOOKMARK" ? "" : `${type} ${name}`;
}

/** Fields that tell when and where, and what other parts of the cluster decide. */
const PASSING = ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"];
/** Kinds that others write to as well: of them only how far they are counts. */
const SHARED = ["Pod", "Deployment", "CustomResourceDefinition", "Scale", "ServiceAccount"];

/** What an answer tells its client: all that it wrote itself; of lists the names. */
export function telling(text: string): Json {
  let json: Json;
  try {
    json = JSON.parse(text);
  } catch {
    return text.slice(0, 200).replaceAll(/\d+\.\d+\.\d+\.\d+/g, "IP");
  }
  const { apiVersion, kind, metadata, status, spec, ...rest } = json;
  if (kind === "Status") {
    const { uid: _, ...details } = rest.details ?? {};
    return { kind, status, reason: rest.reason, code: rest.code, message: rest.message, details };
  }
  if (Array.isArray(rest.items)) {
    const items = rest.items.map((o: Json) => o.metadata?.name + (readyOf(o) ? " ready" : ""));
    const continues = metadata?.continue !== undefined;
    return { apiVersion, kind, items: items.sort(), continues, first: rest.items[0]?.kind };
  }
  if (rest.gitVersion) return { major: rest.major, minor: rest.minor };
  if (kind === "APIResourceList") return { kind, groupVersion: rest.groupVersion };
  const { name, namespace, labels, annotations, ...others } = metadata ?? {};
  if (SHARED.includes(kind)) {
    return { apiVersion, kind, name: name + (readyOf(json) ? " ready" : ""), namespace };
  }
  for (const key of PASSING) delete others[key];
  if (others.deletionTimestamp) others.deletionTimestamp = "a time";
  const managers = (metadata?.managedFields ?? []).map((m: Json) => `${m.manager} ${m.operation}`);
  const kept = { name, namespace, labels, annotations, ...others };
  const owners = [...new Set(managers)].sort();
  return { apiVersion, kind, metadata: kept, managers: owners, spec, status, ...rest };
}

// --- names for what differs -----------------------------------------------------------------------------

/** Where in an answer a value lies that later requests repeat. */
const REPEATED = ["metadata.uid", "metadata.creationTimestamp", "metadata.continue"];

/** The value at a path of names. */
export function valueAt(value: Json, path: string): Json {
  return path.split(".").reduce((inner, key) => inner?.[key], value);
}

function jsonOf(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Names of values of earlier answers in the places of the values. */
class Names {
  /** Value to name: the last answer that had it. */
  readonly #names = new Map<string, string>();
  readonly #versions = new Map<string, string>();

  learn(index: number, method: string, sent: string, answer: Json): void {
    if (typeof answer !== "object" || answer === null) return;
    for (const path of REPEATED) {
      const value = valueAt(answer, path);
      if (typeof value === "string" && value !== "") {
        this.#names.set(value, `{{${index}:${path}}}`);
      }
    }
    const version = answer.metadata?.resourceVersion;
    if (version) this.#versions.set(version, `{{${index}:metadata.resourceVersion}}`);
    const generated = jsonOf(sent)?.metadata?.generateName && method === "POST";
    if (generated) this.#names.set(answer.metadata.name, `{{${index}:metadata.name}}`);
  }

  put(text: string): string {
    for (const [value, name] of this.#names) text = text.replaceAll(value, name);
    return text.replace(
      VERSION,
      (all, before, value) => this.#versions.has(value) ? before + this.#versions.get(value) : all,
    );
  }
}

/** In a query, in an object, and in a JSON patch. */
const VERSION = /(resourceVersion(?:=|"\s*:\s*"|"\s*,\s*"value"\s*:\s*"))(\d+)/g;

/** Values of answers in the places of their names. */
export function unnamed(text: string, answers: readonly Json[]): string {
  return text.replaceAll(/\{\{(\d+):([\w.]+)\}\}/g, (name, index, path) => {
    const value = valueAt(answers[index], path);
    if (value === undefined) throw new Error(`no ${name}`);
    return value;
  });
}

// --- recording -----------------------------------------------------------------------------------------

const DROPPED = /^(host|content-length|connection)$/i;

function headersOf({ rawHeaders, status }: Exchange): string[] {
  const lines: string[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    // What upgrades a connection is its client's, too.
    if (DROPPED.test(rawHeaders[i]) && !(status === 101 && /^connection$/i.test(rawHeaders[i]))) {
      continue;
    }
    lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
  }
  return lines;
}

/** Events of a watch with the request that each came before; later requests have later numbers. */
function seenOf({ status, answer, marks }: Exchange): Seen[] {
  const bytes = Buffer.from(answer, "latin1");
  const texts = status === 101
    ? framesOf(bytes).map(({ payload, end }) => ({ text: payload.toString(), end }))
    : linesOf(bytes);
  return texts.map(({ text, end }) => ({
    event: text === "" ? "" : eventOf(text),
    at: marks.find(([length]) => length >= end)![1],
  })).filter(({ event }) => event !== "");
}

function linesOf(bytes: Buffer): { text: string; end: number }[] {
  const lines = [];
  for (let at = 0, end; (end = bytes.indexOf(10, at) + 1) > 0; at = end) {
    lines.push({ text: bytes.subarray(at, end - 1).toString(), end });
  }
  return lines;
}

function rowOf(exchange: Exchange, names: Names): Recorded {
  const { method, target, status, type, body, answer } = exchange;
  const request = `${method} ${names.put(target)}`;
  const row = { request, headers: headersOf(exchange), status, type };
  if (WATCHES.test(target)) return { ...row, events: seenOf(exchange) };
  if (status === 101) {
    const sent = framesOf(Buffer.from(body, "latin1")).map(({ raw }) => raw);
    const heard = heardOf(Buffer.from(answer, "latin1"));
    return { ...row, sent: Buffer.concat(sent).toString("base64"), heard };
  }
  return { ...row, ...body !== "" && { body: names.put(body) } };
}

const WATCHES = /[?&]watch=(true|1)/;

/** Of the same question again and again the last answer counts; what broke off was asked again. */
function counts(exchange: Exchange, next: Exchange | undefined): boolean {
  const { method, target, status } = exchange;
  if (status === 0) return false;
  return method !== "GET" || method !== next?.method || target !== next.target || status === 101;
}

/** Rows of what went over the wire. */
export function recordingOf(exchanges: readonly Exchange[]): Recorded[] {
  const names = new Names();
  const kept = exchanges.filter((exchange, i) => counts(exchange, exchanges[i + 1]));
  const numbers = exchanges.map((_, i) => kept.filter((e) => exchanges.indexOf(e) < i).length);
  return kept.map((exchange, index) => {
    const row = rowOf(exchange, names);
    for (const seen of row.events ?? []) seen.at = numbers[seen.at] ?? kept.length;
    if (row.events || row.heard) return row;
    const answer = Buffer.from(exchange.answer, "latin1").toString();
    names.learn(index, exchange.method, exchange.body, jsonOf(answer));
    return { ...row, tells: JSON.parse(names.put(JSON.stringify(telling(answer)))) };
  });
}

async function record(name: string): Promise<void> {
  const client = CLIENTS.find((one) => one.name === RECORDED[name]);
  if (!client) throw new TypeError(`Cannot record "${name}": one of ${Object.keys(RECORDED)}`);
  await client.make?.();
  const folder = await Deno.makeTempDir({ prefix: "plesio-record-" });
  await using server = await Server.start();
  const clock = new RealClock();
  const authority = await createAuthority(clock);
  const own = await issueServer(authority, clock, { names: ["127.0.0.1"] });
  const tls = { cert: own.certificatePem, key: own.keyPem };
  await using wire = await Wire.open(server.access, tls);
  const kubeconfig = `${folder}/kubeconfig`;
  await Deno.writeTextFile(kubeconfig, wire.kubeconfig);
  console.log(await client.run({ kubeconfig, server, folder }));
  const rows = recordingOf(wire.exchanges);
  await Deno.mkdir(new URL("recordings/", import.meta.url), { recursive: true });
  await Deno.writeTextFile(fileOf(name), rows.map((row) => JSON.stringify(row) + "\n").join(""));
  await Deno.remove(folder, { recursive: true });
  console.log(`${rows.length} of ${wire.exchanges.length} exchanges`);
}

if (import.meta.main) await record(Deno.args[0]);
