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
  if (amounts(spec.resources) + amounts(before.resources) > 0) {
    validatePodLevel(spec.resources, before.resources, r);
  }
  if (!validateOrder(spec, before, r)) return r.causes;
  for (const list of ["initContainers", "containers"]) {
    before[list]?.forEach((then: Obj, i: number) => {
      const at = SPEC.child(list).index(i).child("resources");
      validateRemoved(spec[list][i].resources, then.resources, at, r);
    });
  }
  validateContainers(spec, before, r);
  if (r.causes.length > 0) return r.causes;
  if (!equalExcept(spec, before, ["containers", "initContainers", "resources"])) {
    r.forbidden(SPEC, ONLY);
  }
  return r.causes;
}

const ONLY = "only cpu and memory resources are mutable";

function amounts(resources: Obj): number {
  return ["requests", "limits"].reduce(
    (sum, side) => sum + Object.keys(resources?.[side] ?? {}).length,
    0,
  );
}

/** What the pod asks for as a whole. */
function validatePodLevel(now: Obj, then: Obj, r: Report): void {
  const at = SPEC.child("resources");
  if (then && !now) return r.forbidden(at, "pod-level resources cannot be removed");
  validateRemoved(now, then, at, r, "pod-level resource");
  if (semanticEqual(pinned(now, then, true), then ?? {})) return;
  r.forbidden(SPEC, `${ONLY} at pod-level`);
}

/** Whether the containers are the same ones in the same order. */
function validateOrder(spec: Obj, before: Obj, r: Report): boolean {
  let same = true;
  const refuse = (path: Path, text: string) => {
    same = false;
    r.forbidden(path, `${text} on resize`);
  };
  for (const list of ["containers", "initContainers"]) {
    const now: Obj[] = spec[list] ?? [], then: Obj[] = before[list] ?? [];
    if (now.length !== then.length) {
      refuse(SPEC.child(list), `${list} may not be added or removed`);
      continue;
    }
    now.forEach(({ name }, i) => {
      if (name === then[i].name) return;
      refuse(SPEC.child(list).index(i).child("name"), `${list} may not be renamed or reordered`);
    });
  }
  return same;
}

function validateContainers(spec: Obj, before: Obj, r: Report): void {
  spec.containers?.forEach((container: Obj, i: number) => {
    if (!sameButAmounts(container, before.containers[i])) r.forbidden(SPEC, ONLY);
  });
  spec.initContainers?.forEach((container: Obj, i: number) => {
    const then = before.initContainers[i], at = SPEC.child("initContainers").index(i);
    if (!sameButAmounts(container, then)) {
      const text = "only cpu and memory resources for init or sidecar containers are mutable";
      r.forbidden(at, text);
    }
    if (container.restartPolicy === "Always" || semanticEqual(container, then)) return;
    for (const { restartPolicy } of container.resizePolicy ?? []) {
      if (restartPolicy !== "RestartContainer") continue;
      const text = "non-sidecar init containers with a resize policy of RestartContainer cannot " +
        "be resized";
      r.forbidden(at, text);
    }
  });
}

function validateRemoved(now: Obj, then: Obj, path: Path, r: Report, what = "resource"): void {
  for (const side of ["requests", "limits"]) {
    for (const name in then?.[side] ?? {}) {
      if (now?.[side]?.[name] !== undefined) continue;
      r.forbidden(path.child(side), `${what} ${side} cannot be removed`);
      break;
    }
  }
}

/** Resources with the cpu and memory of others. `whole`: with all that they hold beside amounts. */
function pinned(now: Obj, then: Obj, whole = false): Obj {
  const made: Obj = whole ? { ...now } : {};
  for (const side of ["requests", "limits"]) {
    const list: Obj = { ...now?.[side] };
    for (const name of ["cpu", "memory"]) {
      delete list[name];
      if (then?.[side]?.[name] !== undefined) list[name] = then[side][name];
    }
    if (Object.keys(list).length > 0) made[side] = list;
    else delete made[side];
  }
  return made;
}

/** Claims of devices do not outlast the comparison upstream either: who has some is not resized. */
function sameButAmounts(now: Obj, then: Obj): boolean {
  return equalExcept(now, then, ["resources"]) &&
    semanticEqual(pinned(now.resources, then.resources), then.resources ?? {});
}
