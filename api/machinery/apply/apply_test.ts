import { assert, assertEquals, assertThrows } from "@std/assert";
import { ApiError, type Json, type KubeObject, type SchemaSet } from "../types.ts";
import { deepFreeze } from "../edit.ts";
import { apply, parentEntries, resetFields, scaleEntries, trackUpdate } from "./mod.ts";
import { pathsOf, pathText } from "./field_set.ts";

const SCHEMAS: SchemaSet = {
  Thing: {
    type: "object",
    properties: {
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: { type: "object", ref: "Meta", proto: 1 },
      data: { type: "map", items: { type: "string" } },
      spec: { type: "object", ref: "Spec" },
      status: { type: "object", ref: "Spec" },
    },
  },
  Meta: {
    type: "object",
    properties: {
      name: { type: "string" },
      namespace: { type: "string" },
      uid: { type: "string" },
      resourceVersion: { type: "string" },
      labels: { type: "map", items: { type: "string" } },
      annotations: { type: "map", items: { type: "string" } },
      finalizers: { type: "array", items: { type: "string" }, listType: "set" },
      managedFields: { type: "array", items: { type: "any" } },
    },
  },
  Spec: {
    type: "object",
    properties: {
      replicas: { type: "integer" },
      args: { type: "array", items: { type: "string" } },
      selector: { type: "map", items: { type: "string" }, mapType: "atomic" },
      free: { type: "object", properties: {} },
      items: {
        type: "array",
        items: { type: "object", ref: "Item" },
        listType: "map",
        listMapKeys: ["name", "port"],
      },
    },
  },
  Item: {
    type: "object",
    properties: {
      name: { type: "string" },
      port: { type: "integer", default: 80 },
      value: { type: "string" },
    },
  },
};

let second = 0;
const time = () => `2026-11-21T00:00:${String(++second % 60).padStart(2, "0")}Z`;

function thing(fields: Record<string, Json>): KubeObject {
  const metadata = { name: "t", namespace: "d", uid: "u", ...(fields.metadata as object) };
  return { apiVersion: "v1", kind: "Thing", ...fields, metadata } as unknown as KubeObject;
}

function config(fields: Record<string, Json>): Record<string, Json> {
  return { apiVersion: "v1", kind: "Thing", metadata: { name: "t", namespace: "d" }, ...fields };
}

function applied(
  live: KubeObject | undefined,
  fields: Record<string, Json>,
  manager: string,
  options: { force?: boolean; subresource?: string } = {},
): KubeObject {
  const frozen = live && deepFreeze(clean(live)) as KubeObject;
  const { object } = apply(SCHEMAS, "Thing", frozen, config(fields), {
    manager,
    apiVersion: "v1",
    kind: "Thing",
    time: time(),
    reset: resetFields(options.subresource ?? ""),
    ...options,
  });
  return clean(object);
}

/** What decoding does: nulls go. */
function clean<T>(value: T): T {
  return JSON.parse(JSON.stringify(value, (_, v) => v === null ? undefined : v));
}

function updated(live: KubeObject | undefined, next: KubeObject, manager: string): KubeObject {
  const metadata = { ...next.metadata };
  delete metadata.managedFields;
  const object = { ...next, metadata } as KubeObject;
  metadata.managedFields = trackUpdate(SCHEMAS, "Thing", live, object, {
    manager,
    apiVersion: "v1",
    time: time(),
  });
  if (!metadata.managedFields) delete metadata.managedFields;
  return clean(object);
}

function owners(object: KubeObject): Record<string, string[]> {
  const out: Record<string, string[]> = {};
  for (const entry of object.metadata.managedFields ?? []) {
    out[`${entry.manager}/${entry.operation}`] = pathsOf(entry.fieldsV1 as never).map(pathText);
  }
  return out;
}

Deno.test("trackUpdate() gives a creator what it sets, but not what identifies", () => {
  const made = updated(
    undefined,
    thing({ data: { a: "1" }, spec: { items: [{ name: "x" }] } }),
    "me",
  );
  assertEquals(owners(made), {
    "me/Update": [
      ".data",
      ".spec",
      ".data.a",
      ".spec.items",
      '.spec.items[name="x",port=80]',
      '.spec.items[name="x",port=80].name',
    ],
  });
});

Deno.test("trackUpdate() moves what changes and drops what goes", () => {
  const first = updated(undefined, thing({ data: { a: "1", b: "1", c: "1" } }), "one");
  const next = updated(first, { ...first, data: { a: "1", b: "2" } }, "two");
  assertEquals(owners(next), { "one/Update": [".data", ".data.a"], "two/Update": [".data.b"] });
  const same = updated(next, next, "three");
  assertEquals(same.metadata.managedFields, next.metadata.managedFields);
});

