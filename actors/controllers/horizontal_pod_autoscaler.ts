/**
 * HorizontalPodAutoscalers: every quarter of a minute each is looked at, its metrics are asked how many replicas
 * they want, the highest answer is brought into the bounds and the pace that the spec allows, and the target's
 * `scale` is set.
 *
 * Metrics speak only when they are asked, so time is what wakes it; only a new or changed spec is looked at
 * at once. A failure waits for the next turn: asking a metrics server faster does not mend it.
 *
 * Reading order: this file, `hpa_specs.ts` (one metric), `hpa_calculator.ts` (figures to replicas),
 * `hpa_behavior.ts` (pace), `hpa_metrics.ts` (where figures come from).
 *
 * Behaviour matched: pkg/controller/podautoscaler/horizontal.go, v1.36.
 */
import type { Informer } from "../../api/client/contract.ts";
import { sameJson } from "../../api/machinery/json_value.ts";
import { parseQuantity } from "../../api/machinery/quantity.ts";
import { parseLabelSelector, type Selector } from "../../api/machinery/selectors.ts";
import { formatTime } from "../../api/machinery/time.ts";
import type { Json, ResourceId } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  codeOf,
  every,
  HORIZONTAL_POD_AUTOSCALERS,
  keyOf,
  PODS,
  splitKey,
  targetOf,
} from "../runtime/mod.ts";
import { type Behavior, ScalingHistory } from "./hpa_behavior.ts";
import type { Tolerances } from "./hpa_calculator.ts";
import { type MetricsReader, metricsReader } from "./hpa_metrics.ts";
import { MetricFailure, type MetricSpec, type Proposal, propose } from "./hpa_specs.ts";
import { ControllerMetrics } from "./metrics.ts";
import { type Condition, conditionOf, type Obj } from "./objects.ts";
import { textOf } from "./pods.ts";
import type { ControllerPorts, FreeController, ServedKinds } from "./ports.ts";
import { type ControllerSettings, settingsOf } from "./settings.ts";

/** How often a scale is set anew after others changed it. */
const SCALE_ATTEMPTS_MAX = 5;
const ACCOUNT = "horizontal-pod-autoscaler";
const ALL = "*";

interface State {
  autoscalers: Informer;
  pods: Informer;
  reader: MetricsReader;
  kinds: ServedKinds;
  metrics: ControllerMetrics;
  settings: Readonly<ControllerSettings>;
  /** HPAScaleToZero is on. */
  toZero: boolean;
  histories: Map<string, ScalingHistory>;
  /** What each autoscaler's target selects, as far as it is known. */
  selectors: Map<string, Selector>;
}

/** The row. */
export function horizontalPodAutoscalerController(ports: ControllerPorts): FreeController {
  const { metrics = new ControllerMetrics() } = ports;
  const settings = settingsOf(ports);
  return {
    name: "horizontalpodautoscaling",
    account: ACCOUNT,
    component: ACCOUNT,
    workers: 5,
    behaviour: {
      start(context): State {
        const autoscalers = context.informers.for(HORIZONTAL_POD_AUTOSCALERS);
        autoscalers.subscribe(({ key, old, object }) => {
          metrics.autoscalers.set({}, autoscalers.size);
          if (old && object && sameJson(old.spec, object.spec)) return;
          context.send(context.address, key);
        });
        every(context, settings.horizontalPodAutoscalerSyncPeriod, ALL);
        return {
          autoscalers,
          pods: context.informers.for(PODS),
          reader: metricsReader(ports, ACCOUNT),
          kinds: ports.kinds,
          metrics,
          settings,
          toZero: ports.features?.get("HPAScaleToZero") ?? false,
          histories: new Map(),
          selectors: new Map(),
        };
      },
      async handle(key: string, state: State, context: ActorContext) {
        if (key === ALL) {
          for (const one of state.autoscalers.list()) context.send(context.address, keyOf(one));
          return;
        }
        const autoscaler = state.autoscalers.get(key);
        if (autoscaler) return await new Turn(autoscaler, state, context).take();
        state.histories.delete(key);
        state.selectors.delete(key);
        const { namespace = "", name } = splitKey(key);
        metrics.desiredReplicas.delete({ namespace, hpa_name: name });
      },
    },
  };
}

