/**
 * `deno task node --server URL --token T --ca-hash sha256:…`: makes this machine a node of a cluster, and runs it until
 * it is told to stop. Where `kubeadm join` or the kubelet has a flag of the same meaning, it has the same name.
 *
 * What was learnt lies in the data folder as `kubelet.conf` (mode 0600): a later start needs neither token nor hash.
 */
import { parse } from "@std/yaml";
import type { Clock } from "../../kv/clock.ts";
import { createKubeconfig } from "../auth/kubeconfig.ts";
import type { Client } from "../client/contract.ts";
import { type Endpoint, type Outbound, OutboundError } from "../client/outbound.ts";
import { type DroppableClient, outboundClient } from "../client/outbound_client.ts";
import {
  authoritiesNow,
  CLUSTER_CONFIGURATION,
  type ClusterRanges,
  discover,
  DiscoveryError,
  isOwnTls,
  keepRenewed,
  lifeOf,
  type NodeCertificate,
  proving,
  requestCertificate,
  type TlsAuthority,
} from "../joining/mod.ts";
import { parseIp } from "../machinery/ip.ts";
import { isDns1123Subdomain } from "../machinery/names.ts";
import { ApiError, type KubeObject } from "../machinery/types.ts";
import { containerRuntimeOf, interrupted, rootDirOf } from "./command.ts";
import { makeOwnFolder, readConfig, readOwnFile, replaceFile } from "./files.ts";
import {
  choice,
  file,
  flag,
  FLAGS,
  type FlagTable,
  list,
  readTable,
  tableText,
  text,
  textOr,
  UsageError,
  type ValuesOf,
} from "./flags.ts";
import { KUBELET_FLAGS, type KubeletOptions, kubeletOptions } from "./kubelet.ts";
import { webhookEndpoint } from "./webhook_endpoint.ts";

/** Every flag of `deno task node`. */
export const NODE_FLAGS = {
  server: text("address of the API server, as in https://10.0.0.1:6443", "URL"),
  token: text("bootstrap token, of `deno task token create`; needed once", "TOKEN"),
  "ca-hash": list("hash of the cluster's authority: sha256:…; needed once"),
  "certificate-authority": file(
    "whose certificate the server shows, where a platform or a proxy ends TLS: a file, or `system` for the " +
      "authorities of this machine (default: the cluster's own)",
  ),
  "discovery-token-unsafe-skip-ca-verification": flag(
    "join without --ca-hash: whoever knows the token can then pose as the cluster",
  ),
  "node-name": text("name of the node (default: the machine's)", "NAME"),
  "node-ip": text(
    "address at which other machines reach this one, or one of each family: IP,IP (default: found out)",
    "IP",
  ),
  "node-labels": list("labels with which it registers: key=value"),
  "register-with-taints": list("taints with which it registers: key=value:Effect"),
  data: textOr(".plesio-node", "folder of everything durable"),
  runtime: choice(
    ["auto", "isolate", "simulated"],
    "auto",
    "auto: processes for what can be run here, the rest simulated; isolate, simulated: only that",
  ),
  "container-runtime-endpoint": FLAGS["container-runtime-endpoint"],
  "cni-conf-dir": FLAGS["cni-conf-dir"],
  "pod-logs-dir": FLAGS["pod-logs-dir"],
  "root-dir": FLAGS["root-dir"],
  ...KUBELET_FLAGS,
  "proxy-mode": FLAGS["proxy-mode"],
  "log-level": choice(["debug", "info", "warn", "error"], "warn", "least level that is logged"),
  "log-format": choice(["text", "json"], "text", "form of the log's lines"),
  help: flag("this text"),
} as const satisfies FlagTable;

/** kubeadm's and the kubelet's names of the same flags. */
const ALIASES = {
  "discovery-token-ca-cert-hash": "ca-hash",
  "hostname-override": "node-name",
};

type NodeFlags = ValuesOf<typeof NODE_FLAGS>;

/** A taint with which a node registers. */
export interface Taint {
  key: string;
  value?: string;
  effect: string;
}

/** What is to run on this machine. */
export interface MachineCommand {
  name: string;
  folder: string;
  runtime: NodeFlags["runtime"];
  nodeIPs: string[] | undefined;
  containerRuntime?: ReturnType<typeof containerRuntimeOf>["containerRuntime"];
  /** Where the node lies instead of in the data folder: a kubelet's root directory. */
  rootDir?: string;
  kubelet: KubeletOptions;
  proxyMode: NodeFlags["proxy-mode"];
  labels: Record<string, string>;
  taints: readonly Taint[];
  ranges: ClusterRanges;
  /** The node's own. */
  api: DroppableClient;
  /** Where the server is, and who we are to it, now. */
  endpoint(): Endpoint;
  log: NodeLog;
}

