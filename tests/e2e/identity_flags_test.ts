/**
 * Identity by flags and files, end to end: an OpenID Connect provider and an authorization webhook on the loopback, over HTTPS
 * with an authority of their own, and a cluster that is configured as its command line would.
 */
import { assertEquals } from "@std/assert";
import { createServer } from "node:https";
import { createAuthority, issueServer } from "../../api/auth/mod.ts";
import { TestProvider } from "../../api/auth/oidc_fixture.ts";
import { readConfig } from "../../api/config/files.ts";
import { readFlags } from "../../api/config/flags.ts";
import { serverOptions } from "../../api/config/server.ts";
import { RealClock } from "../../kv/mod.ts";
import { Cluster } from "../../mod.ts";

/** A provider, and a webhook under `/authz` that lets `oidc:devs` see pods. */
async function outside() {
  const clock = new RealClock();
  const authority = await createAuthority(clock);
  const { certificatePem, keyPem } = await issueServer(authority, clock, { names: ["127.0.0.1"] });
  let provider = new TestProvider();
  let reviews = 0;
  const server = createServer({ cert: certificatePem, key: keyPem }, async (request, response) => {
    if (!request.url!.startsWith("/authz")) {
      const { status = 200, json, text = "" } = provider.answer(request.url!);
      response.writeHead(status, { "content-type": "application/json" });
      response.end(json === undefined ? text : JSON.stringify(json));
      return;
    }
    let text = "";
    for await (const piece of request) text += piece;
    const { apiVersion, kind, spec } = JSON.parse(text);
    reviews++;
    const allowed = spec.groups.includes("oidc:devs") &&
      spec.resourceAttributes?.resource === "pods";
    const status = { allowed, reason: "the webhook says so" };
    response.end(JSON.stringify({ apiVersion, kind, status }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `https://127.0.0.1:${(server.address() as { port: number }).port}`;
  provider = new TestProvider(url);
  return {
    url,
    provider,
    ca: authority.certificatePem,
    reviews: () => reviews,
    close: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}

Deno.test("a cluster knows whom its files name, and asks the webhook that they name", async () => {
  const there = await outside();
  const folder = await Deno.makeTempDir();
  const write = (name: string, value: unknown) =>
    Deno.writeTextFile(
      `${folder}/${name}`,
      typeof value === "string" ? value : JSON.stringify(value),
    );
  await write("ca.pem", there.ca);
  await write("tokens.csv", 'tok-1,fixed,77,"ops"\n');
  await write("kubeconfig", {
    clusters: [{
      name: "c",
      cluster: { server: `${there.url}/authz`, "certificate-authority": "ca.pem" },
    }],
    users: [{ name: "u", user: {} }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  });
  await write("authn.json", {
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "AuthenticationConfiguration",
    jwt: [{
      issuer: { url: there.url, audiences: ["plesio"], certificateAuthority: there.ca },
      claimMappings: {
        username: { expression: "claims.email_verified ? 'oidc:' + claims.email : ''" },
        groups: { claim: "groups", prefix: "oidc:" },
      },
    }],
    anonymous: { enabled: true, conditions: [{ path: "/livez" }] },
  });
  await write("authz.json", {
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "AuthorizationConfiguration",
    authorizers: [{ type: "Node", name: "node" }, { type: "RBAC", name: "rbac" }, {
      type: "Webhook",
      name: "w",
      webhook: {
        timeout: "3s",
        subjectAccessReviewVersion: "v1",
        matchConditionSubjectAccessReviewVersion: "v1",
        failurePolicy: "Deny",
        connectionInfo: { type: "KubeConfigFile", kubeConfigFile: `${folder}/kubeconfig` },
        matchConditions: [{ expression: "'oidc:devs' in request.groups" }],
      },
    }],
  });
  const flags = readFlags([
    `--authentication-config=${folder}/authn.json`,
    `--authorization-config=${folder}/authz.json`,
    `--token-auth-file=${folder}/tokens.csv`,
  ]);
  const options = await serverOptions(flags, readConfig);
  const cluster = await Cluster.start({ clock: "real", nodes: 0, components: ["api"], ...options });
  const ask = async (path: string, token?: string) => {
    const headers: HeadersInit = token ? { authorization: `Bearer ${token}` } : {};
    const response = await cluster.api.fetch(new Request(`https://x${path}`, { headers }));
    const text = await response.text();
    return [response.status, response.status === 403 ? JSON.parse(text).message : ""];
  };
  try {
    const claims = { aud: "plesio", exp: cluster.clock.now() / 1000 + 600, groups: ["devs"] };
    const carol = there.provider.token({ ...claims, email: "c@example.com", email_verified: true });
    const nobody = there.provider.token({
      ...claims,
      email: "c@example.com",
      email_verified: false,
    });
    const pods = "/api/v1/namespaces/default/pods";
    const secrets = "/api/v1/namespaces/default/secrets";
    assertEquals(await ask(pods, carol), [200, ""]);
    assertEquals(await ask(secrets, carol), [
      403,
      'secrets is forbidden: User "oidc:c@example.com" cannot list resource "secrets" in API group ' +
      '"" in the namespace "default": the webhook says so',
    ]);
    assertEquals(there.reviews(), 2);
    await ask(pods, carol);
    assertEquals(there.reviews(), 2, "what the webhook said counts for a while");
    assertEquals((await ask(pods, nobody))[0], 401);
    assertEquals(await ask(pods, "tok-1"), [
      403,
      'pods is forbidden: User "fixed" cannot list resource "pods" in API group "" in the namespace ' +
      '"default"',
    ]);
    assertEquals(there.reviews(), 2, "the conditions keep others from being asked about");
    assertEquals((await ask("/livez"))[0], 200);
    assertEquals((await ask("/version"))[0], 401);
  } finally {
    await cluster.stop();
    await there.close();
    await Deno.remove(folder, { recursive: true });
  }
});
