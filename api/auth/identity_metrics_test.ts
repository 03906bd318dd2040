import { assertEquals, assertRejects } from "@std/assert";
import { fakeOutbound } from "../client/outbound_fixture.ts";
import { ApiError } from "../machinery/types.ts";
import { createAuth, createTokenKey } from "./mod.ts";
import { State, stillClock } from "./state_fixture.ts";

const WEBHOOK = {
  endpoint: { url: "https://authz.example" },
  version: "v1",
  timeoutMs: 1000,
  authorizedMs: 0,
  unauthorizedMs: 0,
} as const;

Deno.test("metrics tell how credentials were taken and which authorizer decided", async () => {
  const { clock } = stillClock();
  const state = new State();
  const outbound = fakeOutbound(({ endpoint, body }) =>
    endpoint.url?.includes("broken") ? { status: 400, text: "no" } : {
      json: {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SubjectAccessReview",
        status: body.spec.user === "gwen" ? { allowed: true } : { denied: true },
      },
    }
  );
  const broken = { ...WEBHOOK, endpoint: { url: "https://broken.example" } };
  const auth = createAuth({
    view: () => state.view(),
    clock,
    tokenKeys: [createTokenKey()],
    tokens: new Map([
      ["hers", { name: "gwen", groups: [] }],
      ["mail", { name: "ann@example.com", groups: [] }],
    ]),
    outbound: () => outbound,
    authorization: [
      { type: "Webhook", name: "broken", webhook: { ...broken, failurePolicy: "NoOpinion" } },
      { type: "RBAC", name: "rbac" },
      { type: "Webhook", name: "asked", webhook: { ...WEBHOOK, failurePolicy: "Deny" } },
    ],
  });
  const knock = async (token?: string, path = "/api") => {
    const header = (name: string) =>
      name === "authorization" && token ? `Bearer ${token}` : undefined;
    return await auth.authenticate({ header, path });
  };
  assertEquals((await knock("hers")).name, "gwen");
  await knock("mail");
  await knock(undefined, "/healthz");
  await assertRejects(() => knock("wrong"), ApiError);
  await assertRejects(() => knock(), ApiError);
  for (const name of ["gwen", "bob", "gwen"]) {
    await auth.authorizer.authorize({
      user: { name, groups: [] },
      verb: "get",
      resourceRequest: false,
      group: "",
      version: "",
      resource: "",
      subresource: "",
      namespace: "",
      name: "",
      path: "/x",
    });
  }
  const lines = auth.metricsText().split("\n").filter((line) => !/^#|_bucket|_sum/.test(line));
  assertEquals(lines, [
    'authentication_attempts{result="success"} 3',
    'authentication_attempts{result="error"} 1',
    'authentication_attempts{result="failure"} 1',
    'authentication_duration_seconds_count{result="success"} 3',
    'authentication_duration_seconds_count{result="error"} 1',
    'authentication_duration_seconds_count{result="failure"} 1',
    'authenticated_user_requests{username="other"} 2',
    'authenticated_user_requests{username="email_id"} 1',
    'apiserver_authorization_decisions_total{decision="allowed",name="asked",type="Webhook"} 2',
    'apiserver_authorization_decisions_total{decision="denied",name="asked",type="Webhook"} 1',
    'apiserver_authorization_webhook_evaluations_total{name="broken",result="error"} 3',
    'apiserver_authorization_webhook_evaluations_total{name="asked",result="success"} 3',
    'apiserver_authorization_webhook_evaluations_fail_open_total{name="broken",result="error"} 3',
    'apiserver_authorization_webhook_duration_seconds_count{name="broken",result="error"} 3',
    'apiserver_authorization_webhook_duration_seconds_count{name="asked",result="success"} 3',
  ]);
});
