import { assert, assertEquals } from "@std/assert";
import { FakeRuntime } from "./fake_runtime_test.ts";
import { startNode } from "./node.ts";
import { addDebug, c, gone, remove, running, withNode } from "./node_fixture_test.ts";
import { LEASES, NODES, type Pod, PODS } from "./types.ts";

const EVENTS = { group: "", version: "v1", plural: "events" };

Deno.test("kubelet: registers its node, keeps its lease, comes back when its Node is deleted", () =>
  withNode(async (w) => {
    const target = { resource: NODES, name: "n0" };
    const node = await w.client.get(target);
    assertEquals(node.metadata.labels?.["kubernetes.io/hostname"], "n0");
    assertEquals(node.status.capacity.pods, "110");
    assertEquals(node.status.nodeInfo.kubeletVersion, "v1.36.0+plesio");
    assertEquals(node.status.declaredFeatures, ["RestartAllContainersOnContainerExits"]);
    const lease = { resource: LEASES, namespace: "kube-node-lease", name: "n0" };
    const first = await w.until("a lease", () => w.client.get(lease).catch(() => undefined));
    assertEquals(first.metadata.ownerReferences?.[0].uid, node.metadata.uid);
    await w.manual.advance(10_000);
    await w.until(
      "a renewal",
      async () => (await w.client.get(lease)).spec.renewTime !== first.spec.renewTime,
    );
    await w.client.delete(target);
    await w.until("a new Node", async () => {
      const again = await w.client.get(target).catch(() => undefined);
      return again && again.metadata.uid !== node.metadata.uid;
    });
  }));

Deno.test("kubelet: a status that somebody else made Unknown is mended at once", () =>
  withNode(async (w) => {
    const target = { resource: NODES, name: "n0", subresource: "status" };
    const conditions = [{ type: "Ready", status: "Unknown", reason: "NodeStatusUnknown" }];
    await w.client.patch(target, { type: "strategic", body: { status: { conditions } } });
    await w.until("Ready again", async () => {
      const { status } = await w.client.get({ resource: NODES, name: "n0" });
      return status.conditions.some((x: { type: string; status: string }) =>
        x.type === "Ready" && x.status === "True"
      );
    });
  }));

Deno.test("a pod runs, and its Events are upstream's", () =>
  withNode(async (w) => {
    await w.pod("a", "n0", { containers: [c] });
    const pod = await w.see("a", "Running", running);
    assertEquals(pod.status!.containerStatuses![0].ready, true);
    await w.until("Events", async () =>
      (await w.events()).some((e) => e.startsWith("Normal Started")));
    assertEquals(
      (await w.events()).filter((e) =>
        /Created|Pulled|Started/.test(e)
      ).sort(),
      [
        "Normal Created Container created",
        'Normal Pulled Container image "i" already present on machine and can be accessed by the pod',
        "Normal Started Container started",
      ],
    );
  }));

Deno.test("order: init containers run one by one, a sidecar gates on its startup probe", () =>
  withNode(async (w) => {
    w.dial.status = 503;
    await w.pod("a", "n0", {
      initContainers: [
        { name: "one", image: "i" },
        {
          name: "side",
          image: "i",
          restartPolicy: "Always",
          startupProbe: { httpGet: { port: 80 }, periodSeconds: 1, failureThreshold: 100 },
        },
        { name: "two", image: "i" },
      ],
      containers: [c],
    });
    await w.until("one", () => w.runtime.log.includes("start one"));
    assertEquals((await w.get("a")).status?.phase, "Pending");
    w.runtime.exit("one", 0);
    await w.until("side", () => w.runtime.log.includes("start side"));
    await w.manual.advance(3000);
    assert(!w.runtime.log.includes("start two"));
    w.dial.status = 200;
    await w.pass("two", 500, () => w.runtime.log.includes("start two"));
    w.runtime.exit("two", 0);
    const pod = await w.see("a", "Running", running);
    assertEquals(w.runtime.log, [
      "start one",
      "exit one 0",
      "start side",
      "start two",
      "exit two 0",
      "start c",
    ]);
    assertEquals(pod.status!.initContainerStatuses!.map((s) => s.ready), [true, true, true]);
    await remove(w, "a");
    await w.until("gone", gone(w, "a"));
    assertEquals(w.runtime.log.slice(6), [
      "TERM c 30000",
      "exit c 0",
      "TERM side 30000",
      "exit side 0",
    ]);
  }));

