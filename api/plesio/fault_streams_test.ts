/** Faults and the ledger where a call is answered by more than an object: logs, exec, proxies, discovery. */
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { connect } from "node:net";
import WebSocket from "ws";
import { RealClock } from "../../kv/clock.ts";
import { Cluster } from "../../mod.ts";
import { fakeOutbound } from "../client/outbound_fixture.ts";
import type { NodeApi, RemoteProcess } from "../client/node_api.ts";
import { Auditor, type AuditSink } from "../server/audit.ts";
import { ADMIN_TOKEN, openApi, pod, PODS } from "../server/fixture_test.ts";
import { Faults } from "./faults.ts";

const core = (plural: string) => ({ group: "", version: "v1", plural });
const LOG = "/api/v1/namespaces/default/pods/p/log";

/** A cluster with a pod that runs, and what a client is answered there. */
async function place() {
  const cluster = await Cluster.start({ nodes: 1, testKit: true });
  await cluster.settle();
  const target = { resource: core("pods"), namespace: "default" };
  await cluster.client.create(target, {
    metadata: { name: "p" },
    spec: { containers: [{ name: "c", image: "nginx:1" }] },
  });
  await cluster.settle();
  const get = (path: string) => cluster.fetch(path, { headers: { "user-agent": "kubectl/v1" } });
  const code = async (path: string) => {
    const reply = await get(path);
    await reply.body?.cancel();
    return reply.status;
  };
  return { cluster, get, code, ...cluster.kit };
}

Deno.test("logs fail, are cut off, and are counted", async () => {
  const { cluster, get, code, faults, ledger } = await place();
  await using _ = cluster;
  ledger.clear();
  faults.add({ client: "kubectl", subresource: "log", object: "p", status: 503, times: 1 });
  assertEquals([await code(LOG), await code(LOG)], [503, 200]);
  faults.add({ subresource: "log", close: "before", times: 1 });
  await assertRejects(() => get(LOG), TypeError);
  faults.add({ subresource: "log", close: "after", times: 1 });
  await assertRejects(() => get(LOG), TypeError);
  faults.add({ subresource: "log", close: "middle", times: 1 });
  await assertRejects(async () => (await get(LOG)).text());
  assertMatch(await (await get(LOG)).text(), /^simulated: /);
  const followed = await get(`${LOG}?follow=true`);
  const reader = followed.body!.getReader();
  await reader.read();
  faults.add({ client: "kubectl", partition: true });
  await assertRejects(() => reader.read());
  faults.clear();
  const [{ requests, failures }] = ledger.report("kubectl");
  assertEquals([requests, failures], [{ "get pods/log": 7 }, { 503: 1, 500: 2 }]);
});

Deno.test("discovery fails where its path is named, or nothing of a client gets through", async () => {
  const { cluster, code, faults, ledger } = await place();
  await using _ = cluster;
  faults.add({ client: "kubectl", status: 500, times: 1 });
  assertEquals([await code("/apis"), await code("/api/v1/nodes")], [200, 500]);
  faults.add({ path: "/apis*", status: 429, times: 2 });
  assertEquals(
    [await code("/api"), await code("/apis"), await code("/apis/apps/v1"), await code("/apis")],
    [200, 429, 429, 200],
  );
  faults.clear();
  ledger.clear();
  faults.add({ client: "kubectl", partition: true });
  await assertRejects(() => code("/openapi/v3"), TypeError);
  faults.add({ path: "*", status: 500 });
  assertEquals(await code("/plesio/v1/faults"), 200, "by which they are taken away");
  faults.clear();
  assertEquals(await code("/apis/apps/v1"), 200);
  const [{ requests, failures }] = ledger.report("kubectl");
  assertEquals(requests, { "get /openapi/v3": 1, "get /apis/apps/v1": 1 });
  assertEquals(failures, { 500: 1 });
  for (const other of ["resource", "subresource", "namespace", "object"] as const) {
    await assertRejects(
      async () => void await faults.add({ path: "/apis", [other]: "x", status: 500 }),
      Error,
      `it does not go with ${other}`,
    );
  }
  await assertRejects(
    async () => void await faults.add({ path: "/apis", stale: 3 }),
    Error,
    "may not meet stale",
  );
});

