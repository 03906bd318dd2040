import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import type { Credentials } from "./contract.ts";
import {
  anonymousAuthenticator,
  authenticateWith,
  certificateAuthenticator,
  tokenAuthenticator,
  withoutTokenProtocol,
} from "./authn.ts";
import { TokenKeys } from "./jwt.ts";
import { DIGESTED_BYTES_MAX, DIGESTS_MAX } from "./limits.ts";
import { createAuthority, createTokenKey, fromPem, issueClient } from "./pki.ts";
import { messageOf, State, stillClock, stored } from "./state_fixture.ts";
import { Tokens } from "./tokens.ts";

const START = Date.parse("2026-01-01T00:00:00Z");
const keyPem = createTokenKey();

function setup() {
  const state = new State();
  const { clock, set } = stillClock(START);
  const tokens = new Tokens({ view: () => state.view(), clock, keys: new TokenKeys([keyPem]) });
  state.put(
    "/registry/serviceaccounts/ns/sa",
    stored({ kind: "ServiceAccount", metadata: { name: "sa", namespace: "ns" } }),
  );
  state.put(
    "/registry/pods/ns/web",
    stored({
      kind: "Pod",
      metadata: { name: "web", namespace: "ns" },
      spec: { serviceAccountName: "sa", nodeName: "node-1" },
    }),
  );
  state.put("/registry/minions/node-1", stored({ kind: "Node", metadata: { name: "node-1" } }));
  const issue = async (spec: Record<string, unknown> = {}) => {
    const request = { kind: "TokenRequest", metadata: {}, spec } as never;
    return (await tokens.issue({ namespace: "ns", name: "sa" }, request)).status.token as string;
  };
  return { state, clock, set, tokens, issue };
}

const claimsOf = (token: string) =>
  JSON.parse(Buffer.from(token.split(".")[1], "base64url").toString());

Deno.test("Tokens.issue() makes a token that stands for its account", async () => {
  const { tokens, issue } = setup();
  const token = await issue();
  const { user, audiences } = await tokens.authenticate(token);
  assertEquals(user.name, "system:serviceaccount:ns:sa");
  assertEquals(user.uid, "uid-sa");
  assertEquals(user.groups, [
    "system:serviceaccounts",
    "system:serviceaccounts:ns",
    "system:authenticated",
  ]);
  assertEquals(audiences, ["https://kubernetes.default.svc.cluster.local"]);
  const claims = claimsOf(token);
  assertEquals(claims.exp - claims.iat, 3600);
  assertEquals(user.extra, {
    "authentication.kubernetes.io/credential-id": [`JTI=${claims.jti}`],
  });
});

Deno.test("Tokens.issue() binds to a pod, and a pod's own token lives a year", async () => {
  const { tokens, issue } = setup();
  const boundObjectRef = { apiVersion: "v1", kind: "Pod", name: "web", uid: "uid-web" };
  const token = await issue({ expirationSeconds: 3607, boundObjectRef });
  const claims = claimsOf(token);
  assertEquals(claims["kubernetes.io"].pod, { name: "web", uid: "uid-web" });
  assertEquals(claims["kubernetes.io"].node, { name: "node-1", uid: "uid-node-1" });
  assertEquals(claims["kubernetes.io"].warnafter, claims.iat + 3607);
  assertEquals(claims.exp - claims.iat, 365 * 24 * 3600);
  const { user } = await tokens.authenticate(token);
  assertEquals(user.extra!["authentication.kubernetes.io/pod-name"], ["web"]);
  assertEquals(user.extra!["authentication.kubernetes.io/node-name"], ["node-1"]);
});

