/**
 * The columns of the core group's kinds beside Pod, as upstream prints them. The server prints wide, so that
 * nothing is shortened here; `priority` decides what kubectl shows.
 */

import type { Column } from "../../machinery/types.ts";
import { formatLabels } from "../../machinery/selectors.ts";
import { age } from "../../machinery/time.ts";
import {
  AGE_COLUMN,
  column,
  containerImages,
  containerNames,
  listWithMore,
  NAME_COLUMN,
  type Row,
  templateColumns,
} from "./cells.ts";
import { POD_COLUMNS } from "./pod_columns.ts";

// deno-lint-ignore no-explicit-any -- fields of decoded JSON
type Any = any;

const INTEGER = { type: "integer" } as const;
const WIDE = { priority: 1 } as const;

// --- services and endpoints -------------------------------------------------------------------------

function externalIps(service: Row): string {
  const { type, externalIPs = [], externalName } = service.spec ?? {};
  switch (type) {
    case "ClusterIP":
    case "NodePort":
      return externalIPs.length > 0 ? externalIPs.join(",") : "<none>";
    case "LoadBalancer": {
      const found = new Set<string>();
      for (const ingress of service.status?.loadBalancer?.ingress ?? []) {
        const address = ingress.ip || ingress.hostname;
        if (address) found.add(address);
      }
      const all = [...[...found].sort(), ...externalIPs];
      return all.length > 0 ? all.join(",") : "<pending>";
    }
    case "ExternalName":
      return externalName ?? "";
    default:
      return "<unknown>";
  }
}

function portsText(service: Row): string {
  const ports: Any[] = service.spec?.ports ?? [];
  if (ports.length === 0) return "<none>";
  return ports.map((p) =>
    p.nodePort > 0 ? `${p.port}:${p.nodePort}/${p.protocol}` : `${p.port}/${p.protocol}`
  ).join(",");
}

const SERVICE_COLUMNS: Column[] = [
  NAME_COLUMN,
  column("Type", (o) => o.spec?.type ?? ""),
  column("Cluster-IP", (o) => o.spec?.clusterIPs?.[0] ?? "<none>"),
  column("External-IP", externalIps),
  column("Port(s)", portsText),
  AGE_COLUMN,
  column("Selector", (o) => formatLabels(o.spec?.selector), WIDE),
];

const ENDPOINTS_SHOWN = 3;

function hostPort(ip: string, port: number): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

function endpointsText(object: Row): string {
  const subsets: Any[] = object.subsets ?? [];
  if (subsets.length === 0) return "<none>";
  const shown: string[] = [];
  let count = 0;
  for (const subset of subsets) {
    const addresses: Any[] = subset.addresses ?? [];
    const ports: Any[] = subset.ports?.length > 0 ? subset.ports : [undefined];
    for (const port of ports) {
      count += addresses.length;
      for (const { ip } of addresses) {
        if (shown.length === ENDPOINTS_SHOWN) break;
        shown.push(port === undefined ? ip : hostPort(ip, port.port));
      }
    }
  }
  return listWithMore(shown, count, ENDPOINTS_SHOWN);
}

// --- nodes and namespaces ---------------------------------------------------------------------------

const ROLE_PREFIX = "node-role.kubernetes.io/";

function nodeStatus(node: Row): string {
  const parts: string[] = [];
  for (const condition of node.status?.conditions ?? []) {
    if (condition.type === "Ready") {
      parts.push(condition.status === "True" ? "Ready" : "NotReady");
      break;
    }
  }
  if (parts.length === 0) parts.push("Unknown");
  if (node.spec?.unschedulable) parts.push("SchedulingDisabled");
  return parts.join(",");
}

function nodeRoles(node: Row): string {
  const roles = new Set<string>();
  const labels: Record<string, string> = node.metadata.labels ?? {};
  for (const key in labels) {
    if (key.startsWith(ROLE_PREFIX)) {
      if (key.length > ROLE_PREFIX.length) roles.add(key.slice(ROLE_PREFIX.length));
    } else if (key === "kubernetes.io/role" && labels[key] !== "") roles.add(labels[key]);
  }
  return [...roles].sort().join(",") || "<none>";
}

