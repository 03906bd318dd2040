/** OpenAPI against what Kubernetes 1.36 publishes: `openapi.json` holds the digests of its documents' shapes. */
import { assertEquals } from "@std/assert";
import { createKinds } from "../../api/kinds/mod.ts";
import { type Crd, customKinds } from "../../api/machinery/crd/mod.ts";
import { schemas } from "../../api/kinds/schemas.ts";
import { openApiV2 } from "../../api/machinery/openapi_v2.ts";
import { rootPaths } from "../../api/machinery/openapi_roots.ts";
import { openApiV3, openApiV3Paths, openApiV3Root } from "../../api/machinery/openapi_v3.ts";
import { type Shapes, shapesOfV2, shapesOfV3 } from "./openapi_shape.ts";

const expected: Shapes = JSON.parse(
  await Deno.readTextFile(new URL("./openapi.json", import.meta.url)),
);
/** Without what is ours alone: upstream serves it by another server. */
const kinds = createKinds().all().filter((kind) => kind.group !== "metrics.k8s.io");

Deno.test("definitions and paths have upstream's shape, in the second version", () => {
  const shapes = shapesOfV2(openApiV2(kinds));
  for (const [name, shape] of Object.entries(shapes)) assertEquals(shape, expected[name], name);
  const wanted = Object.keys(expected).filter((name) => !name.includes(" "));
  assertEquals(Object.keys(shapes).sort(), wanted.sort());
});

Deno.test("definitions and paths have upstream's shape, in the third version", () => {
  const shapes: Shapes = {};
  for (const key of openApiV3Paths(kinds)) {
    const [, first, second] = key.split("/");
    const gv = second ? { group: first, version: second } : { group: "", version: first };
    Object.assign(shapes, shapesOfV3(key, openApiV3(gv, kinds)));
  }
  for (const { key } of rootPaths(kinds)) {
    Object.assign(shapes, shapesOfV3(key, openApiV3Root(key, kinds)));
  }
  const wanted = Object.entries(expected).filter(([name]) => name.includes(" "));
  assertEquals(shapes, Object.fromEntries(wanted));
});

Deno.test("custom kinds are described as upstream describes them, in both versions", async () => {
  const { definitions, shapes }: { definitions: Crd[]; shapes: Shapes } = JSON.parse(
    await Deno.readTextFile(new URL("./crd_openapi.json", import.meta.url)),
  );
  const registry = createKinds();
  for (const crd of definitions) {
    registry.setCustom(crd.metadata.name, await customKinds(crd, schemas));
  }
  const all = registry.all();
  const found: Shapes = {};
  const second = shapesOfV2(openApiV2(all));
  for (const name in second) if (name in shapes) found[name] = second[name];
  for (const version of ["v1", "v1beta1"]) {
    const group = "doc2.example.org";
    Object.assign(found, shapesOfV3(`apis/${group}/${version}`, openApiV3({ group, version }, all)));
  }
  assertEquals(found, shapes);
});
