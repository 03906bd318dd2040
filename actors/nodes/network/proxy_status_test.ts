/** What the service proxy says of itself, and when it says that something is wrong. */
import { assertEquals, assertRejects } from "@std/assert";
import type { KubeObject } from "../../../api/machinery/types.ts";
import { ManualClock } from "../../../kv/clock.ts";
import type { ActorContext } from "../../runtime/contract.ts";
import { ProxyMetrics } from "./proxy_metrics.ts";
import { health, status } from "./proxy_status.ts";

const node = (taints: object[] = []): KubeObject => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: { name: "n", uid: "u", resourceVersion: "1", creationTimestamp: "" },
  spec: { taints },
});

function world() {
  const clock = new ManualClock({ seed: 1 });
  const context = { clock } as unknown as ActorContext;
  const metrics = new ProxyMetrics({ second: {} });
  const fail = () =>
    assertRejects(() => metrics.synced(context, () => Promise.reject(new Error("no nft"))));
  const succeed = () => metrics.synced(context, () => Promise.resolve());
  const ask = async (path: string, of: KubeObject | undefined = node()) => {
    const answer = health(path, metrics, of, clock.now());
    return { code: answer.status, ...await answer.json() };
  };
  return { clock, metrics, fail, succeed, ask };
}

Deno.test("a proxy is healthy until what has changed has waited for a minute", async () => {
  const w = world();
  assertEquals((await w.ask("/livez")).code, 200);
  await w.succeed();
  const synced = new Date(w.clock.now()).toISOString();
  await w.clock.advance(10_000);
  await w.fail();
  await w.clock.advance(59_999);
  await w.fail();
  const { code, lastUpdated, currentTime } = await w.ask("/healthz");
  assertEquals([code, lastUpdated], [200, currentTime]);
  await w.clock.advance(1);
  const late = { lastUpdated: synced, healthy: false };
  assertEquals(await w.ask("/healthz"), {
    code: 503,
    lastUpdated: synced,
    currentTime: new Date(w.clock.now()).toISOString(),
    nodeEligible: true,
    healthy: false,
    status: { IPv4: late, IPv6: late },
  });
  assertEquals((await w.ask("/livez")).code, 503);
  await w.succeed();
  assertEquals((await w.ask("/livez")).code, 200);
});

Deno.test("a node that goes, or that the autoscaler takes away, is not to be led to, though its proxy lives", async () => {
  const w = world();
  const going = node();
  going.metadata.deletionTimestamp = "2026-01-01T00:00:00Z";
  const taken = node([{ key: "ToBeDeletedByClusterAutoscaler", effect: "NoSchedule" }]);
  for (const one of [undefined, going, taken]) {
    const answer = health("/healthz", w.metrics, one, w.clock.now());
    assertEquals([answer.status, (await answer.json()).nodeEligible], [503, false]);
    assertEquals(health("/livez", w.metrics, one, w.clock.now()).status, 200);
  }
  assertEquals(health("/", w.metrics, node(), w.clock.now()).status, 404);
});

Deno.test("a proxy says how it proxies, and what it has counted", async () => {
  const { metrics } = world();
  const ask = (path: string) => status(path, { mode: "nftables", node: "n", metrics });
  assertEquals(await ask("/proxyMode").text(), "nftables");
  assertEquals(await ask("/healthz").text(), "ok");
  metrics.serviceChanged();
  const counted = "kubeproxy_sync_proxy_rules_service_changes_total 1";
  assertEquals((await ask("/metrics").text()).includes(counted), true);
  assertEquals(ask("/configz").status, 404);
});
