import { assertEquals, assertMatch } from "@std/assert";
import type { ResourceId } from "../../api/machinery/types.ts";
import { openWorld, type World } from "./world_test.ts";

const dra = (plural: string): ResourceId => ({ group: "resource.k8s.io", version: "v1", plural });
const CLAIMS = dra("resourceclaims");
const DRIVER = "gpu.example.com";

async function deviceClass(w: World): Promise<void> {
  await w.create(dra("deviceclasses"), {
    metadata: { name: "gpu" },
    spec: { selectors: [{ cel: { expression: `device.driver == "${DRIVER}"` } }] },
  });
}

async function slice(w: World, node: string, devices: object[]): Promise<void> {
  await w.create(dra("resourceslices"), {
    metadata: { name: node },
    spec: {
      driver: DRIVER,
      nodeName: node,
      pool: { name: node, generation: 1, resourceSliceCount: 1 },
      devices,
    },
  });
}

const gpu = (name: string, model = "x") => ({ name, attributes: { model: { string: model } } });

async function claim(w: World, name: string, exactly: object = {}): Promise<void> {
  await w.create(CLAIMS, {
    metadata: { name },
    spec: {
      devices: { requests: [{ name: "r", exactly: { deviceClassName: "gpu", ...exactly } }] },
    },
  }, "default");
}

const claims = (name: string) => ({
  resourceClaims: [{ name: "gpu", resourceClaimName: name }],
  containers: [{ name: "c", image: "x", resources: { claims: [{ name: "gpu" }] } }],
});

Deno.test("a pod goes where its claim can be had; the allocation and who uses it are written before it is bound", async () => {
  await using w = await openWorld();
  for (const name of ["a", "b"]) await w.node(name);
  await deviceClass(w);
  await slice(w, "a", [gpu("g1", "small")]);
  await slice(w, "b", [gpu("g1", "large")]);
  await claim(w, "large", {
    selectors: [{ cel: { expression: `device.attributes["${DRIVER}"].model == "large"` } }],
  });
  const p = await w.pod("p", claims("large"));
  await w.settle(3_000);
  assertEquals(await w.places(), ["p: b"]);
  const { status, metadata } = await w.get(CLAIMS, "large", "default");
  assertEquals(status.allocation.devices.results, [
    { request: "r", driver: DRIVER, pool: "b", device: "g1" },
  ]);
  assertEquals(status.reservedFor, [{ resource: "pods", name: "p", uid: p.metadata.uid }]);
  assertEquals(metadata.finalizers, ["resource.kubernetes.io/delete-protection"]);
  // Who shares an allocated claim goes where it is, and is noted as well
  await w.pod("q", claims("large"));
  await w.settle(3_000);
  assertEquals(await w.places(), ["p: b", "q: b"]);
  const shared = await w.get(CLAIMS, "large", "default");
  assertEquals(shared.status.reservedFor.map((user: { name: string }) => user.name), ["p", "q"]);
});

Deno.test("no device is given twice, however many pods come at once; a claim that is freed lets the next one in", async () => {
  await using w = await openWorld();
  await w.node("a");
  await deviceClass(w);
  await slice(w, "a", [gpu("g1"), gpu("g2")]);
  for (const name of ["c1", "c2", "c3"]) await claim(w, name);
  for (const name of ["c1", "c2", "c3"]) await w.pod(name, claims(name));
  await w.settle(5_000);
  const devices: string[] = [];
  for (const name of ["c1", "c2", "c3"]) {
    const { status } = await w.get(CLAIMS, name, "default");
    devices.push(status?.allocation?.devices.results[0].device ?? "-");
  }
  assertEquals(devices.sort(), ["-", "g1", "g2"]);
  const waiting = (await w.places()).filter((place) => place.includes("Unschedulable"));
  assertEquals(waiting.length, 1);
  assertMatch(
    waiting[0],
    /0\/1 nodes are available: 1 cannot allocate all claims\. still not schedulable, preemption: /,
  );
  // The controller frees what its pods have left: here by hand
  const free = (await w.places()).find((place) => place.endsWith(": a"))!.split(":")[0];
  const held = await w.get(CLAIMS, free, "default");
  const target = { resource: CLAIMS, namespace: "default", name: free, subresource: "status" };
  const body: unknown = { ...held, status: {} };
  await w.client.update(target, body as never);
  await w.settle(15_000);
  assertEquals((await w.places()).filter((place) => place.endsWith(": a")).length, 3);
});

