/**
 * The command line of `deno task start` as a table: a flag's name, its type, its default, what it means. The help
 * text, parsing and the type of the result come from it; a new flag is a new row. Where kube-apiserver or
 * kube-controller-manager has a flag of the same meaning, it has the same name and the same values.
 *
 * Pure: the arguments come in, values or a `UsageError` come out. Whose name ends in `-file` or `-config` names a
 * file that the caller reads.
 */
import { parseArgs } from "node:util";
import { AUTHORIZATION_MODES as MODES, OIDC_ALGORITHMS, PLUGIN_NAMES } from "../auth/mod.ts";
import { formatDuration } from "../machinery/time.ts";
import { CONTROLLER_FLAGS } from "./controllers.ts";
import { KUBELET_FLAGS } from "./kubelet.ts";
import { TEST_KIT_FLAGS } from "./test_kit.ts";
import {
  choice,
  duration,
  file,
  type Flag,
  flag,
  integer,
  list,
  oneOf,
  text,
  textOr,
  UsageError,
} from "./flag_types.ts";

export * from "./flag_types.ts";

/** The parts of a cluster that can be left out. */
export const COMPONENTS = ["api", "controllers", "scheduler", "nodes", "network"] as const;

/** Nodes one process may host. */
export const NODES_MAX = 10_000;

const AUDIT_MODES = ["batch", "blocking", "blocking-strict"] as const;

