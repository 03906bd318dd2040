/**
 * What a cluster has before anybody asks: the four namespaces, the bootstrap policy, the two system priority
 * classes, the `kubernetes` Service with the address of this API server, the service range, what flow control
 * is told by, the APIServices of built-in kinds. Names and values are Kubernetes 1.36's. Run at every start:
 * what is there stays, what an older release lacked is added.
 */
import { Buffer } from "node:buffer";
import type { Client, Target } from "../client/contract.ts";
import { bootstrapRoleWrites } from "../auth/mod.ts";
import { SYSTEM_CLASSES } from "../kinds/mod.ts";
import { sameJson } from "../machinery/json_value.ts";
import { ApiError, type Kinds, type KubeObject } from "../machinery/types.ts";
import type { Database } from "../../kv/contract.ts";
import type { Clock } from "../../kv/clock.ts";
import { keepBuiltInServices } from "./api_services.ts";
import { keepFlowObjects } from "./flow_objects.ts";

/** What the bootstrap needs to know. */
export interface BootstrapOptions {
  /** What is served, for its APIServices; without it there are none. */
  kinds?: Kinds;
  database: Database<KubeObject>;
  clock: Clock;
  /** The administrator's. */
  client: Client;
  /** `10.96.0.0/12`. */
  serviceRange: string;
  /** The `kubernetes` Service's address: the first of the range. */
  apiIP: string;
  /** Where this server answers to pods; without one the Service has no endpoints. */
  advertise?: ServerEndpoint;
  /** The cluster DNS service's address. */
  dnsIP?: string;
}

const core = (plural: string) => ({ group: "", version: "v1", plural });
const SLICES = { group: "discovery.k8s.io", version: "v1", plural: "endpointslices" };
const NAMESPACES = ["default", "kube-system", "kube-public", "kube-node-lease"];
const PROVIDER = { component: "apiserver", provider: "kubernetes" };

/** Brings a cluster's own objects up to date; see the module's text. */
export async function bootstrap(options: BootstrapOptions): Promise<void> {
  const { database, clock, client } = options;
  await database.objects.write((draft) => {
    const context = { now: clock.now(), uuid: () => clock.uuid() };
    for (const { key, object } of bootstrapRoleWrites(draft, context)) draft.put(key, object);
    keepFlowObjects(draft, context);
    if (options.kinds) keepBuiltInServices(draft, options.kinds.all(), context);
  });
  await Promise.all(
    NAMESPACES.map((name) =>
      ensure(client, { resource: core("namespaces") }, { metadata: { name } })
    ),
  );
  await Promise.all([
    ...priorityClasses().map((object) =>
      ensure(client, {
        resource: { group: "scheduling.k8s.io", version: "v1", plural: "priorityclasses" },
      }, object)
    ),
    ensureServiceRange(client, options),
    // Since when it is noted which tokens in Secrets are used: what is older tells nothing.
    ensure(client, { resource: core("configmaps"), namespace: "kube-system" }, {
      metadata: { name: "kube-apiserver-legacy-service-account-token-tracking" },
      data: { since: new Date(clock.now()).toISOString().slice(0, 10) },
    }),
    ensure(client, { resource: core("services"), namespace: "default" }, {
      metadata: { name: "kubernetes", labels: PROVIDER },
      spec: {
        clusterIP: options.apiIP,
        ports: [{
          name: "https",
          port: 443,
          protocol: "TCP",
          targetPort: options.advertise?.port ?? 6443,
        }],
        sessionAffinity: "None",
        type: "ClusterIP",
      },
    }),
    options.dnsIP &&
    ensure(
      client,
      { resource: core("services"), namespace: "kube-system" },
      dnsService(options.dnsIP),
    ),
  ]);
  // Where there are several, each says once it listens where it is
  if (options.advertise && !database.processes) await advertise(client, [options.advertise]);
}

