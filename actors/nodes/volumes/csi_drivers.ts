/**
 * The storage drivers that have registered with a node, and what the API is told of them: the driver's name for the
 * node (an annotation), where the node lies for it (labels), and its row in the node's CSINode, by which the scheduler
 * and attachers go (pkg/volume/csi/csi_plugin.go, nodeinfomanager).
 */
import type { Client } from "../../../api/client/contract.ts";
import { ApiError, type DeepReadonly, type KubeObject } from "../../../api/machinery/types.ts";
import type { Clock } from "../../../kv/clock.ts";
import { connectRpc, type RpcClient } from "../../../api/client/grpc.ts";
import { NODES } from "../types.ts";
import { CSI, NODE_CAN } from "./csi_messages.ts";
import type { PluginHandler, PluginInfo } from "./plugin_registry.ts";

const NODE_IDS = "csi.volume.kubernetes.io/nodeid";
const CONFLICTS_MAX = 5;
/** How long a driver may take to say who it is. */
const INFO_MS_MAX = 120_000;

const CSI_NODES = { group: "storage.k8s.io", version: "v1", plural: "csinodes" } as const;

/** A driver that may be called. */
export interface Driver {
  readonly name: string;
  readonly client: RpcClient<typeof CSI.messages>;
  /** What its node service can do; asked once. */
  can(what: keyof typeof NODE_CAN): Promise<boolean>;
}

interface Registered extends Driver {
  readonly version: readonly number[];
}

/** A row of a CSINode. */
interface DriverRow {
  name: string;
  nodeID: string;
  topologyKeys: string[] | null;
  allocatable?: { count: number };
}

/** What it needs. */
export interface CsiDriversOptions {
  nodeName: string;
  client: Client;
  clock: Clock;
  /** Called when a driver has come. */
  registered?(driver: string): void;
}

/** See the module's text. */
export class CsiDrivers implements PluginHandler {
  readonly #options: CsiDriversOptions;
  readonly #drivers = new Map<string, Registered>();

  constructor(options: CsiDriversOptions) {
    this.#options = options;
  }

  get(name: string): Driver | undefined {
    return this.#drivers.get(name);
  }

  async register({ name, endpoint, versions }: PluginInfo): Promise<void> {
    const version = this.#versionOf(name, versions);
    const driver = await connect(name, endpoint, { version, clock: this.#options.clock });
    this.#drivers.get(name)?.client.close();
    this.#drivers.set(name, driver);
    try {
      const info = await driver.client.call("NodeGetInfo", {}, { timeoutMs: INFO_MS_MAX });
      if (!info.nodeId) {
        throw new Error("error adding CSI driver node info: driverNodeID must not be empty");
      }
      const segments = info.accessibleTopology?.segments ?? {};
      await this.#tellNode(name, info.nodeId, segments);
      const count = info.maxVolumesPerNode ?? 0;
      const keys = Object.keys(segments).sort();
      await this.#tellCsiNode(name, {
        name,
        nodeID: info.nodeId,
        topologyKeys: keys.length ? keys : null,
        ...(count > 0 && { allocatable: { count } }),
      });
    } catch (error) {
      this.#forget(name);
      throw error;
    }
    this.#options.registered?.(name);
  }

  async deregister({ name }: PluginInfo): Promise<void> {
    this.#forget(name);
    await this.#tellCsiNode(name, undefined);
    await this.#tellNode(name, null, {});
  }

