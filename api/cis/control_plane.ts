/** Sections 1 to 3: files, the API server, the controllers, the scheduler, the database, identity and audit. */
import { type Check, either, type Facts, fail, none, pass, type Result, warn } from "./contract.ts";

const ONE_PROCESS = "one process is the whole control plane: there are no manifests of its parts";
const NO_PORT = "has no port of its own: it runs in the API server's process";
const EMBEDDED = "the database is a file of this process: nobody reaches it over a network";

function notThere(ids: readonly [string, string][], reason: string): Check[] {
  return ids.map(([id, title]) => ({ id, title, run: () => none(reason) }));
}

/** A file of the data folder and the most that its mode may allow. */
function fileMode(name: string, most: number) {
  return async ({ modeOf }: Facts): Promise<Result> => {
    if (!modeOf) return none("no data folder was named (--data)");
    const mode = await modeOf(name);
    if (mode === undefined) return none(`the data folder has no ${name || "such folder"}`);
    const text = (mode & 0o777).toString(8).padStart(3, "0");
    const what = name || "the data folder";
    return either(
      (mode & 0o777 & ~most) === 0,
      `${what} has mode ${text}`,
      `${what} has mode ${text}`,
    );
  };
}

/** A flag that must be a number of at least so much (0 is without end). */
function atLeast(name: string, least: number, needs?: string) {
  return ({ flags }: Facts): Result => {
    if (needs && !flags[needs]) return fail(`--${needs} is not set: nothing is logged`);
    const value = Number(flags[name] ?? NaN);
    const text = `--${name} is ${flags[name] ?? "not known"}`;
    return either(value >= least || value === 0, text, `${text}: at least ${least} is wanted`);
  };
}

const isUnset = (value: string | undefined) =>
  value === undefined || value === "" || value === "undefined" || value === "[]";

/** Whether somebody may do something, as the running authorizers decide. */
async function may(
  facts: Facts,
  user: string,
  groups: readonly string[],
  attributes: Record<string, string>,
): Promise<{ allowed: boolean; reason: string }> {
  const { body } = await facts.ask("/apis/authorization.k8s.io/v1/subjectaccessreviews", {
    method: "POST",
    body: {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SubjectAccessReview",
      spec: { user, groups, resourceAttributes: attributes },
    },
  });
  return { allowed: body.status?.allowed === true, reason: body.status?.reason ?? "" };
}

const POD = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { generateName: "cis-check-" },
  spec: { containers: [{ name: "c", image: "registry.example/none:1" }] },
};

/** What admission makes of a pod, without one being made. */
async function admittedPod(facts: Facts): Promise<Result | Record<string, unknown>> {
  const { status, body } = await facts.ask("/api/v1/namespaces/default/pods?dryRun=All", {
    method: "POST",
    body: POD,
  });
  return status === 201 ? body : warn(`a trial pod was refused: ${body.message ?? status}`);
}

const isResult = (value: unknown): value is Result =>
  typeof value === "object" && value !== null && "verdict" in value;

async function profiling({ ask }: Facts): Promise<Result> {
  const { status } = await ask("/debug/pprof/");
  return either(status === 404, "/debug/pprof/ is not served", `/debug/pprof/ answers ${status}`);
}

