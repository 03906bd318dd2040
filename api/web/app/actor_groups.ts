/** Where actors stand on their map: in groups by the first part of their addresses. */
import type { ActorReport } from "../../client/plesio.ts";
import type { TextKey } from "./words.ts";

/** A group. */
export interface ActorGroup {
  id: string;
  title: TextKey;
  actors: readonly ActorReport[];
}

/** By `first`, the first part of an address. */
const GROUPS: readonly { id: string; title: TextKey; first: string }[] = [
  { id: "controllers", title: "actors.controllers", first: "controller" },
  { id: "scheduler", title: "actors.scheduler", first: "scheduler" },
  { id: "nodes", title: "actors.nodes", first: "node" },
];

/** What belongs to none of them: the network of this machine, and whatever else there is. */
const OTHERS = { id: "others", title: "actors.others" } as const;

/** An actor of a pod, which stands with its node: the pod's UID. */
const POD_ACTOR = /^(node\/[^/]+)\/pod\/([^/]+)$/;

function groupOf(address: string) {
  return GROUPS.find(({ first }) => address.startsWith(`${first}/`));
}

/** The groups that have actors. Pods' actors are left out: they stand on their nodes as pods. */
export function groupsOf(reports: Iterable<ActorReport>): ActorGroup[] {
  const found = new Map<string, ActorReport[]>();
  for (const report of reports) {
    if (POD_ACTOR.test(report.address)) continue;
    const { id } = groupOf(report.address) ?? OTHERS;
    const group = found.get(id);
    if (group) group.push(report);
    else found.set(id, [report]);
  }
  return [...GROUPS, OTHERS].flatMap(({ id, title }) => {
    const actors = found.get(id);
    return actors ? [{ id, title, actors }] : [];
  });
}

/** What an actor is called within its group: where that says what it is, without it. */
export function shortName(address: string): string {
  const group = groupOf(address);
  return group ? address.slice(group.first.length + 1) : address;
}

/** A pod on the map. */
export interface MapPod {
  namespace: string;
  name: string;
  uid: string;
  node: string;
  status: string;
}

/** Pods in all that are shown one by one; of more, each node tells how many it has, and how they are. */
export const PODS_SHOWN_MAX = 600;
/** States that a node tells apart, the most frequent first. */
export const STATES_SHOWN_MAX = 3;
const NO_NODE = "<none>";

/** A node on the map, with what it runs; that without a name has the pods that are on none. */
export interface MapNode {
  name: string;
  pods: readonly MapPod[];
  states: readonly { status: string; count: number }[];
}

const homeOf = ({ node }: MapPod) => node === NO_NODE ? "" : node;
const BY_NAME = new Intl.Collator("en", { numeric: true });

/** The nodes that pods are on, in the order of their names. */
export function nodesOf(pods: readonly MapPod[]): MapNode[] {
  const byNode = new Map<string, { pods: MapPod[]; counts: Map<string, number> }>();
  for (const pod of pods) {
    const name = homeOf(pod);
    let there = byNode.get(name);
    if (!there) byNode.set(name, there = { pods: [], counts: new Map() });
    there.pods.push(pod);
    there.counts.set(pod.status, (there.counts.get(pod.status) ?? 0) + 1);
  }
  return [...byNode].sort(([a], [b]) => BY_NAME.compare(a, b)).map(([name, { pods, counts }]) => ({
    name,
    pods,
    states: [...counts].map(([status, count]) => ({ status, count }))
      .sort((a, b) => b.count - a.count || (a.status < b.status ? -1 : 1))
      .slice(0, STATES_SHOWN_MAX),
  }));
}

/** What actors call a pod: a real node's its UID, simulated ones' its names. */
export function namesOf({ namespace, name, uid }: MapPod): readonly [string, string] {
  return [uid, `${namespace}/${name}`];
}

/** The node of each pod, by what actors call it. */
export function homesOf(pods: readonly MapPod[]): ReadonlyMap<string, string> {
  return new Map(pods.flatMap((pod) => namesOf(pod).map((name) => [name, homeOf(pod)] as const)));
}

/** The place on the map that a message goes to: a pod where it is about one on a node, else the actor. */
export function placeOf(to: string, key: string): { pod?: string; actor: string } {
  const own = POD_ACTOR.exec(to);
  if (own) return { pod: own[2], actor: own[1] };
  // Simulated nodes have one actor for all of them
  if (to.startsWith("node/") && key.startsWith("pod/")) return { pod: key.slice(4), actor: to };
  return { actor: to };
}
