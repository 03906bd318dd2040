/**
 * Whether a node takes a pod that was bound to it: the kubelet's own look at what the scheduler promised, and
 * at pods that nobody scheduled. A pod that is refused fails at once, in the kubelet's words. Pure.
 *
 * Behaviour matched: pkg/kubelet/lifecycle/predicate.go, v1.36. Who makes room for critical pods: `preemption.ts`.
 */
import { matchesAffinity, untolerated } from "../../api/machinery/node_fit.ts";
import {
  addAmounts,
  type Amounts,
  amounts,
  podAmounts,
  raiseAmounts,
} from "../../api/machinery/pod_resources.ts";
import type { Taint, Toleration } from "../../api/machinery/taints.ts";
import type { DeepReadonly, KubeObject } from "../../api/machinery/types.ts";
import { isStatic } from "./pod_source.ts";
import { sameStatus } from "./pod_status.ts";
import type { ContainerOf, ContainerStatus, Pod } from "./types.ts";

/** Why a pod was refused. */
export interface Refusal {
  reason: string;
  message: string;
}

/** What the node's own label says is not believed before the node was read afresh. */
export const NODE_AFFINITY = "NodeAffinity";

/** How the status of a pod begins that was refused. */
export const REJECTED = "Pod was rejected: ";

const OS_LABEL = "kubernetes.io/os";

/** The first reason not to take `pod` beside `others`, the pods that the node has taken. */
export function refusalOf(
  pod: Pod,
  node: DeepReadonly<KubeObject>,
  others: readonly Pod[],
): Refusal | undefined {
  return wrongSystem(pod, node) ?? forbiddenSysctl(pod) ?? tooMuch(pod, node, others) ??
    otherRefusal(pod, node, others);
}

/** The first reason that has nothing to do with how much the node has. */
export function otherRefusal(
  pod: Pod,
  node: DeepReadonly<KubeObject>,
  others: readonly Pod[],
): Refusal | undefined {
  return notHere(pod, node) ?? portTaken(pod, others) ?? tainted(pod, node);
}

/** The reason of a resize that its node will never do. */
export const INFEASIBLE = "Infeasible";

/** The first reason not to give `pod`, which the node has taken, what it asks for now. */
export function resizeRefusal(
  pod: Pod,
  node: DeepReadonly<KubeObject>,
  others: readonly Pod[],
): Refusal | undefined {
  const os = node.status?.nodeInfo?.operatingSystem ?? "linux";
  if (os === "linux") return refusalOf(pod, node, others);
  const where = os === "windows" ? "Windows" : "this node";
  return { reason: INFEASIBLE, message: `In-place pod resize is not supported on ${where}` };
}

function wrongSystem(pod: Pod, node: DeepReadonly<KubeObject>): Refusal | undefined {
  const os = node.status?.nodeInfo?.operatingSystem;
  const label = pod.metadata.labels?.[OS_LABEL];
  if (label !== undefined && label !== os) {
    return {
      reason: "PodOSSelectorNodeLabelDoesNotMatch",
      message: `Failed to admit pod as the \`${OS_LABEL}\` label doesn't match node label`,
    };
  }
  if (pod.spec.os && pod.spec.os.name !== os) {
    return {
      reason: "PodOSNotSupported",
      message: "Failed to admit pod as the OS field doesn't match node OS",
    };
  }
  const policy = pod.spec.securityContext?.supplementalGroupsPolicy;
  if (policy === "Strict" && !node.status?.features?.supplementalGroupsPolicy) {
    const message = "SupplementalGroupsPolicy=Strict is not supported in this node";
    return { reason: "SupplementalGroupsPolicyNotSupported", message };
  }
}

/** Settings of the kernel that no pod can harm another by. */
const SAFE_SYSCTLS = new Set([
  "kernel.shm_rmid_forced",
  "net.ipv4.ip_local_port_range",
  "net.ipv4.tcp_syncookies",
  "net.ipv4.ping_group_range",
  "net.ipv4.ip_unprivileged_port_start",
  "net.ipv4.ip_local_reserved_ports",
  "net.ipv4.tcp_keepalive_time",
  "net.ipv4.tcp_fin_timeout",
  "net.ipv4.tcp_keepalive_intvl",
  "net.ipv4.tcp_keepalive_probes",
  "net.ipv4.tcp_rmem",
  "net.ipv4.tcp_wmem",
]);

function forbiddenSysctl({ spec }: Pod): Refusal | undefined {
  for (const { name } of spec.securityContext?.sysctls ?? []) {
    const sysctl = normalized(name);
    const [network, shared] = sysctl.startsWith("net.")
      ? ["Net", spec.hostNetwork]
      : ["IPC", spec.hostIPC];
    const why = !SAFE_SYSCTLS.has(sysctl)
      ? "not allowlisted"
      : shared
      ? `not allowed with host ${network} enabled`
      : undefined;
    if (why) {
      return { reason: "SysctlForbidden", message: `forbidden sysctl: "${sysctl}" ${why}` };
    }
  }
}

/** With dots between its parts: a first slash says that dots and slashes stand for each other. */
function normalized(sysctl: string): string {
  const [first] = /[./]/.exec(sysctl) ?? [];
  if (first !== "/") return sysctl;
  return sysctl.replace(/[./]/g, (sign) => sign === "/" ? "." : "/");
}

