/**
 * Aggregated ClusterRoles: their rules are the union of the rules of all ClusterRoles that their selectors
 * match. Kept inside the commit that changes any ClusterRole, so that no reader sees them apart.
 */
import { edit } from "../machinery/edit.ts";
import { sameJson } from "../machinery/json_value.ts";
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";
import type { View } from "../../kv/contract.ts";
import type { Admission, AdmissionPlugin, PolicyRule } from "./contract.ts";

const PREFIX = "/registry/clusterroles/";

type Role = DeepReadonly<KubeObject>;
type Selector = DeepReadonly<
  {
    matchLabels?: Record<string, string>;
    matchExpressions?: { key: string; operator: string; values?: string[] }[];
  }
>;

/**
 * The aggregated ClusterRoles whose rules are not what they should be, with their rules made right. `pending`
 * stands over the view: roles about to be written; an undefined one is about to go.
 */
export function aggregatedRules(
  view: View<KubeObject>,
  pending: ReadonlyMap<string, Role | undefined>,
): { key: string; object: KubeObject }[] {
  const roles = new Map<string, Role | undefined>();
  for (const item of view.scan(PREFIX)) roles.set(item.key, item.value);
  for (const [key, role] of pending) if (key.startsWith(PREFIX)) roles.set(key, role);
  const changed: { key: string; object: KubeObject }[] = [];
  // A role may gather a role that gathers others: repeat until nothing moves.
  for (let round = 0; round < roles.size; round++) {
    let moved = false;
    const ordered = [...roles.values()].filter((role) => role !== undefined)
      .sort((a, b) => a.metadata.name < b.metadata.name ? -1 : 1);
    for (const [key, role] of roles) {
      if (!role?.aggregationRule) continue;
      const rules = gather(role, ordered);
      if (sameJson(role.rules ?? [], rules)) continue;
      const object = { ...role, rules } as unknown as KubeObject;
      roles.set(key, object);
      const known = changed.find((c) => c.key === key);
      if (known) known.object = object;
      else changed.push({ key, object });
      moved = true;
    }
    if (!moved) break;
  }
  return changed;
}

/** `ordered`: all roles by name. */
function gather(role: Role, ordered: readonly Role[]): PolicyRule[] {
  const rules: PolicyRule[] = [];
  const seen = new Set<string>();
  for (const selector of role.aggregationRule.clusterRoleSelectors ?? []) {
    for (const other of ordered) {
      if (other.metadata.name === role.metadata.name) continue;
      if (!selects(selector, other.metadata.labels ?? {})) continue;
      for (const rule of other.rules ?? []) {
        const text = JSON.stringify(rule);
        if (seen.has(text)) continue;
        seen.add(text);
        rules.push(rule as PolicyRule);
      }
    }
  }
  return rules;
}

function selects(selector: Selector, labels: DeepReadonly<Record<string, string>>): boolean {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    if (labels[key] !== value) return false;
  }
  for (const { key, operator, values } of selector.matchExpressions ?? []) {
    const value = labels[key];
    const listed = value !== undefined && (values ?? []).includes(value);
    if (operator === "In" && !listed) return false;
    if (operator === "NotIn" && listed) return false;
    if (operator === "Exists" && value === undefined) return false;
    if (operator === "DoesNotExist" && value !== undefined) return false;
  }
  return true;
}

/** Keeps aggregated roles right in the commit of any write of a ClusterRole. */
export const clusterRoleAggregation: AdmissionPlugin = {
  name: "ClusterRoleAggregation",
  handles: (a) =>
    a.kind.plural === "clusterroles" && a.kind.group === "rbac.authorization.k8s.io" &&
    !a.subresource,
  mutate(a: Admission): void {
    // The rules of an aggregated role are never the writer's.
    if (!a.object?.aggregationRule) return;
    const key = PREFIX + a.name;
    for (const changed of aggregatedRules(a.view, new Map([[key, a.object]]))) {
      if (changed.key === key) a.object.rules = edit(changed.object.rules);
    }
  },
  commit(a, draft): void {
    const key = PREFIX + (a.object?.metadata.name || a.name);
    // At a delete the draft already shows what became of the role.
    const gone = a.operation === "DELETE" && !draft.get(key);
    const pending = new Map<string, Role | undefined>();
    if (gone || lastFinalizerGone(a)) pending.set(key, undefined);
    else if (a.object) pending.set(key, a.object);
    for (const changed of aggregatedRules(draft, pending)) {
      if (changed.key !== key) draft.put(changed.key, changed.object);
    }
  },
};

function lastFinalizerGone({ object, old }: Admission): boolean {
  return old?.metadata.deletionTimestamp !== undefined && object !== undefined &&
    !object.metadata.finalizers?.length;
}