Deno.test("trackUpdate() forgets everything when told to, and stays silent until an apply", () => {
  const first = updated(undefined, thing({ data: { a: "1" } }), "one");
  const reset = trackUpdate(SCHEMAS, "Thing", first, {
    ...first,
    metadata: { ...first.metadata, managedFields: [{}] },
  }, { manager: "two", apiVersion: "v1", time: time() });
  assertEquals(reset, undefined);
  const bare = clean({ ...first, metadata: { ...first.metadata, managedFields: undefined } });
  const next = applied(bare, { data: { a: "1", b: "2" } }, "me");
  assertEquals(owners(next)["before-first-apply/Update"], [".data", ".data.a"]);
  assertEquals(owners(next)["me/Apply"], [".data.a", ".data.b"]);
});

Deno.test("trackUpdate() keeps at most ten updaters apart", () => {
  let object = updated(undefined, thing({ data: { k0: "1" } }), "m0");
  for (let i = 1; i < 15; i++) {
    object = updated(object, { ...object, data: { ...object.data, [`k${i}`]: "1" } }, `m${i}`);
  }
  const entries = object.metadata.managedFields!;
  assertEquals(entries.length, 10);
  const ancient = owners(object)["ancient-changes/Update"];
  assertEquals(ancient.length, 7);
});

Deno.test("apply() conflicts, forced or not", () => {
  const first = updated(undefined, thing({ data: { a: "1" }, spec: { replicas: 1 } }), "kubectl");
  const error = assertThrows(() => applied(first, { data: { a: "2" } }, "me"), ApiError);
  assertEquals(error.code, 409);
  assertEquals(
    error.message,
    'Apply failed with 1 conflict: conflict with "kubectl" using v1: .data.a',
  );
  assertEquals(error.status.details?.causes, [{
    reason: "FieldManagerConflict",
    message: 'conflict with "kubectl" using v1',
    field: ".data.a",
  }]);
  const two = assertThrows(
    () => applied(first, { data: { a: "2" }, spec: { replicas: 2 } }, "me"),
    ApiError,
  );
  assertEquals(
    two.message,
    'Apply failed with 2 conflicts: conflicts with "kubectl" using v1:\n- .data.a\n- .spec.replicas',
  );
  const forced = applied(first, { data: { a: "2" } }, "me", { force: true });
  assertEquals(owners(forced)["kubectl/Update"], [".data", ".spec", ".spec.replicas"]);
  const shared = applied(first, { data: { a: "1" } }, "me");
  assertEquals(owners(shared)["kubectl/Update"].includes(".data.a"), true);
});

Deno.test("apply() prunes what its manager drops unless somebody else has it", () => {
  let object = applied(undefined, { data: { a: "1", b: "1" }, metadata: { name: "t" } }, "one");
  object = applied(object, { data: { b: "1" } }, "two");
  object = applied(object, { data: { c: "1" } }, "one");
  assertEquals(object.data, { b: "1", c: "1" });
  assertEquals(owners(object), { "one/Apply": [".data.c"], "two/Apply": [".data.b"] });
  object = applied(object, {}, "two");
  assertEquals(object.data, { c: "1" });
  assertEquals(owners(object), { "one/Apply": [".data.c"] });
  object = updated(object, { ...object, data: { c: "2" } } as KubeObject, "three");
  object = applied(object, { data: { c: "2", d: "1" } }, "one");
  object = applied(object, { data: { d: "1" } }, "one");
  assertEquals(object.data, { c: "2", d: "1" });
  assertEquals(owners(object), { "one/Apply": [".data.d"], "three/Update": [".data.c"] });
});

Deno.test("apply() keeps a map that it empties but did not make", () => {
  let object = updated(undefined, thing({ data: { a: "1" } }), "two");
  object = applied(object, { data: { b: "1" } }, "one");
  object = updated(object, { ...object, data: { b: "1" } } as KubeObject, "two");
  object = applied(object, {}, "one");
  assertEquals(object.data, {});
  assertEquals(owners(object), { "two/Update": [".data"] });
});

Deno.test("trackUpdate() owns duplicates of a list together", () => {
  const write = (old: KubeObject | undefined, values: string[]) =>
    updated(old, thing({ spec: { items: values.map((value) => ({ name: "a", value })) } }), "one");
  const item = '.spec.items[name="a",port=80]';
  const items = (object: KubeObject) =>
    owners(object)["one/Update"].filter((path) => path.startsWith(item)).map((path) =>
      path.slice(item.length)
    );
  let object = write(undefined, ["1", "2"]);
  assertEquals(items(object), [""]);
  object = write(object, ["1", "3"]);
  assertEquals(items(object), [""]);
  object = write(object, ["1"]);
  assertEquals(items(object), ["", ".name", ".value"]);
  object = write(object, ["1", "1"]);
  assertEquals(items(object), [""]);
});