/** Every flag of `deno task start`. */
export const FLAGS = {
  port: integer(6443, "where the API listens", { max: 65_535 }),
  host: textOr("127.0.0.1", "on which address; 0.0.0.0: on all of them"),
  "advertise-address": text("the address that other machines are told (default: found out)", "IP"),
  "apiserver-cert-extra-sans": list("further names and addresses of the server's certificate"),
  data: text("folder of everything durable (default .plesio)", "DIR"),
  memory: flag("keep nothing on disk"),
  kv: text(
    "a database that several processes share, of which --data then has the files of this one alone: " +
      "http(s)://… of KV Connect, etcd://host:port,… (default: PLESIO_KV)",
    "URL",
  ),
  "peer-advertise-ip": text(
    "the address at which other processes of the cluster reach this one",
    "IP",
  ),
  "peer-advertise-port": integer(0, "the port there (default: --port)", { max: 65_535 }),
  "node-prefix": textOr("plesio", "what the nodes' names begin with: no two processes share one"),
  nodes: integer(2, "how many nodes; 0 gives a control plane alone", { max: NODES_MAX }),
  runtime: choice(
    ["auto", "isolate", "simulated"],
    "auto",
    "auto: processes for what can be run here, the rest simulated; isolate, simulated: only that",
  ),
  "container-runtime-endpoint": text(
    "where containerd (or another runtime with CRI v1) listens, such as " +
      "unix:///run/containerd/containerd.sock: the first node's pods are its containers",
    "URL",
  ),
  "cni-conf-dir": textOr("/etc/cni/net.d", "where it looks for CNI configurations"),
  "pod-logs-dir": textOr("/var/log/pods", "where it writes logs"),
  "csi-controller-sockets": list(
    "sockets (unix:///…) of storage drivers whose volumes this cluster makes, attaches and grows itself; drivers " +
      "with sidecars of their own need none",
  ),
  "root-dir": text(
    "the (first) node's folder, as kubelet's: storage drivers and backup programs look for /var/lib/kubelet",
    "DIR",
  ),
  ...KUBELET_FLAGS,
  ...TEST_KIT_FLAGS,
  kubeconfig: text("write the kubeconfig there, and leave your own alone", "FILE"),
  components: list(`of ${COMPONENTS.join(",")} (default: all)`, {
    known: COMPONENTS,
    fallback: COMPONENTS,
  }),
  controllers: textOr("*", "as kube-controller-manager's: *, name, -name"),
  ...CONTROLLER_FLAGS,
  "scheduler-config": file("a KubeSchedulerConfiguration: profiles, plugins, extenders"),
  "cloud-zones": list(
    "zones of a local cloud provider, which says where nodes are; without them there is none",
  ),
  "proxy-mode": {
    help: "how services are proxied: by rules of the kernel (Linux, root), or by sockets",
    placeholder: "nftables|userspace",
    default: undefined,
    read: (value, name) => oneOf(name, value, ["nftables", "userspace"]),
  } as Flag<"nftables" | "userspace" | undefined>,
  "load-balancer-pool": text(
    "addresses of load balancers on your own network, which this machine takes (Linux, root)",
    "CIDR",
  ),
  "actor-control": flag("let administrators pause, step and resume actors"),
  "gateway-api": flag("define the Gateway API's kinds; they are served wherever they are"),
  "enable-admission-plugins": list("plugins to switch on beside the default ones", {
    known: PLUGIN_NAMES,
  }),
  "disable-admission-plugins": list("default plugins to switch off", { known: PLUGIN_NAMES }),
  "admission-control-config-file": file("an AdmissionConfiguration: what plugins are told"),
  "authentication-config": file("an AuthenticationConfiguration: issuers, and what is anonymous"),
  "anonymous-auth": {
    ...flag(
      "whether requests without credentials are anonymous (default: health and version only)",
    ),
    default: undefined,
  } as Flag<boolean | undefined>,
  "api-audiences": list("what tokens for this server are for (default: their issuers)"),
  "enable-bootstrap-token-auth": flag("bootstrap tokens are credentials", true),
  "token-auth-file": file('fixed tokens: lines of token,user,uid,"group1,group2"'),
  "authentication-token-webhook-config-file": file("a kubeconfig: who knows further tokens"),
  "authentication-token-webhook-version": textOr("v1beta1", "of its TokenReview: v1 or v1beta1"),
  "authentication-token-webhook-cache-ttl": duration("2m0s", "how long its answers count"),
  "oidc-issuer-url": text("the one issuer of others' tokens", "URL"),
  "oidc-client-id": text("what its tokens are for"),
  "oidc-ca-file": file("authorities of its server"),
  "oidc-username-claim": textOr("sub", "the claim that is the user's name"),
  "oidc-username-prefix": text("before the name; - for none (default: the issuer and #)"),
  "oidc-groups-claim": text("the claim that lists groups"),
  "oidc-groups-prefix": text("before each group"),
  "oidc-required-claim": list("claim=value that a token must have"),
  "oidc-signing-algs": list("what tokens may be signed with", {
    known: OIDC_ALGORITHMS,
    fallback: ["RS256"],
  }),
  "requestheader-client-ca-file": file("authorities of front proxies, whose headers name users"),
  "requestheader-allowed-names": list("names of front proxies (default: any)"),
  "requestheader-username-headers": list("where they put the user", {
    fallback: ["X-Remote-User"],
  }),
  "requestheader-uid-headers": list("where they put the uid"),
  "requestheader-group-headers": list("where they put groups", { fallback: ["X-Remote-Group"] }),
  "requestheader-extra-headers-prefix": list("what extra fields begin with", {
    fallback: ["X-Remote-Extra-"],
  }),
  "authorization-mode": list("authorizers, in order (default Node,RBAC)", {
    known: [...MODES, "ABAC"],
  }),
  "authorization-config": file("an AuthorizationConfiguration: the chain of authorizers"),
  "authorization-policy-file": file("policies, one a line: what mode ABAC allows"),
  "authorization-webhook-config-file": file("a kubeconfig: who is asked in mode Webhook"),
  "authorization-webhook-version": textOr("v1beta1", "of its SubjectAccessReview: v1 or v1beta1"),
  "authorization-webhook-cache-authorized-ttl": duration("5m0s", "how long it allows"),
  "authorization-webhook-cache-unauthorized-ttl": duration("30s", "how long it does not"),
  "encryption-provider-config": file("an EncryptionConfiguration: what is sealed at rest by what"),
  "encryption-provider-config-automatic-reload": flag("look every minute whether it has changed"),
  beta: flag("serve beta kinds too"),
  "runtime-config": list("versions to serve or not: api/beta=true, apps/v1=false, …"),
  "feature-gates": list("gates of Kubernetes 1.36 to switch: WatchList=false, …"),
  "client-ca-file": file(
    "authorities whose client certificates are good, beside the cluster's own",
  ),
  "tls-cert-file": file(
    "certificate to serve with, in place of one by the cluster's own authority",
  ),
  "tls-private-key-file": file("its key"),
  "service-account-issuer": list("issuer of tokens; further ones are accepted too"),
  "service-account-jwks-uri": text("where the issuer's keys are published", "URL"),
  "service-account-max-token-expiration": duration("0s", "longest life of tokens; 0s: no bound"),
  "service-account-extend-token-expiration": flag("pods' own tokens live a year", true),
  "service-account-key-file": file("keys or certificates that verify tokens too"),
  "service-account-signing-key-file": file("key that signs tokens, in place of the cluster's own"),
  "service-cluster-ip-range": text(
    "range of the Services' addresses, used with nodes that are simulated, or none; an IPv6 one may follow",
    "CIDR[,CIDR]",
  ),
  "cluster-cidr": text(
    "range of pods' addresses, used with nodes that are simulated, or none; an IPv6 one may follow",
    "CIDR[,CIDR]",
  ),
  "log-level": choice(["debug", "info", "warn", "error"], "warn", "least level that is logged"),
  "log-format": {
    help: "default: text on a terminal, else json",
    placeholder: "text|json",
    default: undefined,
    read: (value, name) => oneOf(name, value, ["text", "json"]),
  } as Flag<"text" | "json" | undefined>,
  "request-timeout": duration("1m", "how long a request may take, but for watches and streams"),
  "min-request-timeout": integer(1800, "seconds after which a watch ends that names no timeout"),
  "shutdown-delay-duration": duration("0s", "from readyz saying no to the end"),
  "shutdown-send-retry-after": flag("tell requests to come again while this server ends"),
  "goaway-chance": {
    help: "part of the requests over HTTP/2 whose client is asked to connect anew, 0 to 0.02",
    placeholder: "0",
    default: 0,
    read: (value, name) => {
      const chance = Number(value);
      if (value !== "" && chance >= 0 && chance <= 0.02) return chance;
      throw new UsageError(`--${name} must be between 0 and 0.02, not "${value}"`);
    },
  } as Flag<number>,
  "http2-max-streams-per-connection": integer(0, "streams of one connection at once; 0: 1,000"),
  "cors-allowed-origins": list("regular expressions of origins that browsers may come from"),
  "strict-transport-security-directives": list("directives of that header; none: it is not sent"),
  "max-requests-inflight": integer(400, "reads at once; with the next flag's: seats of all levels"),
  "max-mutating-requests-inflight": integer(200, "writes at once"),
  "enable-priority-and-fairness": flag("queue requests by FlowSchemas and priority levels", true),
  "tracing-config-file": file("a TracingConfiguration: where spans go, and how many"),
  "otlp-endpoint": text(
    "tell this OpenTelemetry collector traces and metrics (default $OTEL_EXPORTER_OTLP_ENDPOINT)",
    "URL",
  ),
  "otlp-protocol": text(
    "how: http/protobuf or http/json (default $OTEL_EXPORTER_OTLP_PROTOCOL, else http/protobuf)",
    "PROTOCOL",
  ),
  "audit-policy-file": file("audit.k8s.io/v1 Policy: what is audited"),
  "audit-log-path": text("audit to this file; - is standard output", "FILE"),
  "audit-log-format": choice(["json", "legacy"], "json", "form of the audit log's lines"),
  "audit-log-mode": choice(AUDIT_MODES, "blocking", "how sure of a line a request is to be"),
  "audit-log-maxsize": integer(100, "megabytes of an audit log before it is rotated; 0: never"),
  "audit-log-maxage": integer(366, "days that old audit logs are kept; 0: always"),
  "audit-log-maxbackup": integer(100, "old audit logs that are kept; 0: all"),
  "audit-log-compress": flag("compress old audit logs"),
  "audit-log-batch-buffer-size": integer(10_000, "events that wait at most, in mode batch"),
  "audit-log-truncate-enabled": flag("leave the objects out of events that are too long"),
  "audit-log-truncate-max-event-size": integer(102_400, "bytes of an event at most"),
  "audit-log-truncate-max-batch-size": integer(10_485_760, "bytes of events at once at most"),
  "audit-log-version": choice(["audit.k8s.io/v1"], "audit.k8s.io/v1", "the only one there is"),
  "audit-webhook-version": choice(["audit.k8s.io/v1"], "audit.k8s.io/v1", "the only one there is"),
  "audit-webhook-config-file": file("kubeconfig of the webhook that is audited to"),
  "audit-webhook-mode": choice(AUDIT_MODES, "batch", "how sure of an event a request is to be"),
  "audit-webhook-batch-buffer-size": integer(10_000, "events that wait at most, in mode batch"),
  "audit-webhook-batch-max-size": integer(400, "events sent at once at most"),
  "audit-webhook-batch-max-wait": duration("30s", "an event waits at most so long"),
  "audit-webhook-batch-throttle-enable": flag("send batches no faster than so many a second", true),
  "audit-webhook-batch-throttle-qps": integer(10, "batches a second"),
  "audit-webhook-batch-throttle-burst": integer(15, "batches at once after a pause"),
  "audit-webhook-initial-backoff": duration("10s", "pause before a failed batch is sent again"),
  "audit-webhook-truncate-enabled": flag("leave the objects out of events that are too long"),
  "audit-webhook-truncate-max-event-size": integer(102_400, "bytes of an event at most"),
  "audit-webhook-truncate-max-batch-size": integer(10_485_760, "bytes of a batch at most"),
  help: flag("this text"),
} as const satisfies Record<string, Flag<unknown>>;

