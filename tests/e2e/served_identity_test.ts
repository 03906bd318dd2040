/** Who is who at an instance of `deno serve`: the administrator by the environment's secret, people by OpenID Connect. */
import { assert, assertEquals } from "@std/assert";
import { TestProvider } from "../../api/auth/oidc_fixture.ts";
import { tlsServer } from "../tls_server.ts";
import { freePort } from "./server.ts";
import { waiting } from "./until.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const ADMIN_TOKEN = "a-long-text-that-nobody-guesses";
const until = waiting({ withinMs: 30_000, patient: true });

Deno.test("deno serve knows its administrator by the environment's secret, and people by OpenID Connect", async () => {
  let provider = new TestProvider();
  await using https = await tlsServer(["127.0.0.1"], ({ url }) => {
    const { status, json, text = "" } = provider.answer(url);
    return { status, body: json === undefined ? text : JSON.stringify(json) };
  });
  const issuer = `https://127.0.0.1:${https.port}`;
  provider = new TestProvider(issuer);
  const folder = await Deno.makeTempDir({ prefix: "plesio-served-" });
  const [ca, fixed] = [`${folder}/ca`, `${folder}/tokens`];
  await Deno.writeTextFile(ca, https.ca);
  await Deno.writeTextFile(fixed, "dora-may-come-in,dora,1\n");
  const port = freePort();
  const served = new Deno.Command(Deno.execPath(), {
    args: ["serve", "-A", "--no-check", "--host", "127.0.0.1", "--port", `${port}`, "mod.ts"],
    cwd: ROOT,
    env: {
      PLESIO_ADMIN_TOKEN: ADMIN_TOKEN,
      PLESIO_FLAGS: `--nodes 0 --components api --oidc-issuer-url=${issuer} ` +
        `--oidc-client-id=plesio --oidc-ca-file=${ca} --token-auth-file=${fixed} --oidc-signing-algs=ES256`,
    },
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    const who = async (token: string) => {
      const path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: JSON.stringify({ kind: "SelfSubjectReview", apiVersion: "authentication.k8s.io/v1" }),
      });
      const { status, code } = await answer.json();
      return status?.userInfo?.username ?? code;
    };
    assertEquals(await until("the administrator", () => who(ADMIN_TOKEN)), "kubernetes-admin");
    const exp = Math.floor(Date.now() / 1000) + 600;
    const carol = { sub: "carol", exp };
    assertEquals(await who(provider.token({ ...carol, aud: "plesio" })), `${issuer}#carol`);
    assertEquals(await who(provider.token({ ...carol, aud: "another" })), 401);
    assertEquals(await who("dora-may-come-in"), "dora");
    assertEquals(await who("a guess"), 401);
    assert(provider.asked.length > 0);
  } finally {
    served.kill("SIGTERM");
    await served.status;
    await Deno.remove(folder, { recursive: true });
  }
});
