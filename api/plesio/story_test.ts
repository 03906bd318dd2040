import { assert, assertEquals, assertMatch, equal } from "@std/assert";
import { ManualClock, openDatabase } from "../../kv/mod.ts";
import { Cluster } from "../../mod.ts";
import { createKinds } from "../kinds/mod.ts";
import type { KubeObject } from "../machinery/types.ts";
import { objectCodec } from "../server/codec.ts";
import type { Hop, Story } from "../client/plesio.ts";
import { STORY_HOPS_MAX, storyOf } from "./story.ts";
import { storyText } from "./story_text.ts";

const DEPLOYMENTS = { group: "apps", version: "v1", plural: "deployments" };
const core = (plural: string) => ({ group: "", version: "v1", plural });
const labels = { app: "web" };
const WEB = {
  metadata: { name: "web" },
  spec: {
    replicas: 2,
    selector: { matchLabels: labels },
    template: { metadata: { labels }, spec: { containers: [{ name: "c", image: "nginx" }] } },
  },
};
const PATH = "/apis/apps/v1/namespaces/default/deployments/web";

/** A cluster in which a Deployment has become ready behind a Service. */
async function deployed(): Promise<Cluster> {
  const cluster = await Cluster.start({ nodes: 2 });
  await cluster.settle();
  const service = { metadata: { name: "web" }, spec: { selector: labels, ports: [{ port: 80 }] } };
  await cluster.client.create({ resource: core("services"), namespace: "default" }, service);
  await cluster.settle();
  await cluster.client.create({ resource: DEPLOYMENTS, namespace: "default" }, WEB);
  await cluster.settle();
  return cluster;
}

async function told(cluster: Cluster, path: string): Promise<Story> {
  const reply = await cluster.fetch(`/plesio/v1/story${path}`);
  assertEquals(reply.status, 200);
  return await reply.json();
}

/** The hop that one reacted to, in the same story. */
function causeOf({ hops }: Story, hop: Hop): Hop {
  return hops.find(({ revision }) => revision === hop.because)!;
}

Deno.test("a Deployment's story goes from its request through every part of the cluster to Ready", async () => {
  await using cluster = await deployed();
  const story = await told(cluster, PATH);
  assertEquals(story, JSON.parse(JSON.stringify(await cluster.story(PATH))));
  assertEquals(story.object, {
    apiVersion: "apps/v1",
    kind: "Deployment",
    namespace: "default",
    name: "web",
  });
  assertEquals(story.missing, undefined);
  const [first, ...rest] = story.hops;
  assertEquals([first.part, first.verb, first.because], ["API server", "create", undefined]);
  assertEquals(first.by, "kubernetes-admin plesio");
  // One request, one trace; and each hop reacts to one that is told before it
  for (const hop of rest) {
    assertEquals(hop.trace, first.trace);
    const cause = causeOf(story, hop);
    assert(cause.revision < hop.revision);
    assertEquals(hop.afterMs, Date.parse(hop.time) - Date.parse(cause.time));
    assertEquals(hop.sinceMs, Date.parse(hop.time) - Date.parse(first.time));
  }
  const parts = new Set(story.hops.map(({ part }) => part));
  const wanted = [
    "API server",
    "deployment controller",
    "replica set controller",
    "scheduler",
    "node",
    "endpoint slice controller",
  ];
  for (const part of wanted) assert(parts.has(part), `${part} is not in ${[...parts]}`);
  // The way of one pod, backwards
  const ready = story.hops.find(({ object, what }) =>
    object.kind === "Pod" && /Ready/.test(what!)
  )!;
  const way = [ready];
  while (way[0].because) way.unshift(causeOf(story, way[0]));
  assertEquals(
    way.map(({ part, verb, object }) => `${part}: ${verb} ${object.kind}`).slice(0, 4),
    [
      "API server: create Deployment",
      "deployment controller: create ReplicaSet",
      "replica set controller: create Pod",
      "scheduler: create/binding Pod",
    ],
  );
  assert(way.slice(4).every(({ part, node }) => part === "node" && /^plesio-/.test(node!)));
  const last = story.hops.findLast(({ object }) => object.kind === "Deployment")!;
  assertEquals([last.part, last.verb], ["deployment controller", "update/status"]);
  assertMatch(last.what!, /available/);
  // The same as facts: who speaks another language needs no English
  const isReady = { what: "condition", type: "Ready", holds: true } as const;
  assert(ready.changes!.some((change) => equal(change, isReady)), JSON.stringify(ready.changes));
  const bound = story.hops.find(({ verb }) => verb === "create/binding")!;
  assertEquals(bound.changes![0], {
    what: "field",
    field: "node",
    to: bound.what!.match(/plesio-\d/)![0],
  });
});

