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

/** Where it is kept. */
export type Settings = Pick<Database<unknown>["settings"], "get" | "change">;

/** One that forgets with its process. */
export function settingsInMemory(): Settings {
  const values = new Map<string, Uint8Array>();
  return {
    get: (name) => Promise.resolve(values.get(name)),
    async change(name, next) {
      for (;;) {
        const before = values.get(name);
        const value = await next(before);
        if (values.get(name) !== before) continue;
        values.set(name, value);
        return value;
      }
    },
  };
}

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

/** The setting that holds the authority. */
export const AUTHORITY = "pki/authority";
const SERVER = "pki/server";
const ADMIN = "pki/admin";
/** The setting that holds the keys of tokens. */
export const TOKENS = "pki/token-keys";

/** Reads the material, making or renewing what is missing, old, or without one of the server's names. */
export async function openMaterial(
  settings: Settings,
  clock: Clock,
  options: { names: readonly string[] },
): Promise<Material> {
  const now = clock.now();
  const good = (kept: Issued | undefined) =>
    kept !== undefined && now < renewAt(kept) && now >= kept.notBefore;
  const authority = await change<KeptAuthority>(settings, AUTHORITY, async (kept) => {
    if (!kept) return await createAuthority(clock);
    return good(kept) ? kept : await rolled(kept, clock);
  });
  const signer = authority.former ? authority.certificatePem : undefined;
  const current = (kept: Kept | undefined) => good(kept) && kept!.signer === signer;
  // Of all processes' names: each of them serves with it
  const server = await change<Kept>(settings, SERVER, async (kept) => {
    const missing = options.names.some((name) => !kept?.names?.includes(name));
    if (kept && current(kept) && !missing) return kept;
    const names = [...new Set([...options.names, ...kept?.names ?? []])];
    return { ...await issueServer(authority, clock, { names }), names, signer };
  });
  const admin = await change<Kept>(settings, ADMIN, async (kept) => {
    if (kept && current(kept)) return kept;
    const issued = await issueClient(authority, clock, {
      commonName: "kubernetes-admin",
      organizations: ["system:masters"],
    });
    return { ...issued, signer };
  });
  const tokenKeys = await openTokenKeys(settings);
  const former = (authority.former ?? []).filter(({ notAfter }) => now < notAfter);
  const chain = authority.crossPem && former.length ? authority.crossPem : "";
  return {
    authority,
    trustPem: [authority, ...former].map(({ certificatePem }) => certificatePem).join(""),
    server: { ...server, certificatePem: server.certificatePem + chain },
    admin,
    tokenKeys,
  };
}

/**
 * Puts a new authority in the place of the old one, without anybody being shut out: who trusts only the old one finds
 * the new one vouched for by it; certificates that the old one signed stay good until they end. (At two thirds of
 * an authority's life this happens by itself.)
 */
export async function rollAuthority(settings: Settings, clock: Clock): Promise<KeptAuthority> {
  return await change<KeptAuthority>(settings, AUTHORITY, (old) => {
    if (!old) throw new Error("Cannot replace the authority: there is none yet");
    return rolled(old, clock);
  });
}

async function rolled(old: KeptAuthority, clock: Clock): Promise<KeptAuthority> {
  // Another name, so that nobody takes one for the other.
  const commonName = `plesio-ca-${Math.floor(clock.now() / 1000)}`;
  const next = await createAuthority(clock, { commonName });
  const { certificatePem, notAfter } = old;
  return {
    ...next,
    crossPem: await crossSign(old, next, clock),
    former: [{ certificatePem, notAfter }, ...old.former ?? []].filter((one) =>
      clock.now() < one.notAfter
    ),
  };
}

/** Puts a new key of ServiceAccount tokens in front: it signs from now on, the former ones verify. */
export async function addTokenKey(settings: Settings): Promise<readonly string[]> {
  return await change(
    settings,
    TOKENS,
    (kept: string[] = []) => Promise.resolve([createTokenKey(), ...kept]),
  );
}

/** Forgets all keys of tokens but the newest: tokens of the others are refused from now on. */
export async function dropTokenKeys(settings: Settings): Promise<readonly string[]> {
  return await change(
    settings,
    TOKENS,
    (kept?: string[]) => Promise.resolve(kept ? kept.slice(0, 1) : [createTokenKey()]),
  );
}

/** The keys of ServiceAccount tokens alone: all that a cluster without sockets needs. */
export async function openTokenKeys(settings: Settings): Promise<readonly string[]> {
  return await change(
    settings,
    TOKENS,
    (kept?: string[]) => Promise.resolve(kept ?? [createTokenKey()]),
  );
}

/**
 * Puts what is made of a setting in its place, or leaves it: of processes that begin at once, one makes what all have.
 */
export async function change<T>(
  settings: Settings,
  name: string,
  next: (kept: T | undefined) => Promise<T>,
): Promise<T> {
  const bytes = await settings.change(name, async (before) => {
    const kept: T | undefined = before && JSON.parse(new TextDecoder().decode(before));
    const made = await next(kept);
    return before && made === kept ? before : new TextEncoder().encode(JSON.stringify(made));
  });
  return JSON.parse(new TextDecoder().decode(bytes));
}
