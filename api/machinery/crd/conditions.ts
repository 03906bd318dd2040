/**
 * Which names a CRD gets, and what its conditions say of it: apiextensions' naming and establishing
 * controllers as one pure function.
 */
import type { DeepReadonly } from "../types.ts";
import { sameJson } from "../json_value.ts";
import { goQuote } from "../go_format.ts";
import {
  approvalState,
  type Crd,
  type CrdCondition,
  type CrdNames,
  isProtected,
} from "./definition.ts";

/** The finalizer that keeps a CRD until its objects are gone. */
export const CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io";

/**
 * The status a CRD should have, given all others; the same object when nothing changes. `time` stamps
 * conditions that turn.
 */
export function statusOf(
  crd: DeepReadonly<Crd>,
  others: Iterable<DeepReadonly<Crd>>,
  time: string,
): NonNullable<Crd["status"]> {
  const resources = new Set<string>();
  const kinds = new Set<string>();
  for (const other of others) {
    if (other.metadata.name === crd.metadata.name || other.spec.group !== crd.spec.group) continue;
    const names = other.status?.acceptedNames;
    if (!names) continue;
    for (const name of [names.plural, names.singular, ...(names.shortNames ?? [])]) {
      if (name) resources.add(name);
    }
    for (const name of [names.kind, names.listKind]) if (name) kinds.add(name);
  }
  const { accepted, condition } = acceptNames(crd, resources, kinds);
  const old = (crd.status ?? {}) as NonNullable<Crd["status"]>;
  const established = establishedOf(old, condition);
  let conditions = (old.conditions ?? []) as CrdCondition[];
  conditions = withCondition(conditions, condition, time);
  conditions = withCondition(conditions, established, time);
  if (isProtected(crd.spec.group)) conditions = withCondition(conditions, approvalOf(crd), time);
  if (sameJson(conditions, old.conditions ?? []) && sameJson(accepted, old.acceptedNames ?? {})) {
    return old;
  }
  return { ...old, acceptedNames: accepted, conditions };
}

function acceptNames(
  crd: DeepReadonly<Crd>,
  resources: Set<string>,
  kinds: Set<string>,
): { accepted: CrdNames; condition: CrdCondition } {
  const wanted = crd.spec.names as CrdNames;
  const had = (crd.status?.acceptedNames ?? { plural: "", kind: "" }) as CrdNames;
  const accepted: CrdNames = { ...had };
  let reason = "";
  let message = "";
  const taken = (name: string, own: string | undefined, used: Set<string>) =>
    name !== (own ?? "") && used.has(name) ? `${goQuote(name)} is already in use` : undefined;
  const refuse = (why: string, text: string) => {
    reason = why;
    message = text;
  };
  for (const key of ["plural", "singular"] as const) {
    const problem = taken(wanted[key] ?? "", had[key], resources);
    if (problem) refuse(key === "plural" ? "PluralConflict" : "SingularConflict", problem);
    else accepted[key] = wanted[key] ?? "";
  }
  const fresh = (wanted.shortNames ?? []).filter((name) => !had.shortNames?.includes(name));
  const problems = fresh.map((name) => taken(name, "", resources)).filter((one) =>
    one !== undefined
  );
  if (problems.length) {
    refuse("ShortNamesConflict", problems.length === 1 ? problems[0]! : `[${problems.join(", ")}]`);
  } else if (wanted.shortNames?.length) accepted.shortNames = wanted.shortNames;
  else delete accepted.shortNames;
  for (const key of ["kind", "listKind"] as const) {
    const problem = taken(wanted[key] ?? "", had[key], kinds);
    if (problem) refuse(key === "kind" ? "KindConflict" : "ListKindConflict", problem);
    else accepted[key] = wanted[key] ?? "";
  }
  if (wanted.categories?.length) accepted.categories = wanted.categories;
  else delete accepted.categories;
  const condition: CrdCondition = reason
    ? { type: "NamesAccepted", status: "False", reason, message }
    : {
      type: "NamesAccepted",
      status: "True",
      reason: "NoConflicts",
      message: "no conflicts found",
    };
  return { accepted, condition };
}

function establishedOf(
  old: DeepReadonly<NonNullable<Crd["status"]>>,
  names: CrdCondition,
): CrdCondition {
  const before = old.conditions?.find((condition) => condition.type === "Established");
  if (before?.status === "True") return { ...before };
  if (names.status === "True") {
    return {
      type: "Established",
      status: "True",
      reason: "InitialNamesAccepted",
      message: "the initial names have been accepted",
    };
  }
  return {
    type: "Established",
    status: "False",
    reason: "NotAccepted",
    message: "not all names are accepted",
  };
}

function approvalOf(crd: DeepReadonly<Crd>): CrdCondition {
  const { state, why } = approvalState(crd);
  return {
    type: "KubernetesAPIApprovalPolicyConformant",
    status: state === "Approved" ? "True" : "False",
    reason: `${state}Annotation`,
    message: why,
  };
}

/** The conditions with one set; its time moves only when its status does. */
export function withCondition(
  conditions: readonly CrdCondition[],
  condition: CrdCondition,
  time: string,
): CrdCondition[] {
  const out = [...conditions];
  const at = out.findIndex((one) => one.type === condition.type);
  const before = at < 0 ? undefined : out[at];
  const stamp = before?.status === condition.status ? before.lastTransitionTime : time;
  const made: CrdCondition = {
    type: condition.type,
    status: condition.status,
    lastTransitionTime: stamp ?? time,
    reason: condition.reason,
    message: condition.message,
  };
  if (at < 0) out.push(made);
  else out[at] = made;
  return out;
}
