/**
 * The ConfigMap `kube-public/cluster-info`, with which a node that joins gets to know the cluster, is signed with
 * every bootstrap token that may sign: whoever knows a token can tell that what it reads is no forgery.
 *
 * Behaviour matched: pkg/controller/bootstrap/bootstrapsigner.go, v1.36; signatures are detached JWS (HS256).
 */
import { detachedSignature, SIGNATURE_PREFIX } from "../../api/machinery/detached_signature.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  CONFIG_MAPS,
  type Controller,
  type Outcome,
  SECRETS,
  targetOf,
} from "../runtime/mod.ts";
import {
  bootstrapToken,
  expiryOfToken,
  isBootstrapToken,
  TOKENS_NAMESPACE,
} from "./bootstrap_tokens.ts";
import { changed } from "./objects.ts";

/** Where clients look for the cluster. */
export const CLUSTER_INFO = "kube-public/cluster-info";
const CONTENT = "kubeconfig";

export const bootstrapSignerController: Controller<void> = {
  name: "bootstrap-signer",
  account: "bootstrap-signer",
  for: CONFIG_MAPS,
  selects: ({ metadata }) => `${metadata.namespace}/${metadata.name}` === CLUSTER_INFO,
  workers: 1,
  watches: [{
    resource: SECRETS,
    keys: (secret, old) =>
      isBootstrapToken(secret) || old && isBootstrapToken(old) ? [CLUSTER_INFO] : [],
  }],
  reconcile,
};

/** Signs the ConfigMap anew if its signatures are not those of today's tokens. */
export async function reconcile(key: string, context: ActorContext): Promise<Outcome> {
  const map = context.informers.for(CONFIG_MAPS).get(key);
  const content: string | undefined = map?.data?.[CONTENT];
  if (!map || content === undefined) return;
  const now = context.clock.now();
  const data: Record<string, string> = {};
  for (const [name, value] of Object.entries(map.data as Record<string, string>)) {
    if (!name.startsWith(SIGNATURE_PREFIX)) data[name] = value;
  }
  let next = Infinity;
  for (const secret of context.informers.for(SECRETS).list(TOKENS_NAMESPACE)) {
    const token = bootstrapToken(secret, "signing", now);
    if (!token) continue;
    data[SIGNATURE_PREFIX + token.id] = detachedSignature(content, token.id, token.secret);
    next = Math.min(next, expiryOfToken(secret) ?? Infinity);
  }
  const same = Object.keys(data).length === Object.keys(map.data).length &&
    Object.entries(data).every(([name, value]) => map.data[name] === value);
  if (!same) {
    await changed(context.client.update<KubeObject>(targetOf(CONFIG_MAPS, map), { ...map, data }));
  }
  // The cleaner takes the token away then; should it not, it signs nothing any more all the same.
  if (Number.isFinite(next)) return { afterMs: next - now };
}
