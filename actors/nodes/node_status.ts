/** A Node object as a function of facts: labels, capacity, conditions, addresses, nodeInfo. Pure. */
import { KUBELET_PORT } from "../../api/client/node_api.ts";
import type { DeepReadonly, KubeObject } from "../../api/machinery/types.ts";
import { type Condition, timestamp } from "./types.ts";

/** What a node says of itself. */
export interface NodeDescription {
  name: string;
  hostname: string;
  /** They change when the machine moves. */
  addresses: readonly string[];
  /** `isolate`, `simulated`, `cri`. */
  runtime: string;
  /** `isolate://2.9.6` */
  runtimeVersion: string;
  capacity: Record<string, string>;
  allocatable?: Record<string, string>;
  os: string;
  architecture: string;
  kernelVersion: string;
  osImage: string;
  machineID: string;
  bootID: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  /** Why it cannot run pods now. */
  problem?: string;
  images?: NodeImage[];
  /** What it runs short of: conditions that are true. */
  pressures?: readonly string[];
  taints?: readonly { key: string; value?: string; effect: string }[];
  /** Volumes that must not be detached from it. */
  volumesInUse?: readonly string[];
}

/** What this node claims to be a kubelet of. */
export const KUBELET_VERSION = "v1.36.0+plesio";

/** What only some kubelets can do, and pods may need: sorted, as the API asks for. */
const DECLARED_FEATURES = ["RestartAllContainersOnContainerExits"];

/** The labels a node puts on itself. */
export function nodeLabels(d: NodeDescription): Record<string, string> {
  return {
    "beta.kubernetes.io/arch": d.architecture,
    "beta.kubernetes.io/os": d.os,
    "kubernetes.io/arch": d.architecture,
    "kubernetes.io/hostname": d.name,
    "kubernetes.io/os": d.os,
    "plesio.dev/runtime": d.runtime,
    ...d.labels,
  };
}

/** The Node to be created. */
export function nodeObject(d: NodeDescription, now: number): object {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name: d.name,
      labels: nodeLabels(d),
      annotations: {
        "volumes.kubernetes.io/controller-managed-attach-detach": "true",
        ...d.annotations,
      },
    },
    spec: d.taints?.length ? { taints: d.taints } : {},
    status: nodeStatus(d, undefined, now),
  };
}

/** The status of a healthy node; times of conditions are carried over. */
export function nodeStatus(
  d: NodeDescription,
  old: (Resources & { conditions?: readonly Condition[]; images?: unknown }) | undefined,
  now: number,
): KubeObject["status"] {
  return {
    capacity: d.capacity,
    allocatable: { ...(d.allocatable ?? d.capacity), ...unpromised(old) },
    conditions: conditions(old?.conditions ?? [], timestamp(now), d),
    addresses: [
      ...d.addresses.map((address) => ({ type: "InternalIP", address })),
      { type: "Hostname", address: d.hostname },
    ],
    daemonEndpoints: { kubeletEndpoint: { Port: KUBELET_PORT } },
    nodeInfo: {
      machineID: d.machineID,
      systemUUID: d.machineID,
      bootID: d.bootID,
      kernelVersion: d.kernelVersion,
      osImage: d.osImage,
      containerRuntimeVersion: d.runtimeVersion,
      kubeletVersion: KUBELET_VERSION,
      kubeProxyVersion: "",
      operatingSystem: d.os,
      architecture: d.architecture,
    },
    images: d.images ?? old?.images ?? [],
    declaredFeatures: DECLARED_FEATURES,
    ...(d.volumesInUse && { volumesInUse: d.volumesInUse.length ? d.volumesInUse : null }),
  };
}

interface Resources {
  capacity?: Readonly<Record<string, string>>;
  allocatable?: Readonly<Record<string, string>>;
}

/**
 * What others said of a node's extended resources and what pods may have of them, where the two differ: all that there
 * is may be had, and what there is no more may not (null).
 */
