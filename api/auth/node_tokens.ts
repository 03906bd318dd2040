/**
 * How a machine shows which node it is where its client certificate does not get through: behind a platform or a proxy
 * that ends TLS. Its bearer token holds that certificate and is signed with the certificate's key. It says what the
 * handshake would have said and gives the same identity: no other node's, and no more.
 *
 * - **Whose.** The certificate is one for clients that this cluster's own authority has issued to a node. Who has copied
 *   it and lacks its key can sign nothing.
 * - **Where and when.** A token is good for `NODE_TOKEN_SECONDS` at most, at the host that it names: the one that the
 *   machine has dialled. A server that a machine was led to by mistake cannot use it here.
 * - **How long.** A certificate speaks for its Node alone: the one that was registered within `NODE_REGISTERS_MS` of the
 *   certificate's beginning, or before that. Where there is none, it would be registered now. So a machine whose Node is
 *   deleted is sent away, also when another machine takes its name. (Its certificate itself stays good until it ends, as
 *   everywhere in Kubernetes, for a server that asks for certificates.)
 *
 * A token is a JWS (RFC 7515) whose header carries the certificate (`x5c`).
 */
import { Buffer } from "node:buffer";
import {
  createHash,
  createPrivateKey,
  type KeyObject,
  sign,
  verify,
  X509Certificate,
} from "node:crypto";
import type { Clock } from "../../kv/clock.ts";
import type { View } from "../../kv/contract.ts";
import type { User } from "../client/contract.ts";
import { unauthorized } from "../machinery/errors.ts";
import type { KubeObject } from "../machinery/types.ts";
import { holderOf } from "./authn.ts";
import { partOf } from "./jwt.ts";
import {
  NODE_REGISTERS_MS,
  NODE_TOKEN_SECONDS,
  TOKEN_BYTES_MAX,
  TOKEN_LEEWAY_SECONDS,
  TOKENS_CACHED_MAX,
  USERS_MAX,
} from "./limits.ts";
import { NODE_PREFIX, NODES } from "./names.ts";
import { certificateSubject, isForClients, toPem } from "./pki.ts";
import { Remembered } from "./remembered.ts";
import { signedBy } from "./request_header.ts";
import { tokenDigest } from "./tokens.ts";

const TYPE = "plesio-node";
/** How the header of every such token begins: three bytes become four letters, and these are 21. */
const PREFIX = Buffer.from(`{"typ":"${TYPE}",`).toString("base64url");
/** ES256: nodes' keys are P-256. */
const ALGORITHM = "ES256";
const SIGNATURE_BYTES = 64;

/** What a token says besides whose it is. */
interface Claims {
  /** The host at which it is good. */
  aud: string;
  iat: number;
  exp: number;
}

/** The name under which a server is asked: without the port that https has by itself. */
function hostNamed(host: string): string {
  return host.toLowerCase().replace(/:443$/, "");
}

/** A token of the node that holds a certificate, for the server at a host. */
export function signNodeToken(
  { certificatePem, keyPem }: { certificatePem: string; keyPem: string },
  { host, now }: { host: string; now: number },
): string {
  const x5c = [new X509Certificate(certificatePem).raw.toString("base64")];
  const iat = Math.floor(now / 1000);
  const claims: Claims = { aud: hostNamed(host), iat, exp: iat + NODE_TOKEN_SECONDS };
  return signedToken({ typ: TYPE, alg: ALGORITHM, x5c }, claims, keyPem);
}

/** The same of any header and claims. */
export function signedToken(header: object, claims: object, keyPem: string): string {
  const content = [header, claims].map((part) =>
    Buffer.from(JSON.stringify(part)).toString("base64url")
  ).join(".");
  const key = createPrivateKey(keyPem);
  const signature = sign("sha256", Buffer.from(content), { key, dsaEncoding: "ieee-p1363" });
  return `${content}.${signature.toString("base64url")}`;
}

/** What tokens are checked with. */
export interface NodeTokenOptions {
  view: () => View<KubeObject>;
  clock: Clock;
  /** By which certificates and tokens end (default: `clock`). */
  host?: Pick<Clock, "now">;
  /** Authorities of nodes' certificates, in PEM. */
  nodeAuthorities: () => Promise<string>;
}

/** A node's certificate that was found good. */
interface Holder {
  user: User;
  node: string;
  key: KeyObject;
  /** Wall time in ms. */
  notBefore: number;
  notAfter: number;
  /** The authorities by which it was. */
  bundle: string;
}

interface Known {
  holder: Holder;
  claims: Claims;
}

