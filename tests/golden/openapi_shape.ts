/**
 * The shape of OpenAPI documents: everything but sentences, as short digests by name. Two servers' documents are
 * compared by them; what a reference is wrapped in, and where a parameter is said, does not count.
 */
import { createHash } from "node:crypto";

// deno-lint-ignore no-explicit-any -- OpenAPI documents
type Doc = any;

/** Digests by definition and by path (of a document of the third version: of all its schemas, all its paths). */
export type Shapes = Record<string, string>;

/** Of upstream, not offered here: it does nothing there without an alpha gate. */
const NOT_OFFERED = "shardSelector";

function canonical(node: Doc, parameters: Doc): Doc {
  if (Array.isArray(node)) return node.map((one) => canonical(one, parameters));
  if (node === null || typeof node !== "object") return node;
  const reference = node.$ref?.match?.(/^#\/parameters\/(.*)$/)?.[1].replaceAll("~1", "/");
  if (reference) return canonical(parameters[reference], parameters);
  if (node.allOf?.length === 1 && node.allOf[0].$ref) {
    const { allOf, ...rest } = node;
    return canonical({ ...rest, $ref: allOf[0].$ref }, parameters);
  }
  const out: Doc = {};
  for (const key of Object.keys(node).sort()) {
    if (key === "description" && typeof node[key] === "string") continue;
    out[key] = canonical(node[key], parameters);
  }
  if (Array.isArray(out.parameters)) {
    out.parameters = out.parameters.filter((p: Doc) => p.name !== NOT_OFFERED)
      .sort((a: Doc, b: Doc) => a.name < b.name ? -1 : 1);
  }
  return out;
}

function digest(node: Doc, parameters: Doc): string {
  const text = JSON.stringify(canonical(node, parameters));
  return createHash("sha256").update(text).digest("hex").slice(0, 10);
}

/** The shapes of a document of the second version. */
export function shapesOfV2(document: Doc): Shapes {
  const { definitions, paths, parameters = {} } = document;
  const out: Shapes = {};
  for (const name in definitions) out[name] = digest(definitions[name], parameters);
  for (const path in paths) out[path] = digest(paths[path], parameters);
  return out;
}

/** The shapes of a document of the third version. */
export function shapesOfV3(key: string, document: Doc): Shapes {
  return {
    [`${key} schemas`]: digest(document.components?.schemas ?? {}, {}),
    [`${key} paths`]: digest(document.paths, {}),
  };
}
