import { assertEquals } from "@std/assert";
import type { User } from "../client/contract.ts";
import { authorized } from "./authorized_fixture.ts";
import { impersonated } from "./impersonate.ts";
import { messageOf } from "./state_fixture.ts";

const root = { name: "root", groups: ["system:masters"] };
const alice = { name: "alice", groups: ["devs"] };

Deno.test("impersonated() gives the groups that upstream gives", async (t) => {
  const { authorizer } = authorized();
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
    await t.step(name, async () => {
      const found = await impersonated(root, headers, authorizer);
      assertEquals([found.name, [...found.groups]], [user, groups]);
    });
  }
  const full = await impersonated(root, [
    ["Impersonate-User", "bob"],
    ["Impersonate-Uid", "u1"],
    ["Impersonate-Extra-Scopes", ["a", "b"]],
    ["Impersonate-Extra-Acme.com%2fProject", "x"],
  ], authorizer);
  assertEquals(full.uid, "u1");
  assertEquals(full.extra, { scopes: ["a", "b"], "acme.com/project": ["x"] });
});

Deno.test("impersonated() asks for the right to each thing", async () => {
  const { authorizer, grant } = authorized();
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
  const { authorizer, grant } = authorized();
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
  assertEquals((await as("bob")).groups, ["system:authenticated"]);
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
  assertEquals((await as("system:node:n1", listPods, root)).groups, [
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
  assertEquals((await as("system:node:n1", listPods, agent)).name, "system:node:n1");
  const roaming: User = { ...agent, name: "system:serviceaccount:ns:roaming" };
  grant(
    roaming.name,
    { verbs: ["impersonate-on:arbitrary-node:list"], apiGroups: [""], resources: ["pods"] },
    { verbs: ["impersonate:arbitrary-node"], apiGroups: [authentication], resources: ["nodes"] },
  );
  assertEquals((await as("system:node:n1", listPods, roaming)).name, "system:node:n1");
  assertEquals((await as("system:node:n2", listPods, roaming)).name, "system:node:n2");
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
