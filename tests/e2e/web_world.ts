/**
 * A Deployment of three behind a Service on a containerd node, with clients that ask it all the time: a cluster as a
 * process of its own, a containerd of its own, and what tests do to both.
 */
import { assert } from "@std/assert";
import type { Client } from "../../api/client/contract.ts";
import { httpClient } from "../../api/client/http.ts";
import { ApiError, type KubeObject } from "../../api/machinery/types.ts";
import {
  ENDPOINT_SLICES,
  NAMESPACES,
  NODES,
  type Pod,
  PODS,
  SERVICES,
} from "../../actors/nodes/types.ts";
import { Containerd, IMAGES, LIVES } from "./containerd.ts";
import { type Held, held } from "./held.ts";
import { isReady } from "./node_calls.ts";
import { freePort, Server } from "./server.ts";
import { type Failure, Traffic } from "./traffic.ts";
import { waiting } from "./until.ts";

const REPLICAS = 3;
const ECHO = 81;
const CLIENT = "client";
/** Who make services at once. */
const WRITERS = 8;
const DEPLOYMENTS = { group: "apps", version: "v1", plural: "deployments" };
const NODE = "plesio-0";
const namespace = "default";

/** Answers with its name; when it is told to end it serves on until nobody is led to it any more. */
const SERVE = `
hostname > /www/index.html
(echo 'hostname; exec cat') > /tmp/echo; chmod +x /tmp/echo
nc -ll -p ${ECHO} -e sh /tmp/echo & echo=$!
httpd -f -p 80 -h /www & web=$!
trap 'sleep 1; kill $web $echo; sleep 0.2; exit 0' TERM
while :; do wait; done`;

/** An object as a client writes it. */
const as = (object: object) => object as KubeObject;

function deployment(): object {
  const container = {
    name: "c",
    image: IMAGES.web,
    command: ["sh", "-c", SERVE],
    ports: [{ containerPort: 80 }],
    // On a machine that is busy with other things it may take its time.
    readinessProbe: { httpGet: { path: "/", port: 80 }, periodSeconds: 1, timeoutSeconds: 5 },
  };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web" },
    spec: {
      replicas: REPLICAS,
      selector: { matchLabels: { app: "web" } },
      template: {
        metadata: { labels: { app: "web" } },
        spec: { terminationGracePeriodSeconds: 10, containers: [container] },
      },
    },
  };
}

const service = {
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "web" },
  spec: {
    selector: { app: "web" },
    ports: [{ name: "web", port: 80 }, { name: "echo", port: ECHO }],
  },
};

const waits = (name: string): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name },
  spec: {
    terminationGracePeriodSeconds: 1,
    containers: [{ name: "c", image: IMAGES.web, command: LIVES }],
  },
});

const serves = (pod: Pod) => pod.metadata.deletionTimestamp === undefined && isReady(pod);

/** A pod that was killed: who may lose what, and until when a client could be led to it. */
export interface Killed {
  name: string;
  began: number;
  over: number;
}

/** The cluster, the machine below it, and those who ask. */
export class WebWorld {
  readonly until = waiting({ withinMs: 60_000, patient: true });
  readonly containerd: Containerd;
  server: Server;
  client!: Client;
  readonly traffic: Traffic[] = [];
  /** Those whose failures are as they must be. */
  readonly killed: Killed[] = [];
  /** What was done when, in ms of the wall clock: what a failure is read by. */
  readonly done: string[] = [];
  /** Of every pod there ever was. */
  readonly #uids = new Set<string>();
  #canaries = 0;

  private constructor(containerd: Containerd, server: Server) {
    this.containerd = containerd;
    this.server = server;
    this.#connect();
  }

  /** Opens one without pods, whose node has worked once. */
  static async open(): Promise<WebWorld> {
    const containerd = await Containerd.start(["web"]);
    const server = await startServer(containerd, `${containerd.folder}/plesio`);
    const world = new WebWorld(containerd, server);
    await world.until("the node", async () => {
      const node = await world.client.get<KubeObject>({ resource: NODES, name: NODE });
      const conditions = node.status?.conditions as { type: string; status: string }[];
      return conditions?.some(({ type, status }) => type === "Ready" && status === "True");
    });
    await world.works();
    return world;
  }

