import { assertEquals } from "@std/assert";
import { NODES } from "../runtime/mod.ts";
import { stepFor, ttlController } from "./ttl.ts";
import { openWorld } from "./world_test.ts";

Deno.test("stepFor() goes up beyond a step's size and down only well below it", () => {
  const sizes = [1, 100, 101, 95, 89, 501, 460, 449, 5000, 1799];
  const steps: number[] = [];
  for (const size of sizes) steps.push(stepFor(size, steps.at(-1) ?? 0));
  assertEquals(steps, [0, 0, 1, 1, 0, 2, 2, 1, 4, 3]);
});

Deno.test("ttl annotates each node, whatever somebody else wrote there", async () => {
  await using world = await openWorld([ttlController]);
  const annotations = { "node.alpha.kubernetes.io/ttl": "soon", "a": "b" };
  await world.create(NODES, { metadata: { name: "n", annotations } }, "");
  await world.settle();
  assertEquals((await world.get(NODES, "n", "")).metadata.annotations, {
    "node.alpha.kubernetes.io/ttl": "0",
    "a": "b",
  });
});

Deno.test("ttl writes each node once however fast the cluster grows, and all again at another size", async () => {
  await using world = await openWorld([ttlController]);
  let written = 0;
  world.informers.for(NODES).subscribe(({ old, object }) => {
    if (old && object && old.metadata.annotations !== object.metadata.annotations) written++;
  });
  const grow = async (from: number, to: number) => {
    for (let i = from; i < to; i++) await world.create(NODES, { metadata: { name: `n${i}` } }, "");
    await world.settle(10_000);
  };
  await grow(0, 101);
  assertEquals(written, 101);
  await grow(101, 501);
  assertEquals(written, 101 + 501);
  const [first] = await world.list(NODES);
  assertEquals(first.metadata.annotations!["node.alpha.kubernetes.io/ttl"], "30");
});
