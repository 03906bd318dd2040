/**
 * What calls cost: while they run, by their arguments and results, and before, by what is known of their
 * sizes. Most functions of Kubernetes' are priced by name, whichever overload is meant; CEL's own by overload,
 * and then only where the checker left one (otherwise they cost 1, as upstream).
 */
import type { Schema } from "../types.ts";
import {
  fixed,
  ONE,
  type Range,
  scaled,
  sizeEstimate,
  sum,
  times,
  UNKNOWN,
  ZERO,
} from "./estimate.ts";
import type { Type } from "./types.ts";
import { CelError, ObjectValue, Opaque, sizeOf, type Value } from "./values.ts";

/** What walking a text costs a character. */
export const STRING_COST = 0.1;
/** What a regular expression costs a character of its own. */
export const PATTERN_COST = 0.25;
/** Making a list, a map, a message. */
export const LIST_COST = 10;
export const MAP_COST = 30;
export const MESSAGE_COST = 40;
/** A check of authorization: an expression can afford two. */
export const CHECK_COST = 350_000;

/** The cost of one call. `result` may be an error. */
export type Cost = (args: readonly Value[], result: Value) => number;

/** What is known of an argument before it is evaluated. */
export interface Known {
  type: Type;
  size?: Range;
  /** Sizes of the entries of a list or map made in the expression. */
  entry?: { key: Range; value: Range };
  schema?: Schema;
  constant?: { value: Value };
}

/** What a call may cost (its arguments apart), and how large its result may be. */
export interface Estimated {
  cost: Range;
  size?: Range;
}

/** Estimates a call; the receiver is the first argument. Undefined: what calls usually cost. */
export type Estimate = (args: readonly Known[]) => Estimated | undefined;

/** The size of an argument, as far as it is known. */
export function sizeKnown(arg: Known): Range {
  return arg.size ?? UNKNOWN;
}

const walk = (size: number, factor = 1) => Math.ceil(size * factor * STRING_COST);

/** The cost of walking the text of one argument. */
export function walked(at: number): Cost {
  return (args) => walk(sizeOf(args[at]));
}

/** The cost of running a pattern over a text. */
export function matched(text: number, pattern: number): number {
  return Math.ceil((1 + text) * STRING_COST) * Math.ceil(pattern * PATTERN_COST);
}

/** A list's or map's walk counts what lies in it. */
function traversal(value: Value): number {
  if (typeof value === "string") {
    return Math.floor(new TextEncoder().encode(value).length * STRING_COST);
  }
  if (value instanceof Uint8Array) return Math.floor(value.length * STRING_COST);
  if (Array.isArray(value)) return value.reduce((total, one) => total + traversal(one), 0);
  if (value instanceof Map) {
    let total = 0;
    for (const [key, one] of value) total += traversal(key) + traversal(one);
    return total;
  }
  return value instanceof ObjectValue ? Object.keys(value.json).length : 1;
}

/** Half a requirement a character of a selector, each a list and a message. */
function selectorCost(size: Range): Range {
  const requirements = scaled(scaled(size, 0.5), LIST_COST + MESSAGE_COST);
  return sum(fixed(LIST_COST), scaled(size, STRING_COST), requirements);
}

/** How large formats' patterns are taken to be. */
const FORMAT_PATTERNS: Readonly<Record<string, number>> = {
  dns1123Label: 30,
  dns1123Subdomain: 60,
  dns1035Label: 30,
  qualifiedName: 60,
  dns1123LabelPrefix: 30,
  dns1123SubdomainPrefix: 60,
  dns1035LabelPrefix: 30,
  labelValue: 40,
  uri: 1104,
  uuid: 72,
  byte: 84,
  date: 72,
  datetime: 72,
};
const FORMAT_PATTERN_MAX = 128;

interface Priced {
  cost: Cost;
  estimate: Estimate;
}

const ONE_UNIT: Priced = { cost: () => 1, estimate: () => ({ cost: ONE }) };

/** Of functions that walk their first argument so many times. */
function walking(factor: number, sized = false): Priced {
  return {
    cost: (args) => walk(sizeOf(args[0]), factor),
    estimate: ([text]) => {
      const size = sizeKnown(text);
      return { cost: scaled(size, factor * STRING_COST), size: sized ? size : undefined };
    },
  };
}

/** What is known of the items of a list. */
function itemSize({ schema }: Known): Range {
  return schema?.items ? { min: 0, max: sizeEstimate(schema.items) } : UNKNOWN;
}

