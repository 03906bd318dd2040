/**
 * Ends the flows of the kernel that lead to pods that are gone: an actor, for machines whose services are rules.
 *
 * Rules choose an endpoint for the first packet of a connection; the kernel remembers it, for two minutes if it was
 * never answered and for five days if it was. A pod that was killed says no goodbye: its clients would wait for long,
 * and a new connection that happens to have the port of a remembered one would be led to where nobody is. With its
 * flow forgotten a client's next packet meets somebody who does not know it, and refuses it.
 *
 * Only flows to addresses that no pod has any more are ended: a pod that a service no longer chooses keeps its own.
 */
import type { Informer } from "../../../api/client/contract.ts";
import type { DeepReadonly, KubeObject } from "../../../api/machinery/types.ts";
import type { Behaviour } from "../../runtime/contract.ts";
import { PODS } from "../types.ts";
import type { Netfilter } from "./nft.ts";

type Obj = DeepReadonly<KubeObject>;

/** The one message: look at the addresses that are noted. */
const LOOK = "look";
/** How long rules may still lead to a pod that is gone. */
const GATHER_MS = 1_000;
/** The index of pods by their addresses. */
const BY_IP = "pod-ip";

interface State {
  pods: Informer;
  /** Addresses that pods had. */
  left: Set<string>;
  /** There is no conntrack on this machine: said once. */
  silent: boolean;
  unsubscribe: () => void;
}

/** The addresses of its own that a pod has; its processes have them no longer when it has ended. */
function addressesOf({ spec, status }: Obj): string[] {
  if (spec.hostNetwork || status?.phase === "Succeeded" || status?.phase === "Failed") return [];
  return ((status?.podIPs ?? []) as { ip: string }[]).map(({ ip }) => ip);
}

/** The actor: `flows/<machine>`. */
export function gonePods({ netfilter }: { netfilter: Netfilter }): Behaviour<State> {
  return {
    start({ informers, address, send }) {
      const pods = informers.for(PODS);
      pods.index(BY_IP, addressesOf);
      const left = new Set<string>();
      const unsubscribe = pods.subscribe(({ old, object }) => {
        const now = object ? addressesOf(object) : [];
        for (const ip of old ? addressesOf(old) : []) {
          if (now.includes(ip)) continue;
          left.add(ip);
          send(address, LOOK, { delayMs: GATHER_MS });
        }
      });
      return { pods, left, silent: false, unsubscribe };
    },
    async handle(_key, state, { log }) {
      const gone = [...state.left].filter((ip) => state.pods.byIndex(BY_IP, ip).length === 0);
      state.left.clear();
      try {
        for (const family of ["ipv4", "ipv6"]) await forget(gone, family, netfilter);
      } catch (error) {
        if (!state.silent) {
          log("warn", "flows to pods that are gone stay", { error: String(error) });
        }
        state.silent = true;
      }
    },
    stop: ({ unsubscribe }) => unsubscribe(),
  };
}

async function forget(gone: readonly string[], family: string, { ask }: Netfilter): Promise<void> {
  const own = gone.filter((ip) => ip.includes(":") === (family === "ipv6"));
  if (own.length === 0) return;
  for (const ip of answering(await ask("conntrack", ["-L", "-f", family]), own)) {
    // It may have ended by itself meanwhile.
    await ask("conntrack", ["-D", "-f", family, "--reply-src", ip]).catch(() => undefined);
  }
}

/** The addresses from which flows of a listing are answered, as far as they are among these. Pure. */
export function answering(listing: string, among: readonly string[]): string[] {
  const wanted = new Set(among), found = new Set<string>();
  for (const [, ip] of listing.matchAll(/ src=\S+ dst=\S+ .* src=(\S+) dst=/g)) {
    if (wanted.has(ip)) found.add(ip);
  }
  return [...found];
}
