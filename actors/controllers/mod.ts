/**
 * The controllers: everything that makes the cluster what its objects say.
 *
 * Each is one file with one exported row; `controllerRows` is the table of them, and `startControllers`
 * starts those that are switched on, each as the singleton actor `controller/<name>` with the rights of its
 * own ServiceAccount. They read caches and write through the API; they never call one another.
 *
 * What they promise: names, annotations, events, conditions and counts are upstream's; every step can be
 * repeated; nothing they hold is the only copy; what was written is seen before it is decided on again.
 *
 * What is not here: clouds other than this machine (`cloud.ts` is the interface). `names.ts` says which names of
 * kube-controller-manager's stand for nothing.
 *
 * Reading order: `replicaset.ts` (a simple loop), `deployment.ts` with its three neighbours,
 * `garbage_collector.ts`, then what you need.
 *
 * ```ts
 * import { startControllers } from "./mod.ts";
 * import type { ControllerPorts } from "./mod.ts";
 * import type { Client } from "../../api/client/contract.ts";
 * import type { System } from "../runtime/mod.ts";
 *
 * function start(system: System, client: Client, ports: ControllerPorts) {
 *   startControllers(system, { client, ports, enabled: "*,-cronjob" });
 * }
 * ```
 */
import type { Client } from "../../api/client/contract.ts";
import {
  type ActorHandle,
  asAccount,
  type Controller,
  runController,
  type System,
} from "../runtime/mod.ts";
import { attachDetachController } from "./attach_detach.ts";
import { bootstrapSignerController } from "./bootstrap_signer.ts";
import type { CloudProvider } from "./cloud.ts";
import { cloudNodeController, cloudNodeLifecycleController } from "./cloud_node.ts";
import { clusterRoleAggregationController } from "./clusterrole_aggregation.ts";
import { cronJobController } from "./cronjob.ts";
import { csiAttacher } from "./csi_attacher.ts";
import { csiProvisioner } from "./csi_provisioner.ts";
import { csiResizer } from "./csi_resizer.ts";
import { csrApprovingController } from "./csr_approving.ts";
import { csrCleanerController } from "./csr_cleaner.ts";
import { csrSigningController } from "./csr_signing.ts";
import { daemonSetController } from "./daemonset.ts";
import { deploymentController } from "./deployment.ts";
import { deviceTaintEvictionController } from "./device_taint_eviction.ts";
import { disruptionController } from "./disruption.ts";
import { endpointsController } from "./endpoints.ts";
import { endpointSliceController } from "./endpointslice.ts";
import { endpointSliceMirroringController } from "./endpointslice_mirroring.ts";
import { garbageCollector } from "./garbage_collector.ts";
import { horizontalPodAutoscalerController } from "./horizontal_pod_autoscaler.ts";
import { jobController } from "./job.ts";
import { legacyTokenCleanerController } from "./legacy_token_cleaner.ts";
import { localPathProvisioner } from "./local_path.ts";
import { controllersProblem, isEnabled } from "./names.ts";
import { namespaceController } from "./namespace.ts";
import { nodeIpamController } from "./node_ipam.ts";
import { nodeLifecycleController } from "./node_lifecycle.ts";
import { nodeRouteController } from "./node_route.ts";
import { persistentVolumeBinder } from "./persistent_volumes.ts";
import { podGarbageCollector } from "./pod_gc.ts";
import { policyStatusController } from "./policy_status.ts";
import type { ControllerPorts, FreeController } from "./ports.ts";
import { replicaSetController, replicationController } from "./replicaset.ts";
import { resourceClaimController } from "./resource_claim.ts";
import { resourceQuotaController } from "./resource_quota.ts";
import { rootCaPublisher } from "./root_ca_publisher.ts";
import { serviceCidrController } from "./service_cidrs.ts";
import { serviceLoadBalancers } from "./service_lb.ts";
import { serviceAccountController } from "./serviceaccount.ts";
import { serviceAccountTokenController } from "./serviceaccount_token.ts";
import { statefulSetController } from "./statefulset.ts";
import type { StorageDrivers } from "./storage_drivers.ts";
import { taintEvictionController } from "./taint_eviction.ts";
import { tokenCleanerController } from "./token_cleaner.ts";
import { ttlController } from "./ttl.ts";
import { ttlAfterFinishedController } from "./ttl_after_finished.ts";
import { volumeExpander } from "./volume_expander.ts";
import {
  attributesClassProtectionController,
  claimProtectionController,
  ephemeralVolumeController,
  volumeProtectionController,
} from "./volume_protection.ts";