const FILES: Check[] = [
  ...notThere([
    ["1.1.1", "mode of the API server's manifest"],
    ["1.1.2", "owner of the API server's manifest"],
    ["1.1.3", "mode of the controller manager's manifest"],
    ["1.1.4", "owner of the controller manager's manifest"],
    ["1.1.5", "mode of the scheduler's manifest"],
    ["1.1.6", "owner of the scheduler's manifest"],
    ["1.1.7", "mode of etcd's manifest"],
    ["1.1.8", "owner of etcd's manifest"],
    ["1.1.9", "mode of network plugins' files"],
    ["1.1.10", "owner of network plugins' files"],
  ], ONE_PROCESS),
  { id: "1.1.11", title: "the database's folder is its owner's alone", run: fileMode("", 0o700) },
  {
    id: "1.1.12",
    title: "the database's file is its owner's alone",
    run: fileMode("cluster.db", 0o600),
  },
  {
    id: "1.1.13",
    title: "the administrator's kubeconfig is its owner's alone",
    run: fileMode("kubeconfig", 0o600),
  },
  ...notThere([
    ["1.1.14", "owner of the administrator's kubeconfig"],
  ], "it belongs to whoever runs the server"),
  ...notThere([
    ["1.1.15", "mode of the scheduler's kubeconfig"],
    ["1.1.16", "owner of the scheduler's kubeconfig"],
    ["1.1.17", "mode of the controller manager's kubeconfig"],
    ["1.1.18", "owner of the controller manager's kubeconfig"],
  ], "parts of the control plane hold no credentials in files"),
  ...notThere([
    ["1.1.19", "owner of the certificates' folder"],
    ["1.1.20", "mode of certificates"],
  ], "certificates and their keys lie sealed in the database"),
  {
    id: "1.1.21",
    title: "the key that seals the database is its owner's alone",
    run: fileMode("cluster.db.key", 0o600),
  },
];

const TLS_1_1 = 0x0302;
const TLS_1_2 = 0x0303;
/** ECDHE with AES-GCM or ChaCha20. */
const STRONG_SUITES = [0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8];
/** RC4, 3DES, NULL, and AES-CBC without forward secrecy. */
const WEAK_SUITES = [0x0004, 0x0005, 0x000a, 0x003b, 0x002f, 0x0035, 0x003c];

