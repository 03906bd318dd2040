/** Identity of a cluster, as its options say, over its database. */
import type { Clock } from "../kv/clock.ts";
import type { Database } from "../kv/contract.ts";
import { type Auth, createAuth, noteTokenUse } from "./auth/mod.ts";
import type { Client } from "./client/contract.ts";
import type { Outbound } from "./client/outbound.ts";
import type { ServerOptions } from "./config/server.ts";
import type { Kinds, KubeObject } from "./machinery/types.ts";

/** What it stands on. */
export interface IdentityGround {
  options: ServerOptions;
  clock: Clock;
  database: Database<KubeObject>;
  /** Private keys of ServiceAccount tokens, where the options have none. */
  tokenKeys: readonly string[];
  /** What is kept of log-ins, where that has been read. */
  logins?: Uint8Array;
  log(level: "info" | "warn" | "error", text: string, fields?: Record<string, unknown>): void;
}

/** Who is asking, and may they. */
export function identityOf(
  { options, clock, database, tokenKeys, logins, log }: IdentityGround,
  { host, kinds, outbound, authorities, server }: {
    /** By which certificates end. */
    host: Clock;
    kinds: Kinds;
    outbound: Outbound;
    /** Whose certificates are users', and nodes', in PEM. */
    authorities: { users: string; nodes(): Promise<string> };
    /** The API, asked by the server itself. */
    server: () => Client;
  },
): Auth {
  const { signingKey, verifiers, issuers = [] } = options.serviceAccounts ?? {};
  return createAuth({
    view: () => database.objects.view(),
    follow: (options) => database.objects.watch(options),
    outbound: () => outbound,
    authentication: options.authentication,
    authorization: options.authorization,
    settings: database.settings,
    logins,
    clientAuthorities: () => authorities.users,
    nodeAuthorities: () => authorities.nodes(),
    legacyUsed: noteTokenUse(server, log),
    kinds: () => kinds,
    createNamespace: async (name) => {
      const resource = { group: "", version: "v1", plural: "namespaces" };
      await server().create({ resource }, { metadata: { name } });
    },
    plugins: options.admission,
    clock,
    host,
    tokenKeys: signingKey ? [signingKey] : tokenKeys,
    tokenVerifiers: verifiers,
    issuer: issuers[0],
    otherIssuers: issuers.slice(1),
    audiences: options.audiences,
    tokens: options.tokens,
  });
}
