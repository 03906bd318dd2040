import { assert, assertEquals } from "@std/assert";
import type { Client } from "../../api/client/contract.ts";
import {
  CONTROLLER_REVISIONS,
  OWN_WRITES_MS_MAX,
  PERSISTENT_VOLUME_CLAIMS,
  PODS,
  STATEFUL_SETS,
} from "../runtime/mod.ts";
import { garbageCollector } from "./garbage_collector.ts";
import { statefulSetController } from "./statefulset.ts";
import { openWorld, type World } from "./world_test.ts";

const template = {
  metadata: { labels: { app: "db" } },
  spec: { containers: [{ name: "c", image: "db:1" }] },
};

function set(replicas: number, spec: object = {}) {
  return {
    metadata: { name: "db" },
    spec: {
      replicas,
      serviceName: "db",
      selector: { matchLabels: { app: "db" } },
      template,
      ...spec,
    },
  };
}

async function patch(world: World, spec: object) {
  await world.client.patch({ resource: STATEFUL_SETS, namespace: "default", name: "db" }, {
    type: "strategic",
    body: { spec } as never,
  });
}

async function names(world: World) {
  return (await world.list(PODS)).map((pod) => pod.metadata.name);
}

/** Runs pods and ends deletions until nothing changes; returns what was seen after each round. */
async function rounds(world: World): Promise<string[]> {
  const seen: string[] = [];
  for (let i = 0; i < 30; i++) {
    await world.settle();
    const before = (await names(world)).join(" ");
    if (seen.at(-1) !== before) seen.push(before);
    const ran = await world.runPods();
    await world.settle();
    const ending = (await world.list(PODS)).filter((pod) => pod.metadata.deletionTimestamp).length;
    await world.finishDeletions();
    if (ran + ending === 0) break;
  }
  await world.settle();
  return seen;
}

Deno.test("statefulset makes its pods in order, each after the one before is ready", async () => {
  await using world = await openWorld([statefulSetController({})]);
  await world.create(STATEFUL_SETS, set(3));
  assertEquals(await rounds(world), ["db-0", "db-0 db-1", "db-0 db-1 db-2"]);
  const pod = await world.get(PODS, "db-1");
  assertEquals([pod.spec.hostname, pod.spec.subdomain], ["db-1", "db"]);
  assertEquals(pod.metadata.labels!["apps.kubernetes.io/pod-index"], "1");
  assertEquals(pod.metadata.labels!["statefulset.kubernetes.io/pod-name"], "db-1");
  const { status } = await world.get(STATEFUL_SETS, "db");
  const [revision] = await world.list(CONTROLLER_REVISIONS);
  assertEquals(status, {
    observedGeneration: 1,
    replicas: 3,
    readyReplicas: 3,
    availableReplicas: 3,
    currentReplicas: 3,
    updatedReplicas: 3,
    currentRevision: revision.metadata.name,
    updateRevision: revision.metadata.name,
    collisionCount: 0,
  });
  assert(
    (await world.events()).includes(
      "Normal SuccessfulCreate create Pod db-0 in StatefulSet db successful",
    ),
  );
});

Deno.test("statefulset shrinks and rolls from the last ordinal down, within its partition", async () => {
  await using world = await openWorld([statefulSetController({})]);
  await world.create(STATEFUL_SETS, set(3));
  await rounds(world);
  await patch(world, { replicas: 2 });
  await rounds(world);
  assertEquals(await names(world), ["db-0", "db-1"]);
  await patch(world, {
    updateStrategy: { rollingUpdate: { partition: 1 } },
    template: { spec: { containers: [{ name: "c", image: "db:2" }] } },
  });
  await rounds(world);
  const images = async () => (await world.list(PODS)).map((pod) => pod.spec.containers[0].image);
  assertEquals(await images(), ["db:1", "db:2"]);
  let { status } = await world.get(STATEFUL_SETS, "db");
  assertEquals([status.currentReplicas, status.updatedReplicas], [1, 1]);
  assert(status.currentRevision !== status.updateRevision);
  await patch(world, { updateStrategy: { rollingUpdate: { partition: 0 } } });
  await rounds(world);
  assertEquals(await images(), ["db:2", "db:2"]);
  ({ status } = await world.get(STATEFUL_SETS, "db"));
  assertEquals(status.currentRevision, status.updateRevision);
  assertEquals((await world.list(CONTROLLER_REVISIONS)).map(({ revision }) => revision).sort(), [
    1,
    2,
  ]);
});

Deno.test("statefulset Parallel makes all at once", async () => {
  await using world = await openWorld([statefulSetController({})]);
  await world.create(STATEFUL_SETS, set(4, { podManagementPolicy: "Parallel" }));
  assertEquals((await rounds(world))[0], "db-0 db-1 db-2 db-3");
});

Deno.test("statefulset gives each pod its claims, and takes them back when told to", async () => {
  await using world = await openWorld((ports) => [
    statefulSetController({}),
    garbageCollector(ports),
  ]);
  await world.create(
    STATEFUL_SETS,
    set(2, {
      persistentVolumeClaimRetentionPolicy: { whenDeleted: "Retain", whenScaled: "Delete" },
      volumeClaimTemplates: [{
        metadata: { name: "data" },
        spec: {
          accessModes: ["ReadWriteOnce"],
          resources: { requests: { storage: "1Gi" } },
        },
      }],
    }),
  );
  await rounds(world);
  const claims = async () =>
    (await world.list(PERSISTENT_VOLUME_CLAIMS)).filter((c) => !c.metadata.deletionTimestamp)
      .map((claim) => claim.metadata.name);
  assertEquals(await claims(), ["data-db-0", "data-db-1"]);
  const pod = await world.get(PODS, "db-0");
  const volume = pod.spec.volumes.find((v: { name: string }) => v.name === "data");
  assertEquals(volume.persistentVolumeClaim.claimName, "data-db-0");
  await patch(world, { replicas: 1 });
  await rounds(world);
  assertEquals(await claims(), ["data-db-0"]);
});

