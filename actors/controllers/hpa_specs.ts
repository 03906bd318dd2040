/**
 * One entry of `spec.metrics`: reads its figures, lets the calculator say how many replicas they ask for, and
 * words what came of it: the entry of `status.currentMetrics`, or the reason why there is none.
 *
 * Behaviour matched: pkg/controller/podautoscaler/horizontal.go (computeReplicasForMetric and below), v1.36.
 */
import { goQuote } from "../../api/machinery/go_format.ts";
import { parseQuantity, quantity } from "../../api/machinery/quantity.ts";
import {
  labelSelector,
  type LabelSelectorSpec,
  labelSelectorStruct,
} from "../../api/machinery/selectors.ts";
import {
  byAverage,
  byShare,
  byUtilization,
  byValue,
  type Calculated,
  type Scene,
} from "./hpa_calculator.ts";
import type { Described, MetricsReader } from "./hpa_metrics.ts";
import { textOf } from "./pods.ts";

/** A target, of one of three types. */
interface MetricTarget {
  type: "Utilization" | "Value" | "AverageValue";
  value?: string;
  averageValue?: string;
  averageUtilization?: number;
}

interface Identifier {
  name: string;
  selector?: LabelSelectorSpec;
}

/** An entry of `spec.metrics`. */
export interface MetricSpec {
  type: "Resource" | "ContainerResource" | "Pods" | "Object" | "External";
  resource?: { name: string; target: MetricTarget };
  containerResource?: { name: string; container: string; target: MetricTarget };
  pods?: { metric: Identifier; target: MetricTarget };
  object?: { describedObject: Described; metric: Identifier; target: MetricTarget };
  external?: { metric: Identifier; target: MetricTarget };
}

/** What a metric asks for. */
export interface Proposal {
  replicas: number;
  /** What it is called in events and conditions. */
  metric: string;
  status: Record<string, unknown>;
}

/** Why a metric says nothing: the reason of an event and of `ScalingActive`. */
export class MetricFailure extends Error {
  override name = "MetricFailure";
  /** The innermost sentence, which event and condition tell. */
  readonly told: string;
  readonly reason: string;
  constructor(reason: string, told: string, whole: string) {
    super(whole);
    this.reason = reason;
    this.told = told;
  }
}

/** Where figures are read, and for whom. */
export interface MetricsScene extends Scene {
  reader: MetricsReader;
  namespace: string;
  /** The target's selector, as text. */
  selector: string;
}

/** Asks one metric. Rejects with `MetricFailure`. */
export async function propose(spec: MetricSpec, scene: MetricsScene): Promise<Proposal> {
  switch (spec.type) {
    case "Resource": {
      const { name } = spec.resource!;
      return await told(
        "FailedGetResourceMetric",
        `failed to get ${name} resource metric value`,
        () => resourceProposal(spec.resource!, scene),
      );
    }
    case "ContainerResource": {
      const { container } = spec.containerResource!;
      const what = `failed to get ${container} container metric value`;
      return await told(
        "FailedGetContainerResourceMetric",
        what,
        () => resourceProposal(spec.containerResource!, scene),
      );
    }
    case "Pods":
      return await told(
        "FailedGetPodsMetric",
        "failed to get pods metric value",
        () => podsProposal(spec.pods!, scene),
      );
    case "Object":
      return await told(
        "FailedGetObjectMetric",
        "failed to get object metric value",
        () => objectProposal(spec.object!, scene),
      );
    case "External": {
      const what = `failed to get ${spec.external!.metric.name} external metric value`;
      return await told(
        "FailedGetExternalMetric",
        what,
        () => externalProposal(spec.external!, scene),
      );
    }
    default: {
      const text = `unknown metric source type ${goQuote(String(spec.type))}`;
      throw new MetricFailure("InvalidMetricSourceType", text, text);
    }
  }
}

async function told(reason: string, what: string, ask: () => Promise<Proposal>): Promise<Proposal> {
  try {
    return await ask();
  } catch (error) {
    // Some are wrapped once more in what the reconciliation returns than in what it tells.
    const inner = error instanceof Wrapped ? error.inner : textOf(error);
    throw new MetricFailure(reason, inner, `${what}: ${textOf(error)}`);
  }
}

class Wrapped extends Error {
  readonly inner: string;
  constructor(what: string, error: unknown) {
    super(`${what}: ${textOf(error)}`);
    this.inner = textOf(error);
  }
}

/** What `ask` answers; its failure begins with what was being done. */
async function doing<T>(what: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    throw new Error(`${what}: ${textOf(error)}`);
  }
}

const milli = (text: string) => parseQuantity(text).milliValue();
const decimal = (value: number) => quantity(value, "DecimalSI", -3).toString();

