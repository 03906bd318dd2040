/** Admission and conversion webhooks as real HTTPS servers, called by a real cluster: by URL and by way of a Service. */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { ApiError } from "../../api/machinery/types.ts";
import { Cluster } from "../../mod.ts";
import { type Heard, type Said, tlsServer } from "../tls_server.ts";

// deno-lint-ignore no-explicit-any -- objects of many kinds
type Any = any;

/** In a range that clusters of machines without root give to pods. */
const POD_ADDRESS = "127.244.0.5";
const MAPS = { group: "", version: "v1", plural: "configmaps" };
const at = { resource: MAPS, namespace: "default" };

function configurations(type: "mutating" | "validating") {
  const group = "admissionregistration.k8s.io";
  return { resource: { group, version: "v1", plural: `${type}webhookconfigurations` } };
}

function hook(name: string, clientConfig: Record<string, unknown>, more: object = {}) {
  return {
    name,
    clientConfig,
    admissionReviewVersions: ["v1"],
    sideEffects: "None",
    timeoutSeconds: 5,
    rules: [{ operations: ["*"], apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"] }],
    ...more,
  };
}

function reviewed({ body, url }: Heard): Said {
  const { apiVersion, kind, request } = JSON.parse(body);
  const { uid, object } = request;
  const operations = [{ op: "add", path: "/data/added", value: "1" }];
  const response = url.startsWith("/mutate")
    ? { uid, allowed: true, patchType: "JSONPatch", patch: btoa(JSON.stringify(operations)) }
    : { uid, allowed: object?.data?.bad === undefined, status: { message: "bad data", code: 403 } };
  return { body: JSON.stringify({ apiVersion, kind, response }) };
}

Deno.test({
  name: "webhooks over HTTPS: a Service mutates, a URL denies, a wrong authority fails",
  // Elsewhere the loopback has one address
  ignore: Deno.build.os !== "linux",
  fn: overHttps,
});

async function overHttps() {
  const cluster = await Cluster.start({ nodes: 0, clock: "real", components: ["api"] });
  const { client } = cluster;
  await using server = await tlsServer(["hook.default.svc", POD_ADDRESS], reviewed, {
    host: POD_ADDRESS,
  });
  await client.create({ resource: { group: "", version: "v1", plural: "nodes" } }, {
    metadata: { name: "n" },
    spec: { podCIDR: "127.244.0.0/24", podCIDRs: ["127.244.0.0/24"] },
  });
  const services = { resource: { group: "", version: "v1", plural: "services" } };
  await client.create({ ...services, namespace: "default" }, {
    metadata: { name: "hook" },
    spec: { ports: [{ port: 8443, targetPort: server.port }] },
  });
  const caBundle = btoa(server.ca);
  const service = { namespace: "default", name: "hook", path: "/mutate", port: 8443 };
  await client.create(configurations("mutating"), {
    metadata: { name: "m" },
    webhooks: [hook("m.example.com", { service, caBundle })],
  });
  const { message } = await assertRejects(
    () => client.create(at, { metadata: { name: "a" }, data: {} }),
    ApiError,
  );
  assertStringIncludes(
    message,
    `failed calling webhook "m.example.com": failed to call webhook: Post ` +
      `"https://hook.default.svc:8443/mutate?timeout=5s": no endpoints available for service "hook"`,
  );
  await cluster.api.client({ name: "x", groups: ["system:masters"] }).create({
    resource: { group: "discovery.k8s.io", version: "v1", plural: "endpointslices" },
    namespace: "default",
  }, {
    metadata: { name: "hook-1", labels: { "kubernetes.io/service-name": "hook" } },
    addressType: "IPv4",
    ports: [{ name: "", port: server.port, protocol: "TCP" }],
    endpoints: [{ addresses: [POD_ADDRESS], conditions: { ready: true } }],
  });
  const made: Any = await client.create(at, { metadata: { name: "a" }, data: { x: "1" } });
  assertEquals(made.data, { x: "1", added: "1" });
  const url = `https://${POD_ADDRESS}:${server.port}/check`;
  await client.create(configurations("validating"), {
    metadata: { name: "v" },
    webhooks: [
      hook("v.example.com", { url, caBundle }),
      hook("w.example.com", { url }, { failurePolicy: "Ignore" }),
    ],
  });
  await assertRejects(
    () => client.create(at, { metadata: { name: "b" }, data: { bad: "1" } }),
    ApiError,
    `admission webhook "v.example.com" denied the request: bad data`,
  );
  await client.create(at, { metadata: { name: "c" }, data: { x: "1" } });
  await client.patch({ ...configurations("validating"), name: "v" }, {
    type: "json",
    body: [{ op: "replace", path: "/webhooks/1/failurePolicy", value: "Fail" }],
  });
  const failed = await assertRejects(
    () => client.create(at, { metadata: { name: "d" }, data: { x: "1" } }),
    ApiError,
  );
  assertStringIncludes(
    failed.message,
    `failed to call webhook: Post "https://${POD_ADDRESS}:${server.port}/check?timeout=5s": tls: ` +
      "failed to verify certificate: x509: certificate signed by unknown authority",
  );
  await cluster.stop();
}

const CRDS = {
  resource: { group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions" },
};

/** Converts between `spec.hostPort` (v1) and `spec.host`, `spec.port` (v2). */
function converted({ body }: Heard): Said {
  const { apiVersion, kind, request } = JSON.parse(body);
  const { uid, desiredAPIVersion, objects } = request;
  const convertedObjects = objects.map((given: Any) => {
    const { hostPort = ":", host, port } = given.spec;
    const [one, two] = hostPort.split(":");
    const spec = desiredAPIVersion.endsWith("/v1")
      ? { hostPort: `${host}:${port}` }
      : { host: one, port: two };
    return { ...given, apiVersion: desiredAPIVersion, spec };
  });
  const response = { uid, convertedObjects, result: { status: "Success" } };
  // Go's servers guess the type of an answer, and guess text
  const headers = { "content-type": "text/plain; charset=utf-8" };
  return { headers, body: JSON.stringify({ apiVersion, kind, response }) };
}

Deno.test("a conversion webhook over HTTPS: what is stored in one version is served in both", async () => {
  const cluster = await Cluster.start({ nodes: 0, clock: "real", components: ["api"] });
  const { client } = cluster;
  await using server = await tlsServer(["localhost"], converted);
  const text = { type: "string" };
  const version = (name: string, properties: object, storage = false) => ({
    name,
    served: true,
    storage,
    schema: {
      openAPIV3Schema: { type: "object", properties: { spec: { type: "object", properties } } },
    },
  });
  await client.create(CRDS, {
    metadata: { name: "things.example.com" },
    spec: {
      group: "example.com",
      scope: "Namespaced",
      names: { plural: "things", kind: "Thing" },
      versions: [
        version("v1", { hostPort: text }, true),
        version("v2", { host: text, port: text }),
      ],
      conversion: {
        strategy: "Webhook",
        webhook: {
          clientConfig: {
            url: `https://localhost:${server.port}/convert`,
            caBundle: btoa(server.ca),
          },
          conversionReviewVersions: ["v1", "v1beta1"],
        },
      },
    },
  });
  for await (const events of await client.watch(CRDS)) {
    // A new one's conditions are null, as upstream's
    const conditions = (events.at(-1)!.object as Any).status?.conditions ?? [];
    if (conditions.some((c: Any) => c.type === "Established" && c.status === "True")) break;
  }
  const things = (name: string) => ({
    resource: { group: "example.com", version: name, plural: "things" },
    namespace: "default",
  });
  const made = (name: string, spec: object) => ({
    apiVersion: `example.com/${name}`,
    kind: "Thing",
    metadata: { name: `made-in-${name}` },
    spec,
  });
  await client.create(things("v1"), made("v1", { hostPort: "a:1" }));
  await client.create(things("v2"), made("v2", { host: "b", port: "2" }));
  const specs = async (name: string) =>
    ((await client.list(things(name))).items as Any[]).map((item) => item.spec);
  assertEquals(await specs("v1"), [{ hostPort: "a:1" }, { hostPort: "b:2" }]);
  assertEquals(await specs("v2"), [{ host: "a", port: "1" }, { host: "b", port: "2" }]);
  await cluster.stop();
});
