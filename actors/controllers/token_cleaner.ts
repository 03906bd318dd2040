/**
 * Bootstrap tokens are removed when they expire.
 *
 * Behaviour matched: pkg/controller/bootstrap/tokencleaner.go, v1.36.
 */
import {
  type ActorContext,
  codeOf,
  type Controller,
  isGone,
  type Outcome,
  SECRETS,
  targetOf,
} from "../runtime/mod.ts";
import { expiryOfToken, isBootstrapToken } from "./bootstrap_tokens.ts";

export const tokenCleanerController: Controller<void> = {
  name: "token-cleaner",
  account: "token-cleaner",
  for: SECRETS,
  selects: isBootstrapToken,
  workers: 1,
  reconcile,
};

/** Removes one token if it has expired, else comes back then. */
export async function reconcile(key: string, context: ActorContext): Promise<Outcome> {
  const secret = context.informers.for(SECRETS).get(key);
  const expiry = secret && isBootstrapToken(secret) ? expiryOfToken(secret) : undefined;
  if (expiry === undefined) return;
  const left = expiry - context.clock.now();
  if (left > 0) return { afterMs: left };
  try {
    const { uid } = secret!.metadata;
    await context.client.delete(targetOf(SECRETS, secret!), { preconditions: { uid } });
  } catch (error) {
    // Another one of that name has come meanwhile, and is looked at by itself
    if (!isGone(error) && codeOf(error) !== 409) throw error;
  }
}
