/**
 * What somebody tries who wants more than he has: writes of roles and bindings in every form, tokens, Secrets,
 * certificates, pods, in his own name or another's. Each attempt is one request.
 */
import { Buffer } from "node:buffer";
import { type Any, type Identity, NAMESPACES } from "./rights.ts";
import { certificateCredential, type Credential, type World } from "./world.ts";

/** Draws from a seed. */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  /** A number in [0, 1). */
  next(): number {
    // xorshift32
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) / 2 ** 32;
  }

  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.next() * list.length)];
  }

  some<T>(list: readonly T[], most: number): T[] {
    return Array.from({ length: 1 + Math.floor(this.next() * most) }, () => this.pick(list));
  }

  yes(probability: number): boolean {
    return this.next() < probability;
  }
}

/** One request, and what it would change. */
export interface Attempt {
  method: string;
  path: string;
  type?: string;
  body?: Any;
  as?: { user: string; groups: string[] };
  /** What the answer may bring: credentials. */
  gain?: (answer: Any, world: World) => Promise<Credential[]> | Credential[];
}

const RBAC = "/apis/rbac.authorization.k8s.io/v1";
const CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const ROLE_NAMES = [
  "r1",
  "r2",
  "actor",
  "strong",
  "gather",
  "edit",
  "admin",
  "cluster-admin",
  "view",
];
export const ACCOUNTS = ["default", "robot", "late"];
export const USERS = ["actor", "puppet", "victim"];
export const GROUPS = ["ops", "on-duty", "system:masters", "system:nodes"];
const VERBS = ["get", "list", "create", "update", "delete", "patch", "*"];
const RESOURCES = ["pods", "secrets", "configmaps", "serviceaccounts/token", "*"];

/** A rule, mostly of little might. */
export function randomRule(chance: Chance): Any {
  if (chance.yes(0.12)) {
    const group = "rbac.authorization.k8s.io";
    return {
      verbs: chance.some(["create", "update", "patch", "delete", "bind", "escalate"], 3),
      apiGroups: [group],
      resources: chance.some(["roles", "rolebindings", "clusterroles", "clusterrolebindings"], 3),
      ...(chance.yes(0.3) ? { resourceNames: [chance.pick(ROLE_NAMES)] } : {}),
    };
  }
  if (chance.yes(0.1)) {
    return {
      verbs: ["impersonate"],
      apiGroups: [""],
      resources: [chance.pick(["users", "users", "groups", "serviceaccounts"])],
      ...(chance.yes(0.8)
        ? { resourceNames: [chance.pick([...USERS, ...GROUPS, ...ACCOUNTS])] }
        : {}),
    };
  }
  if (chance.yes(0.12)) {
    return {
      verbs: ["create"],
      apiGroups: [""],
      resources: ["serviceaccounts/token"],
      ...(chance.yes(0.7) ? { resourceNames: chance.some(ACCOUNTS, 2) } : {}),
    };
  }
  return {
    verbs: chance.some(VERBS.slice(0, chance.yes(0.1) ? 7 : 6), 2),
    apiGroups: [""],
    resources: chance.some(RESOURCES.slice(0, chance.yes(0.1) ? 5 : 4), 2),
    ...(chance.yes(0.15) ? { resourceNames: [chance.pick([...ACCOUNTS, "robot-token"])] } : {}),
  };
}

function randomSubject(chance: Chance): Any {
  const kind = chance.pick(["User", "User", "Group", "ServiceAccount"]);
  if (kind === "ServiceAccount") {
    return { kind, name: chance.pick(ACCOUNTS), namespace: chance.pick(NAMESPACES) };
  }
  const apiGroup = "rbac.authorization.k8s.io";
  const groups = ["ops", "on-duty", "system:authenticated"];
  return { kind, apiGroup, name: chance.pick(kind === "User" ? USERS : groups) };
}

const labelsOf = (chance: Chance) =>
  chance.pick<Any>([
    {},
    {},
    { into: "gather" },
    { "rbac.authorization.k8s.io/aggregate-to-view": "true" },
    { "rbac.authorization.k8s.io/aggregate-to-admin": "true" },
  ]);

/** A rule to be given away: mostly one that the actor holds, or a part of it. */
function lentRule(chance: Chance, world: World): Any {
  const held = ["actor", "writer"].flatMap((name) =>
    world.objects(`/registry/clusterroles/${name}`).flatMap((role) => role.rules ?? [])
  );
  if (held.length === 0 || chance.yes(0.35)) return randomRule(chance);
  const rule = structuredClone(chance.pick(held));
  if (chance.yes(0.4)) rule.verbs = [chance.pick(rule.verbs)];
  if (chance.yes(0.2)) rule.resources = [chance.pick(rule.resources), chance.pick(RESOURCES)];
  if (chance.yes(0.1)) delete rule.resourceNames;
  return rule;
}