const comparing: Priced = {
  cost: (args) => traversal(args[0]),
  estimate: ([target]) => {
    const size = sizeKnown(target);
    const item = target.type.kind === "list" ? target.type.a : undefined;
    if (!item) return { cost: scaled(size, STRING_COST) };
    const texts = item.kind === "string" || item.kind === "bytes";
    const each = texts ? sum(ONE, scaled(itemSize(target), STRING_COST)) : ONE;
    return { cost: times(size, each) };
  },
};

const replacing: Priced = {
  cost: (args) => walk(sizeOf(args[0]), 2),
  estimate: ([text, from, to]) => {
    const size = sizeKnown(text);
    const a = sizeKnown(from);
    const b = sizeKnown(to);
    const count = { min: 0, max: 0 };
    const kept = { min: 0, max: 0 };
    if (a.min === 0) [count.max, kept.max] = [size.max + 1, size.max];
    else if (b.max <= a.min) kept.max = size.max;
    else count.max = Math.ceil(size.max / a.min);
    if (a.max === 0) [count.min, kept.min] = [size.min + 1, size.min];
    else if (a.max <= b.min) kept.min = size.min;
    else count.min = Math.ceil(size.min / a.max);
    return { cost: scaled(size, 2 * STRING_COST), size: sum(times(count, b), kept) };
  },
};

const splitting: Priced = {
  cost: (args) => walk(sizeOf(args[0]), 2),
  estimate: ([text, _by, limit]) => {
    const size = sizeKnown(text);
    const most = limit?.constant ? Number(limit.constant.value) : size.max;
    return {
      cost: scaled(size, 2 * STRING_COST),
      size: { min: 0, max: most < 0 ? size.max : most },
    };
  },
};

const joining: Priced = {
  cost: (_, result) => walk(sizeOf(result), 2),
  estimate: ([list, by]) => {
    const count = sizeKnown(list);
    let size = times(count, itemSize(list));
    if (by) {
      const between = { min: Math.max(0, count.min - 1), max: Math.max(0, count.max - 1) };
      size = sum(size, times(sizeKnown(by), between));
    }
    return { cost: scaled(size, STRING_COST), size };
  },
};

const finding: Priced = {
  cost: (args) => matched(sizeOf(args[0]), sizeOf(args[1])),
  estimate: ([text, pattern]) => {
    const size = sizeKnown(text);
    const cost = times(
      scaled(sum(size, ONE), STRING_COST),
      scaled(sizeKnown(pattern), PATTERN_COST),
    );
    return { cost, size: { min: 0, max: size.max } };
  },
};

/** Of comparing addresses with a network: 4 or 16 bytes, and a text's walk where it is one. */
function containing(masks: boolean): Priced {
  const bytes = { min: 4, max: 16 };
  return {
    cost: ([network, other]) => {
      const size = sizeOf(network);
      const parsing = typeof other === "string" ? walk(sizeOf(other)) : 0;
      return walk(size, 2) + (masks ? walk(size) + 1 : 0) + parsing;
    },
    estimate: ([_, other]) => {
      const parsing = other.type.kind === "string" ? scaled(sizeKnown(other), STRING_COST) : ZERO;
      const masking = masks ? sum(scaled(bytes, STRING_COST), ONE) : ZERO;
      return { cost: sum(scaled(sum(bytes, bytes), STRING_COST), masking, parsing) };
    },
  };
}

const validating: Priced = {
  cost: ([format, text]) => {
    const pattern = format instanceof Opaque ? FORMAT_PATTERNS[format.text] ?? 0 : 0;
    return matched(sizeOf(text), pattern);
  },
  estimate: ([_, text]) => ({
    cost: scaled(scaled(sizeKnown(text), STRING_COST), FORMAT_PATTERN_MAX * PATTERN_COST),
  }),
};

const selecting: Priced = {
  cost: (args) => selectorCost(fixed(sizeOf(args[1]))).max,
  estimate: ([_, text]) => ({ cost: selectorCost(sizeKnown(text)) }),
};

const checking: Priced = {
  cost: () => CHECK_COST,
  estimate: () => ({ cost: fixed(CHECK_COST) }),
};

const PRICED = new Map<string, Priced>();

function price(names: string, priced: Priced): void {
  for (const name of names.split(" ")) PRICED.set(name, priced);
}

