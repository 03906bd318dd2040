import { assert, assertEquals, assertThrows } from "@std/assert";
import type { Json, KindContext, KubeObject, SchemaSet } from "../types.ts";
import { applyDefaults } from "../defaults.ts";
import { edit } from "../edit.ts";
import { causeText } from "../field_errors.ts";
import { Pace, Unsettled } from "../pace.ts";
import { decode } from "../schema.ts";
import {
  type Crd,
  customKinds,
  defaultDefinition,
  definitionErrors,
  loadCrdEngine,
  noteStoredVersion,
  type Props,
  rootSchema,
  statusOf,
  valueErrors,
} from "./mod.ts";

await loadCrdEngine();

const CONTEXT: KindContext = {
  now: 0,
  user: "",
  verb: "update",
  refused: () => undefined,
  subresource: "",
  uuid: () => "",
};

const BASE: SchemaSet = {
  "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {
    type: "object",
    properties: {
      name: { type: "string" },
      namespace: { type: "string" },
      uid: { type: "string" },
      labels: { type: "map", items: { type: "string" } },
    },
  },
};

function crd(schema: Props, change: (crd: Crd) => void = () => {}): Crd {
  const made = {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "widgets.example.com", uid: "", resourceVersion: "", creationTimestamp: "" },
    spec: {
      group: "example.com",
      names: { plural: "widgets", kind: "Widget", shortNames: ["wd"] },
      scope: "Namespaced",
      versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: schema } }],
    },
  } as unknown as Crd;
  defaultDefinition(made);
  noteStoredVersion(made);
  change(made);
  return made;
}

const SPEC: Props = {
  type: "object",
  properties: {
    spec: {
      type: "object",
      required: ["size"],
      properties: {
        size: { type: "integer", minimum: 1, maximum: 10, default: 3 },
        color: { type: "string", enum: ["red", "green"], nullable: true },
        name: { type: "string", pattern: "^[a-z]+$", maxLength: 5 },
        port: {
          "x-kubernetes-int-or-string": true,
          anyOf: [{ type: "integer" }, { type: "string" }],
        },
        when: { type: "string", format: "date-time" },
        tags: {
          type: "array",
          items: { type: "string" },
          "x-kubernetes-list-type": "set",
          maxItems: 3,
        },
        labels: { type: "object", additionalProperties: { type: "string" }, minProperties: 1 },
        free: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
        items: {
          type: "array",
          "x-kubernetes-list-type": "map",
          "x-kubernetes-list-map-keys": ["id"],
          items: {
            type: "object",
            required: ["id"],
            properties: { id: { type: "string" }, n: { type: "number", multipleOf: 0.5 } },
          },
        },
      },
      oneOf: [{ required: ["size"] }, { required: ["name"] }],
    },
    status: { type: "object", properties: { replicas: { type: "integer" } } },
  },
};

Deno.test("definitionErrors() accepts a good definition and names what is wrong with a bad one", () => {
  assertEquals(definitionErrors(crd(SPEC)), []);
  const errors = (schema: Props, change?: (crd: Crd) => void) =>
    definitionErrors(crd(schema, change)).map(causeText);
  const at = "spec.validation.openAPIV3Schema";
  assertEquals(errors({ type: "object", properties: { a: {} } }), [
    `${at}.properties[a].type: Required value: must not be empty for specified object fields`,
  ]);
  assertEquals(errors({ type: "object", properties: { a: { type: "array" } } }), [
    `${at}.properties[a].items: Required value: must be specified`,
  ]);
  assertEquals(errors({ type: "object", properties: { a: { type: "string", pattern: "[" } } }), [
    `${at}.properties[a].pattern: Invalid value: "[": must be a valid regular expression, but ` +
    "isn't: error parsing regexp: missing closing ]: `[`",
  ]);
  assertEquals(errors({ type: "object", properties: { a: { type: "integer", default: "x" } } }), [
    `${at}.properties[a].default: Invalid value: "string":  in body must be of type integer: "string"`,
  ]);
  assertEquals(
    errors({
      type: "object",
      properties: { a: { type: "string" } },
      anyOf: [{ properties: { b: { minLength: 1 } } }],
    }),
    [
      `${at}.properties[b]: Required value: because it is defined in ${at}.anyOf[0].properties[b]`,
    ],
  );
  assertEquals(errors(SPEC, (c) => c.spec.names.plural = "Widgets"), [
    `metadata.name: Invalid value: "widgets.example.com": must be spec.names.plural+"."+spec.group`,
    'spec.names.plural: Invalid value: "Widgets": a DNS-1035 label must consist of lower case ' +
    "alphanumeric characters or '-', start with an alphabetic character, and end with an " +
    "alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is " +
    "'[a-z]([-a-z0-9]*[a-z0-9])?')",
  ]);
  assertEquals(
    errors(SPEC, (c) => c.spec.versions[0].storage = false).slice(0, 1)[0].slice(-56),
    [
      "must have exactly one version marked as storage version",
    ][0].padStart(56),
  );
  assertEquals(
    errors(SPEC, (c) => {
      c.spec.versions[0].selectableFields = [{ jsonPath: ".spec.tags" }];
      c.spec.versions[0].additionalPrinterColumns = [{ name: "A", type: "x", jsonPath: "a" }];
    }),
    [
      'spec.additionalPrinterColumns[0].type: Invalid value: "x": must be one of ' +
      "boolean,date,integer,number,string",
      'spec.additionalPrinterColumns[0].JSONPath: Invalid value: "a": must be a simple ' +
      "json path starting with .",
      'spec.selectableFields[0].jsonPath: Invalid value: ".spec.tags": must point to a ' +
      "field of type string, boolean or integer. Enum string fields and strings with formats are " +
      "allowed.",
    ],
  );
});

