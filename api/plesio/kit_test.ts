import { assert, assertEquals, assertMatch } from "@std/assert";
import { Cluster } from "../../mod.ts";

const configMaps = { group: "", version: "v1", plural: "configmaps" };
const deployments = { group: "apps", version: "v1", plural: "deployments" };

/** A cluster, and how its endpoints are asked. */
async function place(options: Parameters<typeof Cluster.start>[0] = {}) {
  const cluster = await Cluster.start({ nodes: 1, testKit: true, ...options });
  const ask = async (method: string, path: string, body?: unknown) => {
    const init = { method, ...(body !== undefined && { body: JSON.stringify(body) }) };
    const answer = await cluster.fetch(`/plesio/v1/${path}`, init);
    return { status: answer.status, body: await answer.json() };
  };
  return { cluster, ask };
}

function deployment(name: string, replicas: number) {
  const labels = { app: name };
  const containers = [{ name: "c", image: "nginx" }];
  return {
    metadata: { name },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers } },
    },
  };
}

Deno.test("the test kit's endpoints answer 404 and say how to have it, where there is none", async () => {
  await using cluster = await Cluster.start({ nodes: 0, components: ["api"] });
  for (const path of ["clock", "settle", "reset"]) {
    const answer = await cluster.fetch(`/plesio/v1/${path}`, { method: "POST" });
    assertEquals(answer.status, 404);
    assertMatch((await answer.json()).message, /--test-kit/);
  }
});

Deno.test("clock: advance, until a time, until something is so, jump", async (t) => {
  const { cluster, ask } = await place();
  await using _ = cluster;
  const { body: { now } } = await ask("GET", "clock");
  assertEquals(Date.parse(now), cluster.clock.now());
  await t.step("advance goes on by that much, past the deadline of every request", async () => {
    const { status, body } = await ask("POST", "clock", { advance: "1h30m" });
    assertEquals([status, body.advanced], [200, "1h30m0s"]);
    assertEquals(Date.parse(body.now) - Date.parse(now), 5_400_000);
  });
  await t.step("until a time", async () => {
    const then = new Date(cluster.clock.now() + 60_000).toISOString();
    assertEquals((await ask("POST", "clock", { until: then })).body.advanced, "1m0s");
    const past = await ask("POST", "clock", { until: "2020-01-01T00:00:00Z" });
    assertEquals(past.status, 400);
  });
  await t.step("until what lies under a path is so, and no further", async () => {
    await cluster.client.create(
      { resource: deployments, namespace: "default" },
      deployment("web", 3),
    );
    const path = "/apis/apps/v1/namespaces/default/deployments/web";
    for (
      const condition of [
        { cel: "object.status.readyReplicas == 3" },
        { jsonpath: "{.status.readyReplicas}", equals: "3" },
      ]
    ) {
      const { status, body } = await ask("POST", "clock", { until: { path, ...condition } });
      assertEquals(status, 200, JSON.stringify(body));
      assert(Date.parse(body.now) <= cluster.clock.now());
    }
    const { status, body } = await ask("POST", "clock", {
      until: { path, cel: "object.status.readyReplicas == 4", within: "5m" },
    });
    assertEquals([status, body.reason], [409, "ConditionNotMet"]);
    assertMatch(body.message, /does not hold, 5m0s later/);
    const nowhere = { path: "/nothing", cel: "true", within: "1s" };
    assertMatch(
      (await ask("POST", "clock", { until: nowhere })).body.message,
      /nothing lies there/,
    );
  });
  await t.step("jump", async () => {
    assertEquals((await ask("POST", "clock", { jump: "2h" })).body.advanced, "2h0m0s");
  });
  await t.step("what is asked wrongly is told what it may be", async () => {
    for (
      const [body, said] of [
        [{}, "exactly one of advance, until and jump must be said"],
        [{ advance: "1h", jump: "1h" }, "exactly one of advance, until and jump must be said"],
        [{ advance: "1 hour" }, 'advance: time: unknown unit " hour" in duration "1 hour"'],
        [{ advance: "-1h" }, 'advance must be a duration such as "1h30m", not "-1h"'],
        [{ advnace: "1h" }, /^unknown field "advnace": it has .*advance/],
        [{ until: "noon" }, 'until must be a time such as "2026-01-01T12:00:00Z", not "noon"'],
        [{ until: { path: "/a" } }, "until must have exactly one of cel and jsonpath"],
        [
          { until: { path: "/api/v1/pods?watch=true", cel: "true" } },
          'until.path names a stream, which never ends: "/api/v1/pods?watch=true"',
        ],
        [{ until: { path: "/api/v1/watch/pods", cel: "true" } }, /^until.path names a stream/],
        [{ until: { path: "a", cel: "true" } }, /^until.path must begin with a slash/],
        [{ until: { path: "/a", cel: "object.(" } }, /^until.cel: compilation failed/],
        [{ until: { path: "/a", jsonpath: "{" } }, /^until.jsonpath/],
        [{ until: { path: "/healthz", cel: "true" } }, "what lies at /healthz is no JSON"],
      ] as const
    ) {
      const answer = await ask("POST", "clock", body);
      assertEquals(answer.status, 400, JSON.stringify(body));
      if (typeof said === "string") assertEquals(answer.body.message, said);
      else assertMatch(answer.body.message, said);
    }
    assertEquals((await ask("DELETE", "clock")).status, 405);
  });
});

