/** What a containerd node does of its own accord: static pods, figures, evictions, an orderly end. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { MIRROR } from "../../actors/nodes/pod_source.ts";
import { NODES, type Pod, PODS } from "../../actors/nodes/types.ts";
import { IMAGES, LIVES, withContainerd } from "./containerd.ts";
import { type ContainerdWorld, openContainerd } from "./containerd_fixture.ts";
import { isReady } from "./node_calls.ts";

const manifest = (word: string) =>
  JSON.stringify({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "own" },
    spec: {
      terminationGracePeriodSeconds: 1,
      containers: [{
        name: "c",
        image: IMAGES.busybox,
        command: ["sh", "-c", `echo ${word}; ${LIVES[2]}`],
      }],
    },
  });

/** Waits for a pod that may not be there yet. */
function seen(
  { box }: ContainerdWorld,
  name: string,
  look: (pod: Pod) => boolean = isReady,
): Promise<Pod> {
  return box.until(name, async () => {
    const pod = await box.get(name).catch(() => undefined);
    return pod && look(pod) ? pod : undefined;
  }, 30_000);
}

/** Waits until a container has said something: it is Ready as soon as it runs. */
async function said({ box, logs }: ContainerdWorld, name: string, text: string): Promise<void> {
  await box.until(`${name} to say ${text}`, async () => await logs(name) === text, 30_000);
}

