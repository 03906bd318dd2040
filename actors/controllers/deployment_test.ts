import { assert, assertEquals } from "@std/assert";
import { DEPLOYMENTS, NAMESPACES, PODS, REPLICA_SETS } from "../runtime/mod.ts";
import { deploymentController } from "./deployment.ts";
import { conditionOf } from "./objects.ts";
import { replicaSetController } from "./replicaset.ts";
import { openWorld, type World } from "./world_test.ts";

const CONTROLLERS = [deploymentController, replicaSetController];

function deployment(replicas: number, spec: object = {}) {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web" },
    spec: {
      replicas,
      selector: { matchLabels: { app: "web" } },
      template: {
        metadata: { labels: { app: "web" } },
        spec: { containers: [{ name: "c", image: "nginx:1" }] },
      },
      ...spec,
    },
  };
}

async function patch(world: World, spec: object) {
  await world.client.patch({ resource: DEPLOYMENTS, namespace: "default", name: "web" }, {
    type: "strategic",
    body: { spec } as never,
  });
}

function image(name: string) {
  return { template: { spec: { containers: [{ name: "c", image: name }] } } };
}

/** Lets pods run and old ones go until nothing changes. */
async function rollout(world: World, each?: () => Promise<void>) {
  for (let i = 0; i < 40; i++) {
    await world.settle();
    const ran = await world.runPods();
    await world.settle();
    await world.finishDeletions();
    await world.settle();
    await each?.();
    if (ran === 0) return;
  }
}

async function sizes(world: World) {
  const sets = await world.list(REPLICA_SETS);
  return sets.map((set) => [
    Number(set.metadata.annotations!["deployment.kubernetes.io/revision"]),
    set.spec.replicas,
  ]).sort((a, b) => a[0] - b[0]);
}

Deno.test("deployment makes a replica set with a hash in its name and reports progress", async () => {
  await using world = await openWorld(CONTROLLERS);
  await world.create(DEPLOYMENTS, deployment(3));
  await world.settle();
  const [set] = await world.list(REPLICA_SETS);
  assert(/^web-[bcdfghjklmnpqrstvwxz2456789]{5,10}$/.test(set.metadata.name), set.metadata.name);
  const hash = set.metadata.labels!["pod-template-hash"];
  assertEquals(set.metadata.name, `web-${hash}`);
  assertEquals(set.spec.selector.matchLabels, { app: "web", "pod-template-hash": hash });
  assertEquals(set.metadata.annotations, {
    "deployment.kubernetes.io/desired-replicas": "3",
    "deployment.kubernetes.io/max-replicas": "4",
    "deployment.kubernetes.io/revision": "1",
  });
  let found = await world.get(DEPLOYMENTS, "web");
  assertEquals(found.metadata.annotations!["deployment.kubernetes.io/revision"], "1");
  assertEquals(conditionOf(found.status, "Available")?.reason, "MinimumReplicasUnavailable");
  assertEquals(conditionOf(found.status, "Progressing")?.reason, "ReplicaSetUpdated");
  assertEquals(found.status.unavailableReplicas, 3);
  await rollout(world);
  found = await world.get(DEPLOYMENTS, "web");
  assertEquals(conditionOf(found.status, "Available")?.reason, "MinimumReplicasAvailable");
  const progressing = conditionOf(found.status, "Progressing")!;
  assertEquals(progressing.reason, "NewReplicaSetAvailable");
  assertEquals(
    progressing.message,
    `ReplicaSet "${set.metadata.name}" has successfully progressed.`,
  );
  const { replicas, updatedReplicas, readyReplicas, availableReplicas } = found.status;
  assertEquals([replicas, updatedReplicas, readyReplicas, availableReplicas], [3, 3, 3, 3]);
  assert(
    (await world.events()).includes(
      `Normal ScalingReplicaSet Scaled up replica set ${set.metadata.name} from 0 to 3`,
    ),
  );
  assertEquals(world.log, []);
});