Deno.test("valueErrors() judges objects in upstream's words", () => {
  const schema = rootSchema(SPEC);
  const errors = (spec: Json, old?: Json) =>
    valueErrors(schema, { spec }, old === undefined ? undefined : { spec: old }).map(causeText);
  assertEquals(
    errors({ size: 3, port: "http", free: { any: [1] }, when: "2026-01-01T00:00:00Z" }),
    [],
  );
  assertEquals(errors({ size: 0 }), [
    "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
  ]);
  assertEquals(errors({ size: "x" }), [
    'spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"',
  ]);
  assertEquals(errors({ size: 1, color: "blue" }), [
    'spec.color: Unsupported value: "blue": supported values: "red", "green"',
  ]);
  assertEquals(errors({ size: 1, color: null }), [
    'spec.color: Unsupported value: null: supported values: "red", "green"',
  ]);
  assertEquals(errors({ size: null }), [
    'spec.size: Invalid value: "null": spec.size in body must be of type integer: "null"',
  ]);
  assertEquals(errors({ size: 1, port: true }), [
    'spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"',
  ]);
  assertEquals(errors({ size: 1, tags: ["a", "b", "a", "c"] }), [
    "spec.tags: Too many: 4: must have at most 3 items",
    'spec.tags[2]: Duplicate value: "a"',
  ]);
  assertEquals(errors({ size: 1, labels: {} }), [
    "spec.labels: Invalid value: 0: spec.labels in body should have at least 1 properties",
  ]);
  assertEquals(errors({ size: 1, items: [{ id: "a", n: 0.3 }, { id: "a" }] }), [
    "spec.items[0].n: Invalid value: 0.3: spec.items[0].n in body should be a multiple of 0.5",
    'spec.items[1]: Duplicate value: {"id":"a"}',
  ]);
  assertEquals(errors({ size: 1, when: "soon" }), [
    'spec.when: Invalid value: "soon": spec.when in body must be of type date-time: "soon"',
  ]);
  assertEquals(errors({ size: 1, name: "Abcdef" }), [
    '<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid ' +
    "alternatives",
    "spec.name: Too long: may not be more than 5 bytes",
  ]);
  assertEquals(errors({ color: "red" }), [
    '<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid',
    "spec.size: Required value",
  ]);
  assertEquals(errors({ size: 99, color: "red" }, { size: 99 }), []);
});

Deno.test("valueErrors() asks for formats inside junctors, as the Gateway API's addresses have them", () => {
  const address = { anyOf: [{ format: "ipv4" }, { format: "ipv6" }] };
  const schema = rootSchema({
    type: "object",
    properties: {
      spec: {
        type: "object",
        properties: { value: { type: "string" }, kind: { type: "string" } },
        oneOf: [
          { properties: { kind: { enum: ["IP"] }, value: address } },
          { properties: { kind: { not: { enum: ["IP"] } } } },
        ],
      },
    },
  });
  const errors = (spec: Json) => valueErrors(schema, { spec }).map(causeText);
  assertEquals(errors({ kind: "IP", value: "10.0.0.1" }), []);
  assertEquals(errors({ kind: "IP", value: "::1" }), []);
  assertEquals(errors({ kind: "Name", value: "here" }), []);
  assertEquals(
    errors({ kind: "IP", value: "here" })[0],
    '<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid',
  );
});

