import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { ManualClock } from "../../kv/clock.ts";
import { NODE_TOKEN_SECONDS } from "../auth/limits.ts";
import { NodeTokens } from "../auth/node_tokens.ts";
import { createAuthority, createRequest, signRequest } from "../auth/pki.ts";
import { State } from "../auth/state_fixture.ts";
import type { Endpoint } from "../client/outbound.ts";
import { isOwnTls, proving } from "./proof.ts";

const clock = new ManualClock({ seed: 1 });
const [ours, platforms] = [await createAuthority(clock), await createAuthority(clock)];

async function certificate() {
  const subject = { commonName: "system:node:far", organizations: ["system:nodes"] };
  const { requestPem, keyPem: key } = await createRequest(subject);
  const usages = ["digital signature", "client auth"];
  return { cert: await signRequest(ours, clock, { requestPem, usages }), key };
}

const joined: Endpoint = { url: "https://name.deno.net", certificate: await certificate() };

Deno.test("proving() makes no token where the server's TLS is the cluster's own", () => {
  const direct = { ...joined, caBundle: `${platforms.certificatePem}\n${ours.certificatePem}` };
  assert(isOwnTls(direct));
  assertEquals(proving(() => direct, clock)(), direct);
  assertEquals(
    [{}, { caBundle: platforms.certificatePem }].map((by) => isOwnTls({ ...joined, ...by })),
    [
      false,
      false,
    ],
  );
});

Deno.test("proving() shows a token that is always good, whatever time it is and whatever the certificate", async () => {
  let endpoint = joined;
  const asked = proving(() => endpoint, clock);
  const state = new State();
  const nodes = new NodeTokens({
    view: () => state.view(),
    clock,
    nodeAuthorities: () => Promise.resolve(ours.certificatePem),
  });
  const tokens = new Set<string>();
  const good = async () => {
    const { bearerToken, certificate } = asked();
    assertEquals(certificate, endpoint.certificate);
    tokens.add(bearerToken!);
    assertEquals((await nodes.authenticate(bearerToken!, "name.deno.net")).name, "system:node:far");
  };
  for (let second = 0; second < 2 * NODE_TOKEN_SECONDS; second += 10) {
    await good();
    await clock.advance(10_000);
  }
  assertEquals(tokens.size, 4);
  const before = asked().bearerToken;
  endpoint = { ...joined, certificate: await certificate() };
  await good();
  assertNotEquals(asked().bearerToken, before);
});
