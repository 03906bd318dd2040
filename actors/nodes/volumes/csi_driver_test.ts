/**
 * A small storage driver for tests: a folder for each volume, bound where it is to be staged and published. It serves
 * CSI and the kubelet's registration at sockets of its own, and remembers what it was asked.
 */
import { Buffer } from "node:buffer";
import { Server } from "@grpc/grpc-js";
import { fromProtobuf, toProtobuf } from "../../../api/machinery/protobuf.ts";
import { bufferOf, type RpcFacts } from "../../../api/client/grpc.ts";
import { type MessageFacts, schemasOf } from "../../../api/client/grpc_messages.ts";
import { listenAt } from "../../../api/client/grpc_server_test.ts";
import { CONTROLLER_CAN, CSI, NODE_CAN, REGISTRATION } from "./csi_messages.ts";
import { hostMounts } from "./kernel.ts";

type Handler = (request: any) => object | Promise<object>;

/** Codes of gRPC that it answers with. */
export const NOT_FOUND = 5;

/** An answer that is an error. */
export class Refusal extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** Serves methods at a socket. */
async function serve(
  path: string,
  facts: RpcFacts<MessageFacts>,
  handlers: Readonly<Record<string, Handler>>,
): Promise<Server> {
  const schemas = schemasOf(facts.messages);
  const server = new Server();
  for (const [service, methods] of Object.entries(facts.services)) {
    const definitions: Record<string, object> = {};
    const answers: Record<string, unknown> = {};
    for (const method of methods) {
      const { request, response } = facts.names?.[method] ??
        { request: `${method}Request`, response: `${method}Response` };
      definitions[method] = {
        path: `/${service}/${method}`,
        requestStream: false,
        responseStream: false,
        requestSerialize: () => Buffer.alloc(0),
        requestDeserialize: (bytes: Uint8Array) => fromProtobuf(schemas, request, bytes),
        responseSerialize: (m: object) => bufferOf(toProtobuf(schemas, response, m)),
        responseDeserialize: (bytes: Uint8Array) => bytes,
      };
      answers[method] = async (call: { request: object }, done: (...all: unknown[]) => void) => {
        try {
          const handler = handlers[method];
          if (!handler) throw new Refusal(12, `method ${method} not implemented`);
          done(null, await handler(call.request));
        } catch (error) {
          const { code = 13, message } = error as Refusal;
          done({ code, details: message });
        }
      };
    }
    server.addService(definitions as never, answers as never);
  }
  await listenAt(path, server);
  return server;
}

/** What it is like. */
export interface TestDriverOptions {
  name?: string;
  /** Where its sockets and volumes lie. */
  folder: string;
  /** The kubelet's folder of registrations. */
  registry?: string;
  nodeCan?: readonly (keyof typeof NODE_CAN)[];
  controllerCan?: readonly (keyof typeof CONTROLLER_CAN)[];
  segments?: Record<string, string>;
}

/** See the module's text. */
export class TestDriver {
  readonly name: string;
  /** `Method {request}`, in order; `Node…` and controller calls alike. */
  readonly calls: { method: string; request: any }[] = [];
  /** Methods that fail, with what they say. */
  readonly fails = new Map<string, Refusal>();
  /** What the kubelet said of its registration. */
  readonly statuses: { pluginRegistered?: boolean; error?: string }[] = [];
  readonly volumes = new Map<string, { name: string; bytes: number }>();
  readonly #options: TestDriverOptions;
  readonly #servers: Server[] = [];

  constructor(options: TestDriverOptions) {
    this.#options = options;
    this.name = options.name ?? "test.csi.example";
  }

  get socket(): string {
    return `${this.#options.folder}/csi.sock`;
  }

  /** The names of the methods that were called, without those that only ask. */
  methods(): string[] {
    return this.calls.map(({ method }) => method)
      .filter((method) => !/Capabilities|Probe|Info/.test(method));
  }

  /** The last request of a method. */
  last(method: string): any {
    return this.calls.findLast((call) => call.method === method)?.request;
  }

