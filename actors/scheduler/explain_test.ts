import { assert, assertEquals, assertRejects } from "@std/assert";
import { ApiError } from "../../api/machinery/types.ts";
import { Attempts, ATTEMPTS_MAX, NODES_MAX } from "./explain.ts";
import { tell } from "./explain.ts";
import type { PodInfo } from "./framework.ts";
import { atOnce } from "./steps.ts";
import { openWorld } from "./world_test.ts";

Deno.test("an explanation tells of the last attempt, of the matrix now, of what changed and of what would fit", async () => {
  await using w = await openWorld();
  await w.node("small", { cpu: "1" });
  await w.node("tainted", { taints: [{ key: "only", value: "db", effect: "NoSchedule" }] });
  await w.node("cordoned", { unschedulable: true });
  await w.settle();
  await w.pod("p", { requests: { cpu: "1500m" } });
  await w.settle();
  const message =
    "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), " +
    "1 node(s) were unschedulable.";
  const first = await w.explain("p");
  assert(first.lastAttempt!.message!.startsWith(message));
  assertEquals(first.lastAttempt!.attempts, 1);
  assertEquals([first.queue, first.now.feasible, first.changes], ["unschedulable", 0, undefined]);
  assertEquals(first.now.message, message);
  assertEquals(first.wouldFit.map((r) => `${r.plugin}: ${r.what}: ${r.named}`), [
    "NodeResourcesFit: cpu 500m more: small",
    "TaintToleration: a toleration for only=db:NoSchedule: tainted",
    "NodeUnschedulable: the node uncordoned: cordoned",
  ]);
  assertEquals(first.wouldFit.map((r) => r.facts), [
    [{ what: "amount", resource: "cpu", amount: "500m" }],
    [{ what: "toleration", taint: "only=db:NoSchedule" }],
    [{ what: "uncordon" }],
  ]);
  // The event and the condition are upstream's, to the letter
  const [event] = await w.events("FailedScheduling");
  assertEquals(
    event,
    `p: ${message} no new claims to deallocate, preemption: 0/3 nodes are available: ` +
      "3 Preemption is not helpful for scheduling.",
  );
  await w.node("tainted-too", { taints: [{ key: "only", value: "db", effect: "NoSchedule" }] });
  await w.settle();
  const second = await w.explain("p");
  assertEquals(second.changes, ["node(s) had untolerated taint(s): 1 nodes then, 2 now"]);
});

Deno.test("an explanation of a bound pod scores its node as if it were to be placed anew", async () => {
  await using w = await openWorld();
  await w.node("a", { cpu: "1" });
  await w.settle();
  await w.pod("p", { requests: { cpu: "1" } });
  await w.settle();
  const told = await w.explain("p");
  assertEquals([told.nodeName, told.lastAttempt!.result, told.now.feasible], ["a", "Scheduled", 1]);
  assert(told.now.matrix[0].scores!.NodeResourcesFit >= 0);
  assertEquals(told.wouldFit, []);
});

Deno.test("an explanation names whom preemption would evict, and gates", async () => {
  await using w = await openWorld();
  await w.node("a", { cpu: "1" });
  await w.pod("low", { requests: { cpu: "1" } });
  await w.settle();
  await w.priorityClass("high", 10);
  const gated = { schedulingGates: [{ name: "wait" }] };
  await w.pod("high", { ...gated, priorityClassName: "high", requests: { cpu: "1" } });
  await w.settle();
  const told = await w.explain("high");
  assertEquals(told.queue, "gated");
  assertEquals(told.wouldFit.map((r) => r.what), [
    "not: waiting for scheduling gates: [wait]",
    "eviction of default/low, of lower priority",
    "cpu 1 more",
  ]);
});

Deno.test("an explanation is read by who may get pods/explanation, and stands in no discovery", async () => {
  await using w = await openWorld();
  await w.pod("p");
  await w.settle();
  const path = "https://x/api/v1/namespaces/default/pods/p/explanation";
  const as = (name: string) => ({ user: { name, groups: ["system:authenticated"] } });
  const refused = await w.api.fetch(new Request(path), as("eve"));
  assertEquals(refused.status, 403);
  assert((await refused.json()).message.includes('cannot get resource "pods/explanation"'));
  const admin = { user: { name: "admin", groups: ["system:masters"] } };
  const answer = await w.api.fetch(new Request(path), admin);
  assertEquals([answer.status, (await answer.json()).kind], [200, "PodExplanation"]);
  const put = await w.api.fetch(new Request(path, { method: "DELETE" }), admin);
  assertEquals(put.status, 405);
  const gone = await w.api.fetch(new Request(path.replace("/p/", "/q/")), admin);
  assertEquals(gone.status, 404);
  const protobuf = await w.api.fetch(
    new Request(path, { headers: { accept: "application/vnd.kubernetes.protobuf,*/*" } }),
    admin,
  );
  assertEquals(protobuf.headers.get("content-type"), "application/json");
  const found = await (await w.api.fetch(new Request("https://x/api/v1"), admin)).text();
  assert(!found.includes("explanation"));
  w.view.show(undefined);
  await assertRejects(() => w.explain("p"), ApiError, "no scheduler runs in this process");
});

Deno.test("attempts are bounded, and so are the nodes that an explanation lists", () => {
  const attempts = new Attempts();
  for (let i = 0; i <= ATTEMPTS_MAX; i++) {
    attempts.note(`u${i}`, { at: 0, result: "Scheduled", evaluated: 1, feasible: 1 });
  }
  assertEquals([attempts.size, attempts.get("u0")], [ATTEMPTS_MAX, undefined]);
  const refusals = [{ plugin: "X", reasons: ["r"] }];
  const nodes = Array.from({ length: NODES_MAX + 5 }, (_, i) => ({ node: `n${i}`, refusals }));
  const { now, wouldFit } = atOnce(tell({} as PodInfo, { all: [], nodes }, {
    plugins: [],
    *preemptable() {
      yield;
      return "";
    },
  }));
  assertEquals([now.matrix.length, now.leftOut], [NODES_MAX, 5]);
  assertEquals(wouldFit, [{
    plugin: "X",
    what: "not: r",
    facts: [{ what: "not", reason: "r" }],
    nodes: NODES_MAX + 5,
    named: ["n0", "n1", "n2", "n3", "n4"],
  }]);
});
