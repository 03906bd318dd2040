import { assertEquals } from "@std/assert";
import { HORIZONTAL_POD_AUTOSCALERS, PODS, REPLICATION_CONTROLLERS } from "../runtime/mod.ts";
import { horizontalPodAutoscalerController } from "./horizontal_pod_autoscaler.ts";
import { conditionOf, type Obj } from "./objects.ts";
import { replicationController } from "./replicaset.ts";
import { type ControllerSettings, SETTINGS } from "./settings.ts";
import { openWorld, type World } from "./world_test.ts";

/** The metrics APIs of a test: what each pod uses of the CPU (thousandths), and answers by path. */
interface Figures {
  cpu(pod: string): number | undefined;
  answers: Record<string, object>;
  asked: string[];
}

async function opened(
  features?: ReadonlyMap<string, boolean>,
  settings?: Partial<ControllerSettings>,
): Promise<{ world: World; figures: Figures }> {
  const figures: Figures = { cpu: () => undefined, answers: {}, asked: [] };
  const world: World = await openWorld(
    (ports) => [replicationController, horizontalPodAutoscalerController(ports)],
    {
      features,
      ports: {
        features,
        settings,
        async read(path) {
          figures.asked.push(decodeURIComponent(path));
          const [plain] = path.split("?");
          if (figures.answers[plain]) return Response.json(figures.answers[plain]);
          if (!plain.startsWith("/apis/metrics.k8s.io/")) {
            return new Response("404 page not found", { status: 404 });
          }
          return Response.json({ items: await podMetrics(world, figures) });
        },
      },
    },
  );
  return { world, figures };
}

async function podMetrics(world: World, figures: Figures) {
  const timestamp = new Date(world.clock.now()).toISOString();
  return (await world.list(PODS)).flatMap(({ metadata: { name } }) => {
    const cpu = figures.cpu(name);
    if (cpu === undefined) return [];
    const containers = [{ name: "c", usage: { cpu: `${cpu}m`, memory: "64Mi" } }];
    return [{ metadata: { name }, timestamp, window: "15s", containers }];
  });
}

async function target(world: World, replicas: number): Promise<void> {
  await world.create(REPLICATION_CONTROLLERS, {
    metadata: { name: "web" },
    spec: {
      replicas,
      selector: { app: "web" },
      template: {
        metadata: { labels: { app: "web" } },
        spec: {
          containers: [{ name: "c", image: "x", resources: { requests: { cpu: "100m" } } }],
        },
      },
    },
  });
  await world.settle();
  await world.runPods();
  // Beyond the time in which a young pod's CPU says little.
  await world.advance(6 * 60_000);
}

function autoscaler(spec: object, name = "web") {
  const scaleTargetRef = { apiVersion: "v1", kind: "ReplicationController", name: "web" };
  return { metadata: { name }, spec: { scaleTargetRef, maxReplicas: 20, ...spec } };
}

const cpuAt = (averageUtilization: number) => ({
  metrics: [{
    type: "Resource",
    resource: { name: "cpu", target: { type: "Utilization", averageUtilization } },
  }],
});

const replicasOf = async (world: World) =>
  (await world.get(REPLICATION_CONTROLLERS, "web")).spec.replicas;
const said = (object: Obj, type: string) => {
  const { status, reason, message } = conditionOf(object.status, type)!;
  return `${status} ${reason}: ${message}`;
};
const read = (world: World) => world.get(HORIZONTAL_POD_AUTOSCALERS, "web");

/** Looks once more, the pods of the last look being up and warm. */
async function turn(world: World): Promise<void> {
  await world.settle();
  await world.runPods();
  await world.advance(SETTINGS.horizontalPodAutoscalerSyncPeriod);
}

