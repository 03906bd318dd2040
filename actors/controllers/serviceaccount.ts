/**
 * Every active namespace has a ServiceAccount called `default`.
 *
 * Behaviour matched: pkg/controller/serviceaccount/serviceaccounts_controller.go, v1.36.
 */
import {
  type ActorContext,
  codeOf,
  type Controller,
  isNamespaceGoing,
  NAMESPACES,
  SERVICE_ACCOUNTS,
} from "../runtime/mod.ts";

const NAME = "default";

export const serviceAccountController: Controller<void> = {
  name: "serviceaccount",
  account: "service-account-controller",
  for: NAMESPACES,
  workers: 1,
  watches: [{
    resource: SERVICE_ACCOUNTS,
    keys: ({ metadata }) => metadata.name === NAME ? [metadata.namespace!] : [],
  }],
  reconcile,
};

/** Makes the account if the namespace is there to have it. */
export async function reconcile(key: string, context: ActorContext): Promise<void> {
  const namespace = context.informers.for(NAMESPACES).get(key);
  if (!namespace || namespace.metadata.deletionTimestamp) return;
  if (namespace.status?.phase && namespace.status.phase !== "Active") return;
  if (context.informers.for(SERVICE_ACCOUNTS).get(`${key}/${NAME}`)) return;
  try {
    await context.client.create({ resource: SERVICE_ACCOUNTS, namespace: key }, {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { name: NAME, namespace: key },
    });
  } catch (error) {
    // It is there already, or the namespace goes: both are well.
    if (codeOf(error) !== 409 && codeOf(error) !== 404 && !isNamespaceGoing(error)) throw error;
  }
}
