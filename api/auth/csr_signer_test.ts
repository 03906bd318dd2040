import { assert, assertEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { X509Certificate } from "node:crypto";
import {
  approvalsFor,
  CLIENT,
  KUBELET_CLIENT,
  KUBELET_SERVING,
  LEGACY,
  signedStatus,
} from "./csr_signer.ts";
import { createAuthority } from "./pki.ts";
import { stillClock } from "./state_fixture.ts";

// deno-lint-ignore no-explicit-any -- requests as they are stored
type Any = any;

const { clock } = stillClock();
const authority = await createAuthority(clock);
const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]) as CryptoKeyPair;

async function request(options: { cn?: string; o?: string[]; dns?: string[] } = {}) {
  const x509 = await import("@peculiar/x509");
  const { cn = "system:node:n1", o = ["system:nodes"], dns = [] } = options;
  const names = dns.map((value) => ({ type: "dns" as const, value }));
  const made = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [...o.map((value) => ({ O: [value] })), { CN: [cn] }],
    keys,
    signingAlgorithm: algorithm,
    extensions: names.length ? [new x509.SubjectAlternativeNameExtension(names)] : [],
  });
  return Buffer.from(made.toString("pem")).toString("base64");
}

const csr = (signerName: string, request: string, usages: string[], more: Any = {}): Any => ({
  metadata: { name: "csr" },
  spec: { signerName, request, usages, username: "system:node:n1", ...more },
  status: { conditions: [{ type: "Approved", status: "True" }] },
});

Deno.test("signedStatus() signs what is approved and right", async () => {
  const usages = ["digital signature", "client auth"];
  const one = csr(KUBELET_CLIENT, await request(), usages, { expirationSeconds: 7200 });
  const status: Any = await signedStatus(one, authority, clock);
  const certificate = new X509Certificate(Buffer.from(status.certificate, "base64"));
  assert(certificate.verify(new X509Certificate(authority.certificatePem).publicKey));
  assertEquals(certificate.subject, "O=system:nodes\nCN=system:node:n1");
  assertEquals(Date.parse(certificate.validTo) - clock.now(), 7200_000);
  assertEquals(await signedStatus({ ...one, status }, authority, clock), undefined);
  assertEquals(await signedStatus({ ...one, status: {} }, authority, clock), undefined);
  const foreign = csr("acme.com/web", await request(), usages);
  assertEquals(await signedStatus(foreign, authority, clock), undefined);
  const torn = csr(LEGACY, "bm8=", usages);
  await assertRejects(() => signedStatus(torn, authority, clock), TypeError);
});

Deno.test("signedStatus() says why it does not sign", async (t) => {
  const plain = await request();
  const named = await request({ dns: ["n1"] });
  const client = ["digital signature", "client auth"];
  const serve = ["digital signature", "key encipherment", "server auth"];
  const cases: [string, string, string[], string][] = [
    [KUBELET_SERVING, named, serve, ""],
    [KUBELET_SERVING, plain, serve, "DNS or IP subjectAltName is required"],
    [
      KUBELET_SERVING,
      named,
      client,
      "usages did not match [digital signature key encipherment server auth]",
    ],
    [KUBELET_CLIENT, named, client, "DNS subjectAltNames are not allowed"],
    [
      KUBELET_CLIENT,
      await request({ o: ["ops"] }),
      client,
      "subject organization is not system:nodes",
    ],
    [
      KUBELET_CLIENT,
      await request({ cn: "bob" }),
      client,
      "subject common name does not begin with system:node:",
    ],
    [CLIENT, plain, client, ""],
    [CLIENT, plain, ["server auth"], "invalid usage for client certificate: server auth"],
    [
      CLIENT,
      plain,
      ["digital signature"],
      "missing required usage for client certificate: client auth",
    ],
    [LEGACY, plain, ["code signing", "any"], ""],
  ];
  for (const [signer, pem, usages, message] of cases) {
    await t.step(`${signer} ${usages}: ${message || "signed"}`, async () => {
      const status: Any = await signedStatus(csr(signer, pem, usages), authority, clock);
      if (!message) return assert(status.certificate);
      const failed = status.conditions.at(-1);
      assertEquals([failed.type, failed.reason, failed.message], [
        "Failed",
        "SignerValidationFailure",
        message,
      ]);
    });
  }
});

Deno.test("approvalsFor() recognises nodes' client certificates", async () => {
  const usages = ["digital signature", "client auth"];
  const pending = async (more: Any = {}) =>
    (await approvalsFor({ ...csr(KUBELET_CLIENT, await request(), usages, more), status: {} }))
      .map((approval) => approval.subresource);
  assertEquals(await pending(), ["selfnodeclient", "nodeclient"]);
  assertEquals(await pending({ username: "system:bootstrap:abcdef" }), ["nodeclient"]);
  assertEquals(await pending({ signerName: KUBELET_SERVING }), []);
  assertEquals(await pending({ usages: ["server auth"] }), []);
  assertEquals(await approvalsFor(csr(KUBELET_CLIENT, await request(), usages)), []);
});
