/**
 * The service proxy of one machine: an actor that listens on every service's addresses and carries each
 * connection to one of its endpoints. In userspace, so that it needs no root and works everywhere.
 *
 * It answers on cluster IPs, on load balancers' addresses, on node ports (at 127.0.0.1 and the nodes' own
 * addresses) and on external IPs that are this machine's. A service without endpoints is not listened for:
 * connections are refused, as kube-proxy's are. Where a port below 1024 is closed to us it listens
 * `PORT_SHIFT` higher and says so, in an event and in the annotation `plesio.dev/remapped-ports`.
 *
 * Host ports of pods are listened for in the same way: a port that leads to one container.
 *
 * A message names a service, or a pod; the actor reads the caches, compares what should be listened on with what
 * is, and mends the difference.
 */
import { ApiError, type DeepReadonly, type KubeObject } from "../../../api/machinery/types.ts";
import type { ActorContext, Behaviour } from "../../runtime/contract.ts";
import { SERVICES } from "../types.ts";
import { Balancer } from "./balancer.ts";
import { addressesOf, BY_SERVICE, type Endpoint } from "./endpoints.ts";
import { forward, type Forwarder } from "./forward.ts";
import { hostPortsOf, POD_KEY } from "./host_ports.ts";
import { ProxyMetrics } from "./proxy_metrics.ts";
import { type ServiceWatch, watchServices } from "./service_watch.ts";
import {
  affinitySeconds,
  candidatesOf,
  type Family,
  familyOf,
  type Place,
  policiesOf,
  reachable,
  type ServicePort,
} from "./traffic.ts";

type Service = DeepReadonly<KubeObject>;

const FAMILIES: readonly Family[] = [4, 6];
/** How far up a port below 1024 moves where the system refuses it. */
export const PORT_SHIFT = 20_000;
/** Tells which ports moved: `80=20080,443=20443`. */
export const REMAPPED = "plesio.dev/remapped-ports";
/** Addresses one machine listens on. */
export const LISTENERS_MAX = 20_000;

export interface ProxyOptions {
  /** Addresses that node ports answer on. */
  nodePortAddresses: () => readonly string[];
  /** Where an endpoint answers on this machine; undefined: it must not be dialled. */
  locate(endpoint: Endpoint): { hostname: string; port: number } | undefined;
  /** Whether an address is this machine's to listen on. */
  local(address: string): boolean;
  /** Which nodes are here, for traffic policies and hints. */
  place(context: ActorContext): Place;
  /** Where host ports of a node's pods are listened on; nowhere: it is not of this machine. */
  hostPortAddresses(node: string): readonly string[];
  /** Where it counts (its own, which nobody reads). */
  metrics?: ProxyMetrics;
}

interface Listener {
  balancer: Balancer;
  forwarder: Forwarder;
  /** The port it listens on, where not the one it is for. */
  moved?: number;
}

interface State extends ServiceWatch {
  /** By service, then by `protocol/address/port`. */
  listeners: Map<string, Map<string, Listener>>;
  count: number;
}

/** The proxy as an actor: `proxy/<machine>`. */
export function proxy(options: ProxyOptions): Behaviour<State> {
  const { metrics = new ProxyMetrics() } = options;
  return {
    start(context) {
      const look = (key: string) => context.send(context.address, key);
      const watch = watchServices(context, look, metrics);
      return { ...watch, listeners: new Map(), count: 0 };
    },
    handle: (key, state, context) =>
      metrics.synced(context, () => mend(key, state, context, options)),
    async stop(state) {
      for (const end of state.unsubscribe) end();
      const all = [...state.listeners.values()].flatMap((listeners) => [...listeners.values()]);
      await Promise.all(all.map(({ forwarder }) => forwarder.close()));
    },
  };
}

/** What a service wants listened on: `protocol/address/port` to its port. */
export function wantedListeners(service: Service, options: ProxyOptions): Map<string, ServicePort> {
  const wanted = new Map<string, ServicePort>();
  for (const family of FAMILIES) {
    const { cluster, balancer, external } = addressesOf(service, family);
    const own = [...cluster, ...balancer, ...external].filter((address) => options.local(address));
    for (const port of (service.spec.ports ?? []) as readonly ServicePort[]) {
      const protocol = port.protocol ?? "TCP";
      if (protocol === "SCTP") continue;
      for (const address of own) wanted.set(`${protocol}/${address}/${port.port}`, port);
      if (!port.nodePort || cluster.length === 0) continue;
      for (const address of options.nodePortAddresses()) {
        if (familyOf(address) !== family) continue;
        wanted.set(`${protocol}/${address}/${port.nodePort}`, port);
      }
    }
  }
  return wanted;
}

/** What is listened for, by `protocol/address/port`: none without endpoints, so that it is refused. */
type Wanted = Map<string, { endpoints: readonly Endpoint[]; affinity?: number }>;

