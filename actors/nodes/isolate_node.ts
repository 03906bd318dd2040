/**
 * A node of this machine: isolates for the images they can run, simulated containers (labelled) for all
 * others, volumes in folders, probes over the machine's own network.
 */
import type { System } from "../runtime/mod.ts";
import type { Network } from "./network/network.ts";
import { hostDialer } from "./network/dial.ts";
import { type RunningNode, startNode, type ToldNode } from "./node.ts";
import { machineMeter } from "./runtimes/meter.ts";
import { absolutePath, removeFolder } from "./runtimes/host.ts";
import { logFolder } from "./runtimes/log_folder.ts";
import { IsolateRuntime } from "./runtimes/isolate.ts";
import type { ViewName } from "./runtimes/isolate_view.ts";
import type { Runtime } from "./runtimes/runtime.ts";
import { SimulatedRuntime } from "./runtimes/simulated.ts";
import { hostMounts, unmountAll } from "./volumes/kernel.ts";
import { type NodeVolumes, nodeVolumes } from "./volumes/node_volumes.ts";

/** Options of `startIsolateNode`, with their defaults. */
export interface IsolateNodeOptions extends ToldNode {
  /** The data folder of the machine: nodes lie in `<folder>/nodes/<name>`, what they share in `<folder>/shared`. */
  folder: string;
  /** Where the node lies instead: a kubelet's root directory, as storage drivers look for it. */
  rootDir?: string;
  /** Shared by the nodes of the machine. */
  network: Network;
  /** Where the cluster's DNS answers, once it does (port 53). */
  dnsPort?(): number | undefined;
  /** Images that no isolate can run are simulated (true), or fail to be pulled. */
  simulated?: boolean;
  /** The folder goes with the last node that uses it (false). */
  temporary?: boolean;
  /** Only this view of pods (the best that works). */
  view?: ViewName;
}

/** Starts one. */
export function startIsolateNode(system: System, options: IsolateNodeOptions): RunningNode {
  const { name, clock, network, simulated = true } = options;
  const folder = options.rootDir ?? `${absolutePath(options.folder)}/nodes/${name}`;
  const isolates = new IsolateRuntime({
    clock,
    folder,
    shared: `${absolutePath(options.folder)}/shared`,
    endpoint: (ip, port) => network.endpoint(ip, port),
    dnsIP: options.dnsIP,
    dnsPort: options.dnsPort,
    domain: options.domain,
    view: options.view,
  });
  const runtimes: Runtime[] = [isolates];
  if (simulated) runtimes.push(new SimulatedRuntime({ clock }));
  let volumes: NodeVolumes | undefined;
  const node = startNode(system, {
    ...options,
    runtimes,
    dial: hostDialer,
    logPlace: logFolder(`${folder}/kept-logs`),
    meter: machineMeter(folder, clock),
    sweep: async (uids) => {
      await volumes?.sweep(uids);
      isolates.sweep(uids);
    },
    leftovers: async () => {
      await isolates.endLeftovers();
      const mounts = hostMounts();
      if (mounts) unmountAll(mounts, `${folder}/pods`);
    },
    volumes: (objects, context) => {
      volumes = nodeVolumes({ folder, nodeName: name, objects, context });
      return volumes;
    },
  });
  const stop = async () => {
    await node.stop();
    // No process of a pod runs any more: what is mounted for them serves nobody.
    volumes?.unmountAll(options.temporary ? folder : undefined);
    if (options.temporary) removeFolder(absolutePath(options.folder));
  };
  return { ...node, stop };
}