/** The order in which resources are looked at; others follow as they come. */
const FIRST = ["cpu", "memory", "ephemeral-storage"];

/** Of what the node has too little for a pod. */
interface Shortage {
  name: string;
  requested: number;
  used: number;
  capacity: number;
}

/** Everything that there is too little of; cpu in thousandths. */
export function* shortages(
  pod: Pod,
  node: DeepReadonly<KubeObject>,
  others: readonly Pod[],
): Generator<Shortage> {
  const capacity = amounts(node.status?.allocatable);
  const places = numberOf("pods", capacity);
  if (others.length + 1 > places) {
    yield { name: "pods", requested: 1, used: others.length, capacity: places };
  }
  const wanted = podAmounts(pod.spec, "requests");
  let sum: Amounts | undefined;
  const rest = [...wanted.keys()].filter((name) => !FIRST.includes(name));
  for (const name of [...FIRST, ...rest]) {
    const requested = numberOf(name, wanted);
    // What the node does not know may be a resource of the cluster's, given elsewhere.
    if (requested <= 0 || (isExtended(name) && !capacity.has(name))) continue;
    sum ??= sumOf(others);
    const [used, there] = [numberOf(name, sum), numberOf(name, capacity)];
    if (requested > there - used) yield { name, requested, used, capacity: there };
  }
}

function tooMuch(
  pod: Pod,
  node: DeepReadonly<KubeObject>,
  others: readonly Pod[],
): Refusal | undefined {
  for (const shortage of shortages(pod, node, others)) return insufficient(shortage);
}

function sumOf(pods: readonly Pod[]): Amounts {
  const sum: Amounts = new Map();
  for (const pod of pods) {
    addAmounts(sum, podAmounts(pod.spec, "requests", { of: (c, own) => inForce(pod, c, own) }));
  }
  return sum;
}

/** A container that has not come down yet to what is set aside for it counts with what it has. */
function inForce({ status }: Pod, { name, resources }: ContainerOf, own: Amounts): Amounts {
  const of = (list: readonly unknown[] | undefined) =>
    (list as readonly ContainerStatus[] | undefined)?.find((one) => one.name === name);
  const { containerStatuses, initContainerStatuses } = status ?? {};
  const has = (of(containerStatuses) ?? of(initContainerStatuses))?.resources?.requests;
  if (!has || sameStatus(has, resources?.requests)) return own;
  raiseAmounts(own, amounts(has));
  return own;
}

/** An amount as admission counts it: cpu in thousandths. */
export function numberOf(name: string, list: Amounts): number {
  const amount = list.get(name);
  if (!amount) return 0;
  return name === "cpu" ? amount.milliValue() : amount.value();
}

function isExtended(name: string): boolean {
  return name.includes("/") && !name.includes("kubernetes.io/");
}

function insufficient({ name, requested, used, capacity }: Shortage): Refusal {
  return {
    reason: `OutOf${name}`,
    message: `Node didn't have enough resource: ${name}, requested: ${requested}, used: ${used}, ` +
      `capacity: ${capacity}`,
  };
}

function notHere(pod: Pod, node: DeepReadonly<KubeObject>): Refusal | undefined {
  if (matchesAffinity(pod.spec, node)) return undefined;
  return failed(NODE_AFFINITY, "node(s) didn't match Pod's node affinity/selector");
}

function failed(plugin: string, why: string): Refusal {
  return { reason: plugin, message: `Predicate ${plugin} failed: ${why}` };
}

interface HostPort {
  ip: string;
  port: string;
}

function hostPortsOf(pod: Pod): HostPort[] {
  const { containers, initContainers = [] } = pod.spec;
  const sidecars = initContainers.filter((each) => each.restartPolicy === "Always");
  return [...containers, ...sidecars].flatMap(({ ports = [] }) =>
    ports.filter((each) => each.hostPort).map(({ hostIP, hostPort, protocol }) => ({
      ip: hostIP || "0.0.0.0",
      port: `${protocol ?? "TCP"}/${hostPort}`,
    }))
  );
}

function portTaken(pod: Pod, others: readonly Pod[]): Refusal | undefined {
  const wanted = hostPortsOf(pod);
  if (wanted.length === 0) return undefined;
  const any = (ip: string) => ip === "0.0.0.0";
  const taken = others.flatMap(hostPortsOf).some((there) =>
    wanted.some(({ ip, port }) =>
      port === there.port && (ip === there.ip || any(ip) || any(there.ip))
    )
  );
  if (!taken) return undefined;
  return failed("NodePorts", "node(s) didn't have free ports for the requested pod ports");
}

function tainted(pod: Pod, node: DeepReadonly<KubeObject>): Refusal | undefined {
  if (isStatic(pod)) return undefined;
  const taints = (node.spec?.taints ?? []) as readonly Taint[];
  const tolerations = (pod.spec.tolerations ?? []) as readonly Toleration[];
  if (!untolerated(taints, tolerations, ["NoExecute"])) return undefined;
  return failed("TaintToleration", "node(s) had taints that the pod didn't tolerate");
}