/** The range of Services, and that it is ready. */
async function ensureServiceRange(
  client: Client,
  { serviceRange, clock }: Pick<BootstrapOptions, "serviceRange" | "clock">,
): Promise<void> {
  const resource = { group: "networking.k8s.io", version: "v1", plural: "servicecidrs" };
  const name = "kubernetes";
  const cidrs = serviceRange.split(",");
  await ensure(client, { resource }, { metadata: { name }, spec: { cidrs } });
  const found = await client.get<KubeObject>({ resource, name });
  // A cluster that gets its second family later
  if (cidrs.length > found.spec.cidrs.length && cidrs[0] === found.spec.cidrs[0]) {
    await client.patch({ resource, name }, { type: "merge", body: { spec: { cidrs } } });
  }
  if (found.status?.conditions?.length) return;
  const ready = {
    type: "Ready",
    status: "True",
    reason: "",
    message: "Kubernetes default Service CIDR is ready",
    lastTransitionTime: new Date(clock.now()).toISOString().replace(/\.\d+Z$/, "Z"),
  };
  await client.patch({ resource, name, subresource: "status" }, {
    type: "merge",
    body: { status: { conditions: [ready] } },
  });
}

function priorityClasses(): object[] {
  return [
    {
      metadata: { name: "system-node-critical" },
      value: SYSTEM_CLASSES["system-node-critical"],
      description: "Used for system critical pods that must not be moved from their current node.",
    },
    {
      metadata: { name: "system-cluster-critical" },
      value: SYSTEM_CLASSES["system-cluster-critical"],
      description:
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    },
  ];
}

/** The name that installers give the DNS service, whoever answers behind it. */
function dnsService(dnsIP: string): object {
  return {
    metadata: {
      name: "kube-dns",
      labels: {
        "k8s-app": "kube-dns",
        "kubernetes.io/cluster-service": "true",
        "kubernetes.io/name": "CoreDNS",
      },
    },
    spec: {
      clusterIP: dnsIP,
      ports: [
        { name: "dns", port: 53, protocol: "UDP" },
        { name: "dns-tcp", port: 53, protocol: "TCP" },
      ],
    },
  };
}

/** Where a server answers to pods. */
export interface ServerEndpoint {
  readonly ip: string;
  readonly port: number;
}

/**
 * Makes these the `kubernetes` Service's endpoints; what is so already stays untouched. Servers of different ports have
 * a slice each, as a slice's ports are those of all its endpoints.
 */
export async function advertise(
  client: Client,
  servers: readonly ServerEndpoint[],
): Promise<void> {
  if (servers.length === 0) return;
  const byPort = new Map<number, Set<string>>();
  for (const { ip, port } of servers) byPort.set(port, (byPort.get(port) ?? new Set()).add(ip));
  const groups = [...byPort].sort(([a], [b]) => a - b).map(([port, ips]) => ({
    ips: [...ips].sort(),
    ports: [{ name: "https", port, protocol: "TCP" }],
  }));
  const slices = groups.map(({ ips, ports }, at) => ({
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: at === 0 ? "kubernetes" : `kubernetes-${ports[0].port}`,
      labels: { "kubernetes.io/service-name": "kubernetes" },
    },
    addressType: "IPv4",
    endpoints: ips.map((ip) => ({ addresses: [ip], conditions: { ready: true } })),
    ports,
  }));
  const endpoints = {
    apiVersion: "v1",
    kind: "Endpoints",
    // The label keeps the mirroring controller from making a second slice of it.
    metadata: { name: "kubernetes", labels: { "endpointslice.kubernetes.io/skip-mirror": "true" } },
    subsets: groups.map(({ ips, ports }) => ({ addresses: ips.map((ip) => ({ ip })), ports })),
  };
  const target = { resource: core("endpoints"), namespace: "default", name: "kubernetes" };
  const found = await found404(client.get<KubeObject>(target));
  if (!sameJson(found?.subsets, endpoints.subsets)) await put(client, target, endpoints);
  const all = { resource: SLICES, namespace: "default" };
  const labelSelector = "kubernetes.io/service-name=kubernetes";
  const { items } = await client.list<KubeObject>(all, { labelSelector });
  const names = new Set(slices.map(({ metadata }) => metadata.name));
  for (const slice of slices) {
    const { name } = slice.metadata;
    const before = items.find((one) => one.metadata.name === name);
    const same = before && sameJson(before.ports, slice.ports) &&
      sameJson(before.endpoints, slice.endpoints);
    if (!same) await put(client, { ...all, name }, slice);
  }
  for (const { metadata: { name } } of items) {
    if (!names.has(name)) await found404(client.delete({ ...all, name }));
  }
}

