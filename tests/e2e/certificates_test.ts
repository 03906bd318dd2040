/** Client certificates and front proxies over real sockets: what the TLS layer lets in and who that then is. */
import { assertEquals } from "@std/assert";
import { request } from "node:https";
import { createAuthority, issueClient, issueServer } from "../../api/auth/mod.ts";
import { Cluster } from "../../mod.ts";
import { RealClock } from "../../kv/mod.ts";

interface Shown {
  certificatePem?: string;
  keyPem?: string;
}

Deno.test("a connection is whom its certificate names, or whom a front proxy names, and nobody else", async (t) => {
  const clock = new RealClock();
  const proxies = await createAuthority(clock, { commonName: "front-proxy-ca" });
  const users = await createAuthority(clock, { commonName: "users" });
  await using cluster = await Cluster.start({
    clock: "real",
    nodes: 0,
    components: ["api"],
    clientAuthorities: users.certificatePem,
    authentication: {
      requestHeader: {
        authorities: proxies.certificatePem,
        allowedNames: ["front"],
        usernameHeaders: ["X-Remote-User"],
        uidHeaders: [],
        groupHeaders: ["X-Remote-Group"],
        extraHeaderPrefixes: [],
      },
    },
  });
  const { port } = await cluster.listen({ port: 0 });
  let groups: string[] = [];
  const ask = (shown: Shown, headers: Record<string, string | string[]> = {}, path?: string) =>
    new Promise<[number, unknown]>((resolve, reject) => {
      const review = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
      const sent = request({
        host: "127.0.0.1",
        port,
        path: path ?? "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        method: path ? "GET" : "POST",
        cert: shown.certificatePem,
        key: shown.keyPem,
        rejectUnauthorized: false,
        agent: false,
        headers: { "content-type": "application/json", ...headers },
      }, (response) => {
        let text = "";
        response.on("data", (piece) => text += piece);
        response.on("end", () => {
          const { userInfo } = path
            ? {} as { userInfo?: undefined }
            : JSON.parse(text).status ?? {};
          groups = userInfo?.groups ?? [];
          resolve([response.statusCode!, userInfo?.username]);
        });
      });
      sent.on("error", reject);
      sent.end(path ? undefined : JSON.stringify(review));
    });
  const headers = { "x-remote-user": "erin", "x-remote-group": "ops" };
  const masters = { commonName: "root", organizations: ["system:masters"] };
  const stranger = await issueClient(await createAuthority(clock), clock, masters);
  const front = await issueClient(proxies, clock, { commonName: "front" });
  const tricky = await issueClient(users, clock, { commonName: "front\nO=system:masters" });
  const impostor = await issueClient(proxies, clock, masters);
  const server = await issueServer(proxies, clock, { names: ["front"], commonName: "front" });
  const { certificatePem, keyPem } = await cluster.access();
  const admin = { certificatePem, keyPem };
  const REFUSED = [401, undefined];
  const cases: [string, () => Promise<unknown>, unknown[]][] = [
    ["the administrator", () => ask(admin), [201, "kubernetes-admin"]],
    ["nobody", () => ask({}), REFUSED],
    ["another authority's", () => ask(stranger), REFUSED],
    ["another authority's, where all may look", () => ask(stranger, {}, "/livez"), REFUSED],
    ["nobody, where all may look", () => ask({}, {}, "/livez"), [200, undefined]],
    ["a front proxy", () => ask(front, headers), [201, "erin"]],
    ["a front proxy that names nobody", () => ask(front), REFUSED],
    ["another name of the proxies' authority", () => ask(impostor, headers), REFUSED],
    ["a server's certificate in a proxy's name", () => ask(server, headers), REFUSED],
    [
      "a name that looks like two",
      () => ask(tricky, headers),
      [201, "front\nO=system:masters"],
    ],
    ["a user with a proxy's headers", () => ask(admin, headers), [201, "kubernetes-admin"]],
    ["nobody with a proxy's headers", () => ask({}, headers), REFUSED],
  ];
  for (const [name, answer, wanted] of cases) {
    await t.step(name, async () => assertEquals(await answer(), wanted as never));
  }
  await t.step("a comma is a part of a group's name", async () => {
    await ask(front, { "x-remote-user": "erin", "x-remote-group": ["a, b", "c"] });
    assertEquals(groups, ["a, b", "c", "system:authenticated"]);
    await ask(admin, { "impersonate-user": "fred", "impersonate-group": ["a, b", "c"] });
    assertEquals(groups, ["a, b", "c", "system:authenticated"]);
  });
});
