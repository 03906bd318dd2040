/**
 * What a node needs of whatever runs containers. A runtime knows containers, not pods' policies: when
 * to start, restart or stop is decided by the pod worker, which is the same for all runtimes.
 *
 * Methods may answer at once or with a promise; a runtime that never waits (`simulated`) makes a pod
 * Running within one turn. `start` reports the end of a container through a callback, once.
 */
import type { Duplex, RemoteProcess } from "../../../api/client/node_api.ts";
import type { SandboxFigures, SpaceUsed } from "../figures.ts";
import type { ContainerOf, Pod } from "../types.ts";

/** A value now or later. */
export type Soon<T> = T | Promise<T>;

/**
 * A directory or file of the host that a container sees at a path of its own. A CRI runtime gets all of it: `name` is
 * ours alone, `propagation` is CRI's mount propagation (`None`: private), and with `image` the runtime mounts that
 * image (its `subPath` in it) and `hostPath` is empty.
 */
export interface Mount {
  hostPath: string;
  containerPath: string;
  readOnly: boolean;
  /** The pod's volume; absent for what the node adds itself. */
  name?: string;
  /** Which mounts made later are seen on the other side (`None`). */
  propagation?: "None" | "HostToContainer" | "Bidirectional";
  /** Read-only holds for what is mounted below it, too; asked only of runtimes that can. */
  recursiveReadOnly?: boolean;
  /** An image instead of a path of the host. */
  image?: { reference: string; subPath?: string; pullPolicy?: string };
}

/** A block device of the host that a container has at a path of its own (`volumeDevices`). */
export interface Device {
  hostPath: string;
  containerPath: string;
  /** As CRI writes it: `r`, or `mrw` (read, write, make nodes). */
  permissions: string;
}

/** What all containers of a pod share. */
export interface Sandbox {
  pod: Pod;
  ips: readonly string[];
  hostname: string;
  /** The contents of /etc/hosts and /etc/resolv.conf. */
  hosts: string;
  resolv: string;
}

/** What a runtime that gives pods their addresses says of a sandbox; none where the pod has its node's. */
export interface SandboxAddresses {
  ips: readonly string[];
}

/** Who an image's programs run as unless the pod says: a number, a name, or neither (root). */
export interface ImageOwner {
  uid?: number;
  name?: string;
}

/** A container to be created. */
export interface ContainerSpec {
  sandbox: Sandbox;
  container: ContainerOf;
  kind: ContainerKind;
  /** 0 for the first start; becomes `restartCount`. */
  attempt: number;
  env: ReadonlyMap<string, string>;
  /** Command and args after expansion; undefined where the image decides. */
  command?: readonly string[];
  args?: readonly string[];
  mounts: readonly Mount[];
  /** Block volumes (none). */
  devices?: readonly Device[];
  imageId: string;
}

export type ContainerKind = "init" | "sidecar" | "app" | "ephemeral";

/** How a container ended. */
export interface ContainerEnd {
  exitCode: number;
  signal?: number;
  /** `Completed`, `Error`, `OOMKilled`, `StartError`; the worker derives it from the code when absent. */
  reason?: string;
  message?: string;
  /** Milliseconds since 1970. */
  startedAt: number;
  finishedAt: number;
}

/** An image that is ready to use. */
export interface PulledImage {
  imageId: string;
  /** False when it had to be fetched; then how long that took. */
  present: boolean;
  tookMs?: number;
  sizeBytes?: number;
  /** Absent where images have no users. */
  user?: ImageOwner;
}

/** A container that a former life of the node made, as the runtime has it. */
export interface FoundContainer {
  name: string;
  id: string;
  attempt: number;
  imageId: string;
  startedAt: number;
  /** How it ended; absent while it runs. */
  end?: ContainerEnd;
}

/** A container that needs an image: what is known of it before it is made. */
export type ImageUser = Pick<ContainerSpec, "sandbox" | "container" | "kind" | "attempt">;

/** A wish for an image. */
export interface ImageWish extends ImageUser {
  /** Called when the image is not there and has to be fetched. */
  fetching(): void;
}

