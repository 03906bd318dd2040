/**
 * Which objects a list or watch is about: label and field selectors compiled to one predicate, and the
 * single name a field selector may fix, so that one object is looked up and not searched.
 */
import type { Item } from "../../kv/contract.ts";
import { badRequest } from "../machinery/errors.ts";
import {
  compileFieldSelector,
  parseFieldSelector,
  parseLabelSelector,
} from "../machinery/selectors.ts";
import { ApiError, type Kind, type KubeObject } from "../machinery/types.ts";
import { served } from "./codec.ts";
import type { Params } from "./request.ts";

/** A compiled selection. */
export interface Selection {
  /** Undefined: everything matches. */
  matches?: (item: Item<KubeObject>) => boolean;
  /** Only the object of this name can match. */
  name?: string;
}

type Test = (item: Item<KubeObject>) => boolean;

const NOTHING: Selection = {};

/** Compiles a request's selectors; throws 400 with upstream's text for bad ones. */
export function selectionOf(kind: Kind, params: Params, name = ""): Selection {
  const { labelSelector, fieldSelector } = params;
  if (!labelSelector && !fieldSelector && !name) return NOTHING;
  try {
    return compile(kind, { labelSelector, fieldSelector, name });
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw badRequest(error instanceof Error ? error.message : String(error));
  }
}

function compile(
  kind: Kind,
  { labelSelector, fieldSelector, name }: {
    labelSelector?: string;
    fieldSelector?: string;
    name: string;
  },
): Selection {
  const tests: Test[] = [];
  let only = name || undefined;
  if (labelSelector) {
    const selector = parseLabelSelector(labelSelector);
    // Of all conversions only a webhook's may change labels
    if (kind.storage?.convert) {
      tests.push((item) => selector.matches(served(kind, item).metadata.labels));
    } else if (!selector.empty) {
      tests.push((item) => selector.matches(item.value.metadata.labels));
    }
  }
  if (fieldSelector) {
    const selector = parseFieldSelector(fieldSelector);
    const fixed = selector.terms.find((term) => term.field === "metadata.name" && !term.not)?.value;
    if (fixed !== undefined && only !== undefined && fixed !== only) {
      throw badRequest("fieldSelector metadata.name doesn't match the name in the request");
    }
    only ??= fixed;
    if (selector.terms.length) {
      const predicate = compileFieldSelector(selector, kind);
      tests.push((item) => predicate(served(kind, item)));
    }
  }
  if (name) tests.push((item) => item.value.metadata.name === name);
  if (tests.length === 0) return { name: only };
  if (tests.length === 1) return { matches: tests[0], name: only };
  const matches = (item: Item<KubeObject>) => {
    for (const test of tests) if (!test(item)) return false;
    return true;
  };
  return { matches, name: only };
}
