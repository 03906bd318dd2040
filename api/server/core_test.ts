import { assert, assertEquals, assertRejects } from "@std/assert";
import { ApiError } from "../machinery/types.ts";
import { createInformers } from "../mod.ts";
import { PAGES_MS_MAX } from "./list.ts";
import { ManualClock } from "../../kv/mod.ts";
import type { Client } from "../client/contract.ts";
import {
  CONFIG_MAPS,
  CRDS,
  definitionOf,
  established,
  NAMESPACES,
  openApi,
  pod,
  PODS,
} from "./fixture_test.ts";

const at = { resource: PODS, namespace: "default" };
const maps = { resource: CONFIG_MAPS, namespace: "default" };

Deno.test("client: create, get, update, patch, delete of one object", async () => {
  await using f = await openApi();
  const made = await f.client.create(maps, { metadata: { name: "a" }, data: { x: "1" } });
  assertEquals(made.kind, "ConfigMap");
  assert(made.metadata.uid && made.metadata.resourceVersion && made.metadata.creationTimestamp);
  const got = await f.client.get({ ...maps, name: "a" });
  assert(got === made, "one shared object");
  const changed = await f.client.update({ ...maps, name: "a" }, { ...got, data: { x: "2" } });
  assert(Number(changed.metadata.resourceVersion) > Number(made.metadata.resourceVersion));
  const stale = await assertRejects(
    () => f.client.update({ ...maps, name: "a" }, { ...got, data: { x: "3" } }),
    ApiError,
  );
  assertEquals(stale.code, 409);
  const patch = { type: "merge" as const, body: { data: { y: "1" } } };
  const patched = await f.client.patch({ ...maps, name: "a" }, patch);
  assertEquals({ ...patched.data }, { x: "2", y: "1" });
  const same = await f.client.patch({ ...maps, name: "a" }, patch);
  assert(same === patched, "a patch that changes nothing writes nothing");
  const status = await f.client.delete({ ...maps, name: "a" });
  assertEquals(status.kind, "Status");
  const gone = await assertRejects(() => f.client.get({ ...maps, name: "a" }), ApiError);
  assertEquals(gone.message, `configmaps "a" not found`);
});

Deno.test("writes: what stands in no namespace loses the one that it names", async () => {
  await using f = await openApi();
  const resource = { group: "example.com", version: "v1", plural: "rules" };
  await f.client.create({ resource: CRDS }, definitionOf("rules", "Rule"));
  const metadata = { name: "a", namespace: "elsewhere" };
  const body = { apiVersion: "example.com/v1", kind: "Rule", metadata };
  await established(f);
  const made = await f.client.create({ resource }, body);
  assertEquals(made.metadata.namespace, undefined);
  const labels = { l: "1" };
  const applied = await f.client.patch({ resource, name: "a" }, {
    type: "apply",
    body: { ...body, metadata: { ...metadata, labels } },
  });
  assertEquals([applied.metadata.namespace, applied.metadata.labels], [undefined, labels]);
});

Deno.test("client: 32 creates of one name, one wins", async () => {
  await using f = await openApi();
  const all = await Promise.allSettled(
    Array.from({ length: 32 }, () => f.client.create(maps, { metadata: { name: "one" } })),
  );
  assertEquals(all.filter((r) => r.status === "fulfilled").length, 1);
  const refused = all.find((r) => r.status === "rejected") as PromiseRejectedResult;
  assertEquals(refused.reason.message, `configmaps "one" already exists`);
});

Deno.test("client: list pages show one revision", async () => {
  await using f = await openApi();
  for (let i = 0; i < 5; i++) await f.client.create(maps, { metadata: { name: `m${i}` } });
  const first = await f.client.list(maps, { limit: 2 });
  assertEquals(first.items.map((o) => o.metadata.name), ["m0", "m1"]);
  assertEquals(first.metadata.remainingItemCount, 3);
  await f.client.create(maps, { metadata: { name: "m0b" } });
  await f.client.delete({ ...maps, name: "m3" });
  const second = await f.client.list(maps, { limit: 2, continue: first.metadata.continue });
  assertEquals(second.items.map((o) => o.metadata.name), ["m2", "m3"]);
  const third = await f.client.list(maps, { continue: second.metadata.continue });
  assertEquals(third.items.map((o) => o.metadata.name), ["m4"]);
  assertEquals(third.metadata.resourceVersion, first.metadata.resourceVersion);
});

Deno.test("client: watch with a selector shows what enters and leaves", async () => {
  await using f = await openApi();
  const { metadata } = await f.client.list(maps);
  const { resourceVersion } = metadata;
  const watch = await f.client.watch(maps, { resourceVersion, labelSelector: "a=1" });
  const set = async (labels: Record<string, string | null>) =>
    await f.client.patch({ ...maps, name: "m" }, { type: "merge", body: { metadata: { labels } } });
  await f.client.create(maps, { metadata: { name: "m" } });
  await set({ a: "1" });
  await set({ b: "1" });
  const out = await set({ a: null });
  const seen: string[] = [];
  for await (const events of watch) {
    for (const event of events) {
      seen.push(event.type);
      if (event.type !== "DELETED") continue;
      assertEquals(event.object.metadata.resourceVersion, out.metadata.resourceVersion);
      assertEquals({ ...event.object.metadata.labels }, { a: "1", b: "1" });
      watch.close();
    }
  }
  assertEquals(seen, ["ADDED", "MODIFIED", "DELETED"]);
});

