/**
 * Many writers at once on one database, over several processes that are killed and begun anew, with a database
 * that fails: what must be exact is counted from the log after every commit, by a model of its own.
 *
 * - **Quotas.** `status.used` is what the objects add up to, and never grows beyond `spec.hard`.
 * - **Addresses and node ports.** At every revision nobody shares one; after every commit each Service's claims,
 *   and nothing else, are on record.
 * - **Disruption budgets.** What a round of the controller allowed is what is left plus what was evicted.
 */
import { createAuth, createTokenKey } from "../../api/auth/mod.ts";
import type { Client } from "../../api/client/contract.ts";
import { createKinds } from "../../api/kinds/mod.ts";
import { ApiError, type KubeObject } from "../../api/machinery/types.ts";
import { createApi, objectCodec } from "../../api/mod.ts";
import { type Database, ManualClock, MemoryKv, openDatabase } from "../../kv/mod.ts";
import { ExactChecker } from "./exactness_model.ts";
import { draw, type Hand, prepare } from "./exactness_workload.ts";
import { ADMIN } from "./process.ts";
import { SimClock } from "./sim_clock.ts";
import { CALM, SimKv, type Trouble } from "./sim_kv.ts";
import { Truth } from "./truth.ts";

/** How a run is made. */
export interface ExactnessOptions {
  seed: number;
  /** Writers at once (default 32). */
  writers?: number;
  /** Requests of each (default 16). */
  requests?: number;
  /** Processes on the database (default: 1 to 3, the seed says). */
  processes?: number;
  /** Fewer addresses than Services are asked for. */
  serviceRange?: string;
  tell?: (line: string) => void;
}

/** What came of a run. */
export interface ExactnessResult {
  failure?: string;
  answered: number;
  refused: number;
  lost: number;
  kills: number;
  revisions: number;
  /** How often each verb succeeded. */
  done: Record<string, number>;
}

const TOKEN_KEY = createTokenKey();

/** A process that may be killed: whoever waits for it then hears so. */
class Part {
  readonly died = Promise.withResolvers<never>();
  readonly #sim: SimKv;
  readonly #clock: SimClock;
  client!: Client;
  database!: Database<KubeObject>;

  constructor(sim: SimKv, clock: SimClock) {
    this.#sim = sim;
    this.#clock = clock;
    this.died.promise.catch(() => {});
  }

  async open(owner: boolean, serviceRange: string): Promise<void> {
    const clock = this.#clock;
    this.database = await openDatabase<KubeObject>({
      kv: this.#sim.kv,
      codec: objectCodec,
      clock,
      owner,
      sealed: (key) => key.startsWith("/registry/secrets/"),
      keepRevisions: 300,
      keepMs: 20_000,
    });
    const kinds = createKinds();
    const auth = createAuth({
      view: () => this.database.objects.view(),
      kinds: () => kinds,
      clock,
      tokenKeys: [TOKEN_KEY],
    });
    const api = createApi({ ...auth, database: this.database, kinds, clock, serviceRange });
    this.client = api.client(ADMIN, "writer");
  }

  kill(): void {
    this.#clock.kill();
    this.#sim.kill();
    this.died.reject(new Error("killed"));
  }
}

