import { assert, assertEquals, assertThrows } from "@std/assert";
import { createKinds } from "../kinds/mod.ts";
import { encryptionOptions, sealingOf } from "./encryption.ts";

const secret = (text: string) => btoa(text);
const file = (entries: unknown[]) =>
  JSON.stringify({
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "EncryptionConfiguration",
    resources: entries,
  });
const keys = (...texts: string[]) => ({
  keys: texts.map((text, i) => ({ name: `key${i}`, secret: secret(text) })),
});
const IDENTITY = { identity: {} };
const S16 = "0123456789abcdef";
const S32 = S16 + S16;

Deno.test("sealingOf() finds the first entry that names a resource, and its first key", () => {
  const options = encryptionOptions(file([
    { resources: ["events"], providers: [IDENTITY] },
    {
      resources: ["secrets", "configmaps", "pandas.awesome.bears.example"],
      providers: [{ aescbc: keys(S16, S32) }, IDENTITY],
    },
    { resources: ["*.apps"], providers: [{ secretbox: keys(S32) }] },
    { resources: ["*."], providers: [IDENTITY, { aesgcm: keys(S32) }] },
  ]));
  assertEquals(options.keys.length, 4);
  const sealing = sealingOf(options, createKinds());
  const of = (path: string) => {
    const found = sealing.of(path);
    return typeof found === "object" ? `${found.algorithm}${found.secret.length}` : found;
  };
  assertEquals(of("/registry/secrets/default/a"), "aescbc16");
  assertEquals(of("/registry/configmaps/default/a"), "aescbc16");
  assertEquals(of("/registry/awesome.bears.example/pandas/default/a"), "aescbc16");
  assertEquals(of("/registry/awesome.bears.example/poohs/default/a"), undefined);
  assertEquals(of("/registry/deployments/default/a"), "secretbox32");
  assertEquals(of("/registry/events/default/a"), undefined);
  assertEquals(of("/registry/services/specs/default/a"), undefined);
  assertEquals(of("/registry/ingress/default/a"), undefined);
  assertEquals(of("!term/x"), undefined);
  const all = sealingOf(
    encryptionOptions(file([{ resources: ["*.*"], providers: [{ aesgcm: keys(S32) }] }])),
    createKinds(),
  );
  assert(all.of("/registry/services/specs/default/a") && all.of("/registry/a.example/b/c"));
  assert(all.fingerprint !== sealing.fingerprint);
});

Deno.test("sealingOf() leaves Secrets that nobody names to the database's own key", () => {
  const options = encryptionOptions(file([{ resources: ["configmaps"], providers: [IDENTITY] }]));
  const sealing = sealingOf(options, createKinds());
  assertEquals(sealing.of("/registry/secrets/default/a"), "own");
  assertEquals(sealing.of("/registry/configmaps/default/a"), undefined);
});

Deno.test("encryptionOptions() says what is wrong as upstream does, and shows no secret", async (t) => {
  const one = (resources: string[], ...providers: unknown[]) => file([{ resources, providers }]);
  const cases: [string, string, string][] = [
    ["nothing", file([]), "resources: Required value: at least one resources is required"],
    [
      "no resources",
      one([], IDENTITY),
      "resources[0].resources: Required value: at least one resources[0].resources is required",
    ],
    [
      "no providers",
      one(["secrets"]),
      "resources[0].providers: Required value: at least one resources[0].providers is required",
    ],
    [
      "two providers in one",
      one(["secrets"], { ...IDENTITY, aescbc: keys(S32) }),
      "more than one provider specified in a single element",
    ],
    ["an empty provider", one(["secrets"], {}), "provider does not contain any of the expected"],
    [
      "a short key",
      one(["secrets"], { aescbc: keys("hush!") }),
      'resources[0].providers[0].aescbc.keys[0].secret: Invalid value: "REDACTED": secret is not of the ' +
      "expected length, got 5, expected one of [16 24 32]",
    ],
    [
      "a key that is no base64",
      one(["secrets"], { secretbox: { keys: [{ name: "a", secret: "hush!" }] } }),
      'Invalid value: "REDACTED": secrets must be base64 encoded',
    ],
    [
      "a key without a name",
      one(["secrets"], { aesgcm: { keys: [{ secret: secret(S32) }] } }),
      "keys[0].name: Required value: name is a mandatory field for a key",
    ],
    ["no keys", one(["secrets"], { aesgcm: { keys: [] } }), "at least one keys is required"],
    ["AES-192", one(["secrets"], { aesgcm: keys(S16 + "01234567") }), "keys of 24 bytes"],
    [
      "KMS without what it needs",
      one(["secrets"], { kms: { apiVersion: "v2" } }),
      "[resources[0].providers[0].kms.name: Required value: name is a mandatory field for a provider, " +
      'resources[0].providers[0].kms.endpoint: Invalid value: "": endpoint is a mandatory field for a kms]',
    ],
    [
      "KMS over a network",
      one(["secrets"], {
        kms: { apiVersion: "v2", name: "a:b", endpoint: "tcp://a:1", timeout: "0s" },
      }),
      '[resources[0].providers[0].kms.name: Invalid value: "a:b": invalid KMS provider name a:b, must ' +
      "not contain ':', resources[0].providers[0].kms.timeout: Invalid value: \"0s\": timeout should be a " +
      'positive value, resources[0].providers[0].kms.endpoint: Invalid value: "tcp://a:1": unsupported ' +
      'scheme "tcp" for KMS provider, only unix is supported]',
    ],
    [
      "KMS of version 1",
      one(["secrets"], { kms: { name: "a", endpoint: "unix:///a" } }),
      'kms.apiVersion: Invalid value: "v1": KMSv1 is deprecated and will only receive security updates',
    ],
    [
      "a KMS that remembers",
      one(["secrets"], {
        kms: { apiVersion: "v2", name: "a", endpoint: "unix:///a", cachesize: 5 },
      }),
      "kms.cachesize: Invalid value: 5: cachesize is not supported in v2",
    ],
    [
      "two KMS of one name",
      one(
        ["secrets"],
        ...[1, 2].map(() => ({
          kms: { apiVersion: "v2", name: "a", endpoint: "unix:///a" },
        })),
      ),
      'providers[1].kms.name: Invalid value: "a": duplicate KMS provider name a, names must be unique',
    ],
    ["a star", one(["*"], IDENTITY), "use '*.' to encrypt all the resources from core API group"],
    ["capitals", one(["Secrets"], IDENTITY), "should not contain capital letters"],
    ["one twice", one(["secrets", "secrets"], IDENTITY), "cannot be specified multiple times"],
    ["one masked", one(["secrets", "*."], IDENTITY), "using overlapping resources"],
    ["across groups", one(["events.*"], IDENTITY), "encrypting the same resource across groups"],
    ["an unknown field", one(["secrets"], { rot13: {} }), "unknown field"],
  ];
  for (const [name, text, says] of cases) {
    await t.step(name, () => {
      const error = assertThrows(() => encryptionOptions(text), Error, says);
      assert(!error.message.includes("hush") && !error.message.includes(secret("hush!")));
    });
  }
});
