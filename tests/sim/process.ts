/**
 * One simulated process: the composition of `mod.ts` on a database handle, a clock and a log of its own, so
 * that it can be killed between any two awaits, paused, and begun anew on the same database.
 */
import { startControlPlane } from "../../actors/mod.ts";
import {
  type Network,
  type SimulatedNodes,
  startSimulatedNodes,
  VirtualNetwork,
} from "../../actors/nodes/mod.ts";
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

/** How long requests of those who run a second time take, at most. */
const LAG_OF_SECOND_MS = 50;

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
  /** All controllers and the scheduler run twice, under the same terms, each time with caches of their own. */
  twice?: boolean;
  /** Hears of pods that begin and end to be on a machine. */
  ran?(what: Ran): void;
  log: Logger;
}

/** A host of nodes: `gone` when its machines are no more, with everything on them. */
export interface Machine {
  gone: boolean;
}

/** A pod that is on a machine, or no longer. */
export interface Ran {
  readonly machine: Machine;
  readonly node: string;
  /** Of the API: `namespace/name`. */
  readonly key: string;
  readonly uid: string;
  readonly on: boolean;
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
  readonly #machines = new Map<string, Machine>();

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
    const { clock, log, shared, mutation, twice } = this.#o;
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
    const ports = { kinds, rootCa: () => Promise.resolve("PEM"), legacyToken: () => "token" };
    const system = createSystem({ client, informers, clock: this.clock, queue, terms, log });
    startControlPlane(system, { client, ports });
    if (twice) {
      // Their requests take time: two who know different things answer one another as fast as they can.
      const weather = () => ({ ...this.#o.weather(), lag: 1, lagMs: LAG_OF_SECOND_MS });
      const far = throughNet(plain, { clock: this.clock, weather });
      const others = createInformers(client, this.clock);
      const again = createSystem({ client: far, informers: others, clock: this.clock, terms, log });
      startControlPlane(again, { client: far, ports });
    }
    this.#running = { database, client: plain, informers, system };
  }

  /** Starts a host of simulated nodes here, once its former life is over. */
  startNodes(prefix: string, count: number): void {
    const start = () => {
      if (this.#dead || this.nodes.has(prefix) || !this.#hosts.has(prefix)) return;
      const machine: Machine = { gone: false };
      this.#machines.set(prefix, machine);
      const network = heard(machine, (what) => this.#o.ran?.(what));
      const host = { prefix, count, network, singleton: true };
      this.nodes.set(prefix, startSimulatedNodes(this.running.system, host));
    };
    this.#hosts.add(prefix);
    const stopping = this.#stopping.get(prefix);
    if (!stopping) start();
    else void stopping.then(start);
  }

  /** Stops a host of nodes: its machines are gone, with everything on them. */
  stopNodes(prefix: string): void {
    this.#hosts.delete(prefix);
    this.#lose(prefix);
    const stopped = this.nodes.get(prefix)?.stop().then(() => this.#stopping.delete(prefix));
    if (stopped) this.#stopping.set(prefix, stopped);
    this.nodes.delete(prefix);
  }

  #lose(prefix: string): void {
    const machine = this.#machines.get(prefix);
    if (machine) machine.gone = true;
  }

  /** The process is gone, at once, and the machines beside it. */
  kill(): void {
    this.#dead = true;
    for (const prefix of this.#machines.keys()) this.#lose(prefix);
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

/** The network of a host's pods; a pod is on the machine from when it is given an address until that is taken away. */
function heard(machine: Machine, tell: (what: Ran) => void): Network {
  const network = new VirtualNetwork();
  const on = new Map<string, Omit<Ran, "on">>();
  return {
    setupPod: (pod, node) => {
      const { uid, namespace, name } = pod.metadata;
      const what = { machine, node: node.name, key: `${namespace}/${name}`, uid };
      on.set(uid, what);
      tell({ ...what, on: true });
      return network.setupPod(pod, node);
    },
    teardownPod: (uid) => {
      const what = on.get(uid);
      if (what && on.delete(uid)) tell({ ...what, on: false });
      return network.teardownPod(uid);
    },
    endpoint: (ip, port) => network.endpoint(ip, port),
    nodeAddresses: (index) => network.nodeAddresses(index),
    close: () => network.close(),
  };
}
