/** `/metrics` and `/metrics/probes` of a node: what its kubelet counts, under upstream's names (pkg/kubelet/metrics). */
import { Counter, DEFAULT_BOUNDS, Duration, Gauge } from "../../api/machinery/metric_series.ts";
import type { NodeUsage } from "./metrics.ts";
import type { ContainerKind } from "./runtimes/runtime.ts";
import type { StateTerminated } from "./types.ts";

/** Upper bounds of how long pods take to start, in seconds. */
const START_BOUNDS = [0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480]
  .concat(600, 900, 1200, 1800, 2700, 3600);

/** What upstream calls kinds of containers. */
const CONTAINER_TYPES: Readonly<Record<ContainerKind, string>> = {
  app: "container",
  init: "init_container",
  sidecar: "init_container",
  ephemeral: "ephemeral_container",
};

/** See the module's text. One for each node. */
export class KubeletMetrics {
  /** What the service proxy of the node's machine counts, which is shown beside it. */
  readonly proxy: { text(): string } | undefined;
  readonly podStart = new Duration(
    "kubelet_pod_start_duration_seconds",
    "[ALPHA] Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run",
    START_BOUNDS,
  );
  readonly podWork = new Duration(
    "kubelet_pod_worker_duration_seconds",
    "[ALPHA] Duration in seconds to sync a single pod. Broken down by operation type: create, update, or sync",
    DEFAULT_BOUNDS,
  );
  readonly startedPods = new Counter(
    "kubelet_started_pods_total",
    "[ALPHA] Cumulative number of pods started",
  );
  readonly startedContainers = new Counter(
    "kubelet_started_containers_total",
    "[ALPHA] Cumulative number of containers started",
  );
  readonly failedContainers = new Counter(
    "kubelet_started_containers_errors_total",
    "[ALPHA] Cumulative number of errors when starting containers",
  );
  readonly endedContainers = new Counter(
    "kubelet_terminated_containers_total",
    "[ALPHA] Cumulative number of container terminations.",
  );
  readonly evictions = new Counter(
    "kubelet_evictions",
    "[ALPHA] Cumulative number of pod evictions by eviction signal",
  );
  readonly preemptions = new Counter(
    "kubelet_preemptions",
    "[ALPHA] Cumulative number of pod preemptions by preemption resource",
  );
  readonly rejections = new Counter(
    "kubelet_admission_rejections_total",
    "[ALPHA] Cumulative number pod admission rejections by the Kubelet.",
  );
  readonly shutdownStart = new Gauge(
    "kubelet_graceful_shutdown_start_time_seconds",
    "[ALPHA] Last graceful shutdown start time since unix epoch in seconds",
  );
  readonly shutdownEnd = new Gauge(
    "kubelet_graceful_shutdown_end_time_seconds",
    "[ALPHA] Last graceful shutdown end time since unix epoch in seconds",
  );
  readonly imageVolumes = new Counter(
    "kubelet_image_volume_requested_total",
    "[BETA] Number of requested image volumes.",
  );
  readonly mountedImages = new Counter(
    "kubelet_image_volume_mounted_succeed_total",
    "[BETA] Number of successful image volume mounts.",
  );
  readonly unmountedImages = new Counter(
    "kubelet_image_volume_mounted_errors_total",
    "[BETA] Number of failed image volume mounts.",
  );
  readonly probes = new Counter(
    "prober_probe_total",
    "[BETA] Cumulative number of a liveness, readiness or startup probe for a container by result.",
  );

  constructor(proxy?: { text(): string }) {
    this.proxy = proxy;
  }

  /** A container was started, or (with its reason) could not be. */
  containerStarted(kind: ContainerKind, error?: string): void {
    const container_type = CONTAINER_TYPES[kind];
    if (error === undefined) this.startedContainers.add({ container_type });
    else this.failedContainers.add({ container_type, code: error });
  }

  /** A container ended, by itself or because it was stopped. */
  containerEnded(kind: ContainerKind, { exitCode: exit_code, reason = "" }: StateTerminated): void {
    this.endedContainers.add({ container_type: CONTAINER_TYPES[kind], exit_code, reason });
  }

  probesText(): string {
    return linesText([this.probes]);
  }

  /** All but the probes. */
  lines(): Iterable<{ lines(): Iterable<string> }> {
    return [
      this.podStart,
      this.podWork,
      this.startedPods,
      this.startedContainers,
      this.failedContainers,
      this.endedContainers,
      this.evictions,
      this.preemptions,
      this.rejections,
      this.imageVolumes,
      this.mountedImages,
      this.unmountedImages,
      this.shutdownStart,
      this.shutdownEnd,
    ];
  }
}

function linesText(metrics: Iterable<{ lines(): Iterable<string> }>): string {
  let text = "";
  for (const metric of metrics) for (const line of metric.lines()) text += `${line}\n`;
  return text;
}

/** `/metrics`: what was counted, and how things stand. */
export function kubeletText(usage: NodeUsage, counts: KubeletMetrics | undefined): string {
  const gauges: Gauge[] = [];
  const gauge = (name: string, help: string) => {
    const made = new Gauge(`kubelet_${name}`, `[ALPHA] ${help}`);
    gauges.push(made);
    return made;
  };
  const { pods } = usage;
  gauge("node_name", "The node's name. The count is always 1.").set({ node: usage.node }, 1);
  gauge("running_pods", "Number of pods that have a running pod sandbox").set({}, pods.length);
  const running = pods.reduce((sum, { containers }) => sum + containers.length, 0);
  gauge("running_containers", "Number of containers currently running")
    .set({ container_state: "running" }, running);
  const known = usage.held ?? { own: 0, others: pods.length };
  const desired = gauge(
    "desired_pods",
    "The number of pods the kubelet is being instructed to run. static is true if the pod is not from the apiserver.",
  );
  desired.set({ static: true }, known.own);
  desired.set({ static: "" }, known.others);
  gauge(
    "mirror_pods",
    "The number of mirror pods the kubelet will try to create (one per admitted static pod)",
  ).set({}, known.own);
  for (const [name, field, help] of VOLUME_STATS) {
    const metric = gauge(`volume_stats_${name}`, help);
    for (const { namespace, volumes = [] } of pods) {
      for (const volume of volumes) {
        if (!volume.claim) continue;
        metric.set({ namespace, persistentvolumeclaim: volume.claim }, volume[field]);
      }
    }
  }
  return linesText([...counts?.lines() ?? [], ...gauges]) + (counts?.proxy?.text() ?? "");
}

const VOLUME_STATS = [
  ["capacity_bytes", "capacityBytes", "Capacity in bytes of the volume"],
  ["available_bytes", "availableBytes", "Number of available bytes in the volume"],
  ["used_bytes", "usedBytes", "Number of used bytes in the volume"],
  ["inodes", "inodes", "Maximum number of inodes in the volume"],
  ["inodes_free", "inodesFree", "Number of free inodes in the volume"],
  ["inodes_used", "inodesUsed", "Number of used inodes in the volume"],
] as const;
