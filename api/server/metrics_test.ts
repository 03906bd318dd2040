import { assert, assertEquals } from "@std/assert";
import { openApi } from "./fixture_test.ts";
import { SERIES_MAX } from "./metrics.ts";
import { routeOf } from "./route.ts";

Deno.test("metrics: counts by code, durations in buckets, no end of labels", async () => {
  await using f = await openApi();
  const { metrics } = f.api;
  const route = routeOf("/api/v1/namespaces/default/pods")!;
  metrics.observe("GET", route, 200, 30);
  metrics.observe("GET", route, 404, 30);
  const deps = { database: f.database } as Parameters<typeof metrics.text>[0];
  const text = metrics.text(deps);
  const labels =
    `group="",resource="pods",scope="namespace",subresource="",verb="GET",version="v1"`;
  assert(text.includes(`apiserver_request_total{code="404",${labels}} 1\n`), text);
  assert(text.includes(`apiserver_request_duration_seconds_bucket{${labels},le="0.025"} 0\n`));
  assert(text.includes(`apiserver_request_duration_seconds_bucket{${labels},le="0.05"} 2\n`));
  assert(text.includes(`apiserver_request_duration_seconds_count{${labels}} 2\n`));
  for (let i = 0; i < SERIES_MAX + 50; i++) {
    metrics.observe("GET", { ...route, resource: `r${i}` }, 200, 1);
  }
  const lines = metrics.text(deps).split("\n").filter((l) =>
    l.startsWith("apiserver_request_total")
  );
  assert(lines.length <= SERIES_MAX + 2);
  const odd = { ...route, resource: `"}\n` };
  metrics.observe("GET", odd, 200, 1);
  assertEquals(metrics.text(deps).includes(`"}\n"`), false);
});
