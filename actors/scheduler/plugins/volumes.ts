/**
 * VolumeBinding, VolumeZone, VolumeRestrictions and NodeVolumeLimits' place in the chain: claims decide
 * where a pod can go, and pods decide where claims that wait for their first consumer are provisioned.
 * Semantics and texts are kube-scheduler's (v1.36).
 */
import type { Client, Informer } from "../../../api/client/contract.ts";
import { ApiError, type DeepReadonly, type KubeObject } from "../../../api/machinery/types.ts";
import { parseQuantity } from "../../../api/machinery/quantity.ts";
import { labelSelector } from "../../../api/machinery/selectors.ts";
import type { Cycle, NodeInfo, Plugin, PodInfo, Refusal } from "../framework.ts";
import { compileNodeSelector } from "./node_affinity.ts";

type Obj = DeepReadonly<KubeObject>;

/** How long a pod waits for its claims to be bound after it chose its node, in ms (upstream's bindTimeout). */
export const BIND_WAIT_MS_MAX = 10 * 60_000;

const SELECTED_NODE = "volume.kubernetes.io/selected-node";
const BIND_COMPLETED = "pv.kubernetes.io/bind-completed";
const BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller";
const NO_PROVISIONER = "kubernetes.io/no-provisioner";

/** What the volume plugins read and write. */
export interface VolumePorts {
  claims: Informer;
  volumes: Informer;
  classes: Informer;
  drivers: Informer;
  capacities: Informer;
  client: Client;
  /** What plugins of all profiles share, by name. */
  shared: Map<string, unknown>;
  /** Resolves when `done` answers true; it is asked again when a claim or volume changes. */
  wait(done: () => boolean, timeoutMs: number): Promise<void>;
}

interface State {
  bound: Obj[];
  waiting: Obj[];
  /** By node: which volume each claim takes, or that it is to be provisioned there. */
  choices: Map<string, { claim: Obj; volume?: Obj }[]>;
}

const refuse = (reason: string, unresolvable = true): Refusal => ({
  plugin: "VolumeBinding",
  reasons: [reason],
  ...(unresolvable && { unresolvable }),
});
const CONFLICT = refuse("node(s) didn't match PersistentVolume's node affinity");
const NO_SPACE = refuse("node(s) did not have enough free storage");
const NOTHING_TO_BIND = refuse("node(s) didn't find available persistent volumes to bind");

/** Makes VolumeBinding. */
export function volumeBinding(
  ports: VolumePorts,
  { bindTimeoutSeconds = BIND_WAIT_MS_MAX / 1000 }: { bindTimeoutSeconds?: number } = {},
): Plugin {
  /** Volumes promised to a claim whose write is not back yet: volume name to claim uid. */
  const promised = (ports.shared.get("VolumeBinding") ?? new Map()) as Map<string, string>;
  ports.shared.set("VolumeBinding", promised);
  const stateOf = (cycle: Cycle) => cycle.state.get("VolumeBinding") as State;
  return {
    name: "VolumeBinding",
    wakesOn: [
      "VolumeClaim",
      "Volume",
      "StorageClass",
      "CSICapacity",
      "NodeAdd",
      "NodeLabels",
      "CSINode",
    ],
    hint(pod, { events, object, oldObject }) {
      if (events.includes("VolumeClaim")) return usesClaim(pod, object);
      if (!events.includes("StorageClass") || !object || !oldObject) return true;
      // What a class allows is all that can change of it and count
      return JSON.stringify(object.allowedTopologies) !==
        JSON.stringify(oldObject.allowedTopologies);
    },
    preFilter(cycle) {
      if (cycle.pod.claims.length === 0) return "skip";
      const found = sortClaims(cycle.pod, ports);
      if ("plugin" in found) return found;
      cycle.state.set("VolumeBinding", found);
    },
    filter(cycle, node) {
      const state = stateOf(cycle);
      for (const claim of state.bound) {
        const volume = ports.volumes.get(claim.spec.volumeName);
        if (!volume) {
          return refuse(
            `node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)`,
          );
        }
        if (!volumeFitsNode(volume, node)) return CONFLICT;
      }
      if (state.waiting.length === 0) return undefined;
      const choice = chooseVolumes(state.waiting, node, ports, promised);
      if (!choice) return NOTHING_TO_BIND;
      if (choice === "no space") return NO_SPACE;
      state.choices.set(node.name, choice);
    },
    reserve(cycle, node) {
      for (const { claim, volume } of stateOf(cycle)?.choices.get(node.name) ?? []) {
        if (volume) promised.set(volume.metadata.name, claim.metadata.uid);
      }
      return undefined;
    },
    unreserve(cycle, node) {
      for (const { volume } of stateOf(cycle)?.choices.get(node.name) ?? []) {
        if (volume) promised.delete(volume.metadata.name);
      }
    },
    async preBind(cycle, node) {
      const choice = stateOf(cycle)?.choices.get(node.name);
      if (!choice) return;
      for (const { claim, volume } of choice) {
        if (volume) await promise(ports.client, volume, claim);
        else await annotate(ports.client, claim, node.name);
      }
      const keys = choice.map(({ claim }) => `${claim.metadata.namespace}/${claim.metadata.name}`);
      await ports.wait(
        () => keys.every((key) => isBound(ports.claims.get(key))),
        bindTimeoutSeconds * 1000,
      );
      for (const { volume } of choice) if (volume) promised.delete(volume.metadata.name);
    },
  };
}

