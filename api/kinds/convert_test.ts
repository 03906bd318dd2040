import { assertEquals } from "@std/assert";
import { deepFreeze } from "../machinery/edit.ts";
import { decode } from "../machinery/schema.ts";
import type { KubeObject } from "../machinery/types.ts";
import { createKinds } from "./registry.ts";

const kinds = createKinds({ beta: true });

function storage(group: string, version: string, plural: string) {
  const kind = kinds.byResource(group, version, plural)!;
  return {
    kind,
    roundTrip(value: unknown): { stored: KubeObject; back: KubeObject } {
      const { object } = decode(kind, value, "Strict");
      const stored = kind.storage!.toStorage(object);
      const storedKind = kinds.all().find((k) => k.path === kind.path && k.storage === undefined)!;
      // What is stored must be a proper object of the storage version.
      assertEquals(decode(storedKind, stored, "Strict").object, stored);
      return { stored, back: kind.storage!.fromStorage(deepFreeze(stored)) };
    },
  };
}

Deno.test("events of events.k8s.io are core events under other names", () => {
  const { roundTrip } = storage("events.k8s.io", "v1", "events");
  const event = {
    apiVersion: "events.k8s.io/v1",
    kind: "Event",
    metadata: { name: "e", namespace: "default" },
    eventTime: "2026-01-02T03:04:05.000001Z",
    note: "Pulled",
    reason: "Pulled",
    regarding: { kind: "Pod", name: "p" },
    reportingController: "kubelet",
    reportingInstance: "n",
    series: { count: 2, lastObservedTime: "2026-01-02T03:04:06.000001Z" },
    deprecatedSource: {},
    deprecatedFirstTimestamp: null,
    deprecatedLastTimestamp: null,
    deprecatedCount: 3,
  };
  const { stored, back } = roundTrip(event);
  assertEquals(stored.message, "Pulled");
  assertEquals(stored.involvedObject, { kind: "Pod", name: "p" });
  assertEquals(stored.reportingComponent, "kubelet");
  assertEquals(stored.apiVersion, "v1");
  assertEquals(back as unknown, event);
});