async function resourceProposal(
  { name, container, target }: { name: string; container?: string; target: MetricTarget },
  scene: MetricsScene,
): Promise<Proposal> {
  const { reader, namespace, selector } = scene;
  const use = () =>
    doing(
      `unable to get metrics for resource ${name}`,
      () => reader.resource(name, { namespace, selector, container }),
    );
  const amount = (value: number) =>
    quantity(value, name === "memory" ? "BinarySI" : "DecimalSI", -3).toString();
  const status = (current: Record<string, unknown>) =>
    container
      ? { type: "ContainerResource", containerResource: { name, container, current } }
      : { type: "Resource", resource: { name, current } };
  if (target.averageValue !== undefined) {
    const wanted = milli(target.averageValue);
    const { replicas, usage } = await doing(
      `failed to get ${name} usage`,
      async () => byAverage(scene, await use(), { target: wanted, resource: name }),
    );
    return {
      replicas,
      metric: `${name} resource`,
      status: status({ averageValue: amount(usage) }),
    };
  }
  if (target.averageUtilization === undefined) {
    throw new Error(
      "invalid resource metric source: neither an average utilization target nor an average value (usage) target was set",
    );
  }
  const wanted = { target: target.averageUtilization, resource: name, container };
  const { replicas, usage, utilization } = await doing(
    `failed to get ${name} utilization`,
    async () => byUtilization(scene, await use(), wanted),
  );
  return {
    replicas,
    metric: `${name} ${container ? "container " : ""}resource utilization (percentage of request)`,
    status: status({ averageUtilization: utilization, averageValue: amount(usage) }),
  };
}

async function podsProposal(
  { metric, target }: { metric: Identifier; target: MetricTarget },
  scene: MetricsScene,
): Promise<Proposal> {
  const { reader, namespace, selector } = scene;
  const metricSelector = selectorTextOf(metric);
  const found = await doing(
    `unable to get metric ${metric.name}`,
    () => reader.pods(metric.name, { namespace, selector, metricSelector }),
  );
  const { replicas, usage } = byAverage(scene, found, { target: milli(target.averageValue!) });
  return {
    replicas,
    metric: `pods metric ${metric.name}`,
    status: { type: "Pods", pods: { metric, current: { averageValue: decimal(usage) } } },
  };
}

async function objectProposal(
  { describedObject, metric, target }: {
    describedObject: Described;
    metric: Identifier;
    target: MetricTarget;
  },
  scene: MetricsScene,
): Promise<Proposal> {
  const { reader, namespace } = scene;
  const { kind, name } = describedObject;
  const metricSelector = selectorTextOf(metric);
  const value = async () => {
    try {
      return await reader.object(metric.name, {
        namespace,
        object: describedObject,
        metricSelector,
      });
    } catch (error) {
      throw new Error(
        `unable to get metric ${metric.name}: ${textOf(error)} on ${kind} ${namespace}/${name}`,
      );
    }
  };
  const status = (current: Record<string, string>) => ({
    type: "Object",
    object: { describedObject, metric, current },
  });
  if (target.type === "Value" && target.value !== undefined) {
    const { replicas, usage } = byValue(scene, await value(), milli(target.value));
    return {
      replicas,
      metric: `${kind} metric ${metric.name}`,
      status: status({ value: decimal(usage) }),
    };
  }
  if (target.type === "AverageValue" && target.averageValue !== undefined) {
    const wanted = milli(target.averageValue);
    const { replicas, usage } = await wrapped(
      `failed to get ${metric.name} object metric`,
      async () => byShare(scene, await value(), wanted),
    );
    return {
      replicas,
      metric: `external metric ${metric.name}(${labelSelectorStruct(metric.selector)})`,
      status: status({ averageValue: decimal(usage) }),
    };
  }
  throw new Error(
    "invalid object metric source: neither a value target nor an average value target was set",
  );
}

async function externalProposal(
  { metric, target }: { metric: Identifier; target: MetricTarget },
  scene: MetricsScene,
): Promise<Proposal> {
  const { reader, namespace } = scene;
  const struct = labelSelectorStruct(metric.selector);
  const sum = async () => {
    const metricSelector = selectorTextOf(metric);
    const values = await doing(
      `unable to get external metric ${namespace}/${metric.name}/${struct}`,
      () => reader.external(metric.name, { namespace, metricSelector }),
    );
    return values.reduce((total, value) => total + value, 0);
  };
  const answer = ({ replicas }: Calculated, current: Record<string, string>) => ({
    replicas,
    metric: `external metric ${metric.name}(${struct})`,
    status: { type: "External", external: { metric, current } },
  });
  if (target.averageValue !== undefined) {
    const wanted = milli(target.averageValue);
    const found = await wrapped(
      `failed to get ${metric.name} external metric`,
      async () => byShare(scene, await sum(), wanted),
    );
    return answer(found, { averageValue: decimal(found.usage) });
  }
  if (target.value !== undefined) {
    const wanted = milli(target.value);
    const found = await wrapped(
      `failed to get external metric ${metric.name}`,
      async () => byValue(scene, await sum(), wanted),
    );
    return answer(found, { value: decimal(found.usage) });
  }
  throw new Error(
    "invalid external metric source: neither a value target nor an average value target was set",
  );
}

async function wrapped<T>(what: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    throw new Wrapped(what, error);
  }
}

/** An absent selector selects every series. */
function selectorTextOf({ selector }: Identifier): string {
  return selector ? labelSelector(selector).toString() : "";
}
