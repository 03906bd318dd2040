/**
 * Audit to a file: one line an event, JSON or the short text of old. An answer is given after its line is written, and
 * that its request came is written with it. Where answers follow close on one another, the lines of a turn of the event
 * loop are one write. The file is rotated by size under a name with the time in it; old ones go by age and by number.
 */
import { gzipSync } from "node:zlib";
import type { Clock, Timer } from "../../kv/clock.ts";
import { goQuote } from "../machinery/go_format.ts";
import { type AuditEvent, type AuditSink, eventText, withoutObjects } from "./audit.ts";

/** How sure of an event whoever sends it wants to be. */
export type AuditMode = "batch" | "blocking" | "blocking-strict";

/** Bounds of what is told, in bytes; absent: none. */
export interface AuditTruncation {
  eventBytesMax: number;
  batchBytesMax: number;
}

/** Where the log is kept, and for how long. */
export interface AuditLogOptions {
  /** `-`: standard output. */
  path: string;
  /** Default json. */
  format?: "json" | "legacy";
  /** Default blocking. */
  mode?: AuditMode;
  /** Lines that wait at most, in mode batch (default 10,000). */
  bufferMax?: number;
  /** The file is rotated before it would be longer (default 100 MiB; 0: never). */
  bytesMax?: number;
  /** Days after which old files go (default 366; 0: never). */
  daysMax?: number;
  /** Old files kept (default 100; 0: all). */
  backupsMax?: number;
  /** Old files are compressed (default false). */
  compress?: boolean;
  truncation?: AuditTruncation;
}

/** A file open for appending. */
export interface LogFile {
  /** Its length now. */
  readonly size: number;
  /** Writes all of it, or throws. The bytes are another's afterwards. */
  write(bytes: Uint8Array): void;
  close(): void;
}

/** The files of one machine, as far as a log needs them. */
export interface LogFiles {
  /** Makes it and its folder, for their owner's eyes only, if they are not there. */
  open(path: string): LogFile;
  /** Names of the files in the folder of `path`. */
  beside(path: string): string[];
  read(path: string): Uint8Array;
  rename(from: string, to: string): void;
  remove(path: string): void;
}

/** Lines that wait at most, in mode batch. */
export const LOG_BUFFER_MAX = 10_000;
/** How long the line of a request that has come waits at most, in mode blocking, in ms. */
const RECEIVED_MS_MAX = 100;
const BYTES_MAX = 100 * 1024 * 1024;
const DAYS_MAX = 366;
const BACKUPS_MAX = 100;
const DAY_MS = 24 * 3600 * 1000;
/** Answers that follow closer than this on the last write share the next one, in ms. */
export const BURST_MS = 0.1;
/** Texts that surely fit are encoded in place. */
const ROOM_BYTES = 64 * 1024;
/** UTF-8 bytes of one UTF-16 unit at most. */
const UNIT_BYTES_MAX = 3;

const encoder = new TextEncoder();

/** See the module's text. `failed` hears of what could not be written. */
export class AuditLog implements AuditSink {
  readonly name = "log";
  readonly strict: boolean;
  readonly #options: AuditLogOptions;
  readonly #file: RotatedFile;
  readonly #clock: Pick<Clock, "turn" | "timer" | "monotonic">;
  readonly #failed: (error: unknown, events: number) => void;
  /** What waits to be written, and how many events that is. */
  #text = "";
  #events = 0;
  readonly #room = new Uint8Array(ROOM_BYTES);
  #flush: Promise<boolean> | undefined;
  #writtenAt = -Infinity;
  #later: Timer | undefined;

  constructor(options: AuditLogOptions, { files, clock, failed }: {
    files: LogFiles;
    clock: Pick<Clock, "now" | "turn" | "timer" | "monotonic">;
    failed: (error: unknown, events: number) => void;
  }) {
    this.strict = options.mode === "blocking-strict";
    this.#options = options;
    this.#clock = clock;
    this.#failed = failed;
    this.#file = new RotatedFile(options, files, clock);
  }

  process(event: AuditEvent): boolean | Promise<boolean> {
    const line = this.#lineOf(event);
    if (line === undefined) return !this.strict;
    const { mode = "blocking", bufferMax = LOG_BUFFER_MAX } = this.#options;
    if (mode === "batch" && this.#events >= bufferMax) {
      this.#failed(new Error("audit buffer queue blocked"), 1);
      return true;
    }
    this.#text += line;
    this.#events++;
    if (mode === "batch") {
      this.#flush ??= this.#clock.turn().then(() => this.#write());
      return true;
    }
    if (this.strict) return this.#write();
    if (event.stage !== "RequestReceived") return this.#soon();
    // What is told of a request's coming is written with what comes of it, in one write
    this.#later ??= this.#clock.timer("background", RECEIVED_MS_MAX, () => {
      this.#later = undefined;
      this.#write();
    });
    return true;
  }

  /** Writes at once, or what comes in this turn together. */
  #soon(): boolean | Promise<boolean> {
    if (this.#flush) return this.#flush;
    if (this.#clock.monotonic() - this.#writtenAt >= BURST_MS) return this.#write();
    return this.#flush = this.#clock.turn(false).then(() => this.#write());
  }

  async close(): Promise<void> {
    await this.#flush;
    this.#later?.cancel();
    this.#write();
    this.#file.close();
  }

  /** The line of an event; undefined when it is too long even without its objects. */
  #lineOf(event: AuditEvent): string | undefined {
    const { format = "json", truncation } = this.#options;
    if (format === "legacy") return legacyText(event) + "\n";
    const whole = eventText(event) + "\n";
    if (!truncation || whole.length <= truncation.eventBytesMax) return whole;
    const short = eventText(withoutObjects(event)) + "\n";
    if (short.length <= truncation.eventBytesMax) return short;
    this.#failed(new Error("event is too large even after truncating"), 1);
  }

  #write(): boolean {
    const text = this.#text;
    const events = this.#events;
    this.#flush = undefined;
    if (events === 0) return true;
    this.#text = "";
    this.#events = 0;
    this.#writtenAt = this.#clock.monotonic();
    try {
      this.#file.write(this.#bytesOf(text));
      return true;
    } catch (error) {
      this.#failed(error, events);
      return !this.strict;
    }
  }

  #bytesOf(text: string): Uint8Array {
    if (text.length * UNIT_BYTES_MAX > ROOM_BYTES) return encoder.encode(text);
    return this.#room.subarray(0, encoder.encodeInto(text, this.#room).written);
  }
}

