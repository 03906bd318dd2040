import { assertEquals, assertStringIncludes } from "@std/assert";
import { ManualClock } from "../../../kv/mod.ts";
import { type FakeAnswer, fakeOutbound, type OutboundCall } from "../../client/outbound_fixture.ts";
import type { Fixture } from "../fixture_test.ts";
import { ADMIN, ADMIN_TOKEN, core, openApi } from "../fixture_test.ts";
import { CHECK_MS, REFRESH_MS, RETRY_MS } from "./registry.ts";
import { remoteHeaders } from "./remote.ts";

const GROUP = "wardle.example.com";
const SERVICES = { group: "apiregistration.k8s.io", version: "v1", plural: "apiservices" };
const SLICES = { group: "discovery.k8s.io", version: "v1", plural: "endpointslices" };
const V2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

function apiService(group = GROUP, version = "v1alpha1", spec: object = {}) {
  return {
    metadata: { name: `${version}.${group}` },
    spec: {
      group,
      version,
      groupPriorityMinimum: 2000,
      versionPriority: 200,
      insecureSkipTLSVerify: true,
      service: { namespace: "default", name: "sample-api", port: 7443 },
      ...spec,
    },
  };
}

const FLUNDERS = {
  resource: "flunders",
  responseKind: { group: GROUP, version: "v1alpha1", kind: "Flunder" },
  scope: "Namespaced",
  singularResource: "flunder",
  verbs: ["create", "get", "list", "watch"],
  subresources: [{
    subresource: "status",
    responseKind: { group: GROUP, version: "v1alpha1", kind: "Flunder" },
    verbs: ["get"],
  }],
};

/** An extension server that has everything. */
function sample({ endpoint: _, request }: OutboundCall): FakeAnswer {
  const { path = "", headers = {} } = request;
  if (path === "/apis") {
    if (headers["if-none-match"] === '"one"') return { status: 304 };
    const versions = [{ version: "v1alpha1", resources: [FLUNDERS] }];
    return {
      headers: { "content-type": V2, etag: '"one"' },
      json: { items: [{ metadata: { name: GROUP }, versions }] },
    };
  }
  if (path === `/apis/${GROUP}/v1alpha1`) {
    return { json: { kind: "APIResourceList", resources: [] } };
  }
  if (path === "/openapi/v3") {
    const serverRelativeURL = `/openapi/v3/apis/${GROUP}/v1alpha1?hash=AB`;
    return { json: { paths: { [`apis/${GROUP}/v1alpha1`]: { serverRelativeURL } } } };
  }
  if (path === "/openapi/v2") {
    const Flunder = { type: "object", properties: { spec: { $ref: "#/definitions/Spec" } } };
    return {
      json: {
        paths: {
          [`/apis/${GROUP}/v1alpha1/flunders`]: {
            get: { schema: { $ref: "#/definitions/Flunder" } },
          },
          "/api/v1/pods": { get: { schema: { $ref: "#/definitions/Other" } } },
        },
        definitions: { Flunder, Spec: { type: "object" }, Other: { type: "object" } },
      },
    };
  }
  return { json: { path, query: request.query, headers } };
}

async function addService(client: Fixture["client"]): Promise<void> {
  await client.create({ resource: core("services"), namespace: "default" }, {
    metadata: { name: "sample-api" },
    spec: { ports: [{ port: 7443 }] },
  });
}

async function addEndpoints(client: Fixture["client"], ready = true): Promise<void> {
  await client.create({ resource: SLICES, namespace: "default" }, {
    metadata: { name: "sample-api-1", labels: { "kubernetes.io/service-name": "sample-api" } },
    addressType: "IPv4",
    ports: [{ name: "", port: 443, protocol: "TCP" }],
    endpoints: [{ addresses: ["10.244.0.5"], conditions: { ready } }],
  });
}

