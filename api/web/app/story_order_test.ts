import { assertEquals } from "@std/assert";
import { inOrder, partsOf } from "./story_order.ts";

Deno.test("inOrder() puts each hop below the one that it reacted to", () => {
  const hop = (revision: number, because?: number) => ({ revision, because }) as never;
  const placed = inOrder([hop(1), hop(2, 1), hop(3, 1), hop(4, 2), hop(5), hop(6, 99)]);
  assertEquals(placed.map(({ hop, depth }) => [hop.revision, depth]), [
    [1, 0],
    [2, 1],
    [4, 2],
    [3, 1],
    [5, 0],
    [6, 0],
  ]);
});

Deno.test("partsOf() tells who came in when", () => {
  const hop = (part: string, sinceMs: number) => ({ part, sinceMs }) as never;
  assertEquals(partsOf([hop("API server", 0), hop("scheduler", 3), hop("API server", 9)]), [
    { part: "API server", sinceMs: 0, count: 2 },
    { part: "scheduler", sinceMs: 3, count: 1 },
  ]);
});
