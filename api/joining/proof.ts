/**
 * How a machine shows who it is to a server whose TLS somebody else ends (a platform, a proxy): its client certificate does
 * not get through, so that each request also carries a token which the certificate's key has signed
 * (`api/auth/node_tokens.ts`). Where the server's TLS is the cluster's own, the certificate says it all, and no token is made.
 */
import { X509Certificate } from "node:crypto";
import type { Clock } from "../../kv/clock.ts";
import { NODE_TOKEN_SECONDS } from "../auth/limits.ts";
import { signNodeToken } from "../auth/node_tokens.ts";
import { signedBy } from "../auth/request_header.ts";
import type { Endpoint } from "../client/outbound.ts";

/** A token is replaced when half of its life is over: answers take time, and clocks differ. */
const RENEW_MS = NODE_TOKEN_SECONDS * 1000 / 2;

/** Whether a server's TLS is the cluster's own: it is known by the authority that has issued the machine's certificate. */
export function isOwnTls({ caBundle, certificate }: Endpoint): boolean {
  if (caBundle === undefined) return false;
  return signedBy()(caBundle, new X509Certificate(certificate!.cert).raw);
}

/** The endpoint as it is asked: with a token, where one is needed. `endpoint` is where the machine has joined, now. */
export function proving(endpoint: () => Endpoint, clock: Pick<Clock, "now">): () => Endpoint {
  let from: Endpoint | undefined;
  let asked: Endpoint | undefined;
  let signedAt: number | undefined;
  return () => {
    const joined = endpoint();
    const now = clock.now();
    const fresh = signedAt === undefined || (now >= signedAt && now < signedAt + RENEW_MS);
    if (asked && from === joined && fresh) return asked;
    from = joined;
    if (isOwnTls(joined)) {
      signedAt = undefined;
      return asked = joined;
    }
    const { certificate, url } = joined;
    const { cert: certificatePem, key: keyPem } = certificate!;
    const host = new URL(url!).host;
    const bearerToken = signNodeToken({ certificatePem, keyPem }, { host, now });
    signedAt = now;
    return asked = { ...joined, bearerToken };
  };
}
