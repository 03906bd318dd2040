import { assertEquals } from "@std/assert";
import { type ContainerRecord, newRecord } from "./container_record.ts";
import { podStatus, qosClass, samePodStatus, sameStatus } from "./pod_status.ts";
import type { Condition, Pod, PodSpec } from "./types.ts";

const now = Date.parse("2026-01-01T00:00:10Z");

function pod(spec: Partial<PodSpec> = {}, conditions: Condition[] = []): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p", namespace: "ns", uid: "u", resourceVersion: "1", creationTimestamp: "" },
    spec: { containers: [{ name: "c" }], ...spec },
    status: { conditions },
  };
}

const running = (r: ContainerRecord) =>
  Object.assign(r, { phase: "running", ready: true, started: true, startedAt: now });
const exited = (r: ContainerRecord, exitCode: number) =>
  Object.assign(r, { phase: "exited", end: { exitCode } });
const record = (name: string, kind: ContainerRecord["kind"] = "app") => newRecord({ name }, kind);

function status(of: Pod, records: ContainerRecord[], over = false) {
  return podStatus({
    pod: of,
    records,
    sandboxReady: true,
    hostIPs: ["10.0.0.1"],
    podIPs: ["10.0.0.2"],
    startTime: "2026-01-01T00:00:00Z",
    now,
    over,
  });
}

Deno.test("podStatus() finds the phase from policy and containers", () => {
  const always = pod(), never = pod({ restartPolicy: "Never" });
  const onFailure = pod({ restartPolicy: "OnFailure" });
  const two = { containers: [{ name: "c" }, { name: "d" }] };
  const init = pod({ initContainers: [{ name: "i" }], restartPolicy: "Never" });
  const startedAgain = Object.assign(record("c"), { phase: "starting", last: { exitCode: 1 } });
  const cases: [string, Pod, ContainerRecord[], boolean, string][] = [
    ["nothing started", always, [record("c")], false, "Pending"],
    ["running", always, [running(record("c"))], false, "Running"],
    ["one of two waits", pod(two), [running(record("c")), record("d")], false, "Pending"],
    ["between two lives", always, [exited(record("c"), 1)], false, "Running"],
    ["never, failed", never, [exited(record("c"), 1)], false, "Failed"],
    ["never, done", never, [exited(record("c"), 0)], false, "Succeeded"],
    ["on failure, failed", onFailure, [exited(record("c"), 1)], false, "Running"],
    ["on failure, being started again", onFailure, [startedAgain], false, "Running"],
    ["on failure, done", onFailure, [exited(record("c"), 0)], false, "Succeeded"],
    [
      "one done, one runs",
      pod({ ...two, restartPolicy: "Never" }),
      [
        exited(record("c"), 0),
        running(record("d")),
      ],
      false,
      "Running",
    ],
    ["init runs", init, [running(record("i", "init")), record("c")], false, "Pending"],
    ["init failed", init, [exited(record("i", "init"), 1), record("c")], false, "Failed"],
    ["killed", always, [exited(record("c"), 137)], true, "Failed"],
    ["deleted before it began", always, [record("c")], true, "Failed"],
  ];
  for (const [name, of, records, over, phase] of cases) {
    assertEquals(status(of, records, over).phase, phase, name);
  }
});

Deno.test("podStatus() of a pod that is over lets no container wait that may have begun", () => {
  const crashed = Object.assign(exited(record("c"), 2), {
    waiting: { reason: "CrashLoopBackOff" },
  });
  const inits = pod({ initContainers: [{ name: "i" }, { name: "j" }] });
  const cases: [string, Pod, ContainerRecord[], (string | number)[]][] = [
    ["never started", pod(), [record("c")], [137]],
    ["in its back-off", pod(), [crashed], [2]],
    ["init ended", inits, [
      exited(record("i", "init"), 1),
      record("j", "init"),
      record("c"),
    ], [1, "PodInitializing", "PodInitializing"]],
    ["nothing begun", inits, [
      record("i", "init"),
      record("j", "init"),
      record("c"),
    ], [137, "PodInitializing", "PodInitializing"]],
    ["all initialised", inits, [
      exited(record("i", "init"), 0),
      exited(record("j", "init"), 0),
      record("c"),
    ], [0, 0, 137]],
  ];
  for (const [name, of, records, expected] of cases) {
    const { initContainerStatuses = [], containerStatuses = [] } = status(of, records, true);
    const states = [...initContainerStatuses, ...containerStatuses].map(({ state }) =>
      state.terminated?.exitCode ?? state.waiting?.reason
    );
    assertEquals(states, expected, name);
  }
});

