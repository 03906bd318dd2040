import { assertEquals, assertMatch } from "@std/assert";
import { PODS, RESOURCE_CLAIM_TEMPLATES, RESOURCE_CLAIMS } from "../runtime/mod.ts";
import { resourceClaimController } from "./resource_claim.ts";
import { openWorld, type World } from "./world_test.ts";

const REQUEST = { name: "r", exactly: { deviceClassName: "gpu" } };

function pod(name: string, claim: Record<string, string>) {
  return {
    metadata: { name },
    spec: {
      containers: [{ name: "c", image: "x", resources: { claims: [{ name: "gpu" }] } }],
      resourceClaims: [{ name: "gpu", ...claim }],
    },
  };
}

async function template(w: World): Promise<void> {
  await w.create(RESOURCE_CLAIM_TEMPLATES, {
    metadata: { name: "gpu" },
    spec: { metadata: { labels: { a: "b" } }, spec: { devices: { requests: [REQUEST] } } },
  });
}

/** As the scheduler writes it. */
async function allocated(w: World, name: string, users: { name: string; uid: string }[]) {
  const claim = await w.get(RESOURCE_CLAIMS, name);
  const target = { resource: RESOURCE_CLAIMS, namespace: "default", name };
  const held: unknown = {
    ...claim,
    metadata: { ...claim.metadata, finalizers: ["resource.kubernetes.io/delete-protection"] },
  };
  const fresh: unknown = await w.client.update(target, held as never);
  const device = { driver: "d.example.com", pool: "p", device: "g" };
  const status = {
    allocation: { devices: { results: [{ request: "r", ...device }] } },
    devices: [device],
    reservedFor: users.map((user) => ({ resource: "pods", ...user })),
  };
  const body: unknown = { ...fresh as object, status };
  await w.client.update({ ...target, subresource: "status" }, body as never);
}

Deno.test("a pod's claim is made from its template, noted in its status, and made again when it is lost", async () => {
  await using w = await openWorld([resourceClaimController]);
  await w.create(PODS, pod("p", { resourceClaimTemplateName: "gpu" }));
  await w.settle();
  assertEquals((await w.events()).slice(0, 1), [
    "Warning FailedResourceClaimCreation PodResourceClaim gpu: resource claim template " +
    '"gpu": resourceclaimtemplate.resource.k8s.io "gpu" not found',
  ]);
  await template(w);
  await w.settle();
  const [claim] = await w.list(RESOURCE_CLAIMS, "default");
  assertMatch(claim.metadata.name, /^p-gpu-.{5}$/);
  const p = await w.get(PODS, "p");
  assertEquals(p.status.resourceClaimStatuses, [
    { name: "gpu", resourceClaimName: claim.metadata.name },
  ]);
  const { labels, annotations, ownerReferences } = claim.metadata;
  assertEquals([labels, annotations, ownerReferences?.[0].uid], [
    { a: "b" },
    { "resource.kubernetes.io/pod-claim-name": "gpu" },
    p.metadata.uid,
  ]);
  const { name } = claim.metadata;
  await w.client.delete({ resource: RESOURCE_CLAIMS, namespace: "default", name });
  await w.settle();
  const [again] = await w.list(RESOURCE_CLAIMS, "default");
  assertEquals(
    (await w.get(PODS, "p")).status.resourceClaimStatuses[0].resourceClaimName,
    again.metadata.name,
  );
  assertEquals(again.metadata.name !== name, true);
});

Deno.test("a claim that the last pod has left is deallocated; one that was made for it goes", async () => {
  await using w = await openWorld([resourceClaimController]);
  await template(w);
  await w.create(RESOURCE_CLAIMS, {
    metadata: { name: "shared" },
    spec: { devices: { requests: [REQUEST] } },
  });
  const one = await w.create(PODS, pod("one", { resourceClaimName: "shared" }));
  const two = await w.create(PODS, pod("two", { resourceClaimTemplateName: "gpu" }));
  const { metadata: { uid } } = one;
  await w.settle();
  const own = (await w.get(PODS, "two")).status.resourceClaimStatuses[0].resourceClaimName;
  await allocated(w, "shared", [{ name: "one", uid }, { name: "two", uid: two.metadata.uid }]);
  await allocated(w, own, [{ name: "two", uid: two.metadata.uid }]);
  await w.podIs(await w.get(PODS, "two"), "Succeeded");
  await w.settle();
  const shared = await w.get(RESOURCE_CLAIMS, "shared");
  assertEquals(shared.status.reservedFor.map((user: { name: string }) => user.name), [
    "one",
    "two",
  ]);
  assertEquals((await w.list(RESOURCE_CLAIMS, "default")).map((c) => c.metadata.name), ["shared"]);
  await w.client.delete({ resource: PODS, namespace: "default", name: "one" });
  await w.settle();
  // Pod two never said that it uses the shared one, but is done: it is looked at when something else is
  const left = await w.get(RESOURCE_CLAIMS, "shared");
  assertEquals([left.status, left.metadata.finalizers], [{}, undefined]);
});

Deno.test("a pod that was bound without the scheduler has its claim reserved", async () => {
  await using w = await openWorld([resourceClaimController]);
  await w.create(RESOURCE_CLAIMS, {
    metadata: { name: "shared" },
    spec: { devices: { requests: [REQUEST] } },
  });
  const p = await w.create(PODS, pod("p", { resourceClaimName: "shared" }));
  await w.podIs(p, "Running");
  await allocated(w, "shared", []);
  await w.settle();
  const claim = await w.get(RESOURCE_CLAIMS, "shared");
  assertEquals(claim.status.reservedFor, [
    { resource: "pods", name: "p", uid: p.metadata.uid },
  ]);
});
