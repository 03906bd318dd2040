/** Tests of what stored objects look like to readers. */
import { assertEquals } from "@std/assert";
import type { Item } from "../../kv/contract.ts";
import { deepFreeze } from "../machinery/edit.ts";
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
