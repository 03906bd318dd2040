/** Lists, maps and messages as expressions write them, and what lies in values. */
import { BROKEN, type Code, constantCode, noOverload, type Run } from "./code.ts";
import type { Compiler } from "./compile.ts";
import { LIST_COST, MAP_COST, MESSAGE_COST } from "./costs.ts";
import { fixed, ONE, type Range, sum, union, UNKNOWN, ZERO } from "./estimate.ts";
import type { Entry, MessageField, Node } from "./parser.ts";
import {
  assignable,
  DYN,
  fieldNamed,
  joined,
  listOf,
  mapOf,
  type ObjectField,
  STRING,
  type Type,
  typeText,
} from "./types.ts";
import { work } from "./lane.ts";
import {
  CelError,
  equal,
  MessageValue,
  ObjectValue,
  Optional,
  Uint,
  type Value,
} from "./values.ts";

// --- what lies in values ------------------------------------------------------------------------------

/** Maps with keys that are not found by themselves: unsigned numbers, lists. */
const oddlyKeyed = new WeakSet<Map<Value, Value>>();

/** Puts an entry into a map that an expression makes. */
export function mapPut(map: Map<Value, Value>, key: Value, value: Value): void {
  if (typeof key === "object" && key !== null) oddlyKeyed.add(map);
  map.set(key, value);
}

/** A map's value of a key. Numbers are found whatever their type. */
export function mapGet(map: Map<Value, Value>, key: Value): Value | undefined {
  const found = map.get(key);
  if (found !== undefined) return found;
  if (typeof key === "string" || typeof key === "boolean") return undefined;
  if (typeof key === "bigint" && !oddlyKeyed.has(map)) return map.get(Number(key));
  if (typeof key === "number" && !oddlyKeyed.has(map)) {
    return Number.isInteger(key) ? map.get(BigInt(key)) : undefined;
  }
  work(map.size);
  for (const [other, value] of map) if (equal(other, key)) return value;
  return undefined;
}

/** A field, an item or an entry: undefined where there is none, a CelError where there cannot be. */
export function memberOf(value: Value, at: Value): Value | undefined {
  if (Array.isArray(value)) {
    const index = at instanceof Uint ? at.value : at;
    if (typeof index !== "bigint" && !Number.isInteger(index)) {
      const what = typeof at === "number" ? `value ${at}` : `type '${typeText(keyType(at))}'`;
      return new CelError(`unsupported index ${what} in list`);
    }
    const item = index as bigint < 0n ? undefined : value[Number(index)];
    return item === undefined ? new CelError(`index out of bounds: ${index}`) : item;
  }
  if (value instanceof Map) return mapGet(value, at);
  if (value instanceof ObjectValue) return typeof at === "string" ? value.get(at) : undefined;
  return value instanceof MessageValue ? value.get(at) : undefined;
}

function keyType(key: Value): Type {
  switch (typeof key) {
    case "string":
      return STRING;
    case "boolean":
      return { kind: "bool" };
    case "number":
      return { kind: "double" };
  }
  return DYN;
}

// --- lists and maps -----------------------------------------------------------------------------------

function sizeOr(code: Code): Range {
  return code.size ?? UNKNOWN;
}

/** Whether literals of these types may stand side by side: the same type, empty ones apart. */
function alike(a: Type, b: Type): boolean {
  if (a.kind === "param" || b.kind === "param") return true;
  if (a.kind !== b.kind || a.name !== b.name) return false;
  return (!a.a || !b.a || alike(a.a, b.a)) && (!a.b || !b.b || alike(a.b, b.b));
}

/** The one type of all items; the first that differs is noted as an error. */
function common(compiler: Compiler, items: readonly { type: Type; pos: number }[]): Type {
  if (items.length === 0) return { kind: "param", name: "_" };
  let { type } = items[0];
  let mixed = false;
  for (const item of items.slice(1)) {
    if (!alike(items[0].type, item.type)) {
      const message = `expected type '${typeText(items[0].type)}' but found '${
        typeText(item.type)
      }'`;
      compiler.late.push({ pos: item.pos, message, mixed: true });
      mixed = true;
    }
    type = joined(type, item.type);
  }
  return mixed ? DYN : type;
}

/** The type that an item or entry adds: of an optional one what is in it. */
function addedType(compiler: Compiler, code: Code, pos: number, optional: boolean): Type {
  if (!optional || code === BROKEN || code.type.kind === "dyn") return code.type;
  if (code.type.kind === "optional") return code.type.a!;
  const found = typeText(code.type);
  compiler.fail(pos, `expected type 'optional_type(${found})' but found '${found}'`);
  return code.type;
}

/** What is added of a value: nothing of an empty optional. Undefined: leave it out. */
function addedValue(value: Value, optional: boolean): Value | undefined {
  if (!optional || value instanceof CelError) return value;
  if (!(value instanceof Optional)) return noOverload();
  return value.has ? value.value : undefined;
}

