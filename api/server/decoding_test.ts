import { assert, assertEquals } from "@std/assert";
import { ManualClock } from "../../kv/mod.ts";
import type { AdmissionPlugin } from "../auth/contract.ts";
import type { DeepReadonly, Json, KubeObject, ResourceId } from "../machinery/types.ts";
import { openApi, pod, PODS } from "./fixture_test.ts";

const JOBS = { group: "batch", version: "v1", plural: "jobs" };
const DEPLOYMENTS = { group: "apps", version: "v1", plural: "deployments" };
const template = { metadata: { labels: { a: "b" } }, spec: pod("x").spec };

const KINDS: Kind[] = [
  { resource: PODS, object: pod("x"), status: { phase: "Running" } },
  {
    resource: JOBS,
    object: {
      metadata: { name: "x", labels: { a: "b" } },
      spec: { template: { spec: { ...template.spec, restartPolicy: "Never" } } },
    },
    status: { startTime: "2026-01-01T00:00:00Z", active: 1 },
  },
  {
    resource: DEPLOYMENTS,
    object: { metadata: { name: "x" }, spec: { selector: { matchLabels: { a: "b" } }, template } },
    status: { replicas: 1, updatedReplicas: 1 },
  },
];

const CONDITION = { lastTransitionTime: "2026-01-01T00:00:00Z", reason: "Why", message: "so" };

interface Kind {
  resource: ResourceId;
  object: object;
  status: Record<string, Json>;
}

/** What becomes of an object whose status is written twice: sent as `form` makes it of what was read, or as a patch. */
async function written(
  { resource, object, status }: Kind,
  form: "merge" | "strategic" | ((read: DeepReadonly<KubeObject>) => object),
): Promise<string> {
  await using f = await openApi({ clock: new ManualClock() });
  const target = { resource, namespace: "default", name: "x", subresource: "status" };
  let read = await f.client.create({ resource, namespace: "default" }, object);
  const write = async (next: Record<string, Json>) => {
    read = typeof form === "string"
      ? await f.client.patch<KubeObject>(target, { type: form, body: { status: next } })
      : await f.client.update<KubeObject>(target, { ...form(read), status: next });
  };
  await write(status);
  await write({ ...read.status, conditions: [{ ...CONDITION, type: "Odd", status: "True" }] });
  return JSON.stringify(read);
}

Deno.test("a status sent with the very parts that were read is stored as one sent with copies", async () => {
  for (const kind of KINDS) {
    const shared = await written(kind, (read) => read);
    assertEquals(shared, await written(kind, (read) => JSON.parse(JSON.stringify(read))));
    assert(shared.includes('"subresource":"status"'));
    for (const type of ["merge", "strategic"] as const) {
      assertEquals(await written(kind, type), shared, `${kind.resource.plural}, ${type} patch`);
    }
  }
});

Deno.test("a patch of a status leaves the rest of the object as the very thing it was", async () => {
  await using f = await openApi();
  const target = { resource: PODS, namespace: "default", name: "x", subresource: "status" };
  const made = await f.client.create({ resource: PODS, namespace: "default" }, pod("x"));
  for (const type of ["merge", "strategic"] as const) {
    const body = { metadata: { uid: made.metadata.uid }, status: { message: type } };
    const after = await f.client.patch<KubeObject>(target, { type, body });
    assertEquals(after.status.message, type);
    assert(after.spec === made.spec);
  }
});

Deno.test("a status has its defaults though its write brings no spec", async () => {
  await using f = await openApi();
  const services = { group: "", version: "v1", plural: "services" };
  const made = await f.client.create({ resource: services, namespace: "default" }, {
    metadata: { name: "x" },
    spec: { type: "LoadBalancer", ports: [{ port: 80 }] },
  });
  const target = { resource: services, namespace: "default", name: "x", subresource: "status" };
  const status = (ip: string) => ({ loadBalancer: { ingress: [{ ip }] } });
  const body = { status: status("203.0.113.1") };
  const patched = await f.client.patch<KubeObject>(target, { type: "merge", body });
  assertEquals(patched.status.loadBalancer.ingress, [{ ip: "203.0.113.1", ipMode: "VIP" }]);
  assertEquals(patched.spec, made.spec);
  const sent = { ...patched, status: status("203.0.113.2") };
  const updated = await f.client.update<KubeObject>(target, sent);
  assertEquals(updated.status.loadBalancer.ingress, [{ ip: "203.0.113.2", ipMode: "VIP" }]);
});

Deno.test("a status write's spec counts for nothing, whoever it is from", async () => {
  await using f = await openApi();
  const at = { resource: PODS, namespace: "default", name: "x" };
  const made = await f.client.create({ resource: PODS, namespace: "default" }, pod("x"));
  const other = { ...made.spec, nodeName: "elsewhere" };
  const status = { phase: "Running" };
  const after = await f.client.update<KubeObject>({ ...at, subresource: "status" }, {
    ...made,
    spec: other,
    status,
  });
  assertEquals(after.spec, made.spec);
  assertEquals(after.status.phase, "Running");
});

Deno.test("what shares parts with the stored object is a mutating plugin's to change, and the stored one is not", async () => {
  const plugin: AdmissionPlugin = {
    name: "Scribbler",
    handles: ({ subresource }) => subresource === "status",
    mutate({ object }) {
      object!.spec.containers[0].image = "scribbled";
      object!.status.message = "scribbled";
    },
  };
  await using f = await openApi({ admission: [plugin] });
  const at = { resource: PODS, namespace: "default", name: "x" };
  const made = await f.client.create({ resource: PODS, namespace: "default" }, pod("x"));
  const after = await f.client.update<KubeObject>({ ...at, subresource: "status" }, {
    ...made,
    status: { phase: "Running" },
  });
  const patched = await f.client.patch<KubeObject>({ ...at, subresource: "status" }, {
    type: "strategic",
    body: { status: { phase: "Running", message: "not this" } },
  });
  for (const { status, spec } of [after, patched]) {
    assertEquals(status.message, "scribbled");
    assertEquals(spec, made.spec);
  }
  assertEquals(made.spec.containers[0].image, "nginx:1.27");
});
