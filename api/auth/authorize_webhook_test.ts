import { assert, assertEquals } from "@std/assert";
import { type FakeAnswer, fakeOutbound } from "../client/outbound_fixture.ts";
import { OutboundError } from "../client/outbound.ts";
import { type AuthorizationWebhook, reviewSpec, WebhookAuthorizer } from "./authorize_webhook.ts";
import { createAuthorizer } from "./authorizers.ts";
import type { Attributes, Decision } from "./contract.ts";
import { REVIEW_NAMES_MAX, REVIEW_TRIES_MAX, REVIEWS_CACHED_MAX } from "./limits.ts";
import { Remembered } from "./remembered.ts";
import { State, stillClock } from "./state_fixture.ts";

const CONFIG: AuthorizationWebhook = {
  endpoint: { url: "https://authz.example/ask" },
  version: "v1",
  timeoutMs: 3000,
  authorizedMs: 60_000,
  unauthorizedMs: 10_000,
  failurePolicy: "NoOpinion",
};

function ask(given: Partial<Attributes> = {}): Attributes {
  return {
    user: { name: "alice", groups: ["devs"] },
    verb: "list",
    resourceRequest: true,
    group: "apps",
    version: "v1",
    resource: "deployments",
    subresource: "",
    namespace: "ns",
    name: "",
    path: "",
    ...given,
  };
}

function webhook(
  answer: (spec: Record<string, unknown>) => FakeAnswer | Promise<FakeAnswer>,
  given: Partial<AuthorizationWebhook> = {},
) {
  const { clock, set } = stillClock();
  const outbound = fakeOutbound(({ body }) => answer(body.spec));
  const authorizer = new WebhookAuthorizer({ ...CONFIG, ...given }, {
    outbound: () => outbound,
    clock,
  });
  return { authorizer, outbound, clock, set };
}

const status = (fields: Record<string, unknown>, version = "v1"): FakeAnswer => ({
  json: {
    apiVersion: `authorization.k8s.io/${version}`,
    kind: "SubjectAccessReview",
    status: fields,
  },
});

Deno.test("WebhookAuthorizer asks by a SubjectAccessReview and takes the answer", async (t) => {
  const cases: [string, Record<string, unknown>, Decision][] = [
    ["yes", { allowed: true, reason: "on duty" }, { allowed: true, reason: "on duty" }],
    ["no opinion", { allowed: false, reason: "who?" }, { allowed: false, reason: "who?" }],
    ["a firm no", { denied: true, reason: "never" }, {
      allowed: false,
      denied: true,
      reason: "never",
    }],
    ["both", { allowed: true, denied: true }, {
      allowed: false,
      denied: true,
      error: "webhook subject access review returned both allow and deny response",
    }],
    ["nothing", {}, { allowed: false }],
  ];
  for (const version of ["v1", "v1beta1"] as const) {
    for (const [name, fields, wanted] of cases) {
      await t.step(`${version}: ${name}`, async () => {
        const { authorizer, outbound } = webhook(() => status(fields, version), { version });
        assertEquals(await authorizer.authorize(ask()), wanted);
        const [{ endpoint, request, body }] = outbound.calls;
        assertEquals(endpoint.url, "https://authz.example/ask");
        assertEquals([request.method, request.query, request.timeoutMs], [
          "POST",
          "timeout=3s",
          3000,
        ]);
        const { spec, ...rest } = body;
        assertEquals(rest, {
          kind: "SubjectAccessReview",
          apiVersion: `authorization.k8s.io/${version}`,
          metadata: {},
          status: { allowed: false },
        });
        assertEquals(spec, {
          resourceAttributes: {
            namespace: "ns",
            verb: "list",
            group: "apps",
            version: "v1",
            resource: "deployments",
          },
          user: "alice",
          [version === "v1" ? "groups" : "group"]: ["devs"],
        });
      });
    }
  }
});