const API_SERVER: Check[] = [
  {
    id: "1.2.1",
    title: "who does not say who they are gets nothing",
    async run({ ask }) {
      const { status } = await ask("/api/v1/namespaces", { anonymous: true });
      return either(
        status === 401 || status === 403,
        `an anonymous list is answered with ${status}`,
        `an anonymous list is answered with ${status}`,
      );
    },
  },
  {
    id: "1.2.2",
    title: "no file of fixed tokens",
    run: ({ flags }) =>
      either(
        isUnset(flags["token-auth-file"]),
        "--token-auth-file is not set",
        `--token-auth-file is ${flags["token-auth-file"]}`,
      ),
  },
  {
    id: "1.2.3",
    title: "Services do not take external addresses",
    async run({ ask }) {
      const { status, body } = await ask("/api/v1/namespaces/default/services?dryRun=All", {
        method: "POST",
        body: {
          apiVersion: "v1",
          kind: "Service",
          metadata: { generateName: "cis-check-" },
          spec: { ports: [{ port: 80 }], externalIPs: ["203.0.113.9"] },
        },
      });
      if (status === 403) return pass("a trial Service with an external address was forbidden");
      return warn(
        `a trial Service with an external address: ${status} ${body.message ?? "accepted"}`,
      );
    },
  },
  ...notThere([
    ["1.2.4", "a client certificate towards nodes"],
    ["1.2.5", "an authority to know nodes by"],
  ], "nodes dial in, or run in this process: the server opens no connection to them"),
  {
    id: "1.2.6",
    title: "not everything is allowed",
    async run(facts) {
      const { allowed } = await may(facts, "cis-nobody", [], { verb: "get", resource: "secrets" });
      return either(
        !allowed,
        "an unknown user may not read Secrets",
        "an unknown user may read Secrets",
      );
    },
  },
  {
    id: "1.2.7",
    title: "nodes are authorized as nodes",
    async run(facts) {
      const user = "system:node:cis-check";
      const groups = ["system:nodes", "system:authenticated"];
      const own = { verb: "get", resource: "nodes", name: "cis-check" };
      const itself = await may(facts, user, groups, own);
      const secret = { verb: "get", resource: "secrets", namespace: "kube-system", name: "cis" };
      const other = await may(facts, user, groups, secret);
      return either(
        itself.allowed && !other.allowed,
        "a node may read itself, and no Secret that no pod of it names",
        `a node may read itself: ${itself.allowed}; any Secret: ${other.allowed}`,
      );
    },
  },
  {
    id: "1.2.8",
    title: "rights come from roles",
    async run(facts) {
      const asked = { verb: "list", resource: "pods" };
      const { allowed, reason } = await may(facts, "system:kube-scheduler", [], asked);
      return either(allowed && reason.startsWith("RBAC"), reason, `no role decided: ${reason}`);
    },
  },
  {
    id: "1.2.9",
    title: "floods of events are limited",
    run: ({ flags }) =>
      /\bEventRateLimit\b/.test(flags["enable-admission-plugins"] ?? "")
        ? pass("the plugin EventRateLimit is on")
        : warn("the plugin EventRateLimit is off"),
  },
  {
    id: "1.2.10",
    title: "admission is not switched off altogether",
    run: ({ flags }) =>
      either(
        !/\bAlwaysAdmit\b/.test(flags["enable-admission-plugins"] ?? ""),
        "the plugin AlwaysAdmit is off",
        "the plugin AlwaysAdmit is on",
      ),
  },
  {
    id: "1.2.11",
    title: "images are always pulled with the pod's own credentials",
    async run(facts) {
      const pod = await admittedPod(facts);
      if (isResult(pod)) return pod;
      // deno-lint-ignore no-explicit-any -- a pod
      const policy = (pod as any).spec.containers[0].imagePullPolicy;
      return policy === "Always"
        ? pass("a trial pod's image is always pulled")
        : warn(`a trial pod's image is pulled ${policy}: consider the plugin AlwaysPullImages`);
    },
  },
  {
    id: "1.2.12",
    title: "pods get their account by admission",
    async run(facts) {
      const pod = await admittedPod(facts);
      if (isResult(pod)) return pod;
      // deno-lint-ignore no-explicit-any -- a pod
      const account = (pod as any).spec.serviceAccountName;
      return either(
        account === "default",
        `a trial pod got the account ${account}`,
        "a trial pod got no account",
      );
    },
  },
  {
    id: "1.2.13",
    title: "nothing is made in namespaces that are not there, and the system's own stay",
    async run({ ask }) {
      const absent = await ask("/api/v1/namespaces/cis-check-absent/pods?dryRun=All", {
        method: "POST",
        body: POD,
      });
      const own = await ask("/api/v1/namespaces/kube-system?dryRun=All", { method: "DELETE" });
      return either(
        absent.status === 404 && own.status === 403,
        "both trials were refused",
        `a pod in an absent namespace: ${absent.status}; deleting kube-system: ${own.status}`,
      );
    },
  },
  {
    id: "1.2.14",
    title: "nodes write their own objects only",
    async run(facts) {
      const [node] = await facts.list("/api/v1/nodes");
      if (!node) return none("there are no nodes");
      const { name } = node.metadata;
      const { status, body } = await facts.ask(`/api/v1/nodes/${name}?dryRun=All`, {
        method: "PATCH",
        type: "application/merge-patch+json",
        body: { metadata: { labels: { "node-restriction.kubernetes.io/cis": "1" } } },
        as: { user: `system:node:${name}`, groups: ["system:nodes", "system:authenticated"] },
      });
      return either(
        status === 403,
        "a node may not give itself a label that is reserved for others",
        `a node gave itself a reserved label: ${status} ${body.message ?? ""}`,
      );
    },
  },
  { id: "1.2.15", title: "the API server is not open to profiling", run: profiling },
  {
    id: "1.2.16",
    title: "an audit log is written",
    run: ({ flags }) =>
      either(
        !isUnset(flags["audit-log-path"]),
        `--audit-log-path is ${flags["audit-log-path"]}`,
        "--audit-log-path is not set",
      ),
  },
  {
    id: "1.2.17",
    title: "audit logs are kept 30 days",
    run: atLeast("audit-log-maxage", 30, "audit-log-path"),
  },
  {
    id: "1.2.18",
    title: "ten audit logs are kept",
    run: atLeast("audit-log-maxbackup", 10, "audit-log-path"),
  },
  {
    id: "1.2.19",
    title: "an audit log holds 100 MB",
    run: atLeast("audit-log-maxsize", 100, "audit-log-path"),
  },
  {
    id: "1.2.20",
    title: "requests come to an end",
    run: ({ flags }) =>
      flags["request-timeout"]
        ? pass(`--request-timeout is ${flags["request-timeout"]}`)
        : warn("--request-timeout is not known"),
  },
  {
    id: "1.2.21",
    title: "a ServiceAccount's token ends with its account",
    run: () =>
      pass("account, pod and Secret of a token are looked up at every use; there is no switch"),
  },
  {
    id: "1.2.22",
    title: "tokens are signed with a key pair",
    async run({ ask }) {
      const { body } = await ask("/openid/v1/jwks");
      const keys: { d?: string; kty: string }[] = body.keys ?? [];
      return either(
        keys.length > 0 && keys.every((key) => key.d === undefined && key.kty !== "oct"),
        `${keys.length} public key${keys.length === 1 ? "" : "s"} published`,
        "no public key is published",
      );
    },
  },
  ...notThere([["1.2.23", "certificates towards etcd"]], EMBEDDED),
  {
    id: "1.2.24",
    title: "the API server serves over TLS",
    async run({ greets }) {
      if (!greets) return none("it serves in this process only");
      const good = await greets(TLS_1_2, STRONG_SUITES);
      return either(good, "it answers a TLS greeting", "it does not answer a TLS greeting");
    },
  },
  {
    id: "1.2.25",
    title: "clients may prove themselves by certificates",
    run: ({ credentials }) =>
      credentials === "certificate"
        ? pass("this check itself did")
        : warn("this check used a token: certificates were not tried"),
  },
  ...notThere([["1.2.26", "an authority to know etcd by"]], EMBEDDED),
  {
    id: "1.2.27",
    title: "Secrets are encrypted at rest",
    async run({ flags, modeOf }) {
      const file = flags["encryption-provider-config"];
      if (!isUnset(file)) return pass(`--encryption-provider-config is ${file}`);
      if (!modeOf) {
        return pass("Secrets are sealed by the database's own key where nothing else is said");
      }
      const key = await modeOf("cluster.db.key");
      return either(
        key !== undefined,
        "sealed by cluster.db.key",
        "the data folder has no sealing key",
      );
    },
  },
  {
    id: "1.2.28",
    title: "by strong providers",
    run: ({ flags }) =>
      isUnset(flags["encryption-provider-config"])
        ? pass("AES-256-GCM, each value bound to its path")
        : warn(
          "see that the first provider of secrets is aesgcm or secretbox, and identity is not among them",
        ),
  },
  {
    id: "1.2.29",
    title: "only strong ciphers are agreed to",
    async run({ greets }) {
      if (!greets) return none("it serves in this process only");
      const old = await greets(TLS_1_1, [...STRONG_SUITES, ...WEAK_SUITES]);
      const weak = await greets(TLS_1_2, WEAK_SUITES);
      return either(
        !old && !weak,
        "TLS 1.1 and weak ciphers are refused",
        `TLS 1.1: ${old}, weak ciphers: ${weak}`,
      );
    },
  },
  {
    id: "1.2.30",
    title: "tokens of pods do not live longer than they say",
    run: ({ flags }) =>
      flags["service-account-extend-token-expiration"] === "false"
        ? pass("--service-account-extend-token-expiration is false")
        : warn(
          "tokens of pods live a year beyond their renewal (--service-account-extend-token-expiration)",
        ),
  },
];

