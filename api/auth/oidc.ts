/**
 * An OpenID Connect provider as a server of others' tokens sees it: its discovery document, its keys, and the check
 * of a token against them.
 *
 * Nothing is fetched before the first token of that issuer. Keys are fetched again when a token names none that is
 * known, but no more often than the provider's `Cache-Control` and `OIDC_FETCH_MS_MIN` let: who sends made-up
 * tokens cannot make us knock at the provider's door. A provider that does not answer is asked again after
 * `OIDC_RETRY_MS`; its keys that are known still count.
 */
import type { CryptoKey as Key, JWK } from "jose";
import type { Clock } from "../../kv/clock.ts";
import type { Endpoint, Outbound, OutboundAnswer } from "../client/outbound.ts";
import { partOf, TokenError } from "./jwt.ts";
import {
  OIDC_BYTES_MAX,
  OIDC_FETCH_MS_MIN,
  OIDC_KEYS_MAX,
  OIDC_LEEWAY_MS,
  OIDC_REFRESH_AHEAD_MS,
  OIDC_RETRY_MS,
  OIDC_TIMEOUT_MS,
} from "./limits.ts";
import { quoteList } from "./rbac_rules.ts";

/** Where tokens come from. */
export interface JwtIssuer {
  /** What `iss` of its tokens says; discovery is below it unless `discoveryUrl` is given. */
  url: string;
  /** The whole URL of the discovery document. */
  discoveryUrl?: string;
  /** Authorities of its server in PEM (default: those of this machine). */
  certificateAuthority?: string;
  /** Tokens must be for one of these. */
  audiences: readonly string[];
}

/** Algorithms that tokens may be signed with. */
export const OIDC_ALGORITHMS = [
  "ES256",
  "ES384",
  "ES512",
  "PS256",
  "PS384",
  "PS512",
  "RS256",
  "RS384",
  "RS512",
] as const;

/** What a token says, once it is known to be true. */
export type JwtClaims = Record<string, unknown>;

interface Ports {
  outbound: () => Outbound;
  clock: Clock;
}

interface Header {
  alg?: string;
  kid?: string;
}

/** One provider. */
export class OidcProvider {
  readonly #issuer: JwtIssuer;
  readonly #algorithms: readonly string[];
  readonly #ports: Ports;
  #keysUrl: Promise<string> | undefined;
  /** No discovery before this time: the last one failed. */
  #patientUntil = -Infinity;
  #keys: readonly JWK[] = [];
  readonly #imported = new Map<string, Key | undefined>();
  #fetching: Promise<void> | undefined;
  #expires = -Infinity;
  #fetched = -Infinity;

  constructor(
    issuer: JwtIssuer,
    ports: Ports,
    algorithms: readonly string[] = OIDC_ALGORITHMS,
  ) {
    this.#issuer = issuer;
    this.#ports = ports;
    this.#algorithms = algorithms;
  }

  /** The claims of a token that names this issuer. Rejects with TokenError. */
  async verify(token: string): Promise<JwtClaims> {
    const header = headerOf(token);
    if (!this.#algorithms.includes(header.alg ?? "")) {
      throw new TokenError(
        `oidc: verify token: oidc: id token signed with unsupported algorithm, expected ` +
          `${quoteList(this.#algorithms)} got ${JSON.stringify(header.alg ?? "")}`,
      );
    }
    const claims = await this.#verified(token, header);
    this.#checkIssuer(claims);
    this.#checkAudience(claims);
    this.#checkTimes(claims);
    return claims;
  }

  async #verified(token: string, header: Header): Promise<JwtClaims> {
    const url = await this.#discover();
    const known = await this.#byKeys(token, header);
    if (known) return known;
    const now = this.#ports.clock.now();
    const early = now + OIDC_REFRESH_AHEAD_MS < this.#expires ||
      now - this.#fetched < OIDC_FETCH_MS_MIN;
    if (!early) {
      await (this.#fetching ??= this.#fetchKeys(url).finally(() => this.#fetching = undefined));
    }
    const found = early ? undefined : await this.#byKeys(token, header);
    if (found) return found;
    throw new TokenError(
      "oidc: verify token: failed to verify signature: failed to verify id token signature",
    );
  }

