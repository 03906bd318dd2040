/** Custom resources that a webhook converts, through the whole pipeline. */
import { assertEquals, assertObjectMatch, assertRejects } from "@std/assert";
import { type FakeAnswer, fakeOutbound, type OutboundCall } from "../client/outbound_fixture.ts";
import { edit } from "../machinery/edit.ts";
import { createKinds } from "../kinds/mod.ts";
import { ApiError } from "../machinery/types.ts";
import { CONVERSIONS_AT_ONCE } from "./conversions.ts";
import { CRDS, established, openApi } from "./fixture_test.ts";

// deno-lint-ignore no-explicit-any -- objects of many kinds
type Any = any;

const GROUP = "example.com";
const v1 = { resource: { group: GROUP, version: "v1", plural: "things" }, namespace: "default" };
const v2 = { resource: { group: GROUP, version: "v2", plural: "things" }, namespace: "default" };

/** v1 holds `hostPort`, v2 `host` and `port`; v3 is as v2 and not served. */
function crd(storage = "v1") {
  const text = { type: "string" };
  const schema = (properties: Record<string, unknown>) => ({
    openAPIV3Schema: { type: "object", properties: { spec: { type: "object", properties } } },
  });
  const both = { host: text, port: text };
  const versions = [
    { name: "v1", served: true, schema: schema({ hostPort: text }) },
    {
      name: "v2",
      served: true,
      schema: schema({ ...both, more: { ...text, default: "d" } }),
      selectableFields: [{ jsonPath: ".spec.host" }],
    },
    { name: "v3", served: false, schema: schema(both) },
  ].map((version) => ({ ...version, storage: version.name === storage }));
  return {
    metadata: { name: `things.${GROUP}` },
    spec: {
      group: GROUP,
      scope: "Namespaced",
      names: { plural: "things", kind: "Thing" },
      versions,
      conversion: {
        strategy: "Webhook",
        webhook: {
          clientConfig: { url: "https://convert.example.com/" },
          conversionReviewVersions: ["v1"],
        },
      },
    },
  };
}

/** Converts as a good webhook does. */
function converted(call: OutboundCall, change: (object: Any) => void = () => {}): FakeAnswer {
  const { apiVersion, kind, request } = call.body;
  const objects = request.objects.map((given: Any) => {
    const object = { ...structuredClone(given), apiVersion: request.desiredAPIVersion };
    const { hostPort, host = "", port = "" } = given.spec ?? {};
    if (request.desiredAPIVersion.endsWith("v1")) object.spec = { hostPort: `${host}:${port}` };
    else if (hostPort !== undefined) {
      const [one, two] = hostPort.split(":");
      object.spec = { host: one, port: two, unknown: "x" };
    }
    change(object);
    return object;
  });
  const response = { uid: request.uid, result: { status: "Success" }, convertedObjects: objects };
  return { json: { apiVersion, kind, response } };
}

async function open(answer: (call: OutboundCall) => FakeAnswer, kinds = createKinds()) {
  const outbound = fakeOutbound(answer);
  const f = await openApi({ outbound, kinds });
  await f.client.create({ resource: CRDS }, crd());
  await established(f);
  return { ...f, calls: outbound.calls };
}

function thing(name: string, hostPort = "a:1") {
  return { apiVersion: "example.com/v1", kind: "Thing", metadata: { name }, spec: { hostPort } };
}

function thing2(name: string, host: string, port = "1") {
  return { apiVersion: "example.com/v2", kind: "Thing", metadata: { name }, spec: { host, port } };
}

