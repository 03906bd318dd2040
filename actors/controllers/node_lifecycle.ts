/**
 * Node lifecycle: a node that stops renewing its lease is not ready; its taints say so, its pods no longer
 * count as ready, and what does not tolerate it is evicted (by `taint_eviction.ts`).
 *
 * Whether a node lives is judged by what this process sees change (the lease's renewTime, else the Ready
 * condition's heartbeat), by its own monotonic clock: two machines' clocks are never compared. A node with the
 * annotation `plesio.dev/host` is judged by its host's lease.
 *
 * NoExecute taints are given at a limited rate per zone, slower in a zone where most nodes are gone, and not at
 * all when every zone is: then it is more likely we who are cut off, and those that there are go.
 *
 * Behaviour matched: pkg/controller/nodelifecycle/node_lifecycle_controller.go, v1.36.
 */
import { formatTime } from "../../api/machinery/time.ts";
import type { Json } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  allAtOnce,
  every,
  isGone,
  LEASES,
  NODE_HOST_ANNOTATION,
  NODES,
  PODS,
  targetOf,
} from "../runtime/mod.ts";
import { type Condition, conditionOf, type Obj } from "./objects.ts";
import { ControllerMetrics } from "./metrics.ts";
import type { ControllerPorts, FreeController } from "./ports.ts";
import { type ControllerSettings, settingsOf } from "./settings.ts";

/** How long changes of nodes are gathered before all are looked at. */
const GATHER_MS = 100;

/** Nodes that are looked at before others have their turn: some milliseconds. */
export const NODES_A_TURN = 500;

/** The label of nodes that say nothing about their zone. */
const EXCLUDED = "node.kubernetes.io/exclude-disruption";
const PREFIX = "node.kubernetes.io/";
/** What the conditions of a node mean as taints: condition, status, taint. */
const CONDITION_TAINTS: readonly (readonly [string, string, string])[] = [
  ["Ready", "False", "not-ready"],
  ["Ready", "Unknown", "unreachable"],
  ["MemoryPressure", "True", "memory-pressure"],
  ["DiskPressure", "True", "disk-pressure"],
  ["PIDPressure", "True", "pid-pressure"],
  ["NetworkUnavailable", "True", "network-unavailable"],
];
const OWN_NO_SCHEDULE = new Set([
  ...CONDITION_TAINTS.map(([, , name]) => PREFIX + name),
  `${PREFIX}unschedulable`,
]);
const OWN_NO_EXECUTE = new Set([`${PREFIX}not-ready`, `${PREFIX}unreachable`]);
/** Labels that are kept under their old names, too. */
const OLD_NAMES = [
  ["kubernetes.io/os", "beta.kubernetes.io/os"],
  ["kubernetes.io/arch", "beta.kubernetes.io/arch"],
];
const JUDGED = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

interface Taint {
  key: string;
  value?: string;
  effect: string;
  timeAdded?: string;
}

interface Seen {
  /** What changed last, and when we saw it. */
  mark: string;
  at: number;
  uid: string;
}

interface Zone {
  tokens: number;
  at: number;
  rate: number;
}

interface State {
  seen: Map<string, Seen>;
  zones: Map<string, Zone>;
  /** Every zone was gone when last looked. */
  cutOff: boolean;
  metrics: ControllerMetrics;
  settings: Readonly<ControllerSettings>;
}

const ALL = "all";

/** Something to be written, begun when it is called. */
type Write = () => Promise<unknown>;

/** One key: all nodes are looked at together, because zones are judged by all of theirs. */
export function nodeLifecycleController(
  { metrics = new ControllerMetrics(), ...ports }: Pick<ControllerPorts, "metrics" | "settings">,
): FreeController {
  const settings = settingsOf(ports);
  return {
    name: "nodelifecycle",
    account: "node-controller",
    component: "node-controller",
    workers: 1,
    behaviour: {
      start(context): State {
        context.informers.for(LEASES);
        const pods = context.informers.for(PODS);
        pods.index("nodeName", (pod) => pod.spec.nodeName ? [pod.spec.nodeName] : []);
        context.informers.for(NODES).subscribe(({ object, old }) => {
          // Signs of life are read by the clock below
          if (object && old && sameForUs(object, old)) return;
          context.send(context.address, ALL, { delayMs: GATHER_MS });
        });
        every(context, settings.nodeMonitorPeriod, ALL);
        const [seen, zones] = [new Map(), new Map()];
        return { seen, zones, cutOff: false, metrics, settings };
      },
      handle: (_key, state, context) => monitor(state, context),
    },
  };
}

