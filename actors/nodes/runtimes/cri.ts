/**
 * The CRI runtime: a container is an OCI container that containerd (or another runtime with CRI v1) runs.
 * The runtime gives pods their network and addresses by CNI, writes their logs, and keeps running what it
 * runs when this process ends: the next life takes its containers over by their labels.
 *
 * What pods and containers are to be is written by `cri_config.ts` and its neighbours; this file makes
 * them, remembers which there are, and tells their ends (`cri_watch.ts` notices them).
 */
import type { Duplex, RemoteProcess } from "../../../api/client/node_api.ts";
import { internal } from "../../../api/machinery/errors.ts";
import type { Timer } from "../../../kv/clock.ts";
import { connectRpc, failedWith, type RpcClient, RpcError } from "../../../api/client/grpc.ts";
import type { ImageFileSystem, SandboxFigures, SpaceUsed } from "../figures.ts";
import type { ContainerOf, Pod } from "../types.ts";
import { usedIn } from "../volumes/disk_usage.ts";
import {
  cgroupOf,
  CONTAINER_NAME,
  containerConfig,
  logFolderOf,
  logPathOf,
  POD_UID,
  RESTART_COUNT,
} from "./cri_config.ts";
import { CriHealth } from "./cri_health.ts";
import { CriImages, type PullSecret } from "./cri_images.ts";
import { IMAGE_GC_MS, ImageGc, spaceOf } from "./cri_image_gc.ts";
import { endOf, mountsOf, removeFolder, removeLog } from "./cri_files.ts";
import { CriLogs } from "./cri_logs.ts";
import { CONTAINER, CRI, type Cri } from "./cri_messages.ts";
import { resourcesOf } from "./cri_resources.ts";
import { CriSandboxes, type SandboxOptions } from "./cri_sandboxes.ts";
import { CriStats } from "./cri_stats.ts";
import { forwardAt, processAt } from "./cri_streams.ts";
import { CriWatch, type RuntimeState } from "./cri_watch.ts";
import { readLog } from "./logs.ts";
import { fileSystem } from "./meter.ts";
import { applyPodCgroup, podLimits } from "./pod_cgroups.ts";
import {
  type CommandEnd,
  type ContainerEnd,
  type ContainerSpec,
  type ContainerStats,
  type ExecRequest,
  type FoundContainer,
  type ImageWish,
  type LogRequest,
  type PulledImage,
  type Runtime,
  RuntimeError,
  type Sandbox,
  type SandboxAddresses,
} from "./runtime.ts";

export interface CriOptions extends SandboxOptions {
  /** Where the runtime listens: `unix:///run/containerd/containerd.sock`. */
  endpoint: string;
  /** Where what is kept of pods lies: `<folder>/pods/<uid>`. */
  folder: string;
  /** Of the machine: what scores and limits are measured by. */
  machineBytes: number;
  secret(namespace: string, name: string): Promise<PullSecret | undefined>;
  log(level: "info" | "warn" | "error", text: string, fields?: Record<string, unknown>): void;
  /** A warning about the node, as an Event. */
  warning?(reason: string, message: string): void;
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

/** How long the runtime may take to say how it is. */
const STATUS_MS_MAX = 10_000;
/** Between attempts to stop a container whose runtime does not answer. */
const STOP_RETRY_MS = 1000;
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
  readonly #health: CriHealth;
  readonly #containers = new Map<string, CriContainer>();
  readonly #sandboxes: CriSandboxes;
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
      space: async (path) => spaceOf(await fileSystem(path)),
      failed: (reason, message) => options.warning?.(reason, message),
    });
    this.#sandboxes = new CriSandboxes(client, options);
    this.#logs = new CriLogs(clock);
    this.#stats = new CriStats(client, clock);
    this.#watch = new CriWatch({ client, clock, seen: (state) => this.#seen(state) });
    this.#health = new CriHealth(clock, () => {
      // One that cannot say what runs does not answer, whatever it says of itself
      if (this.#watch.problem) return Promise.reject(this.#watch.problem);
      return client.call("Status", {}, { timeoutMs: STATUS_MS_MAX });
    });
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
  problem(): Promise<string | undefined> {
    return this.#health.problem();
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
    for (const one of sandboxes) this.#sandboxes.found(one);
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
    if (state !== CONTAINER.RUNNING) container.end = endOf(answer.status);
    // Without its sandbox it has no network, and what shares its namespaces is gone.
    else if (!ready) this.stop(container.id, 0);
    this.#containers.set(container.id, container);
  }

  /** Removes what is there of pods that are not among these. */
  async sweep(uids: ReadonlySet<string>): Promise<void> {
    for (const { uid, logs } of this.#sandboxes.all()) {
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
    return await this.#sandboxes.start(sandbox);
  }

  async stopSandbox(uid: string): Promise<void> {
    if (!this.#sandboxes.get(uid)) return;
    await this.#sandboxes.stop(uid);
    for (const one of [...this.#containers.values()]) {
      if (one.uid === uid) this.#containers.delete(one.id);
    }
    await removeFolder(`${this.#options.folder}/pods/${uid}/containers`);
  }

  watchSandboxes(lost: (uid: string) => void): void {
    this.#sandboxes.lost = lost;
  }

  /** The images of the machine, the largest first, as a node's status lists them. */
  async images(): Promise<{ names: string[]; sizeBytes: number }[]> {
    return await this.#images.list();
  }

  async create(spec: ContainerSpec): Promise<string> {
    const { pod } = spec.sandbox;
    const { uid } = pod.metadata;
    const { container, attempt } = spec;
    const sandbox = this.#sandboxes.get(uid);
    if (!sandbox?.config) throw new RuntimeError("CreateContainerError", "the pod has no sandbox");
    const mounts = (await mountsOf(spec, `${this.#options.folder}/pods`)).map((mount) => {
      const { image } = mount;
      if (!image) return mount;
      return { ...mount, image: { ...image, reference: this.#images.idOf(image.reference) } };
    });
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

  async sandboxStats(uid: string): Promise<SandboxFigures | undefined> {
    const sandbox = this.#sandboxes.get(uid);
    return sandbox && await this.#stats.ofSandbox(sandbox.id);
  }

  async logUsage(pod: Pod, container: string): Promise<SpaceUsed> {
    return await usedIn(`${this.#options.logs}/${logFolderOf(pod.metadata)}/${container}`);
  }

  /** The file system of images. `own`: another than that of `folder`. */
  async imageFs(folder: string): Promise<ImageFileSystem | undefined> {
    const { imageFilesystems = [] } = await this.#client.call("ImageFsInfo", {});
    const [{ fsId, usedBytes, inodesUsed } = {}] = imageFilesystems;
    if (!fsId?.mountpoint) return undefined;
    return {
      ...await fileSystem(fsId.mountpoint),
      usedBytes: usedBytes?.value ?? 0,
      inodesUsed: inodesUsed?.value ?? 0,
      own: (await Deno.stat(fsId.mountpoint)).dev !== (await Deno.stat(folder)).dev,
    };
  }

  async reclaim(): Promise<void> {
    await this.#imageGc.removeUnused();
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
    await this.#sandboxes.seen(sandboxes);
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
      if (status) end = endOf(status);
    } catch (error) {
      if (!failedWith(error, "NotFound")) throw error;
    }
    const { ended } = container;
    container.state = CONTAINER.EXITED;
    container.ended = undefined;
    container.end = end;
    ended?.(end);
  }

  #known(id: string): CriContainer {
    const container = this.#containers.get(id);
    if (!container) throw new RuntimeError("CreateContainerError", `no container ${id}`);
    return container;
  }
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
