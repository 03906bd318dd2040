import { assertEquals } from "@std/assert";
import type { User } from "../client/contract.ts";
import { inOrder } from "./authorize.ts";
import { impersonated } from "./impersonate.ts";
import { NodeAuthorizer } from "./node.ts";
import { RbacAuthorizer } from "./rbac.ts";
import { type ReviewContext, REVIEWS } from "./reviews.ts";
import { messageOf, State, stillClock, stored } from "./state_fixture.ts";
import { TokenKeys } from "./jwt.ts";
import { createTokenKey } from "./pki.ts";
import { Tokens } from "./tokens.ts";
import type { Attributes } from "./contract.ts";

const root = { name: "root", groups: ["system:masters"] };
const alice = { name: "alice", groups: ["devs"] };

function setup() {
  const state = new State();
  const view = () => state.view();
  const authorizer = inOrder([new NodeAuthorizer(view), new RbacAuthorizer(view)]);
  const grant = (user: string, ...rules: unknown[]) => {
    state.put(`/registry/clusterroles/${user}`, { metadata: { name: user }, rules });
    state.put(`/registry/clusterrolebindings/${user}`, {
      metadata: { name: user },
      roleRef: { kind: "ClusterRole", name: user },
      subjects: [{ kind: "User", name: user }],
    });
  };
  return { state, authorizer, grant };
}

Deno.test("impersonated() gives the groups that upstream gives", async (t) => {
  const { authorizer } = setup();
  type Case = [string, [string, string | string[]][], string, string[]];
  const cases: Case[] = [
    ["nobody", [], "root", ["system:masters"]],
    ["a user", [["Impersonate-User", "bob"]], "bob", ["system:authenticated"]],
    [
      "a user and groups",
      [["impersonate-user", "bob"], ["impersonate-group", ["a", "b"]]],
      "bob",
      ["a", "b", "system:authenticated"],
    ],
    [
      "joined groups",
      [["impersonate-user", "bob"], ["impersonate-group", "a, b"]],
      "bob",
      ["a", "b", "system:authenticated"],
    ],
    [
      "a service account",
      [["impersonate-user", "system:serviceaccount:ns:sa"]],
      "system:serviceaccount:ns:sa",
      ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"],
    ],
    [
      "anonymous",
      [["impersonate-user", "system:anonymous"]],
      "system:anonymous",
      ["system:unauthenticated"],
    ],
    [
      "unauthenticated group",
      [["impersonate-user", "bob"], ["impersonate-group", "system:unauthenticated"]],
      "bob",
      ["system:unauthenticated"],
    ],
  ];
  for (const [name, headers, user, groups] of cases) {
    await t.step(name, () => {
      const found = impersonated(root, headers, authorizer);
      assertEquals([found.name, [...found.groups]], [user, groups]);
    });
  }
  const full = impersonated(root, [
    ["Impersonate-User", "bob"],
    ["Impersonate-Uid", "u1"],
    ["Impersonate-Extra-Scopes", ["a", "b"]],
    ["Impersonate-Extra-Acme.com%2fProject", "x"],
  ], authorizer);
  assertEquals(full.uid, "u1");
  assertEquals(full.extra, { scopes: ["a", "b"], "acme.com/project": ["x"] });
});

Deno.test("impersonated() asks for the right to each thing", async () => {
  const { authorizer, grant } = setup();
  const as = (...headers: [string, string][]) =>
    messageOf(() => impersonated(alice, headers, authorizer));
  assertEquals(
    await as(["impersonate-user", "bob"]),
    'users "bob" is forbidden: User "alice" cannot impersonate resource "users" in API group "" ' +
      "at the cluster scope",
  );
  grant("alice", { verbs: ["impersonate"], apiGroups: [""], resources: ["users"] });
  assertEquals(await as(["impersonate-user", "bob"]), "");
  assertEquals(
    await as(["impersonate-user", "bob"], ["impersonate-group", "system:masters"]),
    'groups "system:masters" is forbidden: User "alice" cannot impersonate resource "groups" in ' +
      'API group "" at the cluster scope',
  );
  assertEquals(
    await as(["impersonate-user", "system:serviceaccount:ns:sa"]),
    'serviceaccounts "sa" is forbidden: User "alice" cannot impersonate resource ' +
      '"serviceaccounts" in API group "" in the namespace "ns"',
  );
  assertEquals(
    await as(["impersonate-user", "bob"], ["impersonate-extra-scopes", "a"]),
    'userextras.authentication.k8s.io "a" is forbidden: User "alice" cannot impersonate resource ' +
      '"userextras/scopes" in API group "authentication.k8s.io" at the cluster scope',
  );
  assertEquals(
    await as(["impersonate-group", "g"]),
    'requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"g"}, ' +
      "Extra:map[string][]string(nil)} without impersonating a user name",
  );
});

