/**
 * Bounds and fixed figures of identity, by name.
 */

/** Decisions remembered per user and namespace before the memory is dropped and built anew. */
export const DECISIONS_MAX = 4096;
/** Namespaces whose role bindings are kept indexed. */
export const NAMESPACES_INDEXED_MAX = 1024;
/** Users found by name whose resolved rules are kept. */
export const USERS_MAX = 4096;
/** Verified bearer tokens that are remembered. */
export const TOKENS_CACHED_MAX = 8192;
/** Good tokens whose digests are remembered, and how long they may be. */
export const DIGESTS_MAX = 1024;
export const DIGESTED_BYTES_MAX = 4 * 1024;
/** A verified token is verified again after this long, so that a removed key is noticed. */
export const TOKEN_CACHE_MS = 10_000;
/** Longest bearer token that is looked at. */
export const TOKEN_BYTES_MAX = 16 * 1024;
/** Shortest life of a requested token. */
export const TOKEN_SECONDS_MIN = 600;
/** Longest life that may be asked for. */
export const TOKEN_SECONDS_MAX = 2 ** 32;
/** The life a token gets where none was asked for. */
export const TOKEN_SECONDS_DEFAULT = 3600;
/** The life a pod's own volume asks for; such tokens live a year and are reported when stale. */
export const TOKEN_SECONDS_POD = 3607;
/** What pod-bound tokens of TOKEN_SECONDS_POD really get. */
export const TOKEN_SECONDS_EXTENDED = 365 * 24 * 3600;
/** Clocks may differ by this much before a token counts as not valid yet or no longer. */
export const TOKEN_LEEWAY_SECONDS = 60;
/** How long a node's own token is good: who has seen one on its way can use it no longer than this. */
export const NODE_TOKEN_SECONDS = 5 * 60;
/** A certificate is good for tokens of a Node that is registered within this after it began. */
export const NODE_REGISTERS_MS = 15 * 60_000;
/** Life of the certificates this cluster issues. */
export const CERTIFICATE_DAYS = 365;
/** Life of the cluster's authority. */
export const AUTHORITY_DAYS = 3650;
/** Certificates are renewed when this part of their life has passed. */
export const ROTATE_AT = 2 / 3;
/** Events per second and burst that EventRateLimit lets a server, namespace or user write. */
export const EVENT_KEYS_MAX = 4096;
/** How long one try of a review that somebody outside answers may take, where nothing else is said. */
export const REVIEW_TIMEOUT_MS = 30_000;
/** How often such a review is tried. */
export const REVIEW_TRIES_MAX = 5;
/** The pause after the first try; each further one is longer by REVIEW_RETRY_FACTOR. */
export const REVIEW_RETRY_MS = 500;
export const REVIEW_RETRY_FACTOR = 1.5;
/** Pauses are longer by up to this part, by chance. */
export const REVIEW_RETRY_JITTER = 0.2;
/** Longest answer to a review. */
export const REVIEW_BYTES_MAX = 3 * 1024 * 1024;
/** Answers of one authorization webhook that are remembered. */
export const REVIEWS_CACHED_MAX = 8192;
/** Requests whose names are longer than this in sum are not remembered: they may be made up. */
export const REVIEW_NAMES_MAX = 10_000;
/** Conditions of one authorization webhook. */
export const MATCH_CONDITIONS_MAX = 64;
/** How long a provider of others' tokens may take for its discovery document or its keys. */
export const OIDC_TIMEOUT_MS = 30_000;
/** Longest such document. */
export const OIDC_BYTES_MAX = 1024 * 1024;
/** Issuers of distributed claims whose keys are remembered, of each issuer of tokens. */
export const OIDC_ISSUERS_MAX = 16;
/** Keys of one provider that are looked at. */
export const OIDC_KEYS_MAX = 100;
/** A provider that could not be discovered is asked again after this long. */
export const OIDC_RETRY_MS = 10_000;
/** Keys of one provider are fetched no more often than this. */
export const OIDC_FETCH_MS_MIN = 1_000;
/** Keys are fetched again when a token wants it and they are fresh for no longer than this. */
export const OIDC_REFRESH_AHEAD_MS = 30_000;
/** Clocks of providers may be ahead by this much. */
export const OIDC_LEEWAY_MS = 60_000;
/** Issuers of others' tokens. */
export const JWT_ISSUERS_MAX = 64;
/** When so many pods of a namespace were visited for one decision about a node, pods are looked up by node first. */
export const PODS_VISITED_MAX = 256;