/** Whether a changed claim is one of a pod's. */
function usesClaim(pod: PodInfo, claim: Obj | undefined): boolean {
  return !!claim && pod.claims.includes(`${claim.metadata.namespace}/${claim.metadata.name}`);
}

function isBound(claim: Obj | undefined): boolean {
  return !!claim?.spec.volumeName && claim.metadata.annotations?.[BIND_COMPLETED] !== undefined;
}

/** Sorts a pod's claims into bound ones and those that wait for their first consumer. */
function sortClaims(pod: PodInfo, ports: VolumePorts): State | Refusal {
  const state: State = { bound: [], waiting: [], choices: new Map() };
  for (const key of pod.claims) {
    const claim = ports.claims.get(key);
    const name = key.slice(key.indexOf("/") + 1);
    const isEphemeral = isOfEphemeralVolume(pod, name);
    if (!claim) {
      return refuse(
        isEphemeral
          ? `waiting for ephemeral volume controller to create the persistentvolumeclaim "${name}"`
          : `persistentvolumeclaim "${name}" not found`,
      );
    }
    if (claim.status?.phase === "Lost") {
      return refuse(
        `persistentvolumeclaim "${name}" bound to non-existent persistentvolume "${claim.spec.volumeName}"`,
      );
    }
    if (claim.metadata.deletionTimestamp) {
      return refuse(`persistentvolumeclaim "${name}" is being deleted`);
    }
    if (
      isEphemeral && !claim.metadata.ownerReferences?.some((o) => o.controller && o.uid === pod.uid)
    ) {
      return refuse(`PVC ${key} was not created for pod ${pod.key} (pod is not owner)`);
    }
    if (isBound(claim)) state.bound.push(claim);
    else if (waitsForConsumer(claim, ports.classes)) state.waiting.push(claim);
    else return refuse("pod has unbound immediate PersistentVolumeClaims");
  }
  return state;
}

/** Whether a claim is made for a generic ephemeral volume of the pod. */
function isOfEphemeralVolume({ pod }: PodInfo, claim: string): boolean {
  return pod.spec.volumes?.some((volume: Obj) =>
    volume.ephemeral && claim === `${pod.metadata.name}-${volume.name}`
  ) ?? false;
}

function classOf(claim: Obj, classes: Informer): Obj | undefined {
  const name = claim.metadata.annotations?.["volume.beta.kubernetes.io/storage-class"] ??
    claim.spec.storageClassName;
  return name ? classes.get(name) : undefined;
}

function waitsForConsumer(claim: Obj, classes: Informer): boolean {
  if (claim.spec.volumeName) return false;
  return classOf(claim, classes)?.volumeBindingMode === "WaitForFirstConsumer";
}

/** Whether a volume's node affinity admits a node. */
export function volumeFitsNode(volume: Obj, node: NodeInfo): boolean {
  const required = volume.spec.nodeAffinity?.required;
  return !required || compileNodeSelector(required)(node);
}

/** For each waiting claim the smallest free volume that fits the node, or a promise to provision one. */
function chooseVolumes(
  waiting: readonly Obj[],
  node: NodeInfo,
  ports: VolumePorts,
  promised: ReadonlyMap<string, string>,
): { claim: Obj; volume?: Obj }[] | "no space" | undefined {
  const taken = new Set<string>();
  const choices: { claim: Obj; volume?: Obj }[] = [];
  let space = true;
  for (const claim of waiting) {
    const chosen = claim.metadata.annotations?.[SELECTED_NODE];
    if (chosen && chosen !== node.name) return undefined;
    const volume = findVolume(
      claim,
      node,
      ports.volumes,
      (name) =>
        taken.has(name) || (promised.get(name) ?? claim.metadata.uid) !== claim.metadata.uid,
    );
    if (volume) {
      taken.add(volume.metadata.name);
      choices.push({ claim, volume });
      continue;
    }
    const storageClass = classOf(claim, ports.classes);
    if (!storageClass || !canProvision(storageClass, node)) return undefined;
    if (hasSpace(claim, storageClass, node, ports)) choices.push({ claim });
    else space = false;
  }
  return space ? choices : "no space";
}

