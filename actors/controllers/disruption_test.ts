import { assertEquals } from "@std/assert";
import { DEPLOYMENTS, POD_DISRUPTION_BUDGETS, PODS, REPLICA_SETS } from "../runtime/mod.ts";
import { DELETION_MS_MAX, disruptionController, STALE_CONDITION_MS } from "./disruption.ts";
import { conditionOf } from "./objects.ts";
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
      await using world = await openWorld((
        ports,
      ) => [replicaSetController, disruptionController(ports)]);
      await workload(world, 4);
      assertEquals(await budget(world, c.spec), c.counts);
    });
  }
});

Deno.test("a budget of a percentage over pods that nobody owns allows nothing", async () => {
  await using world = await openWorld((ports) => [disruptionController(ports)]);
  const pod = await world.create(PODS, {
    metadata: { name: "alone", labels },
    spec: { containers: [{ name: "c", image: "x" }] },
  });
  await world.podIs(pod, "Running");
  assertEquals((await budget(world, { minAvailable: "50%" })).slice(3), [0, "InsufficientPods"]);
  assertEquals(await world.events(), [
    'Warning UnmanagedPods Pods selected by this PodDisruptionBudget (selector: &LabelSelector{MatchLabels:map[string]string{app: web,},MatchExpressions:[]LabelSelectorRequirement{},}) were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set ".spec.minAvailable" field of the PDB to an integer value.',
  ]);
});

Deno.test("an eviction that comes to nothing is given back after two minutes", async () => {
  await using world = await openWorld((
    ports,
  ) => [replicaSetController, disruptionController(ports)]);
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

/** A pod of somebody's, ready. */
async function ownedPod(world: World, owner: object): Promise<void> {
  const pod = await world.create(PODS, {
    metadata: { name: "owned", labels, ownerReferences: [{ ...owner, controller: true }] },
    spec: { containers: [{ name: "c", image: "x" }] },
  });
  await world.podIs(pod, "Running");
}

Deno.test("a budget asks any kind's scale, and allows nothing over one that has none", async () => {
  await using world = await openWorld((ports) => [disruptionController(ports)]);
  const deployment = await world.create(DEPLOYMENTS, {
    metadata: { name: "web" },
    spec: {
      replicas: 3,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: "c", image: "x" }] } },
    },
  });
  const { name, uid } = deployment.metadata;
  await ownedPod(world, { apiVersion: "apps/v1", kind: "Deployment", name, uid });
  const counts = await budget(world, { maxUnavailable: 2 });
  assertEquals(counts, [3, 1, 1, 0, "InsufficientPods"]);

  await using other = await openWorld((ports) => [disruptionController(ports)]);
  await ownedPod(other, { apiVersion: "batch/v1", kind: "Job", name: "j", uid: "u" });
  assertEquals((await budget(other, { maxUnavailable: 2 }))[4], "SyncFailed");
  assertEquals(await other.events(), [
    "Warning CalculateExpectedPodCountFailed Failed to calculate the number of expected pods: jobs.batch does not implement the scale subresource",
  ]);
});

Deno.test("a budget without pods says so; a pod that was to go and stays is told so after two minutes", async () => {
  await using world = await openWorld((ports) => [disruptionController(ports)]);
  await budget(world, { minAvailable: 1 });
  assertEquals(await world.events(), ["Normal NoPods No matching pods found"]);
  const pod = await world.create(PODS, {
    metadata: { name: "p" },
    spec: { containers: [{ name: "c", image: "x" }] },
  });
  await world.podIs(pod, "Running");
  const lastTransitionTime = new Date(world.clock.now()).toISOString().replace(/\.\d+Z/, "Z");
  await world.client.patch({
    resource: PODS,
    namespace: "default",
    name: "p",
    subresource: "status",
  }, {
    type: "strategic",
    body: {
      status: {
        conditions: [{
          type: "DisruptionTarget",
          status: "True",
          reason: "EvictionByEvictionAPI",
          message: "Eviction API: evicting",
          lastTransitionTime,
        }],
      },
    },
  });
  const told = async () => {
    const { status, reason } = conditionOf(
      (await world.get(PODS, "p")).status,
      "DisruptionTarget",
    )!;
    return `${status} ${reason ?? ""}`;
  };
  await world.settle(STALE_CONDITION_MS / 2);
  assertEquals(await told(), "True EvictionByEvictionAPI");
  await world.settle(STALE_CONDITION_MS);
  assertEquals(await told(), "False ");
});