Deno.test("a body that has failed, or come to its end, is not broken off any more", async () => {
  const faults = new Faults({ clock: new RealClock(), lose: () => false });
  const asked = {
    verb: "get",
    subject: { group: "", resource: "pods" },
    subresource: "log",
    namespace: "default",
    name: "p",
    path: LOG,
    user: { name: "u", groups: [] },
    agent: "kubectl",
  };
  let ends = 0;
  const stream = async (next: () => Promise<IteratorResult<Uint8Array>>) => {
    const pieces = {
      next,
      return: () => {
        ends++;
        return Promise.resolve({ done: true as const, value: undefined });
      },
    };
    const body = { [Symbol.asyncIterator]: () => pieces };
    const answer = () => Promise.resolve({ status: 200, headers: {}, body });
    const reply = await faults.callStage(asked, answer);
    return (reply.body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  };
  const failed = await stream(() => Promise.reject(new Error("the node is away")));
  await assertRejects(() => failed.next(), Error, "the node is away");
  const whole = await stream(() => Promise.resolve({ done: true, value: undefined }));
  await whole.next();
  const open = await stream(() => new Promise(() => {}));
  const waits = open.next();
  faults.add({ client: "kubectl", partition: true });
  await assertRejects(() => waits);
  assertEquals(ends, 1);
});

/** A process that goes on until it is closed. */
function endless(): RemoteProcess {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const ended = Promise.withResolvers<{ exitCode: number }>();
  const close = () => ended.resolve({ exitCode: 137 });
  return { stdin: writable, stdout: readable, resize() {}, ended: ended.promise, close };
}

/** A client's WebSocket to a subresource of the pod. */
const dial = (port: number, way: string) =>
  dialAt(port, `/api/v1/namespaces/default/pods/p/${way}`);

function dialAt(port: number, path: string) {
  const ws = new WebSocket(`ws://127.0.0.1:${port}${path}`, ["v5.channel.k8s.io"], {
    headers: { authorization: `Bearer ${ADMIN_TOKEN}`, "user-agent": "kubectl/v1" },
  });
  const opened = new Promise<string>((resolve) => {
    ws.on("open", () => resolve("open"));
    ws.on("unexpected-response", (_request, { statusCode }) => {
      ws.terminate();
      resolve(`${statusCode}`);
    });
    ws.on("error", (error) => resolve(error.message));
  });
  const closed = new Promise<void>((resolve) => ws.on("close", () => resolve()));
  return { ws, opened, closed };
}

Deno.test("exec is refused before its connection is switched, or cut off", async () => {
  const faults = new Faults({ clock: new RealClock(), lose: () => false });
  const node = { exec: () => Promise.resolve(endless()) } as unknown as NodeApi;
  await using f = await openApi({
    dialer: () => Promise.resolve(node),
    callStage: faults.callStage,
  });
  const at = { resource: PODS, namespace: "default" };
  await f.client.create(at, pod("p"));
  await f.client.create({ ...at, name: "p", subresource: "binding" }, { target: { name: "n" } });
  const listener = await f.api.listen({ port: 0 });
  const exec = () => dial(listener.port, "exec?command=x&stdin=true&stdout=true");
  faults.add({ subresource: "exec", status: 503, times: 1 });
  assertEquals(await exec().opened, "503");
  faults.add({ subresource: "exec", close: "before", times: 1 });
  assertMatch(await exec().opened, /socket hang up|ECONNRESET/);
  faults.add({ subresource: "exec", close: "middle", times: 1 });
  await exec().closed;
  const whole = exec();
  assertEquals(await whole.opened, "open");
  faults.add({ client: "kubectl", partition: true });
  await whole.closed;
  assertMatch(await exec().opened, /socket hang up|ECONNRESET/);
  faults.clear();
  const again = exec();
  assertEquals(await again.opened, "open");
  again.ws.terminate();
  await again.closed;
  await listener.close();
});

/** A server of the API and one of another's behind it, which says back what it is told. */
async function echoing() {
  const faults = new Faults({ clock: new RealClock(), lose: () => false });
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request, { protocol: "v5.channel.k8s.io" });
    socket.onmessage = ({ data }) => socket.send(data);
    return response;
  });
  const stages: string[] = [];
  const sink: AuditSink = {
    name: "list",
    process: ({ record, stage }) => {
      if (record.begun.uri.includes("/flunders/")) stages.push(stage);
      return true;
    },
    close: () => Promise.resolve(),
  };
  const rules = [{ level: "Metadata" as const }];
  const f = await openApi({
    audit: new Auditor({ policy: { rules }, sinks: [sink], clock: new RealClock() }),
    outbound: {
      ...fakeOutbound(() => ({ json: { kind: "APIResourceList", resources: [] } })),
      connect: () => Promise.resolve(connect(server.addr.port, "127.0.0.1")),
    },
    callStage: faults.callStage,
  });
  const listener = await f.api.listen({ port: 0 });
  const stop = async () => {
    await listener.close();
    await f[Symbol.asyncDispose]();
    await server.shutdown();
  };
  return { ...f, faults, stages, listener, [Symbol.asyncDispose]: stop };
}

