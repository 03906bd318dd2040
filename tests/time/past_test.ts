/** Reads of the past: over HTTP under a path of its own, and by `cluster.at`. */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import type { KubeList, KubeObject, ResourceId } from "../../api/machinery/types.ts";
import { ManualClock } from "../../kv/mod.ts";
import { Cluster } from "../../mod.ts";

const core = (plural: string): ResourceId => ({ group: "", version: "v1", plural });
const MAPS = { resource: core("configmaps"), namespace: "default" };
const AT = "/plesio/v1/at";

async function begun(): Promise<Cluster> {
  return await Cluster.start({
    nodes: 0,
    components: ["api"],
    tokens: new Map([
      ["reader", { name: "reader", groups: ["system:authenticated"] }],
    ]),
  });
}

async function put({ client }: Cluster, name: string, value: string): Promise<number> {
  const body = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name, labels: { side: value } },
    data: { value },
  };
  const put = await client.patch<KubeObject>({ ...MAPS, name }, {
    type: "apply",
    body,
    force: true,
  });
  return Number(put.metadata.resourceVersion);
}

async function ask(cluster: Cluster, path: string, init: RequestInit = {}) {
  const reply = await cluster.fetch(path, init);
  const json = reply.headers.get("content-type")?.startsWith("application/json");
  return { status: reply.status, body: json ? await reply.json() : await reply.text() };
}

const names = (list: KubeList<KubeObject>) => list.items.map(({ metadata }) => metadata.name);

Deno.test("GET and LIST show what was there at any revision, and when", async () => {
  await using cluster = await begun();
  const clock = cluster.clock as ManualClock;
  const states: { revision: number; time: string; values: string[] }[] = [];
  const values = new Map<string, string>();
  for (let i = 0; i < 12; i++) {
    await clock.advance(1_500);
    const name = `m${i % 4}`;
    values.set(name, `v${i}`);
    const revision = await put(cluster, name, `v${i}`);
    const time = new Date(clock.now()).toISOString();
    states.push({ revision, time, values: [...values.values()].sort() });
  }
  for (const { revision, time, values } of states) {
    for (const moment of [String(revision), time, encodeURIComponent(time)]) {
      const path = `${AT}/${moment}/api/v1/namespaces/default/configmaps`;
      const { body } = await ask(cluster, path);
      assertEquals(body.items.map((m: KubeObject) => m.data!.value).sort(), values);
      assertEquals(body.metadata.resourceVersion, String(revision));
    }
    const past = await cluster.at(revision);
    const list = await past.client.list<KubeObject>(MAPS);
    assertEquals(list.items.map((m) => m.data!.value).sort(), values);
    assertEquals([past.revision, new Date(past.time).toISOString()], [revision, time]);
  }
  const { body: range } = await ask(cluster, "/plesio/v1/time");
  const last = states[states.length - 1];
  assertEquals(range.newest, { revision: last.revision, time: last.time });
  assertEquals(range.oldest.revision, 0);
  const { revision, time } = states[0];
  for (const at of [String(revision), encodeURIComponent(time)]) {
    assertEquals((await ask(cluster, `/plesio/v1/time?at=${at}`)).body.at, { revision, time });
  }
});

Deno.test("selectors, pages, Tables, discovery and OpenAPI are those of the past", async () => {
  await using cluster = await begun();
  for (let i = 0; i < 5; i++) await put(cluster, `a${i}`, i % 2 ? "odd" : "even");
  const revision = await put(cluster, "a9", "odd");
  await cluster.client.deleteCollection(MAPS);
  const definitions = {
    resource: { group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions" },
  };
  const served = await cluster.client.create<KubeObject>(definitions, {
    metadata: { name: "widgets.example.com" },
    spec: {
      group: "example.com",
      scope: "Namespaced",
      names: { plural: "widgets", singular: "widget", kind: "Widget", listKind: "WidgetList" },
      versions: [{
        name: "v1",
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: "object" } },
      }],
    },
  });
  const widget = {
    resource: { group: "example.com", version: "v1", plural: "widgets" },
    namespace: "default",
  };
  await cluster.settle();
  const made = await cluster.client.create<KubeObject>(widget, {
    apiVersion: "example.com/v1",
    kind: "Widget",
    metadata: { name: "w" },
  });
  await cluster.client.delete({ ...definitions, name: "widgets.example.com" });
  await cluster.settle();
  const maps = `${AT}/${revision}/api/v1/namespaces/default/configmaps`;
  assertEquals(names((await ask(cluster, `${maps}?labelSelector=side=odd`)).body), [
    "a1",
    "a3",
    "a9",
  ]);
  const first = await ask(cluster, `${maps}?limit=4`);
  const token = encodeURIComponent(first.body.metadata.continue);
  const second = await ask(cluster, `${maps}?limit=4&continue=${token}`);
  assertEquals([...names(first.body), ...names(second.body)], ["a0", "a1", "a2", "a3", "a4", "a9"]);
  const accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
  const table = await ask(cluster, `${maps}/a1`, { headers: { accept } });
  assertEquals(table.body.rows[0].cells, ["a1", 1, "0s"]);
  const served1 = (at: string) => ask(cluster, `${AT}/${at}/apis/example.com/v1`);
  assertEquals((await served1(String(revision))).status, 404);
  assertEquals((await ask(cluster, "/apis/example.com/v1")).status, 404);
  const then = made.metadata.resourceVersion;
  assertEquals((await served1(then!)).body.resources[0].name, "widgets");
  const widgets = `${AT}/${then}/apis/example.com/v1/namespaces/default/widgets`;
  assertEquals(names((await ask(cluster, widgets)).body), ["w"]);
  const openapi = await ask(cluster, `${AT}/${then}/openapi/v3`);
  assertEquals("apis/example.com/v1" in openapi.body.paths, true);
  assertEquals(served.metadata.name, "widgets.example.com");
});

