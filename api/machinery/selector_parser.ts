/**
 * The grammar of label selectors in string form. Tokens and the texts of errors follow apimachinery's
 * `labels.Parse`, oddities included: `a in (,x)` holds an empty value, `x in (a` complains about `a`.
 */
import type { Cause } from "./types.ts";
import { causeText, invalid, notSupported } from "./field_errors.ts";
import { isLabelValue, isQualifiedName } from "./names.ts";

/** A selector that cannot be parsed, in upstream's words. */
export class SelectorError extends Error {
  override name = "SelectorError";
}

/** The operators of label requirements, as selectors are written. */
export type LabelOperator = "=" | "==" | "!=" | "in" | "notin" | "exists" | "!" | "gt" | "lt";

/** One condition on one label. */
export interface LabelRequirement {
  readonly key: string;
  readonly operator: LabelOperator;
  readonly values: readonly string[];
}

/** A number as Go reads an int64; undefined when it is none. */
export function parseInt64(text: string): bigint | undefined {
  if (!/^[+-]?[0-9]+$/.test(text)) return undefined;
  const value = BigInt(text.replace(/^\+/, ""));
  return value >= -(2n ** 63n) && value < 2n ** 63n ? value : undefined;
}

const OPERATORS = ["in", "notin", "=", "==", "!=", "gt", "lt", "exists", "!"];

/** What is wrong with a requirement, in the order upstream says it. */
function requirementCauses({ key, operator, values }: LabelRequirement): Cause[] {
  const causes: Cause[] = [];
  const keyMessages = isQualifiedName(key);
  if (keyMessages.length) causes.push(invalid("key", key, keyMessages.join("; ")));
  const bad = (why: string) => causes.push(invalid("values", values, why));
  if (operator === "in" || operator === "notin") {
    if (!values.length) bad("for 'in', 'notin' operators, values set can't be empty");
  } else if (operator === "=" || operator === "==" || operator === "!=") {
    if (values.length !== 1) bad("exact-match compatibility requires one single value");
  } else if (operator === "exists" || operator === "!") {
    if (values.length) bad("values set must be empty for exists and does not exist");
  } else if (operator === "gt" || operator === "lt") {
    if (values.length !== 1) bad("for 'Gt', 'Lt' operators, exactly one value is required");
    values.forEach((value, i) => {
      if (parseInt64(value) !== undefined) return;
      const why = "for 'Gt', 'Lt' operators, the value must be an integer";
      causes.push(invalid(`values[${i}]`, value, why));
    });
  } else causes.push(notSupported("operator", operator, OPERATORS));
  values.forEach((value, i) => {
    const messages = isLabelValue(value);
    if (messages.length) causes.push(invalid(`values[${i}][${key}]`, value, messages.join("; ")));
  });
  return causes;
}

/** A checked requirement. Throws SelectorError. */
export function requirement(
  key: string,
  operator: LabelOperator,
  values: readonly string[],
): LabelRequirement {
  const made = { key, operator, values };
  const causes = requirementCauses(made);
  if (!causes.length) return made;
  const texts = [...new Set(causes.map(causeText))];
  throw new SelectorError(texts.length === 1 ? texts[0] : `[${texts.join(", ")}]`);
}

type TokenKind =
  | "end"
  | "identifier"
  | ")"
  | ","
  | "!"
  | "=="
  | "="
  | ">"
  | "in"
  | "<"
  | "!="
  | "notin"
  | "(";

interface Token {
  kind: TokenKind;
  text: string;
}

const SYMBOLS: readonly string[] = [")", ",", "!", "==", "=", ">", "<", "!=", "("];
const SPECIAL = "=!(),><";
const SPACE = " \t\r\n";
/** A selector holds at most this many characters: a URL cannot carry more. */
export const SELECTOR_LENGTH_MAX = 1 << 20;

function scan(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (true) {
    while (at < text.length && SPACE.includes(text[at])) at++;
    if (at >= text.length || text[at] === "\0") {
      tokens.push({ kind: "end", text: "" });
      return tokens;
    }
    const start = at;
    if (SPECIAL.includes(text[at])) {
      // The longest symbol that starts here; all prefixes of symbols are symbols.
      const two = text.slice(at, at + 2);
      const symbol = SYMBOLS.includes(two) ? two : text[at];
      at += symbol.length;
      tokens.push({ kind: symbol as TokenKind, text: symbol });
      continue;
    }
    while (
      at < text.length && !SPECIAL.includes(text[at]) && !SPACE.includes(text[at]) &&
      text[at] !== "\0"
    ) at++;
    const word = text.slice(start, at);
    tokens.push({ kind: word === "in" || word === "notin" ? word : "identifier", text: word });
  }
}

class Parser {
  readonly #tokens: Token[];
  #at = 0;