Deno.test("deployment rolls without leaving the bounds of surge and unavailable", async () => {
  await using world = await openWorld(CONTROLLERS);
  await world.create(DEPLOYMENTS, deployment(10));
  await rollout(world);
  await patch(world, image("nginx:2"));
  let most = 0;
  let least = 10;
  await rollout(world, async () => {
    const pods = (await world.list(PODS)).filter((pod) => !pod.metadata.deletionTimestamp);
    most = Math.max(most, pods.length);
    const sets = await world.list(REPLICA_SETS);
    const available = sets.reduce((sum, set) => sum + (set.status.availableReplicas ?? 0), 0);
    least = Math.min(least, available);
  });
  assertEquals(await sizes(world), [[1, 0], [2, 10]]);
  assert(most <= 13, `${most} pods at once`);
  assert(least >= 8, `${least} available`);
  const pods = await world.list(PODS);
  assertEquals(new Set(pods.map((pod) => pod.spec.containers[0].image)), new Set(["nginx:2"]));
});

Deno.test("deployment goes back to an old template by its old replica set, with a new revision", async () => {
  await using world = await openWorld(CONTROLLERS);
  await world.create(DEPLOYMENTS, deployment(2));
  await rollout(world);
  await patch(world, image("nginx:2"));
  await rollout(world);
  await patch(world, image("nginx:1"));
  await rollout(world);
  assertEquals(await sizes(world), [[2, 0], [3, 2]]);
  const sets = await world.list(REPLICA_SETS);
  assertEquals(
    sets.map((set) => set.metadata.annotations!["deployment.kubernetes.io/revision-history"])
      .filter(Boolean),
    ["1"],
  );
  const found = await world.get(DEPLOYMENTS, "web");
  assertEquals(found.metadata.annotations!["deployment.kubernetes.io/revision"], "3");
});

Deno.test("deployment of strategy Recreate waits for the last old pod", async () => {
  await using world = await openWorld(CONTROLLERS);
  await world.create(DEPLOYMENTS, deployment(2, { strategy: { type: "Recreate" } }));
  await rollout(world);
  await patch(world, image("nginx:2"));
  await world.settle();
  assertEquals((await world.list(PODS)).every((pod) => pod.metadata.deletionTimestamp), true);
  assertEquals((await world.list(REPLICA_SETS)).length, 1);
  await rollout(world);
  assertEquals(await sizes(world), [[1, 0], [2, 2]]);
});

Deno.test("deployment is scaled in proportion while it rolls", async () => {
  await using world = await openWorld(CONTROLLERS);
  const strategy = { rollingUpdate: { maxSurge: 3, maxUnavailable: 2 } };
  await world.create(DEPLOYMENTS, deployment(10, { strategy }));
  await rollout(world);
  await patch(world, image("broken"));
  await world.settle();
  assertEquals(await sizes(world), [[1, 8], [2, 5]]);
  await patch(world, { replicas: 15 });
  await world.settle();
  assertEquals(await sizes(world), [[1, 11], [2, 7]]);
});

Deno.test("deployment pauses: it scales but rolls nothing, and says so", async () => {
  await using world = await openWorld(CONTROLLERS);
  await world.create(DEPLOYMENTS, deployment(2));
  await rollout(world);
  await patch(world, { paused: true });
  await patch(world, image("nginx:2"));
  await patch(world, { replicas: 4 });
  await rollout(world);
  assertEquals(await sizes(world), [[1, 4]]);
  let found = await world.get(DEPLOYMENTS, "web");
  assertEquals(conditionOf(found.status, "Progressing")?.reason, "DeploymentPaused");
  await patch(world, { paused: false });
  await rollout(world);
  assertEquals(await sizes(world), [[1, 0], [2, 4]]);
  found = await world.get(DEPLOYMENTS, "web");
  assertEquals(conditionOf(found.status, "Progressing")?.reason, "NewReplicaSetAvailable");
});

