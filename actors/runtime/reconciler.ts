/**
 * Controllers as actors: `runController` turns a row (contract.ts, `Controller`) into the singleton actor
 * `controller/<name>`. It subscribes to the caches the row names, maps their events to keys, and hands
 * keys to the row's `reconcile`. The first list of each cache is told like events, so that everything is
 * looked at once after a start.
 *
 * A controller writes with the rights of its own ServiceAccount in kube-system, under its term.
 */
import type { Client, Informer, User } from "../../api/client/contract.ts";
import { keyOf } from "../../api/client/contract.ts";
import type { DeepReadonly, KubeObject, ResourceId } from "../../api/machinery/types.ts";
import type { ActorContext, ActorHandle, Controller, System } from "./contract.ts";
import { controllerOf, indexOwnership } from "./ownership.ts";

/** The field manager of all controllers, as upstream's. */
export const CONTROLLER_AGENT = "kube-controller-manager";

/** Who a ServiceAccount in kube-system is, or the user that a name with a colon is. */
export function userOfAccount(account: string): User {
  if (account.includes(":")) return { name: account, groups: ["system:authenticated"] };
  return {
    name: `system:serviceaccount:kube-system:${account}`,
    groups: [
      "system:serviceaccounts",
      "system:serviceaccounts:kube-system",
      "system:authenticated",
    ],
  };
}

/** The client of that account. */
export function asAccount(client: Client, account: string): Client {
  return client.as(userOfAccount(account), CONTROLLER_AGENT);
}

/** Starts a controller. `client` is one that may act as others. */
export function runController<S>(
  system: System,
  controller: Controller<S>,
  options: { client: Client },
): ActorHandle {
  return system.spawn<S>(`controller/${controller.name}`, {
    async start(context) {
      for (const resource of controller.reads ?? []) context.informers.for(resource);
      for (const resource of controller.owns ?? []) {
        indexOwnership(context.informers.for(resource));
      }
      const state = await controller.start?.(context) as S;
      subscribe(controller, context);
      return state;
    },
    handle: (key, state, context) => controller.reconcile(key, context, state),
  }, {
    workers: controller.workers ?? 5,
    component: controller.component ?? controller.account,
    singleton: true,
    client: asAccount(options.client, controller.account),
  });
}

function subscribe<S>(controller: Controller<S>, context: ActorContext): void {
  const send = (key: string) => context.send(context.address, key);
  const gatherMs = controller.gatherMs;
  const gather = !gatherMs ? send : (key: string) => {
    context.send(context.address, key, { delayMs: gatherMs.call(controller, key, context) });
  };
  context.informers.for(controller.for).subscribe(({ key, old, object }) => {
    if (controller.selects && !controller.selects((object ?? old)!, context)) return;
    send(key);
  });
  for (const resource of controller.owns ?? []) {
    subscribeOwned(context.informers.for(resource), controller, gather);
  }
  for (const watch of controller.watches ?? []) {
    context.informers.for(watch.resource).subscribe(({ old, object }) => {
      for (const key of watch.keys((object ?? old)!, old, context)) gather(key);
    });
  }
}

/** Children wake their controller: the present one, and the former one when it changed. */
function subscribeOwned<S>(
  informer: Informer,
  controller: Controller<S>,
  send: (key: string) => void,
): void {
  const { kind } = controller;
  const group = controller.for.group;
  informer.subscribe(({ old, object }) => {
    const now = object && controllerOf(object);
    const before = old && controllerOf(old);
    if (now && isOf(now, kind, group)) send(ownerKey(object!, now.name));
    if (before && before.uid !== now?.uid && isOf(before, kind, group)) {
      send(ownerKey(old!, before.name));
    }
  });
}

function isOf(
  owner: { kind: string; apiVersion: string },
  kind: string | undefined,
  group: string,
): boolean {
  if (kind !== undefined && owner.kind !== kind) return false;
  const slash = owner.apiVersion.indexOf("/");
  return (slash < 0 ? "" : owner.apiVersion.slice(0, slash)) === group;
}

function ownerKey(child: DeepReadonly<KubeObject>, owner: string): string {
  const { namespace } = child.metadata;
  return namespace ? `${namespace}/${owner}` : owner;
}

/** The parts of `namespace/name`; of a cluster-scoped key the namespace is undefined. */
export function splitKey(key: string): { namespace: string | undefined; name: string } {
  const slash = key.indexOf("/");
  return slash < 0
    ? { namespace: undefined, name: key }
    : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** Where an object is written to. */
export function targetOf(
  resource: ResourceId,
  object: DeepReadonly<KubeObject>,
  subresource?: string,
): { resource: ResourceId; namespace?: string; name: string; subresource?: string } {
  const { namespace, name } = object.metadata;
  return { resource, namespace, name, subresource };
}

export { keyOf };