  async #byKeys(token: string, { alg, kid }: Header): Promise<JwtClaims | undefined> {
    const jose = await import("jose");
    for (const jwk of this.#keys) {
      if (kid !== undefined && kid !== "" && jwk.kid !== kid) continue;
      const key = await this.#imports(jwk, alg!);
      if (!key) continue;
      let payload: Uint8Array;
      try {
        ({ payload } = await jose.compactVerify(token, key, { algorithms: [alg!] }));
      } catch {
        continue; // Another key may have signed it
      }
      return claimsOf(payload);
    }
    return undefined;
  }

  async #imports(jwk: JWK, alg: string): Promise<Key | undefined> {
    const id = `${alg} ${JSON.stringify(jwk)}`;
    if (this.#imported.has(id)) return this.#imported.get(id);
    const jose = await import("jose");
    // What is no key of this algorithm verifies nothing
    const made = await jose.importJWK(jwk, alg).catch(() => undefined);
    const key = made instanceof Uint8Array ? undefined : made as Key | undefined;
    this.#imported.set(id, key);
    return key;
  }

  #checkIssuer(claims: JwtClaims): void {
    const { url } = this.#issuer;
    if (claims.iss === url) return;
    if (url === GOOGLE && claims.iss === "accounts.google.com") return;
    throw new TokenError(
      `oidc: verify token: oidc: id token issued by a different provider, expected ` +
        `${JSON.stringify(url)} got ${JSON.stringify(String(claims.iss ?? ""))}`,
    );
  }

  #checkAudience({ aud }: JwtClaims): void {
    const given = typeof aud === "string" ? [aud] : Array.isArray(aud) ? aud.map(String) : [];
    const { audiences } = this.#issuer;
    if (given.some((one) => audiences.includes(one))) return;
    throw new TokenError(
      audiences.length === 1
        ? `oidc: verify token: oidc: expected audience ${JSON.stringify(audiences[0])} got ${
          quoteList(given)
        }`
        : `oidc: verify token: oidc: expected audience in ${quoteList([...audiences].sort())} got ${
          quoteList(given)
        }`,
    );
  }

  #checkTimes({ exp, nbf }: JwtClaims): void {
    const now = this.#ports.clock.now();
    const end = typeof exp === "number" ? exp * 1000 : GO_ZERO_MS;
    if (end < now) {
      throw new TokenError(
        `oidc: verify token: oidc: token is expired (Token Expiry: ${goTime(end)})`,
      );
    }
    if (typeof nbf === "number" && now + OIDC_LEEWAY_MS < nbf * 1000) {
      throw new TokenError(
        `oidc: verify token: oidc: current time ${goTime(now)} before the nbf (not before) time: ${
          goTime(nbf * 1000)
        }`,
      );
    }
  }

  /** Where the keys are. */
  #discover(): Promise<string> {
    if (this.#keysUrl) return this.#keysUrl;
    const { clock } = this.#ports;
    if (clock.now() < this.#patientUntil) {
      return Promise.reject(new TokenError("oidc: authenticator not initialized"));
    }
    this.#keysUrl = this.#fetchDiscovery();
    this.#keysUrl.catch(() => {
      this.#keysUrl = undefined;
      this.#patientUntil = clock.now() + OIDC_RETRY_MS;
    });
    return this.#keysUrl;
  }

  async #fetchDiscovery(): Promise<string> {
    const { url, discoveryUrl } = this.#issuer;
    const where = discoveryUrl ?? `${url.replace(/\/$/, "")}/.well-known/openid-configuration`;
    const { document } = await this.#get(where);
    if (document.issuer !== url) {
      throw new TokenError(
        `oidc: issuer did not match the issuer returned by provider, expected ` +
          `${JSON.stringify(url)} got ${JSON.stringify(String(document.issuer ?? ""))}`,
      );
    }
    const keys = document.jwks_uri;
    if (typeof keys !== "string" || !keys) {
      throw new TokenError("provider did not return JWKS URL");
    }
    if (!keys.startsWith("https://")) throw new TokenError("oidc: the JWKS URL must be https");
    return keys;
  }

  async #fetchKeys(url: string): Promise<void> {
    const { clock } = this.#ports;
    this.#fetched = clock.now();
    const { document, answer } = await this.#get(url);
    const { keys } = document;
    if (!Array.isArray(keys)) throw new TokenError("oidc: failed to decode keys");
    this.#keys = keys.filter((key) => typeof key === "object" && key).slice(0, OIDC_KEYS_MAX);
    this.#imported.clear();
    this.#expires = clock.now() + freshMs(answer);
  }

  async #get(url: string): Promise<{ document: Record<string, unknown>; answer: OutboundAnswer }> {
    const endpoint: Endpoint = { url, caBundle: this.#issuer.certificateAuthority };
    let answer: OutboundAnswer;
    let document: unknown;
    try {
      answer = await this.#ports.outbound().send(endpoint, {
        method: "GET",
        headers: { accept: "application/json" },
        timeoutMs: OIDC_TIMEOUT_MS,
        bytesMax: OIDC_BYTES_MAX,
      });
      if (answer.status !== 200) throw new Error(`${answer.status}`);
      document = JSON.parse(new TextDecoder().decode(answer.body));
    } catch (error) {
      throw new TokenError(`oidc: ${url}: ${(error as Error).message}`);
    }
    if (typeof document !== "object" || document === null) {
      throw new TokenError(`oidc: ${url}: no object`);
    }
    return { document: document as Record<string, unknown>, answer };
  }
}

/** The time that Go has where it was given none: 0001-01-01. */
const GO_ZERO_MS = -62_135_596_800_000;

const GOOGLE = "https://accounts.google.com";

function headerOf(token: string): Header {
  const header = partOf(token.split(".")[0]);
  if (header) return header;
  throw new TokenError("oidc: verify token: oidc: malformed jwt");
}

function claimsOf(payload: Uint8Array): JwtClaims {
  try {
    const claims = JSON.parse(new TextDecoder().decode(payload));
    if (typeof claims === "object" && claims !== null && !Array.isArray(claims)) return claims;
  } catch {
    // Said below
  }
  throw new TokenError("oidc: verify token: oidc: failed to unmarshal claims");
}

/** How long an answer stays fresh by its own word; 0 when it does not say. */
function freshMs({ headers }: OutboundAnswer): number {
  const text = String(headers["cache-control"] ?? "");
  if (/no-store|no-cache/.test(text)) return 0;
  const seconds = /max-age=(\d+)/.exec(text)?.[1];
  return seconds ? Number(seconds) * 1000 : 0;
}

function goTime(ms: number): string {
  return new Date(ms).toISOString().slice(0, 19).replace("T", " ") + " +0000 UTC";
}