Deno.test("a Pod's story is the way to that Pod and what it led to, without its siblings", async () => {
  await using cluster = await deployed();
  const { items } = await cluster.client.list({ resource: core("pods"), namespace: "default" });
  const stories = await Promise.all(
    items.map(({ metadata: { name } }) =>
      cluster.story({ resource: core("pods"), namespace: "default", name })
    ),
  );
  // The slice is written once for what changed together: after one of them
  const led = stories.findIndex(({ hops }) =>
    hops.some(({ object }) => object.kind === "EndpointSlice")
  );
  assert(led >= 0);
  const [object, story] = [items[led], stories[led]];
  const pod = object.metadata.name;
  const pods = story.hops.filter(({ object }) => object.kind === "Pod");
  assert(pods.length >= 3);
  assert(pods.every(({ object }) => object.name === pod));
  assertEquals(story.hops[0].object.kind, "Deployment");
  // By the object itself, and after it has gone
  assertEquals(await cluster.story({ ...object, apiVersion: "v1", kind: "Pod" }), story);
  await cluster.client.delete({ resource: core("pods"), namespace: "default", name: pod });
  await cluster.settle();
  const after = await cluster.story({ ...object, apiVersion: "v1", kind: "Pod" });
  const gone = after.hops.findLast(({ object }) => object.name === pod)!;
  assertEquals([gone.verb, gone.part], ["delete", "node"]);
  assert(
    after.hops.some(({ object, verb }) =>
      object.kind === "Pod" && object.name !== pod && verb === "create"
    ),
    "the pod that replaces it follows from its deletion",
  );
});

Deno.test("each request begins a part of its own: a change, and a deletion with all that it takes along", async () => {
  await using cluster = await deployed();
  const web = { resource: DEPLOYMENTS, namespace: "default", name: "web" };
  await cluster.client.patch(web, { type: "merge", body: { spec: { replicas: 3 } } });
  await cluster.settle();
  await cluster.client.delete(web);
  await cluster.settle();
  const story = await cluster.story(web);
  const began = story.hops.filter(({ because }) => because === undefined);
  assertEquals(began.map(({ verb }) => verb), ["create", "patch", "delete"]);
  assertEquals(new Set(began.map(({ trace }) => trace)).size, 3);
  const after = (root: Hop) =>
    new Set(
      story.hops.filter(({ trace, because }) => because && trace === root.trace)
        .map(({ part, verb, object }) => `${part}: ${verb} ${object.kind}`),
    );
  assert(after(began[1]).has("deployment controller: update ReplicaSet"));
  assert(after(began[1]).has("scheduler: create/binding Pod"));
  assertEquals(
    [...after(began[2])].filter((text) => text.includes("delete")).sort(),
    [
      "endpoint slice controller: delete EndpointSlice",
      "garbage collector: delete Pod",
      "garbage collector: delete ReplicaSet",
      "node: delete Pod",
    ],
  );
  // What became ready follows from the pod, and not from the controller's own last word
  const ready = story.hops.find(({ object, what }) =>
    object.kind === "ReplicaSet" && /^ready/.test(what ?? "")
  )!;
  assertEquals(causeOf(story, ready).part, "node");
});

