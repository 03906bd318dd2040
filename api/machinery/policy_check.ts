/**
 * Type checking of ValidatingAdmissionPolicies: their validations compiled once more for each kind that they are
 * about, with `object`, `oldObject` and `params` of the types that the kinds' schemas give. What does not check is a
 * warning in the policy's status, no more: the policy runs on what objects say.
 */
import { celEngine, loadCrdEngine } from "./crd/engine.ts";
import type { VariableSpec } from "./expressions.ts";
import type { DeepReadonly, Kind, Kinds, KubeObject } from "./types.ts";

/** A warning as the status holds it. */
export interface ExpressionWarning {
  fieldRef: string;
  warning: string;
}

type Served = Pick<Kinds, "all" | "byKind">;
type Rule = DeepReadonly<{ apiGroups?: string[]; apiVersions?: string[]; resources?: string[] }>;

/** Kinds that one policy is checked against. */
export const KINDS_MAX = 10;

/** The names that a rule lists; none where one is a pattern. */
function plain(names: readonly string[] | undefined): readonly string[] {
  return names?.some((name) => name.includes("*")) ? [] : [...names ?? []].sort();
}

function byName(a: Kind, b: Kind): number {
  for (const key of ["group", "version", "kind"] as const) {
    if (a[key] !== b[key]) return a[key] < b[key] ? -1 : 1;
  }
  return 0;
}

/** The kinds that a policy's rules name, subresources and patterns apart. */
function kindsOf(rules: readonly Rule[], kinds: Served): Kind[] {
  const found = new Set<Kind>();
  for (const rule of rules) {
    const groups = plain(rule.apiGroups);
    const versions = plain(rule.apiVersions);
    const plurals = (rule.resources ?? []).filter((name) => !/[*/]/.test(name));
    for (const kind of kinds.all()) {
      if (!groups.includes(kind.group) || !versions.includes(kind.version)) continue;
      if (plurals.includes(kind.plural)) found.add(kind);
      if (found.size === KINDS_MAX) return [...found].sort(byName);
    }
  }
  return [...found].sort(byName);
}

function shown({ group, version, kind }: Kind): string {
  return `${group}/${version}, Kind=${kind}`;
}

/** The variables of an expression about a kind, those of the policy among them. */
function variablesFor(
  kind: Kind,
  spec: KubeObject["spec"],
  kinds: Served,
): Record<string, VariableSpec> {
  const cel = celEngine();
  const of = (row: Kind | undefined): VariableSpec => {
    const declared = row && cel.typeOfKind(row);
    return declared ? { declared } : {};
  };
  const variables: Record<string, VariableSpec> = {
    object: of(kind),
    oldObject: of(kind),
    namespaceObject: { declared: cel.NAMESPACE },
    request: { declared: cel.ADMISSION_REQUEST },
    authorizer: { type: cel.AUTHORIZER },
  };
  const { paramKind } = spec;
  if (paramKind) {
    const slash = paramKind.apiVersion.indexOf("/");
    const group = slash < 0 ? "" : paramKind.apiVersion.slice(0, slash);
    const version = paramKind.apiVersion.slice(slash + 1);
    variables.params = of(kinds.byKind(group, version, paramKind.kind));
  }
  const types: Record<string, ReturnType<typeof cel.listOf>> = {};
  for (const { name, expression } of spec.variables ?? []) {
    variables.variables = { declared: cel.recordType("kubernetes.variables", types) };
    types[name] = cel.DYN;
    try {
      types[name] = cel.compileExpression(expression, variables).output;
    } catch (error) {
      if (!(error instanceof cel.CompileError)) throw error;
    }
  }
  variables.variables = { declared: cel.recordType("kubernetes.variables", types) };
  return variables;
}

/** What is wrong with the validations of a policy, by the kinds that it is about. */
export async function expressionWarnings(
  policy: DeepReadonly<KubeObject>,
  kinds: Served,
): Promise<ExpressionWarning[]> {
  await loadCrdEngine();
  const cel = celEngine();
  const { spec } = policy;
  const rows = kindsOf(spec.matchConstraints?.resourceRules ?? [], kinds);
  const seen = rows.map((kind) => ({ kind, variables: variablesFor(kind, spec, kinds) }));
  const warnings: ExpressionWarning[] = [];
  const check = (fieldRef: string, expression: string | undefined) => {
    if (!expression) return;
    const texts: string[] = [];
    for (const { kind, variables } of seen) {
      try {
        cel.compileExpression(expression, variables);
      } catch (error) {
        if (!(error instanceof cel.CompileError)) throw error;
        // Only what does not check counts: no program is made here.
        if (error.stage === "compilation") texts.push(`${shown(kind)}: ${error.message}\n`);
      }
    }
    if (texts.length) warnings.push({ fieldRef, warning: texts.join("\n") });
  };
  const validations: readonly { expression: string; messageExpression?: string }[] =
    spec.validations ?? [];
  for (const [i, { expression, messageExpression }] of validations.entries()) {
    check(`spec.validations[${i}].expression`, expression);
    check(`spec.validations[${i}].messageExpression`, messageExpression);
  }
  return warnings;
}
