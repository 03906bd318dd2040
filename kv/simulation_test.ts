/**
 * Several processes on one database under a manual clock, with commits that fail before or after they
 * landed, crashes, compaction and changing leaders; then what everybody saw is checked. The same seed
 * gives the same run, to the byte. `PLESIO_KV_SEED=7` runs one seed, `PLESIO_KV_SEEDS=500` that many.
 */

import { assert, assertEquals } from "@std/assert";
import {
  type Codec,
  CompactedError,
  type Database,
  ManualClock,
  MemoryKv,
  openDatabase,
  type Term,
} from "./mod.ts";

interface Thing {
  /** Who wrote it, in which step. */
  by: string;
  n: number;
  fence?: number;
  pad?: string;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const codec: Codec<Thing> = {
  encode: (thing) => encoder.encode(JSON.stringify(thing)),
  decode: (bytes) => JSON.parse(decoder.decode(bytes)),
  stamp: (thing) => thing,
};

const PROCESSES = 3;
const STEPS = 250;
const KEEP = 60;
const LEASE_MS = 300;

/** An answered increment. */
interface Ack {
  n: number;
  revision: number;
}

/** One process: its database, what its watcher saw, the term it holds. */
interface Process {
  name: string;
  kv: Deno.Kv;
  database: Database<Thing>;
  seen: string[];
  /** The last revision that its watcher saw. */
  last: number;
  term?: Term;
  isDead: boolean;
}

class Simulation {
  readonly clock: ManualClock;
  readonly #memory = new MemoryKv();
  readonly #processes: Process[] = [];
  readonly #work: Set<Promise<void>> = new Set();
  readonly acks: Ack[] = [];
  /** Every event, by revision, as the first watcher that saw it told it. */
  readonly events: Map<number, string> = new Map();
  attempts = 0;
  faults = true;
  #born = 0;

  constructor(seed: number) {
    this.clock = new ManualClock({ seed });
  }

  #random(below: number): number {
    return Math.floor(this.clock.random() * below);
  }

