/**
 * ResourceQuota: no write takes a namespace over what its quotas allow, and `status.used` tells the truth at
 * every revision.
 *
 * All of it happens inside the commit. A create or an update that uses more is measured against the quotas as they
 * stand in the draft and refused in upstream's words; whatever changes usage (deletes and pods that end too)
 * writes the new sums in the same commit. Sums are carried forward; they are counted anew from the
 * objects when a quota is written, when a sum is missing, and before anything is refused, so that no drift can
 * refuse what fits.
 */
import type { Draft, View } from "../../../kv/contract.ts";
import {
  parseQuantity,
  type Quantity,
  quantity,
  tryParseQuantity,
} from "../../machinery/quantity.ts";
import type { DeepReadonly, Kinds, KubeObject } from "../../machinery/types.ts";
import { refusal } from "../admission.ts";
import type { Admission, AdmissionPlugin } from "../contract.ts";
import { type Amounts, amounts } from "../../machinery/pod_resources.ts";
import { type LimitedResource, quotasIn, requireCover } from "./limited_resources.ts";
import {
  countName,
  type Evaluator,
  evaluatorOf,
  EVALUATORS,
  podLives,
  type ScopeTerm,
} from "./quota_usage.ts";

const QUOTAS = "/registry/resourcequotas/";
const ZERO: Quantity = quantity(0);
/** Subresources whose writes may change what an object uses. */
const COUNTED = new Set(["", "status", "resize"]);
/** Where core resources lie that are not under their own name, for callers that gave no kinds. */
const PATHS: Readonly<Record<string, string>> = {
  services: "/registry/services/specs",
  endpoints: "/registry/services/endpoints",
  replicationcontrollers: "/registry/controllers",
  "ingresses.networking.k8s.io": "/registry/ingress",
};

type Stored = DeepReadonly<KubeObject>;
/** An object that stands in for, or is absent from, what the view has under its key. */
interface Pending {
  key: string;
  object?: Stored;
}

/**
 * Upstream's ResourceQuota, exact. `kinds` tells where resources lie that quotas count by name, `limited` what may be
 * used only where a quota covers it.
 */
export function resourceQuota(
  kinds?: () => Kinds | undefined,
  limited: readonly LimitedResource[] = [],
): AdmissionPlugin {
  return {
    name: "ResourceQuota",
    handles: (a) =>
      a.namespace !== "" && a.operation !== "CONNECT" && COUNTED.has(a.subresource) &&
      !a.kind.virtual && a.kind.store !== "events" && a.kind.plural !== "events" &&
      !(a.kind.plural === "namespaces" && a.kind.group === ""),
    commit(a, draft) {
      const writes = a.operation === "CREATE" || a.operation === "UPDATE";
      if (limited.length && writes && a.object) {
        const prefix = `${QUOTAS}${a.namespace}/`;
        requireCover(a, a.object, limited, () => quotasIn(draft, prefix, termsOf));
      }
      settle(a, draft, (group, plural) => pathOf(kinds?.(), group, plural));
    },
  };
}

type PathOf = (group: string, plural: string) => string;

function pathOf(kinds: Kinds | undefined, group: string, plural: string): string {
  const row = kinds?.all().find((k) => k.plural === plural && k.group === group && !k.virtual);
  if (row) return row.path;
  const name = group ? `${plural}.${group}` : plural;
  const builtIn = !group.includes(".") || group.endsWith(".k8s.io");
  return PATHS[name] ?? (builtIn ? `/registry/${plural}` : `/registry/${group}/${plural}`);
}

function settle(a: Admission, draft: Draft<KubeObject>, paths: PathOf): void {
  const isQuota = a.kind.plural === "resourcequotas" && a.kind.group === "";
  const base = a.kind.path ?? paths(a.kind.group, a.kind.plural);
  const name = a.object?.metadata.name ?? a.old?.metadata.name ?? a.name;
  const key = `${base}/${a.namespace}/${name}`;
  // At a delete the draft already shows what became of the object.
  const object = a.operation === "DELETE" ? draft.get(key)?.value : remaining(a);
  const pending: Pending = { key, object };
  if (isQuota && a.object && a.operation !== "DELETE") {
    const written = a.subresource === "status" ? a.object.status?.hard : undefined;
    a.object.status = countedStatus(a.object, draft, {
      namespace: a.namespace,
      paths,
      pending,
      now: a.now,
    });
    // Who writes the status gets the limits as written; the controller takes them back to the spec's
    if (written) a.object.status.hard = written as Record<string, string>;
    else if (Object.keys(a.object.status.hard).length === 0) a.object.status = {};
  }
  for (const item of draft.scan(`${QUOTAS}${a.namespace}/`)) {
    if (item.key === key) continue;
    charge(a, draft, { key: item.key, quota: item.value, object, pending, paths });
  }
}

