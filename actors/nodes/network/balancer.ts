/**
 * Chooses an endpoint for each new connection: in turn, or always the same for one client where the
 * service asks for ClientIP affinity. Pure but for the time that is handed in.
 */
import type { Endpoint } from "./endpoints.ts";

/** Clients remembered per service port; the one unseen for longest goes first. */
export const AFFINITY_CLIENTS_MAX = 10_000;

export class Balancer {
  #endpoints: readonly Endpoint[] = [];
  #next = 0;
  #affinityMs: number | undefined;
  readonly #clients = new Map<string, { endpoint: Endpoint; seen: number }>();

  /** New endpoints or another affinity; clients stay where they were while their endpoint lives. */
  set(endpoints: readonly Endpoint[], affinitySeconds?: number): void {
    this.#endpoints = endpoints;
    this.#affinityMs = affinitySeconds === undefined ? undefined : affinitySeconds * 1000;
    for (const [client, { endpoint }] of this.#clients) {
      if (this.#affinityMs === undefined || !this.#current(endpoint)) this.#clients.delete(client);
    }
  }

  get size(): number {
    return this.#endpoints.length;
  }

  /** The endpoints to try, best first: a client's own, then the others in turn. */
  choose(client: string, now: number): Endpoint[] {
    const count = this.#endpoints.length;
    if (count === 0) return [];
    const start = this.#next++ % count;
    const order = [...this.#endpoints.slice(start), ...this.#endpoints.slice(0, start)];
    if (this.#affinityMs === undefined) return order;
    const known = this.#clients.get(client);
    if (known && now - known.seen <= this.#affinityMs) {
      const own = this.#current(known.endpoint);
      if (own) return [own, ...order.filter((endpoint) => endpoint !== own)];
    }
    return order;
  }

  /** The client was connected to this endpoint. */
  connected(client: string, endpoint: Endpoint, now: number): void {
    if (this.#affinityMs === undefined) return;
    this.#clients.delete(client);
    this.#clients.set(client, { endpoint, seen: now });
    if (this.#clients.size > AFFINITY_CLIENTS_MAX) {
      this.#clients.delete(this.#clients.keys().next().value!);
    }
  }

  #current(endpoint: Endpoint): Endpoint | undefined {
    return this.#endpoints.find((e) => e.ip === endpoint.ip && e.port === endpoint.port);
  }
}
