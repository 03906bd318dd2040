/**
 * ValidatingAdmissionPolicy: expressions that refuse objects as they are written, warn of them, or note them in
 * the audit log.
 */
import { ApiError, type DeepReadonly, type KubeObject } from "../../machinery/types.ts";
import { convertTo } from "../../machinery/conversion.ts";
import { celEngine } from "../../machinery/crd/engine.ts";
import { type Compiled, loadExpressions } from "../../machinery/expressions.ts";
import { goJson } from "../../machinery/go_format.ts";
import type { Pace } from "../../machinery/pace.ts";
import { type PluginContext, refusal } from "../admission.ts";
import type { Admission, AdmissionPlugin } from "../contract.ts";
import {
  admissionValues,
  Budget,
  Composition,
  evaluateProgram,
  matchAll,
  type Outcome,
  OutOfBudget,
  type Values,
} from "../match_conditions.ts";
import {
  compilePolicy,
  type Invocation,
  isPoliced,
  meet,
  namespaceOf,
  PolicyIndex,
  type PolicyPrograms,
  withoutNamespace,
} from "../policies.ts";

type Stored = DeepReadonly<KubeObject>;

/** Cost of all validations of a policy with one parameter; audit annotations have as much again. */
export const POLICY_BUDGET = 10_000_000;
/** Bytes of a message that an expression makes. */
export const MESSAGE_BYTES_MAX = 5 * 1024;
/** Bytes of one value of an audit annotation. */
export const ANNOTATION_BYTES_MAX = 10 * 1024;

const FAILURE_ANNOTATION = "validation.policy.admission.k8s.io/validation_failure";
const CODES: Readonly<Record<string, number>> = {
  Forbidden: 403,
  Unauthorized: 401,
  RequestEntityTooLarge: 413,
};

/** Upstream's ValidatingAdmissionPolicy. */
export function validatingPolicy(context: PluginContext): AdmissionPlugin {
  const index = new PolicyIndex("validatingadmissionpolicy");
  return {
    name: "ValidatingAdmissionPolicy",
    handles: (a) => index.active(a.view) && isPoliced(a),
    async validate(a) {
      await loadExpressions();
      const denials: Denial[] = [];
      for (const hook of index.hooks(a.view)) {
        const { invocations, problems } = await meet(hook, a, context.kinds?.());
        const fails = hook.policy.spec.failurePolicy !== "Ignore";
        if (fails) denials.push(...problems);
        const notes = new Map<string, string[]>();
        for (const invocation of invocations) {
          await judge(context, a, { invocation, denials, notes });
        }
        for (const [key, values] of notes) {
          a.annotate(`${hook.policy.metadata.name}/${key}`, values.join(", "));
        }
      }
      if (denials.length) throw denied(a, denials[0]);
    },
  };
}

interface Denial {
  policy: Stored;
  binding?: Stored;
  message: string;
  reason?: string;
}

function denied(a: Admission, { policy, binding, message, reason = "Invalid" }: Denial): ApiError {
  const by = binding ? ` with binding '${binding.metadata.name}'` : "";
  const text =
    `ValidatingAdmissionPolicy '${policy.metadata.name}'${by} denied request: ${message}`;
  const { status } = refusal(a, text);
  const causes = [...(status.details?.causes ?? []), { message: text }];
  return new ApiError({
    ...status,
    reason,
    code: CODES[reason] ?? 422,
    details: { ...status.details, causes },
  });
}

// --- one binding --------------------------------------------------------------------------------------

interface Programs extends PolicyPrograms {
  validations: readonly Compiled[];
  messages: readonly (Compiled | undefined)[];
  annotations: readonly Compiled[];
}

const compiled = new WeakMap<object, Programs>();

function programsOf({ spec }: Stored): Programs {
  let made = compiled.get(spec);
  if (!made) {
    const shared = compilePolicy(spec);
    // deno-lint-ignore no-explicit-any -- as the schema says
    const validations: any[] = spec.validations ?? [];
    made = {
      ...shared,
      validations: validations.map((one) =>
        shared.expressions.compile(one.expression, "admission", ["bool"])
      ),
      messages: validations.map((one) =>
        one.messageExpression
          ? shared.expressions.compile(one.messageExpression, "message", ["string"])
          : undefined
      ),
      // deno-lint-ignore no-explicit-any -- as the schema says
      annotations: (spec.auditAnnotations ?? []).map((one: any) =>
        shared.expressions.compile(one.valueExpression, "admission", ["string", "null_type"])
      ),
    };
    compiled.set(spec, made);
  }
  return made;
}