function wantedOf(key: string, state: State, context: ActorContext, options: ProxyOptions): Wanted {
  const wanted: Wanted = new Map();
  if (key.startsWith(POD_KEY)) {
    const pod = state.pods.get(key.slice(POD_KEY.length));
    for (
      const { protocol, address, port, to } of pod
        ? FAMILIES.flatMap((family) => hostPortsOf(pod, family, options.hostPortAddresses))
        : []
    ) {
      if (protocol === "SCTP" || !(options.local(address) || address.startsWith("127."))) continue;
      wanted.set(`${protocol}/${address}/${port}`, { endpoints: [to] });
    }
    return wanted;
  }
  const service = state.services.get(key);
  const place = options.place(context);
  for (const [id, port] of service ? wantedListeners(service, options) : []) {
    const endpoints = chosen(id, service!, port, state.slices.byIndex(BY_SERVICE, key), place);
    if (endpoints.length > 0) wanted.set(id, { endpoints, affinity: affinitySeconds(service!) });
  }
  return wanted;
}

async function mend(
  key: string,
  state: State,
  context: ActorContext,
  options: ProxyOptions,
): Promise<void> {
  const wanted = wantedOf(key, state, context, options);
  const listeners = state.listeners.get(key) ?? new Map<string, Listener>();
  state.listeners.set(key, listeners);
  // Those that go first: what comes may want the same place.
  for (const [id, { forwarder }] of listeners) {
    if (wanted.has(id)) continue;
    listeners.delete(id);
    state.count--;
    await forwarder.close();
  }
  const failed: unknown[] = [];
  for (const [id, { endpoints, affinity }] of wanted) {
    const balancer = listeners.get(id)?.balancer ?? new Balancer();
    balancer.set(endpoints, affinity);
    if (listeners.has(id)) continue;
    await open(id, balancer, state, listeners, context, options).catch((error) =>
      failed.push(error)
    );
  }
  if (listeners.size === 0) state.listeners.delete(key);
  const service = state.services.get(key);
  if (service) await tellMoved(service, listeners, context);
  if (failed.length === 0) return;
  const pod = key.startsWith(POD_KEY) && state.pods.get(key.slice(POD_KEY.length));
  if (pod) context.recorder.event(pod, "Warning", "HostPortConflict", text(failed[0]));
  throw failed[0];
}

/**
 * The endpoints behind a listener. Policy Local binds cluster IPs alone: whoever comes by another address is of this
 * machine, which kube-proxy lets go to every endpoint too.
 */
function chosen(
  id: string,
  service: Service,
  port: ServicePort,
  slices: Iterable<Service>,
  place: Place,
): readonly Endpoint[] {
  const address = id.split("/")[1];
  const family = familyOf(address);
  const { cluster, local } = reachable(candidatesOf(slices, port, family, place.nodes), place);
  const internal = addressesOf(service, family).cluster.includes(address);
  return internal && policiesOf(service).internalLocal ? local : cluster;
}

async function open(
  id: string,
  balancer: Balancer,
  state: State,
  listeners: Map<string, Listener>,
  context: ActorContext,
  options: ProxyOptions,
): Promise<void> {
  if (state.count >= LISTENERS_MAX) {
    throw new Error(`Cannot listen on ${id}: ${LISTENERS_MAX} addresses are listened on already`);
  }
  const [protocol, hostname, port] = id.split("/");
  const listen = (at: number) =>
    forward({
      protocol,
      hostname,
      port: at,
      balancer,
      clock: context.clock,
      locate: (e) => options.locate(e),
    });
  let moved: number | undefined;
  const forwarder = await listen(Number(port)).catch((error) => {
    if (!closedToUs(error) || Number(port) >= 1024) {
      throw new Error(`Cannot listen on ${id}: ${text(error)}`, { cause: error });
    }
    moved = Number(port) + PORT_SHIFT;
    return listen(moved);
  });
  listeners.set(id, { balancer, forwarder, moved });
  state.count++;
}

/** Writes which ports moved, once: people look at the service, programs at the annotation. */
async function tellMoved(
  service: Service,
  listeners: ReadonlyMap<string, Listener>,
  context: ActorContext,
): Promise<void> {
  const moves = new Set<string>();
  for (const [id, { moved }] of listeners) if (moved) moves.add(`${id.split("/")[2]}=${moved}`);
  const value = [...moves].sort().join(",");
  if ((service.metadata.annotations?.[REMAPPED] ?? "") === value) return;
  const { namespace, name } = service.metadata;
  try {
    await context.client.patch({ resource: SERVICES, namespace, name }, {
      type: "merge",
      body: { metadata: { annotations: { [REMAPPED]: value || null } } },
    });
  } catch (error) {
    // A machine that has joined may not write services: the annotation is of the API server's machine
    if (!(error instanceof ApiError && error.code === 403)) throw error;
    context.log("warn", "ports below 1024 answer higher here", { service: name, moved: value });
  }
  if (!value) return;
  context.recorder.event(
    service,
    "Warning",
    "PortRemapped",
    `Ports below 1024 are closed to this process; listening on ${value}`,
  );
}

function closedToUs(error: unknown): boolean {
  const { code } = error as { code?: string };
  return code === "EACCES" || code === "EPERM" || error instanceof Deno.errors.PermissionDenied;
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
