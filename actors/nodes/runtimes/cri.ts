/**
 * The CRI runtime: a container is an OCI container that containerd (or another runtime with CRI v1) runs.
 * The runtime gives pods their network and addresses by CNI, writes their logs, and keeps running what it
 * runs when this process ends: the next life takes its containers over by their labels.
 *
 * What pods and containers are to be is written by `cri_config.ts` and its neighbours; this file makes
 * them, remembers which there are, and tells their ends (`cri_watch.ts` notices them).
 */
import { statfs } from "node:fs/promises";
import type { Duplex, RemoteProcess } from "../../../api/client/node_api.ts";
import { internal } from "../../../api/machinery/errors.ts";
import type { Clock, Timer } from "../../../kv/clock.ts";
import { connectRpc, failedWith, type RpcClient, RpcError } from "../grpc.ts";
import type { ContainerOf, Pod } from "../types.ts";
import {
  cgroupOf,
  CONTAINER_NAME,
  containerConfig,
  logFolderOf,
  logPathOf,
  MESSAGE_PATH,
  MESSAGE_POLICY,
  POD_UID,
  RESTART_COUNT,
  sandboxConfig,
} from "./cri_config.ts";
import { CriImages, type PullSecret } from "./cri_images.ts";
import { type DiskSpace, IMAGE_GC_MS, ImageGc } from "./cri_image_gc.ts";
import { CriLogs } from "./cri_logs.ts";
import { CONTAINER, CRI, type Cri, SANDBOX } from "./cri_messages.ts";
import { resourcesOf } from "./cri_resources.ts";
import { CriStats } from "./cri_stats.ts";
import { forwardAt, processAt } from "./cri_streams.ts";
import { CriWatch, type RuntimeState } from "./cri_watch.ts";
import { lastLines, readLog } from "./logs.ts";
import { applyPodCgroup, podLimits, removePodCgroup } from "./pod_cgroups.ts";
import {
  type CommandEnd,
  type ContainerEnd,
  type ContainerSpec,
  type ContainerStats,
  type ExecRequest,
  type FoundContainer,
  type ImageWish,
  type LogRequest,
  type Mount,
  type PulledImage,
  type Runtime,
  RuntimeError,
  type Sandbox,
  type SandboxAddresses,
} from "./runtime.ts";

export interface CriOptions {
  /** Where the runtime listens: `unix:///run/containerd/containerd.sock`. */
  endpoint: string;
  clock: Clock;
  /** Where what is kept of pods lies: `<folder>/pods/<uid>`. */
  folder: string;
  /** Where the logs of containers lie. */
  logs: string;
  /** Of the machine: what scores and limits are measured by. */
  machineBytes: number;
  secret(namespace: string, name: string): Promise<PullSecret | undefined>;
  /** The handler that a pod's RuntimeClass names; empty for the runtime's own choice. */
  handler(pod: Pod): Promise<string>;
  log(level: "info" | "warn" | "error", text: string, fields?: Record<string, unknown>): void;
  /** A warning about the node, as an Event. */
  warning?(reason: string, message: string): void;
}

