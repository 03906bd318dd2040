/**
 * Label and field selectors, parsed once into a list of requirements and matched without allocation.
 * Syntax, errors and printed form are upstream's (apimachinery `labels`, `fields`). Texts that cannot be
 * parsed throw `SelectorError`; the server answers 400 with its message.
 */
import type { Cause, DeepReadonly, Kind, KubeObject } from "./types.ts";
import { forbidden, invalid, required } from "./field_errors.ts";
import { checkLabels, isLabelValue, isQualifiedName } from "./names.ts";
import { goQuote } from "./go_format.ts";
import {
  type LabelOperator,
  type LabelRequirement,
  parseInt64,
  parseRequirements,
  requirement,
  SelectorError,
} from "./selector_parser.ts";

export { type LabelOperator, type LabelRequirement, requirement, SelectorError };

/** A LabelSelector as objects hold it. */
export interface LabelSelectorSpec {
  matchLabels?: Readonly<Record<string, string>> | null;
  matchExpressions?:
    | readonly { key: string; operator: string; values?: readonly string[] | null }[]
    | null;
}

type Labels = Readonly<Record<string, string>> | null | undefined;

const NO_LABELS: Readonly<Record<string, string>> = {};

/** A set of labels to look for. */
export class Selector {
  /** Sorted by key; all must hold. */
  readonly requirements: readonly LabelRequirement[];
  /** Matches nothing at all (an absent LabelSelector), not even with no requirements. */
  readonly nothing: boolean;

  constructor(requirements: readonly LabelRequirement[], nothing = false) {
    this.requirements = requirements;
    this.nothing = nothing;
  }

  /** Matches everything. */
  get empty(): boolean {
    return !this.nothing && this.requirements.length === 0;
  }

  matches(labels: Labels): boolean {
    if (this.nothing) return false;
    const set = labels ?? NO_LABELS;
    for (const requirement of this.requirements) if (!holds(requirement, set)) return false;
    return true;
  }

  /** The one value that `key` must have, where the selector says so. */
  exact(key: string): string | undefined {
    for (const { key: k, operator, values } of this.requirements) {
      if (k !== key) continue;
      const equal = operator === "=" || operator === "==" || operator === "in";
      return equal && values.length === 1 ? values[0] : undefined;
    }
    return undefined;
  }

  toString(): string {
    return this.requirements.map(requirementText).join(",");
  }
}

/** Matches every set of labels. */
export const EVERYTHING: Selector = new Selector([]);
/** Matches no set of labels. */
export const NOTHING: Selector = new Selector([], true);

function holds({ key, operator, values }: LabelRequirement, labels: Record<string, string>) {
  // Object.hasOwn would be exact; labels are decoded without a prototype's names among them or not at
  // all, and typeof keeps `constructor` and the like out.
  const value = labels[key];
  const has = typeof value === "string";
  switch (operator) {
    case "=":
    case "==":
      return has && value === values[0];
    case "in":
      return has && values.includes(value);
    case "!=":
    case "notin":
      return !has || !values.includes(value);
    case "exists":
      return has;
    case "!":
      return !has;
    case "gt":
    case "lt": {
      const a = has ? parseInt64(value) : undefined;
      const b = parseInt64(values[0]);
      if (a === undefined || b === undefined) return false;
      return operator === "gt" ? a > b : a < b;
    }
  }
}

function requirementText({ key, operator, values }: LabelRequirement): string {
  const sorted = values.length > 1 ? [...values].sort() : values;
  switch (operator) {
    case "exists":
      return key;
    case "!":
      return `!${key}`;
    case "in":
    case "notin":
      return `${key} ${operator} (${sorted.join(",")})`;
    case "gt":
      return `${key}>${sorted.join(",")}`;
    case "lt":
      return `${key}<${sorted.join(",")}`;
    default:
      return `${key}${operator}${sorted.join(",")}`;
  }
}

function byKey(a: LabelRequirement, b: LabelRequirement): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}

/** Parses the string form, such as `app=web,tier in (a,b),!canary`. Throws SelectorError. */
export function parseLabelSelector(text: string | null | undefined): Selector {
  if (!text) return EVERYTHING;
  const requirements = parseRequirements(text);
  return requirements.length ? new Selector(requirements.sort(byKey)) : EVERYTHING;
}

const SPEC_OPERATORS: Record<string, LabelOperator> = {
  In: "in",
  NotIn: "notin",
  Exists: "exists",
  DoesNotExist: "!",
};

const specs = new WeakMap<object, Selector>();

