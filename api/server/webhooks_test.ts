/** Admission webhooks through the whole pipeline, answered by a fake. */
import { assertEquals, assertObjectMatch } from "@std/assert";
import { ManualClock } from "../../kv/mod.ts";
import { type FakeAnswer, fakeOutbound, type OutboundCall } from "../client/outbound_fixture.ts";
import { OutboundError } from "../client/outbound.ts";
import { ApiError } from "../machinery/types.ts";
import {
  ADMIN,
  CONFIG_MAPS,
  type Fixture,
  NAMESPACES,
  openApi,
  pod,
  PODS,
} from "./fixture_test.ts";

// deno-lint-ignore no-explicit-any -- objects of many kinds
type Any = any;
type Answers = (call: OutboundCall, path: string) => FakeAnswer | Promise<FakeAnswer>;

const REGISTRATION = { group: "admissionregistration.k8s.io", version: "v1" };
const CONFIGURATIONS = {
  Mutating: { ...REGISTRATION, plural: "mutatingwebhookconfigurations" },
  Validating: { ...REGISTRATION, plural: "validatingwebhookconfigurations" },
};
const EVERYTHING = { operations: ["*"], apiGroups: ["*"], apiVersions: ["*"], resources: ["*/*"] };
const MAPS = { ...EVERYTHING, apiGroups: [""], resources: ["configmaps"] };
const at = { resource: CONFIG_MAPS, namespace: "default" };

/** An AdmissionReview that answers a call. */
function said(call: OutboundCall, response: Record<string, unknown> = {}): FakeAnswer {
  const { apiVersion, kind, request } = call.body;
  return { json: { apiVersion, kind, response: { uid: request.uid, allowed: true, ...response } } };
}

function patch(...operations: unknown[]) {
  return { patchType: "JSONPatch", patch: btoa(JSON.stringify(operations)) };
}

/** Opens an API whose webhooks lead to `answers`; `f.calls` are what they were asked. */
async function open(answers: Answers, options: { clock?: ManualClock } = {}) {
  const outbound = fakeOutbound(
    (call) => answers(call, new URL(call.endpoint.url ?? "x:/").pathname),
    options.clock,
  );
  const f = await openApi({ ...options, outbound });
  return { ...f, calls: outbound.calls };
}

async function configure(
  f: Pick<Fixture, "client">,
  type: "Mutating" | "Validating",
  name: string,
  ...hooks: Record<string, unknown>[]
): Promise<void> {
  await f.client.create({ resource: CONFIGURATIONS[type] }, {
    metadata: { name },
    webhooks: hooks.map((hook, i) => ({
      name: `${i}.${name}.example.com`,
      clientConfig: { url: `https://hooks.example.com/${name}/${i}` },
      admissionReviewVersions: ["v1"],
      sideEffects: "None",
      rules: [MAPS],
      ...hook,
    })),
  });
}

function map(name: string, data: Record<string, string> = {}, labels?: Record<string, string>) {
  return { metadata: { name, labels }, data };
}

async function refusalOf(work: Promise<unknown>): Promise<Any> {
  try {
    await work;
  } catch (error) {
    if (error instanceof ApiError) return error.status;
    throw error;
  }
  throw new Error("it was not refused");
}

