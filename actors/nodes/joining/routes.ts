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
import { type IpRange, isWithin, parseAddress, parseIpRange } from "../network/ip_range.ts";
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

/** The ways that there should be: range to gateway. Pure. */
export function wantedRoutes(
  nodes: Iterable<Node>,
  { podRanges, own, server }: Pick<RoutesOptions, "podRanges" | "own" | "server">,
): Map<string, string> {
  const wanted = new Map<string, string>();
  const others = [...nodes].filter(({ metadata: { name } }) => !own.has(name));
  for (const podRange of podRanges) {
    const range = parseIpRange(podRange)!;
    const { family } = range;
    const machine = ofFamily(family, [server?.()]);
    // Where the API server's machine keeps its nodes' addresses, and its own for pods: no node has them as its own
    if (machine) wanted.set(lastPart(podRange), machine);
    for (const node of others) {
      const part = podCIDRsOf(node).find((one) => isWithin(range, one));
      const address = ofFamily(family, addressesOf(node));
      if (!part || !address) continue;
      const gateway = isWithin(range, address) ? machine : address;
      if (gateway && !isLoopback(gateway)) wanted.set(part, gateway);
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

/** Removes the ways that a former life has left behind: they lead away from what is this machine's. Returns them. */
export async function removeLeftovers(
  { podRanges, routes }: Pick<RoutesOptions, "podRanges" | "routes">,
): Promise<Map<string, string>> {
  const ours = podRanges.map((range) => parseIpRange(range)!);
  const found = await routes.list();
  for (const range of found.keys()) {
    if (ours.some((one) => isWithin(one, range))) await routes.remove(range);
    else found.delete(range);
  }
  return found;
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