Deno.test("conversions: an object is stored in one version and served in each", async () => {
  const f = await open((call) => converted(call));
  await f.client.create(v1, thing("x"));
  assertEquals(f.calls.length, 0);
  const got: Any = await f.client.get({ ...v2, name: "x" });
  // What the schema does not know is gone, what it declares is there
  assertEquals([got.apiVersion, got.spec], [
    "example.com/v2",
    { host: "a", port: "1", more: "d" },
  ]);
  const { body, request } = f.calls[0];
  assertEquals([body.apiVersion, body.kind], ["apiextensions.k8s.io/v1", "ConversionReview"]);
  assertEquals(body.request.desiredAPIVersion, "example.com/v2");
  assertObjectMatch(body.request.objects[0], { apiVersion: "example.com/v1", kind: "Thing" });
  assertEquals([request.method, request.query], ["POST", "timeout=30s"]);
  // The same stored object is not converted again
  await f.client.get({ ...v2, name: "x" });
  assertEquals(f.calls.length, 1);
  const changed: Any = await f.client.patch({ ...v2, name: "x" }, {
    type: "merge",
    body: { spec: { port: "2" }, metadata: { labels: { l: "1" } } },
  });
  assertEquals(changed.spec.port, "2");
  const stored: Any = await f.client.get({ ...v1, name: "x" });
  assertEquals([stored.spec, stored.metadata.labels], [{ hostPort: "a:2" }, { l: "1" }]);
  const managed = stored.metadata.managedFields.map((m: Any) => m.apiVersion);
  assertEquals(managed.toSorted(), ["example.com/v1", "example.com/v2"]);
  const { status }: Any = await f.client.get({ resource: CRDS, name: `things.${GROUP}` });
  assertEquals(status.storedVersions, ["v1"]);
  await f[Symbol.asyncDispose]();
});

Deno.test("conversions: lists and watches convert what they need, many at once", async () => {
  const f = await open((call) => converted(call));
  const count = 3;
  for (let i = 0; i < count; i++) await f.client.create(v1, thing(`x${i}`, `h${i}:1`));
  await f.client.create(v2, thing2("y", "h9"));
  f.calls.length = 0;
  const list: Any = await f.client.list(v2);
  assertEquals(list.items.map((item: Any) => item.spec.host), ["h0", "h1", "h2", "h9"]);
  assertEquals(f.calls.map((call) => call.body.request.objects.length), [count]);
  const one: Any = await f.client.list(v2, { fieldSelector: "spec.host=h1" });
  assertEquals(one.items.map((item: Any) => item.metadata.name), ["x1"]);
  const watch = await f.client.watch(v2, { resourceVersion: list.metadata.resourceVersion });
  await f.client.create(v1, thing("z", "h8:8"));
  await f.client.delete({ ...v1, name: "x0" });
  const seen: string[] = [];
  for await (const events of watch) {
    for (const { type, object } of events as Any[]) seen.push(`${type} ${object.spec.host}`);
    if (seen.length === 2) break;
  }
  assertEquals(seen, ["ADDED h8", "DELETED h0"]);
  await f[Symbol.asyncDispose]();
});

Deno.test("conversions: one call takes so many objects", async () => {
  const f = await open((call) => converted(call));
  await f.database.objects.write((draft) => {
    for (let i = 0; i <= CONVERSIONS_AT_ONCE; i++) {
      const name = `x${i}`;
      draft.put(`/registry/example.com/things/default/${name}`, {
        ...thing(name),
        metadata: { name, namespace: "default", uid: name },
      } as Any);
    }
  });
  assertEquals((await f.client.list(v2)).items.length, CONVERSIONS_AT_ONCE + 1);
  const sizes = f.calls.map((call) => call.body.request.objects.length);
  assertEquals(sizes, [CONVERSIONS_AT_ONCE, 1]);
  await f[Symbol.asyncDispose]();
});

Deno.test("conversions: another storage version is gone over to by the next write", async () => {
  const kinds = createKinds();
  const f = await open((call) => converted(call), kinds);
  await f.client.create(v1, thing("x"));
  const name = `things.${GROUP}`;
  const current = edit<Any>(await f.client.get({ resource: CRDS, name }) as Any);
  current.spec.versions = crd("v3").spec.versions;
  const updated: Any = await f.client.update({ resource: CRDS, name }, current);
  assertEquals(updated.status.storedVersions, ["v1", "v3"]);
  while (kinds.byResource(GROUP, "v1", "things")?.storage?.version !== "example.com/v3") {
    await f.clock.turn();
  }
  const stored = () =>
    f.database.objects.view().get("/registry/example.com/things/default/x")!.value as Any;
  assertEquals(stored().apiVersion, "example.com/v1");
  const got = edit<Any>(await f.client.get({ ...v1, name: "x" }) as Any);
  assertEquals(got.spec, { hostPort: "a:1" });
  const put: Any = await f.client.update({ ...v1, name: "x" }, got);
  assertEquals(put.spec, { hostPort: "a:1" });
  assertEquals([stored().apiVersion, stored().spec], ["example.com/v3", { host: "a", port: "1" }]);
  assertEquals((await f.client.list(v1) as Any).items[0].spec, { hostPort: "a:1" });
  await f[Symbol.asyncDispose]();
});

