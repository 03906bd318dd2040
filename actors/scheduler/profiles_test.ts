import { assert, assertEquals } from "@std/assert";
import type { Endpoint, Outbound, OutboundRequest } from "../../api/client/outbound.ts";
import type { ExtenderConfiguration } from "./configuration.ts";
import type { PluginFactory, SchedulerOptions } from "./mod.ts";
import { openWorld } from "./world_test.ts";

const MODULE = new URL("./custom_plugin_test.ts", import.meta.url).href;
const load: SchedulerOptions["load"] = (module) => import(module);

Deno.test("each profile has its own plugins and arguments; pods choose by schedulerName", async () => {
  await using w = await openWorld({
    profiles: [
      { schedulerName: "default-scheduler" },
      {
        schedulerName: "packer",
        pluginConfig: [{
          name: "NodeResourcesFit",
          args: { scoringStrategy: { type: "MostAllocated", resources: [{ name: "cpu" }] } },
        }],
        plugins: {
          multiPoint: { disabled: [{ name: "NodeResourcesBalancedAllocation" }] },
          filter: { disabled: [{ name: "TaintToleration" }] },
        },
      },
    ],
  });
  await w.node("busy");
  await w.settle();
  await w.pod("first", { requests: { cpu: "1" } });
  await w.settle();
  await w.node("free");
  await w.node("tainted", { taints: [{ key: "a", effect: "NoSchedule" }], cpu: "1" });
  await w.settle();
  await w.pod("spread", { requests: { cpu: "100m" } });
  await w.pod("packed", { schedulerName: "packer", requests: { cpu: "600m" } });
  await w.pod("foreign", { schedulerName: "other" });
  await w.settle();
  assertEquals(await w.places(), [
    "first: busy",
    "foreign: pending",
    "packed: tainted",
    "spread: free",
  ]);
});

Deno.test("a plugin of one's own is given, or loaded from the module that its arguments name", async () => {
  const late: PluginFactory = ({ than }: { than: string }) => ({
    name: "Late",
    wakesOn: [],
    filter: (_cycle, node) =>
      node.name > than ? undefined : { plugin: "Late", reasons: ["node(s) came early"] },
  });
  await using w = await openWorld({
    load,
    plugins: { Late: late },
    profiles: [{
      plugins: { multiPoint: { enabled: [{ name: "Colour" }, { name: "Late" }] } },
      pluginConfig: [
        { name: "Colour", args: { module: MODULE, label: "hue" } },
        { name: "Late", args: { than: "a" } },
      ],
    }],
  });
  for (const [name, hue] of [["a", "red"], ["b", "blue"]]) {
    await w.node(name, { labels: { hue } });
  }
  await w.settle();
  await w.pod("blue", {}, { hue: "blue" });
  await w.pod("red", {}, { hue: "red" });
  await w.settle();
  assertEquals(await w.places(), [
    "blue: b",
    "red: Unschedulable: 0/2 nodes are available: 1 node(s) came early, 1 node(s) had another colour. " +
    "no new claims to deallocate, preemption: 0/2 nodes are available: " +
    "1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling.",
  ]);
  assertEquals((await w.explain("red")).wouldFit.map((r) => r.what), [
    "not: node(s) came early",
    "label hue=red on it",
  ]);
});

Deno.test("plugins of one's own order the queue, hold and make bindings, and hear of them", async () => {
  const told: string[] = [];
  const release = Promise.withResolvers<void>();
  const mine: PluginFactory = (_args, { client }) => ({
    name: "Mine",
    wakesOn: [],
    // The last name first
    before: (a, b) => a.key > b.key,
    permit: async ({ pod }) => {
      told.push(`permit ${pod.pod.metadata.name}`);
      if (pod.labels.held) await release.promise;
      if (pod.labels.refused) throw new Error("not today");
    },
    bind: async ({ pod }, node) => {
      if (!pod.labels.mine) return "skip";
      const { name, namespace } = pod.pod.metadata;
      const resource = { group: "", version: "v1", plural: "pods" };
      await client.create({ resource, namespace, name, subresource: "binding" }, {
        apiVersion: "v1",
        kind: "Binding",
        metadata: { name },
        target: { kind: "Node", name: node.name },
      });
      told.push(`bind ${name}`);
    },
    postBind: ({ pod }) => void told.push(`bound ${pod.pod.metadata.name}`),
  });
  await using w = await openWorld({
    plugins: { Mine: mine },
    podInitialBackoffSeconds: 3,
    podMaxBackoffSeconds: 3,
    profiles: [{
      plugins: {
        queueSort: { enabled: [{ name: "Mine" }], disabled: [{ name: "*" }] },
        permit: { enabled: [{ name: "Mine" }] },
        bind: { enabled: [{ name: "Mine" }, { name: "DefaultBinder" }], disabled: [{ name: "*" }] },
        postBind: { enabled: [{ name: "Mine" }] },
      },
    }],
  });
  await w.pod("a", {}, { mine: "yes" });
  await w.pod("b", {}, { held: "yes" });
  await w.pod("c", {}, { refused: "yes" });
  await w.settle();
  told.length = 0;
  await w.node("n");
  // Three seconds of backoff, as configured
  await w.settle(2_000);
  assertEquals(told, []);
  await w.settle(1_500);
  assertEquals(told.slice(0, 3), ["permit c", "permit b", "permit a"]);
  assertEquals((await w.places()).map((place) => place.slice(0, 20)), [
    "a: n",
    "b: Unschedulable: no",
    "c: SchedulerError: b",
  ]);
  release.resolve();
  await w.settle();
  assertEquals((await w.places())[1], "b: n");
  assertEquals(told.filter((line) => line.includes("bind") || line.includes("bound")).sort(), [
    "bind a",
    "bound a",
    "bound b",
  ]);
});

