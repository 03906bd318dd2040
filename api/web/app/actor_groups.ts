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

/** The place on the map that a message goes to: a pod where it is about one on a node, else the actor. */
export function placeOf(to: string, key: string): { pod?: string; actor: string } {
  const own = POD_ACTOR.exec(to);
  if (own) return { pod: own[2], actor: own[1] };
  // Simulated nodes have one actor for all of them
  if (to.startsWith("node/") && key.startsWith("pod/")) return { pod: key.slice(4), actor: to };
  return { actor: to };
}