/** A sandbox as this process knows it. */
interface CriSandbox {
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

/** A container as this process knows it. */
interface CriContainer {
  id: string;
  uid: string;
  sandbox: string;
  name: string;
  attempt: number;
  imageId: string;
  createdAt: number;
  state: number;
  startedAt: number;
  logPath?: string;
  /** Told once how it ended. */
  ended?: (end: ContainerEnd) => void;
  /** Known ends of containers that a former life made. */
  end?: ContainerEnd;
  stopBy?: number;
}

type Client = RpcClient<typeof CRI.messages>;

/** Making a sandbox asks network plugins; pulling its image may be part of it. */
const SANDBOX_TIMEOUT_MS = 4 * 60_000;
/** Between attempts to stop a container whose runtime does not answer. */
const STOP_RETRY_MS = 1000;
/** Of the message a container may leave behind. */
const MESSAGE_BYTES_MAX = 4096;
/** Between two looks at how logs have grown. */
const ROTATE_MS = 10_000;
const SECCOMP_FOLDER = "/var/lib/kubelet/seccomp";

/** See the module's text. */
export class CriRuntime implements Runtime {
  readonly name: string;
  readonly version: string;
  readonly real = true;
  readonly mountsImages = true;
  recursiveReadOnly = false;
  readonly addresses = true;
  readonly #options: CriOptions;
  readonly #client: Client;
  readonly #images: CriImages;
  readonly #logs: CriLogs;
  readonly #stats: CriStats;
  readonly #watch: CriWatch;
  readonly #containers = new Map<string, CriContainer>();
  /** The newest sandbox of each pod, by the pod's uid. */
  readonly #sandboxes = new Map<string, CriSandbox>();
  #lost: (uid: string) => void = () => {};
  #rotatedAt = 0;
  #closed = false;
  readonly #imageGc: ImageGc;
  #collecting: Timer | undefined;

