import { assertEquals, assertRejects } from "@std/assert";
import { ManualClock } from "../../kv/clock.ts";
import { createAuthority } from "../auth/pki.ts";
import { type Endpoint, type Outbound, OutboundError } from "../client/outbound.ts";
import { detachedSignature } from "../machinery/detached_signature.ts";
import { authorityHashes } from "./bootstrap_tokens.ts";
import { discover, DISCOVERY_MS_MAX, DISCOVERY_RETRY_MS } from "./discovery.ts";

const clock = new ManualClock();
const { certificatePem: authorityPem } = await createAuthority(clock);
const { certificatePem: otherPem } = await createAuthority(clock);
const [hash] = authorityHashes(authorityPem);
const TOKEN = "abcdef.0123456789abcdef";
const server = "https://10.0.0.1:6443";

function kubeconfigOf(pem: string): string {
  return `apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: ${btoa(pem)}\n`;
}

const signed = (kubeconfig: string, secret = "0123456789abcdef") => ({
  kubeconfig,
  "jws-kubeconfig-abcdef": detachedSignature(kubeconfig, "abcdef", secret),
});

type Answer = { status?: number; data?: Record<string, string>; text?: string } | Error;

/** A server that answers these, the last one for ever, and notes what it was told. */
function serving(...answers: Answer[]) {
  const asked: Endpoint[] = [];
  const outbound = {
    send(endpoint: Endpoint, request: { headers?: unknown }) {
      assertEquals(request.headers, undefined);
      const answer = answers[Math.min(asked.length, answers.length - 1)];
      asked.push(endpoint);
      if (answer instanceof Error) return Promise.reject(answer);
      const { status = 200, data, text } = answer;
      const body = new TextEncoder().encode(text ?? JSON.stringify({ data }));
      return Promise.resolve({ status, headers: {}, body });
    },
  } as unknown as Outbound;
  return { asked, outbound };
}

const good = signed(kubeconfigOf(authorityPem));
const known = { server, token: TOKEN, caHashes: [hash] };

Deno.test("discover() believes what the token has signed and the hash names (nothing-said)", async () => {
  const { asked, outbound } = serving({ data: good });
  assertEquals(await discover(known, { outbound, clock }), authorityPem);
  assertEquals(asked, [
    { url: server, insecureSkipTlsVerify: true },
    { url: server, caBundle: authorityPem },
  ]);
});

Deno.test("discover() looks at the certificate of who ends TLS, where it is told of one (nothing-said)", async () => {
  for (const tls of [{}, { caBundle: otherPem }]) {
    const { asked, outbound } = serving({ data: good });
    assertEquals(await discover({ ...known, tls }, { outbound, clock }), authorityPem);
    assertEquals(asked.at(-1), { url: server, caBundle: (tls as { caBundle?: string }).caBundle });
  }
});

const refusals: [string, Answer[], Partial<typeof known>, string][] = [
  [
    "a forged signature",
    [{ data: signed(kubeconfigOf(authorityPem), "fedcba9876543210") }],
    {},
    "failed to verify JWS signature of received cluster info object, can't trust this API Server",
  ],
  [
    "another authority",
    [{ data: signed(kubeconfigOf(otherPem)) }],
    {},
    "cluster CA found in cluster-info ConfigMap is invalid: none of the public keys",
  ],
  [
    "another cluster-info over TLS",
    [{ data: good }, { data: signed(kubeconfigOf(authorityPem) + "#\n") }],
    {},
    "the second kubeconfig from the cluster-info ConfigMap (using validated TLS) was different",
  ],
  [
    "a server whose certificate is another's",
    [{ data: good }, new OutboundError("tls: failed to verify certificate", "certificate")],
    {},
    "tls: failed to verify certificate",
  ],
  ["a server without cluster-info", [{ data: {} }], {}, "isn't set up for token bootstrapping"],
  ["who shows it to nobody", [{ status: 401, text: "{}" }], {}, "who has no credentials"],
  ["what is no Kubernetes", [{ text: "<html>" }], {}, "is no Kubernetes API server"],
  [
    "a hash that is none",
    [{ data: good }],
    { caHashes: ["md5:12"] },
    'invalid public key hash "md5:12"',
  ],
];
for (const [what, answers, more, text] of refusals) {
  Deno.test(`discover() refuses ${what}`, async () => {
    const { outbound } = serving(...answers);
    await assertRejects(() => discover({ ...known, ...more }, { outbound, clock }), Error, text);
  });
}

Deno.test("discover() goes without a hash only where none is asked for", async () => {
  const { asked, outbound } = serving({ data: signed(kubeconfigOf(otherPem)) });
  assertEquals(await discover({ ...known, caHashes: [] }, { outbound, clock }), otherPem);
  assertEquals(asked.length, 1);
});

/** Lets time pass until it has been asked so many times. */
async function retries(count: number) {
  for (let i = 0; i < count; i++) {
    for (let turn = 0; turn < 50; turn++) await Promise.resolve();
    await clock.advance(DISCOVERY_RETRY_MS);
  }
}

Deno.test("discover() waits for the signature and for a server that is away, and not for ever", async () => {
  const unsigned = { kubeconfig: good.kubeconfig };
  const away = new OutboundError("connection refused", "connection");
  const { outbound } = serving(away, { data: unsigned }, { data: good });
  const reasons: string[] = [];
  const waiting = (why: string) => void reasons.push(why);
  const found = discover(known, { outbound, clock, waiting });
  await retries(3);
  assertEquals(await found, authorityPem);
  assertEquals(reasons, [
    "connection refused",
    'could not find a JWS signature in the cluster-info ConfigMap for token ID "abcdef"',
  ]);
  const never = assertRejects(
    () => discover(known, { outbound: serving(away).outbound, clock }),
    Error,
    "connection refused",
  );
  await retries(DISCOVERY_MS_MAX / DISCOVERY_RETRY_MS + 1);
  await never;
});

Deno.test("authorityHashes() is the hash of the key, as openssl and kubeadm take it", async () => {
  const der = Uint8Array.from(
    atob(authorityPem.replace(/-----[A-Z ]+-----|\s/g, "")),
    (c) => c.charCodeAt(0),
  );
  const { X509Certificate } = await import("node:crypto");
  const spki = new X509Certificate(der).publicKey.export({ type: "spki", format: "der" });
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new Uint8Array(spki)));
  assertEquals(hash, `sha256:${[...digest].map((b) => b.toString(16).padStart(2, "0")).join("")}`);
  assertEquals(authorityHashes(authorityPem + otherPem).length, 2);
});
