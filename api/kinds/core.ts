/** The core group's kinds. */
import * as rules from "./rules/core.ts";
import type { Group } from "./rows.ts";

const all = ["all"];

/** `v1`. */
export const core: Group = {
  group: "",
  version: "v1",
  prefix: "io.k8s.api.core.v1",
  rules,
  rows: [
    { kind: "Binding", plural: "bindings", verbs: ["create"], virtual: true },
    {
      kind: "ComponentStatus",
      deprecated: "v1.19+",
      plural: "componentstatuses",
      short: ["cs"],
      cluster: true,
      verbs: ["get", "list"],
      virtual: true,
    },
    { kind: "ConfigMap", plural: "configmaps", short: ["cm"] },
    {
      kind: "Endpoints",
      plural: "endpoints",
      short: ["ep"],
      path: "services/endpoints",
      deprecated: "v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    },
    { kind: "Event", plural: "events", short: ["ev"], store: "events" },
    { kind: "LimitRange", plural: "limitranges", short: ["limits"] },
    {
      kind: "Namespace",
      plural: "namespaces",
      short: ["ns"],
      cluster: true,
      verbs: ["create", "delete", "get", "list", "patch", "update", "watch"],
      sub: "finalize status",
    },
    {
      kind: "Node",
      plural: "nodes",
      short: ["no"],
      cluster: true,
      sub: "node/proxy status",
      path: "minions",
    },
    {
      kind: "PersistentVolumeClaim",
      plural: "persistentvolumeclaims",
      short: ["pvc"],
      sub: "status",
    },
    {
      kind: "PersistentVolume",
      plural: "persistentvolumes",
      short: ["pv"],
      cluster: true,
      sub: "status",
    },
    {
      kind: "Pod",
      plural: "pods",
      short: ["po"],
      categories: all,
      generation: true,
      sub:
        "attach binding ephemeralcontainers eviction exec log portforward pod/proxy resize status",
    },
    { kind: "PodTemplate", plural: "podtemplates", generation: true },
    {
      kind: "ReplicationController",
      plural: "replicationcontrollers",
      short: ["rc"],
      categories: all,
      generation: true,
      sub: "scale status",
      path: "controllers",
    },
    { kind: "ResourceQuota", plural: "resourcequotas", short: ["quota"], sub: "status" },
    { kind: "Secret", plural: "secrets" },
    { kind: "ServiceAccount", plural: "serviceaccounts", short: ["sa"], sub: "token" },
    {
      kind: "Service",
      plural: "services",
      short: ["svc"],
      categories: all,
      sub: "service/proxy status",
      path: "services/specs",
    },
  ],
};
