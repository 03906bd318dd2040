import { assert, assertEquals } from "@std/assert";
import type { User } from "../client/contract.ts";
import { forbiddenRequest, inOrder } from "./authorize.ts";
import { bootstrapPolicy, bootstrapRoleWrites, controllerAccounts } from "./bootstrap_roles.ts";
import type { Attributes, PolicyRule } from "./contract.ts";
import { DECISIONS_MAX, NAMESPACES_INDEXED_MAX } from "./limits.ts";
import { RbacAuthorizer } from "./rbac.ts";
import { State } from "./state_fixture.ts";

const user = (name: string, ...groups: string[]): User => ({ name, groups });

function ask(who: User, verb: string, what: string, more: Partial<Attributes> = {}): Attributes {
  if (what.startsWith("/")) {
    return { ...blank(who, verb), resourceRequest: false, path: what, ...more };
  }
  const [resource, subresource = ""] = what.split("/");
  return { ...blank(who, verb), resource, subresource, ...more };
}

function blank(who: User, verb: string): Attributes {
  return {
    user: who,
    verb,
    resourceRequest: true,
    group: "",
    version: "v1",
    resource: "",
    subresource: "",
    namespace: "",
    name: "",
    path: "",
  };
}

function role(state: State, name: string, namespace: string, ...rules: PolicyRule[]) {
  const kind = namespace ? "roles" : "clusterroles";
  const key = `/registry/${kind}/${namespace ? `${namespace}/` : ""}${name}`;
  state.put(key, { metadata: { name, ...(namespace ? { namespace } : {}) }, rules });
}

function bind(
  state: State,
  name: string,
  namespace: string,
  roleRef: string,
  ...subjects: Record<string, string>[]
) {
  const [kind, roleName] = roleRef.split(" ");
  const key = namespace
    ? `/registry/rolebindings/${namespace}/${name}`
    : `/registry/clusterrolebindings/${name}`;
  state.put(key, {
    metadata: { name, ...(namespace ? { namespace } : {}) },
    roleRef: { kind, name: roleName },
    subjects,
  });
}

const alice = user("alice", "devs", "system:authenticated");

Deno.test("RbacAuthorizer() matches rules as upstream does", async (t) => {
  const pods = { verbs: ["get"], apiGroups: [""], resources: ["pods"] };
  const cases: [string, PolicyRule, Attributes, boolean][] = [
    ["resource", pods, ask(alice, "get", "pods"), true],
    ["another verb", pods, ask(alice, "list", "pods"), false],
    ["another group", pods, ask(alice, "get", "pods", { group: "apps" }), false],
    ["a subresource needs its own rule", pods, ask(alice, "get", "pods/log"), false],
    [
      "a subresource by name",
      { ...pods, resources: ["pods/log"] },
      ask(alice, "get", "pods/log"),
      true,
    ],
    [
      "a subresource of all",
      { ...pods, apiGroups: ["*"], resources: ["*/scale"] },
      ask(alice, "get", "deployments/scale", { group: "apps" }),
      true,
    ],
    [
      "*/scale is not the resource",
      { ...pods, resources: ["*/scale"] },
      ask(alice, "get", "pods"),
      false,
    ],
    [
      "star takes subresources in",
      { ...pods, resources: ["*"] },
      ask(alice, "get", "pods/exec"),
      true,
    ],
    ["names", { ...pods, resourceNames: ["a"] }, ask(alice, "get", "pods", { name: "a" }), true],
    [
      "other names",
      { ...pods, resourceNames: ["a"] },
      ask(alice, "get", "pods", { name: "b" }),
      false,
    ],
    [
      "names do not reach list",
      { ...pods, verbs: ["list"], resourceNames: ["a"] },
      ask(alice, "list", "pods"),
      false,
    ],
    ["url", { verbs: ["get"], nonResourceURLs: ["/metrics"] }, ask(alice, "get", "/metrics"), true],
    [
      "url below",
      { verbs: ["get"], nonResourceURLs: ["/logs/*"] },
      ask(alice, "get", "/logs/a/b"),
      true,
    ],
    [
      "url beside",
      { verbs: ["get"], nonResourceURLs: ["/logs/*"] },
      ask(alice, "get", "/logsx"),
      false,
    ],
    [
      "url rules are not for resources",
      { verbs: ["*"], nonResourceURLs: ["*"] },
      ask(alice, "get", "pods"),
      false,
    ],
  ];
  for (const [name, rule, attributes, allowed] of cases) {
    await t.step(name, () => {
      const state = new State();
      role(state, "r", "", rule);
      bind(state, "b", "", "ClusterRole r", { kind: "Group", name: "devs" });
      const decision = new RbacAuthorizer(() => state.view()).authorize(attributes);
      assertEquals(decision.allowed, allowed);
      if (allowed) {
        assertEquals(
          decision.reason,
          'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "r" to Group "devs"',
        );
      }
    });
  }
});

