/**
 * Resources that may be used only where a quota covers them (`limitedResources` of ResourceQuota's configuration).
 */
import type { View } from "../../../kv/contract.ts";
import { ApiError, type DeepReadonly, type KubeObject } from "../../machinery/types.ts";
import { refusal } from "../admission.ts";
import type { Admission } from "../contract.ts";
import { evaluatorOf, type ScopeTerm } from "./quota_usage.ts";

/** A resource whose use must be covered. */
export interface LimitedResource {
  /** Default: the core group. */
  apiGroup?: string;
  resource: string;
  /** What is used is limited if its name contains one of these. */
  matchContains?: readonly string[];
  /** Objects that match one of these are limited. */
  matchScopes?: readonly ScopeTerm[];
}

type Stored = DeepReadonly<KubeObject>;

/** A quota of the namespace, and how it selects. */
interface Quota {
  hard: Readonly<Record<string, string>>;
  terms: readonly ScopeTerm[];
}

/** Throws 403 (500 for scopes, as upstream) when a write uses what no quota covers. */
export function requireCover(
  a: Admission,
  object: Stored,
  limited: readonly LimitedResource[],
  quotasOf: () => Iterable<Quota>,
): void {
  const { group, plural } = a.kind;
  const evaluator = evaluatorOf(group, plural);
  if (!evaluator.guards({ ...a, object, old: a.old })) return;
  const usage = evaluator.usage(object, a.now);
  const before = a.operation === "UPDATE" && a.old ? evaluator.usage(a.old, a.now) : undefined;
  const grows = [...usage].some(([name, amount]) => {
    const less = before?.get(name);
    return (less ? amount.sub(less) : amount).sign > 0;
  });
  if (!grows) return;
  const own = limited.filter((one) => (one.apiGroup ?? "") === group && one.resource === plural);
  const names = [...usage].filter(([name, amount]) =>
    amount.sign > 0 &&
    own.some(({ matchContains = [] }) => matchContains.some((text) => name.includes(text)))
  ).map(([name]) => name);
  const scopes = limited.flatMap(({ matchScopes = [] }) => matchScopes)
    .filter((term) => evaluator.matches(term, object));
  if (names.length === 0 && scopes.length === 0) return;
  const covered = new Set<string>();
  const coveredScopes = new Set<string>();
  for (const { hard, terms } of quotasOf()) {
    const matching = terms.filter((term) => evaluator.matches(term, object));
    for (const term of matching) coveredScopes.add(scopeText(term));
    if (matching.length < terms.length) continue;
    for (const name in hard) if (evaluator.tracks(name)) covered.add(name);
  }
  const missing = names.filter((name) => !covered.has(name)).sort();
  if (missing.length) throw refusal(a, `insufficient quota to consume: ${missing.join(",")}`);
  const open = scopes.map(scopeText).filter((text) => !coveredScopes.has(text));
  if (open.length === 0) return;
  throw new ApiError({
    code: 500,
    message: `insufficient quota to match these scopes: [${open.join(" ")}]`,
  });
}

/** A term as Go prints it. */
function scopeText({ scopeName, operator, values = [] }: ScopeTerm): string {
  return `{${scopeName} ${operator} [${values.join(" ")}]}`;
}

/** The quotas of a namespace. */
export function* quotasIn(
  view: View<KubeObject>,
  prefix: string,
  termsOf: (quota: Stored) => ScopeTerm[],
): Generator<Quota> {
  for (const { value } of view.scan(prefix)) {
    yield { hard: value.spec?.hard ?? {}, terms: termsOf(value) };
  }
}