/** A command's flags, by name. */
export type FlagTable = Readonly<Record<string, Flag<unknown>>>;

/** The value of every flag of a table. */
export type ValuesOf<Table extends FlagTable> = {
  -readonly [Name in keyof Table]: Table[Name] extends Flag<infer T> ? T : never;
};

/** The value of every flag of `deno task start`. */
export type Flags = ValuesOf<typeof FLAGS>;

const TABLE: FlagTable = FLAGS;

/** Reads arguments of `deno task start`. Throws UsageError for an unknown flag or a value that is none. */
export function readFlags(args: readonly string[]): Flags {
  return readTable(FLAGS, args, { aliases: KUBEADM_NAMES }).values;
}

/** What `kubeadm init` calls the same. */
const KUBEADM_NAMES = {
  "apiserver-advertise-address": "advertise-address",
  "apiserver-bind-port": "port",
  "pod-network-cidr": "cluster-cidr",
  "service-cidr": "service-cluster-ip-range",
};

/** What a command takes beside its table. */
export interface TableOptions {
  /** Other names of flags: those that kubeadm's users know. */
  aliases?: Readonly<Record<string, string>>;
  /** How many arguments without a name there may be (0). */
  argumentsMax?: number;
}

/** Reads arguments by a table. Throws UsageError for an unknown flag or a value that is none. */
export function readTable<const Table extends FlagTable>(
  table: Table,
  args: readonly string[],
  { aliases = {}, argumentsMax = 0 }: TableOptions = {},
): { values: ValuesOf<Table>; rest: string[] } {
  const values: Record<string, unknown> = {};
  for (const name in table) values[name] = table[name].default;
  const given = new Map<string, string>();
  const rest: string[] = [];
  for (const token of tokensOf(args, table, aliases)) {
    if (token.kind === "positional") {
      if (rest.push(token.value) <= argumentsMax) continue;
      throw new UsageError(`Unexpected argument "${token.value}"; flags begin with --`);
    }
    if (token.kind !== "option") continue;
    const off = token.name.startsWith("no-") && table[token.name.slice(3)];
    const asked = off ? token.name.slice(3) : token.name;
    const name = aliases[asked] ?? asked;
    const row = table[name];
    if (!row) throw new UsageError(`Unknown flag "${token.rawName}"; --help lists them`);
    if (off && row.placeholder) {
      throw new UsageError(`--${name} has a value: it cannot be switched off`);
    }
    if (row.placeholder && token.value === undefined) {
      throw new UsageError(`--${name} needs a value`);
    }
    const value = off ? "false" : token.value ?? "";
    const before = given.get(name);
    given.set(name, row.many && before ? `${before},${value}` : value);
  }
  for (const [name, value] of given) values[name] = table[name].read(value, name);
  return { values: values as ValuesOf<Table>, rest };
}