/** `[a, ?b]`. */
export function compileList(compiler: Compiler, ast: Node & { op: "list" }): Code {
  const items = ast.items.map((item) => compiler.node(item));
  if (items.includes(BROKEN)) return BROKEN;
  const { optional } = ast;
  const types = items.map((item, i) => {
    const { pos } = ast.items[i];
    return { type: addedType(compiler, item, pos, optional[i]), pos };
  });
  const type = listOf(common(compiler, types));
  const cost = sum(...items.map((item) => item.cost), fixed(LIST_COST));
  const size = fixed(items.length);
  const value = items.length ? items.map(sizeOr).reduce(union) : ZERO;
  const entry = { key: ONE, value };
  if (items.every((item) => item.constant) && !optional.includes(true)) {
    const values = items.map((item) => item.constant!.value);
    return { ...constantCode(type, values, cost, size), entry, items };
  }
  return {
    type,
    cost,
    size,
    entry,
    items,
    run(run) {
      const values: Value[] = [];
      for (let i = 0; i < items.length; i++) {
        const added = addedValue(items[i].run(run), optional[i]);
        if (added instanceof CelError) {
          run.charge(LIST_COST);
          return added;
        }
        if (added !== undefined) values.push(added);
      }
      run.charge(LIST_COST);
      return values;
    },
  };
}

/** `{a: b, ?c: d}`. */
export function compileMap(compiler: Compiler, ast: Node & { op: "map" }): Code {
  const entries = ast.entries.map((entry) => ({
    key: compiler.node(entry.key),
    value: compiler.node(entry.value),
    at: entry,
  }));
  if (entries.some(({ key, value }) => key === BROKEN || value === BROKEN)) return BROKEN;
  const keys = common(
    compiler,
    entries.map(({ key, at }) => ({ type: key.type, pos: at.key.pos })),
  );
  const values = common(
    compiler,
    entries.map(({ value, at }) => ({
      type: addedType(compiler, value, at.value.pos, at.optional),
      pos: at.value.pos,
    })),
  );
  const type = mapOf(keys, values);
  const cost = sum(...entries.flatMap(({ key, value }) => [key.cost, value.cost]), fixed(MAP_COST));
  const size = fixed(entries.length);
  const entry = entries.length
    ? {
      key: entries.map((one) => sizeOr(one.key)).reduce(union),
      value: entries.map((one) => sizeOr(one.value)).reduce(union),
    }
    : { key: ZERO, value: ZERO };
  const known = entries.every(({ key, value, at }) =>
    key.constant && value.constant && !at.optional
  );
  const run = (run: Run) => makeMap(entries, run);
  if (!known) return { type, cost, size, entry, run };
  const map = new Map<Value, Value>();
  for (const { key, value } of entries) mapPut(map, key.constant!.value, value.constant!.value);
  return { ...constantCode(type, map, cost, size), entry };
}

const UNHASHABLE = "internal error: runtime error: hash of unhashable type types.Bytes";

function makeMap(entries: readonly { key: Code; value: Code; at: Entry }[], run: Run): Value {
  const map = new Map<Value, Value>();
  for (const { key, value, at } of entries) {
    const k = key.run(run);
    const v = k instanceof CelError ? k : addedValue(value.run(run), at.optional);
    if (v instanceof CelError) {
      run.charge(MAP_COST);
      return v;
    }
    if (k instanceof Uint8Array) {
      run.charge(MAP_COST);
      return new CelError(UNHASHABLE);
    }
    if (v !== undefined) mapPut(map, k, v);
  }
  run.charge(MAP_COST);
  return map;
}

// --- messages -----------------------------------------------------------------------------------------

const field = (name: string, type: Type): [string, ObjectField] => [
  name,
  { name, schema: { type: "any" }, type },
];

/** One operation of a JSON patch. */
export const JSON_PATCH: Type = {
  kind: "object",
  name: "JSONPatch",
  fields: new Map([
    field("op", STRING),
    field("path", STRING),
    field("from", STRING),
    field("value", DYN),
  ]),
};

/** The type of that name: `Object` and what is in it have any fields. */
function messageType(name: string): Type | undefined {
  if (name === "JSONPatch") return JSON_PATCH;
  return name === "Object" || name.startsWith("Object.") ? { kind: "object", name } : undefined;
}

/** `Object.spec{field: value}`. */
export function compileMessage(compiler: Compiler, ast: Node & { op: "message" }): Code {
  const type = compiler.messages ? messageType(ast.name) : undefined;
  const fields = ast.fields.map((one) => ({ code: compiler.node(one.value), at: one }));
  if (!type) return compiler.undeclared(ast.pos, ast.name);
  for (const { code, at } of fields) checkField(compiler, type, { code, at });
  const cost = sum(...fields.map(({ code }) => code.cost), fixed(MESSAGE_COST));
  return {
    type,
    cost,
    run(run) {
      const values = new Map<string, Value>();
      let failure: CelError | undefined;
      for (const { code, at } of fields) {
        const value = addedValue(code.run(run), at.optional);
        if (value instanceof CelError) {
          failure = value;
          break;
        }
        if (value !== undefined) values.set(at.name, value);
      }
      run.charge(MESSAGE_COST);
      return failure ?? new MessageValue(type, values);
    },
  };
}

function checkField(
  compiler: Compiler,
  type: Type,
  { code, at }: { code: Code; at: MessageField },
): void {
  if (code === BROKEN) return;
  const provided = addedType(compiler, code, at.pos, at.optional);
  const wanted = type.fields ? fieldNamed(type, at.name)?.type : DYN;
  if (wanted && assignable(wanted, provided, new Map())) return;
  compiler.fail(
    at.pos,
    `expected type of field '${at.name}' is '${
      wanted ? typeText(wanted) : ""
    }' but provided type is ` +
      `'${typeText(provided)}'`,
  );
}
