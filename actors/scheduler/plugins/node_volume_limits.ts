/**
 * NodeVolumeLimits: no more volumes of a CSI driver on a node than its CSINode says it can attach. Those of the pods on it
 * and those still attached count, each once. Semantics and texts are kube-scheduler's (v1.36).
 */
import type { Informer } from "../../../api/client/contract.ts";
import type { DeepReadonly, KubeObject } from "../../../api/machinery/types.ts";
import type { NodeInfo, Plugin, PodInfo, Refusal } from "../framework.ts";

type Obj = DeepReadonly<KubeObject>;

const FULL: Refusal = { plugin: "NodeVolumeLimits", reasons: ["node(s) exceed max volume count"] };
const BY_NODE = "schedulerNodeName";

/** What the plugin reads. */
export interface LimitPorts {
  claims: Informer;
  volumes: Informer;
  classes: Informer;
  csiNodes: Informer;
  attachments: Informer;
}

/** Makes the plugin. */
export function nodeVolumeLimits(ports: LimitPorts): Plugin {
  ports.attachments.index(BY_NODE, (one) => (one.spec?.nodeName ? [one.spec.nodeName] : []));
  return {
    name: "NodeVolumeLimits",
    wakesOn: ["CSINode", "PodDelete", "VolumeClaim", "VolumeDetached"],
    hint(pod, { pod: gone, object, oldObject, events }) {
      if (gone) return gone.claims.length > 0;
      if (events.includes("VolumeClaim")) {
        return !!object &&
          pod.claims.includes(`${object.metadata.namespace}/${object.metadata.name}`);
      }
      if (!events.includes("CSINode") || !oldObject || !object) return true;
      const [before, after] = [limitsOf(oldObject), limitsOf(object)];
      return [...before].some(([driver, count]) => (after.get(driver) ?? Infinity) > count);
    },
    preFilter(cycle) {
      if (cycle.pod.claims.length === 0) return "skip";
      const wanted = volumesOf(cycle.pod, ports);
      if (wanted.size === 0) return "skip";
      cycle.state.set("NodeVolumeLimits", wanted);
    },
    filter(cycle, node) {
      const limits = limitsOf(ports.csiNodes.get(node.name));
      if (limits.size === 0) return undefined;
      const wanted = cycle.state.get("NodeVolumeLimits") as ReadonlyMap<string, string>;
      return exceeds(wanted, attachedTo(node, ports), limits) ? FULL : undefined;
    },
  };
}

/** How many volumes of each driver a node can attach. */
function limitsOf(csiNode: Obj | undefined): Map<string, number> {
  type Driver = { name: string; allocatable?: { count?: number } };
  const limits = new Map<string, number>();
  for (const { name, allocatable } of (csiNode?.spec?.drivers ?? []) as readonly Driver[]) {
    if (allocatable?.count !== undefined) limits.set(name, allocatable.count);
  }
  return limits;
}

/** A pod's CSI volumes, each with its driver. Claims that are not bound count by what will provision them. */
function volumesOf({ claims }: PodInfo, ports: LimitPorts): Map<string, string> {
  const volumes = new Map<string, string>();
  for (const key of claims) {
    const claim = ports.claims.get(key);
    if (!claim) continue;
    const volume = claim.spec.volumeName && ports.volumes.get(claim.spec.volumeName);
    const csi = volume && volume.spec.csi;
    const driver = volume
      ? csi?.driver
      : ports.classes.get(claim.spec.storageClassName ?? "")?.provisioner;
    if (driver) volumes.set(`${driver}/${csi ? csi.volumeHandle : key}`, driver);
  }
  return volumes;
}

function attachedTo(node: NodeInfo, ports: LimitPorts): Map<string, string> {
  const attached = new Map<string, string>();
  for (const pod of node.pods.values()) {
    if (pod.claims.length === 0) continue;
    for (const [id, driver] of volumesOf(pod, ports)) attached.set(id, driver);
  }
  for (const { spec } of ports.attachments.byIndex(BY_NODE, node.name)) {
    const name = spec.source?.persistentVolumeName;
    const csi = name && ports.volumes.get(name)?.spec.csi;
    if (csi) attached.set(`${csi.driver}/${csi.volumeHandle}`, csi.driver);
  }
  return attached;
}

function exceeds(
  wanted: ReadonlyMap<string, string>,
  attached: ReadonlyMap<string, string>,
  limits: ReadonlyMap<string, number>,
): boolean {
  const counts = new Map<string, number>();
  for (const driver of attached.values()) counts.set(driver, (counts.get(driver) ?? 0) + 1);
  const added = new Set<string>();
  for (const [id, driver] of wanted) {
    if (attached.has(id)) continue;
    counts.set(driver, (counts.get(driver) ?? 0) + 1);
    added.add(driver);
  }
  return [...added].some((driver) => counts.get(driver)! > (limits.get(driver) ?? Infinity));
}