/** See the module's text. */
export class ExactnessRun {
  readonly clock: ManualClock;
  readonly truth = new Truth();
  readonly #memory = new MemoryKv();
  readonly #o: Required<Omit<ExactnessOptions, "tell">>;
  readonly #tell: (line: string) => void;
  readonly #checker: ExactChecker;
  readonly #parts: (Part | undefined)[] = [];
  #trouble: Trouble = CALM;
  #result: ExactnessResult = {
    answered: 0,
    refused: 0,
    lost: 0,
    kills: 0,
    revisions: 0,
    done: {},
  };

  constructor(options: ExactnessOptions) {
    const { seed } = options;
    this.clock = new ManualClock({ seed });
    this.#o = {
      writers: 32,
      requests: 16,
      processes: 1 + seed % 3,
      serviceRange: "10.96.0.0/26",
      ...options,
    };
    this.#tell = options.tell ?? (() => {});
    this.#checker = new ExactChecker(this.truth, () => this.clock.now());
  }

  async run(): Promise<ExactnessResult> {
    const { writers, processes } = this.#o;
    for (let i = 0; i < processes; i++) await this.#open(i);
    await this.#finish(prepare(this.#parts[0]!.client));
    this.#checker.begin();
    let running = writers;
    for (let i = 0; i < writers; i++) void this.#writer(i).finally(() => running--);
    for (let i = 0; running > 0 && !this.#checker.failure; i++) {
      await this.#pass(1 + this.#below(10));
      if (i % 4 === 3) await this.#disturb();
      if (i > 20_000) throw new Error("the writers do not come to an end");
    }
    this.#trouble = CALM;
    await this.#pass(5_000);
    this.#checker.end();
    for (const part of this.#parts) part?.kill();
    return {
      ...this.#result,
      failure: this.#checker.failure,
      revisions: this.truth.revision,
    };
  }

  #below(n: number): number {
    return Math.floor(this.clock.random() * n);
  }

  /** Lets something go wrong, or go right again. */
  async #disturb(): Promise<void> {
    const dice = this.#below(10);
    const chance = () => this.#below(3) === 0 ? this.clock.random() * 0.15 : 0;
    if (dice < 5) {
      const late = this.#o.processes > 1 ? chance() : 0;
      this.#trouble = dice === 0 ? CALM : {
        slow: chance() * 4,
        slowMs: 60,
        lost: chance(),
        unsure: chance(),
        late,
        unread: chance() / 3,
      };
    } else if (dice < 8) {
      const place = this.#below(this.#parts.length);
      this.#parts[place]?.kill();
      this.#parts[place] = undefined;
      this.#result.kills++;
      this.#trouble = CALM;
      await this.#open(place);
    }
  }

  async #open(place: number): Promise<void> {
    const clock = new SimClock(this.clock);
    const part = new Part(
      new SimKv({
        memory: this.#memory,
        clock: this.clock,
        trouble: () => this.#trouble,
        landed: (written) => {
          const commit = this.truth.land(String(place), this.clock.now(), written);
          if (commit) this.#checker.commit(commit);
        },
      }),
      clock,
    );
    await this.#finish(part.open(this.#o.processes === 1, this.#o.serviceRange));
    this.#parts[place] = part;
  }

  async #writer(number: number): Promise<void> {
    for (let i = 0; i < this.#o.requests; i++) {
      const part = this.#parts[this.#below(this.#parts.length)];
      if (!part) {
        await this.clock.sleep(50);
        continue;
      }
      const hand: Hand = {
        client: part.client,
        truth: this.truth,
        below: (n) => this.#below(n),
        now: () => this.clock.now(),
      };
      const ask = draw(hand);
      const text = `${number} ${ask.what}`;
      await this.clock.sleep(this.#below(20));
      try {
        await Promise.race([ask.run(), part.died.promise]);
        this.#result.answered++;
        this.#result.done[ask.verb] = (this.#result.done[ask.verb] ?? 0) + 1;
        this.#tell(`@${this.truth.revision} ${text}: done`);
      } catch (error) {
        const known = error instanceof ApiError;
        if (known && error.code !== 500) this.#result.refused++;
        else this.#result.lost++;
        this.#tell(`@${this.truth.revision} ${text}: ${known ? error.code : ""} ${error}`);
        if (
          this.#trouble === CALM && known && error.code === 500 && /TypeError/.test(String(error))
        ) {
          throw error;
        }
      }
    }
  }

  /** Lets time pass until a promise is settled. */
  async #finish<T>(promise: Promise<T>): Promise<T> {
    let isDone = false;
    const done = promise.finally(() => isDone = true);
    done.catch(() => {});
    for (let i = 0; !isDone && i < 2_000; i++) await this.#pass(20);
    if (!isDone) throw new Error("the simulated time goes on and nothing happens");
    return await done;
  }

  async #pass(ms: number): Promise<void> {
    const until = this.clock.now() + ms;
    for (let i = 0; i < 2; i++) await this.clock.turn();
    for (let next = this.clock.nextAt(); next !== undefined && next <= until;) {
      await this.clock.advance(Math.max(0, next - this.clock.now()));
      await this.clock.turn();
      next = this.clock.nextAt();
    }
    await this.clock.advance(Math.max(0, until - this.clock.now()));
    await this.clock.turn();
  }
}

/** One run of one seed. */
export function runExactness(options: ExactnessOptions): Promise<ExactnessResult> {
  return new ExactnessRun(options).run();
}