Deno.test("as text a story is a tree that kubectl shows; bad paths are told what a path is", async () => {
  await using cluster = await deployed();
  const text = await (await cluster.fetch(`/plesio/v1/story${PATH}?format=text`)).text();
  const lines = text.trimEnd().split("\n");
  assertMatch(lines[0], /^The story of Deployment default\/web, since \d{4}-/);
  assertMatch(
    lines[2],
    /^ +\+0 ms {2}API server \(.+\): create Deployment default\/web: replicas 2 \[\d+\]$/,
  );
  assert(
    lines.some((line) => /─ scheduler: create\/binding Pod .+: node plesio-/.test(line)),
    text,
  );
  assert(lines.some((line) => /─ node plesio-\d: update\/status Pod .+ Ready/.test(line)), text);
  const accept = { headers: { accept: "text/plain" } };
  assertEquals(await (await cluster.fetch(`/plesio/v1/story${PATH}`, accept)).text(), text);
  const status = async (path: string, init?: RequestInit) => {
    const reply = await cluster.fetch(`/plesio/v1/story${path}`, init);
    return [reply.status, (await reply.json()).message];
  };
  assertEquals(await status("/apis/apps/v1/namespaces/default/deployments/none"), [
    404,
    'deployments.apps "none" not found',
  ]);
  const [code, message] = await status("/apis/apps/v1/deployments");
  assertEquals(code, 404);
  assertMatch(message, /a story is of one object/);
  assertEquals((await status(PATH, { method: "POST" }))[0], 405);
});

Deno.test("a story of more hops than the limit tells the first, and says so", async () => {
  await using cluster = await Cluster.start({
    nodes: 0,
    components: ["api"],
  });
  const maps = { resource: core("configmaps"), namespace: "default" };
  await cluster.client.create(maps, { metadata: { name: "m" } });
  for (let n = 0; n < STORY_HOPS_MAX + 2; n++) {
    const body = { data: { n: String(n) } };
    await cluster.client.patch({ ...maps, name: "m" }, { type: "merge", body });
  }
  const story = await cluster.story({ ...maps, name: "m" });
  assertEquals(story.hops.length, STORY_HOPS_MAX);
  assertEquals(story.missing, [`3 later hops: ${STORY_HOPS_MAX} are told`]);
  assertEquals([story.untold, story.since], [3, undefined]);
  assertMatch(storyText(story), /Not told: 3 later hops/);
});

Deno.test("a story looks through no more revisions than its limit, and says what history has forgotten", async () => {
  const clock = new ManualClock();
  const database = await openDatabase<KubeObject>({ codec: objectCodec, clock });
  const put = (name: string, because: number) =>
    database.objects.write(
      (draft) =>
        draft.put(`/registry/configmaps/default/${name}`, { metadata: { name } } as KubeObject),
      { cause: { trace: "ab".repeat(16), because, by: "controller/x", verb: "create" } },
    );
  await put("a", 0);
  await put("b", 1);
  await put("c", 2);
  const source = { database, kinds: createKinds() };
  const path = "/api/v1/namespaces/default/configmaps/";
  const names = async (name: string, revisionsMax?: number) =>
    (await storyOf(source, path + name, { revisionsMax })).hops.map(({ object }) => object.name);
  assertEquals(await names("a"), ["a", "b", "c"]);
  assertEquals(await names("a", 1), ["a"]);
  // What led to it is looked up, however long ago
  assertEquals(await names("c", 1), ["a", "b", "c"]);
  // Who claims to react to the future is not believed
  await put("liar", 99);
  assertEquals(await names("liar"), ["liar"]);
  await put("b", 1);
  await database.objects.compact({ keepRevisions: 0, keepMs: 0 });
  const { hops, missing, since } = await storyOf(source, `${path}b`);
  assertEquals(hops.map(({ revision }) => revision), [1, 5]);
  assertEquals(missing, ["history begins at revision 5: what was before is gone"]);
  assertEquals(since, 5);
  await database.close();
});
