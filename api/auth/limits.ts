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
/** Life of the certificates this cluster issues. */
export const CERTIFICATE_DAYS = 365;
/** Life of the cluster's authority. */
export const AUTHORITY_DAYS = 3650;
/** Certificates are renewed when this part of their life has passed. */
export const ROTATE_AT = 2 / 3;
/** Events per second and burst that EventRateLimit lets a server, namespace or user write. */
export const EVENT_KEYS_MAX = 4096;
