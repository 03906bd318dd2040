/**
 * The sandboxes of a node's pods: makes and removes them, knows the newest of each pod, and tells when one has
 * ended by itself (its process was killed, the machine began anew).
 */
import type { Clock } from "../../../kv/clock.ts";
import { failedWith, type RpcClient } from "../../../api/client/grpc.ts";
import type { Pod } from "../types.ts";
import { cgroupOf, logFolderOf, POD_UID, sandboxConfig } from "./cri_config.ts";
import { type CRI, type Cri, SANDBOX } from "./cri_messages.ts";
import { applyPodCgroup, podLimits, removePodCgroup } from "./pod_cgroups.ts";
import type { Sandbox, SandboxAddresses } from "./runtime.ts";

export interface SandboxOptions {
  clock: Clock;
  /** Where the logs of containers lie. */
  logs: string;
  /** The handler that a pod's RuntimeClass names; empty for the runtime's own choice. */
  handler(pod: Pod): Promise<string>;
}

/** A sandbox as this process knows it. */
export interface CriSandbox {
  id: string;
  uid: string;
  /** Where its logs lie below the folder of all logs. */
  logs: string;
  attempt: number;
  createdAt: number;
  ready: boolean;
  config?: Cri<"PodSandboxConfig">;
  ips: string[];
}

/** Making a sandbox asks network plugins; pulling its image may be part of it. */
const SANDBOX_TIMEOUT_MS = 4 * 60_000;

/** See the module's text. */
export class CriSandboxes {
  readonly #client: RpcClient<typeof CRI.messages>;
  readonly #options: SandboxOptions;
  /** The newest of each pod, by the pod's uid. */
  readonly #sandboxes = new Map<string, CriSandbox>();
  /** Told the pod of a sandbox that has ended by itself. */
  lost: (uid: string) => void = () => {};

  constructor(client: RpcClient<typeof CRI.messages>, options: SandboxOptions) {
    this.#client = client;
    this.#options = options;
  }

  /** The sandbox of a pod. */
  get(uid: string): CriSandbox | undefined {
    return this.#sandboxes.get(uid);
  }

  all(): CriSandbox[] {
    return [...this.#sandboxes.values()];
  }

  /** Notes a sandbox that a former life made. */
  found({ id = "", labels, metadata, state, createdAt = 0 }: Cri<"PodSandbox">): void {
    const uid = labels?.[POD_UID];
    if (!uid) return;
    const attempt = metadata?.attempt ?? 0;
    const known = this.#sandboxes.get(uid);
    if (known && known.createdAt > createdAt) return;
    const ready = (state ?? SANDBOX.READY) === SANDBOX.READY;
    const { name = "", namespace = "" } = metadata ?? {};
    const logs = logFolderOf({ name, namespace, uid });
    this.#sandboxes.set(uid, { id, uid, logs, attempt, createdAt, ready, ips: [] });
  }

  /** Makes the sandbox of a pod, unless it is there. */
  async start(sandbox: Sandbox): Promise<SandboxAddresses> {
    const { pod } = sandbox;
    const { uid } = pod.metadata;
    const { logs } = this.#options;
    const known = this.#sandboxes.get(uid);
    if (known) {
      known.config = sandboxConfig(sandbox, { attempt: known.attempt, logs });
      if (await this.#isReady(known, pod)) return { ips: known.ips };
      await this.#end(known);
    }
    const attempt = known ? known.attempt + 1 : 0;
    const config = sandboxConfig(sandbox, { attempt, logs });
    await Deno.mkdir(config.logDirectory!, { recursive: true, mode: 0o755 });
    applyPodCgroup(cgroupOf(pod), podLimits(pod));
    const request = { config, runtimeHandler: await this.#options.handler(pod) };
    const { podSandboxId: id = "" } = await this.#client.call("RunPodSandbox", request, {
      timeoutMs: SANDBOX_TIMEOUT_MS,
    });
    const made: CriSandbox = {
      id,
      uid,
      logs: logFolderOf(pod.metadata),
      attempt,
      createdAt: this.#options.clock.now() * 1e6,
      ready: true,
      config,
      ips: [],
    };
    this.#sandboxes.set(uid, made);
    if (!await this.#isReady(made, pod)) {
      throw new Error("the sandbox ended as soon as it was made");
    }
    return { ips: made.ips };
  }

  /** Whether a sandbox is there, as its pod wants it; notes its addresses. */
  async #isReady(sandbox: CriSandbox, pod: Pod): Promise<boolean> {
    try {
      const request = { podSandboxId: sandbox.id };
      const { status } = await this.#client.call("PodSandboxStatus", request);
      sandbox.ready = (status?.state ?? SANDBOX.READY) === SANDBOX.READY;
      const { ip, additionalIps = [] } = status?.network ?? {};
      sandbox.ips = [ip, ...additionalIps.map((one) => one.ip)].filter((one) => !!one) as string[];
      return sandbox.ready && (!!pod.spec.hostNetwork || sandbox.ips.length > 0);
    } catch (error) {
      if (failedWith(error, "NotFound")) return sandbox.ready = false;
      throw error;
    }
  }

  /** Ends and removes all sandboxes of a pod, with what is in them. */
  async stop(uid: string): Promise<void> {
    const known = this.#sandboxes.get(uid);
    if (!known) return;
    const { items = [] } = await this.#client.call("ListPodSandbox", {
      filter: { labelSelector: { [POD_UID]: uid } },
    });
    for (const { id = "" } of items) await this.#end({ ...known, id });
    for (const quality of ["", "/burstable", "/besteffort"]) {
      removePodCgroup(`/kubepods${quality}/pod${uid}`);
    }
    this.#sandboxes.delete(uid);
  }

  async #end({ id }: CriSandbox): Promise<void> {
    await this.#client.call("StopPodSandbox", { podSandboxId: id });
    await this.#client.call("RemovePodSandbox", { podSandboxId: id });
  }

  /** Compares a list with what is known. */
  async seen(listed: readonly Cri<"PodSandbox">[]): Promise<void> {
    const there = new Map(listed.map((one) => [one.id, one]));
    for (const sandbox of this.all()) {
      const one = there.get(sandbox.id);
      if (!sandbox.ready || (one && (one.state ?? SANDBOX.READY) === SANDBOX.READY)) continue;
      // One that was made after the list was is not in it.
      if (await this.#stillReady(sandbox)) continue;
      sandbox.ready = false;
      if (this.#sandboxes.get(sandbox.uid) === sandbox) this.lost(sandbox.uid);
    }
  }

  async #stillReady({ id }: CriSandbox): Promise<boolean> {
    try {
      const { status } = await this.#client.call("PodSandboxStatus", { podSandboxId: id });
      return (status?.state ?? SANDBOX.READY) === SANDBOX.READY;
    } catch (error) {
      if (failedWith(error, "NotFound")) return false;
      throw error;
    }
  }
}