type NodeLog = (
  level: "debug" | "info" | "warn" | "error",
  text: string,
  fields?: Record<string, unknown>,
) => void;

/** What runs on this machine. */
export interface RunningMachine {
  /** The node has another certificate now. */
  renewed(): void;
  stop(): Promise<void>;
}

/** What the composition root hands in. */
export interface NodePorts {
  outbound: Outbound;
  clock: Clock;
  hostname(): string;
  start(machine: MachineCommand): Promise<RunningMachine>;
  log(options: { level: NodeFlags["log-level"]; format: "text" | "json" }): NodeLog;
  print(line: string): void;
  /** Resolves with what ends the process (default: a signal). */
  stopping?: Promise<string>;
}

/** Joins if need be, and runs until it is told to stop. Throws UsageError for what is asked wrongly. */
export async function runNodeCommand(args: readonly string[], ports: NodePorts): Promise<void> {
  const { values: flags, rest } = readTable(NODE_FLAGS, args, {
    aliases: ALIASES,
    argumentsMax: 1,
  });
  const { print } = ports;
  if (flags.help) {
    const what = "Makes this machine a node of a cluster.";
    const usage = "deno task node --server URL --token T --ca-hash sha256:… [flags]";
    return print(tableText(NODE_FLAGS, what, usage).trimEnd());
  }
  if (rest[0]) flags.server ??= `https://${rest[0]}`; // as `kubeadm join HOST:PORT`
  const asked = askedOf(flags, ports.hostname);
  const stopping = ports.stopping ?? interrupted();
  await makeOwnFolder(flags.data);
  const log = ports.log({ level: flags["log-level"], format: flags["log-format"] });
  const member = await memberOf(flags, asked.name, { ...ports, log });
  const over = new AbortController();
  const machine = await ports.start({ ...asked, ...member, folder: flags.data, log });
  print(`Node ${asked.name} runs; stop it with Ctrl-C`);
  void keepRenewed(
    { client: member.api.client, clock: ports.clock, node: asked.name, signal: over.signal },
    {
      current: member.endpoint().certificate!.cert,
      renewed: async (certificate) => {
        await member.renew(certificate);
        machine.renewed();
        log("info", "the node's certificate was renewed");
      },
      failed: (error) => log("error", "could not renew the certificate", { error: String(error) }),
    },
  );
  try {
    print(`Stopping (${await stopping})`);
  } finally {
    over.abort();
    await machine.stop();
  }
}

/** What the flags say of the node. */
function askedOf(flags: NodeFlags, hostname: () => string) {
  const name = flags["node-name"] ?? hostname().toLowerCase();
  const problems = isDns1123Subdomain(name);
  if (problems.length) throw new UsageError(`--node-name "${name}": ${problems[0]}`);
  const labels: Record<string, string> = {};
  for (const text of flags["node-labels"]) {
    const [key, ...value] = text.split("=");
    if (!key || value.length !== 1) {
      throw new UsageError(`--node-labels wants key=value, not "${text}"`);
    }
    labels[key] = value[0];
  }
  const taints = flags["register-with-taints"].map(taintOf);
  const { runtime, "node-ip": nodeIP, "proxy-mode": proxyMode } = flags;
  const kubelet = kubeletOptions(flags);
  return {
    name,
    labels,
    taints,
    runtime,
    nodeIPs: nodeIP === undefined ? undefined : nodeIPsOf(nodeIP),
    proxyMode,
    kubelet,
    ...containerRuntimeOf(flags),
    ...rootDirOf(flags),
  };
}

/** One address, or one of each family. */
function nodeIPsOf(text: string): string[] {
  const ips = text.split(",");
  const families = new Set(ips.map((ip) => parseIp(ip)?.family));
  if (ips.length > 2 || families.size < ips.length || families.has(undefined)) {
    throw new UsageError(
      `--node-ip "${text}" must contain either a single IP or a dual-stack pair of IPs`,
    );
  }
  return ips;
}

const EFFECTS = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

function taintOf(text: string): Taint {
  const match = /^([^=:]+)(?:=([^:]*))?:(\w+)$/.exec(text);
  if (!match || !EFFECTS.includes(match[3])) {
    throw new UsageError(
      `--register-with-taints wants key=value:Effect with one of ${
        EFFECTS.join(", ")
      }, not "${text}"`,
    );
  }
  const [, key, value, effect] = match;
  return value === undefined ? { key, effect } : { key, value, effect };
}