Deno.test("a failed init container of a pod that never restarts fails the pod", () =>
  withNode(async (w) => {
    await w.pod("a", "n0", {
      restartPolicy: "Never",
      initContainers: [{ name: "one", image: "i" }],
      containers: [c],
    });
    await w.until("one", () => w.runtime.log.includes("start one"));
    w.runtime.exit("one", 2);
    const pod = await w.see("a", "Failed", (p) => p.status?.phase === "Failed");
    assertEquals(pod.status!.containerStatuses![0].state.waiting?.reason, "PodInitializing");
    assertEquals(pod.status!.conditions!.find((x) => x.type === "Initialized")?.status, "False");
  }));

Deno.test("grace: preStop runs first, the rest of the period follows, then the kill", () =>
  withNode(async (w) => {
    w.runtime.obedient = undefined;
    let finish = () => {};
    w.runtime.answer = () => new Promise((resolve) => finish = () => resolve({ exitCode: 0 }));
    const preStop = { exec: { command: ["bye"] } };
    await w.pod("a", "n0", { containers: [{ ...c, lifecycle: { preStop } }] });
    await w.see("a", "Running", running);
    await remove(w, "a", { gracePeriodSeconds: 10 });
    await w.until("the hook", () => w.runtime.log.includes("exec c: bye"));
    await w.manual.advance(4000);
    finish();
    await w.until("TERM", () => w.runtime.log.includes("TERM c 6000"));
    await w.manual.advance(5999);
    assert(!w.runtime.log.includes("exit c 137"));
    await w.manual.advance(1);
    assert(w.runtime.log.includes("exit c 137"));
    await w.until("gone", gone(w, "a"));
  }));

Deno.test("a preStop hook ends with its container, and has nothing to say of the next one", () =>
  withNode(async (w) => {
    const hooks: (() => void)[] = [];
    w.runtime.answer = () => new Promise((resolve) => hooks.push(() => resolve({ exitCode: 1 })));
    const preStop = { exec: { command: ["bye"] } };
    await w.pod("a", "n0", { containers: [{ ...c, lifecycle: { preStop } }] });
    await w.see("a", "Running", running);
    const image = (image: string) =>
      w.client.patch({ resource: PODS, namespace: "default", name: "a" }, {
        type: "strategic",
        body: { spec: { containers: [{ name: "c", image }] } },
      });
    await image("j");
    await w.until("the hook", () => hooks.length === 1);
    w.runtime.exit("c", 1);
    await w.see(
      "a",
      "again",
      (p) => running(p) && p.status!.containerStatuses![0].restartCount === 1,
    );
    await image("k");
    await w.until("the next hook", () => hooks.length === 2);
    hooks[0]();
    await w.manual.advance(1000);
    assertEquals(w.runtime.log.filter((line) => line.startsWith("TERM")), []);
    hooks[1]();
    await w.until("the next one's end", () => w.runtime.log.includes("TERM c 29000"));
    const failed = await w.until("its Event", async () => {
      const { items } = await w.client.list({ resource: EVENTS, namespace: "default" });
      return items.find(({ reason }) => reason === "FailedPreStopHook");
    });
    assertEquals(failed.count, 1);
  }));

