/**
 * CEL, the Common Expression Language, as Kubernetes speaks it: rules of custom resources, admission
 * policies, match conditions.
 *
 * cel-js parses; types (`types.ts`), code (`compile.ts`, `macros.ts`), functions (`core_library.ts`,
 * `extensions.ts`, `semver.ts`) and costs are ours, because what Kubernetes promises lies there:
 *
 * - *typed*: expressions are checked against schemas when they are written; errors read as cel-go's.
 * - *bounded*: every node charges what upstream charges; past the limit evaluation stops
 *   (`CALL_COST_MAX`, `OBJECT_COST_MAX`), and rules that could cost too much are refused (estimates).
 * - *linear*: regular expressions run on RE2.
 * - *lazy*: this module and cel-js are loaded with the first expression (`../crd/engine.ts`); objects are
 *   wrapped as far as an expression looks.
 *
 * Not done: message construction (`Object{...}`), optional entries (`[?x]`, `{?k: v}`), `sortBy`,
 * `transformMapEntry`, the authorizer library, two-variable `exists` over objects of known fields; literal
 * arguments of `format` are not checked before they are used.
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
  NAMESPACE,
  recordType,
  USER_INFO,
} from "./declared.ts";
export {
  CALL_COST_MAX,
  CelError,
  CompileError,
  compileExpression,
  CostError,
  OBJECT_COST_MAX,
  Program,
  RULE_ESTIMATE_MAX,
  SCHEMA_ESTIMATE_MAX,
  type VariableSpec,
} from "./expression.ts";
export { evaluateRules, hasRules, ruleErrors } from "./rules.ts";
export { DYN, listOf, mapOf, type Type, typeText } from "./types.ts";
export { LazyRecord, toJson, UNBOUND, wrapDyn } from "./values.ts";