/** Whose certificate the server shows, where the flags say that it is not the cluster's. */
async function tlsAuthorityOf(
  { "certificate-authority": named }: NodeFlags,
): Promise<TlsAuthority | undefined> {
  if (named === undefined) return undefined;
  if (named === "system") return {};
  return { caBundle: await readConfig("certificate-authority", named) };
}

type Asked = NodeFlags & { tls: TlsAuthority | undefined };
type Ports = Pick<NodePorts, "outbound" | "clock" | "print"> & { log: NodeLog };

/** A member of a cluster: its way to the server, and how it goes on with another certificate. */
async function memberOf(flags: NodeFlags, name: string, ports: Ports) {
  const file = `${flags.data}/kubelet.conf`;
  const kept = await readOwnFile(file);
  const tls = await tlsAuthorityOf(flags);
  let endpoint = kept === undefined
    ? await join({ ...flags, tls }, name, ports)
    : await keptEndpoint(kept, { file, flags: { ...flags, tls }, name, now: ports.clock.now() });
  const save = async (next: Endpoint) => {
    const { url, caBundle, certificate } = endpoint = next;
    const user = { certificatePem: certificate!.cert, keyPem: certificate!.key };
    await replaceFile(file, createKubeconfig({ server: url!, authorityPem: caBundle, ...user }));
  };
  if (kept === undefined) {
    await save(endpoint);
    for (const line of JOINED) ports.print(line);
  }
  const { outbound, clock, log } = ports;
  const asked = proving(() => endpoint, clock);
  const api = outboundClient({ outbound, clock, endpoint: asked, agent: "kubelet" });
  /** The authorities may have been replaced since. */
  const refresh = async () => {
    if (!isOwnTls(endpoint)) return;
    const caBundle = await authoritiesNow(outbound, endpoint).catch((error) => {
      log("warn", "could not ask for the cluster's authorities", { error: String(error) });
      return endpoint.caBundle!;
    });
    if (caBundle !== endpoint.caBundle) await save({ ...endpoint, caBundle });
  };
  const ranges = await rangesOf(api.client, ports, {
    file: `${flags.data}/ranges.json`,
    // A server of this machine must find its ranges free when it comes back
    mayRecall: flags["pod-manifest-path"] !== undefined && !isLoopback(endpoint.url!),
  });
  await refresh();
  const renew = async ({ certificatePem: cert, keyPem: key }: NodeCertificate) => {
    await save({ ...endpoint, certificate: { cert, key } });
    await refresh();
  };
  return { api, ranges, endpoint: asked, renew };
}

const JOINED = [
  "",
  "This node has joined the cluster:",
  "* Certificate signing request was sent to apiserver and a response was received.",
  "* The Kubelet was informed of the new secure connection details.",
  "",
  "Run 'kubectl get nodes' on the control-plane to see this node join the cluster.",
  "",
];

/** Becomes a member: finds the cluster, and asks it for a certificate. */
async function join(flags: Asked, node: string, ports: Ports): Promise<Endpoint> {
  const { token, "ca-hash": caHashes, tls } = flags;
  const server = flags.server?.replace(/\/$/, "");
  const unsafe = flags["discovery-token-unsafe-skip-ca-verification"];
  if (!server || !token) {
    throw new UsageError(
      "This machine has not joined a cluster yet: wanted --server URL, --token T and --ca-hash sha256:… " +
        "(`deno task token create --print-join-command` prints them)",
    );
  }
  if (caHashes.length === 0 && !unsafe) {
    throw new UsageError(
      "Wanted --ca-hash sha256:…, by which the cluster is known; " +
        "--discovery-token-unsafe-skip-ca-verification goes without",
    );
  }
  if (!/^https:\/\/[^/]+$/.test(server)) {
    throw new UsageError(`--server must be as in https://10.0.0.1:6443, not "${server}"`);
  }
  const { outbound, clock, print } = ports;
  print(`Looking for the cluster at ${server}`);
  try {
    const known = { server, token, caHashes, tls };
    const waiting = (why: string) => print(`Still looking: ${why}`);
    const authorityPem = await discover(known, { outbound, clock, waiting });
    const { caBundle } = tls ?? { caBundle: authorityPem };
    print("Found it, by its authority's key; asking for a certificate");
    const asking: Endpoint = { url: server, caBundle, bearerToken: token };
    const { client } = outboundClient({ outbound, clock, endpoint: () => asking });
    await refuseTaken(client, node);
    const { certificatePem: cert, keyPem: key } = await requestCertificate(client, clock, node);
    return { url: server, caBundle, certificate: { cert, key } };
  } catch (error) {
    const known = [DiscoveryError, TypeError, ApiError, OutboundError];
    if (!known.some((kind) => error instanceof kind)) throw error;
    throw new UsageError(`Cannot join ${server}: ${(error as Error).message}`);
  }
}