Deno.test("impersonated() constrains to what is requested, where that right is all there is", async () => {
  const { authorizer, grant } = setup();
  const listPods = {
    verb: "list",
    resourceRequest: true,
    group: "",
    version: "v1",
    resource: "pods",
    subresource: "",
    namespace: "ns",
    name: "",
    path: "",
  };
  const as = (who: string, requested = listPods, asker: User = alice) =>
    impersonated(asker, [["impersonate-user", who]], authorizer, requested);
  assertEquals(
    await messageOf(() => as("bob")),
    'pods is forbidden: User "alice" cannot impersonate-on:user-info:list resource "pods" in API ' +
      'group "" in the namespace "ns"',
  );
  const authentication = "authentication.k8s.io";
  grant(
    "alice",
    { verbs: ["impersonate-on:user-info:list"], apiGroups: [""], resources: ["pods"] },
    {
      verbs: ["impersonate:user-info"],
      apiGroups: [authentication],
      resources: ["users"],
      resourceNames: ["bob"],
    },
  );
  assertEquals(as("bob").groups, ["system:authenticated"]);
  assertEquals(
    await messageOf(() => as("bob", { ...listPods, verb: "delete" })),
    'pods is forbidden: User "alice" cannot impersonate-on:user-info:delete resource "pods" in ' +
      'API group "" in the namespace "ns"',
  );
  assertEquals(
    await messageOf(() => as("carol")),
    'users.authentication.k8s.io "carol" is forbidden: User "alice" cannot impersonate:user-info ' +
      'resource "users" in API group "authentication.k8s.io" at the cluster scope',
  );
  assertEquals(as("system:node:n1", listPods, root).groups, [
    "system:nodes",
    "system:authenticated",
  ]);
  const agent: User = {
    name: "system:serviceaccount:ns:agent",
    groups: [],
    extra: { "authentication.kubernetes.io/node-name": ["n1"] },
  };
  grant(
    agent.name,
    { verbs: ["impersonate-on:associated-node:list"], apiGroups: [""], resources: ["pods"] },
    {
      verbs: ["impersonate:associated-node"],
      apiGroups: [authentication],
      resources: ["nodes"],
    },
  );
  assertEquals(as("system:node:n1", listPods, agent).name, "system:node:n1");
  const roaming: User = { ...agent, name: "system:serviceaccount:ns:roaming" };
  grant(
    roaming.name,
    { verbs: ["impersonate-on:arbitrary-node:list"], apiGroups: [""], resources: ["pods"] },
    { verbs: ["impersonate:arbitrary-node"], apiGroups: [authentication], resources: ["nodes"] },
  );
  assertEquals(as("system:node:n1", listPods, roaming).name, "system:node:n1");
  assertEquals(as("system:node:n2", listPods, roaming).name, "system:node:n2");
  const everything = [
    { verbs: ["impersonate-on:user-info:list"], apiGroups: [""], resources: ["pods"] },
    { verbs: ["impersonate:user-info"], apiGroups: [authentication], resources: ["*"] },
  ];
  grant("alice", ...everything);
  const withGroup = (...groups: string[]) =>
    messageOf(() =>
      impersonated(
        alice,
        [["impersonate-user", "bob"], ["impersonate-group", groups]],
        authorizer,
        listPods,
      )
    );
  assertEquals(await withGroup("a", "b", "c", "d"), "");
  assertEquals(
    await withGroup("system:masters"),
    'groups.authentication.k8s.io "system:masters" is forbidden: User "alice" cannot ' +
      'impersonate:user-info resource "groups" in API group "authentication.k8s.io" at the ' +
      "cluster scope: impersonating the system:masters group is not allowed",
  );
  assertEquals(
    await messageOf(() => as("system:node:n2", listPods, agent)),
    'pods is forbidden: User "system:serviceaccount:ns:agent" cannot ' +
      'impersonate-on:arbitrary-node:list resource "pods" in API group "" in the namespace "ns"',
  );
});

const keyPem = createTokenKey();