Deno.test("webhooks: one is asked in upstream's words, and sees the whole request", async () => {
  const f = await open((call) => said(call));
  await configure(f, "Validating", "v", { timeoutSeconds: 3, rules: [{ ...MAPS, scope: "*" }] });
  const user = { name: "alice", uid: "u1", groups: ["system:masters"], extra: { k: ["v"] } };
  await f.client.as(user).create(at, map("a", { x: "1" }));
  const [{ endpoint, request, body }] = f.calls;
  assertEquals(
    [endpoint.url, request.method, request.query, request.timeoutMs],
    ["https://hooks.example.com/v/0", "POST", "timeout=3s", 3_000],
  );
  assertEquals([body.apiVersion, body.kind], ["admission.k8s.io/v1", "AdmissionReview"]);
  const { object, uid, ...rest } = body.request;
  assertEquals(typeof uid, "string");
  assertEquals(typeof object.metadata.uid, "string");
  assertEquals(object.data, { x: "1" });
  assertEquals(rest, {
    kind: { group: "", version: "v1", kind: "ConfigMap" },
    resource: { group: "", version: "v1", resource: "configmaps" },
    requestKind: { group: "", version: "v1", kind: "ConfigMap" },
    requestResource: { group: "", version: "v1", resource: "configmaps" },
    name: "a",
    namespace: "default",
    operation: "CREATE",
    userInfo: { username: "alice", uid: "u1", groups: ["system:masters"], extra: { k: ["v"] } },
    oldObject: null,
    dryRun: false,
    options: {
      apiVersion: "meta.k8s.io/v1",
      kind: "CreateOptions",
      fieldValidation: "Strict",
    },
  });
  await f[Symbol.asyncDispose]();
});

Deno.test("webhooks: whoever updates version 0 means whatever is there, beside webhooks, too", async () => {
  const f = await open((call) => said(call));
  await f.client.create(at, map("a"));
  await configure(f, "Mutating", "m", {});
  const { data } = await f.client.update({ ...at, name: "a" }, {
    metadata: { name: "a", resourceVersion: "0" },
    data: { x: "1" },
  }) as Any;
  assertEquals([data, f.calls.length], [{ x: "1" }, 1]);
  await f[Symbol.asyncDispose]();
});

Deno.test("webhooks: a refusal has the webhook's code, reason and message", async () => {
  let result: unknown;
  const f = await open((call) => said(call, { allowed: false, status: result }));
  await configure(f, "Validating", "v", {});
  const denied = `admission webhook "0.v.example.com" denied the request`;
  const cases: [unknown, number, string | undefined, string][] = [
    [undefined, 400, undefined, `${denied} without explanation`],
    [{ message: "no" }, 400, undefined, `${denied}: no`],
    [{ reason: "Forbidden", code: 403 }, 403, "Forbidden", `${denied}: Forbidden`],
    [{ message: "m", reason: "r", code: 200 }, 400, "r", `${denied}: m`],
  ];
  for (const [given, code, reason, message] of cases) {
    result = given;
    const status = await refusalOf(f.client.create(at, map("a")));
    assertEquals([status.code, status.reason, status.message], [code, reason, message]);
  }
  await f[Symbol.asyncDispose]();
});

Deno.test("webhooks: mutating ones follow each other by configuration, name and place; defaults come after each", async () => {
  const order: string[] = [];
  const f = await open((call, path) => {
    order.push(`${path} ${(call.body.request.object.spec.containers as Any[]).length}`);
    return said(
      call,
      patch({ op: "add", path: "/spec/initContainers", value: [] }, {
        op: "add",
        path: "/spec/containers/-",
        value: { name: `c${order.length}`, image: "x" },
      }),
    );
  });
  const rules = [{ ...MAPS, resources: ["pods"] }];
  await configure(f, "Mutating", "b", { rules });
  await configure(f, "Mutating", "a", { rules }, { rules });
  const made: Any = await f.client.create({ resource: PODS, namespace: "default" }, pod("p"));
  assertEquals(order, ["/a/0 1", "/a/1 2", "/b/0 3"]);
  assertEquals(made.spec.containers.map((c: Any) => c.name), ["c", "c1", "c2", "c3"]);
  assertEquals(made.spec.containers[3].terminationMessagePolicy, "File");
  assertEquals(f.calls[1].body.request.object.spec.containers[1].imagePullPolicy, "Always");
  // What runs in this process ran a second time: the volume of the ServiceAccount is in all of them
  assertEquals(made.spec.containers.every((c: Any) => c.volumeMounts?.length === 1), true);
  await f[Symbol.asyncDispose]();
});

