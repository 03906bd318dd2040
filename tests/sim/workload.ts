/**
 * What people do to a cluster: a random sequence of requests over a few names, so that they meet. Each is
 * one function that asks a client; what it is refused is part of the game.
 */
import type { Client } from "../../api/client/contract.ts";
import {
  DAEMON_SETS,
  DEPLOYMENTS,
  JOBS,
  NAMESPACES,
  NODES,
  PODS,
  REPLICA_SETS,
  SERVICES,
  STATEFUL_SETS,
} from "../../actors/runtime/mod.ts";
import type { KubeObject, ResourceId } from "../../api/machinery/types.ts";
import type { Answer } from "./checkers/mod.ts";
import { type Obj, type Truth } from "./truth.ts";

const PDBS: ResourceId = { group: "policy", version: "v1", plural: "poddisruptionbudgets" };
const CONFIG_MAPS: ResourceId = { group: "", version: "v1", plural: "configmaps" };
/** Namespaces that work happens in; the last ones come and go. */
const SPACES = ["default", "blue", "green"];
const APPS = ["web", "db", "api"];
const POLICIES = ["Background", "Foreground", "Orphan"] as const;

/** What a step needs. */
export interface Hand {
  client: Client;
  truth: Truth;
  random(): number;
}

/** One request: what it is, and how to make it. */
export interface Ask {
  verb: Answer["verb"];
  what: string;
  run(client: Client): Promise<Obj>;
}

type Make = (hand: Hand) => Ask | undefined;

/** Requests and how often each is made. */
const TABLE: readonly [number, Make][] = [
  [12, createDeployment],
  [4, (hand) => createSet(hand, "ReplicaSet", REPLICA_SETS)],
  [8, (hand) => createSet(hand, "StatefulSet", STATEFUL_SETS)],
  [1, createDaemonSet],
  [6, createJob],
  [5, createService],
  [4, createBudget],
  [4, createDependent],
  [14, scale],
  [12, changeTemplate],
  [5, updateByReplace],
  [10, remove],
  [7, removePod],
  [10, evict],
  [4, cordon],
  [2, removeNode],
  [2, removeNamespace],
  [5, createNamespace],
];
const WEIGHT = TABLE.reduce((sum, [weight]) => sum + weight, 0);

/** Draws the next request; undefined when it has nothing to be about. */
export function nextAsk(hand: Hand): Ask | undefined {
  let at = hand.random() * WEIGHT;
  for (const [weight, make] of TABLE) {
    at -= weight;
    if (at < 0) return make(hand);
  }
  return undefined;
}

function below(hand: Hand, n: number): number {
  return Math.floor(hand.random() * n);
}

function pick<T>(hand: Hand, list: readonly T[]): T {
  return list[below(hand, list.length)];
}

function any(hand: Hand, prefixes: readonly string[]): Obj | undefined {
  const found: Obj[] = [];
  for (const prefix of prefixes) {
    for (const object of hand.truth.list(prefix)) {
      if (SPACES.includes(object.metadata.namespace)) found.push(object);
    }
  }
  return found.length === 0 ? undefined : pick(hand, found);
}

const resources: Record<string, ResourceId> = {
  Deployment: DEPLOYMENTS,
  ReplicaSet: REPLICA_SETS,
  StatefulSet: STATEFUL_SETS,
  DaemonSet: DAEMON_SETS,
  Job: JOBS,
  Service: SERVICES,
  PodDisruptionBudget: PDBS,
  ConfigMap: CONFIG_MAPS,
};
const WORKLOADS = ["/registry/deployments/", "/registry/statefulsets/", "/registry/replicasets/"];

function createOf(resource: ResourceId, namespace: string, object: Obj): Ask {
  return {
    verb: "create",
    what: `${resource.plural} ${namespace}/${object.metadata.name}`,
    run: (client) => client.create<KubeObject>({ resource, namespace }, object) as Promise<Obj>,
  };
}

function template(app: string, version: number, command?: string[]): Obj {
  return {
    metadata: { labels: { app }, annotations: { version: `${version}` } },
    spec: {
      terminationGracePeriodSeconds: 5,
      containers: [{ name: "c", image: "app", command }],
      ...(command && { restartPolicy: "Never" }),
    },
  };
}

