import { assertEquals } from "@std/assert";
import { fieldChanges } from "./field_changes.ts";
import type { KubeObject } from "./types.ts";

Deno.test("fieldChanges() tells fields that came, went and changed, and not who wrote them", () => {
  const object = (rest: object) =>
    ({ apiVersion: "v1", kind: "Pod", ...rest }) as unknown as KubeObject;
  const before = object({
    metadata: { name: "p", resourceVersion: "1", labels: { "a/b": "1" } },
    spec: { list: [1, { x: 1 }, 3], gone: true },
  });
  const after = object({
    metadata: { name: "p", resourceVersion: "2", labels: { "a/b": "2" }, managedFields: [{}] },
    spec: { list: [1, { x: 2 }], came: null },
  });
  assertEquals(fieldChanges(before, before), []);
  assertEquals(fieldChanges(before, after), [
    { op: "replace", path: "/metadata/labels/a~1b", was: "1", value: "2" },
    { op: "replace", path: "/spec/list/1/x", was: 1, value: 2 },
    { op: "remove", path: "/spec/list/2", was: 3 },
    { op: "remove", path: "/spec/gone", was: true },
    { op: "add", path: "/spec/came", value: null },
  ]);
});
