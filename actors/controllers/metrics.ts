/** What controllers count, under upstream's names, for `/metrics`. (Their queues are `runtime/metrics.ts`.) */
import {
  Counter,
  Duration,
  exponentialBounds,
  Gauge,
  textOf,
} from "../../api/machinery/metric_series.ts";

const HPA = "horizontal_pod_autoscaler_controller";
const NODES = "node_collector";
const JOBS = "job_controller";
const SLICES = "endpoint_slice_controller";
/** 1 ms to 16 s, doubling. */
const SECONDS = exponentialBounds(0.001, 2, 15);

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
  readonly jobSyncs = new Counter(
    `${JOBS}_job_syncs_total`,
    "Looks at Jobs, by what was done and how it ended",
  );
  readonly jobSyncSeconds = new Duration(
    `${JOBS}_job_sync_duration_seconds`,
    "How long a look at a Job took",
    exponentialBounds(0.004, 2, 15),
  );
  readonly finishedJobs = new Counter(`${JOBS}_jobs_finished_total`, "Jobs that ended, and why");
  readonly finishedJobPods = new Counter(
    `${JOBS}_job_pods_finished_total`,
    "Pods of Jobs that ended and are counted",
  );
  readonly judgedJobPods = new Counter(
    `${JOBS}_pod_failures_handled_by_failure_policy_total`,
    "Pods of Jobs that failed and met a rule of the Job's policy, by what it says",
  );
  readonly heldJobPods = new Counter(
    `${JOBS}_terminated_pods_tracking_finalizer_total`,
    "Pods that ended while a Job's finalizer holds them (add), and that were let go (delete)",
  );
  readonly cronSkew = new Duration(
    "cronjob_controller_job_creation_skew_duration_seconds",
    "How long after its time a CronJob's Job was made",
    exponentialBounds(1, 2, 10),
  );
  readonly sliceEndpoints = new Gauge(`${SLICES}_endpoints_desired`, "Endpoints there should be");
  readonly slices = new Gauge(`${SLICES}_num_endpoint_slices`, "EndpointSlices there are");
  readonly wantedSlices = new Gauge(
    `${SLICES}_desired_endpoint_slices`,
    "EndpointSlices there would be if all were full",
  );
  readonly addedEndpoints = new Duration(
    `${SLICES}_endpoints_added_per_sync`,
    "Endpoints that came with one look at a Service",
    exponentialBounds(2, 2, 15),
  );
  readonly removedEndpoints = new Duration(
    `${SLICES}_endpoints_removed_per_sync`,
    "Endpoints that went with one look at a Service",
    exponentialBounds(2, 2, 15),
  );
  readonly sliceChanges = new Counter(`${SLICES}_changes`, "Writes of EndpointSlices");
  readonly distributions = new Gauge(
    `${SLICES}_services_count_by_traffic_distribution`,
    "Services that ask for a distribution of their traffic",
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
    return textOf(Object.values(this));
  }
}
