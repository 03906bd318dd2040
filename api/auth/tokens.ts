/**
 * Bearer tokens from both ends: the TokenRequest that issues them, the authenticator that knows whose they are,
 * and the two documents by which others can verify them.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { Buffer } from "node:buffer";
import type { Clock } from "../../kv/clock.ts";
import type { View } from "../../kv/contract.ts";
import type { Client, User } from "../client/contract.ts";
import { badRequest, conflict, invalid as invalidObject, notFound } from "../machinery/errors.ts";
import { invalid } from "../machinery/field_errors.ts";
import type { Cause, DeepReadonly, KubeObject } from "../machinery/types.ts";
import {
  boundClaims,
  type Claims,
  issuerOf,
  LEGACY_ISSUER,
  legacyClaims,
  legacySecret,
  TokenError,
  type TokenKeys,
  userOfClaims,
} from "./jwt.ts";
import {
  DIGESTED_BYTES_MAX,
  DIGESTS_MAX,
  TOKEN_BYTES_MAX,
  TOKEN_CACHE_MS,
  TOKEN_SECONDS_DEFAULT,
  TOKEN_SECONDS_EXTENDED,
  TOKEN_SECONDS_MAX,
  TOKEN_SECONDS_MIN,
  TOKEN_SECONDS_POD,
  TOKENS_CACHED_MAX,
} from "./limits.ts";
import { joinedErrors } from "./authorize.ts";
import { makeUser } from "./names.ts";
import { quoteList } from "./rbac_rules.ts";
import { Remembered } from "./remembered.ts";

/** What tokens are checked and issued with. */
export interface TokenOptions {
  view: () => View<KubeObject>;
  clock: Clock;
  keys: TokenKeys;
  /** The issuer of new tokens (default `https://kubernetes.default.svc.cluster.local`). */
  issuer?: string;
  /** Further issuers whose tokens are good. */
  otherIssuers?: readonly string[];
  /** Audiences of the API server (default: all issuers). */
  audiences?: readonly string[];
  /** Tokens that stand for a user for ever. */
  statics?: ReadonlyMap<string, User>;
  /** Whether Secrets of type `bootstrap.kubernetes.io/token` are credentials (default true). */
  bootstrap?: boolean;
  /** Who knows further tokens, asked in this order. */
  others?: readonly TokenSource[];
  /** Pods' own tokens live a year, and are reported when stale (default true). */
  extend?: boolean;
  /** Where the key set is published, for the discovery document (default: below the issuer). */
  jwksUri?: string;
  /** Hears that a token which lives in a Secret was used today. */
  legacyUsed?: (secret: DeepReadonly<KubeObject>, day: string) => void;
  /** Longer requests are shortened to this many seconds, with a warning (default: they are not). */
  secondsMax?: number;
  /** Verified tokens that are remembered (default `TOKENS_CACHED_MAX`). */
  cachedMax?: number;
}

/** A token's user, and the audiences for which it was good. */
export interface TokenIdentity {
  user: User;
  audiences: readonly string[];
  /** Wall time in ms at which it ends, where that is known. */
  expires?: number;
}

/** Somebody who knows further tokens. */
export interface TokenSource {
  /**
   * Whose token it is; undefined: none of these. `audiences` are wanted, `own` are the API server's. Rejects
   * with TokenError for one of these that is not good.
   */
  authenticate(
    token: string,
    audiences: readonly string[],
    own: readonly string[],
  ): Promise<TokenIdentity | undefined>;
}

/** Tells the audit and the client about a token. */
export interface TokenNotes {
  annotate?(key: string, value: string): void;
}

interface Known {
  claims: Claims;
  identity: TokenIdentity;
  /** Wall time of the last check of the signature. */
  verified: number;
  /** The store's revision at the last check of the state. */
  revision: number;
}

/** The issuer of tokens where none is configured. */
export const ISSUER_DEFAULT = "https://kubernetes.default.svc.cluster.local";
const INVALID = "invalid bearer token";
const LAST_USED = "kubernetes.io/legacy-token-last-used";
const DAY_MS = 24 * 3600 * 1000;

