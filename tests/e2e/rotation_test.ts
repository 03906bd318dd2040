/**
 * Certificates and keys change while a server runs: over a year ahead, by themselves and when asked, and nobody is
 * shut out. (The virtual clock cannot be shown to TLS libraries: chains are followed here by signatures, and times
 * compared with the virtual clock's.)
 */
import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { X509Certificate } from "node:crypto";
import { connect, type TLSSocket } from "node:tls";
import { Cluster } from "../../mod.ts";
import { ManualClock } from "../../kv/mod.ts";

const DAY_MS = 24 * 3600 * 1000;
const CORE = (plural: string) => ({ group: "", version: "v1", plural });

function opened(port: number): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect(
      { host: "127.0.0.1", port, rejectUnauthorized: false },
      () => resolve(socket),
    );
    socket.on("error", reject);
  });
}

/** What the server shows to new connections, its own certificate first. */
async function chainOf(port: number): Promise<X509Certificate[]> {
  const socket = await opened(port);
  const chain: X509Certificate[] = [];
  for (
    let at = socket.getPeerCertificate(true);
    at?.raw && !chain.some((one) => one.raw.equals(at.raw));
    at = at.issuerCertificate
  ) chain.push(new X509Certificate(at.raw));
  socket.destroy();
  return chain;
}

