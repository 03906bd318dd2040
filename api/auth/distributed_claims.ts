/**
 * Distributed claims (OpenID Connect Core 1.0, 5.6.2): a token that is too small for a user's groups names a place
 * where another token has them. That one is fetched with what the first says to show there, and is checked as every
 * token is: its issuer's keys, an audience of ours, its times. As upstream, only the claim that groups come from is
 * looked for, and nothing is remembered of it.
 */
import type { Clock } from "../../kv/clock.ts";
import type { Outbound } from "../client/outbound.ts";
import { issuerOf, TokenError } from "./jwt.ts";
import { OIDC_BYTES_MAX, OIDC_ISSUERS_MAX, OIDC_TIMEOUT_MS } from "./limits.ts";
import { type JwtClaims, type JwtIssuer, OidcProvider } from "./oidc.ts";

interface Ports {
  outbound: () => Outbound;
  clock: Clock;
}

/** A place that has a claim. */
interface Source {
  endpoint?: unknown;
  access_token?: unknown;
}

/** Looks for one claim of one issuer's tokens. */
export class DistributedClaim {
  readonly #claim: string;
  readonly #issuer: JwtIssuer;
  readonly #ports: Ports;
  readonly #algorithms: readonly string[] | undefined;
  /** Issuers of the tokens that were fetched; the oldest are forgotten. */
  readonly #providers = new Map<string, OidcProvider>();

  constructor(
    claim: string,
    { issuer, ports, algorithms }: {
      issuer: JwtIssuer;
      ports: Ports;
      algorithms?: readonly string[];
    },
  ) {
    this.#claim = claim;
    this.#issuer = issuer;
    this.#ports = ports;
    this.#algorithms = algorithms;
  }

  /** The claims, with the one that is elsewhere. Rejects with TokenError. */
  async expanded(claims: JwtClaims): Promise<JwtClaims> {
    if (Object.hasOwn(claims, this.#claim) || !Object.hasOwn(claims, "_claim_names")) return claims;
    try {
      const source = this.#sourceIn(claims);
      if (!source || !source.endpoint) return claims;
      return { ...claims, [this.#claim]: await this.#fetched(source) };
    } catch (error) {
      if (!(error instanceof TokenError)) throw error;
      throw new TokenError(`oidc: could not expand distributed claims: ${error.message}`);
    }
  }

  #sourceIn({ _claim_names: names, _claim_sources: sources }: JwtClaims): Source | undefined {
    if (!isMap(names) || !Object.values(names).every((name) => typeof name === "string")) {
      throw new TokenError("oidc: error parsing distributed claim names");
    }
    if (sources === undefined) throw new TokenError("oidc: no claim sources");
    if (!isMap(sources) || !Object.values(sources).every(isMap)) {
      throw new TokenError("oidc: could not parse claim sources");
    }
    if (!Object.hasOwn(names, this.#claim)) return undefined;
    const name = names[this.#claim] as string;
    if (Object.hasOwn(sources, name)) return sources[name] as Source;
    throw new TokenError(
      `id token _claim_names contained a source ${name} missing in _claims_sources`,
    );
  }

  async #fetched({ endpoint, access_token: shown }: Source): Promise<unknown> {
    const claim = this.#claim;
    const url = String(endpoint);
    let token: string;
    try {
      token = await this.#get(url, typeof shown === "string" ? shown : "");
    } catch (error) {
      const why = (error as Error).message;
      throw new TokenError(`while getting distributed claim ${JSON.stringify(claim)}: ${why}`);
    }
    const issuer = issuerOf(token);
    if (issuer === undefined) {
      throw new TokenError(
        `getting untrusted issuer from endpoint ${url} failed for claim ${JSON.stringify(claim)}`,
      );
    }
    let claims: JwtClaims;
    try {
      claims = await this.#providerOf(issuer).verify(token);
    } catch (error) {
      if (!(error instanceof TokenError)) throw error;
      const why = error.message.replace(/^oidc: verify token: /, "");
      throw new TokenError(`verify distributed claim token: ${why}`);
    }
    if (Object.hasOwn(claims, claim)) return claims[claim];
    throw new TokenError(
      `jwt returned by distributed claim endpoint ${JSON.stringify(url)} did not contain claim: ` +
        claim,
    );
  }

  async #get(url: string, shown: string): Promise<string> {
    if (!url.startsWith("https://")) throw new Error(`${url}: the endpoint must be https`);
    const answer = await this.#ports.outbound().send(
      { url, caBundle: this.#issuer.certificateAuthority },
      {
        method: "GET",
        headers: shown ? { authorization: `Bearer ${shown}` } : {},
        timeoutMs: OIDC_TIMEOUT_MS,
        bytesMax: OIDC_BYTES_MAX,
      },
    );
    if (answer.status < 200 || answer.status > 226) {
      throw new Error(`error while getting distributed claim JWT: ${answer.status}`);
    }
    return new TextDecoder().decode(answer.body);
  }

  #providerOf(url: string): OidcProvider {
    const { certificateAuthority, audiences } = this.#issuer;
    let provider = this.#providers.get(url);
    if (provider) return provider;
    const issuer = { url, certificateAuthority, audiences };
    provider = new OidcProvider(issuer, this.#ports, this.#algorithms);
    this.#providers.set(url, provider);
    if (this.#providers.size > OIDC_ISSUERS_MAX) {
      this.#providers.delete(this.#providers.keys().next().value!);
    }
    return provider;
  }
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
