/**
 * Planted bugs, each switched on by name, to prove that the checkers catch what they are there for.
 */
import { NAMESPACES, PODS } from "../../actors/runtime/mod.ts";
import type { Client, ClientWatch, WatchEvent } from "../../api/client/contract.ts";
import type { ManualClock } from "../../kv/mod.ts";
import type { Written } from "./sim_kv.ts";
import type { Obj } from "./truth.ts";

/** A bug to be switched on. */
export interface Mutation {
  readonly name: string;
  /** What is wrong. */
  readonly text: string;
  /** The run needs two processes to show it. */
  readonly shared?: boolean;
  /** A commit that is answered but not done. */
  lies?(written: readonly Written[]): boolean;
  /** The client of actors and informers. */
  client?(client: Client, clock: ManualClock): Client;
}

/** One commit in some three hundred is answered without being done. */
function lostWrite(): Mutation {
  let count = 0;
  return {
    name: "lost-write",
    text: "the database answers a commit that it never made",
    lies: (written) => {
      const isObjects = written.some(({ key }) => key[0] === "o" && key[1] === "head");
      return isObjects && ++count % 300 === 0;
    },
  };
}

/** A client that does some things differently, whoever it becomes. */
function changed(client: Client, change: (client: Client) => Partial<Client>): Client {
  return {
    ...client,
    as: (user, agent) => changed(client.as(user, agent), change),
    under: (term) => changed(client.under(term), change),
    because: (...why) => changed(client.because(...why), change),
    ...change(client),
  };
}

/** Terms do not travel with writes, so that a deposed leader still acts. */
function blindTerm(): Mutation {
  const blind = (client: Client): Partial<Client> => ({ under: () => changed(client, blind) });
  return {
    name: "blind-term",
    text: "writes do not carry their actor's term",
    shared: true,
    client: (client) => changed(client, blind),
  };
}

/** What caches hear goes through `hear`, which may leave some out. */
function hearing(
  client: Client,
  hear: (event: WatchEvent<Obj>, client: Client) => boolean,
): Client {
  return changed(client, (client) => ({
    watch: async <T>(...args: Parameters<Client["watch"]>) => {
      const watch = await client.watch<T>(...args);
      return heard(watch, (event) => hear(event as WatchEvent<Obj>, client));
    },
  }));
}

function heard<T>(watch: ClientWatch<T>, hear: (event: WatchEvent<T>) => boolean): ClientWatch<T> {
  return {
    close: () => watch.close(),
    async *[Symbol.asyncIterator]() {
      for await (const events of watch) {
        const kept = events.filter(hear);
        if (kept.length > 0) yield kept;
      }
    },
  };
}

/** Caches miss an event now and then. */
function deafCache(): Mutation {
  let count = 0;
  return {
    name: "deaf-cache",
    text: "every fiftieth event about a pod is not heard",
    client: (client) =>
      hearing(client, ({ object }) => object?.kind !== "Pod" || ++count % 50 !== 0),
  };
}

/** Caches keep what is gone. */
function undyingCache(): Mutation {
  let count = 0;
  return {
    name: "undying-cache",
    text: "every fifth deletion of a pod is not heard",
    client: (client) =>
      hearing(
        client,
        ({ type, object }) => type !== "DELETED" || object?.kind !== "Pod" || ++count % 5 !== 0,
      ),
  };
}

/** Answers do not say which revision was made, so that nobody waits for a cache to show it. */
function noExpectations(): Mutation {
  return {
    name: "no-expectations",
    text: "controllers do not wait until their cache shows the pods they created",
    client: (client) =>
      changed(client, (client) => ({
        create: async <T>(...args: Parameters<Client["create"]>) => {
          // deno-lint-ignore no-explicit-any -- of any kind
          const made = await client.create<any>(...args);
          if (made.kind !== "Pod") return made as T;
          return { ...made, metadata: { ...made.metadata, resourceVersion: "0" } } as T;
        },
      })),
  };
}

/** A namespace goes before what is in it. */
function earlyFinalizer(): Mutation {
  return {
    name: "early-finalizer",
    text: "the finalizer of a namespace is taken off as soon as it is being deleted",
    client: (client) =>
      hearing(client, ({ object }, client) => {
        const { kind, metadata, spec } = object ?? {};
        if (kind !== "Namespace" || !metadata?.deletionTimestamp) return true;
        const target = { resource: NAMESPACES, name: metadata.name, subresource: "finalize" };
        const bare = { ...object, spec: { ...spec, finalizers: [] } };
        client.update(target, bare).catch(() => {});
        return true;
      }),
  };
}

/** Pods are taken away before their node has let them go. */
function hastyRemoval(): Mutation {
  return {
    name: "hasty-removal",
    text: "a pod that was told to go is deleted at once, whatever its node does",
    shared: true,
    client: (client) =>
      hearing(client, ({ object }, client) => {
        const { kind, metadata } = object ?? {};
        if (kind !== "Pod" || !metadata?.deletionTimestamp) return true;
        const { name, namespace, uid } = metadata;
        const options = { gracePeriodSeconds: 0, preconditions: { uid } };
        client.delete({ resource: PODS, namespace, name }, options).catch(() => {});
        return true;
      }),
  };
}

/** Deletes are asked again a little later, of whoever has the name then. */
function blindRetry(): Mutation {
  return {
    name: "blind-retry",
    text: "a delete is repeated after half a second, without the uid that it was meant for",
    client: (client, clock) =>
      changed(client, (client) => ({
        delete: async (target, query) => {
          const answer = await client.delete(target, query);
          const again = { ...query, preconditions: undefined };
          clock.timer("work", 500, () => void client.delete(target, again).catch(() => {}));
          return answer;
        },
      })),
  };
}

/** A rollout that does not count the old pods. */
function boldRollout(): Mutation {
  return {
    name: "bold-rollout",
    text: "a ReplicaSet that a Deployment scales up is given one replica more",
    client: (client) =>
      changed(client, (client) => ({
        update: <T>(...[target, object, query]: Parameters<Client["update"]>) => {
          const { kind, spec, metadata } = object as Obj;
          const owned = metadata?.ownerReferences?.some((one: Obj) => one.kind === "Deployment");
          const isBold = kind === "ReplicaSet" && owned && !target.subresource && spec.replicas > 0;
          const sent = isBold
            ? { ...object, spec: { ...spec, replicas: spec.replicas + 1 } }
            : object;
          return client.update<T>(target, sent, query);
        },
      })),
  };
}

/** A fresh one by its name. */
export function mutationOf(name: string): Mutation {
  const made = [
    lostWrite(),
    blindTerm(),
    deafCache(),
    undyingCache(),
    noExpectations(),
    earlyFinalizer(),
    hastyRemoval(),
    blindRetry(),
    boldRollout(),
  ];
  const found = made.find((mutation) => mutation.name === name);
  if (found) return found;
  throw new TypeError(
    `"${name}" is no planted bug; there are ${made.map((one) => one.name).join(", ")}`,
  );
}
