import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { Cluster } from "../../mod.ts";
import type { Client, WatchEvent } from "../client/contract.ts";
import { ApiError, type KubeObject } from "../machinery/types.ts";
import { Disconnected } from "../server/http.ts";
import { FAULTS_MAX } from "./faults.ts";

const configMaps = { group: "", version: "v1", plural: "configmaps" };
const nodes = { group: "", version: "v1", plural: "nodes" };
const all = { resource: configMaps, namespace: "default" };
const ME = { name: "me", groups: ["system:masters"] };

async function place(options: Parameters<typeof Cluster.start>[0] = {}) {
  const cluster = await Cluster.start({ nodes: 0, testKit: true, controllers: "-*", ...options });
  const client = cluster.client.as(ME, "my-operator");
  return { cluster, client, faults: cluster.kit.faults };
}

function make(client: Client, name: string) {
  return client.create(all, { metadata: { name } });
}

async function codeOf(promise: Promise<unknown>): Promise<number> {
  return await promise.then(() => 0, (error) => error instanceof ApiError ? error.code : -1);
}

Deno.test("faults strike whom and what they name, as often as they say, and are listed with it", async () => {
  const { cluster, client, faults } = await place();
  await using _ = cluster;
  faults.add({
    client: "my-*",
    verb: ["create"],
    resource: "configmaps",
    after: 1,
    times: 2,
    status: 503,
  });
  const codes = [];
  for (let i = 0; i < 5; i++) codes.push(await codeOf(make(client, `a-${i}`)));
  assertEquals(codes, [0, 503, 503, 0, 0]);
  assertEquals(await codeOf(make(cluster.client, "other")), 0);
  const [{ name, met, struck }] = faults.list();
  assertEquals([name, met, struck], ["fault-1", 3, 2]);
  assert(faults.remove("fault-1"));
  assert(!faults.remove("fault-1"));
});

Deno.test("faults answer as upstream does, before the request is done or after", async () => {
  const { cluster, client, faults } = await place();
  await using _ = cluster;
  await make(client, "a");
  const a = { ...all, name: "a" };
  const cases = [
    [409, /^Operation cannot be fulfilled on configmaps "a": the object has been modified/],
    [410, /too old/],
    [429, /^Too many requests, please try again later\.$/],
    [500, /^Internal error occurred: etcdserver: request timed out$/],
    [503, /currently unable/],
    [418, /status code 418/],
  ] as const;
  for (const [status, said] of cases) {
    faults.add({ verb: "patch", status, times: 1 });
    const error = await assertRejects(
      () => client.patch(a, { type: "merge", body: { data: { x: "1" } } }),
      ApiError,
    );
    assertEquals(error.code, status);
    assertMatch(error.message, said);
  }
  assertEquals((await client.get(a) as any).data, undefined);
  faults.clear();
  faults.add({ verb: "patch", status: 504, done: true, times: 1 });
  assertEquals(await codeOf(client.patch(a, { type: "merge", body: { data: { x: "1" } } })), 504);
  assertEquals((await client.get(a) as any).data, { x: "1" });
});

Deno.test("over HTTP a 429 says when to come again, and connections close without an answer or in its middle", async () => {
  const { cluster, faults } = await place();
  await using _ = cluster;
  const path = "/api/v1/namespaces/default/configmaps";
  const get = () => cluster.fetch(path, { headers: { "user-agent": "my-operator/v1" } });
  faults.add({ client: "my-operator", status: 429, retryAfter: 7, times: 1 });
  const refused = await get();
  assertEquals([refused.status, refused.headers.get("retry-after")], [429, "7"]);
  await refused.body?.cancel();
  faults.add({ client: "my-operator", close: "before", times: 1 });
  await assertRejects(get, TypeError);
  faults.add({ client: "my-operator", close: "middle", times: 1 });
  const half = await get();
  assertEquals(half.status, 200);
  await assertRejects(() => half.text());
  const whole = await get();
  assertEquals((await whole.json()).kind, "ConfigMapList");
});

