/**
 * The in-process client of those who ask for what another server serves: the same interface, by way of HTTP without
 * sockets. Whoever holds a client does not see the difference.
 */
import type { Client, Target, User } from "../../client/contract.ts";

/** What such a client is made of. */
export interface ReachingOptions {
  local: Client;
  user: User;
  agent?: string;
  /** Whether another server serves this. */
  elsewhere: (resource: Target["resource"]) => boolean;
  /** A client over HTTP for a user. */
  http: (user: User, agent?: string) => Client;
}

/** A client that goes to whoever serves a resource. */
export function reachingClient(options: ReachingOptions): Client {
  const { local, user, agent, elsewhere, http } = options;
  let remote: Client | undefined;
  const to = ({ resource }: Target): Client =>
    elsewhere(resource) ? remote ??= http(user, agent) : local;
  return {
    get: (target, query) => to(target).get(target, query),
    list: (target, query) => to(target).list(target, query),
    watch: (target, query, more) => to(target).watch(target, query, more),
    create: (target, body, query) => to(target).create(target, body, query),
    update: (target, body, query) => to(target).update(target, body, query),
    patch: (target, patch, query) => to(target).patch(target, patch, query),
    delete: (target, query) => to(target).delete(target, query),
    deleteCollection: (target, query) => to(target).deleteCollection(target, query),
    as: (other, as) =>
      reachingClient({ ...options, local: local.as(other, as), user: other, agent: as ?? agent }),
    // A term guards this server's own store: it has nothing to say elsewhere
    under: (term) => reachingClient({ ...options, local: local.under(term) }),
    because: (...why) =>
      reachingClient({
        ...options,
        local: local.because(...why),
        http: (...who) => http(...who).because(...why),
      }),
  };
}
