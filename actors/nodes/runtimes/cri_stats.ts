/** What containers use, as their runtime measures it: one list for all of them, kept for a moment. */
import type { Clock } from "../../../kv/clock.ts";
import type { SandboxFigures } from "../figures.ts";
import type { RpcClient } from "../../../api/client/grpc.ts";
import type { CRI, Cri } from "./cri_messages.ts";
import type { ContainerStats } from "./runtime.ts";

/** How long a list is good for: one read of a node's usage asks for each of its containers. */
const KEPT_MS = 1000;

/** See the module's text. */
export class CriStats {
  readonly #client: RpcClient<typeof CRI.messages>;
  readonly #clock: Clock;
  readonly #lists = new Map<string, { at: number; list: Promise<Map<string, unknown>> }>();
  /** The CPU time of each container when it was looked at before, for runtimes that tell no rate. */
  #before = new Map<string, { at: number; cpu: number }>();

  constructor(client: RpcClient<typeof CRI.messages>, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  /** Of one container; undefined when it is not there, or the runtime does not answer. */
  async of(id: string): Promise<ContainerStats | undefined> {
    return (await this.#kept("containers", () => this.#read())).get(id);
  }

  /** Of one sandbox; undefined when it is not there, or the runtime does not know such. */
  async ofSandbox(id: string): Promise<SandboxFigures | undefined> {
    return (await this.#kept("sandboxes", () => this.#readSandboxes())).get(id);
  }

  async #kept<T>(of: string, read: () => Promise<Map<string, T>>): Promise<Map<string, T>> {
    const at = this.#clock.now();
    let kept = this.#lists.get(of);
    if (!kept || at - kept.at > KEPT_MS) {
      this.#lists.set(of, kept = { at, list: read().catch(() => new Map()) });
    }
    return await kept.list as Map<string, T>;
  }

  async #readSandboxes(): Promise<Map<string, SandboxFigures>> {
    const { stats = [] } = await this.#client.call("ListPodSandboxStats", {});
    const all = new Map<string, SandboxFigures>();
    for (const { attributes, linux } of stats) {
      if (!attributes?.id || !linux) continue;
      const { network, process } = linux;
      const more = network?.interfaces ?? [];
      const interfaces = network?.defaultInterface ? [network.defaultInterface, ...more] : more;
      all.set(attributes.id, {
        interfaces: interfaces.map(({ name = "", rxBytes, rxErrors, txBytes, txErrors }) => ({
          name,
          rxBytes: rxBytes?.value ?? 0,
          rxErrors: rxErrors?.value ?? 0,
          txBytes: txBytes?.value ?? 0,
          txErrors: txErrors?.value ?? 0,
        })),
        processes: process?.processCount?.value,
      });
    }
    return all;
  }

  async #read(): Promise<Map<string, ContainerStats>> {
    const { stats = [] } = await this.#client.call("ListContainerStats", {});
    const all = new Map<string, ContainerStats>();
    const before = new Map<string, { at: number; cpu: number }>();
    for (const one of stats) {
      const id = one.attributes?.id;
      if (!id || !one.cpu) continue;
      all.set(id, this.#statsOf(id, one));
      before.set(id, { at: one.cpu.timestamp ?? 0, cpu: one.cpu.usageCoreNanoSeconds?.value ?? 0 });
    }
    this.#before = before;
    return all;
  }

  #statsOf(
    id: string,
    { cpu, memory, writableLayer, swap }: Cri<"ContainerStats">,
  ): ContainerStats {
    const total = cpu?.usageCoreNanoSeconds?.value ?? 0;
    const last = this.#before.get(id);
    const elapsed = last ? (cpu?.timestamp ?? 0) - last.at : 0;
    const rate = elapsed > 0 ? (total - last!.cpu) / elapsed * 1e9 : 0;
    const workingSet = memory?.workingSetBytes?.value ?? 0;
    return {
      cpuNanoseconds: total,
      cpuNanoCores: cpu?.usageNanoCores?.value ?? Math.max(0, rate),
      memoryBytes: memory?.usageBytes?.value ?? workingSet,
      workingSetBytes: workingSet,
      rssBytes: memory?.rssBytes?.value,
      pageFaults: memory?.pageFaults?.value,
      majorPageFaults: memory?.majorPageFaults?.value,
      availableBytes: memory?.availableBytes?.value || undefined,
      swapBytes: swap?.swapUsageBytes?.value,
      swapAvailableBytes: swap?.swapAvailableBytes?.value,
      rootfs: writableLayer && {
        usedBytes: writableLayer.usedBytes?.value ?? 0,
        inodesUsed: writableLayer.inodesUsed?.value ?? 0,
      },
    };
  }
}
