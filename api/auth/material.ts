/**
 * The cluster's keys and certificates: made at the first start, kept sealed in the database's settings,
 * renewed at two thirds of their life.
 *
 * A restart with everything still good reads four small records and loads no cryptography library.
 */
import type { Clock } from "../../kv/clock.ts";
import type { Database } from "../../kv/contract.ts";
import {
  createAuthority,
  createTokenKey,
  issueClient,
  type Issued,
  issueServer,
  renewAt,
} from "./pki.ts";

/** What a cluster proves itself with. */
export interface Material {
  authority: Issued;
  server: Issued;
  /** `CN=kubernetes-admin, O=system:masters`. */
  admin: Issued;
  /** PKCS #8 keys of ServiceAccount tokens: the first signs, all verify. */
  tokenKeys: readonly string[];
}

type Settings = Database<unknown>["settings"];

interface Kept extends Issued {
  names?: readonly string[];
}

const AUTHORITY = "pki/authority";
const SERVER = "pki/server";
const ADMIN = "pki/admin";
const TOKENS = "pki/token-keys";

/** Reads the material, making or renewing what is missing, old, or without one of the server's names. */
export async function openMaterial(
  settings: Settings,
  clock: Clock,
  options: { names: readonly string[] },
): Promise<Material> {
  const now = clock.now();
  const good = (kept: Issued | undefined) =>
    kept !== undefined && now < renewAt(kept) && now >= kept.notBefore;
  let authority = await read<Issued>(settings, AUTHORITY);
  // A new authority makes every kubeconfig useless: only when there is none.
  if (!authority) await write(settings, AUTHORITY, authority = await createAuthority(clock));
  let server = await read<Kept>(settings, SERVER);
  if (!good(server) || options.names.some((name) => !server!.names?.includes(name))) {
    const names = [...new Set([...options.names, ...server?.names ?? []])];
    server = { ...await issueServer(authority, clock, { names }), names };
    await write(settings, SERVER, server);
  }
  let admin = await read<Issued>(settings, ADMIN);
  if (!good(admin)) {
    admin = await issueClient(authority, clock, {
      commonName: "kubernetes-admin",
      organizations: ["system:masters"],
    });
    await write(settings, ADMIN, admin);
  }
  const tokenKeys = await openTokenKeys(settings);
  return { authority, server: server!, admin: admin!, tokenKeys };
}

/** The keys of ServiceAccount tokens alone: all that a cluster without sockets needs. */
export async function openTokenKeys(settings: Settings): Promise<readonly string[]> {
  let keys = await read<string[]>(settings, TOKENS);
  if (!keys) await write(settings, TOKENS, keys = [createTokenKey()]);
  return keys;
}

async function read<T>(settings: Settings, name: string): Promise<T | undefined> {
  const bytes = await settings.get(name);
  return bytes && JSON.parse(new TextDecoder().decode(bytes));
}

async function write(settings: Settings, name: string, value: unknown): Promise<void> {
  await settings.set(name, new TextEncoder().encode(JSON.stringify(value)));
}
