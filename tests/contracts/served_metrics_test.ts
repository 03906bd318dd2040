/** What Prometheus reads of a server that has served: the series that dashboards and alerts for kube-apiserver ask for. */
import { assert } from "@std/assert";
import { Cluster } from "../../mod.ts";

Deno.test("metrics: credentials, decisions, admission, answers and events are counted as they are served", async () => {
  await using cluster = await Cluster.start({ components: ["api"] });
  const ask = async (path: string, init?: RequestInit) => {
    const response = await cluster.fetch(path, init);
    return await response.text();
  };
  const maps = "/api/v1/namespaces/default/configmaps";
  const body = JSON.stringify({ metadata: { name: "m" }, data: { a: "b".repeat(2_000) } });
  await ask(maps, { method: "POST", body, headers: { "content-type": "application/json" } });
  await ask(`${maps}/m`);
  await ask("/api/v1/componentstatuses");
  const watch = await cluster.fetch(`${maps}?watch=true&fieldSelector=metadata.name%3Dm`);
  const reader = watch.body!.getReader();
  await reader.read();
  await reader.cancel();
  await ask("/api/v1/pods", { headers: { authorization: "Bearer nobody" } });
  const lines = (await ask("/metrics")).split("\n");
  const has = (line: string) => assert(lines.includes(line), line);
  const part = 'component="apiserver",group="",resource="configmaps",scope="resource"';
  const read = `${part},subresource="",verb="GET",version="v1"`;
  has(`apiserver_response_sizes_bucket{${read},le="1000"} 0`);
  has(`apiserver_response_sizes_bucket{${read},le="10000"} 1`);
  has(`apiserver_response_sizes_bucket{${read},le="1e+06"} 1`);
  const events = 'group="",resource="configmaps",version="v1"';
  has(`apiserver_watch_events_total{${events}} 1`);
  has(`apiserver_watch_events_sizes_bucket{${events},le="2048"} 0`);
  has(`apiserver_watch_events_sizes_bucket{${events},le="4096"} 1`);
  const step = 'operation="CREATE",rejected="false"';
  for (const type of ["admit", "validate"]) {
    const name = "apiserver_admission_step_admission_duration_seconds_count";
    assert(lines.some((line) => line.startsWith(`${name}{${step},type="${type}"} `)), type);
  }
  const deprecated = 'resource="componentstatuses",subresource="",version="v1"';
  has(`apiserver_requested_deprecated_apis{group="",removed_release="",${deprecated}} 1`);
  for (
    const start of [
      'authentication_attempts{result="success"}',
      "authentication_duration_seconds_bucket",
    ]
  ) {
    assert(lines.some((line) => line.startsWith(start)), start);
  }
  has('authentication_attempts{result="error"} 1');
  assert(lines.some((line) => line.startsWith('authorization_attempts_total{result="allowed"} ')));
  assert(lines.some((line) => line.startsWith("authorization_duration_seconds_bucket{")));
});
