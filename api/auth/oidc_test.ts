import { assert, assertEquals, assertRejects } from "@std/assert";
import { fakeOutbound } from "../client/outbound_fixture.ts";
import { TokenError } from "./jwt.ts";
import { type JwtAuthenticatorOptions, JwtTokens, userOf } from "./jwt_authenticator.ts";
import { OIDC_FETCH_MS_MIN, OIDC_RETRY_MS, TOKEN_CACHE_MS } from "./limits.ts";
import { createAuth, createTokenKey } from "./mod.ts";
import { TestProvider } from "./oidc_fixture.ts";
import { State, stillClock } from "./state_fixture.ts";

const key = createTokenKey();

function setup(given: Partial<JwtAuthenticatorOptions> = {}, provider = new TestProvider()) {
  const { clock, set } = stillClock();
  const outbound = fakeOutbound(provider.serve);
  const state = new State();
  const options: JwtAuthenticatorOptions = {
    issuer: { url: provider.issuer, audiences: ["plesio"], certificateAuthority: "CA" },
    claimMappings: {
      username: { claim: "sub", prefix: "oidc:" },
      groups: { claim: "groups", prefix: "oidc:" },
    },
    ...given,
  };
  const auth = createAuth({
    view: () => state.view(),
    clock,
    tokenKeys: [key],
    outbound: () => outbound,
    authentication: { jwt: [options] },
  });
  const seconds = () => Math.floor(clock.now() / 1000);
  const claims = (more: Record<string, unknown> = {}) => ({
    sub: "carol",
    aud: "plesio",
    exp: seconds() + 3600,
    groups: ["a", "b"],
    jti: "id-1",
    ...more,
  });
  const login = async (token: string) =>
    await auth.authenticate({
      path: "/api",
      header: (name) => name === "authorization" ? `Bearer ${token}` : undefined,
    });
  const why = async (token: string) => {
    const error = await assertRejects(
      async () => await auth.tokens.authenticate(token),
      TokenError,
    );
    return error.message;
  };
  return { provider, outbound, clock, set, auth, claims, login, why };
}

Deno.test("a token of a configured issuer stands for the user that its claims name", async () => {
  const { provider, outbound, claims, login } = setup();
  const user = await login(provider.token(claims()));
  assertEquals(user, {
    name: "oidc:carol",
    groups: ["oidc:a", "oidc:b", "system:authenticated"],
    extra: { "authentication.kubernetes.io/credential-id": ["JTI=id-1"] },
  });
  assertEquals(provider.asked, ["/.well-known/openid-configuration", "/keys"]);
  assertEquals(outbound.calls[0].endpoint.caBundle, "CA");
  const one = await login(provider.token(claims({ groups: "admins", aud: ["x", "plesio"] })));
  assertEquals(one.groups, ["oidc:admins", "system:authenticated"]);
  assertEquals(provider.asked.length, 2, "nothing is fetched twice");
});

Deno.test("a token is verified once while it is remembered, and no longer than it lives", async () => {
  const { provider, clock, set, claims, auth, why } = setup();
  const token = provider.token(claims({ exp: clock.now() / 1000 + 5 }));
  const first = await auth.tokens.authenticate(token);
  const again = auth.tokens.authenticate(token);
  assert(!(again instanceof Promise), "what is known is there at once");
  assert(again.user === first.user, "and it is the same user");
  set(clock.now() + 5_001);
  assert((await why(token)).includes("oidc: token is expired"));
  const long = provider.token(claims());
  await auth.tokens.authenticate(long);
  set(clock.now() + TOKEN_CACHE_MS);
  assert(auth.tokens.authenticate(long) instanceof Promise);
});