Deno.test("apply() merges keyed lists, sets and atomic values", () => {
  let object = applied(undefined, {
    spec: {
      items: [{ name: "a", value: "1" }, { name: "b" }],
      selector: { x: "1" },
      args: ["1", "2"],
    },
    metadata: { name: "t", finalizers: ["f1", "f2"] },
  }, "one");
  object = applied(object, {
    spec: { items: [{ name: "c" }, { name: "a", port: 80, value: "1" }] },
    metadata: { name: "t", finalizers: ["f3"] },
  }, "two");
  assertEquals(object.spec.items.map((i: { name: string }) => i.name), ["c", "a", "b"]);
  assertEquals(object.metadata.finalizers, ["f1", "f2", "f3"]);
  object = applied(object, { spec: { selector: { y: "1" } } }, "one", { force: true });
  assertEquals(object.spec.selector, { y: "1" });
  assertEquals(object.spec.args, undefined);
  assertEquals(object.spec.items, [{ name: "c" }, { name: "a", value: "1", port: 80 }]);
  assertEquals(object.metadata.finalizers, ["f3"]);
});

Deno.test("apply() is silent when nothing changes", () => {
  const object = deepFreeze(applied(undefined, { data: { a: "1" } }, "one")) as KubeObject;
  const again = apply(SCHEMAS, "Thing", object, config({ data: { a: "1" } }), {
    manager: "one",
    apiVersion: "v1",
    kind: "Thing",
    time: "2030-01-01T00:00:00Z",
  });
  assertEquals(again.changed, false);
  assertEquals(again.object.metadata.managedFields, object.metadata.managedFields);
});

Deno.test("apply() takes no notice of status outside the status subresource", () => {
  let object = applied(undefined, { spec: { replicas: 1 }, status: { replicas: 5 } }, "one");
  assertEquals(owners(object), { "one/Apply": [".spec.replicas"] });
  object = applied(object, { spec: { replicas: 9 }, status: { replicas: 2 } }, "one", {
    subresource: "status",
  });
  assertEquals(object.metadata.managedFields?.map((e) => [e.subresource, e.fieldsV1]), [
    [undefined, { "f:spec": { "f:replicas": {} } }],
    ["status", { "f:status": { "f:replicas": {} } }],
  ]);
});

Deno.test("apply() lets kubectl take over what it applied client-side", () => {
  const annotations = {
    "kubectl.kubernetes.io/last-applied-configuration": JSON.stringify(
      config({ data: { a: "1" } }),
    ),
  };
  const made = updated(
    undefined,
    thing({ metadata: { annotations }, data: { a: "1", b: "1" } }),
    "kubectl-client-side-apply",
  );
  const object = applied(made, { data: { a: "2" } }, "kubectl");
  assertEquals(object.data, { a: "2", b: "1" });
  const last = object.metadata.annotations!["kubectl.kubernetes.io/last-applied-configuration"];
  assertEquals(JSON.parse(last).data, { a: "2" });
  assertThrows(() => applied(made, { data: { b: "2" } }, "kubectl"), ApiError, ".data.b");
  assertThrows(() => applied(made, { data: { a: "2" } }, "other"), ApiError, ".data.a");
});

Deno.test("apply() takes and owns any field of an object that declares none", () => {
  const object = applied(undefined, { spec: { free: { any: { deep: 1 } } } }, "me");
  assertEquals(object.spec, { free: { any: { deep: 1 } } });
  assertEquals(owners(object)["me/Apply"], [".spec.free.any", ".spec.free.any.deep"]);
});

Deno.test("apply() refuses bad configurations in upstream's words", () => {
  const fails = (fields: Record<string, Json>) =>
    assertThrows(() => applied(undefined, fields, "me"), ApiError).message;
  const head = "failed to create typed patch object (d/t; /v1, Kind=Thing): ";
  assertEquals(fields(fails({ specs: 1 })), ".specs: field not declared in schema");
  assertEquals(
    fields(fails({ spec: { replicas: "x" } })),
    ".spec.replicas: expected numeric (int or float), got string",
  );
  assertEquals(
    fields(fails({ spec: { items: [{ name: "a" }, { name: "a", port: 80 }] } })),
    '.spec.items: duplicate entries for key [name="a",port=80]',
  );
  assertEquals(fails({ kind: "Pod" }), "invalid object type: /v1, Kind=Pod");
  assertEquals(
    fails({ metadata: { name: "t", managedFields: [] } }),
    "metadata.managedFields must be nil",
  );
  function fields(text: string): string {
    assert(text.startsWith(head), text);
    return text.slice(head.length);
  }
});