/** Why a container cannot be pulled, created or started: the reason goes into its waiting state. */
export class RuntimeError extends Error {
  override name = "RuntimeError";
  readonly reason: string;
  constructor(reason: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** A pull that the policy forbids, of an image that is not there. */
export function neverPulled(image: string): RuntimeError {
  return new RuntimeError(
    "ErrImageNeverPull",
    `Container image "${image}" is not present with pull policy of Never`,
  );
}

/** What a container uses now. */
export interface ContainerStats {
  /** Total CPU time in nanoseconds. */
  cpuNanoseconds: number;
  /** Rate over the last window, in billionths of a core. */
  cpuNanoCores: number;
  memoryBytes: number;
  workingSetBytes: number;
  /** The rest is told only by runtimes that know it. */
  rssBytes?: number;
  pageFaults?: number;
  majorPageFaults?: number;
  /** What is left of its limit. */
  availableBytes?: number;
  swapBytes?: number;
  swapAvailableBytes?: number;
  /** What it has written that is no volume's. */
  rootfs?: SpaceUsed;
}

/** Which log of a container, already resolved to an attempt. */
export interface LogRequest {
  pod: Pod;
  container: string;
  attempt: number;
  follow: boolean;
  timestamps: boolean;
  sinceMs?: number;
  tailLines?: number;
  limitBytes?: number;
  stream: "All" | "Stdout" | "Stderr";
  /** Resolves when the container will write no more. */
  ended: Promise<void>;
}

/** How a process is run in a container. */
export interface ExecRequest {
  command: readonly string[];
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  tty: boolean;
}

/** How a command ended, with both of its streams. `error`: it could not be run. */
export interface CommandEnd {
  exitCode: number;
  output: string;
  error?: string;
}

/** See the module's text. */
export interface Runtime {
  /** The scheme of container ids and of `containerRuntimeVersion`. */
  readonly name: string;
  readonly version: string;
  /** True when containers are processes: volumes, probes and hooks are then done for them. */
  readonly real: boolean;
  /** It can make mounts read-only with all that is mounted below them (false). */
  readonly recursiveReadOnly?: boolean;
  /** It can show images to containers as volumes (false); it pulls them as any other. */
  readonly mountsImages?: boolean;
  /** Whether it can run an image. */
  runs(image: string): boolean;
  /** Rejects with a RuntimeError when there is no such image. `of` is the container that it is for. */
  pull(image: string, policy: string, signal: AbortSignal, of: ImageWish): Soon<PulledImage>;
  /** Whether `startSandbox` gives pods their addresses; else the node's network does. */
  readonly addresses?: boolean;
  /** May be called again for a sandbox that is there. */
  startSandbox(sandbox: Sandbox): Soon<SandboxAddresses | void>;
  stopSandbox(uid: string): Soon<void>;
  /** `lost` is called when the sandbox of a pod (its uid) has ended without having been stopped. */
  watchSandboxes?(lost: (uid: string) => void): void;
  /** Returns the container's id, `<name>://<hex>`. */
  create(spec: ContainerSpec): Soon<string>;
  /** Starts a created container; `ended` is called once, when it has ended. */
  start(id: string, ended: (end: ContainerEnd) => void): Soon<void>;
  /** Signals it, and kills it when it is still there after the grace period. May be called again with less. */
  stop(id: string, graceMs: number, signal?: string): void;
  /** Other limits for a container that runs; throws when they cannot be had. Absent: they mean nothing here. */
  resize?(id: string, container: ContainerOf, pod: Pod): Soon<void>;
  /** Forgets an ended container. Its log stays. */
  remove(id: string): Soon<void>;
  /** The newest container of each name that a former life made of a pod; absent: statuses are all that is known. */
  found?(pod: Pod): FoundContainer[];
  /** Takes over a container that ran in a former life of the node; false when it is gone. */
  recover(
    pod: Pod,
    status: { name: string; id: string; startedAt: number },
    ended: (end: ContainerEnd) => void,
  ): boolean;
  logs(request: LogRequest): Promise<ReadableStream<Uint8Array>>;
  /** Removes what is kept of a pod after its containers, logs included. */
  forget(pod: Pod): Soon<void>;
  exec(id: string, request: ExecRequest): Promise<RemoteProcess>;
  /** Runs a command to its end, for probes and hooks; absent: by `exec`. Aborting kills it. */
  run?(id: string, command: readonly string[], signal: AbortSignal): Promise<CommandEnd>;
  attach(id: string, request: Omit<ExecRequest, "command">): Promise<RemoteProcess>;
  connect(pod: Pod, port: number): Promise<Duplex>;
  stats(id: string): Soon<ContainerStats | undefined>;
  /** What a pod's sandbox knows beyond its containers. */
  sandboxStats?(uid: string): Soon<SandboxFigures | undefined>;
  /** What the logs of a container take. */
  logUsage?(pod: Pod, container: string): Promise<SpaceUsed>;
  /** Removes images that nobody uses: the disk is full. (Containers of pods that are over are not kept anyway.) */
  reclaim?(): Promise<void>;
  /** Ends everything it runs. */
  close(): Promise<void>;
}
