/** Tests of the controller of ResourceQuotas. */
import { assertEquals, assertRejects } from "@std/assert";
import { CUSTOM_RESOURCE_DEFINITIONS, RESOURCE_QUOTAS } from "../runtime/mod.ts";
import type { Obj } from "./objects.ts";
import { resourceQuotaController } from "./resource_quota.ts";
import { LATE_WIDGETS, openWorld } from "./world_test.ts";

Deno.test("resource quota gets the limits of its spec back", async () => {
  await using world = await openWorld([resourceQuotaController]);
  await world.create(RESOURCE_QUOTAS, {
    apiVersion: "v1",
    kind: "ResourceQuota",
    metadata: { name: "q", namespace: "default" },
    spec: { hard: { cpu: "1" } },
    status: { hard: { cpu: "2" }, used: { cpu: "0" } },
  } as unknown as Obj);
  await world.settle();
  const quota = await world.get(RESOURCE_QUOTAS, "q");
  assertEquals(quota.status, { hard: { cpu: "1" }, used: { cpu: "0" } });
  assertEquals(world.log, []);
});

Deno.test("resource quota counts objects of a kind that comes later, and those that are there already", async () => {
  await using world = await openWorld([resourceQuotaController]);
  const widgets = { group: "late.example.com", version: "v1", plural: "widgets" };
  const name = "count/widgets.late.example.com";
  const quota = (of: string, most: string) =>
    world.create(RESOURCE_QUOTAS, { metadata: { name: of }, spec: { hard: { [name]: most } } });
  const used = async (of: string) => (await world.get(RESOURCE_QUOTAS, of)).status.used[name];
  await quota("early", "1");
  await world.settle();
  assertEquals(await used("early"), "0");
  await world.client.create({ resource: CUSTOM_RESOURCE_DEFINITIONS }, LATE_WIDGETS);
  await world.settle();
  const make = (called: string) =>
    world.create(widgets, {
      apiVersion: "late.example.com/v1",
      kind: "Widget",
      metadata: { name: called },
    });
  await make("a");
  await assertRejects(() => make("b"), Error, "exceeded quota: early");
  await quota("late", "5");
  await world.settle();
  assertEquals([await used("early"), await used("late")], ["1", "1"]);
});