Deno.test("faults by probability are the same each time, and others with another seed", async () => {
  const run = async (seed: number) => {
    const { cluster, client, faults } = await place({ components: ["api"] });
    await using _ = cluster;
    faults.add({ verb: "list", resource: "configmaps", probability: 0.5, seed, status: 500 });
    let said = "";
    for (let i = 0; i < 40; i++) said += await codeOf(client.list(all)) ? "x" : ".";
    return said;
  };
  const [one, again, other] = [await run(1), await run(1), await run(2)];
  assertEquals(one, again);
  assert(one !== other && one.includes("x") && one.includes("."), one);
});

Deno.test("slow answers come by the cluster's clock, and nobody has to be at rest for it to go on", async () => {
  const { cluster, client, faults } = await place();
  await using _ = cluster;
  faults.add({ verb: "create", delay: "30s" });
  const began = cluster.clock.now();
  const made = make(client, "late").then(() => cluster.clock.now());
  await cluster.kit.settle();
  assertEquals(await made - began, 30_000);
});

Deno.test("our own controllers meet faults too, and get over them", async () => {
  const { cluster, faults } = await place({ nodes: 1, controllers: "*" });
  await using _ = cluster;
  faults.add({
    client: "kube-controller-manager",
    verb: "create",
    resource: "pods",
    times: 3,
    status: 500,
  });
  faults.add({
    client: "kube-controller-manager",
    verb: "create",
    resource: "pods",
    times: 1,
    delay: "5s",
  });
  const labels = { app: "web" };
  await cluster.client.create(
    { resource: { group: "apps", version: "v1", plural: "deployments" }, namespace: "default" },
    {
      metadata: { name: "web" },
      spec: {
        replicas: 2,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [{ name: "c", image: "nginx" }] } },
      },
    },
  );
  await cluster.kit.until({
    path: "/apis/apps/v1/namespaces/default/deployments/web",
    cel: "object.status.readyReplicas == 2",
  });
  assertEquals(faults.list().map(({ struck }) => struck), [3, 1]);
});

Deno.test("stale reads: a cache that is behind shows what was, whoever takes any version", async () => {
  const { cluster, client, faults } = await place();
  await using _ = cluster;
  for (const name of ["a", "b", "c"]) await make(client, name);
  const names = async (resourceVersion?: string) =>
    (await client.list(all, { resourceVersion })).items.map(({ metadata }) => metadata.name)
      .filter((name) => name.length === 1);
  faults.add({ resource: "configmaps", stale: 2 });
  assertEquals(await names("0"), ["a"]);
  assertEquals(await names(), ["a", "b", "c"]);
  assertEquals(await codeOf(client.get({ ...all, name: "c" }, { resourceVersion: "0" })), 404);
  assertEquals(await codeOf(client.get({ ...all, name: "c" })), 0);
});

/** Follows ConfigMaps from now on; `seen` fills. */
async function follow(client: Client, resourceVersion: string) {
  const seen: string[] = [];
  const watch = await client.watch<KubeObject>(all, { resourceVersion, allowWatchBookmarks: true });
  const ended = (async () => {
    for await (const events of watch) {
      for (const { type, object } of events as readonly WatchEvent<KubeObject>[]) {
        seen.push(type === "BOOKMARK" ? type : `${type} ${object.metadata.name}`);
      }
    }
    return "ended";
  })().catch((error) => error);
  return { seen, ended, close: () => watch.close() };
}