Deno.test("Tokens.issue() refuses what upstream refuses", async (t) => {
  const { tokens } = setup();
  const ref = { apiVersion: "v1", kind: "Pod", name: "web" };
  const cases: [string, Record<string, unknown>, Record<string, unknown>, string][] = [
    [
      "too short",
      {},
      { expirationSeconds: 599 },
      'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: ' +
      "599: may not specify a duration less than 10 minutes",
    ],
    [
      "too long",
      {},
      { expirationSeconds: 2 ** 32 + 1 },
      'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: ' +
      "4294967297: may not specify a duration larger than 2^32 seconds",
    ],
    ["no such pod", {}, { boundObjectRef: { ...ref, name: "no" } }, 'pods "no" not found'],
    [
      "another uid",
      {},
      { boundObjectRef: { ...ref, uid: "x" } },
      'Operation cannot be fulfilled on Pod "web": the UID in the bound object reference (x) ' +
      "does not match the UID in record. The object might have been deleted and then recreated",
    ],
    [
      "another kind",
      {},
      { boundObjectRef: { ...ref, kind: "ConfigMap" } },
      "cannot bind token to object of type /v1, Kind=ConfigMap",
    ],
    [
      "another name",
      { name: "other" },
      {},
      'TokenRequest.authentication.k8s.io "sa" is invalid: metadata.name: Invalid value: ' +
      '"other": must match the service account name if specified',
    ],
  ];
  for (const [name, metadata, spec, message] of cases) {
    await t.step(name, async () => {
      const request = { kind: "TokenRequest", metadata, spec } as never;
      const refused = await messageOf(() => tokens.issue({ namespace: "ns", name: "sa" }, request));
      assertEquals(refused, message);
    });
  }
  const request = { metadata: {}, spec: {} } as never;
  assertEquals(
    await messageOf(() => tokens.issue({ namespace: "ns", name: "none" }, request)),
    'serviceaccounts "none" not found',
  );
});

Deno.test("Tokens.authenticate() refuses a token once what it depends on has gone", async (t) => {
  const bound = {
    boundObjectRef: { apiVersion: "v1", kind: "Pod", name: "web" },
    expirationSeconds: 600,
  };
  type Case = [string, (s: ReturnType<typeof setup>) => void, string];
  const account = "/registry/serviceaccounts/ns/sa";
  const cases: Case[] = [
    ["expired", ({ set }) => set(START + 661_000), "service account token has expired"],
    [
      "account gone",
      ({ state }) => state.delete(account),
      'serviceaccounts "sa" not found',
    ],
    [
      "account recreated",
      ({ state }) =>
        state.put(account, stored({ metadata: { name: "sa", namespace: "ns", uid: "new" } })),
      "service account UID (new) does not match claim (uid-sa)",
    ],
    [
      "pod gone",
      ({ state }) => state.delete("/registry/pods/ns/web"),
      "service account token has been invalidated",
    ],
    [
      "pod recreated",
      ({ state }) =>
        state.put("/registry/pods/ns/web", stored({ metadata: { name: "web", uid: "new" } })),
      "pod UID (new) does not match service account pod ref claim (uid-web)",
    ],
  ];
  for (const [name, change, message] of cases) {
    await t.step(name, async () => {
      const s = setup();
      const token = await s.issue(bound);
      const known = await s.tokens.authenticate(token);
      assert(s.tokens.authenticate(token) === known, "the second time it is remembered");
      change(s);
      assertEquals(await messageOf(() => s.tokens.authenticate(token)), message);
      assertEquals(await messageOf(() => s.tokens.authenticate(token)), message);
    });
  }
});

Deno.test("Tokens.authenticate() refuses forged tokens and other audiences", async () => {
  const { tokens, issue } = setup();
  const token = await issue({ audiences: ["vault"] });
  assertEquals(
    await messageOf(() => tokens.authenticate(token)),
    'token audiences ["vault"] is invalid for the target audiences ' +
      '["https://kubernetes.default.svc.cluster.local"]',
  );
  assertEquals((await tokens.authenticate(token, ["vault"])).audiences, ["vault"]);
  const good = await issue();
  const [head, , signature] = good.split(".");
  const claims = { ...claimsOf(good), sub: "system:serviceaccount:kube-system:root" };
  const forged = [head, Buffer.from(JSON.stringify(claims)).toString("base64url"), signature];
  assert(await messageOf(() => tokens.authenticate(forged.join("."))));
  const other = new TokenKeys([createTokenKey()]);
  assertEquals(
    await messageOf(async () => tokens.authenticate(await other.sign(claimsOf(good)))),
    "invalid signature, no keys found",
  );
  const none = Buffer.from('{"alg":"none"}').toString("base64url");
  assert(await messageOf(() => tokens.authenticate(`${none}.${good.split(".")[1]}.`)));
  for (const text of ["", "x", "a.b.c", "a".repeat(20_000)]) {
    assertEquals(await messageOf(() => tokens.authenticate(text)), "invalid bearer token");
  }
});

