/**
 * The volumes of a node, put together: what its pods mount, and the storage drivers that register in its
 * `plugins_registry`. What every node with real containers is given, whatever runs them.
 */
import type { ActorContext } from "../../runtime/mod.ts";
import type { Objects } from "../objects.ts";
import { CsiDrivers } from "./csi_drivers.ts";
import { CsiVolumes } from "./csi_volumes.ts";
import { PluginRegistry } from "./plugin_registry.ts";
import { PodTokens } from "./tokens.ts";
import { HostVolumes } from "./volumes.ts";

/** What they need. */
export interface NodeVolumesOptions {
  /** The node's folder: `pods`, `plugins` and `plugins_registry` lie in it, as in a kubelet's root directory. */
  folder: string;
  nodeName: string;
  objects: Objects;
  context: ActorContext;
}

/** HostVolumes with drivers. */
export type NodeVolumes = HostVolumes & { start(): Promise<void>; close(): Promise<void> };

/** See the module's text. */
export function nodeVolumes(
  { folder, nodeName, objects, context }: NodeVolumesOptions,
): NodeVolumes {
  const { client, clock, recorder, log } = context;
  const tokens = new PodTokens(client, clock);
  const drivers = new CsiDrivers({
    nodeName,
    client,
    clock,
    registered: (name) => {
      const sweep = async () => {
        await volumes.sweepOrphans();
        await csi.sweep(name);
      };
      sweep().catch((error) =>
        log("warn", "staged volumes not swept", { driver: name, error: String(error) })
      );
    },
  });
  const csi = new CsiVolumes({
    folder,
    nodeName,
    client,
    clock,
    recorder,
    drivers,
    tokens,
    used: () => context.send(context.address, "status"),
  });
  const registry = new PluginRegistry({
    folder: `${folder}/plugins_registry`,
    handlers: { CSIPlugin: drivers },
    clock,
    log,
  });
  const volumes = new HostVolumes({ folder, nodeName, objects, tokens, clock, csi, log });
  return Object.assign(volumes, {
    start: async () => {
      await drivers.csiNode();
      // Sockets of the machine; where there are none, no driver can be there either.
      if (Deno.build.os !== "windows") await registry.start();
    },
    close: async () => {
      await registry.close();
      drivers.close();
    },
  });
}