Deno.test("webhooks: who asks for it is asked again once somebody else has changed the object", async () => {
  const asked: string[] = [];
  const f = await open((call, path) => {
    asked.push(path);
    const { data } = call.body.request.object;
    const key = path.replaceAll("/", "");
    return said(call, key in data ? {} : patch({ op: "add", path: `/data/${key}`, value: "1" }));
  });
  await configure(
    f,
    "Mutating",
    "m",
    { reinvocationPolicy: "IfNeeded" },
    {},
    { reinvocationPolicy: "IfNeeded" },
  );
  const made: Any = await f.client.create(at, map("a", { x: "1" }));
  // The last one changed the object last: nobody changed it since
  assertEquals(asked, ["/m/0", "/m/1", "/m/2", "/m/0"]);
  assertEquals(made.data, { x: "1", m0: "1", m1: "1", m2: "1" });
  await f[Symbol.asyncDispose]();
});

Deno.test("webhooks: rules, selectors and conditions say who is asked", async () => {
  const f = await open((call) => said(call));
  await f.client.create({ resource: NAMESPACES }, { metadata: { name: "n", labels: { t: "1" } } });
  const selector = { matchLabels: { t: "1" } };
  await configure(
    f,
    "Validating",
    "v",
    { name: "rule.a.b", rules: [{ ...MAPS, operations: ["UPDATE"] }] },
    { name: "namespace.a.b", namespaceSelector: selector },
    { name: "object.a.b", objectSelector: selector },
    { name: "cluster.a.b", rules: [{ ...EVERYTHING, scope: "Cluster" }] },
    {
      name: "condition.a.b",
      matchConditions: [{ name: "c", expression: "object.data.x == 'yes'" }],
    },
    { name: "labels.a.b", namespaceSelector: selector, rules: [{ ...MAPS, resources: ["*"] }] },
  );
  const names = async (work: () => Promise<unknown>): Promise<string[]> => {
    f.calls.length = 0;
    await work();
    const hooks = ((await f.client.get({ resource: CONFIGURATIONS.Validating, name: "v" })) as Any)
      .webhooks as Any[];
    return f.calls.map((call) =>
      hooks[Number(call.endpoint.url!.split("/").at(-1))].name.split(".")[0]
    );
  };
  const data = { x: "no" };
  assertEquals(await names(() => f.client.create(at, map("a", data))), []);
  assertEquals(await names(() => f.client.create(at, map("b", data, { t: "1" }))), ["object"]);
  assertEquals(await names(() => f.client.create(at, map("c", { x: "yes" }))), ["condition"]);
  assertEquals(
    await names(() => f.client.update({ ...at, name: "a" }, map("a", { x: "other" }))),
    ["rule"],
  );
  assertEquals(
    await names(() => f.client.create({ ...at, namespace: "n" }, map("a", data))),
    ["namespace", "labels"],
  );
  assertEquals(
    await names(() => f.client.create({ resource: NAMESPACES }, { metadata: { name: "m" } })),
    ["cluster"],
  );
  assertEquals(
    await names(() =>
      f.client.create({ resource: NAMESPACES }, { metadata: { name: "o", labels: { t: "1" } } })
    ),
    ["cluster", "labels"],
  );
  assertEquals(f.calls[0].body.request.namespace, "o");
  await f[Symbol.asyncDispose]();
});

