import { assertEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { X509Certificate } from "node:crypto";
import { ApiError } from "../machinery/types.ts";
import { certificateAuthenticator } from "./authn.ts";
import { NODE_REGISTERS_MS, NODE_TOKEN_SECONDS } from "./limits.ts";
import { NodeTokens, signedToken, signNodeToken } from "./node_tokens.ts";
import { createAuthority, createRequest, type Issued, signRequest, type Usage } from "./pki.ts";
import { State, stillClock } from "./state_fixture.ts";

const START = Date.parse("2026-01-01T00:00:00Z");
const HOST = "name.deno.net";
const DAY_MS = 24 * 3_600_000;

/** Authorities are made once: that is what takes long. */
const [ours, next, others] = await Promise.all(
  Array.from({ length: 3 }, () => createAuthority(stillClock(START).clock)),
);

interface Wanted {
  commonName?: string;
  organizations?: string[];
  usages?: Usage[];
  authority?: Issued;
  /** When it is issued. */
  at?: number;
}

/** A certificate with its key, of the node `far` unless something else is wanted. */
async function certificate(wanted: Wanted = {}) {
  const { commonName = "system:node:far", organizations = ["system:nodes"], at = START } = wanted;
  const { usages = ["digital signature", "client auth"], authority = ours } = wanted;
  const { requestPem, keyPem } = await createRequest({ commonName, organizations });
  const { clock } = stillClock(at);
  return { certificatePem: await signRequest(authority, clock, { requestPem, usages }), keyPem };
}

const far = await certificate();

function setup(authorities = ours.certificatePem) {
  const state = new State();
  const { clock, set } = stillClock(START);
  const tokens = new NodeTokens({
    view: () => state.view(),
    clock,
    nodeAuthorities: () => Promise.resolve(authorities),
  });
  const register = (name: string) =>
    state.put(`/registry/minions/${name}`, {
      metadata: { name, creationTimestamp: new Date(clock.now()).toISOString() },
    });
  const refused = async (token: string, host: string | undefined = HOST, why?: string) => {
    const error = await assertRejects(() => tokens.authenticate(token, host), ApiError, "", why);
    assertEquals(error.code, 401, why);
  };
  const trust = (pem: string) => authorities = pem;
  return { state, set, tokens, register, refused, trust, now: () => clock.now() };
}

const token = (node = far, at = START) => signNodeToken(node, { host: HOST, now: at });

Deno.test("a node's token gives the identity that its certificate gives, at the host that it names", async () => {
  const { tokens, now } = setup();
  const raw = new X509Certificate(far.certificatePem).raw;
  const subject = { commonName: "system:node:far", organizations: ["system:nodes"] };
  const byCertificate = certificateAuthenticator({ now })
    .authenticate({ path: "/", header: () => undefined, certificate: { subject, raw } });
  const user = await tokens.authenticate(token(), HOST);
  assertEquals(user, await byCertificate);
  assertEquals(user.groups, ["system:nodes", "system:authenticated"]);
  for (const host of ["NAME.deno.net", "name.deno.net:443"]) {
    assertEquals(await tokens.authenticate(token(), host), user);
  }
  // Another token of the same certificate: the same object, by which authorizers remember
  assertEquals(await tokens.authenticate(token(far, START + 1_000), HOST) === user, true);
  assertEquals([token(), "eyJhbGciOiJFUzI1NiJ9.e30.x"].map((one) => tokens.knows(one)), [
    true,
    false,
  ]);
});

Deno.test("a node's token is good nowhere else, and no longer than it says, and that is not long", async () => {
  const { set, tokens, register, refused } = setup();
  register("far");
  const seen = token();
  await tokens.authenticate(seen, HOST);
  for (const host of ["evil.deno.net", "name.deno.net:8443", "", undefined]) {
    await assertRejects(() => tokens.authenticate(seen, host), ApiError, "Unauthorized");
  }
  set(START + NODE_TOKEN_SECONDS * 1000 - 1);
  await tokens.authenticate(seen, HOST);
  set(START + NODE_TOKEN_SECONDS * 1000);
  await refused(seen);
  // One that was never seen before its end is no better
  await refused(token(far, START + 1));
  await tokens.authenticate(token(far, START + NODE_TOKEN_SECONDS * 1000), HOST);
});

/** What may stand in a token, and what a good one says. */
const x5c = (pem: string) => [new X509Certificate(pem).raw.toString("base64")];
const header = { typ: "plesio-node", alg: "ES256", x5c: x5c(far.certificatePem) };
const iat = START / 1000;
const claims = { aud: HOST, iat, exp: iat + 60 };

Deno.test("nobody becomes a node, or another one, by what stands in a token", async () => {
  const { tokens, refused } = setup();
  const near = await certificate({ commonName: "system:node:near" });
  const made = (given: object, said: object = {}, keyPem = far.keyPem) =>
    signedToken({ ...header, ...given }, { ...claims, ...said }, keyPem);
  assertEquals((await tokens.authenticate(made({}), HOST)).name, "system:node:far");
  // Who it is, the certificate says, and nothing else
  const posing = made({ sub: "system:node:near" }, { sub: "system:node:near", groups: ["x"] });
  assertEquals((await tokens.authenticate(posing, HOST)).name, "system:node:far");
  const bad: Record<string, string> = {
    "a certificate without its key": made({ x5c: x5c(near.certificatePem) }),
    "a key without its certificate": made({}, {}, near.keyPem),
    "two certificates": made({ x5c: [...header.x5c, ...x5c(near.certificatePem)] }),
    "no certificate": made({ x5c: [] }),
    "something else as one": made({ x5c: ["AAAA"] }),
    "another algorithm": made({ alg: "HS256" }),
    "none": made({ alg: "none" }).split(".").slice(0, 2).join(".") + ".",
    "a longer life": made({}, { exp: iat + NODE_TOKEN_SECONDS + 1 }),
    "no end": made({}, { exp: undefined }),
    "an end that is no number": made({}, { exp: "9999999999" }),
    "a time to come": made({}, { iat: iat + 3_600, exp: iat + 3_660 }),
    "no host": made({}, { aud: undefined }),
    "several hosts": made({}, { aud: [HOST, "evil"] }),
    "four parts": `${made({})}.x`,
    "half a signature": made({}).slice(0, -40),
    "what is no JSON": `${token().split(".")[0]}.x.x`,
  };
  for (const [why, one] of Object.entries(bad)) await refused(one, HOST, why);
});

Deno.test("only certificates that this cluster has issued to nodes as clients speak for a node", async () => {
  const { refused } = setup();
  const wrong: Record<string, Wanted> = {
    "of another authority": { authority: others },
    "with which nodes serve": { usages: ["digital signature", "server auth"] },
    "an administrator's": { commonName: "kubernetes-admin", organizations: ["system:masters"] },
    "in no group": { organizations: [] },
    "in two groups": { organizations: ["system:nodes", "system:masters"] },
    "of no name": { commonName: "system:node:" },
    "that has not begun": { at: START + DAY_MS },
    "that has ended": { at: START - 400 * DAY_MS },
  };
  for (const [why, wanted] of Object.entries(wrong)) {
    await refused(token(await certificate(wanted)), HOST, why);
  }
});

Deno.test("no token of which a letter was changed is anybody else's", async () => {
  const { tokens } = setup();
  const good = token();
  const letters = "ABCxyz019-_.";
  for (let at = 0; at < good.length; at += 3) {
    const letter = letters[(at * 7) % letters.length];
    const changed = good.slice(0, at) + letter + good.slice(at + 1);
    const who = await tokens.authenticate(changed, HOST).then(({ name }) => name, (error) => {
      assertEquals(error.code, 401, `letter ${at}: ${error}`);
      return "nobody";
    });
    // The last bits of base64 say nothing
    assertEquals(who === "nobody" || who === "system:node:far", true, `letter ${at}: ${who}`);
  }
});

Deno.test("a machine whose Node was deleted is sent away, whoever takes the name", async () => {
  const { state, set, tokens, register, refused } = setup();
  // The first thing that it does is to register
  await tokens.authenticate(token(), HOST);
  register("far");
  const later = START + 30 * DAY_MS;
  set(later);
  await tokens.authenticate(token(far, later), HOST);
  const renewed = await certificate({ at: later });
  set(later + DAY_MS);
  await tokens.authenticate(token(renewed, later + DAY_MS), HOST);
  state.delete("/registry/minions/far");
  await refused(token(far, later + DAY_MS));
  await refused(token(renewed, later + DAY_MS));
  // Another machine joins by that name
  const second = await certificate({ at: later + DAY_MS });
  await tokens.authenticate(token(second, later + DAY_MS), HOST);
  register("far");
  await tokens.authenticate(token(second, later + DAY_MS), HOST);
  await refused(token(renewed, later + DAY_MS));
});

Deno.test("a certificate whose Node never came is good for tokens for a while only", async () => {
  const { set, tokens, refused } = setup();
  const begins = Date.parse(new X509Certificate(far.certificatePem).validFrom);
  const last = begins + NODE_REGISTERS_MS;
  set(last);
  await tokens.authenticate(token(far, last), HOST);
  set(last + 1_000);
  await refused(token(far, last + 1_000));
});

Deno.test("an authority that is trusted no longer ends the tokens of its nodes, one that is added ends none", async () => {
  const { tokens, trust, refused } = setup();
  const seen = token();
  await tokens.authenticate(seen, HOST);
  trust(`${next.certificatePem}\n${ours.certificatePem}`);
  await tokens.authenticate(seen, HOST);
  trust(next.certificatePem);
  await refused(seen);
  await refused(token(far, START + 1_000));
});

Deno.test("a token may be as long as any, and no longer", async () => {
  const { refused } = setup();
  await refused(`${token()}${Buffer.alloc(16 * 1024, "A").toString()}`);
});
