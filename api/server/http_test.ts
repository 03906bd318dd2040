import { assert, assertEquals } from "@std/assert";
import { LARGE_BYTES } from "./arrivals.ts";
import {
  CONFIG_MAPS,
  CRDS,
  definitionOf,
  established,
  type Fixture,
  openApi,
  pod,
  PODS,
} from "./fixture_test.ts";
import { ADMIN } from "./fixture_test.ts";
import { WRITES_MAX } from "./flow.ts";
import { unwrapUnknown } from "../machinery/protobuf.ts";

const MAPS = "/api/v1/namespaces/default/configmaps";
const maps = { resource: CONFIG_MAPS, namespace: "default" };

interface Options {
  method?: string;
  body?: unknown;
  headers?: Record<string, string>;
  user?: { name: string; groups: string[] };
}

async function ask(f: Fixture, path: string, options: Options = {}): Promise<Response> {
  const { method = "GET", body, headers = {}, user = ADMIN } = options;
  if (body !== undefined) headers["content-type"] ??= "application/json";
  const text = body === undefined
    ? undefined
    : typeof body === "string"
    ? body
    : JSON.stringify(body);
  return await f.api.fetch(new Request(`http://x${path}`, { method, body: text, headers }), {
    user,
  });
}

/** The next events of a watch. */
function reader(response: Response) {
  const lines = response.body!.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  return {
    async next() {
      for (;;) {
        const end = rest.indexOf("\n");
        if (end >= 0) {
          const line = rest.slice(0, end);
          rest = rest.slice(end + 1);
          return JSON.parse(line);
        }
        const { done, value } = await lines.read();
        if (done) return undefined;
        rest += decoder.decode(value, { stream: true });
      }
    },
    stop: () => lines.cancel(),
  };
}

Deno.test("http: an object is sent with its resourceVersion, and without managed trickery", async () => {
  await using f = await openApi();
  const made = await ask(f, MAPS, {
    method: "POST",
    body: { metadata: { name: "a" }, data: { k: "ü" } },
  });
  assertEquals(made.status, 201);
  const object = await made.json();
  assertEquals(object.kind, "ConfigMap");
  const got = await (await ask(f, `${MAPS}/a`)).json();
  assertEquals(got, object);
  const item = await f.client.get({ ...maps, name: "a" });
  assertEquals(got.metadata.resourceVersion, item.metadata.resourceVersion);
});

Deno.test("http: lists carry items without their type, in pieces when they are long", async () => {
  await using f = await openApi();
  const data = { x: "y".repeat(2_000) };
  await Promise.all(
    Array.from(
      { length: 100 },
      (_, i) => f.client.create(maps, { metadata: { name: `m${i}` }, data }),
    ),
  );
  const list = await (await ask(f, MAPS)).json();
  assertEquals([list.kind, list.apiVersion, list.items.length], ["ConfigMapList", "v1", 100]);
  assertEquals(list.items[0].kind, undefined);
  assert(
    list.items.every((o: { metadata: { resourceVersion: string } }) => o.metadata.resourceVersion),
  );
  const page = await (await ask(f, `${MAPS}?limit=30`)).json();
  assertEquals(page.metadata.remainingItemCount, 70);
});

Deno.test("http: a continue token expires with its history, and gives another one", async () => {
  await using f = await openApi();
  for (const name of ["a", "b", "c"]) await f.client.create(maps, { metadata: { name } });
  const page = await (await ask(f, `${MAPS}?limit=1`)).json();
  for (let i = 0; i < 20; i++) {
    const body = { data: { i: String(i) } };
    await f.client.patch({ ...maps, name: "a" }, { type: "merge", body });
  }
  await f.database.objects.compact({ keepRevisions: 1, keepMs: 0 });
  const gone = await ask(f, `${MAPS}?limit=1&continue=${page.metadata.continue}`);
  assertEquals(gone.status, 410);
  const status = await gone.json();
  assertEquals(status.reason, "Expired");
  const rest = await (await ask(f, `${MAPS}?continue=${status.metadata.continue}`)).json();
  assertEquals(rest.items.map((o: { metadata: { name: string } }) => o.metadata.name), ["b", "c"]);
  const watch = await ask(f, `${MAPS}?watch=true&resourceVersion=${page.metadata.resourceVersion}`);
  assertEquals(watch.status, 200);
  const event = await reader(watch).next();
  assertEquals([event.type, event.object.code, event.object.reason], ["ERROR", 410, "Expired"]);
});

