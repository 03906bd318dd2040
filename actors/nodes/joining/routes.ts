/**
 * The ways from this machine to the pods of others: an actor that keeps a route to each node's podCIDR, by the address
 * at which that node's machine is reached. Nodes of the API server's own machine have addresses of the pod range; they
 * are reached by the server's.
 *
 * It needs machines that reach one another directly, on one network: it encapsulates nothing. A machine behind NAT runs
 * pods, and is reached for logs, exec and port-forward through its tunnel; its pods and those of others do not reach
 * each other.
 */
import type { DeepReadonly, KubeObject } from "../../../api/machinery/types.ts";
import type { Behaviour } from "../../runtime/contract.ts";
import { parseIPv4, parseRange } from "../network/pool.ts";
import { NODES } from "../types.ts";

/** This machine's routes that are ours, by range. */
export interface Routes {
  list(): Promise<Map<string, string>>;
  set(range: string, gateway: string): Promise<void>;
  remove(range: string): Promise<void>;
}

/** What ways depend on. */
export interface RoutesOptions {
  podRange: string;
  /** The nodes of this machine. */
  own: ReadonlySet<string>;
  /** Where the API server's machine is reached; absent: this is it. */
  server?: () => string | undefined;
  routes: Routes;
}

type Node = DeepReadonly<KubeObject>;

/** Pause before a route that could not be set is tried again. */
export const ROUTE_RETRY_MS = 30_000;

/** Whether an address is of a range. */
function within(range: string, address: string): boolean {
  const parsed = parseRange(range);
  const value = parseIPv4(address);
  if (!parsed || value === undefined) return false;
  return value >= parsed.first && value < parsed.first + parsed.size;
}

/** The ways that there should be: range to gateway. Pure. */
export function wantedRoutes(
  nodes: Iterable<Node>,
  { podRange, own, server }: Pick<RoutesOptions, "podRange" | "own" | "server">,
): Map<string, string> {
  const wanted = new Map<string, string>();
  const machine = server?.();
  if (machine && parseIPv4(machine) !== undefined) {
    // Where the API server's machine keeps its nodes' addresses, and its own for pods
    wanted.set(lastOf(podRange), machine);
  }
  for (const { metadata: { name }, spec, status } of nodes) {
    const range = spec?.podCIDR as string | undefined;
    if (!range || own.has(name) || !within(podRange, range.split("/")[0])) continue;
    const addresses = (status?.addresses ?? []) as readonly { type: string; address: string }[];
    const address = addresses.find(({ type }) => type === "InternalIP")?.address;
    if (!address || parseIPv4(address) === undefined) continue;
    const gateway = within(podRange, address) ? machine : address;
    if (gateway && !gateway.startsWith("127.")) wanted.set(range, gateway);
  }
  return wanted;
}

/** The last /24 of the pod range, which no node has as its own. */
function lastOf(podRange: string): string {
  const [a, b] = podRange.split(".");
  return `${a}.${b}.255.0/24`;
}

/** Removes the ways that a former life has left behind: they lead away from what is this machine's. */
export async function removeLeftovers(
  { podRange, routes }: Pick<RoutesOptions, "podRange" | "routes">,
) {
  for (const range of (await routes.list()).keys()) {
    if (within(podRange, range.split("/")[0])) await routes.remove(range);
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
