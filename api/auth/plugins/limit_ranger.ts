/**
 * LimitRanger: fills in what containers ask for and may use from the namespace's LimitRanges, and refuses pods and
 * claims outside their bounds.
 */
import type { DeepReadonly, KubeObject } from "../../machinery/types.ts";
import { parseQuantity, type Quantity } from "../../machinery/quantity.ts";
import { refusal } from "../admission.ts";
import type { Admission, AdmissionPlugin } from "../contract.ts";
import { type Amounts, amounts, podAmounts } from "../../machinery/pod_resources.ts";

const ANNOTATION = "kubernetes.io/limit-ranger";

// deno-lint-ignore no-explicit-any -- objects are checked by their schema before this runs
type Any = any;

interface Limit {
  type: string;
  min?: Record<string, string>;
  max?: Record<string, string>;
  default?: Record<string, string>;
  defaultRequest?: Record<string, string>;
  maxLimitRequestRatio?: Record<string, string>;
}

/** Upstream's LimitRanger. */
export const limitRanger: AdmissionPlugin = {
  name: "LimitRanger",
  handles(a) {
    if (a.kind.group !== "" || a.operation === "DELETE" || a.operation === "CONNECT") return false;
    if (a.kind.plural === "pods") {
      return a.operation === "CREATE" ? !a.subresource : a.subresource === "resize";
    }
    return a.kind.plural === "persistentvolumeclaims" && !a.subresource;
  },
  mutate(a) {
    if (a.kind.plural !== "pods" || a.old?.metadata.deletionTimestamp) return;
    for (const limits of limitsOf(a)) fillPod(a.object!, limits);
  },
  validate(a) {
    if (a.old?.metadata.deletionTimestamp) return;
    for (const limits of limitsOf(a)) {
      const problems = new Set<string>();
      const report = (text: string | undefined) => text && problems.add(text);
      if (a.kind.plural === "pods") checkPod(a.object!, limits, report);
      else checkClaim(a.object!, limits, report);
      if (problems.size === 0) continue;
      const texts = [...problems];
      throw refusal(a, texts.length === 1 ? texts[0] : `[${texts.join(", ")}]`);
    }
  },
};

function* limitsOf(a: Admission): Generator<DeepReadonly<Limit[]>> {
  for (const item of a.view.scan(`/registry/limitranges/${a.namespace}/`)) {
    yield item.value.spec?.limits ?? [];
  }
}

function fillPod(pod: KubeObject, limits: DeepReadonly<Limit[]>): void {
  const fill: { requests: Record<string, string>; limits: Record<string, string> } = {
    requests: {},
    limits: {},
  };
  for (const limit of limits) {
    if (limit.type !== "Container") continue;
    Object.assign(fill.requests, limit.defaultRequest);
    Object.assign(fill.limits, limit.default);
  }
  const notes: string[] = [];
  for (const container of pod.spec?.containers ?? []) {
    fillContainer(container, fill, `container ${container.name}`, notes);
  }
  for (const container of pod.spec?.initContainers ?? []) {
    fillContainer(container, fill, `init container ${container.name}`, notes);
  }
  if (notes.length === 0) return;
  (pod.metadata.annotations ??= {})[ANNOTATION] = `LimitRanger plugin set: ${notes.join("; ")}`;
}

function fillContainer(
  container: Any,
  fill: Record<"requests" | "limits", Record<string, string>>,
  label: string,
  notes: string[],
): void {
  for (const part of ["requests", "limits"] as const) {
    const set: string[] = [];
    for (const [name, amount] of Object.entries(fill[part])) {
      const resources = container.resources ??= {};
      const known = resources[part] ??= {};
      if (name in known) continue;
      known[name] = amount;
      set.push(name);
    }
    const what = part === "requests" ? "request" : "limit";
    if (set.length) notes.push(`${set.sort().join(", ")} ${what} for ${label}`);
  }
}

type Report = (text: string | undefined) => void;

