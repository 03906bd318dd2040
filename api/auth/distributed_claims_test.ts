/** Groups that a token does not hold itself, but says where they are. */
import { assertEquals, assertRejects } from "@std/assert";
import { fakeOutbound } from "../client/outbound_fixture.ts";
import { TokenError } from "./jwt.ts";
import { JwtAuthenticator } from "./jwt_authenticator.ts";
import { OIDC_ISSUERS_MAX } from "./limits.ts";
import { TestProvider } from "./oidc_fixture.ts";
import { stillClock } from "./state_fixture.ts";

const GROUPS = "https://groups.example/carol";

/** A provider of tokens, another one of groups, and who answers at the endpoint. */
function setup(served?: (token: string) => { status?: number; text?: string }) {
  const { clock } = stillClock();
  const provider = new TestProvider();
  const others = new TestProvider("https://other.example");
  const exp = Math.floor(clock.now() / 1000) + 3600;
  const base = { sub: "carol", aud: "plesio", exp };
  const state = {
    claims: { ...base, groups: ["far"] } as Record<string, unknown>,
    issuers: others,
  };
  const outbound = fakeOutbound((call) => {
    const { url = "" } = call.endpoint;
    if (url === GROUPS) {
      const token = state.issuers.token(state.claims);
      return served?.(token) ?? { text: token };
    }
    return url.startsWith(state.issuers.issuer) ? state.issuers.serve(call) : provider.serve(call);
  });
  const authenticator = new JwtAuthenticator({
    issuer: { url: provider.issuer, audiences: ["plesio"], certificateAuthority: "CA" },
    claimMappings: {
      username: { claim: "sub", prefix: "" },
      groups: { claim: "groups", prefix: "oidc:" },
    },
  }, { outbound: () => outbound, clock });
  const elsewhere = {
    _claim_names: { groups: "src1" },
    _claim_sources: { src1: { endpoint: GROUPS, access_token: "open" } },
  };
  const groups = async (more: Record<string, unknown> = elsewhere) =>
    (await authenticator.authenticate(provider.token({ ...base, ...more }))).user.groups;
  const why = async (more?: Record<string, unknown>) => {
    const error = await assertRejects(() => groups(more), TokenError);
    return error.message.replace("oidc: could not expand distributed claims: ", "…");
  };
  return { outbound, elsewhere, groups, why, state, base };
}

Deno.test("groups are fetched where the token says they are, with what it says to show there", async () => {
  const { outbound, groups } = setup();
  assertEquals(await groups(), ["oidc:far", "system:authenticated"]);
  const { endpoint, request } = outbound.calls.find(({ endpoint }) => endpoint.url === GROUPS)!;
  assertEquals([endpoint.caBundle, request.headers?.authorization], ["CA", "Bearer open"]);
});

Deno.test("a claim that is there is not looked for elsewhere, nor one that is named nowhere", async () => {
  const { outbound, groups, elsewhere } = setup();
  assertEquals(await groups({ ...elsewhere, groups: ["near"] }), [
    "oidc:near",
    "system:authenticated",
  ]);
  const none = ["system:authenticated"];
  assertEquals(await groups({ ...elsewhere, _claim_names: { other: "src1" } }), none);
  // Aggregated: the token itself is in the source, which upstream does not read
  assertEquals(await groups({ ...elsewhere, _claim_sources: { src1: { JWT: "a.b.c" } } }), none);
  assertEquals(outbound.calls.some(({ endpoint }) => endpoint.url === GROUPS), false);
});

Deno.test("what is wrong with a distributed claim is said in upstream's words", async () => {
  const { elsewhere, why, state, base } = setup();
  assertEquals(await why({ _claim_names: 1 }), "…oidc: error parsing distributed claim names");
  assertEquals(await why({ _claim_names: {} }), "…oidc: no claim sources");
  assertEquals(
    await why({ ...elsewhere, _claim_sources: { src1: 1 } }),
    "…oidc: could not parse claim sources",
  );
  assertEquals(
    await why({ ...elsewhere, _claim_sources: {} }),
    "…id token _claim_names contained a source src1 missing in _claims_sources",
  );
  assertEquals(
    await why({ ...elsewhere, _claim_sources: { src1: { endpoint: "http://groups.example" } } }),
    '…while getting distributed claim "groups": http://groups.example: the endpoint must be https',
  );
  state.claims = base;
  assertEquals(
    await why(),
    `…jwt returned by distributed claim endpoint "${GROUPS}" did not contain claim: groups`,
  );
  state.claims = { ...base, aud: "somebody", groups: [] };
  assertEquals(
    await why(),
    '…verify distributed claim token: oidc: expected audience "plesio" got ["somebody"]',
  );
});

Deno.test("an endpoint that refuses, or answers no token, shuts the door", async () => {
  const refusing = setup(() => ({ status: 403 }));
  assertEquals(
    await refusing.why(),
    '…while getting distributed claim "groups": error while getting distributed claim JWT: 403',
  );
  const blank = setup(() => ({ text: "no token" }));
  assertEquals(
    await blank.why(),
    `…getting untrusted issuer from endpoint ${GROUPS} failed for claim "groups"`,
  );
  const forged = setup((token) => ({ text: `${token.slice(0, -8)}AAAAAAAA` }));
  assertEquals(
    await forged.why(),
    "…verify distributed claim token: failed to verify signature: failed to verify id token signature",
  );
});

Deno.test("issuers of distributed claims are remembered in a bounded number", async () => {
  const { groups, state } = setup();
  const first = state.issuers;
  await groups();
  for (let i = 0; i < OIDC_ISSUERS_MAX; i++) {
    state.issuers = new TestProvider(`https://other-${i}.example`);
    await groups();
  }
  state.issuers = first;
  const { length } = first.asked;
  await groups();
  assertEquals(first.asked.length, length * 2);
});