Deno.test("the last status of a pod tells the end of a container that ended while another was written", () =>
  withNode(async (w) => {
    // Told to stop, it ends when the status that says that it still runs is on its way.
    w.runtime.stop = () => queueMicrotask(() => w.runtime.exit("one", 1));
    await w.pod("a", "n0", {
      restartPolicy: "Never",
      initContainers: [{ name: "one", image: "i" }],
      containers: [c],
    });
    await w.see("a", "one", (p) => p.status?.initContainerStatuses?.[0].state.running);
    const last = Promise.withResolvers<Pod>();
    w.informers.for<Pod>(PODS).subscribe(({ object, old }) => {
      if (!object) last.resolve(old as Pod);
    });
    await remove(w, "a");
    const { status } = await last.promise;
    assertEquals(status!.phase, "Failed");
    assertEquals(status!.initContainerStatuses![0].state.terminated?.exitCode, 1);
    assertEquals(status!.containerStatuses![0].state.waiting?.reason, "PodInitializing");
  }));

Deno.test("a pod that is deleted in its back-off says last how its container ended", () =>
  withNode(async (w) => {
    await w.pod("a", "n0", { containers: [c] });
    await w.see("a", "Running", running);
    w.runtime.exit("c", 1);
    await w.until(
      "the second start",
      () => w.runtime.log.filter((l) => l === "start c").length > 1,
    );
    w.runtime.exit("c", 2);
    await w.see("a", "waits", (p) => p.status?.containerStatuses?.[0].state.waiting);
    const last = Promise.withResolvers<Pod>();
    w.informers.for<Pod>(PODS).subscribe(({ object, old }) => {
      if (!object) last.resolve(old as Pod);
    });
    await remove(w, "a");
    const { state, lastState } = (await last.promise).status!.containerStatuses![0];
    assertEquals([state.terminated?.exitCode, lastState.terminated?.exitCode], [2, 1]);
  }));

Deno.test("newest-wish: a shorter grace period cuts a longer one", () =>
  withNode(async (w) => {
    w.runtime.obedient = undefined;
    await w.pod("a", "n0", { containers: [c] });
    await w.see("a", "Running", running);
    await remove(w, "a", { gracePeriodSeconds: 600 });
    await w.until("TERM", () => w.runtime.log.includes("TERM c 600000"));
    await remove(w, "a", { gracePeriodSeconds: 5 });
    await w.until("TERM again", () => w.runtime.log.includes("TERM c 5000"));
    await w.manual.advance(5000);
    await w.until("gone", gone(w, "a"));
  }));

Deno.test("a deadline fails the pod", () =>
  withNode(async (w) => {
    await w.pod("a", "n0", { activeDeadlineSeconds: 30, containers: [c] });
    await w.see("a", "Running", running);
    const pod = await w.await("a", "Failed", 5000, (p) => p.status?.phase === "Failed");
    assertEquals(pod.status!.reason, "DeadlineExceeded");
    assertEquals(
      pod.status!.message,
      "Pod was active on the node longer than the specified deadline",
    );
    assertEquals(w.runtime.log.at(-1), "exit c 0");
  }));

Deno.test("a pod whose emptyDir holds more than its limit is evicted, a critical one never", () => {
  const message = 'Usage of EmptyDir volume "e" exceeds the limit "1Mi". ';
  let full = false;
  const volumes = {
    setup: () => Promise.resolve(),
    check: () => Promise.resolve(),
    mounts: () => Promise.resolve([]),
    devices: () => [],
    refresh: () => Promise.resolve(undefined),
    teardown: () => Promise.resolve(),
    textIn: () => Promise.resolve(""),
    overfull: () => Promise.resolve(full ? message : undefined),
  };
  return withNode(async (w) => {
    const spec = { containers: [c], volumes: [{ name: "e", emptyDir: { sizeLimit: "1Mi" } }] };
    await w.pod("p", "n0", spec);
    await w.pod("critical", "n0", { ...spec, priority: 2_000_000_000 });
    await w.see("p", "running", running);
    await w.see("critical", "running", running);
    await w.manual.advance(20_000);
    assertEquals((await w.get("p")).status?.phase, "Running");
    full = true;
    const { status } = await w.await("p", "the end", 10_000, (p) => p.status?.phase === "Failed");
    assertEquals([status?.reason, status?.message], ["Evicted", message]);
    assertEquals(w.runtime.log.filter((line) => line.startsWith("TERM")), ["TERM c 1000"]);
    assertEquals((await w.get("critical")).status?.phase, "Running");
    await w.until(
      "the event",
      async () => (await w.events()).includes(`Warning Evicted ${message}`),
    );
  }, { volumes: () => volumes });
});

