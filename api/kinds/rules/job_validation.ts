/** Validation of Jobs (upstream's `pkg/apis/batch/validation`). The status is in `job_status_validation.ts`. */

import { internalValue } from "./internal_value.ts";
import type { Cause, DeepReadonly, KindContext, KubeObject } from "../../machinery/types.ts";
import { checkDomainPrefixedPath, isDns1123Label, isQualifiedName } from "../../machinery/names.ts";
import { checkLabelSelector } from "../../machinery/selectors.ts";
import { equalExcept, semanticEqual } from "./equality.ts";
import { parseIndexes } from "./job_indexes.ts";
import { validateJobStatus } from "./job_status_validation.ts";
import { validateTemplate } from "./pod_spec.ts";
import { nonNegative, selectorValue, selects } from "./replica_validation.ts";
import { isSet, METADATA, type Path, Report, SPEC } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const INDEXED_PARALLELISM_MAX = 100_000;
const FAILED_INDEXES_MAX = 100_000;
const COMPLETIONS_SOFT = 100_000;
const HIGH_PARALLELISM_MAX = 10_000;
const HIGH_FAILED_MAX = 10_000;
const RULES_MAX = 20;
const EXIT_CODES_MAX = 255;
const PATTERNS_MAX = 20;
const SUCCEEDED_INDEXES_MAX = 64 * 1024;
const MANAGED_BY_MAX = 63;

const ACTIONS = ["Count", "FailIndex", "FailJob", "Ignore"];
const STATUSES = ["False", "True", "Unknown"];
const NEEDS_INDEXED = "requires indexed completion mode";

/** Labels that tie pods to their Job, old names and new. */
export const JOB_LABELS = {
  uid: "batch.kubernetes.io/controller-uid",
  name: "batch.kubernetes.io/job-name",
  oldUid: "controller-uid",
  oldName: "job-name",
} as const;

/** A list as Go prints it with %q. */
function quotedList(values: readonly string[]): string {
  return `[${values.map((value) => `"${value}"`).join(" ")}]`;
}

