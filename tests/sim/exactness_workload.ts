/** What the writers of `exactness.ts` ask for: few names, so that they meet, and little room, so that some are refused. */
import type { Client, WriteQuery } from "../../api/client/contract.ts";
import { edit } from "../../api/machinery/edit.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import type { Obj, Truth } from "./truth.ts";

const core = (plural: string) => ({ group: "", version: "v1", plural });
const PODS = core("pods");
const SERVICES = core("services");
const CONFIG_MAPS = core("configmaps");
const SECRETS = core("secrets");
const CLAIMS = core("persistentvolumeclaims");
const QUOTAS = core("resourcequotas");
export const BUDGETS = { group: "policy", version: "v1", plural: "poddisruptionbudgets" };

export const SPACES = ["a", "b"];

/** What a request is drawn with. */
export interface Hand {
  client: Client;
  truth: Truth;
  below(n: number): number;
  now(): number;
}

/** One request. */
export interface Ask {
  verb: string;
  what: string;
  run(): Promise<unknown>;
}

/** Namespaces, accounts, quotas and budgets that the writers work under. */
export async function prepare(client: Client): Promise<void> {
  for (const namespace of SPACES) {
    await client.create({ resource: core("namespaces") }, { metadata: { name: namespace } });
    await client.create({ resource: core("serviceaccounts"), namespace }, {
      metadata: { name: "default" },
    });
    await client.create({ resource: BUDGETS, namespace }, {
      metadata: { name: "budget" },
      spec: { minAvailable: 1, selector: { matchLabels: { app: "guarded" } } },
    });
  }
  await client.create({ resource: QUOTAS, namespace: "a" }, {
    metadata: { name: "all" },
    spec: {
      hard: {
        pods: "14",
        "requests.cpu": "3",
        "limits.memory": "2Gi",
        "count/configmaps": "6",
        configmaps: "7",
        secrets: "5",
        services: "12",
        "services.nodeports": "9",
        "services.loadbalancers": "3",
        persistentvolumeclaims: "4",
        "requests.storage": "10Gi",
        "count/poddisruptionbudgets.policy": "3",
        resourcequotas: "3",
      },
    },
  });
  await client.create({ resource: QUOTAS, namespace: "b" }, {
    metadata: { name: "poor" },
    spec: { hard: { pods: "5" }, scopes: ["BestEffort"] },
  });
  await client.create({ resource: QUOTAS, namespace: "b" }, {
    metadata: { name: "rich" },
    spec: { hard: { pods: "6", "requests.cpu": "2" }, scopes: ["NotBestEffort"] },
  });
  await client.create({ resource: QUOTAS, namespace: "b" }, {
    metadata: { name: "net" },
    spec: { hard: { services: "10", "services.nodeports": "8", "count/services": "9" } },
  });
}

const pick = <T>(hand: Hand, list: readonly T[]): T => list[hand.below(list.length)];
const spaceOf = (hand: Hand) => pick(hand, SPACES);
const dry = (hand: Hand): WriteQuery => hand.below(8) === 0 ? { dryRun: true } : {};

function some(hand: Hand, prefix: string): Obj | undefined {
  const list = [...hand.truth.list(prefix)];
  return list.length ? pick(hand, list) : undefined;
}

function podOf(hand: Hand, namespace: string): Obj {
  const cpu = 50 * (1 + hand.below(8));
  const bare = namespace === "b" && hand.below(2) === 0;
  return {
    metadata: {
      name: `p${hand.below(14)}`,
      labels: { app: hand.below(3) ? "guarded" : "free" },
      ...(hand.below(6) === 0 && { finalizers: ["example.com/held"] }),
    },
    spec: {
      ...(hand.below(3) === 0 && { nodeName: "n1" }),
      containers: [{
        name: "c",
        image: "i",
        ...(!bare && {
          resources: {
            requests: { cpu: `${cpu}m` },
            limits: { memory: `${32 * (1 + hand.below(8))}Mi` },
          },
        }),
      }],
    },
  };
}

function createPod(hand: Hand): Ask {
  const namespace = spaceOf(hand);
  const pod = podOf(hand, namespace);
  if (hand.below(3) === 0) {
    delete pod.metadata.name;
    pod.metadata.generateName = "g-";
  }
  return {
    verb: "create pod",
    what: `create pod ${namespace}/${pod.metadata.name ?? "g-"}`,
    run: () => hand.client.create({ resource: PODS, namespace }, pod, dry(hand)),
  };
}

const READY = [{ type: "Ready", status: "True" }];

function podStatus(hand: Hand): Ask | undefined {
  const pod = some(hand, "/registry/pods/");
  if (!pod) return undefined;
  const { namespace, name } = pod.metadata;
  const phase = pick(hand, ["Running", "Running", "Running", "Succeeded", "Failed"]);
  return {
    verb: "pod status",
    what: `status ${namespace}/${name} ${phase}`,
    run: () =>
      hand.client.patch({ resource: PODS, namespace, name, subresource: "status" }, {
        type: "merge",
        body: { status: { phase, conditions: READY } },
      }, dry(hand)),
  };
}

