/**
 * Kubernetes 1.36's metrics of the levels STABLE and BETA as facts (test/instrumentation): names, types, labels, upper
 * bounds of histograms, and on which page they are here.
 */

/** A page of metrics: of the server, or of a node. */
export type Page = "server" | "slis" | "resources" | "node" | "node/resource" | "node/probes";

/** A metric. */
export interface MetricFacts {
  name: string;
  level: "STABLE" | "BETA";
  type: "counter" | "gauge" | "histogram";
  labels: readonly string[];
  /** Of a histogram. */
  bounds?: readonly number[];
  page: Page;
}

const ADMISSION = [0.005, 0.025, 0.1, 0.5, 1, 2.5];
const MILLISECONDS = [
  0.001,
  0.002,
  0.004,
  0.008,
  0.016,
  0.032,
  0.064,
  0.128,
  0.256,
  0.512,
  1.024,
  2.048,
  4.096,
  8.192,
  16.384,
];
const QUEUES = [1e-08, 1e-07, 1e-06, 1e-05, 0.0001, 0.001, 0.01, 0.1, 1, 10];
const ENDPOINTS = [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768];
/** Where upstream names none. */
const DEFAULT = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

// deno-fmt-ignore -- a row of the table
function fact(level: MetricFacts["level"], type: MetricFacts["type"], page: Page, name: string, labels: string, bounds?: readonly number[]): MetricFacts {
  return { name, level, type, labels: labels.split(" ").filter(Boolean).sort(), bounds, page };
}

