/**
 * ServiceCIDRs: a range is ready once it is held by a finalizer, and goes only when every address that was
 * given from it lies in another range, too.
 *
 * Behaviour matched: pkg/controller/servicecidrs/servicecidrs_controller.go, v1.36.
 */
import { type Cidr, cidrContains, masked, parseCidr, parseIp } from "../../api/machinery/ip.ts";
import { formatTime } from "../../api/machinery/time.ts";
import {
  type ActorContext,
  type Controller,
  IP_ADDRESSES,
  isGone,
  type Outcome,
  SERVICE_CIDRS,
  targetOf,
} from "../runtime/mod.ts";
import { conditionOf, type Obj, timeOf } from "./objects.ts";

const FINALIZER = "networking.k8s.io/service-cidr-finalizer";
const MANAGED_BY = "ipaddress.kubernetes.io/managed-by";
const ALLOCATOR = "ipallocator.k8s.io";
const MANAGER = "service-cidr-controller";
/** How long a range that nobody needs stays, so that every allocator has heard of its end. */
export const DELETION_GRACE_MS = 10_000;

export const serviceCidrController: Controller<void> = {
  name: "service-cidr",
  account: "service-cidrs-controller",
  component: MANAGER,
  for: SERVICE_CIDRS,
  watches: [
    // A range that comes or goes may free or hold those that lie about it or within it.
    { resource: SERVICE_CIDRS, keys: (range, _old, context) => endingBeside(range, context) },
    { resource: IP_ADDRESSES, keys: (address, _old, context) => endingAround(address, context) },
  ],
  async reconcile(key, context): Promise<Outcome> {
    const range = context.informers.for(SERVICE_CIDRS).get(key);
    if (!range) return;
    const { finalizers = [], deletionTimestamp } = range.metadata;
    const held = finalizers.includes(FINALIZER);
    if (!deletionTimestamp) {
      if (!held) await putFinalizers(range, [...finalizers, FINALIZER], context);
      await putReady(range, {
        status: "True",
        reason: "",
        message: "Kubernetes Service CIDR is ready",
      }, context);
      return;
    }
    if (isNeeded(range, context)) {
      const message =
        "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
      await putReady(range, { status: "False", reason: "Terminating", message }, context);
      return;
    }
    const leftMs = timeOf(deletionTimestamp) + DELETION_GRACE_MS - context.clock.now();
    if (leftMs > 0) return { afterMs: leftMs };
    if (held) await putFinalizers(range, finalizers.filter((name) => name !== FINALIZER), context);
  },
};

function cidrsOf(range: Obj): Cidr[] {
  return (range.spec?.cidrs ?? []).flatMap((text: string) => parseCidr(text) ?? []);
}

const ranges = (context: ActorContext) => [...context.informers.for(SERVICE_CIDRS).list()];

/** Ranges that are to go and could be affected. */
function endingBeside(range: Obj, context: ActorContext): string[] {
  const cidrs = cidrsOf(range);
  return ranges(context).filter((other) =>
    other.metadata.deletionTimestamp && other.metadata.name !== range.metadata.name &&
    cidrsOf(other).some((a) => cidrs.some((b) => covers(a, b) || covers(b, a)))
  ).map(({ metadata }) => metadata.name);
}

function endingAround(address: Obj, context: ActorContext): string[] {
  // Nearly always no range is to go: then an address costs nothing.
  const ending = ranges(context).filter(({ metadata }) => metadata.deletionTimestamp);
  return ending.filter((range) => contains(range, address)).map(({ metadata }) => metadata.name);
}

function covers(outer: Cidr, inner: Cidr): boolean {
  return outer.bits <= inner.bits && cidrContains(outer, masked(inner));
}

function contains(range: Obj, address: Obj): boolean {
  const ip = parseIp(address.metadata.name);
  return ip !== undefined && cidrsOf(range).some((cidr) => cidrContains(cidr, ip));
}

/** Whether an address would be left without a range. */
function isNeeded(range: Obj, context: ActorContext): boolean {
  const others = ranges(context).filter(({ metadata }) => metadata.name !== range.metadata.name);
  const isInside = (cidr: Cidr) => others.some((one) => cidrsOf(one).some((c) => covers(c, cidr)));
  if (cidrsOf(range).every(isInside)) return false;
  for (const address of context.informers.for(IP_ADDRESSES).list()) {
    if (address.metadata.labels?.[MANAGED_BY] !== ALLOCATOR) continue;
    if (contains(range, address) && !others.some((one) => contains(one, address))) return true;
  }
  return false;
}

async function putFinalizers(range: Obj, finalizers: string[], { client }: ActorContext) {
  const { uid, resourceVersion } = range.metadata;
  try {
    await client.patch(targetOf(SERVICE_CIDRS, range), {
      type: "merge",
      body: { metadata: { uid, resourceVersion, finalizers } },
    });
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

async function putReady(
  range: Obj,
  wanted: { status: string; reason: string; message: string },
  { client, clock, recorder }: ActorContext,
): Promise<void> {
  const known = conditionOf(range.status, "Ready");
  const isDefault = range.metadata.name === "kubernetes" && known?.status === wanted.status;
  const same = known?.status === wanted.status && (known.reason ?? "") === wanted.reason;
  // The default range was called ready in other words by the server that made it.
  if (same && (isDefault || known.message === wanted.message)) return;
  const condition = { type: "Ready", ...wanted, lastTransitionTime: formatTime(clock.now()) };
  const { uid, name } = range.metadata;
  try {
    await client.patch(
      targetOf(SERVICE_CIDRS, range, "status"),
      {
        type: "apply",
        force: true,
        body: {
          apiVersion: "networking.k8s.io/v1",
          kind: "ServiceCIDR",
          metadata: { name, uid },
          status: { conditions: [condition] },
        },
      },
      { fieldManager: MANAGER },
    );
  } catch (error) {
    if (isGone(error)) return;
    const text = `The ServiceCIDR Status can not be set to Ready=${wanted.status}`;
    recorder.event(range, "Warning", "KubernetesServiceCIDRError", text);
    throw error;
  }
}
