/**
 * What a node and its pods use, in the kubelet's formats: `/metrics/resource` and `/metrics` (Prometheus
 * text) and `/stats/summary` (JSON). Pure: the node hands in the numbers.
 */
import type { ContainerStats } from "./runtimes/runtime.ts";

/** Usage of a container that runs. */
export interface ContainerUsage {
  name: string;
  startedAt: number;
  stats: ContainerStats;
}

export interface PodUsage {
  namespace: string;
  name: string;
  uid: string;
  labels: Record<string, string>;
  startedAt: number;
  containers: ContainerUsage[];
}

export interface NodeUsage {
  node: string;
  labels: Record<string, string>;
  at: number;
  startedAt: number;
  /** The node as a whole. */
  total: ContainerStats;
  capacityBytes: number;
  pods: PodUsage[];
}

/** Where a node says what it and its pods use, for `metrics.k8s.io`: JSON of `NodeUsage`. */
export const USAGE_PATH = "/plesio/usage";

/** The response of a metrics path; undefined when the path is none. */
export function metricsResponse(path: string, usage: NodeUsage): Response | undefined {
  const text = { headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" } };
  switch (path.replace(/\/$/, "")) {
    case "/metrics/resource":
      return new Response(resourceText(usage), text);
    case "/metrics":
    case "/metrics/cadvisor":
      return new Response(kubeletText(usage), text);
    case "/stats/summary":
      return Response.json(summary(usage));
    case USAGE_PATH:
      return Response.json(usage);
  }
  return undefined;
}

function resourceText(usage: NodeUsage): string {
  const { at } = usage;
  const lines: string[] = [];
  const head = (name: string, type: string) => lines.push(`# TYPE ${name} ${type}`);
  const seconds = (s: ContainerStats) => s.cpuNanoseconds / 1e9;
  const each = (emit: (labels: string, c: ContainerUsage) => void) => {
    for (const pod of usage.pods) {
      for (const c of pod.containers) {
        emit(`container="${c.name}",namespace="${pod.namespace}",pod="${pod.name}"`, c);
      }
    }
  };
  const perPod = (name: string, value: (s: ContainerStats) => number) => {
    for (const pod of usage.pods) {
      const sum = pod.containers.reduce((total, c) => total + value(c.stats), 0);
      lines.push(`${name}{namespace="${pod.namespace}",pod="${pod.name}"} ${sum} ${at}`);
    }
  };
  head("container_cpu_usage_seconds_total", "counter");
  each((l, c) => lines.push(`container_cpu_usage_seconds_total{${l}} ${seconds(c.stats)} ${at}`));
  head("container_memory_working_set_bytes", "gauge");
  each((l, c) =>
    lines.push(`container_memory_working_set_bytes{${l}} ${c.stats.workingSetBytes} ${at}`)
  );
  head("container_start_time_seconds", "gauge");
  each((l, c) => lines.push(`container_start_time_seconds{${l}} ${c.startedAt / 1000}`));
  head("node_cpu_usage_seconds_total", "counter");
  lines.push(`node_cpu_usage_seconds_total ${seconds(usage.total)} ${at}`);
  head("node_memory_working_set_bytes", "gauge");
  lines.push(`node_memory_working_set_bytes ${usage.total.workingSetBytes} ${at}`);
  head("pod_cpu_usage_seconds_total", "counter");
  perPod("pod_cpu_usage_seconds_total", seconds);
  head("pod_memory_working_set_bytes", "gauge");
  perPod("pod_memory_working_set_bytes", (s) => s.workingSetBytes);
  head("resource_scrape_error", "gauge");
  lines.push("resource_scrape_error 0");
  return lines.join("\n") + "\n";
}

function kubeletText(usage: NodeUsage): string {
  const containers = usage.pods.reduce((n, p) => n + p.containers.length, 0);
  return [
    "# TYPE kubelet_running_pods gauge",
    `kubelet_running_pods ${usage.pods.filter((p) => p.containers.length).length}`,
    "# TYPE kubelet_running_containers gauge",
    `kubelet_running_containers{container_state="running"} ${containers}`,
    "# TYPE kubelet_node_name gauge",
    `kubelet_node_name{node="${usage.node}"} 1`,
    resourceText(usage),
  ].join("\n");
}

function summary(usage: NodeUsage): object {
  const time = new Date(usage.at).toISOString();
  const cpu = (s: ContainerStats) => ({
    time,
    usageNanoCores: Math.round(s.cpuNanoCores),
    usageCoreNanoSeconds: Math.round(s.cpuNanoseconds),
  });
  const memory = (s: ContainerStats, capacity?: number) => ({
    time,
    ...(capacity ? { availableBytes: Math.max(0, capacity - s.workingSetBytes) } : {}),
    usageBytes: s.memoryBytes,
    workingSetBytes: s.workingSetBytes,
    rssBytes: s.workingSetBytes,
  });
  return {
    node: {
      nodeName: usage.node,
      startTime: new Date(usage.startedAt).toISOString(),
      cpu: cpu(usage.total),
      memory: memory(usage.total, usage.capacityBytes),
    },
    pods: usage.pods.map((pod) => {
      const total = addUp(pod.containers.map((c) => c.stats));
      return {
        podRef: { name: pod.name, namespace: pod.namespace, uid: pod.uid },
        startTime: new Date(pod.startedAt).toISOString(),
        containers: pod.containers.map((c) => ({
          name: c.name,
          startTime: new Date(c.startedAt).toISOString(),
          cpu: cpu(c.stats),
          memory: memory(c.stats),
        })),
        cpu: cpu(total),
        memory: memory(total),
      };
    }),
  };
}

/** The sum of what several containers use. */
export function addUp(all: readonly ContainerStats[]): ContainerStats {
  const total = { cpuNanoseconds: 0, cpuNanoCores: 0, memoryBytes: 0, workingSetBytes: 0 };
  for (const one of all) {
    total.cpuNanoseconds += one.cpuNanoseconds;
    total.cpuNanoCores += one.cpuNanoCores;
    total.memoryBytes += one.memoryBytes;
    total.workingSetBytes += one.workingSetBytes;
  }
  return total;
}