export function unpromised(
  { capacity = {}, allocatable = {} }: Resources = {},
): Record<string, string | null> {
  const changes: Record<string, string | null> = {};
  for (const name of Object.keys({ ...capacity, ...allocatable })) {
    const extended = name.includes("/") && !name.includes("kubernetes.io/");
    if (extended && capacity[name] !== allocatable[name]) changes[name] = capacity[name] ?? null;
  }
  return changes;
}

/** An image that is on a node. */
export interface NodeImage {
  names: string[];
  sizeBytes: number;
}

/** Each condition with its status, reason and message when all is well; those of pressure when it is not, too. */
const CONDITIONS = [
  {
    type: "MemoryPressure",
    well: ["KubeletHasSufficientMemory", "kubelet has sufficient memory available"],
    short: ["KubeletHasInsufficientMemory", "kubelet has insufficient memory available"],
  },
  {
    type: "DiskPressure",
    well: ["KubeletHasNoDiskPressure", "kubelet has no disk pressure"],
    short: ["KubeletHasDiskPressure", "kubelet has disk pressure"],
  },
  {
    type: "PIDPressure",
    well: ["KubeletHasSufficientPID", "kubelet has sufficient PID available"],
    short: ["KubeletHasInsufficientPID", "kubelet has insufficient PID available"],
  },
] as const;

/** How the Event of a condition that changes calls it: its reason without whose it is. */
export function pressureEvent(type: string, short: boolean): string {
  const found = CONDITIONS.find((one) => one.type === type)!;
  return found[short ? "short" : "well"][0].replace(/^Kubelet/, "Node");
}

function conditions(
  old: readonly Condition[],
  now: string,
  { problem, pressures = [] }: Pick<NodeDescription, "problem" | "pressures">,
): Condition[] {
  const all = CONDITIONS.map(({ type, well, short }) => {
    const isShort = pressures.includes(type);
    const [reason, message] = isShort ? short : well;
    return { type: type as string, status: isShort ? "True" : "False", reason, message } as const;
  });
  const ready = problem
    ? { status: "False", reason: "KubeletNotReady", message: problem } as const
    : {
      status: "True",
      reason: "KubeletReady",
      message: "kubelet is posting ready status",
    } as const;
  const own: Condition[] = [...all, { type: "Ready", ...ready }].map((one) => {
    const { type, status, reason, message } = one;
    const before = old.find((c) => c.type === type);
    return {
      type,
      status,
      lastHeartbeatTime: now,
      lastTransitionTime: before?.status === status ? before.lastTransitionTime : now,
      reason,
      message,
    };
  });
  const foreign = old.filter((c) => !own.some(({ type }) => type === c.type));
  return [...own, ...foreign];
}

/** The Lease whose renewals say that a node is alive. */
export function leaseObject(name: string, holder: string, now: number, owner?: KubeObject): object {
  return {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: {
      name,
      namespace: "kube-node-lease",
      ...(owner
        ? {
          ownerReferences: [{
            apiVersion: "v1",
            kind: "Node",
            name: owner.metadata.name,
            uid: owner.metadata.uid,
          }],
        }
        : {}),
    },
    spec: {
      holderIdentity: holder,
      leaseDurationSeconds: LEASE_SECONDS,
      renewTime: microTime(now),
    },
  };
}

/** How long a lease lasts and how often it is renewed. */
export const LEASE_SECONDS = 40;
export const LEASE_RENEW_MS = 10_000;
/** How often a status that has not changed is written. */
export const STATUS_REPORT_MS = 300_000;

/** A time to the microsecond. */
export function microTime(ms: number): string {
  return new Date(ms).toISOString().replace("Z", "000Z");
}

/** The ranges that a node's pods get their addresses from: none until somebody has given it some. */
export function podCIDRsOf({ spec }: DeepReadonly<KubeObject>): readonly string[] {
  return spec?.podCIDRs ?? (spec?.podCIDR ? [spec.podCIDR] : []);
}
