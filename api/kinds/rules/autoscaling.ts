/**
 * Rules of the autoscaling group: HorizontalPodAutoscalers (upstream's `pkg/apis/autoscaling`). v1 says less;
 * its rules stand under `HorizontalPodAutoscaler.v1`.
 */

import type {
  Cause,
  Column,
  DeepReadonly,
  Kind,
  KindContext,
  KindHooks,
  KubeObject,
} from "../../machinery/types.ts";
import { HPA_STORAGE } from "../convert_autoscaling.ts";
import { isDns1123Label, nameIsPathSegment } from "../../machinery/names.ts";
import { tryParseQuantity } from "../../machinery/quantity.ts";
import { AGE_COLUMN, column, NAME_COLUMN, type Row } from "./cells.ts";
import { statusHooks } from "./prepare.ts";
import { validateContainerResourceName } from "./quantity_validation.ts";
import { nonNegativeStatus } from "./replica_validation.ts";
import { isSet, type Path, Report, SPEC } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const CPU_PERCENT = 80;
const WINDOW_SECONDS_MAX = 3600;
const PERIOD_SECONDS_MAX = 1800;
const SELECT_POLICIES = ["Disabled", "Max", "Min"];
const POLICY_TYPES = ["Percent", "Pods"];
const METRIC_TYPES = ["ContainerResource", "External", "Object", "Pods", "Resource"];
/** A metric's type and the field that describes it, in the order they are looked at. */
const SOURCES: Record<string, string> = {
  Object: "object",
  External: "external",
  Pods: "pods",
  Resource: "resource",
  ContainerResource: "containerResource",
};

function defaultAutoscaler(autoscaler: KubeObject): void {
  const spec: Obj = autoscaler.spec ??= {};
  spec.minReplicas ??= 1;
  if (!spec.metrics?.length) {
    const target = { type: "Utilization", averageUtilization: CPU_PERCENT };
    spec.metrics = [{ type: "Resource", resource: { name: "cpu", target } }];
  }
  if (!spec.behavior) return;
  // Rules for one way bring the other's defaults with them
  defaultUp(spec.behavior.scaleUp ??= {});
  defaultDown(spec.behavior.scaleDown ??= {});
}

function defaultUp(rules: Obj): void {
  rules.stabilizationWindowSeconds ??= 0;
  rules.selectPolicy ??= "Max";
  rules.policies ??= [
    { type: "Pods", value: 4, periodSeconds: 15 },
    { type: "Percent", value: 100, periodSeconds: 15 },
  ];
}

function defaultDown(rules: Obj): void {
  rules.selectPolicy ??= "Max";
  rules.policies ??= [{ type: "Percent", value: 100, periodSeconds: 15 }];
}

function defaultV1(autoscaler: KubeObject): void {
  (autoscaler.spec ??= {}).minReplicas ??= 1;
}

function validateReference(reference: Obj, path: Path, r: Report): void {
  for (const field of ["kind", "name"]) {
    const value = reference?.[field] ?? "";
    if (value === "") r.required(path.child(field));
    else r.check(nameIsPathSegment(value, false), path.child(field), value);
  }
}

/** The gate of autoscalers that take the last pod away, too. */
const SCALE_TO_ZERO = "HPAScaleToZero";

function validateReplicas(spec: Obj, r: Report, { old, context }: Before): void {
  const { minReplicas: min, maxReplicas: max = 0 } = spec;
  // Who has none already keeps it when the gate is off again
  const lowest = context.features?.get(SCALE_TO_ZERO) || old?.minReplicas === 0 ? 0 : 1;
  if (isSet(min) && min < lowest) {
    r.invalid(SPEC.child("minReplicas"), min, `must be greater than or equal to ${lowest}`);
  }
  if (max === 0) r.required(SPEC.child("maxReplicas"), "must be set and greater than 0");
  else if (max < 0) {
    r.invalid(SPEC.child("maxReplicas"), max, "must be greater than or equal to 1");
  }
  if (isSet(min) && max < min) {
    r.invalid(SPEC.child("maxReplicas"), max, "must be greater than or equal to `minReplicas`");
  }
  validateReference(spec.scaleTargetRef, SPEC.child("scaleTargetRef"), r);
  const { apiVersion = "", kind } = spec.scaleTargetRef ?? {};
  const before = old?.scaleTargetRef;
  // What an update leaves as it was stays as it was, right or wrong
  if (before && (before.apiVersion ?? "") === apiVersion && before.kind === kind) return;
  validateApiVersion(apiVersion, SPEC.child("scaleTargetRef"), r, kind === "ReplicationController");
}