Deno.test("files that tell of a pod are brought up to date when its labels or annotations change", () => {
  const told: string[] = [];
  const volumes = {
    setup: () => Promise.resolve(),
    check: () => Promise.resolve(),
    mounts: () => Promise.resolve([]),
    devices: () => [],
    refresh: ({ metadata }: Pod) => {
      told.push(`${metadata.labels?.tier} ${metadata.annotations?.builder}`);
      return Promise.resolve(undefined);
    },
    teardown: () => Promise.resolve(),
    textIn: () => Promise.resolve(""),
    overfull: () => Promise.resolve(undefined),
  };
  return withNode(async (w) => {
    await w.pod("p", "n0", { containers: [c] }, { labels: { tier: "a" } });
    await w.see("p", "running", running);
    const target = { resource: PODS, namespace: "default", name: "p" };
    const change = (metadata: Record<string, Record<string, string>>, seen: string) => {
      told.length = 0;
      return w.client.patch(target, { type: "merge", body: { metadata } })
        .then(() => w.pass(seen, 10, () => told.includes(seen)));
    };
    await change({ labels: { tier: "b" } }, "b undefined");
    await change({ annotations: { builder: "me" } }, "b me");
  }, { volumes: () => volumes });
});

Deno.test("an image volume is pulled by a runtime that mounts images, and refused by others", () => {
  const image = { reference: "i:1", pullPolicy: "Always" };
  const volumes = {
    setup: () => Promise.resolve(),
    check: () => Promise.resolve(),
    mounts: () =>
      Promise.resolve([{
        name: "v",
        hostPath: "",
        containerPath: "/v",
        readOnly: true,
        image: { ...image },
      }]),
    devices: () => [],
    refresh: () => Promise.resolve(undefined),
    teardown: () => Promise.resolve(),
    textIn: () => Promise.resolve(""),
    overfull: () => Promise.resolve(undefined),
  };
  return withNode(async (w) => {
    const spec = {
      containers: [{ ...c, volumeMounts: [{ name: "v", mountPath: "/v" }] }],
      volumes: [{ name: "v", image }],
    };
    await w.pod("p", "n0", spec);
    const waiting = (pod: Pod) => pod.status?.containerStatuses?.[0].state.waiting;
    const pod = await w.see("p", "the refusal", (p) => waiting(p)?.message);
    assertEquals(waiting(pod)!.reason, "CreateContainerConfigError");
    assertEquals(
      waiting(pod)!.message,
      'volume "v" is an image: runtime fake cannot mount images',
    );
    Object.assign(w.runtime, { mountsImages: true });
    await w.await("p", "running", 10_000, running);
    const [mount] = w.runtime.containers.at(-1)!.spec.mounts;
    assertEquals(mount.image!.reference, "fake://i:1");
  }, { volumes: () => volumes });
});

Deno.test("probes: readiness comes and goes, liveness restarts, with upstream's Events", () =>
  withNode(async (w) => {
    const probe = { httpGet: { port: 80, path: "/x" }, periodSeconds: 1, failureThreshold: 2 };
    await w.pod("a", "n0", {
      containers: [{
        ...c,
        readinessProbe: { ...probe, failureThreshold: 1 },
        livenessProbe: probe,
      }],
    });
    const ready = (p: Pod) => p.status?.containerStatuses?.[0].ready;
    await w.await("a", "ready", 500, ready);
    w.dial.status = 500;
    const pod = await w.await("a", "not ready", 500, (p) => running(p) && !ready(p));
    assertEquals(
      pod.status!.conditions!.find((x) => x.type === "Ready")?.message,
      "containers with unready status: [c]",
    );
    await w.await(
      "a",
      "a restart",
      500,
      (p) => p.status?.containerStatuses?.[0].restartCount === 1,
    );
    await w.until("Events", async () => {
      const events = await w.events();
      return events.includes(
        "Warning Unhealthy Readiness probe failed: HTTP probe failed with statuscode: 500",
      ) &&
        events.includes(
          "Warning Unhealthy Liveness probe failed: HTTP probe failed with statuscode: 500",
        ) &&
        events.includes("Normal Killing Container c failed liveness probe, will be restarted");
    });
    w.dial.status = 200;
    await w.await("a", "ready again", 500, ready);
  }));

