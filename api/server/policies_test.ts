import { assertEquals, assertRejects } from "@std/assert";
import { ApiError, type KubeObject } from "../machinery/types.ts";
import type { User } from "../client/contract.ts";
import { CONFIG_MAPS, core, type Fixture, NAMESPACES, openApi, pod, PODS } from "./fixture_test.ts";

const GROUP = "admissionregistration.k8s.io";
const resource = (plural: string) => ({ group: GROUP, version: "v1", plural });
const POLICIES = resource("validatingadmissionpolicies");
const BINDINGS = resource("validatingadmissionpolicybindings");

// deno-lint-ignore no-explicit-any -- parts of specs
type Any = any;

const CONFIG_MAP_RULE = {
  apiGroups: [""],
  apiVersions: ["v1"],
  operations: ["CREATE", "UPDATE"],
  resources: ["configmaps"],
};

async function policy(client: Fixture["client"], name: string, spec: Any, binding: Any = {}) {
  await client.create({ resource: POLICIES }, {
    metadata: { name },
    spec: { matchConstraints: { resourceRules: [CONFIG_MAP_RULE] }, ...spec },
  });
  await client.create({ resource: BINDINGS }, {
    metadata: { name: `${name}-binding` },
    spec: { policyName: name, validationActions: ["Deny"], ...binding },
  });
}

let made = 0;

function configMap(
  client: Fixture["client"],
  data: Record<string, string> = {},
  metadata: Any = {},
) {
  return client.create({ resource: CONFIG_MAPS, namespace: "default" }, {
    metadata: { name: `cm-${made++}`, ...metadata },
    data,
  });
}

/** What a write is refused with; empty when it is not. */
async function refusal(write: () => Promise<unknown>): Promise<string> {
  try {
    await write();
    return "";
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return error.message.replace(/cm-\d+/, "cm");
  }
}

Deno.test("a policy refuses by its first binding, in upstream's words", async () => {
  await using api = await openApi();
  const { client } = api;
  await policy(client, "small", {
    variables: [
      { name: "data", expression: "has(object.data) ? object.data : {}" },
      { name: "count", expression: "size(variables.data)" },
    ],
    validations: [
      { expression: "variables.count < 2", message: " at most one " },
      { expression: "!('bad' in variables.data)", reason: "Forbidden" },
      {
        expression: "!('long' in variables.data)",
        message: "plain",
        messageExpression: "'is ' + string(variables.count) + ' by ' + request.userInfo.username",
      },
    ],
  });
  assertEquals(await refusal(() => configMap(client, { a: "1" })), "");
  const error = await assertRejects(
    () => configMap(client, { a: "1", b: "2" }, { name: "cm" }),
    ApiError,
  );
  const text = "ValidatingAdmissionPolicy 'small' with binding 'small-binding' denied request: " +
    "at most one";
  assertEquals(
    error.status,
    {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message: `configmaps "cm" is forbidden: ${text}`,
      reason: "Invalid",
      details: { name: "cm", group: undefined, kind: "configmaps", causes: [{ message: text }] },
      code: 422,
    } as unknown as ApiError["status"],
  );
  const bad = await assertRejects(() => configMap(client, { bad: "1" }), ApiError);
  assertEquals([bad.code, bad.reason], [403, "Forbidden"]);
  assertEquals(bad.message.endsWith("failed expression: !('bad' in variables.data)"), true);
  assertEquals(
    (await refusal(() => configMap(client, { long: "1" }))).endsWith("is 1 by kubernetes-admin"),
    true,
  );
});

