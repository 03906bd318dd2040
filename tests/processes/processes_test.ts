/**
 * Several processes of one cluster on one store, in this one: what one of them answers holds at once at the others.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { Cluster, type ClusterOptions } from "../../mod.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import { ManualClock, MemoryKv } from "../../kv/mod.ts";

const core = (plural: string) => ({ group: "", version: "v1", plural });

/** Two processes under one clock. */
async function twoOf(first: ClusterOptions = {}, second: ClusterOptions = {}) {
  const memory = new MemoryKv();
  const clock = new ManualClock();
  const open = (options: ClusterOptions) =>
    Cluster.start({ clock, nodes: 0, components: ["api"], kv: memory.open(), ...options });
  // Both begin the database at once
  const [a, b] = await Promise.all([open(first), open(second)]);
  return {
    a,
    b,
    clock,
    open,
    /** Time passes, in steps in which both may do something. */
    async pass(ms: number) {
      for (let at = 0; at < ms; at += 500) {
        await clock.advance(500);
        for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
      }
    },
    async [Symbol.asyncDispose]() {
      await a.stop();
      await b.stop();
    },
  };
}

const json = async (answer: Promise<Response>) => await (await answer).json();

function post(body: unknown): RequestInit {
  return {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json" },
  };
}

Deno.test("a write that one process answered is seen by a later read at another", async () => {
  await using world = await twoOf();
  const { a, b } = world;
  for (let i = 0; i < 20; i++) {
    const [writer, reader] = i % 2 ? [a, b] : [b, a];
    const made = await json(
      writer.fetch("/api/v1/namespaces/default/configmaps", post({ metadata: { name: `c${i}` } })),
    );
    const read = await json(reader.fetch(`/api/v1/namespaces/default/configmaps/c${i}`));
    assertEquals(read.metadata.resourceVersion, made.metadata.resourceVersion);
  }
});

Deno.test("a kind that is defined at one process is served at the others at once", async () => {
  await using world = await twoOf();
  const { a, b } = world;
  const crd = {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "ships.sea.test" },
    spec: {
      group: "sea.test",
      scope: "Namespaced",
      names: { plural: "ships", singular: "ship", kind: "Ship" },
      versions: [{
        name: "v1",
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: "object", properties: { spec: { type: "object" } } } },
      }],
    },
  };
  const made = await a.fetch("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", post(crd));
  assertEquals(made.status, 201, await made.text());
  const ship = { apiVersion: "sea.test/v1", kind: "Ship", metadata: { name: "one" } };
  const answer = await b.fetch("/apis/sea.test/v1/namespaces/default/ships", post(ship));
  assertEquals(answer.status, 201, await answer.text());
  const groups = await json(b.fetch("/apis/sea.test/v1"));
  assertEquals(groups.resources.map(({ name }: { name: string }) => name), ["ships"]);
  const gone = await b.fetch(
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ships.sea.test",
    { method: "DELETE" },
  );
  assertEquals(gone.status, 200);
});

Deno.test("a policy and a role that are written at one process hold at the others at once", async () => {
  const tokens = new Map([["t", { name: "ada", groups: ["system:authenticated"] }]]);
  await using world = await twoOf({ tokens }, { tokens });
  const { a, b } = world;
  const asAda = { headers: { authorization: "Bearer t" } };
  assertEquals((await b.fetch("/api/v1/namespaces/default/configmaps", asAda)).status, 403);
  const rbac = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
  const binding = {
    metadata: { name: "ada" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "view" },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "ada" }],
  };
  await a.fetch(rbac, post(binding));
  assertEquals((await b.fetch("/api/v1/namespaces/default/configmaps", asAda)).status, 200);
  await a.fetch(`${rbac}/ada`, { method: "DELETE" });
  assertEquals((await b.fetch("/api/v1/namespaces/default/configmaps", asAda)).status, 403);

  const admission = "/apis/admissionregistration.k8s.io/v1";
  await a.fetch(
    `${admission}/validatingadmissionpolicies`,
    post({
      metadata: { name: "no-maps" },
      spec: {
        matchConstraints: {
          resourceRules: [{
            apiGroups: [""],
            apiVersions: ["v1"],
            operations: ["CREATE"],
            resources: ["configmaps"],
          }],
        },
        validations: [{ expression: "false", message: "no maps here" }],
      },
    }),
  );
  await a.fetch(
    `${admission}/validatingadmissionpolicybindings`,
    post({
      metadata: { name: "no-maps" },
      spec: { policyName: "no-maps", validationActions: ["Deny"] },
    }),
  );
  const refused = await b.fetch(
    "/api/v1/namespaces/default/configmaps",
    post({ metadata: { name: "late" } }),
  );
  assertMatch(await refused.text(), /no maps here/);
});

