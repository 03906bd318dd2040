import { assertEquals, assertThrows } from "@std/assert";
import { ApiError, type Json, type SchemaSet } from "./types.ts";
import { deepFreeze } from "./edit.ts";
import { strategicPatch } from "./strategic.ts";

const SCHEMAS: SchemaSet = {
  "x.Pod": {
    type: "object",
    properties: {
      metadata: { type: "object", ref: "x.Meta" },
      spec: { type: "object", ref: "x.PodSpec" },
    },
  },
  "x.Meta": {
    type: "object",
    properties: {
      labels: { type: "map", items: { type: "string" } },
      finalizers: { type: "array", items: { type: "string" }, patchStrategy: ["merge"] },
    },
  },
  "x.PodSpec": {
    type: "object",
    properties: {
      containers: {
        type: "array",
        items: { type: "object", ref: "x.Container" },
        patchStrategy: ["merge"],
        patchMergeKey: "name",
      },
      tolerations: { type: "array", items: { type: "object", ref: "x.Container" } },
      strategy: { type: "object", ref: "x.Strategy", patchStrategy: ["retainKeys"] },
      selector: { type: "object", ref: "x.Container", patchStrategy: ["replace"] },
    },
  },
  "x.Container": {
    type: "object",
    properties: {
      name: { type: "string" },
      image: { type: "string" },
      args: { type: "array", items: { type: "string" } },
    },
  },
  "x.Strategy": {
    type: "object",
    properties: { type: { type: "string" }, rollingUpdate: { type: "object", ref: "x.Meta" } },
  },
};

function patched(document: Json, patch: Json): Json {
  const frozen = deepFreeze(structuredClone(document)) as object;
  return strategicPatch(SCHEMAS, "x.Pod", frozen, patch) as Json;
}

const c = (name: string, image?: string): Json => image ? { name, image } : { name };

Deno.test("strategicPatch() merges keyed lists and keeps order", async (t) => {
  const cases: [string, Json, Json, Json][] = [
    ["merges by key", { containers: [c("a", "1"), c("b", "1")] }, { containers: [c("b", "2")] }, {
      containers: [c("a", "1"), c("b", "2")],
    }],
    ["new items first", { containers: [c("a")] }, { containers: [c("b")] }, {
      containers: [c("b"), c("a")],
    }],
    [
      "element order",
      { containers: [c("a"), c("b"), c("s")] },
      {
        "$setElementOrder/containers": [c("c"), c("b"), c("a")],
        containers: [c("c", "3")],
      },
      { containers: [c("c", "3"), c("b"), c("a"), c("s")] },
    ],
    ["deletes an item", { containers: [c("a"), c("b")] }, {
      containers: [{ $patch: "delete", name: "a" }],
    }, { containers: [c("b")] }],
    ["replaces a list", { containers: [c("a"), c("b")] }, {
      containers: [{ $patch: "replace" }, c("z")],
    }, { containers: [c("z")] }],
    ["atomic list", { tolerations: [c("a")] }, { tolerations: [c("b")] }, {
      tolerations: [c("b")],
    }],
    ["retains keys", { strategy: { type: "R", rollingUpdate: {} } }, {
      strategy: { $retainKeys: ["type"], type: "Recreate" },
    }, { strategy: { type: "Recreate" } }],
    ["replaces a map", { strategy: { type: "R" } }, {
      strategy: { $patch: "replace", rollingUpdate: {} },
    }, { strategy: { rollingUpdate: {} } }],
    ["deletes a map", { strategy: { type: "R" } }, { strategy: { $patch: "delete" } }, {
      strategy: {},
    }],
    ["replace strategy", { selector: { name: "a", image: "x" } }, { selector: { name: "b" } }, {
      selector: { name: "b" },
    }],
    ["null removes", { containers: [c("a", "1")] }, { containers: [{ name: "a", image: null }] }, {
      containers: [c("a")],
    }],
    ["new values lose nulls and directives", {}, {
      strategy: { $retainKeys: ["type"], type: "R", rollingUpdate: null },
    }, { strategy: { type: "R" } }],
  ];
  for (const [name, before, patch, after] of cases) {
    await t.step(name, () => {
      assertEquals(patched({ spec: before }, { spec: patch }), { spec: after });
    });
  }
});

Deno.test("strategicPatch() merges lists of scalars", () => {
  assertEquals(
    patched({ metadata: { finalizers: ["a", "b"] } }, { metadata: { finalizers: ["c", "a"] } }),
    { metadata: { finalizers: ["c", "a", "b"] } },
  );
  assertEquals(
    patched({ metadata: { finalizers: ["a", "b"] } }, {
      metadata: { "$deleteFromPrimitiveList/finalizers": ["a"] },
    }),
    { metadata: { finalizers: ["b"] } },
  );
});

Deno.test("strategicPatch() refuses in upstream's words", () => {
  const fails = (before: Json, patch: Json) =>
    assertThrows(() => patched({ spec: before }, { spec: patch }), ApiError).message;
  assertEquals(
    fails({ containers: [c("a")] }, { containers: [{ image: "x" }] }),
    "map: map[image:x] does not contain declared merge key: name",
  );
  assertEquals(
    fails({ strategy: { type: "a" } }, { strategy: { $retainKeys: ["x"], type: "b" } }),
    "invalid patch format of retainKeys",
  );
  assertEquals(
    fails({ strategy: { type: "a" } }, { strategy: { $patch: "jump" } }),
    "unknown patch type: jump in map: map[$patch:jump]",
  );
  assertEquals(
    fails({ containers: [c("a")] }, {
      "$setElementOrder/containers": [c("b"), c("a")],
      containers: [c("a", "1"), c("b", "1")],
    }),
    "The order in patch list:\n[map[image:1 name:a] map[image:1 name:b]]\n doesn't match " +
      "$setElementOrder list:\n[map[name:b] map[name:a]]\n",
  );
  assertEquals(
    fails({ containers: [c("a")] }, { containers: ["x"] }),
    "list element types are not identical: [map[name:a] x]",
  );
});
