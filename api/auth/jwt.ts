/**
 * ServiceAccount tokens: signing them, and finding out whose they are.
 *
 * Promises: a token is good only while the ServiceAccount it names, with that uid, exists, and the pod, node or
 * secret it is bound to does; it is good for the audiences it names and no others. The state is asked at
 * every use; only the signature is remembered (`authn.ts`).
 */
import { Buffer } from "node:buffer";
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  timingSafeEqual,
} from "node:crypto";
import type { CryptoKey as Key } from "jose";
import type { Clock } from "../../kv/clock.ts";
import type { View } from "../../kv/contract.ts";
import type { User } from "../client/contract.ts";
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";
import { TOKEN_LEEWAY_SECONDS } from "./limits.ts";
import {
  makeUser,
  serviceAccountGroups,
  serviceAccountUser,
  splitServiceAccount,
} from "./names.ts";

/** The issuer of tokens that live in Secrets. */
export const LEGACY_ISSUER = "kubernetes/serviceaccount";

/** What a token says. */
export interface Claims {
  iss: string;
  sub: string;
  aud?: string[];
  exp?: number;
  nbf?: number;
  iat?: number;
  jti?: string;
  "kubernetes.io"?: BoundClaims;
  [claim: string]: unknown;
}

interface Ref {
  name: string;
  uid?: string;
}

/** To whom and what a token is bound. */
export interface BoundClaims {
  namespace: string;
  serviceaccount: Ref;
  pod?: Ref;
  node?: Ref;
  secret?: Ref;
  warnafter?: number;
}

/** A token was recognised as ours and is not good; the text says why, in upstream's words. */
export class TokenError extends Error {
  override name = "TokenError";
}

interface PublicKey {
  id: string;
  key: Key;
  algorithm: string;
  jwk: Record<string, unknown>;
}

/** The algorithm that a key signs with. Throws TypeError for a key that signs no tokens. */
export function algorithmOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): string {
  if (asymmetricKeyType === "rsa") return "RS256";
  const curve = asymmetricKeyType === "ec" ? asymmetricKeyDetails?.namedCurve : undefined;
  const known: Record<string, string> = {
    prime256v1: "ES256",
    secp384r1: "ES384",
    secp521r1: "ES512",
  };
  if (curve && known[curve]) return known[curve];
  throw new TypeError("unknown private key type, must be *rsa.PrivateKey, *ecdsa.PrivateKey");
}

/**
 * The keys that sign and verify tokens. The first private key signs; all verify, so that a key can be
 * replaced while tokens of the old one are still about.
 */
export class TokenKeys {
  #privatePems: readonly string[];
  readonly #publicPems: readonly string[];
  #loaded: Promise<{ signing: Key; publics: PublicKey[] }> | undefined;

  /** PEM: private keys (PKCS #8, PKCS #1 or SEC 1), and public keys or certificates that verify only. */
  constructor(privatePems: readonly string[], publicPems: readonly string[] = []) {
    if (privatePems.length === 0) throw new TypeError("no key to sign ServiceAccount tokens with");
    this.#privatePems = privatePems;
    this.#publicPems = publicPems;
  }

  /** Takes other private keys into use, from now on. */
  use(privatePems: readonly string[]): void {
    if (privatePems.length === 0) throw new TypeError("no key to sign ServiceAccount tokens with");
    this.#privatePems = privatePems;
    this.#loaded = undefined;
  }

