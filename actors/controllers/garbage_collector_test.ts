import { assert, assertEquals } from "@std/assert";
import { CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, PODS, REPLICA_SETS } from "../runtime/mod.ts";
import { garbageCollector } from "./garbage_collector.ts";
import type { Obj } from "./objects.ts";
import type { CollectedKind } from "./ports.ts";
import { replicaSetController } from "./replicaset.ts";
import { LATE_WIDGETS, openWorld, type World } from "./world_test.ts";

function ownedBy(owner: Obj, extra: object = {}) {
  const { apiVersion, kind, metadata: { name, uid } } = owner;
  return { apiVersion, kind, name, uid, ...extra };
}

async function configMap(world: World, name: string, owners: object[] = [], namespace?: string) {
  return await world.create(
    CONFIG_MAPS,
    { apiVersion: "v1", kind: "ConfigMap", metadata: { name, ownerReferences: owners } },
    namespace,
  );
}

async function names(world: World) {
  return (await world.list(CONFIG_MAPS, "default")).map((object) => object.metadata.name).sort();
}

async function remove(
  world: World,
  name: string,
  propagationPolicy: "Foreground" | "Background" | "Orphan",
) {
  await world.client.delete({ resource: CONFIG_MAPS, namespace: "default", name }, {
    propagationPolicy,
  });
}

Deno.test("gc background: dependents go after their owner, and theirs after them", async () => {
  await using world = await openWorld((ports) => [garbageCollector(ports)]);
  const a = await configMap(world, "a");
  const b = await configMap(world, "b", [ownedBy(a)]);
  await configMap(world, "c", [ownedBy(b)]);
  await configMap(world, "other");
  await world.settle();
  assertEquals(await names(world), ["a", "b", "c", "other"]);
  await remove(world, "a", "Background");
  await world.settle();
  assertEquals(await names(world), ["other"]);
});

Deno.test("gc background: an object stays while one of its owners does, and forgets the other", async () => {
  await using world = await openWorld((ports) => [garbageCollector(ports)]);
  const a = await configMap(world, "a");
  const b = await configMap(world, "b");
  await configMap(world, "c", [ownedBy(a), ownedBy(b)]);
  await world.settle();
  await remove(world, "a", "Background");
  await world.settle();
  const c = await world.get(CONFIG_MAPS, "c");
  assertEquals(c.metadata.ownerReferences?.map(({ name }) => name), ["b"]);
});

Deno.test("gc absent owners: an owner of another uid is no owner", async () => {
  await using world = await openWorld((ports) => [garbageCollector(ports)]);
  const a = await configMap(world, "a");
  await configMap(world, "c", [{ ...ownedBy(a), uid: "00000000-0000-4000-8000-000000000001" }]);
  await world.settle();
  assertEquals(await names(world), ["a"]);
});

Deno.test("gc foreground: the owner goes after those that block it", async () => {
  await using world = await openWorld((ports) => [garbageCollector(ports)]);
  const a = await configMap(world, "a");
  await world.client.create({ resource: CONFIG_MAPS, namespace: "default" }, {
    metadata: {
      name: "b",
      finalizers: ["example.com/hold"],
      ownerReferences: [ownedBy(a, { blockOwnerDeletion: true, controller: true })],
    },
  });
  await world.settle();
  await remove(world, "a", "Foreground");
  await world.settle();
  assertEquals(await names(world), ["a", "b"]);
  const held = await world.get(CONFIG_MAPS, "a");
  assertEquals(held.metadata.finalizers, ["foregroundDeletion"]);
  assert((await world.get(CONFIG_MAPS, "b")).metadata.deletionTimestamp);
  await world.client.patch({ resource: CONFIG_MAPS, namespace: "default", name: "b" }, {
    type: "merge",
    body: { metadata: { finalizers: null } },
  });
  await world.settle();
  assertEquals(await names(world), []);
});

Deno.test("gc orphan: dependents lose their owner and stay", async () => {
  await using world = await openWorld((ports) => [garbageCollector(ports)]);
  const a = await configMap(world, "a");
  await configMap(world, "b", [ownedBy(a)]);
  await world.settle();
  await remove(world, "a", "Orphan");
  await world.settle();
  assertEquals(await names(world), ["b"]);
  assertEquals((await world.get(CONFIG_MAPS, "b")).metadata.ownerReferences, undefined);
});

