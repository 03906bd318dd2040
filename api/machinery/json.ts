/**
 * JSON of request bodies: parsed by the engine, with what the engine does not say found beside it:
 * duplicate keys with their paths, nesting that is too deep, and Go's texts for bad syntax.
 *
 * The usual body costs the engine's parse and two short passes that count keys, once in the text and once
 * in the value: only if the counts differ is a key doubled, and only then its path is looked for.
 */
export { summarize } from "./json_summary.ts";
import { JsonScanner } from "./json_scanner.ts";
import { DEPTH_MAX } from "./schema.ts";

/** A body that is not JSON, or not acceptable JSON. The message is Go's. */
export class JsonError extends Error {
  override name = "JsonError";
}

/** Fatal is off: Go replaces bad UTF-8, too. A byte order mark stays, and is an error. */
const DECODER = new TextDecoder("utf-8", { ignoreBOM: true });

/** A parsed body. `duplicates` are paths such as `spec.containers[0].name`. */
export interface ParsedJson {
  value: unknown;
  duplicates: string[];
}

/** Parses a body. Throws JsonError. */
export function parseJson(input: Uint8Array | string): ParsedJson {
  const text = typeof input === "string" ? input : DECODER.decode(input);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new JsonError(new JsonScanner(text).problem() ?? "unexpected end of JSON input");
  }
  const keys = keysInText(text);
  if (text.includes("\\u")) value = wellFormed(value);
  const duplicates = keys === keysInValue(value) ? [] : new JsonScanner(text).duplicates();
  return { value, duplicates };
}

const QUOTE = 34;
const BACKSLASH = 92;

/** Counts the keys of a valid text (its colons outside strings), and checks its depth. */
function keysInText(text: string): number {
  let keys = 0;
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case QUOTE: {
        let end = text.indexOf('"', i + 1);
        while (isEscaped(text, end)) end = text.indexOf('"', end + 1);
        i = end;
        break;
      }
      case 58: // :
        keys++;
        break;
      case 91: // [
      case 123: // {
        if (++depth > DEPTH_MAX) throw new JsonError("exceeded max depth");
        break;
      case 93:
      case 125:
        depth--;
    }
  }
  return keys;
}

function isEscaped(text: string, quote: number): boolean {
  let slashes = 0;
  while (text.charCodeAt(quote - 1 - slashes) === BACKSLASH) slashes++;
  return slashes % 2 === 1;
}

function keysInValue(value: unknown): number {
  if (typeof value === "number") {
    if (value !== Infinity && value !== -Infinity) return 0;
    throw new JsonError("json: cannot unmarshal number into Go value of type float64");
  }
  if (typeof value !== "object" || value === null) return 0;
  let keys = 0;
  if (Array.isArray(value)) {
    for (const item of value) if (typeof item !== "string") keys += keysInValue(item);
    return keys;
  }
  const record = value as Record<string, unknown>;
  for (const key in record) {
    keys++;
    const item = record[key];
    if (typeof item !== "string") keys += keysInValue(item);
  }
  return keys;
}

/** Replaces lone surrogates (`\ud800`), which have no UTF-8, as Go does. */
function wellFormed(value: unknown): unknown {
  if (typeof value === "string") return value.isWellFormed() ? value : value.toWellFormed();
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(wellFormed);
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key.toWellFormed(), wellFormed(item)]),
  );
}
