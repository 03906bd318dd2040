/**
 * Reads the part of Go that Kubernetes' API packages are written in: type declarations as gofmt prints
 * them, struct tags, `+markers` in the comments above, and string constants. No expressions, no
 * functions. What it cannot read it ignores; `generate_facts.ts` complains about what it misses.
 */

/** One field of a struct. An embedded one has an empty `name`. */
export interface GoField {
  name: string;
  type: string;
  json: string;
  proto: string;
  patchStrategy: string;
  patchMergeKey: string;
  markers: Map<string, string[]>;
  deprecated: boolean;
}

/** A declared type: a struct with fields, or another type's name. */
export interface GoType {
  name: string;
  fields?: GoField[];
  underlying?: string;
  markers: Map<string, string[]>;
}

/** What one package declares. */
export interface GoPackage {
  /** `k8s.io/api/core/v1`. */
  path: string;
  types: Map<string, GoType>;
  /** Typed string constants: type name to values in order, and constant name to value. */
  enums: Map<string, string[]>;
  constants: Map<string, string>;
  /** Constants of other packages among a type's: import name and constant's name. */
  borrowed: Map<string, [string, string][]>;
  /** File-local import names to import paths. */
  imports: Map<string, string>;
}

const FIELD = /^\t(\w+)\s+(\S.*?)(?:\s+`(.*)`)?\s*(?:\/\/.*)?$/;
const EMBEDDED = /^\t(\*?[\w.]+)(?:\s+`(.*)`)?\s*(?:\/\/.*)?$/;
const TYPE = /^\t?(?:type )?(\w+)(?: =)? (.+?)\s*(?:\/\/.*)?$/;
const CONSTANT = /^\s*(?:const )?(\w+)\s+(\w+)\s*=\s*"([^"]*)"/;
const CONVERTED = /^\s*(?:const )?(\w+)\s*=\s*(\w+)\("([^"]*)"\)/;
/** A constant of another package, converted: `AddressType(v1.IPv4Protocol)`. */
const BORROWED = /^\s*(?:const )?\w+\s*=\s*(\w+)\((\w+)\.(\w+)\)/;
const PLAIN = /^\s*(?:const )?(\w+)\s*=\s*"([^"]*)"/;

function tag(tags: string, key: string): string {
  const match = tags.match(new RegExp(`(?:^|\\s)${key}:"([^"]*)"`));
  return match ? match[1] : "";
}

function markersOf(comments: readonly string[]): Map<string, string[]> {
  const markers = new Map<string, string[]>();
  for (const line of comments) {
    const match = line.match(/^\s*\/\/\s*\+([\w:.()-]+)(?:=(.*))?$/);
    if (!match) continue;
    const values = markers.get(match[1]) ?? [];
    values.push((match[2] ?? "").trim());
    markers.set(match[1], values);
  }
  return markers;
}

function parseField(line: string, comments: readonly string[]): GoField | undefined {
  const embedded = line.match(EMBEDDED);
  const match = embedded ? undefined : line.match(FIELD);
  if (!embedded && !match) return undefined;
  const tags = (embedded ? embedded[2] : match![3]) ?? "";
  return {
    name: embedded ? "" : match![1],
    type: embedded ? embedded[1] : match![2],
    json: tag(tags, "json"),
    proto: tag(tags, "protobuf"),
    patchStrategy: tag(tags, "patchStrategy"),
    patchMergeKey: tag(tags, "patchMergeKey"),
    markers: markersOf(comments),
    deprecated: comments.some((c) => /\bDeprecated:/i.test(c)),
  };
}

function readConstants(line: string, into: GoPackage): void {
  const match = line.match(CONSTANT);
  const converted = match ? undefined : line.match(CONVERTED);
  const [name, type, value] = match
    ? [match[1], match[2], match[3]]
    : converted
    ? [converted[1], converted[2], converted[3]]
    : ["", "", ""];
  if (name) {
    into.constants.set(name, value);
    const values = into.enums.get(type) ?? [];
    if (!values.includes(value)) values.push(value);
    into.enums.set(type, values);
    return;
  }
  const borrowed = line.match(BORROWED);
  if (borrowed) {
    const [, type, alias, constant] = borrowed;
    into.borrowed.set(type, [...into.borrowed.get(type) ?? [], [alias, constant]]);
  }
  const plain = line.match(PLAIN);
  if (plain) into.constants.set(plain[1], plain[2]);
}

/** Adds what one file declares. */
export function parseGoFile(text: string, into: GoPackage): void {
  let comments: string[] = [];
  let struct: GoType | undefined;
  let block = "";
  for (const line of text.replace(/\/\*[\s\S]*?\*\//g, "").split("\n")) {
    const trimmed = line.trim();
    if (trimmed.startsWith("//")) {
      comments.push(line);
      continue;
    }
    if (struct) {
      if (trimmed === "}") struct = undefined;
      else if (trimmed) {
        const field = parseField(line, comments);
        if (field) struct.fields!.push(field);
      }
    } else if (block) {
      if (line === ")") block = "";
      else if (block === "import") readImport(trimmed, into);
      else if (block === "const") readConstants(line, into);
      else if (block === "type") struct = readType(line, comments, into);
    } else if (/^(import|const|type) \($/.test(line)) {
      block = line.split(" ")[0];
    } else if (line.startsWith("import ")) readImport(trimmed.slice(7), into);
    else if (line.startsWith("const ")) readConstants(line, into);
    else if (line.startsWith("type ")) struct = readType(line, comments, into);
    comments = [];
  }
}

function readImport(text: string, into: GoPackage): void {
  const match = text.match(/^(\w+\s+)?"([^"]+)"$/);
  if (!match) return;
  into.imports.set(match[1]?.trim() || match[2].split("/").at(-1)!, match[2]);
}

function readType(line: string, comments: string[], into: GoPackage): GoType | undefined {
  const match = line.match(TYPE);
  if (!match) return undefined;
  const type: GoType = { name: match[1], markers: markersOf(comments) };
  into.types.set(type.name, type);
  if (match[2] === "struct{}") type.fields = [];
  else if (match[2] === "struct {") {
    type.fields = [];
    return type;
  } else type.underlying = match[2];
  return undefined;
}
