/**
 * Planted bugs, each switched on by name, to prove that the checkers catch what they are there for.
 */
import type { Client } from "../../api/client/contract.ts";
import type { ManualClock } from "../../kv/mod.ts";
import type { Written } from "./sim_kv.ts";

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

/** Terms do not travel with writes, so that a deposed leader still acts. */
function blindTerm(): Mutation {
  const blind = (client: Client): Client => ({
    ...client,
    as: (user, agent) => blind(client.as(user, agent)),
    under: () => blind(client),
  });
  return {
    name: "blind-term",
    text: "writes do not carry their actor's term",
    shared: true,
    client: blind,
  };
}

/** Caches miss an event now and then. */
function deafCache(): Mutation {
  let count = 0;
  const deaf = (client: Client): Client => ({
    ...client,
    as: (user, agent) => deaf(client.as(user, agent)),
    under: (term) => deaf(client.under(term)),
    watch: async (target, query, options) => {
      // deno-lint-ignore no-explicit-any -- of any kind
      const watch = await client.watch<any>(target, query, options);
      return {
        close: () => watch.close(),
        async *[Symbol.asyncIterator]() {
          for await (const events of watch) {
            const heard = events.filter(({ object }) =>
              object?.kind !== "Pod" || ++count % 50 !== 0
            );
            if (heard.length > 0) yield heard;
          }
        },
      };
    },
  });
  return {
    name: "deaf-cache",
    text: "every fiftieth event about a pod is not heard",
    client: deaf,
  };
}

/** A fresh one by its name. */
export function mutationOf(name: string): Mutation {
  const made = [lostWrite(), blindTerm(), deafCache()];
  const found = made.find((mutation) => mutation.name === name);
  if (found) return found;
  throw new TypeError(
    `"${name}" is no planted bug; there are ${made.map((one) => one.name).join(", ")}`,
  );
}
