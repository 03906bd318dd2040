/** The resources that actors read and write, by name: one place, so that caches are shared. */
import type { ResourceId } from "../../api/machinery/types.ts";

function row(group: string, version: string, ...plurals: string[]): ResourceId[] {
  return plurals.map((plural) => Object.freeze({ group, version, plural }));
}

export const [
  BINDINGS,
  CONFIG_MAPS,
  ENDPOINTS,
  EVENTS,
  LIMIT_RANGES,
  NAMESPACES,
  NODES,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  PODS,
  REPLICATION_CONTROLLERS,
  RESOURCE_QUOTAS,
  SECRETS,
  SERVICE_ACCOUNTS,
  SERVICES,
]: readonly ResourceId[] = row(
  "",
  "v1",
  "bindings",
  "configmaps",
  "endpoints",
  "events",
  "limitranges",
  "namespaces",
  "nodes",
  "persistentvolumeclaims",
  "persistentvolumes",
  "pods",
  "replicationcontrollers",
  "resourcequotas",
  "secrets",
  "serviceaccounts",
  "services",
);

export const [CONTROLLER_REVISIONS, DAEMON_SETS, DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS]:
  readonly ResourceId[] = row(
    "apps",
    "v1",
    "controllerrevisions",
    "daemonsets",
    "deployments",
    "replicasets",
    "statefulsets",
  );

export const [CRON_JOBS, JOBS]: readonly ResourceId[] = row("batch", "v1", "cronjobs", "jobs");
export const [ENDPOINT_SLICES]: readonly ResourceId[] = row(
  "discovery.k8s.io",
  "v1",
  "endpointslices",
);
export const [LEASES]: readonly ResourceId[] = row("coordination.k8s.io", "v1", "leases");
export const [POD_DISRUPTION_BUDGETS]: readonly ResourceId[] = row(
  "policy",
  "v1",
  "poddisruptionbudgets",
);
export const [CLUSTER_ROLES]: readonly ResourceId[] = row(
  "rbac.authorization.k8s.io",
  "v1",
  "clusterroles",
);
export const [CERTIFICATE_SIGNING_REQUESTS]: readonly ResourceId[] = row(
  "certificates.k8s.io",
  "v1",
  "certificatesigningrequests",
);
export const [SUBJECT_ACCESS_REVIEWS]: readonly ResourceId[] = row(
  "authorization.k8s.io",
  "v1",
  "subjectaccessreviews",
);
export const [
  CSI_DRIVERS,
  CSI_NODES,
  STORAGE_CLASSES,
  VOLUME_ATTACHMENTS,
  VOLUME_ATTRIBUTES_CLASSES,
]: readonly ResourceId[] = row(
  "storage.k8s.io",
  "v1",
  "csidrivers",
  "csinodes",
  "storageclasses",
  "volumeattachments",
  "volumeattributesclasses",
);
export const [IP_ADDRESSES, SERVICE_CIDRS]: readonly ResourceId[] = row(
  "networking.k8s.io",
  "v1",
  "ipaddresses",
  "servicecidrs",
);
export const [RESOURCE_CLAIMS, RESOURCE_CLAIM_TEMPLATES, RESOURCE_SLICES]: readonly ResourceId[] =
  row(
    "resource.k8s.io",
    "v1",
    "resourceclaims",
    "resourceclaimtemplates",
    "resourceslices",
  );
export const [HORIZONTAL_POD_AUTOSCALERS]: readonly ResourceId[] = row(
  "autoscaling",
  "v2",
  "horizontalpodautoscalers",
);
export const [API_SERVICES]: readonly ResourceId[] = row(
  "apiregistration.k8s.io",
  "v1",
  "apiservices",
);
export const [CUSTOM_RESOURCE_DEFINITIONS]: readonly ResourceId[] = row(
  "apiextensions.k8s.io",
  "v1",
  "customresourcedefinitions",
);