/** Waits until something is so; what never is fails with what it was. */
async function reaches<T>(look: () => T | Promise<T>, wanted: T): Promise<void> {
  let found = await look();
  for (let i = 0; i < 2_000 && JSON.stringify(found) !== JSON.stringify(wanted); i++) {
    await new Promise((resolve) => setTimeout(resolve, 0));
    found = await look();
  }
  assertEquals(found, wanted);
}

async function condition({ client }: Fixture, name = `v1alpha1.${GROUP}`) {
  const found = await client.get({ resource: SERVICES, name });
  const own = found.status.conditions?.find((c: { type: string }) => c.type === "Available");
  return own && `${own.status} ${own.reason}: ${own.message}`;
}

async function get({ api }: Fixture, path: string, headers: Record<string, string> = {}) {
  return await api.fetch(new Request(`https://k${path}`, { headers }), { user: ADMIN });
}

/** A server with its Service, endpoints and APIService, looked at. */
async function withSample(server = sample) {
  const clock = new ManualClock();
  const outbound = fakeOutbound(server, clock);
  const fixture = await openApi({ clock, outbound });
  await addService(fixture.client);
  await addEndpoints(fixture.client);
  await fixture.client.create({ resource: SERVICES }, apiService());
  await reaches(async () => {
    const { paths } = await (await get(fixture, "/openapi/v3")).json();
    return `apis/${GROUP}/v1alpha1` in paths;
  }, true);
  return { ...fixture, clock, outbound };
}

/** What discovery says of the sample's freshness. */
async function freshness(fixture: Fixture): Promise<string | undefined> {
  const { items } = await (await get(fixture, "/apis", { accept: V2 })).json();
  const own = items.find((i: { metadata: { name: string } }) => i.metadata.name === GROUP);
  return own?.versions[0].freshness;
}

Deno.test("availability goes through upstream's reasons as the Service comes into being", async () => {
  const clock = new ManualClock();
  let answer: FakeAnswer = { status: 500 };
  await using fixture = await openApi({
    clock,
    outbound: fakeOutbound((call) => answer.status === 200 ? sample(call) : answer, clock),
  });
  const { client } = fixture;
  await client.create({ resource: SERVICES }, apiService());
  await reaches(
    () => condition(fixture),
    'False ServiceNotFound: service/sample-api in "default" is not present',
  );
  await client.create({ resource: core("services"), namespace: "default" }, {
    metadata: { name: "sample-api" },
    spec: { ports: [{ port: 443 }] },
  });
  await reaches(
    () => condition(fixture),
    'False ServicePortError: service/sample-api in "default" is not listening on port 7443',
  );
  const service = { resource: core("services"), namespace: "default", name: "sample-api" };
  await client.patch(service, { type: "merge", body: { spec: { ports: [{ port: 7443 }] } } });
  await reaches(
    () => condition(fixture),
    'False EndpointsNotFound: cannot find endpointslices for service/sample-api in "default"',
  );
  await addEndpoints(client, false);
  await reaches(
    () => condition(fixture),
    'False MissingEndpoints: endpointslices for service/sample-api in "default" have no addresses with port name ""',
  );
  const slice = { resource: SLICES, namespace: "default", name: "sample-api-1" };
  await client.patch(slice, {
    type: "merge",
    body: { endpoints: [{ addresses: ["10.244.0.5"], conditions: { ready: true } }] },
  });
  const url = `https://sample-api.default.svc:7443/apis/${GROUP}/v1alpha1`;
  const failed =
    `False FailedDiscoveryCheck: failing or missing response from ${url}: bad status from ${url}`;
  await reaches(() => condition(fixture), `${failed}: 500`);
  // From here on time alone makes it look again
  const passing = async () => {
    await clock.advance(RETRY_MS);
    return await condition(fixture);
  };
  answer = { status: 200 };
  let since = clock.now();
  await reaches(passing, "True Passed: all checks passed");
  answer = { status: 503 };
  await reaches(passing, `${failed}: 503`);
  assertEquals(clock.now() - since < 3 * CHECK_MS, true, "looked at each half minute");
  answer = { status: 200 };
  since = clock.now();
  await reaches(passing, "True Passed: all checks passed");
  assertEquals(clock.now() - since < CHECK_MS, true, "a failure is looked at sooner");
});

