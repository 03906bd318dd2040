/**
 * The world of one run: one database, one or two processes on it, people who ask for things, and trouble;
 * all of it drawn from one seed. Nothing leaves the microtask queue, so that the same seed gives the same
 * run, to the byte.
 *
 * A run has two halves. First, steps: each makes a request or some trouble, and lets a little happen. Then the
 * trouble stops, everything is brought up again, and time passes until the checkers find nothing wrong, or
 * too much of it has passed.
 */
import { loadCrdEngine } from "../../api/machinery/crd/engine.ts";
import { ManualClock, MemoryKv } from "../../kv/mod.ts";
import { type Checker, createCheckers, type Sight } from "./checkers/mod.ts";
import type { Mutation } from "./mutations.ts";
import { Process } from "./process.ts";
import { CALM, type Trouble, type Written } from "./sim_kv.ts";
import { FAIR, type Weather } from "./sim_net.ts";
import { Truth } from "./truth.ts";
import { type Ask, cordonOf, nextAsk } from "./workload.ts";

/** How a run is made. */
export interface RunOptions {
  seed: number;
  /** Steps of the first half (default 90). */
  steps?: number;
  /** Two processes (default: the seed says). */
  shared?: boolean;
  mutation?: Mutation;
  /** Controllers run twice under one term. */
  twice?: boolean;
  /** Hears of everything that happens. */
  tell?: (line: string) => void;
}

/** What came of a run. */
export interface RunResult {
  seed: number;
  steps: number;
  /** Of the first failure; undefined when there was none. */
  failure?: { step: string; checker: string; text: string };
  /** A digest of everything that was ever written. */
  digest(): string;
  revisions: number;
  requests: number;
  answered: number;
  crashes: number;
  /** How long it took to come to rest, in simulated seconds. */
  restedS: number;
}

/** How long the world may take to come to rest. */
const REST_MS_MAX = 25 * 60_000;
/** How often it is looked at meanwhile. */
const REST_LOOK_MS = 20_000;
/** More revisions than this are no life but a loop. */
const REVISIONS_MAX = 6_000;
/** … and these for each step beyond a hundred. */
const REVISIONS_PER_STEP = 30;
/** Hosts of nodes: their prefix, how many nodes, and which process they are beside. */
const HOSTS = [{ prefix: "left-", count: 2 }, { prefix: "right-", count: 1 }] as const;

class Wrong extends Error {}

/** See the module's text. */
export class World {
  readonly clock: ManualClock;
  readonly truth = new Truth();
  readonly #o: RunOptions;
  readonly #memory = new MemoryKv();
  readonly #shared: boolean;
  readonly #checkers: Checker[];
  readonly #processes: (Process | undefined)[];
  readonly #downHosts = new Set<string>();
  readonly #tell: (line: string) => void;
  #trouble: Trouble = CALM;
  #weather: Weather = FAIR;
  #failure: RunResult["failure"];
  #step = "start";
  #born = 0;
  #requests = 0;
  #answered = 0;
  #crashes = 0;

  constructor(options: RunOptions) {
    this.#o = options;
    this.clock = new ManualClock({ seed: options.seed });
    this.#shared = options.shared ?? options.mutation?.shared ?? options.seed % 3 === 0;
    this.#processes = this.#shared ? [undefined, undefined] : [undefined];
    this.#tell = options.tell ?? (() => {});
    const sight: Sight = {
      truth: this.truth,
      now: () => this.clock.now(),
      processes: () => this.#up(),
      twice: options.twice ?? false,
      fail: (checker, text) => this.#fail(checker, text),
    };
    this.#checkers = createCheckers(sight, () => this.clock.random());
  }

  /** Runs it all. */
  async run(): Promise<RunResult> {
    const { seed, steps = 90 } = this.#o;
    let restedS = 0;
    try {
      for (const place of this.#processes.keys()) await this.#open(place);
      await this.#pass(2_000);
      for (let i = 0; i < steps; i++) {
        this.#step = `step ${i}`;
        await this.#act();
        this.#stopIfWrong();
      }
      this.#step = "rest";
      restedS = await this.#rest();
    } catch (error) {
      if (!(error instanceof Wrong)) {
        this.#fail("world", error instanceof Error ? error.stack ?? error.message : String(error));
      }
    }
    for (const process of this.#processes) process?.kill();
    const { truth } = this;
    return {
      seed,
      steps,
      failure: this.#failure,
      digest: () => truth.digest(),
      revisions: this.truth.revision,
      requests: this.#requests,
      answered: this.#answered,
      crashes: this.#crashes,
      restedS,
    };
  }

  #fail(checker: string, text: string): void {
    this.#say(`WRONG (${checker}) ${text}`);
    this.#failure ??= { step: this.#step, checker, text };
    // Whatever loops must come to an end.
    for (const process of this.#processes) process?.kill();
  }

  #stopIfWrong(): void {
    if (this.#failure) throw new Wrong();
  }

  #say(text: string): void {
    const seconds = (this.clock.monotonic() / 1000).toFixed(3);
    this.#tell(`${seconds.padStart(9)} @${this.truth.revision} ${this.#step}: ${text}`);
  }

  #up(): Process[] {
    return this.#processes.filter((process) => process?.up) as Process[];
  }

