/**
 * A model of rights that shares nothing with the server: RBAC read off the stored objects anew at every question, the
 * Node authorizer's and the webhook's part as far as the test's world goes, and the closure of what somebody can
 * reach with what he was granted.
 */

// deno-lint-ignore no-explicit-any -- objects as they are stored
export type Any = any;

/** Somebody. */
export interface Identity {
  name: string;
  groups: readonly string[];
}

/** One question. */
export interface Atom {
  verb: string;
  group: string;
  resource: string;
  subresource?: string;
  /** Empty: the whole cluster. */
  namespace: string;
  name?: string;
}

/** The stored objects that decide. */
export interface Rbac {
  roles: readonly Any[];
  clusterRoles: readonly Any[];
  roleBindings: readonly Any[];
  clusterRoleBindings: readonly Any[];
}

export const NAMESPACES = ["red", "blue"];
const RBAC = "rbac.authorization.k8s.io";

/** What is asked at every step: every pair of a verb and a resource that matters here, everywhere. */
export const ATOMS: readonly Atom[] = [
  ...["get", "list", "create", "update", "delete"].flatMap((verb) =>
    ["pods", "secrets", "configmaps"].flatMap((resource) =>
      everywhere({ verb, group: "", resource })
    )
  ),
  ...["create", "update", "bind", "escalate"].flatMap((verb) => [
    ...everywhere({ verb, group: RBAC, resource: "roles" }),
    ...everywhere({ verb, group: RBAC, resource: "clusterroles" }),
  ]),
  ...["rolebindings", "clusterrolebindings"].flatMap((resource) =>
    everywhere({ verb: "create", group: RBAC, resource })
  ),
  ...everywhere({ verb: "create", group: "", resource: "serviceaccounts", subresource: "token" }),
  ...["users", "groups", "serviceaccounts"].map((resource) => ({
    verb: "impersonate",
    group: "",
    resource,
    namespace: "",
  })),
  { verb: "approve", group: "certificates.k8s.io", resource: "signers", namespace: "" },
  { verb: "get", group: "", resource: "nodes", namespace: "" },
];

function everywhere(atom: Omit<Atom, "namespace">): Atom[] {
  return ["", ...NAMESPACES].map((namespace) => ({ ...atom, namespace }));
}

/** An atom as one text. */
export function textOf(a: Atom): string {
  const what = a.subresource ? `${a.resource}/${a.subresource}` : a.resource;
  return `${a.verb} ${what}.${a.group} ${a.name ?? ""} in ${a.namespace || "*"}`;
}

function covers(rule: Any, a: Atom): boolean {
  const has = (list: string[] | undefined, wanted: string) =>
    (list ?? []).some((one) => one === "*" || one === wanted);
  const what = a.subresource ? `${a.resource}/${a.subresource}` : a.resource;
  return has(rule.verbs, a.verb) && has(rule.apiGroups, a.group) &&
    (has(rule.resources, what) ||
      !!a.subresource && (rule.resources ?? []).includes(`*/${a.subresource}`)) &&
    (!rule.resourceNames?.length || rule.resourceNames.includes(a.name));
}

function reaches(subject: Any, who: Identity, namespace: string): boolean {
  if (subject.kind === "User") return subject.name === who.name;
  if (subject.kind === "Group") return who.groups.includes(subject.name);
  return subject.kind === "ServiceAccount" &&
    who.name === `system:serviceaccount:${subject.namespace || namespace}:${subject.name}`;
}

/** Whether RBAC lets somebody do something. */
export function rbacAllows(rbac: Rbac, who: Identity, a: Atom): boolean {
  if (who.groups.includes("system:masters")) return true;
  const bound = (binding: Any, namespace: string) => {
    if (!(binding.subjects ?? []).some((s: Any) => reaches(s, who, namespace))) return false;
    return rulesOf(rbac, binding.roleRef, namespace).some((rule) => covers(rule, a));
  };
  return rbac.clusterRoleBindings.some((b) => bound(b, "")) ||
    !!a.namespace &&
      rbac.roleBindings.some((b) => b.metadata.namespace === a.namespace && bound(b, a.namespace));
}

/** The rules that a reference to a role stands for. */
export function rulesOf(rbac: Rbac, ref: Any, namespace: string): Any[] {
  const role = ref.kind === "Role"
    ? rbac.roles.find((r) => r.metadata.name === ref.name && r.metadata.namespace === namespace)
    : rbac.clusterRoles.find((r) => r.metadata.name === ref.name);
  return role?.rules ?? [];
}

/** What the webhook of the test's world allows beside RBAC. */
export function webhookAllows(who: Identity, a: Atom): boolean {
  return who.groups.includes("on-duty") && a.verb === "get" && a.resource === "configmaps" &&
    a.namespace === "blue";
}

/** Whether somebody may, by all that decides in the test's world but the Node authorizer. */
export function allows(rbac: Rbac, who: Identity, a: Atom): boolean {
  return rbacAllows(rbac, who, a) || webhookAllows(who, a);
}

// --- closure ------------------------------------------------------------------------------------------

/** Who could be reached. */
export interface Others {
  users: readonly Identity[];
  groups: readonly string[];
  /** `namespace` and `name` of every ServiceAccount that is there or could be. */
  accounts: readonly { namespace: string; name: string }[];
}

/** The identity of a ServiceAccount. */
export function accountIdentity(
  { namespace, name }: { namespace: string; name: string },
): Identity {
  return {
    name: `system:serviceaccount:${namespace}:${name}`,
    groups: [
      "system:serviceaccounts",
      `system:serviceaccounts:${namespace}`,
      "system:authenticated",
    ],
  };
}

