/** What keeps a pod waiting, and what would help, in the language that is spoken: from what the scheduler tells as facts. */
import type { RemedyFact } from "../../client/plesio.ts";
import { t } from "./words.ts";

/** Plugins of which it can be said what their refusal means. */
const PLUGINS = [
  "DynamicResources",
  "InterPodAffinity",
  "NodeAffinity",
  "NodeDeclaredFeatures",
  "NodeName",
  "NodePorts",
  "NodeResourcesFit",
  "NodeUnschedulable",
  "NodeVolumeLimits",
  "PodTopologySpread",
  "SchedulingGates",
  "TaintToleration",
  "VolumeBinding",
  "VolumeRestrictions",
  "VolumeZone",
] as const;
const QUEUES = ["active", "backoff", "unschedulable", "gated"] as const;
const RESULTS = ["Scheduled", "Unschedulable", "Error"] as const;

/** What would let a pod in: by facts, or in the scheduler's words where it has no others. */
export function remedyText(
  { what, facts }: { readonly what: string; readonly facts?: readonly RemedyFact[] },
): string {
  return facts?.map(({ what, ...more }) => t(`remedy.${what}`, more)).join(t("remedy.and")) ?? what;
}

/** What a plugin's refusal means; "" for one of the user's own. */
export function refusalText(plugin: string): string {
  const known = PLUGINS.find((one) => one === plugin);
  return known ? t(`refusal.${known}`) : "";
}

/** Where a pod waits. */
export function queueText(queue: string | undefined): string | undefined {
  const known = QUEUES.find((one) => one === queue);
  return known ? t(`queue.${known}`) : queue;
}

/** How an attempt ended. */
export function resultText(result: string): string {
  const known = RESULTS.find((one) => one === result);
  return known ? t(`result.${known}`) : result;
}
