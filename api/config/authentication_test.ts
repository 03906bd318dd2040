import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { createAuthority } from "../auth/mod.ts";
import { stillClock } from "../auth/state_fixture.ts";
import { authenticationOptions, oidcOptions, tokensInFile } from "./authentication.ts";
import { readFlags, UsageError } from "./flags.ts";
import { identityOptions } from "./identity.ts";

const OWN = ["https://own.example"];
const AUDIENCES = { audiences: ["a"] };

const document = (fields: Record<string, unknown>) =>
  JSON.stringify({
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "AuthenticationConfiguration",
    ...fields,
  });

const jwt = (issuer: Record<string, unknown>, more: Record<string, unknown> = {}) =>
  document({
    jwt: [{
      issuer: { url: "https://i.example", ...AUDIENCES, ...issuer },
      claimMappings: { username: { claim: "sub", prefix: "" } },
      ...more,
    }],
  });

Deno.test("authenticationOptions() reads issuers, mappings and what is anonymous", async () => {
  const text = `
apiVersion: apiserver.config.k8s.io/v1beta1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: "https://i.example", discoveryURL: "https://d.example/x", audiences: [a, b], audienceMatchPolicy: MatchAny}
  claimValidationRules:
  - {expression: "claims.email_verified", message: verify}
  - {claim: hd, requiredValue: example.com}
  - {expression: "claims.email_verified == true"}
  claimMappings:
    username: {expression: "claims.email"}
    groups: {claim: groups, prefix: "g:"}
    uid: {claim: sub}
    extra: [{key: example.com/x, valueExpression: "claims.x"}]
  userValidationRules: [{expression: "user.username != ''"}]
anonymous: {enabled: true, conditions: [{path: /livez}]}
`.replace(`  - {expression: "claims.email_verified", message: verify}\n`, "");
  assertEquals(await authenticationOptions(text, OWN), {
    jwt: [{
      issuer: {
        url: "https://i.example",
        discoveryUrl: "https://d.example/x",
        audiences: ["a", "b"],
      },
      claimValidationRules: [
        { claim: "hd", requiredValue: "example.com" },
        { expression: "claims.email_verified == true" },
      ],
      claimMappings: {
        username: { expression: "claims.email" },
        groups: { claim: "groups", prefix: "g:" },
        uid: { claim: "sub" },
        extra: [{ key: "example.com/x", valueExpression: "claims.x" }],
      },
      userValidationRules: [{ expression: "user.username != ''" }],
    }],
    anonymous: { enabled: true, paths: ["/livez"] },
  });
});

