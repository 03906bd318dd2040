/**
 * EventRateLimit: a bound on how many Events the server, a namespace, a user or a source may write. Off by
 * default, as upstream; what is limited is the caller's configuration.
 */
import { tooManyRequests } from "../../machinery/errors.ts";
import type { Admission, AdmissionPlugin } from "../contract.ts";
import { EVENT_KEYS_MAX } from "../limits.ts";

/** One limit: a bucket of `burst` events that refills at `qps` a second, for each key of its type. */
export interface EventLimit {
  type: "Server" | "Namespace" | "User" | "SourceAndObject";
  qps: number;
  burst: number;
  /** Keys remembered (default `EVENT_KEYS_MAX`). */
  cacheSize?: number;
}

interface Bucket {
  tokens: number;
  at: number;
}

/** What is limited when nothing is said: the whole server, generously. */
export const EVENT_LIMITS: readonly EventLimit[] = [{ type: "Server", qps: 5000, burst: 20_000 }];

/** Upstream's EventRateLimit. */
export function eventRateLimit(limits: readonly EventLimit[] = EVENT_LIMITS): AdmissionPlugin {
  const enforcers = limits.map(enforcer);
  return {
    name: "EventRateLimit",
    handles: (a) =>
      a.kind.kind === "Event" && !a.dryRun &&
      (a.operation === "CREATE" || a.operation === "UPDATE"),
    validate(a) {
      const reached = enforcers.map((accept) => accept(a)).filter((text) => text !== undefined);
      if (reached.length === 0) return;
      throw tooManyRequests(reached.length === 1 ? reached[0] : `[${reached.join(", ")}]`, 0);
    },
  };
}

function enforcer(limit: EventLimit): (a: Admission) => string | undefined {
  const buckets = new Map<string, Bucket>();
  const max = limit.cacheSize ?? EVENT_KEYS_MAX;
  return (a) => {
    const key = keyOf(limit.type, a);
    const bucket = buckets.get(key) ?? { tokens: limit.burst, at: a.now };
    // The least lately used key is the first of the map.
    buckets.delete(key);
    if (buckets.size >= max) buckets.delete(buckets.keys().next().value!);
    buckets.set(key, bucket);
    const refill = Math.max(0, a.now - bucket.at) / 1000 * limit.qps;
    bucket.tokens = Math.min(limit.burst, bucket.tokens + refill);
    bucket.at = a.now;
    if (bucket.tokens < 1) return `limit reached on type ${limit.type} for key ${key}`;
    bucket.tokens -= 1;
    return undefined;
  };
}

function keyOf(type: EventLimit["type"], a: Admission): string {
  if (type === "Server") return "";
  if (type === "Namespace") return a.namespace;
  if (type === "User") return a.user.name;
  const source = a.object?.source ?? {};
  const about = a.object?.involvedObject ?? a.object?.regarding ?? {};
  return [
    source.component,
    source.host,
    about.kind,
    about.namespace,
    about.name,
    about.uid,
    about.apiVersion,
  ].map((part) => part ?? "").join("");
}
