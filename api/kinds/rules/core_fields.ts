/**
 * What field selectors may name, kind by kind, beside metadata.name and metadata.namespace (upstream's
 * `ToSelectableFields` and the conversions registered in `pkg/apis/core/v1/conversion.go`).
 */

import type { DeepReadonly, Kind, KubeObject } from "../../machinery/types.ts";

type Row = DeepReadonly<KubeObject>;

/** Fields by kind. */
export const fields: Record<string, Kind["fields"]> = {
  Pod: {
    "spec.nodeName": (o: Row) => o.spec?.nodeName ?? "",
    "spec.restartPolicy": (o: Row) => o.spec?.restartPolicy ?? "",
    "spec.schedulerName": (o: Row) => o.spec?.schedulerName ?? "",
    "spec.serviceAccountName": (o: Row) => o.spec?.serviceAccountName ?? "",
    "spec.hostNetwork": (o: Row) => String(o.spec?.hostNetwork ?? false),
    "status.phase": (o: Row) => o.status?.phase ?? "",
    "status.podIP": (o: Row) => o.status?.podIPs?.[0]?.ip ?? "",
    "status.podIPs": (o: Row) => o.status?.podIPs?.[0]?.ip ?? "",
    "status.nominatedNodeName": (o: Row) => o.status?.nominatedNodeName ?? "",
  },
  Node: {
    "spec.unschedulable": (o: Row) => String(o.spec?.unschedulable ?? false),
  },
  Namespace: {
    "status.phase": (o: Row) => o.status?.phase ?? "",
  },
  Secret: {
    type: (o: Row) => o.type ?? "",
  },
  Service: {
    "spec.clusterIP": (o: Row) => o.spec?.clusterIP ?? "",
    "spec.type": (o: Row) => o.spec?.type ?? "",
  },
  ReplicationController: {
    "status.replicas": (o: Row) => String(o.status?.replicas ?? 0),
  },
  Event: {
    "involvedObject.kind": (o: Row) => o.involvedObject?.kind ?? "",
    "involvedObject.namespace": (o: Row) => o.involvedObject?.namespace ?? "",
    "involvedObject.name": (o: Row) => o.involvedObject?.name ?? "",
    "involvedObject.uid": (o: Row) => o.involvedObject?.uid ?? "",
    "involvedObject.apiVersion": (o: Row) => o.involvedObject?.apiVersion ?? "",
    "involvedObject.resourceVersion": (o: Row) => o.involvedObject?.resourceVersion ?? "",
    "involvedObject.fieldPath": (o: Row) => o.involvedObject?.fieldPath ?? "",
    reason: (o: Row) => o.reason ?? "",
    reportingComponent: (o: Row) => o.reportingComponent ?? "",
    source: (o: Row) => o.source?.component || o.reportingComponent || "",
    type: (o: Row) => o.type ?? "",
  },
};
