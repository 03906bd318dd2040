/**
 * Spans, as OpenTelemetry has them: what took how long, and within what. Requests, the handlings of actors and commits
 * become spans of the trace that their revisions keep (`api/server/causes.ts`).
 *
 * The span of a commit is known by its revision alone, so that whoever reacts to the revision, in any process and at any
 * time, has it for a parent without being told. Whether a trace is recorded follows from its id, or from whoever began
 * it outside: all processes decide alike. Nothing here waits or sends: an exporter takes what has ended (`otlp.ts`).
 */
import type { Clock } from "../../kv/clock.ts";

/** Spans that wait to be exported; what comes beyond is dropped and counted. */
export const SPANS_WAITING_MAX = 4_096;
/** Traces from outside of which it is remembered whether they are recorded. */
export const TRACES_REMEMBERED_MAX = 1_024;

/** A span that has ended. Times are ms since 1970, with fractions. */
export interface Span {
  readonly trace: string;
  /** 16 hexadecimal digits. */
  readonly id: string;
  readonly parent?: string;
  readonly name: string;
  /** Who did it: becomes the instrumentation scope. */
  readonly scope: string;
  /** It answers somebody who waits for it. */
  readonly serves?: boolean;
  readonly begin: number;
  readonly end: number;
  readonly attributes: Readonly<Record<string, string | number | undefined>>;
  /** What was reached when. */
  readonly events?: readonly { readonly name: string; readonly at: number }[];
  /** Why it failed. */
  readonly error?: string;
}

/** What is known of the span that something belongs into. */
export interface Within {
  readonly trace: string;
  readonly parent?: string;
}

/** What spans are made from. */
export interface SpansOptions {
  clock: Clock;
  /** The store's: spans of its revisions are called alike in all processes. */
  clusterId: string;
  /** Traces of a million that are recorded, where nobody outside has decided. */
  ratePerMillion: number;
  /** The trace of a revision; undefined where that is not at hand. */
  traceOf(revision: number): string | undefined;
}

/** See the module's text. */
export class Spans {
  /** Spans that nobody will see. */
  dropped = 0;
  readonly #o: SpansOptions;
  readonly #rate: number;
  /** What wall time is more than monotonic time. */
  readonly #wall: number;
  readonly #seeds: readonly [number, number];
  readonly #ids: readonly [number, number];
  readonly #decided = new Map<string, boolean>();
  #count = 0;
  #ended: Span[] = [];
  #wake: () => void = () => {};

  constructor(options: SpansOptions) {
    const { clock, clusterId } = options;
    this.#o = options;
    this.#rate = options.ratePerMillion / 1_000_000 * 2 ** 32;
    this.#wall = clock.now() - clock.monotonic();
    this.#seeds = [hashed(clusterId, 1), hashed(clusterId, 2)];
    const own = new DataView(clock.bytes(8).slice().buffer);
    this.#ids = [own.getUint32(0), own.getUint32(4)];
  }

  /** Wall time of now, as spans have it. */
  now(): number {
    return this.at(this.#o.clock.monotonic());
  }

  /** Wall time of a monotonic time. */
  at(monotonic: number): number {
    return monotonic + this.#wall;
  }

  /** Whether a trace is recorded. As OpenTelemetry's TraceIDRatioBased decides it. */
  wants(trace: string): boolean {
    const decided = this.#decided.get(trace);
    return decided ?? parseInt(trace.slice(16, 24), 16) < this.#rate;
  }

  /** Somebody outside has decided. */
  decide(trace: string, isWanted: boolean): void {
    this.#decided.delete(trace);
    this.#decided.set(trace, isWanted);
    if (this.#decided.size <= TRACES_REMEMBERED_MAX) return;
    for (const oldest of this.#decided.keys()) {
      this.#decided.delete(oldest);
      return;
    }
  }

  /** What follows from a revision belongs into its commit; undefined: it is not recorded. */
  following(revision: number): Within | undefined {
    const trace = revision > 0 ? this.#o.traceOf(revision) : undefined;
    if (trace === undefined || !this.wants(trace)) return undefined;
    return { trace, parent: this.ofRevision(revision) };
  }

  /** The id of the span that a revision was committed in. */
  ofRevision(revision: number): string {
    const [one, two] = this.#seeds;
    const high = Math.floor(revision / 2 ** 32);
    return scattered(revision, [one ^ high, two]);
  }

  /** The id of a new span. */
  next(): string {
    return scattered(++this.#count, this.#ids);
  }

  /** Takes a span that has ended. */
  add(span: Span): void {
    if (this.#ended.length >= SPANS_WAITING_MAX) {
      this.dropped++;
      return;
    }
    if (this.#ended.push(span) === 1) this.#wake();
  }

  /** Spans that have ended, the oldest first; they are the taker's from then on. */
  take(max: number): Span[] {
    return this.#ended.splice(0, max);
  }

  /** Spans that wait to be taken. */
  get waiting(): number {
    return this.#ended.length;
  }

  /** Calls `wake` whenever there is something to take again. */
  onFirst(wake: () => void): void {
    this.#wake = wake;
  }
}

/** An odd factor: a permutation of 32 bits. */
const ODD = 0x9e3779b1;

/** 16 hexadecimal digits that look like chance. Each half is a permutation of the number, so that none comes twice. */
export function scattered(value: number, [one, two]: readonly [number, number]): string {
  return hex32(mixed(value ^ one)) + hex32(mixed(Math.imul(value, ODD) ^ two));
}

/** Two digits of each byte: `toString` and padding take ten times as long. */
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** A number's 32 bits as hexadecimal digits. */
export function hex32(value: number): string {
  return HEX[value >>> 24] + HEX[value >>> 16 & 255] + HEX[value >>> 8 & 255] + HEX[value & 255];
}

/** A number of 32 bits that looks like chance, another one for each. */
function mixed(value: number): number {
  let mix = value | 0;
  mix = Math.imul(mix ^ mix >>> 16, 0x85ebca6b);
  mix = Math.imul(mix ^ mix >>> 13, 0xc2b2ae35);
  return mix ^ mix >>> 16;
}

function hashed(text: string, seed: number): number {
  let hash = seed;
  for (let i = 0; i < text.length; i++) hash = mixed(hash ^ text.charCodeAt(i)) + i;
  return hash | 0;
}
