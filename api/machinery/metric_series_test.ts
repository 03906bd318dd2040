import { assertEquals } from "@std/assert";
import { Counter, Duration, SERIES_MAX } from "./metric_series.ts";

Deno.test("Counter counts by labels, and quotes them", () => {
  const counter = new Counter("x_total", "Xs");
  assertEquals([...counter.lines()], []);
  counter.add({ a: 'q"\\\n', b: 1 });
  counter.add({ a: 'q"\\\n', b: 1 });
  assertEquals([...counter.lines()], [
    "# HELP x_total Xs",
    "# TYPE x_total counter",
    'x_total{a="q\\"\\\\\\n",b="1"} 2',
  ]);
});

Deno.test("Duration fills its buckets", () => {
  const duration = new Duration("x_seconds", "Xs", [0.1, 1]);
  for (const ms of [50, 500, 5_000]) duration.add({ a: "b" }, ms);
  assertEquals([...duration.lines()].slice(2), [
    'x_seconds_bucket{a="b",le="0.1"} 1',
    'x_seconds_bucket{a="b",le="1"} 2',
    'x_seconds_bucket{a="b",le="+Inf"} 3',
    'x_seconds_sum{a="b"} 5.55',
    'x_seconds_count{a="b"} 3',
  ]);
});

Deno.test("metrics keep so many series apart, and no more", () => {
  const counter = new Counter("x_total", "Xs");
  const duration = new Duration("x_seconds", "Xs", []);
  for (let i = 0; i <= SERIES_MAX; i++) {
    counter.add({ i });
    duration.add({ i }, 1);
  }
  assertEquals([...counter.lines()].length, SERIES_MAX + 2);
  assertEquals([...duration.lines()].length, 3 * SERIES_MAX + 2);
});