Deno.test("statefulset controls its claims where the policy says so, and lets others control them", async () => {
  await using world = await openWorld([statefulSetController({})]);
  const volumeClaimTemplates = [{
    metadata: { name: "data" },
    spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
  }];
  await world.create(STATEFUL_SETS, set(3, { volumeClaimTemplates }));
  await rounds(world);
  const { uid } = (await world.get(STATEFUL_SETS, "db")).metadata;
  const owner = (kind: string, name: string, uid: string, controller?: true) => ({
    apiVersion: kind === "StatefulSet" ? "apps/v1" : "v1",
    kind,
    name,
    uid,
    ...(controller && { controller, blockOwnerDeletion: true }),
  });
  const own = (name: string, ...ownerReferences: object[]) =>
    world.client.patch({ resource: PERSISTENT_VOLUME_CLAIMS, namespace: "default", name }, {
      type: "merge",
      body: { metadata: { ownerReferences } } as never,
    });
  const map = owner("ConfigMap", "m", "u-1");
  const other = owner("StatefulSet", "unknown", "u-2", true);
  const former = owner("StatefulSet", "db", "u-3", true);
  await own("data-db-0", map, owner("StatefulSet", "db", uid));
  await own("data-db-1", other, owner("StatefulSet", "db", uid));
  await own("data-db-2", former);
  await patch(world, { persistentVolumeClaimRetentionPolicy: { whenDeleted: "Delete" } });
  await world.settle();
  const owners = async (name: string) =>
    (await world.get(PERSISTENT_VOLUME_CLAIMS, name)).metadata.ownerReferences;
  assertEquals(await owners("data-db-0"), [map, owner("StatefulSet", "db", uid, true)]);
  assertEquals(await owners("data-db-1"), [other]);
  assertEquals(await owners("data-db-2"), [former]);
  assert((await world.events()).some((line) => line.includes("ConflictingController")));
  await patch(world, { persistentVolumeClaimRetentionPolicy: { whenDeleted: "Retain" } });
  await world.settle();
  assertEquals(await owners("data-db-0"), [map]);
});

Deno.test("statefulset that is being deleted makes no revisions for the collector to delete", async () => {
  await using world = await openWorld((ports) => [
    statefulSetController({}),
    garbageCollector(ports),
  ]);
  await world.create(STATEFUL_SETS, set(1));
  await rounds(world);
  const before = (await world.list(PODS)).length;
  await world.client.delete({ resource: STATEFUL_SETS, namespace: "default", name: "db" }, {
    propagationPolicy: "Foreground",
  });
  // The pod's node does not answer: the set stays for as long as its pod does.
  await world.settle();
  assertEquals([before, await world.list(CONTROLLER_REVISIONS)], [1, []]);
  await world.finishDeletions();
  await world.settle();
  assertEquals(await world.list(STATEFUL_SETS), []);
});

Deno.test("statefulset looks again by itself when what it did is never seen", async () => {
  let lies = 1;
  const wrap = (client: Client): Client => ({
    ...client,
    as: (...args: Parameters<Client["as"]>) => wrap(client.as(...args)),
    because: (...args: Parameters<Client["because"]>) => wrap(client.because(...args)),
    delete:
      ((...args: Parameters<Client["delete"]>) =>
        args[0].resource.plural === "pods" && lies-- > 0
          ? Promise.resolve({})
          : client.delete(...args)) as Client["delete"],
  });
  await using world = await openWorld([statefulSetController({})], { wrap });
  await world.create(STATEFUL_SETS, set(2));
  await rounds(world);
  await patch(world, { replicas: 1 });
  await world.settle();
  assertEquals((await world.get(PODS, "db-1")).metadata.deletionTimestamp, undefined);
  await world.advance(OWN_WRITES_MS_MAX);
  assert((await world.get(PODS, "db-1")).metadata.deletionTimestamp);
});

Deno.test("statefulset takes down as many pods at once as maxUnavailable leaves, where that is switched on", async () => {
  for (const on of [true, false]) {
    const features = new Map([["MaxUnavailableStatefulSet", on]]);
    await using world = await openWorld([statefulSetController({ features })], { features });
    await world.create(STATEFUL_SETS, set(4, { podManagementPolicy: "Parallel" }));
    await rounds(world);
    await patch(world, {
      updateStrategy: { rollingUpdate: { maxUnavailable: 2 } },
      template: { spec: { containers: [{ name: "c", image: "db:2" }] } },
    });
    await world.settle();
    const { spec } = await world.get(STATEFUL_SETS, "db");
    assertEquals(spec.updateStrategy.rollingUpdate.maxUnavailable, on ? 2 : undefined);
    const going = (await world.list(PODS)).filter((pod) => pod.metadata.deletionTimestamp);
    const ordinals = going.map((pod) => pod.metadata.name).sort();
    assertEquals(ordinals, on ? ["db-2", "db-3"] : ["db-3"]);
    await rounds(world);
    const images = (await world.list(PODS)).map((pod) => pod.spec.containers[0].image);
    assertEquals(images, ["db:2", "db:2", "db:2", "db:2"]);
  }
});