/** Nothing where there is nothing. */
async function found404<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof ApiError && error.code === 404) return undefined;
    throw error;
  }
}

const AUTHENTICATION = {
  resource: core("configmaps"),
  namespace: "kube-system",
  name: "extension-apiserver-authentication",
};

/** Tells servers behind APIServices whom to believe; what is published already stays untouched. */
export async function publishAuthentication(
  client: Client,
  data: Record<string, string>,
): Promise<void> {
  await publish(client, AUTHENTICATION, data);
}

const CLUSTER_INFO = {
  resource: core("configmaps"),
  namespace: "kube-public",
  name: "cluster-info",
};

/** Where a cluster says that it is that does not know where it is: what its pods call it. */
const SERVER_UNKNOWN = "https://kubernetes.default.svc";

/**
 * Tells nodes that want to join where the cluster is and whom to believe; bootstrap tokens sign it. Who does not know where
 * it is reached (a platform tells nobody) leaves that as others have said it.
 */
export async function publishClusterInfo(
  client: Client,
  { server, authorityPem }: { server?: string; authorityPem: string },
): Promise<void> {
  if (server === undefined) {
    const found = await found404(client.get<KubeObject>(CLUSTER_INFO));
    server = /^ {4}server: (\S+)$/m.exec(found?.data?.kubeconfig ?? "")?.[1] ?? SERVER_UNKNOWN;
  }
  const kubeconfig = [
    "apiVersion: v1",
    "clusters:",
    "- cluster:",
    `    certificate-authority-data: ${Buffer.from(authorityPem, "utf8").toString("base64")}`,
    `    server: ${server}`,
    '  name: ""',
    "contexts: null",
    'current-context: ""',
    "kind: Config",
    "preferences: {}",
    "users: null",
    "",
  ].join("\n");
  await publish(client, CLUSTER_INFO, { kubeconfig });
}

/** Keeps a ConfigMap's keys at these values. */
async function publish(
  client: Client,
  target: Target & { name: string },
  data: Record<string, string>,
): Promise<void> {
  const { name, ...collection } = target;
  const found = await found404(client.get(target));
  if (!found) return await ensure(client, collection, { metadata: { name }, data });
  const differs = Object.entries(data).some(([key, value]) => found.data?.[key] !== value);
  if (differs) await client.patch(target, { type: "merge", body: { data } });
}

/** Creates an object unless its name is taken. */
async function ensure(client: Client, target: Target, object: object): Promise<void> {
  const { name } = (object as KubeObject).metadata;
  // Looked for first: a create that is refused has gone through all of admission, webhooks that are not up yet too.
  if (await found404(client.get({ ...target, name }))) return;
  await client.create(target, object).catch((error) => {
    if (!(error instanceof ApiError && error.reason === "AlreadyExists")) throw error;
  });
}

async function put(
  client: Client,
  target: Target & { name: string },
  object: object,
): Promise<void> {
  const { name: _, ...collection } = target;
  try {
    await client.update(target, object);
  } catch (error) {
    if (!(error instanceof ApiError && error.code === 404)) throw error;
    await ensure(client, collection, object);
  }
}
