/** Tests of what ControllerRevisions keep. */
import { assertEquals } from "@std/assert";
import { dataOf } from "./revisions.ts";
import type { Obj } from "./objects.ts";

Deno.test("a revision keeps the template with its names in order", () => {
  const template = { spec: { containers: [{ name: "c", image: "i" }] }, metadata: { labels: {} } };
  assertEquals(
    JSON.stringify(dataOf({ metadata: { name: "d" }, spec: { template } } as unknown as Obj)),
    '{"spec":{"template":{"$patch":"replace","metadata":{"labels":{}},' +
      '"spec":{"containers":[{"image":"i","name":"c"}]}}}}',
  );
});
