/**
 * What a node and its pods use, and the pages that show it: `/metrics`, `/metrics/resource`, `/metrics/cadvisor`,
 * `/metrics/probes` (Prometheus text) and `/stats/summary` (JSON, `summary.ts`). Pure: the node hands in the numbers.
 */
import { containerText } from "./container_metrics.ts";
import type {
  FileSystem,
  ImageFileSystem,
  MachineFigures,
  SandboxFigures,
  SpaceUsed,
  VolumeFigures,
} from "./figures.ts";
import { type KubeletMetrics, kubeletText } from "./kubelet_metrics.ts";
import type { ContainerStats } from "./runtimes/runtime.ts";
import { summary } from "./summary.ts";

/** Usage of a container that runs. */
export interface ContainerUsage {
  name: string;
  startedAt: number;
  stats: ContainerStats;
  id?: string;
  image?: string;
  /** What its logs take; measured only when storage is asked for. */
  logs?: SpaceUsed;
}

export interface PodUsage {
  namespace: string;
  name: string;
  uid: string;
  labels: Record<string, string>;
  startedAt: number;
  containers: ContainerUsage[];
  /** Measured only when sandboxes are asked for. */
  sandbox?: SandboxFigures;
  /** Measured only when storage is asked for. */
  volumes?: VolumeFigures[];
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
  /** The machine; where none is measured the node is what its pods are. */
  machine?: MachineFigures;
  nodeFs?: FileSystem;
  imageFs?: ImageFileSystem;
  /** Pods that the node has to run: from files of its own, and from the API. */
  held?: { own: number; others: number };
}

/** Where a node says what it and its pods use, for `metrics.k8s.io`: JSON of `NodeUsage`. */
export const USAGE_PATH = "/plesio/usage";

/** What is asked of a node's usage, beyond what containers use of processors and memory. */
export interface UsageQuery {
  /** File systems, volumes and logs: all files of pods are looked through. */
  storage?: boolean;
  /** Pods' networks and processes. */
  sandboxes?: boolean;
  /** The machine as a whole. */
  machine?: boolean;
}

/** What a page is made of: each asks for no more than it shows. */
interface Asked {
  measure(query?: UsageQuery): Promise<NodeUsage>;
  counts: KubeletMetrics | undefined;
  query: URLSearchParams;
}

type Page = (asked: Asked) => string | Promise<string | object>;

const PAGES: Readonly<Record<string, Page>> = {
  "/metrics": async ({ measure, counts }) => kubeletText(await measure({ storage: true }), counts),
  "/metrics/resource": async ({ measure }) => resourceText(await measure({ machine: true })),
  "/metrics/cadvisor": async ({ measure }) =>
    containerText(await measure({ sandboxes: true, machine: true })),
  "/metrics/probes": ({ counts }) => counts?.probesText() ?? "",
  "/stats/summary": async ({ measure, query }) => {
    const onlyCpuAndMemory = query.get("only_cpu_and_memory") === "true";
    const more = !onlyCpuAndMemory;
    const usage = await measure({ storage: more, sandboxes: more, machine: true });
    return summary(usage, { onlyCpuAndMemory });
  },
  [USAGE_PATH]: ({ measure }) => measure(),
};

const TEXT = { headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" } };

/** The response of a metrics page; undefined when the path is none. */
export async function metricsResponse(
  { pathname, searchParams }: URL,
  measure: Asked["measure"],
  counts?: KubeletMetrics,
): Promise<Response | undefined> {
  const page = PAGES[pathname.replace(/\/$/, "")];
  if (!page) return undefined;
  const body = await page({ measure, counts, query: searchParams });
  return typeof body === "string" ? new Response(body, TEXT) : Response.json(body);
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
  const swap = (c: ContainerUsage) => c.stats.swapBytes ?? 0;
  head("container_swap_usage_bytes", "gauge");
  each((l, c) => lines.push(`container_swap_usage_bytes{${l}} ${swap(c)} ${at}`));
  head("container_start_time_seconds", "gauge");
  each((l, c) => lines.push(`container_start_time_seconds{${l}} ${c.startedAt / 1000}`));
  head("node_cpu_usage_seconds_total", "counter");
  lines.push(
    `node_cpu_usage_seconds_total ${(usage.machine ?? usage.total).cpuNanoseconds / 1e9} ${at}`,
  );
  head("node_memory_working_set_bytes", "gauge");
  const memory = usage.machine?.memory ?? usage.total;
  lines.push(`node_memory_working_set_bytes ${memory.workingSetBytes} ${at}`);
  head("pod_cpu_usage_seconds_total", "counter");
  perPod("pod_cpu_usage_seconds_total", seconds);
  head("pod_memory_working_set_bytes", "gauge");
  perPod("pod_memory_working_set_bytes", (s) => s.workingSetBytes);
  head("pod_swap_usage_bytes", "gauge");
  perPod("pod_swap_usage_bytes", (s) => s.swapBytes ?? 0);
  head("resource_scrape_error", "gauge");
  lines.push("resource_scrape_error 0");
  return lines.join("\n") + "\n";
}

/** The sum of what several containers use. */
export function addUp(all: readonly ContainerStats[]): ContainerStats {
  const total: ContainerStats = {
    cpuNanoseconds: 0,
    cpuNanoCores: 0,
    memoryBytes: 0,
    workingSetBytes: 0,
  };
  for (const one of all) {
    for (const name of SUMMED) {
      const amount = one[name];
      if (amount !== undefined) total[name] = (total[name] ?? 0) + amount;
    }
  }
  return total;
}

const SUMMED = [
  "cpuNanoseconds",
  "cpuNanoCores",
  "memoryBytes",
  "workingSetBytes",
  "rssBytes",
  "pageFaults",
  "majorPageFaults",
  "swapBytes",
] as const;
