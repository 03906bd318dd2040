/**
 * kube-controller-manager's flags: what controllers are told, and how many objects each may be at work on at once.
 * Names, defaults and types are upstream's (v1.36); the controllers know a setting by its flag's name in camelCase.
 */
import { duration, type Flag, fraction, integer } from "./flag_types.ts";

/** Those that set something. */
export const SETTING_FLAGS = {
  "node-monitor-period": duration("5s", "how often nodes are looked at"),
  "node-monitor-grace-period": duration(
    "50s",
    "how long a node may be silent before it is unready",
  ),
  "node-startup-grace-period": duration(
    "1m0s",
    "the same of a node that has not said anything yet",
  ),
  "node-eviction-rate": fraction(0.1, "nodes a second that are emptied in a healthy zone"),
  "secondary-node-eviction-rate": fraction(0.01, "the same in an unhealthy one that is large"),
  "unhealthy-zone-threshold": fraction(
    0.55,
    "share of unready nodes from which a zone is unhealthy",
  ),
  "large-cluster-size-threshold": integer(50, "nodes from which a zone is large"),
  "terminated-pod-gc-threshold": integer(12_500, "ended pods that stay; 0 and less: all", {
    min: -(2 ** 31),
  }),
  "horizontal-pod-autoscaler-sync-period": duration("15s", "how often autoscalers are looked at"),
  "horizontal-pod-autoscaler-tolerance": fraction(
    0.1,
    "how far a metric may be from what is wanted before replicas change",
  ),
  "horizontal-pod-autoscaler-downscale-stabilization": duration(
    "5m0s",
    "no scale-down below what was asked for so long ago",
  ),
  "horizontal-pod-autoscaler-cpu-initialization-period": duration(
    "5m0s",
    "how long after a pod's start its CPU may not count",
  ),
  "horizontal-pod-autoscaler-initial-readiness-delay": duration(
    "30s",
    "how long after its start a change to unready is its first readiness still",
  ),
  "max-endpoints-per-slice": integer(100, "endpoints of an EndpointSlice", { min: 1, max: 1000 }),
} as const satisfies Record<string, Flag<number>>;

/** Those that say how many objects a controller may be at work on at once, and which controller. */
const SYNCS = {
  "concurrent-cron-job-syncs": "cronjob",
  "concurrent-daemonset-syncs": "daemonset",
  "concurrent-deployment-syncs": "deployment",
  "concurrent-endpoint-syncs": "endpoint",
  "concurrent-ephemeralvolume-syncs": "ephemeral-volume",
  "concurrent-gc-syncs": "garbagecollector",
  "concurrent-horizontal-pod-autoscaler-syncs": "horizontalpodautoscaling",
  "concurrent-job-syncs": "job",
  "concurrent-namespace-syncs": "namespace",
  "concurrent-replicaset-syncs": "replicaset",
  "concurrent_rc_syncs": "replicationcontroller",
  "concurrent-resource-quota-syncs": "resourcequota",
  "concurrent-resourceclaim-syncs": "resourceclaim",
  "concurrent-service-endpoint-syncs": "endpointslice",
  "concurrent-serviceaccount-token-syncs": "serviceaccount-token",
  "concurrent-statefulset-syncs": "statefulset",
  "concurrent-ttl-after-finished-syncs": "ttl-after-finished",
  "concurrent-validating-admission-policy-status-syncs": "validatingadmissionpolicy-status",
  "mirroring-concurrent-service-endpoint-syncs": "endpointslicemirroring",
} as const;

/** The names of controllers that can be told so. */
export const SYNCED: readonly string[] = Object.values(SYNCS);

const SYNC_FLAGS = Object.fromEntries(
  Object.entries(SYNCS).map(([name, controller]) => [name, {
    ...integer(0, `what the controller ${controller} is at work on at once`, { min: 1 }),
    placeholder: "COUNT",
    default: undefined,
  }]),
) as Record<keyof typeof SYNCS, Flag<number | undefined>>;

/** All of them. */
export const CONTROLLER_FLAGS = { ...SETTING_FLAGS, ...SYNC_FLAGS };

type Values = { [Name in keyof typeof CONTROLLER_FLAGS]: number | undefined };
type Camel<Name extends string> = Name extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : Name;

/** What controllers are told. */
export interface ControllerOptions {
  settings: { [Name in keyof typeof SETTING_FLAGS as Camel<Name>]: number };
  /** By the controller's name. */
  workers: Record<string, number>;
}

/** What flags tell controllers. */
export function controllerOptions(flags: Values): ControllerOptions {
  const settings: Record<string, number> = {};
  for (const name in SETTING_FLAGS) {
    const camel = name.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
    settings[camel] = flags[name as keyof typeof SETTING_FLAGS]!;
  }
  const workers: Record<string, number> = {};
  for (const [name, controller] of Object.entries(SYNCS)) {
    const count = flags[name as keyof typeof SYNCS];
    if (count !== undefined) workers[controller] = count;
  }
  return { settings: settings as ControllerOptions["settings"], workers };
}
