/**
 * A node whose pods are OCI containers: a container runtime (containerd, CRI-O) over CRI, its network by
 * CNI, volumes in folders of the machine. It is loaded only where a runtime's endpoint is named.
 */
import type { Client } from "../../api/client/contract.ts";
import { ApiError, type KubeObject } from "../../api/machinery/types.ts";
import type { System } from "../runtime/mod.ts";
import { CniNetwork } from "./network/cni.ts";
import { hostDialer } from "./network/dial.ts";
import type { Network, Ranges } from "./network/network.ts";
import { type RunningNode, startNode, type ToldNode } from "./node.ts";
import type { Objects } from "./objects.ts";
import { CriRuntime } from "./runtimes/cri.ts";
import type { PullSecret } from "./runtimes/cri_images.ts";
import { logFolder } from "./runtimes/log_folder.ts";
import { machineMeter } from "./runtimes/meter.ts";
import { systemLogs } from "./runtimes/system_logs.ts";
import { absolutePath, hostFacts, removeFolder } from "./runtimes/host.ts";
import { type Pod, RUNTIME_CLASSES } from "./types.ts";
import { type NodeVolumes, nodeVolumes } from "./volumes/node_volumes.ts";

/** The kubelet's constant: where a machine's programs write logs. */
const SYSTEM_LOGS_FOLDER = "/var/log";

/** A container runtime of the machine. */
export interface ContainerRuntimeOptions {
  /** Where it listens: `unix:///run/containerd/containerd.sock`. */
  endpoint: string;
  /** Where it looks for CNI configurations (`/etc/cni/net.d`). */
  cniFolder?: string;
  /** Where the logs of its containers lie (`/var/log/pods`). */
  logs?: string;
}

/** Options of `startCriNode`, with their defaults. */
export interface CriNodeOptions extends ToldNode {
  /** The data folder of the machine: the node lies in `<folder>/nodes/<name>`. */
  folder: string;
  /** Where the node lies instead: a kubelet's root directory, as storage drivers look for it. */
  rootDir?: string;
  runtime: ContainerRuntimeOptions;
  ranges: Ranges;
  /** Of the other nodes of the machine. */
  network: Network;
  /** Nothing of it outlives this process: its pods end with it (false). */
  temporary?: boolean;
  log?(level: "info" | "warn" | "error", text: string, fields?: Record<string, unknown>): void;
}

/** Starts one. Rejects when the runtime cannot be reached. */
export async function startCriNode(system: System, options: CriNodeOptions): Promise<RunningNode> {
  const { name, clock, ranges, log = () => {} } = options;
  const folder = options.rootDir ?? `${absolutePath(options.folder)}/nodes/${name}`;
  const { endpoint, cniFolder = "/etc/cni/net.d", logs = "/var/log/pods" } = options.runtime;
  let objects: Objects | undefined;
  let client: Client | undefined;
  let volumes: NodeVolumes | undefined;
  let warn: ((reason: string, message: string) => void) | undefined;
  const runtime = await CriRuntime.connect({
    endpoint,
    clock,
    folder,
    logs: absolutePath(logs),
    machineBytes: hostFacts().memoryBytes,
    secret: async (namespace, secret) =>
      await objects?.secret(namespace, secret) as PullSecret | undefined,
    handler: (pod) => handlerOf(pod, client!),
    log,
    warning: (reason, message) => warn?.(reason, message),
  });
  const network = new CniNetwork({
    folder: cniFolder,
    state: `${folder}/cni`,
    ranges,
    machine: options.network,
    ready: async () => await runtime.problem() === undefined,
  });
  const node = startNode(system, {
    ...options,
    kind: "cri",
    runtimes: [runtime],
    network,
    dial: hostDialer,
    logPlace: logFolder(`${folder}/kept-logs`),
    systemLogs: systemLogs(SYSTEM_LOGS_FOLDER),
    meter: machineMeter(folder, clock, () => runtime.imageFs(folder)),
    leftovers: () => runtime.load(),
    sweep: async (uids) => {
      await runtime.sweep(uids);
      await volumes?.sweep(uids);
    },
    problem: () => runtime.problem(),
    images: () => runtime.images(),
    volumes: (own, context) => {
      objects = own;
      client = context.client;
      const self = { apiVersion: "v1", kind: "Node", name, uid: name };
      warn = (reason, message) => context.recorder.event(self, "Warning", reason, message);
      volumes = nodeVolumes({ folder, nodeName: name, objects: own, context });
      return volumes;
    },
  });
  const stop = async () => {
    if (options.temporary) await runtime.sweep(new Set());
    await node.stop();
    if (!options.temporary) return;
    volumes?.unmountAll(folder);
    await network.remove();
    removeFolder(absolutePath(options.folder));
  };
  return { ...node, stop };
}

/** The handler of the RuntimeClass that a pod names; empty for the runtime's own choice. */
async function handlerOf(pod: Pod, client: Client): Promise<string> {
  const name = pod.spec.runtimeClassName;
  if (!name) return "";
  try {
    const found = await client.get<KubeObject>({ resource: RUNTIME_CLASSES, name });
    return found.handler as string;
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 404) throw error;
    throw new Error(`RuntimeClass "${name}" not found`);
  }
}
