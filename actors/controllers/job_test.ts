import { assert, assertEquals } from "@std/assert";
import type { Json, KubeObject } from "../../api/machinery/types.ts";
import { JOBS, PODS } from "../runtime/mod.ts";
import { jobController } from "./job.ts";
import { formatIndexes, parseIndexes } from "./job_indexes.ts";
import { conditionOf } from "./objects.ts";
import { openWorld, type World } from "./world_test.ts";

function job(spec: object = {}, pod: object = {}) {
  return {
    metadata: { name: "work" },
    spec: {
      template: {
        spec: { restartPolicy: "Never", containers: [{ name: "c", image: "x" }], ...pod },
      },
      ...spec,
    },
  };
}

async function pods(world: World) {
  return (await world.list(PODS)).filter((pod) => !pod.metadata.deletionTimestamp);
}

async function running(world: World) {
  return (await pods(world)).filter((pod) =>
    pod.status?.phase === "Pending" || pod.status?.phase === "Running"
  );
}

async function endAll(world: World, phase: string) {
  for (const pod of await running(world)) await world.podIs(pod, phase);
  await world.settle(100);
}

async function status(world: World) {
  return (await world.get(JOBS, "work")).status;
}

Deno.test("job runs to completion, counts each pod once and says so", async () => {
  await using world = await openWorld([jobController()]);
  await world.create(JOBS, job({ completions: 5, parallelism: 2 }));
  await world.settle();
  let found = await running(world);
  assertEquals(found.length, 2);
  assertEquals(found[0].metadata.finalizers, ["batch.kubernetes.io/job-tracking"]);
  assertEquals((await status(world)).active, 2);
  for (let i = 0; i < 3; i++) await endAll(world, "Succeeded");
  const end = await status(world);
  assertEquals(end.succeeded, 5);
  assertEquals(conditionOf(end, "SuccessCriteriaMet")?.reason, "CompletionsReached");
  assertEquals(
    conditionOf(end, "Complete")?.message,
    "Reached expected number of succeeded pods",
  );
  assert(end.completionTime && end.startTime);
  assertEquals(end.uncountedTerminatedPods, {});
  found = await pods(world);
  assertEquals(found.length, 5);
  assertEquals(found.flatMap((pod) => pod.metadata.finalizers ?? []), []);
  const events = await world.events();
  assertEquals(events.filter((event) => event.includes("SuccessfulCreate")).length, 5);
  assert(events.includes("Normal Completed Job completed"));
  assertEquals(world.log, []);
});

Deno.test("job backs off between failures and gives up at its limit", async () => {
  await using world = await openWorld([jobController()]);
  await world.create(JOBS, job({ backoffLimit: 1 }));
  await world.settle();
  await endAll(world, "Failed");
  assertEquals((await running(world)).length, 0);
  await world.advance(9_000);
  assertEquals((await running(world)).length, 0, "waits ten seconds");
  await world.advance(2_000);
  assertEquals((await running(world)).length, 1);
  await endAll(world, "Failed");
  const end = await status(world);
  assertEquals(end.failed, 2);
  assertEquals(conditionOf(end, "FailureTarget")?.reason, "BackoffLimitExceeded");
  assertEquals(
    conditionOf(end, "Failed")?.message,
    "Job has reached the specified backoff limit",
  );
  assert(
    (await world.events()).includes(
      "Warning BackoffLimitExceeded Job has reached the specified backoff limit",
    ),
  );
});

Deno.test("job ends at its deadline and takes its pods with it", async () => {
  await using world = await openWorld([jobController()]);
  await world.create(JOBS, job({ activeDeadlineSeconds: 30 }));
  await world.settle();
  await world.runPods();
  await world.settle();
  await world.advance(31_000);
  await world.finishDeletions();
  await world.settle();
  const end = await status(world);
  assertEquals(conditionOf(end, "Failed")?.reason, "DeadlineExceeded");
  assertEquals([end.active, end.failed], [undefined, 1]);
});

