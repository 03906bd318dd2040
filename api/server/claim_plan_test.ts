/** Services, their addresses and ports, and the validating plugins that look at them. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import type { Admission, AdmissionPlugin } from "../auth/contract.ts";
import { ApiError } from "../machinery/types.ts";
import { core, openApi } from "./fixture_test.ts";

const at = { resource: core("services"), namespace: "default" };

function service(name: string, spec: object = {}) {
  return { metadata: { name }, spec: { ports: [{ port: 80 }], ...spec } };
}

/** A validating plugin that writes down what it is shown of each Service. */
function judge(also: (a: Admission) => Promise<void> | void = () => undefined) {
  // deno-lint-ignore no-explicit-any -- specs of Services
  const seen: any[] = [];
  const plugin: AdmissionPlugin = {
    name: "Judge",
    handles: ({ kind }) => kind.plural === "services",
    async validate(a) {
      seen.push(structuredClone(a.object!.spec));
      await also(a);
    },
  };
  return { seen, admission: [plugin] };
}

Deno.test("validating admission is shown the addresses and ports that a Service gets", async () => {
  const { seen, admission } = judge();
  await using f = await openApi({ admission });
  const made = await f.client.create(at, service("a", { type: "NodePort" }));
  assertMatch(seen[0].clusterIP, /^10\./);
  assertEquals(seen[0].clusterIPs, [seen[0].clusterIP]);
  assert(seen[0].ports[0].nodePort >= 30_000);
  assertEquals(structuredClone(made.spec), seen[0]);
  const balanced = await f.client.patch({ ...at, name: "a" }, {
    type: "merge",
    body: { spec: { type: "LoadBalancer", externalTrafficPolicy: "Local" } },
  });
  assert(seen[1].healthCheckNodePort >= 30_000);
  assertEquals(structuredClone(balanced.spec), seen[1]);
});

Deno.test("validating admission is shown headless and external Services as they are", async () => {
  const { seen, admission } = judge();
  await using f = await openApi({ admission });
  await f.client.create(at, service("headless", { clusterIP: "None" }));
  assertEquals([seen[0].clusterIP, seen[0].clusterIPs], ["None", ["None"]]);
  await f.client.create(at, service("away", { type: "ExternalName", externalName: "a.example" }));
  assertEquals([seen[1].clusterIP, seen[1].clusterIPs], [undefined, undefined]);
});

Deno.test("a dry run shows claims and keeps none", async () => {
  const { seen, admission } = judge();
  await using f = await openApi({ admission });
  const dry = await f.client.create(at, service("a"), { dryRun: true });
  assertEquals(dry.spec.clusterIP, seen[0].clusterIP);
  await f.client.create(at, service("b", { clusterIP: dry.spec.clusterIP }));
});

Deno.test("judges are asked again when another write took what they were shown", async () => {
  const { seen, admission } = judge(async ({ name, object }) => {
    if (name !== "slow" || seen.length > 1) return;
    const { clusterIP, ports } = object!.spec;
    const nodePort = ports[0].nodePort;
    const quick = service("quick", { type: "NodePort", clusterIP, ports: [{ port: 1, nodePort }] });
    await f.client.create(at, quick);
  });
  await using f = await openApi({ admission });
  const slow = await f.client.create(at, service("slow", { type: "NodePort" }));
  assertEquals(seen.length, 3);
  const [first, quick, second] = seen;
  assertEquals(quick.clusterIP, first.clusterIP);
  assert(second.clusterIP !== first.clusterIP);
  assert(second.ports[0].nodePort !== first.ports[0].nodePort);
  assertEquals(structuredClone(slow.spec), second);
});

Deno.test("judges are asked 100 times at most; then the write is refused", async () => {
  let asked = 0;
  const { admission } = judge(async ({ name, object }) => {
    if (name !== "slow") return;
    asked++;
    const { clusterIP } = object!.spec;
    await f.client.create(at, service(`quick-${asked}`, { clusterIP }));
  });
  await using f = await openApi({ admission });
  const error = await assertRejects(() => f.client.create(at, service("slow")), ApiError);
  assertMatch(error.message, /provided IP is already allocated/);
  assertEquals(asked, 100);
});

Deno.test("an update of a version that stands is not refused for a lost plan", async () => {
  const { seen, admission } = judge(async ({ name, object, operation }) => {
    if (name !== "a" || operation !== "UPDATE" || seen.length > 2) return;
    const nodePort = object!.spec.ports[0].nodePort;
    await f.client.create(at, service("b", { type: "NodePort", ports: [{ port: 1, nodePort }] }));
  });
  await using f = await openApi({ admission });
  const made = await f.client.create(at, service("a"));
  const wanted = structuredClone(made);
  const next = { ...wanted, spec: { ...wanted.spec, type: "NodePort" } };
  const updated = await f.client.update({ ...at, name: "a" }, next);
  assertEquals(seen.length, 4);
  assertEquals(structuredClone(updated.spec), seen[3]);
});

Deno.test("no address is given twice when many are planned at once in a small range", async () => {
  const { seen, admission } = judge();
  await using f = await openApi({ admission, serviceRange: "10.0.0.0/27" });
  const results = await Promise.allSettled(
    Array.from({ length: 40 }, (_, i) => f.client.create(at, service(`s${i}`))),
  );
  const made = results.filter((result) => result.status === "fulfilled").map(({ value }) => value);
  const addresses = made.map(({ spec }) => spec.clusterIP as string);
  assertEquals(new Set(addresses).size, addresses.length);
  // All that are given unasked are found, by judging again what crossed another write
  assertEquals(addresses.length, 22);
  for (const { spec } of made) assert(seen.some(({ clusterIP }) => clusterIP === spec.clusterIP));
  for (const result of results) {
    if (result.status === "rejected") assertMatch(result.reason.message, /range is full/);
  }
});