/** One use of a token. */
interface TokenUse {
  token: string;
  hash: string;
  audiences: readonly string[];
  notes?: TokenNotes;
}

/** Who hears of a token that is issued. */
export interface IssueNotes {
  warn?: (text: string) => void;
  annotate?: (key: string, value: string) => void;
}

const BOOTSTRAP = /^([a-z0-9]{6})\.([a-z0-9]{16})$/;
const BOOTSTRAP_GROUP = /^system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]$/;

/** Issues tokens and tells whose they are. */
export class Tokens {
  readonly issuer: string;
  readonly audiences: readonly string[];
  readonly keys: TokenKeys;
  readonly #view: () => View<KubeObject>;
  readonly #clock: Clock;
  readonly #issuers: ReadonlySet<string>;
  readonly #cachedMax: number;
  readonly #secondsMax: number;
  readonly #bootstraps: boolean;
  #others: readonly TokenSource[];
  readonly #foreign: Remembered<TokenIdentity>;
  readonly #extend: boolean;
  readonly #jwksUri: string | undefined;
  readonly #legacyUsed: TokenOptions["legacyUsed"];
  readonly #told: Remembered<true>;
  readonly #statics = new Map<string, TokenIdentity>();
  readonly #known = new Map<string, Known>();
  /** Digests of tokens that were good when they were last seen; whether they still are is asked each time. */
  readonly #digests = new Map<string, string>();

  constructor(options: TokenOptions) {
    this.issuer = options.issuer ?? ISSUER_DEFAULT;
    this.audiences = options.audiences ?? [this.issuer, ...options.otherIssuers ?? []];
    this.keys = options.keys;
    this.#cachedMax = options.cachedMax ?? TOKENS_CACHED_MAX;
    this.#secondsMax = options.secondsMax ?? Infinity;
    this.#bootstraps = options.bootstrap ?? true;
    this.#others = options.others ?? [];
    this.#foreign = new Remembered(options.clock, this.#cachedMax);
    this.#extend = options.extend ?? true;
    this.#jwksUri = options.jwksUri;
    this.#legacyUsed = options.legacyUsed;
    this.#told = new Remembered(options.clock, this.#cachedMax);
    this.#view = options.view;
    this.#clock = options.clock;
    this.#issuers = new Set([this.issuer, LEGACY_ISSUER, ...options.otherIssuers ?? []]);
    for (const [token, user] of options.statics ?? []) this.addStatic(token, user);
  }

  /** Asks these about further tokens from now on; what the former said counts no longer. */
  ask(others: readonly TokenSource[]): void {
    this.#others = others;
    this.#foreign.clear();
  }

  /** Makes a token stand for a user from now on, until `expires` (wall time in ms) where that is given. */
  addStatic(token: string, user: User, expires?: number): void {
    this.addDigest(tokenDigest(token), user, expires);
  }

  /** The same for a token that nobody here has seen, by its digest. */
  addDigest(digest: string, user: User, expires?: number): void {
    const identity: TokenIdentity = { user: makeUser(user), audiences: this.audiences, expires };
    this.#statics.set(digest, identity);
  }

  /** The token of a digest stands for no user any more. */
  removeDigest(digest: string): void {
    this.#statics.delete(digest);
  }

  /**
   * Whose token this is. Answers at once when the token was seen lately. Throws TokenError when it is nobody's
   * or no longer good.
   */
  authenticate(
    token: string,
    audiences: readonly string[] = this.audiences,
    notes?: TokenNotes,
  ): TokenIdentity | Promise<TokenIdentity> {
    if (token.length > TOKEN_BYTES_MAX) throw new TokenError(INVALID);
    const digested = this.#digests.get(token);
    const hash = digested ?? tokenDigest(token);
    const fixed = this.#static(hash) ?? (this.#bootstraps && this.#bootstrap(token));
    if (fixed) {
      const good = this.#agnostic(fixed, audiences);
      if (good && !digested) this.#digest(token, hash);
      if (good) return good;
    }
    const use = { token, hash, audiences, notes };
    const now = this.#clock.now();
    const known = this.#known.get(hash);
    if (known && now - known.verified < TOKEN_CACHE_MS && now >= known.verified) {
      const good = this.#again(known, use, now);
      if (!digested) this.#digest(token, hash);
      return good;
    }
    const issuer = issuerOf(token);
    const ours = issuer !== undefined && this.#issuers.has(issuer);
    if (this.#others.length > 0) {
      const foreign = audiences === this.audiences ? this.#foreign.get(hash) : undefined;
      return foreign ?? this.#anywhere(use, ours);
    }
    if (!ours) throw new TokenError(INVALID);
    return this.#verify(use);
  }

