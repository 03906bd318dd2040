import { assertEquals, assertRejects } from "@std/assert";
import { authorizationOfModes, authorizationOptions, type ModeFlags } from "./authorization.ts";

const KUBECONFIG = `
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://authz.example/ask", certificate-authority: ca.pem}}]
users: [{name: u, user: {token: secret}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`;

function read(path: string): Promise<string> {
  if (path === "/etc/authz/kubeconfig") return Promise.resolve(KUBECONFIG);
  if (path === "/etc/authz/ca.pem") return Promise.resolve("PEM");
  return Promise.reject(new Error(`open ${path}: no such file or directory`));
}

const document = (...authorizers: unknown[]) =>
  JSON.stringify({
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "AuthorizationConfiguration",
    authorizers,
  });

const webhook = (more: Record<string, unknown> = {}) => ({
  type: "Webhook",
  name: "w",
  webhook: {
    timeout: "3s",
    subjectAccessReviewVersion: "v1",
    matchConditionSubjectAccessReviewVersion: "v1",
    failurePolicy: "Deny",
    connectionInfo: { type: "KubeConfigFile", kubeConfigFile: "/etc/authz/kubeconfig" },
    ...more,
  },
});

Deno.test("authorizationOptions() makes a chain of a file, with upstream's defaults", async () => {
  const text = document(
    { type: "Node", name: "node" },
    webhook({ matchConditions: [{ expression: "request.user != 'x'" }], unauthorizedTTL: "1s" }),
    { type: "RBAC", name: "rbac" },
  );
  assertEquals(await authorizationOptions(text, read), [
    { type: "Node", name: "node" },
    {
      type: "Webhook",
      name: "w",
      webhook: {
        endpoint: {
          url: "https://authz.example/ask",
          caBundle: "PEM",
          bearerToken: "secret",
        },
        version: "v1",
        timeoutMs: 3000,
        authorizedMs: 300_000,
        unauthorizedMs: 1000,
        failurePolicy: "Deny",
        matchConditions: [{ expression: "request.user != 'x'" }],
      },
    },
    { type: "RBAC", name: "rbac" },
  ]);
  const [{ webhook: uncached }] = await authorizationOptions(
    document(webhook({ cacheAuthorizedRequests: false, cacheUnauthorizedRequests: false })),
    read,
  ) as { webhook: { authorizedMs: number; unauthorizedMs: number } }[];
  assertEquals([uncached.authorizedMs, uncached.unauthorizedMs], [0, 0]);
});

