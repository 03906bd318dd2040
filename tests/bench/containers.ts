/**
 * How long a pod on containerd takes from POST to Ready, beside what containerd itself takes for a sandbox, a
 * container and its start: one of each in turn, in one run, so that both see the same machine. The cluster is
 * whole (scheduler, controllers, kubelet); the image is present; the pod has no probe. containerd is asked for
 * the same: the pod's own configuration with its mounts, limits, cgroup and place of the log.
 */
import {
  cgroupOf,
  containerConfig,
  sandboxConfig,
} from "../../actors/nodes/runtimes/cri_config.ts";
import { mountsOf } from "../../actors/nodes/runtimes/cri_files.ts";
import { CRI } from "../../actors/nodes/runtimes/cri_messages.ts";
import { hostFacts } from "../../actors/nodes/runtimes/host.ts";
import { removePodCgroup } from "../../actors/nodes/runtimes/pod_cgroups.ts";
import type { ContainerSpec } from "../../actors/nodes/runtimes/runtime.ts";
import type { Pod } from "../../actors/nodes/types.ts";
import { connectRpc } from "../../api/client/grpc.ts";
import { RealClock } from "../../kv/clock.ts";
import { Cluster } from "../../mod.ts";
import { Containerd, IMAGES, inside, LIVES, missing } from "../e2e/containerd.ts";
import { median } from "./median.ts";

const ROUNDS = 25;
const SETTLE_MS = 300;
const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";
const RESOLV = "search default.svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n";
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
  const { runtime, folder } = containerd;
  const cluster = await Cluster.start({
    clock: "real",
    runtime: "auto",
    nodes: 1,
    data: `${folder}/data`,
    containerRuntime: runtime,
  });
  const client = await connectRpc(runtime.endpoint, CRI, new RealClock());
  const alone: number[] = [], pod: number[] = [];
  const { pod: like } = await podStart(cluster, "warm");
  await criStart(client, folder, like);
  for (let round = 0; round < ROUNDS; round++) {
    await settle();
    alone.push(await criStart(client, folder, like));
    await settle();
    pod.push((await podStart(cluster, `pod-${round}`)).took);
  }
  client.close();
  await cluster.stop();
  await containerd.stop();
  return { alone: median(alone), pod: median(pod) };
}

/** What was taken down last is not yet gone from the kernel: nobody's start is to pay for that. */
async function settle(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
}

/** Starts a pod and removes it; tells how long the start took, and what the pod was. */
async function podStart(cluster: Cluster, name: string): Promise<{ took: number; pod: Pod }> {
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
      containers: [{ name: "c", image: IMAGES.busybox, command: LIVES }],
    },
  };
  const account = "/api/v1/namespaces/default/serviceaccounts/default";
  while ((await call("GET", account)).status !== 200) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const ready = readiness(
    await cluster.fetch(`${PODS}?watch=true&fieldSelector=metadata.name=${name}`),
  );
  const since = performance.now();
  const { status } = await call("POST", PODS, pod);
  if (status !== 201) throw new Error(`${name} was answered with ${status}`);
  const made = await ready;
  const took = performance.now() - since;
  await call("DELETE", `${PODS}/${name}`);
  while ((await call("GET", `${PODS}/${name}`)).status !== 404) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { took, pod: made };
}

/** The pod of a watch, once it is Ready. */
async function readiness({ body }: Response): Promise<Pod> {
  let rest = "";
  for await (const text of body!.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const { object } = JSON.parse(line) as { object: Pod };
      const ready = object.status?.conditions?.some((c) =>
        c.type === "Ready" && c.status === "True"
      );
      if (ready) return object;
    }
  }
  throw new Error("the watch has ended");
}

/** A pod as the node asks containerd for it, without the cluster: ready to be started. */
async function criStart(
  client: Awaited<ReturnType<typeof connectRpc<typeof CRI.messages>>>,
  folder: string,
  like: Pod,
): Promise<number> {
  const uid = crypto.randomUUID();
  const pod = { ...like, metadata: { ...like.metadata, namespace: "alone", uid } };
  const [container] = pod.spec.containers;
  const token = `${folder}/alone/token`;
  await Deno.mkdir(token, { recursive: true });
  const account = { hostPath: token, containerPath: ACCOUNT, readOnly: true };
  const spec: ContainerSpec = {
    sandbox: { pod, ips: [], hostname: pod.metadata.name, hosts: "", resolv: RESOLV },
    container,
    kind: "app",
    attempt: 0,
    env: new Map([["KUBERNETES_SERVICE_HOST", "10.96.0.1"]]),
    command: container.command,
    mounts: [account],
    imageId: IMAGES.busybox,
  };
  const sandbox = sandboxConfig(spec.sandbox, { attempt: 0, logs: `${folder}/logs` });
  const config = containerConfig(spec, {
    mounts: await mountsOf(spec, `${folder}/alone`),
    user: { uid: 0 },
    profiles: "",
    machineBytes: hostFacts().memoryBytes,
  });
  await Deno.mkdir(`${sandbox.logDirectory}/${container.name}`, { recursive: true });
  const since = performance.now();
  const { podSandboxId } = await client.call("RunPodSandbox", { config: sandbox });
  const made = { podSandboxId, config, sandboxConfig: sandbox };
  const { containerId } = await client.call("CreateContainer", made);
  await client.call("StartContainer", { containerId });
  const took = performance.now() - since;
  await client.call("StopPodSandbox", { podSandboxId });
  await client.call("RemovePodSandbox", { podSandboxId });
  removePodCgroup(cgroupOf(pod));
  return took;
}

if (import.meta.main) console.log(JSON.stringify(await measure()));
