/**
 * How long a pod on containerd takes from POST to Ready, beside what containerd itself takes for a sandbox, a
 * container and its start: one of each in turn, in one run, so that both see the same machine. The cluster is
 * whole (scheduler, controllers, kubelet); the image is present; the pod has no probe.
 */
import { CRI, type Cri } from "../../actors/nodes/runtimes/cri_messages.ts";
import { connectRpc } from "../../actors/nodes/grpc.ts";
import { RealClock } from "../../kv/clock.ts";
import { Cluster } from "../../mod.ts";
import { Containerd, IMAGES, inside, missing } from "../e2e/containerd.ts";

const ROUNDS = 25;
const COMMAND = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"];
const PODS = "/api/v1/namespaces/default/pods";

interface Starts {
  alone: number;
  pod: number;
}

/** The medians, in ms; why there are none where containerd cannot be run. */
export async function containerStarts(): Promise<Starts | string> {
  const reason = await missing();
  if (reason) return reason;
  const path = new URL(import.meta.url).pathname;
  const { success, stdout, stderr } = await inside(["run", "-A", path]).output();
  const text = new TextDecoder();
  if (!success) throw new Error(text.decode(stderr));
  return JSON.parse(text.decode(stdout).trim().split("\n").at(-1)!);
}

async function measure(): Promise<Starts> {
  const containerd = await Containerd.start(["busybox"]);
  const { endpoint, cniFolder, logs, folder } = containerd;
  const cluster = await Cluster.start({
    clock: "real",
    runtime: "auto",
    nodes: 1,
    data: `${folder}/data`,
    containerRuntime: { endpoint, cniFolder, logs },
  });
  const client = await connectRpc(endpoint, CRI, new RealClock());
  const alone: number[] = [], pod: number[] = [];
  await podStart(cluster, "warm-0");
  await criStart(client, folder, "warm-1");
  for (let round = 0; round < ROUNDS; round++) {
    alone.push(await criStart(client, folder, `alone-${round}`));
    pod.push(await podStart(cluster, `pod-${round}`));
  }
  client.close();
  await cluster.stop();
  await containerd.stop();
  await Deno.remove(folder, { recursive: true }).catch(() => undefined);
  return { alone: median(alone), pod: median(pod) };
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1];
}

async function podStart(cluster: Cluster, name: string): Promise<number> {
  const call = async (method: string, path: string, body?: object) => {
    const headers = { "content-type": "application/json" };
    const answer = await cluster.fetch(path, {
      method,
      headers,
      body: body && JSON.stringify(body),
    });
    return { status: answer.status, value: await answer.json() };
  };
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: {
      terminationGracePeriodSeconds: 1,
      containers: [{ name: "c", image: IMAGES.busybox, command: COMMAND }],
    },
  };
  let since = performance.now();
  while ((await call("POST", PODS, pod)).status !== 201) {
    // Its namespace's service account is on its way.
    await new Promise((resolve) => setTimeout(resolve, 50));
    since = performance.now();
  }
  for (;;) {
    const { value } = await call("GET", `${PODS}/${name}`);
    const conditions: { type: string; status: string }[] = value.status?.conditions ?? [];
    if (conditions.some((c) => c.type === "Ready" && c.status === "True")) break;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  const took = performance.now() - since;
  await call("DELETE", `${PODS}/${name}`);
  while ((await call("GET", `${PODS}/${name}`)).status !== 404) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return took;
}

async function criStart(
  client: Awaited<ReturnType<typeof connectRpc<typeof CRI.messages>>>,
  folder: string,
  name: string,
): Promise<number> {
  const logDirectory = `${folder}/alone/${name}`;
  await Deno.mkdir(logDirectory, { recursive: true });
  const sandboxConfig: Cri<"PodSandboxConfig"> = {
    metadata: { name, uid: name, namespace: "alone", attempt: 0 },
    hostname: name,
    logDirectory,
    linux: { cgroupParent: "/kubepods/besteffort/alone", securityContext: {} },
  };
  const since = performance.now();
  const { podSandboxId } = await client.call("RunPodSandbox", { config: sandboxConfig });
  const { containerId } = await client.call("CreateContainer", {
    podSandboxId,
    sandboxConfig,
    config: {
      metadata: { name: "c", attempt: 0 },
      image: { image: IMAGES.busybox },
      command: COMMAND,
      logPath: "c.log",
      linux: { resources: {}, securityContext: {} },
    },
  });
  await client.call("StartContainer", { containerId });
  const took = performance.now() - since;
  await client.call("StopPodSandbox", { podSandboxId });
  await client.call("RemovePodSandbox", { podSandboxId });
  return took;
}

if (import.meta.main) console.log(JSON.stringify(await measure()));
