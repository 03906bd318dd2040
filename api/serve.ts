/**
 * A cluster behind a `fetch` handler (`deno serve`, Deno Deploy), over a database that instances share: it wakes for a
 * request and sleeps when nobody asks.
 *
 * Asleep means stopped, in order: leases and terms are given up, no timer runs, no watch is open, nothing is renewed. A
 * start is cheap (it reads the log), so that there is no second kind of rest beside it, and an instance that the platform
 * ends is no special case. What remains is one record that says when the next work is due (`kv/due.ts`); `cron`, called
 * every minute where the platform has cron, reads it and wakes the cluster when it is time.
 *
 * Awake is who has been asked within `SLEEP_AFTER_MS`, has an answer or a connection open, work under way, or work that
 * is due within `SLEEP_MS_MIN`: to sleep for less would cost more than it saves.
 */
import type { Clock, Timer } from "../kv/clock.ts";
import { unavailable } from "./machinery/errors.ts";
import { type DueRecord, DueRecords, WorkClock } from "../kv/mod.ts";

/** How long nobody has to ask before an instance sleeps. */
export const SLEEP_AFTER_MS = 30_000;
/** Work that is due within this keeps an instance awake. */
export const SLEEP_MS_MIN = 60_000;
/** How often an instance that is awake looks whether it may sleep. */
const LOOK_EVERY_MS = 5_000;
/** Who was awake for less than this may not lead yet, and does not know what is due. */
const KNOWS_AFTER_MS = 20_000;

/** A cluster, as far as serving it goes. */
export interface ServedCluster {
  /** Answers; `ended` resolves when a connection that was taken over is over. */
  answer(request: Request, remote?: string): Promise<{ response: Response; ended?: Promise<void> }>;
  /** Who is at work. */
  busy(): string[];
  /** This process, as the others know it. */
  readonly holder: string;
  /** The processes that live. */
  live(): Promise<string[]>;
  /** Whether it leads all that is led by one. */
  leads(): boolean;
  stop(): Promise<void>;
}

/** What it is made of. */
export interface ServeOptions {
  clock: Clock;
  /** Opens the cluster's database once more, for what lies beside the cluster. */
  open(): Promise<Deno.Kv>;
  start(clock: Clock): Promise<ServedCluster>;
  log(level: "info" | "warn" | "error", text: string, fields?: Record<string, unknown>): void;
}

interface Awake {
  readonly cluster: ServedCluster;
  readonly clock: WorkClock;
  readonly since: number;
}

/** Makes a value at its first use. One that could not be made is made anew. */
export function lazily<T>(make: () => Promise<T>): (() => Promise<T>) & { made(): boolean } {
  let made: Promise<T> | undefined;
  const get = () =>
    made ??= make().catch((error) => {
      made = undefined;
      throw error;
    });
  return Object.assign(get, { made: () => made !== undefined });
}

/** See the module's text. */
export class Served {
  readonly #o: ServeOptions;
  #awake: Promise<Awake> | undefined;
  #sleeping: Promise<void> = Promise.resolve();
  /** On a handle of its own, which stays open: to look whether something is due must load nothing. */
  readonly #records: () => Promise<DueRecords>;
  #timer: Timer | undefined;
  #open = 0;
  #askedAt = 0;

  constructor(options: ServeOptions) {
    this.#o = options;
    const { open, clock } = options;
    this.#records = lazily(async () => new DueRecords(await open(), clock.uuid()));
  }

  /** Whether the cluster runs here. */
  get awake(): boolean {
    return this.#awake !== undefined;
  }

  /** Answers a request; the cluster is woken for it. */
  async fetch(request: Request, remote?: string): Promise<Response> {
    const leave = this.#enter();
    try {
      const awake = await this.#wake().catch((error) => {
        this.#o.log("error", "the cluster could not be woken", { error: String(error) });
      });
      if (!awake) return leave(), notAwake();
      const { cluster } = awake;
      const { response, ended } = await cluster.answer(request, remote);
      if (ended) void ended.finally(leave);
      else if (!response.body) leave();
      else return new Response(ending(response.body, leave), response);
      return response;
    } catch (error) {
      leave();
      throw error;
    }
  }

  /** To be called every minute: wakes the cluster when something is due. */
  async cron(): Promise<void> {
    if (this.awake) return;
    const earliest = await (await this.#records()).earliest();
    if (earliest === undefined || earliest > this.#o.clock.now()) return;
    const leave = this.#enter();
    await this.#wake().finally(leave);
  }

  /** Sleeps now, whoever asks. */
  async sleep(): Promise<void> {
    const waking = this.#awake;
    if (!waking) return await this.#sleeping;
    this.#awake = undefined;
    this.#timer?.cancel();
    this.#sleeping = waking.then((awake) => this.#stop(awake)).catch((error) =>
      this.#o.log("error", "could not go to sleep in order", { error: String(error) })
    );
    await this.#sleeping;
  }

  #enter(): () => void {
    this.#open++;
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#open--;
      this.#askedAt = this.#o.clock.monotonic();
    };
  }

  #wake(): Promise<Awake> {
    if (this.#awake) return this.#awake;
    const waking = this.#begin();
    this.#awake = waking;
    waking.then(() => this.#lookLater(), () => {
      // The next request tries again
      if (this.#awake === waking) this.#awake = undefined;
    });
    return waking;
  }

  async #begin(): Promise<Awake> {
    await this.#sleeping;
    const { clock: host, start } = this.#o;
    const clock = new WorkClock(host);
    const cluster = await start(clock);
    try {
      await (await this.#records()).awake(cluster.holder);
      // Who is dead is known once nothing of it was seen for a while
      await cluster.live();
    } catch (error) {
      // Who wakes it next starts another
      await cluster.stop();
      throw error;
    }
    return { cluster, clock, since: host.monotonic() };
  }

  #lookLater(): void {
    this.#timer = this.#o.clock.timer("background", LOOK_EVERY_MS, () => {
      void this.#awake?.then((awake) => {
        if (this.#mayRest(awake)) return this.sleep();
        if (this.awake) this.#lookLater();
      });
    });
  }

  #mayRest({ cluster, clock }: Awake): boolean {
    const { clock: host } = this.#o;
    if (this.#open > 0 || host.monotonic() - this.#askedAt < SLEEP_AFTER_MS) return false;
    const next = clock.nextWorkAt();
    return (next === undefined || next - host.now() >= SLEEP_MS_MIN) && cluster.busy().length === 0;
  }

  async #stop({ cluster, clock, since }: Awake): Promise<void> {
    const { holder } = cluster;
    const knows = this.#o.clock.monotonic() - since >= KNOWS_AFTER_MS;
    const record: Partial<DueRecord> = { holder, at: knows ? clock.nextWorkAt() : 0 };
    const others = cluster.leads() ? new Set(await cluster.live()) : undefined;
    others?.delete(holder);
    await cluster.stop();
    if (knows) await (await this.#records()).asleep(record, others);
  }
}

/** What is answered while the database cannot be had; what is wrong with it is for the log alone. */
function notAwake(): Response {
  const { status } = unavailable("the cluster cannot be reached now, try again");
  return Response.json(status, { status: 503, headers: { "retry-after": "1" } });
}

/** The same bytes; `ended` hears once that there are no more, or that nobody wants them. */
function ending(body: ReadableStream<Uint8Array>, ended: () => void): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (!done) return controller.enqueue(value);
        ended();
        controller.close();
      } catch (error) {
        ended();
        throw error;
      }
    },
    async cancel(reason) {
      ended();
      await reader.cancel(reason);
    },
  }, { highWaterMark: 0 });
}
