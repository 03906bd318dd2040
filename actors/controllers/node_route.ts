/**
 * Routes between nodes: for each part of the pod range that a node has, its provider leads packets to it; nodes
 * say whether they are reached (`NetworkUnavailable`). Routes of nodes that are gone go.
 *
 * Behaviour matched: k8s.io/cloud-provider/controllers/route, v1.36.
 */
import { cidrContains, masked, parseCidr } from "../../api/machinery/ip.ts";
import { formatTime } from "../../api/machinery/time.ts";
import { type ActorContext, allAtOnce, every, isGone, NODES, targetOf } from "../runtime/mod.ts";
import type { Route, Routes } from "./cloud.ts";
import { CLUSTER_CIDR } from "./node_ipam.ts";
import { conditionOf, type Obj } from "./objects.ts";
import { textOf } from "./pods.ts";
import type { ControllerPorts, FreeController } from "./ports.ts";

/** How often routes are compared with nodes, whatever happens. */
export const SYNC_MS = 10_000;
/** How long changes of nodes are gathered. */
const GATHER_MS = 100;
const ALL = "routes";

/** The row. */
export function nodeRouteController(
  routes: Routes,
  { clusterCidr = CLUSTER_CIDR }: Pick<ControllerPorts, "clusterCidr">,
): FreeController {
  const ranges = clusterCidr.split(",").flatMap((text) => parseCidr(text.trim()) ?? []);
  /** Others' routes are left alone. */
  const isOurs = ({ cidr }: Route) => {
    const part = parseCidr(cidr);
    return part !== undefined && ranges.some((range) => cidrContains(range, masked(part)));
  };
  return {
    name: "node-route",
    account: "route-controller",
    component: "route_controller",
    workers: 1,
    behaviour: {
      start(context) {
        context.informers.for(NODES).subscribe(({ old, object }) => {
          if (String(old?.spec?.podCIDRs) === String(object?.spec?.podCIDRs) && old && object) {
            return;
          }
          context.send(context.address, ALL, { delayMs: GATHER_MS });
        });
        every(context, SYNC_MS, ALL);
      },
      handle: (_key, _state, context) => reconcile(routes, isOurs, context),
    },
  };
}

async function reconcile(
  routes: Routes,
  isOurs: (route: Route) => boolean,
  context: ActorContext,
): Promise<void> {
  const nodes = [...context.informers.for(NODES).list()];
  const partsOf = (node: Obj): readonly string[] => node.spec?.podCIDRs ?? [];
  const wanted = new Set(
    nodes.flatMap((node) => partsOf(node).map((cidr) => `${node.metadata.name} ${cidr}`)),
  );
  const present = new Set<string>();
  await allAtOnce((await routes.list()).filter(isOurs), async (route) => {
    const key = `${route.node} ${route.cidr}`;
    if (wanted.has(key) && !route.blackhole) present.add(key);
    else await routes.delete(route);
  });
  await allAtOnce(nodes, async (node) => {
    let reached = true;
    for (const cidr of partsOf(node)) {
      if (present.has(`${node.metadata.name} ${cidr}`)) continue;
      reached = await create(routes, { node: node.metadata.name, cidr }, { node, context }) &&
        reached;
    }
    if (partsOf(node).length > 0) await putReached(node, reached, context);
  });
}

async function create(
  routes: Routes,
  route: Route,
  { node, context }: { node: Obj; context: ActorContext },
): Promise<boolean> {
  const since = context.clock.monotonic();
  try {
    await routes.create(route);
    return true;
  } catch (error) {
    const ms = context.clock.monotonic() - since;
    const text = `Could not create route ${node.metadata.uid} ${route.cidr} for node ` +
      `${route.node} after ${ms}ms: ${textOf(error)}`;
    context.recorder.event(node, "Warning", "FailedToCreateRoute", text);
    return false;
  }
}

async function putReached(node: Obj, reached: boolean, context: ActorContext): Promise<void> {
  const wanted = reached
    ? { status: "False", reason: "RouteCreated", message: "RouteController created a route" }
    : {
      status: "True",
      reason: "NoRouteCreated",
      message: "RouteController failed to create a route",
    };
  const known = conditionOf(node.status, "NetworkUnavailable");
  if (known?.status === wanted.status && known.reason === wanted.reason) return;
  const now = formatTime(context.clock.now());
  const times = { lastTransitionTime: now, lastHeartbeatTime: now };
  try {
    await context.client.patch(targetOf(NODES, node, "status"), {
      type: "strategic",
      body: { status: { conditions: [{ type: "NetworkUnavailable", ...wanted, ...times }] } },
    });
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}
