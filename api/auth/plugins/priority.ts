/**
 * Priority: resolves a pod's PriorityClass to its number and preemption policy, and keeps the default class
 * unique.
 */
import type { DeepReadonly, KubeObject } from "../../machinery/types.ts";
import type { View } from "../../../kv/contract.ts";
import { refusal } from "../admission.ts";
import type { Admission, AdmissionPlugin } from "../contract.ts";

const CLASSES = "/registry/priorityclasses/";

/** Upstream's Priority. */
export const priority: AdmissionPlugin = {
  name: "Priority",
  handles(a) {
    if (a.subresource || (a.operation !== "CREATE" && a.operation !== "UPDATE")) return false;
    return a.kind.plural === "pods" && a.kind.group === "" || isClass(a);
  },
  mutate(a) {
    if (isClass(a)) return;
    const spec = a.object!.spec ??= {};
    if (a.operation === "UPDATE") {
      spec.priority ??= a.old?.spec?.priority;
      spec.preemptionPolicy ??= a.old?.spec?.preemptionPolicy;
      return;
    }
    resolve(a, spec);
  },
  validate(a) {
    if (!isClass(a) || !a.object?.globalDefault) return;
    const known = defaultClass(a.view)?.metadata.name;
    if (known === undefined) return;
    if (a.operation === "UPDATE" && known === a.object.metadata.name) return;
    throw refusal(
      a,
      `PriorityClass ${known} is already marked as default. Only one default can exist`,
    );
  },
};

function isClass(a: Admission): boolean {
  return a.kind.plural === "priorityclasses" && a.kind.group === "scheduling.k8s.io";
}

/** The default class; of several, which only a race can make, the one with the lowest value. */
function defaultClass(view: View<KubeObject>): DeepReadonly<KubeObject> | undefined {
  let found: DeepReadonly<KubeObject> | undefined;
  for (const { value } of view.scan(CLASSES)) {
    if (value.globalDefault && (!found || value.value < found.value)) found = value;
  }
  return found;
}

// deno-lint-ignore no-explicit-any -- a pod's spec
function resolve(a: Admission, spec: any): void {
  let name: string = spec.priorityClassName ?? "";
  let value = 0;
  let policy: string | undefined = "PreemptLowerPriority";
  const found = name ? a.view.get(CLASSES + name)?.value : defaultClass(a.view);
  if (name && !found) throw refusal(a, `no PriorityClass with name ${name} was found`);
  if (found) {
    name = found.metadata.name;
    value = found.value ?? 0;
    policy = found.preemptionPolicy;
  }
  if (name) spec.priorityClassName = name;
  if (spec.priority !== undefined && spec.priority !== null && spec.priority !== value) {
    throw refusal(
      a,
      `the integer value of priority (${spec.priority}) must not be provided in pod spec; ` +
        `priority admission controller computed ${value} from the given PriorityClass name`,
    );
  }
  spec.priority = value;
  if (!policy) return;
  if ((spec.preemptionPolicy ?? policy) !== policy) {
    throw refusal(
      a,
      `the string value of PreemptionPolicy (${spec.preemptionPolicy}) must not be provided in ` +
        `pod spec; priority admission controller computed ${policy} from the given ` +
        `PriorityClass name`,
    );
  }
  spec.preemptionPolicy = policy;
}