/** A Scale, as the API shows it. */
interface Scale {
  metadata: { name: string };
  spec?: { replicas?: number };
  status?: { replicas?: number; selector?: string };
}

/** Ends a turn early; what is to be told has been told. */
class Unable extends Error {}

/** One look at one autoscaler: its status grows as the turn goes on and is written at its end, whatever happens. */
class Turn {
  readonly #key: string;
  readonly #object: Obj;
  readonly #state: State;
  readonly #context: ActorContext;
  readonly #conditions: Condition[];
  #metrics: unknown[] = [];

  constructor(object: Obj, state: State, context: ActorContext) {
    this.#key = keyOf(object);
    this.#object = object;
    this.#state = state;
    this.#context = context;
    this.#conditions = (object.status?.conditions ?? []).map((c: Condition) => ({ ...c }));
  }

  async take(): Promise<void> {
    const since = this.#context.clock.monotonic();
    const { spec, status = {} } = this.#object;
    const { kind, name } = spec.scaleTargetRef;
    let current = status.currentReplicas ?? 0;
    let desired = status.desiredReplicas ?? 0;
    let rescaled = false;
    let problem: string | undefined;
    try {
      const { resource, scale } = await this.#scale();
      current = scale.spec?.replicas ?? 0;
      const wanted = await this.#wanted(scale);
      if (wanted.replicas !== current) {
        await this.#rescale(resource, current, wanted);
        rescaled = true;
      }
      desired = wanted.replicas;
      problem = wanted.problem;
    } catch (error) {
      if (!(error instanceof Unable)) throw error;
      problem = error.message;
    }
    await this.#write({ current, desired, rescaled });
    this.#count({ current, desired, rescaled, failed: problem !== undefined, since });
    if (problem !== undefined) {
      const where = `${kind}/${this.#object.metadata.namespace}/${name}`;
      this.#context.log("warn", `cannot follow all metrics of ${where}`, { problem });
    }
  }