Deno.test("RbacAuthorizer() sees each committed change at once", () => {
  const state = new State();
  const rbac = new RbacAuthorizer(() => state.view());
  const list = ask(alice, "list", "pods", { namespace: "ns" });
  const elsewhere = ask(alice, "list", "pods", { namespace: "other" });
  assert(!rbac.authorize(list).allowed);
  role(state, "reader", "ns", { verbs: ["list"], apiGroups: [""], resources: ["pods"] });
  bind(state, "b", "ns", "Role reader", { kind: "User", name: "alice" });
  assert(rbac.authorize(list).allowed);
  assert(!rbac.authorize(elsewhere).allowed);
  role(state, "reader", "ns", { verbs: ["get"], apiGroups: [""], resources: ["pods"] });
  assert(!rbac.authorize(list).allowed);
  role(state, "reader", "ns", { verbs: ["list"], apiGroups: [""], resources: ["pods"] });
  assert(rbac.authorize(list).allowed);
  state.delete("/registry/roles/ns/reader");
  assertEquals(
    rbac.authorize(list).reason,
    'RBAC: role.rbac.authorization.k8s.io "reader" not found',
  );
  state.delete("/registry/rolebindings/ns/b");
  assertEquals(rbac.authorize(list), { allowed: false });
});

Deno.test("RbacAuthorizer() gives a role binding's ServiceAccount its namespace", () => {
  const state = new State();
  role(state, "r", "", { verbs: ["*"], apiGroups: ["*"], resources: ["*"] });
  bind(state, "b", "ns", "ClusterRole r", { kind: "ServiceAccount", name: "sa" });
  bind(state, "c", "", "ClusterRole r", { kind: "ServiceAccount", name: "sb" });
  const rbac = new RbacAuthorizer(() => state.view());
  const sa = user("system:serviceaccount:ns:sa");
  const decision = rbac.authorize(ask(sa, "get", "pods", { namespace: "ns" }));
  assertEquals(
    decision.reason,
    'RBAC: allowed by RoleBinding "b/ns" of ClusterRole "r" to ServiceAccount "sa/ns"',
  );
  assert(!rbac.authorize(ask(sa, "get", "pods")).allowed);
  assert(!rbac.authorize(ask(user("system:serviceaccount::sb"), "get", "pods")).allowed);
});

Deno.test("inOrder() lets system:masters pass whatever the roles say", () => {
  const authorizer = inOrder([new RbacAuthorizer(() => new State().view())]);
  assert(authorizer.authorize(ask(user("x", "system:masters"), "delete", "nodes")).allowed);
});

Deno.test("forbiddenRequest() says what upstream says", () => {
  const bob = user("bob");
  const cases: [Attributes, string][] = [
    [
      ask(bob, "list", "pods", { namespace: "default" }),
      'pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "default"',
    ],
    [
      ask(bob, "get", "deployments/scale", { group: "apps", name: "web", namespace: "a" }),
      'deployments.apps "web" is forbidden: User "bob" cannot get resource "deployments/scale" in ' +
      'API group "apps" in the namespace "a"',
    ],
    [
      ask(bob, "list", "nodes"),
      'nodes is forbidden: User "bob" cannot list resource "nodes" in API group "" at the cluster scope',
    ],
    [ask(bob, "get", "/metrics"), 'forbidden: User "bob" cannot get path "/metrics"'],
  ];
  for (const [attributes, message] of cases) {
    assertEquals(forbiddenRequest(attributes, { allowed: false }).message, message);
  }
});

function bootstrapped(): State {
  const state = new State();
  let n = 0;
  const context = { now: 0, uuid: () => `u${n++}` };
  for (const { key, object } of bootstrapRoleWrites(state.view(), context)) state.put(key, object);
  assertEquals(bootstrapRoleWrites(state.view(), context), []);
  return state;
}

Deno.test("bootstrapRoleWrites() creates upstream's roles once, and restores what was taken away", () => {
  const state = bootstrapped();
  const context = { now: 0, uuid: () => "u" };
  assertEquals(state.view().count("/registry/clusterroles/"), 31 + 1 + controllerAccounts().length);
  assertEquals(
    state.view().count("/registry/clusterrolebindings/"),
    12 + controllerAccounts().length,
  );
  const discovery = state.view().get("/registry/clusterroles/system:discovery")!.value;
  state.put("/registry/clusterroles/system:discovery", { ...discovery, rules: [] });
  const repaired = bootstrapRoleWrites(state.view(), context);
  assertEquals(repaired.map((w) => w.key), ["/registry/clusterroles/system:discovery"]);
  assertEquals(repaired[0].object.rules, discovery.rules);
  const annotations = { "rbac.authorization.kubernetes.io/autoupdate": "false" };
  const metadata = { ...discovery.metadata, annotations };
  state.put("/registry/clusterroles/system:discovery", { ...discovery, metadata, rules: [] });
  assertEquals(bootstrapRoleWrites(state.view(), context), []);
});

