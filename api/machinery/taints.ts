/**
 * Taints and tolerations: who bears what. Pure; the scheduler, DaemonSets and taint eviction ask it.
 *
 * Behaviour matched: k8s.io/component-helpers/scheduling/corev1, v1.36.
 */

/** A taint of a node. */
export interface Taint {
  key: string;
  value?: string;
  effect: "NoSchedule" | "PreferNoSchedule" | "NoExecute";
  timeAdded?: string;
}

/** A toleration of a pod. */
export interface Toleration {
  key?: string;
  operator?: string;
  value?: string;
  effect?: string;
  tolerationSeconds?: number;
}

/** Whether one toleration bears one taint. */
export function tolerates(toleration: Toleration, taint: Taint): boolean {
  if (toleration.effect && toleration.effect !== taint.effect) return false;
  if (toleration.key && toleration.key !== taint.key) return false;
  switch (toleration.operator ?? "Equal") {
    case "":
    case "Equal":
      return (toleration.value ?? "") === (taint.value ?? "") && Boolean(toleration.key);
    case "Exists":
      return true;
    case "Lt":
      return isInteger(taint.value) && isInteger(toleration.value) &&
        Number(taint.value) < Number(toleration.value);
    case "Gt":
      return isInteger(taint.value) && isInteger(toleration.value) &&
        Number(taint.value) > Number(toleration.value);
    default:
      return false;
  }
}

function isInteger(text: string | undefined): boolean {
  return text !== undefined && /^-?[0-9]+$/.test(text);
}
