/**
 * Random values over every kind, by a fixed seed: hostile ones are refused with an ApiError and nothing
 * else; what is accepted stays as it is when decoded again, and survives protobuf and JSON.
 */
import { assertEquals } from "@std/assert";
import { fromProtobuf, toProtobuf } from "../machinery/protobuf.ts";
import { decode } from "../machinery/schema.ts";
import { ApiError, type Json, type Kind, type Schema, type SchemaSet } from "../machinery/types.ts";
import { createKinds } from "./registry.ts";

const ROUNDS = 1500;
const JUNK: Json[] = [null, 1, 1.5, "x", true, [], {}, "", 0, [1], { a: 1 }, -1, 99999999999];

class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed;
  }
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }
  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.next() * list.length)];
  }
}

const SCALARS: Partial<Record<Schema["type"], readonly Json[]>> = {
  string: ["", "x", "hellö", "<&>\u2028"],
  boolean: [true, false],
  number: [0, 1.5, -2],
  bytes: ["", "aGVsbG8=", "AA=="],
  quantity: ["0", "100m", "1Gi", "1500m", 1, 0.5, "1e3", "1024Mi"],
  intOrString: [0, 80, "http", "50%"],
  time: ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05+09:00", "1969-12-31T23:59:59Z"],
  microTime: ["2026-01-02T03:04:05.123456Z", "2026-01-02T03:04:05.000001+01:00"],
  duration: ["1s", "90s"],
  fieldsV1: [{ "f:x": {} }],
  raw: [{ a: 1 }, {}],
};
const UNIONS: Record<string, readonly Json[]> = {
  schemaOrBool: [true, false, { type: "string" }],
  schemaOrArray: [{ type: "x" }, [{ type: "y" }, {}]],
  schemaOrStringArray: [{ type: "x" }, ["a", "b"]],
};

function generate(
  random: Random,
  schemas: SchemaSet,
  given: Schema,
  depth: number,
  junk: number,
): Json {
  if (random.next() < junk) return random.pick(JUNK);
  const schema = given.ref && given.type === "object" ? schemas[given.ref] : given;
  switch (schema.type) {
    case "object": {
      const out: { [key: string]: Json } = {};
      const fields = Object.entries(schema.properties ?? {});
      const chance = depth > 5 ? 0.1 : fields.length > 12 ? 0.25 : 0.5;
      for (const [name, field] of fields) {
        if (name === "kind" || name === "apiVersion" || random.next() > chance) continue;
        out[name] = generate(random, schemas, field, depth + 1, junk);
      }
      return out;
    }
    case "map":
      return Object.fromEntries(
        ["a", "é/b", "__proto__"].filter(() => random.next() < 0.5)
          .map((key) => [key, generate(random, schemas, schema.items!, depth + 1, junk)]),
      );
    case "array":
      if (depth > 7) return [];
      return Array.from(
        { length: Math.floor(random.next() * 3) },
        () => generate(random, schemas, schema.items!, depth + 1, junk),
      );
    case "integer":
      return random.pick(schema.format === "int64" ? [0, -1, 2 ** 40] : [0, 1, 2147483647]);
    case "any":
      return random.pick(UNIONS[schema.format ?? ""] ?? [1, "a", { b: [1] }, false]);
    default:
      return random.pick(SCALARS[schema.type]!);
  }
}

/** Protobuf has no empty lists and maps. */
function withoutEmpty(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutEmpty);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, withoutEmpty(item)])
      .filter(([, item]) => typeof item !== "object" || Object.keys(item ?? {}).length > 0),
  );
}

Deno.test("random objects of every kind", () => {
  const kinds = createKinds({ beta: true }).all();
  let accepted = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const random = new Random(round);
    const kind: Kind = random.pick(kinds);
    const junk = [0, 0.01, 0.05][round % 3];
    const value = generate(random, kind.schemas, { type: "object", ref: kind.schema }, 0, junk);
    const label = `seed ${round} ${kind.kind}`;
    try {
      const { object } = decode(kind, value, "Strict");
      accepted++;
      assertEquals(decode(kind, object, "Strict").object, object, label);
      assertEquals(JSON.parse(JSON.stringify(object)), object, label);
      const bytes = toProtobuf(kind.schemas, kind.schema, object);
      const back = fromProtobuf(kind.schemas, kind.schema, bytes);
      const whole = { apiVersion: object.apiVersion, kind: object.kind, ...back };
      assertEquals(withoutEmpty(whole), withoutEmpty(object), label);
      assertEquals(toProtobuf(kind.schemas, kind.schema, whole), bytes, label);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      assertEquals(error.code, 400, label);
    }
  }
  assertEquals(accepted > ROUNDS / 2, true, `${accepted} accepted`);
});
