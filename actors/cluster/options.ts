/** What a cluster is started with, and who acts in it. */
import type { ControllerPorts, SchedulerOptions } from "../mod.ts";
import type { ContainerRuntimeOptions, KubeletOptions, ProxyMode } from "../nodes/mod.ts";
import type { Logger } from "../runtime/mod.ts";
import type { User } from "../../api/client/contract.ts";
import type { Outbound } from "../../api/client/outbound.ts";
import { COMPONENTS } from "../../api/config/flags.ts";
import type { ServerOptions } from "../../api/config/server.ts";
import type { Moment } from "../../api/plesio/mod.ts";
import type { Clock } from "../../kv/mod.ts";

/** The administrator: what a cluster's own kubeconfig and `cluster.client` act as. */
export const ADMIN: User = {
  name: "kubernetes-admin",
  groups: ["system:masters", "system:authenticated"],
};

/** The API server itself. */
export const SERVER: User = {
  name: "system:apiserver",
  groups: ["system:masters", "system:authenticated"],
};

/** What a cluster is started with. */
export interface ClusterOptions extends ServerOptions {
  /** Nodes (default 2). */
  nodes?: number;
  /** What runs their pods (default `simulated`; `auto`: isolates for what they can run). */
  runtime?: "auto" | "isolate" | "simulated";
  /** A container runtime of this machine, which runs the first node's pods (default: none is touched). */
  containerRuntime?: ContainerRuntimeOptions;
  /** Where the first real node lies (default: in `data`): a kubelet's root directory. */
  rootDir?: string;
  /** What nodes with processes of their own are told: manifests, eviction, shutdown. */
  kubelet?: KubeletOptions;
  /** Sockets of storage drivers whose volumes this cluster makes, attaches and grows itself (none). */
  csiControllerSockets?: readonly string[];
  /** A folder for everything durable (default: nothing is, all lives in memory). */
  data?: string;
  /** A database that several processes share: its URL, or a handle, the cluster's from then on (default: in `data`). */
  kv?: string | Deno.Kv;
  /** What the nodes' names begin with (`plesio`): no two processes of a cluster share one. */
  nodePrefix?: string;
  /** `manual` (default: time moves by `clock.advance` and `settle` alone), `real`, or a clock of your own. */
  clock?: "manual" | "real" | Clock;
  /** Seed of a manual clock's chance, and the time it begins with (in ms; default 2026-01-01). */
  seed?: number;
  startMs?: number;
  /** Whether it has what tests ask for: `cluster.kit`, and over HTTP (default no, and then it costs nothing). */
  testKit?: boolean;
  /** Which parts run (default all). `api` alone is what envtest gives. */
  components?: readonly Component[];
  /** Which controllers run: a list of `*`, `name`, `-name` (default `*`). */
  controllers?: string;
  /** What controllers are told: kube-controller-manager's settings, and how many objects each is at work on at once. */
  controllerOptions?: Pick<ControllerPorts, "settings" | "workers">;
  /** What the scheduler is told: a KubeSchedulerConfiguration's fields, and plugins of your own. */
  scheduler?: Omit<SchedulerOptions, "view" | "outbound" | "load">;
  /** Zones of a local cloud provider, which tells nodes where they are (default: there is none). */
  cloudZones?: readonly string[];
  /** How services are proxied (default: by rules of the kernel where there is a container runtime, else by sockets). */
  proxyMode?: ProxyMode;
  /** Addresses of load balancers, which a machine of Linux takes as root (default: the last /24 of the services' range). */
  loadBalancerPool?: string;
  /** Whether the Gateway API's kinds are made (default no); the L7 proxy serves them wherever they are. */
  gatewayApi?: boolean;
  /** A snapshot to begin with. */
  snapshot?: Uint8Array;
  /** Hard bound of the database, in bytes. */
  bytesMax?: number;
  /** Labels of the i-th node. */
  nodeLabels?: (index: number) => Record<string, string>;
  /** Reaches webhooks and other servers elsewhere (default: this machine's network). */
  outbound?: Outbound;
  log?: Logger;
}

/** The parts of a cluster. */
export type Component = (typeof COMPONENTS)[number];

/** How a cluster is forked: what is to be otherwise than it is in the cluster itself. */
export interface ForkOptions extends Omit<ClusterOptions, "snapshot" | "data"> {
  /** Where it begins: a revision, or a time (default: now). */
  at?: Moment;
}