Deno.test("a request is passed on with its user in headers, and nobody else's", async () => {
  await using fixture = await withSample();
  const path = `/apis/${GROUP}/v1alpha1/namespaces/default/flunders`;
  const response = await get(fixture, `${path}?limit=5`, {
    "x-remote-user": "mallory",
    "x-remote-group": "system:masters",
    "x-remote-extra-scopes": "all",
    authorization: `Bearer ${ADMIN_TOKEN}`,
    "impersonate-user": "alice",
    "impersonate-group": "devs",
    "x-mine": "1",
  });
  assertEquals(response.status, 403, "alice may not list flunders");
  await response.body?.cancel();
  const role = { rules: [{ apiGroups: [GROUP], resources: ["flunders"], verbs: ["list"] }] };
  const rbac = (plural: string) => ({ group: "rbac.authorization.k8s.io", version: "v1", plural });
  await fixture.client.create({ resource: rbac("clusterroles") }, {
    metadata: { name: "r" },
    ...role,
  });
  await fixture.client.create({ resource: rbac("clusterrolebindings") }, {
    metadata: { name: "r" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "r" },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "alice" }],
  });
  const passed = await get(fixture, `${path}?limit=5`, {
    "x-remote-user": "mallory",
    "x-remote-extra-scopes": "all",
    "impersonate-user": "alice",
    "impersonate-group": "devs",
    "x-mine": "1",
  });
  assertEquals(passed.status, 200);
  const heard = await passed.json();
  assertEquals([heard.path, heard.query], [path, "limit=5"]);
  const { "audit-id": id, ...headers } = heard.headers;
  assertEquals(id, passed.headers.get("audit-id"), "both servers call the request by one name");
  assertEquals(headers, {
    "x-mine": "1",
    "x-remote-user": "alice",
    "x-remote-group": ["devs", "system:authenticated"],
  });
});

Deno.test("what a user is called is written so that headers can carry it", () => {
  assertEquals(
    remoteHeaders({
      name: "jürgen",
      uid: "u-1",
      groups: ["a", "b"],
      extra: { "example.com/Scopes": ["x", "y"] },
    }),
    {
      "x-remote-user": "jÃ¼rgen",
      "x-remote-uid": "u-1",
      "x-remote-group": ["a", "b"],
      "x-remote-extra-example.com%2fscopes": ["x", "y"],
    },
  );
  let refused = "";
  try {
    remoteHeaders({ name: "a\r\nx-remote-group: system:masters", groups: [] });
  } catch (error) {
    refused = (error as Error).message;
  }
  assertEquals(refused, "the user's name cannot be said in a header");
});