Deno.test("tokens that are not good are 401, and it is said why", async (t) => {
  const { provider, clock, claims, why, login } = setup();
  const other = new TestProvider(provider.issuer);
  const good = provider.token(claims());
  const [head, body, signature] = good.split(".");
  const forged = btoa(JSON.stringify({ ...claims(), iss: provider.issuer, sub: "root" }))
    .replace(/=+$/, "");
  const badSignature =
    "oidc: verify token: failed to verify signature: failed to verify id token signature";
  const cases: [string, string, string][] = [
    ["another key", other.token(claims()), badSignature],
    ["other claims", `${head}.${forged}.${signature}`, badSignature],
    ["no signature", `${head}.${body}.`, badSignature],
    [
      "no algorithm",
      provider.token(claims(), { alg: "none" }),
      'oidc: verify token: oidc: id token signed with unsupported algorithm, expected ["ES256" "ES384" ' +
      '"ES512" "PS256" "PS384" "PS512" "RS256" "RS384" "RS512"] got "none"',
    ],
    ["an algorithm of shared secrets", provider.token(claims(), { alg: "HS256" }), "HS256"],
    [
      "another audience",
      provider.token(claims({ aud: "x" })),
      'oidc: expected audience "plesio" got ["x"]',
    ],
    [
      "no audience",
      provider.token(claims({ aud: undefined })),
      'oidc: expected audience "plesio" got []',
    ],
    [
      "expired",
      provider.token(claims({ exp: clock.now() / 1000 - 1 })),
      "oidc: token is expired (Token Expiry: 2025-12-31 23:59:59 +0000 UTC)",
    ],
    ["without an end", provider.token(claims({ exp: undefined })), "oidc: token is expired"],
    [
      "not yet",
      provider.token(claims({ nbf: clock.now() / 1000 + 61 })),
      "before the nbf (not before) time: 2026-01-01 00:01:01 +0000 UTC",
    ],
    ["another issuer", other.token(claims({ iss: "https://x" })), "invalid bearer token"],
    [
      "no name",
      provider.token(claims({ sub: undefined })),
      'oidc: parse username claims "sub": claim not present',
    ],
    [
      "an empty name",
      provider.token(claims({ sub: "" })),
      'oidc: parse username claims "sub": claim is empty',
    ],
    [
      "a number for a name",
      provider.token(claims({ sub: 7 })),
      "json: cannot unmarshal number into Go value of type string",
    ],
    ["odd groups", provider.token(claims({ groups: [1] })), 'oidc: parse groups claim "groups"'],
    ["no JWT", "a.b", "invalid bearer token"],
  ];
  for (const [name, token, text] of cases) {
    await t.step(name, async () => {
      const said = await why(token);
      assert(said.includes(text), said);
      const error = await assertRejects(async () => await login(token), Error);
      assertEquals(error.message, "Unauthorized");
    });
  }
});

Deno.test("keys are fetched anew when a token names another one, not more often than is good", async () => {
  const { provider, clock, set, claims, why, auth } = setup();
  const keys = () => provider.asked.filter((path) => path === "/keys").length;
  await auth.tokens.authenticate(provider.token(claims()));
  const old = provider.token(claims({ jti: "old" }));
  provider.rotate({ keep: true });
  set(clock.now() + OIDC_FETCH_MS_MIN);
  await auth.tokens.authenticate(provider.token(claims({ jti: "new" })));
  await auth.tokens.authenticate(old);
  assertEquals(keys(), 2);
  // Made-up tokens knock at our door, not at the provider's
  for (let i = 0; i < 20; i++) await why(provider.token(claims({ n: i }), { kid: `x${i}` }));
  assertEquals(keys(), 2);
  set(clock.now() + OIDC_FETCH_MS_MIN);
  provider.keyHeaders = { "cache-control": "public, max-age=600" };
  await Promise.all([1, 2, 3].map((i) => why(provider.token(claims({ n: i }), { kid: "y" }))));
  assertEquals(keys(), 3, "several that wait share one fetch");
  provider.rotate();
  set(clock.now() + 500_000);
  await why(provider.token(claims({ jti: "early" })));
  assertEquals(keys(), 3, "the provider said how long its keys are fresh");
  set(clock.now() + 100_000);
  await auth.tokens.authenticate(provider.token(claims({ jti: "late" })));
  assert(
    (await why(old)).includes("failed to verify id token signature"),
    "a withdrawn key is none",
  );
});

Deno.test("a provider that is away is asked again later; its known keys count on", async () => {
  const { provider, clock, set, claims, why, auth } = setup();
  provider.broken = { status: 503 };
  const token = provider.token(claims());
  assertEquals(
    await why(token),
    "oidc: https://issuer.example/.well-known/openid-configuration: 503",
  );
  assertEquals(await why(token), "oidc: authenticator not initialized");
  assertEquals(provider.asked.length, 1);
  provider.broken = undefined;
  set(clock.now() + OIDC_RETRY_MS);
  await auth.tokens.authenticate(token);
  provider.broken = { status: 500 };
  set(clock.now() + TOKEN_CACHE_MS);
  await auth.tokens.authenticate(provider.token(claims({ jti: "2" })));
});

Deno.test("a discovery document must be the issuer's own and lead somewhere safe", async (t) => {
  const cases: [Record<string, unknown>, string][] = [
    [
      { issuer: "https://evil.example" },
      'oidc: issuer did not match the issuer returned by provider, expected "https://issuer.example" got "https://evil.example"',
    ],
    [{ jwks_uri: undefined }, "provider did not return JWKS URL"],
    [{ jwks_uri: "http://issuer.example/keys" }, "oidc: the JWKS URL must be https"],
  ];
  for (const [discovery, text] of cases) {
    await t.step(text, async () => {
      const { provider, claims, why } = setup();
      provider.discovery = discovery;
      assertEquals(await why(provider.token(claims())), text);
    });
  }
  await t.step("a discovery URL of its own", async () => {
    const provider = new TestProvider();
    const url = "https://internal.example/discovery";
    const issuer = { url: provider.issuer, discoveryUrl: url, audiences: ["plesio"] };
    const { claims, login, outbound } = setup({ issuer }, provider);
    await login(provider.token(claims()));
    assertEquals(outbound.calls[0].endpoint.url, url);
  });
});

