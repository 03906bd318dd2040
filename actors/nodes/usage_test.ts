import { assertEquals } from "@std/assert";
import type { ContainerRecord } from "./container_record.ts";
import { annotatedUsage, withTimeUsed } from "./usage.ts";
import type { Pod } from "./types.ts";

const measured = { cpuNanoseconds: 0, cpuNanoCores: 7, memoryBytes: 9, workingSetBytes: 9 };
const usage = (annotations: Record<string, string>) => {
  const pod = { metadata: { name: "p", annotations } } as unknown as Pod;
  const { cpuNanoCores, workingSetBytes } = annotatedUsage(pod, "c", measured);
  return [cpuNanoCores, workingSetBytes];
};

Deno.test("annotatedUsage() takes what the pod's annotations say, its container's own first, and no nonsense", () => {
  assertEquals(usage({}), [7, 9]);
  assertEquals(usage({ "plesio.dev/usage": "cpu=250m, memory=1Ki" }), [250_000_000, 1024]);
  assertEquals(usage({ "plesio.dev/usage": "cpu=1", "plesio.dev/usage.c": "memory=2Ki" }), [
    7,
    2048,
  ]);
  assertEquals(usage({ "plesio.dev/usage": "cpu=lots,memory=-1,disk" }), [7, 9]);
});

Deno.test("withTimeUsed() adds up what a simulated container uses, and begins anew with its next life", () => {
  const record = { startedAt: 1000 } as ContainerRecord;
  const at = (now: number, cores: number) =>
    withTimeUsed(record, { ...measured, cpuNanoCores: cores * 1e9 }, now).cpuNanoseconds / 1e9;
  assertEquals(at(3000, 0.5), 1);
  assertEquals(at(4000, 2), 3);
  // It never goes back, whatever is said from now on
  assertEquals(at(5000, 0), 3);
  assertEquals(at(4500, 1), 3);
  record.startedAt = 10_000;
  assertEquals(at(11_000, 1), 1);
});