  #count(
    { current, desired, rescaled, failed, since }: {
      current: number;
      desired: number;
      rescaled: boolean;
      failed: boolean;
      since: number;
    },
  ): void {
    const { metrics } = this.#state;
    const { namespace = "", name } = this.#object.metadata;
    const up = desired > current ? "scale_up" : "scale_down";
    const labels = { action: rescaled ? up : "none", error: failed ? "internal" : "none" };
    metrics.reconciliations.add(labels);
    metrics.reconciliationSeconds.add(labels, this.#context.clock.monotonic() - since);
    if (!failed) metrics.desiredReplicas.set({ namespace, hpa_name: name }, desired);
  }

  #event(type: "Normal" | "Warning", reason: string, message: string): void {
    this.#context.recorder.event(this.#object, type, reason, message);
  }

  #condition(type: string, status: Condition["status"], reason: string, message: string): void {
    const conditions = this.#conditions;
    let one = conditionOf({ conditions }, type);
    if (!one) conditions.push(one = { type, status: "Unknown" });
    if (one.status !== status) {
      one.lastTransitionTime = formatTime(this.#context.clock.now());
    }
    Object.assign(one, { status, reason, message });
  }

  // --- the target -------------------------------------------------------------------------------------

  /** The target's scale, by the first version of its kind that has one. */
  async #scale(): Promise<{ resource: ResourceId; scale: Scale }> {
    const { apiVersion = "", kind, name } = this.#object.spec.scaleTargetRef;
    const { namespace } = this.#object.metadata;
    const parts = apiVersion.split("/");
    try {
      if (parts.length > 2) throw new Error(`unexpected GroupVersion string: ${apiVersion}`);
      const group = parts.length === 2 ? parts[0] : "";
      const kinds = this.#state.kinds.all().filter((k) => k.group === group && k.kind === kind);
      if (kinds.length === 0) throw new Error(`no matches for kind "${kind}" in group "${group}"`);
      let first: unknown;
      for (const { version, plural } of kinds) {
        const resource = { group, version, plural };
        try {
          const target = { resource, namespace, name, subresource: "scale" };
          const scale = await this.#context.client.get<Scale>(target) as Scale;
          this.#condition(
            "AbleToScale",
            "True",
            "SucceededGetScale",
            "the HPA controller was able to get the target's current scale",
          );
          return { resource, scale };
        } catch (error) {
          first ??= error;
        }
      }
      throw first;
    } catch (error) {
      this.#event("Warning", "FailedGetScale", textOf(error));
      const message = `the HPA controller was unable to get the target's current scale: ${
        textOf(error)
      }`;
      this.#condition("AbleToScale", "False", "FailedGetScale", message);
      throw new Unable(textOf(error));
    }
  }

  async #rescale(
    resource: ResourceId,
    current: number,
    { replicas, reason }: { replicas: number; reason: string },
  ): Promise<void> {
    const { namespace } = this.#object.metadata;
    const { name } = this.#object.spec.scaleTargetRef;
    const target = { resource, namespace, name, subresource: "scale" };
    const { client, clock } = this.#context;
    for (let attempt = 1;; attempt++) {
      try {
        // What was read is written back: a scale that somebody else set meanwhile is read again.
        const scale = await client.get<Scale>(target) as Scale;
        await client.update(target, { ...scale, spec: { ...scale.spec, replicas } });
        break;
      } catch (error) {
        if (codeOf(error) === 409 && attempt < SCALE_ATTEMPTS_MAX) continue;
        const why = textOf(error);
        const said = `New size: ${replicas}; reason: ${reason}; error: ${why}`;
        this.#event("Warning", "FailedRescale", said);
        const message = `the HPA controller was unable to update the target scale: ${why}`;
        this.#condition("AbleToScale", "False", "FailedUpdateScale", message);
        throw new Unable(why);
      }
    }
    const done = `the HPA controller was able to update the target scale to ${replicas}`;
    this.#condition("AbleToScale", "True", "SucceededRescale", done);
    this.#event("Normal", "SuccessfulRescale", `New size: ${replicas}; reason: ${reason}`);
    this.#noteZero(current, replicas);
    const behavior = this.#object.spec.behavior as Behavior | undefined;
    this.#history(current).scaled(current, replicas, behavior, clock.now());
  }

  #history(current: number): ScalingHistory {
    const { histories, settings } = this.#state;
    let history = histories.get(this.#key);
    if (!history) {
      const { horizontalPodAutoscalerDownscaleStabilization: window } = settings;
      history = new ScalingHistory(current, this.#context.clock.now(), window);
      histories.set(this.#key, history);
    }
    return history;
  }

  // --- none at all ----------------------------------------------------------------------------------------

  #isScaledToZero(): boolean {
    return conditionOf({ conditions: this.#conditions }, "ScaledToZero")?.status === "True";
  }

  /** Whether a metric can speak while no pod runs. */
  #seesWork(): boolean {
    const metrics = this.#object.spec.metrics as unknown as readonly MetricSpec[];
    return metrics.some(({ type }) => type === "Object" || type === "External");
  }

  /** Says with each rescale whether it was we who took the last pod away: people's zero is left alone. */
  #noteZero(current: number, replicas: number): void {
    if (!this.#state.toZero) return this.#forgetZero();
    const { minReplicas: min = 1 } = this.#object.spec;
    if (current > 0 && replicas === 0 && min === 0 && this.#seesWork()) {
      const message = "the HPA controller scaled the workload to zero";
      this.#condition("ScaledToZero", "True", "ScaledToZero", message);
    } else {
      const message = "the HPA controller did not scale the workload to zero";
      this.#condition("ScaledToZero", "False", "NotScaledToZero", message);
    }
  }

  #forgetZero(): void {
    if (this.#state.toZero) return;
    const at = this.#conditions.findIndex(({ type }) => type === "ScaledToZero");
    if (at >= 0) this.#conditions.splice(at, 1);
  }

  // --- how many ---------------------------------------------------------------------------------------

  async #wanted(
    scale: Scale,
  ): Promise<{ replicas: number; reason: string; problem?: string }> {
    const { minReplicas: min = 1, maxReplicas: max, behavior } = this.#object.spec;
    const current = scale.spec?.replicas ?? 0;
    const history = this.#history(current);
    const zeroed = this.#state.toZero && this.#isScaledToZero();
    if (current === 0 && !(zeroed && (min !== 0 || this.#seesWork()))) {
      this.#forgetZero();
      const message = "scaling is disabled since the replica count of the target is zero";
      this.#condition("ScalingActive", "False", "ScalingDisabled", message);
      return { replicas: 0, reason: "" };
    }
    if (current > max && current > 0) {
      return { replicas: max, reason: "Current number of replicas above Spec.MaxReplicas" };
    }
    if (current < min && current > 0) {
      return { replicas: min, reason: "Current number of replicas below Spec.MinReplicas" };
    }
    const { proposal, problem } = await this.#highest(scale);
    const desired = proposal.replicas;
    const verdict = history.normalize(
      { current, desired, min, max },
      behavior as Behavior | undefined,
      this.#context.clock.now(),
    );
    const { able, limited } = verdict;
    this.#condition("AbleToScale", "True", able.reason, able.message);
    this.#condition(
      "ScalingLimited",
      limited.limited ? "True" : "False",
      limited.reason,
      limited.message,
    );
    let reason = "";
    if (desired > current) reason = `${proposal.metric} above target`;
    if (desired < current) reason = "All metrics below target";
    let { replicas } = verdict;
    // The least was raised while there was none.
    if (current === 0 && replicas < min) {
      replicas = min;
      reason ||= "Current number of replicas below Spec.MinReplicas";
    }
    return { replicas, reason, problem };
  }

  /** The metric that asks for most. One that fails forbids going down, and nothing else. */
  async #highest(scale: Scale): Promise<{ proposal: Proposal; problem?: string }> {
    const specs = this.#object.spec.metrics as unknown as readonly MetricSpec[];
    const current = scale.spec?.replicas ?? 0;
    let proposal: Proposal | undefined;
    const failures: MetricFailure[] = [];
    const selector = this.#selector(scale);
    const pods = this.#selected(selector);
    for (const spec of specs) {
      const since = this.#context.clock.monotonic();
      const count = (action: string, error: string) => {
        const { metrics } = this.#state;
        const labels = { action, error, metric_type: spec.type };
        metrics.computations.add(labels);
        metrics.computationSeconds.add(labels, this.#context.clock.monotonic() - since);
      };
      try {
        const one = await propose(spec, {
          reader: this.#state.reader,
          namespace: this.#object.metadata.namespace!,
          selector: selector.toString(),
          pods,
          replicas: current,
          statusReplicas: scale.status?.replicas ?? 0,
          tolerances: tolerancesOf(this.#object, this.#state.settings),
          now: this.#context.clock.now(),
          cpuInitializationMs: this.#state.settings.horizontalPodAutoscalerCpuInitializationPeriod,
          initialReadinessMs: this.#state.settings.horizontalPodAutoscalerInitialReadinessDelay,
        });
        count(actionOf(this.#object.status?.currentReplicas ?? 0, one.replicas), "none");
        this.#metrics.push(one.status);
        if (!proposal || proposal.replicas === 0 || one.replicas > proposal.replicas) {
          proposal = one;
        }
      } catch (error) {
        if (!(error instanceof MetricFailure)) throw error;
        failures.push(error);
        count("none", error.reason === "InvalidMetricSourceType" ? "spec" : "internal");
        this.#event("Warning", error.reason, error.told);
        this.#metrics.push({ type: "" });
      }
    }
    const [first] = failures;
    const problem = first &&
      `invalid metrics (${failures.length} invalid out of ${specs.length}), first error is: ${first.message}`;
    if (!proposal || first && proposal.replicas < current) {
      const message = `the HPA was unable to compute the replica count: ${first.told}`;
      this.#condition("ScalingActive", "False", first.reason, message);
      this.#event("Warning", "FailedComputeMetricsReplicas", problem!);
      throw new Unable(problem);
    }
    const message =
      `the HPA was able to successfully calculate a replica count from ${proposal.metric}`;
    this.#condition("ScalingActive", "True", "ValidMetricFound", message);
    return { proposal, problem };
  }

  // --- the pods ---------------------------------------------------------------------------------------

  /** The target's selector, if it selects pods that no other autoscaler's target selects. */
  #selector({ status }: Scale): Selector {
    const text = status?.selector ?? "";
    if (text === "") {
      const message = "the HPA target's scale is missing a selector";
      throw this.#badSelector(
        "SelectorRequired",
        "selector is required",
        message,
        "InvalidSelector",
      );
    }
    let selector: Selector;
    try {
      selector = parseLabelSelector(text);
    } catch (error) {
      const told = `couldn't convert selector into a corresponding internal selector object: ${
        textOf(error)
      }`;
      throw this.#badSelector("InvalidSelector", told);
    }
    this.#state.selectors.set(this.#key, selector);
    const rivals = this.#rivals(this.#selected(selector));
    if (rivals.length > 1) {
      const told = `pods by selector ${text} are controlled by multiple HPAs: [${
        rivals.join(" ")
      }]`;
      throw this.#badSelector("AmbiguousSelector", told);
    }
    return selector;
  }

  #badSelector(event: string, told: string, message = told, reason = event): Unable {
    this.#event("Warning", event, told);
    this.#condition("ScalingActive", "False", reason, message);
    this.#event("Warning", "FailedComputeMetricsReplicas", told);
    return new Unable(told);
  }

  #selected(selector: Selector): Obj[] {
    const { namespace } = this.#object.metadata;
    return [...this.#state.pods.list(namespace)].filter((pod) =>
      selector.matches(pod.metadata.labels)
    );
  }

  /** All autoscalers that have one of these pods, as Go prints their keys. */
  #rivals(pods: readonly Obj[]): string[] {
    const { namespace } = this.#object.metadata;
    const found: string[] = [];
    for (const [key, selector] of this.#state.selectors) {
      const [where, name] = key.split("/");
      if (where !== namespace || !pods.some((pod) => selector.matches(pod.metadata.labels))) {
        continue;
      }
      found.push(`{${name} ${where}}`);
    }
    return found.sort();
  }

  // --- the status -------------------------------------------------------------------------------------

  async #write(
    { current, desired, rescaled }: { current: number; desired: number; rescaled: boolean },
  ): Promise<void> {
    const { status: before } = this.#object;
    const at = rescaled ? formatTime(this.#context.clock.now()) : before?.lastScaleTime;
    const status: Record<string, unknown> = {
      currentReplicas: current,
      desiredReplicas: desired,
      currentMetrics: this.#metrics,
      conditions: this.#conditions,
      ...(at && { lastScaleTime: at }),
    };
    if (sameJson(status as Json, (before ?? {}) as Json)) return;
    try {
      const target = targetOf(HORIZONTAL_POD_AUTOSCALERS, this.#object, "status");
      await this.#context.client.update(target, { ...this.#object, status });
    } catch (error) {
      if (codeOf(error) === 404) return;
      this.#event("Warning", "FailedUpdateStatus", textOf(error));
    }
  }
}

function actionOf(current: number, proposed: number): string {
  if (proposed === current) return "none";
  return proposed > current ? "scale_up" : "scale_down";
}

function tolerancesOf(
  { spec }: Obj,
  { horizontalPodAutoscalerTolerance }: Readonly<ControllerSettings>,
): Tolerances {
  const of = (text: string | undefined) =>
    text === undefined ? horizontalPodAutoscalerTolerance : parseQuantity(text).approximate();
  return {
    up: of(spec.behavior?.scaleUp?.tolerance),
    down: of(spec.behavior?.scaleDown?.tolerance),
  };
}