function checkPod(pod: KubeObject, limits: DeepReadonly<Limit[]>, report: Report): void {
  const containers = [...pod.spec?.containers ?? [], ...pod.spec?.initContainers ?? []];
  for (const limit of limits) {
    if (limit.type === "Container") {
      for (const container of containers) {
        const requests = amounts(container.resources?.requests);
        check(limit, requests, amounts(container.resources?.limits), report);
      }
    } else if (limit.type === "Pod") {
      const requests = podAmounts(pod.spec, "requests", { overhead: false });
      check(limit, requests, podAmounts(pod.spec, "limits", { overhead: false }), report);
    }
  }
}

function check(limit: DeepReadonly<Limit>, requests: Amounts, uses: Amounts, report: Report): void {
  for (const [name, bound] of Object.entries(limit.min ?? {})) {
    report(belowMin({ type: limit.type, name, bound: parseQuantity(bound) }, requests, uses));
  }
  for (const [name, bound] of Object.entries(limit.max ?? {})) {
    report(aboveMax({ type: limit.type, name, bound: parseQuantity(bound) }, requests, uses));
  }
  for (const [name, bound] of Object.entries(limit.maxLimitRequestRatio ?? {})) {
    report(aboveRatio({ type: limit.type, name, bound: parseQuantity(bound) }, requests, uses));
  }
}

function checkClaim(claim: KubeObject, limits: DeepReadonly<Limit[]>, report: Report): void {
  const requests = amounts(claim.spec?.resources?.requests);
  for (const limit of limits) {
    if (limit.type !== "PersistentVolumeClaim") continue;
    for (const [name, text] of Object.entries(limit.min ?? {})) {
      const rule = { type: limit.type, name, bound: parseQuantity(text) };
      report(belowMin(rule, requests, new Map()));
    }
    for (const [name, text] of Object.entries(limit.max ?? {})) {
      const bound = parseQuantity(text);
      const head = `maximum ${name} usage per ${limit.type} is ${bound}`;
      const asked = requests.get(name);
      if (!asked) report(`${head}.  No request is specified`);
      else if (asked.compare(bound) > 0) report(`${head}, but request is ${asked}`);
    }
  }
}

interface Bound {
  type: string;
  name: string;
  bound: Quantity;
}

function belowMin(rule: Bound, requests: Amounts, uses: Amounts): string | undefined {
  const head = `minimum ${rule.name} usage per ${rule.type} is ${rule.bound}`;
  const request = requests.get(rule.name);
  const limit = uses.get(rule.name);
  if (!request) return `${head}.  No request is specified`;
  if (request.compare(rule.bound) < 0) return `${head}, but request is ${request}`;
  if (limit && limit.compare(rule.bound) < 0) return `${head}, but limit is ${limit}`;
  return undefined;
}

function aboveMax(rule: Bound, requests: Amounts, uses: Amounts): string | undefined {
  const head = `maximum ${rule.name} usage per ${rule.type} is ${rule.bound}`;
  const request = requests.get(rule.name);
  const limit = uses.get(rule.name);
  if (!limit) return `${head}.  No limit is specified`;
  if (limit.compare(rule.bound) > 0) return `${head}, but limit is ${limit}`;
  if (request && request.compare(rule.bound) > 0) return `${head}, but request is ${request}`;
  return undefined;
}

function aboveRatio(rule: Bound, requests: Amounts, uses: Amounts): string | undefined {
  const head = `${rule.name} max limit to request ratio per ${rule.type} is ${rule.bound}`;
  const request = requests.get(rule.name);
  const limit = uses.get(rule.name);
  if (!request || request.isZero) {
    return `${head}, but no request is specified or request is 0`;
  }
  if (!limit || limit.isZero) return `${head}, but no limit is specified or limit is 0`;
  const ratio = limit.approximate() / request.approximate();
  return ratio > rule.bound.approximate()
    ? `${head}, but provided ratio is ${ratio.toFixed(6)}`
    : undefined;
}
