import { assert, assertEquals } from "@std/assert";
import { ADMIN, openApi } from "./fixture_test.ts";
import { SERIES_MAX } from "./metrics.ts";
import { routeOf } from "./route.ts";

Deno.test("metrics: counts by code, durations in buckets, no end of labels", async () => {
  await using f = await openApi();
  const { metrics } = f.api;
  const route = routeOf("/api/v1/namespaces/default/pods")!;
  const get = (over = {}) => ({
    method: "GET",
    path: "/api/v1/namespaces/default/pods",
    query: "",
    route: { ...route, ...over },
  });
  metrics.observe(get(), { status: 200, headers: {} }, 30);
  metrics.observe(get(), { status: 404, headers: {} }, 30);
  const deps = {
    database: f.database,
    kinds: { byResource: () => undefined },
  } as unknown as Parameters<typeof metrics.text>[0];
  const text = metrics.text(deps);
  const labels =
    `component="apiserver",dry_run="",group="",resource="pods",scope="namespace",subresource="",` +
    `verb="LIST",version="v1"`;
  assert(text.includes(`apiserver_request_total{code="404",${labels}} 1\n`), text);
  assert(text.includes(`apiserver_request_duration_seconds_bucket{${labels},le="0.025"} 0\n`));
  assert(text.includes(`apiserver_request_duration_seconds_bucket{${labels},le="0.05"} 2\n`));
  assert(text.includes(`apiserver_request_duration_seconds_count{${labels}} 2\n`));
  for (let i = 0; i < SERIES_MAX + 50; i++) {
    metrics.observe(get({ resource: `r${i}` }), { status: 200, headers: {} }, 1);
  }
  const lines = metrics.text(deps).split("\n").filter((l) =>
    l.startsWith("apiserver_request_total")
  );
  assert(lines.length <= SERIES_MAX + 2);
  metrics.observe(get({ resource: `"}\n` }), { status: 200, headers: {} }, 1);
  assertEquals(metrics.text(deps).includes(`"}\n"`), false);
});

Deno.test("metrics: verbs are upstream's, paths that are no resource share a few series", async () => {
  await using f = await openApi();
  const ask = async (path: string, init?: RequestInit) => {
    const response = await f.api.fetch(new Request(`https://x${path}`, init), { user: ADMIN });
    await response.body?.cancel();
  };
  const pods = "/api/v1/namespaces/default/pods";
  await ask(pods);
  await ask(`${pods}?watch=true&timeoutSeconds=1`);
  await ask(pods, { method: "DELETE" });
  await ask(`${pods}/x?fieldManager=me&dryRun=All`, {
    method: "PATCH",
    body: "{}",
    headers: { "content-type": "application/apply-patch+yaml" },
  });
  await ask("/healthz/ping");
  await ask("/nowhere");
  const response = await f.api.fetch(new Request("https://x/metrics"), { user: ADMIN });
  const lines = (await response.text()).split("\n");
  const has = (start: string) => assert(lines.some((line) => line.startsWith(start)), start);
  const of = (scope: string, verb: string, dryRun = "") =>
    `component="apiserver",dry_run="${dryRun}",group="",resource="pods",scope="${scope}",` +
    `subresource="",verb="${verb}",version="v1"`;
  has(`apiserver_request_total{code="200",${of("namespace", "LIST")}} 1`);
  has(`apiserver_request_total{code="200",${of("namespace", "WATCH")}} 1`);
  has(`apiserver_request_total{code="200",${of("namespace", "DELETECOLLECTION")}} 1`);
  assert(lines.some((line) => line.includes(of("resource", "APPLY", "All"))));
  assert(lines.some((line) => line.includes(`subresource="/healthz",verb="GET"`)));
  assert(lines.some((line) => line.includes(`subresource="other",verb="GET"`)));
  has(`apiserver_storage_objects{resource="namespaces"} 2`);
  has("kubernetes_build_info{");
});