Deno.test("customKinds() makes rows that decode, prune, default and select", async () => {
  const [kind] = await customKinds(
    crd(SPEC, (c) => {
      const [version] = c.spec.versions;
      version.subresources = {
        status: {},
        scale: { specReplicasPath: ".spec.size", statusReplicasPath: ".status.replicas" },
      };
      version.selectableFields = [{ jsonPath: ".spec.color" }];
    }),
    BASE,
  );
  assertEquals(kind.subresources.map((s) => s.name), ["status", "scale"]);
  assertEquals(kind.path, "/registry/example.com/widgets");
  assertEquals(kind.scale, {
    spec: ["spec", "size"],
    status: ["status", "replicas"],
    selector: undefined,
  });
  assertEquals((await customKinds(crd(SPEC), BASE))[0].scale, undefined);
  const { object, warnings } = decode(kind, {
    apiVersion: "example.com/v1",
    kind: "Widget",
    metadata: { name: "w", labels: { a: "b" } },
    spec: { size: null, color: "red", junk: 1, free: { kept: { deep: 1 } }, labels: { x: "y" } },
  }, "Warn");
  assertEquals(warnings, ['unknown field "spec.junk"']);
  applyDefaults(kind.schemas, kind.schema, object);
  kind.hooks.defaults!(object);
  assertEquals(object.spec, {
    size: 3,
    color: "red",
    free: { kept: { deep: 1 } },
    labels: { x: "y" },
  });
  assertEquals(kind.fields!["spec.color"](object), "red");
  assertEquals(kind.hooks.validate!(object, CONTEXT), []);
  const bad = edit<KubeObject>(object);
  bad.spec.size = 50;
  assertEquals(kind.hooks.validateUpdate!(bad, object, CONTEXT).length, 1);
});

const TEXT = { type: "string" };
const FREE = { type: "object", "x-kubernetes-preserve-unknown-fields": true } as const;

Deno.test("custom objects lose what no schema knows, named in order, and gain no metadata inside", async () => {
  const [kind] = await customKinds(
    crd({
      type: "object",
      properties: {
        spec: {
          type: "object",
          properties: {
            input: { ...FREE, "x-kubernetes-embedded-resource": true },
            list: { type: "array", items: TEXT },
          },
        },
      },
    }),
    BASE,
  );
  const { object, warnings } = decode(kind, {
    apiVersion: "example.com/v1",
    kind: "Widget",
    spec: { z: 1, input: { kind: "Input", apiVersion: "v1" }, list: { b: 1, a: 2 }, c: 3 },
    metadata: { name: "w", junk: 1 },
  }, "Warn");
  assertEquals(
    warnings,
    ["metadata.junk", "spec.c", "spec.list.a", "spec.list.b", "spec.z"].map((path) =>
      `unknown field "${path}"`
    ),
  );
  assertEquals(object.spec, { input: { kind: "Input", apiVersion: "v1" }, list: {} });
});

Deno.test("finalizers that several writers could take are warned of once", async () => {
  const [kind] = await customKinds(crd(SPEC), BASE);
  const widget = (...finalizers: string[]) =>
    ({ metadata: { name: "w", finalizers } }) as unknown as KubeObject;
  const why = (path: string) =>
    `prefer a domain-qualified finalizer name${path} to avoid accidental conflicts with other ` +
    "finalizer writers";
  const given = widget("b.example.com", "a", "example.com/c", "orphan", "kubernetes");
  assertEquals(kind.hooks.warnings!(given), [
    `metadata.finalizers: "a": ${why("")}`,
    `metadata.finalizers: "b.example.com": ${why(" including a path (/)")}`,
  ]);
  assertEquals(kind.hooks.warnings!(given, widget("a", "b.example.com")), []);
  assertEquals(kind.hooks.warnings!(widget()), []);
});

