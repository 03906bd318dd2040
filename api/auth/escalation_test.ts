import { assert, assertEquals } from "@std/assert";
import { inOrder } from "./authorize.ts";
import { clusterRoleAggregation } from "./aggregation.ts";
import { authorized } from "./authorized_fixture.ts";
import type { Admission, Authorizer, PolicyRule } from "./contract.ts";
import { RbacAuthorizer } from "./rbac.ts";
import { PLUGIN_NAMES } from "./plugins/mod.ts";
import { rbacEscalation, rbacEscalationBy } from "./rbac_escalation.ts";
import { describeRule, uncovered } from "./rbac_rules.ts";
import { admission, admit, messageOf, State } from "./state_fixture.ts";

const GROUP = "rbac.authorization.k8s.io";
const alice = { name: "alice", groups: ["devs", "system:authenticated"] };
const READ_PODS = { verbs: ["get", "list"], apiGroups: [""], resources: ["pods"] };

function setup(...held: PolicyRule[]) {
  const state = new State();
  state.put("/registry/clusterroles/held", { metadata: { name: "held" }, rules: held });
  state.put("/registry/clusterrolebindings/held", {
    metadata: { name: "held" },
    roleRef: { apiGroup: GROUP, kind: "ClusterRole", name: "held" },
    subjects: [{ kind: "User", name: "alice" }],
  });
  const authorizer = inOrder([new RbacAuthorizer(() => state.view())]);
  const write = (given: Partial<Admission> & { resource: string }) =>
    messageOf(() =>
      admit(rbacEscalation, admission(state, { group: GROUP, user: alice, ...given }), state)
    );
  return { state, authorizer, write };
}

const role = (name: string, ...rules: PolicyRule[]) =>
  ({ kind: "ClusterRole", metadata: { name }, rules }) as never;
const binding = (name: string, kind: string, roleName: string) =>
  ({
    kind: "ClusterRoleBinding",
    metadata: { name },
    roleRef: { apiGroup: GROUP, kind, name: roleName },
    subjects: [{ kind: "User", name: "mallory" }],
  }) as never;

Deno.test("rbacEscalation() refuses rules that the writer does not hold, in upstream's words", async () => {
  const { write } = setup(READ_PODS);
  assertEquals(await write({ resource: "clusterroles", object: role("x", READ_PODS) }), "");
  const more = { ...READ_PODS, verbs: ["get", "watch", "delete"] };
  assertEquals(
    await write({ resource: "clusterroles", object: role("x", more) }),
    'clusterroles.rbac.authorization.k8s.io "x" is forbidden: user "alice" (groups=["devs" ' +
      '"system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n' +
      '{APIGroups:[""], Resources:["pods"], Verbs:["watch" "delete"]}',
  );
});

Deno.test("rbacEscalation() honours escalate, bind and system:masters", async () => {
  const all = { verbs: ["*"], apiGroups: ["*"], resources: ["*"] };
  const escalate = { verbs: ["escalate"], apiGroups: [GROUP], resources: ["clusterroles"] };
  const bind = { ...escalate, verbs: ["bind"], resourceNames: ["big"] };
  const { state, write } = setup(escalate, bind);
  assertEquals(await write({ resource: "clusterroles", object: role("x", all) }), "");
  state.put("/registry/clusterroles/big", role("big", all));
  state.put("/registry/clusterroles/bigger", role("bigger", all));
  const bound = (name: string) =>
    write({ resource: "clusterrolebindings", object: binding("b", "ClusterRole", name) });
  assertEquals(await bound("big"), "");
  assert((await bound("bigger")).includes("not currently held"));
  assertEquals(
    await bound("none"),
    'clusterrolebindings.rbac.authorization.k8s.io "none" not found',
  );
  const masters = { name: "root", groups: ["system:masters"] };
  assertEquals(
    await write({ resource: "clusterroles", object: role("y", all), user: masters }),
    "",
  );
});

Deno.test("rbacEscalation() lets the garbage collector touch owners and finalizers", async () => {
  const { write } = setup();
  const old = { metadata: { name: "x", finalizers: ["f"] }, rules: [READ_PODS] } as never;
  const object = { metadata: { name: "x" }, rules: [READ_PODS] } as never;
  const update = { resource: "clusterroles", operation: "UPDATE" as const, name: "x", old };
  assertEquals(await write({ ...update, object }), "");
  const labelled = { metadata: { name: "x", labels: { a: "b" } }, rules: [READ_PODS] } as never;
  assert((await write({ ...update, object: labelled })).includes("not currently held"));
});