Deno.test("job is suspended and resumed", async () => {
  await using world = await openWorld([jobController()]);
  await world.create(JOBS, job({ parallelism: 2, suspend: true }));
  await world.settle();
  assertEquals((await world.list(PODS)).length, 0);
  assertEquals(conditionOf(await status(world), "Suspended")?.reason, "JobSuspended");
  const target = { resource: JOBS, namespace: "default", name: "work" };
  await world.client.patch(target, { type: "merge", body: { spec: { suspend: false } } });
  await world.settle();
  assertEquals((await running(world)).length, 2);
  assertEquals(conditionOf(await status(world), "Suspended")?.status, "False");
  await world.client.patch(target, { type: "merge", body: { spec: { suspend: true } } });
  await world.settle();
  assertEquals((await running(world)).length, 0);
  const { failed, startTime } = await status(world);
  assertEquals([failed, startTime], [undefined, undefined]);
});

Deno.test("job that is resumed starts anew: its deadline counts from then", async () => {
  await using world = await openWorld([jobController()]);
  await world.create(JOBS, job({ activeDeadlineSeconds: 60 }));
  await world.settle();
  const target = { resource: JOBS, namespace: "default", name: "work" };
  const first = (await status(world)).startTime;
  await world.advance(50_000);
  for (const suspend of [true, false]) {
    await world.client.patch(target, { type: "merge", body: { spec: { suspend } } });
    await world.settle();
  }
  const again = (await status(world)).startTime;
  assert(again > first, `${first} ${again}`);
  await world.advance(30_000);
  assertEquals((await running(world)).length, 1);
  await world.advance(31_000);
  assertEquals(conditionOf(await status(world), "Failed")?.reason, "DeadlineExceeded");
  assertEquals(world.log.filter((line) => line.includes("startTime")), []);
});

Deno.test("indexed job gives every index its pod, name, label and variable", async () => {
  await using world = await openWorld([jobController()]);
  await world.create(JOBS, job({ completions: 3, parallelism: 3, completionMode: "Indexed" }));
  await world.settle();
  const found = await running(world);
  assertEquals(found.map((pod) => pod.spec.hostname).sort(), ["work-0", "work-1", "work-2"]);
  const first = found.find((pod) => pod.spec.hostname === "work-0")!;
  assert(first.metadata.name.startsWith("work-0-"));
  assertEquals(first.metadata.labels!["batch.kubernetes.io/job-completion-index"], "0");
  assertEquals(first.spec.containers[0].env.map((e: { name: string }) => e.name), [
    "JOB_COMPLETION_INDEX",
  ]);
  await world.podIs(first, "Succeeded");
  await world.settle();
  assertEquals((await status(world)).completedIndexes, "0");
  const second = found.find((pod) => pod.spec.hostname === "work-1")!;
  await world.podIs(second, "Failed");
  await world.settle(20_000);
  assertEquals((await running(world)).map((pod) => pod.spec.hostname).sort(), ["work-1", "work-2"]);
  await endAll(world, "Succeeded");
  const end = await status(world);
  assertEquals([end.completedIndexes, end.succeeded, end.failed], ["0-2", 3, 1]);
  assert(conditionOf(end, "Complete"));
});

Deno.test("indexed job with a limit per index lets an index fail and the others end", async () => {
  await using world = await openWorld([jobController()]);
  await world.create(
    JOBS,
    job({ completions: 2, parallelism: 2, completionMode: "Indexed", backoffLimitPerIndex: 1 }),
  );
  await world.settle();
  const of = async (index: number) =>
    (await running(world)).find((pod) => pod.spec.hostname === `work-${index}`)!;
  await world.podIs(await of(0), "Failed");
  await world.settle(100);
  assertEquals((await status(world)).failed, undefined, "held until its heir is there");
  await world.advance(12_000);
  const heir = await of(0);
  const count = "batch.kubernetes.io/job-index-failure-count";
  assertEquals(heir.metadata.annotations![count], "1");
  await world.podIs(heir, "Failed");
  await world.settle(100);
  assertEquals((await status(world)).failedIndexes, "0");
  await world.podIs(await of(1), "Succeeded");
  await world.settle(30_000);
  const end = await status(world);
  assertEquals(conditionOf(end, "Failed")?.reason, "FailedIndexes");
  assertEquals([end.completedIndexes, end.failedIndexes, end.failed], ["1", "0", 2]);
});

