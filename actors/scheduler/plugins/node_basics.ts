/**
 * The plugins that look at a pod and a node alone: SchedulingGates, NodeName, NodeUnschedulable, NodePorts,
 * TaintToleration, ImageLocality. Semantics, weights and texts are kube-scheduler's (v1.36).
 */
import { tolerates as bears } from "../../../api/machinery/taints.ts";
import {
  type HostPort,
  NODE_SCORE_MAX,
  type NodeInfo,
  normalizeToMax,
  type Plugin,
  type PodInfo,
  type Refusal,
  type Taint,
  type Toleration,
} from "../framework.ts";

/** A pod with scheduling gates waits outside the queue. */
export const schedulingGates: Plugin = {
  name: "SchedulingGates",
  wakesOn: ["OwnGates"],
  preEnqueue(info) {
    const gates = info.pod.spec.schedulingGates as readonly { name: string }[] | undefined;
    if (!gates?.length) return undefined;
    const names = gates.map((gate) => gate.name).join(" ");
    return { plugin: "SchedulingGates", reasons: [`waiting for scheduling gates: [${names}]`] };
  },
};

const WRONG_NAME: Refusal = {
  plugin: "NodeName",
  reasons: ["node(s) didn't match the requested node name"],
  unresolvable: true,
};

/** A pod that names its node goes nowhere else. */
export const nodeName: Plugin = {
  name: "NodeName",
  wakesOn: ["NodeAdd"],
  preFilter: ({ pod }) => (pod.pod.spec.nodeName ? undefined : "skip"),
  filter: ({ pod }, node) => (pod.pod.spec.nodeName === node.name ? undefined : WRONG_NAME),
};

const UNSCHEDULABLE_TAINT: Taint = {
  key: "node.kubernetes.io/unschedulable",
  effect: "NoSchedule",
};
const UNSCHEDULABLE: Refusal = {
  plugin: "NodeUnschedulable",
  reasons: ["node(s) were unschedulable"],
  unresolvable: true,
};

/** A cordoned node takes only pods that tolerate it. */
export const nodeUnschedulable: Plugin = {
  name: "NodeUnschedulable",
  wakesOn: ["NodeAdd", "NodeTaints", "OwnTolerations"],
  reads: tolerationsOf,
  filter({ pod }, node) {
    if (!node.unschedulable) return undefined;
    return tolerates(pod.pod.spec.tolerations, UNSCHEDULABLE_TAINT) ? undefined : UNSCHEDULABLE;
  },
  hint(pod, { events, node, oldNode }) {
    if (events.includes("OwnTolerations")) {
      return tolerates(pod.pod.spec.tolerations, UNSCHEDULABLE_TAINT);
    }
    if (oldNode) return oldNode.spec?.unschedulable === true && !node!.unschedulable;
    return !node!.unschedulable || tolerates(pod.pod.spec.tolerations, UNSCHEDULABLE_TAINT);
  },
};

const PORTS_TAKEN: Refusal = {
  plugin: "NodePorts",
  reasons: ["node(s) didn't have free ports for the requested pod ports"],
};

/** Host ports are held by one pod per address, protocol and port. */
export const nodePorts: Plugin = {
  name: "NodePorts",
  wakesOn: ["PodDelete", "NodeAdd"],
  // Another pod's end helps only where it held one of the ports
  hint: (pod, { pod: gone }) =>
    !gone || pod.hostPorts.some((port) => gone.hostPorts.some((other) => clash(port, other))),
  preFilter: ({ pod }) => (pod.hostPorts.length > 0 ? undefined : "skip"),
  reads: ({ hostPorts }) => JSON.stringify(hostPorts),
  filter({ pod }, node) {
    return pod.hostPorts.some((port) => portTaken(node, port)) ? PORTS_TAKEN : undefined;
  },
};

function clash(a: HostPort, b: HostPort): boolean {
  return a.port === b.port && a.protocol === b.protocol &&
    (a.ip === b.ip || a.ip === "0.0.0.0" || b.ip === "0.0.0.0");
}

function portTaken(node: NodeInfo, port: HostPort): boolean {
  const addresses = node.ports.get(`${port.protocol}/${port.port}`);
  if (!addresses) return false;
  return port.ip === "0.0.0.0" || addresses.has("0.0.0.0") || addresses.has(port.ip);
}

const UNTOLERATED: Refusal = {
  plugin: "TaintToleration",
  reasons: ["node(s) had untolerated taint(s)"],
  unresolvable: true,
};