Deno.test("webhooks: a condition that fails ends the request, or the asking", async () => {
  const f = await open((call) => said(call));
  const matchConditions = [{ name: "c", expression: "object.data.nosuch == 'x'" }];
  await configure(f, "Validating", "v", { matchConditions, failurePolicy: "Ignore" });
  await f.client.create(at, map("a"));
  await configure(f, "Validating", "w", { matchConditions });
  const { code, message } = await refusalOf(f.client.create(at, map("b")));
  assertEquals(code, 403);
  assertEquals(
    message,
    `configmaps "b" is forbidden: expression 'object.data.nosuch == 'x'' resulted in error: ` +
      "no such key: data",
  );
  assertEquals(f.calls.length, 0);
  const metrics = f.api.metrics.text({ database: f.database } as Any);
  const labels = (name: string) =>
    `{name="0.${name}.example.com",kind="webhook",type="validating",operation="CREATE"}`;
  const prefix = "apiserver_admission_match_condition";
  for (
    const line of [
      `${prefix}_exclusions_total${labels("v")} 2`,
      `${prefix}_evaluation_errors_total${labels("w")} 1`,
      `${prefix}_evaluation_seconds_count${labels("w")} 1`,
    ]
  ) assertEquals(metrics.includes(line), true, line);
  await f[Symbol.asyncDispose]();
});

Deno.test("webhooks: failing to ask ends the request, or is ignored", async () => {
  let answer: () => FakeAnswer | Promise<FakeAnswer> = () => ({});
  const f = await open(() => answer());
  await configure(f, "Validating", "v", {});
  const failed = `Internal error occurred: failed calling webhook "0.v.example.com": `;
  const cases: [() => FakeAnswer | Promise<FakeAnswer>, string][] = [
    [() => {
      throw new OutboundError(`Post "https://x": EOF`, "connection");
    }, `failed to call webhook: Post "https://x": EOF`],
    [
      () => ({ status: 500, text: "boom" }),
      `failed to call webhook: an error on the server ("boom") has prevented the request from succeeding`,
    ],
    [
      () => ({ status: 404, text: "404 page not found" }),
      "failed to call webhook: the server could not find the requested resource",
    ],
    [
      () => ({ text: "<html>", headers: { "content-type": "text/html" } }),
      "failed to call webhook: couldn't get version/kind; json parse error: json: cannot " +
      'unmarshal string into Go value of type struct { APIVersion string "json:\\"apiVersion,' +
      'omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }',
    ],
    [
      () => ({ json: { apiVersion: "admission.k8s.io/v1beta1", kind: "AdmissionReview" } }),
      "failed to call webhook: converting (v1beta1.AdmissionReview) to (v1.AdmissionReview): " +
      "unknown conversion",
    ],
    [
      () => ({ json: { response: { allowed: "yes" } } }),
      "failed to call webhook: json: cannot unmarshal string into Go struct field " +
      "AdmissionResponse.response.allowed of type bool",
    ],
    [() => ({ json: {} }), "received invalid webhook response: webhook response was absent"],
    [
      () => ({ json: { response: { uid: "x", allowed: true } } }),
      `received invalid webhook response: expected response.uid="${"*"}", got "x"`,
    ],
  ];
  for (const [given, text] of cases) {
    answer = given;
    const { code, reason, message } = await refusalOf(f.client.create(at, map("a")));
    const uid = f.calls.at(-1)!.body.request.uid;
    assertEquals([code, reason], [500, "InternalError"]);
    assertEquals(message, failed + text.replace("*", uid));
  }
  await f.client.patch({ resource: CONFIGURATIONS.Validating, name: "v" }, {
    type: "json",
    body: [{ op: "replace", path: "/webhooks/0/failurePolicy", value: "Ignore" }],
  });
  await f.client.create(at, map("a"));
  const metrics = f.api.metrics.text({ database: f.database } as Any);
  const labels = `name="0.v.example.com",type="validating"`;
  const lines = [
    `apiserver_admission_webhook_fail_open_count{${labels}} 1`,
    `apiserver_admission_webhook_rejection_count{${labels},operation="CREATE",` +
    `error_type="calling_webhook_error",rejection_code="404"} 1`,
    `apiserver_admission_webhook_request_total{${labels},operation="CREATE",code="500",rejected="true"} 1`,
    `apiserver_admission_webhook_admission_duration_seconds_count{${labels},operation="CREATE",` +
    `rejected="true"} 8`,
  ];
  for (const line of lines) assertEquals(metrics.includes(line), true, line);
  await f[Symbol.asyncDispose]();
});