Deno.test("autoscaler doubles at most, follows the ratio, and goes down only after five quiet minutes", async () => {
  const { world, figures } = await opened();
  await using _ = world;
  await target(world, 2);
  figures.cpu = () => 300;
  await world.create(HORIZONTAL_POD_AUTOSCALERS, autoscaler(cpuAt(50)));
  await world.settle();
  // 300 % of the request for 50 % wanted: twelve; four at most in one step from two.
  assertEquals(await replicasOf(world), 4);
  const first = await read(world);
  assertEquals(first.status.currentMetrics, [{
    type: "Resource",
    resource: { name: "cpu", current: { averageUtilization: 300, averageValue: "300m" } },
  }]);
  assertEquals(
    said(first, "AbleToScale"),
    "True SucceededRescale: the HPA controller was able to update the target scale to 4",
  );
  assertEquals(
    said(first, "ScalingActive"),
    "True ValidMetricFound: the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)",
  );
  assertEquals(
    said(first, "ScalingLimited"),
    "True ScaleUpLimit: the desired replica count is increasing faster than the maximum scale rate",
  );
  assertEquals([first.status.currentReplicas, first.status.desiredReplicas], [2, 4]);
  await world.runPods();
  await world.advance(6 * 60_000);
  figures.cpu = () => 5;
  await turn(world);
  const high = await replicasOf(world);
  assertEquals(
    said(await read(world), "AbleToScale"),
    "True ScaleDownStabilized: recent recommendations were higher than current one, applying the highest recent recommendation",
  );
  await world.advance(5 * 60_000);
  assertEquals([high, await replicasOf(world)], [20, 2]);
  const events = await world.events();
  for (
    const line of [
      "Normal SuccessfulRescale New size: 4; reason: cpu resource utilization (percentage of request) above target",
      "Normal SuccessfulRescale New size: 2; reason: All metrics below target",
    ]
  ) assertEquals(events.includes(line), true, `${line}\n${events.join("\n")}`);
});

Deno.test("autoscaler follows the policies and windows of its behavior", async () => {
  const { world, figures } = await opened();
  await using _ = world;
  await target(world, 3);
  figures.cpu = () => 100;
  const behavior = {
    scaleUp: {
      stabilizationWindowSeconds: 0,
      policies: [{ type: "Pods", value: 2, periodSeconds: 60 }],
    },
    scaleDown: {
      stabilizationWindowSeconds: 0,
      policies: [{ type: "Pods", value: 1, periodSeconds: 60 }],
    },
  };
  await world.create(HORIZONTAL_POD_AUTOSCALERS, autoscaler({ ...cpuAt(10), behavior }));
  await world.settle();
  assertEquals(await replicasOf(world), 5);
  // Two in a minute: no more before the minute is over.
  await turn(world);
  assertEquals(await replicasOf(world), 5);
  await world.advance(60_000);
  assertEquals(await replicasOf(world), 7);
  await world.runPods();
  figures.cpu = () => 0;
  await world.advance(60_000);
  const low = await replicasOf(world);
  await world.advance(60_000);
  assertEquals(low - await replicasOf(world), 1);
});

Deno.test("autoscaler's own tolerance decides what is near enough", async () => {
  const { world, figures } = await opened();
  await using _ = world;
  await target(world, 10);
  figures.cpu = () => 53;
  await world.create(HORIZONTAL_POD_AUTOSCALERS, autoscaler(cpuAt(50)));
  await turn(world);
  assertEquals(await replicasOf(world), 10);
  await world.client.patch({
    resource: HORIZONTAL_POD_AUTOSCALERS,
    namespace: "default",
    name: "web",
  }, {
    type: "merge",
    body: { spec: { behavior: { scaleUp: { tolerance: "50m" } } } },
  });
  await world.settle();
  assertEquals(await replicasOf(world), 11);
});

Deno.test("autoscaler tells what it cannot do, and takes no pods away while a metric is missing", async () => {
  const { world, figures } = await opened();
  await using _ = world;
  await target(world, 3);
  figures.cpu = () => 1;
  const external = {
    type: "External",
    external: { metric: { name: "queue" }, target: { type: "Value", value: "10" } },
  };
  const metrics = [...cpuAt(50).metrics, external];
  await world.create(HORIZONTAL_POD_AUTOSCALERS, autoscaler({ metrics }));
  await world.settle();
  assertEquals(await replicasOf(world), 3);
  const cause =
    "failed to get external metric queue: unable to get external metric default/queue/nil: unable to fetch metrics from external metrics API: the server could not find the requested resource (get queue.external.metrics.k8s.io)";
  // The innermost text, as upstream's condition has it.
  const inner = cause.slice("failed to get external metric queue: ".length);
  assertEquals(
    said(await read(world), "ScalingActive"),
    `False FailedGetExternalMetric: the HPA was unable to compute the replica count: ${inner}`,
  );
  const events = await world.events();
  assertEquals(
    events.includes(`Warning FailedGetExternalMetric ${inner}`),
    true,
    events.join("\n"),
  );
  assertEquals(
    events.includes(
      `Warning FailedComputeMetricsReplicas invalid metrics (1 invalid out of 2), first error is: failed to get queue external metric value: ${cause}`,
    ),
    true,
    events.join("\n"),
  );
  // With the other metric asking for more, the missing one holds nothing up.
  figures.cpu = () => 100;
  await turn(world);
  assertEquals(await replicasOf(world), 6);
});

