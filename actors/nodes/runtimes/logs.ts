/**
 * Container logs as files in the CRI format (`<RFC 3339 nano> stdout|stderr F|P <text>`), one file per
 * start of a container, rotated by size. They lie outside of the pod's folder and outlive its
 * containers and the node's process. Readers that follow are woken by the writer, not by polling.
 *
 * A line longer than `LINE_BYTES_MAX` is written in parts tagged `P`; readers put them together again.
 */
import type { Clock } from "../../../kv/clock.ts";

/** Parts that a longer line is written in (containerd's). */
export const LINE_BYTES_MAX = 16 * 1024;
/** A file is put aside at this size, and so many are kept besides the newest. */
export const LOG_BYTES_MAX = 10 * 1024 * 1024;
export const LOG_FILES_MAX = 4;

const NEWLINE = 10;
const encoder = new TextEncoder();

export type StreamName = "stdout" | "stderr";

/** Writes the log of one start of a container. */
export class LogWriter implements LogSource {
  readonly path: string;
  closed = false;
  readonly #clock: Clock;
  readonly #bytesMax: number;
  #file: Deno.FsFile;
  #size: number;
  #rotations = 0;
  readonly #open: Record<StreamName, Uint8Array[]> = { stdout: [], stderr: [] };
  #waiters: (() => void)[] = [];

  constructor(path: string, options: { clock: Clock; bytesMax?: number }) {
    this.path = path;
    this.#clock = options.clock;
    this.#bytesMax = options.bytesMax ?? LOG_BYTES_MAX;
    Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    this.#file = Deno.openSync(path, { create: true, append: true });
    this.#size = this.#file.statSync().size;
  }

  /** How often the file was put aside: a reader that saw another number starts at the new file's begin. */
  get rotations(): number {
    return this.#rotations;
  }

  /** Adds output of the container. */
  write(stream: StreamName, chunk: Uint8Array): void {
    if (this.closed) return;
    const head = encoder.encode(`${nanoTime(this.#clock.now())} ${stream} `);
    const pieces: Uint8Array[] = [];
    const open = this.#open[stream];
    let at = 0;
    for (;;) {
      const end = chunk.indexOf(NEWLINE, at);
      if (end < 0) break;
      for (const piece of open.splice(0)) pieces.push(piece);
      // What stood open is the begin of this line.
      const whole = pieces.length ? join(pieces.splice(0), chunk.subarray(at, end)) : undefined;
      this.#line(head, whole ?? chunk.subarray(at, end), true);
      at = end + 1;
    }
    if (at < chunk.length) {
      open.push(chunk.slice(at));
      let size = 0;
      for (const piece of open) size += piece.length;
      if (size >= LINE_BYTES_MAX) this.#line(head, join(open.splice(0)), false);
    }
    this.#flush();
  }

  readonly #pending: Uint8Array[] = [];

