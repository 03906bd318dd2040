/**
 * Nodes: kubelets, the runtimes they run containers on, volumes and pod networks.
 *
 * One pod, in order: the scheduler binds it → the kubelet (`kubelet.ts`) sees it in its cache and starts
 * an actor for it → the pod worker (`pod_worker.ts`) makes volumes, address and sandbox, then starts its
 * containers on a runtime (`runtimes/`) → what they do becomes the pod's status (`pod_status.ts`).
 * Simulated nodes in thousands share one actor (`simulated_nodes.ts`) and the same pod worker.
 *
 * Promises, quoted by tests:
 *
 * - newest-wish: a pod that changes or goes while something is under way is heard at once.
 * - one-write: a simulated pod becomes Running with a single status write.
 * - order: init containers run one by one; sidecars before and after what they serve.
 * - grace: no container outlives its grace period, and none is killed before it.
 * - no-leftovers: what a former life of a node left running ends before anything is started.
 * - no-mounts: what is mounted for a pod goes with it, and after `kill -9` before anything is started.
 * - own-files, one-name, mirrored: static pods (`static_pods.ts`).
 * - hard-at-once, reclaim-first, slow-to-forget, one-by-one: evictions (`eviction.ts`).
 * - labelled: a simulated container never looks like a real one (node label, Event, logs, exec).
 *
 * What it does not do: isolation between tenants. An isolate is a process of this machine's user.
 */
export { dialerOf, type NodeOptions, type RunningNode, startNode, usageOf } from "./node.ts";
export { type NodeUsage, USAGE_PATH } from "./metrics.ts";
export { metricsApi } from "./metrics_api.ts";
export type { ContainerRuntimeOptions } from "./cri_node.ts";
export { type IsolateNodeOptions, startIsolateNode } from "./isolate_node.ts";
export { balancerRange, localNodes, startLocalNodes } from "./local_nodes.ts";
export type { KubeletOptions } from "./kubelet_options.ts";
export { dialRelay, machineHost } from "./joining/host.ts";
export {
  type MachineHost,
  type MachineOptions,
  type RunningMachine,
  startMachine,
} from "./joining/machine.ts";
export { advertised, clusterRanges, keptRanges, type ProxyMode } from "./network/machine.ts";
export {
  type SimulatedNodes,
  type SimulatedNodesOptions,
  startSimulatedNodes,
} from "./simulated_nodes.ts";
export {
  claimRanges,
  LoopbackNetwork,
  type Network,
  type Ranges,
  VirtualNetwork,
} from "./network/network.ts";
export { storageDrivers } from "./volumes/csi_controller.ts";
export { SimulatedRuntime } from "./runtimes/simulated.ts";
export { parseStages, Stages } from "./runtimes/stages.ts";
export type { Runtime } from "./runtimes/runtime.ts";