Deno.test("http: a watch streams events; sendInitialEvents ends with a bookmark", async () => {
  await using f = await openApi();
  await f.client.create(maps, { metadata: { name: "a" } });
  const query =
    "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
  const events = reader(await ask(f, `${MAPS}?${query}`));
  assertEquals((await events.next()).object.metadata.name, "a");
  const bookmark = await events.next();
  assertEquals(bookmark.type, "BOOKMARK");
  assertEquals(bookmark.object.metadata.annotations, { "k8s.io/initial-events-end": "true" });
  await f.client.create(maps, { metadata: { name: "b" } });
  const added = await events.next();
  assertEquals([added.type, added.object.kind, added.object.metadata.name], [
    "ADDED",
    "ConfigMap",
    "b",
  ]);
  await f.client.delete({ ...maps, name: "b" });
  const deleted = await events.next();
  assertEquals(deleted.type, "DELETED");
  assert(
    Number(deleted.object.metadata.resourceVersion) > Number(added.object.metadata.resourceVersion),
  );
  await events.stop();
});

Deno.test("http: Table and PartialObjectMetadata", async () => {
  await using f = await openApi();
  await f.client.create({ resource: PODS, namespace: "default" }, pod("p"));
  const path = "/api/v1/namespaces/default/pods";
  const accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
  const table = await (await ask(f, path, { headers: { accept } })).json();
  assertEquals(table.kind, "Table");
  assertEquals(table.columnDefinitions[0].name, "Name");
  assertEquals(table.rows[0].cells.slice(0, 3), ["p", "0/1", "Pending"]);
  assertEquals(table.rows[0].object.kind, "PartialObjectMetadata");
  const partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
  const list = await (await ask(f, path, { headers: { accept: partial } })).json();
  assertEquals([list.kind, list.items[0].spec], ["PartialObjectMetadataList", undefined]);
  const none = await ask(f, path, { headers: { accept: "image/png" } });
  assertEquals([none.status, (await none.json()).reason], [406, "NotAcceptable"]);
});

Deno.test("http: protobuf and YAML answers", async () => {
  await using f = await openApi();
  await f.client.create(maps, { metadata: { name: "a" }, data: { x: "1" } });
  const accept = "application/vnd.kubernetes.protobuf";
  const response = await ask(f, `${MAPS}/a`, { headers: { accept } });
  assertEquals(response.headers.get("content-type"), accept);
  const { kind, apiVersion } = unwrapUnknown(new Uint8Array(await response.arrayBuffer()));
  assertEquals([kind, apiVersion], ["ConfigMap", "v1"]);
  const missing = await ask(f, `${MAPS}/zz`, { headers: { accept } });
  assertEquals(missing.status, 404);
  const yaml = await ask(f, `${MAPS}/a`, { headers: { accept: "application/yaml" } });
  assert((await yaml.text()).includes("kind: ConfigMap"));
  const list = await ask(f, MAPS, { headers: { accept } });
  assertEquals(unwrapUnknown(new Uint8Array(await list.arrayBuffer())).kind, "ConfigMapList");
});

Deno.test("http: field validation warns or refuses", async () => {
  await using f = await openApi();
  const body = `{"metadata":{"name":"w"},"dta":{"a":"1"},"data":{"a":"1","a":"2"}}`;
  const strict = await ask(f, `${MAPS}?fieldValidation=Strict`, { method: "POST", body });
  assertEquals(strict.status, 400);
  const { message } = await strict.json();
  assert(
    message.includes(`strict decoding error: unknown field "dta", duplicate field "data.a"`),
    message,
  );
  const warned = await ask(f, MAPS, { method: "POST", body });
  assertEquals(warned.status, 201);
  assertEquals(
    warned.headers.get("warning"),
    `299 - "unknown field \\"dta\\"", 299 - "duplicate field \\"data.a\\""`,
  );
});

