/**
 * The controller services of storage drivers, by their sockets: what a cluster calls that makes, attaches and grows
 * their volumes itself. A driver is asked for its name and abilities once it answers; one that is away is asked again
 * whenever somebody looks for it.
 */
import type { Clock } from "../../../kv/clock.ts";
import { connectRpc, failedWith, type RpcClient } from "../../../api/client/grpc.ts";
import type { MessageOf } from "../../../api/client/grpc_messages.ts";
import { accessModeOf, CONTROLLER_CAN, CSI } from "./csi_messages.ts";

/** How long a driver may take to say who it is, and to do what it is asked. */
const ASK_MS_MAX = 2_000;
const CALL_MS_MAX = 60_000;
/** PluginCapability.Service: nodes are in places, and volumes are tied to them. */
const PLACES = 2;

type Texts = Readonly<Record<string, string>>;
type Messages = typeof CSI.messages;
type Abilities = "create" | "publish" | "expand" | "places";

interface Use {
  accessModes: readonly string[];
  block: boolean;
  fsType: string;
  mountOptions: readonly string[];
}

interface Wish extends Use {
  name: string;
  bytes: number;
  parameters: Texts;
  secrets: Texts;
  places?: readonly Texts[];
  from?: { volume: string } | { snapshot: string };
}

/** Drivers at these sockets. */
export function storageDrivers(endpoints: readonly string[], clock: Clock) {
  const sockets = endpoints.map((endpoint) => new DriverSocket(endpoint, clock));
  return {
    find: async (name: string): Promise<ControllerDriver | "unknown" | undefined> => {
      let unknown = false;
      for (const socket of sockets) {
        const driver = await socket.driver();
        if (driver?.name === name) return driver;
        unknown ||= driver === undefined;
      }
      return unknown ? "unknown" : undefined;
    },
    close: () => {
      for (const socket of sockets) socket.close();
    },
  };
}

class DriverSocket {
  readonly #endpoint: string;
  readonly #clock: Clock;
  #client: RpcClient<Messages> | undefined;
  #driver: ControllerDriver | undefined;
  #asking: Promise<ControllerDriver | undefined> | undefined;

  constructor(endpoint: string, clock: Clock) {
    this.#endpoint = endpoint;
    this.#clock = clock;
  }

  /** Undefined while it does not answer. */
  async driver(): Promise<ControllerDriver | undefined> {
    if (this.#driver) return this.#driver;
    this.#asking ??= this.#ask();
    try {
      return this.#driver = await this.#asking;
    } finally {
      this.#asking = undefined;
    }
  }

  async #ask(): Promise<ControllerDriver | undefined> {
    const client = this.#client = await connectRpc(this.#endpoint, CSI, this.#clock);
    const timeoutMs = ASK_MS_MAX;
    try {
      const { name = "" } = await client.call("GetPluginInfo", {}, { timeoutMs });
      const can = new Set<Abilities>();
      const plugin = await client.call("GetPluginCapabilities", {}, { timeoutMs });
      if (plugin.capabilities?.some(({ service }) => service?.type === PLACES)) can.add("places");
      const { capabilities = [] } = await client.call("ControllerGetCapabilities", {}, {
        timeoutMs,
      });
      const types = new Set(capabilities.map(({ rpc }) => rpc?.type));
      for (const what of ["create", "publish", "expand"] as const) {
        if (types.has(CONTROLLER_CAN[what])) can.add(what);
      }
      return new ControllerDriver(name, client, {
        can,
        precise: types.has(CONTROLLER_CAN.multiWriter),
      });
    } catch {
      // It is not there yet; whoever looks asks again, without the pauses of a connection that failed.
      client.close();
      return undefined;
    }
  }

  close(): void {
    this.#client?.close();
  }
}

/** A driver that answers. */
export class ControllerDriver {
  readonly name: string;
  readonly #client: RpcClient<Messages>;
  readonly #can: ReadonlySet<Abilities>;
  readonly #precise: boolean;

  constructor(
    name: string,
    client: RpcClient<Messages>,
    { can, precise }: { can: ReadonlySet<Abilities>; precise: boolean },
  ) {
    this.name = name;
    this.#client = client;
    this.#can = can;
    this.#precise = precise;
  }