function certificatesIn(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

/** Whether a chain of these ends in one of the roots, all of it good at `now`. */
function isTrusted(
  leaf: X509Certificate,
  others: X509Certificate[],
  roots: X509Certificate[],
  now: number,
) {
  const good = (one: X509Certificate) =>
    Date.parse(one.validFrom) <= now && now <= Date.parse(one.validTo);
  const signedBy = (one: X509Certificate, by: X509Certificate) =>
    one.issuer === by.subject && one.verify(by.publicKey);
  const follow = (one: X509Certificate, depth: number): boolean =>
    good(one) && depth < 4 &&
    (roots.some((root) => good(root) && signedBy(one, root)) ||
      others.some((next) => next !== one && signedBy(one, next) && follow(next, depth + 1)));
  return follow(leaf, 0);
}

/** Asks over a connection that stays. */
function ask(socket: TLSSocket): Promise<string> {
  return new Promise((resolve, reject) => {
    socket.once("data", (bytes) => resolve(bytes.toString("latin1").split("\r\n")[0]));
    socket.once("close", () => reject(new Error("the connection was closed")));
    socket.write("GET /version HTTP/1.1\r\nhost: a\r\n\r\n");
  });
}

Deno.test("a year ahead: certificates renew themselves, connections go on, kubeconfigs are good", async () => {
  const clock = new ManualClock({ startMs: Date.now() });
  await using cluster = await Cluster.start({ clock, components: ["api"] });
  let renewed = 0;
  const { port } = await cluster.listen({
    port: 0,
    underManualClock: true,
    renewed: () => renewed++,
  });
  const roots = certificatesIn((await cluster.access()).authorityPem);
  assertEquals(roots.length, 1);
  const first = (await chainOf(port))[0].fingerprint256;
  const socket = await opened(port);
  const step = async (days: number) => {
    await clock.advance((days - 2) * DAY_MS);
    // A look that a timer began ends in its own time (keys are made): the next one is due after that.
    for (let looks = 0; looks < 4; looks++) {
      for (let turns = 0; turns < 300; turns++) await clock.turn();
      await new Promise((resolve) => setTimeout(resolve, 10));
      await clock.advance(DAY_MS / 2);
    }
    const now = clock.now();
    const [leaf, ...others] = await chainOf(port);
    assert(isTrusted(leaf, others, roots, now), `after ${days} more days: ${leaf.validTo}`);
    const access = await cluster.access();
    const [client] = certificatesIn(access.certificatePem);
    assert(isTrusted(client, [], certificatesIn(access.authorityPem), now), client.validTo);
    assertEquals(await ask(socket), "HTTP/1.1 200 OK");
    return leaf.fingerprint256;
  };
  assertEquals(await step(10), first);
  assertEquals(await step(200), first);
  assertEquals(renewed, 0);
  assertNotEquals(await step(40), first);
  assertEquals(renewed, 1);
  // The first certificates have ended by now.
  await step(130);
  assertEquals(renewed, 1);
  socket.destroy();
});

Deno.test("a new authority shuts nobody out, and is believed by everybody", async () => {
  const clock = new ManualClock({ startMs: Date.now() });
  await using cluster = await Cluster.start({ clock, nodes: 0 });
  let renewed = 0;
  const { port } = await cluster.listen({
    port: 0,
    underManualClock: true,
    renewed: () => renewed++,
  });
  await cluster.settle();
  const before = await cluster.access();
  const socket = await opened(port);
  await cluster.rotateAuthority();
  const after = await cluster.access();
  assertEquals(renewed, 1);
  const [leaf, ...others] = await chainOf(port);
  const [oldRoot] = certificatesIn(before.authorityPem);
  const [newRoot, former] = certificatesIn(after.authorityPem);
  assertEquals(former.fingerprint256, oldRoot.fingerprint256);
  assertNotEquals(newRoot.subject, oldRoot.subject);
  const now = clock.now();
  assert(isTrusted(leaf, others, [oldRoot], now), "who trusts the old one alone");
  assert(isTrusted(leaf, [], [newRoot], now), "who trusts the new one alone");
  // A certificate of the old authority is still somebody; one of the new one too, over real TLS.
  for (const { certificatePem, keyPem } of [before, after]) {
    const answer = await new Promise<string>((resolve, reject) => {
      const options = { host: "127.0.0.1", port, cert: certificatePem, key: keyPem };
      const tls = connect(
        { ...options, ca: before.authorityPem },
        () =>
          tls.write(
            "GET /api/v1/namespaces/default HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
          ),
      );
      tls.once("data", (bytes) => resolve(bytes.toString().split("\r\n")[0]));
      tls.on("error", reject);
    });
    assertEquals(answer, "HTTP/1.1 200 OK");
  }
  assertEquals(await ask(socket), "HTTP/1.1 200 OK");
  socket.destroy();
  // What pods and joining nodes are told, within the hour.
  await clock.advance(3600 * 1000 + 1);
  await cluster.settle();
  const map = { resource: CORE("configmaps"), namespace: "default", name: "kube-root-ca.crt" };
  assertEquals((await cluster.client.get(map)).data["ca.crt"], after.authorityPem);
  const info = await cluster.client.get({ ...map, namespace: "kube-public", name: "cluster-info" });
  const encoded = info.data.kubeconfig.match(/certificate-authority-data: (\S+)/)![1];
  assertEquals(Buffer.from(encoded, "base64").toString(), after.authorityPem);
});

Deno.test("a new key of tokens: old tokens are good until they end, or until their key is dropped", async () => {
  const clock = new ManualClock({ startMs: Date.now() });
  await using cluster = await Cluster.start({ clock, nodes: 0 });
  await cluster.settle();
  const account = { resource: CORE("serviceaccounts"), namespace: "default", name: "default" };
  const tokenFor = async (expirationSeconds: number) => {
    const made = await cluster.client.create({ ...account, subresource: "token" }, {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      spec: { expirationSeconds },
    });
    return (made.status as { token: string }).token;
  };
  const is = async (token: string) => {
    const path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    const body = JSON.stringify({
      apiVersion: "authentication.k8s.io/v1",
      kind: "SelfSubjectReview",
    });
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const answer = await cluster.fetch(path, { method: "POST", headers, body });
    await answer.body?.cancel();
    return answer.status;
  };
  const kid = (token: string) =>
    JSON.parse(Buffer.from(token.split(".")[0], "base64url").toString()).kid;
  const keysServed = async () => {
    const answer = await cluster.fetch("/openid/v1/jwks");
    return (await answer.json()).keys.length as number;
  };
  const short = await tokenFor(600);
  const long = await tokenFor(24 * 3600);
  await cluster.rotateTokenKey();
  const next = await tokenFor(24 * 3600);
  assertNotEquals(kid(next), kid(long));
  assertEquals([await is(short), await is(long), await is(next)], [201, 201, 201]);
  assertEquals(await keysServed(), 2);
  await clock.advance(700 * 1000);
  assertEquals([await is(short), await is(long), await is(next)], [401, 201, 201]);
  const snapshot = await cluster.snapshot();
  await using again = await Cluster.start({
    clock: new ManualClock({ startMs: clock.now() }),
    nodes: 0,
    snapshot,
  });
  const headers = { authorization: `Bearer ${long}` };
  const answer = await again.fetch("/api", { headers });
  assertEquals(answer.status, 200, "a restart knows both keys");
  await answer.body?.cancel();
  await cluster.dropOldTokenKeys();
  await clock.advance(11_000);
  assertEquals([await is(long), await is(next)], [401, 201]);
  await assertRejects(() => cluster.client.get({ ...account, name: "nobody" }));
});