/** A file that makes place for another when it is long enough. */
class RotatedFile {
  readonly #path: string;
  readonly #bytesMax: number;
  readonly #options: AuditLogOptions;
  readonly #files: LogFiles;
  readonly #clock: Pick<Clock, "now">;
  #file: LogFile;

  constructor(options: AuditLogOptions, files: LogFiles, clock: Pick<Clock, "now">) {
    this.#path = options.path;
    this.#bytesMax = options.bytesMax ?? BYTES_MAX;
    this.#options = options;
    this.#files = files;
    this.#clock = clock;
    this.#file = files.open(options.path);
  }

  write(bytes: Uint8Array): void {
    const most = this.#bytesMax;
    if (this.#path !== "-" && most > 0 && this.#file.size > 0) {
      if (this.#file.size + bytes.length > most) this.#rotate();
    }
    this.#file.write(bytes);
  }

  close(): void {
    this.#file.close();
  }

  #rotate(): void {
    this.#file.close();
    const { stem, end } = partsOf(this.#path);
    const time = new Date(this.#clock.now()).toISOString().replaceAll(":", "-").slice(0, -1);
    const old = `${stem}-${time}${end}`;
    try {
      this.#files.rename(this.#path, old);
      if (this.#options.compress) this.#compress(old);
      this.#clean();
    } finally {
      this.#file = this.#files.open(this.#path);
    }
  }

  #compress(path: string): void {
    const packed = this.#files.open(`${path}.gz`);
    packed.write(gzipSync(this.#files.read(path)));
    packed.close();
    this.#files.remove(path);
  }

  /** Removes old files that are too many, or too old by the time in their names. */
  #clean(): void {
    const { daysMax = DAYS_MAX, backupsMax = BACKUPS_MAX } = this.#options;
    const { stem, end } = partsOf(this.#path);
    const name = stem.slice(stem.lastIndexOf("/") + 1);
    const folder = stem.slice(0, stem.length - name.length);
    const old: { path: string; at: number }[] = [];
    for (const found of this.#files.beside(this.#path)) {
      const plain = found.endsWith(".gz") ? found.slice(0, -3) : found;
      if (!plain.startsWith(`${name}-`) || !plain.endsWith(end)) continue;
      const time = plain.slice(name.length + 1, plain.length - end.length);
      const at = Date.parse(time.replace(/T(\d\d)-(\d\d)-(\d\d)/, "T$1:$2:$3") + "Z");
      if (!Number.isNaN(at)) old.push({ path: folder + found, at });
    }
    old.sort((a, b) => b.at - a.at);
    const oldest = daysMax > 0 ? this.#clock.now() - daysMax * DAY_MS : -Infinity;
    old.forEach(({ path, at }, i) => {
      if (at < oldest || (backupsMax > 0 && i >= backupsMax)) this.#files.remove(path);
    });
  }
}

function partsOf(path: string): { stem: string; end: string } {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const dot = name.lastIndexOf(".");
  const end = dot < 0 ? "" : name.slice(dot);
  return { stem: path.slice(0, path.length - end.length), end };
}

/** An event as one line of text, of what matters most. */
export function legacyText({ record, stage }: AuditEvent): string {
  const { begun, impersonated, ref, status } = record;
  const { user } = begun.asked;
  const groupsText = (groups: readonly string[]) => groups.map(goQuote).join(",");
  const groups = user?.name && user.groups.length ? groupsText(user.groups) : "<none>";
  const as = impersonated?.name ?? "<self>";
  const asGroups = impersonated?.groups.length ? groupsText(impersonated.groups) : "<lookup>";
  const time = new Date(begun.at).toISOString().replace(/\.?0*Z$/, "Z");
  return `${time} AUDIT: id=${goQuote(begun.id)} stage=${goQuote(stage)} ` +
    `ip=${goQuote(begun.sourceIPs[0] ?? "<unknown>")} method=${goQuote(begun.asked.verb)} ` +
    `user=${goQuote(user?.name || "<none>")} groups=${goQuote(groups)} as=${goQuote(as)} ` +
    `asgroups=${goQuote(asGroups)} user-agent=${goQuote(begun.userAgent ?? "")} ` +
    `namespace=${goQuote(ref?.namespace ?? "<none>")} uri=${goQuote(begun.uri)} ` +
    `response="${status?.code ?? "<deferred>"}"`;
}