Deno.test("http: what a user may not do is 403 in upstream's words", async () => {
  await using f = await openApi();
  const user = { name: "eve", groups: ["system:authenticated"] };
  const refused = await ask(f, MAPS, { user });
  assertEquals(refused.status, 403);
  assertEquals(
    (await refused.json()).message,
    `configmaps is forbidden: User "eve" cannot list resource "configmaps" in API group "" in the namespace "default"`,
  );
  const acting = await ask(f, MAPS, { headers: { "impersonate-user": "eve" } });
  assertEquals(acting.status, 403);
  const anonymous = await f.api.fetch(new Request(`http://x${MAPS}`));
  assertEquals(anonymous.status, 401);
});

Deno.test("http: discovery old and new, with its ETag", async () => {
  await using f = await openApi();
  const accept =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
  const response = await ask(f, "/apis", { headers: { accept } });
  const etag = response.headers.get("etag")!;
  assert(response.headers.get("content-type")!.includes("as=APIGroupDiscoveryList"));
  const groups = await response.json();
  assertEquals(groups.apiVersion, "apidiscovery.k8s.io/v2");
  assert(groups.items.some((g: { metadata: { name: string } }) => g.metadata.name === "apps"));
  const again = await ask(f, "/apis", { headers: { accept, "if-none-match": etag } });
  assertEquals(again.status, 304);
  const old = await (await ask(f, "/apis/apps/v1")).json();
  assert(old.resources.some((r: { name: string }) => r.name === "deployments/scale"));
  const wrong = await ask(f, "/api/apps/v1/deployments");
  assertEquals(wrong.status, 404);
});

Deno.test("http: methods, paths, health", async () => {
  await using f = await openApi();
  const put = await ask(f, MAPS, { method: "PUT", body: {} });
  assertEquals(put.status, 405);
  const nowhere = await ask(f, "/apis/none.io/v1/things");
  assertEquals([nowhere.status, (await nowhere.json()).message], [
    404,
    "the server could not find the requested resource",
  ]);
  const head = await ask(f, MAPS, { method: "HEAD" });
  assertEquals([head.status, await head.text()], [200, ""]);
  const health = await ask(f, "/readyz?verbose");
  assert((await health.text()).endsWith("readyz check passed\n"));
  assertEquals((await (await ask(f, "/version")).json()).gitVersion, "v1.36.0+plesio");
  const metrics = await (await ask(f, "/metrics")).text();
  assert(metrics.includes(`apiserver_request_total{code="405"`));
});

Deno.test("http: server-side apply, conflict, force", async () => {
  await using f = await openApi();
  const apply = (manager: string, x: string, more = "") =>
    ask(f, `${MAPS}/s?fieldManager=${manager}${more}`, {
      method: "PATCH",
      headers: { "content-type": "application/apply-patch+yaml" },
      body: { apiVersion: "v1", kind: "ConfigMap", data: { x } },
    });
  assertEquals((await apply("one", "1")).status, 201);
  const refused = await apply("two", "2");
  assertEquals(refused.status, 409);
  const status = await refused.json();
  assertEquals(status.details.causes[0].reason, "FieldManagerConflict");
  assertEquals(status.message, `Apply failed with 1 conflict: conflict with "one": .data.x`);
  assertEquals((await apply("two", "2", "&force=true")).status, 200);
  const same = await (await apply("two", "2")).json();
  const got = await (await ask(f, `${MAPS}/s`)).json();
  assertEquals(same.metadata.resourceVersion, got.metadata.resourceVersion);
});