  /** Lets promise reactions run, and time pass now and then. */
  async pump(): Promise<void> {
    for (let i = 0; i < 20 + this.#random(60); i++) await Promise.resolve();
    if (this.#random(3) === 0) await this.clock.advance(this.#random(50));
  }

  async until(promise: Promise<unknown>): Promise<void> {
    let isDone = false;
    promise.then(() => isDone = true, () => isDone = true);
    for (let i = 0; !isDone; i++) {
      assert(i < 100_000, "the simulation hangs");
      await this.pump();
      if (i % 20 === 19) await this.clock.advance(1_000);
    }
  }

  /** A handle whose commits take their time, and fail before or after they land; reads fail as well. */
  #faultyKv(): Deno.Kv {
    const kv = this.#memory.open();
    const fail = () => {
      if (this.faults && this.#random(60) === 0) throw new Error("connection lost reading");
    };
    const [get, getMany, list] = [kv.get.bind(kv), kv.getMany.bind(kv), kv.list.bind(kv)];
    Object.assign(kv, {
      get: async (key: Deno.KvKey) => (fail(), await get(key)),
      getMany: async (keys: Deno.KvKey[]) => (fail(), await getMany(keys)),
      list: (selector: Deno.KvListSelector, options: Deno.KvListOptions) => {
        const entries = list(selector, options);
        const next = entries.next.bind(entries);
        entries.next = () => {
          if (this.faults && this.#random(600) === 0) {
            return Promise.reject(new Error("connection lost listing"));
          }
          return next();
        };
        return entries;
      },
    });
    const atomic = kv.atomic.bind(kv);
    kv.atomic = () => {
      const op = atomic();
      const commit = op.commit.bind(op);
      op.commit = async () => {
        for (let i = this.#random(30); i > 0; i--) await Promise.resolve();
        const dice = this.faults ? this.#random(25) : 25;
        if (dice === 0) throw new Error("connection lost before");
        const result = await commit();
        if (dice === 1) throw new Error("connection lost after");
        return result;
      };
      return op;
    };
    return kv;
  }

  async open(): Promise<void> {
    const kv = this.#faultyKv();
    const opening = openDatabase({ kv, codec, clock: this.clock, owner: false, leaseMs: LEASE_MS });
    const name = `p${this.#born++}`;
    await this.until(opening);
    const database = await opening.catch((error) => {
      // A fault at opening: as a process that ends at once.
      assert(/connection lost/.test(error.message), error.message);
    });
    if (database === undefined) return kv.close();
    const last = database.objects.view().revision;
    const process: Process = { name, kv, database, seen: [], last, isDead: false };
    this.#processes.push(process);
    void this.#watch(process);
  }

  async #watch(process: Process): Promise<void> {
    while (!process.isDead) {
      try {
        const watch = process.database.objects.watch({ prefix: "/", after: process.last });
        for await (const { events, revision } of watch) {
          for (const { type, key, revision, item, previous } of events) {
            assert(revision > process.last, `${revision} comes after ${process.last}`);
            process.last = revision;
            const text = `${type} ${key} ${decoder.decode(item.bytes).slice(0, 60)} ` +
              `${previous?.revision}`;
            const known = this.events.get(revision);
            if (known === undefined) this.events.set(revision, text);
            else assertEquals(text, known, `revision ${revision} as ${process.name} saw it`);
            process.seen.push(`${revision}`);
          }
          process.last = revision;
        }
        return;
      } catch (error) {
        if (error instanceof CompactedError) {
          process.last = process.database.objects.view().revision;
        } else if (!/connection lost/.test(String(error))) return;
        await this.clock.sleep(10);
      }
    }
  }

  crash(process: Process): void {
    process.isDead = true;
    process.kv.close();
    void process.database.close().catch(() => {});
    this.#processes.splice(this.#processes.indexOf(process), 1);
  }

  #start(work: Promise<unknown>): void {
    // Refusals and lost connections are part of the game; what was answered is checked.
    const done = work.then(() => {}, () => {}).finally(() => this.#work.delete(done));
    this.#work.add(done);
  }

  async step(i: number): Promise<void> {
    if (this.#processes.length < PROCESSES) return await this.open();
    const process = this.#processes[this.#random(PROCESSES)];
    const dice = this.#random(100);
    if (dice < 45) this.#start(this.#increment(process, i));
    else if (dice < 70) this.#start(this.#change(process, i));
    else if (dice < 85) this.#start(this.#lead(process, i));
    else if (dice < 90) {
      this.#start(process.database.objects.compact({ keepRevisions: KEEP, keepMs: 0 }));
    } else if (dice < 95) this.#start(this.#read(process));
    else if (dice < 98) this.crash(process);
    await this.pump();
  }

  async #increment({ database, name }: Process, i: number): Promise<void> {
    this.attempts++;
    const ack = await database.objects.write((draft) => {
      const n = (draft.get("/counter")?.value.n ?? 0) + 1;
      return { n, revision: draft.put("/counter", { by: `${name}/${i}`, n }) };
    });
    this.acks.push(ack);
  }

  async #change({ database, name }: Process, i: number): Promise<void> {
    const [one, other] = [this.#random(20), this.#random(20)];
    const pad = this.#random(15) === 0 ? "x".repeat(70_000) : undefined;
    await database.objects.write((draft) => {
      draft.put(`/things/${one}`, { by: `${name}/${i}`, n: i, pad });
      draft.delete(`/things/${other}`);
    });
  }

  /** Takes the lead if it can, and writes as the leader, now or much later. */
  async #lead(process: Process, i: number): Promise<void> {
    const { database, name } = process;
    const term = process.term ?? await database.terms.acquire("leader");
    if (term === undefined) return;
    process.term = term;
    void database.terms.lost(term).then(() => process.term = undefined);
    if (this.#random(4) === 0) await this.clock.sleep(this.#random(LEASE_MS * 3));
    await database.objects.write((draft) => {
      draft.put("/led", { by: `${name}/${i}`, n: i, fence: term.fence });
    }, { term });
  }

  async #read({ database }: Process): Promise<void> {
    const newest = Math.max(0, ...this.acks.map(({ revision }) => revision));
    const view = await database.objects.fresh();
    assert(view.revision >= newest, `fresh() gave ${view.revision} after ${newest} was answered`);
  }

  /** Ends the work and compares what is left. */
  async finish(): Promise<string[]> {
    this.faults = false;
    await this.until(Promise.all([...this.#work]));
    while (this.#processes.length < PROCESSES) await this.open();
    const states: string[] = [];
    for (const { database } of this.#processes) {
      const fresh = database.objects.fresh();
      await this.until(fresh);
      const view = await fresh;
      const texts = [...view.scan("/")].map(({ key, revision }) => `${key}@${revision}`);
      states.push(`${view.revision}: ${texts.join()}`);
      await this.pump();
    }
    for (const state of states) assertEquals(state, states[0]);
    this.#checkHistory();
    for (const process of [...this.#processes]) this.crash(process);
    return [...this.events].sort(([a], [b]) => a - b).map(([at, text]) => `${at} ${text}`);
  }

  #checkHistory(): void {
    const byRevision = this.acks.toSorted((a, b) => a.revision - b.revision);
    byRevision.forEach((ack, i) => {
      assert(
        i === 0 || ack.n > byRevision[i - 1].n,
        `increment ${ack.n} was answered out of order`,
      );
      const event = this.events.get(ack.revision);
      // Everybody may have crashed before anybody saw it; whoever did saw this.
      if (event !== undefined) assert(event.includes(`"n":${ack.n}`), `${ack.revision}: ${event}`);
    });
    const { database } = this.#processes[0];
    const counted = database.objects.view().get("/counter")?.value.n ?? 0;
    assert(counted >= this.acks.length && counted <= this.attempts, `${counted} increments`);
    let fence = 0;
    for (const [, text] of [...this.events].sort(([a], [b]) => a - b)) {
      const found = /^put \/led .*"fence":(\d+)/.exec(text);
      if (found === null) continue;
      assert(Number(found[1]) >= fence, "a deposed leader wrote");
      fence = Number(found[1]);
    }
  }
}

async function run(seed: number): Promise<string[]> {
  const simulation = new Simulation(seed);
  for (let i = 0; i < STEPS; i++) await simulation.step(i);
  return await simulation.finish();
}

const one = Deno.env.get("PLESIO_KV_SEED");
const seeds = one !== undefined
  ? [Number(one)]
  : Array.from({ length: Number(Deno.env.get("PLESIO_KV_SEEDS") ?? 12) }, (_, i) => i + 1);

for (const seed of seeds) {
  Deno.test(`three processes, faults and crashes: seed ${seed}`, async () => {
    const events = await run(seed);
    assert(events.length > 50, `${events.length} events`);
  });
}

Deno.test("the same seed gives the same run", async () => {
  assertEquals(await run(77), await run(77));
});
