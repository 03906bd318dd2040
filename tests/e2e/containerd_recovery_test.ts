/** What a containerd node does when parts of it die: itself, containerd, a container's process, a sandbox. */
import { assert, assertEquals } from "@std/assert";
import type { Pod } from "../../actors/nodes/types.ts";
import { NODES } from "../../actors/nodes/types.ts";
import { IMAGES, run, withContainerd } from "./containerd.ts";
import { type ContainerdWorld, openContainerd } from "./containerd_fixture.ts";

const idOf = (pod: Pod) => pod.status!.containerStatuses![0].containerID!;
const restartsOf = (pod: Pod) => pod.status!.containerStatuses![0].restartCount;
const LIVES = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"];

/** The processes whose command line is like this. */
async function pidsOf(pattern: RegExp): Promise<number[]> {
  const pids: number[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const line = await Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => "");
    if (pattern.test(line.replaceAll("\0", " "))) pids.push(Number(name));
  }
  return pids;
}

/** What the machine holds on behalf of pods: what must be the same after as before. */
async function held(world: ContainerdWorld): Promise<Record<string, unknown>> {
  const count = async (text: Promise<{ text: string }>) =>
    (await text).text.split("\n").filter((line) => line).length;
  const { folder } = world.containerd;
  const addresses: string[] = [];
  for await (const { name } of Deno.readDir(`${folder}/nodes/n0/cni/plesio-cni0`)) {
    if (/^\d/.test(name)) addresses.push(name);
  }
  const { text: mounts } = await run("cat", "/proc/self/mountinfo");
  const groups = await run("find", "/sys/fs/cgroup", "-type", "d", "-path", "*kubepods*/pod*");
  const mine = [...Deno.readDirSync(`${folder}/nodes/n0/pods`)].map(({ name }) => name);
  return {
    addresses,
    mounts: mounts.split("\n").filter((line) => line.includes(folder)).length,
    links: await count(run("ip", "-o", "link", "show", "type", "veth")),
    namespaces: await count(run("ls", "/var/run/netns")).catch(() => 0),
    groups: groups.text.split("\n").filter((line) => mine.some((uid) => line.includes(uid))),
    folders: mine,
    logs: [...Deno.readDirSync(`${folder}/logs`)].map(({ name }) => name),
    containers: (await world.containerd.ctr("-n", "k8s.io", "containers", "ls", "-q")).text,
  };
}