Deno.test("reviewSpec() shows selectors as far as they can be read, and paths", () => {
  const spec = reviewSpec(ask({
    user: { name: "a", groups: [], uid: "u", extra: { k: ["v"] } },
    fieldSelector: "spec.nodeName=n1,status.phase!=Failed",
    labelSelector: "app=web,tier notin (x,y),!old,present,size>3",
  }));
  assertEquals(spec.resourceAttributes?.fieldSelector, {
    requirements: [
      { key: "spec.nodeName", operator: "In", values: ["n1"] },
      { key: "status.phase", operator: "NotIn", values: ["Failed"] },
    ],
  });
  assertEquals(spec.resourceAttributes?.labelSelector, {
    requirements: [
      { key: "app", operator: "In", values: ["web"] },
      { key: "old", operator: "DoesNotExist" },
      { key: "present", operator: "Exists" },
      { key: "tier", operator: "NotIn", values: ["x", "y"] },
    ],
  });
  assertEquals([spec.user, spec.uid, spec.extra, spec.groups], ["a", "u", { k: ["v"] }, undefined]);
  assertEquals(
    reviewSpec(ask({ fieldSelector: "what?" })).resourceAttributes?.fieldSelector,
    undefined,
  );
  const path = reviewSpec(ask({ resourceRequest: false, verb: "get", path: "/metrics" }));
  assertEquals(path.nonResourceAttributes, { path: "/metrics", verb: "get" });
  assertEquals(path.resourceAttributes, undefined);
});

Deno.test("WebhookAuthorizer remembers answers as long as they count, and asks equal questions once", async () => {
  let allowed = true;
  const { authorizer, outbound, clock, set } = webhook(() => status({ allowed }));
  const both = await Promise.all([authorizer.authorize(ask()), authorizer.authorize(ask())]);
  assertEquals(both.map((d) => d.allowed), [true, true]);
  assertEquals(outbound.calls.length, 1);
  const known = authorizer.authorize(ask());
  assert(!(known instanceof Promise) && known.allowed, "a known answer is there at once");
  allowed = false;
  assertEquals((await authorizer.authorize(ask({ verb: "get" }))).allowed, false);
  set(clock.now() + 10_000);
  await authorizer.authorize(ask({ verb: "get" }));
  assertEquals(outbound.calls.length, 3, "a refusal counted for ten seconds");
  set(clock.now() + 50_000);
  assertEquals((await authorizer.authorize(ask())).allowed, false);
  assertEquals(outbound.calls.length, 4, "an allowance counted for a minute");
  await authorizer.authorize(ask({ name: "x".repeat(REVIEW_NAMES_MAX) }));
  await authorizer.authorize(ask({ name: "x".repeat(REVIEW_NAMES_MAX) }));
  assertEquals(outbound.calls.length, 6, "long names are not remembered");
});

Deno.test("WebhookAuthorizer remembers nothing when told so", async () => {
  const { authorizer, outbound } = webhook(() => status({ allowed: true }), {
    authorizedMs: 0,
    unauthorizedMs: 0,
  });
  await authorizer.authorize(ask());
  await authorizer.authorize(ask());
  assertEquals(outbound.calls.length, 2);
});

Deno.test("Remembered keeps a bounded number and forgets the longest unused first", () => {
  const { clock, set } = stillClock();
  const memory = new Remembered<number>(clock, REVIEWS_CACHED_MAX);
  for (let i = 0; i < REVIEWS_CACHED_MAX; i++) memory.set(`k${i}`, i, 1000);
  assertEquals(memory.get("k0"), 0);
  memory.set("new", 1, 1000);
  assertEquals(memory.size, REVIEWS_CACHED_MAX);
  assertEquals([memory.get("k0"), memory.get("k1")], [0, undefined]);
  set(clock.now() - 1);
  assertEquals(memory.get("k0"), undefined, "a clock that went back ends what is known");
});

