/**
 * Load balancers of this machine: a Service of type LoadBalancer gets an address of a pool at once; the service
 * proxy answers on it. The pool is the service range's last /24 unless another is given.
 *
 * An address once given stays until the Service goes or is of another type; `spec.loadBalancerIP` is honoured
 * where it is free. Classes of load balancers (`spec.loadBalancerClass`) are somebody else's.
 *
 * Behaviour matched: cloud-provider's service controller, v1.36 (events, finalizer, status).
 */
import { parseIp } from "../../api/machinery/ip.ts";
import { type ActorContext, type Controller, isGone, SERVICES, targetOf } from "../runtime/mod.ts";
import type { Obj } from "./objects.ts";
import type { ControllerPorts } from "./ports.ts";

const FINALIZER = "service.kubernetes.io/load-balancer-cleanup";
/** The pool where none is named: the last /24 of 10.96.0.0/12. */
export const LOAD_BALANCER_CIDR = "10.111.255.0/24";

const BY_ADDRESS = "loadBalancerAddress";

interface State {
  /** Addresses given by writes that the cache may not show yet, and to whom. */
  promised: Map<string, string>;
}

export function serviceLoadBalancers(
  ports: Pick<ControllerPorts, "loadBalancerCidr">,
): Controller<State> {
  const pool = poolOf(ports.loadBalancerCidr ?? LOAD_BALANCER_CIDR);
  return {
    name: "service-lb",
    account: "service-controller",
    component: "service-controller",
    for: SERVICES,
    // One at a time: two services must not be given one address.
    workers: 1,
    start(context) {
      context.informers.for(SERVICES).index(BY_ADDRESS, addressesOf);
      return { promised: new Map() };
    },
    reconcile: (key, context, state) => reconcile(key, pool, state, context),
  };
}

function addressesOf(service: Obj): string[] {
  const ingress = (service.status?.loadBalancer?.ingress ?? []) as readonly { ip?: string }[];
  return ingress.flatMap(({ ip }) => ip ? [ip] : []);
}

async function reconcile(
  key: string,
  pool: readonly string[],
  state: State,
  context: ActorContext,
): Promise<void> {
  const service = context.informers.for(SERVICES).get(key);
  if (!service) return;
  const wanted = service.spec.type === "LoadBalancer" && !service.spec.loadBalancerClass &&
    !service.metadata.deletionTimestamp;
  try {
    if (wanted) await give(service, pool, state, context);
    else if (service.metadata.finalizers?.includes(FINALIZER)) {
      await takeBack(service, state, context);
    }
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

async function give(
  service: Obj,
  pool: readonly string[],
  state: State,
  context: ActorContext,
): Promise<void> {
  if (!service.metadata.finalizers?.includes(FINALIZER)) {
    await writeFinalizers(service, [...service.metadata.finalizers ?? [], FINALIZER], context);
  }
  const [present] = addressesOf(service);
  if (present && pool.includes(present)) {
    state.promised.delete(present);
    return;
  }
  context.recorder.event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer");
  const services = context.informers.for(SERVICES);
  const { uid } = service.metadata;
  const free = (address: string) =>
    (state.promised.get(address) ?? uid) === uid &&
    services.byIndex(BY_ADDRESS, address).every((other) => other.metadata.uid === uid);
  const asked = service.spec.loadBalancerIP as string | undefined;
  const address = asked
    ? (pool.includes(asked) && free(asked) ? asked : undefined)
    : pool.find(free);
  if (!address) {
    const why = asked ? `the address ${asked} is not free` : "no address is free";
    context.recorder.event(
      service,
      "Warning",
      "SyncLoadBalancerFailed",
      `Error syncing load balancer: failed to ensure load balancer: ${why}`,
    );
    throw new Error(
      `Cannot give ${service.metadata.namespace}/${service.metadata.name} an address: ${why}`,
    );
  }
  state.promised.set(address, uid);
  await context.client.patch(targetOf(SERVICES, service, "status"), {
    type: "merge",
    body: {
      metadata: { uid },
      status: { loadBalancer: { ingress: [{ ip: address, ipMode: "VIP" }] } },
    },
  });
  context.recorder.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer");
}

async function takeBack(service: Obj, state: State, context: ActorContext): Promise<void> {
  context.recorder.event(service, "Normal", "DeletingLoadBalancer", "Deleting load balancer");
  for (const [address, holder] of state.promised) {
    if (holder === service.metadata.uid) state.promised.delete(address);
  }
  if (addressesOf(service).length > 0) {
    await context.client.patch(targetOf(SERVICES, service, "status"), {
      type: "merge",
      body: {
        metadata: { uid: service.metadata.uid },
        status: { loadBalancer: { ingress: null } },
      },
    });
  }
  await writeFinalizers(
    service,
    service.metadata.finalizers!.filter((name) => name !== FINALIZER),
    context,
  );
  context.recorder.event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer");
  // Somebody may have waited for the address.
  for (const other of context.informers.for(SERVICES).list()) {
    if (other.spec.type === "LoadBalancer" && addressesOf(other).length === 0) {
      context.send(context.address, `${other.metadata.namespace}/${other.metadata.name}`);
    }
  }
}

async function writeFinalizers(
  service: Obj,
  finalizers: readonly string[],
  context: ActorContext,
): Promise<void> {
  // By way of the status, as upstream: the controller has no right to the Service itself
  await context.client.patch(targetOf(SERVICES, service, "status"), {
    type: "merge",
    body: { metadata: { uid: service.metadata.uid, finalizers: [...finalizers] } },
  });
}

/** The addresses of an IPv4 range but the first and the last. */
export function poolOf(range: string): readonly string[] {
  const [base, bits] = range.split("/");
  const octets = base.split(".").map(Number);
  const size = 2 ** (32 - Number(bits));
  if (octets.length !== 4 || !(size >= 4 && size <= 65_536) || !parseIp(base)) {
    throw new TypeError(
      `Cannot take load balancers' addresses from "${range}": an IPv4 range of /16 to /30 is wanted`,
    );
  }
  const first = octets.reduce((sum, octet) => sum * 256 + octet, 0);
  return Array.from({ length: size - 2 }, (_, i) => {
    const value = first + i + 1;
    return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join(".");
  });
}
