import { assert, assertEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { X509Certificate } from "node:crypto";
import {
  certificateSubject,
  createAuthority,
  fromPem,
  issueClient,
  issueServer,
  mustRenew,
  readRequest,
  renewAt,
  serverNames,
  signRequest,
  toPem,
} from "./pki.ts";
import { stillClock } from "./state_fixture.ts";

const DAY = 24 * 3600 * 1000;
const START = Date.parse("2026-01-01T00:00:00Z");

Deno.test("issueServer() and issueClient() make certificates that OpenSSL's code accepts", async () => {
  const { clock } = stillClock(START);
  const authority = await createAuthority(clock);
  const names = serverNames({ serviceIp: "10.96.0.1", hosts: ["my.host"] });
  const server = await issueServer(authority, clock, { names });
  const client = await issueClient(authority, clock, {
    commonName: "kubernetes-admin",
    organizations: ["system:masters", "ops"],
  });
  const root = new X509Certificate(authority.certificatePem);
  assert(root.ca);
  for (const issued of [server, client]) {
    const certificate = new X509Certificate(issued.certificatePem);
    assert(certificate.verify(root.publicKey));
    assert(certificate.checkIssued(root));
    assertEquals(Date.parse(certificate.validTo), issued.notAfter);
    assertEquals(issued.notAfter - START, 365 * DAY);
  }
  const names4 = new X509Certificate(server.certificatePem).subjectAltName!;
  for (const name of ["DNS:localhost", "IP Address:127.0.0.1", "IP Address:10.96.0.1", "my.host"]) {
    assert(names4.includes(name), `${name} in ${names4}`);
  }
  assert(names4.includes("DNS:kubernetes.default.svc.cluster.local"));
  assertEquals(await certificateSubject(client.certificatePem), {
    commonName: "kubernetes-admin",
    organizations: ["system:masters", "ops"],
  });
});

Deno.test("mustRenew() asks for a new certificate at two thirds, or for a missing name", async () => {
  const { clock } = stillClock(START);
  const authority = await createAuthority(clock);
  const server = await issueServer(authority, clock, { names: serverNames({}) });
  const at = renewAt(server);
  assert(Math.abs(at - START - 365 * DAY * 2 / 3) < DAY);
  assertEquals(await mustRenew(server, at - 1, serverNames({})), false);
  assertEquals(await mustRenew(server, at), true);
  assertEquals(await mustRenew(server, START, serverNames({ hosts: ["new.host"] })), true);
  assertEquals(await mustRenew(server, START - DAY), true);
});

/** A PKCS #10 request made with the library that a client would use. */
async function request(organization: string): Promise<string> {
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const made = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ O: [organization] }, { CN: ["system:node:n1"] }],
    keys: keys as CryptoKeyPair,
    signingAlgorithm: algorithm,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: "dns", value: "n1.local" }])],
  });
  return made.toString("pem");
}

Deno.test("signRequest() signs what a request asks for, never beyond the authority's life", async () => {
  const { clock } = stillClock(START);
  const authority = await createAuthority(clock, { days: 10 });
  const requestPem = await request("system:nodes");
  const facts = await readRequest(requestPem);
  assertEquals(facts.subject, { commonName: "system:node:n1", organizations: ["system:nodes"] });
  assertEquals(facts.dnsNames, ["n1.local"]);
  const pem = await signRequest(authority, clock, {
    requestPem,
    usages: ["digital signature", "client auth"],
    expirationSeconds: 30 * 24 * 3600,
  });
  const certificate = new X509Certificate(pem);
  assert(certificate.verify(new X509Certificate(authority.certificatePem).publicKey));
  assertEquals(Date.parse(certificate.validTo), authority.notAfter);
  assertEquals(certificate.subjectAltName, "DNS:n1.local");
});

Deno.test("readRequest() says plainly that something is no request", async () => {
  await assertRejects(() => readRequest("nonsense"), TypeError, "unable to parse");
  const good = await request("x");
  const bytes = fromPem(good);
  bytes[bytes.length - 1] ^= 1;
  const torn = toPem("CERTIFICATE REQUEST", bytes);
  await assertRejects(() => readRequest(torn), TypeError);
  assertEquals(Buffer.from(fromPem(toPem("X", new Uint8Array([1, 2])))).toString("hex"), "0102");
});
