/**
 * The field and label selectors of an access review: checked as upstream checks them, and turned into the text
 * that a request would carry. What cannot be understood is left out, which asks for more, never for less,
 * and the review says so.
 */
import { forbidden, invalid, required } from "../machinery/field_errors.ts";
import { isLabelValue, isQualifiedName } from "../machinery/names.ts";
import { parseFieldSelector, parseLabelSelector, SelectorError } from "../machinery/selectors.ts";
import type { Cause } from "../machinery/types.ts";

interface Requirement {
  key?: string;
  operator?: string;
  values?: string[];
}

/** A selector as a review's spec holds it. */
export interface SelectorAttributes {
  rawSelector?: string;
  requirements?: Requirement[];
}

type SelectorName = "fieldSelector" | "labelSelector";

/** What is wrong with one selector of `spec.resourceAttributes`. */
export function checkSelector(
  name: SelectorName,
  selector: SelectorAttributes | undefined,
): Cause[] {
  if (!selector) return [];
  const path = `spec.resourceAttributes.${name}`;
  const { rawSelector, requirements = [] } = selector;
  const causes: Cause[] = [];
  if (rawSelector && requirements.length) {
    const text = "may not specified at the same time as requirements";
    causes.push(invalid(`${path}.rawSelector`, rawSelector, text));
  }
  if (!rawSelector && requirements.length === 0) {
    causes.push(required(
      `${path}.requirements`,
      `when ${path} is specified, requirements or rawSelector is required`,
    ));
  }
  for (const [i, requirement] of requirements.entries()) {
    causes.push(...checkRequirement(name, requirement, `${path}.requirements[${i}]`));
  }
  return causes;
}

function checkRequirement(name: SelectorName, requirement: Requirement, path: string): Cause[] {
  const { key = "", operator = "", values = [] } = requirement;
  const causes: Cause[] = [];
  if (name === "fieldSelector" && !key) causes.push(required(`${path}.key`, "must be specified"));
  const listed = operator === "In" || operator === "NotIn";
  if (listed && values.length === 0) {
    const text = "must be specified when `operator` is 'In' or 'NotIn'";
    causes.push(required(`${path}.values`, text));
  }
  if ((operator === "Exists" || operator === "DoesNotExist") && values.length) {
    const text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
    causes.push(forbidden(`${path}.values`, text));
  }
  if (name === "fieldSelector") return causes;
  for (const text of isQualifiedName(key)) causes.push(invalid(`${path}.key`, key, text));
  for (const [i, value] of values.entries()) {
    for (const text of isLabelValue(value)) {
      causes.push(invalid(`${path}.values[${i}]`, value, text));
    }
  }
  return causes;
}

/** A selector as a request's text, and what the review says of what was left out. */
export function selectorText(
  name: SelectorName,
  selector: SelectorAttributes | undefined,
): { text?: string; problem?: string } {
  if (!selector) return {};
  const ignored = `spec.resourceAttributes.${name} ignored due to parse error`;
  if (selector.rawSelector) {
    try {
      const parse = name === "fieldSelector" ? parseFieldSelector : parseLabelSelector;
      parse(selector.rawSelector);
      return { text: selector.rawSelector };
    } catch (error) {
      if (error instanceof SelectorError) return { problem: ignored };
      throw error;
    }
  }
  const requirements = selector.requirements ?? [];
  const term = name === "fieldSelector" ? fieldTerm : labelTerm;
  const terms = requirements.map(term).filter((text) => text !== undefined);
  const problem = terms.length === requirements.length
    ? undefined
    : terms.length
    ? ignored.replace(" ignored", " partially ignored")
    : ignored;
  return {
    ...(terms.length ? { text: terms.join(",") } : {}),
    ...(problem ? { problem } : {}),
  };
}

/** Field selectors know one value, equal or not. */
function fieldTerm({ key, operator, values = [] }: Requirement): string | undefined {
  if (values.length !== 1 || (operator !== "In" && operator !== "NotIn")) return undefined;
  const value = values[0].replace(/[\\,=]/g, "\\$&");
  return `${key}${operator === "In" ? "=" : "!="}${value}`;
}

function labelTerm({ key, operator, values = [] }: Requirement): string | undefined {
  if (operator === "In") return `${key} in (${values.join(",")})`;
  if (operator === "NotIn") return `${key} notin (${values.join(",")})`;
  if (operator === "Exists") return key;
  return operator === "DoesNotExist" ? `!${key}` : undefined;
}