/** Whether a driver that tells of its capacity has enough of it for a claim where a node reaches it. */
function hasSpace(
  claim: Obj,
  { metadata, provisioner }: Obj,
  node: NodeInfo,
  { drivers, capacities }: VolumePorts,
): boolean {
  const wanted = claim.spec.resources?.requests?.storage;
  if (wanted === undefined || !drivers.get(provisioner)?.spec.storageCapacity) return true;
  const bytes = parseQuantity(wanted).value();
  for (const one of capacities.list()) {
    const limit = one.maximumVolumeSize ?? one.capacity;
    if (one.storageClassName !== metadata.name || limit === undefined) continue;
    if (parseQuantity(limit).value() < bytes || !one.nodeTopology) continue;
    if (labelSelector(one.nodeTopology).matches(node.labels)) return true;
  }
  return false;
}

function findVolume(
  claim: Obj,
  node: NodeInfo,
  volumes: Informer,
  taken: (name: string) => boolean,
): Obj | undefined {
  const want = parseQuantity(claim.spec.resources?.requests?.storage ?? 0).value();
  const selector = claim.spec.selector && labelSelector(claim.spec.selector);
  let best: Obj | undefined;
  let bestSize = Infinity;
  for (const volume of volumes.list()) {
    const size = parseQuantity(volume.spec.capacity?.storage ?? 0).value();
    if (size < want || size >= bestSize || taken(volume.metadata.name)) continue;
    if ((volume.spec.storageClassName ?? "") !== (claim.spec.storageClassName ?? "")) continue;
    if ((volume.spec.volumeMode ?? "Filesystem") !== (claim.spec.volumeMode ?? "Filesystem")) {
      continue;
    }
    if (
      !(claim.spec.accessModes ?? []).every((mode: string) =>
        volume.spec.accessModes?.includes(mode)
      )
    ) continue;
    if (selector && !selector.matches(volume.metadata.labels)) continue;
    const holder = volume.spec.claimRef;
    if (
      holder &&
      (holder.uid
        ? holder.uid !== claim.metadata.uid
        : holder.name !== claim.metadata.name || holder.namespace !== claim.metadata.namespace)
    ) continue;
    if (!holder && volume.status?.phase !== "Available") continue;
    if (!volumeFitsNode(volume, node)) continue;
    best = volume;
    bestSize = size;
  }
  return best;
}

function canProvision(storageClass: Obj, node: NodeInfo): boolean {
  if (storageClass.provisioner === NO_PROVISIONER) return false;
  const topologies = storageClass.allowedTopologies as
    | readonly { matchLabelExpressions?: readonly { key: string; values: readonly string[] }[] }[]
    | undefined;
  if (!topologies?.length) return true;
  return topologies.some((term) =>
    (term.matchLabelExpressions ?? []).every(({ key, values }) => values.includes(node.labels[key]))
  );
}

const VOLUMES = { group: "", version: "v1", plural: "persistentvolumes" };
const CLAIMS = { group: "", version: "v1", plural: "persistentvolumeclaims" };

/** Writes the volume's side of a binding; the volume controller does the rest. */
async function promise(client: Client, volume: Obj, claim: Obj): Promise<void> {
  if (volume.spec.claimRef?.uid === claim.metadata.uid) return;
  await client.patch({ resource: VOLUMES, name: volume.metadata.name }, {
    type: "merge",
    body: {
      metadata: {
        resourceVersion: volume.metadata.resourceVersion,
        annotations: { [BOUND_BY_CONTROLLER]: "yes" },
      },
      spec: {
        claimRef: {
          apiVersion: "v1",
          kind: "PersistentVolumeClaim",
          namespace: claim.metadata.namespace!,
          name: claim.metadata.name,
          uid: claim.metadata.uid,
          resourceVersion: claim.metadata.resourceVersion,
        },
      },
    },
  });
}

async function annotate(client: Client, claim: Obj, node: string): Promise<void> {
  if (claim.metadata.annotations?.[SELECTED_NODE] === node) return;
  const target = {
    resource: CLAIMS,
    namespace: claim.metadata.namespace,
    name: claim.metadata.name,
  };
  try {
    await client.patch(target, {
      type: "merge",
      body: { metadata: { uid: claim.metadata.uid, annotations: { [SELECTED_NODE]: node } } },
    });
  } catch (error) {
    if (error instanceof ApiError && error.code === 404) {
      throw new Error(`claim ${claim.metadata.namespace}/${claim.metadata.name} is gone`, {
        cause: error,
      });
    }
    throw error;
  }
}