/** A role or binding as it might be written. */
function randomObject(
  chance: Chance,
  world: World,
  { plural, name }: { plural: string; name: string },
): Any {
  const metadata = { name, labels: labelsOf(chance) };
  if (plural.endsWith("roles")) {
    const gathers = plural === "clusterroles" && chance.yes(0.1);
    return {
      metadata,
      rules: Array.from({ length: Math.floor(chance.next() * 3) }, () => lentRule(chance, world)),
      ...(gathers
        ? { aggregationRule: { clusterRoleSelectors: [{ matchLabels: { into: "gather" } }] } }
        : {}),
    };
  }
  const kind = plural === "rolebindings" ? chance.pick(["Role", "ClusterRole"]) : "ClusterRole";
  return {
    metadata,
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind, name: chance.pick(ROLE_NAMES) },
    subjects: chance.some([0, 1], 2).map(() => randomSubject(chance)),
  };
}

function rbacAttempt(chance: Chance, world: World): Attempt {
  const plural = chance.pick(["roles", "rolebindings", "clusterroles", "clusterrolebindings"]);
  const namespaced = !plural.startsWith("cluster");
  const namespace = chance.pick(NAMESPACES);
  const root = namespaced ? `${RBAC}/namespaces/${namespace}/${plural}` : `${RBAC}/${plural}`;
  const kinds: Record<string, string> = {
    roles: "Role",
    rolebindings: "RoleBinding",
    clusterroles: "ClusterRole",
    clusterrolebindings: "ClusterRoleBinding",
  };
  const head = { apiVersion: "rbac.authorization.k8s.io/v1", kind: kinds[plural] };
  const bindings = plural.endsWith("bindings");
  const name = bindings ? chance.pick(["b1", "b2", "lent", "actor"]) : chance.pick(ROLE_NAMES);
  const path = `${root}/${name}`;
  const object = { ...head, ...randomObject(chance, world, { plural, name }) };
  const where = namespaced ? `${namespace}/${name}` : name;
  const [stored] = world.objects(`/registry/${plural}/${where}`)
    .filter((one) => one.metadata.name === name);
  switch (
    chance.pick(["create", "create", "replace", "alter", "merge", "json", "apply", "delete", "all"])
  ) {
    case "create":
      return { method: "POST", path: root, body: object };
    case "replace":
      return { method: "PUT", path, body: object };
    case "alter": {
      // What is there with one thing changed, as somebody would who may read it
      const body = stored ? structuredClone(stored) : object;
      Object.assign(body, head);
      delete body.metadata.managedFields;
      delete body.metadata.resourceVersion;
      if (bindings) body.subjects = [...body.subjects ?? [], randomSubject(chance)];
      else if (chance.yes(0.5)) body.rules = [...body.rules ?? [], lentRule(chance, world)];
      else body.metadata.labels = { ...body.metadata.labels, ...labelsOf(chance) };
      return { method: "PUT", path, body };
    }
    case "merge": {
      const { metadata: _m, ...rest } = object;
      const body = chance.yes(0.3) ? { metadata: { labels: labelsOf(chance) } } : rest;
      return { method: "PATCH", path, type: "application/merge-patch+json", body };
    }
    case "json": {
      const body = bindings
        ? [{ op: "add", path: "/subjects/-", value: randomSubject(chance) }]
        : [{ op: "add", path: "/rules/-", value: lentRule(chance, world) }];
      return { method: "PATCH", path, type: "application/json-patch+json", body };
    }
    case "apply":
      return {
        method: "PATCH",
        path: `${path}?fieldManager=x&force=${chance.yes(0.5)}`,
        type: "application/apply-patch+yaml",
        body: object,
      };
    case "delete":
      return { method: "DELETE", path };
    default:
      return { method: "DELETE", path: root };
  }
}

const bearer = (identity: Identity, token: string): Credential => ({ identity, token });

async function ofToken(token: string, world: World): Promise<Credential[]> {
  try {
    const { user } = await world.auth.tokens.authenticate(token);
    return [bearer(user, token)];
  } catch {
    return [];
  }
}

