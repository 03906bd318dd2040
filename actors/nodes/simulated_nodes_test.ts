import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { over } from "../../api/machinery/over.ts";
import { ApiError } from "../../api/machinery/types.ts";
import { openBox } from "./fixture_test.ts";
import { type Network, VirtualNetwork } from "./network/network.ts";
import { startSimulatedNodes } from "./simulated_nodes.ts";
import { LEASES, NODES, PODS } from "./types.ts";

const nginx = { containers: [{ name: "c", image: "nginx:1.27" }] };

Deno.test("startSimulatedNodes() registers its nodes and renews one lease for all", async () => {
  await using box = await openBox();
  const nodes = startSimulatedNodes(box.system, { count: 3, labelsOf: (i) => ({ zone: `z${i}` }) });
  await nodes.registered;
  const node = await box.client.get({ resource: NODES, name: "simulated-1" });
  assertEquals(node.metadata.labels?.["plesio.dev/runtime"], "simulated");
  assertEquals(node.metadata.labels?.zone, "z1");
  assertEquals(node.metadata.annotations?.["plesio.dev/host"], "simulated-host");
  assertEquals(node.status.nodeInfo.containerRuntimeVersion, "simulated://1.0.0");
  assertEquals(node.status.conditions.at(-1).type, "Ready");
  const lease = { resource: LEASES, namespace: "kube-node-lease", name: "simulated-host" };
  const first = await box.until("a lease", () => box.client.get(lease).catch(() => undefined));
  await box.manual.advance(10_000);
  await box.until("a renewal", async () => {
    const { spec } = await box.client.get(lease);
    return spec.renewTime !== first.spec.renewTime;
  });
});

Deno.test("what others add to a simulated node's capacity can be had, until they take it away", async () => {
  await using box = await openBox();
  await startSimulatedNodes(box.system, {}).registered;
  const target = { resource: NODES, name: "simulated-0" };
  const slots = (value: string | null) =>
    box.client.patch({ ...target, subresource: "status" }, {
      type: "merge",
      body: { status: { capacity: { "example.com/slot": value } } },
    });
  const allocatable = async () =>
    (await box.client.get(target)).status.allocatable["example.com/slot"];
  await slots("5");
  await box.until("five slots", async () => await allocatable() === "5");
  await slots(null);
  await box.until("none", async () => await allocatable() === undefined);
});

Deno.test("one-write: a simulated pod becomes Running with a single status write", async () => {
  await using box = await openBox();
  await startSimulatedNodes(box.system, {}).registered;
  const made = await box.pod("a", "simulated-0", nginx);
  const running = await box.until("Running", async () => {
    const pod = await box.get("a");
    return pod.status?.phase === "Running" && pod;
  });
  const revisions = Number(running.metadata.resourceVersion) -
    Number(made.metadata.resourceVersion);
  assertEquals(revisions, 1);
  const status = running.status!;
  assertEquals(status.containerStatuses?.[0].ready, true);
  assert(status.containerStatuses?.[0].containerID?.startsWith("simulated://"));
  assertEquals(
    status.conditions?.map((c) => `${c.type}=${c.status}`),
    [
      "PodReadyToStartContainers=True",
      "Initialized=True",
      "Ready=True",
      "ContainersReady=True",
      "PodScheduled=True",
    ],
  );
  assert(status.podIP && status.hostIP && status.startTime && status.qosClass === "BestEffort");
});

Deno.test("a simulated pod goes when it is deleted, and its name can be used again", async () => {
  await using box = await openBox();
  await startSimulatedNodes(box.system, {}).registered;
  const ready = (uid: string) => async () => {
    const pod = await box.get("a").catch(() => undefined);
    return pod?.metadata.uid !== uid && pod?.status?.phase === "Running" && pod;
  };
  await box.pod("a", "simulated-0", nginx);
  const first = await box.until("Running", ready(""));
  await box.client.delete({ resource: PODS, namespace: "default", name: "a" });
  await box.until("gone", async () => {
    try {
      await box.get("a");
      return false;
    } catch (error) {
      return (error as ApiError).code === 404;
    }
  });
  await box.pod("a", "simulated-0", nginx);
  await box.until("Running again", ready(first.metadata.uid));
});

Deno.test("stages: commands, init containers and jobs end as their stages say", async () => {
  await using box = await openBox();
  await startSimulatedNodes(box.system, {}).registered;
  await box.pod("sleeper", "simulated-0", {
    restartPolicy: "Never",
    initContainers: [{ name: "init", image: "busybox" }],
    containers: [{ name: "c", image: "busybox", command: ["sleep", "60"] }],
  });
  await box.pod("fails", "simulated-0", {
    restartPolicy: "Never",
    containers: [{ name: "c", image: "busybox", command: ["sh", "-c", "exit 3"] }],
  });
  const failed = await box.pass("Failed", 50, async () => {
    const pod = await box.get("fails");
    return pod.status?.phase === "Failed" && pod;
  });
  assertEquals(failed.status!.containerStatuses![0].state.terminated?.exitCode, 3);
  assertEquals((await box.get("sleeper")).status?.phase, "Running");
  const done = await box.pass("Succeeded", 5000, async () => {
    const pod = await box.get("sleeper");
    return pod.status?.phase === "Succeeded" && pod;
  });
  assertEquals(done.status!.initContainerStatuses![0].state.terminated?.reason, "Completed");
  assertEquals(done.status!.containerStatuses![0].state.terminated?.reason, "Completed");
  assertEquals(done.status!.conditions!.find((c) => c.type === "Ready")?.reason, "PodCompleted");
});

