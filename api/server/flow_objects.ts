/**
 * The FlowSchemas and priority levels that every cluster has: the mandatory ones and those upstream suggests,
 * Kubernetes 1.36's. What is there already stays as it is, so that an administrator's changes last.
 */
import { created } from "../auth/bootstrap_roles.ts";
import type { Draft, View } from "../../kv/contract.ts";
import { formatTime } from "../machinery/time.ts";
import type { KubeObject } from "../machinery/types.ts";

const API = "flowcontrol.apiserver.k8s.io/v1";
/** Where FlowSchemas lie. */
export const SCHEMAS = "/registry/flowschemas/";
/** Where priority levels lie. */
export const LEVELS = "/registry/prioritylevelconfigurations/";

/** Limited levels: shares, percentage others may borrow, and the queues (count, hand), or none to reject. */
const LIMITED: readonly [string, number, number, [number, number]?][] = [
  ["catch-all", 5, 0],
  ["system", 30, 33, [64, 6]],
  ["node-high", 40, 25, [64, 6]],
  ["leader-election", 10, 0, [16, 4]],
  ["workload-high", 40, 50, [128, 6]],
  ["workload-low", 100, 90, [128, 6]],
  ["global-default", 20, 50, [128, 6]],
];
/** Levels of the cluster's own parts, for which everybody waits. */
export const OWN_LEVELS: ReadonlySet<string> = new Set([
  "system",
  "node-high",
  "leader-election",
  "workload-high",
]);
const QUEUE_LENGTH = 50;

interface FlowRow {
  name: string;
  level: string;
  precedence: number;
  by?: "ByUser" | "ByNamespace";
  /** `group x`, `user x`, `account namespace/name`. */
  subjects: string[];
  /** Default: everything, of resources and of other paths. */
  rules?: object;
}

const ANYBODY = ["group system:unauthenticated", "group system:authenticated"];
const KUBE_SYSTEM = "account kube-system/*";
const LEASES = {
  apiGroups: ["coordination.k8s.io"],
  resources: ["leases"],
  namespaces: ["*"],
};
const EVERYTHING = {
  resourceRules: [{
    verbs: ["*"],
    apiGroups: ["*"],
    resources: ["*"],
    clusterScope: true,
    namespaces: ["*"],
  }],
  nonResourceRules: [{ verbs: ["*"], nonResourceURLs: ["*"] }],
};

const FLOWS: readonly FlowRow[] = [
  { name: "exempt", level: "exempt", precedence: 1, subjects: ["group system:masters"] },
  {
    name: "probes",
    level: "exempt",
    precedence: 2,
    subjects: ANYBODY,
    rules: {
      nonResourceRules: [{ verbs: ["get"], nonResourceURLs: ["/healthz", "/readyz", "/livez"] }],
    },
  },
  {
    name: "system-leader-election",
    level: "leader-election",
    precedence: 100,
    by: "ByUser",
    subjects: ["user system:kube-controller-manager", "user system:kube-scheduler", KUBE_SYSTEM],
    rules: { resourceRules: [{ verbs: ["get", "create", "update"], ...LEASES }] },
  },
  {
    name: "system-node-high",
    level: "node-high",
    precedence: 400,
    by: "ByUser",
    subjects: ["group system:nodes"],
    rules: {
      resourceRules: [{
        verbs: ["*"],
        apiGroups: [""],
        resources: ["nodes", "nodes/status"],
        clusterScope: true,
        namespaces: ["*"],
      }, { verbs: ["*"], ...LEASES }],
    },
  },
  {
    name: "system-nodes",
    level: "system",
    precedence: 500,
    by: "ByUser",
    subjects: ["group system:nodes"],
  },
  {
    name: "kube-controller-manager",
    level: "workload-high",
    precedence: 800,
    by: "ByNamespace",
    subjects: ["user system:kube-controller-manager"],
  },
  {
    name: "kube-scheduler",
    level: "workload-high",
    precedence: 800,
    by: "ByNamespace",
    subjects: ["user system:kube-scheduler"],
  },
  {
    name: "kube-system-service-accounts",
    level: "workload-high",
    precedence: 900,
    by: "ByNamespace",
    subjects: [KUBE_SYSTEM],
  },
  {
    name: "service-accounts",
    level: "workload-low",
    precedence: 9000,
    by: "ByUser",
    subjects: ["group system:serviceaccounts"],
  },
  {
    name: "global-default",
    level: "global-default",
    precedence: 9900,
    by: "ByUser",
    subjects: ANYBODY,
  },
  {
    name: "catch-all",
    level: "catch-all",
    precedence: 10_000,
    by: "ByUser",
    subjects: ANYBODY,
  },
];

function subject(text: string): object {
  const [what, name] = text.split(" ");
  if (what === "user") return { kind: "User", user: { name } };
  if (what === "group") return { kind: "Group", group: { name } };
  const [namespace, account] = name.split("/");
  return { kind: "ServiceAccount", serviceAccount: { namespace, name: account } };
}

function base(kind: string, name: string) {
  const annotations = { "apf.kubernetes.io/autoupdate-spec": "true" };
  return { apiVersion: API, kind, metadata: { name, annotations, generation: 1 } };
}

function flowSchema(row: FlowRow, now: number): KubeObject {
  const condition = {
    type: "Dangling",
    status: "False",
    lastTransitionTime: formatTime(now),
    reason: "Found",
    message: `This FlowSchema references the PriorityLevelConfiguration object named ` +
      `"${row.level}" and it exists`,
  };
  return {
    ...base("FlowSchema", row.name),
    spec: {
      priorityLevelConfiguration: { name: row.level },
      matchingPrecedence: row.precedence,
      ...(row.by && { distinguisherMethod: { type: row.by } }),
      rules: [{ subjects: row.subjects.map(subject), ...(row.rules ?? EVERYTHING) }],
    },
    status: { conditions: [condition] },
  } as unknown as KubeObject;
}

function* priorityLevels(): Generator<KubeObject> {
  yield {
    ...base("PriorityLevelConfiguration", "exempt"),
    spec: { type: "Exempt", exempt: { nominalConcurrencyShares: 0, lendablePercent: 0 } },
    status: {},
  } as unknown as KubeObject;
  for (const [name, nominalConcurrencyShares, lendablePercent, queues] of LIMITED) {
    const limitResponse = queues
      ? {
        type: "Queue",
        queuing: { queues: queues[0], handSize: queues[1], queueLengthLimit: QUEUE_LENGTH },
      }
      : { type: "Reject" };
    yield {
      ...base("PriorityLevelConfiguration", name),
      spec: {
        type: "Limited",
        limited: { nominalConcurrencyShares, limitResponse, lendablePercent },
      },
      status: {},
    } as unknown as KubeObject;
  }
}

/** Whether some of them are not there. */
export function flowObjectsMissing(view: View<KubeObject>): boolean {
  return LIMITED.some(([name]) => !view.get(LEVELS + name)) || !view.get(`${LEVELS}exempt`) ||
    FLOWS.some(({ name }) => !view.get(SCHEMAS + name));
}

/** Adds those that are not there. */
export function keepFlowObjects(
  draft: Draft<KubeObject>,
  context: { now: number; uuid(): string },
): void {
  for (const object of priorityLevels()) {
    const key = LEVELS + object.metadata.name;
    if (!draft.get(key)) draft.put(key, created(object, context));
  }
  for (const row of FLOWS) {
    const key = SCHEMAS + row.name;
    if (!draft.get(key)) draft.put(key, created(flowSchema(row, context.now), context));
  }
}
