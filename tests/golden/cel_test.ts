/**
 * Expressions against what Kubernetes 1.36 makes of them: `cel/expressions.json` holds type, value, error,
 * runtime cost and estimated cost of each by cel-go in k8s.io/apiserver's environment; `cel/rules.json` what
 * rules of definitions may cost at most by their schemas.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { celEngine, loadCrdEngine } from "../../api/machinery/crd/engine.ts";
import { type Props, rootSchema } from "../../api/machinery/crd/json_schema.ts";
import type { Program } from "../../api/machinery/expressions.ts";
import { Pace } from "../../api/machinery/pace.ts";

await loadCrdEngine();
const cel = celEngine();
const values = await import("../../api/machinery/cel/values.ts");

interface Case {
  expr: string;
  /** Why it does not compile. */
  issues?: string;
  type?: string;
  value?: string;
  error?: string;
  cost?: number;
  min?: number;
  max?: string;
}

const golden = JSON.parse(
  Deno.readTextFileSync(new URL("./cel/expressions.json", import.meta.url)),
) as { variables: Record<string, unknown>; cases: Case[] };

const random = JSON.parse(
  Deno.readTextFileSync(new URL("./cel/random.json", import.meta.url)),
) as { cases: Case[] };

const rules = JSON.parse(
  Deno.readTextFileSync(new URL("./cel/rules.json", import.meta.url)),
) as { schema: Props; cases: { rule: string; cost?: string; refused?: true }[] }[];

/** Where we differ and know it. */
const KNOWN: Readonly<Record<string, string>> = {
  "object.?none.name": "the type is dyn: a field behind an optional of unknown type",
  "[].sortBy(x, x)": "the type of an empty list stays open",
  "[[1]].flatten(-1)": "the estimate of a depth that is refused",
  "Object{spec: Object.wrong{x: 1}}.spec": "an inner object shows its own type",
  "format.dns1123Label() == format.dns1123Label()": "the estimate of comparing formats",
};

const SHOWN: Readonly<Record<string, string>> = {
  "kubernetes.Quantity": "quantity",
  "net.IP": "ip",
  "net.CIDR": "cidr",
  "kubernetes.URL": "url",
  "kubernetes.Semver": "semver",
};

// deno-lint-ignore no-explicit-any -- values of every kind
function show(value: any): string {
  if (value instanceof values.Uint) return `${value.value}u`;
  if (typeof value === "number") {
    const text = values.textOf(value);
    return /[.eIN]/.test(text) ? text : `${text}.0`;
  }
  if (typeof value === "string") {
    const code = (c: string) => "\\u00" + c.charCodeAt(0).toString(16);
    return JSON.stringify(value).replace(/[<>&]/g, code);
  }
  if (value === null || typeof value !== "object") return String(value);
  if (value instanceof Uint8Array) return `b"${btoa(String.fromCharCode(...value))}"`;
  if (value instanceof values.Timestamp) return `timestamp(${values.textOf(value)})`;
  if (value instanceof values.Duration) return `duration(${values.textOf(value)})`;
  if (value instanceof values.Optional) {
    return value.has ? `optional(${show(value.value)})` : "optional.none()";
  }
  if (Array.isArray(value)) return `[${value.map(show).join(", ")}]`;
  if (value instanceof Map) {
    return `{${[...value].map(([k, one]) => `${show(k)}: ${show(one)}`).sort().join(", ")}}`;
  }
  if (value instanceof values.TypeValue) return `type(${value.name})`;
  if (value instanceof values.Opaque && SHOWN[value.type]) {
    return `${SHOWN[value.type]}(${value.text})`;
  }
  return `<${values.typeName(value)}>`;
}

/** The authorizer of the golden cases. */
const checks = {
  decide({ verb }: { verb: string }) {
    if (verb === "fail") return { allowed: false, error: "no answer" };
    return verb === "get" ? { allowed: true, reason: "because" } : { allowed: false };
  },
};

const SPECS = {
  object: { size: 100 },
  oldObject: {},
  params: {},
  namespaceObject: { declared: cel.NAMESPACE },
  request: { declared: cel.ADMISSION_REQUEST },
  authorizer: { type: cel.AUTHORIZER },
  strs: { type: "list<string>", size: 100 },
  ints: { type: "list<int>", size: 100 },
};