Deno.test("a token key that one process drops is refused by the others", async () => {
  await using world = await twoOf();
  const { a, b } = world;
  await a.fetch("/api/v1/namespaces/default/serviceaccounts", post({ metadata: { name: "sa" } }));
  const tokenAt = async (cluster: Cluster) => {
    const path = "/api/v1/namespaces/default/serviceaccounts/sa/token";
    return (await json(cluster.fetch(path, post({ spec: {} })))).status.token as string;
  };
  const statusAt = async (cluster: Cluster, token: string) => {
    const headers = { authorization: `Bearer ${token}` };
    const answer = await cluster.fetch("/api", { headers });
    await answer.body?.cancel();
    return answer.status;
  };
  const old = await tokenAt(b);
  // Discovery is for all who are authenticated
  const discovery = {
    metadata: { name: "all" },
    roleRef: {
      apiGroup: "rbac.authorization.k8s.io",
      kind: "ClusterRole",
      name: "system:discovery",
    },
    subjects: [{
      kind: "Group",
      apiGroup: "rbac.authorization.k8s.io",
      name: "system:authenticated",
    }],
  };
  await a.fetch("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", post(discovery));
  assertEquals(await statusAt(a, old), 200);
  await a.rotateTokenKey();
  const fresh = await tokenAt(b);
  assertEquals([await statusAt(a, fresh), await statusAt(b, old)], [200, 200]);
  await a.dropOldTokenKeys();
  // A signature that was found right is remembered for ten seconds, as upstream does
  await world.clock.advance(11_000);
  assertEquals([await statusAt(b, old), await statusAt(b, fresh)], [401, 200]);
  await a.fetch("/api/v1/namespaces/default/serviceaccounts/sa", { method: "DELETE" });
  assertEquals(await statusAt(b, fresh), 401);
});

Deno.test("a log-in link of one process is good once at any of them, and its token at all, until it is ended", async () => {
  await using world = await twoOf();
  const { a, b, open } = world;
  const ask = (at: Cluster, path: string, init?: RequestInit) =>
    at.api.fetch(new Request(`https://plesio${path}`, init));
  const { code } = await json(a.fetch("/plesio/v1/login", { method: "POST" }));
  const exchange = (at: Cluster) => ask(at, "/dashboard/login", post({ code }));
  const answers = await Promise.all([exchange(b), exchange(a), exchange(b)]);
  assertEquals(answers.map(({ status }) => status).sort(), [201, 401, 401]);
  const { token } = await answers.find(({ ok }) => ok)!.json();
  const bearer = { headers: { authorization: `Bearer ${token}` } };
  const seen = async (at: Cluster) => (await ask(at, "/api/v1/namespaces", bearer)).status;
  await using late = await open({});
  for (const at of [a, b, late]) assertEquals(await seen(at), 200);
  const { status } = await ask(b, "/dashboard/login", { method: "DELETE", ...bearer });
  assertEquals(status, 204);
  for (const at of [a, b, late]) assertEquals(await seen(at), 401);
});

Deno.test("processes that begin one database at once have one authority and one key", async () => {
  await using world = await twoOf();
  const { a, b } = world;
  for (const cluster of [a, b]) {
    await cluster.listen({ port: 0, underManualClock: true, peer: {} });
  }
  const [one, other] = [await a.access(), await b.access()];
  assertEquals(one.authorityPem, other.authorityPem);
  assertEquals(one.certificatePem, other.certificatePem);
  await a.rotateAuthority();
  await b.fetch("/api");
  assertEquals((await b.access()).authorityPem, (await a.access()).authorityPem);
});

Deno.test("a key at rest that one process makes is the one by which all seal from then on", async () => {
  await using world = await twoOf();
  const { a, b } = world;
  const secret = (name: string) => ({ metadata: { name }, stringData: { word: name } });
  const secrets = "/api/v1/namespaces/default/secrets";
  await b.fetch(secrets, post(secret("before")));
  await a.rotateSealingKey();
  const made = await b.fetch(secrets, post(secret("after")));
  assertEquals(made.status, 201, await made.text());
  assertEquals(b.sealingKeys(), a.sealingKeys());
  await using third = await world.open({});
  const { items } = await json(third.fetch(secrets)) as { items: KubeObject[] };
  assertEquals(items.map(({ metadata: { name } }) => name), ["after", "before"]);
});

