/**
 * The service proxy of a Linux machine whose pods have network namespaces: an actor that keeps a table of nftables of
 * its own. What a service becomes there is `nftables.ts`; only what changed is written, as one transaction.
 *
 * A change marks its service and rings once; whoever rings while a transaction runs waits for the next one, so that
 * many changes cost one. After a transaction that failed the whole table is made anew, atomically, as at the start:
 * until then packets find the table of the former life. A clean stop removes it.
 *
 * UDP has no end of a connection: flows to endpoints that no longer serve are taken out of the kernel's table of
 * connections, so that the next packet finds another.
 */
import type { ActorContext, Behaviour } from "../../runtime/contract.ts";
import { BY_SERVICE } from "./endpoints.ts";
import type { Netfilter } from "./nft.ts";
import { POD_KEY } from "./host_ports.ts";
import { hostPortRules, type ServiceRules, serviceRules, type TablePlace } from "./nftables.ts";
import { ENDPOINTS_MAX, removal, Table, tableOf, type TableOptions } from "./nftables_table.ts";
import { ProxyMetrics } from "./proxy_metrics.ts";
import { type ServiceWatch, watchServices } from "./service_watch.ts";
import { affinitySeconds } from "./traffic.ts";

/** The one message: look at what is marked. */
const SYNC = "sync";

/** Options of `nftablesProxy`. */
export interface NftablesProxyOptions {
  table: TableOptions;
  /** Where it stands, asked anew for each service. */
  place(context: ActorContext): TablePlace;
  /** The addresses of a node of this machine, for host ports of its pods; of other nodes none. */
  hostPortAddresses(node: string): readonly string[];
  netfilter: Netfilter;
  /** Where it counts (its own, which nobody reads). */
  metrics?: ProxyMetrics;
  /** Called after each transaction with the services it was about. */
  applied?(services: readonly string[]): void;
}

interface State extends ServiceWatch {
  table: Table;
  /** Services and pods to look at. */
  marked: Set<string>;
  /** What a service's rules were made of, for the flows it leaves behind. */
  known: Map<string, { flows: ServiceRules["flows"]; sticky: boolean }>;
}

/** The proxy as an actor: `proxy/<machine>`. */
export function nftablesProxy(options: NftablesProxyOptions): Behaviour<State> {
  const { metrics = new ProxyMetrics() } = options;
  return {
    start(context) {
      const marked = new Set<string>();
      const mark = (key: string) => {
        marked.add(key);
        context.send(context.address, SYNC);
      };
      const watch = watchServices(context, mark, metrics);
      context.send(context.address, SYNC);
      return { ...watch, table: new Table(options.table), marked, known: new Map() };
    },
    handle: (_key, state, context) => metrics.synced(context, () => sync(state, context, options)),
    async stop(state) {
      for (const end of state.unsubscribe) end();
      await options.netfilter.apply(removal(tableOf(options.table)));
    },
  };
}

async function sync(
  state: State,
  context: ActorContext,
  options: NftablesProxyOptions,
): Promise<void> {
  const { services, slices, table, marked, known } = state;
  const keys = [...marked];
  marked.clear();
  const place = options.place(context);
  const stale: ServiceRules["flows"] = new Map();
  let unstick = false;
  for (const key of keys) {
    if (key.startsWith(POD_KEY)) {
      const pod = state.pods.get(key.slice(POD_KEY.length));
      const family = options.table.family;
      const rules = pod && hostPortRules(pod, family, options.hostPortAddresses);
      table.set(key, rules ?? new Map());
      continue;
    }
    const service = services.get(key);
    const before = known.get(key);
    const rules = service
      ? serviceRules(service, slices.byIndex(BY_SERVICE, key), place)
      : { elements: new Map(), flows: new Map() };
    table.set(key, rules.elements);
    const sticky = service !== undefined && affinitySeconds(service) !== undefined;
    unstick ||= sticky || !!before?.sticky;
    for (const [to, serving] of rules.flows) {
      if (serving.size > 0 && !same(before?.flows.get(to), serving)) stale.set(to, serving);
    }
    if (service) known.set(key, { flows: rules.flows, sticky });
    else known.delete(key);
  }
  try {
    const script = table.script();
    if (script) await options.netfilter.apply(script);
    if (unstick) await forgetClients(table, options);
    if (stale.size > 0) await endFlows(stale, context, options);
  } catch (error) {
    table.reset();
    // They are looked at as if for the first time, the flows that they leave behind too.
    for (const key of keys) {
      known.delete(key);
      marked.add(key);
    }
    throw error;
  }
  options.applied?.(keys);
}

