import { assertEquals, assertRejects } from "@std/assert";
import { webhookEndpoint } from "./webhook_endpoint.ts";

const read = (path: string) =>
  path === "gone"
    ? Promise.reject(new Error("open gone: no such file or directory"))
    : Promise.resolve(`<${path}>`);

function config(cluster: object, user: object = {}, more: object = {}): string {
  return JSON.stringify({
    clusters: [{ name: "c", cluster }],
    users: [{ name: "u", user }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
    ...more,
  });
}

Deno.test("webhookEndpoint() finds the address, its authority and who we are", async () => {
  const server = "https://a.example:8443/ask?x=1";
  const text = config(
    { server, "certificate-authority-data": btoa("ca"), "tls-server-name": "b.example" },
    { "client-certificate": "cert.pem", "client-key-data": btoa("key") },
  );
  assertEquals(await webhookEndpoint(text, read), {
    url: server,
    caBundle: "ca",
    serverName: "b.example",
    certificate: { cert: "<cert.pem>", key: "key" },
  });
  assertEquals(
    await webhookEndpoint(
      config({ server: "127.0.0.1:80", "insecure-skip-tls-verify": true }, { tokenFile: "t" }),
      read,
    ),
    { url: "http://127.0.0.1/", insecureSkipTlsVerify: true, bearerToken: "<t>" },
  );
});

Deno.test("webhookEndpoint() says what is wrong in upstream's words", async (t) => {
  const cases: [string, string, string][] = [
    [
      "nothing",
      "",
      "no configuration has been provided, try setting KUBERNETES_MASTER environment variable",
    ],
    [
      "no such context",
      config({ server: "x" }, {}, { "current-context": "y" }),
      "context was not found for specified context: y",
    ],
    ["no server", config({}), 'no server found for cluster "c"'],
    [
      "no such cluster",
      config({}, {}, { contexts: [{ name: "x", context: { cluster: "d", user: "v" } }] }),
      '[user "v" was not found for context "x", cluster "d" was not found for context "x"]',
    ],
    [
      "a file that is gone",
      config({ server: "x", "certificate-authority": "gone" }),
      "unable to read certificate-authority gone for c due to open gone: no such file or directory",
    ],
    [
      "a certificate without a key",
      config({ server: "x" }, { "client-certificate": "c" }),
      "client-key-data or client-key must be specified for u to use the clientCert authentication method.",
    ],
    ["a program", config({ server: "x" }, { exec: {} }), "exec of user u is not supported here"],
  ];
  for (const [name, text, message] of cases) {
    await t.step(name, async () => {
      const error = await assertRejects(() => webhookEndpoint(text, read), Error);
      assertEquals(error.message, `invalid configuration: ${message}`);
    });
  }
});