Deno.test("addresses, ports and quotas are given once, whichever process is asked", async () => {
  await using world = await twoOf();
  const { a, b } = world;
  const quota = { metadata: { name: "few" }, spec: { hard: { "count/configmaps": "5" } } };
  await a.fetch("/api/v1/namespaces/default/resourcequotas", post(quota));
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      (i % 2 ? a : b).fetch(
        "/api/v1/namespaces/default/configmaps",
        post({ metadata: { name: `q${i}` } }),
      )),
  );
  const codes = answers.map(({ status }) => status);
  for (const answer of answers) await answer.body?.cancel();
  assertEquals(codes.filter((code) => code === 201).length, 5);
  const services = await Promise.all(
    Array.from({ length: 40 }, (_, i) =>
      json(
        (i % 2 ? a : b).fetch(
          "/api/v1/namespaces/default/services",
          post({ metadata: { name: `s${i}` }, spec: { type: "NodePort", ports: [{ port: 80 }] } }),
        ),
      )),
  );
  assertEquals(new Set(services.map(({ spec }) => spec.clusterIP)).size, 40);
  assertEquals(new Set(services.map(({ spec }) => spec.ports[0].nodePort)).size, 40);
});

Deno.test("a watch goes on at another process without a gap or a repeat", async () => {
  await using world = await twoOf();
  const { a, b } = world;
  const { metadata } = await json(a.fetch("/api/v1/namespaces/default/configmaps"));
  for (let i = 0; i < 5; i++) {
    const name = `w${i}`;
    await a.fetch("/api/v1/namespaces/default/configmaps", post({ metadata: { name } }));
  }
  const seen: string[] = [];
  let at = metadata.resourceVersion;
  for (let i = 0; seen.length < 5; i++) {
    const watch = await (i % 2 ? a : b).client.watch<KubeObject>(
      { resource: core("configmaps"), namespace: "default" },
      { resourceVersion: at },
    );
    for await (const events of watch) {
      // One at a time, whatever came at once
      seen.push(events[0].object.metadata.name);
      at = events[0].object.metadata.resourceVersion!;
      break;
    }
    watch.close();
  }
  assertEquals(seen, ["w0", "w1", "w2", "w3", "w4"]);
});

Deno.test("nodes of one prefix are hosted by one process, which others find, and move when it goes", async () => {
  await using world = await twoOf({ nodes: 2, components: ["nodes"] }, {
    nodes: 2,
    components: ["nodes"],
  });
  const { a, b, pass } = world;
  const ready = async (cluster: Cluster) => {
    const { items } = await json(cluster.fetch("/api/v1/nodes"));
    return items.map((node: KubeObject) => node.metadata.name);
  };
  await pass(3_000);
  assertEquals(await ready(b), ["plesio-0", "plesio-1"]);
  const hosts = () =>
    [a, b].filter((one) => one.actors().some((actor) => actor.address === "node/plesio-host"));
  assertEquals(hosts().length, 1);
  const [first] = hosts();
  const other = first === a ? b : a;
  const use = async (cluster: Cluster) =>
    (await json(cluster.fetch("/apis/metrics.k8s.io/v1beta1/nodes"))).items.length;
  assertEquals(await use(first), 2);
  // Neither listens anywhere: what one asks of the other goes by records of the store
  await pass(1_000);
  assertEquals(await use(other), 2);
  const pod = {
    metadata: { name: "told" },
    spec: { nodeName: "plesio-1", containers: [{ name: "c", image: "nginx" }] },
  };
  await other.fetch(
    "/api/v1/namespaces/default/serviceaccounts",
    post({ metadata: { name: "default" } }),
  );
  assertEquals((await other.fetch("/api/v1/namespaces/default/pods", post(pod))).status, 201);
  await pass(2_000);
  const log = "/api/v1/namespaces/default/pods/told/log";
  const texts = await Promise.all([first, other].map(async (one) => (await one.fetch(log)).text()));
  assertMatch(texts[0], /simulated: started container c/);
  assertEquals(texts[1], texts[0]);
  await first.stop();
  await pass(3_000);
  assertEquals(other.actors().some((actor) => actor.address === "node/plesio-host"), true);
  assertEquals(await use(other), 2);
});

Deno.test("why a pod is pending is told by every process, whichever has the scheduler", async () => {
  const components = ["api", "scheduler"] as const;
  await using world = await twoOf({ components }, { components });
  const { a, b, pass } = world;
  const accounts = "/api/v1/namespaces/default/serviceaccounts";
  await a.fetch(accounts, post({ metadata: { name: "default" } }));
  const pod = { metadata: { name: "p" }, spec: { containers: [{ name: "c", image: "nginx" }] } };
  assertEquals((await b.fetch("/api/v1/namespaces/default/pods", post(pod))).status, 201);
  await pass(3_000);
  const path = "/api/v1/namespaces/default/pods/p/explanation";
  const [one, other] = await Promise.all([json(a.fetch(path)), json(b.fetch(path))]);
  assertEquals(one.kind, other.kind);
  assertEquals(one.metadata.name, "p");
  assertEquals(other.metadata.name, "p");
  assertEquals((await b.fetch(path.replace("/p/", "/q/"))).status, 404);
});