const ZONE_KEYS = [
  "topology.kubernetes.io/zone",
  "topology.kubernetes.io/region",
  "failure-domain.beta.kubernetes.io/zone",
  "failure-domain.beta.kubernetes.io/region",
];
const ZONE_CONFLICT: Refusal = {
  plugin: "VolumeZone",
  reasons: ["node(s) had no available volume zone"],
  unresolvable: true,
};

/** Volumes labelled with a zone or region are used there only. */
export function volumeZone(ports: Pick<VolumePorts, "claims" | "volumes">): Plugin {
  return {
    name: "VolumeZone",
    wakesOn: ["VolumeClaim", "Volume", "StorageClass", "NodeAdd", "NodeLabels"],
    hint: (pod, { events, object }) => !events.includes("VolumeClaim") || usesClaim(pod, object),
    preFilter(cycle) {
      const wanted: { key: string; values: Set<string> }[] = [];
      for (const key of cycle.pod.claims) {
        const volumeName = ports.claims.get(key)?.spec.volumeName;
        const labels = volumeName && ports.volumes.get(volumeName)?.metadata.labels;
        for (const zoneKey of ZONE_KEYS) {
          const value = labels?.[zoneKey];
          if (value) wanted.push({ key: zoneKey, values: new Set(value.split("__")) });
        }
      }
      if (wanted.length === 0) return "skip";
      cycle.state.set("VolumeZone", wanted);
    },
    filter(cycle, node) {
      const wanted = cycle.state.get("VolumeZone") as { key: string; values: Set<string> }[];
      return wanted.every(({ key, values }) => values.has(node.labels[key]))
        ? undefined
        : ZONE_CONFLICT;
    },
  };
}

const DISK_CONFLICT: Refusal = {
  plugin: "VolumeRestrictions",
  reasons: ["node(s) had no available disk"],
};
const IN_USE: Refusal = {
  plugin: "VolumeRestrictions",
  reasons: [
    "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",
  ],
};

/** A claim with ReadWriteOncePod serves one pod at a time. */
export function volumeRestrictions(ports: Pick<VolumePorts, "claims">): Plugin {
  return {
    name: "VolumeRestrictions",
    wakesOn: ["PodDelete", "NodeAdd", "VolumeClaim"],
    hint(pod, { events, object, pod: gone }) {
      if (!gone) return !events.includes("VolumeClaim") || usesClaim(pod, object);
      const disks = disksOf(gone);
      return gone.claims.some((key) => pod.claims.includes(key)) ||
        (disks.length > 0 && disksOf(pod).some((disk) => disks.some((one) => clash(disk, one))));
    },
    preFilter(cycle) {
      const exclusive = cycle.pod.claims.filter((key) =>
        ports.claims.get(key)?.spec.accessModes?.includes("ReadWriteOncePod")
      );
      const disks = disksOf(cycle.pod);
      if (exclusive.length === 0 && disks.length === 0) return "skip";
      cycle.state.set("VolumeRestrictions", { exclusive, disks });
    },
    filter(cycle, node) {
      const { exclusive, disks } = cycle.state.get("VolumeRestrictions") as {
        exclusive: string[];
        disks: Disk[];
      };
      if (disks.length > 0) {
        for (const other of node.pods.values()) {
          const taken = disksOf(other);
          if (disks.some((disk) => taken.some((one) => clash(disk, one)))) return DISK_CONFLICT;
        }
      }
      // Wherever the other pod is: the claim is taken on every node.
      const taken = exclusive.some((key) =>
        cycle.cluster.counter(`claim ${key}`, (other) => other.claims.includes(key)).byNode.size > 0
      );
      return taken ? IN_USE : undefined;
    },
  };
}

/** A disk that pods name themselves: what it is, and whether it is only read. */
interface Disk {
  ids: readonly string[];
  shared: boolean;
}

/** The disks that two pods on one node may not both write (or, on AWS, both have). */
function disksOf({ pod }: PodInfo): Disk[] {
  // deno-lint-ignore no-explicit-any -- volumes as the API has them
  return ((pod.spec.volumes ?? []) as readonly any[]).flatMap((volume): Disk[] => {
    const { gcePersistentDisk: gce, awsElasticBlockStore: aws, iscsi, rbd } = volume;
    if (gce) return [{ ids: [`gce ${gce.pdName}`], shared: gce.readOnly === true }];
    if (aws) return [{ ids: [`aws ${aws.volumeID}`], shared: false }];
    if (iscsi) return [{ ids: [`iscsi ${iscsi.iqn}`], shared: iscsi.readOnly === true }];
    if (!rbd) return [];
    const ids = (rbd.monitors ?? []).map((one: string) => `rbd ${one} ${rbd.pool} ${rbd.image}`);
    return [{ ids, shared: rbd.readOnly === true }];
  });
}

function clash(a: Disk, b: Disk): boolean {
  return !(a.shared && b.shared) && a.ids.some((id) => b.ids.includes(id));
}
