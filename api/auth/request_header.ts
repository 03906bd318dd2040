/**
 * Users whom a front proxy names in headers, as the aggregation layer does it.
 *
 * Headers are looked at only when the connection itself shows a certificate that the proxies' own authority signed, for
 * an allowed name: never from outside. A proxy's certificate says nothing else: it is no user of its own unless
 * that authority is one of users too. Authorities must have signed the certificate themselves; those in between are
 * listed with them.
 */
import { X509Certificate } from "node:crypto";
import type { User } from "../client/contract.ts";
import type { Authenticator, Credentials } from "./contract.ts";
import { USERS_MAX } from "./limits.ts";
import { makeUser } from "./names.ts";

/** Which proxies are believed, and how they speak. */
export interface RequestHeaderOptions {
  /** Authorities of the proxies' certificates (PEM). */
  authorities: string;
  /** Common names of proxies; empty: any name that the authorities signed. */
  allowedNames: readonly string[];
  /** Header names: the first that has a value counts. */
  usernameHeaders: readonly string[];
  uidHeaders: readonly string[];
  /** All values of all of them. */
  groupHeaders: readonly string[];
  /** What follows the prefix is the key. */
  extraHeaderPrefixes: readonly string[];
}

/** The certificates in a bundle. Throws what node throws for one that is none. */
export function certificatesIn(bundle: string): X509Certificate[] {
  const blocks = bundle.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ??
    [];
  return blocks.map((pem) => new X509Certificate(pem));
}

/** Tells which certificates were signed by one of these authorities; what was found out is remembered. */
class Signers {
  readonly #authorities: readonly X509Certificate[];
  readonly #known = new WeakMap<Uint8Array, boolean>();

  constructor(authorities: readonly X509Certificate[]) {
    this.#authorities = authorities;
  }

  signed(raw: Uint8Array): boolean {
    let known = this.#known.get(raw);
    if (known === undefined) this.#known.set(raw, known = this.#check(raw));
    return known;
  }

  #check(raw: Uint8Array): boolean {
    try {
      const certificate = new X509Certificate(raw);
      return this.#authorities.some((authority) =>
        certificate.checkIssued(authority) && certificate.verify(authority.publicKey)
      );
    } catch {
      // What cannot be read was signed by nobody
      return false;
    }
  }
}

/** Whether an authority of a bundle has signed a certificate. The last bundle is kept: they are replaced, but seldom. */
export function signedBy(): (bundle: string, raw: Uint8Array) => boolean {
  let known: { bundle: string; signers: Signers } | undefined;
  return (bundle, raw) => {
    if (known?.bundle !== bundle) known = { bundle, signers: new Signers(certificatesIn(bundle)) };
    return known.signers.signed(raw);
  };
}

/** The authenticator of front proxies. */
export function requestHeaderAuthenticator(
  options: RequestHeaderOptions,
  clock: { now(): number },
): Authenticator {
  const signers = new Signers(certificatesIn(options.authorities));
  const lower = (names: readonly string[]) => names.map((name) => name.toLowerCase());
  const names = {
    user: lower(options.usernameHeaders),
    uid: lower(options.uidHeaders),
    groups: lower(options.groupHeaders),
    extra: lower(options.extraHeaderPrefixes),
  };
  const users = new Map<string, User>();
  return {
    authenticate(credentials: Credentials): User | undefined {
      const { certificate } = credentials;
      if (!certificate || !signers.signed(certificate.raw)) return undefined;
      const { commonName = "" } = certificate.subject;
      const { allowedNames } = options;
      if (allowedNames.length && !allowedNames.includes(commonName)) return undefined;
      if (clock.now() > Date.parse(new X509Certificate(certificate.raw).validTo)) return undefined;
      const name = first(credentials, names.user);
      if (!name) return undefined;
      const uid = first(credentials, names.uid);
      const extra = extraOf(credentials, names.extra);
      const user: User = {
        name,
        ...(uid ? { uid } : {}),
        groups: names.groups.flatMap((header) => valuesOf(credentials, header)),
        ...(Object.keys(extra).length ? { extra } : {}),
      };
      // Authorizers remember by the object, so that equal users are one
      const key = JSON.stringify(user);
      let known = users.get(key);
      if (!known) {
        if (users.size >= USERS_MAX) users.clear();
        users.set(key, known = makeUser(user));
      }
      return known;
    },
  };
}

function first(credentials: Credentials, names: readonly string[]): string {
  for (const name of names) {
    const value = credentials.header(name);
    if (value) return value;
  }
  return "";
}

function valuesOf(credentials: Credentials, name: string): string[] {
  if (!credentials.headers) {
    const value = credentials.header(name);
    return value ? [value] : [];
  }
  const values: string[] = [];
  for (const [given, value] of credentials.headers()) {
    if (given.toLowerCase() !== name) continue;
    values.push(...(typeof value === "string" ? value.split(", ") : value));
  }
  return values.filter((value) => value !== "");
}

function extraOf(
  credentials: Credentials,
  prefixes: readonly string[],
): Record<string, string[]> {
  const extra: Record<string, string[]> = {};
  for (const prefix of prefixes) {
    for (const [given, value] of credentials.headers?.() ?? []) {
      const name = given.toLowerCase();
      if (!name.startsWith(prefix)) continue;
      const key = unescaped(name.slice(prefix.length));
      const values = typeof value === "string" ? value.split(", ") : value;
      (extra[key] ??= []).push(...values);
    }
  }
  return extra;
}

function unescaped(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    return key;
  }
}