/** The cases, by what they show. */
const CASES: Record<string, (world: ContainerdWorld) => Promise<void>> = {
  "a file's pod runs whatever the API says, also after a restart": async (world) => {
    const { box, containerd, exec, restart } = world;
    const file = `${containerd.folder}/manifests/own.json`;
    await Deno.writeTextFile(`${containerd.folder}/manifests/.hidden`, "no pod");
    await Deno.writeTextFile(file, manifest("first"));
    const first = await seen(world, "own-n0");
    const [{ containerID }] = first.status!.containerStatuses!;
    assertMatch(first.status!.podIP!, /^10\.\d+\.77\.\d+$/);
    await said(world, "own-n0", "first\n");
    await box.client.delete({ resource: PODS, namespace: "default", name: "own-n0" });
    const { uid, annotations } = first.metadata;
    const again = await seen(world, "own-n0", (pod) => pod.metadata.uid !== uid && isReady(pod));
    assertEquals(again.status!.containerStatuses![0].containerID, containerID);
    await restart();
    const asked = () => exec("own-n0", ["echo", "here"]).catch(() => undefined);
    assertEquals((await box.until("the node to know it", asked, 30_000)).out, "here\n");
    const later = await seen(world, "own-n0");
    assertEquals(later.status!.containerStatuses![0].containerID, containerID);
    await Deno.writeTextFile(file, manifest("second"));
    const other = (pod: Pod) => pod.metadata.annotations?.[MIRROR] !== annotations?.[MIRROR];
    await seen(world, "own-n0", (pod) => other(pod) && isReady(pod));
    await said(world, "own-n0", "second\n");
    await Deno.remove(file);
    const gone = () => box.get("own-n0").then(() => false, () => true);
    await box.until("its end", gone, 30_000);
    const { text } = await containerd.ctr("-n", "k8s.io", "tasks", "ls", "-q");
    assertEquals(text, "");
  },
  "it tells what its pods use of everything": async (world) => {
    const { pod, ready, gone, node, box, exec } = world;
    await pod("used", {
      command: [
        "sh",
        "-c",
        `dd if=/dev/zero of=/scratch/f bs=1M count=3; echo a line; ${LIVES[2]}`,
      ],
      volumeMounts: [{ name: "scratch", mountPath: "/scratch" }],
      livenessProbe: { exec: { command: ["true"] }, periodSeconds: 1 },
    }, { volumes: [{ name: "scratch", emptyDir: {} }] });
    await ready("used");
    await exec("used", [
      "sh",
      "-c",
      "dd if=/dev/zero of=/own bs=1M count=2; wget -qO- http://127.0.0.1:1; true",
    ]);
    const get = async (path: string) =>
      await (await node.api.fetch(new Request(`http://node${path}`))).text();
    // The snapshotter measures what was written now and then.
    const { summary, used } = await box.until("figures", async () => {
      const summary = JSON.parse(await get("/stats/summary"));
      const used = summary.pods.find((one: { podRef: { name: string } }) =>
        one.podRef.name === "used"
      );
      return used?.containers[0].rootfs?.usedBytes > 2 ** 21 && { summary, used };
    }, 30_000);
    assert(summary.node.memory.availableBytes > 0 && summary.node.memory.rssBytes > 0);
    assert(summary.node.cpu.usageCoreNanoSeconds > 0 && summary.node.fs.capacityBytes > 0);
    assert(summary.node.runtime.imageFs.capacityBytes > 0 && summary.node.rlimit.maxpid > 1);
    const [container] = used.containers;
    assert(container.memory.workingSetBytes > 0 && container.memory.pageFaults > 0);
    assert(container.cpu.usageCoreNanoSeconds > 0 && container.logs.usedBytes > 0);
    assert(used.network.interfaces.some(({ name }: { name: string }) => name === "eth0"));
    const scratch = used.volume.find(({ name }: { name: string }) => name === "scratch");
    assert(scratch.usedBytes >= 3 * 2 ** 20 && scratch.inodesUsed === 2);
    assert(used["ephemeral-storage"].usedBytes >= 5 * 2 ** 20);
    const labels =
      'container="c",id="[^"]+",image="[^"]+",name="[^"]+",namespace="default",pod="used"';
    assertMatch(
      await get("/metrics/cadvisor"),
      new RegExp(`container_memory_rss{${labels}} [1-9]`),
    );
    assertMatch(
      await get("/metrics/cadvisor"),
      /container_network_receive_bytes_total\{interface="eth0"/,
    );
    assertMatch(
      await get("/metrics/probes"),
      /prober_probe_total\{probe_type="Liveness",result="successful"/,
    );
    assertMatch(await get("/metrics"), /^kubelet_pod_start_duration_seconds_count [1-9]/m);
    await gone("used");
  },
  "what runs short, and what takes too much of the disk, evicts pods": async (world) => {
    const { box, pod, phase, ready, gone, restart } = world;
    await pod("stays", { command: LIVES }, { priority: 2_000_000_000 });
    await pod("goes", { command: LIVES });
    await ready("stays");
    await ready("goes");
    await pod("full", {
      command: ["sh", "-c", `dd if=/dev/zero of=/v/f bs=1M count=3; ${LIVES[2]}`],
      volumeMounts: [{ name: "v", mountPath: "/v" }],
      resources: { limits: { "ephemeral-storage": "1Mi" }, requests: { memory: "1Gi" } },
    }, { volumes: [{ name: "v", emptyDir: {} }] });
    await ready("full");
    // More than all but a thousandth of the memory is never free.
    await restart({
      eviction: {
        thresholds: [{ signal: "memory.available", value: { percentage: 0.999 }, graceMs: 0 }],
        pressureTransitionMs: 60_000,
        maxPodGraceSeconds: 0,
      },
    });
    const full = (await phase("full", "Failed")).status!;
    assertEquals(full.reason, "Evicted");
    assertEquals(
      full.message,
      "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ",
    );
    const { message } = (await phase("goes", "Failed")).status!;
    assertMatch(
      message!,
      /^The node was low on resource: memory\. Threshold quantity: \d+\w*, available: \d+\w*\. Container c was using \d+\w*, request is 0, has larger consumption of memory\. $/,
    );
    await box.until("the condition", async () => {
      const { status } = await box.client.get({ resource: NODES, name: "n0" });
      const conditions = status.conditions as { type: string; reason: string }[];
      return conditions.some(({ reason }) => reason === "KubeletHasInsufficientMemory");
    });
    assertEquals((await box.get("stays")).status!.phase, "Running");
    for (const name of ["stays", "goes", "full"]) await gone(name);
  },
  "a node that is shut down ends its pods, where it was told how long that may take": async (
    world,
  ) => {
    const { box, containerd, pod, ready, gone, restart } = world;
    await restart({ shutdown: [{ priority: 0, graceSeconds: 10 }] });
    await pod("ends", { command: LIVES });
    await ready("ends");
    await world.node.shutDown();
    const { phase, reason, message } = (await box.get("ends")).status!;
    assertEquals([phase, reason, message], [
      "Failed",
      "Terminated",
      "Pod was terminated in response to imminent node shutdown.",
    ]);
    assertEquals((await containerd.ctr("-n", "k8s.io", "tasks", "ls", "-q")).text, "");
    await gone("ends");
  },
};

await withContainerd(import.meta.url, () => {
  Deno.test({ name: "containerd", sanitizeOps: false, sanitizeResources: false }, async (t) => {
    const options = (folder: string) => {
      Deno.mkdirSync(`${folder}/manifests`);
      return { manifests: `${folder}/manifests` };
    };
    await using world = await openContainerd(["busybox"], options);
    for (const [name, check] of Object.entries(CASES)) await t.step(name, () => check(world));
  });
});