const OTHERS: Check[] = [
  {
    id: "1.3.1",
    title: "pods that have ended are collected",
    run: () => warn("they are from 12,500 on; see whether that suits you"),
  },
  { id: "1.3.2", title: "the controllers are not open to profiling", run: profiling },
  {
    id: "1.3.3",
    title: "each controller acts under its own account",
    async run(facts) {
      const user = "system:serviceaccount:kube-system:deployment-controller";
      const groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system"];
      const sets = { verb: "create", group: "apps", resource: "replicasets" };
      const own = await may(facts, user, groups, sets);
      const other = await may(facts, user, groups, { verb: "get", resource: "secrets" });
      return either(
        own.allowed && !other.allowed,
        "deployment-controller may make ReplicaSets and not read Secrets",
        `deployment-controller: ReplicaSets ${own.allowed}, Secrets ${other.allowed}`,
      );
    },
  },
  {
    id: "1.3.4",
    title: "tokens are signed by a private key",
    run: () =>
      pass("it lies sealed in the database, or is named by --service-account-signing-key-file"),
  },
  {
    id: "1.3.5",
    title: "pods can know the API server",
    async run(facts) {
      const maps = await facts.list("/api/v1/configmaps");
      const having = new Set(
        maps.filter(({ metadata, data }) =>
          metadata.name === "kube-root-ca.crt" && data?.["ca.crt"]
        )
          .map(({ metadata }) => metadata.namespace),
      );
      const spaces = await facts.list("/api/v1/namespaces");
      const without = spaces.map(({ metadata }) => metadata.name).filter((name) =>
        !having.has(name)
      );
      return either(
        without.length === 0,
        "every namespace has kube-root-ca.crt",
        `no kube-root-ca.crt in ${without.join(", ")}`,
      );
    },
  },
  ...notThere(
    [["1.3.6", "nodes' serving certificates are renewed"]],
    "nodes serve nothing over a network",
  ),
  ...notThere([["1.3.7", "the controller manager listens on this machine only"]], `it ${NO_PORT}`),
  { id: "1.4.1", title: "the scheduler is not open to profiling", run: profiling },
  ...notThere([["1.4.2", "the scheduler listens on this machine only"]], `it ${NO_PORT}`),
  ...notThere([
    ["2.1", "etcd serves over TLS"],
    ["2.2", "etcd asks for certificates"],
    ["2.3", "etcd's certificates are not its own making"],
    ["2.4", "etcd's peers speak TLS"],
    ["2.5", "etcd's peers ask for certificates"],
    ["2.6", "etcd's peers' certificates are not their own making"],
    ["2.7", "etcd has an authority of its own"],
  ], EMBEDDED),
  {
    id: "3.1.1",
    title: "people do not sign in by client certificates",
    run: ({ flags }) =>
      isUnset(flags["oidc-issuer-url"]) && isUnset(flags["authentication-config"])
        ? warn(
          "no provider of identities is configured: certificates cannot be revoked before they end",
        )
        : pass("a provider of identities is configured"),
  },
  {
    id: "3.1.2",
    title: "people do not sign in by ServiceAccounts' tokens",
    async run(facts) {
      const secrets = await facts.list("/api/v1/secrets");
      const tokens = secrets.filter(({ type }) => type === "kubernetes.io/service-account-token");
      const names = tokens.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
      return names.length === 0
        ? pass("there are no tokens in Secrets")
        : warn(`tokens without an end lie in ${names.slice(0, 5).join(", ")}`);
    },
  },
  {
    id: "3.1.3",
    title: "people do not sign in by bootstrap tokens",
    async run(facts) {
      const secrets = await facts.list("/api/v1/secrets");
      const tokens = secrets.filter(({ type }) => type === "bootstrap.kubernetes.io/token");
      const endless = tokens.filter(({ data }) => !data?.expiration);
      if (tokens.length === 0) return pass("there are no bootstrap tokens");
      const names = endless.map(({ metadata }) => metadata.name);
      return names.length
        ? fail(`without an end: ${names.join(", ")}`)
        : warn(`${tokens.length} are about`);
    },
  },
  {
    id: "3.2.1",
    title: "there is an audit policy",
    run: ({ flags }) =>
      either(
        !isUnset(flags["audit-policy-file"]),
        `--audit-policy-file is ${flags["audit-policy-file"]}`,
        "--audit-policy-file is not set",
      ),
  },
  {
    id: "3.2.2",
    title: "and it covers what matters",
    run: ({ flags }) =>
      isUnset(flags["audit-policy-file"])
        ? fail("there is no audit policy")
        : warn("see that access to Secrets, changes of pods, roles and exec are logged"),
  },
];

/** Sections 1 to 3. */
export const CONTROL_PLANE: readonly Check[] = [...FILES, ...API_SERVER, ...OTHERS];