Deno.test("autoscaling/v1 keeps in annotations what it has no fields for", () => {
  const { kind, roundTrip } = storage("autoscaling", "v1", "horizontalpodautoscalers");
  const target = { apiVersion: "apps/v1", kind: "Deployment", name: "web" };
  const plain = {
    apiVersion: "autoscaling/v1",
    kind: "HorizontalPodAutoscaler",
    metadata: { name: "web" },
    spec: { scaleTargetRef: target, maxReplicas: 5, targetCPUUtilizationPercentage: 60 },
    status: { currentReplicas: 0, desiredReplicas: 0 },
  };
  const { stored, back } = roundTrip(plain);
  assertEquals(stored.spec.metrics, [{
    type: "Resource",
    resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 60 } },
  }]);
  assertEquals(back as unknown, plain);

  const v2 = kinds.byResource("autoscaling", "v2", "horizontalpodautoscalers")!;
  const rich = decode(v2, {
    metadata: { name: "web" },
    spec: {
      scaleTargetRef: target,
      maxReplicas: 5,
      metrics: [
        {
          type: "Resource",
          resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 70 } },
        },
        {
          type: "Resource",
          resource: { name: "memory", target: { type: "AverageValue", averageValue: "1Gi" } },
        },
        {
          type: "ContainerResource",
          containerResource: {
            name: "cpu",
            container: "c",
            target: { type: "Utilization", averageUtilization: 5 },
          },
        },
        {
          type: "Pods",
          pods: { metric: { name: "qps" }, target: { type: "AverageValue", averageValue: "10" } },
        },
        {
          type: "Object",
          object: {
            describedObject: target,
            metric: { name: "hits", selector: { matchLabels: { a: "b" } } },
            target: { type: "Value", value: "3" },
          },
        },
        {
          type: "External",
          external: { metric: { name: "queue" }, target: { type: "Value", value: "9" } },
        },
      ],
      behavior: {
        scaleUp: {
          stabilizationWindowSeconds: 0,
          selectPolicy: "Max",
          policies: [{ type: "Pods", value: 4, periodSeconds: 15 }],
        },
      },
    },
    status: {
      currentReplicas: 2,
      desiredReplicas: 3,
      currentMetrics: [{
        type: "Resource",
        resource: { name: "cpu", current: { averageUtilization: 50, averageValue: "100m" } },
      }],
      conditions: [{ type: "AbleToScale", status: "True" }],
    },
  }, "Strict").object;
  const asV1 = kind.storage!.fromStorage(rich);
  assertEquals(asV1.spec.targetCPUUtilizationPercentage, 70);
  assertEquals(asV1.status.currentCPUUtilizationPercentage, 50);
  const annotations = asV1.metadata.annotations!;
  assertEquals(
    annotations["autoscaling.alpha.kubernetes.io/behavior"],
    '{"ScaleUp":{"StabilizationWindowSeconds":0,"SelectPolicy":"Max","Policies":[{"Type":"Pods",' +
      '"Value":4,"PeriodSeconds":15}],"Tolerance":null},"ScaleDown":null}',
  );
  assertEquals(
    annotations["autoscaling.alpha.kubernetes.io/current-metrics"],
    '[{"type":"Resource","resource":{"name":"cpu","currentAverageUtilization":50,' +
      '"currentAverageValue":"100m"}}]',
  );
  assertEquals(Object.keys(annotations).length, 4);
  // The metric that v1 has a field for comes back last, as upstream
  const [cpu, ...others] = rich.spec.metrics;
  assertEquals(kind.storage!.toStorage(asV1) as unknown, {
    ...rich,
    spec: { ...rich.spec, metrics: [...others, cpu] },
  });
});

Deno.test("a v1 autoscaler without metrics aims at 80 percent", () => {
  const { roundTrip } = storage("autoscaling", "v1", "horizontalpodautoscalers");
  const { stored } = roundTrip({ metadata: { name: "a" }, spec: { maxReplicas: 1 } });
  assertEquals(stored.spec.metrics[0].resource.target.averageUtilization, 80);
});

Deno.test("resource claims and slices of v1beta1", () => {
  const claims = storage("resource.k8s.io", "v1beta1", "resourceclaims");
  const claim = {
    apiVersion: "resource.k8s.io/v1beta1",
    kind: "ResourceClaim",
    metadata: { name: "c" },
    spec: {
      devices: {
        requests: [
          { name: "a", deviceClassName: "gpu", count: 2 },
          { name: "b", firstAvailable: [{ name: "x", deviceClassName: "gpu" }] },
        ],
      },
    },
    status: {},
  };
  const { stored, back } = claims.roundTrip(claim);
  assertEquals(stored.spec.devices.requests, [
    { name: "a", exactly: { deviceClassName: "gpu", count: 2 } },
    { name: "b", firstAvailable: [{ name: "x", deviceClassName: "gpu" }] },
  ]);
  assertEquals(back as unknown, claim);
  const slices = storage("resource.k8s.io", "v1beta1", "resourceslices");
  const slice = {
    apiVersion: "resource.k8s.io/v1beta1",
    kind: "ResourceSlice",
    metadata: { name: "s" },
    spec: {
      driver: "d",
      pool: { name: "p", generation: 1, resourceSliceCount: 1 },
      nodeName: "n",
      devices: [{ name: "gpu0", basic: { capacity: { mem: { value: "1Gi" } } } }],
    },
  };
  const made = slices.roundTrip(slice);
  assertEquals(made.stored.spec.devices, [{ name: "gpu0", capacity: { mem: { value: "1Gi" } } }]);
  assertEquals(made.back as unknown, slice);
});
