import { assert, assertEquals } from "@std/assert";
import { PODS, REPLICA_SETS, REPLICATION_CONTROLLERS } from "../runtime/mod.ts";
import { replicaSetController, replicationController } from "./replicaset.ts";
import { openWorld } from "./world_test.ts";

const template = {
  metadata: { labels: { app: "web" } },
  spec: { containers: [{ name: "c", image: "nginx" }] },
};

function replicaSet(replicas: number, spec: object = {}) {
  return {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: { name: "web" },
    spec: { replicas, selector: { matchLabels: { app: "web" } }, template, ...spec },
  };
}

Deno.test("replicaset creates pods, says so, and counts them", async () => {
  await using world = await openWorld([replicaSetController]);
  await world.create(REPLICA_SETS, replicaSet(3));
  await world.settle();
  const pods = await world.list(PODS);
  assertEquals(pods.length, 3);
  for (const pod of pods) {
    assert(/^web-[a-z0-9]{5}$/.test(pod.metadata.name), pod.metadata.name);
    assertEquals(pod.metadata.ownerReferences![0].kind, "ReplicaSet");
    assertEquals(pod.metadata.ownerReferences![0].blockOwnerDeletion, true);
  }
  const events = await world.events();
  assertEquals(
    events,
    pods.map((pod) => `Normal SuccessfulCreate Created pod: ${pod.metadata.name}`).sort(),
  );
  let status = (await world.get(REPLICA_SETS, "web")).status;
  assertEquals(status, {
    replicas: 3,
    fullyLabeledReplicas: 3,
    observedGeneration: 1,
    terminatingReplicas: 0,
  });
  await world.runPods();
  await world.settle();
  status = (await world.get(REPLICA_SETS, "web")).status;
  assertEquals([status.readyReplicas, status.availableReplicas], [3, 3]);
  assertEquals(world.log, []);
});

Deno.test("replicaset replaces lost pods and deletes the surplus, unready ones first", async () => {
  await using world = await openWorld([replicaSetController]);
  await world.create(REPLICA_SETS, replicaSet(3));
  await world.settle();
  const [first, second, third] = await world.list(PODS);
  await world.podIs(first, "Running");
  await world.podIs(third, "Running");
  await world.client.patch({ resource: REPLICA_SETS, namespace: "default", name: "web" }, {
    type: "merge",
    body: { spec: { replicas: 2 } },
  });
  await world.settle();
  const left = (await world.list(PODS)).map((pod) => pod.metadata.name);
  assertEquals(left, [first, third].map((pod) => pod.metadata.name).sort());
  assert(
    (await world.events()).includes(`Normal SuccessfulDelete Deleted pod: ${second.metadata.name}`),
  );
  await world.podIs(first, "Failed");
  await world.settle();
  const active = (await world.list(PODS)).filter((pod) => pod.status.phase !== "Failed");
  assertEquals(active.length, 2);
});

Deno.test("replicaset counts availability after minReadySeconds, and terminating pods", async () => {
  await using world = await openWorld([replicaSetController]);
  await world.create(REPLICA_SETS, replicaSet(2, { minReadySeconds: 30 }));
  await world.settle();
  await world.runPods();
  await world.settle();
  const counts = async () => {
    const { status } = await world.get(REPLICA_SETS, "web");
    return [
      status.replicas,
      status.readyReplicas ?? 0,
      status.availableReplicas ?? 0,
      status.terminatingReplicas,
    ];
  };
  assertEquals(await counts(), [2, 2, 0, 0]);
  await world.advance(30_000);
  assertEquals(await counts(), [2, 2, 2, 0]);
  const [pod] = await world.list(PODS);
  await world.client.delete({ resource: PODS, namespace: "default", name: pod.metadata.name });
  await world.settle();
  assertEquals(await counts(), [2, 1, 1, 1]);
  await world.finishDeletions();
  await world.settle();
  assertEquals(await counts(), [2, 1, 1, 0]);
});

Deno.test("replicaset adopts what it selects and releases what it no longer does", async () => {
  await using world = await openWorld([replicaSetController]);
  await world.create(PODS, {
    metadata: { name: "own", labels: { app: "web" } },
    spec: template.spec,
  });
  await world.create(REPLICA_SETS, replicaSet(2));
  await world.settle();
  assertEquals((await world.list(PODS)).length, 2);
  const own = await world.get(PODS, "own");
  assertEquals(own.metadata.ownerReferences?.[0].name, "web");
  await world.client.patch({ resource: PODS, namespace: "default", name: "own" }, {
    type: "merge",
    body: { metadata: { labels: { app: "other" } } },
  });
  await world.settle();
  assertEquals((await world.get(PODS, "own")).metadata.ownerReferences, undefined);
  assertEquals((await world.list(PODS)).length, 3);
});

Deno.test("replicaset says ReplicaFailure when pods are refused, and takes it back", async () => {
  await using world = await openWorld([replicaSetController]);
  const refused = replicaSet(2, {
    template: { ...template, spec: { ...template.spec, serviceAccountName: "absent" } },
  });
  await world.create(REPLICA_SETS, refused);
  await world.settle(10);
  const [condition] = (await world.get(REPLICA_SETS, "web")).status.conditions;
  assertEquals([condition.type, condition.status, condition.reason], [
    "ReplicaFailure",
    "True",
    "FailedCreate",
  ]);
  assert(
    condition.message.includes(
      `"web-" is forbidden: error looking up service account default/absent`,
    ),
    condition.message,
  );
  assert((await world.events())[0].startsWith("Warning FailedCreate Error creating: pods "));
  await world.create({ group: "", version: "v1", plural: "serviceaccounts" }, {
    metadata: { name: "absent" },
  });
  await world.settle(60_000);
  assertEquals((await world.list(PODS)).length, 2);
  assertEquals((await world.get(REPLICA_SETS, "web")).status.conditions, undefined);
});

Deno.test("replicaset makes 500 pods without making one too many", async () => {
  await using world = await openWorld([replicaSetController]);
  await world.create(REPLICA_SETS, replicaSet(500));
  await world.settle();
  assertEquals((await world.list(PODS)).length, 500);
  assertEquals((await world.get(REPLICA_SETS, "web")).status.replicas, 500);
});

Deno.test("replicationcontroller works alike, with its own kind and status", async () => {
  await using world = await openWorld([replicationController]);
  await world.create(REPLICATION_CONTROLLERS, {
    apiVersion: "v1",
    kind: "ReplicationController",
    metadata: { name: "rc" },
    spec: { replicas: 2, template },
  });
  await world.settle();
  const pods = await world.list(PODS);
  assertEquals(pods.map((pod) => pod.metadata.ownerReferences![0].kind), [
    "ReplicationController",
    "ReplicationController",
  ]);
  const { status } = await world.get(REPLICATION_CONTROLLERS, "rc");
  assertEquals(status, { replicas: 2, fullyLabeledReplicas: 2, observedGeneration: 1 });
});
