import { assertEquals } from "@std/assert";
import { resourceValue } from "./fields.ts";
import type { Pod } from "./types.ts";
import { memoryLimit } from "./volumes/empty_dir.ts";

const facts = {
  hostIPs: [],
  podIPs: [],
  allocatable: { cpu: "4", memory: "8Gi", "hugepages-2Mi": "1Gi" },
};
const own = { limits: { memory: "32Mi" } };
const pod = (limits: object | undefined, resources: object = {}) =>
  ({
    spec: { resources: limits && { limits }, containers: [{ name: "c", resources }] },
  }) as unknown as Pod;

Deno.test("a limit that a container does not name is its pod's, or else the node's", () => {
  const cases: [string, Pod, string][] = [
    ["limits.memory", pod({ memory: "64Mi" }, own), `${32 * 2 ** 20}`],
    ["limits.memory", pod({ memory: "64Mi" }, { limits: { memory: "0" } }), `${64 * 2 ** 20}`],
    ["limits.cpu", pod({ cpu: "1250m" }), "2"],
    ["limits.cpu", pod({ memory: "64Mi" }), "4"],
    ["limits.cpu", pod(undefined), "4"],
    // Nobody has huge pages that were not asked for
    ["limits.hugepages-2Mi", pod({ "hugepages-2Mi": "4Mi" }), "0"],
    ["requests.memory", pod({ memory: "64Mi" }), "0"],
  ];
  for (const [resource, of, expected] of cases) {
    assertEquals(resourceValue(of, of.spec.containers[0], { resource }, facts), expected, resource);
  }
});

Deno.test("a folder in memory is no larger than what its pod may use", () => {
  const mib = (size: number) => size * 2 ** 20;
  assertEquals(memoryLimit(pod({ memory: "64Mi" }), undefined, "8Gi"), mib(64));
  assertEquals(memoryLimit(pod({ memory: "64Mi" }), "16Mi", "8Gi"), mib(16));
  assertEquals(memoryLimit(pod(undefined, own), undefined, "8Gi"), mib(32));
  assertEquals(memoryLimit(pod(undefined), undefined, "8Gi"), mib(8192));
});
