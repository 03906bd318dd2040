/**
 * Tokens of ServiceAccounts that live in Secrets which the cluster once made by itself: unused for a year they are
 * marked as invalid, and removed after another.
 *
 * Behaviour matched: pkg/controller/serviceaccount/legacy_serviceaccount_token_cleaner.go, v1.36. (There all are looked
 * at once a day, here each.)
 */
import type { DeepReadonly, KubeObject } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  codeOf,
  CONFIG_MAPS,
  type Controller,
  isGone,
  type Outcome,
  PODS,
  SECRETS,
  SERVICE_ACCOUNTS,
  targetOf,
} from "../runtime/mod.ts";
import { type Obj, timeOf } from "./objects.ts";

const DAY_MS = 24 * 3600 * 1000;
/** How long a token must be unused. */
const UNUSED_MS = 365 * DAY_MS;
const TRACKING = "kube-system/kube-apiserver-legacy-service-account-token-tracking";
const TYPE = "kubernetes.io/service-account-token";
const LAST_USED = "kubernetes.io/legacy-token-last-used";
const INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since";
const ACCOUNT_NAME = "kubernetes.io/service-account.name";
const ACCOUNT_UID = "kubernetes.io/service-account.uid";
const DATE = /^\d{4}-\d{2}-\d{2}$/;

export const legacyTokenCleanerController: Controller<void> = {
  name: "legacy-serviceaccount-token-cleaner",
  account: "legacy-service-account-token-cleaner",
  for: SECRETS,
  selects: ({ type }) => type === TYPE,
  reads: [SERVICE_ACCOUNTS, PODS, CONFIG_MAPS],
  workers: 1,
  reconcile,
};

/** A day as labels tell it. */
function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** What is to become of a token now. Pure. */
export function fateOfToken(
  secret: Obj,
  now: number,
): "keep" | "mark" | "remove" {
  const { metadata: { labels = {}, creationTimestamp, deletionTimestamp } } = secret;
  const horizon = now - UNUSED_MS;
  if (timeOf(creationTimestamp) >= horizon || deletionTimestamp) return "keep";
  const used: string | undefined = labels[LAST_USED];
  if (used !== undefined && (!DATE.test(used) || used >= dayOf(horizon))) return "keep";
  const since: string = labels[INVALID_SINCE] ?? "";
  if (!DATE.test(since)) return "mark";
  return since >= dayOf(horizon) ? "keep" : "remove";
}

/** Marks or removes one token, and comes back tomorrow. */
export async function reconcile(key: string, context: ActorContext): Promise<Outcome> {
  const { informers, clock, client } = context;
  const secret = informers.for(SECRETS).get(key);
  if (!secret || secret.type !== TYPE) return;
  const again = { afterMs: DAY_MS };
  const since = informers.for(CONFIG_MAPS).get(TRACKING)?.data?.since;
  // Who does not know since when uses are noted cannot know that there were none.
  if (!since || clock.now() < Date.parse(since) + DAY_MS + UNUSED_MS) return again;
  const fate = fateOfToken(secret, clock.now());
  if (fate === "keep" || !isMadeByItself(context, secret) || isMounted(context, secret)) {
    return again;
  }
  const { uid, resourceVersion } = secret.metadata;
  const target = targetOf(SECRETS, secret);
  try {
    if (fate === "mark") {
      const labels = { [INVALID_SINCE]: dayOf(clock.now()) };
      await client.patch<KubeObject>(target, {
        type: "merge",
        body: { metadata: { uid, labels } },
      });
    } else await client.delete(target, { preconditions: { resourceVersion } });
  } catch (error) {
    if (!isGone(error) && codeOf(error) !== 409) throw error;
  }
  return again;
}

/** Whether the account names the Secret: then the cluster made it, in an older release. */
function isMadeByItself({ informers }: ActorContext, secret: Obj): boolean {
  const { namespace, name, annotations } = secret.metadata;
  const account = informers.for(SERVICE_ACCOUNTS).get(
    `${namespace}/${annotations?.[ACCOUNT_NAME] ?? ""}`,
  );
  const uid = annotations?.[ACCOUNT_UID];
  if (!account || uid && uid !== account.metadata.uid) return false;
  return (account.secrets ?? []).some((reference: { name?: string }) => reference.name === name);
}

function isMounted({ informers }: ActorContext, secret: Obj): boolean {
  const { namespace, name } = secret.metadata;
  for (const pod of informers.for(PODS).list(namespace)) {
    if (secretNames(pod.spec, undefined).has(name)) return true;
  }
  return false;
}

/** Fields of a pod's spec that name a Secret beside, or instead of, in a reference object. */
const REFERENCES = new Set([
  "imagePullSecrets",
  "secretRef",
  "secretKeyRef",
  "secret",
  "nodePublishSecretRef",
]);

/** Every Secret that a pod's spec names. */
function secretNames(
  value: DeepReadonly<unknown>,
  field: string | undefined,
  names: Set<string> = new Set(),
): Set<string> {
  if (Array.isArray(value)) { for (const item of value) secretNames(item, field, names); }
  else if (typeof value === "object" && value !== null) {
    const map = value as Record<string, unknown>;
    if (field && REFERENCES.has(field)) {
      for (const name of [map.name, map.secretName]) if (typeof name === "string") names.add(name);
    }
    for (const [key, inner] of Object.entries(map)) {
      if (key === "secretName" && typeof inner === "string") names.add(inner);
      secretNames(inner, key, names);
    }
  }
  return names;
}