Deno.test("authenticationOptions() says what is wrong in upstream's words", async (t) => {
  const at = "jwt[0]";
  const cases: [string, string, string][] = [
    ["nothing", "", "empty config data"],
    [
      "an unknown field",
      jwt({ foo: 1 }),
      'strict decoding error: unknown field "jwt[0].issuer.foo"',
    ],
    [
      "another version",
      document({ apiVersion: "apiserver.config.k8s.io/v9" }),
      'no kind "AuthenticationConfiguration" is registered for version "apiserver.config.k8s.io/v9"',
    ],
    ["no URL", jwt({ url: "" }), `${at}.issuer.url: Required value`],
    [
      "plain HTTP",
      jwt({ url: "http://u@x/?a#b" }),
      [
        "scheme must be https",
        "must not contain a username or password",
        "must not contain a query",
        "must not contain a fragment",
      ]
        .map((why) => `${at}.issuer.url: Invalid value: "http://u@x/?a#b": URL ${why}`).join(", "),
    ],
    [
      "our own issuer",
      jwt({ url: OWN[0] }),
      `${at}.issuer.url: Invalid value: "https://own.example": URL must not overlap with disallowed issuers: [https://own.example]`,
    ],
    [
      "the same discovery",
      jwt({ discoveryURL: "https://i.example/" }),
      `${at}.issuer.discoveryURL: Invalid value: "https://i.example/": discoveryURL must be different from URL`,
    ],
    [
      "no audience",
      jwt({ audiences: [] }),
      `${at}.issuer.audiences: Required value: at least one ${at}.issuer.audiences is required`,
    ],
    [
      "audiences",
      jwt({ audiences: ["a", "a"] }),
      `${at}.issuer.audiences[1]: Duplicate value: "a", ${at}.issuer.audienceMatchPolicy: Invalid value: "": ` +
      "audienceMatchPolicy must be MatchAny for multiple audiences",
    ],
    [
      "an authority that is none",
      jwt({ certificateAuthority: "x" }),
      `${at}.issuer.certificateAuthority: Invalid value: "<omitted>": data does not contain any valid RSA or ECDSA certificates`,
    ],
    [
      "no prefix",
      jwt({}, { claimMappings: { username: { claim: "sub" } } }),
      `${at}.claimMappings.username.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing`,
    ],
    [
      "an e-mail address that nobody verified",
      jwt({}, {
        claimMappings: { username: { expression: "claims.email + ' claims.email_verified'" } },
      }),
      `${at}.claimMappings.username.expression: Invalid value: "claims.email + ' claims.email_verified'": ` +
      "claims.email_verified must be used in claimMappings.username.expression or " +
      "claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is " +
      "used in claimMappings.username.expression",
    ],
    [
      "a rule that is no bool",
      jwt({}, { claimValidationRules: [{ expression: "claims.x" }] }),
      `${at}.claimValidationRules[0].expression: Invalid value: "claims.x": must evaluate to bool`,
    ],
    [
      "an unknown field of the user",
      jwt({}, { userValidationRules: [{ expression: "user.x == 1" }] }),
      `${at}.userValidationRules[0].expression: Invalid value: "user.x == 1": compilation failed: ERROR: ` +
      "<input>:1:5: undefined field 'x'\n | user.x == 1\n | ....^",
    ],
    [
      "a reserved key",
      jwt({}, {
        claimMappings: {
          username: { claim: "sub", prefix: "" },
          extra: [{ key: "a.k8s.io/X", valueExpression: "claims.b" }],
        },
      }),
      `${at}.claimMappings.extra[0].key: Invalid value: "a.k8s.io/X": must be lowercase, ` +
      `${at}.claimMappings.extra[0].key: Invalid value: "a.k8s.io/X": k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use`,
    ],
    [
      "paths of nobody",
      document({ anonymous: { enabled: false, conditions: [{ path: "/x" }] } }),
      'anonymous.conditions: Invalid value: [{"Path":"/x"}]: enabled should be set to true when conditions are defined',
    ],
  ];
  for (const [name, text, message] of cases) {
    await t.step(name, async () => {
      const error = await assertRejects(() => authenticationOptions(text, OWN), Error);
      const said = error.message.replace(/^invalid authentication configuration: /, "");
      assertEquals(said.replace(/^\[(jwt.*)\]$/s, "$1"), message);
    });
  }
});

Deno.test("oidcOptions() makes an issuer of flags", () => {
  const flags = { usernameClaim: "sub", requiredClaims: [] };
  assertEquals(oidcOptions(flags, OWN), undefined);
  const given = { ...flags, issuerUrl: "https://i.example", clientId: "c" };
  const prefixOf = (more: Record<string, string>) =>
    oidcOptions({ ...given, ...more }, OWN)?.claimMappings.username.prefix;
  assertEquals(prefixOf({}), "https://i.example#");
  assertEquals(prefixOf({ usernameClaim: "email" }), "");
  assertEquals(prefixOf({ usernamePrefix: "-" }), "");
  assertEquals(prefixOf({ usernamePrefix: "x:" }), "x:");
  const full = oidcOptions(
    { ...given, groupsClaim: "g", groupsPrefix: "p:", requiredClaims: ["hd=example.com"] },
    OWN,
  );
  assertEquals(full?.claimMappings.groups, { claim: "g", prefix: "p:" });
  assertEquals(full?.claimValidationRules, [{ claim: "hd", requiredValue: "example.com" }]);
  assertThrows(
    () => oidcOptions({ ...flags, issuerUrl: "https://i.example" }, OWN),
    Error,
    "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set",
  );
  assertThrows(() => oidcOptions({ ...given, issuerUrl: "http://x" }, OWN), Error, "must be https");
  assertThrows(
    () => oidcOptions({ ...given, requiredClaims: ["x"] }, OWN),
    Error,
    "malformed pair",
  );
});

Deno.test("tokensInFile() reads CSV as upstream", () => {
  const text = 'abc,alice,1\r\ndef,bob,2,"a,b"\n\n,nobody,3\n"g""h",carol,,x\n';
  assertEquals([...tokensInFile("f", text)], [
    ["abc", { name: "alice", uid: "1", groups: [] }],
    ["def", { name: "bob", uid: "2", groups: ["a", "b"] }],
    ['g"h', { name: "carol", groups: ["x"] }],
  ]);
  assertThrows(
    () => tokensInFile("f", "abc,alice"),
    Error,
    "token file 'f' must have at least 3 columns (token, user name, user uid), found 2",
  );
  assertThrows(() => tokensInFile("f", 'a"b,c,d'), Error, 'bare " in non-quoted-field');
});