const CASES: Record<string, (world: ContainerdWorld) => Promise<void>> = {
  "a node that comes back takes its containers over": async (
    { box, pod, ready, restart, gone, logs, exec },
  ) => {
    const readinessProbe = { exec: { command: ["true"] }, periodSeconds: 1 };
    await pod("stays", { command: LIVES, readinessProbe });
    await pod("ends", { command: ["sh", "-c", "sleep 2; echo done; exit 5"] }, {
      restartPolicy: "Never",
    });
    const before = await ready("stays");
    await ready("ends");
    await restart();
    await box.until(
      "the node to know it",
      () => exec("stays", ["touch", "/tmp/x"]).catch(() => undefined),
      20_000,
    );
    const ended = await box.until(
      "the other's end",
      async () => (await box.get("ends")).status?.containerStatuses?.[0].state.terminated,
      20_000,
    );
    assertEquals([ended.exitCode, ended.reason], [5, "Error"]);
    assertEquals(await logs("ends"), "done\n");
    const after = await ready("stays");
    assertEquals(idOf(after), idOf(before));
    assertEquals(restartsOf(after), 0);
    assertEquals(after.status!.podIP, before.status!.podIP);
    await gone("stays");
    await gone("ends");
  },
  "what ended while the node was away is told as it was": async (
    { box, pod, ready, node, restart, gone },
  ) => {
    await pod("away", { command: ["sh", "-c", "sleep 1.5; exit 6"] }, { restartPolicy: "Never" });
    await ready("away");
    await node.stop();
    await new Promise((resolve) => setTimeout(resolve, 2500));
    await restart();
    const ended = await box.until(
      "its end",
      async () => (await box.get("away")).status?.containerStatuses?.[0].state.terminated,
      20_000,
    );
    assertEquals([ended.exitCode, ended.reason], [6, "Error"]);
    await gone("away");
  },
  "pods that went while the node was away go from the machine": async (world) => {
    const { box, pod, ready, node, restart } = world;
    await pod("orphan", { command: LIVES });
    await ready("orphan");
    await node.stop();
    const target = { resource: { group: "", version: "v1", plural: "pods" }, name: "orphan" };
    await box.client.delete({ ...target, namespace: "default" }, { gracePeriodSeconds: 0 });
    await restart();
    await box.until("it to go", async () => {
      const { containers, logs, addresses } = await held(world);
      return containers === "" && (logs as []).length === 0 && (addresses as []).length === 0;
    }, 20_000);
  },
  "a container whose process is killed is started again": async ({ box, pod, ready, gone }) => {
    await pod("killed", { command: ["sh", "-c", "sleep 77777"] });
    const before = await ready("killed");
    for (const pid of await pidsOf(/^sleep 77777/)) Deno.kill(pid, "SIGKILL");
    const after = await box.until("another life", async () => {
      const pod = await box.get("killed");
      return restartsOf(pod) === 1 && pod.status!.containerStatuses![0].state.running && pod;
    }, 20_000);
    assertEquals(after.status!.containerStatuses![0].lastState.terminated!.exitCode, 137);
    assertEquals(after.status!.podIP, before.status!.podIP);
    await gone("killed");
  },
  "a pod whose sandbox is killed begins anew, init containers first": async (
    { box, pod, ready, gone },
  ) => {
    const image = IMAGES.busybox;
    await pod("boxed", { command: LIVES }, {
      initContainers: [{ name: "i", image, command: ["true"] }],
    });
    const before = await ready("boxed");
    for (const pid of await pidsOf(/^\/bin\/sh -c trap "exit 0" TERM INT/)) {
      Deno.kill(pid, "SIGKILL");
    }
    const after = await box.until("another life", async () => {
      const pod = await box.get("boxed");
      return pod.status!.containerStatuses![0].state.running && restartsOf(pod) === 1 && pod;
    }, 30_000);
    assert(idOf(after) !== idOf(before));
    assertEquals(after.status!.initContainerStatuses![0].restartCount, 1);
    assert((await box.events()).some((e) => e.includes("SandboxChanged")));
    await ready("boxed");
    await gone("boxed");
  },
  "containers outlive a containerd that is killed; the node says so meanwhile": async (
    { box, containerd, pod, ready, exec, gone },
  ) => {
    await pod("outlives", { command: LIVES });
    const before = await ready("outlives");
    await containerd.kill();
    const readyNode = async () => {
      const node = await box.client.get({ resource: NODES, name: "n0" });
      return (node.status!.conditions as { type: string; status: string; message: string }[])
        .find((c) => c.type === "Ready")!;
    };
    const not = await box.until("the node not to be ready", async () => {
      const condition = await readyNode();
      return condition.status === "False" && condition;
    }, 25_000);
    assert(not.message.includes("container runtime is down"), not.message);
    await pod("waits", { command: LIVES });
    await containerd.restart();
    await ready("waits");
    await box.until(
      "the node to be ready",
      async () => (await readyNode()).status === "True",
      25_000,
    );
    const after = await ready("outlives");
    assertEquals([idOf(after), restartsOf(after)], [idOf(before), 0]);
    assertEquals((await exec("outlives", ["echo", "x"])).out, "x\n");
    await gone("outlives");
    await gone("waits");
  },
  "nothing is left after pods have come and gone": async (world) => {
    const { box, pod, ready, gone } = world;
    await pod("first", { command: LIVES });
    await ready("first");
    await gone("first");
    const before = await box.until("a clean machine", async () => {
      const now = await held(world);
      return (now.folders as []).length === 0 && now;
    }, 20_000);
    const rounds = Number(Deno.env.get("ROUNDS") ?? 4);
    for (let round = 0; round < rounds; round++) {
      const names = [0, 1, 2].map((n) => `round-${round}-${n}`);
      for (const name of names) {
        await pod(name, { command: LIVES, volumeMounts: [{ name: "v", mountPath: "/v" }] }, {
          volumes: [{ name: "v", emptyDir: { medium: "Memory" } }],
        });
      }
      for (const name of names) await ready(name);
      if (round % 2) {
        for (const pid of await pidsOf(/^\/bin\/sh -c trap "exit 0" TERM INT/)) {
          Deno.kill(pid, "SIGKILL");
        }
      }
      for (const name of names) await gone(name);
    }
    const after = await box.until("a clean machine", async () => {
      const now = await held(world);
      return (now.folders as []).length === 0 && now;
    }, 20_000);
    assertEquals(after, before);
  },
};

await withContainerd(import.meta.url, () => {
  Deno.test({ name: "containerd", sanitizeOps: false, sanitizeResources: false }, async (t) => {
    await using world = await openContainerd(["busybox"]);
    for (const [name, check] of Object.entries(CASES)) await t.step(name, () => check(world));
  });
});