Deno.test("http: custom resources come and go with their definition", async () => {
  await using f = await openApi();
  const crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
  const definition = {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "widgets.example.com" },
    spec: {
      group: "example.com",
      scope: "Namespaced",
      names: { plural: "widgets", kind: "Widget" },
      versions: [{
        name: "v1",
        served: true,
        storage: true,
        subresources: { status: {} },
        schema: {
          openAPIV3Schema: {
            type: "object",
            properties: {
              spec: {
                type: "object",
                properties: {
                  size: { type: "integer", minimum: 1 },
                  n: { type: "integer", default: 2 },
                },
              },
              status: { type: "object", properties: { ok: { type: "boolean" } } },
            },
          },
        },
      }],
    },
  };
  const events = reader(await ask(f, `${crds}?watch=true`));
  assertEquals((await ask(f, crds, { method: "POST", body: definition })).status, 201);
  for (;;) {
    const { object } = await events.next();
    assertEquals(object.metadata.finalizers, undefined);
    const conditions = object.status?.conditions ?? [];
    if (
      conditions.some((c: { type: string; status: string }) =>
        c.type === "Established" && c.status === "True"
      )
    ) break;
  }
  const path = "/apis/example.com/v1/namespaces/default/widgets";
  const widget = {
    apiVersion: "example.com/v1",
    kind: "Widget",
    metadata: { name: "w" },
    spec: { size: 1 },
  };
  const made = await (await ask(f, path, { method: "POST", body: widget })).json();
  assertEquals([made.spec, made.metadata.generation], [{ n: 2, size: 1 }, 1]);
  const bad = await ask(f, path, {
    method: "POST",
    body: { ...widget, metadata: { name: "b" }, spec: { size: 0 } },
  });
  assertEquals(bad.status, 422);
  const status = await ask(f, `${path}/w/status`, {
    method: "PATCH",
    headers: { "content-type": "application/merge-patch+json" },
    body: { spec: { size: 5 }, status: { ok: true } },
  });
  const after = await status.json();
  assertEquals([after.spec.size, after.status], [1, { ok: true }]);
  const strategic = await ask(f, `${path}/w`, {
    method: "PATCH",
    headers: { "content-type": "application/strategic-merge-patch+json" },
    body: {},
  });
  assertEquals(strategic.status, 415);
  const foreground = "?propagationPolicy=Foreground";
  const ended = await ask(f, `${crds}/widgets.example.com${foreground}`, { method: "DELETE" });
  assertEquals((await ended.json()).metadata.finalizers, [
    "customresourcecleanup.apiextensions.k8s.io",
  ]);
  for (;;) if ((await events.next()).type === "DELETED") break;
  await events.stop();
  assertEquals(f.database.objects.view().count("/registry/example.com/widgets/"), 0);
});

Deno.test("http: an eviction asks the budget, and the budget is exact", async () => {
  await using f = await openApi();
  const at = { resource: PODS, namespace: "default" };
  const budgets = {
    resource: { group: "policy", version: "v1", plural: "poddisruptionbudgets" },
    namespace: "default",
  };
  for (const name of ["a", "b", "c"]) {
    await f.client.create(at, pod(name, { app: "x" }));
    await f.client.create({ ...at, name, subresource: "binding" }, { target: { name: "n" } });
    await f.client.patch({ ...at, name, subresource: "status" }, {
      type: "merge",
      body: { status: { phase: "Running", conditions: [{ type: "Ready", status: "True" }] } },
    });
  }
  const made = await f.client.create(budgets, {
    metadata: { name: "pdb" },
    spec: { minAvailable: 2, selector: { matchLabels: { app: "x" } } },
  });
  await f.client.patch({ ...budgets, name: "pdb", subresource: "status" }, {
    type: "merge",
    body: {
      status: {
        observedGeneration: made.metadata.generation!,
        disruptionsAllowed: 1,
        currentHealthy: 3,
        desiredHealthy: 2,
        expectedPods: 3,
      },
    },
  });
  const evict = (name: string) =>
    ask(f, `/api/v1/namespaces/default/pods/${name}/eviction`, {
      method: "POST",
      body: { apiVersion: "policy/v1", kind: "Eviction", metadata: { name } },
    });
  const codes = await Promise.all(["a", "b", "c"].map(async (name) => (await evict(name)).status));
  assertEquals(codes.sort(), [201, 429, 429]);
  const refused = await evict("c");
  const { message, details } = await refused.json();
  assertEquals(message, "Cannot evict pod as it would violate the pod's disruption budget.");
  assertEquals(details.causes, [{
    reason: "DisruptionBudget",
    message: "The disruption budget pdb does not allow evicting pods currently",
  }]);
  // With a time, client-go would wait inside the request, and `kubectl drain --timeout` would not end
  assertEquals([refused.headers.get("retry-after"), details.retryAfterSeconds], [null, undefined]);
});