Deno.test("webhooks: authorities that are none are not passed over", async () => {
  const f = await open((call) => said(call));
  const url = "https://hooks.example.com/";
  await configure(f, "Validating", "v", { clientConfig: { url, caBundle: btoa("nope") } });
  const { message } = await refusalOf(f.client.create(at, map("a")));
  assertEquals(
    message,
    `Internal error occurred: failed calling webhook "0.v.example.com": could not get REST ` +
      "client: unable to load root certificates: unable to parse bytes as PEM block",
  );
  assertEquals(f.calls.length, 0);
  await f[Symbol.asyncDispose]();
});

Deno.test("webhooks: one that takes too long has failed", async () => {
  const clock = new ManualClock();
  const asked = Promise.withResolvers<void>();
  const f = await open(() => {
    asked.resolve();
    return new Promise<FakeAnswer>(() => {});
  }, { clock });
  await configure(f, "Validating", "v", { timeoutSeconds: 1 });
  const refused = refusalOf(f.client.create(at, map("a")));
  await asked.promise;
  await clock.advance(1_000);
  const { message } = await refused;
  assertEquals(message.endsWith(`context deadline exceeded`), true, message);
  await f[Symbol.asyncDispose]();
});

Deno.test("webhooks: what a patch must be", async () => {
  let response: Record<string, unknown> = {};
  const f = await open((call) => said(call, response));
  await configure(f, "Mutating", "m", {});
  const failed = `Internal error occurred: `;
  const calling = `${failed}failed calling webhook "0.m.example.com": `;
  const invalid = `${calling}received invalid webhook response: `;
  const cases: [Record<string, unknown>, string][] = [
    [{ patch: btoa("[]") }, `${invalid}webhook returned response.patch but not response.patchType`],
    [
      { patchType: "JSONPatch" },
      `${invalid}webhook returned response.patchType but not response.patch`,
    ],
    [
      patch({ op: "remove", path: "/data/nosuch" }),
      `${failed}error in remove for path: '/data/nosuch': Unable to remove nonexistent key: ` +
      "nosuch: missing value",
    ],
    [
      { patch: "!!!", patchType: "JSONPatch" },
      `${calling}failed to call webhook: illegal base64 data at input byte 0`,
    ],
    [
      { patch: btoa("nope"), patchType: "JSONPatch" },
      `${calling}received undecodable patch in webhook response: invalid character 'o' in literal ` +
      "null (expecting 'u')",
    ],
    [
      patch({ op: "replace", path: "/data", value: 7 }),
      `${failed}json: cannot unmarshal number into Go struct field ConfigMap.data of type ` +
      "map[string]string",
    ],
    [
      patch({ op: "replace", path: "/kind", value: "Pod" }),
      "converting (v1.Pod) to (core.ConfigMap): unknown conversion",
    ],
    [
      { ...patch({ op: "add", path: "/data/x", value: "1" }), patchType: "Merge" },
      `${calling}unsupported patch type "Merge"`,
    ],
  ];
  for (const [given, text] of cases) {
    response = given;
    assertEquals((await refusalOf(f.client.create(at, map("a", { y: "1" })))).message, text);
  }
  response = patch({ op: "add", path: "/data/x", value: "1" }, {
    op: "add",
    path: "/nosuchfield",
    value: 1,
  });
  const made: Any = await f.client.create(at, map("a", { y: "1" }));
  assertEquals([made.data, made.nosuchfield], [{ x: "1", y: "1" }, undefined]);
  const { message } = await refusalOf(f.client.delete({ ...at, name: "a" }));
  assertEquals(
    message,
    `${failed}admission webhook "0.m.example.com" attempted to modify the object, which is not ` +
      "supported for this operation",
  );
  await f[Symbol.asyncDispose]();
});

