/**
 * From text to a tree: CEL's grammar, with the places that cel-go's errors point to and the words of its
 * commonest syntax errors. Parsing ends at the first error. Trees are never deeper than `DEPTH_MAX`, so that
 * whoever walks one may recurse.
 */
import { Uint } from "./values.ts";

/** Deepest nesting of an expression (cel-go's default). */
export const DEPTH_MAX = 250;

/** A node. `pos` is where errors about it point. */
export type Node =
  | { op: "literal"; pos: number; value: unknown }
  | { op: "ident"; pos: number; name: string }
  | { op: "select"; pos: number; operand: Node; field: string; optional: boolean }
  | { op: "call"; pos: number; name: string; target?: Node; args: Node[] }
  | { op: "list"; pos: number; items: Node[]; optional: boolean[] }
  | { op: "map"; pos: number; entries: Entry[] }
  | { op: "message"; pos: number; name: string; fields: MessageField[] };

/** An entry of a map. */
export interface Entry {
  pos: number;
  key: Node;
  value: Node;
  optional: boolean;
}

/** A field of a message. */
export interface MessageField {
  pos: number;
  name: string;
  value: Node;
  optional: boolean;
}

/** What a text is not understood for. */
export class SyntaxProblem extends Error {
  readonly pos: number;
  constructor(pos: number, message: string) {
    super(message);
    this.pos = pos;
  }
}

type Kind = "int" | "uint" | "double" | "string" | "bytes" | "ident" | "op" | "end";

interface Token {
  kind: Kind;
  text: string;
  pos: number;
}

const EXPRESSION_START =
  "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, " +
  "BYTES, IDENTIFIER}";

const RESERVED = new Set(
  ("as break const continue else for function if import let loop package namespace return var void " +
    "while").split(" "),
);

const QUOTED = String.raw`"""(?:\\[\s\S]|[^\\])*?"""|'''(?:\\[\s\S]|[^\\])*?'''|` +
  String.raw`"(?:\\.|[^"\\\n\r])*"|'(?:\\.|[^'\\\n\r])*'`;
const RAW = String.raw`"""[\s\S]*?"""|'''[\s\S]*?'''|"[^"\n\r]*"|'[^'\n\r]*'`;

const TOKENS: readonly [Kind | "space", RegExp][] = [
  ["space", /(?:[\t\r\n\f ]+|\/\/[^\n]*)+/y],
  ["double", /(?:\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)/y],
  ["uint", /(?:0x[0-9a-fA-F]+|\d+)[uU]/y],
  ["int", /(?:0x[0-9a-fA-F]+|\d+)/y],
  ["bytes", new RegExp(`[bB](?:[rR](?:${RAW})|${QUOTED})`, "y")],
  ["string", new RegExp(`(?:[rR](?:${RAW})|${QUOTED})`, "y")],
  ["ident", /[_a-zA-Z][_a-zA-Z0-9]*/y],
  ["op", /(?:==|!=|<=|>=|&&|\|\||[-+*/%<>!?:.,()[\]{}])/y],
];

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let pos = 0;
  next: while (pos < text.length) {
    for (const [kind, pattern] of TOKENS) {
      pattern.lastIndex = pos;
      const found = pattern.exec(text)?.[0];
      if (found === undefined) continue;
      if (kind !== "space") tokens.push({ kind, text: found, pos });
      pos += found.length;
      continue next;
    }
    if (text[pos] === "`") throw new SyntaxProblem(pos, "unsupported syntax: '`'");
    throw new SyntaxProblem(
      pos,
      `Syntax error: token recognition error at: '${badToken(text, pos)}'`,
    );
  }
  tokens.push({ kind: "end", text: "<EOF>", pos: text.length });
  return tokens;
}

