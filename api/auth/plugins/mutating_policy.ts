/**
 * MutatingAdmissionPolicy: expressions that change objects as they are written, by a configuration that is merged
 * into them or by a JSON patch.
 */
import { convertTo } from "../../machinery/conversion.ts";
import { celEngine } from "../../machinery/crd/engine.ts";
import { applyDefaults } from "../../machinery/defaults.ts";
import { edit } from "../../machinery/edit.ts";
import { internal } from "../../machinery/errors.ts";
import { type Compiled, loadExpressions } from "../../machinery/expressions.ts";
import { sameJson } from "../../machinery/json_value.ts";
import { decode } from "../../machinery/schema.ts";
import { ApiError, type DeepReadonly, type Kind, type KubeObject } from "../../machinery/types.ts";
import { type PluginContext, refusal, unknownConversion, whyUndecodable } from "../admission.ts";
import type { Admission, AdmissionPlugin } from "../contract.ts";
import {
  admissionValues,
  Budget,
  Composition,
  evaluateProgram,
  matchAll,
  OutOfBudget,
  type Values,
} from "../match_conditions.ts";
import {
  compilePolicy,
  type ConfigurationProblem,
  type Hook,
  type Invocation,
  isPoliced,
  meet,
  namespaceOf,
  PolicyIndex,
  type PolicyPrograms,
  withoutNamespace,
} from "../policies.ts";
import { configured, MutationError, patched } from "../policy_patches.ts";
import { POLICY_BUDGET } from "./validating_policy.ts";

type Stored = DeepReadonly<KubeObject>;

/** What one write's two runs remember of each other. */
interface Runs {
  /** Invocations that ran and may run again. */
  called: Set<string>;
  /** Invocations that run again. */
  due: Set<string>;
  /** The object as the policies left it. */
  left?: KubeObject;
}

/** Why a write is refused. `reason` is absent for what is wrong with a configuration. */
interface Problem extends ConfigurationProblem {
  reason?: string;
}

/** Upstream's MutatingAdmissionPolicy. */
export function mutatingPolicy(context: PluginContext): AdmissionPlugin {
  const index = new PolicyIndex("mutatingadmissionpolicy");
  const runs = new WeakMap<Admission, Runs>();
  return {
    name: "MutatingAdmissionPolicy",
    handles: (a) => index.active(a.view) && isPoliced(a),
    async mutate(a) {
      await loadExpressions();
      let run = runs.get(a);
      if (!run) runs.set(a, run = { called: new Set(), due: new Set() });
      await new Round(context, a, run).mutate(index.hooks(a.view));
    },
  };
}

function require(run: Runs): void {
  for (const key of run.called) run.due.add(key);
  run.called.clear();
}

function refused(a: Admission, problems: readonly Problem[]): ApiError {
  const texts = problems.map(({ policy, binding, message }) => {
    const { name } = policy.metadata;
    return binding
      ? `policy '${name}' with binding '${binding.metadata.name}' denied request: ${message}`
      : `policy ${JSON.stringify(name)} denied request: ${message}`;
  });
  const { status } = refusal(a, "");
  return new ApiError({
    ...status,
    reason: problems[0].reason ?? status.reason,
    message: texts[0],
    details: { ...status.details, causes: texts.map((message) => ({ message })) },
  });
}

interface Programs extends PolicyPrograms {
  mutations: readonly { apply: boolean; compiled: Compiled }[];
}

const compiled = new WeakMap<object, Programs>();

function programsOf({ spec }: Stored): Programs {
  let made = compiled.get(spec);
  if (!made) {
    const shared = compilePolicy(spec);
    // deno-lint-ignore no-explicit-any -- as the schema says
    const mutations = (spec.mutations ?? []).map((one: any) => {
      const apply = one.patchType === "ApplyConfiguration";
      const { expression } = (apply ? one.applyConfiguration : one.jsonPatch) ?? { expression: "" };
      const results = [apply ? "Object" : "list(JSONPatch)"];
      return { apply, compiled: shared.expressions.compile(expression, "mutation", results) };
    });
    compiled.set(spec, made = { ...shared, mutations });
  }
  return made;
}

/** One run of the policies over one write. */
class Round {
  readonly #context: PluginContext;
  readonly #a: Admission;
  readonly #runs: Runs;
  readonly #problems: Problem[] = [];

  constructor(context: PluginContext, a: Admission, runs: Runs) {
    this.#context = context;
    this.#a = a;
    this.#runs = runs;
  }