/** All of them. */
// deno-fmt-ignore -- a table
export const METRICS: readonly MetricFacts[] = [
  fact("STABLE", "histogram", "server", "apiserver_admission_controller_admission_duration_seconds", "name operation rejected type", ADMISSION),
  fact("STABLE", "histogram", "server", "apiserver_admission_step_admission_duration_seconds", "operation rejected type", ADMISSION),
  fact("STABLE", "histogram", "server", "apiserver_admission_webhook_admission_duration_seconds", "name operation rejected type", [0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 25]),
  fact("STABLE", "gauge", "server", "apiserver_current_inflight_requests", "request_kind"),
  fact("STABLE", "gauge", "server", "apiserver_longrunning_requests", "component group resource scope subresource verb version"),
  fact("STABLE", "histogram", "server", "apiserver_request_duration_seconds", "component dry_run group resource scope subresource verb version", [0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60]),
  fact("STABLE", "counter", "server", "apiserver_request_total", "code component dry_run group resource scope subresource verb version"),
  fact("STABLE", "gauge", "server", "apiserver_requested_deprecated_apis", "group removed_release resource subresource version"),
  fact("STABLE", "histogram", "server", "apiserver_response_sizes", "component group resource scope subresource verb version", [1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000]),
  fact("STABLE", "gauge", "server", "apiserver_storage_objects", "resource"),
  fact("STABLE", "gauge", "server", "apiserver_storage_size_bytes", "storage_cluster_id"),
  fact("STABLE", "counter", "node/resource", "container_cpu_usage_seconds_total", "container namespace pod"),
  fact("STABLE", "gauge", "node/resource", "container_memory_working_set_bytes", "container namespace pod"),
  fact("STABLE", "gauge", "node/resource", "container_start_time_seconds", "container namespace pod"),
  fact("STABLE", "histogram", "server", "cronjob_controller_job_creation_skew_duration_seconds", "", [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]),
  fact("STABLE", "counter", "server", "job_controller_job_pods_finished_total", "completion_mode result"),
  fact("STABLE", "histogram", "server", "job_controller_job_sync_duration_seconds", "action completion_mode result", [0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384, 32.768, 65.536]),
  fact("STABLE", "counter", "server", "job_controller_job_syncs_total", "action completion_mode result"),
  fact("STABLE", "counter", "server", "job_controller_jobs_finished_total", "completion_mode reason result"),
  fact("STABLE", "gauge", "resources", "kube_pod_resource_limit", "namespace node pod priority resource scheduler unit"),
  fact("STABLE", "gauge", "resources", "kube_pod_resource_request", "namespace node pod priority resource scheduler unit"),
  fact("STABLE", "gauge", "slis", "kubernetes_healthcheck", "name type"),
  fact("STABLE", "counter", "slis", "kubernetes_healthchecks_total", "name status type"),
  fact("STABLE", "counter", "server", "node_collector_evictions_total", "zone"),
  fact("STABLE", "counter", "node/resource", "node_cpu_usage_seconds_total", ""),
  fact("STABLE", "gauge", "node/resource", "node_memory_working_set_bytes", ""),
  fact("STABLE", "counter", "node/resource", "pod_cpu_usage_seconds_total", "namespace pod"),
  fact("STABLE", "gauge", "node/resource", "pod_memory_working_set_bytes", "namespace pod"),
  fact("STABLE", "gauge", "node/resource", "resource_scrape_error", ""),
  fact("STABLE", "histogram", "server", "scheduler_framework_extension_point_duration_seconds", "extension_point profile status", [0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.0032, 0.0064, 0.0128, 0.0256, 0.0512, 0.1024, 0.2048]),
  fact("STABLE", "gauge", "server", "scheduler_pending_pods", "queue"),
  fact("STABLE", "histogram", "server", "scheduler_pod_scheduling_attempts", "", [1, 2, 4, 8, 16]),
  fact("STABLE", "counter", "server", "scheduler_preemption_attempts_total", ""),
  fact("STABLE", "histogram", "server", "scheduler_preemption_victims", "", [1, 2, 4, 8, 16, 32, 64]),
  fact("STABLE", "counter", "server", "scheduler_queue_incoming_pods_total", "event queue"),
  fact("STABLE", "counter", "server", "scheduler_schedule_attempts_total", "profile result"),
  fact("STABLE", "histogram", "server", "scheduler_scheduling_attempt_duration_seconds", "profile result", MILLISECONDS),
  fact("BETA", "gauge", "server", "apiserver_authentication_config_controller_automatic_reload_last_timestamp_seconds", "apiserver_id_hash status"),
  fact("BETA", "counter", "server", "apiserver_authentication_config_controller_automatic_reloads_total", "apiserver_id_hash status"),
  fact("BETA", "gauge", "server", "apiserver_authorization_config_controller_automatic_reload_last_timestamp_seconds", "apiserver_id_hash status"),
  fact("BETA", "counter", "server", "apiserver_authorization_config_controller_automatic_reloads_total", "apiserver_id_hash status"),
  fact("BETA", "histogram", "server", "apiserver_cel_compilation_duration_seconds", "", DEFAULT),
  fact("BETA", "histogram", "server", "apiserver_cel_evaluation_duration_seconds", "", DEFAULT),
  fact("BETA", "gauge", "server", "apiserver_flowcontrol_current_executing_requests", "flow_schema priority_level"),
  fact("BETA", "gauge", "server", "apiserver_flowcontrol_current_executing_seats", "flow_schema priority_level"),
  fact("BETA", "gauge", "server", "apiserver_flowcontrol_current_inqueue_requests", "flow_schema priority_level"),
  fact("BETA", "counter", "server", "apiserver_flowcontrol_dispatched_requests_total", "flow_schema priority_level"),
  fact("BETA", "gauge", "server", "apiserver_flowcontrol_nominal_limit_seats", "priority_level"),
  fact("BETA", "counter", "server", "apiserver_flowcontrol_rejected_requests_total", "flow_schema priority_level reason"),
  fact("BETA", "histogram", "server", "apiserver_flowcontrol_request_wait_duration_seconds", "execute flow_schema priority_level", [0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30]),
  fact("BETA", "counter", "server", "apiserver_storage_events_received_total", "group resource"),
  fact("BETA", "histogram", "server", "apiserver_validating_admission_policy_check_duration_seconds", "enforcement_action error_type policy policy_binding", [5e-07, 0.001, 0.01, 0.1, 1]),
  fact("BETA", "counter", "server", "apiserver_validating_admission_policy_check_total", "enforcement_action error_type policy policy_binding"),
  fact("BETA", "counter", "server", "apiserver_validation_declarative_validation_mismatch_total", ""),
  fact("BETA", "counter", "server", "apiserver_validation_declarative_validation_panic_total", ""),
  fact("BETA", "histogram", "server", "apiserver_watch_list_duration_seconds", "group resource scope version", [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 15, 20, 30, 45, 60]),
  fact("BETA", "counter", "server", "disabled_metrics_total", ""),
  fact("BETA", "gauge", "server", "endpoint_slice_controller_desired_endpoint_slices", ""),
  fact("BETA", "histogram", "server", "endpoint_slice_controller_endpoints_added_per_sync", "", ENDPOINTS),
  fact("BETA", "gauge", "server", "endpoint_slice_controller_endpoints_desired", ""),
  fact("BETA", "histogram", "server", "endpoint_slice_controller_endpoints_removed_per_sync", "", ENDPOINTS),
  fact("BETA", "gauge", "server", "endpoint_slice_controller_num_endpoint_slices", ""),
  fact("BETA", "gauge", "server", "endpoint_slice_controller_services_count_by_traffic_distribution", "traffic_distribution"),
  fact("BETA", "counter", "server", "hidden_metrics_total", ""),
  fact("BETA", "histogram", "server", "horizontal_pod_autoscaler_controller_metric_computation_duration_seconds", "action error metric_type", MILLISECONDS),
  fact("BETA", "counter", "server", "horizontal_pod_autoscaler_controller_metric_computation_total", "action error metric_type"),
  fact("BETA", "histogram", "server", "horizontal_pod_autoscaler_controller_reconciliation_duration_seconds", "action error", MILLISECONDS),
  fact("BETA", "counter", "server", "horizontal_pod_autoscaler_controller_reconciliations_total", "action error"),
  fact("BETA", "counter", "server", "job_controller_pod_failures_handled_by_failure_policy_total", "action"),
  fact("BETA", "counter", "server", "job_controller_terminated_pods_tracking_finalizer_total", "event"),
  fact("BETA", "counter", "node", "kubelet_image_volume_mounted_errors_total", ""),
  fact("BETA", "counter", "node", "kubelet_image_volume_mounted_succeed_total", ""),
  fact("BETA", "counter", "node", "kubelet_image_volume_requested_total", ""),
  fact("BETA", "gauge", "server", "kubernetes_build_info", "build_date compiler git_commit git_tree_state git_version go_version major minor platform"),
  fact("BETA", "gauge", "server", "kubernetes_feature_enabled", "name stage"),
  fact("BETA", "counter", "node/probes", "prober_probe_total", "container namespace pod pod_uid probe_type result"),
  fact("BETA", "counter", "server", "registered_metrics_total", "deprecated_version stability_level"),
  fact("BETA", "gauge", "server", "running_managed_controllers", "manager name"),
  fact("BETA", "gauge", "server", "scheduler_goroutines", "operation"),
  fact("BETA", "histogram", "server", "scheduler_permit_wait_duration_seconds", "result", MILLISECONDS),
  fact("BETA", "counter", "server", "scheduler_plugin_evaluation_total", "extension_point plugin profile"),
  fact("BETA", "histogram", "server", "scheduler_pod_scheduling_sli_duration_seconds", "attempts", [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68, 655.36, 1310.72, 2621.44, 5242.88]),
  fact("BETA", "gauge", "server", "scheduler_unschedulable_pods", "plugin profile"),
  fact("BETA", "counter", "server", "workqueue_adds_total", "name"),
  fact("BETA", "gauge", "server", "workqueue_depth", "name"),
  fact("BETA", "gauge", "server", "workqueue_longest_running_processor_seconds", "name"),
  fact("BETA", "histogram", "server", "workqueue_queue_duration_seconds", "name", QUEUES),
  fact("BETA", "counter", "server", "workqueue_retries_total", "name"),
  fact("BETA", "gauge", "server", "workqueue_unfinished_work_seconds", "name"),
  fact("BETA", "histogram", "server", "workqueue_work_duration_seconds", "name", QUEUES),
];