Deno.test("userOf() maps claims by CEL and lets rules refuse", async (t) => {
  const issuer = { url: "https://i", audiences: ["a"] };
  const claims = {
    sub: "carol",
    email: "carol@example.com",
    email_verified: true,
    realm: { roles: ["dev", "", "ops"] },
    dept: "x",
    team: "x",
    level: 3,
  };
  const options: JwtAuthenticatorOptions = {
    issuer,
    claimMappings: {
      username: { expression: "claims.email_verified ? claims.email : ''" },
      groups: { expression: "claims.realm.roles" },
      uid: { expression: "'uid-' + claims.sub" },
      extra: [
        { key: "example.com/dept", valueExpression: "claims.dept" },
        { key: "example.com/none", valueExpression: "''" },
        { key: "example.com/list", valueExpression: "claims.realm.roles.filter(r, r != 'ops')" },
      ],
    },
    claimValidationRules: [
      { claim: "team", requiredValue: "x" },
      { expression: "claims.level > 2", message: "level too low" },
    ],
    userValidationRules: [
      { expression: "!user.username.startsWith('system:')", message: "reserved" },
      { expression: "user.groups.all(g, g != 'root')", message: "no root" },
    ],
  };
  assertEquals(await userOf(claims, options), {
    name: "carol@example.com",
    uid: "uid-carol",
    groups: ["dev", "ops", "system:authenticated"],
    extra: { "example.com/dept": ["x"], "example.com/list": ["dev"] },
  });
  const wrong: [string, Record<string, unknown>, string][] = [
    [
      "a required value",
      { team: "y" },
      "oidc: required claim team value does not match. Got = y, want = x",
    ],
    ["a required claim", { team: undefined }, "oidc: required claim team not present in ID token"],
    [
      "a claim rule",
      { level: 1 },
      "oidc: error evaluating claim validation expression: validation expression 'claims.level > 2' failed: level too low",
    ],
    [
      "a user rule",
      { email: "system:admin" },
      "oidc: error evaluating user info validation rule: validation expression " +
      "'!user.username.startsWith('system:')' failed: reserved",
    ],
    [
      "another user rule",
      { realm: { roles: ["root"] } },
      "oidc: error evaluating user info validation rule: validation expression " +
      "'user.groups.all(g, g != 'root')' failed: no root",
    ],
    [
      "an empty name",
      { email_verified: false },
      "oidc: empty username via CEL expression is not allowed",
    ],
    [
      "a name that is none",
      { email: 7 },
      "oidc: error evaluating username claim expression: username claim expression must return a string",
    ],
    [
      "groups that are none",
      { realm: { roles: 7 } },
      "oidc: error evaluating group claim expression: expression must return a string or a list of strings",
    ],
  ];
  for (const [name, changed, message] of wrong) {
    await t.step(name, async () => {
      const given = Object.fromEntries(
        Object.entries({ ...claims, ...changed }).filter(([, value]) => value !== undefined),
      );
      const error = await assertRejects(() => userOf(given, options), TokenError);
      assertEquals(error.message, message);
    });
  }
  await t.step("email must be verified where that is said", async () => {
    const plain = { issuer, claimMappings: { username: { claim: "email", prefix: "" } } };
    const error = await assertRejects(
      () => userOf({ email: "e", email_verified: false }, plain),
      TokenError,
    );
    assertEquals(error.message, "oidc: email not verified");
    assertEquals((await userOf({ email: "e" }, plain)).name, "e");
  });
});

Deno.test("JwtTokens knows its issuers alone, and the server's audiences", async () => {
  const { provider, clock, outbound, claims } = setup();
  const tokens = new JwtTokens([{
    issuer: { url: provider.issuer, audiences: ["plesio"] },
    claimMappings: { username: { claim: "sub" } },
  }], { outbound: () => outbound, clock });
  const token = provider.token(claims());
  const own = ["api", "api2"];
  assertEquals((await tokens.authenticate(token, ["api2", "x"], own))?.audiences, ["api2"]);
  assertEquals(await tokens.authenticate(token, ["vault"], own), undefined);
  assertEquals(
    await tokens.authenticate(new TestProvider("https://other").token(claims()), own, own),
    undefined,
  );
});