function createDeployment(hand: Hand): Ask {
  const app = pick(hand, APPS);
  const strategies = [
    undefined,
    { type: "Recreate" },
    { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    { type: "RollingUpdate", rollingUpdate: { maxSurge: 0, maxUnavailable: 1 } },
  ];
  return createOf(DEPLOYMENTS, pick(hand, SPACES), {
    metadata: { name: app },
    spec: {
      replicas: below(hand, 5),
      revisionHistoryLimit: 2,
      selector: { matchLabels: { app } },
      strategy: pick(hand, strategies),
      template: template(app, below(hand, 3)),
    },
  });
}

function createSet(hand: Hand, kind: string, resource: ResourceId): Ask {
  const app = `${pick(hand, APPS)}-${kind === "ReplicaSet" ? "set" : "state"}`;
  const parallel = kind === "StatefulSet" && hand.random() < 0.4;
  return createOf(resource, pick(hand, SPACES), {
    metadata: { name: app },
    spec: {
      replicas: below(hand, 4),
      selector: { matchLabels: { app } },
      template: template(app, below(hand, 3)),
      ...(kind === "StatefulSet" && { serviceName: app }),
      ...(parallel && { podManagementPolicy: "Parallel" }),
    },
  });
}

function createDaemonSet(hand: Hand): Ask {
  const app = "agent";
  return createOf(DAEMON_SETS, "default", {
    metadata: { name: app },
    spec: { selector: { matchLabels: { app } }, template: template(app, below(hand, 3)) },
  });
}

function createJob(hand: Hand): Ask {
  const name = `job-${below(hand, 4)}`;
  const command = pick(hand, [["true"], ["sleep", "3"], ["sleep", "20"], ["false"]]);
  return createOf(JOBS, pick(hand, SPACES), {
    metadata: { name },
    spec: {
      completions: 1 + below(hand, 3),
      parallelism: 1 + below(hand, 2),
      backoffLimit: 1,
      ...(hand.random() < 0.3 && { completionMode: "Indexed" }),
      ...(hand.random() < 0.3 && { ttlSecondsAfterFinished: 10 }),
      template: template(name, 0, command),
    },
  });
}

function createService(hand: Hand): Ask {
  const app = pick(hand, APPS);
  return createOf(SERVICES, pick(hand, SPACES), {
    metadata: { name: app },
    spec: { selector: { app }, ports: [{ port: 80 }] },
  });
}

function createBudget(hand: Hand): Ask {
  const app = pick(hand, APPS);
  return createOf(PDBS, pick(hand, SPACES), {
    metadata: { name: app },
    spec: { maxUnavailable: 1, selector: { matchLabels: { app } } },
  });
}

/** A ConfigMap that belongs to a workload: the garbage collector's. */
function createDependent(hand: Hand): Ask | undefined {
  const owner = any(hand, WORKLOADS);
  if (!owner) return undefined;
  const { name, uid, namespace } = owner.metadata;
  return createOf(CONFIG_MAPS, namespace, {
    metadata: {
      name: `of-${name}-${below(hand, 100)}`,
      ownerReferences: [{ apiVersion: owner.apiVersion, kind: owner.kind, name, uid }],
    },
  });
}

function targetOf({ kind, metadata: { namespace, name } }: Obj) {
  return { resource: resources[kind], namespace, name };
}

function scale(hand: Hand): Ask | undefined {
  const object = any(hand, WORKLOADS);
  if (!object || object.metadata.ownerReferences) return undefined;
  const target = { ...targetOf(object), subresource: "scale" };
  const replicas = below(hand, 6);
  return {
    verb: "patch",
    what: `${target.resource.plural}/scale ${target.namespace}/${target.name} to ${replicas}`,
    run: (client) =>
      client.patch(target, { type: "merge", body: { spec: { replicas } } }) as Promise<Obj>,
  };
}

function changeTemplate(hand: Hand): Ask | undefined {
  const object = any(hand, ["/registry/deployments/", "/registry/statefulsets/"]);
  if (!object) return undefined;
  const target = targetOf(object);
  const annotations = { version: `${below(hand, 4)}` };
  const body = { spec: { template: { metadata: { annotations } } } };
  return {
    verb: "patch",
    what: `${target.resource.plural} ${target.namespace}/${target.name} to ${annotations.version}`,
    run: (client) => client.patch(target, { type: "strategic", body }) as Promise<Obj>,
  };
}

/** Read, change, write back: refused when it was changed meanwhile. */
function updateByReplace(hand: Hand): Ask | undefined {
  const object = any(hand, WORKLOADS);
  if (!object) return undefined;
  const target = targetOf(object);
  const label = `${below(hand, 100)}`;
  return {
    verb: "update",
    what: `${target.resource.plural} ${target.namespace}/${target.name} label ${label}`,
    run: async (client) => {
      const { metadata, ...rest } = await client.get<Obj>(target) as Obj;
      const labels = { ...metadata.labels, label };
      const object = { ...rest, metadata: { ...metadata, labels } };
      return await client.update(target, object) as Obj;
    },
  };
}

function remove(hand: Hand): Ask | undefined {
  const object = any(hand, [
    ...WORKLOADS,
    "/registry/jobs/",
    "/registry/daemonsets/",
    "/registry/services/specs/",
    "/registry/poddisruptionbudgets/",
  ]);
  if (!object || object.metadata.name === "kubernetes") return undefined;
  const target = targetOf(object);
  const propagationPolicy = pick(hand, POLICIES);
  return {
    verb: "delete",
    what: `${target.resource.plural} ${target.namespace}/${target.name} ${propagationPolicy}`,
    run: (client) => client.delete(target, { propagationPolicy }) as Promise<Obj>,
  };
}

function removePod(hand: Hand): Ask | undefined {
  const pod = any(hand, ["/registry/pods/"]);
  if (!pod) return undefined;
  const { namespace, name } = pod.metadata;
  const gracePeriodSeconds = pick(hand, [0, undefined, 20]);
  return {
    verb: "delete",
    what: `pods ${namespace}/${name} within ${gracePeriodSeconds}`,
    run: (client) =>
      client.delete({ resource: PODS, namespace, name }, { gracePeriodSeconds }) as Promise<Obj>,
  };
}

function evict(hand: Hand): Ask | undefined {
  const pod = any(hand, ["/registry/pods/"]);
  if (!pod) return undefined;
  const { namespace, name } = pod.metadata;
  const target = { resource: PODS, namespace, name, subresource: "eviction" };
  const body = { apiVersion: "policy/v1", kind: "Eviction", metadata: { name, namespace } };
  return {
    verb: "evict",
    what: `pods ${namespace}/${name}`,
    run: (client) => client.create(target, body) as Promise<Obj>,
  };
}

function cordon(hand: Hand): Ask | undefined {
  const nodes = [...hand.truth.list("/registry/minions/")];
  if (nodes.length === 0) return undefined;
  return cordonOf(pick(hand, nodes).metadata.name, hand.random() < 0.5);
}

/** Makes a node take no new pods, or take them again. */
export function cordonOf(name: string, unschedulable: boolean): Ask {
  return {
    verb: "patch",
    what: `nodes ${name} ${unschedulable ? "cordoned" : "uncordoned"}`,
    run: (client) =>
      client.patch({ resource: NODES, name }, {
        type: "merge",
        body: { spec: { unschedulable: unschedulable || null } },
      }) as Promise<Obj>,
  };
}

function removeNode(hand: Hand): Ask | undefined {
  const nodes = [...hand.truth.list("/registry/minions/")];
  if (nodes.length === 0) return undefined;
  const { name } = pick(hand, nodes).metadata;
  return {
    verb: "delete",
    what: `nodes ${name}`,
    run: (client) => client.delete({ resource: NODES, name }) as Promise<Obj>,
  };
}

function removeNamespace(hand: Hand): Ask {
  const name = pick(hand, SPACES.slice(1));
  return {
    verb: "delete",
    what: `namespaces ${name}`,
    run: (client) => client.delete({ resource: NAMESPACES, name }) as Promise<Obj>,
  };
}

function createNamespace(hand: Hand): Ask {
  const name = pick(hand, SPACES.slice(1));
  return {
    verb: "create",
    what: `namespaces ${name}`,
    run: (client) =>
      client.create<KubeObject>({ resource: NAMESPACES }, { metadata: { name } }) as Promise<Obj>,
  };
}