  async start(versions = ["1.0.0"]): Promise<void> {
    const { folder, registry } = this.#options;
    await Deno.mkdir(`${folder}/disks`, { recursive: true });
    const handlers: Record<string, Handler> = {};
    for (const [method, handler] of Object.entries(this.#handlers())) {
      handlers[method] = async (request) => {
        this.calls.push({ method, request });
        const failure = this.fails.get(method);
        if (failure) throw failure;
        return await handler(request);
      };
    }
    this.#servers.push(await serve(this.socket, CSI, handlers));
    if (!registry) return;
    const endpoint = this.socket;
    const info = { type: "CSIPlugin", name: this.name, endpoint, supportedVersions: versions };
    this.#servers.push(
      await serve(`${registry}/${this.name}-reg.sock`, REGISTRATION, {
        GetInfo: () => info,
        NotifyRegistrationStatus: (status) => {
          this.statuses.push(status);
          return {};
        },
      }),
    );
  }

  async stop(): Promise<void> {
    for (const server of this.#servers.splice(0)) server.forceShutdown();
    const { registry } = this.#options;
    for (const path of [this.socket, registry && `${registry}/${this.name}-reg.sock`]) {
      if (path) await Deno.remove(path).catch(() => {});
    }
  }

  disk(id: string): string {
    return `${this.#options.folder}/disks/${id}`;
  }

  #handlers(): Record<string, Handler> {
    const { nodeCan = ["stage", "expand"], controllerCan, segments } = this.#options;
    const list = (types: readonly number[]) => ({
      capabilities: types.map((type) => ({ rpc: { type } })),
    });
    return {
      Probe: () => ({ ready: { value: true } }),
      GetPluginInfo: () => ({ name: this.name, vendorVersion: "1" }),
      GetPluginCapabilities: () => ({
        capabilities: [{ service: { type: 1 } }, ...segments ? [{ service: { type: 2 } }] : []],
      }),
      NodeGetInfo: () => ({
        nodeId: "node-of-driver",
        maxVolumesPerNode: 7,
        ...(segments && { accessibleTopology: { segments } }),
      }),
      NodeGetCapabilities: () => list(nodeCan.map((what) => NODE_CAN[what])),
      NodeStageVolume: ({ volumeId, stagingTargetPath }) => this.#bind(volumeId, stagingTargetPath),
      NodeUnstageVolume: ({ stagingTargetPath }) => this.#unbind(stagingTargetPath),
      NodePublishVolume: async ({ volumeId, targetPath, capability }) => {
        if (!capability.block) return await this.#bind(volumeId, targetPath);
        await Deno.writeFile(targetPath, new Uint8Array());
        return {};
      },
      NodeUnpublishVolume: async ({ targetPath }) => {
        await this.#unbind(targetPath);
        await Deno.remove(targetPath).catch(() => {});
        return {};
      },
      NodeGetVolumeStats: () => ({
        usage: [
          { unit: 1, total: 5000, available: 3000, used: 2000 },
          { unit: 2, total: 50, available: 30, used: 20 },
        ],
      }),
      NodeExpandVolume: ({ capacityRange }) => ({ capacityBytes: capacityRange.requiredBytes }),
      ...(controllerCan && this.#controller(list(controllerCan.map((one) => CONTROLLER_CAN[one])))),
    };
  }

  #controller(capabilities: object): Record<string, Handler> {
    const { segments } = this.#options;
    return {
      ControllerGetCapabilities: () => capabilities,
      CreateVolume: ({ name, capacityRange, contentSource }) => {
        const volumeId = `id-${name}`;
        const bytes = capacityRange?.requiredBytes ?? 1024;
        this.volumes.set(volumeId, { name, bytes });
        return {
          volume: {
            volumeId,
            capacityBytes: bytes,
            volumeContext: { from: "driver" },
            contentSource,
            ...(segments && { accessibleTopology: [{ segments }] }),
          },
        };
      },
      DeleteVolume: ({ volumeId }) => {
        this.volumes.delete(volumeId);
        return {};
      },
      ControllerPublishVolume: ({ nodeId }) => ({ publishContext: { device: `/dev/${nodeId}` } }),
      ControllerUnpublishVolume: () => ({}),
      ControllerExpandVolume: ({ volumeId, capacityRange }) => {
        this.volumes.get(volumeId)!.bytes = capacityRange.requiredBytes;
        return { capacityBytes: capacityRange.requiredBytes, nodeExpansionRequired: true };
      },
    };
  }

  async #bind(id: string, target: string): Promise<object> {
    await Deno.mkdir(this.disk(id), { recursive: true });
    await Deno.mkdir(target, { recursive: true });
    const mounts = hostMounts()!;
    if (!mounts.under(target).length) mounts.bind(this.disk(id), target);
    return {};
  }

  async #unbind(target: string): Promise<object> {
    hostMounts()!.unmount(target);
    return await Promise.resolve({});
  }
}