function accountAttempt(chance: Chance): Attempt {
  const namespace = chance.pick(NAMESPACES);
  const name = chance.pick(ACCOUNTS);
  const root = `/api/v1/namespaces/${namespace}`;
  const secret = `${name}-token`;
  const readSecrets = async (answer: Any, world: World) => {
    const found = await Promise.all(
      (answer.items ?? [answer]).map((one: Any) =>
        one.data?.token ? ofToken(Buffer.from(one.data.token, "base64").toString(), world) : []
      ),
    );
    return found.flat();
  };
  switch (
    chance.pick([
      "token",
      "token",
      "bound",
      "account",
      "gone",
      "secret",
      "read",
      "list",
      "pod",
      "bind",
    ])
  ) {
    case "token":
    case "bound": {
      const bound = chance.yes(0.3)
        ? { boundObjectRef: { apiVersion: "v1", kind: "Pod", name: "p" } }
        : {};
      return {
        method: "POST",
        path: `${root}/serviceaccounts/${name}/token`,
        body: {
          apiVersion: "authentication.k8s.io/v1",
          kind: "TokenRequest",
          spec: { audiences: chance.yes(0.1) ? ["vault"] : [], ...bound },
        },
        gain: (answer, world) => ofToken(answer.status.token, world),
      };
    }
    case "account":
      return { method: "POST", path: `${root}/serviceaccounts`, body: { metadata: { name } } };
    case "gone":
      return { method: "DELETE", path: `${root}/serviceaccounts/${name}` };
    case "secret":
      return {
        method: "POST",
        path: `${root}/secrets`,
        body: {
          metadata: {
            name: secret,
            annotations: { "kubernetes.io/service-account.name": name },
          },
          type: "kubernetes.io/service-account-token",
        },
        // A forged copy of what the controller will write gives nothing
        gain: readSecrets,
      };
    case "read":
      return { method: "GET", path: `${root}/secrets/${secret}`, gain: readSecrets };
    case "list":
      return {
        method: "GET",
        path: chance.yes(0.3) ? "/api/v1/secrets" : `${root}/secrets`,
        gain: readSecrets,
      };
    case "pod":
      return {
        method: "POST",
        path: `${root}/pods`,
        body: {
          metadata: { name: "p" },
          spec: { serviceAccountName: name, containers: [{ name: "c", image: "i" }] },
        },
      };
    default:
      return {
        method: "POST",
        path: `${root}/pods/p/binding`,
        body: { metadata: { name: "p" }, target: { kind: "Node", name: "n1" } },
      };
  }
}

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]) as CryptoKeyPair;
const requests = new Map<string, Promise<string>>();

/** A request for a certificate, made once per subject: making one takes longer than a step. */
function requestFor(commonName: string, organization: string): Promise<string> {
  const key = `${commonName}/${organization}`;
  let made = requests.get(key);
  if (!made) {
    made = (async () => {
      const x509 = await import("@peculiar/x509");
      const request = await x509.Pkcs10CertificateRequestGenerator.create({
        name: [{ O: [organization] }, { CN: [commonName] }],
        keys,
        signingAlgorithm: algorithm,
      });
      return Buffer.from(request.toString("pem")).toString("base64");
    })();
    requests.set(key, made);
  }
  return made;
}

async function certificateAttempt(chance: Chance, world: World): Promise<Attempt> {
  const name = chance.pick(["c1", "c2"]);
  const path = `${CSRS}/${name}`;
  const [stored] = world.objects(`/registry/certificatesigningrequests/${name}`);
  switch (chance.pick(["ask", "ask", "approve", "approve", "forge", "read", "drop"])) {
    case "ask": {
      const [commonName, organization] = chance.pick([
        ["victim", "ops"],
        ["system:node:n1", "system:nodes"],
        ["root", "system:masters"],
        ["actor", "on-duty"],
      ]);
      const signerName = chance.pick([
        "kubernetes.io/kube-apiserver-client",
        "kubernetes.io/kube-apiserver-client-kubelet",
      ]);
      const request = await requestFor(commonName, organization);
      const usages = ["digital signature", "client auth"];
      return {
        method: "POST",
        path: CSRS,
        body: { metadata: { name }, spec: { request, signerName, usages } },
      };
    }
    case "approve": {
      const condition = { type: "Approved", status: "True", reason: "x", message: "x" };
      const body = { ...stored, status: { ...stored?.status, conditions: [condition] } };
      return { method: "PUT", path: `${path}/approval`, body };
    }
    case "forge": {
      const { status } = stored ?? {};
      const condition = { type: "Approved", status: "True", reason: "x", message: "x" };
      const more = chance.yes(0.5) ? { certificate: btoa("x") } : { conditions: [condition] };
      const body = { ...stored, status: { ...status, ...more } };
      return { method: "PUT", path: `${path}/status`, body };
    }
    case "read":
      return {
        method: "GET",
        path,
        gain(answer) {
          const pem = Buffer.from(answer.status?.certificate ?? "", "base64").toString();
          const found = pem.includes("BEGIN CERTIFICATE") && certificateCredential(pem);
          return found ? [found] : [];
        },
      };
    default:
      return { method: "DELETE", path };
  }
}

/** The next thing that is tried. */
export async function nextAttempt(chance: Chance, world: World): Promise<Attempt> {
  const what = chance.next();
  const attempt = what < 0.55
    ? rbacAttempt(chance, world)
    : what < 0.85
    ? accountAttempt(chance)
    : await certificateAttempt(chance, world);
  if (chance.yes(0.2)) {
    const accounts = NAMESPACES.flatMap((ns) =>
      ACCOUNTS.map((name) => `system:serviceaccount:${ns}:${name}`)
    );
    const named = world.objects("/registry/clusterroles/actor").flatMap((role) => role.rules ?? [])
      .filter((rule: Any) => rule.verbs?.includes("impersonate") && rule.resources[0] === "users")
      .flatMap((rule: Any) => rule.resourceNames ?? USERS);
    const users = named.length && chance.yes(0.6)
      ? named
      : [...USERS, ...accounts, "system:node:n1"];
    attempt.as = {
      user: chance.pick(users),
      groups: chance.yes(0.4) ? chance.some(GROUPS, 2) : [],
    };
  }
  return attempt;
}