Deno.test("a pod is kept from where a promised pod would break its spreading", async () => {
  await using w = await openWorld();
  for (const [name, zone] of [["a", "1"], ["b", "2"]]) {
    await w.node(name, { cpu: "2", labels: { zone } });
  }
  await w.priorityClass("high", 10);
  const labels = { app: "web" };
  const topologySpreadConstraints = [{
    maxSkew: 1,
    topologyKey: "zone",
    whenUnsatisfiable: "DoNotSchedule",
    labelSelector: { matchLabels: labels },
  }];
  const on = (name: string) => ({ "kubernetes.io/hostname": name });
  await w.pod("low", { requests: { cpu: "2" }, nodeSelector: on("a") });
  await w.settle();
  // It is promised node a while the other one leaves
  await w.pod("promised", {
    priorityClassName: "high",
    requests: { cpu: "1" },
    nodeSelector: on("a"),
  }, labels);
  await w.settle();
  await w.pod("next", { priorityClassName: "high", topologySpreadConstraints }, labels);
  await w.settle();
  const next = (await w.places()).find((place) => place.startsWith("next"));
  assertEquals(next, "next: b");
});

/** A way out to extenders that are functions. */
function way(answer: (verb: string, args: Record<string, unknown>) => unknown): Outbound {
  return {
    send: ({ url }: Endpoint, { body }: OutboundRequest) => {
      const args = JSON.parse(new TextDecoder().decode(body));
      const answered = answer(url!.slice(url!.lastIndexOf("/") + 1), args);
      return Promise.resolve({
        status: answered === undefined ? 500 : 200,
        headers: {},
        body: new TextEncoder().encode(JSON.stringify(answered ?? null)),
      });
    },
  } as unknown as Outbound;
}

Deno.test("extenders filter, prioritize and bind the pods that want what they manage", async () => {
  const asked: string[] = [];
  const extender: ExtenderConfiguration = {
    urlPrefix: "http://extender/v1/",
    filterVerb: "filter",
    prioritizeVerb: "prioritize",
    weight: 5,
    bindVerb: "bind",
    nodeCacheCapable: true,
    managedResources: [{ name: "example.com/gpu", ignoredByScheduler: true }],
  };
  const bind = { run: (_node: string) => Promise.resolve() };
  const outbound = way((verb, args) => {
    asked.push(verb);
    if (verb === "filter") {
      return { NodeNames: ["b", "c"], FailedNodes: { a: "no such gpu" } };
    }
    if (verb === "prioritize") return [{ Host: "b", Score: 1 }, { Host: "c", Score: 10 }];
    void bind.run(args.Node as string);
    return {};
  });
  await using w = await openWorld({ outbound, extenders: [extender] });
  bind.run = async (node) => {
    await w.create({ group: "", version: "v1", plural: "bindings" }, {
      metadata: { name: "gpu" },
      target: { kind: "Node", name: node },
    }, "default");
  };
  for (const name of ["a", "b", "c"]) await w.node(name);
  await w.settle();
  await w.pod("plain");
  await w.settle();
  assertEquals(asked, []);
  const limits = { "example.com/gpu": "1" };
  await w.pod("gpu", {
    containers: [{ name: "c", image: "x", resources: { requests: limits, limits } }],
  });
  await w.settle();
  assertEquals(asked, ["filter", "prioritize", "bind"]);
  assertEquals((await w.places())[0], "gpu: c");
});

