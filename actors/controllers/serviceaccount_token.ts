/**
 * Secrets of type kubernetes.io/service-account-token: filled with a token of the account they name, and
 * removed when that account is gone.
 *
 * Behaviour matched: pkg/controller/serviceaccount/tokens_controller.go, v1.36.
 */
import type { KubeObject } from "../../api/machinery/types.ts";
import type { Client } from "../../api/client/contract.ts";
import {
  type ActorContext,
  type Controller,
  every,
  isGone,
  keyOf,
  SECRETS,
  SERVICE_ACCOUNTS,
  targetOf,
} from "../runtime/mod.ts";
import type { Obj } from "./objects.ts";
import type { ControllerPorts } from "./ports.ts";

const TYPE = "kubernetes.io/service-account-token";
const NAME = "kubernetes.io/service-account.name";
const UID = "kubernetes.io/service-account.uid";

/** How often all of them are looked at: the authority may be another one. */
const AGAIN_MS = 3600 * 1000;
/** Stands for every token. */
const ALL = "*";

type Ports = Pick<ControllerPorts, "legacyToken" | "rootCa">;

function isToken(secret: Obj): boolean {
  return secret.type === TYPE;
}

/** The row; who signs comes from the ports. */
export function serviceAccountTokenController(ports: Ports): Controller<void> {
  return {
    name: "serviceaccount-token",
    account: "system:kube-controller-manager",
    component: "service-account-token-controller",
    for: SECRETS,
    watches: [{
      resource: SERVICE_ACCOUNTS,
      keys(account, _old, context) {
        const { namespace, name } = account.metadata;
        const keys: string[] = [];
        for (const secret of context.informers.for(SECRETS).list(namespace)) {
          if (isToken(secret) && secret.metadata.annotations?.[NAME] === name) {
            keys.push(`${namespace}/${secret.metadata.name}`);
          }
        }
        return keys;
      },
    }],
    start: (context) => every(context, AGAIN_MS, ALL),
    reconcile: async (key, context) => {
      if (key !== ALL) return await reconcile(key, context, ports);
      for (const secret of context.informers.for(SECRETS).list()) {
        if (isToken(secret)) context.send(context.address, keyOf(secret));
      }
    },
  };
}

/** Fills or removes one token Secret. */
export async function reconcile(key: string, context: ActorContext, ports: Ports): Promise<void> {
  const secret = context.informers.for(SECRETS).get(key);
  if (!secret || !isToken(secret) || secret.metadata.deletionTimestamp) return;
  const { namespace, name, annotations } = secret.metadata;
  const accountName = annotations?.[NAME];
  if (!accountName) return;
  const account = await liveAccount(context.client, namespace!, accountName);
  const wantedUid = annotations?.[UID];
  if (!account || (wantedUid && wantedUid !== account.metadata.uid)) {
    const { uid, resourceVersion } = secret.metadata;
    await context.client.delete(targetOf(SECRETS, secret), {
      preconditions: { uid, resourceVersion },
    });
    return;
  }
  const data = secret.data ?? {};
  const ca = encode(await ports.rootCa());
  const space = encode(namespace!);
  if (
    wantedUid && data.token && data["ca.crt"] === ca && data.namespace === space ||
    !ports.legacyToken
  ) return;
  const { uid } = account.metadata;
  const token = data.token ?? encode(
    await ports.legacyToken({ namespace: namespace!, name: accountName, uid, secret: name }),
  );
  await context.client.update<KubeObject>(targetOf(SECRETS, secret), {
    ...secret,
    metadata: { ...secret.metadata, annotations: { ...annotations, [UID]: uid } },
    data: { ...data, "ca.crt": ca, namespace: space, token },
  });
}

async function liveAccount(
  client: Client,
  namespace: string,
  name: string,
): Promise<Obj | undefined> {
  try {
    return await client.get<KubeObject>({ resource: SERVICE_ACCOUNTS, namespace, name });
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

function encode(text: string): string {
  return btoa(text);
}
