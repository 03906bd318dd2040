/**
 * The signature under `kube-public/cluster-info`: a JWS (HS256) without its content, by a bootstrap token's secret. The
 * cluster signs with every token, a node that joins looks for the one that it was given.
 */
import { Buffer } from "node:buffer";
import { createHmac, timingSafeEqual } from "node:crypto";

/** Before a token's id: the key of its signature in the ConfigMap. */
export const SIGNATURE_PREFIX = "jws-kubeconfig-";

/** A signature of `content` that does not contain it. */
export function detachedSignature(content: string, id: string, secret: string): string {
  const encode = (text: string) => Buffer.from(text, "utf8").toString("base64url");
  const header = encode(JSON.stringify({ alg: "HS256", kid: id }));
  const signature = createHmac("sha256", secret).update(`${header}.${encode(content)}`)
    .digest("base64url");
  return `${header}..${signature}`;
}

/** Whether a signature is that of the content by this token. */
export function signatureIsGood(
  signature: string,
  { content, id, secret }: { content: string; id: string; secret: string },
): boolean {
  const given = Buffer.from(signature);
  const wanted = Buffer.from(detachedSignature(content, id, secret));
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}
