/** Section 5: roles, pods, networks, Secrets, namespaces. What belongs to the system itself is not counted. */
import {
  type Check,
  type Facts,
  nobody,
  type Obj,
  pass,
  type Result,
  shown,
  warn,
} from "./contract.ts";

const RBAC = "/apis/rbac.authorization.k8s.io/v1";
const SYSTEM = new Set(["kube-system", "kube-public", "kube-node-lease"]);
/** Roles that come with the cluster. */
const BOOTSTRAPPED = "kubernetes.io/bootstrapping";

interface Rule {
  apiGroups?: string[];
  resources?: string[];
  verbs?: string[];
}

async function ownRoles(facts: Facts): Promise<Obj[]> {
  const roles = [...await facts.list(`${RBAC}/clusterroles`), ...await facts.list(`${RBAC}/roles`)];
  return roles.filter(({ metadata }) => metadata.labels?.[BOOTSTRAPPED] === undefined);
}

const nameOf = ({ metadata: { namespace, name } }: Obj) =>
  namespace ? `${namespace}/${name}` : name;

/** Roles with a rule that gives any of these verbs on any of these resources. */
function rolesWith(
  group: string,
  resources: readonly string[],
  verbs: readonly string[],
  what: string,
) {
  return async (facts: Facts): Promise<Result> => {
    const has = (list: string[] = [], wanted: readonly string[]) =>
      list.includes("*") || wanted.some((one) => list.includes(one));
    const gives = ({ apiGroups, resources: on, verbs: to }: Rule) =>
      has(apiGroups, [group]) && has(on, resources) && has(to, verbs);
    const found = (await ownRoles(facts)).filter((role) => (role.rules ?? []).some(gives));
    return nobody(found.map(nameOf), what, "WARN");
  };
}

async function bindings(facts: Facts): Promise<Obj[]> {
  return [
    ...await facts.list(`${RBAC}/clusterrolebindings`),
    ...await facts.list(`${RBAC}/rolebindings`),
  ];
}

interface Subject {
  kind: string;
  name: string;
  namespace?: string;
}

async function ownPods(facts: Facts): Promise<Obj[]> {
  const pods = await facts.list("/api/v1/pods");
  return pods.filter(({ metadata }) => !SYSTEM.has(metadata.namespace!));
}

// deno-lint-ignore no-explicit-any -- containers as they are served
type Container = any;

function containersOf({ spec }: Obj): Container[] {
  return [
    ...spec.containers ?? [],
    ...spec.initContainers ?? [],
    ...spec.ephemeralContainers ?? [],
  ];
}

/** Pods of which something is so. */
function podsWith(test: (pod: Obj) => boolean, what: string, verdict: "FAIL" | "WARN" = "FAIL") {
  return async (facts: Facts): Promise<Result> =>
    nobody((await ownPods(facts)).filter(test).map(nameOf), what, verdict);
}

const anyContainer = (test: (container: Container, pod: Obj) => boolean) => (pod: Obj) =>
  containersOf(pod).some((container) => test(container, pod));

const added = (container: Container): string[] =>
  container.securityContext?.capabilities?.add ?? [];
const dropped = (container: Container): string[] =>
  container.securityContext?.capabilities?.drop ?? [];