/** Taints NoSchedule and NoExecute keep pods away; PreferNoSchedule costs score. */
export const taintToleration: Plugin = {
  name: "TaintToleration",
  weight: 3,
  wakesOn: ["NodeAdd", "NodeTaints", "OwnTolerations"],
  hint(pod, { node, oldNode }) {
    if (!node) return true;
    const bearable = (taints: readonly Taint[]) =>
      taints.every((taint) =>
        taint.effect === "PreferNoSchedule" || tolerates(pod.pod.spec.tolerations, taint)
      );
    return bearable(node.taints) && !(oldNode && bearable(oldNode.spec?.taints ?? []));
  },
  reads: tolerationsOf,
  filter({ pod }, node) {
    for (const taint of node.taints) {
      if (taint.effect === "PreferNoSchedule") continue;
      if (!tolerates(pod.pod.spec.tolerations, taint)) return UNTOLERATED;
    }
    return undefined;
  },
  preScore: (_cycle, nodes) =>
    nodes.some((node) => node.taints.some((taint) => taint.effect === "PreferNoSchedule"))
      ? undefined
      : "skip",
  score({ pod }, node) {
    let count = 0;
    for (const taint of node.taints) {
      if (taint.effect === "PreferNoSchedule" && !tolerates(pod.pod.spec.tolerations, taint)) {
        count++;
      }
    }
    return count;
  },
  normalize: (_cycle, scores) => normalizeToMax(scores, true),
};

function tolerationsOf({ pod }: PodInfo): string {
  return JSON.stringify(pod.spec.tolerations ?? []);
}

/** Whether any of the tolerations covers a taint. */
export function tolerates(
  tolerations: readonly Toleration[] | undefined,
  taint: Readonly<Taint>,
): boolean {
  return tolerations?.some((toleration) => bears(toleration, taint)) ?? false;
}

const FEATURELESS: Refusal = {
  plugin: "NodeDeclaredFeatures",
  reasons: ["node(s) didn't match Pod's required features"],
  unresolvable: true,
};

/** What of a pod's spec a node must say that it can do. */
function requiredFeatures({ spec }: PodInfo["pod"]): string[] {
  type Rules = { restartPolicyRules?: readonly { action: string }[] };
  const features: string[] = [];
  const containers = [...spec.initContainers ?? [], ...spec.containers] as readonly Rules[];
  const all = "RestartAllContainers";
  if (containers.some((c) => c.restartPolicyRules?.some(({ action }) => action === all))) {
    features.push("RestartAllContainersOnContainerExits");
  }
  if (spec.hostNetwork && spec.hostUsers === false) {
    features.push("UserNamespacesHostNetworkSupport");
  }
  return features;
}

/** Pods that need what not every kubelet can do go where it says that it can. */
export const nodeDeclaredFeatures: Plugin = {
  name: "NodeDeclaredFeatures",
  wakesOn: ["NodeAdd", "NodeFeatures"],
  preFilter(cycle) {
    const features = requiredFeatures(cycle.pod.pod);
    if (features.length === 0) return "skip";
    cycle.state.set("NodeDeclaredFeatures", features);
  },
  filter(cycle, { node }) {
    const declared = node.status?.declaredFeatures as readonly string[] | undefined;
    const features = cycle.state.get("NodeDeclaredFeatures") as string[];
    return features.every((name) => declared?.includes(name)) ? undefined : FEATURELESS;
  },
};

/** Image sizes below the first score nothing per container, above the second no more (upstream's thresholds). */
const IMAGE_BYTES_MIN = 23 * 1024 * 1024;
const IMAGE_BYTES_MAX_PER_CONTAINER = 1000 * 1024 * 1024;

/** Nodes that hold a pod's images already score more, weighted by how widely each image is spread. */
export const imageLocality: Plugin = {
  name: "ImageLocality",
  weight: 1,
  wakesOn: [],
  preScore(cycle) {
    const { spec } = cycle.pod.pod;
    const images = [...spec.initContainers ?? [], ...spec.containers]
      .map((container: { image: string }) => normalizedImage(container.image));
    if (!images.some((image) => cycle.cluster.nodesWithImage(image) > 0)) return "skip";
    cycle.state.set("ImageLocality", images);
  },
  score(cycle, node) {
    const images = cycle.state.get("ImageLocality") as string[];
    let sum = 0;
    for (const image of images) {
      const bytes = node.images.get(image);
      if (bytes === undefined) continue;
      sum += Math.trunc(bytes * (cycle.cluster.nodesWithImage(image) / cycle.cluster.nodes.length));
    }
    const max = IMAGE_BYTES_MAX_PER_CONTAINER * images.length;
    const clamped = Math.min(Math.max(sum, IMAGE_BYTES_MIN), max);
    return Math.trunc((NODE_SCORE_MAX * (clamped - IMAGE_BYTES_MIN)) / (max - IMAGE_BYTES_MIN));
  },
};

/** An image without a tag means `latest`. */
function normalizedImage(image: string): string {
  return image.lastIndexOf(":") <= image.lastIndexOf("/") ? `${image}:latest` : image;
}
