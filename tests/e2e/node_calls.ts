/** What tests ask of a node with real processes, by the names of its pods. */
import type { openBox } from "../../actors/nodes/fixture_test.ts";
import type { claimRanges, RunningNode } from "../../actors/nodes/mod.ts";
import { NODES, type Pod } from "../../actors/nodes/types.ts";

export type Box = Awaited<ReturnType<typeof openBox>>;

/** Calls of the containers `c` of pods in `default`. */
export interface NodeCalls {
  /** Waits until it is in a phase. */
  phase(name: string, phase: string, ms?: number): Promise<Pod>;
  ready(name: string, ms?: number): Promise<Pod>;
  logs(name: string, options?: object): Promise<string>;
  /** Runs a command to its end; what it wrote on both streams is `out`. */
  exec(name: string, command: string[], options?: { input?: string; container?: string }): Promise<
    { code?: number; out: string; error?: string }
  >;
}

export const isReady = ({ status }: Pod) =>
  !!status?.conditions?.some((c) => c.type === "Ready" && c.status === "True");
/** Of its first container. */
export const idOf = (pod: Pod) => pod.status!.containerStatuses![0].containerID!;
export const restartsOf = (pod: Pod) => pod.status!.containerStatuses![0].restartCount;

/** Waits for the node `n0`, and gives it a range for its pods. */
export async function nodeIsThere(
  { client, until }: Box,
  { podRange }: Awaited<ReturnType<typeof claimRanges>>,
): Promise<void> {
  const target = { resource: NODES, name: "n0" };
  await until("the node", () => client.get(target).catch(() => undefined));
  const spec = { podCIDR: `${podRange.split(".").slice(0, 2).join(".")}.77.0/24` };
  await client.patch(target, { type: "merge", body: { spec } });
}

/** Makes the calls; `node` is asked anew each time: it may be another life. */
export function nodeCalls(box: Box, node: () => RunningNode, waitMs: number): NodeCalls {
  const refOf = async (name: string) => {
    const { uid } = (await box.get(name)).metadata;
    return { namespace: "default", name, uid };
  };
  return {
    phase: (name, phase, ms = waitMs) =>
      box.until(`${name} to be ${phase}`, async () => {
        const pod = await box.get(name);
        return pod.status?.phase === phase && pod;
      }, ms),
    ready: (name, ms = waitMs) =>
      box.until(`${name} to be ready`, async () => {
        const pod = await box.get(name);
        return isReady(pod) && pod;
      }, ms),
    logs: async (name, options = {}) =>
      await new Response(
        await node().api.logs({ pod: await refOf(name), container: "c", ...options }),
      ).text(),
    exec: async (name, command, { input, container = "c" } = {}) => {
      const process = await node().api.exec({
        pod: await refOf(name),
        container,
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
}