Deno.test("discovery and OpenAPI have what other servers serve among what is served here", async () => {
  await using fixture = await withSample();
  const groups = (await (await get(fixture, "/apis")).json()).groups;
  const at = groups.findIndex((g: { name: string }) => g.name === GROUP);
  // 2000 lies between the built-in groups and those of definitions
  assertEquals(groups[at - 1].name, "flowcontrol.apiserver.k8s.io");
  assertEquals(groups[at].preferredVersion, {
    groupVersion: `${GROUP}/v1alpha1`,
    version: "v1alpha1",
  });
  const group = await (await get(fixture, `/apis/${GROUP}`)).json();
  assertEquals(group.versions.length, 1);
  const { items } = await (await get(fixture, "/apis", { accept: V2 })).json();
  const own = items.find((i: { metadata: { name: string } }) => i.metadata.name === GROUP);
  assertEquals(own.versions, [{
    version: "v1alpha1",
    resources: [FLUNDERS],
    freshness: "Current",
  }]);
  const { paths } = await (await get(fixture, "/openapi/v3")).json();
  assertEquals(
    paths[`apis/${GROUP}/v1alpha1`].serverRelativeURL,
    `/openapi/v3/apis/${GROUP}/v1alpha1?hash=AB`,
  );
  const third = await (await get(fixture, `/openapi/v3/apis/${GROUP}/v1alpha1?hash=AB`)).json();
  assertEquals([third.path, third.query], [`/openapi/v3/apis/${GROUP}/v1alpha1`, "hash=AB"]);
  assertEquals(third.headers["x-remote-user"], ADMIN.name);
  const second = await (await get(fixture, "/openapi/v2")).json();
  assertEquals(second.paths[`/apis/${GROUP}/v1alpha1/flunders`] !== undefined, true);
  assertEquals(second.definitions.Flunder.properties.spec.$ref, "#/definitions/Spec");
  assertEquals(second.definitions.Other, undefined);
});

Deno.test("a server that has only the oldest documents is discovered and described all the same", async () => {
  await using fixture = await withSample((call) => {
    if (call.request.path === "/apis") return { status: 406 };
    if (call.request.path === "/openapi/v3") return { status: 404 };
    if (call.request.path === `/apis/${GROUP}/v1alpha1`) {
      const flunder = { name: "flunders", kind: "Flunder", namespaced: true, verbs: ["get"] };
      return {
        json: { resources: [flunder, { ...flunder, name: "flunders/status" }, { name: 3 }] },
      };
    }
    return sample(call);
  });
  const { items } = await (await get(fixture, "/apis", { accept: V2 })).json();
  const own = items.find((i: { metadata: { name: string } }) => i.metadata.name === GROUP);
  assertEquals(own.versions[0].resources[0].resource, "flunders");
  assertEquals(own.versions[0].resources[0].subresources[0].subresource, "status");
  const { paths } = await (await get(fixture, "/openapi/v3")).json();
  const url = paths[`apis/${GROUP}/v1alpha1`].serverRelativeURL;
  const third = await (await get(fixture, url)).json();
  assertEquals(
    third.components.schemas.Flunder.properties.spec.$ref,
    "#/components/schemas/Spec",
  );
});

Deno.test("a broken extension is 503 in text, stale in discovery, and costs no other group", async () => {
  let broken = false;
  await using fixture = await withSample((call) => broken ? { status: 503 } : sample(call));
  broken = true;
  await reaches(async () => {
    await fixture.clock.advance(RETRY_MS);
    return await freshness(fixture);
  }, "Stale");
  const response = await get(fixture, `/apis/${GROUP}/v1alpha1`);
  assertEquals([response.status, await response.text()], [503, "service unavailable\n"]);
  const { items } = await (await get(fixture, "/apis", { accept: V2 })).json();
  const own = items.find((i: { metadata: { name: string } }) => i.metadata.name === GROUP);
  assertEquals(own.versions[0].freshness, "Stale");
  assertEquals(own.versions[0].resources, [FLUNDERS], "what it said last");
  const apps = items.find((i: { metadata: { name: string } }) => i.metadata.name === "apps");
  assertEquals(apps.versions[0].freshness, "Current");
  const metrics = await (await get(fixture, "/metrics")).text();
  const name = `v1alpha1.${GROUP}`;
  assertStringIncludes(metrics, `aggregator_unavailable_apiservice{name="${name}"} 1`);
  assertStringIncludes(
    metrics,
    `aggregator_unavailable_apiservice_total{name="${name}",reason="FailedDiscoveryCheck"} 1`,
  );
});