Deno.test("failurePolicy decides what an expression that fails means", async () => {
  await using api = await openApi();
  const { client } = api;
  const validations = [{ expression: "object.data.x == 'y'" }];
  await policy(client, "ignoring", { validations, failurePolicy: "Ignore" });
  assertEquals(await refusal(() => configMap(client, { a: "1" })), "");
  await policy(client, "failing", { validations });
  assertEquals(
    await refusal(() => configMap(client, { a: "1" })),
    `configmaps "cm" is forbidden: ValidatingAdmissionPolicy 'failing' with binding ` +
      `'failing-binding' denied request: expression 'object.data.x == 'y'' resulted in error: ` +
      `no such key: x`,
  );
  assertEquals((await refusal(() => configMap(client, { x: "z" }))).includes("'failing'"), true);
});

Deno.test("match conditions, selectors and exclusions keep a policy out", async () => {
  await using api = await openApi();
  const { client } = api;
  await policy(client, "never", {
    validations: [{ expression: "false", message: "no" }],
    matchConditions: [
      { name: "not-carol", expression: "request.userInfo.username != 'carol'" },
      { name: "ruled", expression: "authorizer.group('').resource('pods').check('get').allowed()" },
    ],
    matchConstraints: {
      resourceRules: [CONFIG_MAP_RULE],
      excludeResourceRules: [{ ...CONFIG_MAP_RULE, resourceNames: ["excluded"] }],
      objectSelector: { matchExpressions: [{ key: "free", operator: "DoesNotExist" }] },
    },
  }, { matchResources: { namespaceSelector: { matchLabels: { watched: "yes" } } } });
  assertEquals(await refusal(() => configMap(client)), "");
  await client.patch(
    { resource: NAMESPACES, name: "default" },
    { type: "merge", body: { metadata: { labels: { watched: "yes" } } } },
  );
  assertEquals((await refusal(() => configMap(client))).endsWith("denied request: no"), true);
  assertEquals(await refusal(() => configMap(client, {}, { name: "excluded" })), "");
  assertEquals(await refusal(() => configMap(client, {}, { labels: { free: "1" } })), "");
  const as = (name: string, groups: string[]) => api.api.client({ name, groups } as User);
  const masters = ["system:masters", "system:authenticated"];
  assertEquals(await refusal(() => configMap(as("carol", masters))), "");
  assertEquals((await refusal(() => configMap(as("eve", masters)))).endsWith(": no"), true);
});

Deno.test("parameters come by name or selector, from where the binding says", async () => {
  await using api = await openApi();
  const { client } = api;
  await policy(client, "limited", {
    paramKind: { apiVersion: "v1", kind: "ConfigMap" },
    matchConstraints: {
      resourceRules: [{ ...CONFIG_MAP_RULE, resources: ["pods"] }],
    },
    validations: [{
      expression: "params == null || object.metadata.name.size() <= int(params.data.max)",
      messageExpression:
        "'longer than ' + params.data.max + ' of ' + params.metadata.name + params.kind",
    }],
  }, { paramRef: { name: "limits", parameterNotFoundAction: "Deny" } });
  const create = (name: string) =>
    refusal(() => client.create({ resource: PODS, namespace: "default" }, pod(name)));
  assertEquals(
    await create("web"),
    `pods "web" is forbidden: ValidatingAdmissionPolicy 'limited' with binding 'limited-binding' ` +
      "denied request: failed to configure binding: no params found for policy binding with `Deny` " +
      "parameterNotFoundAction",
  );
  await configMap(client, { max: "3" }, { name: "limits" });
  assertEquals(await create("web"), "");
  assertEquals((await create("webs")).endsWith("longer than 3 of limitsConfigMap"), true);
  const binding = await client.get({ resource: BINDINGS, name: "limited-binding" }) as Any;
  await client.update({ resource: BINDINGS, name: "limited-binding" }, {
    ...binding,
    spec: {
      ...binding.spec,
      paramRef: {
        selector: { matchLabels: { limits: "yes" } },
        namespace: "kube-system",
        parameterNotFoundAction: "Allow",
      },
    },
  });
  assertEquals(await create("webs"), "");
  for (const max of ["9", "5"]) {
    await client.create({ resource: CONFIG_MAPS, namespace: "kube-system" }, {
      metadata: { name: `limit-${max}`, labels: { limits: "yes" } },
      data: { max },
    });
  }
  assertEquals((await create("webserver")).endsWith("longer than 5 of limit-5ConfigMap"), true);
  await policy(client, "lost", {
    paramKind: { apiVersion: "example.com/v1", kind: "Limit" },
    validations: [{ expression: "true" }],
  });
  assertEquals(
    await refusal(() => configMap(client)),
    `configmaps "cm" is forbidden: ValidatingAdmissionPolicy 'lost' denied request: failed to ` +
      "configure policy: failed to find resource referenced by paramKind: " +
      "'example.com/v1, Kind=Limit'",
  );
});