  constructor(tokens: Token[]) {
    this.#tokens = tokens;
  }

  /** The next token; `in` and `notin` are plain words where values or keys are expected. */
  peek(values = true): Token {
    const token = this.#tokens[Math.min(this.#at, this.#tokens.length - 1)];
    if (values && (token.kind === "in" || token.kind === "notin")) {
      return { kind: "identifier", text: token.text };
    }
    return token;
  }

  next(values = true): Token {
    const token = this.peek(values);
    this.#at++;
    return token;
  }
}

/** Parses a selector's requirements, in the order written. Throws SelectorError. */
export function parseRequirements(text: string): LabelRequirement[] {
  if (text.length > SELECTOR_LENGTH_MAX) {
    throw new SelectorError(`selector is longer than ${SELECTOR_LENGTH_MAX} characters`);
  }
  const parser = new Parser(scan(text));
  const requirements: LabelRequirement[] = [];
  while (true) {
    const token = parser.peek();
    if (token.kind === "end") return requirements;
    if (token.kind !== "identifier" && token.kind !== "!") {
      throw new SelectorError(
        `found '${token.text}', expected: !, identifier, or 'end of string'`,
      );
    }
    try {
      requirements.push(parseRequirement(parser));
    } catch (error) {
      if (!(error instanceof SelectorError)) throw error;
      throw new SelectorError(`unable to parse requirement: ${error.message}`);
    }
    const after = parser.next();
    if (after.kind === "end") return requirements;
    if (after.kind !== ",") {
      throw new SelectorError(`found '${after.text}', expected: ',' or 'end of string'`);
    }
    const following = parser.peek();
    if (following.kind !== "identifier" && following.kind !== "!") {
      throw new SelectorError(`found '${following.text}', expected: identifier after ','`);
    }
  }
}

function parseRequirement(parser: Parser): LabelRequirement {
  let token = parser.next();
  const absent = token.kind === "!";
  if (absent) token = parser.next();
  if (token.kind !== "identifier") {
    throw new SelectorError(`found '${token.text}', expected: identifier`);
  }
  const key = token.text;
  const messages = isQualifiedName(key);
  if (messages.length) {
    throw new SelectorError(causeText(invalid("<nil>", key, messages.join("; "))));
  }
  if (absent) return requirement(key, "!", []);
  const ahead = parser.peek().kind;
  if (ahead === "end" || ahead === ",") return requirement(key, "exists", []);
  const operator = parseOperator(parser);
  const values = operator === "in" || operator === "notin"
    ? parseValues(parser)
    : parseValue(parser);
  return requirement(key, operator, values);
}

function parseOperator(parser: Parser): LabelOperator {
  const token = parser.next(false);
  switch (token.kind) {
    case "in":
    case "notin":
    case "=":
    case "==":
    case "!=":
      return token.kind;
    case ">":
      return "gt";
    case "<":
      return "lt";
  }
  throw new SelectorError(`found '${token.text}', expected: in, notin, =, ==, !=, gt, lt`);
}

function parseValue(parser: Parser): string[] {
  const ahead = parser.peek();
  if (ahead.kind === "end" || ahead.kind === ",") return [""];
  parser.next();
  if (ahead.kind === "identifier") return [ahead.text];
  throw new SelectorError(`found '${ahead.text}', expected: identifier`);
}

function parseValues(parser: Parser): string[] {
  const open = parser.next();
  if (open.kind !== "(") throw new SelectorError(`found '${open.text}' expected: '('`);
  const first = parser.peek();
  if (first.kind === ")") {
    parser.next();
    return [""];
  }
  if (first.kind !== "identifier" && first.kind !== ",") {
    throw new SelectorError(`found '${first.text}', expected: ',', ')' or identifier`);
  }
  const values = parseList(parser);
  if (parser.next().kind !== ")") {
    throw new SelectorError(`found '${first.text}', expected: ')'`);
  }
  return [...values].sort();
}

/** Values up to the closing parenthesis; a comma with nothing beside it stands for an empty value. */
function parseList(parser: Parser): Set<string> {
  const values = new Set<string>();
  while (true) {
    const token = parser.next();
    const ahead = parser.peek();
    if (token.kind === "identifier") {
      values.add(token.text);
      if (ahead.kind === ")") return values;
      if (ahead.kind !== ",") {
        throw new SelectorError(`found '${ahead.text}', expected: ',' or ')'`);
      }
    } else if (token.kind === ",") {
      if (values.size === 0) values.add("");
      if (ahead.kind === ")") {
        values.add("");
        return values;
      }
      if (ahead.kind === ",") values.add("");
    } else {
      throw new SelectorError(`found '${token.text}', expected: ',', or identifier`);
    }
  }
}
