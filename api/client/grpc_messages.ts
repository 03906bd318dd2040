/**
 * Protobuf messages of other programs (container runtimes, storage drivers) as facts: one line a message,
 * one word a field. From the same words come the schema by which messages are encoded (`schemasOf`) and
 * the types by which the compiler knows them (`MessageOf`).
 *
 * A word is `name=number` for a text, `name=number:type` for anything else:
 *
 * - `bool`, `int32`, `int` (64 bits and unsigned ones too), `double`, `bytes` (base64), or a message's name;
 * - `[type]` for a list, `[]` for a list of texts, `{}` for a map of texts, `{Message}` for one of messages.
 *
 * A field that was not sent is undefined, not zero: who reads it says what that means.
 */
import type { Field, Schema, SchemaSet } from "../machinery/types.ts";

/** Messages by name. */
export type MessageFacts = Readonly<Record<string, string>>;

type Words<S extends string> = S extends `${infer Word} ${infer Rest}` ? Word | Words<Rest> : S;

type NameOf<W extends string> = W extends `${infer Name}=${string}` ? Name : never;

type KindOf<W extends string> = W extends `${string}:${infer Kind}` ? Kind : "";

type ValueOf<M extends MessageFacts, K extends string> = K extends "" | "bytes" ? string
  : K extends "bool" ? boolean
  : K extends "int" | "int32" | "double" ? number
  : K extends `[${infer Item}]` ? ValueOf<M, Item>[]
  : K extends `{${infer Item}}` ? Record<string, ValueOf<M, Item>>
  : K extends keyof M ? MessageOf<M, K>
  : never;

/** A message of a table of facts, as TypeScript sees it. */
export type MessageOf<M extends MessageFacts, K extends keyof M> = {
  [W in Words<M[K]> as NameOf<W>]?: ValueOf<M, KindOf<W>>;
};

const SCALARS: Record<string, Schema> = {
  "": { type: "string" },
  bool: { type: "boolean" },
  int: { type: "integer", format: "int64" },
  int32: { type: "integer", format: "int32" },
  double: { type: "number" },
  bytes: { type: "bytes" },
};

/** The schemas of a table of facts. Throws when a word names a message that the table has not. */
export function schemasOf(facts: MessageFacts): SchemaSet {
  const typeOf = (kind: string, where: string): Schema => {
    if (kind in SCALARS) return SCALARS[kind];
    const inner = kind.slice(1, -1);
    if (kind.startsWith("[")) return { type: "array", items: typeOf(inner, where) };
    if (kind.startsWith("{")) return { type: "map", items: typeOf(inner, where) };
    if (!(kind in facts)) throw new Error(`message ${where} names a message "${kind}": none such`);
    return { type: "object", ref: kind };
  };
  const schemas: Record<string, Schema> = {};
  for (const [name, words] of Object.entries(facts)) {
    const properties: Record<string, Field> = {};
    for (const word of words.split(" ")) {
      if (!word) continue;
      const parts = /^(\w+)=(\d+)(?::(.*))?$/.exec(word);
      if (!parts) throw new Error(`message ${name} has a field "${word}": not name=number:type`);
      const [, field, number, kind = ""] = parts;
      properties[field] = { ...typeOf(kind, name), proto: Number(number), pointer: true };
    }
    schemas[name] = { type: "object", properties };
  }
  return schemas;
}