Deno.test("settle: answers at rest, and with who is busy where there is none", async () => {
  const { cluster, ask } = await place();
  await using _ = cluster;
  await cluster.client.create(
    { resource: deployments, namespace: "default" },
    deployment("web", 2),
  );
  assertEquals((await ask("POST", "settle", { within: "10s" })).status, 200);
  const web = { resource: deployments, namespace: "default", name: "web" };
  assertEquals((await cluster.client.get(web) as any).status.readyReplicas, 2);
  // A request whose body does not come to its end is one that is worked on
  let gone = () => {};
  const body = new ReadableStream({
    start: (controller) => void (gone = () => controller.error(new Error("the client has gone"))),
  });
  const path = "/api/v1/namespaces/default/configmaps";
  const stuck = cluster.fetch(path, { method: "POST", body });
  const answer = await ask("POST", "settle", { patience: "50ms" });
  assertEquals([answer.status, answer.body.reason], [409, "StillBusy"]);
  assertEquals(answer.body.message, "Still busy: requests");
  assertEquals(answer.body.details.causes, [{ reason: "StillBusy", message: "requests" }]);
  gone();
  await (await stuck).body?.cancel();
});

Deno.test("reset: objects are what they were, time and revisions go on, watches see it", async () => {
  const { cluster, ask } = await place();
  await using _ = cluster;
  const { client } = cluster;
  const before = cluster.clock.now();
  const nodes = { group: "", version: "v1", plural: "nodes" };
  const services = { group: "", version: "v1", plural: "services" };
  const crds = {
    group: "apiextensions.k8s.io",
    version: "v1",
    plural: "customresourcedefinitions",
  };
  const all = async () => {
    const names = [];
    for (const { key } of await everything(cluster)) names.push(key);
    return names;
  };
  const started = await all();
  for (let round = 0; round < 2; round++) {
    await client.create({ resource: deployments, namespace: "default" }, deployment("web", 3));
    const ip = { clusterIP: "10.96.7.7", ports: [{ port: 80 }] };
    await client.create({ resource: services, namespace: "default" }, {
      metadata: { name: "web" },
      spec: { ...ip, selector: { app: "web" } },
    });
    await client.create({ resource: crds }, {
      metadata: { name: "sites.example.com" },
      spec: {
        group: "example.com",
        scope: "Namespaced",
        names: { plural: "sites", kind: "Site" },
        versions: [{
          name: "v1",
          served: true,
          storage: true,
          schema: { openAPIV3Schema: { type: "object" } },
        }],
      },
    });
    await client.patch({ resource: nodes, name: "plesio-0" }, {
      type: "merge",
      body: { metadata: { labels: { mine: "yes" } }, spec: { unschedulable: true } },
    });
    await cluster.settle();
    const site = await cluster.fetch("/apis/example.com/v1/namespaces/default/sites", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        apiVersion: "example.com/v1",
        kind: "Site",
        metadata: { name: "a" },
      }),
    });
    assertEquals(site.status, 201);
    await site.body?.cancel();
    await client.delete({
      resource: { group: "", version: "v1", plural: "namespaces" },
      name: "default",
    })
      .catch(() => undefined);
    const { status, body } = await ask("POST", "reset");
    assertEquals(status, 200, JSON.stringify(body));
    assert(body.changed > 10);
    await cluster.settle();
    assertEquals(await all(), started);
    const node = await client.get({ resource: nodes, name: "plesio-0" }) as any;
    assertEquals([node.metadata.labels.mine, node.spec.unschedulable], [undefined, undefined]);
    const sites = await cluster.fetch("/apis/example.com/v1/namespaces/default/sites");
    await sites.body?.cancel();
    assertEquals(sites.status, 404);
  }
  assert(cluster.clock.now() >= before);
});

