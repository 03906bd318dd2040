import { assert, assertEquals } from "@std/assert";
import {
  CONTROLLER_REVISIONS,
  DAEMON_SETS,
  NODES,
  PERSISTENT_VOLUME_CLAIMS,
  PODS,
  STATEFUL_SETS,
} from "../runtime/mod.ts";
import { daemonSetController } from "./daemonset.ts";
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
  await using world = await openWorld([statefulSetController]);
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
  await using world = await openWorld([statefulSetController]);
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
  await using world = await openWorld([statefulSetController]);
  await world.create(STATEFUL_SETS, set(4, { podManagementPolicy: "Parallel" }));
  assertEquals((await rounds(world))[0], "db-0 db-1 db-2 db-3");
});

Deno.test("statefulset gives each pod its claims, and takes them back when told to", async () => {
  await using world = await openWorld((ports) => [
    statefulSetController,
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

const daemons = (spec: object = {}) => ({
  metadata: { name: "agent" },
  spec: { selector: { matchLabels: { app: "db" } }, template, ...spec },
});

async function node(world: World, name: string, spec: object = {}, labels = {}) {
  await world.client.create({ resource: NODES }, { metadata: { name, labels } });
  // New nodes are tainted until they are ready; these are.
  const taints = (spec as { taints?: [] }).taints ?? null;
  await world.client.patch({ resource: NODES, name }, {
    type: "merge",
    body: { spec: { taints } },
  });
}

async function nodesOfPods(world: World) {
  return (await world.list(PODS)).filter((pod) => !pod.metadata.deletionTimestamp).map((pod) =>
    pod.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution
      .nodeSelectorTerms[0].matchFields[0].values[0]
  ).sort();
}

/** As the scheduler and the nodes would: pods run where their affinity says. */
async function runDaemons(world: World) {
  for (let i = 0; i < 30; i++) {
    await world.settle();
    let changed = 0;
    for (const pod of await world.list(PODS)) {
      if (pod.metadata.deletionTimestamp) changed++;
      else if (pod.status?.phase === "Pending") {
        const [term] = pod.spec.affinity.nodeAffinity
          .requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms;
        await world.podIs(pod, "Running", { node: term.matchFields[0].values[0] });
        changed++;
      }
    }
    await world.finishDeletions();
    if (changed === 0) return;
  }
}

Deno.test("daemonset runs one pod on each node that fits, and counts them", async () => {
  await using world = await openWorld([daemonSetController]);
  await node(world, "a");
  await node(world, "b", { taints: [{ key: "gpu", effect: "NoSchedule" }] });
  await node(world, "c", {
    taints: [{ key: "node.kubernetes.io/unschedulable", effect: "NoSchedule" }],
  });
  await world.create(DAEMON_SETS, daemons());
  await runDaemons(world);
  assertEquals(await nodesOfPods(world), ["a", "c"]);
  await node(world, "d");
  await runDaemons(world);
  assertEquals(await nodesOfPods(world), ["a", "c", "d"]);
  const { status } = await world.get(DAEMON_SETS, "agent");
  assertEquals(status, {
    observedGeneration: 1,
    currentNumberScheduled: 3,
    numberMisscheduled: 0,
    desiredNumberScheduled: 3,
    numberReady: 3,
    updatedNumberScheduled: 3,
    numberAvailable: 3,
  });
  assertEquals(world.log, []);
});

Deno.test("daemonset leaves nodes that no longer want it, and replaces failed pods", async () => {
  await using world = await openWorld([daemonSetController]);
  await node(world, "a", {}, { role: "x" });
  await node(world, "b", {}, { role: "x" });
  const spec = { ...template.spec, nodeSelector: { role: "x" } };
  await world.create(DAEMON_SETS, daemons({ template: { ...template, spec } }));
  await runDaemons(world);
  await world.client.patch({ resource: NODES, name: "b" }, {
    type: "merge",
    body: { metadata: { labels: { role: "y" } } },
  });
  await runDaemons(world);
  assertEquals(await nodesOfPods(world), ["a"]);
  const [pod] = await world.list(PODS);
  await world.podIs(pod, "Failed");
  await world.settle();
  await runDaemons(world);
  const [next] = await world.list(PODS);
  assert(next.metadata.name !== pod.metadata.name);
  assert((await world.events()).some((event) => event.startsWith("Warning FailedDaemonPod")));
});

Deno.test("daemonset rolls one node at a time", async () => {
  await using world = await openWorld([daemonSetController]);
  for (const name of ["a", "b", "c"]) await node(world, name);
  await world.create(DAEMON_SETS, daemons());
  await runDaemons(world);
  await world.client.patch({ resource: DAEMON_SETS, namespace: "default", name: "agent" }, {
    type: "strategic",
    body: { spec: { template: { spec: { containers: [{ name: "c", image: "db:2" }] } } } },
  });
  await world.settle();
  const leaving = (await world.list(PODS)).filter((pod) => pod.metadata.deletionTimestamp);
  assertEquals(leaving.length, 1);
  await runDaemons(world);
  const images = (await world.list(PODS)).map((pod) => pod.spec.containers[0].image);
  assertEquals(images, ["db:2", "db:2", "db:2"]);
});