function removePod(hand: Hand): Ask | undefined {
  const pod = some(hand, "/registry/pods/");
  if (!pod) return undefined;
  const { namespace, name } = pod.metadata;
  const gracePeriodSeconds = pick(hand, [0, 0, 30, undefined]);
  return {
    verb: "delete pod",
    what: `delete pod ${namespace}/${name} ${gracePeriodSeconds}`,
    run: () =>
      hand.client.delete({ resource: PODS, namespace, name }, { gracePeriodSeconds, ...dry(hand) }),
  };
}

function unhold(hand: Hand): Ask | undefined {
  const [resource, prefix] = pick(
    hand,
    [
      [PODS, "/registry/pods/"],
      [PODS, "/registry/pods/"],
      [SERVICES, "/registry/services/specs/"],
    ] as const,
  );
  const held = [...hand.truth.list(prefix)].filter((one) => one.metadata.finalizers?.length);
  if (!held.length) return undefined;
  const { namespace, name } = pick(hand, held).metadata;
  return {
    verb: `unhold ${resource.plural}`,
    what: `unhold ${resource.plural} ${namespace}/${name}`,
    run: () =>
      hand.client.patch({ resource, namespace, name }, {
        type: "merge",
        body: { metadata: { finalizers: null } },
      }, dry(hand)),
  };
}

function evict(hand: Hand): Ask | undefined {
  const pod = some(hand, "/registry/pods/");
  if (!pod) return undefined;
  const { namespace, name } = pod.metadata;
  const body = {
    apiVersion: "policy/v1",
    kind: "Eviction",
    metadata: { name, namespace },
    ...(hand.below(2) === 0 && { deleteOptions: { gracePeriodSeconds: 0 } }),
  };
  return {
    verb: "evict",
    what: `evict ${namespace}/${name}`,
    run: () =>
      hand.client.create(
        { resource: PODS, namespace, name, subresource: "eviction" },
        body,
        dry(hand),
      ),
  };
}

/** The disruption controller's part: a new round with a new allowance. */
function budgetRound(hand: Hand): Ask | undefined {
  const budget = some(hand, "/registry/poddisruptionbudgets/");
  if (!budget) return undefined;
  const { namespace, name, generation } = budget.metadata;
  const disruptionsAllowed = hand.below(4);
  const reason = `Round${hand.now()}x${hand.below(1_000_000)}x${disruptionsAllowed}`;
  return {
    verb: "budget round",
    what: `budget ${namespace}/${name} allows ${disruptionsAllowed}`,
    run: async () => {
      const target = { resource: BUDGETS, namespace, name };
      const live: Obj = edit(await hand.client.get<KubeObject>(target));
      live.status = {
        observedGeneration: generation,
        disruptionsAllowed,
        currentHealthy: 5,
        desiredHealthy: 1,
        expectedPods: 5,
        conditions: [{
          type: "DisruptionAllowed",
          status: "True",
          reason,
          message: "",
          lastTransitionTime: "2026-01-01T00:00:00Z",
          observedGeneration: generation,
        }],
      };
      return await hand.client.update({ ...target, subresource: "status" }, live, dry(hand));
    },
  };
}

const TYPES = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName", "Headless"];

/** A Service's spec of some type; small numbers are asked for by several. */
function shape(hand: Hand, spec: Obj): void {
  const type = pick(hand, TYPES);
  spec.type = type === "Headless" ? "ClusterIP" : type;
  const count = 1 + hand.below(3);
  spec.ports = Array.from({ length: count }, (_, i) => ({
    name: `p${i}`,
    port: 80 + i,
    ...(hand.below(3) === 0 && (type === "NodePort" || type === "LoadBalancer") &&
      { nodePort: 30_000 + hand.below(8) }),
  }));
  for (
    const field of [
      "externalName",
      "externalTrafficPolicy",
      "healthCheckNodePort",
      "allocateLoadBalancerNodePorts",
      "internalTrafficPolicy",
    ]
  ) delete spec[field];
  if (type === "ExternalName") {
    spec.externalName = "example.com";
    for (const field of ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]) {
      delete spec[field];
    }
    return;
  }
  if (type === "Headless") spec.clusterIP = "None";
  else if (hand.below(3) === 0) spec.clusterIP = `10.96.0.${1 + hand.below(20)}`;
  if (type === "LoadBalancer") {
    if (hand.below(2) === 0) spec.externalTrafficPolicy = "Local";
    if (hand.below(3) === 0) spec.allocateLoadBalancerNodePorts = false;
  }
}