Deno.test("client: pods are deleted with grace once they have a node", async () => {
  await using f = await openApi();
  await f.client.create(at, pod("a"));
  await f.client.create({ ...at, name: "a", subresource: "binding" }, {
    target: { kind: "Node", name: "n1" },
  });
  const bound = await f.client.get({ ...at, name: "a" });
  assertEquals(bound.spec.nodeName, "n1");
  const again = await assertRejects(
    () => f.client.create({ ...at, name: "a", subresource: "binding" }, { target: { name: "n2" } }),
    ApiError,
  );
  assertEquals(
    again.message,
    `Operation cannot be fulfilled on pods/binding "a": pod a is already assigned to node "n1"`,
  );
  const going = await f.client.delete({ ...at, name: "a" });
  assertEquals(going.metadata.deletionGracePeriodSeconds, 30);
  await f.client.delete({ ...at, name: "a" }, { gracePeriodSeconds: 0 });
  await assertRejects(() => f.client.get({ ...at, name: "a" }), ApiError);
});

Deno.test("client: a finalizer holds an object until it is taken off", async () => {
  await using f = await openApi();
  await f.client.create(maps, { metadata: { name: "held", finalizers: ["x.io/y"] } });
  const going = await f.client.delete({ ...maps, name: "held" });
  assert(going.metadata.deletionTimestamp);
  await f.client.patch({ ...maps, name: "held" }, {
    type: "merge",
    body: { metadata: { finalizers: null } },
  });
  const gone = await assertRejects(() => f.client.get({ ...maps, name: "held" }), ApiError);
  assertEquals(gone.code, 404);
});

Deno.test("client: dry run writes nothing", async () => {
  await using f = await openApi();
  const made = await f.client.create(maps, { metadata: { name: "dry" } }, { dryRun: true });
  assert(made.metadata.uid);
  await assertRejects(() => f.client.get({ ...maps, name: "dry" }), ApiError);
});

Deno.test("informers: cache, index, subscribe", async () => {
  await using f = await openApi();
  await f.client.create(maps, { metadata: { name: "before" } });
  const informers = createInformers(f.client, f.clock);
  const cache = informers.for(CONFIG_MAPS);
  cache.index("x", (object) => object.data?.x ? [object.data.x] : []);
  await cache.whenSynced();
  assertEquals(cache.size, 1);
  const told = Promise.withResolvers<void>();
  const changes: string[] = [];
  cache.subscribe(({ key, object }) => {
    changes.push(`${object ? "+" : "-"}${key}`);
    if (!object) told.resolve();
  });
  await f.client.create(maps, { metadata: { name: "after" }, data: { x: "1" } });
  await f.client.delete({ ...maps, name: "before" });
  await told.promise;
  assertEquals(changes, ["+default/before", "+default/after", "-default/before"]);
  assertEquals(cache.byIndex("x", "1").map((o) => o.metadata.name), ["after"]);
  await informers.stop();
});

Deno.test("watch: it ends at its timeout, with a bookmark", async () => {
  const clock = new ManualClock();
  await using f = await openApi({ clock });
  const watch = await f.client.watch(maps, { timeoutSeconds: 5, allowWatchBookmarks: true });
  const made = await f.client.create(maps, { metadata: { name: "a" } });
  const seen: string[] = [];
  const done = (async () => {
    for await (const events of watch) {
      for (const { type, object } of events) {
        seen.push(`${type} ${object.metadata.resourceVersion}`);
      }
    }
  })();
  while (seen.length === 0) await clock.turn();
  await clock.advance(5_000);
  await done;
  const revision = made.metadata.resourceVersion;
  assertEquals(seen, [`ADDED ${revision}`, `BOOKMARK ${revision}`]);
});

Deno.test("watch: a name watched sees that object only, and its whole life", async () => {
  await using f = await openApi();
  const watch = await f.client.watch({ ...maps, name: "web" }, { resourceVersion: "1" });
  await f.client.create(maps, { metadata: { name: "web-2" } });
  await f.client.create(maps, { metadata: { name: "web" } });
  await f.client.delete({ ...maps, name: "web" });
  const seen: string[] = [];
  for await (const events of watch) {
    for (const { type, object } of events) seen.push(`${type} ${object.metadata.name}`);
    if (seen.length === 2) watch.close();
  }
  assertEquals(seen, ["ADDED web", "DELETED web"]);
});

