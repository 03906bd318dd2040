/** A containerd node on an API in memory, for the tests that run on a containerd of their own. */
import { RealClock } from "../../kv/clock.ts";
import { openBox } from "../../actors/nodes/fixture_test.ts";
import { startCriNode } from "../../actors/nodes/cri_node.ts";
import { claimRanges, LoopbackNetwork, type RunningNode } from "../../actors/nodes/mod.ts";
import { type Container, NODES, type Pod, type PodSpec } from "../../actors/nodes/types.ts";
import { Containerd, IMAGES } from "./containerd.ts";

type Box = Awaited<ReturnType<typeof openBox>>;

/** What tests drive. */
export interface ContainerdWorld {
  box: Box;
  containerd: Containerd;
  node: RunningNode;
  /** Creates a pod of one container `c`. */
  pod(name: string, container: Partial<Container>, spec?: Partial<PodSpec>): Promise<Pod>;
  /** Waits until it is in a phase. */
  phase(name: string, phase: string): Promise<Pod>;
  ready(name: string): Promise<Pod>;
  /** Runs a shell's command in a new pod to its end, and returns its log. */
  says(script: string, container?: Partial<Container>, spec?: Partial<PodSpec>): Promise<string>;
  logs(name: string, options?: object): Promise<string>;
  exec(name: string, command: string[], options?: { input?: string; container?: string }): Promise<
    { code?: number; out: string; error?: string }
  >;
  /** Deletes it and waits until it is gone. */
  gone(name: string): Promise<void>;
  /** Stops the node and starts it again, as a restart of the process does. */
  restart(): Promise<void>;
}

const WAIT_MS = 30_000;

/** Opens a world for the tests of a file: one containerd, one node. */
export async function openContainerd(
  images: readonly (keyof typeof IMAGES)[],
): Promise<ContainerdWorld & AsyncDisposable> {
  const containerd = await Containerd.start(images);
  const ranges = await claimRanges();
  const box = await openBox({ clock: new RealClock() });
  const network = new LoopbackNetwork(ranges);
  const { endpoint, cniFolder, logs, folder } = containerd;
  const runtime = { endpoint, cniFolder, logs };
  const start = () =>
    startCriNode(box.system, { name: "n0", clock: box.clock, folder, runtime, ranges, network });
  let node = await start();
  const look = () => box.client.get({ resource: NODES, name: "n0" }).catch(() => undefined);
  await box.until("the node", look);
  const spec = { podCIDR: `${ranges.podRange.split(".").slice(0, 2).join(".")}.77.0/24` };
  await box.client.patch({ resource: NODES, name: "n0" }, { type: "merge", body: { spec } });
  const refOf = async (name: string) => {
    const { uid } = (await box.get(name)).metadata;
    return { namespace: "default", name, uid };
  };
  let count = 0;
  const world: ContainerdWorld = {
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
    phase: (name, phase) =>
      box.until(`${name} to be ${phase}`, async () => {
        const pod = await box.get(name);
        return pod.status?.phase === phase && pod;
      }, WAIT_MS),
    ready: (name) =>
      box.until(`${name} to be ready`, async () => {
        const pod = await box.get(name);
        const ready = pod.status?.conditions?.find((c) => c.type === "Ready");
        return ready?.status === "True" && pod;
      }, WAIT_MS),
    says: async (script, container = {}, spec = {}) => {
      const name = `says-${count++}`;
      await world.pod(name, { command: ["sh", "-c", script], ...container }, {
        restartPolicy: "Never",
        ...spec,
      });
      await box.until(`${name} to end`, async () => {
        const { phase } = (await box.get(name)).status ?? {};
        return phase === "Succeeded" || phase === "Failed";
      }, WAIT_MS);
      const text = await world.logs(name);
      await world.gone(name);
      return text;
    },
    logs: async (name, options = {}) =>
      await new Response(
        await node.api.logs({ pod: await refOf(name), container: "c", ...options }),
      ).text(),
    exec: async (name, command, { input, container = "c" } = {}) => {
      const process = await node.api.exec({
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
    gone: async (name) => {
      const target = { resource: { group: "", version: "v1", plural: "pods" }, name };
      await box.client.delete({ ...target, namespace: "default" });
      await box.until(
        `${name} to go`,
        async () => !await box.get(name).catch(() => undefined),
        WAIT_MS,
      );
    },
    restart: async () => {
      await node.stop();
      node = await start();
    },
  };
  return Object.assign(world, {
    [Symbol.asyncDispose]: async () => {
      await node.stop();
      await box[Symbol.asyncDispose]();
      await network.close();
      await containerd.stop();
      await Deno.remove(folder, { recursive: true }).catch(() => undefined);
    },
  });
}