price("check", checking);
price("serviceAccount path group resource subresource namespace name", ONE_UNIT);
price("allowed reason error errored", ONE_UNIT);
price("fieldSelector labelSelector", selecting);
price("isSorted sum max min indexOf lastIndexOf", comparing);
price("url lowerAscii upperAscii substring trim jsonpatch.escapeKey", walking(1, true));
price("replace", replacing);
price("split", splitting);
price("join", joining);
price("find findAll", finding);
price("cidr isIP isCIDR quantity isQuantity semver isSemver", walking(1));
price("ip.isCanonical", walking(2));
price("masked prefixLength family isUnspecified isLoopback isLinkLocalMulticast", ONE_UNIT);
price("isLinkLocalUnicast isGlobalUnicast format.named", ONE_UNIT);
price("containsIP", containing(false));
price("containsCIDR", containing(true));
price("validate", validating);
price("sign asInteger isInteger asApproximateFloat isGreaterThan isLessThan", ONE_UNIT);
price("compareTo add sub major minor patch", ONE_UNIT);
price("getScheme getHostname getHost getPort getEscapedPath getQuery", ONE_UNIT);
price("ip", {
  cost: ([from]) => typeof from === "string" ? walk(sizeOf(from)) : 1,
  estimate: ([from]) => ({
    cost: from.type.kind === "opaque" ? ONE : scaled(sizeKnown(from), STRING_COST),
  }),
});

/** The price of a function by its name. */
export function priceOf(name: string): Priced | undefined {
  return PRICED.get(name);
}

// --- CEL's own, by overload ---------------------------------------------------------------------------

/** Equality and order walk the shorter of two. */
export const shorter: { cost: Cost; estimate: Estimate } = {
  cost: ([a, b]) => a instanceof Opaque ? 1 : walk(Math.min(sizeOf(a), sizeOf(b))),
  estimate: ([a, b]) => {
    if (a.type.kind === "opaque" && b.type.kind === "opaque") return { cost: ONE };
    const max = Math.min(sizeKnown(a).max, sizeKnown(b).max);
    return { cost: scaled({ min: max > 0 ? 1 : 0, max }, STRING_COST) };
  },
};

/** Joining texts walks both; the result is as large as both. */
export const added: { cost: Cost; estimate: Estimate } = {
  cost: ([a, b]) => walk(sizeOf(a) + sizeOf(b)),
  estimate: ([a, b]) => {
    const size = sum(sizeKnown(a), sizeKnown(b));
    return { cost: scaled(size, STRING_COST), size };
  },
};

/** Joining lists costs nothing by their sizes. */
export const appended: { cost: Cost; estimate: Estimate } = {
  cost: () => 1,
  estimate: ([a, b]) => ({ cost: ONE, size: sum(sizeKnown(a), sizeKnown(b)) }),
};

/** Of lists that a call makes: the list, the call, and its items so many times. */
function listed(items: number): number {
  return Math.floor(items) + 1 + LIST_COST;
}

/** As many items as the result has. */
export const copied: { cost: Cost; estimate: Estimate } = {
  cost: (_, result) => listed(result instanceof CelError ? 1 : sizeOf(result)),
  estimate: ([list]) => listEstimate(sizeKnown(list), 1),
};

export function listEstimate(size: Range, factor: number): Estimated {
  return { cost: sum(scaled(size, factor), ONE, fixed(LIST_COST)), size };
}

/** Comparing each item of a list with each. */
export function selfCompared(at: number, item?: string): { cost: Cost; estimate: Estimate } {
  return {
    cost: (args) => {
      const list = args[at];
      if (!Array.isArray(list)) return 1;
      const texts = typeof list[0] === "string" || list[0] instanceof Uint8Array;
      return listed(list.length ** 2 * (texts ? 2 + STRING_COST : 2));
    },
    estimate: (args) => {
      const size = sizeKnown(args[at]);
      const texts = item === "string" || item === "bytes";
      return listEstimate(times(size, size), texts ? 2 + STRING_COST : 2);
    },
  };
}

/** Comparing each item of one list with each of another. */
export function crossed(factor: number): { cost: Cost; estimate: Estimate } {
  return {
    cost: ([a, b]) => 1 + Math.floor(sizeOf(a) * sizeOf(b) * factor),
    estimate: ([a, b]) => ({
      cost: sum(scaled(times(sizeKnown(a), sizeKnown(b)), factor), ONE),
    }),
  };
}