Deno.test("Warn warns and Audit lets pass", async () => {
  await using api = await openApi();
  const { client } = api;
  await policy(client, "soft", {
    validations: [{ expression: "has(object.data)", message: "data, please" }],
  }, { validationActions: ["Warn", "Audit"] });
  const response = await api.api.fetch(
    new Request("http://x/api/v1/namespaces/default/configmaps", {
      method: "POST",
      body: JSON.stringify({ metadata: { name: "empty" } }),
      headers: { "content-type": "application/json" },
    }),
    { user: { name: "a", groups: ["system:masters"] } },
  );
  assertEquals(response.status, 201);
  assertEquals(
    response.headers.get("warning"),
    `299 - "Validation failed for ValidatingAdmissionPolicy 'soft' with binding 'soft-binding': ` +
      `data, please"`,
  );
});

Deno.test("policies see deletes, connections and what subresources are sent", async () => {
  await using api = await openApi();
  const { client } = api;
  await policy(client, "gate", {
    matchConstraints: {
      resourceRules: [
        { ...CONFIG_MAP_RULE, operations: ["DELETE"] },
        { ...CONFIG_MAP_RULE, resources: ["pods/eviction"] },
        { ...CONFIG_MAP_RULE, resources: ["namespaces"] },
      ],
    },
    validations: [
      {
        expression:
          "request.operation != 'DELETE' || object == null && oldObject.data.keep != 'yes'",
        message: "kept",
      },
      {
        expression: "request.subResource != 'eviction' || request.kind.kind == 'Eviction' && " +
          "request.kind.group == 'policy' && object.metadata.name != 'web'",
        message: "stays",
      },
      {
        expression: "request.resource.resource != 'namespaces' || " +
          "request.namespace == request.name && namespaceObject == null && request.name != 'evil'",
        message: "evil",
      },
    ].map((one) => ({
      ...one,
      expression: one.expression.replace(
        "request.subResource",
        "(has(request.subResource) ? request.subResource : '')",
      ),
    })),
  });
  const keep = await configMap(client, { keep: "yes" });
  const gone = await configMap(client, { keep: "no" });
  const at = (object: unknown) => ({
    resource: CONFIG_MAPS,
    namespace: "default",
    name: (object as KubeObject).metadata.name,
  });
  assertEquals((await refusal(() => client.delete(at(keep)))).endsWith(": kept"), true);
  assertEquals(await refusal(() => client.delete(at(gone))), "");
  await client.create({ resource: PODS, namespace: "default" }, pod("web"));
  const eviction = { apiVersion: "policy/v1", kind: "Eviction", metadata: { name: "web" } };
  const target = { resource: PODS, namespace: "default", name: "web", subresource: "eviction" };
  assertEquals((await refusal(() => client.create(target, eviction))).endsWith(": stays"), true);
  const namespace = (name: string) =>
    refusal(() => client.create({ resource: core("namespaces") }, { metadata: { name } }));
  assertEquals(await namespace("good"), "");
  assertEquals((await namespace("evil")).endsWith(": evil"), true);
});