  private constructor(options: CriOptions, client: Client, version: Cri<"VersionResponse">) {
    const { clock } = options;
    this.#options = options;
    this.#client = client;
    this.name = version.runtimeName ?? "cri";
    this.version = (version.runtimeVersion ?? "").replace(/^v/, "").replace(/~.*$/, "");
    this.#images = new CriImages({ client, clock, secret: options.secret });
    this.#imageGc = new ImageGc({
      client,
      clock,
      space: diskSpace,
      failed: (reason, message) => options.warning?.(reason, message),
    });
    this.#logs = new CriLogs(clock);
    this.#stats = new CriStats(client, clock);
    this.#watch = new CriWatch({ client, clock, seen: (state) => this.#seen(state) });
  }

  /** Connects to the runtime. Rejects with a text for people when it cannot be reached. */
  static async connect(options: CriOptions): Promise<CriRuntime> {
    const client = await connectRpc(options.endpoint, CRI, options.clock);
    try {
      return new CriRuntime(options, client, await client.call("Version", {}));
    } catch (error) {
      client.close();
      const why = error instanceof RpcError ? error.details : String(error);
      throw new Error(`Cannot reach the container runtime at ${options.endpoint}: ${why}`);
    }
  }

  /** Why the node cannot run containers now; undefined when it can. */
  async problem(): Promise<string | undefined> {
    if (this.#watch.problem) return "container runtime is down";
    try {
      const { status } = await this.#client.call("Status", {}, { timeoutMs: 10_000 });
      const bad = (status?.conditions ?? []).find((c) => !c.status);
      if (!bad) return undefined;
      const what = bad.type === "NetworkReady" ? "container runtime network" : "container runtime";
      return `${what} not ready: ${bad.type}=false reason:${bad.reason ?? ""} message:${
        bad.message ?? ""
      }`;
    } catch (error) {
      return `container runtime is down: ${(error as Error).message}`;
    }
  }

  /** Finds what a former life left, and begins to watch. Call it before anything is started. */
  async load(): Promise<void> {
    const { runtimeHandlers = [] } = await this.#client.call("Status", {});
    // The handler without a name is the one that pods have who name none.
    this.recursiveReadOnly = runtimeHandlers.find((handler) => !handler.name)?.features
      ?.recursiveReadOnlyMounts ?? false;
    const { containers = [] } = await this.#client.call("ListContainers", {});
    const { items: sandboxes = [] } = await this.#client.call("ListPodSandbox", {});
    this.#collectLater();
    for (const one of sandboxes) this.#foundSandbox(one);
    for (const one of containers) {
      // One that was made and never started is in the way of the next with its name.
      if ((one.state ?? CONTAINER.CREATED) !== CONTAINER.CREATED) await this.#foundContainer(one);
      else if (one.labels?.[POD_UID]) await this.remove(`${this.name}://${one.id}`);
    }
    this.#watch.start();
  }

  /** Removes unused images when the disk is full, now and then. */
  #collectLater(): void {
    const { clock, log } = this.#options;
    this.#collecting = clock.timer("background", IMAGE_GC_MS, () => {
      void this.#imageGc.run().catch((error) => {
        log("warn", "unused images cannot be removed", { error: String(error) });
      }).finally(() => this.#closed || this.#collectLater());
    });
  }

  #foundSandbox({ id = "", labels, metadata, state, createdAt = 0 }: Cri<"PodSandbox">): void {
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

  async #foundContainer(one: Cri<"Container">): Promise<void> {
    const { id = "", labels, annotations, podSandboxId = "", imageRef = "" } = one;
    const uid = labels?.[POD_UID];
    if (!uid) return;
    const answer = await this.#client.call("ContainerStatus", { containerId: id })
      .catch(() => undefined);
    if (!answer?.status) return;
    const { state = 0, startedAt = 0 } = answer.status;
    const ready = this.#sandboxes.get(uid)?.id === podSandboxId && this.#sandboxes.get(uid)?.ready;
    const container: CriContainer = {
      id: `${this.name}://${id}`,
      uid,
      sandbox: podSandboxId,
      name: labels?.[CONTAINER_NAME] ?? "",
      attempt: Number(annotations?.[RESTART_COUNT] ?? one.metadata?.attempt ?? 0),
      imageId: imageRef,
      createdAt: one.createdAt ?? 0,
      state,
      startedAt: startedAt / 1e6,
      logPath: answer.status.logPath,
    };
    if (state !== CONTAINER.RUNNING) container.end = this.#endOf(answer.status);
    // Without its sandbox it has no network, and what shares its namespaces is gone.
    else if (!ready) this.stop(container.id, 0);
    this.#containers.set(container.id, container);
  }

  /** Removes what is there of pods that are not among these. */
  async sweep(uids: ReadonlySet<string>): Promise<void> {
    for (const { uid, logs } of [...this.#sandboxes.values()]) {
      if (uids.has(uid)) continue;
      try {
        await this.stopSandbox(uid);
        await removeFolder(`${this.#options.logs}/${logs}`);
        await this.#removePodFolder(uid);
      } catch (error) {
        this.#options.log("warn", "a pod of a former life cannot be removed", {
          pod: uid,
          error: String(error),
        });
      }
    }
  }

  runs(): boolean {
    return true;
  }

  async pull(
    image: string,
    policy: string,
    signal: AbortSignal,
    { sandbox, fetching }: ImageWish,
  ): Promise<PulledImage> {
    return await this.#images.pull(image, policy, sandbox.pod, { signal, fetching });
  }

  async startSandbox(sandbox: Sandbox): Promise<SandboxAddresses> {
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
    const { podSandboxId: id = "" } = await this.#call("RunPodSandbox", request);
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

  async #call(method: "RunPodSandbox", request: Cri<"RunPodSandboxRequest">) {
    try {
      return await this.#client.call(method, request, { timeoutMs: SANDBOX_TIMEOUT_MS });
    } catch (error) {
      // The Event names the cause; a kubelet shows it with the code in front of it.
      throw new Error((error as Error).message);
    }
  }

  watchSandboxes(lost: (uid: string) => void): void {
    this.#lost = lost;
  }

  /** The images of the machine, the largest first, as a node's status lists them. */
  async images(): Promise<{ names: string[]; sizeBytes: number }[]> {
    return await this.#images.list();
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

  async stopSandbox(uid: string): Promise<void> {
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
    for (const one of [...this.#containers.values()]) {
      if (one.uid === uid) this.#containers.delete(one.id);
    }
    await removeFolder(`${this.#options.folder}/pods/${uid}/containers`);
  }

  async #end({ id }: CriSandbox): Promise<void> {
    await this.#client.call("StopPodSandbox", { podSandboxId: id });
    await this.#client.call("RemovePodSandbox", { podSandboxId: id });
  }

  async create(spec: ContainerSpec): Promise<string> {
    const { pod } = spec.sandbox;
    const { uid } = pod.metadata;
    const { container, attempt } = spec;
    const sandbox = this.#sandboxes.get(uid);
    if (!sandbox?.config) throw new RuntimeError("CreateContainerError", "the pod has no sandbox");
    const mounts = await this.#mounts(spec);
    const config = containerConfig({ ...spec, imageId: this.#images.idOf(spec.imageId) }, {
      mounts,
      user: this.#images.userOf(spec.imageId),
      target: this.#targetOf(pod, container),
      profiles: SECCOMP_FOLDER,
      machineBytes: this.#options.machineBytes,
    });
    const folder = sandbox.config.logDirectory!;
    await Deno.mkdir(`${folder}/${container.name}`, { recursive: true, mode: 0o755 });
    // As many dead lives as a kubelet keeps have a log: one.
    await removeLog(`${folder}/${logPathOf(container.name, attempt - 2)}`);
    // One of the same start that could not be started would be in the way.
    for (const { id, uid: pod, name, attempt: start } of [...this.#containers.values()]) {
      if (pod === uid && name === container.name && start === attempt) await this.remove(id);
    }
    let id: string;
    try {
      const request = { podSandboxId: sandbox.id, config, sandboxConfig: sandbox.config };
      ({ containerId: id = "" } = await this.#client.call("CreateContainer", request));
    } catch (error) {
      throw new RuntimeError("CreateContainerError", detailsOf(error));
    }
    const made: CriContainer = {
      id: `${this.name}://${id}`,
      uid,
      sandbox: sandbox.id,
      name: container.name,
      attempt,
      imageId: spec.imageId,
      createdAt: this.#options.clock.now() * 1e6,
      state: CONTAINER.CREATED,
      startedAt: 0,
      logPath: `${folder}/${config.logPath}`,
    };
    this.#containers.set(made.id, made);
    return made.id;
  }

  /** The volumes, and the files that a kubelet gives every container. */
  async #mounts(spec: ContainerSpec): Promise<Mount[]> {
    const { sandbox: { pod, hosts }, container, attempt } = spec;
    const folder = `${this.#options.folder}/pods/${pod.metadata.uid}/containers/${container.name}`;
    await Deno.mkdir(folder, { recursive: true });
    const mounts = spec.mounts.map((mount) => {
      const { image } = mount;
      if (!image) return mount;
      return { ...mount, image: { ...image, reference: this.#images.idOf(image.reference) } };
    });
    const taken = (path: string) => mounts.some((mount) => mount.containerPath === path);
    if (!taken("/etc/hosts")) {
      const hostPath = `${folder}/etc-hosts`;
      const text = pod.spec.hostNetwork ? await hostHosts(hosts) : hosts;
      await Deno.writeTextFile(hostPath, text);
      mounts.push({ hostPath, containerPath: "/etc/hosts", readOnly: false });
    }
    const path = container.terminationMessagePath ?? "/dev/termination-log";
    if (path) {
      const hostPath = `${folder}/message-${attempt}`;
      await Deno.writeTextFile(hostPath, "");
      await Deno.chmod(hostPath, 0o666);
      mounts.push({ hostPath, containerPath: path, readOnly: false });
    }
    return mounts;
  }

  /** The container whose processes an ephemeral one is to see. */
  #targetOf(pod: Pod, container: ContainerOf): string | undefined {
    const { targetContainerName: name } = container as { targetContainerName?: string };
    if (!name) return undefined;
    for (const one of this.#containers.values()) {
      const runs = one.state === CONTAINER.RUNNING;
      if (one.uid === pod.metadata.uid && one.name === name && runs) return bare(one.id);
    }
    throw new RuntimeError(
      "CreateContainerConfigError",
      `unable to find target container ${name}`,
    );
  }

  async start(id: string, ended: (end: ContainerEnd) => void): Promise<void> {
    const container = this.#known(id);
    try {
      await this.#client.call("StartContainer", { containerId: bare(id) });
    } catch (error) {
      // Nobody knows whether it runs: it is made again once the runtime answers.
      const unknown = ["Unavailable", "DeadlineExceeded", "Canceled"].includes(codeOf(error));
      throw new RuntimeError(unknown ? "RunContainerError" : "StartError", detailsOf(error));
    }
    container.state = CONTAINER.RUNNING;
    container.startedAt = this.#options.clock.now();
    container.ended = ended;
    this.#watch.soon();
  }

  stop(id: string, graceMs: number): void {
    const container = this.#containers.get(id);
    const { clock } = this.#options;
    const by = clock.now() + graceMs;
    if (container) {
      // A call with less time goes beside the one that waits.
      if (container.stopBy !== undefined && by >= container.stopBy) return;
      container.stopBy = by;
    }
    void this.#stop(id, by);
  }

  async #stop(id: string, by: number): Promise<void> {
    const { clock, log } = this.#options;
    while (!this.#closed) {
      const leftMs = Math.max(0, by - clock.now());
      const timeout = Math.ceil(leftMs / 1000);
      try {
        const request = { containerId: bare(id), timeout };
        await this.#client.call("StopContainer", request, { timeoutMs: leftMs + 120_000 });
        await this.#watch.look();
        return;
      } catch (error) {
        if (failedWith(error, "NotFound")) return void await this.#watch.look();
        log("warn", "a container cannot be stopped", { container: id, error: String(error) });
        await clock.sleep(STOP_RETRY_MS, { kind: "background" });
      }
    }
  }

  async resize(id: string, container: ContainerOf, pod: Pod): Promise<void> {
    applyPodCgroup(cgroupOf(pod), podLimits(pod));
    const linux = resourcesOf(pod, container, this.#options.machineBytes);
    // The kernel does not change what may be asked for at the start alone.
    delete linux.oomScoreAdj;
    await this.#client.call("UpdateContainerResources", { containerId: bare(id), linux });
  }

  async remove(id: string): Promise<void> {
    const container = this.#containers.get(id);
    this.#containers.delete(id);
    if (container?.logPath) this.#logs.forget(container.logPath);
    await this.#client.call("RemoveContainer", { containerId: bare(id) });
  }

  found(pod: Pod): FoundContainer[] {
    const newest = new Map<string, CriContainer>();
    for (const one of this.#containers.values()) {
      if (one.uid !== pod.metadata.uid || one.state === CONTAINER.CREATED) continue;
      const other = newest.get(one.name);
      if (!other || other.createdAt < one.createdAt) newest.set(one.name, one);
    }
    return [...newest.values()].map(({ name, id, attempt, imageId, startedAt, end }) => ({
      name,
      id,
      attempt,
      imageId,
      startedAt,
      end,
    }));
  }

  recover(
    _pod: Pod,
    { id }: { name: string; id: string; startedAt: number },
    ended: (end: ContainerEnd) => void,
  ): boolean {
    const container = this.#containers.get(id);
    if (!container || container.end) return false;
    container.ended = ended;
    return true;
  }

  async logs(request: LogRequest): Promise<ReadableStream<Uint8Array>> {
    const { pod, container, attempt, follow, ended, ...options } = request;
    const folder = `${this.#options.logs}/${logFolderOf(pod.metadata)}`;
    const path = `${folder}/${logPathOf(container, attempt)}`;
    return readLog(path, {
      ...options,
      ...(follow ? { follow: this.#logs.follow(path, ended) } : {}),
    });
  }

  async forget(pod: Pod): Promise<void> {
    await removeFolder(`${this.#options.logs}/${logFolderOf(pod.metadata)}`);
    await this.#removePodFolder(pod.metadata.uid);
  }

  /** Removes what is ours of a pod's folder; volumes may still be mounted in it. */
  async #removePodFolder(uid: string): Promise<void> {
    const folder = `${this.#options.folder}/pods/${uid}`;
    await removeFolder(`${folder}/containers`);
    await Deno.remove(folder).catch(() => undefined);
  }

  async exec(id: string, request: ExecRequest): Promise<RemoteProcess> {
    const { command, stdin, stdout, stderr, tty } = request;
    const streams = { stdin, stdout, stderr: stderr && !tty, tty };
    const asked = { containerId: bare(id), cmd: [...command], ...streams };
    const { url = "" } = await this.#stream(() => this.#client.call("Exec", asked));
    return await processAt(url, streams);
  }

  async attach(id: string, request: Omit<ExecRequest, "command">): Promise<RemoteProcess> {
    const { stdin, stdout, stderr, tty } = request;
    const streams = { stdin, stdout, stderr: stderr && !tty, tty };
    const asked = { containerId: bare(id), ...streams };
    const { url = "" } = await this.#stream(() => this.#client.call("Attach", asked));
    return await processAt(url, streams);
  }

  async connect(pod: Pod, port: number): Promise<Duplex> {
    const sandbox = this.#sandboxes.get(pod.metadata.uid);
    if (!sandbox) throw internal(`pod ${pod.metadata.name} has no sandbox`);
    const asked = { podSandboxId: sandbox.id, port: [port] };
    const { url = "" } = await this.#stream(() => this.#client.call("PortForward", asked));
    return await forwardAt(url, port);
  }

  async #stream<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      throw error instanceof RpcError ? internal(error.message) : error;
    }
  }

  async run(id: string, command: readonly string[], signal: AbortSignal): Promise<CommandEnd> {
    try {
      const answer = await this.#client.call(
        "ExecSync",
        { containerId: bare(id), cmd: [...command] },
        { signal },
      );
      const text = (bytes = "") => new TextDecoder().decode(Uint8Array.fromBase64(bytes));
      return {
        exitCode: answer.exitCode ?? 0,
        output: text(answer.stdout) + text(answer.stderr),
      };
    } catch (error) {
      if (signal.aborted) return { exitCode: -1, output: "" };
      return { exitCode: -1, output: "", error: (error as Error).message };
    }
  }

  async stats(id: string): Promise<ContainerStats | undefined> {
    return this.#containers.has(id) ? await this.#stats.of(bare(id)) : undefined;
  }

  /** Lets go of the runtime; what it runs runs on. */
  close(): Promise<void> {
    this.#closed = true;
    this.#collecting?.cancel();
    this.#watch.stop();
    this.#client.close();
    return Promise.resolve();
  }

  /** Compares a list with what is known. */
  async #seen({ sandboxes, containers }: RuntimeState): Promise<void> {
    const { clock } = this.#options;
    const listed = new Map(containers.map((one) => [one.id, one]));
    for (const known of [...this.#containers.values()]) {
      const state = listed.get(bare(known.id))?.state ?? CONTAINER.CREATED;
      if (!known.ended) continue;
      if (listed.has(bare(known.id)) && state === CONTAINER.RUNNING) continue;
      await this.#exited(known);
    }
    const there = new Map(sandboxes.map((one) => [one.id, one]));
    for (const sandbox of this.#sandboxes.values()) {
      const state = there.get(sandbox.id)?.state ?? SANDBOX.READY;
      if (!sandbox.ready || (there.has(sandbox.id) && state === SANDBOX.READY)) continue;
      // One that was made after the list was is not in it.
      const request = { podSandboxId: sandbox.id };
      const now = await this.#client.call("PodSandboxStatus", request).catch(() => undefined);
      if (now?.status && (now.status.state ?? SANDBOX.READY) === SANDBOX.READY) continue;
      sandbox.ready = false;
      if (this.#sandboxes.get(sandbox.uid) === sandbox) this.#lost(sandbox.uid);
    }
    if (clock.now() - this.#rotatedAt < ROTATE_MS) return;
    this.#rotatedAt = clock.now();
    for (const { id, logPath, state } of this.#containers.values()) {
      if (!logPath || state !== CONTAINER.RUNNING) continue;
      const reopen = () => this.#client.call("ReopenContainerLog", { containerId: bare(id) });
      await this.#logs.rotate(logPath, reopen);
    }
  }

  async #exited(container: CriContainer): Promise<void> {
    const { clock } = this.#options;
    let end: ContainerEnd = {
      exitCode: 137,
      reason: "ContainerStatusUnknown",
      message: "The container could not be located when the pod was terminated",
      startedAt: container.startedAt,
      finishedAt: clock.now(),
    };
    try {
      const request = { containerId: bare(container.id) };
      const { status } = await this.#client.call("ContainerStatus", request);
      if ((status?.state ?? 0) === CONTAINER.RUNNING) return;
      if (status) end = this.#endOf(status);
    } catch (error) {
      if (!failedWith(error, "NotFound")) throw error;
    }
    const { ended } = container;
    container.state = CONTAINER.EXITED;
    container.ended = undefined;
    container.end = end;
    ended?.(end);
  }

  #endOf(status: Cri<"ContainerStatus">): ContainerEnd {
    const { exitCode = 0, reason, message = "", startedAt = 0, finishedAt = 0 } = status;
    const { annotations, mounts = [], logPath } = status;
    const path = annotations?.[MESSAGE_PATH] || "/dev/termination-log";
    const file = mounts.find((mount) => mount.containerPath === path)?.hostPath;
    let left = file ? messageIn(file) : "";
    const fallback = annotations?.[MESSAGE_POLICY] === "FallbackToLogsOnError";
    if (!left && fallback && exitCode !== 0 && logPath) left = lastLines(logPath);
    const words = [message, left].filter((text) => text).join(": ");
    return {
      exitCode,
      ...(reason ? { reason } : {}),
      ...(words ? { message: words } : {}),
      startedAt: Math.floor(startedAt / 1e6),
      finishedAt: Math.floor(finishedAt / 1e6),
    };
  }

  #known(id: string): CriContainer {
    const container = this.#containers.get(id);
    if (!container) throw new RuntimeError("CreateContainerError", `no container ${id}`);
    return container;
  }
}

