/**
 * Addresses of load balancers on the machine's own network: an actor that gives this machine each address of the pool
 * that a Service holds, tells the neighbours by gratuitous ARP, and takes it away when it is held no more.
 *
 * The pool is this cluster's: what lies in it and is held by nobody is of a former life, and goes at the start.
 */
import type { Informer } from "../../../api/client/contract.ts";
import type { DeepReadonly, KubeObject } from "../../../api/machinery/types.ts";
import type { ActorContext, Behaviour } from "../../runtime/contract.ts";
import { SERVICES } from "../types.ts";
import { type IpRange, isWithin, parseIpRange } from "./ip_range.ts";

/** The one message: look at everything. */
const SYNC = "sync";
/** Neighbours may miss one: so many announcements, so far apart in ms. */
const ANNOUNCEMENTS = 3;
const ANNOUNCE_EVERY_MS = 1_000;

/** What the actor asks of the machine. */
export interface AddressPorts {
  /** What `ip` prints with these arguments. */
  ip(...args: string[]): Promise<string>;
  announce(device: string, address: string): Promise<void> | void;
}

export interface BalancerAddressesOptions extends AddressPorts {
  /** Such as `192.168.1.240/28`. */
  pool: string;
  applied?(): void;
}

interface State {
  services: Informer;
  range: IpRange;
  /** What this machine has of the pool, and where. */
  held: Map<string, string>;
  /** Announcements that are still to be made, by address. */
  due: Map<string, number>;
  unsubscribe: () => void;
}

/** The actor: `addresses/<machine>`. */
export function balancerAddresses(options: BalancerAddressesOptions): Behaviour<State> {
  return {
    async start(context) {
      const range = parseIpRange(options.pool);
      if (!range) {
        throw new TypeError(`Cannot announce "${options.pool}": not a range of addresses`);
      }
      const services = context.informers.for(SERVICES);
      const held = new Map<string, string>();
      for (const { device, address, bits } of await addresses(options)) {
        if (bits === 32 && isWithin(range, address)) held.set(address, device);
      }
      const unsubscribe = services.subscribe(() => context.send(context.address, SYNC));
      context.send(context.address, SYNC);
      return { services, range, held, due: new Map(), unsubscribe };
    },
    handle: async (_key, state, context) => {
      const outcome = await sync(state, context, options);
      options.applied?.();
      return outcome;
    },
    async stop(state) {
      state.unsubscribe();
      for (const [address, device] of state.held) await remove(address, device, options);
    },
  };
}

interface Address {
  device: string;
  address: string;
  bits: number;
}

async function addresses({ ip }: AddressPorts): Promise<Address[]> {
  const links = JSON.parse(await ip("-j", "-4", "addr", "show")) as {
    ifname: string;
    addr_info: { local: string; prefixlen: number }[];
  }[];
  return links.flatMap(({ ifname, addr_info }) =>
    addr_info.map(({ local, prefixlen }) => ({ device: ifname, address: local, bits: prefixlen }))
  );
}

async function sync(
  state: State,
  { log }: ActorContext,
  options: BalancerAddressesOptions,
): Promise<{ afterMs: number } | void> {
  const wanted = new Set<string>();
  for (const service of state.services.list()) {
    for (const { ip } of service.status?.loadBalancer?.ingress ?? []) {
      if (ip && isWithin(state.range, ip) && holds(service)) wanted.add(ip);
    }
  }
  for (const [address, device] of state.held) {
    if (wanted.has(address)) continue;
    await remove(address, device, options);
    state.held.delete(address);
    state.due.delete(address);
  }
  for (const address of wanted) {
    if (state.held.has(address)) continue;
    const device = await deviceFor(address, options);
    await options.ip("addr", "add", `${address}/32`, "dev", device);
    state.held.set(address, device);
    state.due.set(address, ANNOUNCEMENTS);
  }
  for (const [address, count] of state.due) {
    const device = state.held.get(address)!;
    try {
      if (device !== LOOPBACK) await options.announce(device, address);
    } catch (error) {
      log("warn", "could not announce an address", { address, device, error: String(error) });
    }
    if (count > 1) state.due.set(address, count - 1);
    else state.due.delete(address);
  }
  if (state.due.size > 0) return { afterMs: ANNOUNCE_EVERY_MS };
}

/** A Service that a proxy answers for, ours of sockets, of rules, or of HTTP. */
function holds(service: DeepReadonly<KubeObject>): boolean {
  return service.spec.type === "LoadBalancer" && !service.metadata.deletionTimestamp;
}

const LOOPBACK = "lo";

/** The interface whose network an address is of; where there is none, others must route to this machine. */
async function deviceFor(address: string, ports: AddressPorts): Promise<string> {
  for (const { device, address: own, bits } of await addresses(ports)) {
    const network = bits < 32 ? parseIpRange(`${own}/${bits}`) : undefined;
    if (network && device !== LOOPBACK && isWithin(network, address)) return device;
  }
  return LOOPBACK;
}

async function remove(address: string, device: string, { ip }: AddressPorts): Promise<void> {
  // Who took the interface away took the address with it.
  await ip("addr", "del", `${address}/32`, "dev", device).catch(() => undefined);
}