function nodeAddress(type: string): (node: Row) => string {
  return (node) => {
    for (const address of node.status?.addresses ?? []) {
      if (address.type === type) return address.address;
    }
    return "<none>";
  };
}

function nodeInfo(field: string, missing: string): (node: Row) => string {
  return (node) => node.status?.nodeInfo?.[field] || missing;
}

function kernelText(node: Row): string {
  const version = nodeInfo("kernelVersion", "<unknown>")(node);
  const architecture = nodeInfo("architecture", "")(node);
  return architecture ? `${version} (${architecture})` : version;
}

const NODE_COLUMNS: Column[] = [
  NAME_COLUMN,
  column("Status", nodeStatus),
  column("Roles", nodeRoles),
  AGE_COLUMN,
  column("Version", nodeInfo("kubeletVersion", "")),
  column("Internal-IP", nodeAddress("InternalIP"), WIDE),
  column("External-IP", nodeAddress("ExternalIP"), WIDE),
  column("OS-Image", nodeInfo("osImage", "<unknown>"), WIDE),
  column("Kernel-Version", kernelText, WIDE),
  column("Container-Runtime", nodeInfo("containerRuntimeVersion", "<unknown>"), WIDE),
];

// --- volumes ----------------------------------------------------------------------------------------

const MODE_NAMES: readonly [string, string][] = [
  ["ReadWriteOnce", "RWO"],
  ["ReadOnlyMany", "ROX"],
  ["ReadWriteMany", "RWX"],
  ["ReadWriteOncePod", "RWOP"],
];

function accessModes(modes: readonly string[] | undefined): string {
  if (!modes) return "";
  return MODE_NAMES.filter(([mode]) => modes.includes(mode)).map(([, short]) => short).join(",");
}

function phase(object: Row): string {
  return object.metadata.deletionTimestamp ? "Terminating" : object.status?.phase ?? "";
}

function storageClass(object: Row): string {
  return object.metadata.annotations?.["volume.beta.kubernetes.io/storage-class"] ??
    object.spec?.storageClassName ?? "";
}

const CLASS_COLUMNS: Column[] = [
  column("StorageClass", storageClass),
  column("VolumeAttributesClass", (o) => o.spec?.volumeAttributesClassName ?? "<unset>"),
];
const VOLUME_MODE_COLUMN = column("VolumeMode", (o) => o.spec?.volumeMode ?? "<unset>", WIDE);

const PV_COLUMNS: Column[] = [
  NAME_COLUMN,
  column("Capacity", (o) => String(o.spec?.capacity?.storage ?? "0")),
  column("Access Modes", (o) => accessModes(o.spec?.accessModes)),
  column("Reclaim Policy", (o) => o.spec?.persistentVolumeReclaimPolicy ?? ""),
  column("Status", phase),
  column("Claim", ({ spec }) => {
    const ref = spec?.claimRef;
    return ref ? `${ref.namespace ?? ""}/${ref.name ?? ""}` : "";
  }),
  ...CLASS_COLUMNS,
  column("Reason", (o) => o.status?.reason ?? ""),
  AGE_COLUMN,
  VOLUME_MODE_COLUMN,
];

const PVC_COLUMNS: Column[] = [
  NAME_COLUMN,
  column("Status", phase),
  column("Volume", (o) => o.spec?.volumeName ?? ""),
  column("Capacity", (o) => o.spec?.volumeName ? String(o.status?.capacity?.storage ?? "0") : ""),
  column("Access Modes", (o) => o.spec?.volumeName ? accessModes(o.status?.accessModes) : ""),
  ...CLASS_COLUMNS,
  AGE_COLUMN,
  VOLUME_MODE_COLUMN,
];

// --- events, quotas, the rest -----------------------------------------------------------------------

function eventFirst(event: Row, now: number): string {
  return age(event.firstTimestamp || event.eventTime, now);
}

function eventLast(event: Row, now: number): string {
  if (event.series) return age(event.series.lastObservedTime, now);
  return event.lastTimestamp ? age(event.lastTimestamp, now) : eventFirst(event, now);
}