Deno.test("TokenKeys() verifies tokens of a key that no longer signs", async () => {
  const { state, clock, issue } = setup();
  const token = await issue();
  const keys = new TokenKeys([createTokenKey(), keyPem]);
  const tokens = new Tokens({ view: () => state.view(), clock, keys });
  assertEquals((await tokens.authenticate(token)).user.uid, "uid-sa");
  const { keys: published } = await tokens.jwks();
  assertEquals(published.length, 2);
  assert(published.every((k) => k.kty === "EC" && k.use === "sig" && !("d" in k)));
  assertEquals((await tokens.discovery()).issuer, "https://kubernetes.default.svc.cluster.local");
});

Deno.test("Tokens.authenticate() knows tokens that live in Secrets", async () => {
  const { state, tokens } = setup();
  const secret = stored({ metadata: { name: "sa-token", namespace: "ns" } });
  const account = { namespace: "ns", name: "sa", uid: "uid-sa", secret: "sa-token" };
  const token = await tokens.legacyToken(account);
  const key = "/registry/secrets/ns/sa-token";
  state.put(key, { ...secret, data: { token: Buffer.from(token).toString("base64") } });
  assertEquals((await tokens.authenticate(token)).user.name, "system:serviceaccount:ns:sa");
  state.put(key, { ...secret, data: { token: "b3RoZXI=" } });
  assertEquals(
    await messageOf(() => tokens.authenticate(token)),
    "Token does not match server's copy",
  );
  state.delete(key);
  assertEquals(await messageOf(() => tokens.authenticate(token)), "Token has been invalidated");
});

Deno.test("Tokens.authenticate() knows bootstrap tokens while they are good", async () => {
  const { state, tokens, set } = setup();
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  const secret = (more: Record<string, string>) => ({
    metadata: { name: "bootstrap-token-abcdef", namespace: "kube-system" },
    type: "bootstrap.kubernetes.io/token",
    data: Object.fromEntries(
      Object.entries({
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
        "auth-extra-groups": "system:bootstrappers:workers",
        expiration: "2026-01-02T00:00:00Z",
        ...more,
      }).map(([k, v]) => [k, base64(v)]),
    ),
  });
  const key = "/registry/secrets/kube-system/bootstrap-token-abcdef";
  const token = "abcdef.0123456789abcdef";
  state.put(key, secret({}));
  const { user } = await tokens.authenticate(token);
  assertEquals(user.name, "system:bootstrap:abcdef");
  assertEquals(user.groups, [
    "system:bootstrappers",
    "system:bootstrappers:workers",
    "system:authenticated",
  ]);
  const refused = () => messageOf(() => tokens.authenticate(token));
  assert(await messageOf(() => tokens.authenticate("abcdef.0123456789abcdeX")));
  state.put(key, secret({ "usage-bootstrap-authentication": "false" }));
  assertEquals(await refused(), "invalid bearer token");
  state.put(key, secret({ "auth-extra-groups": "system:masters" }));
  assertEquals(await refused(), "invalid bearer token");
  state.put(key, secret({}));
  set(Date.parse("2026-01-02T00:00:01Z"));
  assertEquals(await refused(), "invalid bearer token");
});

function credentials(path: string, headers: Record<string, string> = {}): Credentials {
  return { path, header: (name) => headers[name] };
}