interface Judging {
  invocation: Invocation;
  denials: Denial[];
  /** Audit annotations of the policy, by key. */
  notes: Map<string, string[]>;
}

/** What came of one validation. */
interface Verdict {
  index: number;
  message: string;
  reason?: string;
  /** How long the expression took. */
  ms: number;
}

/** Judges a write by one binding: its denials, warnings and notes. */
async function judge(
  context: PluginContext,
  a: Admission,
  { invocation, denials, notes }: Judging,
): Promise<void> {
  const { policy, binding, matched, params } = invocation;
  const namespace = namespaceOf(a);
  const shown = (object: Stored | undefined) =>
    object && (a.form || matched === a.kind ? object : convertTo(matched, a.kind, object));
  const object = await shown(a.object);
  const old = await shown(a.old);
  for (const param of params) {
    const judged = { admission: a, authorizer: context.authorizer, matched, object, old };
    const values = admissionValues({ ...judged, params: param, namespace });
    const { verdicts, ignored, published, failed } = await evaluate(
      context,
      policy,
      values,
      a.pace?.(),
    );
    const { metrics } = context;
    const names = { policy: policy.metadata.name, binding: binding.metadata.name };
    for (const verdict of verdicts) {
      act(a, invocation, verdict, denials);
      const { message, ms } = verdict;
      for (const action of binding.spec.validationActions ?? []) {
        metrics?.validated({ ...names, message }, action.toLowerCase(), ms);
      }
    }
    for (const { message, ms } of ignored) metrics?.validated({ ...names, message }, "allow", ms);
    for (const [key, value] of published) {
      const list = notes.get(key);
      if (!list) notes.set(key, [value]);
      else if (!list.includes(value)) list.push(value);
    }
    for (const { message, ms } of failed) {
      denials.push({ policy, binding, message });
      metrics?.validated({ ...names, message }, "deny", ms);
    }
  }
}

function act(
  a: Admission,
  { policy, binding }: Invocation,
  { index, message, reason }: Verdict,
  denials: Denial[],
): void {
  for (const action of binding.spec.validationActions ?? []) {
    if (action === "Deny") denials.push({ policy, binding, message, reason });
    else if (action === "Warn") {
      a.warn(
        `Validation failed for ValidatingAdmissionPolicy '${policy.metadata.name}' with binding ` +
          `'${binding.metadata.name}': ${message}`,
      );
    } else if (action === "Audit") {
      const failure = {
        message,
        policy: binding.spec.policyName,
        binding: binding.metadata.name,
        expressionIndex: index,
        validationActions: binding.spec.validationActions,
      };
      a.annotate(FAILURE_ANNOTATION, goJson([failure]));
    }
  }
}

/** An expression that could not be evaluated, and how long it took. */
interface Failure {
  message: string;
  ms: number;
}

interface Judgement {
  verdicts: Verdict[];
  /** Validations that could not be judged, where that is ignored. */
  ignored: Failure[];
  /** Audit annotations, key and value. */
  published: [string, string][];
  /** Audit annotations that could not be made, where that refuses the write. */
  failed: Failure[];
}

const NOTHING_SAID: Judgement = { verdicts: [], ignored: [], published: [], failed: [] };

/** Evaluates a policy with one parameter. */
async function evaluate(
  context: PluginContext,
  policy: Stored,
  values: Values,
  pace: Pace | undefined,
): Promise<Judgement> {
  const programs = programsOf(policy);
  const fails = policy.spec.failurePolicy !== "Ignore";
  const start = context.clock.monotonic();
  const only = (message: string): Judgement => {
    const ms = context.clock.monotonic() - start;
    return fails
      ? { ...NOTHING_SAID, verdicts: [{ index: 0, message, ms }] }
      : { ...NOTHING_SAID, ignored: [{ message, ms }] };
  };
  const { variables, conditions, conditionsMade: made } = programs;
  if (conditions.length) {
    const composed = new Composition(variables, withoutNamespace(values));
    const result = await matchAll({ conditions, made, composed, pace }, composed.values);
    if (result.error !== undefined) return only(result.error);
    if (!result.matches) return NOTHING_SAID;
  }
  const now = () => context.clock.monotonic();
  const budget = new Budget(POLICY_BUDGET, pace);
  let outcomes: (Timed | undefined)[];
  try {
    outcomes = await evaluateAll(programs.validations, { variables, values, budget, now });
  } catch (error) {
    if (error instanceof OutOfBudget) return only(error.message);
    throw error;
  }
  const telling = programs.annotations.length > 0 || programs.messages.some((one) => one);
  const blind = telling ? withoutAuthorizer(values) : values;
  const judged = await verdictsOf({ programs, policy, outcomes, budget, blind, fails, now });
  let notes: (Timed | undefined)[];
  try {
    const again = new Budget(POLICY_BUDGET, pace);
    notes = await evaluateAll(programs.annotations, {
      variables,
      values: blind,
      budget: again,
      now,
    });
  } catch (error) {
    if (error instanceof OutOfBudget) return only(error.message);
    throw error;
  }
  return { ...judged, ...notesOf(policy, notes, fails) };
}

