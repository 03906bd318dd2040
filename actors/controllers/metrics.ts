/** What controllers count, under upstream's names, for `/metrics`. (Their queues are `runtime/metrics.ts`.) */
import { Counter, Duration, Gauge } from "../../api/machinery/metric_series.ts";

const HPA = "horizontal_pod_autoscaler_controller";
const NODES = "node_collector";
/** 1 ms to 16 s, doubling. */
const SECONDS = Array.from({ length: 15 }, (_, i) => 0.001 * 2 ** i);

/** The counts of one process. */
export class ControllerMetrics {
  readonly reconciliations = new Counter(
    `${HPA}_reconciliations_total`,
    "Looks at autoscalers, by what came of them",
  );
  readonly reconciliationSeconds = new Duration(
    `${HPA}_reconciliation_duration_seconds`,
    "How long a look at an autoscaler took",
    SECONDS,
  );
  readonly computations = new Counter(
    `${HPA}_metric_computation_total`,
    "Metrics of autoscalers that were computed, by what they asked for",
  );
  readonly computationSeconds = new Duration(
    `${HPA}_metric_computation_duration_seconds`,
    "How long the computation of a metric took",
    SECONDS,
  );
  readonly autoscalers = new Gauge(
    `${HPA}_num_horizontal_pod_autoscalers`,
    "Autoscalers there are",
  );
  readonly desiredReplicas = new Gauge(
    `${HPA}_desired_replicas`,
    "Replicas that an autoscaler wants",
  );
  readonly zoneHealth = new Gauge(
    `${NODES}_zone_health`,
    "Percentage of a zone's nodes that are ready",
  );
  readonly zoneSize = new Gauge(`${NODES}_zone_size`, "Nodes of a zone");
  readonly unhealthyNodes = new Gauge(
    `${NODES}_unhealthy_nodes_in_zone`,
    "Nodes of a zone that are not ready",
  );
  readonly evictions = new Counter(
    `${NODES}_evictions_total`,
    "Nodes from which pods were begun to be driven out",
  );
  readonly taintDeletions = new Counter(
    "taint_eviction_controller_pod_deletions_total",
    "Pods deleted for taints of their nodes",
  );
  readonly deviceTaintDeletions = new Counter(
    "device_taint_eviction_controller_pod_deletions_total",
    "Pods deleted for taints of their devices",
  );
  readonly collectedPods = new Counter(
    "pod_gc_collector_force_delete_pods_total",
    "Pods deleted by force, and why",
  );
  readonly forcedDetaches = new Counter(
    "attach_detach_controller_attachdetach_controller_forced_detaches",
    "Volumes that were detached although they may be mounted, and why",
  );

  /** The lines of `/metrics`. */
  text(): string {
    const all = Object.values(this) as (Counter | Gauge | Duration)[];
    return all.flatMap((metric) => [...metric.lines()]).join("\n");
  }
}