/** `group/version`; whether a version alone will do depends on what is meant. */
function validateApiVersion(apiVersion: string, path: Path, r: Report, core: boolean): void {
  const slashes = apiVersion.split("/").length - 1;
  if (slashes > 1) {
    const text = `unexpected GroupVersion string: ${apiVersion}`;
    r.invalid(path.child("apiVersion"), apiVersion, text);
  } else if (!core && (slashes === 0 || apiVersion.startsWith("/"))) {
    r.invalid(path.child("apiVersion"), apiVersion, "apiVersion must specify API group");
  }
}

function validateTarget(target: Obj, path: Path, r: Report): void {
  const { type = "", averageUtilization, averageValue, value } = target ?? {};
  if (type === "") r.required(path.child("type"), "must specify a metric target type");
  if (!["Utilization", "Value", "AverageValue"].includes(type)) {
    r.invalid(path.child("type"), type, "must be either Utilization, Value, or AverageValue");
  }
  for (const [name, amount] of [["value", value], ["averageValue", averageValue]]) {
    const parsed = isSet(amount) ? tryParseQuantity(amount) : undefined;
    if (parsed && parsed.sign !== 1) r.invalid(path.child(name), amount, "must be positive");
  }
  if (isSet(averageUtilization) && averageUtilization < 1) {
    r.invalid(path.child("averageUtilization"), averageUtilization, "must be greater than 0");
  }
}

function validateIdentifier(metric: Obj, path: Path, r: Report): void {
  const { name = "" } = metric ?? {};
  if (name === "") r.required(path.child("name"), "must specify a metric name");
  else r.check(nameIsPathSegment(name, false), path.child("name"), name);
}

function validateContainerSource({ name = "", container = "" }: Obj, path: Path, r: Report): void {
  if (name) validateContainerResourceName(name, path.child("name"), r);
  const at = path.child("container");
  if (!container) r.required(at, "must specify a container");
  else r.check(isDns1123Label(container), at, container);
}

function validateSource(type: string, source: Obj, path: Path, r: Report): void {
  const target = source.target ?? {};
  const targetAt = path.child("target");
  const { averageUtilization, averageValue, value } = target;
  if (type === "Resource" || type === "ContainerResource") {
    if (!source.name) r.required(path.child("name"), "must specify a resource name");
    if (type === "ContainerResource") validateContainerSource(source, path, r);
    validateTarget(target, targetAt, r);
    if (!isSet(averageUtilization) && !isSet(averageValue)) {
      const text = "must set either a target raw value or a target utilization";
      r.required(targetAt.child("averageUtilization"), text);
    }
    if (isSet(averageUtilization) && isSet(averageValue)) {
      const text = "may not set both a target raw value and a target utilization";
      r.forbidden(targetAt.child("averageValue"), text);
    }
    return;
  }
  if (type === "Object") {
    validateReference(source.describedObject, path.child("describedObject"), r);
    const { apiVersion = "" } = source.describedObject ?? {};
    validateApiVersion(apiVersion, path.child("describedObject"), r, true);
  }
  validateIdentifier(source.metric, path.child("metric"), r);
  validateTarget(target, targetAt, r);
  if (type === "Pods") {
    if (!isSet(averageValue)) {
      r.required(targetAt.child("averageValue"), "must specify a positive target averageValue");
    }
  } else if (!isSet(value) && !isSet(averageValue)) {
    const text = type === "Object"
      ? "must set either a target value or averageValue"
      : "must set either a target value for metric or a per-pod target";
    r.required(targetAt.child("averageValue"), text);
  } else if (type === "External" && isSet(value) && isSet(averageValue)) {
    const text = "may not set both a target value for metric and a per-pod target";
    r.forbidden(targetAt.child("value"), text);
  }
}