/**
 * A LabelSelector object's selector: absent matches nothing, empty everything. Throws SelectorError.
 * Frozen objects (all that the API hands out) are compiled once.
 */
export function labelSelector(spec: DeepReadonly<LabelSelectorSpec> | null | undefined): Selector {
  if (!spec) return NOTHING;
  const known = specs.get(spec);
  if (known) return known;
  const requirements: LabelRequirement[] = [];
  const { matchLabels, matchExpressions } = spec;
  for (const key in matchLabels) requirements.push(requirement(key, "=", [matchLabels[key]]));
  for (const expression of matchExpressions ?? []) {
    const operator = SPEC_OPERATORS[expression.operator];
    if (!operator) {
      const name = goQuote(String(expression.operator));
      throw new SelectorError(`${name} is not a valid label selector operator`);
    }
    requirements.push(requirement(expression.key, operator, expression.values ?? []));
  }
  const selector = requirements.length ? new Selector(requirements.sort(byKey)) : EVERYTHING;
  if (Object.isFrozen(spec)) specs.set(spec, selector);
  return selector;
}

/** A selector of exact labels (a Service's, a ReplicationController's); absent or empty: everything. */
export function selectorOf(labels: Labels): Selector {
  const requirements: LabelRequirement[] = [];
  for (const key in labels) requirements.push({ key, operator: "=", values: [labels[key]] });
  return requirements.length ? new Selector(requirements.sort(byKey)) : EVERYTHING;
}

/** A LabelSelector as tables print it: `<none>` when empty or absent, `<error>` when invalid. */
export function formatLabelSelector(
  spec: DeepReadonly<LabelSelectorSpec> | null | undefined,
): string {
  try {
    return labelSelector(spec).toString() || "<none>";
  } catch (error) {
    if (error instanceof SelectorError) return "<error>";
    throw error;
  }
}

/** A LabelSelector as Go prints the struct, in texts that people and tests compare. */
export function labelSelectorStruct(
  selector: DeepReadonly<LabelSelectorSpec> | null | undefined,
): string {
  if (!selector) return "nil";
  const labels = Object.entries(selector.matchLabels ?? {}).sort(([a], [b]) => a < b ? -1 : 1)
    .map(([key, value]) => `${key}: ${value},`).join("");
  const expressions = (selector.matchExpressions ?? []).map(({ key, operator, values }) =>
    `LabelSelectorRequirement{Key:${key},Operator:${operator},Values:[${
      (values ?? []).join(" ")
    }],},`
  ).join("");
  return `&LabelSelector{MatchLabels:map[string]string{${labels}},MatchExpressions:[]LabelSelectorRequirement{${expressions}},}`;
}

/** Labels as tables print them: `a=b,c=d`, or `<none>`. */
export function formatLabels(labels: Labels): string {
  const parts = Object.keys(labels ?? NO_LABELS).sort().map((key) => `${key}=${labels![key]}`);
  return parts.join(",") || "<none>";
}

/** What validation says of a LabelSelector object. `allowInvalidValues`: for updates of old objects. */
export function checkLabelSelector(
  path: string,
  spec: DeepReadonly<LabelSelectorSpec> | null | undefined,
  options: { allowInvalidValues?: boolean; allowUnknownOperators?: boolean } = {},
): Cause[] {
  if (!spec) return [];
  const causes = checkLabels(`${path}.matchLabels`, spec.matchLabels ?? undefined);
  spec.matchExpressions?.forEach((expression, i) => {
    const at = `${path}.matchExpressions[${i}]`;
    const { key, operator } = expression;
    const values = expression.values ?? [];
    if (operator === "In" || operator === "NotIn") {
      if (!values.length) {
        const why = "must be specified when `operator` is 'In' or 'NotIn'";
        causes.push(required(`${at}.values`, why));
      }
    } else if (operator === "Exists" || operator === "DoesNotExist") {
      if (values.length) {
        const why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
        causes.push(forbidden(`${at}.values`, why));
      }
    } else if (!options.allowUnknownOperators) {
      causes.push(invalid(`${at}.operator`, operator ?? "", "not a valid selector operator"));
    }
    for (const m of isQualifiedName(key ?? "")) causes.push(invalid(`${at}.key`, key ?? "", m));
    if (options.allowInvalidValues) return;
    values.forEach((value, j) => {
      for (const m of isLabelValue(value)) causes.push(invalid(`${at}.values[${j}]`, value, m));
    });
  });
  return causes;
}

// --- fields -------------------------------------------------------------------------------------------