  /** Makes services that nobody asks, each with an endpoint: where no pod is, for each would be in its environment. */
  async crowd(count: number): Promise<void> {
    const namespace = "crowd";
    const meta = { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } };
    await this.client.create({ resource: NAMESPACES }, as(meta));
    const make = async (i: number) => {
      const name = `crowd-${i}`;
      const spec = { ports: [{ port: 80 }] };
      await this.client.create(
        { resource: SERVICES, namespace },
        as({ apiVersion: "v1", kind: "Service", metadata: { name }, spec }),
      );
      await this.client.create(
        { resource: ENDPOINT_SLICES, namespace },
        as({
          apiVersion: "discovery.k8s.io/v1",
          kind: "EndpointSlice",
          metadata: { name, labels: { "kubernetes.io/service-name": name } },
          addressType: "IPv4",
          ports: [{ port: 8080 }],
          endpoints: [{ addresses: [`192.0.2.${i % 250 + 1}`], conditions: { ready: true } }],
        }),
      );
    };
    let next = 0;
    const writers = Array.from({ length: WRITERS }, async () => {
      while (next < count) await make(next++);
    });
    await Promise.all(writers);
    // What is held before anything happens is compared with later: the rules follow a moment after
    await this.until("rules for all of them", async () => {
      const { rules } = await this.held();
      const ready = rules.filter((rule) => /service-endpoints-tcp .*"192\.0\.2\./.test(rule));
      return ready.length >= count;
    });
  }

  /** Makes the Deployment, its Service and a pod, in which the second client is. */
  async start(perSecond: number): Promise<void> {
    await this.client.create({ resource: SERVICES, namespace }, as(service));
    await this.client.create({ resource: DEPLOYMENTS, namespace }, as(deployment()));
    await this.client.create({ resource: PODS, namespace }, as(waits(CLIENT)));
    await this.allReady();
    const pod = await this.until("the client's pod", async () => {
      const pod = await this.pod(CLIENT);
      return serves(pod) && pod;
    });
    const target = { resource: SERVICES, namespace, name: "web" };
    const { spec } = await this.client.get<KubeObject>(target);
    const options = {
      address: spec.clusterIP as string,
      port: 80,
      echo: ECHO,
      perSecond: perSecond / 2,
    };
    this.traffic.push(await Traffic.start(options));
    const pid = await this.processOf(pod, "container");
    this.traffic.push(await Traffic.start({ ...options, pid }));
  }

  /** Ends the traffic and removes what `start` made. */
  async end(): Promise<void> {
    await Promise.all(this.traffic.map((one) => one.stop()));
    await this.client.delete({ resource: DEPLOYMENTS, namespace, name: "web" });
    await this.client.delete({ resource: SERVICES, namespace, name: "web" });
    await this.remove(CLIENT);
    await this.until("all pods to go", async () => (await this.pods()).length === 0);
  }

  /** Begins to replace all pods of the Deployment; resolves when none of the old ones is left. */
  async update(): Promise<void> {
    const before = new Set((await this.pods()).map(({ metadata }) => metadata.uid));
    const annotations = { updated: String(before.size + Date.now()) };
    const body = { spec: { template: { metadata: { annotations } } } };
    await this.client.patch({ resource: DEPLOYMENTS, namespace, name: "web" }, {
      type: "merge",
      body,
    });
    await this.until("the new pods alone", async () => {
      const pods = await this.pods();
      return pods.length === REPLICAS &&
        pods.every((pod) => serves(pod) && !before.has(pod.metadata.uid));
    });
  }

  note(what: string): void {
    this.done.push(`${Date.now()} ${what}`);
  }

  /** What failed since, without what a kill excuses. Streams to pods that had to go (`gone`) end with them. */
  lost(since: number, gone: readonly string[] = []): Failure[] {
    return this.traffic.flatMap((one) => one.since(since)).filter((failure) =>
      !(failure.what === "stream" && gone.includes(failure.to ?? "")) &&
      !this.killed.some((killed) => mayBeLost(failure, killed))
    );
  }