Deno.test("http: scale is read, patched and applied; its owner is noted where the replicas lie", async () => {
  await using f = await openApi();
  const path = "/apis/apps/v1/namespaces/default/deployments";
  const template = {
    metadata: { labels: { a: "b" } },
    spec: { containers: [{ name: "c", image: "x:1" }] },
  };
  const body = {
    metadata: { name: "d" },
    spec: { replicas: 2, selector: { matchLabels: { a: "b" } }, template },
  };
  assertEquals((await ask(f, path, { method: "POST", body })).status, 201);
  const scale = await (await ask(f, `${path}/d/scale`)).json();
  assertEquals([scale.kind, scale.spec.replicas, scale.status.selector], ["Scale", 2, "a=b"]);
  const patch = (type: string, body: unknown, query = "") =>
    ask(f, `${path}/d/scale${query}`, { method: "PATCH", headers: { "content-type": type }, body });
  const merged = await patch("application/merge-patch+json", { spec: { replicas: 3 } });
  assertEquals((await merged.json()).spec.replicas, 3);
  const applied = await patch(
    "application/apply-patch+yaml",
    { apiVersion: "autoscaling/v1", kind: "Scale", metadata: { name: "d" }, spec: { replicas: 5 } },
    "?fieldManager=me&force=true",
  );
  assertEquals([applied.status, (await applied.json()).spec.replicas], [200, 5]);
  const deployment = await (await ask(f, `${path}/d`)).json();
  assertEquals([deployment.spec.replicas, deployment.metadata.generation], [5, 3]);
  const mine = deployment.metadata.managedFields.find((e: { manager: string }) =>
    e.manager === "me"
  );
  assertEquals([mine.operation, mine.subresource, mine.apiVersion], ["Apply", "scale", "apps/v1"]);
  const bad = await patch("application/merge-patch+json", { spec: { replicas: -1 } });
  assertEquals(bad.status, 422);
});

Deno.test("http: a deletion answers with the object where upstream does, by group and name", async () => {
  await using f = await openApi();
  await f.client.create({ resource: CRDS }, definitionOf("services", "Service"));
  await established(f);
  const answers = async (path: string, fields: Record<string, unknown> = {}) => {
    const body = { metadata: { name: "x" }, ...fields };
    assertEquals((await ask(f, path, { method: "POST", body })).status, 201);
    return (await (await ask(f, `${path}/x`, { method: "DELETE" })).json()).kind;
  };
  assertEquals(
    await answers("/apis/storage.k8s.io/v1/storageclasses", { provisioner: "p" }),
    "StorageClass",
  );
  assertEquals(await answers("/api/v1/namespaces/default/serviceaccounts"), "ServiceAccount");
  assertEquals(await answers(MAPS), "Status");
  const own = { apiVersion: "example.com/v1", kind: "Service" };
  assertEquals(await answers("/apis/example.com/v1/services", own), "Status");
});

Deno.test("http: a custom object has the subresources that its definition declares, and a scale if it has replicas", async () => {
  await using f = await openApi();
  const schema = { "x-kubernetes-preserve-unknown-fields": true };
  const scale = { specReplicasPath: ".spec.size", statusReplicasPath: ".status.size" };
  const definition = definitionOf("widgets", "Widget", { schema, subresources: { scale } });
  await f.client.create({ resource: CRDS }, definition);
  await established(f);
  const path = "/apis/example.com/v1/widgets";
  for (const [name, spec] of Object.entries({ none: {}, two: { size: 2 } })) {
    const body = { apiVersion: "example.com/v1", kind: "Widget", metadata: { name }, spec };
    assertEquals((await ask(f, path, { method: "POST", body })).status, 201);
  }
  const get = async (at: string) => await (await ask(f, `${path}/${at}`)).json();
  assertEquals((await get("two/scale")).spec, { replicas: 2 });
  const none = await get("none/scale");
  assertEquals([none.code, none.message], [
    500,
    'Internal error occurred: the spec replicas field ".spec.size" does not exist',
  ]);
  const status = await get("two/status");
  assertEquals([status.code, status.message, status.details], [
    404,
    'widgets.example.com "two" not found',
    { name: "two", group: "example.com", kind: "widgets" },
  ]);
});

