import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Cause } from "../../kv/contract.ts";
import { httpClient } from "../client/http.ts";
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";
import { TraceIds, traceOf } from "./causes.ts";
import { ADMIN_TOKEN, core, type Fixture, openApi } from "./fixture_test.ts";

const PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const maps = { resource: core("configmaps"), namespace: "default" };
const web = { ...maps, name: "web" };

type Object = DeepReadonly<KubeObject>;

function revisionOf({ metadata }: Object): number {
  return Number(metadata.resourceVersion);
}

async function causeOf(f: Fixture, object: Object | number): Promise<Cause> {
  const revision = typeof object === "number" ? object : revisionOf(object);
  return (await f.database.objects.written(revision))!.cause!;
}

function remote(f: Fixture) {
  return httpClient({
    server: "https://plesio",
    transport: (request) => f.api.fetch(request),
    token: ADMIN_TOKEN,
    agent: "kubectl",
  });
}

Deno.test("a write begins a trace of its own; one that says what it reacts to goes on with that one's", async () => {
  await using f = await openApi();
  const first = await f.client.create(maps, { metadata: { name: "web" } });
  const began = await causeOf(f, first);
  assertMatch(began.trace, /^[0-9a-f]{32}$/);
  assertEquals([began.because, began.by, began.verb], [0, "kubernetes-admin test", "create"]);
  const actor = f.client.because(revisionOf(first), { by: "controller/maps" });
  const second = await actor.create(maps, { metadata: { name: "other" } });
  assertEquals(await causeOf(f, second), {
    trace: began.trace,
    because: revisionOf(first),
    by: "controller/maps",
    verb: "create",
  });
  const third = await f.client.create(maps, { metadata: { name: "third" } });
  assert((await causeOf(f, third)).trace !== began.trace);
});

Deno.test("who changes or deletes what it has read is linked to that revision; who says nothing begins anew", async () => {
  await using f = await openApi();
  const client = remote(f);
  const first = await client.create(maps, { metadata: { name: "web" } });
  const { trace, by } = await causeOf(f, first);
  assertEquals(by, "kubernetes-admin kubectl");
  const second = await client.update<KubeObject>(web, { ...first, data: { a: "1" } });
  assertEquals(await causeOf(f, second), { trace, by, because: revisionOf(first), verb: "update" });
  const { resourceVersion } = second.metadata;
  const body = { metadata: { resourceVersion }, data: { a: "2" } };
  const third = await client.patch<KubeObject>(web, { type: "merge", body });
  assertEquals(await causeOf(f, third), { trace, by, because: revisionOf(second), verb: "patch" });
  const applied = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "web" } };
  const fourth = await client.patch<KubeObject>(web, { type: "apply", body: { ...applied } });
  const anew = await causeOf(f, fourth);
  assertEquals([anew.because, anew.verb, anew.trace === trace], [0, "apply", false]);
  await client.delete(web, { preconditions: { resourceVersion: fourth.metadata.resourceVersion } });
  const gone = await causeOf(f, f.database.objects.view().revision);
  assertEquals([gone.because, gone.verb, gone.trace], [revisionOf(fourth), "delete", anew.trace]);
});

Deno.test("over HTTP an actor says why by a header, and a trace that began outside goes on", async () => {
  await using f = await openApi();
  const first = await f.client.create(maps, { metadata: { name: "web" } });
  const revision = revisionOf(first);
  const second = await remote(f).because(revision).create(maps, { metadata: { name: "second" } });
  const { trace } = await causeOf(f, first);
  const cause = await causeOf(f, second as Object);
  assertEquals([cause.because, cause.trace], [revision, trace]);
  const post = async (headers: Record<string, string>) => {
    const reply = await f.api.fetch(
      new Request("https://plesio/api/v1/namespaces/default/configmaps", {
        method: "POST",
        headers: {
          authorization: `Bearer ${ADMIN_TOKEN}`,
          "content-type": "application/json",
          ...headers,
        },
        body: JSON.stringify({
          apiVersion: "v1",
          kind: "ConfigMap",
          metadata: { generateName: "x-" },
        }),
      }),
    );
    return [reply.status, await reply.json()];
  };
  const [, outside] = await post({ traceparent: PARENT });
  assertEquals((await causeOf(f, outside)).trace, "0af7651916cd43dd8448eb211c80319c");
  assertEquals((await post({ "plesio-because": "soon" }))[0], 400);
  // What is not there, or not yet, is no trace to go on with
  const [status, lost] = await post({ "plesio-because": "999999999" });
  assertEquals([status, (await causeOf(f, lost)).because], [201, 999999999]);
});

Deno.test("all that one request writes is of one cause", async () => {
  await using f = await openApi();
  for (const name of ["a", "b", "c"]) await f.client.create(maps, { metadata: { name } });
  const before = f.database.objects.view().revision;
  await f.client.deleteCollection(maps);
  const causes: Cause[] = [];
  for await (const { cause } of f.database.objects.changes(before)) causes.push(cause!);
  assertEquals(causes.length, 3);
  for (const cause of causes) assertEquals(cause, causes[0]);
  assertEquals(causes[0].verb, "deletecollection");
});

Deno.test("traceOf() takes W3C's header, also of later versions, and nothing else", () => {
  const trace = "0af7651916cd43dd8448eb211c80319c";
  const span = "b7ad6b7169203331";
  assertEquals(traceOf(PARENT), { trace, span, sampled: true });
  assertEquals(traceOf(`cc-${trace}-${span}-00-more`), { trace, span, sampled: false });
  for (
    const bad of [
      "",
      `00-${trace}-${span}`,
      `00-${trace}-${span}-01-more`,
      `ff-${trace}-${span}-01`,
      `00-${"0".repeat(32)}-${span}-01`,
      `00-${trace}-${"0".repeat(16)}-01`,
      `00-${trace.toUpperCase()}-${span}-01`,
    ]
  ) assertEquals(traceOf(bad), {}, bad);
});

Deno.test("TraceIds.next() never repeats itself, and its last half is spread evenly", () => {
  const ids = new TraceIds(new Uint8Array(16).fill(3));
  const seen = new Set<string>();
  const firsts = new Array<number>(16).fill(0);
  for (let i = 0; i < 16_000; i++) {
    const id = ids.next();
    seen.add(id);
    firsts[parseInt(id[16], 16)]++;
  }
  assertEquals(seen.size, 16_000);
  for (const count of firsts) assert(count > 800 && count < 1_200, String(firsts));
});

Deno.test("who wrote is told right however many users and programs there are", async () => {
  await using f = await openApi();
  for (let i = 0; i < 150; i++) {
    const user = { name: `user-${i % 75}`, groups: ["system:masters"] };
    const made = await f.api.client(user, `program-${i}`).create(maps, {
      metadata: { name: `m${i}` },
    });
    assertEquals((await causeOf(f, made)).by, `user-${i % 75} program-${i}`);
  }
});
