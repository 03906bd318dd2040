/** A node with real processes on an API in memory, for the tests of this folder. */
import { RealClock } from "../../kv/clock.ts";
import { openBox } from "../../actors/nodes/fixture_test.ts";
import {
  claimRanges,
  LoopbackNetwork,
  type RunningNode,
  startIsolateNode,
} from "../../actors/nodes/mod.ts";
import { type Box, type NodeCalls, nodeCalls, nodeIsThere } from "./node_calls.ts";

/** The image that a node provides itself. */
export const DENO = "denoland/deno:2.9.6";
const WAIT_MS = 10_000;

/** What tests drive. */
export interface World extends NodeCalls {
  box: Box;
  node: RunningNode;
  folder: string;
}

/** Starts one, and takes it down after `use`. */
export async function withNode(use: (world: World) => Promise<void>, view?: "preload") {
  const folder = await Deno.makeTempDir();
  const ranges = await claimRanges();
  const network = new LoopbackNetwork(ranges);
  {
    await using box = await openBox({ clock: new RealClock() });
    const start = () =>
      startIsolateNode(box.system, { name: "n0", clock: box.clock, folder, network, view });
    const node = start();
    await nodeIsThere(box, ranges);
    const world: World = { ...nodeCalls(box, () => node, WAIT_MS), box, node, folder };
    try {
      await use(world);
    } finally {
      await node.stop();
    }
  }
  await network.close();
  await Deno.remove(folder, { recursive: true });
}
