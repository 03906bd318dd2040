import { assertEquals } from "@std/assert";
import { annotatedUsage } from "./usage.ts";
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
