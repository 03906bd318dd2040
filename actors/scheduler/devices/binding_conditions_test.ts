import { assertEquals } from "@std/assert";
import type { KubeObject } from "../../../api/machinery/types.ts";
import { awaitedOf, readinessOf } from "./binding_conditions.ts";

const NOW = Date.UTC(2026, 0, 1, 0, 5);
const device = { driver: "d", pool: "p", device: "a" };
const awaited = {
  ...device,
  bindingConditions: ["Up", "Wired"],
  bindingFailureConditions: ["Bad"],
};

function claim(results: object[], conditions?: Record<string, string>): KubeObject {
  const said = Object.entries(conditions ?? {}).map(([type, status]) => ({ type, status }));
  return {
    metadata: { name: "c" },
    status: {
      allocation: { allocationTimestamp: "2026-01-01T00:00:00Z", devices: { results } },
      ...(conditions && { devices: [{ ...device, conditions: said }] }),
    },
  } as unknown as KubeObject;
}

Deno.test("devices are there when all that they bind by is said of them, and nothing of what ends it", () => {
  const of = (conditions?: Record<string, string>, msMax = 600_000) =>
    readinessOf(claim([awaited], conditions), NOW, msMax);
  assertEquals(of(), false);
  assertEquals(of({ Up: "True" }), false);
  assertEquals(of({ Up: "True", Wired: "Unknown" }), false);
  assertEquals(of({ Up: "True", Wired: "True", Bad: "False" }), true);
  assertEquals(
    of({ Up: "True", Wired: "True", Bad: "True" }),
    'device binding failed: claim=c, reason=, message=""',
  );
  assertEquals(of({ Up: "True" }, 60_000), "device binding timeout: claim=c");
  assertEquals(of({ Up: "True", Wired: "True" }, 60_000), true, "late, but there");
});

Deno.test("what binds by nothing is there at once; a claim without an allocation is not", () => {
  assertEquals(readinessOf(claim([device]), NOW, 1_000), true);
  assertEquals(readinessOf({ metadata: { name: "c" } } as KubeObject, NOW, 1_000), false);
  assertEquals(awaitedOf(claim([device, awaited]).status.allocation), [awaited]);
  assertEquals(awaitedOf(undefined), []);
});