  #line(head: Uint8Array, text: Uint8Array, full: boolean): void {
    let at = 0;
    while (text.length - at > LINE_BYTES_MAX) {
      this.#pending.push(head, PART, text.subarray(at, at + LINE_BYTES_MAX), END);
      at += LINE_BYTES_MAX;
    }
    this.#pending.push(head, full ? FULL : PART, text.subarray(at), END);
  }

  #flush(): void {
    if (!this.#pending.length) return;
    const bytes = join(this.#pending.splice(0));
    if (this.#size && this.#size + bytes.length > this.#bytesMax) this.#rotate();
    let at = 0;
    while (at < bytes.length) at += this.#file.writeSync(bytes.subarray(at));
    this.#size += bytes.length;
    for (const wake of this.#waiters.splice(0)) wake();
  }

  #rotate(): void {
    this.#file.close();
    putAside(this.path);
    this.#file = Deno.openSync(this.path, { create: true, append: true });
    this.#size = 0;
    this.#rotations++;
  }

  /** Ends the log: what stands open becomes a last part, of a line that has no end. */
  close(): void {
    if (this.closed) return;
    for (const stream of ["stdout", "stderr"] as const) {
      const open = this.#open[stream].splice(0);
      if (!open.length) continue;
      this.#line(encoder.encode(`${nanoTime(this.#clock.now())} ${stream} `), join(open), false);
    }
    this.#flush();
    this.closed = true;
    this.#file.close();
    for (const wake of this.#waiters.splice(0)) wake();
  }

  /** Resolves when there is more to read, or the log is closed. */
  more(signal: AbortSignal): Promise<void> {
    if (this.closed || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }
}

const PART = encoder.encode("P ");
const FULL = encoder.encode("F ");
const END = Uint8Array.of(NEWLINE);

function join(pieces: readonly Uint8Array[], last?: Uint8Array): Uint8Array {
  let size = last?.length ?? 0;
  for (const piece of pieces) size += piece.length;
  const whole = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  if (last) whole.set(last, at);
  return whole;
}

/** Makes place for a new file of a log: each older one goes one further, the oldest is gone. */
export function putAside(path: string): void {
  for (let n = LOG_FILES_MAX - 1; n >= 1; n--) rename(`${path}.${n}`, `${path}.${n + 1}`);
  rename(path, `${path}.1`);
}

/** The end of a log, for a container that left no message: 80 lines or 2 KiB. */
export function lastLines(path: string): string {
  try {
    const lines = Deno.readTextFileSync(path).trimEnd().split("\n").slice(-80);
    const texts = lines.map((line) => {
      const [_time, _stream, tag, ...words] = line.split(" ");
      return words.join(" ") + (tag === "P" ? "" : "\n");
    });
    return texts.join("").slice(-2048);
  } catch {
    return ""; // it has written none
  }
}

function rename(from: string, to: string): void {
  try {
    Deno.renameSync(from, to);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** A time with nanoseconds, as CRI logs have it. */
export function nanoTime(ms: number): string {
  const text = new Date(ms).toISOString();
  return text.slice(0, -1).padEnd(29, "0") + "Z";
}

/** What to read of a log. */
export interface ReadOptions {
  timestamps?: boolean;
  sinceMs?: number;
  tailLines?: number;
  limitBytes?: number;
  stream?: "All" | "Stdout" | "Stderr";
  /** Who writes it, to go on with what is added. */
  follow?: LogSource;
}

/** A log that may still grow. */
export interface LogSource {
  /** How often its file was put aside: a reader that saw another number starts at the new file's begin. */
  readonly rotations: number;
  /** Nothing is added any more. */
  readonly closed: boolean;
  /** Resolves when there may be more to read, or the log is closed. */
  more(signal: AbortSignal): Promise<void>;
}

/** Reads a log (its older files first) as the API shows it. Cancelling ends a follow. */
export function readLog(path: string, options: ReadOptions): ReadableStream<Uint8Array> {
  const abort = new AbortController();
  const pieces = read(path, options, abort.signal);
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await pieces.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      abort.abort();
      await pieces.return(undefined);
    },
  }, { highWaterMark: 0 });
}

const BLOCK = 64 * 1024;

async function* read(
  path: string,
  options: ReadOptions,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void> {
  const { follow } = options;
  let left = options.limitBytes ?? Infinity;
  const cut = (bytes: Uint8Array) => {
    const kept = bytes.length > left ? bytes.subarray(0, left) : bytes;
    left -= kept.length;
    return kept;
  };
  const format = new Formatter(options);
  const rotations = follow?.rotations ?? 0;
  const files = filesOf(path);
  const start = startOf(files, options);
  let offset = 0;
  for (let i = start.file; i < files.length; i++) {
    offset = i === start.file ? start.offset : 0;
    for (;;) {
      const block = readBlock(files[i], offset);
      if (!block) break;
      offset += block.length;
      const bytes = cut(format.feed(block));
      if (bytes.length) yield bytes;
      if (left <= 0) return;
    }
  }
  let seen = rotations;
  while (follow && !signal.aborted && left > 0) {
    if (follow.rotations !== seen) {
      // What was added to the old file before it was put aside comes first.
      yield* drain(`${path}.1`, offset, format, cut);
      seen = follow.rotations;
      offset = 0;
    }
    const block = readBlock(path, offset);
    if (block) {
      offset += block.length;
      const bytes = cut(format.feed(block));
      if (bytes.length) yield bytes;
      continue;
    }
    if (follow.closed) return;
    await follow.more(signal);
  }
}

function* drain(path: string, from: number, format: Formatter, cut: (b: Uint8Array) => Uint8Array) {
  let offset = from;
  for (;;) {
    const block = readBlock(path, offset);
    if (!block) return;
    offset += block.length;
    const bytes = cut(format.feed(block));
    if (bytes.length) yield bytes;
  }
}

/** The files of a log, oldest first. */
function filesOf(path: string): string[] {
  const files: string[] = [];
  for (let n = LOG_FILES_MAX; n >= 1; n--) if (sizeOf(`${path}.${n}`)) files.push(`${path}.${n}`);
  files.push(path);
  return files;
}

function sizeOf(path: string): number {
  try {
    return Deno.statSync(path).size;
  } catch {
    return 0; // not there (any more)
  }
}

function readBlock(path: string, offset: number): Uint8Array | undefined {
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path);
  } catch {
    return undefined; // put aside between two reads, or never written
  }
  try {
    file.seekSync(offset, Deno.SeekMode.Start);
    const buffer = new Uint8Array(BLOCK);
    const size = file.readSync(buffer);
    return size ? buffer.subarray(0, size) : undefined;
  } finally {
    file.close();
  }
}

/** Where to begin for the last `tailLines` lines: found from the end, block by block. */
function startOf(files: string[], options: ReadOptions): { file: number; offset: number } {
  const { tailLines, stream = "All" } = options;
  if (tailLines === undefined) return { file: 0, offset: 0 };
  const last = files.length - 1;
  if (tailLines === 0) return { file: last, offset: sizeOf(files[last]) };
  let wanted = tailLines;
  // A part that no end of its line follows is a line, too.
  let ended = false;
  let found: { file: number; offset: number } | undefined;
  for (let f = last; f >= 0; f--) {
    let end = sizeOf(files[f]);
    // From the end of the file backwards: a line is known once the newline before it is seen.
    let tail = new Uint8Array();
    while (end > 0) {
      const begin = Math.max(0, end - BLOCK);
      const block = readBlock(files[f], begin)?.subarray(0, end - begin) ?? new Uint8Array();
      const bytes = join([block, tail]);
      let lineEnd = bytes.length;
      for (let i = bytes.length - 2; i >= -1; i--) {
        if (i === -1 ? begin > 0 : bytes[i] !== NEWLINE) continue;
        const kind = kindOf(bytes.subarray(i + 1, lineEnd), stream);
        // The wanted line is known; what comes before it is wanted only if it is a part of it.
        if (found && kind !== "part") return found;
        const counts: boolean = kind === "full" || (kind === "part" && !ended);
        ended ||= counts;
        if (found || (counts && --wanted === 0)) found = { file: f, offset: begin + i + 1 };
        lineEnd = i + 1;
      }
      tail = bytes.slice(0, lineEnd);
      end = begin;
    }
  }
  return found ?? { file: 0, offset: 0 };
}

/** What a CRI line is: the end of a line of the stream, a part of one, or of the other stream. */
function kindOf(line: Uint8Array, stream: "All" | "Stdout" | "Stderr"): "full" | "part" | "other" {
  const first = line.indexOf(32);
  const second = line.indexOf(32, first + 1);
  if (first < 0 || second < 0) return "other";
  if (stream !== "All" && (stream === "Stderr") !== (line[first + 4] === 101)) return "other";
  return line[second + 1] === 80 ? "part" : "full";
}

const FIXED_TIME_BYTES = "2026-01-01T00:00:00.000000000Z ".length;

/** A line's time with all nine digits, as the API shows it: Go's runtimes leave out zeros at the end. */
function fixedTime(time: Uint8Array): Uint8Array {
  if (time.length === FIXED_TIME_BYTES) return time;
  const text = new TextDecoder().decode(time);
  const [, seconds, fraction = "", zone] = /^(.{19})(?:\.(\d{1,9}))?(\D.*)$/.exec(text) ?? [];
  if (seconds === undefined) return time;
  return new TextEncoder().encode(`${seconds}.${fraction.padEnd(9, "0")}${zone}`);
}

/** Turns CRI lines into what the API shows. */
class Formatter {
  readonly #options: ReadOptions;
  #rest: Uint8Array = new Uint8Array();
  #inPart = false;

  constructor(options: ReadOptions) {
    this.#options = options;
  }

  feed(block: Uint8Array): Uint8Array {
    const bytes = this.#rest.length ? join([this.#rest], block) : block;
    const out: Uint8Array[] = [];
    let at = 0;
    for (;;) {
      const end = bytes.indexOf(NEWLINE, at);
      if (end < 0) break;
      this.#line(bytes.subarray(at, end + 1), out);
      at = end + 1;
    }
    this.#rest = bytes.slice(at);
    return join(out);
  }

  #line(line: Uint8Array, out: Uint8Array[]): void {
    // `time SP stream SP tag SP text`
    const first = line.indexOf(32);
    const second = line.indexOf(32, first + 1);
    if (first < 0 || second < 0 || line.length < second + 3) return;
    const { sinceMs, timestamps, stream = "All" } = this.#options;
    const part = line[second + 1] === 80;
    const stderr = line[first + 4] === 101;
    if (stream !== "All" && (stream === "Stderr") !== stderr) return;
    if (sinceMs !== undefined) {
      if (Date.parse(new TextDecoder().decode(line.subarray(0, first))) < sinceMs) return;
    }
    if (timestamps && !this.#inPart) out.push(fixedTime(line.subarray(0, first + 1)));
    this.#inPart = part;
    out.push(part ? line.subarray(second + 3, line.length - 1) : line.subarray(second + 3));
  }
}
