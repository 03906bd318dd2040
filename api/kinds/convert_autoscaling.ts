/**
 * HorizontalPodAutoscalers of autoscaling/v1 are stored as v2. What v1 has no field for travels in the
 * annotations upstream uses, so that a client of v1 that reads and writes loses nothing.
 */
import type { KubeObject } from "../machinery/types.ts";
import { converted } from "./convert_versions.ts";

// deno-lint-ignore no-explicit-any -- JSON of a kind's parts
type Obj = Record<string, any>;

/** Where v1 keeps what it has no fields for. */
export const METRICS_ANNOTATION = "autoscaling.alpha.kubernetes.io/metrics";
/** Of the status. */
export const CURRENT_METRICS_ANNOTATION = "autoscaling.alpha.kubernetes.io/current-metrics";
/** Of the status. */
export const CONDITIONS_ANNOTATION = "autoscaling.alpha.kubernetes.io/conditions";
/** Of spec.behavior, with Go's field names as keys. */
export const BEHAVIOR_ANNOTATION = "autoscaling.alpha.kubernetes.io/behavior";

/** The target when nothing is said of any metric. */
export const CPU_UTILIZATION_DEFAULT = 80;

function isCpu(metric: Obj): boolean {
  return metric.type === "Resource" && metric.resource?.name === "cpu";
}

function cpuMetric(utilization: number): Obj {
  return {
    type: "Resource",
    resource: {
      name: "cpu",
      target: { type: "Utilization", averageUtilization: utilization },
    },
  };
}

function compact(object: Obj): Obj {
  for (const key of Object.keys(object)) if (object[key] === undefined) delete object[key];
  return object;
}

// --- metrics, v2 and v1 -------------------------------------------------------------------------------

/** A v2 metric spec or status as v1 writes it. `side` is `target` of a spec, `current` of a status. */
function metricToV1(metric: Obj, side: "target" | "current"): Obj {
  const out: Obj = { type: metric.type };
  const capital = side === "target" ? "target" : "current";
  const of = (source: Obj): Obj => source[side] ?? {};
  const { resource, containerResource, pods, object, external } = metric;
  for (const [key, source] of [["resource", resource], ["containerResource", containerResource]]) {
    if (!source) continue;
    out[key] = compact({
      name: source.name,
      [`${capital}AverageUtilization`]: of(source).averageUtilization,
      [`${capital}AverageValue`]: of(source).averageValue ?? (side === "current" ? "0" : undefined),
      container: source.container,
    });
  }
  if (pods) {
    out.pods = compact({
      metricName: pods.metric?.name,
      [`${capital}AverageValue`]: of(pods).averageValue ?? "0",
      selector: pods.metric?.selector,
    });
  }
  if (object) {
    out.object = compact({
      target: object.describedObject,
      metricName: object.metric?.name,
      [`${capital}Value`]: of(object).value ?? "0",
      selector: object.metric?.selector,
      averageValue: of(object).averageValue,
    });
  }
  if (external) {
    out.external = compact({
      metricName: external.metric?.name,
      metricSelector: external.metric?.selector,
      [`${capital}Value`]: of(external).value ?? (side === "current" ? "0" : undefined),
      [`${capital}AverageValue`]: of(external).averageValue,
    });
  }
  return out;
}

function valuesToV2(
  source: Obj,
  side: "target" | "current",
  value?: string,
  average?: string,
): Obj {
  const utilization = source[`${side}AverageUtilization`];
  const out = compact({ averageUtilization: utilization, averageValue: average, value });
  if (side === "current") return out;
  const type = utilization !== undefined
    ? "Utilization"
    : average !== undefined
    ? "AverageValue"
    : "Value";
  return { type, ...out };
}

function metricToV2(metric: Obj, side: "target" | "current"): Obj {
  const out: Obj = { type: metric.type };
  const { resource, containerResource, pods, object, external } = metric;
  const named = (name: string, selector?: Obj) => compact({ name, selector });
  for (const [key, source] of [["resource", resource], ["containerResource", containerResource]]) {
    if (!source) continue;
    out[key] = compact({
      name: source.name,
      container: source.container,
      [side]: valuesToV2(source, side, undefined, source[`${side}AverageValue`]),
    });
  }
  if (pods) {
    out.pods = {
      metric: named(pods.metricName, pods.selector),
      [side]: valuesToV2(pods, side, undefined, pods[`${side}AverageValue`]),
    };
  }
  if (object) {
    const value = object.averageValue !== undefined ? undefined : object[`${side}Value`];
    out.object = {
      describedObject: object.target,
      metric: named(object.metricName, object.selector),
      [side]: valuesToV2({}, side, value, object.averageValue),
    };
  }
  if (external) {
    out.external = {
      metric: named(external.metricName, external.metricSelector),
      [side]: valuesToV2({}, side, external[`${side}Value`], external[`${side}AverageValue`]),
    };
  }
  return out;
}

// --- behavior -------------------------------------------------------------------------------------------

