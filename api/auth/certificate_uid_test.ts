import { assertEquals, assertObjectMatch, assertThrows } from "@std/assert";
import { ApiError } from "../machinery/types.ts";
import { certificateAuthenticator } from "./authn.ts";
import { certificateUid } from "./certificate_uid.ts";

const UID = "1.3.6.1.4.1.57683.2";

/** A certificate that nobody trusts, for a subject. */
async function certificate(subject: Record<string, string[]>[]): Promise<Uint8Array> {
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const keys = await crypto.subtle.generateKey(
    { name: "ECDSA", namedCurve: "P-256" },
    true,
    ["sign", "verify"],
  ) as CryptoKeyPair;
  const { rawData } = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: "01",
    name: subject,
    notBefore: new Date("2026-01-01T00:00:00Z"),
    notAfter: new Date("2099-01-01T00:00:00Z"),
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    keys,
  });
  return new Uint8Array(rawData);
}

Deno.test("certificateUid() finds Kubernetes' own attribute of the subject and no other", async (t) => {
  const cases: [string, Record<string, string[]>[], string | undefined][] = [
    ["none", [{ CN: ["ann"] }, { O: ["dev"] }], undefined],
    ["one", [{ CN: ["ann"] }, { [UID]: ["4f2c"] }, { O: ["dev"] }], "4f2c"],
    ["what a name says is a uid", [{ CN: [`ann, ${UID}=4f2c`] }], undefined],
    [
      "an attribute of another type",
      [{ CN: ["ann"] }, { "1.3.6.1.4.1.57683.3": ["x"] }],
      undefined,
    ],
    ["more than Latin", [{ [UID]: ["нина"] }], "нина"],
  ];
  for (const [name, subject, expected] of cases) {
    await t.step(name, async () => {
      assertEquals(certificateUid(await certificate(subject)), expected);
    });
  }
  const two = await certificate([{ [UID]: ["1"] }, { CN: ["ann"] }, { [UID]: ["2"] }]);
  assertThrows(() => certificateUid(two), TypeError, "expected 1 UID, but found multiple: [1 2]");
  const empty = await certificate([{ CN: ["ann"] }, { [UID]: [""] }]);
  assertThrows(() => certificateUid(empty), TypeError, "UID cannot be an empty string");
  const whole = await certificate([{ CN: ["ann"] }]);
  for (let end = 0; end < whole.length; end += 7) {
    assertThrows(() => certificateUid(whole.subarray(0, end)), TypeError);
  }
});

Deno.test("a certificate's holder has its uid; one with several is nobody's", async () => {
  const authenticator = certificateAuthenticator({ now: () => Date.parse("2026-06-01T00:00:00Z") });
  const holder = (raw: Uint8Array) =>
    authenticator.authenticate({
      certificate: { subject: { commonName: "ann", organizations: ["dev"] }, raw },
      header: () => undefined,
      path: "/api",
    });
  const known = await certificate([{ CN: ["ann"] }, { [UID]: ["4f2c"] }]);
  assertObjectMatch(holder(known) as object, { name: "ann", uid: "4f2c" });
  assertEquals("uid" in (holder(await certificate([{ CN: ["ann"] }])) as object), false);
  const two = await certificate([{ CN: ["ann"] }, { [UID]: ["1"] }, { [UID]: ["2"] }]);
  assertEquals(assertThrows(() => holder(two), ApiError).status.code, 401);
});