Deno.test("what a version shows has the defaults of the version that is stored", async () => {
  const versions = ["v1", "v2"].map((name) => ({
    name,
    served: true,
    storage: name === "v1",
    schema: {
      openAPIV3Schema: {
        type: "object",
        properties: { policy: name === "v1" ? { ...TEXT, default: "Background" } : TEXT },
      },
    },
  }));
  const definition = crd(SPEC, (c) => c.spec.versions = versions as typeof c.spec.versions);
  const kinds = await customKinds(definition, BASE);
  const stored = { apiVersion: "example.com/v1", kind: "Widget", metadata: { name: "w" } };
  const shown = kinds[1].storage!.fromStorage(stored as KubeObject);
  assertEquals([shown.apiVersion, shown.policy], ["example.com/v2", "Background"]);
  let asked: unknown;
  const [, other] = await customKinds(definition, BASE, (objects) => {
    asked = objects[0].policy;
    return Promise.resolve([{ ...stored, apiVersion: "example.com/v2" } as KubeObject]);
  });
  await other.storage!.convert!([stored as KubeObject], "example.com/v2");
  assertEquals(asked, "Background");
});

Deno.test("custom defaults fill themselves; nulls go; empty texts stay", async () => {
  const [kind] = await customKinds(
    crd({
      type: "object",
      properties: {
        spec: {
          type: "object",
          default: {},
          properties: {
            mode: { type: "string", default: "fast" },
            deep: {
              type: "object",
              default: {},
              properties: { n: { type: "integer", default: 7 } },
            },
            plain: { type: "string" },
            maybe: { type: "string", nullable: true, default: "x" },
            list: { type: "array", items: { type: "object", properties: SPEC.properties } },
          },
        },
      },
    }),
    BASE,
  );
  const made = (spec?: Json) => {
    const { object } = decode(
      kind,
      { apiVersion: "example.com/v1", kind: "Widget", metadata: { name: "w" }, spec },
      "Strict",
    );
    applyDefaults(kind.schemas, kind.schema, object);
    kind.hooks.defaults!(object);
    return object.spec;
  };
  assertEquals(made(), { mode: "fast", deep: { n: 7 }, maybe: "x" });
  assertEquals(made({ mode: "", deep: null, plain: null, maybe: null }), {
    mode: "",
    deep: { n: 7 },
    maybe: null,
  });
  assertEquals(made({ deep: {}, list: [{ spec: { size: null } }, null] }), {
    mode: "fast",
    deep: { n: 7 },
    maybe: "x",
    list: [{ spec: { size: 3 } }, null],
  });
});

Deno.test("definitionErrors() names what all versions share where upstream keeps it", () => {
  const bad: Props = { type: "object", properties: { a: {} } };
  const errors = (change: (crd: Crd) => void) => definitionErrors(crd(bad, change)).map(causeText);
  const text = "Required value: must not be empty for specified object fields";
  const version = (schema: Props) => ({
    name: "v2",
    served: true,
    storage: false,
    schema: { openAPIV3Schema: schema },
  });
  assertEquals(errors((c) => c.spec.versions.push(version(bad))), [
    `spec.validation.openAPIV3Schema.properties[a].type: ${text}`,
  ]);
  assertEquals(errors((c) => c.spec.versions.push(version({ type: "object" }))), [
    `spec.versions[0].schema.openAPIV3Schema.properties[a].type: ${text}`,
  ]);
});

Deno.test("formats accept what upstream's accept", () => {
  const cases: [string, string[], string[]][] = [
    ["hostname", ["a", "a-b", "a.bc", "a-b-c.de"], ["", "a-b-c", "1.2.3.4", "a_b", "a.b1", "a."]],
    ["ipv4", ["1.2.3.4", "01.2.3.4"], ["1.2.3", "256.1.1.1", "::1"]],
    ["cidr", ["10.0.0.0/8", "::/0"], ["10.0.0.1/33", "10.0.0.1"]],
    ["duration", ["1h30m", "2 weeks", "-1s", ".5s", "0"], ["", "10", "1x"]],
    ["date-time", ["2026-01-02T03:04:05Z", "2026-01-02t03:04:05z"], ["2026-01-02", "soon"]],
    ["byte", ["YQ=="], ["", "YQ"]],
    ["email", ["a@b", "A B <a@b.c>"], ["a@", "@b"]],
    ["creditcard", ["4111 1111 1111 1111"], ["4111111111111112"]],
    ["mac", ["00:11:22:33:44:55", "001122334455"], ["00:11"]],
    ["rgbcolor", ["rgb(0,1,255)"], ["rgb(256,0,0)"]],
    ["nonsense", ["anything"], []],
  ];
  for (const [format, good, bad] of cases) {
    const schema = rootSchema({ type: "object", properties: { x: { type: "string", format } } });
    for (const x of good) assertEquals(valueErrors(schema, { x }), [], `${format}: ${x}`);
    for (const x of bad) assertEquals(valueErrors(schema, { x }).length, 1, `${format}: ${x}`);
  }
});