  can(what: Abilities): Promise<boolean> {
    return Promise.resolve(this.#can.has(what));
  }

  #capability(
    { block, fsType, mountOptions }: Use,
    mode: string,
  ): MessageOf<Messages, "VolumeCapability"> {
    const accessMode = { mode: accessModeOf(mode, this.#precise) };
    if (block) return { block: {}, accessMode };
    return { mount: { fsType, mountFlags: [...mountOptions] }, accessMode };
  }

  #first(use: Use): MessageOf<Messages, "VolumeCapability"> {
    return this.#capability(use, use.accessModes[0] ?? "ReadWriteOnce");
  }

  async create(wish: Wish) {
    const { name, bytes, parameters, secrets, places, from, accessModes } = wish;
    const wishedPlaces = places?.map((segments) => ({ segments: { ...segments } }));
    const { volume } = await this.#client.call("CreateVolume", {
      name,
      capacityRange: { requiredBytes: bytes },
      capabilities: accessModes.map((mode) => this.#capability(wish, mode)),
      parameters: { ...parameters },
      secrets: { ...secrets },
      ...(from && {
        contentSource: "volume" in from
          ? { volume: { volumeId: from.volume } }
          : { snapshot: { snapshotId: from.snapshot } },
      }),
      ...(wishedPlaces?.length && {
        accessibility: { requisite: wishedPlaces, preferred: wishedPlaces },
      }),
    }, { timeoutMs: CALL_MS_MAX });
    if (!volume?.volumeId) throw new Error(`driver ${this.name} answered without a volume`);
    if (from && !volume.contentSource) {
      // It made an empty one instead: that must not pass for a copy.
      await this.delete(volume.volumeId, secrets);
      throw new Error("volume content source missing");
    }
    const has = volume.capacityBytes ?? 0;
    if (has > 0 && has < bytes) {
      await this.delete(volume.volumeId, secrets);
      throw new Error(
        `created volume capacity ${has} less than requested capacity ${bytes}`,
      );
    }
    return {
      handle: volume.volumeId,
      bytes: has,
      context: volume.volumeContext ?? {},
      places: (volume.accessibleTopology ?? []).map(({ segments }) => segments ?? {}),
    };
  }

  async delete(handle: string, secrets: Texts): Promise<void> {
    const request = { volumeId: handle, secrets: { ...secrets } };
    await this.#client.call("DeleteVolume", request, { timeoutMs: CALL_MS_MAX });
  }

  async attach(
    volume: { handle: string; use: Use; readOnly: boolean; context: Texts; secrets: Texts },
    node: string,
  ): Promise<Record<string, string>> {
    const { handle, use, readOnly, context, secrets } = volume;
    const { publishContext = {} } = await this.#client.call("ControllerPublishVolume", {
      volumeId: handle,
      nodeId: node,
      capability: this.#first(use),
      readonly: readOnly,
      secrets: { ...secrets },
      volumeContext: { ...context },
    }, { timeoutMs: CALL_MS_MAX });
    return publishContext;
  }

  async detach(handle: string, node: string, secrets: Texts): Promise<void> {
    const request = { volumeId: handle, nodeId: node, secrets: { ...secrets } };
    try {
      await this.#client.call("ControllerUnpublishVolume", request, { timeoutMs: CALL_MS_MAX });
    } catch (error) {
      // A volume that is no more is attached to nothing.
      if (!failedWith(error, "NotFound")) throw error;
    }
  }

  async expand(
    { handle, use, secrets }: { handle: string; use: Use; secrets: Texts },
    bytes: number,
  ): Promise<{ bytes: number; onNode: boolean }> {
    const { capacityBytes = 0, nodeExpansionRequired = false } = await this.#client.call(
      "ControllerExpandVolume",
      {
        volumeId: handle,
        capacityRange: { requiredBytes: bytes },
        capability: this.#first(use),
        secrets: { ...secrets },
      },
      { timeoutMs: CALL_MS_MAX },
    );
    return { bytes: capacityBytes, onNode: nodeExpansionRequired };
  }
}
