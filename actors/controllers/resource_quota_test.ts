/** Tests of the controller of ResourceQuotas. */
import { assertEquals } from "@std/assert";
import { RESOURCE_QUOTAS } from "../runtime/mod.ts";
import type { Obj } from "./objects.ts";
import { resourceQuotaController } from "./resource_quota.ts";
import { openWorld } from "./world_test.ts";

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
