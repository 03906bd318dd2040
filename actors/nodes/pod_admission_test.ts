import { assertEquals } from "@std/assert";
import type { KubeObject } from "../../api/machinery/types.ts";
import { refusalOf, resizeRefusal } from "./pod_admission.ts";
import type { Container, Pod } from "./types.ts";

function node(more: { labels?: object; taints?: object[]; allocatable?: object } = {}): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: "n", labels: { zone: "a", ...more.labels } },
    spec: { taints: more.taints },
    status: {
      allocatable: { cpu: "2", memory: "1Gi", pods: "3", ...more.allocatable },
      nodeInfo: { operatingSystem: "linux" },
    },
  } as never;
}

function pod(container: Partial<Container> = {}, spec: object = {}, labels = {}): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p", labels },
    spec: { nodeName: "n", containers: [{ name: "c", ...container }], ...spec },
  } as never;
}

const asks = (requests: Record<string, string>) => pod({ resources: { requests } });
const port = (hostPort: number, hostIP?: string, protocol?: string) =>
  pod({ ports: [{ containerPort: 1, hostPort, hostIP, protocol }] });
const why = (one: Pod, others: Pod[] = [], of = node()) => {
  const refusal = refusalOf(one, of, others);
  return refusal && `${refusal.reason}: ${refusal.message}`;
};

Deno.test("a node counts what its pods asked for", () => {
  assertEquals(why(asks({ cpu: "1" }), [asks({ cpu: "1" })]), undefined);
  assertEquals(
    why(asks({ cpu: "1500m" }), [asks({ cpu: "1" })]),
    "OutOfcpu: Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000",
  );
  assertEquals(
    why(asks({ memory: "2Gi" })),
    "OutOfmemory: Node didn't have enough resource: memory, requested: 2147483648, used: 0, " +
      "capacity: 1073741824",
  );
  assertEquals(
    why(pod(), [pod(), pod(), pod()]),
    "OutOfpods: Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3",
  );
  const devices = node({ allocatable: { "example.com/a": "1" } });
  assertEquals(
    why(asks({ "example.com/a": "2" }), [], devices)?.split(":")[0],
    "OutOfexample.com/a",
  );
  assertEquals(why(asks({ "example.com/unknown": "2" }), [], devices), undefined);
});

Deno.test("a node refuses a host port that another pod has, and pods that are not meant for it", () => {
  const taken = "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the " +
    "requested pod ports";
  assertEquals(why(port(80), [port(80)]), taken);
  assertEquals(why(port(80, "10.0.0.1"), [port(80)]), taken);
  assertEquals(why(port(80, "10.0.0.1"), [port(80, "10.0.0.2")]), undefined);
  assertEquals(why(port(80, undefined, "UDP"), [port(80)]), undefined);
  assertEquals(
    why(pod({}, { nodeSelector: { zone: "b" } })),
    "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
  );
  assertEquals(why(pod({}, { nodeSelector: { zone: "a" } })), undefined);
  const gone = node({ taints: [{ key: "k", effect: "NoExecute" }] });
  assertEquals(
    why(pod(), [], gone),
    "TaintToleration: Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate",
  );
  assertEquals(why(pod({}, { tolerations: [{ operator: "Exists" }] }), [], gone), undefined);
  assertEquals(why(pod(), [], node({ taints: [{ key: "k", effect: "NoSchedule" }] })), undefined);
});

Deno.test("a node refuses pods of another system", () => {
  assertEquals(
    why(pod({}, { os: { name: "windows" } })),
    "PodOSNotSupported: Failed to admit pod as the OS field doesn't match node OS",
  );
  assertEquals(
    why(pod({}, {}, { "kubernetes.io/os": "windows" }))?.split(":")[0],
    "PodOSSelectorNodeLabelDoesNotMatch",
  );
  assertEquals(
    why(pod({}, { securityContext: { supplementalGroupsPolicy: "Strict" } })),
    "SupplementalGroupsPolicyNotSupported: SupplementalGroupsPolicy=Strict is not supported in this node",
  );
});

Deno.test("a pod that has not come down yet to what is set aside for it counts with what it has", () => {
  const shrinking = {
    ...asks({ cpu: "500m" }),
    status: { containerStatuses: [{ name: "c", resources: { requests: { cpu: "1500m" } } }] },
  } as never;
  assertEquals(
    why(asks({ cpu: "1" }), [shrinking]),
    "OutOfcpu: Node didn't have enough resource: cpu, requested: 1000, used: 1500, capacity: 2000",
  );
});

Deno.test("a node of another system than Linux never resizes a pod", () => {
  const of = (operatingSystem: string) =>
    resizeRefusal(pod(), { status: { nodeInfo: { operatingSystem } } } as never, []);
  assertEquals(of("darwin"), {
    reason: "Infeasible",
    message: "In-place pod resize is not supported on this node",
  });
  assertEquals(of("windows")?.message, "In-place pod resize is not supported on Windows");
});