Deno.test("rbacEscalation() asks full authority of who uses an aggregation rule", async () => {
  const { write } = setup(READ_PODS);
  const object = {
    ...role("x") as object,
    aggregationRule: { clusterRoleSelectors: [{ matchLabels: { a: "b" } }] },
  } as never;
  assertEquals(
    await write({ resource: "clusterroles", object }),
    'clusterroles.rbac.authorization.k8s.io "x" is forbidden: must have cluster-admin privileges ' +
      "to use the aggregationRule",
  );
});

Deno.test("clusterRoleAggregation() fills and empties aggregated roles in the same commit", async () => {
  const state = new State();
  const sum = "/registry/clusterroles/sum";
  state.put(sum, {
    metadata: { name: "sum" },
    aggregationRule: { clusterRoleSelectors: [{ matchLabels: { into: "sum" } }] },
    rules: [],
  });
  const part = { metadata: { name: "part", labels: { into: "sum" } }, rules: [READ_PODS] } as never;
  const create = { resource: "clusterroles", group: GROUP, name: "part" };
  await admit(clusterRoleAggregation, admission(state, { ...create, object: part }), state);
  assertEquals(state.view().get(sum)!.value.rules, [READ_PODS]);
  state.put("/registry/clusterroles/part", part);
  const gone = admission(state, { ...create, operation: "DELETE", old: part });
  state.delete("/registry/clusterroles/part");
  await admit(clusterRoleAggregation, gone, state);
  assertEquals(state.view().get(sum)!.value.rules, []);
});

Deno.test("uncovered() breaks rules down and compares them piece by piece", () => {
  const held = [
    { verbs: ["*"], apiGroups: ["apps"], resources: ["deployments", "*/scale"] },
    { verbs: ["get"], nonResourceURLs: ["/logs/*"] },
    { verbs: ["get"], apiGroups: [""], resources: ["secrets"], resourceNames: ["a", "b"] },
  ];
  const missing = (rule: PolicyRule) => uncovered(held, [rule]).map(describeRule);
  assertEquals(
    missing({ verbs: ["get", "*"], apiGroups: ["apps"], resources: ["deployments"] }),
    [],
  );
  assertEquals(missing({ verbs: ["get"], apiGroups: ["apps"], resources: ["x/scale"] }), []);
  assertEquals(missing({ verbs: ["get"], apiGroups: ["apps"], resources: ["x"] }), [
    '{APIGroups:["apps"], Resources:["x"], Verbs:["get"]}',
  ]);
  assertEquals(missing({ verbs: ["get"], nonResourceURLs: ["/logs/x", "/logs/*"] }), []);
  assertEquals(missing({ verbs: ["get"], nonResourceURLs: ["*"] }).length, 1);
  const secrets = { verbs: ["get"], apiGroups: [""], resources: ["secrets"] };
  assertEquals(missing({ ...secrets, resourceNames: ["a"] }), []);
  assertEquals(missing({ ...secrets, resourceNames: ["a", "c"] }).length, 1);
  assertEquals(missing(secrets).length, 1);
});

Deno.test("rbacEscalationBy() heeds the powers that others than RBAC give", async () => {
  const { state, authorizer, grant } = authorized();
  grant("alice", {
    verbs: ["create"],
    apiGroups: ["rbac.authorization.k8s.io"],
    resources: ["clusterroles"],
  });
  const asked: string[] = [];
  const webhook: Authorizer = {
    authorize({ verb, resource, user }) {
      asked.push(`${verb} ${resource}`);
      return Promise.resolve({ allowed: user.name === "bob" && verb === "escalate" });
    },
    rules: () => ({ rules: [], errors: [] }),
  };
  const plugin = rbacEscalationBy(inOrder([authorizer, webhook]));
  const write = (name: string) =>
    messageOf(() =>
      admit(
        plugin,
        admission(state, {
          resource: "clusterroles",
          group: "rbac.authorization.k8s.io",
          user: { name, groups: [] },
          object: {
            metadata: { name: "r" },
            rules: [{ verbs: ["get"], apiGroups: [""], resources: ["secrets"] }],
          } as never,
        }),
        state,
      )
    );
  assertEquals(await write("bob"), "");
  assertEquals(asked, ["escalate clusterroles"]);
  assert(
    (await write("alice")).includes("attempting to grant RBAC permissions not currently held"),
  );
});

Deno.test("what guards roles is no plugin that could be switched off", () => {
  for (const name of ["RBACEscalation", "ClusterRoleAggregation"]) {
    assert(!PLUGIN_NAMES.includes(name));
  }
});
