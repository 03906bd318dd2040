/** Material from outside: what is taken, what is refused. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { generateKeyPairSync } from "node:crypto";
import { createAuthority, issueServer } from "../auth/pki.ts";
import { stillClock } from "../auth/state_fixture.ts";
import { TokenKeys } from "../auth/jwt.ts";
import { UsageError } from "./flags.ts";
import { addressIn, servingOptions } from "./serving.ts";

const { clock } = stillClock();
const authority = await createAuthority(clock);
const server = await issueServer(authority, clock, { names: ["localhost"] });
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const rsaPem = rsa.privateKey.export({ type: "pkcs1", format: "pem" }) as string;
const rsaPublic = rsa.publicKey.export({ type: "spki", format: "pem" }) as string;

Deno.test("servingOptions() takes certificates, keys, issuers and a range", () => {
  const { certificatePem: tlsCert, keyPem: tlsKey } = server;
  const options = servingOptions({
    clientCa: `some text\n${authority.certificatePem}\n${tlsCert}`,
    tlsCert,
    tlsKey,
    signingKey: rsaPem,
    tokenKeys: rsaPublic + authority.certificatePem,
    issuers: ["https://a", "https://b"],
    serviceRange: "10.0.0.0/24",
  });
  assertEquals(options.clientAuthorities?.match(/BEGIN CERTIFICATE/g)?.length, 2);
  assertEquals(options.serving, { cert: tlsCert, key: tlsKey });
  assertEquals(options.serviceAccounts?.verifiers?.length, 2);
  assertEquals(options.serviceAccounts?.issuers, ["https://a", "https://b"]);
  assertEquals(addressIn(options.serviceRange!, 10), "10.0.0.10");
  assertEquals(servingOptions({}), {});
});

Deno.test("servingOptions() says what is wrong with which flag", () => {
  const { certificatePem: tlsCert, keyPem: tlsKey } = server;
  const broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
  for (
    const [texts, says] of [
      [{ clientCa: "nothing" }, "--client-ca-file: data does not contain"],
      [{ clientCa: broken }, "--client-ca-file: failed to find any PEM"],
      [{ tlsCert }, "go together"],
      [{ tlsCert, tlsKey: "no key" }, "--tls-private-key-file"],
      [{ tlsCert: "no certificate", tlsKey }, "--tls-cert-file"],
      [{ tlsCert, tlsKey: rsaPem }, "private key does not match public key"],
      [{ signingKey: "no key" }, "--service-account-signing-key-file"],
      [{ tokenKeys: "none" }, "does not contain any valid RSA or ECDSA public keys"],
      [{ tokenKeys: broken }, "a CERTIFICATE that is no key"],
      [{ serviceRange: "fd00::/64" }, "must be an IPv4 CIDR"],
      [{ serviceRange: "10.0.0.0/24,10.1.0.0/24" }, "an IPv6 CIDR as its second"],
      [{ clusterCidr: "10.0.0.0/16,fd00::/64" }, "--cluster-cidr must have a prefix from 48 to 63"],
      [{ serviceRange: "10.0.0.0/24,fd00::/64" }, "prefix from 108 to 124"],
      [{ serviceRange: "10.0.0.0/24,fd00::1/112" }, "does not begin at its own prefix"],
      [{ serviceRange: "10.0.0.0/24,fd00::/112,fd01::/112" }, "one or two CIDRs"],
      [{ serviceRange: "10.0.0.256/24" }, "must be an IPv4 CIDR"],
      [{ serviceRange: "10.0.0.0/8" }, "prefix from 12 to 28"],
      [{ serviceRange: "10.0.0.1/24" }, "does not begin at its own prefix"],
    ] as const
  ) {
    assertThrows(() => servingOptions(texts), UsageError, says);
  }
});

Deno.test("TokenKeys signs with RSA keys too, and verifies by public keys alone", async () => {
  const claims = { iss: "https://a", sub: "system:serviceaccount:a:b" };
  const token = await new TokenKeys([rsaPem]).sign(claims);
  const { keyPem } = server;
  assertEquals((await new TokenKeys([keyPem], [rsaPublic]).verify(token)).sub, claims.sub);
  const { keys } = await new TokenKeys([keyPem], [rsaPublic]).jwks();
  assertEquals(keys.map(({ kty, alg, d }) => [kty, alg, d]), [
    ["EC", "ES256", undefined],
    ["RSA", "RS256", undefined],
  ]);
  assert(keys[1].kid);
});
