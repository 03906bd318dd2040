/**
 * The nodes that have dialled in: a tunnel each (`api/client/tunnel.ts`), found by the node's name. A node asks for its
 * own with `GET /api/v1/nodes/NAME/tunnel` and the upgrade to a WebSocket; the right is `create` on `nodes/tunnel`, and
 * whoever has it must be that very node besides: not even an administrator answers in a node's place.
 *
 * A newer connection of a node takes the place of the older one, whose calls end: after a change of address the older
 * one is dead, only nobody has noticed yet.
 */
import { nodeOf } from "../auth/node.ts";
import { forbidden, unavailable } from "../machinery/errors.ts";
import type { Clock } from "../../kv/clock.ts";
import type { NodeApi, NodeDialer } from "../client/node_api.ts";
import type { User } from "../client/contract.ts";
import { type Carrier, Tunnel } from "../client/tunnel.ts";
import { nodeThrough } from "../client/tunnel_node.ts";

/** The subprotocol of a tunnel; another form of it would have another number. */
export const TUNNEL_PROTOCOL = "v1.tunnel.plesio.dev";
/** The subresource of a node under which it dials in. */
export const TUNNEL_SUBRESOURCE = "tunnel";
/** Nodes that may have dialled in at once. */
export const TUNNELS_MAX = 10_000;
/** A WebSocket's code for: another connection has taken the place of this one. */
const SUPERSEDED = 4001;

/** Where other processes are told which nodes are here. */
export interface Places {
  taken(node: string): void;
  left(node: string): void;
}

/** See the module's text. */
export class Tunnels {
  readonly #clock: Clock;
  readonly #places: Places | undefined;
  readonly #tunnels = new Map<string, { tunnel: Tunnel; api: NodeApi }>();

  constructor(clock: Clock, places?: Places) {
    this.#clock = clock;
    this.#places = places;
  }

  /** Refuses who is not that node, or one node too many. Called before the protocol is switched. */
  admit(user: User, name: string): void {
    if (nodeOf(user) !== name) {
      throw forbidden(
        { group: "", resource: "nodes" },
        name,
        "a tunnel is opened by the node itself",
      );
    }
    if (this.#tunnels.size >= TUNNELS_MAX && !this.#tunnels.has(name)) {
      throw unavailable(`${TUNNELS_MAX} nodes have dialled in already`);
    }
  }

  /** Takes a connection that a node has opened. Resolves with the reason once it is over. */
  async serve(name: string, carrier: Carrier): Promise<string> {
    const tunnel = new Tunnel(carrier, { clock: this.#clock });
    const entry = { tunnel, api: nodeThrough(tunnel) };
    const before = this.#tunnels.get(name);
    this.#tunnels.set(name, entry);
    this.#places?.taken(name);
    before?.tunnel.close("superseded by a newer connection of the same node", SUPERSEDED);
    const reason = await tunnel.closed;
    if (this.#tunnels.get(name) === entry) {
      this.#tunnels.delete(name);
      this.#places?.left(name);
    }
    return reason;
  }

  /** The API of a node that has dialled in. */
  find(name: string): NodeApi | undefined {
    return this.#tunnels.get(name)?.api;
  }

  /** The APIs of all that have dialled in. */
  *all(): Generator<NodeApi> {
    for (const { api } of this.#tunnels.values()) yield api;
  }

  /** Who has dialled in. */
  names(): string[] {
    return [...this.#tunnels.keys()].sort();
  }

  /** Ends them all. */
  close(): void {
    for (const { tunnel } of this.#tunnels.values()) tunnel.close("the server is going", 1001);
  }
}

/** Finds nodes by the first dialer if they are there, else those that have dialled in. */
export function dialerThrough(tunnels: Tunnels, here?: NodeDialer): NodeDialer {
  return (name) => {
    const api = tunnels.find(name);
    if (api) return Promise.resolve(api);
    if (here) return here(name);
    return Promise.reject(unavailable(`node ${JSON.stringify(name)} has not dialled in`));
  };
}