/** What an update leaves: nothing, when it takes the last finalizer from an object that is to go. */
function remaining(a: Admission): Stored | undefined {
  const { object, old } = a;
  const going = old?.metadata.deletionTimestamp !== undefined &&
    old.metadata.deletionGracePeriodSeconds === 0 && !object?.metadata.finalizers?.length;
  return going && a.kind.plural !== "namespaces" ? undefined : object;
}

interface Charge {
  key: string;
  quota: Stored;
  /** The object after the write; undefined when it goes. */
  object: Stored | undefined;
  pending: Pending;
  paths: PathOf;
}

function charge(a: Admission, draft: Draft<KubeObject>, it: Charge): void {
  const evaluator = evaluatorOf(a.kind.group, a.kind.plural);
  const hard = it.quota.spec?.hard ?? {};
  const names = Object.keys(hard).filter((n) => evaluator.tracks(n));
  if (names.length === 0) return;
  const terms = termsOf(it.quota);
  const covers = (o: Stored | undefined) =>
    o !== undefined && terms.every((term) => evaluator.matches(term, o));
  const isNow = covers(it.object);
  const was = covers(a.old);
  if (!isNow && !was) return;
  const guarded = isNow && it.object !== undefined &&
    evaluator.guards({ ...a, object: it.object, old: a.old });
  if (guarded) {
    const problem = evaluator.problem?.(names, it.object!);
    if (problem) throw refusal(a, `failed quota: ${it.quota.metadata.name}: ${problem}`);
  }
  const after = isNow ? evaluator.usage(it.object!, a.now) : undefined;
  if (guarded) refuseNegative(a, after!);
  const before = was ? evaluator.usage(a.old!, a.now) : undefined;
  const delta = difference(after, before, names);
  let used = amounts(it.quota.status?.used);
  const recount = () =>
    count(it.quota, draft, {
      namespace: a.namespace,
      paths: it.paths,
      now: a.now,
      // At a delete the draft is the state after the write; else it is the state before.
      ...(a.operation === "DELETE" ? {} : { pending: { key: it.pending.key, object: a.old } }),
    });
  if (names.some((n) => !used.has(n)) || overdue(a)) {
    used = recount();
    if (a.operation === "DELETE") return keep(draft, it, used);
  }
  if (delta.size === 0) return keep(draft, it, used);
  let next = sum(used, delta);
  if (guarded && exceeded(next, delta, hard).length) {
    used = recount();
    next = sum(used, delta);
    const over = exceeded(next, delta, hard);
    if (over.length) {
      const show = (list: (n: string) => Quantity) => over.map((n) => `${n}=${list(n)}`).join(",");
      throw refusal(
        a,
        `exceeded quota: ${it.quota.metadata.name}, requested: ${show((n) => delta.get(n)!)}, ` +
          `used: ${show((n) => used.get(n) ?? ZERO)}, limited: ${
            show((n) => parseQuantity(hard[n]))
          }`,
      );
    }
  }
  store(draft, it, next);
}

/** A pod whose time is up may have left the sums already: only a count tells. */
function overdue(a: Admission): boolean {
  return a.kind.plural === "pods" && a.kind.group === "" && a.old !== undefined &&
    a.old.metadata.deletionTimestamp !== undefined && !podLives(a.old, a.now);
}

function refuseNegative(a: Admission, usage: Amounts): void {
  const negative = [...usage].filter(([, amount]) => amount.sign < 0).map(([n]) => n).sort();
  if (negative.length === 0) return;
  throw refusal(a, `quota usage is negative for resource(s): ${negative.join(",")}`);
}

function difference(
  after: Amounts | undefined,
  before: Amounts | undefined,
  names: readonly string[],
): Amounts {
  const delta: Amounts = new Map();
  for (const name of names) {
    const more = after?.get(name) ?? ZERO;
    const less = before?.get(name) ?? ZERO;
    const change = more.sub(less);
    if (!change.isZero) delta.set(name, change);
  }
  return delta;
}

function sum(used: Amounts, delta: Amounts): Amounts {
  const next: Amounts = new Map(used);
  for (const [name, change] of delta) {
    const total = (used.get(name) ?? ZERO).add(change);
    next.set(name, total.sign < 0 ? ZERO : total);
  }
  return next;
}