async function monitor(state: State, context: ActorContext): Promise<void> {
  const nodes = [...context.informers.for(NODES).list()];
  register(nodes, state, context);
  const readyOf = new Map<string, Ready>();
  const writes: Write[] = [];
  await inTurns(nodes, context, (node) => {
    readyOf.set(node.metadata.name, judge(node, state, context, writes));
    const write = relabel(node, context);
    if (write) writes.push(write);
  });
  await allAtOnce(writes, (write) => write());
  const now = context.clock.monotonic();
  const counts = countZones(nodes, readyOf);
  const cutOff = counts.size > 0 && [...counts.values()].every(({ ready }) => ready === 0);
  // Whoever could not be heard while we were cut off is given its time anew.
  if (state.cutOff && !cutOff) { for (const seen of state.seen.values()) seen.at = now; }
  state.cutOff = cutOff;
  setRates(counts, state, now);
  const taints: Write[] = [];
  await inTurns(nodes, context, (node) => {
    const write = retaint(node, readyOf.get(node.metadata.name), state, context);
    if (write) taints.push(write);
  });
  await allAtOnce(taints, (write) => write());
}

async function inTurns(
  nodes: readonly Obj[],
  { clock }: ActorContext,
  look: (node: Obj) => void,
): Promise<void> {
  for (let i = 0; i < nodes.length; i++) {
    if (i > 0 && i % NODES_A_TURN === 0) await clock.turn();
    look(nodes[i]);
  }
}

/** Whether two versions of a node are one to this controller, signs of life aside. */
function sameForUs(a: Obj, b: Obj): boolean {
  const taints = (node: Obj) => JSON.stringify(node.spec?.taints ?? []);
  return a.metadata.uid === b.metadata.uid && zoneOf(a) === zoneOf(b) &&
    a.spec?.unschedulable === b.spec?.unschedulable && taints(a) === taints(b) &&
    OLD_NAMES.flat().every((key) => a.metadata.labels?.[key] === b.metadata.labels?.[key]) &&
    CONDITION_TAINTS.every(([type]) =>
      conditionOf(a.status, type)?.status === conditionOf(b.status, type)?.status
    );
}

/** Says which nodes came and went. */
function register(nodes: readonly Obj[], state: State, context: ActorContext): void {
  const names = new Set(nodes.map((node) => node.metadata.name));
  const say = (ref: { name: string; uid: string }, reason: string, text: string) =>
    context.recorder.event({ apiVersion: "v1", kind: "Node", ...ref }, "Normal", reason, text);
  for (const [name, { uid }] of state.seen) {
    if (names.has(name)) continue;
    state.seen.delete(name);
    say({ name, uid }, "RemovingNode", `Node ${name} event: Removing Node ${name} from Controller`);
  }
  for (const { metadata: { name, uid } } of nodes) {
    if (state.seen.has(name)) continue;
    const text = `Node ${name} event: Registered Node ${name} in Controller`;
    say({ name, uid }, "RegisteredNode", text);
  }
}

/** Gives a node's labels their old names. */
function relabel(node: Obj, context: ActorContext): Write | undefined {
  const { uid, labels: present = {} } = node.metadata;
  let labels: Record<string, string> | undefined;
  for (const [key, old] of OLD_NAMES) {
    if (present[key] !== undefined && present[old] !== present[key]) {
      labels = { ...labels, [old]: present[key] };
    }
  }
  return labels && (() =>
    context.client.patch(targetOf(NODES, node), {
      type: "merge",
      body: { metadata: { uid, labels } },
    }));
}

/** A node's Ready status; undefined while a new one has not said anything yet. */
type Ready = Condition["status"] | undefined;