function reviews() {
  const { state, authorizer, grant } = setup();
  const { clock } = stillClock();
  const keys = new TokenKeys([keyPem]);
  const tokens = new Tokens({ view: () => state.view(), clock, keys });
  const context: ReviewContext = { user: alice, namespace: "", authorizer, tokens, now: 0 };
  const ask = async (resource: string, object: Record<string, unknown>, namespace = "") => {
    const kind = resource.split("/")[1];
    const posted = { kind, metadata: {}, ...object } as never;
    return await REVIEWS[resource](posted, { ...context, namespace });
  };
  return { state, grant, tokens, ask };
}

Deno.test("selfSubjectAccessReview() says yes and why, or no", async () => {
  const { grant, ask } = reviews();
  grant("alice", { verbs: ["get"], apiGroups: ["apps"], resources: ["deployments"] });
  const review = (resourceAttributes: Record<string, string>) =>
    ask("authorization.k8s.io/selfsubjectaccessreviews", { spec: { resourceAttributes } });
  const yes = await review({ verb: "get", group: "apps", resource: "deployments" });
  assertEquals(yes.status, {
    allowed: true,
    reason: 'RBAC: allowed by ClusterRoleBinding "alice" of ClusterRole "alice" to User "alice"',
  });
  const no = await review({ verb: "delete", group: "apps", resource: "deployments" });
  assertEquals(no.status, { allowed: false });
});

Deno.test("subjectAccessReview() asks for others, and refuses half a question", async () => {
  const { ask } = reviews();
  const resource = "authorization.k8s.io/subjectaccessreviews";
  const nonResourceAttributes = { verb: "get", path: "/metrics" };
  const spec = { user: "x", groups: ["system:masters"], nonResourceAttributes };
  assertEquals((await ask(resource, { spec })).status.allowed, true);
  assertEquals(
    await messageOf(() => ask(resource, { spec: { nonResourceAttributes } })),
    'subjectaccessreviews.authorization.k8s.io "" is invalid: spec.user: Invalid value: "": ' +
      "at least one of user or group must be specified",
  );
  assertEquals(
    await messageOf(() => ask(resource, { spec: { user: "x" } })),
    'subjectaccessreviews.authorization.k8s.io "" is invalid: spec.resourceAttributes: Invalid ' +
      "value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified",
  );
});

Deno.test("localSubjectAccessReview() stays in its namespace", async () => {
  const { ask } = reviews();
  const resource = "authorization.k8s.io/localsubjectaccessreviews";
  const spec = { user: "x", resourceAttributes: { verb: "get", resource: "pods", namespace: "a" } };
  const metadata = { namespace: "a" };
  assertEquals((await ask(resource, { spec, metadata }, "a")).status, { allowed: false });
  assertEquals(
    await messageOf(() => ask(resource, { spec, metadata: { namespace: "b" } }, "b")),
    'localsubjectaccessreviews.authorization.k8s.io "" is invalid: ' +
      'spec.resourceAttributes.namespace: Invalid value: "a": must match metadata.namespace',
  );
});

Deno.test("selfSubjectRulesReview() lists rules, selfSubjectReview() names the asker", async () => {
  const { grant, ask } = reviews();
  grant(
    "alice",
    { verbs: ["get"], apiGroups: [""], resources: ["pods"], resourceNames: ["a"] },
    { verbs: ["get"], nonResourceURLs: ["/healthz"] },
  );
  const resource = "authorization.k8s.io/selfsubjectrulesreviews";
  assertEquals((await ask(resource, { spec: { namespace: "ns" } })).status, {
    resourceRules: [{ verbs: ["get"], apiGroups: [""], resources: ["pods"], resourceNames: ["a"] }],
    nonResourceRules: [{ verbs: ["get"], nonResourceURLs: ["/healthz"] }],
    incomplete: false,
  });
  assertEquals(await messageOf(() => ask(resource, { spec: {} })), "no namespace on request");
  const me = await ask("authentication.k8s.io/selfsubjectreviews", {});
  assertEquals(me.status, { userInfo: { username: "alice", groups: ["devs"] } });
});

Deno.test("tokenReview() says whose a token is, or what is wrong with it", async () => {
  const { tokens, ask } = reviews();
  tokens.addStatic("secret", { name: "carol", groups: ["ops"] });
  const resource = "authentication.k8s.io/tokenreviews";
  assertEquals((await ask(resource, { spec: { token: "secret" } })).status, {
    authenticated: true,
    user: { username: "carol", groups: ["ops", "system:authenticated"] },
    audiences: ["https://kubernetes.default.svc.cluster.local"],
  });
  assertEquals((await ask(resource, { spec: { token: "x" } })).status, {
    user: {},
    error: "invalid bearer token",
  });
  assertEquals(
    await messageOf(() => ask(resource, { spec: {} })),
    "token is required for TokenReview in authentication",
  );
});