async function until(look: () => boolean | Promise<boolean>): Promise<void> {
  while (!await look()) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** A connection says back what it is told, is broken off by a partition, and may be made again. */
async function isBrokenOff(
  { faults, listener }: Awaited<ReturnType<typeof echoing>>,
  path: string,
): Promise<void> {
  const { ws, opened, closed } = dialAt(listener.port, path);
  assertEquals(await opened, "open");
  const echoed = new Promise<string>((resolve) => ws.on("message", (data) => resolve(`${data}`)));
  ws.send("hello");
  assertEquals(await echoed, "hello");
  faults.add({ client: "kubectl", partition: true });
  await closed;
  faults.clear();
  const again = dialAt(listener.port, path);
  assertEquals(await again.opened, "open");
  again.ws.terminate();
  await again.closed;
}

Deno.test("a proxied connection is broken off as long as it is open", async () => {
  await using f = await echoing();
  const at = { resource: PODS, namespace: "default" };
  await f.client.create(at, pod("p"));
  await f.client.patch({ ...at, name: "p", subresource: "status" }, {
    type: "merge",
    body: { status: { podIP: "10.244.0.5", podIPs: [{ ip: "10.244.0.5" }] } },
  });
  await isBrokenOff(f, "/api/v1/namespaces/default/pods/p/proxy/x");
});

Deno.test("a connection to another server is broken off, and audited until it ends", async () => {
  await using f = await echoing();
  const ready = { conditions: { ready: true }, addresses: ["10.244.0.5"] };
  const name = "sample";
  await f.client.create({ resource: core("services"), namespace: "default" }, {
    metadata: { name },
    spec: { ports: [{ port: 443 }] },
  });
  const slices = { group: "discovery.k8s.io", version: "v1", plural: "endpointslices" };
  await f.client.create({ resource: slices, namespace: "default" }, {
    metadata: { name, labels: { "kubernetes.io/service-name": name } },
    addressType: "IPv4",
    ports: [{ name: "", port: 443, protocol: "TCP" }],
    endpoints: [ready],
  });
  const services = { group: "apiregistration.k8s.io", version: "v1", plural: "apiservices" };
  const target = { resource: services, name: "v1.wardle.example.com" };
  await f.client.create({ resource: services }, {
    metadata: { name: target.name },
    spec: {
      group: "wardle.example.com",
      version: "v1",
      groupPriorityMinimum: 2000,
      versionPriority: 200,
      insecureSkipTLSVerify: true,
      service: { namespace: "default", name },
    },
  });
  await until(async () => (await f.client.get(target)).status.conditions?.[0].status === "True");
  await isBrokenOff(f, "/apis/wardle.example.com/v1/namespaces/default/flunders/one/vnc");
  const whole = ["RequestReceived", "ResponseStarted", "ResponseComplete"];
  await until(() => f.stages.length === 6);
  assertEquals(f.stages, [...whole, ...whole]);
});