/** Tells whose tokens are. */
export class NodeTokens {
  readonly #o: NodeTokenOptions;
  readonly #host: Pick<Clock, "now">;
  readonly #signed = signedBy();
  /** By the digest of a certificate: its user stays the same object, by which authorizers remember. */
  readonly #holders: Remembered<Holder>;
  /** By the digest of a token whose signature was right. */
  readonly #known: Remembered<Known>;

  constructor(options: NodeTokenOptions) {
    this.#o = options;
    this.#host = options.host ?? options.clock;
    this.#holders = new Remembered(this.#host, USERS_MAX);
    this.#known = new Remembered(this.#host, TOKENS_CACHED_MAX);
  }

  /** Whether a bearer token is a node's own, good or not. */
  knows(token: string): boolean {
    return token.startsWith(PREFIX);
  }

  /** The node's user. `host` is where the request was sent to. Throws or rejects with 401. */
  async authenticate(token: string, host: string | undefined): Promise<User> {
    if (token.length > TOKEN_BYTES_MAX) throw unauthorized();
    const hash = tokenDigest(token);
    const bundle = await this.#o.nodeAuthorities();
    let known = this.#known.get(hash);
    if (known?.holder.bundle !== bundle) {
      known = await this.#verified(token, bundle);
      this.#known.set(hash, known, NODE_TOKEN_SECONDS * 1000);
    }
    if (host === undefined || known.claims.aud !== hostNamed(host)) throw unauthorized();
    this.#checkTimes(known);
    return known.holder.user;
  }

  async #verified(token: string, bundle: string): Promise<Known> {
    const parts = token.split(".");
    const [header, claims] = parts.slice(0, 2).map(partOf);
    const x5c = header?.x5c as unknown;
    const shown = Array.isArray(x5c) && x5c.length === 1 ? x5c[0] : undefined;
    const { aud, iat, exp } = claims ?? {};
    const complete = typeof aud === "string" && Number.isInteger(iat) && Number.isInteger(exp);
    if (
      parts.length !== 3 || header?.typ !== TYPE || header.alg !== ALGORITHM || !complete ||
      typeof shown !== "string"
    ) throw unauthorized();
    const holder = await this.#holder(Buffer.from(shown, "base64"), bundle);
    const content = Buffer.from(`${parts[0]}.${parts[1]}`);
    const signature = Buffer.from(parts[2], "base64url");
    const key = { key: holder.key, dsaEncoding: "ieee-p1363" } as const;
    if (signature.length !== SIGNATURE_BYTES || !verify("sha256", content, key, signature)) {
      throw unauthorized();
    }
    return { holder, claims: { aud, iat, exp } as Claims };
  }

  #checkTimes({ holder, claims: { iat, exp } }: Known): void {
    const now = this.#host.now();
    const seconds = now / 1000;
    if (
      seconds >= exp || exp - iat > NODE_TOKEN_SECONDS || iat - TOKEN_LEEWAY_SECONDS > seconds ||
      now < holder.notBefore || now > holder.notAfter ||
      this.#registeredAt(holder.node, now) > holder.notBefore + NODE_REGISTERS_MS
    ) throw unauthorized();
  }

  /** When a node was registered, by the clock of certificates. */
  #registeredAt(node: string, now: number): number {
    const created = this.#o.view().get(`/registry/minions/${node}`)?.value.metadata
      .creationTimestamp;
    return created === undefined ? now : now - (this.#o.clock.now() - Date.parse(created));
  }

  /** Who holds a certificate; only those that are good are remembered. */
  async #holder(raw: Buffer, bundle: string): Promise<Holder> {
    const hash = createHash("sha256").update(raw).digest("hex");
    const known = this.#holders.get(hash);
    if (known?.bundle === bundle) return known;
    if (!this.#signed(bundle, raw)) throw unauthorized();
    const pem = toPem("CERTIFICATE", raw);
    const subject = await certificateSubject(pem);
    const { commonName = "", organizations } = subject;
    const node = commonName.startsWith(NODE_PREFIX) && commonName.slice(NODE_PREFIX.length);
    if (!node || organizations.join() !== NODES || !await isForClients(pem)) throw unauthorized();
    const { user, notAfter } = holderOf({ subject, raw }, hash);
    const certificate = new X509Certificate(raw);
    const key = certificate.publicKey;
    if (key.asymmetricKeyDetails?.namedCurve !== "prime256v1") throw unauthorized();
    const notBefore = Date.parse(certificate.validFrom);
    const holder = { user: known?.user ?? user, node, key, notBefore, notAfter, bundle };
    this.#holders.set(hash, holder, Math.max(1, notAfter - this.#host.now()));
    return holder;
  }
}
