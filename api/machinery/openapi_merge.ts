/**
 * Documents of OpenAPI's second version, of several servers, as one: the part of a document that belongs to a path
 * is cut out, definitions of one name and different shape get another name. And the same as the third version,
 * for servers that do not speak it.
 */

type Node = Record<string, unknown>;

/** A part of a document: whatever its paths need. */
export interface SwaggerDocument {
  paths: Node;
  definitions: Node;
  parameters: Node;
}

const SECTIONS = ["definitions", "parameters"] as const;
const GVKS = "x-kubernetes-group-version-kind";

/** What lies under a path in a document, with the definitions it refers to. Throws for what is no document. */
export function swaggerOf(document: unknown, prefix: string): SwaggerDocument {
  const whole = document as Partial<SwaggerDocument> | null;
  const out: SwaggerDocument = { paths: {}, definitions: {}, parameters: {} };
  const waiting: unknown[] = [];
  for (const [path, item] of Object.entries(whole?.paths ?? {})) {
    if (path !== prefix && !path.startsWith(prefix)) continue;
    out.paths[path] = item;
    waiting.push(item);
  }
  while (waiting.length > 0) {
    for (const reference of referencesOf(waiting.pop())) {
      const [section, name] = partsOf(reference);
      if (!section || name in out[section]) continue;
      const found = whole?.[section]?.[name];
      if (found === undefined) continue;
      out[section][name] = found;
      waiting.push(found);
    }
  }
  return out;
}

function partsOf(reference: string): [(typeof SECTIONS)[number] | undefined, string] {
  const [, section, name = ""] = /^#\/([a-z]+)\/(.*)$/.exec(reference) ?? [];
  return [
    SECTIONS.find((one) => one === section),
    name.replaceAll("~1", "/").replaceAll("~0", "~"),
  ];
}

function* referencesOf(node: unknown): Generator<string> {
  if (Array.isArray(node)) { for (const one of node) yield* referencesOf(one); }
  else if (node !== null && typeof node === "object") {
    for (const [name, value] of Object.entries(node)) {
      if (name === "$ref" && typeof value === "string") yield value;
      else yield* referencesOf(value);
    }
  }
}

/** Adds a part to a document; what is there already wins. */
export function mergeSwagger<T extends { paths: Node; definitions: Node; parameters?: Node }>(
  document: T,
  part: SwaggerDocument,
): T {
  const out = { ...document, paths: { ...document.paths } };
  const renamed = new Map<string, string>();
  for (const section of SECTIONS) {
    const all: Node = out[section] = { ...document[section] };
    for (const [name, node] of Object.entries(part[section])) {
      const free = nameFor(all, name, node);
      if (free !== name) renamed.set(`#/${section}/${name}`, `#/${section}/${free}`);
    }
  }
  for (const section of SECTIONS) {
    const all = out[section] as Node;
    for (const [name, node] of Object.entries(part[section])) {
      const to = (renamed.get(`#/${section}/${name}`) ?? `#/${section}/${name}`).slice(
        section.length + 3,
      );
      all[to] = to in all ? withKinds(all[to] as Node, node as Node) : rewritten(node, renamed);
    }
  }
  for (const [path, item] of Object.entries(part.paths)) {
    out.paths[path] ??= rewritten(item, renamed);
  }
  return out;
}

/** The name itself where it is free or means the same, else the next with a number. */
function nameFor(all: Node, name: string, node: unknown): string {
  const shape = shapeOf(node);
  let free = name;
  for (let n = 2; free in all && shapeOf(all[free]) !== shape; n++) free = `${name}_v${n}`;
  return free;
}

/** What counts when two definitions are compared: not their words, nor which kinds they are listed for. */
function shapeOf(node: unknown): string {
  return JSON.stringify(node, (name, value) => {
    if ((name === "description" && typeof value === "string") || name === GVKS) return undefined;
    if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1));
  });
}

