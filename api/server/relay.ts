/**
 * How another process of the same cluster asks a node that is here: `GET /api/v1/nodes/NAME/relay`, upgraded to a
 * WebSocket. This side answers as the node would. Who may is told by the name in the certificate alone: no role grants it.
 */
import { answerFor } from "../client/tunnel_node.ts";
import type { NodeApi, NodeDialer } from "../client/node_api.ts";
import { type Carrier, Tunnel } from "../client/tunnel.ts";
import type { User } from "../client/contract.ts";
import { forbidden } from "../machinery/errors.ts";
import type { Processes } from "../../kv/contract.ts";
import type { Deps } from "./deps.ts";

/** The subresource of a node under which a process asks for it. */
export const RELAY_SUBRESOURCE = "relay";
/** In the place of a node's name: one that answers for all that are at the process. */
export const ALL_NODES = "_all";
/** Who processes are to one another. */
export const PEER: User = { name: "plesio:process", groups: ["plesio:processes"] };

/** What a node's place is called in the store. */
export function placeOf(node: string): string {
  return `node/${node}`;
}

/** The same, and where it may be as one of many that have a place together: `node/plesio-*`. */
export function placesOf(node: string): string[] {
  return [placeOf(node), placeOf(node.replace(/\d+$/, "*"))];
}

/** Refuses who is no process of this cluster. Called before the protocol is switched. */
export function admitPeer(user: User, node: string): void {
  if (user.name === PEER.name && user.groups?.includes(PEER.groups![0])) return;
  throw forbidden(
    { group: "", resource: "nodes" },
    node,
    "nodes are relayed to processes of the cluster alone",
  );
}

/** What answers for a node, or for all, of this process alone: so that no question goes round in a circle. */
export function relayedHere(here: NodeDialer, all: NodeApi | undefined): NodeDialer {
  return (node) => node === ALL_NODES && all ? Promise.resolve(all) : here(node);
}

/** Answers those who ask by records of the store, as they have no other way. */
export function relayByRecords(deps: Deps, processes: Processes): void {
  processes.listen((node, link) => {
    deps.relayed!(node).then((api) => relay(deps, api, link)).catch(() => link.close());
  });
}

/** Answers for a node until the connection ends. */
export async function relay(deps: Deps, node: NodeApi, carrier: Carrier): Promise<void> {
  await new Tunnel(carrier, { clock: deps.clock, answer: answerFor(node) }).closed;
}
