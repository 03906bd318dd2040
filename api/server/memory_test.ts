/** When a server gives memory back. */
import { assertEquals } from "@std/assert";
import { GROWN_BYTES_MIN, GROWN_SHARE_MIN, memoryGiver } from "./memory.ts";

Deno.test("memory is given back when the heap has grown by enough bytes, and by a part of what it is", () => {
  const process = { bytes: 0, collections: 0, leaves: 0 };
  const giveBack = memoryGiver({
    heapBytes: () => process.bytes,
    collect: () => {
      process.collections++;
      process.bytes = process.leaves;
    },
  });
  const at = (bytes: number, leaves: number) => {
    Object.assign(process, { bytes, leaves });
    giveBack();
    return process.collections;
  };
  const small = 10 * 1024 * 1024;
  assertEquals(at(GROWN_BYTES_MIN - 1, small), 0);
  assertEquals(at(GROWN_BYTES_MIN, small), 1);
  assertEquals(at(small + GROWN_BYTES_MIN - 1, small), 1);
  const large = 1_300_000_000;
  assertEquals(at(2 * large, large), 2);
  assertEquals(at(large + GROWN_BYTES_MIN, large), 2, "a small part of a large heap");
  assertEquals(at(large * (1 + GROWN_SHARE_MIN) - 1, large), 2);
  assertEquals(at(large * (1 + GROWN_SHARE_MIN), large), 3);
});

Deno.test("where nobody may ask for a collection nothing is looked at", () => {
  const giveBack = memoryGiver({
    heapBytes: () => {
      throw new Error("looked at");
    },
    collect: undefined,
  });
  giveBack();
});