Deno.test("events of watches are late, dropped, told twice, or the watch ends, as may happen", async (t) => {
  const { cluster, client, faults } = await place();
  await using _ = cluster;
  const version = async () => (await client.list(all)).metadata.resourceVersion!;
  await t.step("late", async () => {
    const watch = await follow(client, await version());
    faults.add({ client: "my-operator", events: "late", by: "1m", times: 1 });
    await make(client, "late");
    assertEquals(watch.seen, []);
    await cluster.kit.advance("1m");
    assertEquals(watch.seen, ["ADDED late"]);
    watch.close();
    faults.clear();
  });
  await t.step("drop: 410, and 410 again from before", async () => {
    const before = await version();
    const watch = await follow(client, before);
    faults.add({ client: "my-operator", events: "drop", object: "gone", times: 1 });
    await make(client, "seen");
    await make(client, "gone");
    assertEquals((await watch.ended).code, 410);
    assertEquals(watch.seen, ["ADDED seen"]);
    assertEquals(await codeOf(client.watch(all, { resourceVersion: before })), 410);
    const again = await follow(client, await version());
    await make(client, "next");
    await cluster.kit.settle();
    assertEquals(again.seen, ["ADDED next"]);
    again.close();
    faults.clear();
  });
  await t.step("duplicate: told, and 410", async () => {
    const watch = await follow(client, await version());
    faults.add({ events: "duplicate", resource: "configmaps", times: 1 });
    await make(client, "twice");
    assertEquals((await watch.ended).code, 410);
    assertEquals(watch.seen, ["ADDED twice"]);
  });
  await t.step("restart: ends as at its timeout, and goes on from there", async () => {
    const before = await version();
    const watch = await follow(client, before);
    faults.add({ events: "restart", resource: "configmaps", times: 1 });
    await make(client, "restarted");
    assertEquals([await watch.ended, watch.seen], ["ended", []]);
    const again = await follow(client, before);
    await cluster.kit.settle();
    assertEquals(again.seen, ["ADDED restarted"]);
    again.close();
  });
  await t.step("break, bookmark", async () => {
    const watch = await follow(client, await version());
    faults.add({ events: "bookmark", resource: "configmaps", times: 1 });
    faults.add({ events: "break", resource: "configmaps", object: "broken" });
    await make(client, "marked");
    await cluster.kit.settle();
    await make(client, "broken");
    assert(await watch.ended instanceof Disconnected);
    assertEquals(watch.seen, ["ADDED marked", "BOOKMARK"]);
  });
});

Deno.test("a partition cuts a client off until it is over, its watches too", async () => {
  const { cluster, client, faults } = await place();
  await using _ = cluster;
  const watch = await follow(client, (await client.list(all)).metadata.resourceVersion!);
  faults.add({ name: "cut", client: "my-operator", partition: true, during: "5m" });
  assert(await watch.ended instanceof Disconnected);
  await assertRejects(() => client.list(all), Disconnected);
  assertEquals(await codeOf(cluster.client.list(all)), 0);
  await cluster.kit.advance("5m");
  assertEquals(await codeOf(client.list(all)), 0);
  assertEquals(faults.list(), []);
});

Deno.test("a lost node is found out, its pods go elsewhere, and it comes back", async () => {
  const { cluster, faults } = await place({ nodes: 2, controllers: "*" });
  await using _ = cluster;
  const ready = (status: string) => ({
    path: "/api/v1/nodes/plesio-1",
    cel: `object.status.conditions.exists(c, c.type == "Ready" && c.status == "${status}")`,
  });
  faults.add({ name: "lost", node: "plesio-1", loss: true });
  const { advanced } = await cluster.kit.until(ready("Unknown"));
  assertMatch(advanced, /^(4|5)\d(\.\d+)?s$/);
  const one = await cluster.client.get({ resource: nodes, name: "plesio-0" }) as any;
  assert(one.status.conditions.some((c: any) => c.type === "Ready" && c.status === "True"));
  faults.remove("lost");
  await cluster.kit.until(ready("True"));
  assertThrows(() => faults.add({ node: "nobody", loss: true }), ApiError, "no simulated node");
  faults.add({ node: "plesio-1", partition: true, during: "2m" });
  await cluster.kit.until(ready("Unknown"));
  await cluster.kit.until(ready("True"));
  assertEquals(faults.list(), []);
});

Deno.test("time jumps when the request comes that it waits for", async () => {
  const { cluster, client, faults } = await place();
  await using _ = cluster;
  faults.add({ verb: "create", object: "now", jump: "2h", times: 1 });
  const began = cluster.clock.now();
  await make(client, "before");
  assertEquals(cluster.clock.now(), began);
  await make(client, "now");
  assertEquals(cluster.clock.now() - began, 7_200_000);
});

