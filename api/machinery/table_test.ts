import { assertEquals, assertThrows } from "@std/assert";
import type { Column, Json, KubeObject } from "./types.ts";
import { compileJsonPath, JsonPathError, jsonPathText } from "./jsonpath.ts";
import { parseIncludeObject, partialMetadataList, tableOf } from "./table.ts";

const DOCUMENT = {
  spec: {
    replicas: 3,
    ports: [{ name: "http", port: 80 }, { name: "https", port: 443 }],
    "a.b": "dotted",
    nested: { deep: { name: "x" } },
    on: true,
  },
};

Deno.test("compileJsonPath() finds what kubectl finds", () => {
  const cases: [string, Json[]][] = [
    [".spec.replicas", [3]],
    ["{.spec.replicas}", [3]],
    ["$.spec.on", [true]],
    [".spec.ports[0].name", ["http"]],
    [".spec.ports[-1].port", [443]],
    [".spec.ports[*].port", [80, 443]],
    [".spec.ports[0:1].port", [80]],
    [".spec.ports[0,1].port", [80, 443]],
    [".spec.ports[5].port", []],
    [".spec.ports[].port", [80]],
    ['.spec.ports[?(@.name=="https")].port', [443]],
    [".spec.ports[?(@.port>100)].name", ["https"]],
    [".spec.ports[?(@.name)].port", [80, 443]],
    [".spec.a\\.b", ["dotted"]],
    [".spec['a\\.b']", ["dotted"]],
    ["..name", ["http", "https", "x"]],
    [".spec.none.more", []],
    [".spec.constructor", []],
  ];
  for (const [path, want] of cases) {
    assertEquals(compileJsonPath(path).find(DOCUMENT), want, path);
  }
});

Deno.test("compileJsonPath() refuses what cannot be parsed", () => {
  const cases: [string, string][] = [
    [".a[", "unterminated array"],
    [".a[x]", "invalid array index x"],
    ["....a", "invalid multiple recursive descent"],
    [".a[?(@.b", "unterminated filter"],
    ["#", "unrecognized character in action: #"],
    ["'a", "unterminated quoted string"],
  ];
  for (const [path, message] of cases) {
    assertThrows(() => compileJsonPath(path), JsonPathError, message);
  }
  assertEquals(jsonPathText({ b: 1, a: [true, null] }), '{"a":[true,null],"b":1}');
});

const WIDGET: KubeObject = {
  apiVersion: "example.com/v1",
  kind: "Widget",
  metadata: {
    name: "w",
    namespace: "default",
    uid: "u",
    resourceVersion: "5",
    creationTimestamp: "2026-11-21T09:00:00Z",
  },
  spec: { size: 3.7, tags: ["a"], on: true, at: "soon" },
};
const NOW = Date.UTC(2026, 10, 21, 9, 5, 12);

Deno.test("tableOf() prints custom columns", () => {
  const columns: Column[] = [
    { name: "Size", type: "integer", jsonPath: ".spec.size" },
    { name: "Tags", type: "string", jsonPath: ".spec.tags", priority: 1 },
    { name: "On", type: "boolean", jsonPath: ".spec.on" },
    { name: "None", type: "string", jsonPath: ".spec.none" },
    { name: "At", type: "date", jsonPath: ".spec.at" },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  ];
  const table = tableOf({ columns, custom: true }, [WIDGET], { resourceVersion: "9" }, {
    now: NOW,
  });
  assertEquals(table.rows[0].cells, ["w", 3, '["a"]', true, null, "<invalid>", "5m12s"]);
  assertEquals(table.columnDefinitions![0].format, "name");
  assertEquals(table.columnDefinitions![2].priority, 1);
  assertEquals(table.rows[0].object, {
    kind: "PartialObjectMetadata",
    apiVersion: "meta.k8s.io/v1",
    metadata: WIDGET.metadata,
  });
});

Deno.test("tableOf() falls back to name and creation", () => {
  const options = { now: NOW, includeObject: "None", noHeaders: true } as const;
  const table = tableOf({ columns: [] }, [WIDGET], {}, options);
  assertEquals(table.rows, [{ cells: ["w", "2026-11-21T09:00:00Z"], object: null }]);
  assertEquals(table.columnDefinitions, null);
  assertThrows(() => parseIncludeObject("All"), Error, 'Invalid value: "All": must be');
  assertEquals(partialMetadataList([WIDGET], {}).items.length, 1);
});