const ROLES: Check[] = [
  {
    id: "5.1.1",
    title: "cluster-admin is given to few",
    async run(facts) {
      const found = (await bindings(facts)).filter(({ roleRef, metadata }) =>
        roleRef?.name === "cluster-admin" && metadata.labels?.[BOOTSTRAPPED] === undefined
      );
      return nobody(found.map(nameOf), "bindings give cluster-admin");
    },
  },
  {
    id: "5.1.2",
    title: "few read Secrets",
    run: rolesWith("", ["secrets"], ["get", "list", "watch"], "roles of your own read Secrets"),
  },
  {
    id: "5.1.3",
    title: "roles say what they mean, not everything",
    async run(facts) {
      const wild = (rule: Rule) =>
        [rule.apiGroups, rule.resources, rule.verbs].some((list) => list?.includes("*"));
      const found = (await ownRoles(facts)).filter((role) => (role.rules ?? []).some(wild));
      return nobody(found.map(nameOf), "roles of your own use a star");
    },
  },
  {
    id: "5.1.4",
    title: "few make pods",
    run: rolesWith("", ["pods"], ["create"], "roles of your own make pods"),
  },
  {
    id: "5.1.5",
    title: "default accounts have no rights and give no tokens",
    async run(facts) {
      const subjects = (await bindings(facts)).flatMap((one) => (one.subjects ?? []) as Subject[]);
      const bound = subjects.filter(({ kind, name }) =>
        kind === "ServiceAccount" && name === "default"
      )
        .map(({ namespace }) => `${namespace}/default`);
      if (bound.length) return nobody(bound, "default accounts have roles");
      const accounts = await facts.list("/api/v1/serviceaccounts");
      const open = accounts.filter(({ metadata, automountServiceAccountToken }) =>
        metadata.name === "default" && !SYSTEM.has(metadata.namespace!) &&
        automountServiceAccountToken !== false
      );
      return nobody(open.map(nameOf), "default accounts give their token to every pod", "WARN");
    },
  },
  {
    id: "5.1.6",
    title: "tokens are mounted only where they are needed",
    run: podsWith(
      ({ spec }) => spec.automountServiceAccountToken !== false,
      "pods mount a token",
      "WARN",
    ),
  },
  {
    id: "5.1.7",
    title: "the group system:masters is not used",
    async run(facts) {
      const found = (await bindings(facts)).filter(({ subjects, metadata }) =>
        metadata.labels?.[BOOTSTRAPPED] === undefined &&
        ((subjects ?? []) as Subject[]).some(({ name }) => name === "system:masters")
      );
      if (found.length) return nobody(found.map(nameOf), "bindings name system:masters");
      return warn(
        "the administrator's own certificate is of system:masters: keep it for emergencies",
      );
    },
  },
  {
    id: "5.1.8",
    title: "few may bind, impersonate and escalate",
    async run(facts) {
      const risky = ["bind", "impersonate", "escalate"];
      const gives = ({ verbs = [] }: Rule) =>
        verbs.some((verb) => verb === "*" || risky.includes(verb));
      const found = (await ownRoles(facts)).filter((role) => (role.rules ?? []).some(gives));
      return nobody(found.map(nameOf), "roles of your own bind, impersonate or escalate", "WARN");
    },
  },
  {
    id: "5.1.9",
    title: "few make persistent volumes",
    run: rolesWith("", ["persistentvolumes"], ["create"], "roles of your own make volumes"),
  },
  {
    id: "5.1.10",
    title: "few reach nodes through the API server",
    run: rolesWith("", ["nodes/proxy"], ["get", "create"], "roles of your own reach nodes"),
  },
  {
    id: "5.1.11",
    title: "few approve certificate requests",
    run: rolesWith(
      "certificates.k8s.io",
      ["certificatesigningrequests/approval"],
      ["update", "patch"],
      "roles of your own approve requests",
    ),
  },
  {
    id: "5.1.12",
    title: "few configure admission webhooks",
    run: rolesWith(
      "admissionregistration.k8s.io",
      ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"],
      ["create", "update", "patch", "delete"],
      "roles of your own configure webhooks",
    ),
  },
  {
    id: "5.1.13",
    title: "few make tokens of accounts",
    run: rolesWith("", ["serviceaccounts/token"], ["create"], "roles of your own make tokens"),
  },
];

const PODS: Check[] = [
  {
    id: "5.2.1",
    title: "something keeps pods within bounds",
    async run(facts) {
      const spaces = (await facts.list("/api/v1/namespaces"))
        .filter(({ metadata }) => !SYSTEM.has(metadata.name));
      const open = spaces.filter(({ metadata }) =>
        !["baseline", "restricted"].includes(
          metadata.labels?.["pod-security.kubernetes.io/enforce"] ?? "",
        )
      );
      const rules = await facts.list(
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
      );
      if (open.length === 0) return pass("every namespace enforces a level of Pod Security");
      const names = shown(open.map(nameOf));
      return rules.length
        ? warn(`policies are bound; without a level of Pod Security: ${names}`)
        : nobody(open.map(nameOf), "namespaces enforce no level of Pod Security");
    },
  },
  {
    id: "5.2.2",
    title: "no privileged containers",
    run: podsWith(
      anyContainer((c) => c.securityContext?.privileged === true),
      "pods are privileged",
    ),
  },
  {
    id: "5.2.3",
    title: "no pods among the machine's processes",
    run: podsWith(({ spec }) => spec.hostPID === true, "pods share the machine's processes"),
  },
  {
    id: "5.2.4",
    title: "no pods in the machine's memory",
    run: podsWith(({ spec }) => spec.hostIPC === true, "pods share the machine's memory segments"),
  },
  {
    id: "5.2.5",
    title: "no pods on the machine's network",
    run: podsWith(({ spec }) => spec.hostNetwork === true, "pods share the machine's network"),
  },
  {
    id: "5.2.6",
    title: "no containers that may gain privileges",
    run: podsWith(
      anyContainer((c) => c.securityContext?.allowPrivilegeEscalation !== false),
      "pods may gain privileges",
    ),
  },
  {
    id: "5.2.7",
    title: "no containers as root",
    run: podsWith(
      anyContainer((c, { spec }) =>
        (c.securityContext?.runAsNonRoot ?? spec.securityContext?.runAsNonRoot) !== true &&
        !((c.securityContext?.runAsUser ?? spec.securityContext?.runAsUser) > 0)
      ),
      "pods may run as root",
      "WARN",
    ),
  },
  {
    id: "5.2.8",
    title: "no containers that may forge packets",
    run: podsWith(
      anyContainer((c) =>
        !dropped(c).some((name) => name === "ALL" || name === "NET_RAW") ||
        added(c).includes("NET_RAW")
      ),
      "pods keep NET_RAW",
      "WARN",
    ),
  },
  {
    id: "5.2.9",
    title: "no containers with more capabilities than usual",
    run: podsWith(
      anyContainer((c) => added(c).some((name) => name !== "NET_BIND_SERVICE")),
      "pods add capabilities",
    ),
  },
  {
    id: "5.2.10",
    title: "containers give up what they do not need",
    run: podsWith(
      anyContainer((c) => !dropped(c).includes("ALL")),
      "pods keep capabilities",
      "WARN",
    ),
  },
  {
    id: "5.2.11",
    title: "no host processes on Windows",
    run: podsWith(
      (pod) =>
        pod.spec.securityContext?.windowsOptions?.hostProcess === true ||
        anyContainer((c) => c.securityContext?.windowsOptions?.hostProcess === true)(pod),
      "pods are host processes",
    ),
  },
  {
    id: "5.2.12",
    title: "no folders of the machine in pods",
    run: podsWith(
      ({ spec }) => (spec.volumes ?? []).some((volume: Obj) => volume.hostPath !== undefined),
      "pods mount folders of the machine",
    ),
  },
  {
    id: "5.2.13",
    title: "no ports of the machine for pods",
    run: podsWith(
      anyContainer((c) => (c.ports ?? []).some((port: { hostPort?: number }) => port.hostPort)),
      "pods take ports of the machine",
    ),
  },
];