Deno.test("gc says when an owner is in another namespace", async () => {
  await using world = await openWorld((ports) => [garbageCollector(ports)]);
  const a = await configMap(world, "a", [], "kube-system");
  await configMap(world, "c", [ownedBy(a)]);
  await world.settle();
  assertEquals(await names(world), []);
  const [event] = await world.events();
  assertEquals(
    event,
    `Warning OwnerRefInvalidNamespace ownerRef [v1/ConfigMap, namespace: default, name: a, ` +
      `uid: ${a.metadata.uid}] does not exist in namespace "default"`,
  );
});

Deno.test("gc takes a replica set's pods, many at once", async () => {
  await using world = await openWorld((ports) => [garbageCollector(ports), replicaSetController]);
  await world.create(REPLICA_SETS, {
    metadata: { name: "web" },
    spec: {
      replicas: 50,
      selector: { matchLabels: { app: "web" } },
      template: {
        metadata: { labels: { app: "web" } },
        spec: { containers: [{ name: "c", image: "nginx" }] },
      },
    },
  });
  await world.settle();
  assertEquals((await world.list(PODS)).length, 50);
  await world.client.delete({ resource: REPLICA_SETS, namespace: "default", name: "web" }, {
    propagationPolicy: "Background",
  });
  await world.settle();
  assertEquals((await world.list(PODS)).length, 0);
  assertEquals(world.log, []);
});

Deno.test("gc foreground: a circle of owners is broken", async () => {
  await using world = await openWorld((ports) => [garbageCollector(ports)]);
  const a = await configMap(world, "a");
  const b = await configMap(world, "b", [ownedBy(a, { blockOwnerDeletion: true })]);
  const c = await configMap(world, "c", [ownedBy(b, { blockOwnerDeletion: true })]);
  await world.client.patch({ resource: CONFIG_MAPS, namespace: "default", name: "a" }, {
    type: "merge",
    body: { metadata: { ownerReferences: [ownedBy(c, { blockOwnerDeletion: true }) as never] } },
  });
  await world.settle();
  await remove(world, "a", "Foreground");
  await world.settle();
  assertEquals(await names(world), []);
});

Deno.test("gc: one owner goes in the foreground, a dependent with another owner stays", async () => {
  await using world = await openWorld((ports) => [garbageCollector(ports)]);
  const a = await configMap(world, "a");
  const b = await configMap(world, "b");
  await configMap(world, "both", [ownedBy(a, { blockOwnerDeletion: true }), ownedBy(b)]);
  await configMap(world, "one", [ownedBy(a, { blockOwnerDeletion: true })]);
  await world.settle();
  await remove(world, "a", "Foreground");
  await world.settle();
  assertEquals(await names(world), ["b", "both"]);
});

Deno.test("gc leaves a cluster-scoped object whose owner is namespaced, and says so", async () => {
  await using world = await openWorld((ports) => [garbageCollector(ports)]);
  const a = await configMap(world, "a");
  const resource = { group: "", version: "v1", plural: "persistentvolumes" };
  await world.client.create({ resource }, {
    metadata: { name: "pv", ownerReferences: [ownedBy(a)] },
    spec: {
      capacity: { storage: "1Gi" },
      accessModes: ["ReadWriteOnce"],
      hostPath: { path: "/tmp/x" },
    },
  });
  await remove(world, "a", "Background");
  await world.settle();
  assertEquals((await world.list(resource)).map((pv) => pv.metadata.name), ["pv"]);
  assert((await world.events())[0].startsWith("Warning OwnerRefInvalidNamespace"));
});

Deno.test("gc collects what lost its owner while nobody looked", async () => {
  await using world = await openWorld((ports) => [garbageCollector(ports)]);
  const a = await configMap(world, "a");
  const b = await configMap(world, "b");
  await configMap(world, "of-a", [ownedBy(a)]);
  await configMap(world, "of-b", [ownedBy(b)]);
  await world.settle();
  await world.restart(async () => {
    await remove(world, "a", "Background");
  });
  await world.settle();
  assertEquals(await names(world), ["b", "of-b"]);
  assertEquals(world.log, []);
});