Deno.test("policies do not judge policies", async () => {
  await using api = await openApi();
  const { client } = api;
  const all = { apiGroups: ["*"], apiVersions: ["*"], operations: ["*"], resources: ["*"] };
  await policy(client, "all", {
    matchConstraints: { resourceRules: [all] },
    validations: [{ expression: "false" }],
  });
  assertEquals((await refusal(() => configMap(client))) !== "", true);
  assertEquals(await refusal(() => client.delete({ resource: BINDINGS, name: "all-binding" })), "");
  assertEquals(await refusal(() => configMap(client)), "");
});

Deno.test("a policy stops at its budget", async () => {
  await using api = await openApi();
  const { client } = api;
  const costly = "[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, " +
    "[1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, " +
    "[1,2,3,4,5,6,7,8,9,10].all(e, [1,2,3,4,5,6,7,8,9,10].all(f, a + b + c + d + e + f > 0))))))";
  await policy(client, "slow", { validations: [{ expression: costly }] });
  assertEquals(
    (await refusal(() => configMap(client))).endsWith(
      "resulted in error: operation cancelled: actual cost limit exceeded",
    ),
    true,
  );
  await client.delete({ resource: BINDINGS, name: "slow-binding" });
  const validations = new Array(11).fill({ expression: costly });
  await policy(client, "slower", { validations });
  assertEquals(
    await refusal(() => configMap(client)),
    `configmaps "cm" is forbidden: ValidatingAdmissionPolicy 'slower' with binding ` +
      `'slower-binding' denied request: validation failed due to running out of cost budget, no ` +
      `further validation rules will be run`,
  );
});

// --- mutating policies --------------------------------------------------------------------------------

const MUTATING = resource("mutatingadmissionpolicies");
const MUTATING_BINDINGS = resource("mutatingadmissionpolicybindings");

async function mutation(client: Fixture["client"], name: string, mutations: Any[], spec: Any = {}) {
  await client.create({ resource: MUTATING }, {
    metadata: { name },
    spec: {
      matchConstraints: { resourceRules: [CONFIG_MAP_RULE] },
      reinvocationPolicy: "Never",
      mutations,
      ...spec,
    },
  });
  await client.create({ resource: MUTATING_BINDINGS }, {
    metadata: { name: `${name}-binding` },
    spec: { policyName: name },
  });
}

const applying = (expression: string) => ({
  patchType: "ApplyConfiguration",
  applyConfiguration: { expression },
});
const patching = (expression: string) => ({ patchType: "JSONPatch", jsonPatch: { expression } });
const POD_RULE = { ...CONFIG_MAP_RULE, resources: ["pods"] };

Deno.test("a mutating policy merges a configuration, then patches", async () => {
  await using api = await openApi();
  const { client } = api;
  await mutation(client, "sidecar", [
    applying(`Object{
      metadata: Object.metadata{labels: {"by": request.userInfo.username}},
      spec: Object.spec{initContainers: [Object.spec.initContainers{
        name: "proxy", image: "proxy:1", restartPolicy: "Always"
      }]}
    }`),
    patching(`[
      JSONPatch{op: "test", path: "/metadata/labels/by", value: "kubernetes-admin"},
      JSONPatch{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("a/b"), value: "c"},
      JSONPatch{op: "add", path: "/spec/containers/-",
        value: Object.spec.containers{name: "two", image: variables.image}},
    ]`),
  ], {
    matchConstraints: { resourceRules: [POD_RULE] },
    variables: [{ name: "image", expression: "object.spec.containers[0].image + '-two'" }],
  });
  const made = await client.create({ resource: PODS, namespace: "default" }, pod("web")) as Any;
  assertEquals({ ...made.metadata.labels }, { by: "kubernetes-admin", "a/b": "c" });
  assertEquals(made.spec.initContainers[0].name, "proxy");
  assertEquals(
    made.spec.initContainers[0].imagePullPolicy,
    "IfNotPresent",
    "defaults are filled in",
  );
  assertEquals(made.spec.containers.map((c: Any) => c.image), ["nginx:1.27", "nginx:1.27-two"]);
});

