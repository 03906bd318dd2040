/**
 * `/stats/summary`: what a node, its pods, their containers and volumes use, as kubelets say it
 * (k8s.io/kubelet/pkg/apis/stats/v1alpha1). Pure.
 */
import type { FileSystem, InterfaceFigures, SpaceUsed, VolumeFigures } from "./figures.ts";
import { addUp, type ContainerUsage, type NodeUsage, type PodUsage } from "./metrics.ts";
import type { ContainerStats } from "./runtimes/runtime.ts";

/** What is shown. */
export interface SummaryOptions {
  /** Storage, network and processes are left out (false). */
  onlyCpuAndMemory?: boolean;
}

/** See the module's text. */
export function summary(usage: NodeUsage, { onlyCpuAndMemory = false }: SummaryOptions = {}) {
  const node = nodePart(usage);
  const pods = usage.pods.map((pod) => podPart(pod, usage));
  if (!onlyCpuAndMemory) return { node, pods };
  const { nodeName, systemContainers, startTime, cpu, memory } = node;
  return {
    node: { nodeName, systemContainers, startTime, cpu, memory },
    pods: pods.map(({ podRef, startTime, containers, cpu, memory }) => ({
      podRef,
      startTime,
      containers: containers.map(({ name, startTime, cpu, memory }) => ({
        name,
        startTime,
        cpu,
        memory,
      })),
      cpu,
      memory,
    })),
  };
}

function nodePart(usage: NodeUsage) {
  const { machine, nodeFs, imageFs } = usage;
  const time = timeOf(usage.at);
  const startTime = timeOf(usage.startedAt);
  const total: ContainerStats = machine
    ? { ...machine, ...machine.memory, memoryBytes: machine.memory.usageBytes }
    : usage.total;
  const capacity = machine?.memory.capacityBytes ?? usage.capacityBytes;
  return {
    nodeName: usage.node,
    systemContainers: [{
      name: "pods",
      startTime,
      cpu: cpuPart(usage.total, time),
      memory: memoryPart(usage.total, time, capacity),
    }],
    startTime,
    cpu: cpuPart(total, time),
    memory: memoryPart(total, time, capacity),
    network: networkPart(machine?.interfaces, time),
    fs: nodeFs && fsPart(nodeFs, time),
    runtime: imageFs && {
      imageFs: fsPart(imageFs, time),
      containerFs: fsPart(imageFs, time),
    },
    rlimit: machine && { time, maxpid: machine.processesMax, curproc: machine.processes },
    swap: machine && {
      time,
      swapAvailableBytes: machine.swap.capacityBytes - machine.swap.usageBytes,
      swapUsageBytes: machine.swap.usageBytes,
    },
  };
}

function podPart(pod: PodUsage, usage: NodeUsage) {
  const time = timeOf(usage.at);
  const total = addUp(pod.containers.map(({ stats }) => stats));
  const { sandbox, volumes } = pod;
  return {
    podRef: { name: pod.name, namespace: pod.namespace, uid: pod.uid },
    startTime: timeOf(pod.startedAt),
    containers: pod.containers.map((container) => containerPart(container, usage)),
    cpu: cpuPart(total, time),
    memory: memoryPart(total, time),
    network: networkPart(sandbox?.interfaces, time),
    volume: volumes?.map((volume) => volumePart(volume, pod, time)),
    "ephemeral-storage": usage.nodeFs && fsPart({ ...usage.nodeFs, ...storageOf(pod) }, time),
    process_stats: sandbox?.processes === undefined
      ? undefined
      : { process_count: sandbox.processes },
    swap: swapPart(total, time),
  };
}

/** What a pod takes of the node's disk: containers, logs, and volumes that go with it. */
export function storageOf({ containers, volumes = [] }: PodUsage): SpaceUsed {
  const parts = [
    ...containers.flatMap(({ stats, logs }) => [stats.rootfs, logs]),
    ...volumes.filter(({ ephemeral }) => ephemeral),
  ];
  const sum = { usedBytes: 0, inodesUsed: 0 };
  for (const part of parts) {
    sum.usedBytes += part?.usedBytes ?? 0;
    sum.inodesUsed += part?.inodesUsed ?? 0;
  }
  return sum;
}

function containerPart({ name, startedAt, stats, logs }: ContainerUsage, usage: NodeUsage) {
  const time = timeOf(usage.at);
  const disk = usage.imageFs ?? usage.nodeFs;
  return {
    name,
    startTime: timeOf(startedAt),
    cpu: cpuPart(stats, time),
    memory: memoryPart(stats, time),
    rootfs: stats.rootfs && disk && fsPart({ ...disk, ...stats.rootfs }, time),
    logs: logs && usage.nodeFs && fsPart({ ...usage.nodeFs, ...logs }, time),
    swap: swapPart(stats, time),
  };
}

function volumePart({ name, claim, ...space }: VolumeFigures, pod: PodUsage, time: string) {
  return {
    ...fsPart(space, time),
    name,
    ...(claim && { pvcRef: { name: claim, namespace: pod.namespace } }),
  };
}

function cpuPart({ cpuNanoCores, cpuNanoseconds }: ContainerStats, time: string) {
  return {
    time,
    usageNanoCores: Math.round(cpuNanoCores),
    usageCoreNanoSeconds: Math.round(cpuNanoseconds),
  };
}

function memoryPart(stats: ContainerStats, time: string, capacity?: number) {
  const left = capacity === undefined
    ? stats.availableBytes
    : Math.max(0, capacity - stats.workingSetBytes);
  return {
    time,
    availableBytes: left,
    usageBytes: stats.memoryBytes,
    workingSetBytes: stats.workingSetBytes,
    rssBytes: stats.rssBytes ?? stats.workingSetBytes,
    pageFaults: stats.pageFaults ?? 0,
    majorPageFaults: stats.majorPageFaults ?? 0,
  };
}

function swapPart({ swapBytes, swapAvailableBytes }: ContainerStats, time: string) {
  if (swapBytes === undefined) return undefined;
  return { time, swapAvailableBytes, swapUsageBytes: swapBytes };
}

function networkPart(interfaces: readonly InterfaceFigures[] | undefined, time: string) {
  return interfaces?.length ? { time, ...interfaces[0], interfaces } : undefined;
}

function fsPart(fs: FileSystem, time: string) {
  const { availableBytes, capacityBytes, usedBytes, inodesFree, inodes, inodesUsed } = fs;
  return { time, availableBytes, capacityBytes, usedBytes, inodesFree, inodes, inodesUsed };
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}