Deno.test("NodeAuthorizer() gives a node its own and what its pods need", async (t) => {
  const { state, authorizer } = setup();
  const node = { name: "system:node:n1", groups: ["system:nodes", "system:authenticated"] };
  const pod = (name: string, nodeName: string, spec: Record<string, unknown> = {}) =>
    state.put(
      `/registry/pods/ns/${name}`,
      stored({ metadata: { name, namespace: "ns" }, spec: { nodeName, ...spec } }),
    );
  pod("mine", "n1", {
    serviceAccountName: "sa",
    containers: [{ name: "c", envFrom: [{ secretRef: { name: "s-env" } }] }],
    volumes: [
      { name: "a", projected: { sources: [{ configMap: { name: "cm" } }] } },
      { name: "b", persistentVolumeClaim: { claimName: "data" } },
      { name: "c", ephemeral: {} },
    ],
  });
  pod("other", "n2", { containers: [{ name: "c", envFrom: [{ secretRef: { name: "s2" } }] }] });
  state.put("/registry/pods/ns/mirror", {
    metadata: { name: "mirror", annotations: { "kubernetes.io/config.mirror": "x" } },
    spec: { nodeName: "n1", imagePullSecrets: [{ name: "s-mirror" }] },
  });
  state.put("/registry/persistentvolumes/pv", {
    metadata: { name: "pv" },
    spec: {
      claimRef: { namespace: "ns", name: "data" },
      csi: { nodePublishSecretRef: { namespace: "ns", name: "s-volume" } },
    },
  });
  const ask = (verb: string, what: string, more: Partial<Attributes> = {}) => {
    const [resource, subresource = ""] = what.split("/");
    return authorizer.authorize({
      user: node,
      verb,
      resourceRequest: true,
      group: "",
      version: "v1",
      resource,
      subresource,
      namespace: "ns",
      name: "",
      path: "",
      ...more,
    });
  };
  const none = "no relationship found between node 'n1' and this object";
  type Case = [string, ReturnType<typeof ask>, true | string];
  const lease = { group: "coordination.k8s.io", namespace: "kube-node-lease" };
  const cases: Case[] = [
    ["secret of its pod", ask("get", "secrets", { name: "s-env" }), true],
    ["secret of its pod's volume", ask("get", "secrets", { name: "s-volume" }), true],
    ["secret of another's pod", ask("get", "secrets", { name: "s2" }), none],
    ["secret of a mirror pod", ask("get", "secrets", { name: "s-mirror" }), none],
    ["all secrets", ask("list", "secrets"), "No Object name found"],
    [
      "writing secrets",
      ask("delete", "secrets", { name: "s-env" }),
      "can only read resources of this type",
    ],
    ["configmap", ask("watch", "configmaps", { name: "cm" }), true],
    ["claim", ask("get", "persistentvolumeclaims", { name: "data" }), true],
    ["claim made for the pod", ask("get", "persistentvolumeclaims", { name: "mine-c" }), true],
    ["volume", ask("get", "persistentvolumes", { name: "pv", namespace: "" }), true],
    ["token", ask("create", "serviceaccounts/token", { name: "sa" }), true],
    ["another's token", ask("create", "serviceaccounts/token", { name: "sb" }), none],
    ["its pods", ask("list", "pods", { fieldSelector: "spec.nodeName=n1" }), true],
    [
      "all pods",
      ask("list", "pods"),
      "can only list/watch pods with spec.nodeName field selector",
    ],
    ["its pod", ask("get", "pods", { name: "mine" }), true],
    ["another's pod", ask("get", "pods", { name: "other" }), none],
    ["its node", ask("get", "nodes", { name: "n1", namespace: "" }), true],
    [
      "another node",
      ask("get", "nodes", { name: "n2", namespace: "" }),
      "node 'n1' cannot read 'n2', only its own Node object",
    ],
    ["its lease", ask("update", "leases", { ...lease, name: "n1" }), true],
    [
      "another's lease",
      ask("update", "leases", { ...lease, name: "n2" }),
      "can only access node lease with the same name as the requesting node",
    ],
    ["services", ask("list", "services"), true],
    ["deployments", ask("list", "deployments", { group: "apps" }), ""],
  ];
  for (const [name, decision, expected] of cases) {
    await t.step(name, () => {
      assertEquals(decision.allowed, expected === true);
      if (expected !== true) assertEquals(decision.reason ?? "", expected);
    });
  }
});