async function diskSpace(path: string): Promise<DiskSpace> {
  const { bsize, blocks, bavail } = await statfs(path);
  return { capacity: blocks * bsize, available: bavail * bsize };
}

/** A container's id as the runtime has it. */
function bare(id: string): string {
  return id.slice(id.indexOf("://") + 3);
}

function codeOf(error: unknown): string {
  return error instanceof RpcError ? error.code : "";
}

function detailsOf(error: unknown): string {
  return error instanceof RpcError ? error.details : (error as Error).message;
}

/** What a container wrote into its message's file: the end of it. */
function messageIn(path: string): string {
  try {
    const bytes = Deno.readFileSync(path);
    return new TextDecoder().decode(bytes.subarray(-MESSAGE_BYTES_MAX));
  } catch {
    return ""; // the pod's folder went first
  }
}

/** The machine's own hosts, and the aliases of a pod that shares its network. */
async function hostHosts(hosts: string): Promise<string> {
  const own = await Deno.readTextFile("/etc/hosts").catch(() => "127.0.0.1\tlocalhost\n");
  const aliases = hosts.indexOf("\n# Entries added by HostAliases.");
  const head = "# Kubernetes-managed hosts file (host network).\n";
  return head + own + (aliases < 0 ? "" : hosts.slice(aliases));
}

async function removeFolder(path: string): Promise<void> {
  await Deno.remove(path, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}

/** Removes a log and what was put aside of it. */
async function removeLog(path: string): Promise<void> {
  const folder = path.slice(0, path.lastIndexOf("/"));
  const name = path.slice(folder.length + 1);
  for await (const entry of Deno.readDir(folder)) {
    if (entry.name === name || entry.name.startsWith(`${name}.`)) {
      await removeFolder(`${folder}/${entry.name}`);
    }
  }
}