Deno.test("webhooks: the old version of the review is less strict", async () => {
  const f = await open((call) => {
    assertEquals(call.body.apiVersion, "admission.k8s.io/v1beta1");
    const { patch: text } = patch({ op: "add", path: "/data/x", value: "1" });
    return { json: { response: { allowed: true, patch: text } } };
  });
  await configure(f, "Mutating", "m", { admissionReviewVersions: ["v0", "v1beta1", "v1"] });
  const made: Any = await f.client.create(at, map("a", { y: "1" }));
  assertEquals(made.data, { x: "1", y: "1" });
  await f[Symbol.asyncDispose]();
});

Deno.test("webhooks: a dry run reaches only those without side effects", async () => {
  const f = await open((call) => said(call));
  await configure(f, "Validating", "v", { sideEffects: "NoneOnDryRun" });
  await f.client.create(at, map("a"), { dryRun: true });
  assertEquals(f.calls[0].body.request.dryRun, true);
  assertEquals(f.calls[0].body.request.options.dryRun, ["All"]);
  // Not to be had in v1 any more, but stored by those who had it before
  await f.database.objects.write((draft) => {
    const key = "/registry/validatingwebhookconfigurations/v";
    const value = structuredClone(draft.get(key)!.value) as Any;
    value.webhooks[0].sideEffects = "Some";
    draft.put(key, value);
  });
  const { code, message } = await refusalOf(f.client.create(at, map("b"), { dryRun: true }));
  assertEquals(
    [code, message],
    [400, `admission webhook "0.v.example.com" does not support dry run`],
  );
  await f[Symbol.asyncDispose]();
});

Deno.test("webhooks: warnings and audit annotations are passed on, configurations are exempt", async () => {
  const f = await open((call) =>
    said(call, { warnings: ["careful"], auditAnnotations: { k: "v" }, allowed: true })
  );
  const rules = [EVERYTHING];
  await configure(f, "Validating", "v", { rules });
  await configure(f, "Mutating", "m", { rules });
  assertEquals(f.calls.length, 0);
  const response = await f.api.fetch(
    new Request("http://x/api/v1/namespaces/default/configmaps", {
      method: "POST",
      body: JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a" } }),
      headers: { "content-type": "application/json" },
    }),
    { user: ADMIN },
  );
  assertEquals([response.status, response.headers.get("warning")], [201, `299 - "careful"`]);
  await response.body?.cancel();
  await f[Symbol.asyncDispose]();
});