function tokensOf(
  args: readonly string[],
  table: FlagTable,
  aliases: Readonly<Record<string, string>>,
) {
  const rows = [
    ...Object.entries(table),
    ...Object.entries(aliases).map(([alias, name]) => [alias, table[name]] as const),
  ];
  const options = Object.fromEntries(
    rows.map(([name, row]) => [name, { type: row.placeholder ? "string" : "boolean" }] as const),
  );
  // Not strict: what is wrong is said in our own words above
  return parseArgs({
    args: [...args],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  })
    .tokens;
}

/** The values of all flags as texts, as they would be given. */
export function shownFlags(flags: Flags): Record<string, string> {
  const shown: Record<string, string> = {};
  for (const name in TABLE) {
    const value = (flags as Record<string, unknown>)[name];
    const isDuration = /^\d+(h|m|s|ms)/.test(TABLE[name].placeholder ?? "");
    shown[name] = Array.isArray(value)
      ? `[${value.join(",")}]`
      : isDuration && typeof value === "number"
      ? formatDuration(value)
      : String(value ?? "");
  }
  return shown;
}

/** Width of the column of flags in the help text. */
const FLAG_COLUMN = 28;

/** The help text of `deno task start`. */
export function helpText(): string {
  return tableText(
    TABLE,
    "Starts a Kubernetes cluster on this machine.",
    "deno task start [flags]",
  );
}

/** The help text of a command. */
export function tableText(table: FlagTable, what: string, usage: string): string {
  const lines = [what, "", usage];
  for (const name in table) {
    const { help, placeholder } = table[name];
    const head = `  --${name}${placeholder ? ` ${placeholder}` : ""}`;
    if (head.length >= FLAG_COLUMN) lines.push(head, " ".repeat(FLAG_COLUMN) + help);
    else lines.push(head.padEnd(FLAG_COLUMN) + help);
  }
  return lines.join("\n") + "\n";
}
