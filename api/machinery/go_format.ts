/**
 * Values as Go prints them: `%q`, `%v` of a list, `json.Marshal`. Upstream's error texts quote values this
 * way and clients match on the text.
 */

// Printable to Go: letters, marks, numbers, punctuation, symbols and the ASCII space.
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;
const UNPRINTABLE = /[\p{C}\p{Z}]/u;

const ESCAPES: Record<string, string> = {
  '"': '\\"',
  "\\": "\\\\",
  "\x07": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
};

/** A string as `%q` prints it: in double quotes, with Go's escapes. */
export function goQuote(text: string): string {
  if (PLAIN.test(text)) return `"${text}"`;
  let out = '"';
  for (const char of text) {
    const escape = ESCAPES[char];
    if (escape !== undefined) {
      out += escape;
    } else if (char === " " || !UNPRINTABLE.test(char)) {
      out += char;
    } else {
      const code = char.codePointAt(0)!;
      if (code < 0x80) out += `\\x${code.toString(16).padStart(2, "0")}`;
      // A lone surrogate cannot be in Go's UTF-8; it would have been decoded as U+FFFD, which prints.
      else if (code >= 0xd800 && code < 0xe000) out += "\ufffd";
      else if (code < 0x10000) out += `\\u${code.toString(16).padStart(4, "0")}`;
      else out += `\\U${code.toString(16).padStart(8, "0")}`;
    }
  }
  return out + '"';
}

const HTML_ESCAPES: Record<string, string> = {
  "<": "\\u003c",
  ">": "\\u003e",
  "&": "\\u0026",
  "\u2028": "\\u2028",
  "\u2029": "\\u2029",
};

/** A value as `json.Marshal` writes it: HTML characters escaped. Keys stay in the order they are in. */
export function goJson(value: unknown): string {
  const text = JSON.stringify(value) ?? "null";
  return /[<>&\u2028\u2029]/.test(text)
    ? text.replace(/[<>&\u2028\u2029]/g, (c) => HTML_ESCAPES[c])
    : text;
}

/** A list as `%v` prints it: `[a b c]`. */
export function goList(values: readonly unknown[]): string {
  return `[${values.map((v) => goValue(v)).join(" ")}]`;
}

/** Any JSON value as `%v` prints it after decoding into `interface{}`: maps sorted, `map[a:1 b:[x y]]`. */
export function goValue(value: unknown): string {
  if (value === null || value === undefined) return "<nil>";
  if (Array.isArray(value)) return goList(value);
  if (typeof value === "number") return goNumber(value);
  if (typeof value !== "object") return String(value);
  const map = value as Record<string, unknown>;
  const parts = Object.keys(map).sort().map((key) => `${key}:${goValue(map[key])}`);
  return `map[${parts.join(" ")}]`;
}

/** Any JSON value as `%#v` prints it: `map[string]interface {}{"a":1}`. */
export function goSyntax(value: unknown): string {
  if (value === null || value === undefined) return "interface {}(nil)";
  if (typeof value === "string") return goQuote(value);
  if (Array.isArray(value)) return `[]interface {}{${value.map(goSyntax).join(", ")}}`;
  if (typeof value !== "object") return goValue(value);
  const map = value as Record<string, unknown>;
  const parts = Object.keys(map).sort().map((key) => `${goQuote(key)}:${goSyntax(map[key])}`);
  return `map[string]interface {}{${parts.join(", ")}}`;
}

/** A number as `%v` prints an integer when it is one, or a float64. */
export function goNumber(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e21) return value.toFixed(0);
  return goFloat(value);
}

/** A float64 as `%v` and `%g` print it: with an exponent below 1e-4 and from 1e6 on. */
export function goFloat(value: number): string {
  const size = Math.abs(value);
  const plain = size === 0 || (size >= 1e-4 && size < 1e6);
  return plain || !Number.isFinite(value) ? String(value) : goExponent(value.toExponential());
}

function goExponent(text: string): string {
  // Go writes at least two digits of exponent.
  return text.replace(/e([+-])(\d)$/, "e$10$2");
}