/** Messages and annotations are not told who may do what. */
function withoutAuthorizer(values: Values): Values {
  const { UNBOUND: value } = celEngine();
  return Object.create(values, { authorizer: { value }, "authorizer.requestResource": { value } });
}

/** What an expression made, and how long it took. */
type Timed = Outcome & { ms: number };

/** Evaluates a list of expressions over the same variables. Throws OutOfBudget. */
async function evaluateAll(
  made: readonly (Compiled | undefined)[],
  { variables, values, budget, now }: {
    variables: PolicyPrograms["variables"];
    values: Values;
    budget: Budget;
    now: () => number;
  },
): Promise<(Timed | undefined)[]> {
  if (made.length === 0) return [];
  const composed = new Composition(variables, values);
  const outcomes: (Timed | undefined)[] = [];
  for (const one of made) {
    if (!one) outcomes.push(undefined);
    else if (!one.program) outcomes.push({ error: `compilation error: ${one.problem}`, ms: 0 });
    else {
      const start = now();
      const outcome = await evaluateProgram(one.program, composed.values, budget, composed);
      outcomes.push({ ...outcome, ms: now() - start });
    }
  }
  return outcomes;
}

interface Deciding {
  programs: Programs;
  policy: Stored;
  outcomes: readonly (Timed | undefined)[];
  budget: Budget;
  /** The values that messages see. */
  blind: Values;
  fails: boolean;
  now: () => number;
}

/** The validations that did not hold, each with its message. */
async function verdictsOf(
  { programs, policy, outcomes, budget, blind, fails, now }: Deciding,
): Promise<Pick<Judgement, "verdicts" | "ignored">> {
  let messages: (Outcome | undefined)[] = [];
  let spent: string | undefined;
  try {
    if (programs.messages.some((one) => one)) {
      const { messages: made, variables } = programs;
      messages = await evaluateAll(made, { variables, values: blind, budget, now });
    }
  } catch (error) {
    if (!(error instanceof OutOfBudget)) throw error;
    spent = `failed messageExpression: ${error.message}`;
  }
  const verdicts: Verdict[] = [];
  const ignored: Failure[] = [];
  outcomes.forEach((outcome, index) => {
    const failure = outcome?.error ?? spent;
    const ms = outcome?.ms ?? 0;
    if (failure !== undefined) {
      if (fails) verdicts.push({ index, message: failure, ms });
      else ignored.push({ message: failure, ms });
    } else if (outcome?.value !== true) {
      const validation = policy.spec.validations[index];
      const message = messageOf(messages[index]?.value) || validation.message?.trim() ||
        `failed expression: ${validation.expression.trim()}`;
      verdicts.push({ index, message, reason: validation.reason, ms });
    }
  });
  return { verdicts, ignored };
}

/** What an expression made, if it is fit to be a message. */
function messageOf(value: unknown): string {
  if (typeof value !== "string") return "";
  const text = value.trim();
  const tooLong = new TextEncoder().encode(text).length > MESSAGE_BYTES_MAX;
  return tooLong || text.includes("\n") ? "" : text;
}

function notesOf(
  policy: Stored,
  outcomes: readonly (Timed | undefined)[],
  fails: boolean,
): Pick<Judgement, "published" | "failed"> {
  const published: [string, string][] = [];
  const failed: Failure[] = [];
  outcomes.forEach((outcome, i) => {
    const { key } = policy.spec.auditAnnotations[i];
    if (outcome?.error !== undefined) {
      if (fails) failed.push({ message: outcome.error, ms: outcome.ms });
    } else if (typeof outcome?.value === "string" && outcome.value.trim() !== "") {
      published.push([key, shortened(outcome.value.trim())]);
    }
  });
  return { published, failed };
}

/** The first bytes of a text, whole characters. */
function shortened(text: string): string {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length <= ANNOTATION_BYTES_MAX) return text;
  return new TextDecoder().decode(bytes.subarray(0, ANNOTATION_BYTES_MAX)).replace(/\uFFFD$/, "");
}