Deno.test("statusOf() accepts names once", () => {
  const one = crd(SPEC);
  one.status = statusOf(one, [], "2026-01-01T00:00:00Z");
  assertEquals(one.status.acceptedNames?.kind, "Widget");
  assertEquals(one.status.conditions?.map((c) => [c.type, c.status]), [
    ["NamesAccepted", "True"],
    ["Established", "True"],
  ]);
  assertEquals(statusOf(one, [], "2027-01-01T00:00:00Z"), one.status);
  const two = crd(SPEC, (c) => {
    c.metadata.name = "gadgets.example.com";
    c.spec.names = {
      plural: "gadgets",
      singular: "gadget",
      kind: "Gadget",
      listKind: "GadgetList",
      shortNames: ["wd"],
    };
  });
  const status = statusOf(two, [one], "2026-01-01T00:00:00Z");
  assertEquals(status.conditions?.map((c) => [c.type, c.status, c.message]), [
    ["NamesAccepted", "False", '"wd" is already in use'],
    ["Established", "False", "not all names are accepted"],
  ]);
});

Deno.test("statusOf() says who approved a definition of Kubernetes' own groups", () => {
  const approval = (text?: string) => {
    const made = crd(SPEC, (c) => {
      c.spec.group = "widgets.k8s.io";
      if (text) c.metadata.annotations = { "api-approved.kubernetes.io": text };
    });
    const { type, status, reason, message } = statusOf(made, [], "2026-01-01T00:00:00Z").conditions!
      .at(-1)!;
    assertEquals(type, "KubernetesAPIApprovalPolicyConformant");
    return [status, reason, message];
  };
  assertEquals(approval("https://example.com/1"), [
    "True",
    "ApprovedAnnotation",
    "approved in https://example.com/1",
  ]);
  assertEquals(approval("unapproved, a try"), [
    "False",
    "UnapprovedAnnotation",
    'not approved: "unapproved, a try"',
  ]);
  assertEquals(approval()[1], "MissingAnnotation");
  assertEquals(approval("me")[1], "InvalidAnnotation");
});

Deno.test("a long text is searched for a large pattern by pieces, and judged when that is settled", async () => {
  const pattern = "^[ab]*a[ab]{201}[cd]$";
  const text = { type: "string", pattern };
  const [kind] = await customKinds(
    crd({ type: "object", properties: { spec: { type: "object", properties: { text } } } }),
    BASE,
  );
  const long = "ab".repeat(2_000);
  let turns = 0;
  for (const [end, causes] of [["c", 0], ["e", 1]] as const) {
    const object = { metadata: { name: "w" }, spec: { text: `${long}${end}` } };
    const judge = () => kind.hooks.validate!(object as unknown as KubeObject, CONTEXT).length;
    let now = 0;
    const turn = () => {
      turns++;
      return Promise.resolve();
    };
    const pace = new Pace({ monotonic: () => now++, sliceMs: () => 0, turn });
    const unsettled = assertThrows(judge, Unsettled);
    await unsettled.settle(pace);
    assertEquals(judge(), causes);
  }
  assert(turns > 10, `${turns} turns`);
});

Deno.test("customKinds() refuses numbers of replicas that a Scale could not show", async () => {
  const scale = { specReplicasPath: ".spec.n", statusReplicasPath: ".status.n" };
  const schema = {
    openAPIV3Schema: {
      type: "object",
      properties: {
        spec: { type: "object", properties: { n: { type: "integer" } } },
        status: { type: "object", properties: { n: { type: "integer" } } },
      },
    },
  };
  const version = {
    name: "v1",
    served: true,
    storage: true,
    schema,
    subresources: { status: {}, scale },
  };
  const [kind] = await customKinds(
    {
      metadata: { name: "things.a.b" },
      spec: {
        group: "a.b",
        scope: "Cluster",
        names: { plural: "things", kind: "Thing" },
        versions: [version],
      },
    } as unknown as Parameters<typeof customKinds>[0],
    {},
  );
  const says = (spec: number, status: number) =>
    kind.hooks.validate!(
      { metadata: { name: "x" }, spec: { n: spec }, status: { n: status } } as never,
      {} as never,
    ).map(({ field, message }) => `${field}: ${message}`);
  assertEquals(says(1, 2), []);
  assertEquals(says(-1, 2 ** 31), [
    ".spec.n: Invalid value: -1: should be a non-negative integer",
    ".status.n: Invalid value: 2147483648: should be less than or equal to 2147483647",
  ]);
});