Deno.test("an extender's refusals are told, its failure ends the try unless it is ignorable", async () => {
  const answers: Record<string, unknown> = {
    filter: { NodeNames: [], FailedAndUnresolvableNodes: { a: "out of licences" } },
  };
  const extender = { urlPrefix: "http://extender", filterVerb: "filter", nodeCacheCapable: true };
  const outbound = way((verb) => answers[verb]);
  await using w = await openWorld({ outbound, extenders: [extender] });
  await w.node("a");
  await w.settle();
  await w.pod("p");
  await w.settle();
  assertEquals(await w.places(), [
    "p: Unschedulable: 0/1 nodes are available: 1 out of licences. no new claims to deallocate, " +
    "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
  ]);
  answers.filter = undefined;
  await w.pod("q");
  await w.settle();
  assertEquals(
    (await w.places())[1],
    "q: SchedulerError: failed filter with extender at URL http://extender/filter, code 500",
  );
  await using other = await openWorld({ outbound, extenders: [{ ...extender, ignorable: true }] });
  await other.node("a");
  await other.pod("p");
  await other.settle();
  assertEquals(await other.places(), ["p: a"]);
});

Deno.test("victims of preemption are told why they go before they do, and the pod that needs room where it will be", async () => {
  await using w = await openWorld();
  await w.node("a", { cpu: "1" });
  await w.priorityClass("high", 10);
  await w.pod("low", { requests: { cpu: "1" } });
  await w.settle();
  await w.pod("high", { priorityClassName: "high", requests: { cpu: "1" } });
  await w.settle();
  const pods = { group: "", version: "v1", plural: "pods" };
  const { metadata, status } = await w.get(pods, "low", "default");
  const condition = status.conditions.find((c: { type: string }) => c.type === "DisruptionTarget");
  assertEquals({ ...condition, lastTransitionTime: undefined }, {
    type: "DisruptionTarget",
    status: "True",
    reason: "PreemptionByScheduler",
    message: "default-scheduler: preempting to accommodate a higher priority pod",
    observedGeneration: 1,
    lastTransitionTime: undefined,
    lastProbeTime: condition.lastProbeTime,
  });
  assert(metadata.deletionTimestamp);
  const high = await w.get(pods, "high", "default");
  assertEquals(high.status.nominatedNodeName, "a");
  assertEquals((await w.events("Preempted")).length, 1);
});

Deno.test("a promised node is taken back from pods that a higher one outbids", async () => {
  await using w = await openWorld({});
  const pods = { group: "", version: "v1", plural: "pods" };
  const requests = { cpu: "1" };
  await w.node("a", { cpu: "2" });
  for (const [name, value] of [["middle", 5], ["high", 10]] as const) {
    const resource = { group: "scheduling.k8s.io", version: "v1", plural: "priorityclasses" };
    await w.create(resource, { metadata: { name }, value });
  }
  for (const name of ["low-1", "low-2"]) await w.pod(name, { requests });
  await w.settle();
  for (const name of ["middle-1", "middle-2"]) {
    await w.pod(name, { priorityClassName: "middle", requests });
  }
  await w.settle();
  const promised = async (name: string) =>
    (await w.get(pods, name, "default")).status.nominatedNodeName;
  assertEquals([await promised("middle-1"), await promised("middle-2")], ["a", "a"]);
  await w.pod("high", { priorityClassName: "high", requests });
  await w.settle();
  assertEquals(await promised("high"), "a");
  for (const name of ["low-1", "low-2"]) {
    const target = { resource: pods, namespace: "default", name };
    await w.client.delete(target, { gracePeriodSeconds: 0 });
  }
  await w.settle(60_000);
  const places = await w.places();
  const placed = places.filter((place) => place.endsWith(": a"));
  assertEquals(placed.length, 2, places.join());
  assertEquals(placed[0], "high: a");
});

Deno.test("an extender that preempts has the last word on where and whom", async () => {
  type Victims = Record<string, { Pods: { metadata: { name: string; uid: string } }[] }>;
  const seen: string[] = [];
  const outbound = way((_verb, args) => {
    const victims = args.NodeNameToVictims as Victims;
    seen.push(...Object.keys(victims).sort());
    const Pods = victims.b.Pods.map(({ metadata }) => ({ UID: metadata.uid }));
    return { NodeNameToMetaVictims: { b: { Pods, NumPDBViolations: 0 } } };
  });
  const extenders = [{ urlPrefix: "http://extender", preemptVerb: "preempt" }];
  await using w = await openWorld({ outbound, extenders });
  await w.node("a", { cpu: "1" });
  await w.node("b", { cpu: "1" });
  await w.priorityClass("high", 10);
  await w.pod("low-1", { requests: { cpu: "1" } });
  await w.pod("low-2", { requests: { cpu: "1" } });
  await w.settle();
  await w.pod("high", { priorityClassName: "high", requests: { cpu: "1" } });
  await w.settle();
  assertEquals(seen, ["a", "b"]);
  const high = await w.get({ group: "", version: "v1", plural: "pods" }, "high", "default");
  assertEquals(high.status.nominatedNodeName, "b");
});