const { clock } = stillClock();
const { certificatePem: CA } = await createAuthority(clock);
const FILES: Record<string, string> = {
  "tokens.csv": "t,alice,1,g",
  "ca.pem": CA,
  "auth.json": document({ anonymous: { enabled: true } }),
  "kube.json": JSON.stringify({
    clusters: [{ name: "c", cluster: { server: "https://w.example" } }],
    users: [{ name: "u", user: {} }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  }),
};

function options(...args: string[]) {
  return identityOptions(
    readFlags(args),
    (_flag, path) => Promise.resolve(path === undefined ? undefined : FILES[path]),
  );
}

Deno.test("identityOptions() puts flags and files together", async () => {
  const nothing = await options();
  assertEquals([nothing.tokens, nothing.audiences, nothing.authorization], [
    undefined,
    undefined,
    undefined,
  ]);
  assertEquals(nothing.authentication?.serviceAccounts, { extend: true });
  const much = await options(
    "--token-auth-file=tokens.csv",
    "--api-audiences=a,b",
    "--anonymous-auth=false",
    "--authentication-token-webhook-config-file=kube.json",
    "--authentication-token-webhook-version=v1",
    "--requestheader-client-ca-file=ca.pem",
    "--requestheader-allowed-names=front",
    "--oidc-issuer-url=https://i.example",
    "--oidc-client-id=c",
    "--oidc-signing-algs=ES256",
    "--authorization-webhook-config-file=kube.json",
    "--authorization-mode=Node,RBAC,Webhook",
    "--service-account-max-token-expiration=2h",
    "--service-account-jwks-uri=https://keys.example",
    "--no-service-account-extend-token-expiration",
    "--no-enable-bootstrap-token-auth",
  );
  assertEquals([...much.tokens!.keys()], ["t"]);
  assertEquals(much.audiences, ["a", "b"]);
  const { authentication } = much;
  assertEquals(authentication?.webhook, {
    endpoint: { url: "https://w.example/" },
    version: "v1",
    cacheMs: 120_000,
  });
  assertEquals(authentication?.requestHeader?.allowedNames, ["front"]);
  assertEquals(authentication?.requestHeader?.usernameHeaders, ["X-Remote-User"]);
  assertEquals([authentication?.jwt?.length, authentication?.signingAlgorithms], [1, ["ES256"]]);
  assertEquals(authentication?.anonymous, { enabled: false });
  assertEquals(authentication?.bootstrapTokens, false);
  assertEquals(authentication?.serviceAccounts, {
    secondsMax: 7200,
    extend: false,
    jwksUri: "https://keys.example",
  });
  assertEquals(much.authorization?.map(({ type }) => type), ["Node", "RBAC", "Webhook"]);
  const file = await options("--authentication-config=auth.json");
  assertEquals(file.authentication?.anonymous, { enabled: true, paths: [] });
});

Deno.test("identityOptions() refuses what does not go together", async (t) => {
  const cases: [string[], string][] = [
    [
      ["--authentication-config=auth.json", "--anonymous-auth"],
      "--anonymous-auth flag cannot be set",
    ],
    [
      ["--authentication-config=auth.json", "--oidc-issuer-url=https://i", "--oidc-client-id=c"],
      "authentication-config file and oidc-* flags are mutually exclusive",
    ],
    [["--oidc-client-id=c"], "must be specified together"],
    [
      ["--authorization-config=x", "--authorization-mode=RBAC"],
      "--authorization-config can not be",
    ],
    [["--authorization-mode=Webhook"], "authorization config file not passed"],
    [
      ["--requestheader-client-ca-file=ca.pem", "--client-ca-file=ca.pem"],
      "overlapping certificates",
    ],
    [["--requestheader-uid-headers=X-Id"], "standard X-Remote-Uid header"],
    [["--service-account-max-token-expiration=1m"], "must be between 1 hour and 2^32 seconds"],
    [["--service-account-jwks-uri=http://x"], "requires https scheme"],
    [
      [
        "--authentication-token-webhook-config-file=kube.json",
        "--authentication-token-webhook-version=v2",
      ],
      "unsupported authentication webhook version",
    ],
  ];
  for (const [args, text] of cases) {
    await t.step(args.join(" "), async () => {
      await assertRejects(() => options(...args), UsageError, text);
    });
  }
});