Deno.test("http: a dry run answers as if, and changes nothing", async () => {
  await using f = await openApi();
  await f.client.create(maps, { metadata: { name: "d" }, data: { a: "1" } });
  const before = await (await ask(f, `${MAPS}/d`)).json();
  const dry = await ask(f, `${MAPS}/d?dryRun=All`, {
    method: "PATCH",
    headers: { "content-type": "application/merge-patch+json" },
    body: { data: { a: "2" } },
  });
  const shown = await dry.json();
  assertEquals([shown.data.a, shown.metadata.resourceVersion], [
    "2",
    before.metadata.resourceVersion,
  ]);
  await ask(f, `${MAPS}/d?dryRun=All`, { method: "DELETE" });
  assertEquals(await (await ask(f, `${MAPS}/d`)).json(), before);
  const wrong = await ask(f, `${MAPS}/d?dryRun=Some`, { method: "DELETE" });
  assertEquals(wrong.status, 422);
});

Deno.test("http: without fairness, more writes at once than the limit are told to come again", async () => {
  const authorizer = {
    authorize: () => ({ allowed: true }),
    rules: () => ({ rules: [], errors: [] }),
  };
  await using f = await openApi({ authorizer, front: { flow: { fair: false } } });
  const bodies: ((bytes: Uint8Array) => void)[] = [];
  const call = (n: number) =>
    f.api.answer({
      method: "POST",
      path: MAPS,
      query: "",
      user: { name: "eve", groups: [] },
      header: () => undefined,
      headers: () => [],
      hasHeaders: () => false,
      body: () => new Promise((resolve) => bodies[n] = resolve),
    });
  const waiting = Array.from({ length: WRITES_MAX }, (_, i) => call(i));
  const refused = await call(WRITES_MAX);
  assertEquals([refused.status, refused.headers["retry-after"]], [429, "1"]);
  bodies.forEach((answer, i) => answer(new TextEncoder().encode(`{"metadata":{"name":"n${i}"}}`)));
  assert((await Promise.all(waiting)).every((reply) => reply.status === 201));
});

Deno.test("http: bodies that are no such object are refused in upstream's words", async () => {
  await using f = await openApi();
  const pods = "/api/v1/namespaces/default/pods";
  const post = async (body: string, type = "application/json") => {
    const response = await ask(f, pods, {
      method: "POST",
      body,
      headers: { "content-type": type },
    });
    return [response.status, (await response.json()).message];
  };
  const [code, text] = await post(`{"apiVersion": "v1",`);
  assertEquals(code, 400);
  assert(
    text.startsWith(
      "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: ",
    ),
    text,
  );
  assertEquals(await post(`{"apiVersion":"apps/v1","kind":"Deployment"}`), [
    400,
    `Deployment in version "v1" cannot be handled as a Pod: converting (v1.Deployment) to (core.Pod): unknown conversion`,
  ]);
  assertEquals(await post(`{"metadata":{"name":"x","namespace":"other"}}`), [
    400,
    "the namespace of the provided object does not match the namespace sent on the request",
  ]);
  assertEquals((await post("<pod/>", "application/xml"))[0], 415);
  const [typed, wrong] = await post(`{"metadata":{"name":"x"},"spec":{"containers":"y"}}`);
  assertEquals(typed, 400);
  assert(
    wrong.includes("json: cannot unmarshal string into Go struct field PodSpec.spec.containers"),
    wrong,
  );
});

