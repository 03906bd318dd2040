/**
 * Enforces NetworkPolicies for the pods of a machine: an actor with a table of nftables of its own. What they become
 * there is `policy_rules.ts`. Pods and namespaces are only watched once there is a policy.
 *
 * What holds: pods are guarded in both directions, against each other and against other machines, those with network
 * namespaces by their addresses, isolates by the groups of their processes. Where there are no groups of version 2 what
 * isolates send is not guarded, and passes to each other; a machine that cannot guard says so by an event at its node.
 */
import type { Informer, Informers } from "../../../api/client/contract.ts";
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
  /** Caches that show the pods of all machines (the system's). */
  informers?: Informers;
  /** See `PolicyWorld`. */
  groupOf?(uid: string): string | undefined;
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
      const policies = (options.informers ?? context.informers).for(POLICIES);
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
  { table: options, nodes, netfilter, applied, informers, groupOf }: PolicyGuardOptions,
): Promise<void> {
  const world = state.policies.size > 0
    ? state.world ??= await watch(state, context, informers)
    : undefined;
  const after = policyTable({
    pods: world?.pods.list() ?? [],
    namespaces: world?.namespaces.list() ?? [],
    policies: state.policies.list(),
    nodes,
    family: options.family,
    groupOf,
  });
  const script = policyScript(state.table, after, options);
  state.table = undefined;
  if (script) await netfilter.apply(script);
  state.table = after;
  applied?.();
}

async function watch(
  state: State,
  context: ActorContext,
  informers: Informers = context.informers,
): Promise<NonNullable<State["world"]>> {
  const [pods, namespaces] = [PODS, NAMESPACES].map((resource) => informers.for(resource));
  await Promise.all([pods.whenSynced(), namespaces.whenSynced()]);
  const look = () => {
    if (state.policies.size > 0) context.send(context.address, SYNC, { delayMs: GATHER_MS });
  };
  state.unsubscribe.push(pods.subscribe(look), namespaces.subscribe(look));
  return { pods, namespaces };
}

/** Says once of each node, as soon as there is a policy, that not all of it is kept there. */
export function policyNotice(
  nodes: readonly string[],
  text: string,
): Behaviour<{ policies: Informer; told: boolean; end(): void }> {
  return {
    start(context) {
      const policies = context.informers.for(POLICIES);
      const end = policies.subscribe(() => context.send(context.address, SYNC));
      return { policies, told: false, end };
    },
    handle(_key, state, { recorder }) {
      if (state.told || state.policies.size === 0) return;
      state.told = true;
      state.end();
      for (const name of nodes) {
        const node = { apiVersion: "v1", kind: "Node", name, uid: name };
        recorder.event(node, "Warning", "NetworkPolicyNotEnforced", text);
      }
    },
    stop: ({ end }) => end(),
  };
}