Deno.test("deployment exceeds its progress deadline", async () => {
  await using world = await openWorld(CONTROLLERS);
  await world.create(DEPLOYMENTS, deployment(1, { progressDeadlineSeconds: 60 }));
  await world.settle();
  await world.advance(62_000);
  const found = await world.get(DEPLOYMENTS, "web");
  const condition = conditionOf(found.status, "Progressing")!;
  assertEquals([condition.status, condition.reason], ["False", "ProgressDeadlineExceeded"]);
  const [set] = await world.list(REPLICA_SETS);
  assertEquals(condition.message, `ReplicaSet "${set.metadata.name}" has timed out progressing.`);
});

Deno.test("deployment keeps no more history than it is told to", async () => {
  await using world = await openWorld(CONTROLLERS);
  await world.create(DEPLOYMENTS, deployment(1, { revisionHistoryLimit: 2 }));
  await rollout(world);
  for (let i = 2; i <= 5; i++) {
    await patch(world, image(`nginx:${i}`));
    await rollout(world);
  }
  assertEquals(await sizes(world), [[3, 0], [4, 0], [5, 1]]);
});

Deno.test("deployment takes another hash when the name of its replica set is taken", async () => {
  await using world = await openWorld(CONTROLLERS);
  await world.create(DEPLOYMENTS, deployment(1));
  await world.settle();
  const [set] = await world.list(REPLICA_SETS);
  const name = set.metadata.name;
  await world.client.patch({ resource: REPLICA_SETS, namespace: "default", name }, {
    type: "merge",
    body: { metadata: { ownerReferences: null, labels: { app: "other" } } },
  });
  await world.settle();
  const found = await world.get(DEPLOYMENTS, "web");
  assertEquals(found.status.collisionCount, 1);
  const names = (await world.list(REPLICA_SETS)).map((other) => other.metadata.name);
  assertEquals(names.length, 2);
});

Deno.test("deployment tries nothing again in a namespace that goes away", async () => {
  await using world = await openWorld(CONTROLLERS);
  await world.client.create({ resource: NAMESPACES }, { metadata: { name: "green" } });
  await world.create(DEPLOYMENTS, deployment(0), "green");
  await world.settle();
  await world.client.delete({ resource: NAMESPACES, name: "green" });
  const [set] = await world.list(REPLICA_SETS, "green");
  const { name } = set.metadata;
  await world.client.delete({ resource: REPLICA_SETS, namespace: "green", name });
  await world.settle();
  assertEquals(await world.list(REPLICA_SETS, "green"), []);
  const next = world.clock.nextWorkAt() ?? Infinity;
  assert(next - world.clock.now() > 1_000, `it comes back in ${next - world.clock.now()} ms`);
});

Deno.test("deployment that recreates empties all sets it adopts but its own", async () => {
  await using world = await openWorld(CONTROLLERS);
  // Two sets of former lives, each with pods and with the size that its Deployment had.
  await world.create(DEPLOYMENTS, deployment(3, { strategy: { rollingUpdate: { maxSurge: 3 } } }));
  await rollout(world);
  await patch(world, image("nginx:2"));
  await world.settle();
  const name = { resource: DEPLOYMENTS, namespace: "default", name: "web" };
  await world.client.delete(name, { propagationPolicy: "Orphan" });
  for (const set of await world.list(REPLICA_SETS)) {
    await world.client.patch({
      resource: REPLICA_SETS,
      namespace: "default",
      name: set.metadata.name,
    }, {
      type: "merge",
      body: { metadata: { ownerReferences: null } },
    });
  }
  await world.client.patch(name, { type: "merge", body: { metadata: { finalizers: null } } });
  await world.settle();
  assertEquals((await world.list(REPLICA_SETS)).map((set) => set.spec.replicas), [3, 3]);
  const again = deployment(1, { strategy: { type: "Recreate" } });
  again.spec.template.spec.containers[0].image = "nginx:2";
  await world.create(DEPLOYMENTS, again);
  await rollout(world);
  const sizes = (await world.list(REPLICA_SETS)).map((set) => set.spec.replicas).sort();
  assertEquals(sizes, [0, 1]);
});
