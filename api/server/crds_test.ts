import { assertEquals } from "@std/assert";
import { ManualClock } from "../../kv/clock.ts";
import type { Client, WatchEvent } from "../client/contract.ts";
import { createInformers, RETRY_MS_MAX } from "../client/informer.ts";
import { createKinds } from "../kinds/mod.ts";
import type { KubeObject } from "../machinery/types.ts";
import { ADMIN, CRDS, definitionOf, type Fixture, openApi } from "./fixture_test.ts";
import { REPLACED_MS } from "./watch.ts";

const WIDGETS = { group: "example.com", version: "v1", plural: "widgets" };
const widgets = { resource: WIDGETS, namespace: "default" };
const definition = { resource: CRDS, name: "widgets.example.com" };

const schema = {
  properties: { spec: { type: "object", properties: { size: { type: "integer" } } } },
};

/** An API that serves widgets, on a clock that stands still. */
async function openWidgets() {
  const clock = new ManualClock();
  const kinds = createKinds();
  const f = await openApi({ clock, kinds });
  const defined = async (plural: string, kind: string) => {
    const sized = definitionOf(plural, kind, { scope: "Namespaced", schema });
    await f.client.create({ resource: CRDS }, sized);
    const key = `/registry/apiextensions.k8s.io/customresourcedefinitions/${plural}.example.com`;
    await until(clock, () => f.database.objects.view().get(key)?.value.status?.conditions);
  };
  await defined("widgets", "Widget");
  return { f, clock, kinds, defined, row: () => kinds.byResource("example.com", "v1", "widgets") };
}

async function until(clock: ManualClock, holds: () => unknown): Promise<void> {
  while (!holds()) await clock.turn();
}

function widget(name: string, more: object = {}) {
  return { apiVersion: "example.com/v1", kind: "Widget", metadata: { name }, spec: {}, ...more };
}

/** Follows a watch: what it told, and whether it has ended. */
async function followed(client: Client) {
  const watch = await client.watch<KubeObject>(widgets);
  const seen = { told: [] as string[], ended: false, over: Promise.resolve() };
  const told = ({ type, object }: WatchEvent<KubeObject>) => `${type} ${object.metadata.name}`;
  seen.over = (async () => {
    for await (const events of watch) seen.told.push(...events.map(told));
    seen.ended = true;
  })();
  return seen;
}

/** The first object that a new watch over HTTP shows. */
async function shown(f: Fixture): Promise<KubeObject> {
  const url = "http://x/apis/example.com/v1/widgets?watch=1";
  const response = await f.api.fetch(new Request(url), { user: ADMIN });
  const reader = response.body!.getReader();
  const { value } = await reader.read();
  await reader.cancel();
  return JSON.parse(new TextDecoder().decode(value).split("\n")[0]).object;
}

Deno.test("a watch ends after its definition is gone, and has told that the last objects went", async () => {
  const { f, clock, row } = await openWidgets();
  await using _ = f;
  await f.client.create(widgets, widget("a"));
  await f.client.create(
    widgets,
    widget("held", { metadata: { name: "held", finalizers: ["example.com/f"] } }),
  );
  const seen = await followed(f.client);
  await f.client.delete(definition);
  await until(clock, () => seen.told.includes("DELETED a"));
  await clock.advance(10 * REPLACED_MS);
  assertEquals(seen.ended, false, "there is an object yet");
  const finalizers = { metadata: { finalizers: null } };
  await f.client.patch({ ...widgets, name: "held" }, { type: "merge", body: finalizers });
  await until(clock, () => row() === undefined);
  assertEquals(seen.ended, false);
  await clock.advance(REPLACED_MS);
  await seen.over;
  assertEquals(seen.told.filter((one) => one.startsWith("DELETED")), ["DELETED a", "DELETED held"]);
});

Deno.test("a watch ends after its definition's spec has changed, and the next shows the new schema", async () => {
  const { f, clock, row } = await openWidgets();
  await using _ = f;
  await f.client.create(widgets, widget("a"));
  const before = row();
  const seen = await followed(f.client);
  assertEquals((await shown(f)).spec, {});
  const path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/size/default";
  await f.client.patch(definition, { type: "json", body: [{ op: "add", path, value: 3 }] });
  await until(clock, () => row() !== before);
  await f.client.create(widgets, widget("b"));
  await clock.advance(REPLACED_MS);
  await seen.over;
  assertEquals(seen.told, ["ADDED a", "ADDED b"]);
  assertEquals((await shown(f)).spec, { size: 3 });
});

Deno.test("a watch goes on when only the labels or the status of its definition change", async () => {
  const { f, clock, kinds, row, defined } = await openWidgets();
  await using _ = f;
  const [before, version] = [row(), kinds.version];
  const seen = await followed(f.client);
  const labels = { metadata: { labels: { a: "b" } } };
  await f.client.patch(definition, { type: "merge", body: labels });
  const condition = { type: "Tested", status: "True", reason: "Test", message: "" };
  const body = [{ op: "add" as const, path: "/status/conditions/-", value: condition }];
  await f.client.patch({ ...definition, subresource: "status" }, { type: "json", body });
  // One after another: the first has been taken up once the second is served
  await defined("gadgets", "Gadget");
  assertEquals([row() === before, kinds.version], [true, version + 1]);
  await clock.advance(10 * REPLACED_MS);
  await f.client.create(widgets, widget("a"));
  await until(clock, () => seen.told.length > 0);
  assertEquals([seen.told, seen.ended], [["ADDED a"], false]);
});

Deno.test("a cache of a custom resource is quiet while that is gone, and goes on when it is back", async () => {
  const { f, clock, row, defined } = await openWidgets();
  await using _ = f;
  const errors: unknown[] = [];
  const informers = createInformers(f.client, clock, { onError: (_, error) => errors.push(error) });
  const cache = informers.for(WIDGETS);
  const heard: string[] = [];
  cache.subscribe(({ key, object }) => heard.push(`${object ? "+" : "-"}${key}`));
  await f.client.create(widgets, widget("a"));
  await until(clock, () => cache.size === 1);
  await f.client.delete(definition);
  await until(clock, () => row() === undefined && cache.size === 0);
  for (let i = 0; i < 20; i++) {
    await clock.advance(RETRY_MS_MAX);
    await clock.turn();
  }
  assertEquals([cache.resourceVersion, errors], ["", []], "it is gone");
  await defined("widgets", "Widget");
  await f.client.create(widgets, widget("b"));
  await clock.advance(RETRY_MS_MAX);
  await until(clock, () => cache.size === 1);
  assertEquals([heard, errors], [["+default/a", "-default/a", "+default/b"], []]);
  await informers.stop();
});

Deno.test("a cache of a kind that was never there says so, once", async () => {
  const clock = new ManualClock();
  await using f = await openApi({ clock });
  const errors: unknown[] = [];
  const informers = createInformers(f.client, clock, { onError: (_, error) => errors.push(error) });
  informers.for(WIDGETS);
  for (let i = 0; i < 20; i++) {
    await clock.advance(RETRY_MS_MAX);
    await clock.turn();
  }
  assertEquals(errors.length, 1);
  await informers.stop();
});
