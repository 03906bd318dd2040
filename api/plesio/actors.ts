/**
 * `/plesio/v1/actors`: every actor of this process.
 *
 * - GET: how they are now.
 * - GET with `watch=true`: lines of JSON for as long as somebody reads them. First `ACTORS`: all reports, and whether
 *   actors can be controlled; then `CHANGED`: reports that are others than before and addresses that are gone, at most
 *   every `CHANGES_EVERY_MS`; and `MESSAGES` as they are handled. Who reads too slowly is told how many messages were
 *   left out. While nobody watches nothing is kept, and no message costs anything.
 * - POST to `<address>/pause`, `…/step` and `…/resume`: holds an actor back, lets it handle one message, lets it go on.
 *   Only where the cluster was started to allow it; it answers the actor's report.
 */
import type { Clock, Timer } from "../../kv/clock.ts";
import type { ActorAct, ActorReport, Handled } from "../client/plesio.ts";
import { ApiError } from "../machinery/types.ts";
import { type Call, jsonReply, type Reply } from "../server/http.ts";
import { jsonBytes } from "../server/codec.ts";
import { decoded, flag } from "../server/route.ts";
import { allowMethods, type Asked, notThere } from "./endpoint.ts";

/** How often changes of reports are told. */
export const CHANGES_EVERY_MS = 250;
/** Messages that wait for a reader; further ones are only counted. */
export const MESSAGES_WAITING_MAX = 1_000;
/** A watch ends after this long, as others do; whoever wants more begins again. */
export const ACTORS_WATCH_MS_MAX = 1_800_000;

/** An actor's report, as the runtime makes it. */
interface Report extends ActorReport {
  /** Histograms for the metrics: of no use to whoever looks. */
  readonly times?: unknown;
}

/** The actors of a process, as the runtime has them. */
export interface ActorsPort {
  report(): readonly Report[];
  observe(heard: (message: Handled) => void): () => void;
  control(address: string): Record<ActorAct, () => unknown> | undefined;
}

const ACTS: readonly ActorAct[] = ["pause", "resume", "step"];

/** Whether a request is a watch: it takes as long as it likes. */
export function isActorsWatch({ method, query }: Call): boolean {
  return method === "GET" && flag(new URLSearchParams(query), "watch");
}

/** Answers it. */
export function actors(asked: Asked): Reply {
  const { call, rest, ports } = asked;
  if (rest) return control(asked);
  allowMethods(asked, "GET");
  if (isActorsWatch(call)) {
    const watch = new ActorsWatch(asked);
    return { status: 200, headers: { "content-type": "application/json" }, body: watch };
  }
  return jsonReply(200, { actors: ports.actors().report() });
}

/** Steers one actor. */
function control(asked: Asked): Reply {
  allowMethods(asked, "POST");
  const { rest, ports } = asked;
  const end = rest.lastIndexOf("/");
  const address = decoded(rest.slice(1, end));
  const act = ACTS.find((one) => one === rest.slice(end + 1));
  const system = ports.actors();
  if (!act || !address) {
    throw notThere(`${asked.call.path} is none of <address>/{${ACTS.join(",")}}`);
  }
  if (!ports.control) {
    const message =
      "actors of this cluster cannot be controlled: start it with --actor-control (actorControl: true) to allow it";
    throw new ApiError({ code: 403, reason: "Forbidden", message });
  }
  const found = system.control(address);
  if (!found) throw notThere(`there is no actor "${address}" in this process`);
  found[act]();
  return jsonReply(200, shown(system.report().find((one) => one.address === address)!));
}

function shown({ times: _, ...report }: Report): ActorReport {
  return report;
}