Deno.test("podStatus() keeps others' conditions and the times of its own", () => {
  const old: Condition[] = [
    { type: "Ready", status: "True", lastTransitionTime: "2025-01-01T00:00:00Z" },
    { type: "PodScheduled", status: "True", lastTransitionTime: "2025-01-01T00:00:00Z" },
    { type: "example.com/gate", status: "False" },
  ];
  const gated = pod({ readinessGates: [{ conditionType: "example.com/gate" }] }, old);
  const { conditions } = status(gated, [running(record("c"))]);
  const ready = conditions!.find((c) => c.type === "Ready")!;
  assertEquals(ready.status, "False");
  assertEquals(ready.reason, "ReadinessGatesNotReady");
  assertEquals(
    ready.message,
    'the status of pod readiness gate "example.com/gate" is not "True", but False',
  );
  assertEquals(ready.lastTransitionTime, "2026-01-01T00:00:10Z");
  assertEquals(conditions!.at(-1), old[2]);
  const same = status(pod({}, old), [running(record("c"))]).conditions!;
  assertEquals(same.find((c) => c.type === "Ready")!.lastTransitionTime, "2025-01-01T00:00:00Z");
});

Deno.test("podStatus() words what is not initialised and not ready", () => {
  const of = pod({ initContainers: [{ name: "i" }, { name: "j" }] });
  const records = [exited(record("i", "init"), 0), record("j", "init"), record("c")];
  const { conditions, initContainerStatuses, containerStatuses } = status(of, records);
  const message = (type: string) => conditions!.find((c) => c.type === type)?.message;
  assertEquals(message("Initialized"), "containers with incomplete status: [j]");
  assertEquals(message("ContainersReady"), "containers with unready status: [c]");
  assertEquals(initContainerStatuses!.map((s) => s.ready), [true, false]);
  assertEquals(containerStatuses![0].state, { waiting: { reason: "PodInitializing" } });
});

Deno.test("qosClass() reads requests and limits", () => {
  const of = (resources: object) => qosClass(pod({ containers: [{ name: "c", resources }] }));
  const full = { cpu: "1", memory: "1Gi" };
  assertEquals(of({}), "BestEffort");
  assertEquals(of({ limits: full }), "Guaranteed");
  assertEquals(of({ limits: full, requests: { ...full, cpu: "500m" } }), "Burstable");
  assertEquals(of({ requests: { memory: "1Mi" } }), "Burstable");
  assertEquals(of({ limits: { "nvidia.com/gpu": "1" } }), "BestEffort");
});

Deno.test("sameStatus() takes an absent field for a null one", () => {
  assertEquals(sameStatus({ a: [{ b: 1, c: null }] }, { a: [{ b: 1 }] }), true);
  assertEquals(sameStatus({ a: [{ b: 1 }] }, { a: [{ b: 2 }] }), false);
  assertEquals(sameStatus({ a: [1] }, { a: [1, 2] }), false);
});

Deno.test("samePodStatus() takes conditions in any order", () => {
  const ready: Condition = {
    type: "Ready",
    status: "True",
    lastProbeTime: null,
    lastTransitionTime: "t",
  };
  const target: Condition = { ...ready, type: "DisruptionTarget" };
  const same = (a: Condition[], b: Condition[]) =>
    samePodStatus({ phase: "Running", conditions: a }, { phase: "Running", conditions: b });
  assertEquals(same([ready, target], [target, ready]), true);
  assertEquals(same([ready], [target, ready]), false);
  assertEquals(same([{ ...ready, status: "False" }, target], [target, ready]), false);
  assertEquals(samePodStatus({ phase: "Running" }, { phase: "Pending" }), false);
});
