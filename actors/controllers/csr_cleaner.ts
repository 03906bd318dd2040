/**
 * Certificate requests that nobody needs any more are removed: an hour after they were issued, denied or failed, a
 * day after nobody decided on them or signed them, and as soon as their certificate has expired.
 *
 * Behaviour matched: pkg/controller/certificates/cleaner/cleaner.go, v1.36. (There all are looked at once an hour;
 * here each when its time has come.)
 */
import { Buffer } from "node:buffer";
import { X509Certificate } from "node:crypto";
import {
  type ActorContext,
  CERTIFICATE_SIGNING_REQUESTS,
  type Controller,
  isGone,
  type Outcome,
  targetOf,
} from "../runtime/mod.ts";
import { type Condition, conditionsOf } from "./certificate_requests.ts";
import { type Obj, timeOf } from "./objects.ts";

const HOUR_MS = 3600 * 1000;
/** How long a request is kept that was issued, denied or has failed. */
const DONE_MS = HOUR_MS;
/** How long one is kept on which nobody decided, or that nobody signed. */
const PENDING_MS = 24 * HOUR_MS;

export const csrCleanerController: Controller<void> = {
  name: "certificatesigningrequest-cleaner",
  account: "certificate-controller",
  for: CERTIFICATE_SIGNING_REQUESTS,
  workers: 1,
  reconcile,
};

/** When a request may go, in ms since 1970; undefined while there is no such time. Pure. */
export function cleaningTime(csr: Obj): number | undefined {
  const conditions = conditionsOf(csr);
  const times: number[] = [];
  const since = (condition: Condition, ms: number) => {
    if (condition.lastUpdateTime) times.push(timeOf(condition.lastUpdateTime) + ms);
  };
  const { certificate } = csr.status ?? {};
  for (const condition of conditions) {
    if (condition.type === "Approved") {
      since(condition, certificate ? DONE_MS : PENDING_MS);
      if (certificate) times.push(expiryOf(certificate) ?? Infinity);
    } else if (condition.type === "Denied" || condition.type === "Failed") {
      since(condition, DONE_MS);
    }
  }
  if (conditions.length === 0) times.push(timeOf(csr.metadata.creationTimestamp) + PENDING_MS);
  const first = Math.min(...times);
  return Number.isFinite(first) ? first : undefined;
}

/** When a certificate (base64 of PEM) is no longer good; undefined when it cannot be read. */
function expiryOf(certificate: string): number | undefined {
  try {
    return Date.parse(new X509Certificate(Buffer.from(certificate, "base64")).validTo);
  } catch {
    return undefined; // Another signer may have put in what it liked.
  }
}

/** Removes one request if its time is over, else comes back then. */
export async function reconcile(key: string, context: ActorContext): Promise<Outcome> {
  const csr = context.informers.for(CERTIFICATE_SIGNING_REQUESTS).get(key);
  const time = csr && cleaningTime(csr);
  if (time === undefined) return;
  const left = time - context.clock.now();
  if (left >= 0) return { afterMs: left + 1 };
  try {
    await context.client.delete(targetOf(CERTIFICATE_SIGNING_REQUESTS, csr!));
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}
