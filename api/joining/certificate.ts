/**
 * A node's client certificate: asked for with a CertificateSigningRequest, by a bootstrap token the first time, by the
 * certificate before it from then on. The key never leaves the machine.
 */
import { Buffer } from "node:buffer";
import { X509Certificate } from "node:crypto";
import type { Clock } from "../../kv/clock.ts";
import { KUBELET_CLIENT } from "../auth/csr_signer.ts";
import { NODE_PREFIX, NODES } from "../auth/names.ts";
import { createRequest, renewAt } from "../auth/pki.ts";
import type { Client } from "../client/contract.ts";
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";

/** How long a certificate is waited for, and how often it is looked for. */
export const SIGNING_MS_MAX = 5 * 60_000;
export const SIGNING_RETRY_MS = 1_000;
/** A failed renewal is tried again after this long. */
export const RENEWAL_RETRY_MS = 10 * 60_000;

const CSRS = { group: "certificates.k8s.io", version: "v1", plural: "certificatesigningrequests" };

/** A certificate with its key, in PEM. */
export interface NodeCertificate {
  certificatePem: string;
  keyPem: string;
}

/** Asks for a node's certificate and waits until it is signed. Rejects when it is denied, or takes too long. */
export async function requestCertificate(
  client: Client,
  clock: Clock,
  node: string,
): Promise<NodeCertificate> {
  const { requestPem, keyPem } = await createRequest({
    commonName: NODE_PREFIX + node,
    organizations: [NODES],
  });
  const { metadata: { name } } = await client.create<KubeObject>({ resource: CSRS }, {
    apiVersion: "certificates.k8s.io/v1",
    kind: "CertificateSigningRequest",
    metadata: { generateName: "csr-" },
    spec: {
      request: Buffer.from(requestPem, "utf8").toString("base64"),
      signerName: KUBELET_CLIENT,
      usages: ["digital signature", "client auth"],
    },
  });
  const until = clock.monotonic() + SIGNING_MS_MAX;
  for (;;) {
    const csr = await client.get<KubeObject>({ resource: CSRS, name });
    const refused = refusalOf(csr);
    if (refused) throw new Error(`certificate request ${name} was refused: ${refused}`);
    if (csr.status?.certificate) {
      const certificatePem = Buffer.from(csr.status.certificate, "base64").toString("utf8");
      return { certificatePem, keyPem };
    }
    if (clock.monotonic() >= until) {
      throw new Error(
        `certificate request ${name} was not signed within ${SIGNING_MS_MAX / 60_000} minutes: ` +
          `may the token's groups have it approved? (kubectl certificate approve ${name})`,
      );
    }
    await clock.sleep(SIGNING_RETRY_MS);
  }
}

function refusalOf(csr: DeepReadonly<KubeObject>): string | undefined {
  const conditions = (csr.status?.conditions ?? []) as readonly {
    type: string;
    message?: string;
    reason?: string;
  }[];
  const found = conditions.find(({ type }) => type === "Denied" || type === "Failed");
  return found && `${found.type}: ${found.message ?? found.reason ?? ""}`;
}

/** When a certificate begins and ends (wall time in ms), and whose it is. Throws TypeError when it is none. */
export function lifeOf(certificatePem: string): {
  notBefore: number;
  notAfter: number;
  /** The node; undefined: it is no node's. */
  node?: string;
} {
  try {
    const { validFrom, validTo, subject } = new X509Certificate(certificatePem);
    const node = /^CN=system:node:(.+)$/m.exec(subject)?.[1];
    return { notBefore: Date.parse(validFrom), notAfter: Date.parse(validTo), node };
  } catch (cause) {
    throw new TypeError("cannot read the node's certificate", { cause });
  }
}

/** How long a certificate may stay: until two thirds of its life have passed. 0: it is to be renewed now. */
export function freshMs(certificatePem: string, now: number): number {
  return Math.max(0, renewAt(lifeOf(certificatePem)) - now);
}

/**
 * Renews a certificate before its end, again and again, until `signal` aborts. `renewed` keeps the new one: what it
 * returns is watched over from then on.
 */
export async function keepRenewed(
  { client, clock, node, signal }: {
    client: Client;
    clock: Clock;
    node: string;
    signal: AbortSignal;
  },
  { current, renewed, failed }: {
    current: string;
    renewed(certificate: NodeCertificate): Promise<void>;
    failed(error: unknown): void;
  },
): Promise<void> {
  let certificatePem = current;
  const pause = (ms: number) => clock.sleep(ms, { kind: "background", signal }).catch(() => {});
  for (;;) {
    await pause(freshMs(certificatePem, clock.now()));
    if (signal.aborted) return;
    try {
      const next = await requestCertificate(client, clock, node);
      await renewed(next);
      certificatePem = next.certificatePem;
    } catch (error) {
      if (signal.aborted) return;
      failed(error);
      await pause(RENEWAL_RETRY_MS);
    }
  }
}