Deno.test("a simulated container's end may restart all of its pod, in one write", async () => {
  await using box = await openBox();
  await startSimulatedNodes(box.system, {}).registered;
  const { status } = await box.client.get({ resource: NODES, name: "simulated-0" });
  assertEquals(status.declaredFeatures, ["RestartAllContainersOnContainerExits"]);
  const exitCodes = { operator: "In", values: [42] };
  await box.pod("a", "simulated-0", {
    restartPolicy: "Never",
    initContainers: [
      { name: "init", image: "busybox" },
      { name: "side", image: "i", restartPolicy: "Always" },
    ],
    containers: [{
      name: "source",
      image: "busybox",
      command: ["sh", "-c", "exit 42"],
      restartPolicy: "Never",
      restartPolicyRules: [{ action: "RestartAllContainers", exitCodes }],
    }, { name: "other", image: "i" }],
  });
  const before = await box.until("Running", async () => {
    const pod = await box.get("a");
    return pod.status?.phase === "Running" && pod;
  });
  const after = await box.pass("the restart", 50, async () => {
    const pod = await box.get("a");
    return pod.status?.containerStatuses?.[0].restartCount === 1 && pod;
  });
  const { initContainerStatuses = [], containerStatuses = [] } = after.status!;
  for (const { restartCount, lastState } of [...initContainerStatuses, ...containerStatuses]) {
    assertEquals([restartCount, lastState.terminated?.reason], [1, "RestartingAllContainers"]);
  }
  assertEquals(after.status!.phase, "Running");
  assertEquals(
    Number(after.metadata.resourceVersion) - Number(before.metadata.resourceVersion),
    1,
  );
});

Deno.test("stages: an image may be missing; a readiness probe is waited for", async () => {
  await using box = await openBox();
  await startSimulatedNodes(box.system, {}).registered;
  const annotations = { "simulated.plesio.dev/pull-error": "not found" };
  await box.pod("annotated", "simulated-0", { containers: [{ name: "c", image: "i" }] }, {
    annotations,
  });
  await box.pod("nowhere", "simulated-0", {
    containers: [{ name: "c", image: "registry.invalid/a:1" }],
  });
  for (const [name, why] of [["annotated", "not found"], ["nowhere", "no such host"]]) {
    const pod = await box.until("waits", async () => {
      const pod = await box.get(name);
      return pod.status?.containerStatuses?.[0].state.waiting?.message && pod;
    });
    const { waiting } = pod.status!.containerStatuses![0].state;
    assertEquals([pod.status!.phase, waiting?.reason], ["Pending", "ErrImagePull"]);
    assert(waiting?.message?.includes(`simulated: ${why}`), waiting?.message);
  }
  const readinessProbe = { initialDelaySeconds: 20, tcpSocket: { port: 80 } };
  await box.pod("slow", "simulated-0", { containers: [{ name: "c", image: "i", readinessProbe }] });
  const ready = async () => (await box.get("slow")).status?.containerStatuses?.[0].ready;
  await box.until("runs", async () => (await box.get("slow")).status?.phase === "Running");
  assertEquals(await ready(), false);
  const startedAt = box.clock.now();
  await box.pass("ready", 1000, ready);
  assertTook(20, box.clock.now() - startedAt);
});

Deno.test("a preStop sleep is slept for a container without a process, too", async () => {
  await using box = await openBox();
  await startSimulatedNodes(box.system, {}).registered;
  const lifecycle = { preStop: { sleep: { seconds: 20 } } };
  await box.pod("slow", "simulated-0", { containers: [{ name: "c", image: "i", lifecycle }] });
  await box.until("runs", async () => (await box.get("slow")).status?.phase === "Running");
  const from = box.clock.now();
  await box.client.delete({ resource: PODS, namespace: "default", name: "slow" });
  await box.pass("gone", 1000, () => box.get("slow").then(() => false, () => true));
  assertTook(20, box.clock.now() - from);
});

