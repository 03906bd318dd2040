import { assertEquals } from "@std/assert";
import { Standing } from "./standing.ts";

Deno.test("Standing keeps the order of those who are there, whoever leaves", () => {
  const standing = new Standing<string>();
  const [a, b, c] = ["a", "b", "c"].map((name) => standing.add(name));
  assertEquals([...standing], ["a", "b", "c"]);
  standing.remove(b);
  standing.remove(b);
  assertEquals([[...standing], standing.size], [["a", "c"], 2]);
  assertEquals([b.value, b.before, b.after], [undefined, undefined, undefined]);
  standing.add("d");
  standing.remove(a);
  for (const name of standing) if (name === "c") standing.remove(c);
  assertEquals([[...standing], standing.size], [["d"], 1]);
});
