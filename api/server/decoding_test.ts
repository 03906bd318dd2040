import { assert, assertEquals } from "@std/assert";
import { ManualClock } from "../../kv/mod.ts";
import type { AdmissionPlugin } from "../auth/contract.ts";
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";
import { openApi, pod, PODS } from "./fixture_test.ts";

const JOBS = { group: "batch", version: "v1", plural: "jobs" };
const DEPLOYMENTS = { group: "apps", version: "v1", plural: "deployments" };
const template = { metadata: { labels: { a: "b" } }, spec: pod("x").spec };

const KINDS = [
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

type Kind = (typeof KINDS)[number];

/** What becomes of an object whose status is written twice, sent as `form` makes it of what was read. */
async function written(
  { resource, object, status }: Kind,
  form: (read: DeepReadonly<KubeObject>) => object,
): Promise<string> {
  await using f = await openApi({ clock: new ManualClock() });
  const at = { resource, namespace: "default", name: "x" };
  let read = await f.client.create({ resource, namespace: "default" }, object);
  const write = async (next: object) => {
    const sent = { ...form(read), status: next };
    read = await f.client.update<KubeObject>({ ...at, subresource: "status" }, sent);
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
  }
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
  assertEquals(after.status.message, "scribbled");
  assertEquals(after.spec, made.spec);
  assertEquals(made.spec.containers[0].image, "nginx:1.27");
});