function same(a: ReadonlySet<string> | undefined, b: ReadonlySet<string>): boolean {
  return a !== undefined && a.size === b.size && [...a].every((one) => b.has(one));
}

interface Listed {
  nftables: { map?: { elem?: [ListedKey, { concat: [string, number] }][] } }[];
}
type ListedKey = { elem: { val: { concat: (string | number)[] } } };

/** Clients whose endpoint is gone choose another: they leave the map of affinity. */
async function forgetClients(
  table: Table,
  { netfilter, table: options }: NftablesProxyOptions,
): Promise<void> {
  const name = tableOf(options);
  const text = await netfilter.ask("nft", ["-j", "list", "map", ...name.split(" "), "affinity"]);
  const listed = (JSON.parse(text) as Listed).nftables.flatMap(({ map }) => map?.elem ?? []);
  const gone = listed.filter(([{ elem }, { concat }]) => {
    const [, address, protocol, port] = elem.val.concat;
    const endpoint = concat.join(" . ");
    return !leadsTo(table, `service-endpoints-${protocol} ${address} . ${port}`, endpoint) &&
      !leadsTo(table, `nodeport-endpoints-${protocol} ${port}`, endpoint);
  }).map(([{ elem }]) => elem.val.concat.join(" . "));
  if (gone.length > 0) {
    await netfilter.apply(`delete element ${name} affinity { ${gone.join(", ")} }`);
  }
}

/** Whether an endpoint is one of those behind an address and port. */
function leadsTo(table: Table, id: string, endpoint: string): boolean {
  for (const first of [0, ENDPOINTS_MAX]) {
    for (let i = first;; i++) {
      const value = table.get(`${id} . ${i}`);
      if (value === undefined) break;
      if (value === endpoint) return true;
    }
  }
  return false;
}

/** A flow as conntrack prints it: where it was sent to, and from where it is answered. */
const FLOW = /^udp\s.*?dst=(\S+) sport=\d+ dport=(\d+).*? src=(\S+) dst=\S+ sport=(\d+) dport=/;

/** The flows of a listing that lead to none of those who serve. Pure. */
export function staleFlows(listing: string, flows: ServiceRules["flows"]): string[][] {
  const found = new Map<string, string[]>();
  for (const line of listing.split("\n")) {
    const [, to, port, from, fromPort] = FLOW.exec(line) ?? [];
    if (!to) continue;
    const serving = flows.get(`${to} ${port}`) ?? flows.get(` ${port}`);
    if (!serving || serving.has(`${from} ${fromPort}`)) continue;
    found.set(`${to} ${port} ${from} ${fromPort}`, [to, port, from, fromPort]);
  }
  return [...found.values()];
}

async function endFlows(
  flows: ServiceRules["flows"],
  { log }: ActorContext,
  { netfilter, table }: NftablesProxyOptions,
): Promise<void> {
  try {
    const family = ["-f", table.family === 4 ? "ipv4" : "ipv6"];
    const listing = await netfilter.ask("conntrack", ["-L", "-p", "udp", ...family]);
    for (const [to, port, from, fromPort] of staleFlows(listing, flows)) {
      await netfilter.ask("conntrack", [
        ...["-D", "-p", "udp", ...family, "--orig-dst", to, "--orig-port-dst", port],
        ...["--reply-src", from, "--reply-port-src", fromPort],
      ]).catch(() => undefined); // it ended by itself
    }
  } catch (error) {
    // No conntrack on this machine: flows end when they have been quiet for the kernel's time.
    log("warn", "could not end flows to endpoints that are gone", { error: String(error) });
  }
}
