/** What containers use, as their runtime measures it: one list for all of them, kept for a moment. */
import type { Clock } from "../../../kv/clock.ts";
import type { RpcClient } from "../grpc.ts";
import type { CRI, Cri } from "./cri_messages.ts";
import type { ContainerStats } from "./runtime.ts";

/** How long a list is good for: one read of a node's usage asks for each of its containers. */
const KEPT_MS = 1000;

/** See the module's text. */
export class CriStats {
  readonly #client: RpcClient<typeof CRI.messages>;
  readonly #clock: Clock;
  #list: Promise<Map<string, ContainerStats>> | undefined;
  #listedAt = 0;
  /** The CPU time of each container when it was looked at before, for runtimes that tell no rate. */
  #before = new Map<string, { at: number; cpu: number }>();

  constructor(client: RpcClient<typeof CRI.messages>, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  /** Of one container; undefined when it is not there, or the runtime does not answer. */
  async of(id: string): Promise<ContainerStats | undefined> {
    const now = this.#clock.now();
    if (!this.#list || now - this.#listedAt > KEPT_MS) {
      this.#listedAt = now;
      this.#list = this.#read().catch(() => new Map());
    }
    return (await this.#list).get(id);
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

  #statsOf(id: string, { cpu, memory }: Cri<"ContainerStats">): ContainerStats {
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
    };
  }
}