/** Lines for one reader, made when they are asked for. */
class ActorsWatch implements AsyncIterable<Uint8Array> {
  readonly #asked: Asked;
  constructor(asked: Asked) {
    this.#asked = asked;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    const { call, ports } = this.#asked;
    const system = ports.actors();
    const waiting = new Waiting(ports.clock, call.signal);
    const leave = system.observe((message) => waiting.add(message));
    try {
      const told = new Told();
      const all = told.changes(system.report());
      yield line({ type: "ACTORS", actors: all.actors, control: !!ports.control });
      while (!waiting.ended) {
        await waiting.something();
        const messages = waiting.take();
        if (messages) yield line({ type: "MESSAGES", ...messages });
        if (!waiting.isTime()) continue;
        const changes = told.changes(system.report());
        if (changes.actors.length + changes.gone.length > 0) {
          yield line({ type: "CHANGED", ...changes });
        }
      }
    } finally {
      leave();
      waiting.end();
    }
  }
}

/** What has happened since a reader last took something, within a bound. */
class Waiting {
  #messages: Handled[] = [];
  #dropped = 0;
  #isTime = false;
  #wake: (() => void) | undefined;
  readonly #clock: Clock;
  readonly #timers: Timer[] = [];
  ended = false;

  constructor(clock: Clock, signal?: AbortSignal) {
    this.#clock = clock;
    this.#tick();
    this.#timers.push(clock.timer("background", ACTORS_WATCH_MS_MAX, () => this.end()));
    if (signal?.aborted) this.end();
    signal?.addEventListener("abort", () => this.end(), { once: true });
  }

  /** Reports are looked at now and then, whether there are messages or not. */
  #tick(): void {
    this.#timers[0] = this.#clock.timer("background", CHANGES_EVERY_MS, () => {
      if (this.ended) return;
      this.#tick();
      this.#isTime = true;
      this.#wake?.();
    });
  }

  add(message: Handled): void {
    if (this.#messages.length >= MESSAGES_WAITING_MAX) this.#dropped++;
    else this.#messages.push(message);
    this.#wake?.();
  }

  /** Resolves when there are messages, it is time to look at reports, or it is over. */
  async something(): Promise<void> {
    if (this.#messages.length > 0 || this.#isTime || this.ended) return;
    await new Promise<void>((resolve) => this.#wake = resolve);
    this.#wake = undefined;
  }

  take(): { messages: Handled[]; dropped?: number } | undefined {
    if (this.#messages.length === 0) return undefined;
    const [messages, dropped] = [this.#messages.map(rounded), this.#dropped];
    this.#messages = [];
    this.#dropped = 0;
    return dropped ? { messages, dropped } : { messages };
  }

  /** Whether reports are to be looked at (again). */
  isTime(): boolean {
    const is = this.#isTime;
    this.#isTime = false;
    return is;
  }

  end(): void {
    this.ended = true;
    for (const timer of this.#timers) timer.cancel();
    this.#wake?.();
  }
}

/** Times to the microsecond: more is noise. */
function rounded(message: Handled): Handled {
  const of = (ms: number) => Math.round(ms * 1_000) / 1_000;
  return { ...message, waitedMs: of(message.waitedMs), workedMs: of(message.workedMs) };
}

/** What a reader has been told of each actor. */
class Told {
  readonly #texts = new Map<string, string>();

  /** What is otherwise than it was told, and remembers it as told. */
  changes(reports: readonly Report[]): { actors: ActorReport[]; gone: string[] } {
    const actors: ActorReport[] = [];
    const there = new Set<string>();
    for (const report of reports) {
      there.add(report.address);
      const short = shown(report);
      const text = JSON.stringify(short);
      if (this.#texts.get(report.address) === text) continue;
      this.#texts.set(report.address, text);
      actors.push(short);
    }
    const gone = [...this.#texts.keys()].filter((address) => !there.has(address));
    for (const address of gone) this.#texts.delete(address);
    return { actors, gone };
  }
}

function line(value: unknown): Uint8Array {
  const bytes = jsonBytes(value);
  const out = new Uint8Array(bytes.length + 1);
  out.set(bytes);
  out[bytes.length] = 10;
  return out;
}