Deno.test("probes: an exec probe that takes too long fails", () =>
  withNode(async (w) => {
    w.runtime.answer = () => new Promise(() => {});
    const livenessProbe = { exec: { command: ["slow"] }, timeoutSeconds: 2, failureThreshold: 1 };
    await w.pod("a", "n0", { containers: [{ ...c, livenessProbe }] });
    await w.await(
      "a",
      "a restart",
      500,
      (p) => p.status?.containerStatuses?.[0].restartCount === 1,
    );
    await w.until(
      "the Event",
      async () =>
        (await w.events()).some((e) => e.includes('command timed out: "slow" timed out after 2s')),
    );
  }));

Deno.test("every end of a container is counted, by kind, exit code and reason", () =>
  withNode(async (w) => {
    const spec = { restartPolicy: "Never", initContainers: [{ ...c, name: "first" }] };
    await w.pod("a", "n0", { ...spec, containers: [c] });
    await w.until("the first", () => w.runtime.log.includes("start first"));
    w.runtime.exit("first", 0);
    await w.see("a", "Running", running);
    w.runtime.exit("c", 139);
    await w.see("a", "Failed", (p) => p.status?.phase === "Failed");
    const page = await (await w.node.api.fetch(new Request("https://node/metrics"))).text();
    const lines = page.split("\n").filter((line) => line.startsWith("kubelet_terminated_"));
    assertEquals(lines, [
      'kubelet_terminated_containers_total{container_type="init_container",exit_code="0",reason="Completed"} 1',
      'kubelet_terminated_containers_total{container_type="container",exit_code="139",reason="Error"} 1',
    ]);
  }));

Deno.test("a failed postStart hook kills the container", () =>
  withNode(async (w) => {
    w.runtime.answer = () => Promise.resolve({ exitCode: 1 });
    const postStart = { exec: { command: ["hi"] } };
    await w.pod("a", "n0", {
      restartPolicy: "Never",
      containers: [{ ...c, lifecycle: { postStart } }],
    });
    await w.see("a", "an end", (p) => p.status?.containerStatuses?.[0].state.terminated);
    await w.until("the Event", async () =>
      (await w.events()).includes("Warning FailedPostStartHook PostStartHook failed"));
  }));

for (const exitCode of [0, 1]) {
  Deno.test(`a postStart hook that outlasts its container says nothing of the next one (exit code ${exitCode})`, () =>
    withNode(async (w) => {
      const hooks: PromiseWithResolvers<{ exitCode: number }>[] = [];
      w.runtime.answer = () => {
        hooks.push(Promise.withResolvers());
        return hooks.at(-1)!.promise;
      };
      const postStart = { exec: { command: ["hi"] } };
      await w.pod("a", "n0", { containers: [{ ...c, lifecycle: { postStart } }] });
      await w.until("its hook", () => hooks.length === 1);
      w.runtime.exit("c", 3);
      await w.until("the hook of the next one", () => hooks.length === 2);
      hooks[0].resolve({ exitCode });
      const first = ({ status }: Pod) => status?.containerStatuses?.[0];
      const again = await w.await("a", "its restart", 100, (p) => first(p)?.restartCount === 1);
      assertEquals(first(again)!.ready, false);
      hooks[1].resolve({ exitCode: 0 });
      await w.see("a", "ready", (p) => first(p)?.ready);
      assertEquals(w.runtime.log, ["start c", "exec c: hi", "exit c 3", "start c", "exec c: hi"]);
    }));
}