/** Decides whether a node lives, adds what that changes to `writes`, and answers its Ready status. */
function judge(node: Obj, state: State, context: ActorContext, writes: Write[]): Ready {
  const { name } = node.metadata;
  const now = context.clock.monotonic();
  const mark = markOf(node, context);
  const known = state.seen.get(name);
  const ready = conditionOf(node.status, "Ready");
  if (!known || known.mark !== mark) {
    state.seen.set(name, { mark, at: now, uid: node.metadata.uid });
  }
  const silent = now - (known?.mark === mark ? known.at : now);
  const { nodeMonitorGracePeriod, nodeStartupGracePeriod } = state.settings;
  if (silent <= (ready ? nodeMonitorGracePeriod : nodeStartupGracePeriod)) {
    if (ready && ready.status !== "True") writes.push(() => unreadyPods(node, context));
    return ready?.status;
  }
  writes.push(async () => {
    if (ready?.status !== "Unknown") {
      await writeUnknown(node, context);
      const message = `Node ${name} status is now: NodeNotReady`;
      context.recorder.event(node, "Normal", "NodeNotReady", message);
    }
    await unreadyPods(node, context);
  });
  return "Unknown";
}

/** Something that changes whenever the node gives a sign of life. */
function markOf(node: Obj, context: ActorContext): string {
  const host = node.metadata.annotations?.[NODE_HOST_ANNOTATION] ?? node.metadata.name;
  const lease = context.informers.for(LEASES).get(`kube-node-lease/${host}`);
  const heartbeat =
    (conditionOf(node.status, "Ready") as { lastHeartbeatTime?: string } | undefined)
      ?.lastHeartbeatTime;
  return `${lease?.spec?.renewTime ?? ""} ${heartbeat ?? ""}`;
}

async function writeUnknown(node: Obj, context: ActorContext): Promise<void> {
  const now = formatTime(context.clock.now());
  const conditions = JUDGED.flatMap((type) => {
    const old = conditionOf(node.status, type) as
      | (Condition & { lastHeartbeatTime?: string })
      | undefined;
    if (old?.status === "Unknown") return [];
    return [{
      type,
      status: "Unknown",
      reason: old ? "NodeStatusUnknown" : "NodeStatusNeverUpdated",
      message: old ? "Kubelet stopped posting node status." : "Kubelet never posted node status.",
      lastHeartbeatTime: old?.lastHeartbeatTime ?? node.metadata.creationTimestamp,
      lastTransitionTime: now,
    }];
  });
  await context.client.patch(targetOf(NODES, node, "status"), {
    type: "strategic",
    body: { metadata: { uid: node.metadata.uid }, status: { conditions } },
  });
}