Deno.test("conversions: what fails says so in upstream's words", async () => {
  let answer: (call: OutboundCall) => FakeAnswer = (call) => converted(call);
  const f = await open((call) => answer(call));
  await f.client.create(v1, thing("x"));
  const subject = "conversion webhook for example.com/v1, Kind=Thing";
  const respond = (call: OutboundCall, response: Record<string, unknown>): FakeAnswer => {
    const { apiVersion, kind, request } = call.body;
    return { json: { apiVersion, kind, response: { uid: request.uid, ...response } } };
  };
  const cases: [typeof answer, string][] = [
    [
      () => ({ status: 500, text: "boom" }),
      `${subject} failed: an error on the server ("boom") has prevented the request from succeeding`,
    ],
    [
      (call) => respond(call, { result: { status: "Failure", message: "no idea" } }),
      `${subject} failed: no idea`,
    ],
    [
      (call) => respond(call, { result: { status: "Failure" } }),
      `${subject} failed: response.result.status was 'Failure', not 'Success'`,
    ],
    [
      (call) => respond(call, { result: { status: "Success" }, convertedObjects: [] }),
      `${subject} returned 0 objects, expected 1`,
    ],
    [
      () => ({ json: { response: {} } }),
      `${subject} failed: expected webhook response of apiextensions.k8s.io/v1, ` +
      "Kind=ConversionReview, got /, Kind=",
    ],
    [
      (call) => converted(call, (o) => o.apiVersion = "example.com/v1"),
      `${subject} returned invalid object at index 0: invalid groupVersion (expected ` +
      "example.com/v2, received example.com/v1)",
    ],
    [
      (call) => converted(call, (o) => o.metadata.name = "y"),
      `${subject} returned invalid object: must have the same name: x != y`,
    ],
    [
      (call) => converted(call, (o) => o.metadata.labels = { l: 1 }),
      `${subject} returned invalid metadata: metadata.labels[l] must be a string, but is int64 ` +
      "in converted object",
    ],
    [
      (call) => converted(call, (o) => o.metadata.labels = { "a b": "" }),
      `${subject} returned invalid metadata: metadata.labels: Invalid value: "a b": name part ` +
      "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an " +
      "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for " +
      "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
    ],
  ];
  for (const [given, text] of cases) {
    answer = given;
    const error = await assertRejects(() => f.client.get({ ...v2, name: "x" }), ApiError);
    assertEquals([error.code, error.message], [500, text]);
  }
  const metrics = f.api.metrics.text({ database: f.database } as Any);
  const failures = (type: string) =>
    `apiserver_conversion_webhook_request_total{result="failure",failure_type="conversion_webhook_${type}"}`;
  assertEquals(metrics.includes(`${failures("partial_response_failure")} 1`), true);
  assertEquals(metrics.includes(`${failures("invalid_converted_object_failure")} 4`), true);
  // Everything else of the metadata is the original's, whatever comes back
  answer = (call) =>
    converted(call, (o) => {
      o.metadata = { ...o.metadata, labels: { l: "1" }, finalizers: ["a.b/c"], generation: 99 };
    });
  const { metadata }: Any = await f.client.get({ ...v2, name: "x" });
  assertEquals(
    [metadata.labels, metadata.finalizers, metadata.generation],
    [{ l: "1" }, undefined, 1],
  );
  // A write that cannot be stored is refused, and so is one whose answer cannot be shown
  answer = () => ({ status: 404, text: "" });
  const refused = await assertRejects(
    () => f.client.create(v2, thing2("y", "a")),
    ApiError,
  );
  assertEquals(
    refused.message,
    "conversion webhook for example.com/v2, Kind=Thing failed: the server could not find the " +
      "requested resource",
  );
  await f[Symbol.asyncDispose]();
});

