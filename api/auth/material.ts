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
  crossSign,
  issueClient,
  type Issued,
  issueServer,
  renewAt,
} from "./pki.ts";

/** What a cluster proves itself with. */
export interface Material {
  /** Signs everything. */
  authority: Issued;
  /** Whom to believe: the authority and those before it that are still good. PEM. */
  trustPem: string;
  /** Its certificate is followed by what leads from the authority to the one before. */
  server: Issued;
  /** `CN=kubernetes-admin, O=system:masters`. */
  admin: Issued;
  /** PKCS #8 keys of ServiceAccount tokens: the first signs, all verify. */
  tokenKeys: readonly string[];
}

type Settings = Database<unknown>["settings"];

interface Kept extends Issued {
  names?: readonly string[];
  /** The certificate of the authority that signed it, where that was not the first. */
  signer?: string;
}

/** The authority, and what is left of those before it. */
interface KeptAuthority extends Issued {
  /** Certificates of former authorities, with their ends. */
  former?: readonly { certificatePem: string; notAfter: number }[];
  /** Leads from this authority to the one before. */
  crossPem?: string;
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
  let authority = await read<KeptAuthority>(settings, AUTHORITY);
  if (!authority) await write(settings, AUTHORITY, authority = await createAuthority(clock));
  else if (!good(authority)) authority = await rollAuthority(settings, clock);
  const signer = authority.former ? authority.certificatePem : undefined;
  const current = (kept: Kept | undefined) => good(kept) && kept!.signer === signer;
  let server = await read<Kept>(settings, SERVER);
  if (!current(server) || options.names.some((name) => !server!.names?.includes(name))) {
    const names = [...new Set([...options.names, ...server?.names ?? []])];
    server = { ...await issueServer(authority, clock, { names }), names, signer };
    await write(settings, SERVER, server);
  }
  let admin = await read<Kept>(settings, ADMIN);
  if (!current(admin)) {
    const issued = await issueClient(authority, clock, {
      commonName: "kubernetes-admin",
      organizations: ["system:masters"],
    });
    await write(settings, ADMIN, admin = { ...issued, signer });
  }
  const tokenKeys = await openTokenKeys(settings);
  const former = (authority.former ?? []).filter(({ notAfter }) => now < notAfter);
  const chain = authority.crossPem && former.length ? authority.crossPem : "";
  return {
    authority,
    trustPem: [authority, ...former].map(({ certificatePem }) => certificatePem).join(""),
    server: { ...server!, certificatePem: server!.certificatePem + chain },
    admin: admin!,
    tokenKeys,
  };
}

/**
 * Puts a new authority in the place of the old one, without anybody being shut out: who trusts only the old one finds
 * the new one vouched for by it; certificates that the old one signed stay good until they end. (At two thirds of
 * an authority's life this happens by itself.)
 */
export async function rollAuthority(settings: Settings, clock: Clock): Promise<KeptAuthority> {
  const old = await read<KeptAuthority>(settings, AUTHORITY);
  if (!old) throw new Error("Cannot replace the authority: there is none yet");
  // Another name, so that nobody takes one for the other.
  const commonName = `plesio-ca-${Math.floor(clock.now() / 1000)}`;
  const next = await createAuthority(clock, { commonName });
  const { certificatePem, notAfter } = old;
  const rolled: KeptAuthority = {
    ...next,
    crossPem: await crossSign(old, next, clock),
    former: [{ certificatePem, notAfter }, ...old.former ?? []].filter((one) =>
      clock.now() < one.notAfter
    ),
  };
  await write(settings, AUTHORITY, rolled);
  return rolled;
}

/** Puts a new key of ServiceAccount tokens in front: it signs from now on, the former ones verify. */
export async function addTokenKey(settings: Settings): Promise<readonly string[]> {
  const keys = [createTokenKey(), ...await openTokenKeys(settings)];
  await write(settings, TOKENS, keys);
  return keys;
}

/** Forgets all keys of tokens but the newest: tokens of the others are refused from now on. */
export async function dropTokenKeys(settings: Settings): Promise<readonly string[]> {
  const keys = (await openTokenKeys(settings)).slice(0, 1);
  await write(settings, TOKENS, keys);
  return keys;
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
