/**
 * What a pod worker is given by its node: one object shared by all pods of the node, so that 50,000
 * of them cost no more than their own state.
 */
import type { Client } from "../../api/client/contract.ts";
import type { Logger, Recorder } from "../runtime/mod.ts";
import type { Clock } from "../../kv/clock.ts";
import type { EnvSources } from "./env.ts";
import type { FieldFacts } from "./fields.ts";
import type { VolumeFigures } from "./figures.ts";
import type { KeptLogs } from "./kept_logs.ts";
import type { KubeletMetrics } from "./kubelet_metrics.ts";
import type { Network } from "./network/network.ts";
import type { Device, Mount, Runtime } from "./runtimes/runtime.ts";
import type { ContainerOf, Pod } from "./types.ts";

/** The node as its pods see it. */
export interface NodeFacts {
  readonly name: string;
  readonly addresses: readonly string[];
  /** Where its pods get their addresses: one range of each family, none yet. */
  readonly podCIDRs: readonly string[];
  readonly allocatable: Readonly<Record<string, string>>;
  /** The DNS service, and the domain of the cluster. */
  readonly dnsIP?: string;
  readonly domain: string;
  /** The machine's own resolv.conf. */
  readonly resolv: string;
}

/** The volumes of a node's pods. */
export interface PodVolumes {
  /** Makes every volume that a container of the pod uses, or finds it as it was. Rejects with a MountError. */
  setup(pod: Pod, facts: FieldFacts): Promise<void>;
  /** Only looks whether the volumes could be made: for pods without processes. */
  check(pod: Pod): Promise<void>;
  /** Where a container sees them. Rejects with a RuntimeError `CreateContainerConfigError`. */
  mounts(
    pod: Pod,
    container: ContainerOf,
    env: ReadonlyMap<string, string>,
    runtime: Pick<Runtime, "recursiveReadOnly">,
  ): Promise<Mount[]>;
  /** The text of a file in a volume; rejects when the pod has no such volume or that no such file. */
  textIn(pod: Pod, volume: string, path: string): Promise<string>;
  /** The block volumes that a container has as devices. */
  devices(pod: Pod, container: ContainerOf): Device[];
  /** Brings configMap, secret, downwardAPI and token files up to date; resolves with ms until the next need. */
  refresh(pod: Pod, facts: FieldFacts): Promise<number | undefined>;
  teardown(pod: Pod): Promise<void>;
  /** The first of a pod's emptyDir volumes that holds more than its limit: why the pod is evicted. */
  overfull(pod: Pod): Promise<string | undefined>;
  /** What its volumes hold; those of the host's own folders and block devices are left out. */
  measure?(pod: Pod): Promise<VolumeFigures[]>;
  /** Begins to serve storage drivers: once the node is registered. */
  start?(): Promise<void>;
  /** Volumes that nobody may detach from the node, by their names in its status. */
  inUse?(): string[];
  close?(): Promise<void>;
}

/** A volume that cannot be made (yet). */
export class MountError extends Error {
  override name = "MountError";
  readonly volume: string;
  /** What the pod's Event says of it. */
  readonly event: string;
  constructor(
    volume: string,
    message: string,
    event = `MountVolume.SetUp failed for volume "${volume}" : ${message}`,
  ) {
    super(message);
    this.volume = volume;
    this.event = event;
  }
}

/** See the module's text. */
export interface WorkerPorts {
  readonly clock: Clock;
  readonly client: Client;
  readonly recorder: Recorder;
  readonly log: Logger;
  readonly runtimes: readonly Runtime[];
  readonly network: Network;
  readonly volumes?: PodVolumes;
  readonly sources: EnvSources;
  /** Dials, for probes and hooks. */
  readonly dial?: ProbeDialer;
  /** What is counted; absent where pods come in thousands. */
  readonly metrics?: KubeletMetrics;
  /** Keeps logs of pods that go; absent where pods come in thousands. */
  readonly keptLogs?: Pick<KeptLogs, "keep">;
  /** Record Events of containers; off where pods come in thousands. */
  readonly events: boolean;
}

/** How probes and hooks reach a container from outside. */
export interface ProbeDialer {
  /**
   * A GET, and those that its answer sends on to at the same host; resolves with the status, up to 10 KiB of the body,
   * and where another host is meant that location. Rejects with the cause in Go's words.
   */
  http(
    request: {
      url: string;
      /** Where to connect: the URL may name another host in its Host header. */
      hostname: string;
      port: number;
      headers: readonly (readonly [string, string])[];
      timeoutMs: number;
    },
  ): Promise<{ status: number; body: string; location?: string }>;
  tcp(hostname: string, port: number, timeoutMs: number): Promise<void>;
  grpc(hostname: string, port: number, service: string, timeoutMs: number): Promise<string>;
}