Deno.test("http: a deprecated version of a custom kind says so, whatever is asked of it", async () => {
  await using f = await openApi();
  const version = (name: string, more: object) => ({
    name,
    served: true,
    storage: name === "v1",
    schema: { openAPIV3Schema: { type: "object" } },
    ...more,
  });
  await f.client.create({
    resource: { group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions" },
  }, {
    metadata: { name: "olds.example.com" },
    spec: {
      group: "example.com",
      scope: "Namespaced",
      names: { plural: "olds", kind: "Old" },
      versions: [version("v1", {}), version("v1beta1", { deprecated: true })],
    },
  });
  const path = (v: string) => `/apis/example.com/${v}/namespaces/default/olds`;
  const deadline = performance.now() + 30_000;
  let response = await ask(f, path("v1beta1"));
  while (response.status === 404 && performance.now() < deadline) {
    response = await ask(f, path("v1beta1"));
  }
  assertEquals(
    response.headers.get("warning"),
    '299 - "example.com/v1beta1 Old is deprecated; use example.com/v1 Old"',
  );
  assertEquals((await ask(f, path("v1"))).headers.get("warning"), null);
});

Deno.test("http: people get indented objects", async () => {
  await using f = await openApi();
  const of = async (agent: string, query = "") => {
    const path = `/api/v1/namespaces/default${query}`;
    return await (await ask(f, path, { headers: { "user-agent": agent } })).text();
  };
  assert((await of("curl/8.5.0")).startsWith('{\n  "'));
  assert((await of("curl/8.5.0", "?pretty=false")).startsWith('{"'));
  assert((await of("kubectl/v1.36.0")).startsWith('{"'));
  assert((await of("kubectl/v1.36.0", "?pretty=true")).startsWith('{\n  "'));
});

Deno.test("http: a review is no table", async () => {
  await using f = await openApi();
  const response = await ask(f, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {
    method: "POST",
    body: JSON.stringify({ spec: { nonResourceAttributes: { path: "/", verb: "get" } } }),
    headers: {
      "content-type": "application/json",
      accept: "application/json;as=Table;v=v1;g=meta.k8s.io",
    },
  });
  assertEquals([response.status, (await response.json()).reason], [406, "NotAcceptable"]);
});

Deno.test("http: fields that are unknown or twice there are told in the order of the body", async () => {
  await using f = await openApi();
  const send = async (method: string, path: string, type: string, body: string) => {
    const response = await ask(f, `/api/v1/namespaces/default/${path}fieldValidation=Strict`, {
      method,
      body,
      headers: { "content-type": type },
    });
    return [response.status, (await response.json()).message];
  };
  const json = "application/json";
  const [code, text] = await send(
    "POST",
    "pods?",
    json,
    `{"metadata":{"name":"x"},"spec":{"one":1,"two":1,"two":2,"nodeName":"a","nodeName":"b",` +
      `"containers":[{"name":"c","image":"i","three":3,"image":"j"}]}}`,
  );
  assertEquals(code, 400);
  assertEquals(
    text.slice(text.indexOf("strict")),
    `strict decoding error: unknown field "spec.one", unknown field "spec.two", ` +
      `duplicate field "spec.nodeName", duplicate field "spec.containers[0].image", ` +
      `unknown field "spec.containers[0].three"`,
  );
  const apply =
    `kind: ConfigMap\napiVersion: v1\nmetadata:\n  name: y\ndata:\n  a: "1"\n  a: "2"\n`;
  assertEquals(
    await send("PATCH", "configmaps/y?fieldManager=m&", "application/apply-patch+yaml", apply),
    [
      400,
      "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n" +
      `  line 7: key "a" already set in map`,
    ],
  );
});

Deno.test("http: a large body is read and worked on in turns of their own, a small one in none", async () => {
  let turns = 0;
  await using f = await openApi({ turn: () => Promise.resolve(void turns++) });
  for (const [length, wanted] of [[10, 0], [LARGE_BYTES, 2]]) {
    turns = 0;
    const body = { metadata: { name: `a${length}` }, data: { k: "v".repeat(length) } };
    assertEquals((await ask(f, MAPS, { method: "POST", body })).status, 201);
    assertEquals(turns, wanted);
  }
});