  #load() {
    return this.#loaded ??= (async () => {
      const jose = await import("jose");
      const keys = new Map<string, PublicKey>();
      let signing: Key | undefined;
      for (const pem of this.#privatePems) {
        const secret = createPrivateKey(pem);
        const pkcs8 = secret.export({ type: "pkcs8", format: "pem" }) as string;
        signing ??= await jose.importPKCS8(pkcs8, algorithmOf(secret));
        const known = await publicKey(createPublicKey(pem));
        keys.set(known.id, known);
      }
      for (const pem of this.#publicPems) {
        const known = await publicKey(createPublicKey(pem));
        if (!keys.has(known.id)) keys.set(known.id, known);
      }
      return { signing: signing!, publics: [...keys.values()] };
    })();
  }

  /** Signs claims as a compact JWS. */
  async sign(claims: Claims): Promise<string> {
    const jose = await import("jose");
    const { signing, publics } = await this.#load();
    return await new jose.CompactSign(new TextEncoder().encode(JSON.stringify(claims)))
      .setProtectedHeader({ alg: publics[0].algorithm, kid: publics[0].id })
      .sign(signing);
  }

  /** The claims of a token whose signature is right. Throws TokenError. */
  async verify(token: string): Promise<Claims> {
    const jose = await import("jose");
    const { publics } = await this.#load();
    let wanted: string | undefined;
    try {
      wanted = jose.decodeProtectedHeader(token).kid;
    } catch {
      throw new TokenError("invalid bearer token");
    }
    const keys = wanted === undefined ? publics : publics.filter((k) => k.id === wanted);
    if (keys.length === 0) throw new TokenError("invalid signature, no keys found");
    for (const { key, algorithm } of keys) {
      try {
        const { payload } = await jose.compactVerify(token, key, { algorithms: [algorithm] });
        return normalise(JSON.parse(new TextDecoder().decode(payload)));
      } catch (error) {
        if (error instanceof TokenError) throw error;
      }
    }
    throw new TokenError("go-jose/go-jose: error in cryptographic primitive");
  }

  /** The public keys as a JWK set, for `/openid/v1/jwks`. */
  async jwks(): Promise<{ keys: Record<string, unknown>[] }> {
    return { keys: (await this.#load()).publics.map((k) => k.jwk) };
  }
}

async function publicKey(key: KeyObject): Promise<PublicKey> {
  const jose = await import("jose");
  const algorithm = algorithmOf(key);
  const id = keyId(new Uint8Array(key.export({ type: "spki", format: "der" }) as Uint8Array));
  const spki = key.export({ type: "spki", format: "pem" }) as string;
  const verifying = await jose.importSPKI(spki, algorithm, { extractable: true });
  const jwk = { use: "sig", kid: id, alg: algorithm, ...await jose.exportJWK(verifying) };
  return { id, key: verifying, algorithm, jwk };
}

function keyId(spki: Uint8Array): string {
  return createHash("sha256").update(spki).digest("base64url");
}

function normalise(claims: Claims): Claims {
  if (typeof claims !== "object" || claims === null || typeof claims.sub !== "string") {
    throw new TokenError("invalid bearer token");
  }
  if (typeof claims.aud === "string") claims.aud = [claims.aud];
  return claims;
}

/** A part of a JWS, its header or what it says, read without trusting it; undefined where that is no object. */
export function partOf(encoded: string): Record<string, unknown> | undefined {
  try {
    const value = JSON.parse(Buffer.from(encoded, "base64url").toString("utf8"));
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The issuer a token names, read without trusting it; undefined when it is no JWT. */
export function issuerOf(token: string): string | undefined {
  const parts = token.split(".");
  const iss = parts.length === 3 ? partOf(parts[1])?.iss : undefined;
  return typeof iss === "string" ? iss : undefined;
}

/** What the state is asked for. */
export interface TokenContext {
  view: View<KubeObject>;
  /** Wall time in ms. */
  now: number;
  token: string;
}

/** Whose token it is. Throws TokenError when it is no longer good. */
export function userOfClaims(claims: Claims, context: TokenContext): User {
  return claims.iss === LEGACY_ISSUER ? legacyUser(claims, context) : boundUser(claims, context);
}

/** The clock part of the check. */
function checkTimes(claims: Claims, nowMs: number): void {
  const now = nowMs / 1000;
  if (claims.exp !== undefined && now - TOKEN_LEEWAY_SECONDS > claims.exp) {
    throw new TokenError("service account token has expired");
  }
  if (claims.nbf !== undefined && now + TOKEN_LEEWAY_SECONDS < claims.nbf) {
    throw new TokenError("service account token is not valid yet");
  }
  if (claims.iat !== undefined && now + TOKEN_LEEWAY_SECONDS < claims.iat) {
    throw new TokenError("service account token is issued in the future");
  }
}

function boundUser(claims: Claims, { view, now }: TokenContext): User {
  checkTimes(claims, now);
  const bound = claims["kubernetes.io"];
  if (!bound?.serviceaccount?.name || !bound.namespace) {
    throw new TokenError("invalid bearer token");
  }
  const { namespace, serviceaccount, pod, node, secret } = bound;
  const gone = (o: DeepReadonly<KubeObject>) => deletedBefore(o, now - TOKEN_LEEWAY_SECONDS * 1000);
  const account = view.get(`/registry/serviceaccounts/${namespace}/${serviceaccount.name}`)?.value;
  if (!account) throw new TokenError(`serviceaccounts "${serviceaccount.name}" not found`);
  if (account.metadata.uid !== serviceaccount.uid) {
    throw new TokenError(
      `service account UID (${account.metadata.uid}) does not match claim (${serviceaccount.uid})`,
    );
  }
  if (gone(account)) {
    throw new TokenError(`service account ${namespace}/${serviceaccount.name} has been deleted`);
  }
  const check = (what: string, label: string, ref: Ref, key: string) => {
    const object = view.get(key)?.value;
    if (!object || gone(object) && object.metadata.uid === ref.uid) {
      throw new TokenError("service account token has been invalidated");
    }
    if (object.metadata.uid !== ref.uid) {
      throw new TokenError(
        `${what} UID (${object.metadata.uid}) does not match service account ${label} ref claim ` +
          `(${ref.uid})`,
      );
    }
  };
  if (secret) check("secret", "secret", secret, `/registry/secrets/${namespace}/${secret.name}`);
  if (pod) check("pod", "pod", pod, `/registry/pods/${namespace}/${pod.name}`);
  else if (node) check("node", "node", node, `/registry/minions/${node.name}`);
  const extra: Record<string, string[]> = {};
  const add = (key: string, value?: string) => {
    if (value) extra[`authentication.kubernetes.io/${key}`] = [value];
  };
  add("credential-id", claims.jti && `JTI=${claims.jti}`);
  add("node-name", node?.name);
  add("node-uid", node?.uid);
  add("pod-name", pod?.name);
  add("pod-uid", pod?.uid);
  return accountUser(namespace, serviceaccount, extra);
}

function accountUser(namespace: string, account: Ref, extra: Record<string, string[]>): User {
  return makeUser({
    name: serviceAccountUser(namespace, account.name),
    uid: account.uid,
    groups: serviceAccountGroups(namespace),
    ...(Object.keys(extra).length ? { extra } : {}),
  });
}

/** A token that a Secret of type `kubernetes.io/service-account-token` holds. */
function legacyUser(claims: Claims, { view, token }: TokenContext): User {
  const claim = (name: string, label: string): string => {
    const value = claims[`kubernetes.io/serviceaccount/${name}`];
    if (typeof value === "string" && value) return value;
    throw new TokenError(`${label} claim is missing`);
  };
  if (!claims.sub) throw new TokenError("sub claim is missing");
  const namespace = claim("namespace", "namespace");
  const secretName = claim("secret.name", "secretName");
  const name = claim("service-account.name", "serviceAccountName");
  const uid = claim("service-account.uid", "serviceAccountUID");
  const subject = splitServiceAccount(claims.sub);
  if (subject?.namespace !== namespace || subject.name !== name) {
    throw new TokenError("sub claim is invalid");
  }
  const secret = view.get(`/registry/secrets/${namespace}/${secretName}`)?.value;
  if (!secret || secret.metadata.deletionTimestamp) {
    throw new TokenError("Token has been invalidated");
  }
  const stored = Buffer.from(secret.data?.token ?? "", "base64");
  const given = Buffer.from(token, "utf8");
  if (stored.length !== given.length || !timingSafeEqual(stored, given)) {
    throw new TokenError("Token does not match server's copy");
  }
  const account = view.get(`/registry/serviceaccounts/${namespace}/${name}`)?.value;
  if (!account) throw new TokenError(`serviceaccounts "${name}" not found`);
  if (account.metadata.deletionTimestamp) {
    throw new TokenError(`ServiceAccount ${namespace}/${name} has been deleted`);
  }
  if (account.metadata.uid !== uid) {
    throw new TokenError(
      `ServiceAccount UID (${account.metadata.uid}) does not match claim (${uid})`,
    );
  }
  if (secret.metadata.labels?.[INVALID_SINCE]) {
    throw new TokenError(
      `the token in secret ${namespace}/${secretName} for service account ${namespace}/${name} has ` +
        `been marked invalid. Use tokens from the TokenRequest API or manually created secret-based ` +
        `tokens, or remove the '${INVALID_SINCE}' label from the secret to temporarily allow use of ` +
        `this token`,
    );
  }
  return accountUser(namespace, { name, uid }, {});
}

const INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since";

/** The Secret that holds a token, and whether the account names it: then it was made by itself. */
export function legacySecret(
  claims: Claims,
  view: View<KubeObject>,
): { secret?: DeepReadonly<KubeObject>; automatic: boolean } {
  const of = (name: string) => String(claims[`kubernetes.io/serviceaccount/${name}`]);
  const [namespace, name] = [of("namespace"), of("secret.name")];
  const account = view.get(
    `/registry/serviceaccounts/${namespace}/${of("service-account.name")}`,
  )?.value;
  return {
    secret: view.get(`/registry/secrets/${namespace}/${name}`)?.value,
    automatic: account?.secrets?.some((ref: Ref) => ref.name === name) ?? false,
  };
}

function deletedBefore(object: DeepReadonly<KubeObject>, timeMs: number): boolean {
  const deleted = object.metadata.deletionTimestamp;
  return deleted !== undefined && Date.parse(deleted) < timeMs;
}

/** The claims of a token for a ServiceAccount, bound to what is given. */
export function boundClaims(options: {
  issuer: string;
  account: DeepReadonly<KubeObject>;
  audiences: readonly string[];
  seconds: number;
  warnAfterSeconds?: number;
  bound?: { pod?: Ref; node?: Ref; secret?: Ref };
  clock: Clock;
}): Claims {
  const { account, clock } = options;
  const now = Math.floor(clock.now() / 1000);
  const { namespace = "", name, uid } = account.metadata;
  return {
    aud: [...options.audiences],
    exp: now + options.seconds,
    iat: now,
    iss: options.issuer,
    jti: clock.uuid(),
    "kubernetes.io": {
      namespace,
      ...options.bound,
      serviceaccount: { name, uid },
      ...(options.warnAfterSeconds ? { warnafter: now + options.warnAfterSeconds } : {}),
    },
    nbf: now,
    sub: serviceAccountUser(namespace, name),
  };
}

/** The claims of a token that lives in a Secret; it has no end of its own. */
export function legacyClaims(account: {
  namespace: string;
  name: string;
  uid: string;
  secret: string;
}): Claims {
  const { namespace, name, uid, secret } = account;
  return {
    iss: LEGACY_ISSUER,
    "kubernetes.io/serviceaccount/namespace": namespace,
    "kubernetes.io/serviceaccount/secret.name": secret,
    "kubernetes.io/serviceaccount/service-account.name": name,
    "kubernetes.io/serviceaccount/service-account.uid": uid,
    sub: serviceAccountUser(namespace, name),
  };
}