function validateMetric(metric: Obj, path: Path, r: Report): void {
  const { type = "" } = metric;
  const unknown = () => r.notSupported(path.child("type"), type, METRIC_TYPES);
  if (type === "") r.required(path.child("type"), "must specify a metric source type");
  const wanted = SOURCES[type];
  if (!wanted) unknown();
  const present = Object.keys(SOURCES).filter((name) => isSet(metric[SOURCES[name]]));
  // Of several sources the first is looked at, whatever the type says.
  if (present.length > 0) {
    const field = SOURCES[present[0]];
    validateSource(present[0], metric[field], path.child(field), r);
  }
  if (!wanted) unknown();
  else if (!isSet(metric[wanted])) {
    r.required(path.child(wanted), "must populate information for the given metric source");
  }
  if (present.length === 1) return;
  for (const name of present) {
    const text = "must populate the given metric source only";
    if (name !== type) r.forbidden(path.child(SOURCES[name]), text);
  }
}

function validateRules(rules: Obj, path: Path, r: Report): void {
  const { stabilizationWindowSeconds: window, selectPolicy, policies = [] } = rules;
  const windowAt = path.child("stabilizationWindowSeconds");
  if (isSet(window) && window < 0) {
    r.invalid(windowAt, window, "must be greater than or equal to zero");
  }
  if (window > WINDOW_SECONDS_MAX) {
    r.invalid(windowAt, window, `must be less than or equal to ${WINDOW_SECONDS_MAX}`);
  }
  if (isSet(selectPolicy) && !SELECT_POLICIES.includes(selectPolicy)) {
    r.notSupported(path.child("selectPolicy"), selectPolicy, SELECT_POLICIES);
  }
  const tolerance = isSet(rules.tolerance) ? tryParseQuantity(rules.tolerance) : undefined;
  if (tolerance && tolerance.sign < 0) {
    r.invalid(path.child("tolerance"), rules.tolerance, "must be greater than or equal to 0");
  }
  const policiesAt = path.child("policies");
  if (policies.length === 0) r.required(policiesAt, "must specify at least one Policy");
  policies.forEach(({ type = "", value = 0, periodSeconds: period = 0 }: Obj, i: number) => {
    const at = policiesAt.index(i);
    if (!POLICY_TYPES.includes(type)) r.notSupported(at.child("type"), type, POLICY_TYPES);
    if (value <= 0) r.invalid(at.child("value"), value, "must be greater than zero");
    if (period <= 0) r.invalid(at.child("periodSeconds"), period, "must be greater than zero");
    if (period > PERIOD_SECONDS_MAX) {
      const text = `must be less than or equal to ${PERIOD_SECONDS_MAX}`;
      r.invalid(at.child("periodSeconds"), period, text);
    }
  });
}

/** What was there, and how it is judged. */
interface Before {
  old: Obj;
  context: KindContext;
}

function validateAutoscaler(autoscaler: Stored, context: KindContext, old?: Stored): Cause[] {
  const r = new Report();
  const spec: Obj = autoscaler.spec ?? {};
  validateReplicas(spec, r, { old: old?.spec, context });
  const metrics: Obj[] = spec.metrics ?? [];
  metrics.forEach((metric, i) => validateMetric(metric, SPEC.child("metrics").index(i), r));
  validateZero(spec.minReplicas, metrics, r);
  for (const side of ["scaleUp", "scaleDown"]) {
    const rules = spec.behavior?.[side];
    if (isSet(rules)) validateRules(rules, SPEC.child("behavior", side), r);
  }
  return r.causes;
}

/** Nothing that runs could say that there is something to do again. */
function validateZero(min: unknown, metrics: readonly Obj[], r: Report): void {
  if (min !== 0 || metrics.some(({ type }) => type === "Object" || type === "External")) return;
  r.forbidden(
    SPEC.child("metrics"),
    "must specify at least one Object or External metric to support scaling to zero replicas",
  );
}

function validateV1(autoscaler: Stored, context: KindContext, old?: Stored): Cause[] {
  const r = new Report();
  const spec: Obj = autoscaler.spec ?? {};
  validateReplicas(spec, r, { old: old?.spec, context });
  const percent = spec.targetCPUUtilizationPercentage;
  if (isSet(percent) && percent < 1) {
    r.invalid(SPEC.child("targetCPUUtilizationPercentage"), percent, "must be greater than 0");
  }
  return r.causes;
}