Deno.test("scale entries go to the scale and back", () => {
  const object = updated(undefined, thing({ spec: { replicas: 1 }, data: { a: "1" } }), "one");
  const paths = { v1: ["f:spec", "f:replicas"] };
  const scale = scaleEntries(object.metadata.managedFields, paths);
  assertEquals(scale.map((e) => [e.manager, e.apiVersion, e.fieldsV1]), [
    ["one", "autoscaling/v1", { "f:spec": { "f:replicas": {} } }],
  ]);
  const scaler = { ...scale[0], manager: "hpa", subresource: "scale" };
  const back = parentEntries(object.metadata.managedFields, [scaler], "v1", paths);
  assertEquals(back.map((e) => [e.manager, pathsOf(e.fieldsV1 as never).map(pathText)]), [
    ["hpa", [".spec.replicas"]],
    ["one", [".data", ".spec", ".data.a"]],
  ]);
});

/** Flat model: keys with values, owners per key. Every step is checked against the real thing. */
Deno.test("apply and update agree with a flat model over random histories", () => {
  let seed = 12345;
  const random = (n: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % n;
  };
  for (let round = 0; round < 60; round++) {
    let object: KubeObject | undefined;
    const values = new Map<string, string>();
    const appliers = new Map<string, Set<string>>();
    const updaters = new Map<string, Set<string>>();
    for (let step = 0; step < 15; step++) {
      const wanted: Record<string, string> = {};
      for (let k = 0; k < 5; k++) if (random(2)) wanted[`k${k}`] = String(random(2));
      const who = `m${random(3)}`;
      if (random(2) && object) {
        object = updated(object, { ...object, data: wanted }, who);
        modelUpdate(values, appliers, updaters, wanted, who);
      } else {
        const force = random(2) === 0;
        const conflicts = modelConflicts(values, appliers, updaters, wanted, who);
        const before = object;
        const run = (): KubeObject => applied(before, { data: wanted }, who, { force });
        if (conflicts.length && !force) {
          const error = assertThrows(run, ApiError);
          const fields = error.status.details!.causes!.map((c) => c.field!);
          assertEquals([...new Set(fields)].sort(), conflicts.map((k) => `.data.${k}`).sort());
          continue;
        }
        object = run();
        modelApply(values, appliers, updaters, wanted, who);
      }
      assertEquals(object.data ?? {}, Object.fromEntries([...values].sort()));
      const got = owners(object);
      for (const [op, model] of [["Apply", appliers], ["Update", updaters]] as const) {
        for (const m of ["m0", "m1", "m2"]) {
          const keys = [...(model.get(m) ?? [])].map((k) => `.data.${k}`).sort();
          const real = (got[`${m}/${op}`] ?? []).filter((p) => p !== ".data");
          assertEquals(real, keys, `${m}/${op} in round ${round}, step ${step}`);
        }
      }
    }
  }
});

type Owners = Map<string, Set<string>>;

function others(appliers: Owners, updaters: Owners, who: string, op: "Apply" | "Update") {
  const list: Set<string>[] = [];
  for (const [m, set] of appliers) if (op !== "Apply" || m !== who) list.push(set);
  for (const [m, set] of updaters) if (op !== "Update" || m !== who) list.push(set);
  return list;
}

function modelConflicts(
  values: Map<string, string>,
  appliers: Owners,
  updaters: Owners,
  wanted: Record<string, string>,
  who: string,
): string[] {
  return Object.keys(wanted).filter((k) =>
    values.has(k) && values.get(k) !== wanted[k] &&
    others(appliers, updaters, who, "Apply").some((set) => set.has(k))
  );
}

function modelUpdate(
  values: Map<string, string>,
  appliers: Owners,
  updaters: Owners,
  wanted: Record<string, string>,
  who: string,
): void {
  const own = updaters.get(who) ?? new Set();
  for (const k of new Set([...values.keys(), ...Object.keys(wanted)])) {
    if (values.get(k) === wanted[k]) continue;
    for (const set of others(appliers, updaters, who, "Update")) set.delete(k);
    if (wanted[k] === undefined) {
      own.delete(k);
      values.delete(k);
    } else {
      own.add(k);
      values.set(k, wanted[k]);
    }
  }
  updaters.set(who, own);
}

function modelApply(
  values: Map<string, string>,
  appliers: Owners,
  updaters: Owners,
  wanted: Record<string, string>,
  who: string,
): void {
  const last = appliers.get(who) ?? new Set();
  appliers.set(who, new Set(Object.keys(wanted)));
  for (const [k, v] of Object.entries(wanted)) {
    if (values.get(k) !== v) {
      for (const set of others(appliers, updaters, who, "Apply")) set.delete(k);
    }
    values.set(k, v);
  }
  for (const k of last) {
    if (k in wanted) continue;
    if (others(appliers, updaters, who, "Apply").some((set) => set.has(k))) continue;
    values.delete(k);
  }
}