function createService(hand: Hand): Ask {
  const namespace = spaceOf(hand);
  const spec: Obj = { selector: { a: "b" } };
  shape(hand, spec);
  const metadata = {
    ...(hand.below(3) ? { name: `s${hand.below(12)}` } : { generateName: "s-" }),
    ...(hand.below(6) === 0 && { finalizers: ["example.com/held"] }),
  };
  return {
    verb: "create service",
    what: `create service ${namespace} ${JSON.stringify({ ...metadata, spec })}`,
    run: () => hand.client.create({ resource: SERVICES, namespace }, { metadata, spec }, dry(hand)),
  };
}

function updateService(hand: Hand): Ask | undefined {
  const found = some(hand, "/registry/services/specs/");
  if (!found) return undefined;
  const { namespace, name } = found.metadata;
  const target = { resource: SERVICES, namespace, name };
  return {
    verb: "update service",
    what: `update service ${namespace}/${name}`,
    run: async () => {
      const live: Obj = edit(await hand.client.get<KubeObject>(target));
      const { clusterIP, clusterIPs, type } = live.spec;
      shape(hand, live.spec);
      // An address may only change where the type does.
      if (type !== "ExternalName" && live.spec.type !== "ExternalName" && hand.below(6)) {
        live.spec.clusterIP = clusterIP;
        live.spec.clusterIPs = clusterIPs;
      }
      if (hand.below(2) === 0) delete live.metadata.resourceVersion;
      return await hand.client.update(target, live, dry(hand));
    },
  };
}

function removeAny(hand: Hand): Ask | undefined {
  const [resource, prefix] = pick(
    hand,
    [
      [SERVICES, "/registry/services/specs/"],
      [SERVICES, "/registry/services/specs/"],
      [CONFIG_MAPS, "/registry/configmaps/"],
      [CLAIMS, "/registry/persistentvolumeclaims/"],
    ] as const,
  );
  const found = some(hand, prefix);
  if (!found) return undefined;
  const { namespace, name } = found.metadata;
  return {
    verb: `delete ${resource.plural}`,
    what: `delete ${resource.plural} ${namespace}/${name}`,
    run: () => hand.client.delete({ resource, namespace, name }, dry(hand)),
  };
}

function removeMany(hand: Hand): Ask {
  const namespace = spaceOf(hand);
  const resource = pick(hand, [PODS, CONFIG_MAPS, SECRETS, SERVICES]);
  const gracePeriodSeconds = resource === PODS ? 0 : undefined;
  return {
    verb: "deletecollection",
    what: `deletecollection ${resource.plural} ${namespace}`,
    run: () =>
      hand.client.deleteCollection({ resource, namespace }, { gracePeriodSeconds, ...dry(hand) }),
  };
}

function createSmall(hand: Hand): Ask {
  const namespace = spaceOf(hand);
  const name = `x${hand.below(9)}`;
  const [resource, body] = pick(
    hand,
    [
      [CONFIG_MAPS, { data: { a: "1" } }],
      [SECRETS, { stringData: { a: "1" } }],
      [CLAIMS, {
        spec: {
          accessModes: ["ReadWriteOnce"],
          storageClassName: "none",
          resources: { requests: { storage: `${1 + hand.below(4)}Gi` } },
        },
      }],
    ] as const,
  );
  return {
    verb: `create ${resource.plural}`,
    what: `create ${resource.plural} ${namespace}/${name}`,
    run: () =>
      hand.client.create({ resource, namespace }, { metadata: { name }, ...body }, dry(hand)),
  };
}

function changeQuota(hand: Hand): Ask | undefined {
  const quota = some(hand, "/registry/resourcequotas/");
  if (!quota) return undefined;
  const { namespace, name } = quota.metadata;
  const pods = String(3 + hand.below(14));
  const services = String(3 + hand.below(12));
  const hard: Record<string, string> = "pods" in quota.spec.hard ? { pods } : { services };
  const apply = hand.below(3) === 0;
  return {
    verb: "change quota",
    what: `quota ${namespace}/${name} ${JSON.stringify(hard)}`,
    run: () =>
      hand.client.patch(
        { resource: QUOTAS, namespace, name },
        apply
          ? {
            type: "apply",
            force: true,
            body: {
              apiVersion: "v1",
              kind: "ResourceQuota",
              metadata: { name },
              spec: { hard },
            },
          }
          : { type: "merge", body: { spec: { hard } } },
        dry(hand),
      ),
  };
}

const TABLE: readonly [number, (hand: Hand) => Ask | undefined][] = [
  [16, createPod],
  [12, podStatus],
  [8, removePod],
  [6, unhold],
  [12, evict],
  [7, budgetRound],
  [14, createService],
  [14, updateService],
  [9, removeAny],
  [1, removeMany],
  [14, createSmall],
  [3, changeQuota],
];
const TOTAL = TABLE.reduce((sum, [weight]) => sum + weight, 0);

/** Draws a request. */
export function draw(hand: Hand): Ask {
  for (;;) {
    let at = hand.below(TOTAL);
    for (const [weight, make] of TABLE) {
      if ((at -= weight) >= 0) continue;
      const ask = make(hand);
      if (ask) return ask;
      break;
    }
  }
}