Deno.test("conversions: a definition says where its webhook is, or is refused", async () => {
  const f = await open((call) => converted(call));
  const refused = async (clientConfig: object) => {
    const bad: Any = crd();
    bad.spec.conversion.webhook.clientConfig = clientConfig;
    const error = await assertRejects(
      () => f.client.create({ resource: CRDS }, bad, { dryRun: true }),
      ApiError,
    );
    return error.status.details?.causes?.map(({ field, message }) => `${field}: ${message}`);
  };
  const at = "spec.conversion.webhookClientConfig";
  assertEquals(await refused({ url: "http://x/y" }), [
    `${at}.url: Invalid value: "http": 'https' is the only allowed URL scheme; desired format: ` +
    "https://host[/path]",
  ]);
  assertEquals(await refused({ service: { name: "", namespace: "b", path: "x" } }), [
    // Upstream takes a Service's name for its namespace, and the other way round
    `${at}.service.namespace: Required value`,
    `${at}.service.path: Invalid value: "x": must start with a '/'`,
    `${at}.service.path: Invalid value: "x": segment[0] may not be empty`,
  ]);
  await f[Symbol.asyncDispose]();
});

Deno.test("conversions: a field that another version writes is no longer its old owner's", async () => {
  const f = await open((call) => converted(call));
  const by = (manager: string) => ({ fieldManager: manager });
  await f.client.create(v1, thing("x"), by("one"));
  const owners = (object: Any) =>
    Object.fromEntries(
      object.metadata.managedFields.map((m: Any) => [
        `${m.manager} ${m.apiVersion}`,
        Object.keys(m.fieldsV1["f:spec"] ?? {}).filter((key) => key !== ".").sort(),
      ]),
    );
  const labelled: Any = await f.client.patch({ ...v2, name: "x" }, {
    type: "merge",
    body: { metadata: { labels: { l: "1" } } },
  }, by("two"));
  assertEquals(owners(labelled), {
    "one example.com/v1": ["f:hostPort"],
    "two example.com/v2": [],
  });
  const changed: Any = await f.client.patch({ ...v2, name: "x" }, {
    type: "merge",
    body: { spec: { host: "b" } },
  }, by("two"));
  assertEquals(owners(changed), {
    "one example.com/v1": [],
    "two example.com/v2": ["f:host"],
  });
  await f[Symbol.asyncDispose]();
});

Deno.test("managedFields of built-in kinds compare in the version that they are of", async () => {
  const f = await openApi();
  const resource = (version: string) => ({
    resource: { group: "autoscaling", version, plural: "horizontalpodautoscalers" },
    namespace: "default",
  });
  await f.client.create(resource("v1"), {
    metadata: { name: "h" },
    spec: {
      maxReplicas: 3,
      targetCPUUtilizationPercentage: 50,
      scaleTargetRef: { kind: "Deployment", name: "d", apiVersion: "apps/v1" },
    },
  }, { fieldManager: "one" });
  const current = edit<Any>(await f.client.get({ ...resource("v2"), name: "h" }) as Any);
  current.spec.metrics[0].resource.target.averageUtilization = 60;
  const updated: Any = await f.client.update({ ...resource("v2"), name: "h" }, current, {
    fieldManager: "two",
  });
  const fields = updated.metadata.managedFields.map((m: Any) => [
    m.manager,
    m.apiVersion,
    Object.keys(m.fieldsV1["f:spec"]).sort(),
  ]);
  assertEquals(fields, [
    ["one", "autoscaling/v1", ["f:maxReplicas", "f:minReplicas", "f:scaleTargetRef"]],
    ["two", "autoscaling/v2", ["f:metrics"]],
  ]);
  await f[Symbol.asyncDispose]();
});
