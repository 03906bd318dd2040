/**
 * RuntimeClass: a pod that names a class gets its overhead and the nodes it can run on.
 */
import { edit } from "../../machinery/edit.ts";
import { tryParseQuantity } from "../../machinery/quantity.ts";
import type { DeepReadonly, KubeObject } from "../../machinery/types.ts";
import { isPod, refusal } from "../admission.ts";
import type { Admission, AdmissionPlugin } from "../contract.ts";
import { mergeTolerations } from "./tolerations.ts";

type Overhead = Readonly<Record<string, string>>;

/** Upstream's RuntimeClass. */
export const runtimeClass: AdmissionPlugin = {
  name: "RuntimeClass",
  handles: (a) => isPod(a) && a.operation === "CREATE",
  mutate(a) {
    const found = find(a);
    if (!found) return;
    const spec = a.object!.spec;
    const fixed: Overhead | undefined = found.overhead?.podFixed;
    if (found.overhead) {
      if (Object.keys(spec.overhead ?? {}).length && !equal(spec.overhead, fixed)) mismatch(a);
      if (fixed) spec.overhead = { ...fixed };
    }
    if (!found.scheduling) return;
    const selector: Record<string, string> = spec.nodeSelector ?? {};
    for (const [key, value] of Object.entries(found.scheduling.nodeSelector ?? {})) {
      if (key in selector && selector[key] !== value) {
        throw refusal(
          a,
          `conflict: runtimeClass.scheduling.nodeSelector[${key}] = ${value}; ` +
            `pod.spec.nodeSelector[${key}] = ${selector[key]}`,
        );
      }
      selector[key] = value as string;
    }
    if (Object.keys(selector).length) spec.nodeSelector = selector;
    const more = found.scheduling.tolerations;
    if (more?.length) spec.tolerations = mergeTolerations(spec.tolerations ?? [], edit(more));
  },
  validate(a) {
    const found = find(a);
    const overhead: Overhead | undefined = a.object!.spec?.overhead;
    if (found?.overhead) {
      if (!equal(overhead, found.overhead.podFixed)) mismatch(a);
    } else if (overhead) {
      throw refusal(
        a,
        "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
      );
    }
  },
};

function mismatch(a: Admission): never {
  throw refusal(
    a,
    "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
  );
}

function find(a: Admission): DeepReadonly<KubeObject> | undefined {
  const name = a.object!.spec?.runtimeClassName;
  if (name === undefined || name === null) return undefined;
  const found = a.view.get(`/registry/runtimeclasses/${name}`)?.value;
  if (found) return found;
  throw refusal(a, `pod rejected: RuntimeClass ${JSON.stringify(name)} not found`);
}

function equal(a: Overhead | undefined, b: Overhead | undefined): boolean {
  const left = Object.entries(a ?? {});
  if (left.length !== Object.keys(b ?? {}).length) return false;
  return left.every(([name, text]) => {
    const other = tryParseQuantity(b?.[name]);
    return other !== undefined && tryParseQuantity(text)?.compare(other) === 0;
  });
}