Deno.test("informers: after 410 they list again and tell the difference", async () => {
  await using f = await openApi();
  await f.client.create(maps, { metadata: { name: "stays" } });
  await f.client.create(maps, { metadata: { name: "goes" } });
  const gate = Promise.withResolvers<void>();
  let watches = 0;
  const client: Client = {
    ...f.client,
    watch: async (target, query, options) => {
      if (++watches > 1) return await f.client.watch(target, query, options);
      await gate.promise;
      throw new ApiError({ code: 410, reason: "Expired", message: "too old resource version" });
    },
  };
  const informers = createInformers(client, f.clock);
  const cache = informers.for(CONFIG_MAPS);
  await cache.whenSynced();
  const changes: string[] = [];
  const told = Promise.withResolvers<void>();
  cache.subscribe(({ key, old, object }) => {
    changes.push(`${old ? "o" : ""}${object ? "n" : ""} ${key}`);
    if (changes.length === 4) told.resolve();
  });
  await f.client.delete({ ...maps, name: "goes" });
  await f.client.create(maps, { metadata: { name: "comes" } });
  gate.resolve();
  await told.promise;
  assertEquals(changes, ["n default/goes", "n default/stays", "n default/comes", "o default/goes"]);
  await informers.stop();
});

Deno.test("namespaces: deletion waits for the finalizer, then the namespace goes", async () => {
  await using f = await openApi();
  const namespaces = { resource: NAMESPACES };
  await f.client.create(namespaces, { metadata: { name: "n" } });
  const going = await f.client.delete({ ...namespaces, name: "n" });
  assertEquals([going.status.phase, going.spec.finalizers.length], ["Terminating", 1]);
  const refused = await assertRejects(
    () => f.client.create({ ...maps, namespace: "n" }, { metadata: { name: "late" } }),
    ApiError,
  );
  assertEquals(refused.code, 403);
  const finalize = { ...namespaces, name: "n", subresource: "finalize" };
  await f.client.update(finalize, { ...going, spec: { finalizers: [] } });
  await assertRejects(() => f.client.get({ ...namespaces, name: "n" }), ApiError);
});

Deno.test("delete: propagation becomes finalizers, preconditions are kept", async () => {
  await using f = await openApi();
  await f.client.create(maps, { metadata: { name: "a" } });
  const wrong = await assertRejects(
    () => f.client.delete({ ...maps, name: "a" }, { preconditions: { uid: "other" } }),
    ApiError,
  );
  assertEquals(wrong.code, 409);
  const going = await f.client.delete({ ...maps, name: "a" }, { propagationPolicy: "Foreground" });
  assertEquals([...going.metadata.finalizers!], ["foregroundDeletion"]);
  const orphan = await f.client.delete({ ...maps, name: "a" }, { propagationPolicy: "Orphan" });
  assertEquals([...orphan.metadata.finalizers!], ["orphan"]);
});

Deno.test("delete: a second one that takes the last finalizer away removes the object", async () => {
  await using f = await openApi();
  await f.client.create(maps, { metadata: { name: "a" } });
  await f.client.delete({ ...maps, name: "a" }, { propagationPolicy: "Orphan" });
  await f.client.delete({ ...maps, name: "a" }, { propagationPolicy: "Background" });
  await assertRejects(() => f.client.get({ ...maps, name: "a" }), ApiError, "not found");
});

Deno.test("create: a generated name that is taken is generated again", async () => {
  let draws = 0;
  const clock = new ManualClock();
  // The first ten draws are alike: two names would be the same
  clock.random = () => draws++ < 10 ? 0.5 : (draws * 7 % 27) / 27;
  await using f = await openApi({ clock });
  draws = 0;
  const one = await f.client.create(maps, { metadata: { generateName: "x-" } });
  const two = await f.client.create(maps, { metadata: { generateName: "x-" } });
  assert(one.metadata.name !== two.metadata.name);
  assert(/^x-[b-df-hj-np-tv-z2-9]{5}$/.test(two.metadata.name), two.metadata.name);
});

Deno.test("list() lets pages be asked for five minutes long, however quiet the cluster", async () => {
  const clock = new ManualClock();
  await using f = await openApi({ clock });
  for (const name of ["a", "b", "c"]) await f.client.create(maps, { metadata: { name } });
  const first = await f.client.list(maps, { limit: 1 });
  await clock.advance(PAGES_MS_MAX);
  const second = await f.client.list(maps, { limit: 1, continue: first.metadata.continue });
  assertEquals(second.items.map((o) => o.metadata.name), ["b"]);
  await clock.advance(1);
  const error = await assertRejects(
    () => f.client.list(maps, { continue: second.metadata.continue }),
    ApiError,
  );
  assertEquals([error.code, error.reason], [410, "Expired"]);
  const rest = await f.client.list(maps, { continue: error.status.metadata.continue });
  assertEquals(rest.items.map((o) => o.metadata.name), ["c"]);
});

Deno.test("client: an update that takes the last finalizer away says of which version it was", async () => {
  await using f = await openApi();
  const target = { ...maps, name: "a" };
  await f.client.create(maps, { metadata: { name: "a", finalizers: ["example.com/held"] } });
  await f.client.delete(target);
  const going = await f.client.get(target);
  const metadata = { ...going.metadata, finalizers: [] };
  const told = await f.client.update(target, { ...going, metadata });
  assertEquals(told.metadata.resourceVersion, going.metadata.resourceVersion);
  await assertRejects(() => f.client.get(target), ApiError);
});
