/**
 * What Secrets of the type kubernetes.io/tls are warned of: a certificate and a key that Go would not load as a
 * pair (`crypto/tls.X509KeyPair`), in Go's words.
 */

import { Buffer } from "node:buffer";
import { createPrivateKey, X509Certificate } from "node:crypto";
import type { DeepReadonly, KubeObject } from "../../machinery/types.ts";

type Stored = DeepReadonly<KubeObject>;

const PEM = /-----BEGIN ([A-Z0-9 ]+)-----[^-]*-----END \1-----/g;
const KEY = /^PRIVATE KEY$| PRIVATE KEY$/;

/** The kinds of PEM blocks of a text. */
function blocksOf(text: string): string[] {
  return [...text.matchAll(PEM)].map((match) => match[1]);
}

function skipped(blocks: readonly string[]): string {
  return `after skipping PEM blocks of the following types: [${blocks.join(" ")}]`;
}

function certificateProblem(text: string): string {
  const blocks = blocksOf(text);
  if (blocks.includes("CERTIFICATE")) return "";
  if (blocks.length === 0) return "tls: failed to find any PEM data in certificate input";
  if (blocks.length === 1 && KEY.test(blocks[0])) {
    return "tls: failed to find certificate PEM data in certificate input, but did find a private key; " +
      "PEM inputs may have been switched";
  }
  return `tls: failed to find "CERTIFICATE" PEM block in certificate input ${skipped(blocks)}`;
}

function keyProblem(text: string): string {
  const blocks = blocksOf(text);
  if (blocks.some((type) => KEY.test(type))) return "";
  if (blocks.length === 0) return "tls: failed to find any PEM data in key input";
  if (blocks.length === 1 && blocks[0] === "CERTIFICATE") {
    return "tls: found a certificate rather than a key in the PEM for the private key";
  }
  return `tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input ${
    skipped(blocks)
  }`;
}

function pairProblem(certificate: string, key: string): string {
  const problem = certificateProblem(certificate) || keyProblem(key);
  if (problem) return problem;
  let parsed: X509Certificate;
  try {
    parsed = new X509Certificate(certificate);
  } catch {
    return "x509: malformed certificate";
  }
  try {
    return parsed.checkPrivateKey(createPrivateKey(key))
      ? ""
      : "tls: private key does not match public key";
  } catch {
    return "tls: failed to parse private key";
  }
}

/** Warnings of a Secret. */
export function secretWarnings(secret: Stored): string[] {
  if (secret.type !== "kubernetes.io/tls") return [];
  const text = (name: string) => Buffer.from(secret.data?.[name] ?? "", "base64").toString("utf8");
  const problem = pairProblem(text("tls.crt"), text("tls.key"));
  return problem ? [problem] : [];
}