const given = {
  ...golden.variables,
  oldObject: null,
  authorizer: cel.authorizerValue(checks),
  strs: ["b", "a", "c"],
  ints: [3n, 1n, 2n],
};

/** Numbers near the largest one are as good as equal. */
function bound(cost: number | string | undefined): number {
  const number = Number(cost ?? 0);
  return number > 1e15 ? Number(number.toPrecision(12)) : number;
}

/** Somebody who always waits for their turn. */
function eager(): Pace {
  let now = 0;
  return new Pace({ monotonic: () => now++, sliceMs: () => 0, turn: () => Promise.resolve() });
}

/** Evaluates to the end. `interrupted`: as a long evaluation that gives way after each of its steps. */
function evaluate(program: Program, interrupted: boolean, spent: (cost: number) => void): unknown {
  if (!interrupted) return program.evaluate(given, { spent });
  const evaluation = program.begin(given, { spent, lookTicks: 0 });
  const pace = eager();
  for (;;) {
    try {
      return evaluation.go(pace);
    } catch (error) {
      if (!(error instanceof cel.Interrupted)) throw error;
      interruptions++;
    }
  }
}
let interruptions = 0;

function evaluated(expr: string, interrupted = false): Case {
  let program;
  try {
    program = cel.compileExpression(expr, SPECS, undefined, { messages: true });
  } catch (error) {
    if (!(error instanceof cel.CompileError)) throw error;
    if (error.stage === "compilation") return { expr, issues: error.message };
    return { expr, error: `program: ${error.message}` };
  }
  const { min, max } = program.estimates;
  const made: Case = { expr, type: program.type, min, max: String(max) };
  try {
    made.value = show(evaluate(program, interrupted, (cost) => made.cost = cost));
  } catch (error) {
    if (!(error instanceof cel.CelError || error instanceof cel.CostError)) throw error;
    made.error = error.message;
  }
  return made;
}

Deno.test("expressions come out as upstream's, with the same costs", () => {
  for (const want of [...golden.cases, ...random.cases]) {
    if (KNOWN[want.expr]) continue;
    const got = evaluated(want.expr);
    if (want.issues !== undefined) {
      // Of several errors the first is compared.
      const first = (text: string | undefined) => text?.split("\nERROR")[0];
      assertEquals(first(got.issues), first(want.issues), want.expr);
      continue;
    }
    if (want.error?.startsWith("program:")) {
      assertEquals(got.error, want.error, want.expr);
      continue;
    }
    const shown = ({ type, value, error, cost, min, max }: Case) => ({
      type,
      value,
      error,
      cost,
      min: bound(min),
      max: bound(max),
    });
    assertEquals(shown(got), shown(want), want.expr);
  }
});

Deno.test("rules of definitions cost what upstream estimates by their schemas", () => {
  for (const { schema, cases } of rules) {
    const self = rootSchema({ type: "object", properties: { spec: schema } }).properties!.spec;
    for (const { rule, cost, refused } of cases) {
      const compile = () => cel.compileExpression(rule, { self: { schema: self }, oldSelf: { schema: self } });
      if (refused) assertThrows(compile, cel.CompileError, undefined, rule);
      else assertEquals(bound(compile().estimate), bound(cost), rule);
    }
  }
});

Deno.test("long evaluations that give way come to the same as short ones, at the same cost", () => {
  for (const { expr } of [...golden.cases, ...random.cases]) {
    assertEquals(evaluated(expr, true), evaluated(expr), expr);
  }
  assert(interruptions > 1_000, `${interruptions} interruptions`);
});

Deno.test("what we know to differ still differs", () => {
  for (const want of golden.cases) {
    if (!KNOWN[want.expr]) continue;
    const got = evaluated(want.expr);
    const same = got.type === want.type && got.value === want.value && got.cost === want.cost &&
      bound(got.min) === bound(want.min) && bound(got.max) === bound(want.max);
    assertEquals(same, false, `${want.expr} does not differ any more`);
  }
});