/** One condition on one field. */
export interface FieldTerm {
  readonly field: string;
  readonly value: string;
  /** `!=`. */
  readonly not: boolean;
}

/** A parsed field selector; all terms must hold. */
export class FieldSelector {
  readonly terms: readonly FieldTerm[];

  constructor(terms: readonly FieldTerm[]) {
    this.terms = terms;
  }

  get empty(): boolean {
    return this.terms.length === 0;
  }

  /** The one value that `field` must have, where the selector says so. */
  exact(field: string): string | undefined {
    return this.terms.find((term) => term.field === field && !term.not)?.value;
  }

  toString(): string {
    return this.terms
      .map((t) => `${t.field}${t.not ? "!=" : "="}${t.value.replace(/[\\,=]/g, "\\$&")}`)
      .join(",");
  }
}

const NO_FIELDS = new FieldSelector([]);

/** Parses a field selector, such as `status.phase!=Running,spec.nodeName=a`. Throws SelectorError. */
export function parseFieldSelector(text: string | null | undefined): FieldSelector {
  if (!text) return NO_FIELDS;
  const terms: FieldTerm[] = [];
  for (const part of splitTerms(text).sort()) {
    if (part === "") continue;
    const match = /^([^]*?)(!=|==|=)([^]*)$/.exec(part);
    if (!match) throw new SelectorError(`invalid selector: '${text}'; can't understand '${part}'`);
    const value = unescape(match[3]);
    // A term that names nothing restricts nothing.
    if (match[1] === "" && value === "") continue;
    terms.push({ field: match[1], value, not: match[2] === "!=" });
  }
  return new FieldSelector(terms);
}

function splitTerms(text: string): string[] {
  const terms: string[] = [];
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === ",") {
      terms.push(text.slice(start, i));
      start = i + 1;
    }
  }
  terms.push(text.slice(start));
  return terms;
}

function unescape(value: string): string {
  if (!/[\\,=]/.test(value)) return value;
  let out = "";
  for (let i = 0; i < value.length; i++) {
    const char = value[i];
    if (char === "\\") {
      const next = value[++i];
      if (next === undefined || !"\\,=".includes(next)) {
        const sequence = `\\${next ?? ""}`;
        throw new SelectorError(`invalid field selector: invalid escape sequence: ${sequence}`);
      }
      out += next;
    } else if (char === "," || char === "=") {
      throw new SelectorError(
        // Upstream prints the rune as a number.
        `invalid field selector: unescaped character in value: ${char.charCodeAt(0)}`,
      );
    } else out += char;
  }
  return out;
}

const META_FIELDS: NonNullable<Kind["fields"]> = {
  "metadata.name": (object) => object.metadata.name,
  "metadata.namespace": (object) => object.metadata.namespace ?? "",
};

/** Whether an object is selected. */
export type ObjectPredicate = (object: DeepReadonly<KubeObject>) => boolean;

/**
 * A predicate of a field selector for one kind: `kind.fields`, metadata.name and metadata.namespace.
 * Throws SelectorError for a field that the kind does not offer.
 */
export function compileFieldSelector(
  selector: FieldSelector,
  kind: Pick<Kind, "fields">,
): ObjectPredicate {
  const checks = selector.terms.map(({ field, value, not }) => {
    const own = kind.fields && Object.hasOwn(kind.fields, field) ? kind.fields[field] : undefined;
    const get = own ?? (Object.hasOwn(META_FIELDS, field) ? META_FIELDS[field] : undefined);
    if (!get) {
      throw new SelectorError(
        kind.fields
          ? `field label not supported: ${field}`
          : `${goQuote(field)} is not a known field selector: only "metadata.name", ` +
            `"metadata.namespace"`,
      );
    }
    return (object: DeepReadonly<KubeObject>) => (get(object) === value) !== not;
  });
  if (checks.length === 0) return () => true;
  if (checks.length === 1) return checks[0];
  return (object) => checks.every((check) => check(object));
}

/**
 * Both selectors of a list or watch as one predicate; undefined when everything is selected. Throws
 * SelectorError.
 */
export function compileSelectors(
  labels: string | undefined,
  fields: string | undefined,
  kind: Pick<Kind, "fields">,
): ObjectPredicate | undefined {
  const byLabels = parseLabelSelector(labels);
  const parsed = parseFieldSelector(fields);
  const byFields = parsed.empty ? undefined : compileFieldSelector(parsed, kind);
  if (byLabels.empty) return byFields;
  if (!byFields) return (object) => byLabels.matches(object.metadata.labels);
  return (object) => byLabels.matches(object.metadata.labels) && byFields(object);
}
