/**
 * Tolerations that pods get unasked, and the taint that new nodes get: DefaultTolerationSeconds,
 * ExtendedResourceToleration, TaintNodesByCondition.
 */
import { isPod } from "../admission.ts";
import type { AdmissionPlugin } from "../contract.ts";

/** A pod's toleration. */
export interface Toleration {
  key?: string;
  operator?: string;
  value?: string;
  effect?: string;
  tolerationSeconds?: number;
}

const NOT_READY = "node.kubernetes.io/not-ready";
const UNREACHABLE = "node.kubernetes.io/unreachable";
const SECONDS = 300;

/** Pods stay five minutes on a node that is not ready or cannot be reached, unless they say otherwise. */
export const defaultTolerationSeconds: AdmissionPlugin = {
  name: "DefaultTolerationSeconds",
  handles: (a) => isPod(a) && (a.operation === "CREATE" || a.operation === "UPDATE"),
  mutate(a) {
    const spec = a.object!.spec ??= {};
    const known: readonly Toleration[] = spec.tolerations ?? [];
    for (const key of [NOT_READY, UNREACHABLE]) {
      const tolerated = known.some((t) =>
        (t.key === key || !t.key) && (t.effect === "NoExecute" || !t.effect)
      );
      if (tolerated) continue;
      (spec.tolerations ??= []).push({
        key,
        operator: "Exists",
        effect: "NoExecute",
        tolerationSeconds: SECONDS,
      });
    }
  },
};

/** Pods that ask for a device tolerate nodes that are kept for those who do. */
export const extendedResourceToleration: AdmissionPlugin = {
  name: "ExtendedResourceToleration",
  handles: (a) => isPod(a) && (a.operation === "CREATE" || a.operation === "UPDATE"),
  mutate(a) {
    const spec = a.object!.spec ??= {};
    const names = new Set<string>();
    for (const container of [...spec.containers ?? [], ...spec.initContainers ?? []]) {
      for (const name of Object.keys(container.resources?.requests ?? {})) {
        if (isExtended(name)) names.add(name);
      }
    }
    for (const key of [...names].sort()) {
      const wanted = { key, operator: "Exists", effect: "NoSchedule" };
      const list: Toleration[] = spec.tolerations ??= [];
      const at = list.findIndex((t) =>
        t.key === key && t.operator === "Exists" && t.effect === "NoSchedule" && !t.value
      );
      if (at < 0) list.push(wanted);
      else list[at] = wanted;
    }
  },
};

/** A resource that is not Kubernetes' own: it has a domain that is not kubernetes.io. */
function isExtended(name: string): boolean {
  return name.includes("/") && !/(^|\.)kubernetes\.io\//.test(name) &&
    !name.startsWith("requests.");
}

/** New nodes are not ready until the node lifecycle controller finds that they are. */
export const taintNodesByCondition: AdmissionPlugin = {
  name: "TaintNodesByCondition",
  handles: (a) =>
    a.kind.plural === "nodes" && a.kind.group === "" && a.operation === "CREATE" && !a.subresource,
  mutate(a) {
    const spec = a.object!.spec ??= {};
    const taints: { key: string; effect: string }[] = spec.taints ??= [];
    if (taints.some((t) => t.key === NOT_READY && t.effect === "NoSchedule")) return;
    taints.push({ key: NOT_READY, effect: "NoSchedule" });
  },
};

/**
 * Two lists of tolerations as one: what the second adds, without what another of them already covers, in
 * upstream's order.
 */
export function mergeTolerations(first: Toleration[], second: Toleration[]): Toleration[] {
  const all = [...first, ...second];
  const merged: Toleration[] = [];
  next:
  for (let i = 0; i < all.length; i++) {
    for (const kept of merged) if (covers(kept, all[i])) continue next;
    for (let j = i + 1; j < all.length; j++) {
      // Of two equal ones the earlier stays.
      if (!same(all[j], all[i]) && covers(all[j], all[i])) continue next;
    }
    merged.push(all[i]);
  }
  return merged;
}

/** Whether `wide` tolerates everything that `narrow` does, for as long; upstream takes a missing operator of the narrow one for none. */
export function covers(wide: Toleration, narrow: Toleration): boolean {
  if (same(wide, narrow)) return true;
  if (wide.key !== narrow.key && (wide.key || wide.operator !== "Exists")) return false;
  if (wide.effect && wide.effect !== narrow.effect) return false;
  if (wide.effect === "NoExecute" && wide.tolerationSeconds !== undefined) {
    const seconds = narrow.tolerationSeconds;
    if (seconds === undefined || seconds > wide.tolerationSeconds) return false;
  }
  if (!wide.operator || wide.operator === "Equal") {
    return narrow.operator === "Equal" && (wide.value ?? "") === (narrow.value ?? "");
  }
  return wide.operator === "Exists";
}

function same(a: Toleration, b: Toleration): boolean {
  return (a.key ?? "") === (b.key ?? "") && (a.effect ?? "") === (b.effect ?? "") &&
    (a.operator ?? "") === (b.operator ?? "") && (a.value ?? "") === (b.value ?? "") &&
    a.tolerationSeconds === b.tolerationSeconds;
}
