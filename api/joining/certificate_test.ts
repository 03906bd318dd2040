import { assert, assertEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { ManualClock } from "../../kv/clock.ts";
import { createAuthority, readRequest, signRequest } from "../auth/pki.ts";
import type { Client } from "../client/contract.ts";
import {
  freshMs,
  keepRenewed,
  lifeOf,
  type NodeCertificate,
  RENEWAL_RETRY_MS,
  requestCertificate,
  SIGNING_MS_MAX,
  SIGNING_RETRY_MS,
} from "./certificate.ts";

const DAY_MS = 24 * 3_600_000;

/** A server that signs what it is asked, or answers with a status of another kind. */
async function signing(clock: ManualClock, status?: () => object | Error | undefined) {
  const authority = await createAuthority(clock);
  const asked: { spec: { request: string; signerName: string; usages: string[] } }[] = [];
  const client = {
    create(_target: unknown, object: typeof asked[0]) {
      asked.push(object);
      return Promise.resolve({ metadata: { name: `csr-${asked.length}` } });
    },
    async get() {
      const other = status?.();
      if (other instanceof Error) throw other;
      if (other) return { status: other };
      const requestPem = Buffer.from(asked.at(-1)!.spec.request, "base64").toString("utf8");
      const { usages } = asked.at(-1)!.spec;
      const pem = await signRequest(authority, clock, { requestPem, usages });
      return { status: { certificate: Buffer.from(pem).toString("base64") } };
    },
  } as unknown as Client;
  return { client, asked };
}

/** Waits until something holds: keys are made in another thread. */
async function until(holds: () => boolean, pass: () => Promise<void> = () => Promise.resolve()) {
  for (let i = 0; i < 1_000_000 && !holds(); i++) {
    await pass();
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert(holds());
}

Deno.test("requestCertificate() asks as a node, and keeps the key (own-key)", async () => {
  const clock = new ManualClock();
  const { client, asked } = await signing(clock);
  const { certificatePem, keyPem } = await requestCertificate(client, clock, "far");
  const [{ spec }] = asked;
  assertEquals(spec.signerName, "kubernetes.io/kube-apiserver-client-kubelet");
  assertEquals(spec.usages, ["digital signature", "client auth"]);
  const request = Buffer.from(spec.request, "base64").toString("utf8");
  assert(!JSON.stringify(asked).includes("PRIVATE") && !request.includes("PRIVATE"));
  assertEquals((await readRequest(request)).subject, {
    commonName: "system:node:far",
    organizations: ["system:nodes"],
  });
  assert(new X509Certificate(certificatePem).checkPrivateKey(createPrivateKey(keyPem)));
  assertEquals(lifeOf(certificatePem).node, "far");
});

Deno.test("requestCertificate() says why there is none", async () => {
  const clock = new ManualClock();
  const denied = await signing(clock, () => ({
    conditions: [{ type: "Denied", message: "not you" }],
  }));
  await assertRejects(
    () => requestCertificate(denied.client, clock, "far"),
    Error,
    "was refused: Denied: not you",
  );
  const silent = await signing(clock, () => ({ conditions: [] }));
  const late = assertRejects(
    () => requestCertificate(silent.client, clock, "far"),
    Error,
    "was not signed within 5 minutes",
  );
  await until(() => silent.asked.length === 1);
  const began = clock.now();
  let over = false;
  void late.finally(() => over = true);
  await until(() => over, () => clock.advance(SIGNING_RETRY_MS));
  assert(clock.now() - began >= SIGNING_MS_MAX);
});

Deno.test("keepRenewed() renews at two thirds of a certificate's life, again and again", async () => {
  const clock = new ManualClock();
  let broken = false;
  const { client, asked } = await signing(
    clock,
    () => broken ? new Error("server away") : undefined,
  );
  const first = await requestCertificate(client, clock, "far");
  const days = freshMs(first.certificatePem, clock.now()) / DAY_MS;
  assert(days > 240 && days < 245, `${days} days`);
  const over = new AbortController();
  const renewed: NodeCertificate[] = [];
  const failures: unknown[] = [];
  const done = keepRenewed({ client, clock, node: "far", signal: over.signal }, {
    current: first.certificatePem,
    renewed: (certificate) => Promise.resolve(void renewed.push(certificate)),
    failed: (error) => void failures.push(error),
  });
  await clock.advance(240 * DAY_MS);
  assertEquals(asked.length, 1);
  await clock.advance(5 * DAY_MS);
  await until(() => renewed.length === 1);
  assert(renewed[0].keyPem !== first.keyPem);
  broken = true;
  await clock.advance(245 * DAY_MS);
  await until(() => failures.length === 1);
  assertEquals(renewed.length, 1);
  broken = false;
  await clock.advance(RENEWAL_RETRY_MS);
  await until(() => renewed.length === 2);
  over.abort();
  await done;
});
