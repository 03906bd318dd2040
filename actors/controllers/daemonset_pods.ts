/**
 * A DaemonSet's pods: on which nodes they should be, and how one is made for a node. Pure.
 *
 * Behaviour matched: pkg/controller/daemon/daemon_controller.go and util/daemonset_util.go, v1.36.
 */
import type { Taint, Toleration } from "../../api/machinery/taints.ts";
import { matchesAffinity, untolerated } from "../../api/machinery/node_fit.ts";
import type { Obj } from "./objects.ts";
import { podFromTemplate } from "./pods.ts";
import { POD_REVISION_LABEL } from "./revisions.ts";

const NODE = "node.kubernetes.io/";
const ON_NODE = "metadata.name";

/** The tolerations that every daemon pod has. */
function addedTolerations(hostNetwork: boolean): Toleration[] {
  const row = (key: string, effect: string) => ({ key: NODE + key, operator: "Exists", effect });
  const rows = [
    row("not-ready", "NoExecute"),
    row("unreachable", "NoExecute"),
    row("disk-pressure", "NoSchedule"),
    row("memory-pressure", "NoSchedule"),
    row("pid-pressure", "NoSchedule"),
    row("unschedulable", "NoSchedule"),
  ];
  if (hostNetwork) rows.push(row("network-unavailable", "NoSchedule"));
  return rows;
}

/** The pod spec's tolerations with those of all daemons; equal ones are not doubled. */
function tolerationsOf(spec: Obj["spec"]): Toleration[] {
  const tolerations: Toleration[] = [...(spec.tolerations ?? [])];
  for (const added of addedTolerations(Boolean(spec.hostNetwork))) {
    const present = tolerations.some((toleration) =>
      toleration.key === added.key && toleration.effect === added.effect &&
      toleration.operator === added.operator && !toleration.value
    );
    if (!present) tolerations.push(added);
  }
  return tolerations;
}

/** Whether the set's pod should be started on a node, and whether one that is there may stay. */
export function placementOn(set: Obj, node: Obj): { run: boolean; stay: boolean } {
  const { spec } = set.spec.template;
  const none = { run: false, stay: false };
  if (spec.nodeName && spec.nodeName !== node.metadata.name) return none;
  if (!matchesAffinity(spec, node)) return none;
  const taints: Taint[] = node.spec?.taints ?? [];
  if (taints.length === 0) return { run: true, stay: true };
  const tolerations = tolerationsOf(spec);
  if (!untolerated(taints, tolerations, ["NoSchedule", "NoExecute"])) {
    return { run: true, stay: true };
  }
  // What runs already is only driven out by NoExecute.
  return { run: false, stay: !untolerated(taints, tolerations, ["NoExecute"]) };
}

/** What all pods of a set have in common; `daemonPod` puts it on a node. */
export function daemonTemplate(set: Obj, hash: string): Record<string, unknown> {
  const pod = podFromTemplate(set.spec.template, set);
  const labels: Record<string, string> = {
    ...set.spec.template.metadata?.labels,
    [POD_REVISION_LABEL]: hash,
  };
  const generation = set.metadata.annotations?.["deprecated.daemonset.template.generation"];
  if (generation !== undefined) labels["pod-template-generation"] = generation;
  return {
    ...pod,
    metadata: { ...(pod.metadata as object), labels },
    spec: { ...set.spec.template.spec, tolerations: tolerationsOf(set.spec.template.spec) },
  };
}

/** The pod for one node: the scheduler is told by affinity where it belongs. */
export function daemonPod(template: Record<string, unknown>, nodeName: string): object {
  const spec = template.spec as Obj["spec"];
  const nodeAffinity = spec.affinity?.nodeAffinity;
  const onNode = { key: ON_NODE, operator: "In", values: [nodeName] };
  // Required terms are replaced: the node was chosen by them already.
  const affinity = {
    ...spec.affinity,
    nodeAffinity: {
      ...nodeAffinity,
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [{ matchFields: [onNode] }],
      },
    },
  };
  return { ...template, spec: { ...spec, affinity } };
}

/** The node a daemon pod is on or meant for. */
export function nodeOf(pod: Obj): string | undefined {
  if (pod.spec.nodeName) return pod.spec.nodeName;
  const required = pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  for (const term of required?.nodeSelectorTerms ?? []) {
    for (const field of term.matchFields ?? []) {
      if (field.key === ON_NODE && field.operator === "In" && field.values?.length === 1) {
        return field.values[0];
      }
    }
  }
  return undefined;
}