Deno.test("a patch whose test fails changes nothing", async () => {
  await using api = await openApi();
  const { client } = api;
  await mutation(client, "tested", [patching(`[
    JSONPatch{op: "test", path: "/data/a", value: "2"},
    JSONPatch{op: "replace", path: "/data/a", value: "3"},
  ]`)]);
  assertEquals((await configMap(client, { a: "1" }) as Any).data.a, "1");
  assertEquals((await configMap(client, { a: "2" }) as Any).data.a, "3");
});

Deno.test("mutations that cannot be made refuse the write, in upstream's words", async () => {
  const cases: [mutation: Any, message: string][] = [
    [
      applying(`Object{data: Object.wrong{a: "b"}}`),
      'type mismatch: unexpected type name "Object.wrong", expected "Object.data", which matches ' +
      "field name path from root Object type",
    ],
    [
      applying(`Object{foo: "b"}`),
      "error applying patch: failed to convert patch object to typed object: .foo: field not " +
      "declared in schema",
    ],
    [
      applying(`Object{data: object.none.x}`),
      "expression 'Object{data: object.none.x}' resulted in error: no such key: none",
    ],
    [
      patching(`[JSONPatch{op: "remove", path: "/data/none"}]`),
      "JSON Patch: error in remove for path: '/data/none': Unable to remove nonexistent key: none: " +
      "missing value",
    ],
  ];
  await using api = await openApi();
  const { client } = api;
  for (const [i, [one, message]] of cases.entries()) {
    await mutation(client, `bad-${i}`, [one]);
    const error = await assertRejects(
      () => configMap(client, { a: "1" }, { name: "cm" }),
      ApiError,
    );
    const text = `policy 'bad-${i}' with binding 'bad-${i}-binding' denied request: ${message}`;
    assertEquals(error.message, text);
    assertEquals([error.code, error.reason], [403, "Invalid"]);
    assertEquals(error.status.details?.causes, [{ message: text }]);
    await client.delete({ resource: MUTATING_BINDINGS, name: `bad-${i}-binding` });
  }
  await mutation(client, "ignored", [applying(`Object{foo: "b"}`)], { failurePolicy: "Ignore" });
  assertEquals(await refusal(() => configMap(client)), "");
});

Deno.test("atomic lists are not merged away", async () => {
  await using api = await openApi();
  const { client } = api;
  await mutation(client, "args", [
    applying(`Object{spec: Object.spec{containers: [
      Object.spec.containers{name: "c", args: ["--new"]}]}}`),
  ], { matchConstraints: { resourceRules: [POD_RULE] } });
  assertEquals(
    await refusal(() => client.create({ resource: PODS, namespace: "default" }, pod("web"))),
    "policy 'args' with binding 'args-binding' denied request: error applying patch: invalid " +
      "ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.containers[0].args",
  );
});

Deno.test("policies that want to see what later ones changed run once more", async () => {
  await using api = await openApi();
  const { client } = api;
  const count = (key: string) =>
    applying(`Object{data: {"${key}": (has(object.data) && "${key}" in object.data
      ? object.data["${key}"] : "") + "x"}}`);
  await mutation(client, "a-once", [count("once")]);
  await mutation(client, "b-again", [count("again")], { reinvocationPolicy: "IfNeeded" });
  await mutation(client, "c-last", [count("last")]);
  const made = await configMap(client) as Any;
  assertEquals({ ...made.data }, { once: "x", again: "xx", last: "x" });
});