Deno.test("WebhookAuthorizer tries again what may pass, and then follows the failure policy", async (t) => {
  const failing: [string, () => FakeAnswer, number, string][] = [
    [
      "500",
      () => ({ status: 500, text: "oops" }),
      REVIEW_TRIES_MAX,
      'an error on the server ("oops") has prevented the request from succeeding',
    ],
    [
      "429",
      () => ({ status: 429 }),
      REVIEW_TRIES_MAX,
      "the server has received too many requests and has asked us to try again later",
    ],
    ["503", () => ({ status: 503 }), 1, "the server is currently unable to handle the request"],
    [
      "503 with Retry-After",
      () => ({ status: 503, headers: { "retry-after": "1" } }),
      REVIEW_TRIES_MAX,
      "the server is currently unable to handle the request",
    ],
    [
      "a Status",
      () => ({ status: 403, json: { kind: "Status", message: "go away" } }),
      1,
      "go away",
    ],
    [
      "401",
      () => ({ status: 401 }),
      1,
      "the server has asked for the client to provide credentials",
    ],
    [
      "another kind",
      () => ({ json: { apiVersion: "v1", kind: "Pod" } }),
      1,
      'no kind "Pod" is registered for version "v1": wanted authorization.k8s.io/v1, Kind=SubjectAccessReview',
    ],
    [
      "broken off",
      () => {
        throw new OutboundError('Post "https://x": read: connection reset by peer', "connection");
      },
      REVIEW_TRIES_MAX,
      'Post "https://x": read: connection reset by peer',
    ],
    [
      "nobody there",
      () => {
        throw new OutboundError('Post "https://x": connect: connection refused', "connection");
      },
      1,
      'Post "https://x": connect: connection refused',
    ],
  ];
  for (const [name, answer, tries, error] of failing) {
    await t.step(name, async () => {
      const open = webhook(answer);
      assertEquals(await open.authorizer.authorize(ask()), { allowed: false, error });
      assertEquals(open.outbound.calls.length, tries);
      const closed = webhook(answer, { failurePolicy: "Deny" });
      assertEquals(await closed.authorizer.authorize(ask()), {
        allowed: false,
        denied: true,
        error,
      });
    });
  }
  await t.step("it comes to itself", async () => {
    let left = 2;
    const { authorizer } = webhook(() => left-- > 0 ? { status: 500 } : status({ allowed: true }));
    assertEquals((await authorizer.authorize(ask())).allowed, true);
  });
});

Deno.test("WebhookAuthorizer asks only about what matches its conditions", async () => {
  const conditions = [
    { expression: "has(request.resourceAttributes)" },
    { expression: "request.resourceAttributes.namespace == 'ns'" },
    { expression: "!('system:nodes' in request.groups)" },
  ];
  const { authorizer, outbound } = webhook(() => status({ allowed: true }), {
    matchConditions: conditions,
    failurePolicy: "Deny",
  });
  assertEquals((await authorizer.authorize(ask())).allowed, true);
  assertEquals(await authorizer.authorize(ask({ namespace: "other" })), { allowed: false });
  assertEquals(
    await authorizer.authorize(ask({ user: { name: "n", groups: ["system:nodes"] } })),
    { allowed: false },
  );
  assertEquals(outbound.calls.length, 1);
  const bad = webhook(() => status({ allowed: true }), {
    matchConditions: [{ expression: "request.groups[5] == 'x'" }],
    failurePolicy: "Deny",
  });
  const decision = await bad.authorizer.authorize(ask());
  assertEquals([decision.allowed, decision.denied], [false, true]);
  assert(decision.error?.startsWith("cel evaluation error: "), decision.error);
  assertEquals(bad.outbound.calls.length, 0);
});

Deno.test("createAuthorizer() makes the chain that is asked for", async () => {
  const { clock } = stillClock();
  const state = new State();
  const outbound = fakeOutbound(() => status({ denied: true, reason: "not today" }));
  const chain = (...types: string[]) =>
    createAuthorizer(
      types.map((type) => ({ type, name: type.toLowerCase(), webhook: CONFIG }) as never),
      { view: () => state.view(), clock, outbound: () => outbound },
    );
  const plain = chain("Node", "RBAC").authorize(ask());
  assertEquals(plain, { allowed: false });
  assertEquals(chain("AlwaysDeny", "AlwaysAllow").authorize(ask()), { allowed: true });
  assertEquals(await chain("RBAC", "Webhook", "AlwaysAllow").authorize(ask()), {
    allowed: false,
    denied: true,
    reason: "not today",
  });
  assertEquals(outbound.calls.length, 1);
  const root = { name: "root", groups: ["system:masters"] };
  assertEquals(chain("Webhook").authorize(ask({ user: root })), { allowed: true });
  assertEquals(chain("Webhook", "RBAC").rules(root, "ns"), {
    rules: [],
    errors: ["webhook authorizer does not support user rule resolution"],
    incomplete: true,
  });
  assertEquals(chain("AlwaysAllow").rules(root, "ns").rules.length, 2);
});