const NODES = { group: "", version: "v1", plural: "nodes" };

/** Two machines under one name would take each other's place for ever. */
async function refuseTaken(client: Client, node: string): Promise<void> {
  const found = await client.get<KubeObject>({ resource: NODES, name: node }).catch(() =>
    undefined
  );
  const ready = found?.status?.conditions?.find((c: { type: string }) => c.type === "Ready");
  if (ready?.status !== "True") return;
  throw new UsageError(
    `a Node with name ${JSON.stringify(node)} and status "Ready" already exists in the cluster. ` +
      "You must delete the existing Node or change the name of this new joining Node",
  );
}

/** The endpoint that a former start has kept. */
async function keptEndpoint(
  text: string,
  { file, flags, name, now }: { file: string; flags: Asked; name: string; now: number },
): Promise<Endpoint> {
  const bad = (why: string) =>
    new UsageError(`Cannot use ${file}: ${why}; remove it, and join again with --token`);
  const unread = () => Promise.reject(new Error("it names other files"));
  const endpoint = await webhookEndpoint(text, unread).catch((error) => {
    throw bad(error.message);
  });
  const { certificate } = endpoint;
  if (!certificate) throw bad("it has no certificate");
  const { notAfter, node } = readCertificate(certificate.cert, bad);
  if (notAfter <= now) {
    throw bad(`the node's certificate ended ${new Date(notAfter).toISOString()}`);
  }
  if (node !== name) {
    throw new UsageError(`${file} is node ${node}'s: start it with --node-name ${node}`);
  }
  const url = (flags.server ?? endpoint.url!).replace(/\/$/, "");
  return { ...endpoint, url, ...(flags.tls && { caBundle: flags.tls.caBundle }) };
}

function readCertificate(pem: string, bad: (why: string) => Error) {
  try {
    return lifeOf(pem);
  } catch (error) {
    throw bad((error as Error).message);
  }
}

/** What may be the matter with a machine that was let in before. */
const ANEW =
  " (was its Node deleted, or is its clock wrong? To join anew, remove the data folder's " +
  "kubelet.conf and give it a --token)";

/** How often the cluster's configuration is asked for while the server is away. */
const CONFIGURATION_RETRY_MS = 5_000;

function isLoopback(url: string): boolean {
  return /^(localhost|127\..*|\[::1\])$/.test(new URL(url).hostname);
}

/**
 * How the cluster's network is divided, which is kept in a file. Waits for the server, unless what a former start was
 * told may be recalled: static pods do not wait.
 */
async function rangesOf(
  client: Client,
  { clock, log }: Ports,
  { file, mayRecall }: { file: string; mayRecall: boolean },
): Promise<ClusterRanges> {
  const kept = await readOwnFile(file);
  for (;;) {
    const ranges = await toldRanges(client).catch((error) => {
      if (error instanceof ApiError && error.code < 500 && error.code !== 429) {
        throw new UsageError(
          `The server does not let this node in: ${error.message}${error.code === 401 ? ANEW : ""}`,
        );
      }
      log("warn", "waiting for the API server", { error: String(error) });
    });
    if (ranges) {
      const text = JSON.stringify(ranges);
      if (text !== kept) await replaceFile(file, text);
      return ranges;
    }
    if (kept !== undefined && mayRecall) return JSON.parse(kept);
    await clock.sleep(CONFIGURATION_RETRY_MS);
  }
}

async function toldRanges(client: Client): Promise<ClusterRanges> {
  const resource = { group: "", version: "v1", plural: "configmaps" };
  const target = { resource, namespace: "kube-system", name: CLUSTER_CONFIGURATION };
  const map = await client.get<KubeObject>(target);
  const { networking } = parse(map.data?.ClusterConfiguration ?? "") as {
    networking: { podSubnet: string; serviceSubnet: string };
  };
  return { podRange: networking.podSubnet, serviceRange: networking.serviceSubnet };
}
