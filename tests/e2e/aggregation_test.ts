/**
 * API aggregation over real sockets: an extension server of our own behind a Service, which believes headers only of
 * whoever has a certificate of the front-proxy authority that the cluster publishes. Requests, a watch, a WebSocket
 * and kubectl reach it through the cluster's API server.
 */
import { assertEquals, assertMatch } from "@std/assert";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, request } from "node:https";
import type { TLSSocket } from "node:tls";
import { createAuthority, issueServer } from "../../api/auth/mod.ts";
import type { DeepReadonly, KubeObject } from "../../api/machinery/types.ts";
import { RealClock } from "../../kv/mod.ts";
import { Cluster } from "../../mod.ts";
import { runKubectl } from "./kubectl.ts";

/** Where clusters without root have their pods. */
const ADDRESS = "127.251.255.9";
const GROUP = "wardle.example.com";
const VERSION = `${GROUP}/v1alpha1`;
const core = (plural: string) => ({ group: "", version: "v1", plural });
const SERVICES = { group: "apiregistration.k8s.io", version: "v1", plural: "apiservices" };

interface Flunder {
  metadata: { name: string; namespace: string; resourceVersion: string; uid?: string };
  [field: string]: unknown;
}

/** Serves flunders: list, watch, create, get, delete; and an echo to those who upgrade. */
class Extension {
  readonly users: string[] = [];
  /** What was said with the last call for another protocol. */
  upgraded: IncomingMessage["headers"] = {};
  readonly #flunders = new Map<string, Flunder>();
  /** Who watches, by answer. */
  readonly #watchers = new Map<ServerResponse, string>();
  #revision = 0;
  readonly server;

  constructor(tls: { cert: string; key: string; ca: string }) {
    this.server = createServer(
      { ...tls, requestCert: true, rejectUnauthorized: true },
      (req, res) => void this.#answer(req, res),
    );
    this.server.on("upgrade", (req: IncomingMessage, socket: TLSSocket) => {
      this.users.push(String(req.headers["x-remote-user"]));
      this.upgraded = req.headers;
      socket.write(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n",
      );
      socket.on("error", () => socket.destroy());
      socket.on("data", (data: Uint8Array) => socket.write(data));
    });
  }

