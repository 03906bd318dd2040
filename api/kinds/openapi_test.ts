import { assertEquals } from "@std/assert";
import { openApiV2 } from "../machinery/openapi_v2.ts";
import { openApiV2Protobuf } from "../machinery/openapi_v2_protobuf.ts";
import { openApiV3, openApiV3Paths } from "../machinery/openapi_v3.ts";
import { createHash } from "node:crypto";
import { OPENAPI_EDITION } from "../machinery/openapi_edition.ts";
import {
  fieldDescription,
  FIELDS,
  typeDescription,
  TYPES,
} from "../machinery/openapi_descriptions.ts";
import type { Kind, Schema } from "../machinery/types.ts";
import { createKinds } from "./registry.ts";
import { schemaNames, schemas } from "./schemas.ts";

// deno-lint-ignore no-explicit-any -- OpenAPI documents
type Doc = any;

const WIDGET: Kind = {
  ...createKinds().byKind("", "v1", "ConfigMap")!,
  group: "stable.example.com",
  version: "v1",
  kind: "Widget",
  listKind: "WidgetList",
  plural: "widgets",
  singular: "widget",
  schema: "Widget",
  schemas: {
    Widget: {
      type: "object",
      properties: {
        spec: {
          type: "object",
          description: "What is wanted of it.",
          required: ["size"],
          properties: {
            size: {
              type: "integer",
              format: "int32",
              validations: { minimum: 1, rules: [{ rule: "self > 0" }] },
            },
            port: { type: "intOrString" },
            free: { type: "object", preserveUnknown: true },
            note: { type: "string", nullable: true },
            list: { type: "array", listType: "set", items: { type: "string" } },
          },
        },
      },
    },
  },
  subresources: [{ name: "status", verbs: ["get", "patch", "update"] }],
  custom: true,
};

function withWidget(): readonly Kind[] {
  const kinds = createKinds();
  kinds.setCustom("widgets.stable.example.com", [WIDGET]);
  return kinds.all();
}

const kinds = withWidget();
const core: Doc = openApiV3({ group: "", version: "v1" }, kinds);

/** Every reference of a document leads somewhere. */
function checkReferences(document: Doc, definitions: Doc, prefix: string): number {
  let found = 0;
  const visit = (value: Doc): void => {
    if (typeof value !== "object" || value === null) return;
    if (typeof value.$ref === "string") {
      assertEquals(value.$ref.slice(prefix.length) in definitions, true, value.$ref);
      found++;
    }
    Object.values(value).forEach(visit);
  };
  visit(document);
  return found;
}

Deno.test("the index names each group-version once", () => {
  const paths = openApiV3Paths(kinds);
  assertEquals(paths.includes("api/v1"), true);
  assertEquals(paths.includes("apis/apps/v1"), true);
  assertEquals(paths.includes("apis/stable.example.com/v1"), true);
  assertEquals(paths, [...new Set(paths)].sort());
});

Deno.test("a pod's schema carries what clients merge and explain by", () => {
  const schemas = core.components.schemas;
  const spec = schemas["io.k8s.api.core.v1.PodSpec"];
  const { containers, restartPolicy, nodeSelector } = spec.properties;
  assertEquals(containers, {
    description: "The containers that run side by side. At least one.",
    type: "array",
    items: { allOf: [{ $ref: "#/components/schemas/io.k8s.api.core.v1.Container" }], default: {} },
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    "x-kubernetes-patch-merge-key": "name",
    "x-kubernetes-patch-strategy": "merge",
  });
  assertEquals(restartPolicy.type, "string");
  assertEquals(restartPolicy.enum, ["Always", "Never", "OnFailure"]);
  assertEquals(nodeSelector["x-kubernetes-map-type"], "atomic");
  assertEquals(spec.required, ["containers"]);
  assertEquals(spec.properties.volumes["x-kubernetes-patch-strategy"], "merge,retainKeys");
  assertEquals(schemas["io.k8s.api.core.v1.Pod"]["x-kubernetes-group-version-kind"], [
    { group: "", kind: "Pod", version: "v1" },
  ]);
  assertEquals(schemas["io.k8s.api.core.v1.ServicePort"].properties.protocol.default, "TCP");
  assertEquals(schemas["io.k8s.api.core.v1.ServicePort"].properties.port.default, 0);
  assertEquals(schemas["io.k8s.api.policy.v1.Eviction"]["x-kubernetes-group-version-kind"], [
    { group: "policy", kind: "Eviction", version: "v1" },
  ]);
  assertEquals(schemas["io.k8s.apimachinery.pkg.api.resource.Quantity"].oneOf.length, 2);
});