Deno.test("job follows its pod failure policy", async () => {
  await using world = await openWorld([jobController()]);
  await world.create(
    JOBS,
    job({
      podFailurePolicy: {
        rules: [{
          action: "Ignore",
          onPodConditions: [{ type: "DisruptionTarget", status: "True" }],
        }, {
          action: "FailJob",
          onExitCodes: { operator: "In", values: [42] },
        }],
      },
    }),
  );
  await world.settle();
  const end = async (patch: object) => {
    const [pod] = await running(world);
    await world.podIs(pod, "Running");
    const { namespace, name } = pod.metadata;
    const target = { resource: PODS, namespace, name };
    const fresh = await world.client.get<KubeObject>(target);
    await world.client.update<KubeObject>({ ...target, subresource: "status" }, {
      ...fresh,
      status: { ...fresh.status, phase: "Failed", ...patch },
    });
    await world.settle(100);
  };
  const at = "2026-01-01T00:00:00Z";
  await end({
    conditions: [{ type: "DisruptionTarget", status: "True", lastTransitionTime: at }],
  });
  assertEquals((await status(world)).failed, undefined);
  assertEquals((await running(world)).length, 1);
  await end({
    containerStatuses: [{
      name: "c",
      image: "x",
      imageID: "x",
      ready: false,
      restartCount: 0,
      state: { terminated: { exitCode: 42, startedAt: at, finishedAt: at } },
    }],
  });
  const condition = conditionOf(await status(world), "Failed")!;
  assertEquals(condition.reason, "PodFailurePolicy");
  assert(condition.message?.includes("failed with exit code 42 matching FailJob rule at index 1"));
});

Deno.test("job never counts more pods ready than active, whatever it takes away", async () => {
  await using world = await openWorld([jobController()]);
  await world.create(JOBS, job({ parallelism: 3, completions: 9 }));
  await world.settle();
  for (const pod of await running(world)) await world.podIs(pod, "Running");
  await world.settle();
  assertEquals((await status(world)).ready, 3);
  const target = { resource: JOBS, namespace: "default", name: "work" };
  const steps: Json[] = [{ parallelism: 1 }, { suspend: true }];
  for (const spec of steps) {
    await world.client.patch(target, { type: "merge", body: { spec } });
    await world.settle();
  }
  const { active = 0, ready } = await status(world);
  assertEquals([active, ready], [0, 0]);
  assertEquals(world.log.filter((line) => line.includes("ready pods")), []);
});

Deno.test("job scales its parallelism, and frees pods of a job that is gone", async () => {
  await using world = await openWorld([jobController()]);
  await world.create(JOBS, job({ parallelism: 3 }));
  await world.settle();
  const target = { resource: JOBS, namespace: "default", name: "work" };
  await world.client.patch(target, { type: "merge", body: { spec: { parallelism: 1 } } });
  await world.settle();
  assertEquals((await running(world)).length, 1);
  await world.client.delete(target, { propagationPolicy: "Background" });
  await world.settle();
  const [pod] = await running(world);
  assertEquals(pod.metadata.finalizers, undefined);
});

Deno.test("indexes are written in ranges and read back", () => {
  const cases: [number[], string][] = [
    [[], ""],
    [[1], "1"],
    [[1, 2], "1,2"],
    [[0, 1, 2, 5, 7, 8, 9], "0-2,5,7-9"],
  ];
  for (const [numbers, text] of cases) {
    assertEquals(formatIndexes(new Set(numbers)), text);
    assertEquals([...parseIndexes(text, 100)], numbers);
  }
  assertEquals([...parseIndexes("3-9", 5)], [3, 4]);
});