Deno.test("what a server serves is asked anew each minute, and only the change is sent", async () => {
  await using fixture = await withSample();
  const count = () => fixture.outbound.calls.filter((c) => c.request.path === "/apis").length;
  assertEquals(count(), 1);
  const since = fixture.clock.now();
  await reaches(async () => {
    await fixture.clock.advance(RETRY_MS);
    return count();
  }, 2);
  assertEquals(fixture.clock.now() - since >= REFRESH_MS, true);
  await reaches(() => freshness(fixture), "Current");
  const { items } = await (await get(fixture, "/apis", { accept: V2 })).json();
  const own = items.find((i: { metadata: { name: string } }) => i.metadata.name === GROUP);
  assertEquals(own.versions[0].resources, [FLUNDERS]);
});

Deno.test("a built-in group is not given away; metrics may be taken, and come back", async () => {
  await using fixture = await withSample();
  const { client } = fixture;
  const name = "v1.apps";
  await client.create({ resource: SERVICES }, apiService("apps", "v1"));
  await reaches(
    () => condition(fixture, name),
    "False BuiltIn: apps/v1 is served by this server and is not handed over to a service",
  );
  const deployments = await (await get(fixture, "/apis/apps/v1/deployments")).json();
  assertEquals(deployments.kind, "DeploymentList");

  const metrics = "v1beta1.metrics.k8s.io";
  const before = await (await get(fixture, "/apis/metrics.k8s.io/v1beta1")).json();
  assertEquals(before.resources.length, 2);
  await client.create({ resource: SERVICES }, apiService("metrics.k8s.io", "v1beta1"));
  await reaches(() => condition(fixture, metrics), "True Passed: all checks passed");
  const taken = await (await get(fixture, "/apis/metrics.k8s.io/v1beta1/nodes")).json();
  assertEquals(taken.path, "/apis/metrics.k8s.io/v1beta1/nodes");
  await client.delete({ resource: SERVICES, name: metrics });
  const after = async () => await (await get(fixture, "/apis/metrics.k8s.io/v1beta1")).json();
  await reaches(after, before);
});

Deno.test("what was handed to a service can be taken back", async () => {
  await using fixture = await withSample();
  const name = `v1alpha1.${GROUP}`;
  const body = { spec: { service: null, insecureSkipTLSVerify: null } };
  await fixture.client.patch({ resource: SERVICES, name }, { type: "merge", body });
  await reaches(() => condition(fixture), "True Local: Local APIServices are always available");
  await reaches(async () => (await get(fixture, `/apis/${GROUP}/v1alpha1/flunders`)).status, 404);
});

Deno.test("headers that say who somebody is are believed of nobody", async () => {
  await using fixture = await withSample();
  const headers = { "x-remote-user": ADMIN.name, "x-remote-group": "system:masters" };
  const request = new Request(`https://k/apis/${GROUP}/v1alpha1/flunders`, { headers });
  assertEquals((await fixture.api.fetch(request)).status, 401);
});

Deno.test("an APIService that is deleted takes its group with it", async () => {
  await using fixture = await withSample();
  await fixture.client.delete({ resource: SERVICES, name: `v1alpha1.${GROUP}` });
  await reaches(async () => {
    const response = await get(fixture, `/apis/${GROUP}/v1alpha1/flunders`);
    await response.body?.cancel();
    return response.status;
  }, 404);
  assertEquals((await get(fixture, `/apis/${GROUP}`)).status, 404);
  const calls = fixture.outbound.calls.length;
  await fixture.clock.advance(10 * CHECK_MS);
  assertEquals(fixture.outbound.calls.length, calls, "nobody is asked any more");
});

Deno.test("a redirect of an extension is not followed and not passed on", async () => {
  await using fixture = await withSample((call) =>
    call.request.path?.endsWith("/flunders")
      ? { status: 302, headers: { location: "https://elsewhere/" } }
      : sample(call)
  );
  const response = await get(fixture, `/apis/${GROUP}/v1alpha1/flunders`);
  assertEquals(
    [response.status, await response.text()],
    [502, "the backend attempted to redirect this request, which is not permitted\n"],
  );
});
