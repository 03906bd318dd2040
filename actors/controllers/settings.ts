/**
 * What kube-controller-manager's flags set, under their names in camelCase (`--node-monitor-grace-period` is
 * `nodeMonitorGracePeriod`), as they are when nobody sets them (v1.36). Times are in ms, rates per second.
 */

/** See the module's text. */
export interface ControllerSettings {
  /** How often nodes are looked at, how long one may be silent, and how long a new one. */
  nodeMonitorPeriod: number;
  nodeMonitorGracePeriod: number;
  nodeStartupGracePeriod: number;
  /** NoExecute taints in a healthy zone, and in a large one that is mostly gone. */
  nodeEvictionRate: number;
  secondaryNodeEvictionRate: number;
  /** From this share of unready nodes on (and more than two) a zone is disrupted; a large one has more nodes than this. */
  unhealthyZoneThreshold: number;
  largeClusterSizeThreshold: number;
  /** How many ended pods may stay; 0 and less: all. */
  terminatedPodGcThreshold: number;
  /** How often each autoscaler is looked at. */
  horizontalPodAutoscalerSyncPeriod: number;
  /** How far the ratio may be from 1 where the spec does not say. */
  horizontalPodAutoscalerTolerance: number;
  /** How long recommendations hold a scale-down back where no behaviour says how long. */
  horizontalPodAutoscalerDownscaleStabilization: number;
  /** How long after its start a pod's CPU says little. */
  horizontalPodAutoscalerCpuInitializationPeriod: number;
  /** A pod that was unready since this long after its start has never been ready. */
  horizontalPodAutoscalerInitialReadinessDelay: number;
  maxEndpointsPerSlice: number;
}

/** Kubernetes' own. */
export const SETTINGS: Readonly<ControllerSettings> = {
  nodeMonitorPeriod: 5_000,
  nodeMonitorGracePeriod: 50_000,
  nodeStartupGracePeriod: 60_000,
  nodeEvictionRate: 0.1,
  secondaryNodeEvictionRate: 0.01,
  unhealthyZoneThreshold: 0.55,
  largeClusterSizeThreshold: 50,
  terminatedPodGcThreshold: 12_500,
  horizontalPodAutoscalerSyncPeriod: 15_000,
  horizontalPodAutoscalerTolerance: 0.1,
  horizontalPodAutoscalerDownscaleStabilization: 5 * 60_000,
  horizontalPodAutoscalerCpuInitializationPeriod: 5 * 60_000,
  horizontalPodAutoscalerInitialReadinessDelay: 30_000,
  maxEndpointsPerSlice: 100,
};

/** The settings that are in force. */
export function settingsOf(
  { settings }: { settings?: Partial<ControllerSettings> },
): Readonly<ControllerSettings> {
  return { ...SETTINGS, ...settings };
}