  /** Whose fixed token it is, unless its time is over. */
  #static(hash: string): TokenIdentity | undefined {
    const identity = this.#statics.get(hash);
    if (identity?.expires === undefined || this.#clock.now() < identity.expires) return identity;
    this.#statics.delete(hash);
    return undefined;
  }

  /** Remembers a good token's digest: a good part of what a GET costs. Nobody else's token gets here. */
  #digest(token: string, hash: string): void {
    if (token.length > DIGESTED_BYTES_MAX) return;
    if (this.#digests.size >= DIGESTS_MAX) this.#digests.clear();
    this.#digests.set(token, hash);
  }

  /** How many digests are remembered now. */
  get digested(): number {
    return this.#digests.size;
  }

  /** Tokens that know nothing of audiences are good for those of the API server. */
  #agnostic(identity: TokenIdentity, audiences: readonly string[]): TokenIdentity | undefined {
    if (audiences === this.audiences) return identity;
    const good = this.audiences.filter((audience) => audiences.includes(audience));
    return good.length ? { user: identity.user, audiences: good } : undefined;
  }

  /** Asks everybody in turn. */
  async #anywhere(use: TokenUse, ours: boolean): Promise<TokenIdentity> {
    const { token, hash, audiences } = use;
    const errors: string[] = [];
    const attempt = async (ask: () => Promise<TokenIdentity | undefined>) => {
      try {
        return await ask();
      } catch (error) {
        if (!(error instanceof TokenError)) throw error;
        errors.push(error.message);
      }
    };
    const own = ours ? await attempt(() => this.#verify(use)) : undefined;
    if (own) return own;
    for (const source of this.#others) {
      const found = await attempt(() => source.authenticate(token, audiences, this.audiences));
      if (!found) continue;
      if (audiences === this.audiences) {
        const left = (found.expires ?? Infinity) - this.#clock.now();
        if (left > 0) this.#foreign.set(hash, found, Math.min(left, TOKEN_CACHE_MS));
      }
      return found;
    }
    throw new TokenError(errors.length ? joinedErrors(errors) : INVALID);
  }

  #again(known: Known, use: TokenUse, now: number): TokenIdentity {
    const { hash, token } = use;
    const view = this.#view();
    const expired = known.claims.exp !== undefined && now / 1000 > known.claims.exp;
    if (view.revision !== known.revision || expired) {
      try {
        userOfClaims(known.claims, { view, now, token });
      } catch (error) {
        this.#known.delete(hash);
        throw error;
      }
      known.revision = view.revision;
    }
    this.#note(known.claims, use, { view, now });
    if (use.audiences === this.audiences) return known.identity;
    return {
      user: known.identity.user,
      audiences: this.#matching(known.claims, use.audiences),
    };
  }

  async #verify(use: TokenUse): Promise<TokenIdentity> {
    const { hash, token, audiences } = use;
    const claims = await this.keys.verify(token);
    if (!this.#issuers.has(claims.iss)) {
      throw new TokenError(`token issuer ${JSON.stringify(claims.iss)} is invalid`);
    }
    const good = this.#matching(claims, audiences);
    const view = this.#view();
    const now = this.#clock.now();
    const identity = { user: userOfClaims(claims, { view, now, token }), audiences: good };
    this.#note(claims, use, { view, now });
    if (audiences === this.audiences) {
      if (this.#known.size >= this.#cachedMax) this.#forget();
      // The user object of a token stays the same one, because authorizers remember by it.
      const user = this.#known.get(hash)?.identity.user ?? identity.user;
      const kept = { user, audiences: good };
      this.#known.set(hash, { claims, identity: kept, verified: now, revision: view.revision });
      return kept;
    }
    return identity;
  }

  /** Tells whom it concerns that a token is stale, or of the kind that lives in a Secret. */
  #note(
    claims: Claims,
    { notes }: TokenUse,
    { view, now }: { view: View<KubeObject>; now: number },
  ): void {
    const warnAfter = claims["kubernetes.io"]?.warnafter;
    if (warnAfter !== undefined) {
      const late = Math.floor(now / 1000) - warnAfter;
      if (late > 0) {
        notes?.annotate?.(
          "authentication.k8s.io/stale-token",
          `subject: ${claims.sub}, seconds after warning threshold: ${late}`,
        );
      }
      return;
    }
    if (claims.iss !== LEGACY_ISSUER || (!notes?.annotate && !this.#legacyUsed)) return;
    const { secret, automatic } = legacySecret(claims, view);
    if (!secret) return;
    const { name } = secret.metadata;
    const kind = automatic ? "autogenerated" : "manual";
    notes?.annotate?.("authentication.k8s.io/legacy-token", claims.sub);
    notes?.annotate?.(`authentication.k8s.io/legacy-token-${kind}-secret`, name);
    const day = (ms: number) => new Date(ms).toISOString().slice(0, 10);
    const used = secret.metadata.labels?.[LAST_USED];
    if (!this.#legacyUsed || used === day(now) || used === day(now + DAY_MS)) return;
    // Once is enough: it is written a little later
    const key = `${secret.metadata.uid} ${day(now)}`;
    if (this.#told.get(key)) return;
    this.#told.set(key, true, DAY_MS);
    this.#legacyUsed(secret, day(now));
  }

  /** How many verified tokens are remembered now. */
  get cached(): number {
    return this.#known.size;
  }

  /** Drops the older half of what is remembered. */
  #forget(): void {
    let drop = (this.#known.size + 1) >> 1;
    for (const hash of this.#known.keys()) {
      if (drop-- <= 0) return;
      this.#known.delete(hash);
    }
  }

  #matching(claims: Claims, wanted: readonly string[]): string[] {
    const own = claims.aud?.length ? claims.aud : this.audiences;
    const both = own.filter((audience) => wanted.includes(audience));
    if (both.length === 0) {
      throw new TokenError(
        `token audiences ${quoteList(own)} is invalid for the target audiences ${
          quoteList(wanted)
        }`,
      );
    }
    return both;
  }

  #bootstrap(token: string): TokenIdentity | undefined {
    const [, id, secret] = BOOTSTRAP.exec(token) ?? [];
    if (!id) return undefined;
    const stored = this.#view().get(`/registry/secrets/kube-system/bootstrap-token-${id}`)?.value;
    const user = stored && bootstrapUser(stored, { id, secret, now: this.#clock.now() });
    return user && { user, audiences: this.audiences };
  }

  /**
   * Answers a TokenRequest (`POST …/serviceaccounts/<name>/token`). `request` is the posted object, private to
   * the caller. Throws ApiError.
   */
  async issue(
    target: { namespace: string; name: string },
    request: KubeObject,
    { warn = () => {}, annotate }: IssueNotes = {},
  ): Promise<KubeObject> {
    const account = this.#account(target, request);
    const spec = request.spec ?? {};
    const audiences: string[] = spec.audiences?.length ? spec.audiences : [...this.audiences];
    let seconds: number = spec.expirationSeconds ?? TOKEN_SECONDS_DEFAULT;
    const causes = checkSeconds(seconds);
    if (causes.length) {
      throw invalidObject("authentication.k8s.io", "TokenRequest", "", causes);
    }
    const bound = this.#bound(target, account, spec.boundObjectRef);
    if (seconds > this.#secondsMax) {
      warn(
        `requested expiration of ${seconds} seconds shortened to ${this.#secondsMax} seconds`,
      );
      seconds = this.#secondsMax;
    }
    const extend = this.#extend && bound.pod !== undefined && seconds === TOKEN_SECONDS_POD &&
      audiences.every((audience) => this.audiences.includes(audience));
    const now = this.#clock.now();
    const claims = boundClaims({
      issuer: this.issuer,
      account,
      audiences,
      seconds: extend ? TOKEN_SECONDS_EXTENDED : seconds,
      ...(extend ? { warnAfterSeconds: seconds } : {}),
      bound,
      clock: this.#clock,
    });
    const token = await this.keys.sign(claims);
    annotate?.("authentication.kubernetes.io/issued-credential-id", `JTI=${claims.jti}`);
    const { namespace, name, uid } = account.metadata;
    return {
      kind: "TokenRequest",
      apiVersion: "authentication.k8s.io/v1",
      metadata: { ...request.metadata, name, namespace, uid, creationTimestamp: seconds3339(now) },
      spec: { ...spec, audiences, expirationSeconds: seconds },
      status: { token, expirationTimestamp: seconds3339(now + seconds * 1000) },
    } as KubeObject;
  }

  #account(
    target: { namespace: string; name: string },
    request: KubeObject,
  ): DeepReadonly<KubeObject> {
    const { namespace, name } = target;
    const { metadata = {} as KubeObject["metadata"] } = request;
    const refuse = (field: string, value: string) => {
      const text = `must match the service account ${field} if specified`;
      const cause = invalid(`metadata.${field}`, value, text);
      throw invalidObject("authentication.k8s.io", "TokenRequest", name, [cause]);
    };
    if (metadata.name && metadata.name !== name) refuse("name", metadata.name);
    if (metadata.namespace && metadata.namespace !== namespace) {
      throw badRequest(
        "the namespace of the provided object does not match the namespace sent on the request",
      );
    }
    const account = this.#view().get(`/registry/serviceaccounts/${namespace}/${name}`)?.value;
    if (!account) throw notFound({ group: "", resource: "serviceaccounts" }, name);
    if (metadata.uid && metadata.uid !== account.metadata.uid) {
      throw conflict(
        { group: "authentication.k8s.io", resource: "TokenRequest" },
        name,
        `the UID in the token request (${metadata.uid}) does not match the UID of the service ` +
          `account (${account.metadata.uid})`,
      );
    }
    return account;
  }

  #bound(
    target: { namespace: string; name: string },
    account: DeepReadonly<KubeObject>,
    ref: { apiVersion?: string; kind?: string; name?: string; uid?: string } | undefined,
  ): { pod?: BoundRef; node?: BoundRef; secret?: BoundRef } {
    if (!ref) return {};
    const view = this.#view();
    const kind = (ref.apiVersion ?? "").includes("/") ? undefined : ref.kind;
    const place = kind && BOUND_KINDS[kind];
    if (!place) {
      const [group, version] = groupVersion(ref.apiVersion ?? "");
      throw badRequest(
        `cannot bind token to object of type ${group}/${version}, Kind=${ref.kind ?? ""}`,
      );
    }
    const name = ref.name ?? "";
    const key = kind === "Node"
      ? `/registry/minions/${name}`
      : `/registry/${place}/${target.namespace}/${name}`;
    const object = view.get(key)?.value;
    if (!object) throw notFound({ group: "", resource: place }, name);
    if (kind === "Pod" && object.spec?.serviceAccountName !== account.metadata.name) {
      throw badRequest(
        `cannot bind token for serviceaccount ${JSON.stringify(target.name)} to pod running with ` +
          `different serviceaccount name.`,
      );
    }
    const uid = object.metadata.uid;
    if (ref.uid && ref.uid !== uid) {
      throw conflict(
        { group: "", resource: kind },
        name,
        `the UID in the bound object reference (${ref.uid}) does not match the UID in record. ` +
          `The object might have been deleted and then recreated`,
      );
    }
    if (kind === "Secret") return { secret: { name, uid } };
    if (kind === "Node") return { node: { name, uid } };
    const nodeName = object.spec?.nodeName;
    if (!nodeName) return { pod: { name, uid } };
    const nodeUid = view.get(`/registry/minions/${nodeName}`)?.value.metadata.uid;
    return { node: { name: nodeName, ...(nodeUid ? { uid: nodeUid } : {}) }, pod: { name, uid } };
  }

  /** A token for a Secret of type kubernetes.io/service-account-token: it lives as long as that. */
  legacyToken(account: {
    namespace: string;
    name: string;
    uid: string;
    secret: string;
  }): Promise<string> {
    return this.keys.sign(legacyClaims(account));
  }

  /** `/.well-known/openid-configuration`. */
  async discovery(
    jwksUri = this.#jwksUri ?? `${this.issuer}/openid/v1/jwks`,
  ): Promise<Record<string, unknown>> {
    const { keys } = await this.keys.jwks();
    const algorithms = new Set(keys.map(({ alg }) => String(alg)));
    return {
      issuer: this.issuer,
      jwks_uri: jwksUri,
      response_types_supported: ["id_token"],
      subject_types_supported: ["public"],
      id_token_signing_alg_values_supported: [...algorithms].sort(),
    };
  }

  /** `/openid/v1/jwks`. */
  jwks(): Promise<{ keys: Record<string, unknown>[] }> {
    return this.keys.jwks();
  }
}

interface BoundRef {
  name: string;
  uid?: string;
}

const BOUND_KINDS: Record<string, string> = { Pod: "pods", Node: "nodes", Secret: "secrets" };

function groupVersion(apiVersion: string): [string, string] {
  const slash = apiVersion.indexOf("/");
  return slash < 0 ? ["", apiVersion] : [apiVersion.slice(0, slash), apiVersion.slice(slash + 1)];
}

function checkSeconds(seconds: number): Cause[] {
  const field = "spec.expirationSeconds";
  if (!(seconds >= TOKEN_SECONDS_MIN)) {
    return [invalid(field, seconds, "may not specify a duration less than 10 minutes")];
  }
  if (seconds > TOKEN_SECONDS_MAX) {
    return [invalid(field, seconds, "may not specify a duration larger than 2^32 seconds")];
  }
  return [];
}

/** By what a token is known without keeping it; comparing digests tells nobody how much of a guess was right. */
export function tokenDigest(token: string): string {
  return createHash("sha256").update(token).digest("base64");
}

function seconds3339(ms: number): string {
  return new Date(Math.floor(ms / 1000) * 1000).toISOString().replace(".000Z", "Z");
}

/** The user of a bootstrap token, if its Secret says that it is good. */
function bootstrapUser(
  stored: DeepReadonly<KubeObject>,
  given: { id: string; secret: string; now: number },
): User | undefined {
  const data = (key: string) => Buffer.from(stored.data?.[key] ?? "", "base64").toString("utf8");
  if (stored.metadata.deletionTimestamp) return undefined;
  if (stored.type !== "bootstrap.kubernetes.io/token") return undefined;
  const secret = Buffer.from(data("token-secret"));
  const wanted = Buffer.from(given.secret);
  if (secret.length !== wanted.length || !timingSafeEqual(secret, wanted)) return undefined;
  if (data("token-id") !== given.id) return undefined;
  const expiration = data("expiration");
  // What cannot be read as a time counts as past.
  if (expiration && !(Date.parse(expiration) > given.now)) return undefined;
  if (data("usage-bootstrap-authentication") !== "true") return undefined;
  const extra = data("auth-extra-groups").split(",").filter((group) => group !== "");
  if (extra.some((group) => !BOOTSTRAP_GROUP.test(group))) return undefined;
  const groups = [...new Set(["system:bootstrappers", ...extra])].sort();
  return makeUser({ name: `system:bootstrap:${given.id}`, groups });
}

/** Notes at a token's Secret that it was used: nobody waits for it, and it is tried again the next day. */
export function noteTokenUse(
  client: () => Client,
  log: (level: "warn", text: string, fields?: Record<string, unknown>) => void,
): NonNullable<TokenOptions["legacyUsed"]> {
  return ({ metadata: { name, namespace, uid } }, day) => {
    const labels = { "kubernetes.io/legacy-token-last-used": day };
    const body = { metadata: { ...(uid ? { uid } : {}), labels } };
    client().patch(
      { resource: { group: "", version: "v1", plural: "secrets" }, namespace, name },
      { type: "merge", body },
    ).catch((error) => log("warn", "could not note a token's use", { error: String(error) }));
  };
}