Deno.test("images that cannot be pulled: ErrImagePull, then ImagePullBackOff, then it runs", () =>
  withNode(async (w) => {
    w.runtime.pullError = "no such thing";
    await w.pod("a", "n0", { containers: [c] });
    const reason = (p: Pod) => p.status?.containerStatuses?.[0].state.waiting?.reason;
    const first = await w.see("a", "ErrImagePull", (p) => reason(p) === "ErrImagePull");
    assertEquals(first.status!.phase, "Pending");
    await w.await("a", "ImagePullBackOff", 2000, (p) => reason(p) === "ImagePullBackOff");
    w.runtime.pullError = undefined;
    await w.await("a", "Running", 5000, running);
  }));

Deno.test("configuration that is missing: CreateContainerConfigError until it is there", () =>
  withNode(async (w) => {
    const env = [{ name: "A", valueFrom: { configMapKeyRef: { name: "cm", key: "k" } } }];
    await w.pod("a", "n0", { containers: [{ ...c, env }] });
    const waiting = (p: Pod) => p.status?.containerStatuses?.[0].state.waiting;
    const pod = await w.see(
      "a",
      "the error",
      (p) => waiting(p)?.reason === "CreateContainerConfigError",
    );
    assertEquals(waiting(pod)?.message, 'configmap "cm" not found');
    await w.client.create(
      { resource: { group: "", version: "v1", plural: "configmaps" }, namespace: "default" },
      { metadata: { name: "cm" }, data: { k: "v" } },
    );
    await w.await("a", "Running", 1000, running);
    assertEquals(w.runtime.containers.at(-1)!.spec.env.get("A"), "v");
  }));

Deno.test("an ephemeral container is started when it is added", () =>
  withNode(async (w) => {
    await w.pod("a", "n0", { containers: [c] });
    await w.see("a", "Running", running);
    await addDebug(w, "a");
    w.runtime.exit("debug", 0);
    const pod = await w.see("a", "its end", (p) =>
      p.status?.ephemeralContainerStatuses?.[0].state.terminated);
    assertEquals(pod.status!.phase, "Running");
  }));

Deno.test("resources change in place, and the status shows what is in force", () =>
  withNode(async (w) => {
    const resources = (memory: string) => ({ limits: { memory }, requests: { memory } });
    await w.pod("a", "n0", { containers: [{ ...c, resources: resources("64Mi") }] });
    await w.see("a", "Running", running);
    const containers = [{ name: "c", resources: resources("128Mi") }];
    await w.client.patch(
      { resource: PODS, namespace: "default", name: "a", subresource: "resize" },
      { type: "strategic", body: { spec: { containers } } },
    );
    const pod = await w.see(
      "a",
      "the new limit",
      (p) => p.status?.containerStatuses?.[0].resources?.limits?.memory === "128Mi",
    );
    assertEquals(w.runtime.log, ["start c", "resize c 128Mi"]);
    assertEquals(pod.status!.containerStatuses![0].restartCount, 0);
  }));

Deno.test("a memory limit below what is used is not set, and the pod says so until it is asked for something else", () =>
  withNode(async (w) => {
    const resources = (memory: string) => ({ limits: { memory }, requests: { memory } });
    const resize = (memory: string) =>
      w.client.patch(
        { resource: PODS, namespace: "default", name: "a", subresource: "resize" },
        {
          type: "strategic",
          body: { spec: { containers: [{ name: "c", resources: resources(memory) }] } },
        },
      );
    const condition = (p: Pod) =>
      p.status?.conditions?.find(({ type }) => type === "PodResizeInProgress");
    const limit = (p: Pod) => p.status!.containerStatuses![0].resources!.limits!.memory;
    await w.pod("a", "n0", { containers: [{ ...c, resources: resources("64Mi") }] });
    await w.see("a", "Running", running);
    w.runtime.memoryBytes = 48 * 2 ** 20;
    await resize("32Mi");
    const refused = await w.see("a", "the refusal", condition);
    assertEquals(condition(refused)!.reason, "Error");
    assertEquals(
      condition(refused)!.message,
      'cannot decrease memory limits: attempting to set container "c" memory limit (33554432) ' +
        "below current usage (50331648)",
    );
    assertEquals(limit(refused), "64Mi");
    await resize("56Mi");
    const done = await w.see("a", "the new limit", (p) => limit(p) === "56Mi");
    await w.see("a", "no refusal any more", (p) => condition(p) === undefined);
    assertEquals(w.runtime.log, ["start c", "resize c 56Mi"]);
    assertEquals(done.status!.containerStatuses![0].restartCount, 0);
  }));