Deno.test("match conditions and parameters steer mutations", async () => {
  await using api = await openApi();
  const { client } = api;
  await mutation(client, "labels", [
    applying(`Object{metadata: Object.metadata{labels: params.data}}`),
  ], {
    paramKind: { apiVersion: "v1", kind: "ConfigMap" },
    matchConditions: [{ name: "named", expression: "object.metadata.name.startsWith('app-')" }],
  });
  const binding = await client.get({ resource: MUTATING_BINDINGS, name: "labels-binding" }) as Any;
  await client.update({ resource: MUTATING_BINDINGS, name: "labels-binding" }, {
    ...binding,
    spec: {
      ...binding.spec,
      paramRef: { name: "labels", namespace: "default", parameterNotFoundAction: "Deny" },
    },
  });
  await client.delete({ resource: MUTATING_BINDINGS, name: "labels-binding" });
  await configMap(client, { team: "a" }, { name: "labels" });
  await client.create({ resource: MUTATING_BINDINGS }, {
    metadata: { name: "labels-binding" },
    spec: {
      policyName: "labels",
      paramRef: { name: "labels", namespace: "default", parameterNotFoundAction: "Deny" },
    },
  });
  assertEquals((await configMap(client, {}, { name: "app-1" }) as Any).metadata.labels.team, "a");
  assertEquals((await configMap(client, {}, { name: "other" }) as Any).metadata.labels, undefined);
});

Deno.test("metrics tell how policies' expressions ended", async () => {
  await using api = await openApi();
  const { client } = api;
  await policy(client, "counted", {
    validations: [{ expression: "object.data.a == 'b'" }, { expression: "has(object.data)" }],
  }, { validationActions: ["Warn", "Audit"] });
  await policy(client, "lenient", {
    failurePolicy: "Ignore",
    validations: [{ expression: "object.data.a == 'b'" }],
  });
  await policy(client, "strict", { validations: [{ expression: "!has(object.data)" }] });
  await client.create({ resource: resource("mutatingadmissionpolicies") }, {
    metadata: { name: "changing" },
    spec: {
      matchConstraints: { resourceRules: [CONFIG_MAP_RULE] },
      failurePolicy: "Ignore",
      reinvocationPolicy: "Never",
      mutations: [
        {
          patchType: "JSONPatch",
          jsonPatch: { expression: '[JSONPatch{op: "add", path: "/immutable", value: false}]' },
        },
        {
          patchType: "JSONPatch",
          jsonPatch: { expression: '[JSONPatch{op: "remove", path: "/nope/nope"}]' },
        },
      ],
    },
  });
  await client.create({ resource: resource("mutatingadmissionpolicybindings") }, {
    metadata: { name: "changing-binding" },
    spec: { policyName: "changing" },
  });
  await configMap(client);
  await assertRejects(() => configMap(client, { a: "b" }), ApiError);
  const response = await api.api.fetch(new Request("http://x/metrics"), {
    user: { name: "a", groups: ["system:masters"] },
  });
  const lines = (await response.text()).split("\n");
  const validating = "apiserver_validating_admission_policy_check_";
  const mutating = "apiserver_mutating_admission_policy_check_";
  const count = (labels: string, name = validating) =>
    lines.find((line) => line.startsWith(`${name}total{${labels}`))?.split(" ").at(-1);
  const of = (action: string, type: string, name: string) =>
    `enforcement_action="${action}",error_type="${type}",policy="${name}",` +
    `policy_binding="${name}-binding"`;
  // One object has no data: the first expression fails, the second is false
  for (const action of ["warn", "audit"]) {
    assertEquals(count(of(action, "invalid_error", "counted")), "2");
  }
  assertEquals(count(of("allow", "invalid_error", "lenient")), "1");
  assertEquals(count(of("deny", "invalid_error", "strict")), "1");
  const changing = 'policy="changing",policy_binding="changing-binding"';
  assertEquals(count(`error_type="no_error",${changing}`, mutating), "2");
  assertEquals(count(`error_type="invalid_error",${changing}`, mutating), "2");
  const name = `${validating}duration_seconds_bucket`;
  assertEquals(lines.some((line) => line.startsWith(name) && line.includes('le="5e-7"')), false);
  assertEquals(lines.some((line) => line.startsWith(name) && line.includes('le="5e-07"')), true);
});
