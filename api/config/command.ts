/**
 * The command line: flags become a cluster's options, the cluster listens, kubeconfigs are written, and it runs until
 * it is told to stop. What a cluster is made of is `actors/cluster`'s affair; `mod.ts` hands in how one is
 * started.
 */
import type { Access } from "../auth/kubeconfig.ts";
import { type ControllerOptions, controllerOptions } from "./controllers.ts";
import { makeOwnFolder, readConfig, readOwnKubeconfig, writeKubeconfigs } from "./files.ts";
import { type Flags, helpText, readFlags, UsageError } from "./flags.ts";
import type { Document } from "./document.ts";
import { type KubeletOptions, kubeletOptions } from "./kubelet.ts";
import { schedulerOfFlags } from "./scheduler.ts";
import { type ServerOptions, serverOptions } from "./server.ts";
import { type TestKitOptions, testKitOptions } from "./test_kit.ts";

/** What flags say of a cluster beside its API server. */
type ClusterFlags = Pick<Flags, "nodes" | "runtime" | "components" | "controllers" | "kv">;

/** The options that a command line asks for. */
export interface CommandOptions extends ServerOptions, ClusterFlags, TestKitOptions {
  /** A folder for everything durable; undefined: in memory. */
  data: string | undefined;
  /** What its nodes' names begin with. */
  nodePrefix: string;
  /** A container runtime of this machine. */
  containerRuntime?: { endpoint: string; cniFolder: string; logs: string };
  /** Where the first real node lies. */
  rootDir?: string;
  /** What nodes are told. */
  kubelet: KubeletOptions;
  /** What controllers are told. */
  controllerOptions: ControllerOptions;
  /** Sockets of storage drivers whose controller calls are made here. */
  csiControllerSockets?: readonly string[];
  /** A KubeSchedulerConfiguration's fields. */
  scheduler?: Document;
  /** Zones of the local cloud provider; none: there is no provider. */
  cloudZones: readonly string[];
  /** How services are proxied; undefined: as suits the nodes. */
  proxyMode?: Flags["proxy-mode"];
  /** Addresses of load balancers; undefined: of the services' range. */
  loadBalancerPool?: string;
  /** Whether the Gateway API's kinds are made. */
  gatewayApi?: boolean;
  log: CommandLog;
}

type CommandLog = (
  level: "debug" | "info" | "warn" | "error",
  text: string,
  fields?: Record<string, unknown>,
) => void;

/** A cluster, as far as a command line has to do with it. */
export interface CommandCluster {
  listen(
    options: {
      host: string;
      port: number;
      advertise: string | undefined;
      names: readonly string[];
      peer: { ip: string | undefined; port: number };
      renewed: () => void;
    },
  ): Promise<{ url: string }>;
  access(): Promise<Access>;
  /** An address that logs a browser in, once. */
  loginLink(): Promise<string>;
  stop(): Promise<void>;
}

/** What the composition root hands in. */
export interface CommandPorts {
  start(options: CommandOptions): Promise<CommandCluster>;
  /** A log of that level and form, on the standard error. */
  log(options: { level: Flags["log-level"]; format: "text" | "json" }): CommandLog;
}

/** Starts a cluster by its flags and runs until it is told to stop. Throws UsageError for what is asked wrongly. */
export async function runCommand(args: readonly string[], ports: CommandPorts): Promise<void> {
  const flags = readFlags(args);
  flags.kv ??= Deno.env.get("PLESIO_KV") || undefined;
  if (flags.help) {
    console.log(helpText());
    return;
  }
  const stopping = interrupted();
  const env = (name: string) => Deno.env.get(name);
  const own = flags.kubeconfig ? undefined : await readOwnKubeconfig(env);
  const data = flags.memory || flags["test-kit"] ? undefined : flags.data ?? ".plesio";
  const options = await optionsOf(flags, data, ports);
  if (data) await makeOwnFolder(data);
  const database = flags.kv ?? (data && `${data}/cluster.db`);
  console.log(database ? `Opening ${database}` : "Opening a database in memory");
  const cluster = await ports.start(options);
  try {
    const file = flags.kubeconfig ?? (data && `${data}/kubeconfig`);
    const write = async () => await writeKubeconfigs(await cluster.access(), { file, own });
    const renewed = () =>
      void write().catch((error) =>
        options.log("error", "could not write a kubeconfig", { error: String(error) })
      );
    const { port, host, nodes, components } = flags;
    const listening = {
      port,
      host,
      advertise: flags["advertise-address"],
      names: flags["apiserver-cert-extra-sans"],
      peer: { ip: flags["peer-advertise-ip"], port: flags["peer-advertise-port"] },
      renewed,
    };
    const { url } = await cluster.listen(listening).catch((error) => {
      throw explained(error, `${host}:${port}`);
    });
    for (const line of await write()) console.log(line);
    if (nodes > 0 && components.includes("nodes")) {
      console.log(`Starting ${nodes} node${nodes === 1 ? "" : "s"} (${options.runtime})`);
    }
    console.log(`Plesio is ready at ${url}`);
    console.log(`Dashboard (this link logs in once): ${await cluster.loginLink()}`);
    if (!flags.kubeconfig) console.log("Try: kubectl get nodes");
    console.log(`Stopping (${await stopping})`);
  } finally {
    await cluster.stop();
  }
}

