/** What a containerd node does of its own accord: static pods. */
import { assertEquals, assertMatch } from "@std/assert";
import { MIRROR } from "../../actors/nodes/pod_source.ts";
import { type Pod, PODS } from "../../actors/nodes/types.ts";
import { IMAGES, withContainerd } from "./containerd.ts";
import { type ContainerdWorld, openContainerd } from "./containerd_fixture.ts";

const LIVES = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"];

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

function isReady({ status }: Pod): boolean {
  return status?.conditions?.find((c) => c.type === "Ready")?.status === "True";
}

/** The cases, by what they show. */
const CASES: Record<string, (world: ContainerdWorld) => Promise<void>> = {
  "a file's pod runs whatever the API says, also after a restart": async (world) => {
    const { box, containerd, logs, exec, restart } = world;
    const file = `${containerd.folder}/manifests/own.json`;
    await Deno.writeTextFile(`${containerd.folder}/manifests/.hidden`, "no pod");
    await Deno.writeTextFile(file, manifest("first"));
    const first = await seen(world, "own-n0");
    const [{ containerID }] = first.status!.containerStatuses!;
    assertMatch(first.status!.podIP!, /^10\.\d+\.77\.\d+$/);
    assertEquals(await logs("own-n0"), "first\n");
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
    assertEquals(await logs("own-n0"), "second\n");
    await Deno.remove(file);
    const gone = () => box.get("own-n0").then(() => false, () => true);
    await box.until("its end", gone, 30_000);
    const { text } = await containerd.ctr("-n", "k8s.io", "tasks", "ls", "-q");
    assertEquals(text, "");
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