  #connect(): void {
    const { hostname, port, caPem, certificatePem, keyPem } = this.server.access;
    const http = Deno.createHttpClient({ caCerts: [caPem], cert: certificatePem, key: keyPem });
    this.client = httpClient({
      server: `https://${hostname}:${port}`,
      transport: (request) => fetch(request, { client: http }),
    });
  }

  async pods(): Promise<Pod[]> {
    const { items } = await this.client.list<Pod>({ resource: PODS, namespace }, {
      labelSelector: "app=web",
    });
    for (const { metadata } of items) this.#uids.add(metadata.uid);
    return items as Pod[];
  }

  async pod(name: string): Promise<Pod> {
    const pod = await this.client.get<Pod>({ resource: PODS, namespace, name }) as Pod;
    this.#uids.add(pod.metadata.uid);
    return pod;
  }

  /** The pods of the Deployment once all are Ready, and there are no others. */
  allReady(): Promise<Pod[]> {
    return this.until("all pods to be ready", async () => {
      const pods = await this.pods();
      return pods.length === REPLICAS && pods.every(serves) && pods;
    });
  }

  /** The node makes and removes a pod: it works. */
  async works(): Promise<void> {
    const name = `canary-${this.#canaries++}`;
    await this.until(
      name,
      () => this.client.create({ resource: PODS, namespace }, as(waits(name))),
    );
    await this.until(`${name} to be ready`, async () => serves(await this.pod(name)));
    await this.remove(name);
  }

  async remove(name: string): Promise<void> {
    this.note(`${name} is told to go`);
    const target = { resource: PODS, namespace, name };
    const { metadata: { uid } } = await this.pod(name);
    await this.client.delete(target);
    await this.until(`${name} to go`, async () => {
      const pod = await this.client.get(target).catch((error: ApiError) =>
        error.code === 404 ? undefined : Promise.reject(error)
      );
      return pod?.metadata.uid !== uid;
    });
  }

  /** A process of a pod's container, or of its sandbox: the first of it. */
  async processOf(pod: Pod, what: "container" | "sandbox"): Promise<number> {
    const { uid } = pod.metadata;
    const ids = pod.status!.containerStatuses!.map((s) => s.containerID!.split("://")[1]);
    const found: number[] = [];
    for (const { name } of Deno.readDirSync("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      const groups = await Deno.readTextFile(`/proc/${name}/cgroup`).catch(() => "");
      if (!groups.includes(`/pod${uid}/`)) continue;
      if (ids.some((id) => groups.includes(id)) === (what === "container")) {
        found.push(Number(name));
      }
    }
    assert(found.length > 0, `no process of the ${what} of ${pod.metadata.name}`);
    return Math.min(...found);
  }

  async killServer(): Promise<void> {
    for (const pid of await this.server.pids()) {
      try {
        Deno.kill(pid, "SIGKILL");
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
    await this.server.process.status;
  }

  async startServer(): Promise<void> {
    const { folder, access } = this.server;
    this.server = await startServer(this.containerd, folder, access.port);
    this.#connect();
  }

  /** What the machine holds. */
  held(): Promise<Held> {
    const node = `${this.server.folder}/data/nodes/${NODE}`;
    return held({ containerd: this.containerd, node }, this.#uids);
  }

  async close(): Promise<void> {
    for (const one of this.traffic) await one.stop();
    await this.server.stop();
    await this.containerd.stop();
  }
}

async function startServer(
  containerd: Containerd,
  folder: string,
  port = freePort(),
): Promise<Server> {
  await Deno.mkdir(folder, { recursive: true });
  return await Server.start({ folder, port, flags: ["--nodes", "1", ...containerd.flags] });
}

/** Whether a failure is that of a pod that was killed. */
function mayBeLost({ what, began, ended, to }: Failure, killed: Killed): boolean {
  if (ended < killed.began) return false;
  if (what === "stream" && to) return to === killed.name && began < killed.over;
  return began <= killed.over;
}
