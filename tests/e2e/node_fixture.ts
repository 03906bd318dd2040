/** A node with real processes on an API in memory, for the tests of this folder. */
import { RealClock } from "../../kv/clock.ts";
import { openBox } from "../../actors/nodes/fixture_test.ts";
import {
  claimRanges,
  LoopbackNetwork,
  type RunningNode,
  startIsolateNode,
} from "../../actors/nodes/mod.ts";
import type { Pod } from "../../actors/nodes/types.ts";
import { NODES } from "../../actors/nodes/types.ts";

/** The image that a node provides itself. */
export const DENO = "denoland/deno:2.9.6";
type Box = Awaited<ReturnType<typeof openBox>>;

/** What tests drive. */
export interface World {
  box: Box;
  node: RunningNode;
  folder: string;
  phase(name: string, phase: string, ms?: number): Promise<Pod>;
  logs(name: string, options?: object): Promise<string>;
  exec(
    name: string,
    command: string[],
    input?: string,
  ): Promise<{ code?: number; out: string; error?: string }>;
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
    await box.until(
      "the node",
      () => box.client.get({ resource: NODES, name: "n0" }).catch(() => undefined),
    );
    const [a, b] = ranges.podRange.split(".");
    const spec = { podCIDR: `${a}.${b}.77.0/24` };
    await box.client.patch({ resource: NODES, name: "n0" }, { type: "merge", body: { spec } });
    const refOf = async (name: string) => {
      const { uid } = (await box.get(name)).metadata;
      return { namespace: "default", name, uid };
    };
    const world: World = {
      box,
      node,
      folder,
      phase: (name, phase, ms = 10_000) =>
        box.until(`${name} to be ${phase}`, async () => {
          const pod = await box.get(name);
          return pod.status?.phase === phase && pod;
        }, ms),
      logs: async (name, options = {}) =>
        await new Response(
          await node.api.logs({ pod: await refOf(name), container: "c", ...options }),
        ).text(),
      exec: async (name, command, input) => {
        const process = await node.api.exec({
          pod: await refOf(name),
          container: "c",
          command,
          stdin: input !== undefined,
          stdout: true,
          stderr: true,
          tty: false,
        });
        if (input !== undefined) {
          const writer = process.stdin!.getWriter();
          await writer.write(new TextEncoder().encode(input));
          await writer.close();
        }
        const [out, err] = await Promise.all([
          new Response(process.stdout).text(),
          new Response(process.stderr).text(),
        ]);
        const { exitCode, error } = await process.ended;
        return { code: exitCode, out: out + err, error };
      },
    };
    try {
      await use(world);
    } finally {
      await node.stop();
    }
  }
  await network.close();
  await Deno.remove(folder, { recursive: true });
}
