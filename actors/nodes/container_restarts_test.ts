import { assertEquals, assertMatch } from "@std/assert";
import { FakeRuntime } from "./fake_runtime_test.ts";
import { startNode } from "./node.ts";
import { addDebug, c, running, withNode } from "./node_fixture_test.ts";
import type { Pod } from "./types.ts";

Deno.test("crash back-off: at once, then 10 s, 20 s, 40 s, and forgotten after ten minutes", () =>
  withNode(async (w) => {
    await w.pod("a", "n0", { containers: [c] });
    await w.see("a", "Running", running);
    const count = () => w.runtime.log.filter((l) => l === "start c").length;
    w.runtime.exit("c", 1);
    await w.until("the second start", () => count() === 2);
    for (const [i, seconds] of [10, 20, 40].entries()) {
      w.runtime.exit("c", 1);
      const pod = await w.see(
        "a",
        "CrashLoopBackOff",
        (p) =>
          p.status?.containerStatuses?.[0].state.waiting?.message?.startsWith(
            `back-off ${seconds}s `,
          ),
      );
      const status = pod.status!.containerStatuses![0];
      const text = `back-off ${seconds}s restarting failed container=c ` +
        `pod=a_default(${pod.metadata.uid})`;
      assertEquals(status.state.waiting?.message, text);
      assertEquals(status.lastState.terminated?.exitCode, 1);
      assertEquals(pod.status!.phase, "Running");
      await w.manual.advance(seconds * 1000 - 1500);
      assertEquals(count(), 2 + i);
      await w.manual.advance(2500);
      await w.until("the next start", () => count() === 3 + i);
    }
    await w.see("a", "running", (p) => p.status?.containerStatuses?.[0].state.running);
    await w.manual.advance(11 * 60_000);
    w.runtime.exit("c", 1);
    await w.until("a start at once", () => count() === 6);
    const pod = await w.see(
      "a",
      "restarts",
      (p) => p.status?.containerStatuses?.[0].restartCount === 5,
    );
    assertEquals(pod.status!.containerStatuses![0].restartCount, 5);
    await w.until(
      "the Event",
      async () => (await w.events()).some((e) => e.startsWith("Warning BackOff ")),
    );
    const text = (await w.events()).find((e) => e.startsWith("Warning BackOff"))!;
    assertMatch(text, /^Warning BackOff Back-off restarting failed container c in pod a_default\(/);
  }));

Deno.test("readiness that is lost is told at once, though the next start is under way", () =>
  withNode(async (w) => {
    await w.pod("a", "n0", { containers: [c] });
    await w.see("a", "Running", running);
    const pulled = Promise.withResolvers<{ imageId: string; present: boolean }>();
    w.runtime.pull = () => pulled.promise as never;
    w.runtime.exit("c", 1);
    const ready = (pod: Pod) => pod.status!.containerStatuses![0].ready;
    await w.see("a", "not ready", (pod) => !ready(pod));
    pulled.resolve({ imageId: "fake://i", present: true });
    const pod = await w.see("a", "ready again", ready);
    assertEquals(pod.status!.containerStatuses![0].restartCount, 1);
  }));

Deno.test("restart policies and rules decide what runs again", () =>
  withNode(async (w) => {
    const start = async (name: string, spec: object) => {
      await w.pod(name, "n0", spec);
      await w.see(name, "Running", running);
    };
    await start("never", { restartPolicy: "Never", containers: [{ name: "never", image: "i" }] });
    w.runtime.exit("never", 1);
    await w.see("never", "Failed", (p) => p.status?.phase === "Failed");
    await start("fail", { restartPolicy: "OnFailure", containers: [{ name: "fail", image: "i" }] });
    w.runtime.exit("fail", 1);
    await w.until("again", () => w.runtime.log.filter((l) => l === "start fail").length === 2);
    w.runtime.exit("fail", 0);
    await w.see("fail", "Succeeded", (p) => p.status?.phase === "Succeeded");
    const rule = { action: "Restart", exitCodes: { operator: "In", values: [42] } };
    await start("rule", {
      restartPolicy: "Never",
      containers: [{
        name: "rule",
        image: "i",
        restartPolicy: "Never",
        restartPolicyRules: [rule],
      }],
    });
    w.runtime.exit("rule", 42);
    await w.until("again", () => w.runtime.log.filter((l) => l === "start rule").length === 2);
    w.runtime.exit("rule", 1);
    await w.see("rule", "Failed", (p) => p.status?.phase === "Failed");
  }));

const restartAll = {
  restartPolicy: "Never",
  restartPolicyRules: [{
    action: "RestartAllContainers",
    exitCodes: { operator: "In", values: [42] },
  }],
};
const statusesOf = ({ status }: Pod) => [
  ...status!.initContainerStatuses ?? [],
  ...status!.containerStatuses ?? [],
];
const conditionOf = ({ status }: Pod, type: string) =>
  status?.conditions?.find((condition) => condition.type === type);

Deno.test("restart all: ends what runs at once, begins from the first init container, keeps the sandbox", () =>
  withNode(async (w) => {
    w.runtime.obedient = 137;
    const removed: string[] = [], sandboxes: string[] = [];
    w.runtime.remove = (...ids: string[]) => void removed.push(...ids);
    w.runtime.startSandbox = (...of: unknown[]) => void sandboxes.push(String(of));
    const preStop = { exec: { command: ["bye"] } };
    await w.pod("a", "n0", {
      restartPolicy: "Never",
      initContainers: [
        { name: "init", image: "i" },
        { name: "side", image: "i", restartPolicy: "Always" },
      ],
      containers: [
        { name: "source", image: "i", ...restartAll },
        { name: "other", image: "i", lifecycle: { preStop } },
      ],
    });
    await w.until("init", () => w.runtime.log.includes("start init"));
    w.runtime.exit("init", 0);
    const before = await w.see("a", "Running", running);
    assertEquals(conditionOf(before, "AllContainersRestarting")?.status, "False");
    const ids = statusesOf(before).map((s) => s.containerID!);
    w.runtime.log.length = 0;
    w.runtime.exit("source", 42);
    const pod = await w.see(
      "a",
      "init again",
      (p) => p.status?.initContainerStatuses?.[0].state.running,
    );
    assertEquals(w.runtime.log, [
      "exit source 42",
      "TERM side 0",
      "exit side 137",
      "TERM other 0",
      "exit other 137",
      "start init",
    ]);
    assertEquals(removed.sort(), ids.sort());
    assertEquals(statusesOf(pod).map((s) => s.restartCount), [1, 1, 1, 1]);
    for (const { lastState } of statusesOf(pod)) {
      const { exitCode, reason, message } = lastState.terminated!;
      assertEquals([exitCode, reason, message], [
        137,
        "RestartingAllContainers",
        "The container is removed because RestartAllContainers in place",
      ]);
    }
    assertEquals(pod.status!.phase, "Pending");
    assertEquals(conditionOf(pod, "Initialized")?.status, "True");
    assertEquals(conditionOf(pod, "AllContainersRestarting")?.status, "False");
    w.runtime.exit("init", 0);
    const after = await w.see("a", "Running", running);
    assertEquals(after.status!.podIP, before.status!.podIP);
    assertEquals(sandboxes.length, 1);
    assertEquals(w.runtime.log.slice(6), [
      "exit init 0",
      "start side",
      "start source",
      "start other",
    ]);
    assertEquals(w.runtime.containers.slice(4).map(({ spec }) => spec.attempt), [1, 1, 1, 1]);
    await w.until(
      "the Event",
      async () => (await w.events()).filter((e) => e === "Normal Killing killing").length > 0,
    );
  }));

Deno.test("restart all: a pod that never restarts does not fail by what is ended for it", () =>
  withNode(async (w) => {
    const told: string[] = [];
    w.runtime.stop = (id) =>
      void told.push(w.runtime.containers.find((one) => one.id === id)!.name);
    await w.pod("a", "n0", {
      restartPolicy: "Never",
      initContainers: [
        { name: "source", image: "i", ...restartAll, restartPolicy: "Always" },
        { name: "init", image: "i" },
      ],
      containers: [c],
    });
    await w.until("init", () => w.runtime.log.includes("start init"));
    w.runtime.exit("source", 42);
    const pod = await w.see(
      "a",
      "the condition",
      (p) => conditionOf(p, "AllContainersRestarting")?.status === "True",
    );
    const { reason, message } = conditionOf(pod, "AllContainersRestarting")!;
    assertEquals([reason, message], [
      "RestartAllContainersStarted",
      "container exited with restart policy rule",
    ]);
    assertEquals(told, ["init"]);
    w.runtime.exit("init", 137);
    const after = await w.see("a", "init again", (p) => {
      const [source, init] = p.status?.initContainerStatuses ?? [];
      return source.restartCount === 1 && init.state.running;
    });
    assertEquals(after.status!.phase, "Pending");
    assertEquals(after.status!.initContainerStatuses![1].restartCount, 1);
    assertEquals(conditionOf(after, "AllContainersRestarting")?.status, "False");
  }));

Deno.test("restart all: of an init container, again and again only after its back-off", () =>
  withNode(async (w) => {
    await w.pod("a", "n0", {
      restartPolicy: "Never",
      initContainers: [
        { name: "first", image: "i" },
        { name: "source", image: "i", ...restartAll },
      ],
      containers: [c],
    });
    const count = (line: string) => w.runtime.log.filter((l) => l === line).length;
    for (const round of [1, 2]) {
      await w.until("the first", () => count("start first") === round);
      w.runtime.exit("first", 0);
      await w.until("the source", () => count("start source") === round);
      w.runtime.exit("source", 42);
    }
    const waits = await w.see(
      "a",
      "the back-off",
      (p) => p.status?.initContainerStatuses?.[1].state.waiting?.reason === "CrashLoopBackOff",
    );
    assertEquals(waits.status!.phase, "Pending");
    assertEquals(count("start first"), 2);
    await w.pass("the third round", 1000, () => count("start first") === 3);
    const pod = await w.get("a");
    assertEquals(pod.status!.containerStatuses![0].restartCount, 0);
    assertEquals(pod.status!.containerStatuses![0].lastState, {});
  }));

Deno.test("restart all: what cannot be started at once is tried again, though no end restarts it", () =>
  withNode(async (w) => {
    await w.pod("a", "n0", {
      restartPolicy: "Never",
      containers: [{ name: "source", image: "i", ...restartAll }, c],
    });
    await w.see("a", "Running", running);
    w.runtime.pullError = "no such thing";
    w.runtime.exit("source", 42);
    const waits = await w.see(
      "a",
      "ErrImagePull",
      (p) => p.status?.containerStatuses?.[1].state.waiting?.reason === "ErrImagePull",
    );
    assertEquals(waits.status!.phase, "Running");
    w.runtime.pullError = undefined;
    const pod = await w.await(
      "a",
      "both run",
      1000,
      (p) => p.status?.containerStatuses?.every(({ state }) => state.running),
    );
    assertEquals(statusesOf(pod).map((s) => s.restartCount), [1, 1]);
  }));

Deno.test("restart all: a new life of the node goes on with it, and keeps the counts", () =>
  withNode(async (w) => {
    await w.pod("a", "n0", {
      restartPolicy: "Never",
      initContainers: [{ name: "init", image: "i" }],
      containers: [{ name: "source", image: "i", ...restartAll }, c],
    });
    await w.until("init", () => w.runtime.log.includes("start init"));
    w.runtime.exit("init", 0);
    await w.see("a", "Running", running);
    w.runtime.pullError = "no such thing";
    w.runtime.exit("source", 42);
    await w.see("a", "init waits", (p) => p.status?.initContainerStatuses?.[0].state.waiting);
    await w.node.stop();
    const runtime = new FakeRuntime(w.clock);
    const node = startNode(w.system, { name: "n0", clock: w.clock, runtimes: [runtime] });
    await w.until("init", () => runtime.log.includes("start init"));
    assertEquals(runtime.log, ["start init"]);
    runtime.exit("init", 0);
    const pod = await w.see("a", "Running", running);
    assertEquals(statusesOf(pod).map((s) => s.restartCount), [1, 1, 1]);
    await node.stop();
  }));

Deno.test("restart all: ephemeral containers go on", () =>
  withNode(async (w) => {
    await w.pod("a", "n0", { containers: [{ name: "source", image: "i", ...restartAll }, c] });
    await w.see("a", "Running", running);
    await addDebug(w, "a");
    w.runtime.exit("source", 42);
    const pod = await w.see(
      "a",
      "the restart",
      (p) => p.status?.containerStatuses?.every((s) => s.restartCount === 1 && s.state.running),
    );
    const [debug] = pod.status!.ephemeralContainerStatuses!;
    assertEquals([debug.restartCount, !!debug.state.running], [0, true]);
    assertEquals(w.runtime.log.filter((line) => line.startsWith("TERM")), ["TERM c 0"]);
  }));