Deno.test("authenticateWith() tries certificates, tokens and the open paths", async () => {
  const { tokens, clock, set } = setup();
  tokens.addStatic("secret", { name: "carol", groups: ["ops"] });
  const all = [
    certificateAuthenticator(clock),
    tokenAuthenticator(tokens),
    anonymousAuthenticator(),
  ];
  const who = async (given: Credentials) => (await authenticateWith(all, given)).name;
  const issued = await issueClient(await createAuthority(clock), clock, { commonName: "dan" });
  const raw = fromPem(issued.certificatePem);
  const certificate = { subject: { commonName: "dan", organizations: ["ops"] }, raw };
  assertEquals(await who({ ...credentials("/api"), certificate }), "dan");
  const user = authenticateWith(all, { ...credentials("/api"), certificate });
  assert(user === authenticateWith(all, { ...credentials("/api"), certificate }));
  set(issued.notAfter + 1000);
  assertThrows(
    () => authenticateWith(all, { ...credentials("/api"), certificate }),
    Error,
    "Unauthorized",
  );
  set(START);
  assertEquals(await who(credentials("/api", { authorization: "Bearer secret" })), "carol");
  assertEquals(await who(credentials("/api", { authorization: "bearer secret" })), "carol");
  const encoded = Buffer.from("secret").toString("base64url");
  const protocol = `base64url.bearer.authorization.k8s.io.${encoded}`;
  const offered = { "sec-websocket-protocol": `v5.channel.k8s.io, ${protocol}` };
  assertEquals(await who(credentials("/api", offered)), "carol");
  assertEquals(withoutTokenProtocol(["a", protocol]), ["a"]);
  for (const path of ["/healthz", "/livez/ping", "/readyz", "/version"]) {
    assertEquals(await who(credentials(path)), "system:anonymous");
  }
  for (const path of ["/api", "/versionx", "/healthzz", "/", "/version/x"]) {
    assertThrows(() => authenticateWith(all, credentials(path)), Error, "Unauthorized");
  }
  assertThrows(
    () => authenticateWith(all, credentials("/healthz", { authorization: "Bearer wrong" })),
    Error,
    "Unauthorized",
  );
  assertThrows(
    () => authenticateWith(all, credentials("/api", { "sec-websocket-protocol": protocol })),
    Error,
    "Unauthorized",
  );
  const { issue } = setup();
  const foreign = await issue();
  await assertRejects(
    async () => {
      const other = setup();
      other.state.delete("/registry/serviceaccounts/ns/sa");
      const given = credentials("/api", { authorization: `Bearer ${foreign}` });
      await authenticateWith([tokenAuthenticator(other.tokens)], given);
    },
    Error,
    "Unauthorized",
  );
});

Deno.test("Tokens.authenticate() remembers a bounded number of tokens", async () => {
  const { state, clock } = setup();
  const keys = new TokenKeys([keyPem]);
  const tokens = new Tokens({ view: () => state.view(), clock, keys, cachedMax: 4 });
  for (let i = 0; i < 10; i++) {
    const request = { kind: "TokenRequest", metadata: {}, spec: {} } as never;
    const { status } = await tokens.issue({ namespace: "ns", name: "sa" }, request);
    await tokens.authenticate(status.token);
    assert(tokens.cached <= 4);
  }
});

Deno.test("Tokens.authenticate() remembers digests of good tokens alone, and asks all the same", async () => {
  const { state, tokens, issue } = setup();
  const token = await issue();
  const { user } = await tokens.authenticate(token);
  assertEquals(tokens.digested, 0);
  for (let i = 0; i < 2; i++) {
    assertEquals(await tokens.authenticate(token), { user, audiences: tokens.audiences });
  }
  assertEquals(tokens.digested, 1);
  assertThrows(() => tokens.authenticate("nobody's"));
  assertEquals(tokens.digested, 1);
  state.delete("/registry/serviceaccounts/ns/sa");
  await assertRejects(async () => await tokens.authenticate(token));
  await assertRejects(async () => await tokens.authenticate(token));
  for (let i = 0; i < DIGESTS_MAX + 10; i++) {
    tokens.addStatic(`fixed-${i}`, { name: "fixed", groups: [] });
    await tokens.authenticate(`fixed-${i}`);
    assert(tokens.digested <= DIGESTS_MAX);
  }
  const long = "x".repeat(DIGESTED_BYTES_MAX + 1);
  tokens.addStatic(long, { name: "long", groups: [] });
  const before = tokens.digested;
  await tokens.authenticate(long);
  assertEquals(tokens.digested, before);
});

Deno.test("Tokens.issue() shortens what is longer than allowed, with a warning", async () => {
  const { state, clock } = setup();
  const keys = new TokenKeys([keyPem]);
  const tokens = new Tokens({ view: () => state.view(), clock, keys, secondsMax: 7200 });
  const warnings: string[] = [];
  const request = {
    kind: "TokenRequest",
    metadata: {},
    spec: { expirationSeconds: 9000 },
  } as never;
  const { spec, status } = await tokens.issue(
    { namespace: "ns", name: "sa" },
    request,
    { warn: (text) => warnings.push(text) },
  );
  assertEquals(warnings, ["requested expiration of 9000 seconds shortened to 7200 seconds"]);
  assertEquals(spec.expirationSeconds, 7200);
  assertEquals(status.expirationTimestamp, "2026-01-01T02:00:00Z");
});
