/**
 * Logs of pods that are gone. A kubelet removes a pod's logs with the pod; here their end is kept for a while, within
 * a bound, so that "what did it say before it went away" has an answer. Whatever runs the containers: the log is read
 * the way `kubectl logs` reads it, when the pod is done and nothing writes to it any more.
 *
 * What is kept of one container is one entry, whose name says when the pod went and whose it was. Over the bound, and
 * after `KEPT_MS_MAX`, the oldest entries go. Where entries lie is the `LogPlace`'s: a folder of the node, or memory.
 */
import { Buffer } from "node:buffer";
import type { Clock } from "../../kv/clock.ts";
import type { ContainerRecord } from "./container_record.ts";
import type { Pod } from "./types.ts";

/** Of all entries of a node together. */
export const KEPT_BYTES_MAX = 64 * 1024 * 1024;
/** Of one container: its newest lines. */
export const KEPT_CONTAINER_BYTES_MAX = 1024 * 1024;
/** How long an entry stays at most. */
export const KEPT_MS_MAX = 7 * 24 * 3600 * 1000;
/** Lines that are looked at for one entry. */
const LINES_MAX = 20_000;

/** What is kept of one container. */
interface Entry {
  name: string;
  bytes: number;
}

/** Where entries lie, for one `KeptLogs` alone. */
export interface LogPlace {
  /** Those of a former life too. */
  list(): Entry[];
  /** Undefined when there is no such entry. */
  read(name: string): Promise<Uint8Array | undefined>;
  write(name: string, bytes: Uint8Array): void;
  /** One that is there no more is no fault. */
  remove(name: string): void;
}

/** A place that goes with the process. */
export function memoryPlace(): LogPlace {
  const entries = new Map<string, Uint8Array>();
  return {
    list: () => [...entries].map(([name, { length }]) => ({ name, bytes: length })),
    read: (name) => Promise.resolve(entries.get(name)),
    write: (name, bytes) => void entries.set(name, bytes),
    remove: (name) => void entries.delete(name),
  };
}

/** Which lines are wanted; what is absent is not asked for. */
export interface LogSearch {
  namespace?: string;
  pod?: string;
  container?: string;
  sinceMs?: number;
  untilMs?: number;
  /** Only lines that hold this text. */
  grep?: string;
}

/** A line of a log. */
export interface LogLine {
  /** RFC 3339 with nanoseconds. */
  readonly time: string;
  readonly namespace: string;
  readonly pod: string;
  readonly uid: string;
  readonly container: string;
  readonly text: string;
  /** The pod is there no more. */
  readonly gone: boolean;
}

/** Whose lines a text holds. */
export type LogOwner = Omit<LogLine, "time" | "text">;

/** See the module's text. */
export class KeptLogs {
  readonly #place: LogPlace;
  readonly #clock: Clock;
  readonly #bytesMax: number;
  /** What there is, oldest first; read from its place once, when it is first asked for. */
  #known: Entry[] | undefined;

  constructor(
    { place, clock, bytesMax = KEPT_BYTES_MAX }: {
      place: LogPlace;
      clock: Clock;
      bytesMax?: number;
    },
  ) {
    this.#place = place;
    this.#clock = clock;
    this.#bytesMax = bytesMax;
  }

  /** Keeps the logs of a pod that is over, of each container's last two starts. Rejects when they cannot be written. */
  async keep(pod: Pod, records: readonly ContainerRecord[]): Promise<void> {
    const { name, namespace, uid } = pod.metadata;
    const now = this.#clock.now();
    for (const record of records) {
      const bytes = await endOfLog(pod, record);
      if (bytes.length === 0) continue;
      const entry = `${now}_${namespace}_${name}_${uid}_${record.name}`;
      // Noted first: of what is written only in part, that part is to go some day too
      this.#entries().push({ name: entry, bytes: bytes.length });
      this.#place.write(entry, bytes);
    }
    this.trim();
  }

  /** The lines of pods that are gone: of one container after the other, oldest first. */
  async *find(search: LogSearch): AsyncIterable<LogLine[]> {
    // A copy: entries may come and go while one is read
    for (const { name } of [...this.#entries()]) {
      const [endedAt, namespace, pod, uid, container] = name.split("_");
      const owner = { namespace, pod, uid, container, gone: true };
      if (!isOwner(owner, search) || Number(endedAt) < (search.sinceMs ?? 0)) continue;
      const bytes = await this.#place.read(name);
      if (bytes) yield linesIn(bytes, owner, search);
    }
  }

  /** Removes what is too old or too much. */
  trim(): void {
    const entries = this.#entries();
    const oldest = this.#clock.now() - KEPT_MS_MAX;
    let bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
    while (entries.length && (bytes > this.#bytesMax || endOf(entries[0].name) < oldest)) {
      const [{ name }] = entries;
      this.#place.remove(name);
      bytes -= entries.shift()!.bytes;
    }
  }

  #entries(): Entry[] {
    return this.#known ??= this.#place.list().sort((a, b) => endOf(a.name) - endOf(b.name));
  }
}

function endOf(name: string): number {
  return Number(name.slice(0, name.indexOf("_")));
}

/** Whether lines of these containers are wanted at all. */
export function isOwner(
  owner: Pick<LogOwner, "namespace" | "pod" | "container">,
  { namespace, pod, container }: LogSearch,
): boolean {
  return (namespace === undefined || namespace === owner.namespace) &&
    (pod === undefined || pod === owner.pod) &&
    (container === undefined || container === owner.container);
}

/** The wanted lines of a log that was read with its times. */
export function linesIn(
  bytes: Uint8Array,
  owner: LogOwner,
  { sinceMs = -Infinity, untilMs = Infinity, grep = "" }: LogSearch,
): LogLine[] {
  const found: LogLine[] = [];
  for (const line of new TextDecoder().decode(bytes).split("\n")) {
    const space = line.indexOf(" ");
    if (space < 0) continue;
    const text = line.slice(space + 1);
    if (!text.includes(grep)) continue;
    const time = line.slice(0, space);
    const at = Date.parse(time);
    if (at >= sinceMs && at <= untilMs) found.push({ time, ...owner, text });
  }
  return found;
}

/** The newest lines of a container's last two starts, with their times. */
async function endOfLog(pod: Pod, record: ContainerRecord): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (const attempt of [record.restarts - 1, record.restarts]) {
    if (attempt >= 0) parts.push(await readEnd({ pod, record, attempt, lines: LINES_MAX }));
  }
  const bytes = Buffer.concat(parts);
  if (bytes.length <= KEPT_CONTAINER_BYTES_MAX) return bytes;
  const end = bytes.subarray(bytes.length - KEPT_CONTAINER_BYTES_MAX);
  // A copy, so that what is left out is not kept in memory
  return new Uint8Array(end.subarray(end.indexOf(10) + 1));
}

/** The last lines of one start of a container with their times; nothing where there is no such log (any more). */
export async function readEnd(
  { pod, record, attempt, lines, sinceMs }: {
    pod: Pod;
    record: ContainerRecord;
    attempt: number;
    lines: number;
    sinceMs?: number;
  },
): Promise<Uint8Array> {
  try {
    const stream = await record.runtime?.logs({
      pod,
      container: record.name,
      attempt,
      follow: false,
      timestamps: true,
      stream: "All",
      tailLines: lines,
      sinceMs,
      ended: Promise.resolve(),
    });
    return Buffer.concat(stream ? await Array.fromAsync(stream) : []);
  } catch {
    // A start that never wrote, or whose log the runtime has let go of.
    return new Uint8Array();
  }
}