/** The most that somebody can come to do: `everything`, or the texts of these atoms. */
export interface Reach {
  everything: boolean;
  atoms: ReadonlySet<string>;
  identities: readonly Identity[];
}

/**
 * What follows from being `who`: identities that can be taken on (impersonation, tokens, Secrets, certificates) with
 * their rights, and roles that may be bound. From above: where a right could lead to more than is worked out here, it
 * counts as everything.
 */
export function reachOf(rbac: Rbac, who: Identity, others: Others): Reach {
  const identities = new Map<string, Identity>();
  const add = (one: Identity) => {
    const key = `${one.name} ${[...one.groups].sort().join()}`;
    if (identities.has(key)) return false;
    identities.set(key, one);
    return true;
  };
  add(who);
  const atoms = new Set<string>();
  for (;;) {
    const all = [...identities.values()];
    const may = (a: Atom) => all.some((one) => allows(rbac, one, a));
    for (const a of ATOMS) if (may(a)) atoms.add(textOf(a));
    if (unbounded(may)) return { everything: true, atoms, identities: all };
    let grown = false;
    for (const one of reachable(may, others)) grown = add(one) || grown;
    for (const a of bindable(rbac, may)) {
      if (atoms.has(a)) continue;
      atoms.add(a);
      grown = true;
    }
    if (grown && atoms.size && bindsStrong(rbac, may)) {
      return { everything: true, atoms, identities: all };
    }
    if (!grown) return { everything: false, atoms, identities: all };
  }
}

type May = (a: Atom) => boolean;

const SIGNERS = [
  "kubernetes.io/kube-apiserver-client",
  "kubernetes.io/kube-apiserver-client-kubelet",
  "kubernetes.io/legacy-unknown",
];

/** Rights from which anything can follow. */
function unbounded(may: May): boolean {
  const at = (atom: Omit<Atom, "namespace">) => everywhere(atom).some(may);
  const changes = (resource: string) =>
    ["create", "update", "patch"].some((verb) => at({ verb, group: RBAC, resource }));
  for (const resource of ["roles", "clusterroles"]) {
    if (changes(resource) && at({ verb: "escalate", group: RBAC, resource })) return true;
  }
  const csr = {
    group: "certificates.k8s.io",
    resource: "certificatesigningrequests",
    namespace: "",
  };
  const approves = ["update", "patch"].some((verb) =>
    may({ ...csr, verb, subresource: "approval" })
  );
  return approves &&
    SIGNERS.some((name) =>
      may({
        verb: "approve",
        group: "certificates.k8s.io",
        resource: "signers",
        namespace: "",
        name,
      })
    );
}

/** Roles with rights that lie outside the atoms, so that binding them counts as everything. */
function bindsStrong(rbac: Rbac, may: May): boolean {
  return rbac.clusterRoles.some((role) =>
    (role.rules ?? []).some((rule: Any) => rule.verbs?.includes("*")) &&
    binds(role, "clusterroles", may)
  );
}

function binds(role: Any, resource: string, may: May): boolean {
  const name = role.metadata.name;
  const places = role.metadata.namespace ? [role.metadata.namespace] : ["", ...NAMESPACES];
  return places.some((namespace) => {
    const kinds = namespace ? ["rolebindings"] : ["clusterrolebindings"];
    return may({ verb: "bind", group: RBAC, resource, namespace, name }) &&
      kinds.some((kind) =>
        ["create", "update", "patch"].some((verb) =>
          may({ verb, group: RBAC, resource: kind, namespace })
        )
      );
  });
}

/** Atoms of roles that may be bound, where they may. */
function bindable(rbac: Rbac, may: May): string[] {
  const found: string[] = [];
  const collect = (role: Any, resource: string) => {
    if (!binds(role, resource, may)) return;
    for (const a of ATOMS) {
      if ((role.rules ?? []).some((rule: Any) => covers(rule, a))) found.push(textOf(a));
    }
  };
  for (const role of rbac.clusterRoles) collect(role, "clusterroles");
  for (const role of rbac.roles) collect(role, "roles");
  return found;
}

/** Identities that somebody with these rights can take on. */
function* reachable(may: May, { users, groups, accounts }: Others): Generator<Identity> {
  const impersonates = (resource: string, name: string, namespace = "") =>
    may({ verb: "impersonate", group: "", resource, namespace, name });
  const taken = groups.filter((name) => impersonates("groups", name));
  for (const user of users) {
    if (impersonates("users", user.name)) {
      yield { name: user.name, groups: [...taken, "system:authenticated"] };
    }
  }
  for (const account of accounts) {
    const { namespace, name } = account;
    const asked = { group: "", namespace };
    const impersonated = impersonates("serviceaccounts", name, namespace);
    const token = may({
      ...asked,
      verb: "create",
      resource: "serviceaccounts",
      subresource: "token",
      name,
    });
    // Whoever reads Secrets reads the tokens in them; whoever makes them has tokens made
    const secret = ["get", "list", "watch"].some((verb) =>
      may({ ...asked, verb, resource: "secrets" })
    ) || may({ ...asked, verb: "get", resource: "secrets", name: `${name}-token` });
    if (impersonated) {
      yield { ...accountIdentity(account), groups: [...accountIdentity(account).groups, ...taken] };
    }
    if (token || secret) yield accountIdentity(account);
  }
}