Deno.test("a selector that runs into an error on one node keeps its pod from all", async () => {
  await using w = await openWorld();
  for (const name of ["a", "b"]) await w.node(name);
  await deviceClass(w);
  await slice(w, "a", [{ name: "g1", attributes: { exists: { bool: true } } }]);
  await slice(w, "b", [gpu("g1")]);
  await claim(w, "c", {
    selectors: [{ cel: { expression: `device.attributes["${DRIVER}"].exists` } }],
  });
  await w.pod("p", claims("c"));
  await w.settle(3_000);
  assertMatch(
    (await w.places())[0],
    /^p: SchedulerError: running "DynamicResources" filter plugin: claim default\/c: selector #0: CEL runtime error: no such key: exists$/,
  );
  const { now } = await w.explain("p");
  assertEquals(now.matrix.map(({ refusals }) => refusals.length), [0, 1]);
});

Deno.test("claims share a device as far as its capacity goes", async () => {
  await using w = await openWorld();
  await w.node("a");
  await deviceClass(w);
  const nic = {
    name: "nic",
    allowMultipleAllocations: true,
    capacity: { bandwidth: { value: "10G" } },
  };
  await slice(w, "a", [nic]);
  for (const [name, bandwidth] of [["c1", "6G"], ["c2", "4G"], ["c3", "1G"]]) {
    await claim(w, name, { capacity: { requests: { bandwidth } } });
    await w.pod(name, claims(name));
    await w.settle(2_000);
  }
  const places = await w.places();
  assertEquals(places.slice(0, 2), ["c1: a", "c2: a"]);
  assertMatch(places[2], /cannot allocate all claims/);
  const shares: string[] = [];
  for (const name of ["c1", "c2"]) {
    const [result] = (await w.get(CLAIMS, name, "default")).status.allocation.devices.results;
    assertEquals(result.consumedCapacity, { bandwidth: name === "c1" ? "6G" : "4G" });
    shares.push(result.shareID);
  }
  assertEquals(new Set(shares).size, 2);
});

Deno.test("without binding conditions a device that has some is given to nobody, and no time of giving is told", async () => {
  await using w = await openWorld({ features: new Map([["DRADeviceBindingConditions", false]]) });
  for (const name of ["a", "b"]) await w.node(name);
  await deviceClass(w);
  await slice(w, "a", [{
    ...gpu("g1"),
    bindingConditions: ["there"],
    bindingFailureConditions: ["broken"],
  }]);
  await slice(w, "b", [gpu("g1")]);
  for (const name of ["c1", "c2"]) {
    await claim(w, name);
    await w.pod(name, claims(name));
  }
  await w.settle(3_000);
  const places = await w.places();
  assertEquals(places.filter((place) => place.endsWith(": b")).length, 1);
  assertEquals(places.filter((place) => place.includes("Unschedulable")).length, 1);
  for (const { status } of (await w.client.list({ resource: CLAIMS })).items) {
    assertEquals(status?.allocation?.allocationTimestamp, undefined);
  }
});

Deno.test("a pod waits outside the queue for its claim, and for its claim's class", async () => {
  await using w = await openWorld();
  await w.node("a");
  await slice(w, "a", [gpu("g1")]);
  await w.pod("p", claims("c"));
  await w.settle();
  const told = await w.explain("p");
  assertEquals(told.queue, "gated");
  assertEquals(told.wouldFit[0].what, 'not: resourceclaim.resource.k8s.io "c" not found');
  await claim(w, "c");
  await w.settle();
  assertMatch((await w.places())[0], /request r: device class gpu does not exist/);
  await deviceClass(w);
  await w.settle(15_000);
  assertEquals(await w.places(), ["p: a"]);
});

Deno.test("an allocated claim that no pod uses is taken back where its pod cannot go", async () => {
  await using w = await openWorld();
  await w.node("a");
  await w.node("b");
  await deviceClass(w);
  await slice(w, "a", [gpu("g1")]);
  await slice(w, "b", [gpu("g1")]);
  await claim(w, "c");
  await w.pod("first", claims("c"));
  await w.settle(3_000);
  const place = (await w.places())[0].split(": ")[1];
  const other = place === "a" ? "b" : "a";
  await w.client.delete({
    resource: { group: "", version: "v1", plural: "pods" },
    namespace: "default",
    name: "first",
  }, { gracePeriodSeconds: 0 });
  await w.settle();
  const fresh = await w.get(CLAIMS, "c", "default");
  const body: unknown = { ...fresh, status: { ...fresh.status, reservedFor: undefined } };
  await w.client.update(
    { resource: CLAIMS, namespace: "default", name: "c", subresource: "status" },
    body as never,
  );
  await w.settle();
  const picky = { ...claims("c"), nodeSelector: { "kubernetes.io/hostname": other } };
  await w.pod("second", picky);
  await w.settle(15_000);
  assertEquals(await w.places(), [`second: ${other}`]);
});