export { ControllerMetrics } from "./metrics.ts";
export { type CloudProvider, localCloud, UNINITIALIZED } from "./cloud.ts";
export type { StorageDriver, StorageDrivers } from "./storage_drivers.ts";
export type { ControllerPorts, FreeController, ServedKinds } from "./ports.ts";
export { type ControllerSettings, SETTINGS } from "./settings.ts";

/** A row: a controller of one kind, or an actor of its own. */
// deno-lint-ignore no-explicit-any -- rows of any state
export type ControllerRow = Controller<any> | FreeController;

/** All controllers, in the order in which they start. */
export function controllerRows(ports: ControllerPorts): ControllerRow[] {
  return [
    namespaceController(ports),
    serviceAccountController,
    rootCaPublisher(ports),
    serviceAccountTokenController(ports),
    legacyTokenCleanerController,
    bootstrapSignerController,
    tokenCleanerController,
    csrApprovingController(ports),
    csrSigningController(ports),
    csrCleanerController,
    nodeIpamController(ports),
    deploymentController,
    replicaSetController,
    replicationController,
    statefulSetController(ports),
    daemonSetController,
    jobController(ports),
    cronJobController(ports),
    ttlAfterFinishedController,
    horizontalPodAutoscalerController(ports),
    endpointSliceController(ports),
    endpointSliceMirroringController,
    endpointsController,
    garbageCollector(ports),
    clusterRoleAggregationController,
    policyStatusController(ports),
    podGarbageCollector(ports),
    nodeLifecycleController(ports),
    taintEvictionController(ports),
    deviceTaintEvictionController(ports),
    disruptionController(ports),
    resourceQuotaController,
    persistentVolumeBinder,
    attachDetachController(ports),
    volumeExpander,
    localPathProvisioner(ports),
    claimProtectionController,
    volumeProtectionController,
    attributesClassProtectionController,
    ephemeralVolumeController,
    resourceClaimController,
    serviceCidrController,
    serviceLoadBalancers(ports),
    ttlController,
    ...(ports.cloud ? cloudRows(ports.cloud, ports) : []),
    ...(ports.storageDrivers ? driverRows(ports.storageDrivers) : []),
  ];
}

function cloudRows(cloud: CloudProvider, ports: ControllerPorts): ControllerRow[] {
  const rows = [cloudNodeController(cloud), cloudNodeLifecycleController(cloud)];
  return cloud.routes ? [...rows, nodeRouteController(cloud.routes, ports)] : rows;
}

function driverRows(drivers: StorageDrivers): ControllerRow[] {
  return [csiProvisioner(drivers), csiAttacher(drivers), csiResizer(drivers)];
}

/** Refuses a list that names a controller which is not known. */
export function checkControllers(list: string, ports: ControllerPorts): void {
  const problem = controllersProblem(list, new Set(controllerRows(ports).map((row) => row.name)));
  if (problem) throw new TypeError(problem);
}

/** Starts a row. `client` is one that may act as others. */
export function startController(
  system: System,
  row: ControllerRow,
  options: { client: Client },
): ActorHandle {
  if (!("behaviour" in row)) return runController(system, row, options);
  return system.spawn(`controller/${row.name}`, row.behaviour, {
    workers: row.workers,
    component: row.component ?? row.account,
    singleton: true,
    client: asAccount(options.client, row.account),
  });
}

/** Starts the controllers that are switched on (default: all). */
export function startControllers(
  system: System,
  options: { client: Client; ports: ControllerPorts; enabled?: string },
): ActorHandle[] {
  const { client, ports, enabled = "*" } = options;
  const rows = controllerRows(ports);
  const names = new Set(rows.map((row) => row.name));
  return rows.filter((row) => isEnabled(enabled, row.name, names)).map((row) => {
    const { workers = row.workers } = { workers: ports.workers?.[row.name] };
    return startController(system, { ...row, workers }, { client });
  });
}
