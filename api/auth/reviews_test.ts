import { assertEquals, assertStringIncludes } from "@std/assert";
import { authorized } from "./authorized_fixture.ts";
import { TokenKeys } from "./jwt.ts";
import { createTokenKey } from "./pki.ts";
import { type ReviewContext, REVIEWS } from "./reviews.ts";
import { messageOf, stillClock } from "./state_fixture.ts";
import { Tokens } from "./tokens.ts";

const alice = { name: "alice", groups: ["devs"] };

const keyPem = createTokenKey();

function reviews() {
  const { state, authorizer, grant } = authorized();
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
    '.authorization.k8s.io "" is invalid: spec.user: Invalid value: "": ' +
      "at least one of user or group must be specified",
  );
  assertEquals(
    await messageOf(() => ask(resource, { spec: { user: "x" } })),
    '.authorization.k8s.io "" is invalid: spec.resourceAttributes: Invalid ' +
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
    '.authorization.k8s.io "" is invalid: ' +
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

Deno.test("subjectAccessReview() tells what of a selector it could not understand", async () => {
  const { ask } = reviews();
  const resource = "authorization.k8s.io/subjectaccessreviews";
  const review = async (selectors: Record<string, unknown>) => {
    const resourceAttributes = { verb: "list", resource: "pods", ...selectors };
    return (await ask(resource, { spec: { user: "x", resourceAttributes } })).status;
  };
  const where = "spec.resourceAttributes";
  assertEquals(await review({ fieldSelector: { rawSelector: "a=b" } }), { allowed: false });
  assertEquals(await review({ fieldSelector: { rawSelector: "a" } }), {
    allowed: false,
    evaluationError: `${where}.fieldSelector ignored due to parse error`,
  });
  const requirements = [
    { key: "a", operator: "In", values: ["x"] },
    { key: "b", operator: "In", values: ["x", "y"] },
  ];
  assertEquals(await review({ fieldSelector: { requirements } }), {
    allowed: false,
    evaluationError: `${where}.fieldSelector partially ignored due to parse error`,
  });
  assertEquals(await review({ labelSelector: { requirements } }), { allowed: false });
  const bad = { requirements: [{ key: "-", operator: "In" }] };
  const message = await messageOf(() => review({ labelSelector: bad }));
  assertStringIncludes(
    message,
    `${where}.labelSelector.requirements[0].values: Required value: must be specified when ` +
      "`operator` is 'In' or 'NotIn'",
  );
  assertStringIncludes(message, `${where}.labelSelector.requirements[0].key: Invalid value: "-"`);
});
