import { assertEquals } from "@std/assert";
import { loadExpressions } from "../../machinery/expressions.ts";
import type { Kind, Schema } from "../../machinery/types.ts";
import { createKinds } from "../mod.ts";
import { create, NOW, update } from "./fixture.ts";

// deno-lint-ignore no-explicit-any -- tests write objects as they come
type Obj = any;

const ROUNDS = 300;
const TEXTS = [
  "",
  "a",
  "A b",
  "x.y/z",
  "TCP",
  "10.0.0.1",
  "::1",
  "1Gi",
  "Always",
  "None",
  "Exists",
  "../x",
  "/a",
  "100%",
];
const KEYS = ["a", "cpu", "memory", "pods", "hugepages-2Mi", "example.com/x", "", "A/"];
const AMOUNTS = ["0", "1", "-1", "1Gi", "100m", "1n"];

/** Random objects of a kind's shape: types are right, values seldom are. */
class Shapes {
  #seed: number;

  constructor(seed: number) {
    this.#seed = seed;
  }

  chance(): number {
    this.#seed = (this.#seed * 1103515245 + 12345) & 0x7fffffff;
    return this.#seed / 0x80000000;
  }

  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.chance() * list.length)];
  }

  value(kind: Kind, schema: Schema, depth: number): Obj {
    if (schema.ref) return this.value(kind, kind.schemas[schema.ref], depth);
    switch (schema.type) {
      case "object":
        return this.#object(kind, schema, depth);
      case "map": {
        const keys = Array.from({ length: this.pick([0, 1, 2]) }, () => this.pick(KEYS));
        return Object.fromEntries(keys.map((key) => [key, this.value(kind, schema.items!, depth)]));
      }
      case "array":
        return Array.from(
          { length: this.pick([0, 1, 2]) },
          () => this.value(kind, schema.items!, depth + 1),
        );
      case "string":
        return this.pick(schema.enum && this.chance() < 0.7 ? schema.enum : TEXTS);
      case "boolean":
        return this.chance() < 0.5;
      case "integer":
        return this.pick([0, 1, -1, 80, 70000, 2147483647]);
      case "number":
        return 1;
      case "bytes":
        return "YQ==";
      case "quantity":
        return this.pick(AMOUNTS);
      case "intOrString":
        return this.pick([0, 1, -1, "50%", "x"]);
      case "time":
      case "microTime":
        return "2026-01-02T03:04:05Z";
      case "duration":
        return "1s";
      default:
        return {};
    }
  }

  #object(kind: Kind, schema: Schema, depth: number): Obj {
    const wanted = depth < 2 ? 0.7 : depth > 7 ? 0.1 : 0.35;
    const object: Obj = {};
    for (const [name, field] of Object.entries(schema.properties ?? {})) {
      if (this.chance() < wanted) object[name] = this.value(kind, field, depth + 1);
    }
    return object;
  }

  of(kind: Kind): Obj {
    const { apiVersion: _a, kind: _k, metadata, ...rest } = this.value(
      kind,
      kind.schemas[kind.schema],
      0,
    );
    const meta = this.chance() < 0.3 ? metadata : {};
    return { ...rest, metadata: { ...meta, name: "x", managedFields: undefined } };
  }
}

/** What decoding says of objects that are of no kind's shape after all, such as two keys in one. */
const REFUSED = /cannot be handled as/;

Deno.test("whatever objects say, rules answer and never throw", async () => {
  await loadExpressions();
  const shapes = new Shapes(42);
  const kinds = createKinds({ beta: true }).all()
    .filter((kind) => !kind.virtual && kind.kind !== "CustomResourceDefinition");
  const pod = kinds.filter((kind) => kind.kind === "Pod");
  for (let round = 0; round < ROUNDS; round++) {
    const kind = shapes.pick(shapes.chance() < 0.3 ? pod : kinds);
    const name = [...(kind.group ? [kind.group] : []), kind.version, kind.kind].join("/");
    try {
      const { object, problems } = create(name, shapes.of(kind));
      kind.hooks.warnings?.(object);
      for (const column of kind.columns) column.cell?.(object, NOW);
      for (const field of Object.values(kind.fields ?? {})) field(object);
      if (problems.length === 0) assertEquals(update(name, object, () => {}).object, object, name);
      for (const subresource of ["", ...kind.subresources.map((sub) => sub.name)]) {
        const { metadata: _, ...rest } = shapes.of(kind);
        const changed = update(name, object, (o) => Object.assign(o, rest), subresource);
        kind.hooks.warnings?.(changed.object, object);
      }
    } catch (error) {
      if (!REFUSED.test((error as Error).message)) throw error;
    }
  }
});