  async #answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const json = (status: number, body: unknown) => {
      res.writeHead(status, { "content-type": "application/json" });
      res.end(JSON.stringify(body));
    };
    this.users.push(String(req.headers["x-remote-user"]));
    const url = new URL(req.url ?? "/", "https://x");
    const resources = [{
      name: "flunders",
      singularName: "flunder",
      namespaced: true,
      kind: "Flunder",
      verbs: ["create", "delete", "get", "list", "watch"],
    }];
    if (url.pathname === `/apis/${VERSION}`) {
      return json(200, {
        kind: "APIResourceList",
        apiVersion: "v1",
        groupVersion: VERSION,
        resources,
      });
    }
    const [, namespace = "", name] =
      /\/namespaces\/([^/]+)\/flunders(?:\/(.+))?$/.exec(url.pathname) ?? [];
    if (!url.pathname.includes("/flunders")) return json(404, { kind: "Status", code: 404 });
    if (req.method === "POST") {
      const parts: Uint8Array[] = [];
      for await (const part of req) parts.push(part);
      const flunder = JSON.parse(new TextDecoder().decode(parts[0])) as Flunder;
      flunder.metadata.resourceVersion = String(++this.#revision);
      flunder.metadata.namespace = namespace;
      flunder.metadata.uid = crypto.randomUUID();
      this.#flunders.set(flunder.metadata.name, flunder);
      this.#tell("ADDED", flunder);
      return json(201, flunder);
    }
    if (url.searchParams.get("watch")) {
      res.writeHead(200, { "content-type": "application/json" });
      res.flushHeaders();
      this.#watchers.set(res, this.users.at(-1)!);
      res.on("close", () => this.#watchers.delete(res));
      return;
    }
    if (!name) {
      return json(200, {
        kind: "FlunderList",
        apiVersion: VERSION,
        metadata: { resourceVersion: String(this.#revision) },
        items: [...this.#flunders.values()].filter((f) =>
          namespace === "" || f.metadata.namespace === namespace
        ),
      });
    }
    const found = this.#flunders.get(name);
    if (req.method === "DELETE" && this.#flunders.delete(name)) {
      found!.metadata.resourceVersion = String(++this.#revision);
      this.#tell("DELETED", found!);
    }
    return found ? json(200, found) : json(404, { kind: "Status", code: 404 });
  }

  namesIn(namespace: string): string[] {
    return [...this.#flunders.values()].filter((f) => f.metadata.namespace === namespace)
      .map((f) => f.metadata.name);
  }

  #tell(type: string, object: Flunder): void {
    for (const watcher of this.#watchers.keys()) {
      watcher.write(JSON.stringify({ type, object }) + "\n");
    }
  }

  watchersOf(user: string): number {
    return [...this.#watchers.values()].filter((watcher) => watcher === user).length;
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.server.listen(0, ADDRESS, () => resolve()));
    return (this.server.address() as { port: number }).port;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeAllConnections();
    await closed;
  }
}

async function eventually<T>(look: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (let i = 0; i < 1_200; i++) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error("it did not come true");
}

async function hasKubectl(): Promise<boolean> {
  try {
    return (await new Deno.Command("kubectl", { args: ["version", "--client"] }).output()).success;
  } catch {
    return false;
  }
}

Deno.test({
  name: "an extension server serves its part of the API through the cluster's",
  // There only one address of the loopback range is there without being asked for
  ignore: Deno.build.os === "darwin",
  fn: served,
});

async function served(): Promise<void> {
  const clock = new RealClock();
  await using cluster = await Cluster.start({
    clock: "real",
    nodes: 0,
    components: ["api", "controllers"],
  });
  const { port } = await cluster.listen({ port: 0 });
  const { client } = cluster;
  const published = await client.get({
    resource: core("configmaps"),
    namespace: "kube-system",
    name: "extension-apiserver-authentication",
  });
  assertEquals(published.data["requestheader-username-headers"], '["X-Remote-User"]');
  const authority = await createAuthority(clock);
  const own = await issueServer(authority, clock, { names: ["sample-api.default.svc"] });
  const extension = new Extension({
    cert: own.certificatePem,
    key: own.keyPem,
    ca: published.data["requestheader-client-ca-file"],
  });
  const there = await extension.listen();
  await register(cluster, there, btoa(authority.certificatePem));
  const name = `v1alpha1.${GROUP}`;
  await eventually(async () => {
    const found = await client.get({ resource: SERVICES, name });
    return found.status.conditions?.[0]?.message === "all checks passed" || undefined;
  });
  await requests(cluster, extension);
  await collected(cluster, extension);
  await owned(cluster, extension);
  await upgraded(cluster, extension, port);
  const folder = await Deno.makeTempDir();
  if (await hasKubectl()) await byKubectl(cluster, extension, `${folder}/kubeconfig`);
  else console.log("kubectl is not on the path: not tried with it");
  await Deno.remove(folder, { recursive: true });
  if (extension.server.listening) await extension.close();
}

async function register({ client }: Cluster, port: number, caBundle: string): Promise<void> {
  // Pods' addresses may lie in 127/8 where nothing else can be made local: a node says which
  await client.create({ resource: core("nodes") }, {
    metadata: { name: "n" },
    spec: { podCIDR: "127.251.255.0/24", podCIDRs: ["127.251.255.0/24"] },
  });
  await client.create({ resource: core("services"), namespace: "default" }, {
    metadata: { name: "sample-api" },
    spec: { ports: [{ port: 7443 }] },
  });
  await client.create({
    resource: { group: "discovery.k8s.io", version: "v1", plural: "endpointslices" },
    namespace: "default",
  }, {
    metadata: { name: "sample-api-1", labels: { "kubernetes.io/service-name": "sample-api" } },
    addressType: "IPv4",
    ports: [{ name: "", port, protocol: "TCP" }],
    endpoints: [{ addresses: [ADDRESS], conditions: { ready: true } }],
  });
  await client.create({ resource: SERVICES }, {
    metadata: { name: `v1alpha1.${GROUP}` },
    spec: {
      group: GROUP,
      version: "v1alpha1",
      groupPriorityMinimum: 2000,
      versionPriority: 200,
      caBundle,
      service: { namespace: "default", name: "sample-api", port: 7443 },
    },
  });
}

async function requests(cluster: Cluster, extension: Extension): Promise<void> {
  const path = `https://k/apis/${VERSION}/namespaces/default/flunders`;
  const watch = await cluster.fetch(`${path}?watch=true`);
  assertEquals(watch.status, 200);
  const reader = watch.body!.getReader();
  const body = JSON.stringify({ apiVersion: VERSION, kind: "Flunder", metadata: { name: "one" } });
  const created = await cluster.fetch(path, { method: "POST", body });
  assertEquals(created.status, 201);
  assertEquals((await created.json()).metadata.name, "one");
  const event = JSON.parse(new TextDecoder().decode((await reader.read()).value));
  assertEquals([event.type, event.object.metadata.name], ["ADDED", "one"]);
  await reader.cancel();
  await eventually(() => extension.watchersOf("kubernetes-admin") === 0 || undefined);
  const list = await (await cluster.fetch(path)).json();
  assertEquals(list.items.length, 1);
  const users = ["system:kube-aggregator", "kubernetes-admin", "system:apiserver"];
  assertEquals(new Set(extension.users).difference(new Set(users)).size, 0);
}

/** In-process clients reach it too, and a namespace that is deleted takes what is there with it. */
async function collected({ client }: Cluster, extension: Extension): Promise<void> {
  await client.create({ resource: core("namespaces") }, { metadata: { name: "doomed" } });
  const resource = { group: GROUP, version: "v1alpha1", plural: "flunders" };
  const made = await client.create({ resource, namespace: "doomed" }, {
    apiVersion: VERSION,
    kind: "Flunder",
    metadata: { name: "two" },
  });
  assertEquals(made.metadata.name, "two");
  assertEquals((await client.list({ resource, namespace: "doomed" })).items.length, 1);
  await client.delete({ resource: core("namespaces"), name: "doomed" });
  await eventually(async () => {
    const left = await client.list({ resource: core("namespaces") });
    return !left.items.some((one) => one.metadata.name === "doomed") || undefined;
  });
  assertEquals(extension.namesIn("doomed"), []);
}

/** The garbage collector follows owners into what the other server serves, and out of it. */
async function owned({ client }: Cluster, extension: Extension): Promise<void> {
  const maps = { resource: core("configmaps"), namespace: "default" };
  const flunders = {
    resource: { group: GROUP, version: "v1alpha1", plural: "flunders" },
    namespace: "default",
  };
  const ownedBy = (apiVersion: string, kind: string, owner: DeepReadonly<KubeObject>) => {
    const { name, uid } = owner.metadata;
    return { ownerReferences: [{ apiVersion, kind, name, uid: uid! }] };
  };
  const owner = await client.create<KubeObject>(maps, { metadata: { name: "owner" } });
  const flunder = await client.create<KubeObject>(flunders, {
    apiVersion: VERSION,
    kind: "Flunder",
    metadata: { name: "three", ...ownedBy("v1", "ConfigMap", owner) },
  });
  await client.create(maps, {
    metadata: { name: "leaf", ...ownedBy(VERSION, "Flunder", flunder) },
  });
  await eventually(() => extension.watchersOf("system:apiserver") > 0 || undefined);
  await client.get({ ...maps, name: "leaf" });
  await client.delete({ ...maps, name: "owner" });
  await eventually(() => !extension.namesIn("default").includes("three") || undefined);
  await eventually(async () => {
    const left = await client.list<KubeObject>(maps);
    return !left.items.some((one) => one.metadata.name === "leaf") || undefined;
  });
}

/** A connection that is upgraded goes through byte by byte. */
async function upgraded(cluster: Cluster, extension: Extension, port: number): Promise<void> {
  const { authorityPem, certificatePem, keyPem } = await cluster.access();
  const socket = await new Promise<TLSSocket>((resolve, reject) => {
    const asked = request({
      host: "127.0.0.1",
      port,
      ca: authorityPem,
      cert: certificatePem,
      key: keyPem,
      path: `/apis/${VERSION}/namespaces/default/flunders/one/connect`,
      headers: {
        connection: "upgrade",
        upgrade: "echo",
        "x-remote-user": "mallory",
        origin: `https://127.0.0.1:${port}`,
        cookie: "of=all",
      },
    });
    asked.on("error", reject);
    asked.on("upgrade", (_res, socket) => resolve(socket as TLSSocket));
    asked.on("response", (res) => reject(new Error(`answered ${res.statusCode}`)));
    asked.end();
  });
  const echoed = new Promise<string>((resolve) =>
    socket.once("data", (data) => resolve(String(data)))
  );
  socket.write("hello");
  assertEquals(await echoed, "hello");
  assertEquals(extension.users.at(-1), "kubernetes-admin");
  // A page's call: cookies are of everything on this host
  assertEquals(extension.upgraded.cookie, undefined);
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.destroy();
  await closed;
}

async function byKubectl(cluster: Cluster, extension: Extension, kubeconfig: string) {
  await Deno.writeTextFile(kubeconfig, await cluster.kubeconfig());
  const cache = `--cache-dir=${kubeconfig}.cache`;
  assertMatch(
    (await runKubectl(kubeconfig, [cache, "api-resources", "--api-group", GROUP])).out,
    /flunders .*Flunder/,
  );
  assertMatch((await runKubectl(kubeconfig, [cache, "get", "flunders"])).out, /one/);
  assertMatch(
    (await runKubectl(kubeconfig, [cache, "get", "apiservice", `v1alpha1.${GROUP}`])).out,
    /default\/sample-api +True/,
  );
  await extension.close();
  // Its Service changes, which is a reason to look at it again
  const service = { resource: core("services"), namespace: "default", name: "sample-api" };
  await cluster.client.patch(service, {
    type: "merge",
    body: { metadata: { labels: { a: "b" } } },
  });
  await eventually(async () => {
    const { out } = await runKubectl(kubeconfig, [cache, "get", "apiservice", `v1alpha1.${GROUP}`]);
    return out.includes("FailedDiscoveryCheck") || undefined;
  });
  await Deno.remove(`${kubeconfig}.cache`, { recursive: true });
  const broken = await runKubectl(kubeconfig, [cache, "api-resources"]);
  assertMatch(broken.out, /deployments +deploy +apps\/v1/, "what is well is shown");
  assertEquals(
    broken.out.includes("flunders"),
    false,
    "what is stale is left out, as with upstream",
  );
  assertMatch(
    (await runKubectl(kubeconfig, [cache, "get", "deployments"])).err,
    /No resources found/,
  );
}