function rulesToGo(rules: Obj | undefined): Obj | null {
  if (!rules) return null;
  return {
    StabilizationWindowSeconds: rules.stabilizationWindowSeconds ?? null,
    SelectPolicy: rules.selectPolicy ?? null,
    Policies: rules.policies?.map((p: Obj) => ({
      Type: p.type,
      Value: p.value,
      PeriodSeconds: p.periodSeconds,
    })) ?? null,
    Tolerance: rules.tolerance ?? null,
  };
}

function rulesFromGo(rules: Obj | null | undefined): Obj | undefined {
  if (!rules) return undefined;
  return compact({
    stabilizationWindowSeconds: rules.StabilizationWindowSeconds ?? undefined,
    selectPolicy: rules.SelectPolicy ?? undefined,
    policies: rules.Policies?.map((p: Obj) => ({
      type: p.Type,
      value: p.Value,
      periodSeconds: p.PeriodSeconds,
    })) ?? undefined,
    tolerance: rules.Tolerance ?? undefined,
  });
}

// --- objects ----------------------------------------------------------------------------------------------

/** Takes an annotation away and reads it; undefined when it is absent or no JSON. */
function takeJson(object: KubeObject, name: string): unknown {
  const text = object.metadata.annotations?.[name];
  if (text === undefined) return undefined;
  delete object.metadata.annotations![name];
  if (Object.keys(object.metadata.annotations!).length === 0) delete object.metadata.annotations;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function putJson(object: KubeObject, name: string, value: unknown): void {
  object.metadata.annotations ??= {};
  object.metadata.annotations[name] = JSON.stringify(value);
}

function toV2(hpa: KubeObject): void {
  const spec: Obj = hpa.spec ??= {};
  const status: Obj = hpa.status ??= {};
  const metrics: Obj[] = [];
  // The one that v1 has a field for comes last, as upstream
  const others = takeJson(hpa, METRICS_ANNOTATION);
  if (Array.isArray(others)) metrics.push(...others.map((m) => metricToV2(m, "target")));
  if (spec.targetCPUUtilizationPercentage !== undefined) {
    metrics.push(cpuMetric(spec.targetCPUUtilizationPercentage));
    delete spec.targetCPUUtilizationPercentage;
  }
  if (metrics.length === 0) metrics.push(cpuMetric(CPU_UTILIZATION_DEFAULT));
  spec.metrics = metrics;
  const behavior = takeJson(hpa, BEHAVIOR_ANNOTATION) as Obj | undefined;
  if (behavior && typeof behavior === "object") {
    spec.behavior = compact({
      scaleUp: rulesFromGo(behavior.ScaleUp),
      scaleDown: rulesFromGo(behavior.ScaleDown),
    });
  }
  const utilization = status.currentCPUUtilizationPercentage;
  delete status.currentCPUUtilizationPercentage;
  if (status.currentReplicas === 0) delete status.currentReplicas; // v2 leaves zero out
  const current = takeJson(hpa, CURRENT_METRICS_ANNOTATION);
  if (Array.isArray(current)) status.currentMetrics = current.map((m) => metricToV2(m, "current"));
  else if (utilization !== undefined) {
    status.currentMetrics = [{
      type: "Resource",
      resource: { name: "cpu", current: { averageUtilization: utilization } },
    }];
  } else status.currentMetrics = null;
  const conditions = takeJson(hpa, CONDITIONS_ANNOTATION);
  if (Array.isArray(conditions)) status.conditions = conditions;
}

function toV1(hpa: KubeObject): void {
  const spec: Obj = hpa.spec ??= {};
  const status: Obj = hpa.status ??= {};
  const metrics: Obj[] = spec.metrics ?? [];
  delete spec.metrics;
  const cpu = metrics.find(isCpu)?.resource.target?.averageUtilization;
  if (cpu !== undefined) spec.targetCPUUtilizationPercentage = cpu;
  const others = metrics.filter((m) =>
    !isCpu(m) || m.resource.target?.averageUtilization === undefined
  );
  if (others.length > 0) {
    putJson(hpa, METRICS_ANNOTATION, others.map((m) => metricToV1(m, "target")));
  }
  const current: Obj[] = status.currentMetrics ?? [];
  delete status.currentMetrics;
  for (const metric of current) {
    const utilization = isCpu(metric) ? metric.resource.current?.averageUtilization : undefined;
    if (utilization !== undefined) status.currentCPUUtilizationPercentage = utilization;
  }
  if (current.length > 0) {
    putJson(hpa, CURRENT_METRICS_ANNOTATION, current.map((m) => metricToV1(m, "current")));
  }
  if (status.conditions?.length > 0) putJson(hpa, CONDITIONS_ANNOTATION, status.conditions);
  delete status.conditions;
  if (spec.behavior) {
    putJson(hpa, BEHAVIOR_ANNOTATION, {
      ScaleUp: rulesToGo(spec.behavior.scaleUp),
      ScaleDown: rulesToGo(spec.behavior.scaleDown),
    });
    delete spec.behavior;
  }
  status.currentReplicas ??= 0;
}

/** The storage of autoscaling/v1 HorizontalPodAutoscalers. */
export const HPA_STORAGE = converted("autoscaling/v1", "autoscaling/v2", toV2, toV1);
