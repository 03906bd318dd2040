/**
 * Enforces NetworkPolicies for the pods of a machine: an actor with a table of nftables of its own. What they become
 * there is `policy_rules.ts`. Pods and namespaces are only watched once there is a policy.
 *
 * What holds: pods with network namespaces are guarded in both directions, against each other, other machines and
 * isolates. Isolates are guarded against pods with namespaces and other machines; among themselves, and what they send,
 * they are not: a process of the machine has no address that tells whose it is.
 */
import type { Informer } from "../../../api/client/contract.ts";
import type { ActorContext, Behaviour } from "../../runtime/contract.ts";
import { NAMESPACES, PODS } from "../types.ts";
import type { Netfilter } from "./nft.ts";
import { removal, tableOf } from "./nftables_table.ts";
import { type PolicyTable, policyTable } from "./policy_rules.ts";
import { policyScript, type PolicyTableOptions } from "./policy_script.ts";

const POLICIES = { group: "networking.k8s.io", version: "v1", plural: "networkpolicies" };
/** The one message: look at everything. */
const SYNC = "sync";
/** Changes that come within this of each other are looked at together, in ms. */
const GATHER_MS = 10;

/** Options of `policyGuard`. */
export interface PolicyGuardOptions {
  table: PolicyTableOptions;
  /** Of this machine. */
  nodes: ReadonlySet<string>;
  netfilter: Netfilter;
  /** Called after each look. */
  applied?(): void;
}

interface State {
  policies: Informer;
  /** Once there was a policy. */
  world?: { pods: Informer; namespaces: Informer };
  /** What the kernel has; undefined: unknown. */
  table?: PolicyTable;
  unsubscribe: (() => void)[];
}

/** The actor: `policy/<machine>`. */
export function policyGuard(options: PolicyGuardOptions): Behaviour<State> {
  return {
    async start(context) {
      const policies = context.informers.for(POLICIES);
      const look = () => context.send(context.address, SYNC, { delayMs: GATHER_MS });
      // A former life's rules stay until the first look: nothing is open in between.
      await policies.whenSynced();
      const unsubscribe = [policies.subscribe(look)];
      context.send(context.address, SYNC);
      return { policies, unsubscribe };
    },
    handle: (_key, state, context) => sync(state, context, options),
    async stop(state) {
      for (const end of state.unsubscribe) end();
      await options.netfilter.apply(removal(tableOf(options.table)));
    },
  };
}

async function sync(
  state: State,
  context: ActorContext,
  { table: options, nodes, netfilter, applied }: PolicyGuardOptions,
): Promise<void> {
  if (state.policies.size > 0) state.world ??= await watch(state, context);
  const { pods, namespaces } = state.world ?? {};
  const after = policyTable({
    pods: pods?.list() ?? [],
    namespaces: namespaces?.list() ?? [],
    policies: state.policies.list(),
    nodes,
    family: options.family,
  });
  const script = policyScript(state.table, after, options);
  state.table = undefined;
  if (script) await netfilter.apply(script);
  state.table = after;
  applied?.();
}

async function watch(state: State, context: ActorContext): Promise<State["world"]> {
  const pods = context.informers.for(PODS);
  const namespaces = context.informers.for(NAMESPACES);
  await Promise.all([pods.whenSynced(), namespaces.whenSynced()]);
  const look = () => {
    if (state.policies.size > 0) context.send(context.address, SYNC, { delayMs: GATHER_MS });
  };
  state.unsubscribe.push(pods.subscribe(look), namespaces.subscribe(look));
  return { pods, namespaces };
}