Deno.test("webhooks: deletes, collections, subresources, connections and reviews are asked about", async () => {
  const f = await open((call) => said(call));
  const pods = { resource: PODS, namespace: "default" };
  await f.client.create(pods, pod("p"));
  const deployments = {
    resource: { group: "apps", version: "v1", plural: "deployments" },
    namespace: "default",
  };
  const template = { metadata: { labels: { a: "b" } }, spec: pod("x").spec };
  await f.client.create(deployments, {
    metadata: { name: "d" },
    spec: { selector: { matchLabels: { a: "b" } }, template },
  });
  await f.client.create(at, map("a"));
  await configure(f, "Validating", "v", { rules: [EVERYTHING] });
  const asked = async (work: () => Promise<unknown>): Promise<Any> => {
    f.calls.length = 0;
    await work().catch(() => {});
    assertEquals(f.calls.length, 1);
    return f.calls[0].body.request;
  };
  const scale = { ...deployments, name: "d", subresource: "scale" };
  assertObjectMatch(
    await asked(() => f.client.patch(scale, { type: "merge", body: { spec: { replicas: 3 } } })),
    {
      kind: { group: "autoscaling", version: "v1", kind: "Scale" },
      resource: { group: "apps", version: "v1", resource: "deployments" },
      subResource: "scale",
      operation: "UPDATE",
      object: { kind: "Scale", spec: { replicas: 3 } },
      oldObject: { kind: "Scale", spec: { replicas: 1 } },
    },
  );
  assertObjectMatch(
    await asked(() =>
      f.client.create({ ...pods, name: "p", subresource: "eviction" }, {
        metadata: { name: "p" },
      }, { dryRun: true })
    ),
    {
      kind: { group: "policy", version: "v1", kind: "Eviction" },
      requestSubResource: "eviction",
      operation: "CREATE",
      dryRun: true,
      object: { kind: "Eviction" },
    },
  );
  assertObjectMatch(
    await asked(() =>
      f.client.create({ ...pods, name: "p", subresource: "binding" }, {
        metadata: { name: "p" },
        target: { name: "n" },
      })
    ),
    { kind: { version: "v1", kind: "Binding" }, object: { target: { name: "n" } } },
  );
  const connected = await asked(async () => {
    const path =
      "/api/v1/namespaces/default/pods/p/exec?command=ls&command=-l&container=c&tty=true";
    await (await f.api.fetch(new Request(`http://x${path}`), { user: ADMIN })).text();
  });
  assertObjectMatch(connected, {
    kind: { version: "v1", kind: "PodExecOptions" },
    operation: "CONNECT",
    name: "p",
    object: { kind: "PodExecOptions", command: ["ls", "-l"], container: "c", tty: true },
    options: null,
  });
  assertObjectMatch(
    await asked(() => f.client.delete({ ...at, name: "a" }, { dryRun: true })),
    {
      operation: "DELETE",
      name: "a",
      object: null,
      oldObject: { kind: "ConfigMap" },
      options: { kind: "DeleteOptions", dryRun: ["All"] },
    },
  );
  const collected = await asked(() => f.client.deleteCollection(at));
  assertEquals([collected.operation, collected.name], ["DELETE", undefined]);
  assertEquals(collected.oldObject.metadata.name, "a");
  const review = {
    group: "authorization.k8s.io",
    version: "v1",
    plural: "selfsubjectaccessreviews",
  };
  assertObjectMatch(
    await asked(() =>
      f.client.create({ resource: review }, { metadata: {}, spec: { nonResourceAttributes: {} } })
    ),
    { kind: { kind: "SelfSubjectAccessReview" } },
  );
  await f[Symbol.asyncDispose]();
});

Deno.test("webhooks: Equivalent shows the object in the version that a rule names, and takes its patch back", async () => {
  const f = await open((call) =>
    said(
      call,
      call.body.request.object ? patch({ op: "add", path: "/spec/maxReplicas", value: 9 }) : {},
    )
  );
  const rules = [{ ...MAPS, apiGroups: ["autoscaling"], apiVersions: ["v1"], resources: ["*"] }];
  await configure(f, "Mutating", "exact", { rules, matchPolicy: "Exact" });
  await configure(f, "Mutating", "m", { rules });
  const resource = { group: "autoscaling", version: "v2", plural: "horizontalpodautoscalers" };
  const made: Any = await f.client.create({ resource, namespace: "default" }, {
    metadata: { name: "h" },
    spec: {
      maxReplicas: 3,
      scaleTargetRef: { kind: "Deployment", name: "d", apiVersion: "apps/v1" },
      metrics: [{
        type: "Resource",
        resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 50 } },
      }],
    },
  });
  assertEquals(f.calls.length, 1);
  assertObjectMatch(f.calls[0].body.request, {
    kind: { group: "autoscaling", version: "v1", kind: "HorizontalPodAutoscaler" },
    requestKind: { group: "autoscaling", version: "v2", kind: "HorizontalPodAutoscaler" },
    object: { apiVersion: "autoscaling/v1", spec: { targetCPUUtilizationPercentage: 50 } },
  });
  assertEquals([made.apiVersion, made.spec.maxReplicas], ["autoscaling/v2", 9]);
  assertEquals(made.spec.metrics[0].resource.target.averageUtilization, 50);
  await f[Symbol.asyncDispose]();
});

