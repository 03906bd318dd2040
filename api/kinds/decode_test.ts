import { assertEquals, assertThrows } from "@std/assert";
import { applyDefaults } from "../machinery/defaults.ts";
import { decode, DecodeError, decodeWith } from "../machinery/schema.ts";
import { ApiError, type Kind, type KubeObject } from "../machinery/types.ts";
import { createKinds } from "./registry.ts";
import { schemas } from "./schemas.ts";

const kinds = createKinds();

function kind(group: string, version: string, plural: string): Kind {
  return kinds.byResource(group, version, plural)!;
}

const POD = kind("", "v1", "pods");
const DEPLOYMENT = kind("apps", "v1", "deployments");

function refusal(of: Kind, value: unknown, duplicates: string[] = []): string {
  return assertThrows(() => decode(of, value, "Strict", duplicates), ApiError).message;
}

Deno.test("type errors are those of Go's decoder", () => {
  const pod = 'Pod in version "v1" cannot be handled as a Pod: ';
  const cases: [unknown, string][] = [
    [
      { spec: { containers: [{ ports: [{ containerPort: "x" }] }] } },
      "json: cannot unmarshal string into Go struct field " +
      "ContainerPort.spec.containers.ports.containerPort of type int32",
    ],
    [
      { spec: { containers: {} } },
      "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
    ],
    [
      { metadata: { labels: { a: 1 } } },
      "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
    ],
    [
      { spec: { terminationGracePeriodSeconds: 1.5 } },
      "json: cannot unmarshal number 1.5 into Go struct field " +
      "PodSpec.spec.terminationGracePeriodSeconds of type int64",
    ],
    [
      { spec: { containers: [{ imagePullPolicy: 3 }] } },
      "json: cannot unmarshal number into Go struct field " +
      "Container.spec.containers.imagePullPolicy of type v1.PullPolicy",
    ],
    [
      { spec: { containers: [{ livenessProbe: { httpGet: { port: true } } }] } },
      "json: cannot unmarshal bool into Go struct field " +
      "HTTPGetAction.spec.containers.livenessProbe.ProbeHandler.httpGet.port of type int32",
    ],
    [
      { spec: { volumes: [{ emptyDir: 1 }] } },
      "json: cannot unmarshal number into Go struct field " +
      "Volume.spec.volumes.VolumeSource.emptyDir of type v1.EmptyDirVolumeSource",
    ],
    [
      { metadata: { creationTimestamp: "x" } },
      'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"',
    ],
    // A type that decodes itself ends the walk: its error goes before one found earlier.
    [
      { spec: { nodeName: 1, containers: [{ resources: { requests: { cpu: "x" } } }] } },
      "quantities must match the regular expression " +
      "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    ],
  ];
  for (const [value, expected] of cases) assertEquals(refusal(POD, value), pod + expected);
});

Deno.test("a body that is no object, or of no type, is not recognised", () => {
  const head =
    "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; " +
    "json parse error: json: cannot unmarshal ";
  assertEquals(
    refusal(POD, { kind: 1 }),
    `${head}number into Go struct field .kind of type string ({"kind":1})`,
  );
  assertEquals(refusal(POD, [1]).startsWith(`${head}array into Go value of type struct`), true);
});

Deno.test("unknown and duplicate fields: refused, warned of, or ignored", () => {
  const value = {
    spec: { containers: [{ name: "c", imagee: "x" }], zz: 1 },
    status: {},
    extra: { deep: 1 },
  };
  const found = [
    'duplicate field "spec.containers[0].name"',
    'unknown field "spec.containers[0].imagee"',
    'unknown field "spec.zz"',
    'unknown field "extra"',
  ];
  const duplicates = ["spec.containers[0].name"];
  assertEquals(
    refusal(POD, value, duplicates),
    `Pod in version "v1" cannot be handled as a Pod: strict decoding error: ${found.join(", ")}`,
  );
  assertEquals(decode(POD, value, "Warn", duplicates).warnings, found);
  assertEquals(decode(POD, value, "Ignore", duplicates).warnings, []);
  const kept = decode(POD, value, "Warn", duplicates).object;
  assertEquals(Object.keys(kept).sort(), ["apiVersion", "kind", "metadata", "spec", "status"]);
  assertEquals(value.extra.deep, 1);
});

Deno.test("values are written as Go writes them back", () => {
  const { object } = decode(DEPLOYMENT, {
    metadata: { name: "web", labels: {}, creationTimestamp: null, finalizers: [] },
    spec: {
      replicas: 0,
      paused: false,
      template: {
        spec: {
          hostNetwork: false,
          terminationGracePeriodSeconds: 0,
          volumes: null,
          containers: [{ name: "c", image: "", resources: { limits: { memory: "1024Mi" } } }],
        },
      },
    },
  }, "Strict");
  assertEquals(object as unknown, {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web" },
    spec: {
      replicas: 0,
      selector: null,
      strategy: {},
      template: {
        metadata: {},
        spec: {
          terminationGracePeriodSeconds: 0,
          containers: [{ name: "c", resources: { limits: { memory: "1Gi" } } }],
        },
      },
    },
    status: {},
  });
});

Deno.test("nulls in lists and maps become zero values; hostile keys stay keys", () => {
  const config = kind("", "v1", "configmaps");
  const { object } = decode(
    config,
    JSON.parse('{"data":{"a":null,"__proto__":"x"},"metadata":{"finalizers":[null,"b"]}}'),
    "Strict",
  );
  assertEquals(Object.entries(object.data), [["a", ""], ["__proto__", "x"]]);
  assertEquals(object.metadata.finalizers, ["", "b"]);
});

Deno.test("CRDs keep what their unions allow", () => {
  const crd = kind("apiextensions.k8s.io", "v1", "customresourcedefinitions");
  const schema = {
    type: "object",
    additionalProperties: { type: "string", zz: 1 },
    properties: {
      a: { items: [{ type: "x" }], default: { any: [1] }, additionalProperties: false },
    },
  };
  const value = { spec: { versions: [{ name: "v1", schema: { openAPIV3Schema: schema } }] } };
  const { object, warnings } = decode(crd, value, "Warn");
  assertEquals(warnings, []);
  assertEquals(object.spec.versions[0].schema.openAPIV3Schema, {
    ...schema,
    additionalProperties: { type: "string" },
  });
  const bad = structuredClone(value);
  (bad.spec.versions[0].schema.openAPIV3Schema as { additionalProperties: unknown })
    .additionalProperties = 1;
  assertEquals(refusal(crd, bad).endsWith("boolean or JSON schema expected"), true);
});

Deno.test("bodies that are no kind's decode by name", () => {
  const name = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
  const { object, unknown } = decodeWith(schemas, name, { gracePeriodSeconds: 0, x: 1 });
  assertEquals(object as unknown, { gracePeriodSeconds: 0 });
  assertEquals(unknown, ['unknown field "x"']);
  assertThrows(() => decodeWith(schemas, name, { dryRun: "All" }), DecodeError, "[]string");
  assertThrows(() => decodeWith(schemas, name, "x"), DecodeError, "of type v1.DeleteOptions");
});

Deno.test("declared defaults are filled where their parents are", () => {
  const pod = {
    spec: {
      containers: [{ ports: [{ containerPort: 1 }, { containerPort: 2, protocol: "UDP" }] }],
      volumes: [{ iscsi: {} }],
      imagePullSecrets: [{}],
    },
  } as unknown as KubeObject;
  applyDefaults(POD.schemas, POD.schema, pod);
  assertEquals(pod.spec.containers[0].ports, [
    { containerPort: 1, protocol: "TCP" },
    { containerPort: 2, protocol: "UDP" },
  ]);
  assertEquals(pod.spec.volumes[0].iscsi, { iscsiInterface: "default" });
  assertEquals(pod.spec.imagePullSecrets, [{}]);
});

Deno.test("custom objects lose what their schema does not know", () => {
  const custom: Kind = {
    ...POD,
    group: "example.com",
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
            properties: {
              size: { type: "integer" },
              free: { type: "object", preserveUnknown: true, properties: {} },
              parts: {
                type: "array",
                items: { type: "object", properties: { a: { type: "string" } } },
              },
              named: {
                type: "map",
                items: { type: "object", properties: { b: { type: "string" } } },
              },
              port: { type: "intOrString" },
            },
          },
        },
      },
    },
    subresources: [],
    columns: [],
    custom: true,
    hooks: {},
  };
  const registry = createKinds();
  registry.setCustom("example.com/widgets", [custom]);
  const row = registry.byKind("example.com", "v1", "Widget")!;
  const { object, warnings } = decode(row, {
    apiVersion: "example.com/v1",
    kind: "Widget",
    metadata: { name: "w", labels: {}, zz: 1 },
    spec: {
      size: "not checked here",
      free: { any: [{ thing: 1 }] },
      parts: [{ a: "x", z: 1 }],
      named: { n: { b: null, z: 1 } },
      port: 80,
      lost: 1,
    },
  }, "Warn");
  assertEquals(object as unknown, {
    apiVersion: "example.com/v1",
    kind: "Widget",
    metadata: { name: "w" },
    spec: {
      size: "not checked here",
      free: { any: [{ thing: 1 }] },
      parts: [{ a: "x" }],
      named: { n: { b: null } },
      port: 80,
    },
  });
  assertEquals(warnings.toSorted(), [
    'unknown field "metadata.zz"',
    'unknown field "spec.lost"',
    'unknown field "spec.named.n.z"',
    'unknown field "spec.parts[0].z"',
  ]);
  registry.setCustom("example.com/widgets", []);
  assertEquals(registry.byKind("example.com", "v1", "Widget"), undefined);
});