  close(): void {
    for (const name of [...this.#drivers.keys()]) this.#forget(name);
  }

  #forget(name: string): void {
    this.#drivers.get(name)?.client.close();
    this.#drivers.delete(name);
  }

  /** The highest of the versions that is one of ours (0.x and 1.x). */
  #versionOf(name: string, versions: readonly string[]): readonly number[] {
    const fail = (why: string) =>
      new Error(`kubernetes.io/csi: RegisterPlugin for CSI driver "${name}" failed. ${why}`);
    if (versions.length === 0) {
      throw fail("Plugin returned an empty list for supported versions");
    }
    const known = versions.map((text) => text.replace(/^v/, "").split(".").map(Number))
      .filter((parts) => parts[0] <= 1 && parts.every(Number.isInteger)).sort(compare);
    const highest = known.at(-1);
    if (!highest) {
      const list = versions.map((version) => `"${version}"`).join(" ");
      throw fail(`None of the versions specified [${list}] are supported`);
    }
    const other = this.#drivers.get(name)?.version;
    if (other && compare(other, highest) >= 0) {
      throw fail(
        "Another driver with the same name is already registered with a higher supported version: " +
          `"${other.join(".")}"`,
      );
    }
    return highest;
  }

  /** The annotation holds all drivers' names for the node. */
  async #tellNode(
    driver: string,
    id: string | null,
    labels: Readonly<Record<string, string>>,
  ): Promise<void> {
    const { client, nodeName } = this.#options;
    const target = { resource: NODES, name: nodeName };
    const node = await client.get<KubeObject>(target);
    const ids = JSON.parse(node.metadata.annotations?.[NODE_IDS] ?? "{}");
    if (id === null) delete ids[driver];
    else ids[driver] = id;
    const value = Object.keys(ids).length ? JSON.stringify(ids) : null;
    await client.patch(target, {
      type: "merge",
      body: { metadata: { annotations: { [NODE_IDS]: value }, labels: { ...labels } } },
    });
  }

  async #tellCsiNode(driver: string, row: DriverRow | undefined): Promise<void> {
    const { client } = this.#options;
    for (let tries = 0;; tries++) {
      const csiNode = await this.csiNode();
      const others = (csiNode.spec.drivers ?? []) as readonly DriverRow[];
      const drivers = others.filter(({ name }) => name !== driver);
      if (row) drivers.push(row);
      const target = { resource: CSI_NODES, name: csiNode.metadata.name };
      try {
        const body = { ...csiNode, spec: { ...csiNode.spec, drivers } } as KubeObject;
        await client.update(target, body);
        return;
      } catch (error) {
        const moved = error instanceof ApiError && (error.code === 409 || error.code === 404);
        if (!moved || tries >= CONFLICTS_MAX) throw error;
      }
    }
  }

  /** The node's CSINode, made when there is none; it goes with its Node. */
  async csiNode(): Promise<DeepReadonly<KubeObject>> {
    const { client, nodeName } = this.#options;
    const target = { resource: CSI_NODES, name: nodeName };
    try {
      return await client.get<KubeObject>(target);
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 404) throw error;
    }
    const { metadata: { name, uid } } = await client.get<KubeObject>({
      resource: NODES,
      name: nodeName,
    });
    try {
      return await client.create<KubeObject>({ resource: CSI_NODES }, {
        apiVersion: "storage.k8s.io/v1",
        kind: "CSINode",
        metadata: { name, ownerReferences: [{ apiVersion: "v1", kind: "Node", name, uid }] },
        spec: { drivers: [] },
      });
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 409) throw error;
      return await client.get<KubeObject>(target);
    }
  }
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    if ((a[i] ?? 0) !== (b[i] ?? 0)) return (a[i] ?? 0) - (b[i] ?? 0);
  }
  return 0;
}

async function connect(
  name: string,
  endpoint: string,
  { version, clock }: { version: readonly number[]; clock: Clock },
): Promise<Registered> {
  const client = await connectRpc(endpoint, CSI, clock);
  let known: Promise<ReadonlySet<number>> | undefined;
  const ask = async () => {
    const { capabilities = [] } = await client.call("NodeGetCapabilities", {});
    return new Set(capabilities.map(({ rpc }) => rpc?.type ?? 0));
  };
  const can = async (what: keyof typeof NODE_CAN) => {
    known ??= ask();
    try {
      return (await known).has(NODE_CAN[what]);
    } catch (error) {
      known = undefined; // asked again next time
      throw error;
    }
  };
  return { name, version, client, can };
}