Deno.test("webhooks: a configuration with conditions that cannot be compiled is refused", async () => {
  const f = await open((call) => said(call));
  const matchConditions = ["... [] bad", "'x'", "params.x == 1", "object.x == 1"].map((
    text,
    i,
  ) => ({
    name: `c${i}`,
    expression: text,
  }));
  const { code, message, details } = await refusalOf(
    configure(f, "Validating", "v", { matchConditions }),
  );
  assertEquals([code, message.includes("must evaluate to bool but got string")], [422, true]);
  assertEquals(details.causes.map((cause: Any) => cause.field), [
    "webhooks[0].matchConditions[0].expression",
    "webhooks[0].matchConditions[1].expression",
    "webhooks[0].matchConditions[2].expression",
  ]);
  await f[Symbol.asyncDispose]();
});

Deno.test("webhooks: a delete is judged by the object that it removes", async () => {
  let change: (() => Promise<unknown>) | undefined;
  const f = await open(async (call) => {
    const { operation, oldObject } = call.body.request;
    if (operation !== "DELETE") return said(call);
    const first = change;
    change = undefined;
    await first?.();
    return said(call, { allowed: oldObject.data.keep === undefined });
  });
  await f.client.create(at, map("a", { x: "1" }));
  await configure(f, "Validating", "v", {});
  const data = { keep: "1" };
  change = () => f.client.patch({ ...at, name: "a" }, { type: "merge", body: { data } });
  assertEquals((await refusalOf(f.client.delete({ ...at, name: "a" }))).code, 400);
  assertEquals((await f.client.get({ ...at, name: "a" }) as Any).data, { x: "1", keep: "1" });
  await f[Symbol.asyncDispose]();
});

Deno.test("webhooks: what they may not do to metadata is refused, or put back", async () => {
  let operation: unknown = {};
  const f = await open((call) => said(call, patch(operation)));
  await f.client.create(at, map("a", { x: "1" }));
  await configure(f, "Mutating", "m", { rules: [{ ...MAPS, operations: ["UPDATE"] }] });
  const change = () =>
    f.client.patch({ ...at, name: "a" }, { type: "merge", body: { data: { y: "2" } } });
  const set = (field: string, value: unknown) => ({
    op: "add",
    path: `/metadata/${field}`,
    value,
  });
  const cases: [unknown, number, string][] = [
    [
      set("name", "b"),
      422,
      `ConfigMap "b" is invalid: metadata.name: Invalid value: "b": field is immutable`,
    ],
    [
      set("namespace", "b"),
      400,
      "the namespace of the provided object does not match the namespace sent on the request",
    ],
    [
      set("uid", "b"),
      422,
      `ConfigMap "a" is invalid: metadata.uid: Invalid value: "b": field is immutable`,
    ],
    [
      set("resourceVersion", "1"),
      409,
      `Operation cannot be fulfilled on configmaps "a": the object has been modified; please ` +
      "apply your changes to the latest version and try again",
    ],
    [
      set("deletionTimestamp", "2001-01-01T00:00:00Z"),
      422,
      `ConfigMap "a" is invalid: metadata.deletionTimestamp: Invalid value: ` +
      `"2001-01-01T00:00:00Z": field is immutable`,
    ],
  ];
  for (const [given, code, message] of cases) {
    operation = given;
    const status = await refusalOf(change());
    assertEquals([status.code, status.message], [code, message]);
  }
  operation = set("managedFields/0/operation", "Steal");
  const changed: Any = await change();
  assertEquals(changed.metadata.managedFields.map((m: Any) => m.operation), ["Update"]);
  operation = { op: "remove", path: "/metadata/managedFields" };
  const bare: Any = await f.client.patch({ ...at, name: "a" }, {
    type: "merge",
    body: { data: { y: "3" } },
  });
  assertEquals(bare.metadata.managedFields, undefined);
  await f[Symbol.asyncDispose]();
});