Deno.test("gc waits for a kind that nobody serves yet, and then follows it", async () => {
  await using world = await openWorld((ports) => [garbageCollector(ports)]);
  const WIDGETS = { group: "late.example.com", version: "v1", plural: "widgets" };
  const apiVersion = "late.example.com/v1";
  const widget = (uid: string, name = "w") => ({ apiVersion, kind: "Widget", name, uid });
  await configMap(world, "lost", [widget("11111111-1111-4111-8111-111111111111")]);
  await world.settle(60_000);
  assertEquals(await names(world), ["lost"]);
  await world.client.create({ resource: CUSTOM_RESOURCE_DEFINITIONS }, LATE_WIDGETS);
  await world.advance(5_000);
  const made = await world.create(WIDGETS, { apiVersion, kind: "Widget", metadata: { name: "w" } });
  await configMap(world, "held", [widget(made.metadata.uid)]);
  // The one that names a widget that never was goes at the next try, which may be minutes away
  await world.advance(1_000_000);
  assertEquals(await names(world), ["held"]);
  await world.client.delete({ resource: WIDGETS, namespace: "default", name: "w" });
  await world.settle(60_000);
  assertEquals(await names(world), []);
});

Deno.test("gc follows a custom resource that goes and comes back, and one that is served in another version", async () => {
  await using world = await openWorld((ports) => [garbageCollector(ports)]);
  const resource = { group: "late.example.com", version: "v1", plural: "widgets" };
  const definition = { resource: CUSTOM_RESOURCE_DEFINITIONS, name: LATE_WIDGETS.metadata.name };
  const widget = async (version: string, name: string, owners: object[] = []) => {
    const apiVersion = `late.example.com/${version}`;
    const metadata = { name, ownerReferences: owners };
    return await world.create({ ...resource, version }, { apiVersion, kind: "Widget", metadata });
  };
  const remains = async (version: string) =>
    (await world.list({ ...resource, version }, "default")).map(({ metadata }) => metadata.name);
  await world.client.create({ resource: CUSTOM_RESOURCE_DEFINITIONS }, LATE_WIDGETS);
  await world.advance(5_000);
  await configMap(world, "of-a", [ownedBy(await widget("v1", "a"))]);
  await world.client.delete(definition);
  await world.advance(100_000);
  assertEquals(await names(world), [], "it went with its definition");

  await world.client.create({ resource: CUSTOM_RESOURCE_DEFINITIONS }, LATE_WIDGETS);
  await world.advance(20_000);
  await configMap(world, "of-b", [ownedBy(await widget("v1", "b"))]);
  await world.client.delete({ resource, namespace: "default", name: "b" });
  await world.advance(20_000);
  assertEquals(await names(world), [], "it is followed again");

  const root = await configMap(world, "root");
  await widget("v1", "old", [ownedBy(root)]);
  const [v1] = LATE_WIDGETS.spec.versions;
  const versions = [{ ...v1, served: false, storage: false }, { ...v1, name: "v2" }];
  await world.client.patch(definition, { type: "merge", body: { spec: { versions } } });
  await world.advance(20_000);
  await widget("v2", "new", [ownedBy(root)]);
  await world.advance(20_000);
  assertEquals(await remains("v2"), ["new", "old"]);
  await remove(world, "root", "Background");
  await world.advance(20_000);
  assertEquals(await remains("v2"), []);
  assertEquals(world.log, []);
});

Deno.test("gc looks at what other servers serve, when they can be reached and when that changes", async () => {
  const flunders = { group: "wardle.example.com", version: "v1", plural: "flunders" };
  const verbs = ["get", "list", "watch", "delete"] as const;
  let kinds: CollectedKind[] = [];
  await using world = await openWorld((ports) => [
    garbageCollector({ ...ports, remoteKinds: () => ({ kinds, stale: [] }) }),
  ]);
  const flunder = {
    apiVersion: "wardle.example.com/v1",
    kind: "Flunder",
    name: "f",
    uid: "22222222-2222-4222-8222-222222222222",
  };
  await configMap(world, "leaf", [flunder]);
  await world.settle(60_000);
  assertEquals(await names(world), ["leaf"]);
  kinds = [{ ...flunders, kind: "Flunder", namespaced: true, verbs }];
  // Nobody is behind it here: that server says that there is no such object
  await world.advance(1_000_000);
  assertEquals(await names(world), []);
});
