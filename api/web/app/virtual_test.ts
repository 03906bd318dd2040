import { assert, assertEquals } from "@std/assert";
import { seenOf } from "./parts/virtual.tsx";

Deno.test("seenOf() makes only what can be seen and a little around it, whatever the count", () => {
  for (const count of [0, 1, 5, 10_000, 2_000_000]) {
    const height = seenOf({ count, rowHeight: 36, top: 0, view: 600 }).height;
    for (const part of [0, 0.3, 0.999, 1]) {
      const top = Math.max(0, height - 600) * part;
      const { first, last, offset } = seenOf({ count, rowHeight: 36, top, view: 600 });
      assert(last - first <= 34, `${count} ${part}: ${last - first}`);
      // What is seen is filled with rows
      assert(
        offset <= top || first === 0,
        `${count} ${part}: begins at ${offset}, seen from ${top}`,
      );
      const end = offset + (last - first) * 36;
      assert(end >= Math.min(top + 600, count * 36) - 1, `${count} ${part}: ends at ${end}`);
      if (part === 1) assertEquals(last, count);
    }
  }
});
