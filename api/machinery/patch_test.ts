import { assertEquals, assertThrows } from "@std/assert";
import { ApiError, type Json } from "./types.ts";
import { deepFreeze } from "./edit.ts";
import { jsonPatch, mergePatch, PATCH_OPERATIONS_MAX } from "./patch.ts";

function why(fn: () => unknown): string {
  const error = assertThrows(fn, ApiError);
  assertEquals(error.code, 422);
  return error.status.details!.causes![0].message!;
}

Deno.test("jsonPatch() applies RFC 6902", () => {
  const cases: [Json, Json[], Json][] = [
    [{ a: 1 }, [{ op: "add", path: "/b", value: { c: 2 } }], { a: 1, b: { c: 2 } }],
    [{ a: [1, 3] }, [{ op: "add", path: "/a/1", value: 2 }], { a: [1, 2, 3] }],
    [{ a: [1] }, [{ op: "add", path: "/a/-", value: 2 }], { a: [1, 2] }],
    [{ a: [1, 2] }, [{ op: "remove", path: "/a/-1" }], { a: [1] }],
    [{ "a/b": 1, "m~n": 2 }, [{ op: "remove", path: "/a~1b" }, {
      op: "replace",
      path: "/m~0n",
      value: 3,
    }], { "m~n": 3 }],
    [{ a: { b: 1 } }, [{ op: "move", from: "/a/b", path: "/c" }], { a: {}, c: 1 }],
    [{ a: { b: 1 } }, [{ op: "copy", from: "/a", path: "/c" }, {
      op: "replace",
      path: "/c/b",
      value: 2,
    }], { a: { b: 1 }, c: { b: 2 } }],
    [{ a: { x: 1, y: [2] } }, [{ op: "test", path: "/a", value: { y: [2], x: 1 } }], {
      a: { x: 1, y: [2] },
    }],
    [{ a: 1 }, [{ op: "test", path: "/none", value: null }], { a: 1 }],
    [{ a: 1 }, [{ op: "replace", path: "", value: { b: 1 } }], { b: 1 }],
    [{ "": 1 }, [{ op: "remove", path: "/" }], {}],
  ];
  for (const [document, patch, want] of cases) {
    const frozen = deepFreeze(structuredClone(document)) as Json;
    assertEquals(jsonPatch(frozen, patch), want, JSON.stringify(patch));
    assertEquals(frozen, document);
  }
});

Deno.test("jsonPatch() keeps a key called __proto__ a key", () => {
  const out = jsonPatch({ data: {} }, [{ op: "add", path: "/data/__proto__", value: "x" }]);
  assertEquals(JSON.stringify(out), '{"data":{"__proto__":"x"}}');
  assertEquals(
    why(() => jsonPatch({}, [{ op: "remove", path: "/constructor" }])),
    "error in remove for path: '/constructor': Unable to remove nonexistent key: constructor: " +
      "missing value",
  );
});

Deno.test("jsonPatch() says why it does not apply", () => {
  assertEquals(
    why(() => jsonPatch({ a: 1 }, [{ op: "test", path: "/a", value: 2 }])),
    "testing value /a failed: test failed",
  );
  // Upstream's library sets what it is told to replace, there or not.
  assertEquals(
    jsonPatch({ a: 1 }, [{ op: "replace", path: "/b", value: 2 }]),
    { a: 1, b: 2 } as never,
  );
  assertEquals(
    why(() => jsonPatch({ a: [] }, [{ op: "add", path: "/a/5", value: 2 }])),
    "error in add for path: '/a/5': Unable to access invalid index: 5: invalid index referenced",
  );
  assertEquals(
    why(() => jsonPatch({ a: 1 }, [{ op: "add", path: "/a/b", value: 2 }])),
    'add operation does not apply: doc is missing path: "/a/b": missing value',
  );
  assertEquals(why(() => jsonPatch({}, [{ op: "jump", path: "/a" }])), "Unexpected kind: jump");
  assertEquals(
    why(() => jsonPatch({}, [{ op: "move", path: "/a" }])),
    "move operation failed to " +
      "decode from: operation, missing from field: missing value",
  );
});

Deno.test("jsonPatch() bounds operations and copies", () => {
  const many = new Array(PATCH_OPERATIONS_MAX + 1).fill({ op: "test", path: "/a", value: null });
  assertEquals(
    assertThrows(() => jsonPatch({}, many), ApiError).message,
    "The allowed maximum operations in a JSON patch is 10000, got 10001",
  );
  const doubling = new Array(60).fill({ op: "copy", from: "/a", path: "/a/-" });
  why(() => jsonPatch({ a: ["x"] }, doubling));
  assertEquals(assertThrows(() => jsonPatch({}, {}), ApiError).code, 400);
});

Deno.test("mergePatch() applies RFC 7386", () => {
  const cases: [Record<string, Json>, Json, Json][] = [
    [{ a: "b" }, { a: "c" }, { a: "c" }],
    [{ a: "b" }, { a: null }, {}],
    [{ a: ["b"] }, { a: "c" }, { a: "c" }],
    [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
    [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
    [{ a: "x" }, { a: { b: 1, c: null } }, { a: { b: 1 } }],
  ];
  for (const [document, patch, want] of cases) {
    assertEquals(mergePatch<object>(deepFreeze(document), patch), want as object);
  }
  assertEquals(assertThrows(() => mergePatch({}, []), ApiError).code, 400);
});
