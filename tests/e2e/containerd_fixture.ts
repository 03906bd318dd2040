/** A containerd node on an API in memory, for the tests that run on a containerd of their own. */
import { RealClock } from "../../kv/clock.ts";
import { openBox } from "../../actors/nodes/fixture_test.ts";
import { type CriNodeOptions, startCriNode } from "../../actors/nodes/cri_node.ts";
import { claimRanges, LoopbackNetwork, type RunningNode } from "../../actors/nodes/mod.ts";
import type { Container, Pod, PodSpec } from "../../actors/nodes/types.ts";
import { Containerd, IMAGES } from "./containerd.ts";
import { type Box, type NodeCalls, nodeCalls, nodeIsThere } from "./node_calls.ts";

/** What tests drive. */
export interface ContainerdWorld extends NodeCalls {
  box: Box;
  containerd: Containerd;
  node: RunningNode;
  /** Creates a pod of one container `c`. */
  pod(name: string, container: Partial<Container>, spec?: Partial<PodSpec>): Promise<Pod>;
  /** Deletes it and waits until it is gone. */
  gone(name: string): Promise<void>;
  /** Stops the node and starts it again, as a restart of the process does; told something else if need be. */
  restart(told?: CriNodeOptions["kubelet"]): Promise<void>;
}

const WAIT_MS = 30_000;

/** Opens a world for the tests of a file: one containerd, one node. */
export async function openContainerd(
  images: readonly (keyof typeof IMAGES)[],
  told: (folder: string) => CriNodeOptions["kubelet"] = () => undefined,
): Promise<ContainerdWorld & AsyncDisposable> {
  const containerd = await Containerd.start(images);
  const ranges = await claimRanges();
  const box = await openBox({ clock: new RealClock() });
  const network = new LoopbackNetwork(ranges);
  const { runtime, folder } = containerd;
  let kubelet = told(folder);
  const start = () => {
    const own = { name: "n0", clock: box.clock, folder, kubelet };
    return startCriNode(box.system, { ...own, runtime, ranges, network });
  };
  let node = await start();
  await nodeIsThere(box, ranges);
  const world: ContainerdWorld = {
    ...nodeCalls(box, () => node, WAIT_MS),
    box,
    containerd,
    get node() {
      return node;
    },
    pod: (name, container, spec = {}) =>
      box.pod(name, "n0", {
        terminationGracePeriodSeconds: 1,
        containers: [{ name: "c", image: IMAGES.busybox, ...container }],
        ...spec,
      }),
    gone: async (name) => {
      const target = { resource: { group: "", version: "v1", plural: "pods" }, name };
      await box.client.delete({ ...target, namespace: "default" });
      await box.until(
        `${name} to go`,
        async () => !await box.get(name).catch(() => undefined),
        WAIT_MS,
      );
    },
    restart: async (other = kubelet) => {
      await node.stop();
      kubelet = other;
      node = await start();
    },
  };
  return Object.assign(world, {
    [Symbol.asyncDispose]: async () => {
      await node.stop();
      await box[Symbol.asyncDispose]();
      await network.close();
      await containerd.stop();
    },
  });
}