function withKinds(own: Node, other: Node): Node {
  const mine = own[GVKS];
  const theirs = other[GVKS];
  if (!Array.isArray(mine) || !Array.isArray(theirs)) return own;
  const seen = new Set(mine.map((one) => JSON.stringify(sorted(one))));
  const more = theirs.filter((one) => !seen.has(JSON.stringify(sorted(one))));
  return more.length > 0 ? { ...own, [GVKS]: [...mine, ...more] } : own;
}

function sorted(value: unknown): unknown {
  return Object.entries(value ?? {}).sort(([a], [b]) => a < b ? -1 : 1);
}

function rewritten(node: unknown, renamed: ReadonlyMap<string, string>): unknown {
  if (renamed.size === 0) return node;
  if (Array.isArray(node)) return node.map((one) => rewritten(one, renamed));
  if (node === null || typeof node !== "object") return node;
  const out: Node = {};
  for (const [name, value] of Object.entries(node)) {
    out[name] = name === "$ref" && typeof value === "string"
      ? renamed.get(value) ?? value
      : rewritten(value, renamed);
  }
  return out;
}

const JSON_TYPE = "application/json";

/** A part of the second version as a document of the third. */
export function convertToV3(part: SwaggerDocument): Node {
  const paths: Node = {};
  for (const [path, item] of Object.entries(part.paths)) {
    paths[path] = convertItem(item as Node, part);
  }
  const schemas = converted(part.definitions) as Node;
  return {
    openapi: "3.0.0",
    info: { title: "Kubernetes", version: "unversioned" },
    paths,
    components: { schemas },
  };
}

/** References to definitions, as the third version writes them. */
function converted(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(converted);
  if (node === null || typeof node !== "object") return node;
  const out: Node = {};
  for (const [name, value] of Object.entries(node)) {
    out[name] = name === "$ref" && typeof value === "string"
      ? value.replace("#/definitions/", "#/components/schemas/")
      : converted(value);
  }
  return out;
}

function convertItem(item: Node, part: SwaggerDocument): Node {
  const out: Node = {};
  for (const [name, value] of Object.entries(item)) {
    if (name === "parameters") {
      out[name] = parametersOf(value, part).filter((p) => p.in !== "body").map(convertParameter);
    } else out[name] = isOperation(name) ? convertOperation(value as Node, part) : converted(value);
  }
  return out;
}

function isOperation(name: string): boolean {
  return ["get", "put", "post", "delete", "options", "head", "patch"].includes(name);
}

function parametersOf(list: unknown, part: SwaggerDocument): Node[] {
  if (!Array.isArray(list)) return [];
  return list.map((one: Node) => {
    const [section, name] = typeof one.$ref === "string" ? partsOf(one.$ref) : [undefined, ""];
    return (section === "parameters" ? part.parameters[name] : one) as Node | undefined;
  }).filter((one) => one !== undefined && one !== null);
}

function convertParameter({ type, items, format, uniqueItems, ...rest }: Node): Node {
  const schema: Node = { type };
  if (items !== undefined) schema.items = converted(items);
  if (format !== undefined) schema.format = format;
  if (uniqueItems !== undefined) schema.uniqueItems = uniqueItems;
  return { ...rest, schema };
}

function convertOperation(operation: Node, part: SwaggerDocument): Node {
  const { consumes, produces, schemes: _, parameters, responses, ...rest } = operation;
  const out = converted(rest) as Node;
  const list = parametersOf(parameters, part);
  const plain = list.filter((p) => p.in !== "body");
  if (plain.length > 0) out.parameters = plain.map(convertParameter);
  const body = list.find((p) => p.in === "body");
  if (body) {
    const content = contentOf(consumes, body.schema);
    out.requestBody = { content, ...(body.required === true && { required: true }) };
  }
  out.responses = Object.fromEntries(
    Object.entries(responses ?? {}).map(([code, answer]) => {
      const { schema, description = "" } = answer as Node;
      return [code, {
        description,
        ...(schema !== undefined && { content: contentOf(produces, schema) }),
      }];
    }),
  );
  return out;
}

function contentOf(types: unknown, schema: unknown): Node {
  const list = Array.isArray(types) && types.length > 0 && types[0] !== "*/*" ? types : [JSON_TYPE];
  return Object.fromEntries(list.map((type) => [type, { schema: converted(schema) }]));
}