/**
 * The options of a cluster behind the door of `deno serve` or of a platform, by the environment: `PLESIO_FLAGS` has the
 * flags of a command line, `PLESIO_KV` or the platform's own database is shared by all instances, `PLESIO_DATA` a folder.
 */
export async function servedOptions(ports: Pick<CommandPorts, "log">): Promise<CommandOptions> {
  const env = (name: string) => Deno.env.get(name);
  const args = (env("PLESIO_FLAGS") ?? "").split(/\s+/).filter(Boolean);
  const flags = readFlags(["--runtime", "simulated", ...args]);
  // Deno Deploy has one database for all instances, which is opened by no name
  flags.kv ??= env("PLESIO_KV") ||
    (env("DENO_DEPLOY") || env("DENO_DEPLOYMENT_ID") ? "" : undefined);
  return await optionsOf(flags, flags.data ?? env("PLESIO_DATA"), ports);
}

/** Resolves with the signal that ends the process. */
export function interrupted(): Promise<string> {
  const stopping = Promise.withResolvers<string>();
  // `deno task` delivers an interrupt twice: the second one finds the first at work.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    if (Deno.build.os !== "windows" || signal !== "SIGTERM") {
      Deno.addSignalListener(signal, () => stopping.resolve(signal));
    }
  }
  return stopping.promise;
}

/** What the flags ask for; the files that they name are read here. */
async function optionsOf(
  flags: Flags,
  data: string | undefined,
  ports: Pick<CommandPorts, "log">,
): Promise<CommandOptions> {
  const { nodes, components, controllers, kv, "node-prefix": nodePrefix } = flags;
  const format = flags["log-format"] ?? (Deno.stderr.isTerminal() ? "text" : "json");
  return {
    data,
    kv,
    nodePrefix,
    nodes,
    ...testKitOptions(flags, Date.now()),
    components,
    controllers,
    controllerOptions: controllerOptions(flags),
    cloudZones: flags["cloud-zones"],
    proxyMode: flags["proxy-mode"],
    gatewayApi: flags["gateway-api"],
    loadBalancerPool: flags["load-balancer-pool"],
    ...containerRuntimeOf(flags),
    ...rootDirOf(flags),
    kubelet: kubeletOptions(flags),
    csiControllerSockets: socketsOf(flags),
    ...await serverOptions(flags, readConfig, (name) => Deno.env.get(name)),
    scheduler: await schedulerOfFlags(flags, readConfig),
    log: ports.log({ level: flags["log-level"], format }),
  };
}

function socketsOf({ "csi-controller-sockets": sockets }: Flags): readonly string[] {
  const wrong = sockets.find((socket) => !/^(unix:\/\/)?\//.test(socket));
  if (wrong === undefined) return sockets;
  throw new UsageError(
    `--csi-controller-sockets must be unix sockets such as unix:///run/x.sock, not "${wrong}"`,
  );
}

/** The first node's folder: a path that storage drivers know does not depend on where Plesio was started. */
export function rootDirOf(
  { "root-dir": rootDir }: Pick<Flags, "root-dir">,
): Pick<CommandOptions, "rootDir"> {
  if (rootDir === undefined) return {};
  if (!rootDir.startsWith("/")) {
    throw new UsageError(
      `--root-dir must be an absolute path such as /var/lib/kubelet, not "${rootDir}"`,
    );
  }
  return { rootDir };
}

/** The container runtime that flags name. */
export function containerRuntimeOf(
  flags:
    & Pick<Flags, "container-runtime-endpoint" | "cni-conf-dir" | "pod-logs-dir" | "runtime">
    & { components?: Flags["components"] },
): Pick<CommandOptions, "containerRuntime"> {
  const endpoint = flags["container-runtime-endpoint"];
  if (endpoint === undefined) return {};
  if (flags.runtime === "simulated" || flags.components?.includes("network") === false) {
    throw new UsageError(
      "--container-runtime-endpoint needs real nodes: --runtime auto or isolate, and the component network",
    );
  }
  if (!/^(unix:\/\/)?\//.test(endpoint)) {
    throw new UsageError(
      `--container-runtime-endpoint must be a unix socket such as unix:///run/x.sock, not "${endpoint}"`,
    );
  }
  const { "cni-conf-dir": cniFolder, "pod-logs-dir": logs } = flags;
  return { containerRuntime: { endpoint, cniFolder, logs } };
}

function explained(error: unknown, place: string): unknown {
  const { code } = error as { code?: string };
  if (code === "EADDRINUSE" || error instanceof Deno.errors.AddrInUse) {
    return new UsageError(
      `Cannot listen on ${place}: the port is in use; stop what uses it or choose another with --port`,
    );
  }
  if (code === "EACCES" || error instanceof Deno.errors.PermissionDenied) {
    return new UsageError(
      `Cannot listen on ${place}: not allowed; choose a port above 1023 with --port`,
    );
  }
  if (code === "EADDRNOTAVAIL") {
    return new UsageError(`Cannot listen on ${place}: not an address of this machine`);
  }
  return error;
}