  async mutate(hooks: readonly Hook[]): Promise<void> {
    const a = this.#a;
    const again = a.reinvocation?.again === true;
    // Plugins of ours or webhooks have changed it since: whoever may run again does.
    if (again && !sameJson(this.#runs.left, a.object)) require(this.#runs);
    const invocations: Invocation[] = [];
    for (const hook of hooks) {
      const met = await meet(hook, a, this.#context.kinds?.());
      this.#problems.push(...met.problems);
      invocations.push(...met.invocations);
    }
    for (const invocation of invocations) {
      for (const param of invocation.params) await this.#invoke(invocation, param, again);
    }
    if (invocations.length) this.#runs.left = a.object && edit<KubeObject>(a.object);
    const problems = this.#problems.filter(({ policy }) => policy.spec.failurePolicy !== "Ignore");
    if (problems.length) throw refused(a, problems);
  }

  async #invoke(invocation: Invocation, param: Stored | null, again: boolean): Promise<void> {
    const a = this.#a;
    const { policy, binding, matched } = invocation;
    const programs = programsOf(policy);
    if (programs.conditions.length) {
      const values = withoutNamespace(await this.#values(matched, param));
      const { conditions, conditionsMade: made } = programs;
      const composed = new Composition(programs.variables, values);
      const result = await matchAll(
        { conditions, made, composed, pace: a.pace?.() },
        composed.values,
      );
      if (result.error !== undefined) {
        this.#problems.push({ policy, binding, message: result.error, reason: "Invalid" });
        return;
      }
      if (!result.matches) return;
    }
    const of = param ? `${param.metadata.namespace ?? ""}/${param.metadata.name}` : "";
    const key = [policy.metadata.name, binding.metadata.name, of].join("\n");
    if (again && !this.#runs.due.has(key)) return;
    const before = a.object && edit<KubeObject>(a.object);
    let applied = false;
    for (const mutation of programs.mutations) {
      if (a.object && await this.#apply(invocation, param, mutation)) applied = true;
    }
    if (applied) {
      a.reinvocation ??= { wanted: false, again: false, called: new Set(), due: new Set() };
      a.reinvocation.wanted = true;
      if (!sameJson(before, a.object)) require(this.#runs);
    }
    if (policy.spec.reinvocationPolicy === "IfNeeded") this.#runs.called.add(key);
  }

  async #values(matched: Kind, params: Stored | null): Promise<Values> {
    const a = this.#a;
    const shown = (object: Stored | undefined) =>
      object && (a.form || matched === a.kind ? object : convertTo(matched, a.kind, object));
    return admissionValues({
      admission: a,
      authorizer: this.#context.authorizer,
      matched,
      object: await shown(a.object),
      old: await shown(a.old),
      params,
      namespace: namespaceOf(a),
    });
  }

  /** Makes one mutation; whether it was made. */
  async #apply(
    { policy, binding, matched }: Invocation,
    param: Stored | null,
    { apply, compiled }: Programs["mutations"][number],
  ): Promise<boolean> {
    const a = this.#a;
    const { clock, metrics } = this.#context;
    const start = clock.monotonic();
    const note = (message?: string) => {
      const judged = { policy: policy.metadata.name, binding: binding.metadata.name, message };
      metrics?.mutated(judged, clock.monotonic() - start);
    };
    try {
      const made = await this.#evaluate(policy, compiled, await this.#values(matched, param));
      const form = a.form ?? matched;
      const object = form === a.kind || a.form
        ? edit<KubeObject>(a.object!)
        : await convertTo(matched, a.kind, a.object!);
      const next = apply ? configured(form, object, made) : patched(object, made);
      if (next !== undefined) {
        const decoded = decodedAs(form, next);
        const back = a.form ? decoded : await convertTo(a.kind, matched, decoded);
        for (const name of Object.keys(a.object!)) delete a.object![name];
        Object.assign(a.object!, back);
      }
      note();
      return true;
    } catch (error) {
      if (error instanceof Error) note(error.message);
      if (!(error instanceof MutationError || error instanceof OutOfBudget)) throw error;
      this.#problems.push({ policy, binding, message: error.message, reason: "Invalid" });
      return false;
    }
  }

  async #evaluate(policy: Stored, { program, problem }: Compiled, base: Values): Promise<unknown> {
    if (!program) throw new MutationError(problem!);
    const composed = new Composition(programsOf(policy).variables, base);
    const budget = new Budget(POLICY_BUDGET, this.#a.pace?.());
    const outcome = await evaluateProgram(program, composed.values, budget, composed);
    if (outcome.error !== undefined) throw new MutationError(outcome.error);
    const { MessageValue } = celEngine();
    const { value } = outcome;
    if (value instanceof MessageValue || Array.isArray(value)) return value;
    throw new MutationError("type mismatch: the expression made neither an object nor a patch");
  }
}

/** A changed object as its kind decodes and defaults it; what a built-in kind does not know is an error. */
function decodedAs(form: Kind, value: unknown): KubeObject {
  try {
    const { object } = decode(form, value, form.custom ? "Ignore" : "Strict");
    const other = unknownConversion(form, value as Partial<KubeObject>);
    if (other) throw new ApiError({ code: 500, message: `failed to convert object: ${other}` });
    applyDefaults(form.schemas, form.schema, object);
    form.hooks.defaults?.(object);
    return object;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    throw internal(whyUndecodable(error));
  }
}