Deno.test("a pod that vanishes without notice is ended all the same", () =>
  withNode(async (w) => {
    await w.pod("a", "n0", { containers: [c] });
    await w.see("a", "Running", running);
    await remove(w, "a", { gracePeriodSeconds: 0 });
    await w.until("its end", () => w.runtime.log.includes("exit c 0"));
    assertEquals(w.runtime.log.slice(1), ["TERM c 1000", "exit c 0"]);
  }));

Deno.test("a new life of the node starts its containers again, and counts that", () =>
  withNode(async (w) => {
    await w.pod("a", "n0", { containers: [c] });
    await w.pod("done", "n0", { restartPolicy: "Never", containers: [{ name: "d", image: "i" }] });
    await w.see("a", "Running", running);
    await w.see("done", "Running", running);
    w.runtime.exit("d", 0);
    const before = await w.see("done", "Succeeded", (p) => p.status?.phase === "Succeeded");
    await w.node.stop();
    const runtime = new FakeRuntime(w.clock);
    const node = startNode(w.system, { name: "n0", clock: w.clock, runtimes: [runtime] });
    const pod = await w.see(
      "a",
      "a restart",
      (p) => p.status?.containerStatuses?.[0].restartCount === 1 && running(p),
    );
    const { lastState, state } = pod.status!.containerStatuses![0];
    assert(state.running);
    assertEquals(lastState.terminated?.reason, "ContainerStatusUnknown");
    assertEquals(lastState.terminated?.exitCode, 137);
    assertEquals(runtime.log, ["start c"]);
    const after = await w.get("done");
    assertEquals(after.metadata.resourceVersion, before.metadata.resourceVersion);
    await node.stop();
  }));

Deno.test("kubelet: refuses a pod that it cannot take, which fails without a container", () =>
  withNode(async (w) => {
    const port = { containers: [{ ...c, ports: [{ containerPort: 80, hostPort: 80 }] }] };
    await w.pod("first", "n0", port);
    await w.see("first", "runs", running);
    await w.pod("second", "n0", port);
    const { status } = await w.see("second", "fails", (pod) => pod.status?.phase === "Failed");
    assertEquals([status?.reason, status?.message, status?.containerStatuses, status?.podIP], [
      "NodePorts",
      "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the " +
      "requested pod ports",
      undefined,
      undefined,
    ]);
    await remove(w, "second", { gracePeriodSeconds: 0 });
    await remove(w, "first");
    await w.until("it is gone", gone(w, "first"));
    await w.pod("second", "n0", port);
    await w.see("second", "runs", running);
  }));

Deno.test("kubelet: extended resources that somebody gives its Node may be had, until they are taken away", () =>
  withNode(async (w) => {
    const target = { resource: NODES, name: "n0" };
    const name = "example.com/device";
    for (const amount of ["5", null]) {
      await w.client.patch({ ...target, subresource: "status" }, {
        type: "merge",
        body: { status: { capacity: { [name]: amount } } },
      });
      await w.until("it may be had", async () => {
        const { status } = await w.client.get(target);
        return status.allocatable[name] === (amount ?? undefined);
      });
    }
    const { status } = await w.client.get(target);
    assertEquals([status.capacity[name], status.capacity.pods], [undefined, "110"]);
  }));
