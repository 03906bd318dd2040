/**
 * The ways from this machine to the pods of others: an actor that keeps a route to each node's podCIDRs, by the address
 * of the same family at which that node's machine is reached. Nodes of the API server's own machine have addresses of
 * the pod ranges; they are reached by the server's, which is known in one family: that of the way to it.
 *
 * It needs machines that reach one another directly, on one network: it encapsulates nothing. A machine behind NAT runs
 * pods, and is reached for logs, exec and port-forward through its tunnel; its pods and those of others do not reach
 * each other.
 */
import type { DeepReadonly, KubeObject } from "../../../api/machinery/types.ts";
import type { Behaviour } from "../../runtime/contract.ts";
import { includes, type IpRange, parseAddress, parseIpRange } from "../network/ip_range.ts";
import { lastPart } from "../network/network.ts";
import { podCIDRsOf } from "../node_status.ts";
import { NODES } from "../types.ts";

/** This machine's routes that are ours, by range. */
export interface Routes {
  list(): Promise<Map<string, string>>;
  set(range: string, gateway: string): Promise<void>;
  remove(range: string): Promise<void>;
}

/** What ways depend on. */
export interface RoutesOptions {
  /** The cluster's: one of each family. */
  podRanges: readonly string[];
  /** The nodes of this machine. */
  own: ReadonlySet<string>;
  /** Where the API server's machine is reached; absent: this is it. */
  server?: () => string | undefined;
  routes: Routes;
}

type Node = DeepReadonly<KubeObject>;

/** Pause before a route that could not be set is tried again. */
export const ROUTE_RETRY_MS = 30_000;

/** Whether a range, or an address, is of another. */
function within(range: string, other: string): boolean {
  const [outer, inner] = [parseIpRange(range), parseIpRange(other)];
  return outer !== undefined && inner !== undefined && includes(outer, inner);
}

/** The ways that there should be: range to gateway. Pure. */
export function wantedRoutes(
  nodes: Iterable<Node>,
  { podRanges, own, server }: Pick<RoutesOptions, "podRanges" | "own" | "server">,
): Map<string, string> {
  const wanted = new Map<string, string>();
  const others = [...nodes].filter(({ metadata: { name } }) => !own.has(name));
  for (const podRange of podRanges) {
    const { family } = parseIpRange(podRange)!;
    const machine = ofFamily(family, [server?.()]);
    // Where the API server's machine keeps its nodes' addresses, and its own for pods
    if (machine) wanted.set(lastOf(podRange, family), machine);
    for (const node of others) {
      const range = podCIDRsOf(node).find((one) => within(podRange, one));
      const address = ofFamily(family, addressesOf(node));
      if (!range || !address) continue;
      const gateway = within(podRange, address) ? machine : address;
      if (gateway && !isLoopback(gateway)) wanted.set(range, gateway);
    }
  }
  return wanted;
}

function addressesOf({ status }: Node): string[] {
  const all = (status?.addresses ?? []) as readonly { type: string; address: string }[];
  return all.filter(({ type }) => type === "InternalIP").map(({ address }) => address);
}

function ofFamily(
  family: IpRange["family"],
  addresses: readonly (string | undefined)[],
): string | undefined {
  return addresses.find((one) => one && parseAddress(one)?.family === family);
}

function isLoopback(address: string): boolean {
  return address.startsWith("127.") || address === "::1";
}

/** The last part of a pod range, which no node has as its own. */
function lastOf(podRange: string, family: IpRange["family"]): string {
  if (family === 6) return lastPart(podRange);
  const [a, b] = podRange.split(".");
  return `${a}.${b}.255.0/24`;
}

/** Removes the ways that a former life has left behind: they lead away from what is this machine's. */
export async function removeLeftovers(
  { podRanges, routes }: Pick<RoutesOptions, "podRanges" | "routes">,
) {
  for (const range of (await routes.list()).keys()) {
    if (podRanges.some((one) => within(one, range))) await routes.remove(range);
  }
}

/** Ways as an actor: `routes/<machine>`. Its state is the ways that it has made. */
export function routes(options: RoutesOptions): Behaviour<Map<string, string>> {
  return {
    async start(context) {
      await removeLeftovers(options);
      context.informers.for(NODES).subscribe(() => context.send(context.address, "sync"));
      context.send(context.address, "sync");
      return new Map();
    },
    async handle(_key, made, { informers, log }) {
      const wanted = wantedRoutes(informers.for(NODES).list(), options);
      let failed = false;
      for (const [range, gateway] of wanted) {
        if (made.get(range) === gateway) continue;
        try {
          await options.routes.set(range, gateway);
          made.set(range, gateway);
        } catch (error) {
          failed = true;
          const why = error instanceof Error ? error.message : String(error);
          log("warn", "pods of another machine cannot be reached", { range, gateway, why });
        }
      }
      for (const range of made.keys()) {
        if (wanted.has(range)) continue;
        made.delete(range);
        await options.routes.remove(range);
      }
      if (failed) return { afterMs: ROUTE_RETRY_MS };
    },
    async stop(made) {
      for (const range of made.keys()) await options.routes.remove(range);
    },
  };
}