Deno.test("authorizationOptions() says what is wrong in upstream's words", async (t) => {
  const at = "authorizers[0]";
  const cases: [string, string, string][] = [
    [
      "nothing",
      document(),
      "authorizers: Required value: at least one authorization mode must be defined",
    ],
    [
      "another kind",
      `{"apiVersion":"v1","kind":"Pod"}`,
      'failed to load AuthorizationConfiguration from file: no kind "Pod" is registered for version "v1"',
    ],
    [
      "an unknown field",
      document({ type: "RBAC", name: "rbac", mood: "good" }),
      'failed to load AuthorizationConfiguration from file: strict decoding error: unknown field "authorizers[0].mood"',
    ],
    [
      "a bad duration",
      document(webhook({ timeout: "soon" })),
      'failed to load AuthorizationConfiguration from file: time: invalid duration "soon"',
    ],
    ["no type", document({ name: "x" }), `${at}.type: Required value`],
    [
      "an unknown type",
      document({ type: "ABAC", name: "abac" }),
      `${at}.type: Unsupported value: "ABAC": supported values: "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook"`,
    ],
    [
      "twice",
      document({ type: "RBAC", name: "rbac" }, { type: "RBAC", name: "b" }),
      'authorizers[1].type: Duplicate value: "RBAC"',
    ],
    [
      "the same name",
      document(webhook(), { ...webhook() }),
      'authorizers[1].name: Duplicate value: "w"',
    ],
    [
      "another name",
      document({ type: "RBAC", name: "x" }),
      "expected name rbac for authorizer RBAC instead of x",
    ],
    [
      "a webhook where none may be",
      document({ type: "RBAC", name: "rbac", webhook: {} }),
      `${at}.webhook: Invalid value: "non-null": may only be specified when type=Webhook`,
    ],
    [
      "an empty webhook",
      document({ type: "Webhook", name: "w", webhook: {} }),
      `[${at}.timeout: Required value, ${at}.subjectAccessReviewVersion: Required value, ` +
      `${at}.failurePolicy: Required value, ${at}.connectionInfo.type: Required value]`,
    ],
    [
      "a long timeout",
      document(webhook({ timeout: "31s" })),
      `${at}.timeout: Invalid value: "31s": must be > 0s and <= 30s`,
    ],
    [
      "versions",
      document(webhook({ subjectAccessReviewVersion: "v2", failurePolicy: "Maybe" })),
      `[${at}.subjectAccessReviewVersion: Unsupported value: "v2": supported values: "v1", "v1beta1", ` +
      `${at}.failurePolicy: Unsupported value: "Maybe": supported values: "NoOpinion", "Deny"]`,
    ],
    [
      "a relative path",
      document(webhook({ connectionInfo: { type: "KubeConfigFile", kubeConfigFile: "k" } })),
      `${at}.connectionInfo.kubeConfigFile: Invalid value: "k": must be an absolute path`,
    ],
    [
      "no such file",
      document(webhook({ connectionInfo: { type: "KubeConfigFile", kubeConfigFile: "/no" } })),
      "error loading file /no: open /no: no such file or directory",
    ],
    [
      "the same condition twice",
      document(webhook({ matchConditions: [{ expression: "true" }, { expression: "true" }] })),
      `${at}.matchConditions[1].expression: Duplicate value: "true"`,
    ],
    [
      "a condition that is no bool",
      document(webhook({ matchConditions: [{ expression: "request.user" }] })),
      `${at}.matchConditions[0].expression: Invalid value: "request.user": must evaluate to bool but got string`,
    ],
  ];
  for (const [name, text, message] of cases) {
    await t.step(name, async () => {
      const error = await assertRejects(() => authorizationOptions(text, read), Error);
      assertEquals(error.message, message);
    });
  }
});

Deno.test("authorizationOfModes() makes a chain of flags, or says why not", async () => {
  const flags = {
    modes: ["Node", "RBAC", "Webhook"],
    webhook: { path: "/etc/authz/kubeconfig", text: KUBECONFIG },
    version: "v1beta1",
    authorizedMs: 1,
    unauthorizedMs: 2,
  };
  const chain = await authorizationOfModes(flags, read);
  assertEquals(chain.map(({ type, name }) => [type, name]), [
    ["Node", "node"],
    ["RBAC", "rbac"],
    ["Webhook", "default"],
  ]);
  const policies = { path: "/etc/authz/policies", text: '{"user":"ann"}' };
  const old = await authorizationOfModes({ ...flags, modes: ["ABAC", "Webhook"], policies }, read);
  assertEquals(old.map(({ type, name }) => [type, name]), [["ABAC", "abac"], [
    "Webhook",
    "default",
  ]]);
  const wrong: [Partial<ModeFlags>, string][] = [
    [{ policies }, "cannot specify --authorization-policy-file without mode ABAC"],
    [
      { modes: ["ABAC"], webhook: undefined },
      "authorization-mode ABAC's authorization policy file not passed",
    ],
    [
      { modes: ["RBAC", "RBAC"], webhook: undefined },
      'authorization-mode ["RBAC" "RBAC"] has mode specified more than once',
    ],
    [{ modes: ["Magic"], webhook: undefined }, 'authorization-mode "Magic" is not a valid mode'],
    [{ webhook: undefined }, "authorization-mode Webhook's authorization config file not passed"],
    [
      { modes: ["RBAC"] },
      "cannot specify --authorization-webhook-config-file without mode Webhook",
    ],
  ];
  for (const [given, message] of wrong) {
    const error = await assertRejects(
      () => authorizationOfModes({ ...flags, ...given }, read),
      Error,
    );
    assertEquals(error.message, message);
  }
});