Deno.test("calls of webhooks are slow, or fail", async () => {
  const outbound = {
    open: () => Promise.reject(new Error("unused")),
    connect: () => Promise.reject(new Error("unused")),
    send: (_: unknown, request: { body?: Uint8Array }) => {
      const { request: { uid } } = JSON.parse(new TextDecoder().decode(request.body));
      const review = {
        apiVersion: "admission.k8s.io/v1",
        kind: "AdmissionReview",
        response: { uid, allowed: true },
      };
      return Promise.resolve({
        status: 200,
        headers: { "content-type": "application/json" },
        body: new TextEncoder().encode(JSON.stringify(review)),
      });
    },
  };
  const { cluster, client, faults } = await place({ outbound });
  await using _ = cluster;
  const hooks = {
    group: "admissionregistration.k8s.io",
    version: "v1",
    plural: "validatingwebhookconfigurations",
  };
  await client.create({ resource: hooks }, {
    metadata: { name: "mine" },
    webhooks: [{
      name: "mine.example.com",
      clientConfig: { service: { name: "hook", namespace: "mine" } },
      rules: [{
        apiGroups: [""],
        apiVersions: ["v1"],
        operations: ["CREATE"],
        resources: ["configmaps"],
      }],
      timeoutSeconds: 10,
      sideEffects: "None",
      admissionReviewVersions: ["v1"],
    }],
  });
  await cluster.kit.settle();
  assertEquals(await codeOf(make(client, "a")), 0);
  faults.add({ webhook: "hook.mine", status: 500, times: 1 });
  await assertRejects(
    () => make(client, "b"),
    ApiError,
    'failed calling webhook "mine.example.com"',
  );
  faults.add({ webhook: "hook.mine", delay: "1m", times: 1 });
  const slow = assertRejects(() => make(client, "c"), ApiError, "context deadline exceeded");
  await cluster.kit.advance("10s");
  await slow;
  faults.add({ webhook: "*.mine", delay: "3s" });
  const began = cluster.clock.now();
  const made = make(client, "d").then(() => cluster.clock.now());
  await cluster.kit.settle();
  assertEquals(await made - began, 3_000);
});

Deno.test("a fault that makes no sense is refused, and says why", async () => {
  const { cluster, faults } = await place({ components: ["api"] });
  await using _ = cluster;
  for (
    const [fault, said] of [
      [{}, /exactly one of status, .*: this has none/],
      [{ status: 500, delay: "1s" }, /this has status and delay/],
      [{ status: 200 }, /^status must be a whole number from 400 to 599/],
      [{ status: 500, by: "1s" }, /^by goes with events, not with status/],
      [{ events: "late" }, /needs it/],
      [{ events: "lost" }, /^events must be one of late, drop/],
      [{ webhook: "a.b", stale: 3 }, /^calls of webhooks may meet status, delay, close/],
      [{ loss: true }, /name it/],
      [{ partition: true }, /name it/],
      [{ node: "a", status: 500 }, /^node goes with loss and partition/],
      [{ probability: 2, status: 500 }, /from 0 to 1/],
      [{ sttus: 500 }, /^unknown field "sttus"/],
    ] as const
  ) assertMatch(assertThrows(() => faults.add(fault as any), ApiError).message, said);
  for (let i = 0; i < FAULTS_MAX; i++) faults.add({ status: 500, resource: "nothing" });
  assertThrows(() => faults.add({ status: 500 }), ApiError, "there are 1000 faults already");
});

Deno.test("faults over HTTP are added, listed, and taken away", async () => {
  const { cluster } = await place({ components: ["api"] });
  await using _ = cluster;
  const ask = async (method: string, path = "", body?: unknown) => {
    const answer = await cluster.fetch(`/plesio/v1/faults${path}`, {
      method,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return { status: answer.status, body: await answer.json() };
  };
  const fault = { name: "busy", verb: "list", status: 503 };
  assertEquals((await ask("POST", "", fault)).status, 201);
  assertEquals((await ask("POST", "", fault)).body.message, 'there is a fault "busy" already');
  assertEquals((await ask("GET", "/busy")).body.struck, 0);
  assertEquals((await ask("GET")).body.faults.length, 1);
  assertEquals((await ask("DELETE", "/busy")).body, { faults: [] });
  assertEquals((await ask("DELETE", "/busy")).status, 404);
});
