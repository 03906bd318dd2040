import { assertEquals } from "@std/assert";
import { POD_DISRUPTION_BUDGETS, PODS, REPLICA_SETS } from "../runtime/mod.ts";
import { DELETION_MS_MAX, disruptionController } from "./disruption.ts";
import { replicaSetController } from "./replicaset.ts";
import { openWorld, type World } from "./world_test.ts";

const labels = { app: "web" };

async function workload(world: World, replicas: number): Promise<void> {
  await world.create(REPLICA_SETS, {
    metadata: { name: "web" },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: "c", image: "x" }] } },
    },
  });
  await world.settle();
  await world.runPods();
  await world.settle();
}

async function budget(world: World, spec: object) {
  await world.create(POD_DISRUPTION_BUDGETS, {
    metadata: { name: "keep" },
    spec: { selector: { matchLabels: labels }, ...spec },
  });
  await world.settle();
  const { status } = await world.get(POD_DISRUPTION_BUDGETS, "keep");
  const [condition] = status.conditions;
  return [
    status.expectedPods,
    status.desiredHealthy,
    status.currentHealthy,
    status.disruptionsAllowed,
    condition.reason,
  ];
}

Deno.test("a budget allows what its pods leave over", async (t) => {
  const cases: { name: string; spec: object; counts: unknown[] }[] = [
    {
      name: "minAvailable 3 of 4",
      spec: { minAvailable: 3 },
      counts: [4, 3, 4, 1, "SufficientPods"],
    },
    {
      name: "minAvailable 60%",
      spec: { minAvailable: "60%" },
      counts: [4, 3, 4, 1, "SufficientPods"],
    },
    {
      name: "maxUnavailable 50%",
      spec: { maxUnavailable: "50%" },
      counts: [4, 2, 4, 2, "SufficientPods"],
    },
    {
      name: "maxUnavailable 0",
      spec: { maxUnavailable: 0 },
      counts: [4, 4, 4, 0, "InsufficientPods"],
    },
  ];
  for (const c of cases) {
    await t.step(c.name, async () => {
      await using world = await openWorld([replicaSetController, disruptionController]);
      await workload(world, 4);
      assertEquals(await budget(world, c.spec), c.counts);
    });
  }
});

Deno.test("a budget of a percentage over pods that nobody owns allows nothing", async () => {
  await using world = await openWorld([disruptionController]);
  const pod = await world.create(PODS, {
    metadata: { name: "alone", labels },
    spec: { containers: [{ name: "c", image: "x" }] },
  });
  await world.podIs(pod, "Running");
  assertEquals((await budget(world, { minAvailable: "50%" })).slice(3), [0, "SyncFailed"]);
});

Deno.test("an eviction that comes to nothing is given back after two minutes", async () => {
  await using world = await openWorld([replicaSetController, disruptionController]);
  await workload(world, 4);
  await budget(world, { minAvailable: 3 });
  const [pod] = await world.list(PODS);
  const disruptedPods = {
    [pod.metadata.name]: new Date(world.clock.now()).toISOString().replace(/\.\d+Z/, "Z"),
  };
  await world.client.patch({
    resource: POD_DISRUPTION_BUDGETS,
    namespace: "default",
    name: "keep",
    subresource: "status",
  }, {
    type: "merge",
    body: { status: { disruptedPods, disruptionsAllowed: 0 } },
  });
  await world.settle();
  const allowed = async () =>
    (await world.get(POD_DISRUPTION_BUDGETS, "keep")).status.disruptionsAllowed;
  assertEquals(await allowed(), 0);
  await world.settle(DELETION_MS_MAX + 1000);
  assertEquals(await allowed(), 1);
});
