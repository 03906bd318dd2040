/** The kinds of networking, discovery, coordination, node, scheduling, events, flow control and metrics. */
import { EVENT_STORAGE } from "./convert_events.ts";
import { renamed } from "./convert_versions.ts";
import type { Group, Rules } from "./rows.ts";
import * as coordinationRules from "./rules/coordination.ts";
import * as discoveryRules from "./rules/discovery.ts";
import * as eventsRules from "./rules/events.ts";
import * as flowcontrolRules from "./rules/flowcontrol.ts";
import * as networkingRules from "./rules/networking.ts";
import * as nodeRules from "./rules/node.ts";
import * as schedulingRules from "./rules/scheduling.ts";

const noRules: Rules = { hooks: {}, columns: {}, fields: {} };

/** `coordination.k8s.io/v1`. */
export const coordination: Group = {
  group: "coordination.k8s.io",
  version: "v1",
  prefix: "io.k8s.api.coordination.v1",
  rules: coordinationRules,
  rows: [{ kind: "Lease", plural: "leases" }],
};

/** `coordination.k8s.io/v1beta1`. */
export const coordinationBeta: Group = {
  group: "coordination.k8s.io",
  version: "v1beta1",
  prefix: "io.k8s.api.coordination.v1beta1",
  level: "beta",
  deprecated: "v1.36+, unavailable in v1.39+",
  rules: coordinationRules,
  rows: [{ kind: "LeaseCandidate", plural: "leasecandidates" }],
};

/** `discovery.k8s.io/v1`. */
export const discovery: Group = {
  group: "discovery.k8s.io",
  version: "v1",
  prefix: "io.k8s.api.discovery.v1",
  rules: discoveryRules,
  rows: [{ kind: "EndpointSlice", plural: "endpointslices", generation: true }],
};

/** `events.k8s.io/v1`: stored as core events. */
export const events: Group = {
  group: "events.k8s.io",
  version: "v1",
  prefix: "io.k8s.api.events.v1",
  rules: eventsRules,
  rows: [{
    kind: "Event",
    plural: "events",
    short: ["ev"],
    store: "events",
    storage: EVENT_STORAGE,
  }],
};

/** `flowcontrol.apiserver.k8s.io/v1`. */
export const flowcontrol: Group = {
  group: "flowcontrol.apiserver.k8s.io",
  version: "v1",
  prefix: "io.k8s.api.flowcontrol.v1",
  rules: flowcontrolRules,
  rows: [
    { kind: "FlowSchema", plural: "flowschemas", cluster: true, generation: true, sub: "status" },
    {
      kind: "PriorityLevelConfiguration",
      plural: "prioritylevelconfigurations",
      cluster: true,
      generation: true,
      sub: "status",
    },
  ],
};

/** `networking.k8s.io/v1`. */
export const networking: Group = {
  group: "networking.k8s.io",
  version: "v1",
  prefix: "io.k8s.api.networking.v1",
  rules: networkingRules,
  rows: [
    { kind: "IngressClass", plural: "ingressclasses", cluster: true, generation: true },
    {
      kind: "Ingress",
      plural: "ingresses",
      short: ["ing"],
      generation: true,
      sub: "status",
      path: "ingress",
    },
    { kind: "IPAddress", plural: "ipaddresses", short: ["ip"], cluster: true },
    { kind: "NetworkPolicy", plural: "networkpolicies", short: ["netpol"], generation: true },
    { kind: "ServiceCIDR", plural: "servicecidrs", cluster: true, sub: "status" },
  ],
};

/** `networking.k8s.io/v1beta1`. */
export const networkingBeta: Group = {
  group: "networking.k8s.io",
  version: "v1beta1",
  prefix: "io.k8s.api.networking.v1beta1",
  level: "beta",
  deprecated: "v1.34+, unavailable in v1.37+",
  rules: networkingRules,
  rows: [
    {
      kind: "IPAddress",
      plural: "ipaddresses",
      short: ["ip"],
      cluster: true,
      storage: renamed("networking.k8s.io", "v1beta1", "v1"),
    },
    {
      kind: "ServiceCIDR",
      plural: "servicecidrs",
      cluster: true,
      sub: "status",
      storage: renamed("networking.k8s.io", "v1beta1", "v1"),
    },
  ],
};

/** `node.k8s.io/v1`. */
export const node: Group = {
  group: "node.k8s.io",
  version: "v1",
  prefix: "io.k8s.api.node.v1",
  rules: nodeRules,
  rows: [{ kind: "RuntimeClass", plural: "runtimeclasses", cluster: true }],
};

/** `scheduling.k8s.io/v1`. */
export const scheduling: Group = {
  group: "scheduling.k8s.io",
  version: "v1",
  prefix: "io.k8s.api.scheduling.v1",
  rules: schedulingRules,
  rows: [{
    kind: "PriorityClass",
    plural: "priorityclasses",
    short: ["pc"],
    cluster: true,
  }],
};

/** `metrics.k8s.io/v1beta1`: answered from the nodes, not stored. */
export const metrics: Group = {
  group: "metrics.k8s.io",
  version: "v1beta1",
  prefix: "io.k8s.metrics.pkg.apis.metrics.v1beta1",
  rules: noRules,
  rows: [
    { kind: "NodeMetrics", plural: "nodes", cluster: true, verbs: ["get", "list"], virtual: true },
    { kind: "PodMetrics", plural: "pods", verbs: ["get", "list"], virtual: true },
  ],
};
