import { assert, assertEquals } from "@std/assert";
import { DAEMON_SETS, NODES, PODS } from "../runtime/mod.ts";
import { daemonSetController } from "./daemonset.ts";
import { openWorld, type World } from "./world_test.ts";

const template = {
  metadata: { labels: { app: "db" } },
  spec: { containers: [{ name: "c", image: "db:1" }] },
};

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
