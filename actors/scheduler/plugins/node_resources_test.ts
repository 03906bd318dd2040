import { assertEquals } from "@std/assert";
import type { KubeObject } from "../../../api/machinery/types.ts";
import { Cluster } from "../cluster.ts";
import type { Cycle, NodeInfo, PodInfo } from "../framework.ts";
import { podInfoOf } from "../pod_info.ts";
import {
  nodeResourcesBalancedAllocation,
  nodeResourcesFit,
  type ScoringStrategy,
} from "./node_resources.ts";

const meta = (name: string) => ({ name, uid: name, resourceVersion: "1", creationTimestamp: "" });

function pod(requests: Record<string, string>, name = "p"): PodInfo {
  const spec = { containers: [{ name: "c", image: "x", resources: { requests } }] };
  const metadata = { ...meta(name), namespace: "default" };
  return podInfoOf(
    { apiVersion: "v1", kind: "Pod", metadata, spec } as KubeObject,
    () => undefined,
  );
}

/** A node with so much, of which pods already hold some. */
function node(allocatable: Record<string, string>, held: Record<string, string> = {}): NodeInfo {
  const cluster = new Cluster();
  cluster.setNode({
    apiVersion: "v1",
    kind: "Node",
    metadata: meta("n"),
    spec: {},
    status: { allocatable: { pods: "110", ...allocatable } },
  });
  if (Object.keys(held).length > 0) cluster.place(pod(held, "held"), "n", false);
  return cluster.node("n")!;
}

const BASIC = [{ name: "cpu", weight: 1 }, { name: "memory", weight: 1 }];
const GPU = "example.com/gpu";
const shape = [{ utilization: 0, score: 0 }, { utilization: 100, score: 10 }];

/** What upstream's scorers give, worked out by hand from resource_allocation.go and its neighbours. */
const SCORES: [string, ScoringStrategy, PodInfo, NodeInfo, number][] = [
  [
    "least: (75 + 50) / 2",
    { type: "LeastAllocated", resources: BASIC },
    pod({ cpu: "1", memory: "4Gi" }),
    node({ cpu: "4", memory: "8Gi" }),
    62,
  ],
  [
    "least, weighted: (75 * 3 + 50) / 4",
    { type: "LeastAllocated", resources: [{ name: "cpu", weight: 3 }, BASIC[1]] },
    pod({ cpu: "1", memory: "4Gi" }),
    node({ cpu: "4", memory: "8Gi" }),
    68,
  ],
  [
    "most: (50 + 100) / 2",
    { type: "MostAllocated", resources: BASIC },
    pod({ cpu: "1", memory: "4Gi" }),
    node({ cpu: "4", memory: "8Gi" }, { cpu: "1", memory: "4Gi" }),
    75,
  ],
  [
    "an extended resource counts for who asks for it",
    { type: "MostAllocated", resources: [{ name: GPU, weight: 1 }] },
    pod({ [GPU]: "1" }),
    node({ cpu: "4", [GPU]: "4" }, { [GPU]: "1" }),
    50,
  ],
  [
    "and for nobody else",
    { type: "MostAllocated", resources: [{ name: GPU, weight: 1 }] },
    pod({ cpu: "1" }),
    node({ cpu: "4", [GPU]: "4" }, { [GPU]: "1" }),
    0,
  ],
  [
    "a ratio is rounded",
    {
      type: "RequestedToCapacityRatio",
      resources: [{ name: "cpu", weight: 1 }, { name: GPU, weight: 3 }],
      requestedToCapacityRatio: { shape },
    },
    pod({ cpu: "1", [GPU]: "1" }),
    node({ cpu: "4", [GPU]: "3" }),
    31,
  ],
];

Deno.test("NodeResourcesFit scores by its strategy as upstream does", async (t) => {
  for (const [name, scoringStrategy, asks, at, expected] of SCORES) {
    await t.step(name, () => {
      const plugin = nodeResourcesFit({ scoringStrategy });
      assertEquals(plugin.score!({ pod: asks } as Cycle, at), expected);
    });
  }
});

Deno.test("NodeResourcesFit passes over resources that are ignored, but none of Kubernetes' own", () => {
  const scoringStrategy: ScoringStrategy = { type: "LeastAllocated", resources: BASIC };
  const filter = (args: { ignoredResources?: string[]; ignoredResourceGroups?: string[] }) => {
    const plugin = nodeResourcesFit({ ...args, scoringStrategy });
    const asks = pod({ [GPU]: "1", "hugepages-2Mi": "2Mi" });
    return plugin.filter!({ pod: asks } as Cycle, node({ cpu: "4" }))?.reasons;
  };
  assertEquals(filter({}), [`Insufficient ${GPU}`, "Insufficient hugepages-2Mi"]);
  assertEquals(filter({ ignoredResources: [GPU] }), ["Insufficient hugepages-2Mi"]);
  assertEquals(filter({ ignoredResourceGroups: ["example.com", "hugepages-2Mi"] }), [
    "Insufficient hugepages-2Mi",
  ]);
});

Deno.test("NodeResourcesBalancedAllocation scores what the pod mends or mars", () => {
  const score = (asks: PodInfo, at: NodeInfo, resources = BASIC) => {
    const plugin = nodeResourcesBalancedAllocation({ resources });
    const cycle = { pod: asks } as Cycle;
    return plugin.preScore!(cycle, [at]) === "skip" ? "skip" : plugin.score!(cycle, at);
  };
  const size = { cpu: "4", memory: "8Gi" };
  assertEquals(score(pod({ cpu: "1", memory: "2Gi" }), node(size)), 75);
  // 4 GiB on an empty node: half of memory, none of the CPU, 75 after 100
  assertEquals(score(pod({ memory: "4Gi" }), node(size)), 62);
  // and to where CPU is used already it brings balance: 100 after 75
  assertEquals(score(pod({ memory: "4Gi" }), node(size, { cpu: "2" })), 87);
  assertEquals(score(pod({}), node(size)), "skip");
  assertEquals(score(pod({ cpu: "1" }), node({ cpu: "4" })), 75);
  const three = [...BASIC, { name: GPU, weight: 1 }];
  const many = node({ ...size, [GPU]: "4" });
  assertEquals(score(pod({ cpu: "2", memory: "4Gi", [GPU]: "2" }), many, three), 75);
  assertEquals(score(pod({ cpu: "2", memory: "4Gi" }), many, three), 75);
});
