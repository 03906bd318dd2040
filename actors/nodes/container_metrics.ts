/**
 * `/metrics/cadvisor`: what containers and pods use, under cAdvisor's names and labels as kubelets have them
 * (github.com/google/cadvisor/metrics/prometheus.go). What nobody measures here is left out, not made up. Pure.
 */
import type { ContainerUsage, NodeUsage, PodUsage } from "./metrics.ts";
import type { ContainerStats } from "./runtimes/runtime.ts";

interface Metric {
  name: string;
  help: string;
  type: "counter" | "gauge";
}

const stat = (name: string, type: Metric["type"], help: string) => ({ name, help, type });

/** Of a container, and of a pod as the sum of its containers. */
const PER_CONTAINER: readonly (Metric & {
  value(stats: ContainerStats, container?: ContainerUsage): number | undefined;
  labels?: string;
})[] = [
  {
    ...stat(
      "container_cpu_usage_seconds_total",
      "counter",
      "Cumulative cpu time consumed in seconds.",
    ),
    labels: 'cpu="total"',
    value: (s) => s.cpuNanoseconds / 1e9,
  },
  {
    ...stat(
      "container_memory_usage_bytes",
      "gauge",
      "Current memory usage in bytes, including all memory regardless of when it was accessed",
    ),
    value: (s) => s.memoryBytes,
  },
  {
    ...stat("container_memory_working_set_bytes", "gauge", "Current working set in bytes."),
    value: (s) => s.workingSetBytes,
  },
  {
    ...stat("container_memory_rss", "gauge", "Size of RSS in bytes."),
    value: (s) => s.rssBytes,
  },
  {
    ...stat("container_memory_swap", "gauge", "Container swap usage in bytes."),
    value: (s) => s.swapBytes,
  },
  {
    ...stat(
      "container_memory_failures_total",
      "counter",
      "Cumulative count of memory allocation failures.",
    ),
    labels: 'failure_type="pgfault",scope="container"',
    value: (s) => s.pageFaults,
  },
  {
    ...stat(
      "container_memory_failures_total",
      "counter",
      "Cumulative count of memory allocation failures.",
    ),
    labels: 'failure_type="pgmajfault",scope="container"',
    value: (s) => s.majorPageFaults,
  },
  {
    ...stat(
      "container_fs_usage_bytes",
      "gauge",
      "Number of bytes that are consumed by the container on this filesystem.",
    ),
    labels: 'device=""',
    value: (s) => s.rootfs?.usedBytes,
  },
  {
    ...stat(
      "container_start_time_seconds",
      "gauge",
      "Start time of the container since unix epoch in seconds.",
    ),
    value: (_, container) => container && container.startedAt / 1000,
  },
];

/** Of each interface of a pod. */
const PER_INTERFACE = [
  ["receive_bytes", "rxBytes", "Cumulative count of bytes received"],
  ["receive_errors", "rxErrors", "Cumulative count of errors encountered while receiving"],
  ["transmit_bytes", "txBytes", "Cumulative count of bytes transmitted"],
  ["transmit_errors", "txErrors", "Cumulative count of errors encountered while transmitting"],
] as const;

/** See the module's text. */
export function containerText(usage: NodeUsage): string {
  const lines = new Lines();
  for (const metric of PER_CONTAINER) {
    lines.head(metric);
    const say = (labels: string, value: number | undefined) =>
      lines.add(metric.name, [metric.labels, labels], value, usage.at);
    for (const pod of usage.pods) {
      say(labelsOf(pod), podTotal(pod, metric.value));
      for (const container of pod.containers) {
        say(labelsOf(pod, container), metric.value(container.stats, container));
      }
    }
  }
  for (const [name, field, help] of PER_INTERFACE) {
    const metric = { name: `container_network_${name}_total`, help, type: "counter" } as const;
    lines.head(metric);
    for (const pod of usage.pods) {
      for (const one of pod.sandbox?.interfaces ?? []) {
        lines.add(metric.name, [`interface="${one.name}"`, labelsOf(pod)], one[field], usage.at);
      }
    }
  }
  lines.head(
    stat("container_processes", "gauge", "Number of processes running inside the container."),
  );
  for (const pod of usage.pods) {
    lines.add("container_processes", [labelsOf(pod)], pod.sandbox?.processes, usage.at);
  }
  machineLines(usage, lines);
  return lines.text();
}

function podTotal(
  { containers }: PodUsage,
  value: (stats: ContainerStats, container?: ContainerUsage) => number | undefined,
): number | undefined {
  let sum: number | undefined;
  for (const { stats } of containers) {
    const amount = value(stats);
    if (amount !== undefined) sum = (sum ?? 0) + amount;
  }
  return sum;
}

/** All metrics of a family have the same labels; those of a pod are empty where they name a container. */
function labelsOf({ namespace, name, uid }: PodUsage, container?: ContainerUsage): string {
  const id = container?.id?.slice(container.id.indexOf("://") + 3);
  const labels = {
    container: container?.name ?? "",
    id: `/kubepods/pod${uid}${id ? `/${id}` : ""}`,
    image: container?.image ?? "",
    name: id ?? "",
    namespace,
    pod: name,
  };
  return Object.entries(labels).map(([key, text]) => `${key}=${JSON.stringify(text)}`).join(",");
}

function machineLines({ machine, at }: NodeUsage, lines: Lines): void {
  if (!machine) return;
  const root = 'container="",id="/",image="",name="",namespace="",pod=""';
  const { memory } = machine;
  lines.add(
    "container_cpu_usage_seconds_total",
    ['cpu="total"', root],
    machine.cpuNanoseconds / 1e9,
    at,
  );
  lines.add("container_memory_usage_bytes", [root], memory.usageBytes, at);
  lines.add("container_memory_working_set_bytes", [root], memory.workingSetBytes, at);
  lines.head(stat("machine_memory_bytes", "gauge", "Amount of memory installed on the machine."));
  lines.add("machine_memory_bytes", [], memory.capacityBytes);
}

/** Lines by their metric, so that a family stays together. */
class Lines {
  readonly #families = new Map<string, { head: string[]; lines: string[] }>();

  head({ name, help, type }: Metric): void {
    if (this.#families.has(name)) return;
    const head = [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];
    this.#families.set(name, { head, lines: [] });
  }

  /** A metric that nobody measures says nothing. */
  add(
    name: string,
    labels: readonly (string | undefined)[],
    value: number | undefined,
    at?: number,
  ) {
    if (value === undefined) return;
    const text = labels.filter(Boolean).join(",");
    const line = `${name}${text && `{${text}}`} ${value}${at === undefined ? "" : ` ${at}`}`;
    this.#families.get(name)!.lines.push(line);
  }

  text(): string {
    const all = [...this.#families.values()].filter(({ lines }) => lines.length);
    return all.map(({ head, lines }) => [...head, ...lines].join("\n")).join("\n") + "\n";
  }
}
