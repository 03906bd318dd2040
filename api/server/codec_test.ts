/** Tests of what stored objects look like to readers. */
import { assertEquals } from "@std/assert";
import type { Item } from "../../kv/contract.ts";
import { canonical } from "../machinery/apply/field_set.ts";
import { deepFreeze, setOwn } from "../machinery/edit.ts";
import type { Kind, KubeObject } from "../machinery/types.ts";
import { itemJson, objectCodec, served } from "./codec.ts";

Deno.test("defaults that a definition declares later are in what was stored before", () => {
  const stored = deepFreeze(
    { apiVersion: "e.com/v1", kind: "Foo", metadata: { name: "x", resourceVersion: "7" } },
  ) as KubeObject;
  const item = {
    key: "/registry/e.com/foos/x",
    value: stored,
    revision: 7,
    bytes: objectCodec.encode(stored),
  } as unknown as Item<KubeObject>;
  const plain = {
    group: "e.com",
    version: "v1",
    kind: "Foo",
    custom: true,
    schema: "Foo",
    schemas: { Foo: { type: "object", properties: { a: { type: "string", default: "A" } } } },
    hooks: {},
  } as unknown as Kind;
  assertEquals(served(plain, item), stored);
  const kind = { ...plain, readDefaults: true };
  assertEquals(served(kind, item), { ...stored, a: "A" });
  assertEquals(JSON.parse(new TextDecoder().decode(itemJson(kind, item))), { ...stored, a: "A" });
});

const decoder = new TextDecoder();
const textOf = (object: KubeObject) => decoder.decode(objectCodec.encode(object));

function thing(spec: unknown, more: object = {}): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Thing",
    metadata: { name: "a" },
    spec,
    ...more,
  } as unknown as KubeObject;
}

Deno.test("objectCodec.encode() writes what stands already as it would write it anew", () => {
  const long = { list: Array.from({ length: 50 }, (_, i) => `"item" ${i} \u2028é`), none: null };
  for (const spec of [long, { list: [1] }, {}, [], [long]]) {
    const stands = deepFreeze(structuredClone(spec));
    for (const more of [{}, { status: { ready: 1 } }, { data: deepFreeze({ a: "b" }), last: 3 }]) {
      const wanted = JSON.stringify(thing(spec, more));
      // The second time it is remembered, the third time too.
      for (let i = 0; i < 3; i++) assertEquals(textOf(thing(stands, more)), wanted);
    }
  }
});

Deno.test("objectCodec.encode() leaves out what is undefined, and keeps a key of any name", () => {
  const stands = deepFreeze({ a: 1 });
  assertEquals(
    textOf(thing(stands, { status: undefined })),
    JSON.stringify(thing({ a: 1 })),
  );
  const object = thing(stands);
  setOwn(object, "__proto__", { b: 2 });
  assertEquals(textOf(object), JSON.stringify(object));
});

Deno.test("objectCodec.encode() remembers no part that may still change", () => {
  const spec = { text: "x".repeat(300), count: 1 };
  textOf(thing(spec));
  spec.count = 2;
  assertEquals(JSON.parse(textOf(thing(spec))).spec.count, 2);
  deepFreeze(spec);
  assertEquals(JSON.parse(textOf(thing(spec))).spec.count, 2);
});

Deno.test("objectCodec.encode() forgets old texts, and writes them anew", () => {
  const all = Array.from({ length: 1_200 }, (_, i) => deepFreeze({ i, text: "x".repeat(300) }));
  for (let round = 0; round < 2; round++) {
    for (const spec of all) assertEquals(textOf(thing(spec)), JSON.stringify(thing(spec)));
  }
});

Deno.test("objectCodec.encode() writes who manages what as it is", () => {
  const fields = [
    { "f:spec": { 'k:{"name":"c \\"d\\""}': { ".": {}, "f:image": {} } } },
    canonical({ "f:status": { 'k:{"type":"Ready"}': { "f:status": {} } } }),
    {},
  ];
  const entry = (fieldsV1: object | undefined) => ({
    manager: "me",
    operation: "Update",
    apiVersion: "v1",
    time: "2026-01-01T00:00:00Z",
    fieldsType: "FieldsV1",
    ...(fieldsV1 && { fieldsV1 }),
    subresource: "status",
  });
  for (const managedFields of [[], [entry(undefined)], fields.map(entry), [{}]]) {
    for (const name of ["a", undefined]) {
      const owners = deepFreeze([{ name: "o" }]);
      const metadata = { name, uid: undefined, owners, managedFields, generation: undefined };
      const object = { ...thing({ a: 1 }), metadata } as unknown as KubeObject;
      assertEquals(textOf(object), JSON.stringify(object));
    }
  }
});