Deno.test("autoscaler reads pods, object and external metrics where upstream's client asks for them", async () => {
  const { world, figures } = await opened();
  await using _ = world;
  await target(world, 2);
  const timestamp = new Date(world.clock.now()).toISOString();
  const of = (name: string, value: string) => ({ describedObject: { name }, timestamp, value });
  const base = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default";
  const pods = await world.list(PODS);
  Object.assign(figures.answers, {
    "/apis/custom.metrics.k8s.io": {
      preferredVersion: { groupVersion: "custom.metrics.k8s.io/v1beta2" },
    },
    [`${base}/pods/*/qps`]: { items: pods.map(({ metadata }) => of(metadata.name, "500m")) },
    [`${base}/ingresses.networking.k8s.io/main/hits`]: { items: [of("main", "30")] },
    "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/queue": {
      items: [{ value: "12" }, { value: "13" }],
    },
  });
  const metrics = [{
    type: "Pods",
    pods: { metric: { name: "qps" }, target: { type: "AverageValue", averageValue: "500m" } },
  }, {
    type: "Object",
    object: {
      describedObject: { apiVersion: "networking.k8s.io/v1", kind: "Ingress", name: "main" },
      metric: { name: "hits" },
      target: { type: "Value", value: "20" },
    },
  }, {
    type: "External",
    external: {
      metric: { name: "queue", selector: { matchLabels: { of: "web" } } },
      target: { type: "AverageValue", averageValue: "7" },
    },
  }];
  await world.create(HORIZONTAL_POD_AUTOSCALERS, autoscaler({ metrics }));
  await world.settle();
  assertEquals(await replicasOf(world), 4);
  const { status } = await read(world);
  assertEquals(
    status.currentMetrics.map((one: Record<string, Obj>) => Object.values(one)[1].current),
    [
      { averageValue: "500m" },
      { value: "30" },
      { averageValue: "12500m" },
    ],
  );
  assertEquals(
    [
      `${base}/pods/*/qps?labelSelector=app=web`,
      "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/queue?labelSelector=of=web",
    ].filter((path) => !figures.asked.includes(path)),
    [],
  );
});

Deno.test("autoscaler keeps within its bounds without asking, and leaves a target of none alone", async () => {
  const { world, figures } = await opened();
  await using _ = world;
  await target(world, 9);
  await world.create(HORIZONTAL_POD_AUTOSCALERS, autoscaler({ maxReplicas: 5 }));
  await world.settle();
  assertEquals([await replicasOf(world), figures.asked], [5, []]);
  const name = { resource: REPLICATION_CONTROLLERS, namespace: "default", name: "web" };
  await world.client.patch(name, { type: "merge", body: { spec: { replicas: 0 } } });
  await world.finishDeletions();
  await turn(world);
  assertEquals(await replicasOf(world), 0);
  assertEquals(
    said(await read(world), "ScalingActive"),
    "False ScalingDisabled: scaling is disabled since the replica count of the target is zero",
  );
});

Deno.test("autoscalers of the same pods refuse to scale them; one without a target says so", async () => {
  const { world, figures } = await opened();
  await using _ = world;
  await target(world, 2);
  figures.cpu = () => 100;
  await world.create(HORIZONTAL_POD_AUTOSCALERS, autoscaler(cpuAt(100)));
  await world.create(HORIZONTAL_POD_AUTOSCALERS, autoscaler(cpuAt(10), "other"));
  await turn(world);
  assertEquals(
    said(await world.get(HORIZONTAL_POD_AUTOSCALERS, "other"), "ScalingActive"),
    "False AmbiguousSelector: pods by selector app=web are controlled by multiple HPAs: [{other default} {web default}]",
  );
  await world.client.delete(
    { resource: REPLICATION_CONTROLLERS, namespace: "default", name: "web" },
    { propagationPolicy: "Background" },
  );
  await turn(world);
  assertEquals(
    said(await read(world), "AbleToScale"),
    'False FailedGetScale: the HPA controller was unable to get the target\'s current scale: replicationcontrollers "web" not found',
  );
});

