/**
 * YAML of request bodies to JSON values, and JSON values to YAML. Aliases are expanded into copies, as far
 * as that stays in proportion to the text; merge keys (`<<`) are merged. Plain words are those of YAML 1.2:
 * `yes` and `on` are strings.
 */
import { parse, parseAll, stringify } from "@std/yaml";
import { setOwn } from "./edit.ts";
import { DEPTH_MAX } from "./schema.ts";

/** A body that is not YAML. The message is in the form of upstream's. */
export class YamlError extends Error {
  override name = "YamlError";
}

/** A parsed body. `duplicates` are whole messages, for YAML knows lines and not paths. */
export interface ParsedYaml {
  value: unknown;
  duplicates: string[];
}

const DECODER = new TextDecoder("utf-8", { ignoreBOM: false });

/** Parses one document. Throws YamlError. */
export function parseYaml(input: Uint8Array | string): ParsedYaml {
  const text = typeof input === "string" ? input : DECODER.decode(input);
  const duplicates: string[] = [];
  let value: unknown;
  try {
    value = parse(text, { schema: "core" });
  } catch (error) {
    const message = (error as Error).message;
    if (!message.includes("duplicated key")) throw yamlError(error);
    duplicates.push(duplicateText(message));
    value = parseAgain(text);
  }
  return { value: expand(value, text.length), duplicates };
}

/** Parses every document of a stream. Throws YamlError. */
export function parseYamlDocuments(text: string): unknown[] {
  try {
    const documents = parseAll(text, { schema: "core" }) as unknown[];
    return documents.map((d) => expand(d, text.length));
  } catch (error) {
    throw yamlError(error);
  }
}

function parseAgain(text: string): unknown {
  try {
    return parse(text, { schema: "core", allowDuplicateKeys: true });
  } catch (error) {
    throw yamlError(error);
  }
}

function yamlError(error: unknown): YamlError {
  if (error instanceof YamlError) return error;
  if (error instanceof RangeError) return new YamlError("exceeded max depth");
  const message = (error as Error).message;
  const line = message.match(/ at line (\d+), column \d+/);
  const what = message.split(/ at line \d+/)[0];
  return new YamlError(
    `error converting YAML to JSON: yaml: ${line ? `line ${line[1]}: ` : ""}${what}`,
  );
}

function duplicateText(message: string): string {
  const line = message.match(/ at line (\d+)/)?.[1] ?? "1";
  const key = message.match(/:\n\s*(?:- )?("[^"]*"|'[^']*'|[^:\n]+?)\s*:/)?.[1] ?? "";
  return `yaml: unmarshal errors:\n  line ${line}: key ${
    JSON.stringify(key.replace(/^(["'])(.*)\1$/, "$2"))
  } already set in map`;
}

/** Copies what aliases share; refuses what grows out of proportion to its text. */
function expand(value: unknown, length: number): unknown {
  let left = 10_000 + 2 * length;
  function copy(item: unknown, depth: number): unknown {
    if (--left < 0) throw new YamlError("yaml: document contains excessive aliasing");
    if (depth > DEPTH_MAX) throw new YamlError("exceeded max depth");
    if (typeof item === "number" && !Number.isFinite(item)) {
      throw new YamlError(`error converting YAML to JSON: unsupported value: ${item}`);
    }
    if (typeof item !== "object" || item === null) return item === undefined ? null : item;
    if (Array.isArray(item)) return item.map((i) => copy(i, depth + 1));
    const out: Record<string, unknown> = {};
    const record = item as Record<string, unknown>;
    const merged = record["<<"];
    if (typeof merged === "object" && merged !== null) {
      for (const source of Array.isArray(merged) ? merged.toReversed() : [merged]) {
        Object.assign(out, copy(source, depth + 1));
      }
    }
    for (const key of Object.keys(record)) {
      if (key !== "<<" || typeof merged !== "object") {
        setOwn(out, key, copy(record[key], depth + 1));
      }
    }
    return out;
  }
  return copy(value, 0);
}

/** A value as YAML, keys sorted, as upstream answers. */
export function toYaml(value: unknown): string {
  return stringify(value, {
    sortKeys: true,
    lineWidth: -1,
    skipInvalid: true,
    useAnchors: false,
    arrayIndent: false,
  });
}