/** What the lexer read before it gave up. */
function badToken(text: string, pos: number): string {
  const quote = /(?:[rRbB]{0,2})("""|'''|"|')/y;
  quote.lastIndex = pos;
  if (quote.test(text)) {
    const end = /(?:\\[abfnrtv"'\\?`xXuU0-3]|[^\\\n\r])*(?:\\.?)?/y;
    end.lastIndex = pos + 1;
    return text.slice(pos, pos + 1 + (end.exec(text)?.[0].length ?? 0));
  }
  return text.slice(pos, pos + (/[=&|]/.test(text[pos]) ? 2 : 1));
}

const ESCAPES: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "\\": "\\",
  "'": "'",
  '"': '"',
  "`": "`",
  "?": "?",
};

const encoder = new TextEncoder();

/** The value of a quoted text; `bytes` of a bytes literal. Undefined where an escape is none. */
function unquote(token: string, asBytes: boolean): string | Uint8Array | undefined {
  let text = token.replace(/\r\n?/g, "\n");
  if (asBytes) text = text.slice(1);
  const raw = /^[rR]/.test(text);
  if (raw) text = text.slice(1);
  const width = /^("""|''')/.test(text) && text.length >= 6 ? 3 : 1;
  text = text.slice(width, text.length - width);
  if (raw || !text.includes("\\")) return asBytes ? encoder.encode(text) : text;
  const parts: (string | number)[] = [];
  const pattern =
    /\\(?:[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.))|[^\\]+/gs;
  for (const [whole, hex, short, long, octal, plain] of text.matchAll(pattern)) {
    if (whole[0] !== "\\") parts.push(whole);
    else if (plain !== undefined) {
      if (!(plain in ESCAPES)) return undefined;
      parts.push(ESCAPES[plain]);
    } else if (short ?? long) {
      const code = parseInt(short ?? long, 16);
      const surrogate = code >= 0xd800 && code <= 0xdfff;
      if (asBytes || surrogate || code > 0x10ffff) return undefined;
      parts.push(String.fromCodePoint(code));
    } else parts.push(hex ? parseInt(hex, 16) : parseInt(octal, 8));
  }
  if (!asBytes) {
    return parts.map((part) => typeof part === "number" ? String.fromCodePoint(part) : part).join(
      "",
    );
  }
  return Uint8Array.from(
    parts.flatMap((part) => typeof part === "number" ? [part] : [...encoder.encode(part)]),
  );
}

const LEVELS: readonly (readonly string[])[] = [
  ["<", "<=", ">=", ">", "==", "!=", "in"],
  ["+", "-"],
  ["*", "/", "%"],
];

class Parser {
  readonly #tokens: Token[];
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#tokens = tokenize(text);
  }

  parse(): Node {
    const node = this.#expression();
    if (this.#next.kind === "end") return node;
    const { text, pos } = this.#next;
    const rest = this.#tokens.length - this.#at - 1;
    const how = rest === 1 ? "extraneous" : "mismatched";
    throw new SyntaxProblem(pos, `Syntax error: ${how} input '${text}' expecting <EOF>`);
  }

  get #next(): Token {
    return this.#tokens[this.#at];
  }

  #is(text: string): boolean {
    return this.#next.kind === "op" && this.#next.text === text;
  }

  #take(text: string): Token | undefined {
    return this.#is(text) ? this.#tokens[this.#at++] : undefined;
  }

  #expect(text: string): Token {
    const token = this.#take(text);
    if (token) return token;
    const { text: found, pos } = this.#next;
    const how = text === ":" && this.#next.kind === "end"
      ? `mismatched input '${found}' expecting '${text}'`
      : `missing '${text}' at '${found}'`;
    throw new SyntaxProblem(pos, `Syntax error: ${how}`);
  }

  /** Runs one level further down. */
  #deeper<T>(read: () => T): T {
    if (++this.#depth > DEPTH_MAX) {
      throw new SyntaxProblem(-1, `expression recursion limit exceeded: ${DEPTH_MAX}`);
    }
    const value = read();
    this.#depth--;
    return value;
  }

  #expression(): Node {
    return this.#deeper(() => {
      const condition = this.#or();
      const mark = this.#take("?");
      if (!mark) return condition;
      const yes = this.#or();
      this.#expect(":");
      const no = this.#expression();
      return call(mark.pos, "_?_:_", [condition, yes, no]);
    });
  }

  #or(): Node {
    return this.#joined("||", () => this.#joined("&&", () => this.#binary(0)));
  }

  /** Terms of one logical operator, as one call of many arguments. */
  #joined(operator: string, term: () => Node): Node {
    const first = term();
    if (!this.#is(operator)) return first;
    const { pos } = this.#next;
    const args = [first];
    while (this.#take(operator)) args.push(term());
    return call(pos, `_${operator}_`, args);
  }

  #binary(level: number): Node {
    if (level === LEVELS.length) return this.#unary();
    let left = this.#binary(level + 1);
    let depth = 0;
    for (;;) {
      const { kind, text, pos } = this.#next;
      const isOperator = kind === "op" || (kind === "ident" && text === "in");
      if (!isOperator || !LEVELS[level].includes(text)) break;
      this.#at++;
      if (++depth + this.#depth > DEPTH_MAX) throw tooDeep();
      const right = this.#binary(level + 1);
      left = call(pos, text === "in" ? "@in" : `_${text}_`, [left, right]);
    }
    return left;
  }

  #unary(): Node {
    const { text, pos } = this.#next;
    if (!this.#is("!") && !this.#is("-")) return this.#member();
    if (text === "-" && /^(int|double)$/.test(this.#tokens[this.#at + 1].kind)) {
      return this.#member();
    }
    let count = 0;
    while (this.#take(text)) count++;
    if (this.#is("!") || this.#is("-")) {
      const following = this.#tokens[this.#at + 1].kind;
      const signed = this.#is("-") && /^(int|double)$/.test(following);
      if (!signed) throw this.#unexpected();
    }
    const operand = this.#member();
    return count % 2 ? call(pos, `${text}_`, [operand]) : operand;
  }

  #member(): Node {
    let node = this.#primary();
    for (let steps = 1;; steps++) {
      const made = this.#step(node);
      if (!made) return node;
      if (steps + this.#depth > DEPTH_MAX) throw tooDeep();
      node = made;
    }
  }

  /** What follows a member: a field, a call, an index. */
  #step(node: Node): Node | undefined {
    const dot = this.#take(".");
    if (dot) {
      const optional = this.#take("?") !== undefined;
      const name = this.#next;
      if (name.kind !== "ident" || /^(in|true|false|null)$/.test(name.text)) {
        const found = name.kind === "end" ? "" : name.text;
        throw new SyntaxProblem(
          name.pos,
          `Syntax error: no viable alternative at input '.${optional ? "?" : ""}${found}'`,
        );
      }
      this.#at++;
      const paren = optional ? undefined : this.#take("(");
      if (!paren) return { op: "select", pos: dot.pos, operand: node, field: name.text, optional };
      return { op: "call", pos: paren.pos, name: name.text, target: node, args: this.#arguments() };
    }
    const bracket = this.#take("[");
    if (!bracket) return undefined;
    const optional = this.#take("?") !== undefined;
    const index = this.#expression();
    this.#expect("]");
    return call(bracket.pos, optional ? "_[?_]" : "_[_]", [node, index]);
  }

  #arguments(): Node[] {
    const args: Node[] = [];
    if (this.#take(")")) return args;
    do args.push(this.#expression()); while (this.#take(","));
    this.#expect(")");
    return args;
  }

  #unexpected(): SyntaxProblem {
    const { text, kind, pos } = this.#next;
    const following = this.#tokens[this.#at + 1];
    // The parser would go on without the token where what follows begins an expression.
    const begins = following !== undefined &&
      (/^(int|uint|double|string|bytes|ident)$/.test(following.kind) ||
        "[{(.-!".includes(following.text));
    const how = kind !== "end" && begins ? "extraneous" : "mismatched";
    return new SyntaxProblem(
      pos,
      `Syntax error: ${how} input '${text}' expecting ${EXPRESSION_START}`,
    );
  }

  #primary(): Node {
    const token = this.#next;
    switch (token.kind) {
      case "int":
      case "uint":
      case "double":
      case "string":
      case "bytes":
        this.#at++;
        return literal(token, "");
      case "ident":
        return this.#name();
      case "end":
        throw this.#unexpected();
    }
    switch (token.text) {
      case "-": {
        this.#at += 2;
        return literal(this.#tokens[this.#at - 1], "-", token.pos);
      }
      case ".":
        return this.#name();
      case "(": {
        this.#at++;
        const node = this.#expression();
        this.#expect(")");
        return node;
      }
      case "[":
        return this.#list();
      case "{":
        return this.#map();
    }
    throw this.#unexpected();
  }

  /** A name, a call of one, or a message. */
  #name(): Node {
    const dot = this.#take(".");
    const token = this.#next;
    if (token.kind !== "ident") throw this.#unexpected();
    const { text, pos } = token;
    if (!dot && /^(true|false|null)$/.test(text)) {
      this.#at++;
      return { op: "literal", pos, value: text === "null" ? null : text === "true" };
    }
    if (text === "in") throw this.#unexpected();
    const message = this.#messageName();
    if (message) return this.#message((dot ? "." : "") + message);
    this.#at++;
    if (RESERVED.has(text)) throw new SyntaxProblem(pos, `reserved identifier: ${text}`);
    const name = dot ? `.${text}` : text;
    const paren = this.#take("(");
    if (paren) return { op: "call", pos: paren.pos, name, args: this.#arguments() };
    return { op: "ident", pos: dot ? dot.pos : pos, name };
  }

  /** The dotted name before a brace, which is taken up to it; undefined where none follows. */
  #messageName(): string | undefined {
    let at = this.#at;
    let name = "";
    for (;;) {
      if (this.#tokens[at].kind !== "ident") return undefined;
      name += this.#tokens[at++].text;
      const { kind, text } = this.#tokens[at];
      if (kind !== "op" || (text !== "." && text !== "{")) return undefined;
      if (text === "{") break;
      name += ".";
      at++;
    }
    this.#at = at;
    return name;
  }

  #message(name: string): Node {
    const { pos } = this.#expect("{");
    const fields: MessageField[] = [];
    this.#items("}", () => {
      const optional = this.#take("?") !== undefined;
      const token = this.#next;
      if (token.kind !== "ident") throw this.#unexpected();
      this.#at++;
      const colon = this.#expect(":");
      const value = this.#expression();
      fields.push({ pos: colon.pos, name: token.text, value, optional });
    });
    return { op: "message", pos, name, fields };
  }

  #list(): Node {
    const { pos } = this.#expect("[");
    const items: Node[] = [];
    const optional: boolean[] = [];
    this.#items("]", () => {
      optional.push(this.#take("?") !== undefined);
      items.push(this.#expression());
    });
    return { op: "list", pos, items, optional };
  }

  #map(): Node {
    const { pos } = this.#expect("{");
    const entries: Entry[] = [];
    this.#items("}", () => {
      const optional = this.#take("?") !== undefined;
      const key = this.#expression();
      const colon = this.#expect(":");
      entries.push({ pos: colon.pos, key, value: this.#expression(), optional });
    });
    return { op: "map", pos, entries };
  }

  /** Items up to the closing mark, with a comma after the last allowed. */
  #items(close: string, read: () => void): void {
    while (!this.#take(close)) {
      read();
      if (this.#take(",")) continue;
      if (this.#take(close)) return;
      const { text, pos } = this.#next;
      const expecting = `{'${close}', ','}`;
      throw new SyntaxProblem(
        pos,
        `Syntax error: mismatched input '${text}' expecting ${expecting}`,
      );
    }
  }
}

function tooDeep(): SyntaxProblem {
  return new SyntaxProblem(-1, "max recursion depth exceeded");
}

function call(pos: number, name: string, args: Node[]): Node {
  return { op: "call", pos, name, args };
}

const INT_MAX = 2n ** 63n;
const UINT_MAX = 2n ** 64n;

function literal({ kind, text, pos }: Token, sign: string, at = pos): Node {
  const bad = (what: string) => new SyntaxProblem(at, what);
  switch (kind) {
    case "int": {
      const value = BigInt(text) * (sign ? -1n : 1n);
      if (value >= INT_MAX || value < -INT_MAX) throw bad("invalid int literal");
      return { op: "literal", pos: at, value };
    }
    case "uint": {
      const value = BigInt(text.slice(0, -1));
      if (value >= UINT_MAX) throw bad("invalid uint literal");
      return { op: "literal", pos: at, value: new Uint(value) };
    }
    case "double": {
      const value = Number(sign + text);
      if (!Number.isFinite(value)) throw bad("invalid double literal");
      return { op: "literal", pos: at, value };
    }
  }
  const value = unquote(text, kind === "bytes");
  if (value === undefined) throw bad("Syntax error: unable to unescape string");
  return { op: "literal", pos: at, value };
}

/** Parses an expression. Throws SyntaxProblem. */
export function parse(text: string): Node {
  return new Parser(text).parse();
}
