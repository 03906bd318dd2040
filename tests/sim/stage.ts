/**
 * A stage for scripted cases: the database and the processes of the simulation, and nobody who acts by chance.
 * What a seed once found is told here in a few lines, and stays when the seed has another story.
 */
import { loadCrdEngine } from "../../api/machinery/crd/engine.ts";
import type { Client } from "../../api/client/contract.ts";
import { ManualClock, MemoryKv } from "../../kv/mod.ts";
import type { Mutation } from "./mutations.ts";
import { Process } from "./process.ts";
import { CALM, type Trouble } from "./sim_kv.ts";
import { FAIR, type Weather } from "./sim_net.ts";
import { Truth } from "./truth.ts";

/** How far time is moved at once, and for how long somebody may wait. */
const STEP_MS = 10;
const WAIT_MS_MAX = 120_000;

/** See the module's text. */
export class Stage {
  readonly clock = new ManualClock({ seed: 1 });
  readonly truth = new Truth();
  trouble: Trouble = CALM;
  weather: Weather = FAIR;
  readonly #memory = new MemoryKv();
  readonly #shared: boolean;
  readonly #processes: Process[] = [];

  private constructor(shared: boolean) {
    this.#shared = shared;
  }

  /** `shared`: several processes may be opened on the database. */
  static async make({ shared = false } = {}): Promise<Stage> {
    await loadCrdEngine();
    return new Stage(shared);
  }

  /** A process with everything in it, but for nodes. */
  async open(mutation?: Mutation): Promise<Process> {
    const process = new Process({
      name: `p${this.#processes.length}`,
      memory: this.#memory,
      clock: this.clock,
      shared: this.#shared,
      trouble: () => this.trouble,
      weather: () => this.weather,
      landed: (name, written) => this.truth.land(name, this.clock.now(), written),
      mutation,
      log: () => {},
    });
    this.#processes.push(process);
    await this.until(process.open());
    return process;
  }

  /** Lets time pass until it is settled. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const settled = () => isSettled = true;
    promise.then(settled, settled);
    await this.pass(0);
    for (let ms = 0; !isSettled; ms += STEP_MS) {
      if (ms > WAIT_MS_MAX) throw new Error(`nothing came of it in ${WAIT_MS_MAX} ms`);
      await this.pass(STEP_MS);
    }
    return await promise;
  }

  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms);
    for (let i = 0; i < 3; i++) await this.clock.turn();
  }

  [Symbol.dispose](): void {
    for (const process of this.#processes) process.kill();
  }
}

/** The administrator's client of a process. */
export function clientOf(process: Process): Client {
  return process.running.client;
}