/** Those that are not served, and why. */
export const WITHOUT: Readonly<Record<string, string>> = {
  apiserver_authentication_config_controller_automatic_reload_last_timestamp_seconds:
    "configuration files are read once, at the start",
  apiserver_authentication_config_controller_automatic_reloads_total:
    "configuration files are read once, at the start",
  apiserver_authorization_config_controller_automatic_reload_last_timestamp_seconds:
    "configuration files are read once, at the start",
  apiserver_authorization_config_controller_automatic_reloads_total:
    "configuration files are read once, at the start",
  apiserver_cel_compilation_duration_seconds:
    "rules are compiled in the course of a definition's validation, which has no clock",
  apiserver_storage_events_received_total:
    "what a commit holds is handed on in one piece, whatever it is of",
  apiserver_validation_declarative_validation_mismatch_total:
    "there is one validation, not two that are compared",
  apiserver_validation_declarative_validation_panic_total:
    "there is one validation, not two that are compared",
  disabled_metrics_total: "no metric can be switched off",
  hidden_metrics_total: "no metric is hidden by its age",
  registered_metrics_total: "no metric is registered before it is counted",
  scheduler_permit_wait_duration_seconds: "no plugin that comes with it lets a pod wait",
  scheduler_goroutines: "nothing of the scheduler runs beside it",
  scheduler_plugin_evaluation_total:
    "what was said of a node is remembered: how often plugins are asked says nothing",
};

/** Those that a cluster of simulated nodes which nobody troubles does not come to, and the test that does. */
export const ELSEWHERE: Readonly<Record<string, string>> = {
  apiserver_flowcontrol_rejected_requests_total: "api/server/flow_test.ts",
  kubelet_image_volume_mounted_errors_total: "actors/nodes/metrics_test.ts",
  kubelet_image_volume_mounted_succeed_total: "actors/nodes/metrics_test.ts",
  kubelet_image_volume_requested_total: "actors/nodes/metrics_test.ts",
  prober_probe_total: "actors/nodes/metrics_test.ts",
};