  #below(n: number): number {
    return Math.floor(this.clock.random() * n);
  }

  #chance(of: number): boolean {
    return this.clock.random() < of;
  }

  /** Begins a process in a place; one whose database fails while it opens ends, and is begun again later. */
  async #open(place: number): Promise<void> {
    const process = new Process({
      name: `p${this.#born++}`,
      memory: this.#memory,
      clock: this.clock,
      shared: this.#shared,
      trouble: () => this.#trouble,
      weather: () => this.#weather,
      mutation: this.#o.mutation,
      twice: this.#o.twice,
      ran: (what) => this.#checkers.forEach((checker) => checker.ran?.(what)),
      landed: (name, written) => this.#landed(name, written),
      log: (level, text, fields) => {
        if (level !== "debug") {
          this.#say(`${process.name} ${level} ${text} ${JSON.stringify(fields)}`);
        }
      },
    });
    this.#processes[place] = process;
    let outcome: unknown = "open";
    const opening = process.open().then(() => outcome = "up", (error) => outcome = error);
    for (let i = 0; outcome === "open" && i < 600; i++) await this.#pass(50);
    void opening;
    if (outcome !== "up") {
      this.#say(`${process.name} does not open: ${outcome}`);
      if (this.#trouble === CALM) this.#fail("world", `${process.name} does not open: ${outcome}`);
      process.kill();
      return;
    }
    this.#say(`${process.name} is up`);
    for (const checker of this.#checkers) checker.opened?.(process);
    HOSTS.forEach(({ prefix, count }, i) => {
      const home = this.#shared ? i % this.#processes.length : 0;
      if (home === place && !this.#downHosts.has(prefix)) process.startNodes(prefix, count);
    });
  }

  #landed(process: string, written: readonly Written[]): void {
    const commit = this.truth.land(process, this.clock.now(), written);
    if (!commit) return;
    for (const checker of this.#checkers) checker.commit?.(commit);
    const max = REVISIONS_MAX + Math.max(0, (this.#o.steps ?? 0) - 100) * REVISIONS_PER_STEP;
    if (this.truth.revision <= max) return;
    const last = [...this.truth.changes.values()].slice(-4).map(({ type, key }) =>
      `${type} ${key}`
    );
    this.#fail("world", `${max} revisions, the last ${last.join(", ")}`);
  }

  /** Lets everything happen that can happen now: nothing leaves the microtask queue. */
  async #drain(): Promise<void> {
    for (let i = 0; i < 3; i++) await this.clock.turn();
  }

  /** Lets `ms` pass, with everything that falls due. */
  async #pass(ms: number): Promise<void> {
    const until = this.clock.now() + ms;
    await this.#drain();
    for (let next = this.clock.nextAt(); next !== undefined && next <= until;) {
      await this.clock.advance(Math.max(0, next - this.clock.now()));
      await this.clock.turn();
      this.#stopIfWrong();
      next = this.clock.nextAt();
    }
    await this.clock.advance(until - this.clock.now());
    await this.#drain();
  }

  /** One step: a request or trouble, then a little time, which may end in the middle of something. */
  async #act(): Promise<void> {
    const dice = this.#below(100);
    if (dice < 78) this.#ask();
    else if (dice < 84) await this.#crash();
    else if (dice < 88) this.#toggleHost();
    else if (dice < 92) this.#newTrouble();
    else if (this.#shared) await this.#cutOff();
    for (const [place, process] of this.#processes.entries()) {
      if (!process?.up && this.#chance(0.4)) await this.#open(place);
    }
    const kind = this.#below(10);
    if (kind < 4) {
      for (let i = this.#below(400); i > 0; i--) await Promise.resolve();
    } else if (kind < 9) await this.#pass(this.#below(1_500));
    else await this.#pass(this.#below(30_000));
  }

  #ask(by?: Process): void {
    const up = this.#up();
    if (up.length === 0) return;
    const process = by ?? up[this.#below(up.length)];
    const random = () => this.clock.random();
    const { client } = process.running;
    const ask = nextAsk({ client, truth: this.truth, random });
    if (ask) void this.#make(ask, process);
  }

  async #make(ask: Ask, process: Process): Promise<void> {
    const { verb, what } = ask;
    const askedAt = this.truth.revision;
    this.#requests++;
    for (const checker of this.#checkers) checker.asked?.(ask);
    try {
      const result = await ask.run(process.running.client);
      this.#answered++;
      this.#say(`${process.name} ${verb} ${what}: ${result?.metadata?.resourceVersion ?? "done"}`);
      for (const checker of this.#checkers) checker.answer?.({ verb, what, askedAt, result });
    } catch (error) {
      const { code, message } = error as { code?: number; message?: string };
      this.#say(`${process.name} ${verb} ${what}: refused ${code ?? ""} ${message}`);
      if (code === 500 && this.#trouble === CALM) {
        this.#fail("answers", `${verb} ${what}: ${message}`);
      }
    }
  }

  /** A process is gone in the middle of whatever it did. */
  async #crash(): Promise<void> {
    const place = this.#below(this.#processes.length);
    const process = this.#processes[place];
    if (!process?.up) return;
    for (let i = this.#below(300); i > 0; i--) await Promise.resolve();
    this.#say(`${process.name} is killed`);
    this.#crashes++;
    process.kill();
    this.#processes[place] = undefined;
  }

  /** The machines of a host go, or come back. */
  #toggleHost(): void {
    const { prefix, count } = HOSTS[this.#below(HOSTS.length)];
    const home = this.#shared ? HOSTS.findIndex((host) => host.prefix === prefix) : 0;
    const process = this.#processes[home];
    if (!process?.up) return;
    if (this.#downHosts.delete(prefix)) {
      this.#say(`nodes ${prefix} come back`);
      process.startNodes(prefix, count);
      return;
    }
    this.#say(`nodes ${prefix} are lost`);
    this.#downHosts.add(prefix);
    process.stopNodes(prefix);
  }

  /** The database, the network, both or neither go wrong from now on. */
  #newTrouble(): void {
    const rare = () => this.#chance(0.5) ? 0 : this.clock.random() * 0.15;
    const late = this.#shared ? rare() : 0;
    this.#trouble = this.#chance(0.3)
      ? { ...CALM }
      : { slow: rare() * 4, slowMs: 200, lost: rare(), unsure: rare(), late, unread: rare() / 3 };
    this.#tellOf("trouble", this.#trouble);
    this.#weather = this.#chance(0.4) ? FAIR : {
      lag: rare() * 4,
      lagMs: 400,
      dropped: rare() / 2,
      unheard: rare() / 2,
      twice: rare(),
      conflict: rare(),
      stale: rare() * 4,
      staleMs: 2_000,
      again: rare(),
      broken: rare() / 3,
    };
    this.#tellOf("weather", this.#weather);
  }

  #tellOf(what: string, chances: Trouble | Weather): void {
    const parts = Object.entries(chances).filter(([, of]) => of > 0)
      .map(([name, of]) => `${name} ${of.toFixed(2)}`);
    this.#say(`${what}: ${parts.join(", ") || "none"}`);
  }

  /** A process is cut off from its database, in the middle of work if it can be, and comes back later. */
  async #cutOff(): Promise<void> {
    const up = this.#up();
    if (up.length < 2 || up.some(({ paused }) => paused)) return;
    const process = up[this.#below(up.length)];
    for (let i = this.#below(4); i > 0; i--) this.#ask(process);
    for (let i = this.#below(600); i > 0; i--) await Promise.resolve();
    if (this.#chance(0.5)) await this.#pass(this.#below(20));
    this.#say(`${process.name} is cut off`);
    process.pause();
    this.clock.timer("background", 1_000 + this.#below(40_000), () => {
      if (process.dead || !process.paused) return;
      this.#say(`${process.name} is back`);
      process.resume();
    });
  }

  /** Ends the trouble and waits until nothing is wrong; returns the seconds that took. */
  async #rest(): Promise<number> {
    this.#trouble = CALM;
    this.#weather = FAIR;
    for (const process of this.#up()) process.resume();
    for (const [place, process] of this.#processes.entries()) {
      if (!process?.up) await this.#open(place);
    }
    HOSTS.forEach(({ prefix, count }, i) => {
      const home = this.#shared ? i % this.#processes.length : 0;
      if (this.#downHosts.delete(prefix)) this.#processes[home]!.startNodes(prefix, count);
    });
    await this.#pass(5_000);
    this.#stopIfWrong();
    const startedAt = this.clock.now();
    for (;;) {
      // A wish of before may have been on its way until now
      for (const node of this.truth.list("/registry/minions/")) {
        if (!node.spec.unschedulable) continue;
        void this.#make(cordonOf(node.metadata.name, false), this.#up()[0]);
      }
      await this.#pass(REST_LOOK_MS);
      this.#stopIfWrong();
      const wrong = this.#checkers.flatMap((checker) =>
        (checker.rest?.() ?? []).map((text) => ({ checker: checker.name, text }))
      );
      const restedMs = this.clock.now() - startedAt;
      if (wrong.length === 0) return restedMs / 1000;
      if (restedMs < REST_MS_MAX) continue;
      for (const { checker, text } of wrong.slice(0, 15)) this.#fail(checker, text);
      throw new Wrong();
    }
  }
}

/** One run of one seed. */
export async function runSeed(options: RunOptions): Promise<RunResult> {
  // Modules loaded at first use come when the host has them: the first run must not differ from the next.
  await loadCrdEngine();
  return await new World(options).run();
}
