import { assertEquals } from "@std/assert";
import {
  fenceposts,
  maxUnavailable,
  newSize,
  proportional,
  shrinkOld,
} from "./deployment_scale.ts";
import type { Obj } from "./objects.ts";
import { sortForDeletion } from "./pods.ts";

function deployment(replicas: number, rollingUpdate: object = {}, more: object = {}): Obj {
  return {
    metadata: { name: "d" },
    spec: {
      replicas,
      strategy: {
        type: "RollingUpdate",
        rollingUpdate: { maxSurge: "25%", maxUnavailable: "25%", ...rollingUpdate },
      },
      ...more,
    },
  } as unknown as Obj;
}

function set(name: string, replicas: number, available = replicas, max?: number): Obj {
  return {
    metadata: {
      name,
      uid: name,
      creationTimestamp: `2026-01-0${name.charCodeAt(0) - 96}T00:00:00Z`,
      annotations: max === undefined ? {} : { "deployment.kubernetes.io/max-replicas": `${max}` },
    },
    spec: { replicas },
    status: { replicas, availableReplicas: available },
  } as unknown as Obj;
}

const sizes = (list: { set: Obj; size: number }[]) =>
  list.map(({ set, size }) => `${set.metadata.name}=${size}`).join(" ");

Deno.test("fenceposts() rounds surge up and unavailable down, and never both to nothing", () => {
  const cases: [Obj, number, number][] = [
    [deployment(10), 3, 2],
    [deployment(1), 1, 0],
    [deployment(3, { maxSurge: 0, maxUnavailable: "10%" }), 0, 1],
    [deployment(10, { maxSurge: 2, maxUnavailable: 5 }), 2, 5],
  ];
  for (const [object, surge, unavailable] of cases) {
    assertEquals(fenceposts(object), { surge, unavailable });
  }
  assertEquals(maxUnavailable(deployment(2, { maxUnavailable: 7 })), 2);
  assertEquals(maxUnavailable(deployment(2, {}, { strategy: { type: "Recreate" } })), 0);
});

Deno.test("newSize() grows the new set as far as the surge allows", () => {
  const cases: [number, number, number][] = [
    // old pods, new pods, wanted
    [10, 0, 3],
    [10, 3, 3],
    [8, 3, 5],
    [0, 3, 10],
    [0, 10, 10],
  ];
  for (const [old, current, wanted] of cases) {
    const all = [set("a", old), set("b", current)];
    assertEquals(newSize(deployment(10), all, current), wanted, `${old} ${current}`);
  }
});

Deno.test("shrinkOld() takes unavailable pods first and keeps enough available", () => {
  // Ten wanted, eight must stay available.
  assertEquals(sizes(shrinkOld(deployment(10), set("b", 3, 0), [set("a", 10)])), "a=8");
  assertEquals(sizes(shrinkOld(deployment(10), set("b", 3, 3), [set("a", 10)])), "a=5");
  assertEquals(sizes(shrinkOld(deployment(10), set("b", 5, 0), [set("a", 8, 8)])), "");
  // Of two old sets the unhealthy pods of both go before any healthy one.
  assertEquals(
    sizes(shrinkOld(deployment(10), set("c", 3, 3), [set("a", 4, 2), set("b", 6, 6)])),
    "a=0 b=5",
  );
  assertEquals(sizes(shrinkOld(deployment(10), set("b", 10, 10), [set("a", 0)])), "");
});

Deno.test("proportional() shares what is added or taken by the sets' sizes", () => {
  const wide = (replicas: number) => deployment(replicas, { maxSurge: 3, maxUnavailable: 2 });
  assertEquals(sizes(proportional(wide(15), [set("a", 8, 8, 13), set("b", 5, 0, 13)])), "a=11 b=7");
  assertEquals(sizes(proportional(wide(5), [set("a", 8, 8, 13), set("b", 5, 0, 13)])), "a=5 b=3");
  assertEquals(sizes(proportional(wide(0), [set("a", 8, 8, 13), set("b", 5, 0, 13)])), "a=0 b=0");
  assertEquals(sizes(proportional(wide(10), [set("a", 8, 8, 13), set("b", 5, 0, 13)])), "a=8 b=5");
});

Deno.test("proportional() never grows a set while pods are to be taken, whatever its annotation says", () => {
  const given = [set("a", 5, 5, 1), set("b", 2, 2, 1)];
  assertEquals(sizes(proportional(deployment(3, { maxSurge: 0 }), given)), "a=1 b=2");
});

Deno.test("sortForDeletion() puts first what costs least to lose", () => {
  const now = Date.parse("2026-01-02T00:00:00Z");
  const pod = (name: string, facts: {
    node?: string;
    phase?: string;
    ready?: string;
    cost?: string;
    restarts?: number;
    created?: string;
  }) =>
    ({
      metadata: {
        name,
        uid: name,
        creationTimestamp: facts.created ?? "2026-01-01T00:00:00Z",
        annotations: facts.cost
          ? { "controller.kubernetes.io/pod-deletion-cost": facts.cost }
          : undefined,
      },
      spec: { nodeName: facts.node ?? "n" },
      status: {
        phase: facts.phase ?? "Running",
        conditions: [{
          type: "Ready",
          status: facts.ready ? "True" : "False",
          lastTransitionTime: facts.ready,
        }],
        containerStatuses: [{ restartCount: facts.restarts ?? 0 }],
      },
    }) as unknown as Obj;
  const early = "2026-01-01T00:00:00Z";
  const late = "2026-01-01T23:00:00Z";
  const pods = [
    pod("steady", { ready: early }),
    pod("restarted", { ready: early, restarts: 3 }),
    pod("recent", { ready: late }),
    pod("doubled", { ready: early, node: "crowded" }),
    pod("cheap", { ready: early, cost: "-5" }),
    pod("dear", { ready: early, cost: "100" }),
    pod("unready", {}),
    pod("pending", { phase: "Pending" }),
    pod("unassigned", { node: "", phase: "Pending" }),
  ];
  const rank = (p: Obj) => p.spec.nodeName === "crowded" ? 4 : 1;
  assertEquals(sortForDeletion(pods, rank, now).map((p) => p.metadata.name), [
    "unassigned",
    "pending",
    "unready",
    "cheap",
    "doubled",
    "recent",
    "restarted",
    "steady",
    "dear",
  ]);
});
