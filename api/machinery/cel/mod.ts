/**
 * CEL, the Common Expression Language, as Kubernetes speaks it: rules of custom resources, admission
 * policies, match conditions.
 *
 * The language is whole and our own (`parser.ts`; `compile.ts` with `literals.ts`, `macros.ts`, `calls.ts` and
 * `literal_checks.ts`; functions: `core_library.ts`, `text_library.ts`, `list_library.ts`, `url_library.ts`,
 * `extensions.ts`, `semver.ts`, `authorizer.ts`), because what Kubernetes promises lies in its details:
 *
 * - *typed*: expressions are checked against schemas when they are written; errors read as cel-go's.
 * - *priced*: every node charges what cel-go's tracker charges (`costs.ts`), to the unit; past the limit
 *   evaluation stops (`CALL_COST_MAX`, `OBJECT_COST_MAX`); estimates are upstream's too (`estimate.ts`).
 * - *bounded*: what costs do not count (deep comparisons, copies) is counted as work (`WORK_MAX`); expressions
 *   nest 250 deep at most; an error costs no more than a value.
 * - *linear*: regular expressions run on RE2.
 * - *lazy*: this module is loaded with the first expression (`../crd/engine.ts`); objects are wrapped as far as
 *   an expression looks.
 *
 * tests/golden/cel_test.ts holds all of it against what Kubernetes 1.36 answers.
 *
 * Not done: times finer than a microsecond; of several syntax errors only the first is told.
 *
 * ```ts
 * import { loadCrdEngine } from "../crd/mod.ts";
 * await loadCrdEngine();
 * const { compileExpression } = await import("./mod.ts");
 * const program = compileExpression("object.spec.replicas <= 5", { object: {} }, "bool");
 * console.assert(program.evaluate({ object: { spec: { replicas: 3 } } }) === true);
 * ```
 */
export {
  type AccessCheck,
  type AccessChecks,
  type AccessDecision,
  AUTHORIZER,
  authorizerValue,
  Pending,
  RESOURCE_CHECK,
  resourceCheckValue,
} from "./authorizer.ts";
export {
  ACCESS_REVIEW,
  ADMISSION_REQUEST,
  CLAIMS,
  DEVICE,
  NAMESPACE,
  recordType,
  USER_INFO,
} from "./declared.ts";
export { type DeviceSpec, deviceValue } from "./devices.ts";
export {
  CALL_COST_MAX,
  CelError,
  CompileError,
  compileExpression,
  CostError,
  type Evaluation,
  OBJECT_COST_MAX,
  Program,
  RULE_ESTIMATE_MAX,
  SCHEMA_ESTIMATE_MAX,
  type VariableSpec,
} from "./expression.ts";
export { Interrupted } from "./lane.ts";
export { typeOfKind } from "./kind_types.ts";
export { evaluateRules, hasRules, judgeRules, ruleErrors } from "./rules.ts";
export { DYN, listOf, mapOf, type Type, typeText } from "./types.ts";
export { LazyRecord, MessageValue, toJson, UNBOUND, wrapDyn } from "./values.ts";
