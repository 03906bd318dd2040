/**
 * ClusterRoles that are the sum of others: their rules are those of all roles their selectors find.
 *
 * Behaviour matched: pkg/controller/clusterroleaggregation, v1.36.
 */
import { sameJson } from "../../api/machinery/json_value.ts";
import { labelSelector } from "../../api/machinery/selectors.ts";
import type { Json, KubeObject } from "../../api/machinery/types.ts";
import { type ActorContext, CLUSTER_ROLES, type Controller } from "../runtime/mod.ts";
import type { Obj } from "./objects.ts";

export const clusterRoleAggregationController: Controller<void> = {
  name: "clusterrole-aggregation",
  account: "clusterrole-aggregation-controller",
  for: CLUSTER_ROLES,
  selects: (role) => role.aggregationRule !== undefined,
  watches: [{
    // Any role may be a part of any that aggregates; there are few of those.
    resource: CLUSTER_ROLES,
    keys(_role, _old, context) {
      const keys: string[] = [];
      for (const role of context.informers.for(CLUSTER_ROLES).list()) {
        if (role.aggregationRule) keys.push(role.metadata.name);
      }
      return keys;
    },
  }],
  gatherMs: () => 20,
  reconcile,
};

/** The rules an aggregating role should have: by selector, then by name, each once. Pure. */
export function aggregatedRules(role: Obj, roles: Iterable<Obj>): Obj["rules"] {
  const sorted = [...roles].sort((a, b) => a.metadata.name < b.metadata.name ? -1 : 1);
  const rules: Obj["rules"] = [];
  for (const spec of role.aggregationRule?.clusterRoleSelectors ?? []) {
    const selector = labelSelector(spec);
    for (const other of sorted) {
      if (other.metadata.name === role.metadata.name) continue;
      if (!selector.matches(other.metadata.labels)) continue;
      for (const rule of other.rules ?? []) {
        if (!rules.some((present: object) => sameJson(present, rule))) rules.push(rule);
      }
    }
  }
  return rules;
}

/** Gives one role its rules. */
export async function reconcile(key: string, context: ActorContext): Promise<void> {
  const roles = context.informers.for(CLUSTER_ROLES);
  const role = roles.get(key);
  if (!role?.aggregationRule) return;
  const rules = aggregatedRules(role, roles.list());
  if (sameJson(rules, role.rules ?? [])) return;
  // By apply, as upstream: who else wrote rules does not stand in the way.
  const body: { [key: string]: Json } = {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRole",
    metadata: { name: key },
    rules,
  };
  await context.client.patch<KubeObject>({ resource: CLUSTER_ROLES, name: key }, {
    type: "apply",
    body,
    force: true,
  }, { fieldManager: "clusterrole-aggregation-controller" });
}