/** The names whose use grows beyond what is allowed, in order. */
function exceeded(next: Amounts, delta: Amounts, hard: Readonly<Record<string, string>>): string[] {
  const over: string[] = [];
  for (const [name, change] of delta) {
    if (change.sign <= 0) continue;
    const limit = tryParseQuantity(hard[name]);
    if (limit && next.get(name)!.compare(limit) > 0) over.push(name);
  }
  return over.sort();
}

/** Writes sums that had to be counted, though this write changes nothing of them. */
function keep(draft: Draft<KubeObject>, it: Charge, used: Amounts): void {
  const known = amounts(it.quota.status?.used);
  const same = known.size === used.size &&
    [...used].every(([name, amount]) => known.get(name)?.compare(amount) === 0);
  if (!same) store(draft, it, used);
}

function store(draft: Draft<KubeObject>, it: Charge, used: Amounts): void {
  const hard = it.quota.spec?.hard ?? {};
  const status = { hard: { ...hard }, used: texts(used, hard) };
  draft.put(it.key, { ...it.quota, status } as unknown as KubeObject);
}

function texts(used: Amounts, hard: Readonly<Record<string, string>>): Record<string, string> {
  const out: Record<string, string> = {};
  for (const name of Object.keys(hard)) {
    const amount = used.get(name);
    if (amount) out[name] = amount.toString();
  }
  return out;
}

function termsOf(quota: Stored): ScopeTerm[] {
  return [
    ...(quota.spec?.scopes ?? []).map((scopeName: string) => ({ scopeName, operator: "Exists" })),
    ...quota.spec?.scopeSelector?.matchExpressions ?? [],
  ];
}

// --- counting ---------------------------------------------------------------------------------------------

interface Counting {
  namespace: string;
  paths: PathOf;
  pending?: Pending;
  /** Wall time in ms. */
  now: number;
}

/** The status a quota should have over a view: its limits and what is used of them. */
export function countedStatus(
  quota: Stored,
  view: View<KubeObject>,
  counting: Counting,
): { hard: Record<string, string>; used: Record<string, string> } {
  const hard = quota.spec?.hard ?? {};
  return { hard: { ...hard }, used: texts(count(quota, view, counting), hard) };
}

/** Counts what is used of a quota's resources, object by object. */
function count(quota: Stored, view: View<KubeObject>, counting: Counting): Amounts {
  const total: Amounts = new Map();
  const names = Object.keys(quota.spec?.hard ?? {});
  const terms = termsOf(quota);
  for (const { group, plural } of resourcesOf(names)) {
    const evaluator = evaluatorOf(group, plural);
    const tracked = names.filter((name) => evaluator.tracks(name));
    for (const name of tracked) if (!total.has(name)) total.set(name, ZERO);
    const prefix = `${counting.paths(group, plural)}/${counting.namespace}/`;
    for (const object of objectsUnder(view, prefix, counting.pending)) {
      if (!terms.every((term) => evaluator.matches(term, object))) continue;
      addUsage(total, evaluator, { object, tracked, now: counting.now });
    }
  }
  return total;
}

function addUsage(
  total: Amounts,
  evaluator: Evaluator,
  { object, tracked, now }: { object: Stored; tracked: readonly string[]; now: number },
): void {
  const usage = evaluator.usage(object, now);
  for (const name of tracked) {
    const amount = usage.get(name);
    if (amount) total.set(name, total.get(name)!.add(amount));
  }
}

function* objectsUnder(
  view: View<KubeObject>,
  prefix: string,
  pending: Pending | undefined,
): Generator<Stored> {
  for (const item of view.scan(prefix)) if (item.key !== pending?.key) yield item.value;
  if (pending?.object && pending.key.startsWith(prefix)) yield pending.object;
}

/** The resources that a quota's names are about. */
function resourcesOf(names: readonly string[]): { group: string; plural: string }[] {
  const found = new Map<string, { group: string; plural: string }>();
  const add = (group: string, plural: string) =>
    found.set(countName(group, plural), { group, plural });
  for (const { group, plural, evaluator } of EVALUATORS) {
    if (names.some((name) => evaluator.tracks(name))) add(group, plural);
  }
  for (const name of names) {
    if (name.startsWith("count/")) {
      const [plural, ...group] = name.slice("count/".length).split(".");
      add(group.join("."), plural);
    } else if (
      ["configmaps", "resourcequotas", "replicationcontrollers", "secrets"].includes(name)
    ) add("", name);
  }
  return [...found.values()];
}
