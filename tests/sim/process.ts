/**
 * One simulated process: the composition of `mod.ts` on a database handle, a clock and a log of its own, so
 * that it can be killed between any two awaits, paused, and begun anew on the same database.
 */
import { startControlPlane } from "../../actors/mod.ts";
import { type SimulatedNodes, startSimulatedNodes } from "../../actors/nodes/mod.ts";
import { createSystem, type Logger, type System } from "../../actors/runtime/mod.ts";
import { createAuth, createTokenKey } from "../../api/auth/mod.ts";
import type { Client, Informers, User } from "../../api/client/contract.ts";
import { createKinds } from "../../api/kinds/mod.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import { createApi, createInformers, objectCodec } from "../../api/mod.ts";
import { bootstrap } from "../../api/server/bootstrap.ts";
import { type Database, type ManualClock, type MemoryKv, openDatabase } from "../../kv/mod.ts";
import type { Mutation } from "./mutations.ts";
import { SimClock } from "./sim_clock.ts";
import { SimKv, type Trouble, type Written } from "./sim_kv.ts";
import { throughNet, type Weather } from "./sim_net.ts";

/** The administrator. */
export const ADMIN: User = {
  name: "kubernetes-admin",
  groups: ["system:masters", "system:authenticated"],
};

/** Tokens are not looked at here; one key serves all. */
const TOKEN_KEY = createTokenKey();

/** What the bytes of a record were decoded to, by their buffer: it holds one record, and nobody writes to it again. */
const decoded = new WeakMap<ArrayBufferLike, { revision: number; object: KubeObject }>();

/** The store's codec; what one process decoded the next has at once, as it is frozen. */
const sharedCodec: typeof objectCodec = {
  ...objectCodec,
  decode(bytes, revision) {
    const known = decoded.get(bytes.buffer);
    if (known?.revision === revision) return known.object;
    const object = objectCodec.decode(bytes, revision);
    decoded.set(bytes.buffer, { revision, object });
    return object;
  },
};

/** What a process is begun with. */
export interface ProcessOptions {
  name: string;
  memory: MemoryKv;
  clock: ManualClock;
  /** Other processes use the database as well. */
  shared: boolean;
  trouble(): Trouble;
  weather(): Weather;
  landed(process: string, written: readonly Written[]): void;
  mutation: Mutation | undefined;
  log: Logger;
}

/** A process that answers. */
interface Running {
  database: Database<KubeObject>;
  client: Client;
  informers: Informers;
  system: System;
}

/** See the module's text. */
export class Process {
  readonly name: string;
  readonly clock: SimClock;
  readonly #o: ProcessOptions;
  readonly #sim: SimKv;
  #running: Running | undefined;
  #dead = false;
  paused = false;
  /** When it was cut off the last time, and when it came back. */
  cutOff = { from: -Infinity, to: -Infinity };
  readonly nodes = new Map<string, SimulatedNodes>();
  /** Hosts that are to run here. */
  readonly #hosts = new Set<string>();
  readonly #stopping = new Map<string, Promise<unknown>>();

  constructor(options: ProcessOptions) {
    this.#o = options;
    this.name = options.name;
    this.clock = new SimClock(options.clock);
    this.#sim = new SimKv({
      memory: options.memory,
      clock: options.clock,
      trouble: options.trouble,
      landed: (written) => options.landed(this.name, written),
      lies: options.mutation?.lies,
    });
  }

  /** Whether it was opened and still lives. */
  get up(): boolean {
    return this.#running !== undefined && !this.#dead;
  }

  get dead(): boolean {
    return this.#dead;
  }

  get running(): Running {
    if (!this.#running) throw new Error(`process ${this.name} is not up`);
    return this.#running;
  }

  /** Opens the database and starts everything; rejects when the database fails. */
  async open(): Promise<void> {
    const { clock, log, shared, mutation } = this.#o;
    const database = await openDatabase<KubeObject>({
      kv: this.#sim.kv,
      codec: sharedCodec,
      clock: this.clock,
      owner: !shared,
      sealed: (key) => key.startsWith("/registry/secrets/"),
      keepRevisions: 300,
      keepMs: 20_000,
    });
    const kinds = createKinds();
    const auth = createAuth({
      view: () => database.objects.view(),
      kinds: () => kinds,
      clock: this.clock,
      tokenKeys: [TOKEN_KEY],
    });
    const api = createApi({ ...auth, database, kinds, clock: this.clock });
    const plain = api.client(ADMIN, "sim");
    const net = throughNet(plain, { clock: this.clock, weather: this.#o.weather });
    const client = mutation?.client?.(net, clock) ?? net;
    const informers = createInformers(client, this.clock);
    await bootstrap({
      database,
      clock: this.clock,
      client: plain,
      serviceRange: "10.96.0.0/12",
      apiIP: "10.96.0.1",
      dnsIP: "10.96.0.10",
      advertise: { ip: "10.244.255.254", port: 6443 },
    });
    const { queue, terms } = database;
    const system = createSystem({ client, informers, clock: this.clock, queue, terms, log });
    startControlPlane(system, {
      client,
      ports: { kinds, rootCa: () => Promise.resolve("PEM"), legacyToken: () => "token" },
    });
    this.#running = { database, client: plain, informers, system };
  }

  /** Starts a host of simulated nodes here, once its former life is over. */
  startNodes(prefix: string, count: number): void {
    const start = () => {
      if (this.#dead || this.nodes.has(prefix) || !this.#hosts.has(prefix)) return;
      this.nodes.set(prefix, startSimulatedNodes(this.running.system, { prefix, count }));
    };
    this.#hosts.add(prefix);
    const stopping = this.#stopping.get(prefix);
    if (!stopping) start();
    else void stopping.then(start);
  }

  /** Stops a host of nodes: its machines are gone, with everything on them. */
  stopNodes(prefix: string): void {
    this.#hosts.delete(prefix);
    const stopped = this.nodes.get(prefix)?.stop().then(() => this.#stopping.delete(prefix));
    if (stopped) this.#stopping.set(prefix, stopped);
    this.nodes.delete(prefix);
  }

  /** The process is gone, at once. */
  kill(): void {
    this.#dead = true;
    this.clock.kill();
    this.#sim.kill();
  }

  /** The process gets no answer from its database, as when it is cut off. */
  pause(): void {
    this.paused = true;
    this.cutOff = { from: this.clock.now(), to: Infinity };
    this.#sim.pause();
  }

  resume(): void {
    if (this.paused) this.cutOff.to = this.clock.now();
    this.paused = false;
    this.#sim.resume();
  }
}