Deno.test("autoscaler takes the last pod away and brings the first one back where the gate lets it, and leaves people's zero", async () => {
  const features = new Map([["HPAScaleToZero", true]]);
  const { world, figures } = await opened(features);
  await using _ = world;
  await target(world, 2);
  const queue = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/queue";
  const waiting = (value: string) => figures.answers[queue] = { items: [{ value }] };
  const metric = { name: "queue" };
  const metrics = [{
    type: "External",
    external: { metric, target: { type: "AverageValue", averageValue: "10" } },
  }];
  waiting("0");
  await world.create(
    HORIZONTAL_POD_AUTOSCALERS,
    autoscaler({
      minReplicas: 0,
      metrics,
      behavior: { scaleDown: { stabilizationWindowSeconds: 0 } },
    }),
  );
  await world.settle();
  assertEquals(await replicasOf(world), 0);
  assertEquals(
    said(await read(world), "ScaledToZero"),
    "True ScaledToZero: the HPA controller scaled the workload to zero",
  );
  await world.finishDeletions();
  await turn(world);
  assertEquals(await replicasOf(world), 0);
  waiting("25");
  await turn(world);
  assertEquals(await replicasOf(world), 3);
  assertEquals(
    said(await read(world), "ScaledToZero"),
    "False NotScaledToZero: the HPA controller did not scale the workload to zero",
  );
  const name = { resource: REPLICATION_CONTROLLERS, namespace: "default", name: "web" };
  await world.client.patch(name, { type: "merge", body: { spec: { replicas: 0 } } });
  await turn(world);
  assertEquals(await replicasOf(world), 0);
  assertEquals(said(await read(world), "ScalingActive").slice(0, 22), "False ScalingDisabled:");
});

Deno.test("an autoscaler's least is one, or none by the gate with a metric that can speak while no pod runs", async () => {
  for (const on of [false, true]) {
    const { world } = await opened(new Map([["HPAScaleToZero", on]]));
    await using _ = world;
    const make = (metrics: object[]) =>
      world.create(HORIZONTAL_POD_AUTOSCALERS, autoscaler({ minReplicas: 0, metrics }))
        .then(() => "", (error: Error) => error.message.replace(/^.*?: /, ""));
    const without = await make(cpuAt(50).metrics);
    const forbidden =
      "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas";
    const least = "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1";
    assertEquals(without.includes(forbidden), true, without);
    assertEquals(without.includes(least), !on, without);
    const target = { type: "Value", value: "10" };
    const made = await make([{ type: "External", external: { metric: { name: "q" }, target } }]);
    assertEquals(made, on ? "" : least, made);
  }
});

Deno.test("tolerance, turns and what holds a scale-down back are settings", async () => {
  const { world, figures } = await opened(undefined, {
    horizontalPodAutoscalerTolerance: 0.6,
    horizontalPodAutoscalerSyncPeriod: 5_000,
    horizontalPodAutoscalerDownscaleStabilization: 10_000,
    horizontalPodAutoscalerCpuInitializationPeriod: 0,
    horizontalPodAutoscalerInitialReadinessDelay: 0,
  });
  await using _ = world;
  await target(world, 2);
  figures.cpu = () => 75;
  await world.create(HORIZONTAL_POD_AUTOSCALERS, autoscaler(cpuAt(50)));
  const turns = async (count: number) => {
    await world.settle();
    await world.runPods();
    await world.advance(count * 5_000 + 100);
  };
  await turns(1);
  assertEquals(await replicasOf(world), 2);
  figures.cpu = () => 100;
  await turns(1);
  assertEquals(await replicasOf(world), 4);
  figures.cpu = () => 1;
  await turns(4);
  assertEquals(await replicasOf(world), 1);
});
