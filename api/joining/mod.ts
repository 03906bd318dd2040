/**
 * Joining: how a machine that has an address, a bootstrap token and the hash of a key becomes a node of a cluster.
 *
 * Promises, quoted by tests:
 *
 * - nothing-said: before the cluster's authority is known to be the one of the hash, nothing secret leaves the machine.
 * - own-key: a node's private key is made on its machine and never leaves it.
 * - once: the token is needed once; a later start finds the node's own certificate, and renews it before its end.
 *
 * Reading order: `bootstrap_tokens.ts` (what a token is), `policy.ts` (what the cluster allows it), `discovery.ts` (who
 * is there), `certificate.ts` (who I am), `proof.ts` (how I show it where TLS ends before the server). The commands are `api/config/token.ts` and `api/config/node.ts`; what runs on
 * the machine afterwards is `actors/nodes/joining/`.
 */
export {
  authorityHashes,
  createToken,
  deleteToken,
  generateToken,
  listTokens,
  parseToken,
  USAGES,
} from "./bootstrap_tokens.ts";
export {
  freshMs,
  keepRenewed,
  lifeOf,
  type NodeCertificate,
  requestCertificate,
} from "./certificate.ts";
export { authoritiesNow, discover, DiscoveryError, type TlsAuthority } from "./discovery.ts";
export {
  CLUSTER_CONFIGURATION,
  type ClusterRanges,
  publishJoining,
  TOKEN_GROUP,
} from "./policy.ts";
export { isOwnTls, proving } from "./proof.ts";