function updated(
  check: (object: Stored, context: KindContext, old?: Stored) => Cause[],
): NonNullable<KindHooks["validateUpdate"]> {
  return (object: Stored, old: Stored, context: KindContext) => {
    if (context.subresource !== "status") return check(object, context, old);
    const r = new Report();
    nonNegativeStatus(object.status ?? {}, ["currentReplicas", "desiredReplicas"], r);
    return r.causes;
  };
}

const status = statusHooks({ status: () => ({ desiredReplicas: 0, currentMetrics: null }) });
const statusV1 = statusHooks({ status: () => ({ currentReplicas: 0, desiredReplicas: 0 }) });

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {
  HorizontalPodAutoscaler: {
    defaults: defaultAutoscaler,
    ...status,
    validate: (object, context) => validateAutoscaler(object, context),
    validateUpdate: updated(validateAutoscaler),
  },
  "HorizontalPodAutoscaler.v1": {
    defaults: defaultV1,
    ...statusV1,
    validate: (object, context) => validateV1(object, context),
    validateUpdate: updated(validateV1),
  },
};

const METRICS_SHOWN = 2;

function metricText(metric: Obj, current: Obj): string {
  const field = SOURCES[metric.type];
  if (!field) return "<unknown type>";
  const source = metric[field] ?? {}, now = current?.[field]?.current ?? {};
  const target = source.target ?? {};
  if (metric.type === "Resource" || metric.type === "ContainerResource") {
    if (isSet(target.averageValue)) {
      return `${source.name}: ${now.averageValue ?? "<unknown>"}/${target.averageValue}`;
    }
    const used = isSet(now.averageUtilization) ? `${now.averageUtilization}%` : "<unknown>";
    const wanted = isSet(target.averageUtilization) ? `${target.averageUtilization}%` : "<auto>";
    return `${source.name}: ${used}/${wanted}`;
  }
  if (metric.type === "Pods") {
    return `${now.averageValue ?? "<unknown>"}/${target.averageValue ?? "0"}`;
  }
  if (isSet(target.averageValue)) {
    return `${now.averageValue ?? "<unknown>"}/${target.averageValue} (avg)`;
  }
  return `${now.value ?? "<unknown>"}/${target.value ?? "0"}`;
}

function metricsText(row: Row): string {
  const metrics: Obj[] = row.spec?.metrics ?? [];
  if (metrics.length === 0) return "<none>";
  const current: Obj[] = row.status?.currentMetrics ?? [];
  const texts = metrics.slice(0, METRICS_SHOWN).map((metric, i) => metricText(metric, current[i]));
  const text = texts.join(", ");
  return metrics.length > METRICS_SHOWN
    ? `${text} + ${metrics.length - METRICS_SHOWN} more...`
    : text;
}

/**
 * What version 1 cannot say lies in annotations: it is shown as the stored version shows it. Version 1 has lost the place
 * of the metric that it has a field for, which most often was the first.
 */
function v1Text(row: Row): string {
  const stored = HPA_STORAGE.toStorage(row as KubeObject);
  if (row.spec?.targetCPUUtilizationPercentage !== undefined) {
    stored.spec.metrics.unshift(stored.spec.metrics.pop());
  }
  return metricsText(stored);
}

function autoscalerColumns(targets: (row: Row) => string): Column[] {
  return [
    NAME_COLUMN,
    column("Reference", ({ spec }) => {
      const { kind = "", name = "" } = spec?.scaleTargetRef ?? {};
      return `${kind}/${name}`;
    }),
    column("Targets", targets),
    column("MinPods", (o) => isSet(o.spec?.minReplicas) ? String(o.spec.minReplicas) : "<unset>"),
    column("MaxPods", (o) => o.spec?.maxReplicas ?? 0),
    column("Replicas", (o) => o.status?.currentReplicas ?? 0),
    AGE_COLUMN,
  ];
}

/** Columns by kind. */
export const columns: Record<string, Column[]> = {
  HorizontalPodAutoscaler: autoscalerColumns(metricsText),
  "HorizontalPodAutoscaler.v1": autoscalerColumns(v1Text),
};

/** Selectable fields by kind. */
export const fields: Record<string, Kind["fields"]> = {};
