import { assertEquals, assertThrows } from "@std/assert";
import { X509Certificate } from "node:crypto";
import type { Credentials } from "./contract.ts";
import { createAuth, createAuthority, createTokenKey, issueClient } from "./mod.ts";
import { State, stillClock } from "./state_fixture.ts";

const { clock, set } = stillClock();
const began = clock.now();
const cluster = await createAuthority(clock);
const proxies = await createAuthority(clock, { commonName: "front-proxy-ca" });

async function certificate(
  authority: typeof cluster,
  commonName: string,
  organizations: string[] = [],
) {
  const { certificatePem } = await issueClient(authority, clock, { commonName, organizations });
  const raw = new Uint8Array(new X509Certificate(certificatePem).raw);
  return { subject: { commonName, organizations }, raw };
}

const auth = createAuth({
  view: () => new State().view(),
  clock,
  tokenKeys: [createTokenKey()],
  clientAuthorities: () => cluster.certificatePem,
  authentication: {
    requestHeader: {
      authorities: proxies.certificatePem,
      allowedNames: ["front-proxy-client"],
      usernameHeaders: ["X-Remote-User"],
      uidHeaders: ["X-Remote-Uid"],
      groupHeaders: ["X-Remote-Group"],
      extraHeaderPrefixes: ["X-Remote-Extra-"],
    },
  },
});

function ask(given: Credentials["certificate"], headers: Record<string, string | string[]> = {}) {
  return auth.authenticate({
    path: "/api",
    header: (name) => {
      const value = headers[name];
      return Array.isArray(value) ? value.join(", ") : value;
    },
    headers: () => Object.entries(headers),
    certificate: given,
  });
}

const HEADERS = {
  "x-remote-user": "erin",
  "x-remote-uid": "u-1",
  "x-remote-group": ["ops", "dev"],
  "x-remote-extra-acme.com%2fproject": "x",
};

Deno.test("a front proxy's headers are believed, from a proxy", async () => {
  const proxy = await certificate(proxies, "front-proxy-client");
  const user = await ask(proxy, HEADERS);
  assertEquals(user, {
    name: "erin",
    uid: "u-1",
    groups: ["ops", "dev", "system:authenticated"],
    extra: { "acme.com/project": ["x"] },
  });
  assertEquals(await ask(proxy, HEADERS) === user, true, "equal users are one object");
});

Deno.test("a front proxy's headers are never believed from anybody else", async (t) => {
  const refused = async (given: Credentials["certificate"], headers = HEADERS) => {
    await Promise.resolve();
    assertThrows(() => ask(given, headers), Error, "Unauthorized");
  };
  await t.step("no certificate", () => refused(undefined));
  await t.step("another name", async () => refused(await certificate(proxies, "somebody")));
  await t.step("a user's certificate says who its holder is, whatever the headers", async () => {
    const alice = await certificate(cluster, "front-proxy-client", ["devs"]);
    assertEquals((await ask(alice, HEADERS)).name, "front-proxy-client");
    assertEquals((await ask(alice, HEADERS)).groups, ["devs", "system:authenticated"]);
  });
  await t.step("a proxy that names nobody is nobody, whatever its groups", async () => {
    await refused(
      await certificate(proxies, "front-proxy-client", ["system:masters"]),
      {} as never,
    );
    await refused(await certificate(proxies, "root", ["system:masters"]), {} as never);
  });
  await t.step("the other authority's certificate in our proxies' name", async () => {
    const other = await createAuthority(clock, { commonName: "front-proxy-ca" });
    await refused(await certificate(other, "front-proxy-client"));
  });
  await t.step("a proxy's certificate that has ended", async () => {
    const proxy = await certificate(proxies, "front-proxy-client");
    set(began + 400 * 24 * 3600 * 1000);
    await refused(proxy);
    set(began);
  });
});