function eventObject({ involvedObject }: Row): string {
  const kind = (involvedObject?.kind ?? "").toLowerCase();
  return involvedObject?.name ? `${kind}/${involvedObject.name}` : kind;
}

function eventSource(event: Row): string {
  const component = event.source?.component || event.reportingComponent || "";
  const instance = event.source?.host || event.reportingInstance || "";
  return instance ? `${component}, ${instance}` : component;
}

const EVENT_COLUMNS: Column[] = [
  column("Last Seen", eventLast),
  column("Type", (o) => o.type ?? ""),
  column("Reason", (o) => o.reason ?? ""),
  column("Object", eventObject),
  column("Subobject", (o) => o.involvedObject?.fieldPath ?? "", WIDE),
  column("Source", eventSource, WIDE),
  column("Message", (o) => (o.message ?? "").trim()),
  column("First Seen", eventFirst, WIDE),
  column("Count", (o) => o.series ? o.series.count ?? 0 : o.count || 1, WIDE),
  column("Name", (o) => o.metadata.name, { ...WIDE, format: "name" }),
];

function quotaText(quota: Row, limits: boolean): string {
  const hard = quota.status?.hard ?? {};
  const used = quota.status?.used ?? {};
  const parts: string[] = [];
  for (const name of Object.keys(hard).sort()) {
    if (name.startsWith("limits") === limits) {
      parts.push(`${name}: ${used[name] ?? "0"}/${hard[name]}`);
    }
  }
  return parts.join(", ");
}

function componentCondition(component: Row): Any {
  return (component.conditions ?? []).find((c: Any) => c.type === "Healthy");
}

function componentStatus(component: Row): string {
  const status = componentCondition(component)?.status;
  if (status === "True") return "Healthy";
  return status === "False" ? "Unhealthy" : "Unknown";
}

/** Columns by kind. */
export const columns: Record<string, Column[]> = {
  Pod: POD_COLUMNS,
  PodTemplate: [
    NAME_COLUMN,
    column("Containers", (o) => containerNames(o.template)),
    column("Images", (o) => containerImages(o.template)),
    column("Pod Labels", (o) => formatLabels(o.template?.metadata?.labels)),
  ],
  ReplicationController: [
    NAME_COLUMN,
    column("Desired", (o) => o.spec?.replicas ?? 0, INTEGER),
    column("Current", (o) => o.status?.replicas ?? 0, INTEGER),
    column("Ready", (o) => o.status?.readyReplicas ?? 0, INTEGER),
    AGE_COLUMN,
    ...templateColumns((o) => o.spec?.template),
    column("Selector", (o) => formatLabels(o.spec?.selector), WIDE),
  ],
  Service: SERVICE_COLUMNS,
  Endpoints: [NAME_COLUMN, column("Endpoints", endpointsText), AGE_COLUMN],
  Node: NODE_COLUMNS,
  Namespace: [NAME_COLUMN, column("Status", (o) => o.status?.phase ?? ""), AGE_COLUMN],
  PersistentVolume: PV_COLUMNS,
  PersistentVolumeClaim: PVC_COLUMNS,
  Event: EVENT_COLUMNS,
  Secret: [
    NAME_COLUMN,
    column("Type", (o) => o.type ?? ""),
    column("Data", (o) => Object.keys(o.data ?? {}).length),
    AGE_COLUMN,
  ],
  ConfigMap: [
    NAME_COLUMN,
    column(
      "Data",
      (o) => Object.keys(o.data ?? {}).length + Object.keys(o.binaryData ?? {}).length,
    ),
    AGE_COLUMN,
  ],
  ServiceAccount: [
    NAME_COLUMN,
    AGE_COLUMN,
  ],
  ResourceQuota: [
    NAME_COLUMN,
    column("Request", (o) => quotaText(o, false)),
    column("Limit", (o) => quotaText(o, true)),
    AGE_COLUMN,
  ],
  ComponentStatus: [
    NAME_COLUMN,
    column("Status", componentStatus),
    column("Message", (o) => componentCondition(o)?.message ?? ""),
    column("Error", (o) => componentCondition(o)?.error ?? ""),
  ],
};