Deno.test("operations say what clients look for", () => {
  const paths = core.paths;
  const { patch, parameters } = paths["/api/v1/namespaces/{namespace}/pods/{name}"];
  assertEquals(patch.operationId, "patchCoreV1NamespacedPod");
  assertEquals(patch["x-kubernetes-action"], "patch");
  assertEquals(patch["x-kubernetes-group-version-kind"], { group: "", kind: "Pod", version: "v1" });
  const names = (of: Doc) => of.parameters.map((p: { name: string }) => p.name);
  assertEquals(names(patch), ["dryRun", "fieldManager", "fieldValidation", "force"]);
  assertEquals(parameters.map((p: { name: string }) => p.name), ["name", "namespace", "pretty"]);
  assertEquals(Object.keys(patch.requestBody.content).length, 4);
  const ids: [string, string, string][] = [
    ["/api/v1/pods", "get", "listCoreV1PodForAllNamespaces"],
    ["/api/v1/namespaces/{namespace}/pods", "delete", "deleteCoreV1CollectionNamespacedPod"],
    ["/api/v1/namespaces/{namespace}/pods/{name}/exec", "get", "connectCoreV1GetNamespacedPodExec"],
    ["/api/v1/namespaces/{namespace}/pods/{name}/log", "get", "readCoreV1NamespacedPodLog"],
    [
      "/api/v1/namespaces/{namespace}/pods/{name}/eviction",
      "post",
      "createCoreV1NamespacedPodEviction",
    ],
    ["/api/v1/nodes/{name}/proxy/{path}", "put", "connectCoreV1PutNodeProxyWithPath"],
    ["/api/v1/namespaces/{name}/finalize", "put", "replaceCoreV1NamespaceFinalize"],
  ];
  for (const [path, method, id] of ids) assertEquals(paths[path]?.[method]?.operationId, id, path);
});

Deno.test("every reference leads somewhere, in every document", () => {
  for (const path of openApiV3Paths(kinds)) {
    const [, first, second] = path.split("/");
    const gv = second ? { group: first, version: second } : { group: "", version: first };
    const document: Doc = openApiV3(gv, kinds);
    assertEquals(
      checkReferences(document, document.components.schemas, "#/components/schemas/") > 0,
      true,
      path,
    );
  }
  const v2: Doc = openApiV2(kinds);
  assertEquals(checkReferences(v2, v2.definitions, "#/definitions/") > 1000, true);
});

Deno.test("custom kinds are published", () => {
  const document: Doc = openApiV3({ group: "stable.example.com", version: "v1" }, kinds);
  const widget = document.components.schemas["com.example.stable.v1.Widget"];
  assertEquals(widget["x-kubernetes-group-version-kind"], [
    { group: "stable.example.com", kind: "Widget", version: "v1" },
  ]);
  assertEquals(widget.properties.spec, {
    type: "object",
    description: "What is wanted of it.",
    required: ["size"],
    properties: {
      size: {
        type: "integer",
        format: "int32",
        minimum: 1,
        "x-kubernetes-validations": [{ rule: "self > 0" }],
      },
      port: {
        "x-kubernetes-int-or-string": true,
        anyOf: [{ type: "integer" }, { type: "string" }],
      },
      free: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
      note: { type: "string", nullable: true },
      list: { type: "array", "x-kubernetes-list-type": "set", items: { type: "string" } },
    },
  });
  const path = "/apis/stable.example.com/v1/namespaces/{namespace}/widgets/{name}/status";
  assertEquals(
    document.paths[path].put.operationId,
    "replaceStableExampleComV1NamespacedWidgetStatus",
  );
  const v2: Doc = openApiV2(kinds);
  const plain = v2.definitions["com.example.stable.v1.Widget"].properties.spec.properties;
  assertEquals(plain.note, {});
  assertEquals(v2.definitions["com.example.stable.v1.WidgetList"].required, ["items"]);
});