/** Pods of a node that is not ready are not ready either, whatever they said last. */
async function unreadyPods(node: Obj, context: ActorContext): Promise<void> {
  const pods = context.informers.for(PODS).byIndex("nodeName", node.metadata.name);
  const ready = pods.filter((pod) => conditionOf(pod.status, "Ready")?.status === "True");
  await allAtOnce(ready, async (pod) => {
    const condition = {
      type: "Ready",
      status: "False",
      lastTransitionTime: formatTime(context.clock.now()),
    };
    context.recorder.event(pod, "Warning", "NodeNotReady", "Node is not ready");
    try {
      await context.client.patch(targetOf(PODS, pod, "status"), {
        type: "strategic",
        body: { metadata: { uid: pod.metadata.uid }, status: { conditions: [condition] } },
      });
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  });
}

/** Brings a node's own taints in line with its conditions: answers what must be written for it. */
function retaint(
  node: Obj,
  ready: Ready,
  { zones, cutOff, metrics }: State,
  context: ActorContext,
): Write | undefined {
  const old = (node.spec?.taints ?? []) as readonly Taint[];
  const wanted: Taint[] = [];
  const have = (key: string, effect: string) =>
    old.find((t) => t.key === key && t.effect === effect);
  for (const [type, status, name] of CONDITION_TAINTS) {
    const actual = type === "Ready" ? ready : conditionOf(node.status, type)?.status;
    if (actual === status) wanted.push({ key: PREFIX + name, effect: "NoSchedule" });
  }
  if (node.spec?.unschedulable) {
    wanted.push({ key: `${PREFIX}unschedulable`, effect: "NoSchedule" });
  }
  const zone = zones.get(zoneOf(node));
  let took = false;
  if (ready !== undefined && ready !== "True" && !cutOff) {
    const key = PREFIX + (ready === "Unknown" ? "unreachable" : "not-ready");
    // Changing from one to the other is no new eviction; only the first costs a token.
    const evicting = old.some((t) => t.effect === "NoExecute" && OWN_NO_EXECUTE.has(t.key));
    took = !evicting && take(zone, context.clock.monotonic());
    if (evicting || took) wanted.push({ key, effect: "NoExecute" });
  }
  if (wanted.length === 0 && old.length === 0) return undefined;
  const kept = old.filter((t) =>
    !(t.effect === "NoSchedule" && OWN_NO_SCHEDULE.has(t.key)) &&
    !(t.effect === "NoExecute" && OWN_NO_EXECUTE.has(t.key))
  );
  const timeAdded = formatTime(context.clock.now());
  const own = wanted.map((t) => have(t.key, t.effect) ?? { ...t, timeAdded });
  const same = own.length + kept.length === old.length && own.every((t) => old.includes(t));
  if (same) return undefined;
  // The resourceVersion makes sure that nobody else's taint is lost.
  const { uid, resourceVersion } = node.metadata;
  const body = {
    metadata: { uid, resourceVersion },
    spec: { taints: [...kept, ...own] as unknown as Json[] },
  };
  return async () => {
    try {
      await context.client.patch(targetOf(NODES, node), { type: "merge", body });
    } catch (error) {
      if (took && zone) zone.tokens++;
      throw error;
    }
    if (took) metrics.evictions.add({ zone: zoneOf(node) });
  };
}

function zoneOf(node: Obj): string {
  const labels = node.metadata.labels ?? {};
  const [region = "", zone = ""] = [
    labels["topology.kubernetes.io/region"],
    labels["topology.kubernetes.io/zone"],
  ];
  // As upstream's metrics name it.
  return `${region}:\x00:${zone}`;
}

interface Count {
  ready: number;
  unready: number;
}

/** How many of each zone's nodes are ready; those that are always coming and going do not count. */
function countZones(
  nodes: readonly Obj[],
  readyOf: ReadonlyMap<string, Ready>,
): Map<string, Count> {
  const counts = new Map<string, Count>();
  for (const node of nodes) {
    if (node.metadata.labels?.[EXCLUDED] !== undefined) continue;
    const count = counts.get(zoneOf(node)) ?? { ready: 0, unready: 0 };
    if (readyOf.get(node.metadata.name) === "True") count.ready++;
    else count.unready++;
    counts.set(zoneOf(node), count);
  }
  return counts;
}

/** How fast each zone may be evicted from now. */
function setRates(counts: ReadonlyMap<string, Count>, state: State, now: number): void {
  const { settings } = state;
  for (const [name, { ready, unready }] of counts) {
    const size = ready + unready;
    const share = unready / size;
    state.metrics.zoneSize.set({ zone: name }, size);
    state.metrics.zoneHealth.set({ zone: name }, (100 * ready) / size);
    state.metrics.unhealthyNodes.set({ zone: name }, unready);
    const disrupted = unready > 2 && share >= settings.unhealthyZoneThreshold;
    const slow = size > settings.largeClusterSizeThreshold ? settings.secondaryNodeEvictionRate : 0;
    const rate = state.cutOff ? 0 : disrupted && ready > 0 ? slow : settings.nodeEvictionRate;
    const zone = state.zones.get(name);
    // Another pace begins with one token, as a new limiter does.
    if (zone?.rate !== rate) state.zones.set(name, { tokens: 1, at: now, rate });
  }
  for (const zone of state.zones.keys()) {
    if (counts.has(zone)) continue;
    state.zones.delete(zone);
    state.metrics.zoneSize.set({ zone }, 0);
    state.metrics.zoneHealth.set({ zone }, 100);
    state.metrics.unhealthyNodes.set({ zone }, 0);
  }
}

/** Takes a token if there is one. */
function take(zone: Zone | undefined, now: number): boolean {
  if (!zone) return false;
  zone.tokens = Math.min(1, zone.tokens + ((now - zone.at) / 1000) * zone.rate);
  zone.at = now;
  if (zone.rate === 0 || zone.tokens < 1) return false;
  zone.tokens--;
  return true;
}
