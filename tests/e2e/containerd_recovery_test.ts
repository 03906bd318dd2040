/** What a containerd node does when parts of it die: itself, containerd, a container's process, a sandbox. */
import { assert, assertEquals } from "@std/assert";
import { LEASES, NODES } from "../../actors/nodes/types.ts";
import { IMAGES, LIVES, withContainerd } from "./containerd.ts";
import { type ContainerdWorld, openContainerd } from "./containerd_fixture.ts";
import { changed, type Held, held } from "./held.ts";
import { idOf, restartsOf } from "./node_calls.ts";

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

const placeOf = ({ containerd }: ContainerdWorld) => ({
  containerd,
  node: `${containerd.folder}/nodes/n0`,
});

/** What the machine holds when no pod is on it: one that had ended goes from the API at once, and then from here. */
function clean(world: ContainerdWorld): Promise<Held> {
  return world.box.until("a clean machine", async () => {
    const now = await held(placeOf(world), []);
    const running = now.mounts.some((mount) => mount.includes("/io.containerd."));
    return now.folders.length === 0 && !running && now;
  }, 20_000);
}

/** Waits until the machine holds what it held. */
async function asBefore(world: ContainerdWorld, before: Held, uids: string[]): Promise<void> {
  let left: string[] = [];
  await world.box.until("a machine as it was", async () => {
    left = changed(before, await held(placeOf(world), uids));
    return left.length === 0;
  }, 20_000).catch(() => assertEquals(left, []));
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
    const before = await clean(world);
    const { metadata: { uid } } = await pod("orphan", { command: LIVES });
    await ready("orphan");
    await node.stop();
    const target = { resource: { group: "", version: "v1", plural: "pods" }, name: "orphan" };
    await box.client.delete({ ...target, namespace: "default" }, { gracePeriodSeconds: 0 });
    await restart();
    await asBefore(world, before, [uid]);
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
  "containers and their node's readiness outlive a containerd that is killed and back soon": async (
    { box, containerd, pod, ready, exec, gone },
  ) => {
    await pod("outlives", { command: LIVES });
    const before = await ready("outlives");
    const readyNode = async () => {
      const node = await box.client.get({ resource: NODES, name: "n0" });
      const { status, lastTransitionTime } =
        (node.status!.conditions as { type: string; status: string; lastTransitionTime: string }[])
          .find((c) => c.type === "Ready")!;
      return { status, lastTransitionTime };
    };
    const well = await readyNode();
    assertEquals(well.status, "True");
    await containerd.kill();
    const killed = Date.now();
    await pod("waits", { command: LIVES });
    const renewed = async () => {
      const { spec } = await box.client.get({
        resource: LEASES,
        namespace: "kube-node-lease",
        name: "n0",
      });
      return Date.parse(spec!.renewTime);
    };
    await box.until("a heartbeat meanwhile", async () => await renewed() > killed, 15_000);
    await containerd.restart();
    await ready("waits");
    assertEquals(await readyNode(), well);
    const after = await ready("outlives");
    assertEquals([idOf(after), restartsOf(after)], [idOf(before), 0]);
    assertEquals((await exec("outlives", ["echo", "x"])).out, "x\n");
    await gone("outlives");
    await gone("waits");
  },
  "nothing is left after pods have come and gone": async (world) => {
    const { pod, ready, gone } = world;
    await pod("first", { command: LIVES });
    await ready("first");
    await gone("first");
    const before = await clean(world);
    const uids: string[] = [];
    const rounds = Number(Deno.env.get("ROUNDS") ?? 4);
    for (let round = 0; round < rounds; round++) {
      const names = [0, 1, 2].map((n) => `round-${round}-${n}`);
      for (const name of names) {
        await pod(name, { command: LIVES, volumeMounts: [{ name: "v", mountPath: "/v" }] }, {
          volumes: [{ name: "v", emptyDir: { medium: "Memory" } }],
        });
      }
      for (const name of names) uids.push((await ready(name)).metadata.uid);
      if (round % 2) {
        for (const pid of await pidsOf(/^\/bin\/sh -c trap "exit 0" TERM INT/)) {
          Deno.kill(pid, "SIGKILL");
        }
      }
      for (const name of names) await gone(name);
    }
    await asBefore(world, before, uids);
  },
};

await withContainerd(import.meta.url, () => {
  Deno.test({ name: "containerd", sanitizeOps: false, sanitizeResources: false }, async (t) => {
    await using world = await openContainerd(["busybox"]);
    for (const [name, check] of Object.entries(CASES)) await t.step(name, () => check(world));
  });
});