const REST: Check[] = [
  {
    id: "5.3.1",
    title: "the network can keep pods apart",
    run: () => warn("the loopback network of this process does not enforce NetworkPolicies"),
  },
  {
    id: "5.3.2",
    title: "every namespace has a network policy",
    async run(facts) {
      const having = new Set(
        (await facts.list("/apis/networking.k8s.io/v1/networkpolicies"))
          .map(({ metadata }) => metadata.namespace),
      );
      const without = (await facts.list("/api/v1/namespaces")).map(({ metadata }) => metadata.name)
        .filter((name) => !SYSTEM.has(name) && !having.has(name));
      return nobody(without, "namespaces have no network policy");
    },
  },
  {
    id: "5.4.1",
    title: "Secrets come as files, not as variables",
    run: podsWith(
      anyContainer((c) =>
        (c.env ?? []).some((env: Obj) => env.valueFrom?.secretKeyRef) ||
        (c.envFrom ?? []).some((from: Obj) => from.secretRef)
      ),
      "pods take Secrets as variables",
      "WARN",
    ),
  },
  {
    id: "5.4.2",
    title: "consider keeping Secrets elsewhere",
    run: () => warn("decide whether a store of Secrets outside of the cluster suits you better"),
  },
  {
    id: "5.5.1",
    title: "where images come from is controlled",
    run: ({ flags }) =>
      /\bImagePolicyWebhook\b/.test(flags["enable-admission-plugins"] ?? "")
        ? pass("the plugin ImagePolicyWebhook is on")
        : warn("the plugin ImagePolicyWebhook is off"),
  },
  {
    id: "5.7.1",
    title: "namespaces draw lines",
    async run(facts) {
      const own = (await facts.list("/api/v1/namespaces")).map(({ metadata }) => metadata.name)
        .filter((name) => !SYSTEM.has(name) && name !== "default");
      return own.length
        ? warn(`judge whether these suffice: ${shown(own)}`)
        : warn("there are none of your own");
    },
  },
  {
    id: "5.7.2",
    title: "pods have a seccomp profile",
    run: podsWith(
      anyContainer((c, { spec }) =>
        !["RuntimeDefault", "Localhost"].includes(
          c.securityContext?.seccompProfile?.type ?? spec.securityContext?.seccompProfile?.type ??
            "",
        )
      ),
      "pods have no seccomp profile",
      "WARN",
    ),
  },
  {
    id: "5.7.3",
    title: "pods have a security context",
    run: podsWith(
      anyContainer((c, { spec }) =>
        c.securityContext === undefined && !Object.keys(spec.securityContext ?? {}).length
      ),
      "pods have no security context",
      "WARN",
    ),
  },
  {
    id: "5.7.4",
    title: "the namespace default stays empty",
    async run(facts) {
      const pods = (await facts.list("/api/v1/pods")).filter(({ metadata }) =>
        metadata.namespace === "default"
      );
      if (pods.length === 0) return pass("no pods in default");
      return nobody(pods.map(nameOf), "pods are in default");
    },
  },
];

/** Section 5. */
export const POLICIES: readonly Check[] = [...ROLES, ...PODS, ...REST];