Deno.test("bootstrapRoleWrites() keeps what people added to a binding", () => {
  const state = bootstrapped();
  const key = "/registry/clusterrolebindings/cluster-admin";
  const binding = state.view().get(key)!.value;
  const mine = { kind: "User", name: "me", apiGroup: "rbac.authorization.k8s.io" };
  state.put(key, { ...binding, subjects: [mine] });
  const [write] = bootstrapRoleWrites(state.view(), { now: 0, uuid: () => "u" });
  assertEquals(write.object.subjects.map((s: { name: string }) => s.name), [
    "me",
    "system:masters",
  ]);
});

Deno.test("bootstrapPolicy() fills admin, edit and view by aggregation", () => {
  const state = bootstrapped();
  const rbac = new RbacAuthorizer(() => state.view());
  for (const name of ["admin", "edit", "view"]) {
    bind(state, name, "ns", `ClusterRole ${name}`, { kind: "User", name });
  }
  const may = (who: string, verb: string, what: string, group = "") =>
    rbac.authorize(ask(user(who), verb, what, { group, namespace: "ns" })).allowed;
  assert(may("view", "list", "pods"));
  assert(may("view", "get", "pods/log"));
  assert(may("view", "list", "pods", "metrics.k8s.io"));
  assert(!may("view", "get", "secrets"));
  assert(!may("view", "create", "pods"));
  assert(may("edit", "create", "pods/exec"));
  assert(may("edit", "get", "secrets"));
  assert(!may("edit", "create", "rolebindings", "rbac.authorization.k8s.io"));
  assert(may("admin", "create", "rolebindings", "rbac.authorization.k8s.io"));
  assert(!may("admin", "update", "resourcequotas"));
  assert(bootstrapPolicy().length > 130);
});

Deno.test("bootstrapPolicy() lets everybody discover and nobody else more", () => {
  const state = bootstrapped();
  const rbac = new RbacAuthorizer(() => state.view());
  const anonymous = user("system:anonymous", "system:unauthenticated");
  assert(rbac.authorize(ask(alice, "get", "/api/v1")).allowed);
  assert(rbac.authorize(ask(anonymous, "get", "/healthz")).allowed);
  assert(rbac.authorize(ask(anonymous, "get", "/version")).allowed);
  assert(!rbac.authorize(ask(anonymous, "get", "/api")).allowed);
  assert(!rbac.authorize(ask(alice, "get", "/metrics")).allowed);
  const review = ask(alice, "create", "selfsubjectaccessreviews", {
    group: "authorization.k8s.io",
  });
  assert(rbac.authorize(review).allowed);
  const controller = user("system:serviceaccount:kube-system:deployment-controller");
  assert(rbac.authorize(ask(controller, "create", "replicasets", { group: "apps" })).allowed);
  assert(!rbac.authorize(ask(controller, "get", "secrets")).allowed);
});

Deno.test("RbacAuthorizer() stays right when it has more to remember than it may", () => {
  const state = new State();
  role(state, "r", "", {
    verbs: ["get"],
    apiGroups: [""],
    resources: ["pods"],
    resourceNames: ["p7"],
  });
  bind(state, "b", "", "ClusterRole r", { kind: "User", name: "alice" });
  const rbac = new RbacAuthorizer(() => state.view());
  for (let i = 0; i <= DECISIONS_MAX + 10; i++) {
    const { allowed } = rbac.authorize(ask(alice, "get", "pods", { name: `p${i}` }));
    assertEquals(allowed, i === 7);
  }
  assert(rbac.authorize(ask(alice, "get", "pods", { name: "p7" })).allowed);
  for (let i = 0; i <= NAMESPACES_INDEXED_MAX + 1; i++) {
    rbac.authorize(ask(alice, "list", "pods", { namespace: `n${i}` }));
  }
  role(state, "local", "n0", { verbs: ["list"], apiGroups: [""], resources: ["pods"] });
  bind(state, "l", "n0", "Role local", { kind: "User", name: "alice" });
  assert(rbac.authorize(ask(alice, "list", "pods", { namespace: "n0" })).allowed);
  assert(!rbac.authorize(ask(alice, "list", "pods", { namespace: "n1" })).allowed);
});
