/**
 * Validation of the resize subresource (upstream's `ValidatePodResize`): cpu and memory of containers,
 * sidecars and the pod as a whole may change, nothing else, and the quality of service stays.
 */

import type { Cause, DeepReadonly, KubeObject } from "../../machinery/types.ts";
import { equalExcept, semanticEqual } from "./equality.ts";
import { qosClass } from "./pod_resources.ts";
import { type Path, Report, ROOT, SPEC } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

/** Checks a resized pod; `validateObject` checks it as a pod. */
export function validatePodResize(
  pod: Stored,
  old: Stored,
  validateObject: (pod: Stored, r: Report) => void,
): Cause[] {
  const r = new Report();
  if (old.metadata.annotations?.["kubernetes.io/config.mirror"] !== undefined) {
    r.forbidden(ROOT, "static pods cannot be resized");
    return r.causes;
  }
  if (old.spec?.os?.name === "windows") {
    r.forbidden(ROOT, "windows pods cannot be resized");
    return r.causes;
  }
  validateObject(pod, r);
  const spec: Obj = pod.spec ?? {}, before: Obj = old.spec ?? {};
  if ((old.status?.qosClass || qosClass(before)) !== qosClass(spec)) {
    const text = "Pod QOS Class may not change as a result of resizing";
    r.invalid(SPEC, pod.status?.qosClass ?? "", text);
  }
  const running = old.status?.containerStatuses?.find((s: Obj) => s.state?.running);
  if (running && !running.resources) {
    r.forbidden(SPEC, "Pod running on node without support for resize");
  }
  validateLists(spec, before, r);
  if (r.causes.length > 0) return r.causes;
  const rest = ["containers", "initContainers", "resources"];
  if (!equalExcept(spec, before, rest)) {
    r.forbidden(SPEC, "only cpu and memory resources are mutable");
  }
  return r.causes;
}

function validateLists(spec: Obj, before: Obj, r: Report): void {
  for (const list of ["initContainers", "containers"]) {
    const now: Obj[] = spec[list] ?? [], then: Obj[] = before[list] ?? [];
    if (now.length !== then.length) {
      r.forbidden(SPEC, "only cpu and memory resources are mutable");
      continue;
    }
    now.forEach((container, i) => {
      const resizable = list === "containers" || container.restartPolicy === "Always";
      if (!resizable) {
        if (!semanticEqual(container, then[i])) {
          r.forbidden(SPEC, "resources for non-sidecar init containers are immutable");
        }
        return;
      }
      const at = SPEC.child(list).index(i).child("resources");
      validateRemoved(container.resources, then[i].resources, at, r);
      if (sameButAmounts(container, then[i])) return;
      const what = list === "containers" ? "" : " for sidecar containers";
      r.forbidden(SPEC, `only cpu and memory resources${what} are mutable`);
    });
  }
  validateRemoved(spec.resources, before.resources, SPEC.child("resources"), r);
  if (!semanticEqual(withoutAmounts(spec.resources), withoutAmounts(before.resources))) {
    r.forbidden(SPEC, "only cpu and memory resources are mutable");
  }
}

function validateRemoved(now: Obj, then: Obj, path: Path, r: Report): void {
  for (const side of ["requests", "limits"]) {
    for (const name in then?.[side] ?? {}) {
      if (now?.[side]?.[name] !== undefined) continue;
      r.forbidden(path.child(side), `resource ${side} cannot be removed`);
      break;
    }
  }
}

/** Resources less cpu and memory. */
function withoutAmounts(resources: Obj): Obj {
  const copy: Obj = { ...resources };
  for (const side of ["requests", "limits"]) {
    const { cpu: _cpu, memory: _memory, ...rest } = copy[side] ?? {};
    if (Object.keys(rest).length > 0) copy[side] = rest;
    else delete copy[side];
  }
  return copy;
}

function sameButAmounts(now: Obj, then: Obj): boolean {
  return equalExcept(now, then, ["resources", "resizePolicy"]) &&
    semanticEqual(now.resizePolicy, then.resizePolicy) &&
    semanticEqual(withoutAmounts(now.resources), withoutAmounts(then.resources));
}
