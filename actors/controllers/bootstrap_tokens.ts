/** What bootstrap tokens' Secrets say. */
import { Buffer } from "node:buffer";
import { parseTime } from "../../api/machinery/time.ts";
import type { Obj } from "./objects.ts";

/** Where bootstrap tokens live. */
export const TOKENS_NAMESPACE = "kube-system";
const TYPE = "bootstrap.kubernetes.io/token";
const NAME = /^bootstrap-token-([a-z0-9]{6})$/;

/** Whether a Secret is a bootstrap token. */
export function isBootstrapToken({ type, metadata }: Obj): boolean {
  return type === TYPE && metadata.namespace === TOKENS_NAMESPACE;
}

function dataOf(secret: Obj, key: string): string {
  return Buffer.from(secret.data?.[key] ?? "", "base64").toString("utf8");
}

/** When a token is no longer good, in ms since 1970 (0: it cannot be read); undefined: never. */
export function expiryOfToken(secret: Obj): number | undefined {
  const text = dataOf(secret, "expiration");
  // As upstream: what cannot be read has expired.
  return text ? parseTime(text) ?? 0 : undefined;
}

/** A token that is good for a usage now. */
export function bootstrapToken(
  secret: Obj,
  usage: "signing" | "authentication",
  now: number,
): { id: string; secret: string } | undefined {
  if (!isBootstrapToken(secret)) return undefined;
  const id = dataOf(secret, "token-id");
  const word = dataOf(secret, "token-secret");
  if (!id || NAME.exec(secret.metadata.name)?.[1] !== id || !word) return undefined;
  const expiry = expiryOfToken(secret);
  if (expiry !== undefined && expiry <= now) return undefined;
  return dataOf(secret, `usage-bootstrap-${usage}`) === "true" ? { id, secret: word } : undefined;
}