Deno.test("the past cannot be written to or watched, and ends where history does", async () => {
  await using cluster = await begun();
  const first = await put(cluster, "a", "1");
  const maps = (moment: unknown) => `${AT}/${moment}/api/v1/namespaces/default/configmaps`;
  const refused = async (path: string, init?: RequestInit) => {
    const { status, body } = await ask(cluster, path, init);
    assertEquals([body.kind, body.code], ["Status", status]);
    return `${status} ${body.reason}: ${body.message}`;
  };
  assertEquals(
    await refused(maps(first), { method: "POST", body: "{}" }),
    "405 MethodNotAllowed: the past cannot be changed: only GET and LIST are served here",
  );
  for (
    const path of [`${maps(first)}?watch=1`, maps(first).replace("/v1/names", "/v1/watch/names")]
  ) {
    assertStringIncludes(await refused(path), "405 MethodNotAllowed: the past does not change");
  }
  const pod = `${AT}/${first}/api/v1/namespaces/default/pods/p`;
  assertStringIncludes(await refused(`${pod}/log`), "405 MethodNotAllowed: the past has no log");
  assertStringIncludes(await refused(`${AT}/${first}/metrics`), "404 NotFound");
  assertStringIncludes(await refused(maps("then")), "400 BadRequest");
  assertStringIncludes(
    await refused(maps(999_999)),
    "504 Timeout: Timeout: Too large resource version",
  );
  for (let i = 0; i < 1_100; i++) await put(cluster, "a", String(i));
  await (cluster.clock as ManualClock).advance(10 * 60_000);
  await cluster.settle();
  assertEquals(
    await refused(maps(first)),
    "410 Expired: The resourceVersion for the provided list is too old.",
  );
  await assertRejects(() => cluster.at(first), Error, "no longer in the log");
});

Deno.test("nobody sees more of the past than of the present", async () => {
  await using cluster = await begun();
  const rbac = (plural: string) => ({ group: "rbac.authorization.k8s.io", version: "v1", plural });
  const revision = await put(cluster, "a", "1");
  const as = (token: string, path: string) =>
    cluster.api.fetch(
      new Request(`https://x${AT}/${revision}${path}`, {
        headers: token ? { authorization: `Bearer ${token}` } : {},
      }),
    );
  const status = async (token: string, path: string) => {
    const reply = await as(token, path);
    await reply.body?.cancel();
    return reply.status;
  };
  const maps = "/api/v1/namespaces/default/configmaps";
  assertEquals(await status("", maps), 401);
  assertEquals(await status("reader", maps), 403);
  const future = new Request(`https://x${AT}/999999${maps}`, {
    headers: { authorization: "Bearer reader" },
  });
  assertEquals((await cluster.api.fetch(future)).status, 403, "before the past is looked for");
  // Rights of now count, for what was there before they were given
  await cluster.client.create({ resource: rbac("roles"), namespace: "default" }, {
    metadata: { name: "maps" },
    rules: [{ apiGroups: [""], resources: ["configmaps"], verbs: ["list"] }],
  });
  await cluster.client.create({ resource: rbac("rolebindings"), namespace: "default" }, {
    metadata: { name: "maps" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "maps" },
    subjects: [{ kind: "User", apiGroup: "rbac.authorization.k8s.io", name: "reader" }],
  });
  assertEquals(await status("reader", maps), 200);
  assertEquals(await status("reader", `${maps}/a`), 403);
  assertEquals(await status("reader", "/api/v1/namespaces/default/secrets"), 403);
  assertEquals(await status("reader", "/api/v1"), 200);
  assertEquals(await status("reader", "/../../../api/v1/secrets"), 403);
  assertEquals(await status("reader", "//api/v1/secrets"), 404);
});
