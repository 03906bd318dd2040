/** Identity over real sockets: a provider that speaks HTTPS on the loopback, with an authority of its own. */
import { assertEquals } from "@std/assert";
import { createServer } from "node:https";
import { createAuth, createAuthority, createTokenKey, issueServer } from "../auth/mod.ts";
import { TestProvider } from "../auth/oidc_fixture.ts";
import { openDatabase, RealClock } from "../../kv/mod.ts";
import { createKinds } from "../kinds/mod.ts";
import type { KubeObject } from "../machinery/types.ts";
import { createApi, hostOutbound, objectCodec } from "../mod.ts";

async function listening() {
  const clock = new RealClock();
  const authority = await createAuthority(clock);
  const { certificatePem, keyPem } = await issueServer(authority, clock, { names: ["127.0.0.1"] });
  let provider = new TestProvider();
  const server = createServer({ cert: certificatePem, key: keyPem }, (request, response) => {
    const { status = 200, headers = {}, json, text = "" } = provider.answer(request.url!);
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(json === undefined ? text : JSON.stringify(json));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const url = `https://127.0.0.1:${port}`;
  provider = new TestProvider(url);
  return {
    provider,
    url,
    authorityPem: authority.certificatePem,
    close: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}

Deno.test("a token of a provider over HTTPS opens the door, and only by the authority that is configured", async (t) => {
  const https = await listening();
  const { provider } = https;
  const clock = new RealClock();
  const database = await openDatabase<KubeObject>({ codec: objectCodec, clock });
  const outbound = hostOutbound({ database, clock });
  const token = provider.token({ sub: "carol", aud: "plesio", exp: clock.now() / 1000 + 600 });
  const ask = async (certificateAuthority: string) => {
    const auth = createAuth({
      view: () => database.objects.view(),
      clock,
      tokenKeys: [createTokenKey()],
      outbound: () => outbound,
      authorization: [{ type: "AlwaysAllow", name: "alwaysallow" }],
      authentication: {
        jwt: [{
          issuer: { url: https.url, audiences: ["plesio"], certificateAuthority },
          claimMappings: { username: { claim: "sub", prefix: "oidc:" } },
        }],
      },
    });
    const api = createApi({ ...auth, outbound, database, kinds: createKinds(), clock });
    const path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    const response = await api.fetch(
      new Request(`http://x${path}`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: JSON.stringify({
          apiVersion: "authentication.k8s.io/v1",
          kind: "SelfSubjectReview",
        }),
      }),
    );
    return { status: response.status, body: await response.json() };
  };
  try {
    await t.step("the right one", async () => {
      const { status, body } = await ask(https.authorityPem);
      assertEquals([status, body.status?.userInfo.username], [201, "oidc:carol"]);
    });
    await t.step("another one", async () => {
      const other = await createAuthority(clock);
      assertEquals((await ask(other.certificatePem)).status, 401);
    });
  } finally {
    await https.close();
    await database.close();
  }
});
