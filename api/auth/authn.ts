/**
 * Who is asking: client certificates, then bearer tokens (in the header or in a WebSocket's subprotocol), then
 * nobody, who may see health and version only. Wrong credentials are always 401, never anonymous.
 */
import { Buffer } from "node:buffer";
import { createHash, X509Certificate } from "node:crypto";
import type { Clock } from "../../kv/clock.ts";
import type { User } from "../client/contract.ts";
import { unauthorized } from "../machinery/errors.ts";
import { ApiError } from "../machinery/types.ts";
import { certificateUid } from "./certificate_uid.ts";
import type { Authenticator, Credentials } from "./contract.ts";
import { TokenError } from "./jwt.ts";
import { USERS_MAX } from "./limits.ts";
import { ANONYMOUS, makeUser } from "./names.ts";
import type { NodeTokens } from "./node_tokens.ts";
import type { Tokens } from "./tokens.ts";

/** Paths that need no credentials. Health checks have one path per check below these. */
export const ANONYMOUS_PATHS: readonly string[] = [
  "/healthz",
  "/livez",
  "/readyz",
  "/version",
  "/version/",
  // Who joins has nothing yet by which to be known. What it says is no secret, and signed.
  "/api/v1/namespaces/kube-public/configmaps/cluster-info",
];

interface Holder {
  user: User;
  /** Wall time in ms. */
  notAfter: number;
}

/**
 * A client certificate that the TLS layer verified: the common name is the user, organizations are groups,
 * and a uid may be given. A connection may outlive its certificate, so that its end is looked at with every request. `isUser` tells apart
 * those that the TLS layer lets in for other reasons.
 */
export function certificateAuthenticator(
  clock: Pick<Clock, "now">,
  isUser: (raw: Uint8Array) => boolean = () => true,
): Authenticator {
  const byBytes = new WeakMap<Uint8Array, Holder>();
  const byHash = new Map<string, Holder>();
  return {
    authenticate({ certificate }: Credentials): User | undefined {
      if (!certificate?.subject.commonName) return undefined;
      const { raw } = certificate;
      let holder = byBytes.get(raw);
      if (!holder) {
        if (!isUser(raw)) return undefined;
        const hash = createHash("sha256").update(raw).digest("hex");
        holder = byHash.get(hash);
        if (!holder) {
          if (byHash.size >= USERS_MAX) byHash.clear();
          byHash.set(hash, holder = holderOf(certificate, hash));
        }
        byBytes.set(raw, holder);
      }
      if (clock.now() > holder.notAfter) throw unauthorized();
      return holder.user;
    },
  };
}

/** Whom a certificate makes its holder, and until when; `hash` is that of its bytes. Throws 401 where it cannot be read. */
export function holderOf(
  { subject, raw }: NonNullable<Credentials["certificate"]>,
  hash: string,
): Holder {
  let notAfter: number;
  let uid: string | undefined;
  try {
    notAfter = Date.parse(new X509Certificate(raw).validTo);
    uid = certificateUid(raw);
  } catch {
    throw unauthorized();
  }
  const user = makeUser({
    name: subject.commonName!,
    ...(uid === undefined ? {} : { uid }),
    groups: subject.organizations,
    extra: { "authentication.kubernetes.io/credential-id": [`X509SHA256=${hash}`] },
  });
  return { user, notAfter };
}

/** Bearer tokens; `nodes` knows those of machines. */
export function tokenAuthenticator(tokens: Tokens, nodes?: NodeTokens): Authenticator {
  return {
    authenticate(credentials: Credentials): User | Promise<User> | undefined {
      const token = bearerToken(credentials) ?? protocolToken(credentials);
      if (token === undefined) return undefined;
      if (nodes?.knows(token)) return nodes.authenticate(token, credentials.host);
      try {
        const identity = tokens.authenticate(token, undefined, credentials);
        if (!(identity instanceof Promise)) return identity.user;
        return identity.then(({ user }) => user, refuse);
      } catch (error) {
        refuse(error);
      }
    },
  };
}

function refuse(error: unknown): never {
  if (error instanceof TokenError) throw unauthorized();
  throw error;
}

/** The token of an `Authorization: Bearer` header. */
export function bearerToken(credentials: Pick<Credentials, "header">): string | undefined {
  const value = credentials.header("authorization")?.trim();
  if (!value) return undefined;
  const space = value.indexOf(" ");
  if (space < 0 || value.slice(0, space).toLowerCase() !== "bearer") return undefined;
  const end = value.indexOf(" ", space + 1);
  return value.slice(space + 1, end < 0 ? undefined : end) || undefined;
}

const PROTOCOL_PREFIX = "base64url.bearer.authorization.k8s.io.";

/** Browsers cannot set headers on a WebSocket: they send the token among the subprotocols. */
function protocolToken(credentials: Credentials): string | undefined {
  const offered = credentials.header("sec-websocket-protocol");
  if (!offered?.includes(PROTOCOL_PREFIX)) return undefined;
  const protocols = offered.split(",").map((p) => p.trim());
  const carrying = protocols.filter((p) => p.startsWith(PROTOCOL_PREFIX));
  if (carrying.length > 1 || carrying.length === protocols.length) throw unauthorized();
  const encoded = carrying[0].slice(PROTOCOL_PREFIX.length);
  if (!/^[A-Za-z0-9_-]+$/.test(encoded)) throw unauthorized();
  return Buffer.from(encoded, "base64url").toString("utf8");
}

/** The subprotocols of a WebSocket without the one that carries a token: only these may be answered. */
export function withoutTokenProtocol(protocols: readonly string[]): string[] {
  return protocols.filter((p) => !p.startsWith(PROTOCOL_PREFIX));
}

/** Whom requests without credentials act as: nobody in particular, or nobody at all. */
export interface AnonymousOptions {
  enabled: boolean;
  /** The paths that are open, to the letter; empty: all. */
  paths?: readonly string[];
}

/** Nobody in particular, where a configuration says so. */
export function configuredAnonymous({ enabled, paths = [] }: AnonymousOptions): Authenticator {
  const all = paths.length === 0;
  const open = new Set(paths);
  return {
    authenticate(credentials) {
      if (!enabled || !(all || open.has(credentials.path))) return undefined;
      return credentials.refusedCertificate ? undefined : ANONYMOUS;
    },
  };
}

/** Nobody in particular, on the paths that are open to all. */
export function anonymousAuthenticator(paths: readonly string[] = ANONYMOUS_PATHS): Authenticator {
  return {
    authenticate(credentials: Credentials): User | undefined {
      const { path } = credentials;
      const open = paths.some((p) =>
        path === p || (!p.startsWith("/version") && path.startsWith(p) && path[p.length] === "/")
      );
      return open && !credentials.refusedCertificate ? ANONYMOUS : undefined;
    },
  };
}

/** 401 because there were no credentials that anybody knows, not because some were wrong. */
export class NobodyError extends ApiError {
  constructor() {
    super({ code: 401, reason: "Unauthorized", message: "Unauthorized" });
  }
}

/** Asks each authenticator in turn. Throws 401 when none knows the user. */
export function authenticateWith(
  authenticators: readonly Authenticator[],
  credentials: Credentials,
): User | Promise<User> {
  for (let i = 0; i < authenticators.length; i++) {
    const user = authenticators[i].authenticate(credentials);
    if (user === undefined) continue;
    if (!(user instanceof Promise)) return user;
    return user.then((found) =>
      found ?? authenticateWith(authenticators.slice(i + 1), credentials)
    );
  }
  throw new NobodyError();
}