/** Keys of all objects but events, leases and what belongs to nobody in particular. */
async function everything(cluster: Cluster): Promise<{ key: string }[]> {
  const answer = await cluster.fetch("/debug/registry/");
  const { keys } = await answer.json();
  return keys.map((key: string) => ({ key }));
}

Deno.test("under the host's clock settle, reset and the rest work, and the clock goes by itself", async () => {
  const { cluster, ask } = await place({ clock: "real", components: ["api"] });
  await using _ = cluster;
  const { status, body } = await ask("POST", "clock", { advance: "1h" });
  assertEquals(status, 400);
  assertMatch(body.message, /by the machine's clock/);
  const target = { resource: configMaps, namespace: "default" };
  await cluster.client.create(target, { metadata: { name: "a" } });
  assertEquals((await ask("POST", "reset")).status, 200);
  const { items } = await cluster.client.list(target);
  assertEquals(items.filter(({ metadata }) => metadata.name === "a"), []);
});

Deno.test("reset: owners that come back have their own again, though they were known to be gone", async () => {
  const { cluster } = await place();
  await using _ = cluster;
  await cluster.client.create(
    { resource: deployments, namespace: "default" },
    deployment("web", 2),
  );
  await cluster.settle();
  await using fork = await cluster.fork();
  const web = { resource: deployments, namespace: "default", name: "web" };
  const state = async () => {
    const { metadata, status } = await fork.client.get<any>(web);
    const pods = await fork.client.list({
      resource: { group: "", version: "v1", plural: "pods" },
      namespace: "default",
    });
    const names = pods.items.map(({ metadata }) => metadata.name).sort();
    return { uid: metadata.uid, ready: status.readyReplicas, names };
  };
  const before = await state();
  for (let round = 0; round < 2; round++) {
    await fork.client.delete(web);
    await fork.settle();
    await fork.kit.reset();
    await fork.kit.advance("5m");
    assertEquals(await state(), before);
  }
});

Deno.test("clients outside are let act before time goes on, where that is asked for", async () => {
  const { cluster, ask } = await place({ controllers: "-*" });
  await using _ = cluster;
  const path = "/api/v1/namespaces/default/configmaps";
  const headers = { "content-type": "application/json" };
  const create = async (name: string) => {
    const body = JSON.stringify({ metadata: { name } });
    const made = await cluster.fetch(path, { method: "POST", headers, body });
    await made.body?.cancel();
  };
  const watch = await cluster.fetch(`${path}?watch=true&resourceVersion=0`);
  const operator = (async () => {
    const decoder = new TextDecoder();
    for await (const piece of watch.body!) {
      if (decoder.decode(piece).includes('"name":"asked"')) return await create("answered");
    }
  })();
  await create("asked");
  const began = cluster.clock.now();
  const { status } = await ask("POST", "clock", {
    until: { path: `${path}/answered`, cel: "true" },
    clients: "20ms",
  });
  await operator;
  assertEquals([status, cluster.clock.now() - began], [200, 0]);
});
