/**
 * Every kind's hooks, columns and fields over objects that hold next to nothing, or very long hostile texts:
 * none throws (a throw would be a 500), none takes long.
 */
import { assertEquals } from "@std/assert";
import { applyDefaults } from "../machinery/defaults.ts";
import { edit } from "../machinery/edit.ts";
import { decode } from "../machinery/schema.ts";
import { ApiError, type Kind, type KindContext, type KubeObject } from "../machinery/types.ts";
import { createKinds } from "./registry.ts";
import { contextOf } from "./rules/fixture.ts";

const kinds = createKinds({ beta: true }).all();
const EMPTY = { metadata: {}, spec: {} };
const SPARSE: unknown[] = [
  {},
  EMPTY,
  { metadata: { name: "a" } },
  { metadata: { generateName: "a" }, webhooks: [{}], rules: [{}], endpoints: [{}], subsets: [{}] },
];

function context(subresource = ""): KindContext {
  return { ...contextOf(subresource), requester: { groups: [] } };
}

/** All that the pipeline would ask of an object, on create and on every way to update. */
function run(kind: Kind, object: KubeObject): void {
  const { hooks } = kind;
  applyDefaults(kind.schemas, kind.schema, object);
  hooks.defaults?.(object);
  hooks.prepareCreate?.(object, context());
  hooks.validate?.(object, context());
  hooks.warnings?.(object);
  hooks.gracePeriod?.(object);
  for (const sub of ["", ...kind.subresources.map((s) => s.name)]) {
    const next = edit(object);
    hooks.prepareUpdate?.(next, object, context(sub));
    hooks.validateUpdate?.(next, object, context(sub));
  }
  for (const column of kind.columns) column.cell?.(object, 0);
  for (const field of Object.values(kind.fields ?? {})) field(object);
}

Deno.test("objects that hold next to nothing", () => {
  for (const kind of kinds) {
    for (const value of SPARSE) {
      const { object } = decode(kind, value, "Ignore");
      try {
        run(kind, object);
      } catch (error) {
        const what = `${kind.version}/${kind.kind} ${JSON.stringify(value)}`;
        if (!(error instanceof ApiError)) throw new Error(`${what}: ${error}`, { cause: error });
      }
    }
  }
});

/** Texts on which a careless expression takes for ever. */
const HOSTILE = ["a", "a.", "a-", "0", ".", "/", "1m", "* ", "1,", "::", "@", "$(", "{", "=", "é"]
  .flatMap((part) => [part.repeat(2000), `${part.repeat(2000)}!`]);

function fill(
  kind: Kind,
  schemaName: string,
  text: string,
  depth: number,
): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(kind.schemas[schemaName].properties ?? {})) {
    if (["apiVersion", "kind", "uid", "resourceVersion"].includes(name)) continue;
    const list = field.type === "array";
    const { type, ref } = list ? field.items! : field;
    if (type === "string" && (name !== "name" || depth > 1)) out[name] = list ? [text] : text;
    else if (type === "map" && field.items?.type === "string") out[name] = { k: text };
    else if (type === "object" && ref && depth < 5) {
      const inner = fill(kind, ref, text, depth + 1);
      out[name] = list ? [inner] : inner;
    }
  }
  return out;
}

Deno.test("very long hostile texts in every field", async () => {
  const started = performance.now();
  for (const kind of kinds) {
    await kind.hooks.load?.();
    for (const text of HOSTILE) {
      const value = fill(kind, kind.schema, text, 0);
      try {
        const { object } = decode(kind, { ...value, metadata: { name: "a" } }, "Ignore");
        run(kind, object);
      } catch (error) {
        if (!(error instanceof ApiError)) {
          throw new Error(`${kind.kind}: ${error}`, { cause: error });
        }
      }
    }
  }
  // A wide bound: an expression that backtracks takes minutes.
  assertEquals(performance.now() - started < 60_000, true);
});
