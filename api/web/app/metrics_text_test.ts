import { assertEquals } from "@std/assert";
import { quantileBetween, seriesOf, sumOf } from "./metrics_text.ts";

const TEXT = `# HELP a_total x
a_total{code="200",verb="GET"} 10
a_total{code="500",verb="GET"} 2
a_total_more 5
plain 1.5
b_bucket{le="0.1"} 90
b_bucket{le="1"} 99
b_bucket{le="+Inf"} 100
`;

Deno.test("seriesOf() takes names that are asked for, and no others that begin so", () => {
  const found = seriesOf(TEXT, new Set(["a_total", "plain", "none"]));
  assertEquals(sumOf(found.get("a_total")), 12);
  assertEquals(sumOf(found.get("a_total"), /code="5/), 2);
  assertEquals(sumOf(found.get("plain")), 1.5);
  assertEquals(sumOf(found.get("none")), 0);
});

Deno.test("quantileBetween() counts what came between two readings", () => {
  const after = seriesOf(TEXT, new Set(["b_bucket"])).get("b_bucket")!;
  assertEquals(quantileBetween(undefined, after, 0.5), 0.1);
  assertEquals(quantileBetween(undefined, after, 0.99), 1);
  assertEquals(quantileBetween(undefined, after, 1), 1, "no more is known than the last bound");
  assertEquals(quantileBetween(after, after, 0.5), undefined);
});