Deno.test("a node lists its pods, and those of which something runs", async () => {
  await using box = await openBox();
  const nodes = startSimulatedNodes(box.system, {});
  await nodes.registered;
  await box.pod("runs", "simulated-0", nginx);
  await box.pod("waits", "simulated-0", { containers: [{ name: "c", image: "a.invalid/b" }] });
  await box.until("Running", async () => (await box.get("runs")).status?.phase === "Running");
  const named = async (path: string) => {
    const answer = await nodes.api("simulated-0")!.fetch(new Request(`https://node${path}`));
    const { items } = await answer.json() as { items: { metadata: { name: string } }[] };
    return items.map(({ metadata }) => metadata.name).sort();
  };
  assertEquals(await named("/pods"), ["runs", "waits"]);
  for (const path of ["/runningpods", "/runningpods/"]) assertEquals(await named(path), ["runs"]);
});

Deno.test("labelled: logs begin simulated:, exec and port-forward answer 400", async () => {
  await using box = await openBox();
  const nodes = startSimulatedNodes(box.system, {});
  await nodes.registered;
  const made = await box.pod("a", "simulated-0", nginx);
  await box.until("Running", async () => (await box.get("a")).status?.phase === "Running");
  const api = nodes.api("simulated-0")!;
  const pod = { namespace: "default", name: "a", uid: made.metadata.uid };
  const text = await new Response(await api.logs({ pod, container: "c" })).text();
  assert(text.trim().split("\n").every((line) => line.startsWith("simulated: ")), text);
  const tail = await api.logs({ pod, container: "c", tailLines: 1, timestamps: true });
  assert(/^20\S+Z simulated: started container c\n$/.test(await new Response(tail).text()));
  const options = { stdin: false, stdout: true, stderr: true, tty: false };
  const refused = await api.exec({ pod, container: "c", command: ["ls"], ...options })
    .catch((e) => e);
  assertEquals(refused.code, 400);
  assertEquals(
    refused.message,
    'container "c" of pod "a" is simulated: no process runs in it',
  );
  const forward = await api.portForward(pod, 80).catch((e) => e);
  assertEquals(forward.code, 400);
});

Deno.test("a new life of the host takes running pods over without a write", async () => {
  await using box = await openBox();
  const nodes = startSimulatedNodes(box.system, {});
  await nodes.registered;
  await box.pod("a", "simulated-0", nginx);
  const before = await box.until("Running", async () => {
    const pod = await box.get("a");
    return pod.status?.phase === "Running" && pod;
  });
  await nodes.stop();
  const again = startSimulatedNodes(box.system, {});
  await again.registered;
  await box.pod("b", "simulated-0", nginx);
  const other = await box.until("Running", async () => {
    const pod = await box.get("b");
    return pod.status?.phase === "Running" && pod;
  });
  const after = await box.get("a");
  assertEquals(after.metadata.resourceVersion, before.metadata.resourceVersion);
  assert(other.status!.podIP !== after.status!.podIP, "its address stays taken");
});

Deno.test("a pod that rests has a worker as soon as something asks about it, or is to become of it", async () => {
  await using box = await openBox();
  const nodes = startSimulatedNodes(box.system, {});
  await nodes.registered;
  const names = ["a", "b", "c", "d"];
  for (const name of names) await box.pod(name, "simulated-0", nginx);
  const running = (name: string) => async () => {
    const pod = await box.get(name);
    return pod.status?.phase === "Running" && pod;
  };
  for (const name of names) await box.until("Running", running(name));
  await nodes.stop();
  const network = new VirtualNetwork();
  const torn: string[] = [];
  const again = startSimulatedNodes(box.system, {
    network: over<Network>(network, { teardownPod: (uid) => void torn.push(uid) }),
  });
  await again.registered;
  const api = again.api("simulated-0")!;
  const a = await box.get("a");
  const pod = { namespace: "default", name: "a", uid: a.metadata.uid };
  const logs = await new Response(await api.logs({ pod, container: "c" })).text();
  assertStringIncludes(logs, "simulated: started container c");
  assertEquals(
    (await api.logs({ pod: { ...pod, uid: "other" }, container: "c" }).catch((e) => e)).code,
    404,
  );
  // Deleted with grace, and without any
  const gone = (name: string) => () => box.get(name).then(() => false, () => true);
  const target = (name: string) => ({ resource: PODS, namespace: "default", name });
  const uids = [(await box.get("b")).metadata.uid, (await box.get("c")).metadata.uid];
  await box.client.delete(target("b"));
  await box.client.delete(target("c"), { gracePeriodSeconds: 0 });
  await box.pass("deletion", 1000, async () => await gone("b")() && await gone("c")());
  await box.until("addresses given back", () => uids.every((uid) => torn.includes(uid)));
  const { items } = await (await api.fetch(new Request("https://node/runningpods"))).json();
  assertEquals(items.map((i: { metadata: { name: string } }) => i.metadata.name).sort(), [
    "a",
    "d",
  ]);
  assertEquals((await again.usage())[0].pods.length, 2);
});

/** Looked at once a second; a busy machine sees it some looks later, never earlier. */
function assertTook(seconds: number, ms: number): void {
  const took = Math.round(ms / 1000);
  assert(took >= seconds && took <= seconds + 10, `took ${took} s`);
}
