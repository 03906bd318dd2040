/**
 * The parts of a cluster and how they are put together: an API over a database, a system of actors beside it, and what
 * they know of each other. Nothing here waits: what takes time is begun by `cluster.ts`.
 */
import { ControllerMetrics, SchedulerView } from "../mod.ts";
import {
  clusterRanges,
  dialerOf,
  dialRelay,
  metricsApi,
  type Ranges,
  type RunningNode,
  type SimulatedNodes,
  storageDrivers,
  usageOf,
} from "../nodes/mod.ts";
import { createSystem, type Logger, type System } from "../runtime/mod.ts";
import { controllerLines, workqueueLines } from "../runtime/metrics.ts";
import { settler } from "../runtime/rest.ts";
import { FrontProxy } from "../../api/auth/front_proxy.ts";
import type { Auth } from "../../api/auth/mod.ts";
import type { Client, Informers } from "../../api/client/contract.ts";
import type { NodeApi } from "../../api/client/node_api.ts";
import type { Listings } from "../../api/client/overlay.ts";
import type { Outbound } from "../../api/client/outbound.ts";
import { apisOf, featureLines } from "../../api/config/features.ts";
import { Forks, plesioApi, TestKit } from "../../api/plesio/mod.ts";
import type { Kinds, KubeObject } from "../../api/machinery/types.ts";
import { type Api, createApi, createInformers, hostOutbound } from "../../api/mod.ts";
import type { Auditor } from "../../api/server/audit.ts";
import { type Peers, peersOf } from "../../api/peers.ts";
import { identityOf } from "../../api/identity.ts";
import type { EncryptionKeys } from "../../api/encryption_keys.ts";
import { Upkeep } from "../../api/upkeep.ts";
import { type Clock, type Database, RealClock } from "../../kv/mod.ts";
import { ADMIN, type ClusterOptions, SERVER } from "./options.ts";
import { allNodesApi, explainedBy } from "./whole_process.ts";

/** What a cluster stands on. */
export interface Ground {
  options: ClusterOptions;
  clock: Clock;
  database: Database<KubeObject>;
  /** What seals at rest, where that is configured. */
  keys?: EncryptionKeys;
  ranges: Ranges | undefined;
  tokenKeys: readonly string[];
  /** What is kept of log-ins, in a fork: who wakes it is answered before anything could be read. */
  logins?: Uint8Array;
  log: Logger;
  /** Tells of requests, in the place of what the options ask for. */
  audit?: Auditor;
  /** What the caches of a fork share with those of its cluster's other forks. */
  listings?: Listings;
}

export interface Parts extends Ground {
  nodes: RunningNode[];
  simulated: SimulatedNodes[];
  view: SchedulerView;
  upkeep: Upkeep;
  /** By which certificates are made and checked: TLS libraries read the machine's. */
  host: Clock;
  kit: TestKit | undefined;
  kinds: Kinds;
  api: Api;
  system: System;
  auth: Auth;
  frontProxy: FrontProxy;
  informers: Informers;
  client: Client;
  outbound: Outbound;
  /** The other processes, if there can be any. */
  peers: Peers | undefined;
  /** Where Services and pods have their addresses. */
  cidrs: ReturnType<typeof clusterRanges>;
  /** What controllers share with the server. */
  shared: {
    metrics: ControllerMetrics;
    features: ReadonlyMap<string, boolean>;
    storageDrivers?: ReturnType<typeof storageDrivers>;
  };
  /** Whose certificates are users', in PEM, once it listens. */
  authorities: { users: string };
}

/** Makes them. `upkeep` and `forks` are made beside them. */
export function build(ground: Ground, upkeep: () => Upkeep, forks: Forks): Omit<Parts, "upkeep"> {
  const nodes: RunningNode[] = [];
  const simulated: SimulatedNodes[] = [];
  const view = new SchedulerView();
  const { options, clock, database, ranges, log } = ground;
  const host = options.testKit ? new RealClock() : clock;
  const authorities = { users: "", nodes: async () => (await upkeep().identity()).trustPem };
  const { kinds, gates } = apisOf(options);
  const settled = settler(clock, () => ({ system, informers, database, requests: api.requests }));
  const kitPorts = { clock, host, database, settled, simulated, admin: ADMIN, api: () => api };
  const kit = options.testKit ? new TestKit(kitPorts) : undefined;
  const direct = options.outbound ?? hostOutbound({ database, clock });
  const outbound = kit?.faults.outbound(direct) ?? direct;
  const server = () => api.client(SERVER, "plesio");
  const auth = identityOf(ground, { host, kinds, outbound, authorities, server });
  const cidrs = clusterRanges(ranges, options);
  const { actorControl: control } = options;
  const own = { database, clock, kinds, forks, kit, logins: auth.logins, control };
  const beside = plesioApi({ ...own, api: () => api, actors: () => system });
  const peers = peersOf({
    ...ground,
    client: server,
    hostname: () => Deno.hostname(),
    identity: () => upkeep().identity(),
    servingPem: options.serving?.cert,
    dial: dialRelay,
  });
  if (peers) view.elsewhere = async (pod) => explainedBy(await peers.others(), pod);
  const usage = (others: readonly NodeApi[] = []) =>
    usageOf(nodes, simulated, { elsewhere: [...api.tunnels.all(), ...others], clock });
  const frontProxy = new FrontProxy(database.settings, host);
  const controllerMetrics = new ControllerMetrics();
  const api = createApi({
    ...auth,
    outbound,
    frontProxy: () => frontProxy.identity(),
    features: gates,
    metricsText: () =>
      [
        ...featureLines(gates),
        ...actorLines(system),
        ...[auth, view].map((part) => part.metricsText()),
        controllerMetrics.text(),
      ].filter(Boolean).join("\n"),
    database,
    kinds,
    clock,
    dialer: dialerOf(() => nodes, () => simulated),
    elsewhere: peers && ((here) => peers.dialer(here)),
    allNodes: allNodesApi(usage, (pod) => view.explainHere(pod)),
    following: () => upkeep().following,
    checks: ground.keys?.checks(options.encryptionAnew !== undefined),
    virtual: { ...metricsApi(async () => usage(await peers?.others())), ...view.subresources },
    serviceRange: cidrs.serviceRange,
    beside,
    ...(kit && { stage: kit.stage, callStage: kit.callStage }),
    front: options.front,
    audit: ground.audit,
    warn: (text) => log("error", text),
    onError: (error) => log("error", "a request failed", { error: String(error) }),
  });
  const client = api.client(ADMIN, "plesio");
  const informers = createInformers(server(), clock, ground);
  const { queue, terms } = database;
  const system = createSystem({ client, informers, clock, queue, terms, log, spans: api.spans });
  const made = { kinds, api, client, informers, system, auth };
  const shared = sharedOf(options, { metrics: controllerMetrics, features: gates }, clock);
  const local = { nodes, simulated, view, authorities, frontProxy, outbound, peers, shared, cidrs };
  return { ...ground, ...made, ...local, host, kit };
}

function actorLines(system: System): string[] {
  const reports = system.report();
  return [workqueueLines(reports), controllerLines(reports)];
}

/** What controllers share with the server. */
function sharedOf(
  { controllerOptions, csiControllerSockets: sockets = [] }: ClusterOptions,
  shared: Pick<Parts["shared"], "metrics" | "features">,
  clock: Clock,
): Parts["shared"] {
  const drivers = sockets.length && { storageDrivers: storageDrivers(sockets, clock) };
  return { ...shared, ...controllerOptions, ...drivers };
}
