/**
 * Rules of the rbac group (upstream's `pkg/apis/rbac`): defaults of subjects, validation of rules and
 * bindings. That nobody grants what he has not is the authorizer's check, not validation's.
 */

import { internalValue } from "./internal_value.ts";
import type {
  Cause,
  Column,
  DeepReadonly,
  Kind,
  KindHooks,
  KubeObject,
} from "../../machinery/types.ts";
import { nameIsDnsSubdomain, nameIsPathSegment } from "../../machinery/names.ts";
import { checkLabelSelector } from "../../machinery/selectors.ts";
import { AGE_COLUMN, column, NAME_COLUMN, type Row } from "./cells.ts";
import { semanticEqual } from "./equality.ts";
import { canSelect } from "./replica_validation.ts";
import { isSet, Path, Report } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const GROUP = "rbac.authorization.k8s.io";
const RULES = new Path("rules");
const ROLE_REF = new Path("roleRef");
const SUBJECTS = new Path("subjects");

function defaultBinding(binding: KubeObject): void {
  if (binding.roleRef) binding.roleRef.apiGroup ||= GROUP;
  for (const subject of binding.subjects ?? []) {
    if (subject.apiGroup) continue;
    if (subject.kind === "User" || subject.kind === "Group") subject.apiGroup = GROUP;
  }
}

function validateRule(rule: Obj, path: Path, r: Report, namespaced: boolean): void {
  const { apiGroups = [], resources = [], resourceNames = [], nonResourceURLs = [] } = rule;
  if (!rule.verbs?.length) {
    r.required(path.child("verbs"), "verbs must contain at least one value");
  }
  if (nonResourceURLs.length > 0) {
    const at = path.child("nonResourceURLs");
    if (namespaced) {
      r.invalid(at, nonResourceURLs, "namespaced rules cannot apply to non-resource URLs");
    }
    if (apiGroups.length > 0 || resources.length > 0 || resourceNames.length > 0) {
      const text = "rules cannot apply to both regular resources and non-resource URLs";
      r.invalid(at, nonResourceURLs, text);
    }
    return;
  }
  if (apiGroups.length === 0) {
    r.required(path.child("apiGroups"), "resource rules must supply at least one api group");
  }
  if (resources.length === 0) {
    r.required(path.child("resources"), "resource rules must supply at least one resource");
  }
}

function validateRole(role: Stored, namespaced: boolean): Cause[] {
  const r = new Report();
  role.rules?.forEach((rule: Obj, i: number) => validateRule(rule, RULES.index(i), r, namespaced));
  if (namespaced || !isSet(role.aggregationRule)) return r.causes;
  const selectors: Obj[] = role.aggregationRule.clusterRoleSelectors ?? [];
  const at = new Path("aggregationRule").child("clusterRoleSelectors");
  if (selectors.length === 0) {
    r.required(at, "at least one clusterRoleSelector required if aggregationRule is non-nil");
  }
  selectors.forEach((selector, i) => {
    r.add(checkLabelSelector(`${at.index(i)}`, selector));
    if (canSelect(selector)) return;
    r.invalid(at.index(i), null, "invalid label selector.");
  });
  return r.causes;
}

function validateSubject(subject: Obj, path: Path, r: Report, namespaced: boolean): void {
  const { kind, name = "", apiGroup = "", namespace } = subject;
  if (name === "") r.required(path.child("name"));
  const groupAt = path.child("apiGroup");
  if (kind === "ServiceAccount") {
    if (name !== "") r.check(nameIsDnsSubdomain(name, false), path.child("name"), name);
    if (apiGroup !== "") r.notSupported(groupAt, apiGroup, [""]);
    if (!namespaced && !namespace) r.required(path.child("namespace"));
  } else if (kind === "User" || kind === "Group") {
    if (apiGroup !== GROUP) r.notSupported(groupAt, apiGroup, [GROUP]);
  } else {
    r.notSupported(path.child("kind"), kind ?? "", ["ServiceAccount", "User", "Group"], true);
  }
}

function validateBinding(binding: Stored, namespaced: boolean): Cause[] {
  const r = new Report();
  const { apiGroup = "", kind = "", name = "" } = binding.roleRef ?? {};
  if (apiGroup !== GROUP) r.notSupported(ROLE_REF.child("apiGroup"), apiGroup, [GROUP]);
  const kinds = namespaced ? ["Role", "ClusterRole"] : ["ClusterRole"];
  if (!kinds.includes(kind)) r.notSupported(ROLE_REF.child("kind"), kind, kinds, true);
  if (name === "") r.required(ROLE_REF.child("name"));
  else r.check(nameIsPathSegment(name, false), ROLE_REF.child("name"), name);
  binding.subjects?.forEach((subject: Obj, i: number) => {
    validateSubject(subject, SUBJECTS.index(i), r, namespaced);
  });
  return r.causes;
}

function roleHooks(namespaced: boolean): KindHooks {
  return {
    validateName: nameIsPathSegment,
    validate: (role) => validateRole(role, namespaced),
    validateUpdate: (role) => validateRole(role, namespaced),
  };
}

function bindingHooks(namespaced: boolean): KindHooks {
  return {
    defaults: defaultBinding,
    validateName: nameIsPathSegment,
    validate: (binding) => validateBinding(binding, namespaced),
    validateUpdate(binding, old) {
      const r = new Report();
      r.add(validateBinding(binding, namespaced));
      if (!semanticEqual(binding.roleRef, old.roleRef)) {
        r.invalid(
          ROLE_REF,
          internalValue("RoleRef", binding.roleRef ?? {}),
          "cannot change roleRef",
        );
      }
      return r.causes;
    },
  };
}

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {
  Role: roleHooks(true),
  ClusterRole: roleHooks(false),
  RoleBinding: bindingHooks(true),
  ClusterRoleBinding: bindingHooks(false),
};

function subjectsOf(kind: string): (row: Row) => string {
  return (row) =>
    (row.subjects ?? []).filter((s: Obj) => s.kind === kind)
      .map((s: Obj) => kind === "ServiceAccount" ? `${s.namespace ?? ""}/${s.name}` : s.name)
      .join(", ");
}

const WIDE = { priority: 1 } as const;
const BINDING_COLUMNS: Column[] = [
  NAME_COLUMN,
  column("Role", (o) => `${o.roleRef?.kind ?? ""}/${o.roleRef?.name ?? ""}`),
  AGE_COLUMN,
  column("Users", subjectsOf("User"), WIDE),
  column("Groups", subjectsOf("Group"), WIDE),
  column("ServiceAccounts", subjectsOf("ServiceAccount"), WIDE),
];

/** Columns by kind. */
export const columns: Record<string, Column[]> = {
  RoleBinding: BINDING_COLUMNS,
  ClusterRoleBinding: BINDING_COLUMNS,
};

/** Selectable fields by kind. */
export const fields: Record<string, Kind["fields"]> = {};