Deno.test("version 2 lists no fields of a kind that takes any", () => {
  const schemas = { Widget: { ...WIDGET.schemas.Widget, preserveUnknown: true } };
  Object.setPrototypeOf(schemas, kinds[0].schemas);
  const v2: Doc = openApiV2([{ ...WIDGET, schemas } as Kind]);
  assertEquals(v2.definitions["com.example.stable.v1.Widget"], {
    type: "object",
    "x-kubernetes-group-version-kind": [
      { group: "stable.example.com", kind: "Widget", version: "v1" },
    ],
  });
});

Deno.test("version 2 in protobuf begins as gnostic's document does", () => {
  const made = openApiV2Protobuf(openApiV2([kinds[0], kinds.at(-1)!], "v1.36.0"));
  const head = "0a03322e30" + "1215" + "0a0a4b756265726e65746573" + "120776312e33362e30";
  assertEquals(made.subarray(0, head.length / 2).toHex(), head);
  assertEquals(made.length > 10_000, true);
});

Deno.test("what explain says is of types and fields that exist", () => {
  const types = new Map<string, Set<string>>();
  for (const name of schemaNames()) {
    const type = name.slice(name.lastIndexOf(".") + 1);
    const fields = types.get(type) ?? new Set();
    types.set(type, fields);
    for (const field in schemas[name].properties) fields.add(field);
  }
  for (const type in TYPES) assertEquals(types.has(type), true, type);
  for (const key in FIELDS) {
    const [type, field] = key.split(/\.(.*)/);
    assertEquals(types.get(type)?.has(field), true, key);
  }
  const list = core.components.schemas["io.k8s.api.core.v1.PodList"];
  assertEquals(list.description, "A list of objects of kind Pod.");
});

Deno.test("every type and field of every kind is explained", () => {
  const seen = new Set<string>();
  const silent: string[] = [];
  const visit = (name: string) => {
    if (seen.has(name)) return;
    seen.add(name);
    const type = name.slice(name.lastIndexOf(".") + 1);
    if (!typeDescription(type)) silent.push(type);
    for (const [key, field] of Object.entries(schemas[name].properties ?? {})) {
      if (!fieldDescription(type, key)) silent.push(`${type}.${key}`);
      walk(field);
    }
  };
  const walk = (schema: Schema) => {
    if (schema.ref && schema.type === "object") visit(schema.ref);
    if (schema.items) walk(schema.items);
    Object.values(schema.properties ?? {}).forEach(walk);
  };
  for (const { schema } of createKinds().all()) visit(schema);
  assertEquals(silent, []);
  assertEquals(seen.size > 450, true, "what they are made of too");
});

Deno.test("the edition names what the documents say", () => {
  const digest = createHash("sha256");
  const builtIn = createKinds().all();
  for (const path of openApiV3Paths(builtIn)) {
    const [, first, second] = path.split("/");
    const gv = second ? { group: first, version: second } : { group: "", version: first };
    digest.update(JSON.stringify(openApiV3(gv, builtIn)));
  }
  const edition = digest.update(JSON.stringify(openApiV2(builtIn))).digest("hex").slice(0, 16);
  if (Deno.args.includes("--update")) {
    const url = new URL("../machinery/openapi_edition.ts", import.meta.url);
    const text = Deno.readTextFileSync(url);
    Deno.writeTextFileSync(url, text.replace(/(OPENAPI_EDITION = ")[^"]*/, `$1${edition}`));
  } else assertEquals(OPENAPI_EDITION, edition);
});