/** Checks the spec of a Job or of a CronJob's template. */
export function validateJobSpec(spec: Obj, path: Path, r: Report): void {
  for (
    const name of [
      "parallelism",
      "completions",
      "activeDeadlineSeconds",
      "backoffLimit",
      "ttlSecondsAfterFinished",
      "backoffLimitPerIndex",
      "maxFailedIndexes",
    ]
  ) nonNegative(spec, name, path, r);
  if (isSet(spec.maxFailedIndexes) && !isSet(spec.backoffLimitPerIndex)) {
    r.required(path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
  }
  if (isSet(spec.managedBy)) {
    r.add(checkDomainPrefixedPath(`${path.child("managedBy")}`, spec.managedBy));
    if (spec.managedBy.length > MANAGED_BY_MAX) r.tooLong(path.child("managedBy"), MANAGED_BY_MAX);
  }
  validateMode(spec, path, r);
  if (isSet(spec.podFailurePolicy)) {
    validateFailurePolicy(spec, path.child("podFailurePolicy", "rules"), r);
  }
  if (isSet(spec.successPolicy)) {
    const at = path.child("successPolicy");
    if (spec.completionMode !== "Indexed") {
      r.invalid(at, internalValue("SuccessPolicy", spec.successPolicy), NEEDS_INDEXED);
    } else validateSuccessPolicy(spec, at.child("rules"), r);
  }
  validateReplacement(spec, path.child("podReplacementPolicy"), r);
  validateTemplate(spec.template ?? {}, path.child("template"), r);
  validateRestart(spec, path.child("template", "spec", "restartPolicy"), r);
}

function validateMode(spec: Obj, path: Path, r: Report): void {
  const { completionMode: mode, completions, parallelism, maxFailedIndexes: failed } = spec;
  const modeAt = path.child("completionMode");
  if (isSet(mode) && mode !== "NonIndexed" && mode !== "Indexed") {
    r.notSupported(modeAt, mode, ["NonIndexed", "Indexed"], true);
  }
  if (mode === "Indexed") {
    if (!isSet(completions)) {
      r.required(path.child("completions"), "when completion mode is Indexed");
    }
    if (parallelism > INDEXED_PARALLELISM_MAX) {
      const text =
        `must be less than or equal to ${INDEXED_PARALLELISM_MAX} when completion mode is Indexed`;
      r.invalid(path.child("parallelism"), parallelism, text);
    }
    const failedAt = path.child("maxFailedIndexes");
    if (isSet(completions) && failed > completions) {
      r.invalid(failedAt, failed, "must be less than or equal to completions");
    }
    if (failed > FAILED_INDEXES_MAX) {
      r.invalid(failedAt, failed, `must be less than or equal to ${FAILED_INDEXES_MAX}`);
    }
    if (completions > COMPLETIONS_SOFT && isSet(spec.backoffLimitPerIndex)) {
      validateManyIndexes(spec, path, r);
    }
  } else if (!isSet(mode) || mode === "NonIndexed") {
    for (const name of ["backoffLimitPerIndex", "maxFailedIndexes"]) {
      if (isSet(spec[name])) r.invalid(path.child(name), spec[name], NEEDS_INDEXED);
    }
  }
}

function validateManyIndexes(spec: Obj, path: Path, r: Report): void {
  const { parallelism, maxFailedIndexes: failed } = spec;
  const failedAt = path.child("maxFailedIndexes");
  const when =
    `when completions are above ${COMPLETIONS_SOFT} and used with backoff limit per index`;
  if (!isSet(failed)) {
    r.required(failedAt, `must be specified when completions is above ${COMPLETIONS_SOFT}`);
  }
  if (parallelism > HIGH_PARALLELISM_MAX) {
    const text = `must be less than or equal to ${HIGH_PARALLELISM_MAX} ${when}`;
    r.invalid(path.child("parallelism"), parallelism, text);
  }
  if (failed > HIGH_FAILED_MAX) {
    r.invalid(failedAt, failed, `must be less than or equal to ${HIGH_FAILED_MAX} ${when}`);
  }
}

function validateReplacement(spec: Obj, path: Path, r: Report): void {
  const policy = spec.podReplacementPolicy;
  if (!isSet(policy) || policy === "Failed") return;
  if (isSet(spec.podFailurePolicy)) r.notSupported(path, policy, ["Failed"]);
  else if (policy !== "TerminatingOrFailed") {
    r.notSupported(path, policy, ["Failed", "TerminatingOrFailed"]);
  }
}

function validateRestart(spec: Obj, path: Path, r: Report): void {
  const policy = spec.template?.spec?.restartPolicy ?? "";
  if (policy === "Always" || policy === "") {
    r.required(path, 'valid values: "OnFailure", "Never"');
  } else if (policy !== "OnFailure" && policy !== "Never") {
    r.notSupported(path, policy, ["OnFailure", "Never"], true);
  } else if (isSet(spec.podFailurePolicy) && policy !== "Never") {
    r.invalid(path, policy, 'only "Never" is supported when podFailurePolicy is specified');
  }
}

function validateFailurePolicy(spec: Obj, path: Path, r: Report): void {
  const rules: Obj[] = spec.podFailurePolicy.rules ?? [];
  if (rules.length > RULES_MAX) r.tooMany(path, rules.length, RULES_MAX);
  const names = new Set<string>();
  const pod = spec.template?.spec ?? {};
  for (const list of [pod.containers, pod.initContainers]) {
    for (const container of list ?? []) names.add(container.name);
  }
  rules.forEach((rule, i) => validateFailureRule(spec, rule, path.index(i), r, names));
}

/** A cause whose value upstream does not print. */
function unvalued(path: Path, text: string, r: Report): void {
  r.causes.push({
    reason: "FieldValueInvalid",
    field: `${path}`,
    message: `Invalid value: ${text}`,
  });
}

function validateFailureRule(
  spec: Obj,
  rule: Obj,
  path: Path,
  r: Report,
  names: ReadonlySet<string>,
): void {
  const { action = "", onExitCodes, onPodConditions: patterns = [] } = rule;
  const actionAt = path.child("action");
  if (action === "") r.required(actionAt, `valid values: ${quotedList(ACTIONS)}`);
  else if (action === "FailIndex") {
    if (!isSet(spec.backoffLimitPerIndex)) {
      r.invalid(actionAt, action, "requires the backoffLimitPerIndex to be set");
    }
  } else if (!ACTIONS.includes(action)) r.notSupported(actionAt, action, ACTIONS);
  if (isSet(onExitCodes)) validateExitCodes(onExitCodes, path.child("onExitCodes"), r, names);
  const patternsAt = path.child("onPodConditions");
  if (patterns.length > PATTERNS_MAX) r.tooMany(patternsAt, patterns.length, PATTERNS_MAX);
  patterns.forEach(({ type = "", status = "" }: Obj, i: number) => {
    const at = patternsAt.index(i);
    r.check(isQualifiedName(type), at.child("type"), type);
    if (status === "") r.required(at.child("status"), `valid values: ${quotedList(STATUSES)}`);
    else if (!STATUSES.includes(status)) r.notSupported(at.child("status"), status, STATUSES);
  });
  if (isSet(onExitCodes) && patterns.length > 0) {
    unvalued(path, "specifying both OnExitCodes and OnPodConditions is not supported", r);
  }
  if (!isSet(onExitCodes) && patterns.length === 0) {
    unvalued(path, "specifying one of OnExitCodes and OnPodConditions is required", r);
  }
}

function validateExitCodes(codes: Obj, path: Path, r: Report, names: ReadonlySet<string>): void {
  const { operator = "", containerName } = codes;
  const values = codes.values ?? [];
  const operatorAt = path.child("operator"), valuesAt = path.child("values");
  if (operator === "") r.required(operatorAt, `valid values: ${quotedList(["In", "NotIn"])}`);
  else if (operator !== "In" && operator !== "NotIn") {
    r.notSupported(operatorAt, operator, ["In", "NotIn"]);
  }
  if (isSet(containerName) && !names.has(containerName)) {
    const text = "must be one of the container or initContainer names in the pod template";
    r.invalid(path.child("containerName"), containerName, text);
  }
  if (values.length === 0) {
    r.invalid(valuesAt, codes.values ?? null, "at least one value is required");
  } else if (values.length > EXIT_CODES_MAX) r.tooMany(valuesAt, values.length, EXIT_CODES_MAX);
  const seen = new Set<number>();
  let ordered = true;
  values.forEach((value: number, i: number) => {
    if (operator === "In" && value === 0) {
      r.invalid(valuesAt.index(i), 0, "must not be 0 for the In operator");
    }
    if (seen.has(value)) r.duplicate(valuesAt.index(i), value);
    seen.add(value);
    if (i > 0 && values[i - 1] > value) ordered = false;
  });
  if (!ordered) r.invalid(valuesAt, values, "must be ordered");
}

function validateSuccessPolicy(spec: Obj, path: Path, r: Report): void {
  const rules: Obj[] = spec.successPolicy.rules ?? [];
  const completions = spec.completions ?? 0;
  if (rules.length === 0) {
    r.required(path, "at least one rules must be specified when the successPolicy is specified");
  }
  if (rules.length > RULES_MAX) r.tooMany(path, rules.length, RULES_MAX);
  rules.forEach(({ succeededCount: count, succeededIndexes: indexes }, i) => {
    const at = path.index(i);
    if (!isSet(count) && !isSet(indexes)) {
      r.required(at, "at least one of succeededCount or succeededIndexes must be specified");
    }
    let total = 0;
    if (isSet(indexes)) {
      const indexesAt = at.child("succeededIndexes");
      if (indexes.length > SUCCEEDED_INDEXES_MAX) r.tooLong(indexesAt, SUCCEEDED_INDEXES_MAX);
      const parsed = parseIndexes(indexes, completions);
      if ("problem" in parsed) {
        r.invalid(indexesAt, indexes, `error parsing succeededIndexes: ${parsed.problem}`);
      } else total = parsed.total;
    }
    if (!isSet(count)) return;
    const countAt = at.child("succeededCount");
    if (count < 0) r.invalid(countAt, count, "must be greater than or equal to 0");
    if (count > completions) {
      const text =
        `must be less than or equal to ${completions} (the number of specified completions)`;
      r.invalid(countAt, count, text);
    }
    if (isSet(indexes) && count > total) {
      const text = "the number of indexes in the specified succeededIndexes field";
      r.invalid(countAt, count, `must be less than or equal to ${total} (${text})`);
    }
  });
}

/** A map as Go prints it. */
function sortedMap(map: Obj): Obj {
  if (!isSet(map)) return null;
  return Object.fromEntries(Object.keys(map).sort().map((key) => [key, map[key]]));
}

function validateSelectorAndTemplate(spec: Obj, r: Report): void {
  const at = SPEC.child("selector");
  if (!isSet(spec.selector)) r.required(at);
  else r.add(checkLabelSelector(`${at}`, spec.selector));
  const labels = spec.template?.metadata?.labels;
  const match = isSet(spec.selector) ? selects(spec.selector, labels) : false;
  if (match !== false) return;
  const text = "`selector` does not match template `labels`";
  r.invalid(SPEC.child("template", "metadata", "labels"), sortedMap(labels), text);
}

/** A selector that the server made must be as the server made it. */
function validateGenerated(job: Stored, r: Report): void {
  const spec: Obj = job.spec ?? {};
  if (spec.manualSelector === true || !isSet(spec.selector)) return;
  const { uid, name = "" } = job.metadata;
  if (!uid) r.required(METADATA.child("uid"));
  const labels = spec.template?.metadata?.labels ?? {};
  const at = SPEC.child("template", "metadata", "labels");
  const expected: [string, string][] = [
    [JOB_LABELS.oldUid, uid],
    [JOB_LABELS.oldName, name],
    [JOB_LABELS.uid, uid],
    [JOB_LABELS.name, name],
  ];
  for (const [key, value] of expected) {
    if (labels[key] === undefined) r.required(at.key(key), `must be '${value}'`);
    else if (labels[key] !== value) {
      r.invalid(at.key(key), sortedMap(labels), `must be '${value}'`);
    }
  }
  if (selects(spec.selector, Object.fromEntries(expected)) === false) {
    r.invalid(
      SPEC.child("selector"),
      selectorValue(spec.selector),
      "`selector` not auto-generated",
    );
  }
}

/** Checks a new Job. */
export function validateJob(job: Stored): Cause[] {
  const r = new Report();
  const spec: Obj = job.spec ?? {};
  validateGenerated(job, r);
  validateJobSpec(spec, SPEC, r);
  validateSelectorAndTemplate(spec, r);
  if (spec.completionMode === "Indexed" && spec.completions > 0) {
    const last = `${job.metadata.name ?? ""}-${spec.completions - 1}`;
    if (isDns1123Label(last).length > 0) {
      const text = `will not able to create pod with invalid DNS label: ${last}`;
      r.invalid(METADATA.child("name"), job.metadata.name ?? "", text);
    }
  }
  return r.causes;
}

/** The fields whose internal types errors print. */
const INTERNAL: Readonly<Record<string, string>> = {
  podFailurePolicy: "PodFailurePolicy",
  successPolicy: "SuccessPolicy",
};
const IMMUTABLE_FIELDS = [
  "completionMode",
  "podFailurePolicy",
  "backoffLimitPerIndex",
  "managedBy",
  "successPolicy",
];

/** Checks a changed Job: nearly all of its spec stays. */
export function validateJobUpdate(job: Stored, old: Stored, context: KindContext): Cause[] {
  const r = new Report();
  const spec: Obj = job.spec ?? {}, before: Obj = old.spec ?? {};
  if (context.subresource === "status") {
    validateJobStatus(job, old, r);
    return r.causes;
  }
  // Upstream checks it as a new one, then its spec once more: what is wrong is told twice
  r.add(validateJob(job));
  if (r.causes.length > 0) {
    validateJobSpec(spec, SPEC, r);
    validateSelectorAndTemplate(spec, r);
  }
  const immutable = (name: string) => {
    if (semanticEqual(spec[name], before[name])) return;
    const type = INTERNAL[name];
    const value = name === "selector" ? selectorValue(spec[name]) : spec[name] ?? null;
    const shown = type ? internalValue(type, spec[name]) : value;
    r.invalid(SPEC.child(name), shown, "field is immutable");
  };
  if (spec.completionMode !== "Indexed") immutable("completions");
  else if (spec.completions !== before.completions && isSet(spec.completions)) {
    if (spec.completions !== spec.parallelism) {
      const text = "can only be modified in tandem with spec.parallelism";
      r.invalid(SPEC.child("completions"), spec.completions, text);
    }
  }
  immutable("selector");
  validateTemplateChange(spec, before, old, r);
  for (const name of IMMUTABLE_FIELDS) immutable(name);
  return r.causes;
}

/**
 * A Job that is suspended, and whose pods are gone, may say anew where its pods shall run and what their
 * containers ask for.
 */
function validateTemplateChange(spec: Obj, before: Obj, old: Stored, r: Report): void {
  const now: Obj = spec.template ?? {}, then: Obj = before.template ?? {};
  if (semanticEqual(now, then)) return;
  const at = SPEC.child("template");
  const { conditions = [], active } = old.status ?? {};
  const suspended = before.suspend === true && !active &&
    conditions.some((c: Obj) => c.type === "Suspended" && c.status === "True");
  if (!suspended) r.invalid(at, internalValue("PodTemplateSpec", now), "field is immutable");
  else if (!sameButPlace(now.spec ?? {}, then.spec ?? {})) {
    r.invalid(at.child("spec"), internalValue("PodSpec", now.spec), "field is immutable");
  }
}

const PLACE = [
  "nodeSelector",
  "tolerations",
  "schedulingGates",
  "affinity",
  "containers",
  "initContainers",
];

function sameButPlace(pod: Obj, oldPod: Obj): boolean {
  if (!equalExcept(pod, oldPod, PLACE)) return false;
  if (!equalExcept(pod.affinity ?? {}, oldPod.affinity ?? {}, ["nodeAffinity"])) return false;
  return sameButResources(pod.containers, oldPod.containers) &&
    sameButResources(pod.initContainers, oldPod.initContainers);
}

function sameButResources(now: Obj[] = [], then: Obj[] = []): boolean {
  return now.length === then.length &&
    now.every((container, i) => equalExcept(container, then[i], ["resources"]));
}
