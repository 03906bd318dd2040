/** Events of the past: what had been told by then, as far as that is still kept. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { KubeObject, ResourceId } from "../../api/machinery/types.ts";
import { ManualClock } from "../../kv/mod.ts";
import { COMPACT_DELETES_PER_COMMIT } from "../../kv/limits.ts";
import { Cluster } from "../../mod.ts";

const core = (plural: string): ResourceId => ({ group: "", version: "v1", plural });
const EVENTS = { resource: core("events"), namespace: "default" };
const MAPS = { resource: core("configmaps"), namespace: "default" };

function begun(): Promise<Cluster> {
  return Cluster.start({ nodes: 0, components: ["api"] });
}

/** Tells of something, so many times. */
async function tell({ client, clock }: Cluster, name: string, count = 1): Promise<void> {
  const time = new Date(clock.now()).toISOString().replace(/\.\d+/, "");
  const event = {
    metadata: { name, namespace: "default" },
    involvedObject: { kind: "Pod", namespace: "default", name: "p" },
    reason: "Told",
    message: name,
    type: "Normal",
    source: { component: "test" },
    firstTimestamp: time,
    lastTimestamp: time,
    count,
  };
  if (count === 1) await client.create(EVENTS, event);
  else {
    const body = { count, lastTimestamp: time };
    await client.patch({ ...EVENTS, name }, { type: "merge", body });
  }
}

async function mark({ client }: Cluster, name: string): Promise<number> {
  const { metadata } = await client.create<KubeObject>(MAPS, { metadata: { name } });
  return Number(metadata.resourceVersion);
}

async function toldAt(cluster: Cluster, moment: number | string) {
  const reply = await cluster.fetch(
    `/plesio/v1/at/${encodeURIComponent(moment)}/api/v1/namespaces/default/events`,
  );
  const { items } = await reply.json();
  const events = items.map(({ message, count }: KubeObject) => `${message} ${count}`).sort();
  return { events, warning: reply.headers.get("warning") };
}

Deno.test("Events of a revision or a time are those that had been told by then, counted as far as then", async () => {
  await using cluster = await begun();
  const clock = cluster.clock as ManualClock;
  const step = () => clock.advance(1_000);
  const before = await mark(cluster, "before");
  await step();
  await tell(cluster, "a");
  await step();
  const one = await mark(cluster, "one");
  await step();
  await tell(cluster, "b");
  await tell(cluster, "a", 2);
  const between = new Date(clock.now()).toISOString();
  await step();
  const two = await mark(cluster, "two");
  await step();
  await cluster.client.delete({ ...EVENTS, name: "b" });
  await tell(cluster, "c");
  await step();
  const three = await mark(cluster, "three");
  const expected: [number | string, string[]][] = [
    [before, []],
    [one, ["a 1"]],
    [between, ["a 2", "b 1"]],
    [two, ["a 2", "b 1"]],
    [three, ["a 2", "c 1"]],
  ];
  for (const [moment, events] of expected) {
    assertEquals(await toldAt(cluster, moment), { events, warning: null }, String(moment));
  }
});

Deno.test("Events that are kept no more are said to be missing, and none of later is shown", async () => {
  await using cluster = await begun();
  const clock = cluster.clock as ManualClock;
  await tell(cluster, "early");
  await tell(cluster, "same");
  await clock.advance(1_000);
  const then = await mark(cluster, "then");
  await clock.advance(1_000);
  // As much that is superseded as compaction waits for
  for (let count = 2; count < 2 + COMPACT_DELETES_PER_COMMIT; count++) {
    await tell(cluster, "early", count);
  }
  // So many that history lets go of them before they expire
  for (let i = 0; i < 1_100; i++) await tell(cluster, `e${i}`);
  await clock.advance(600_000);
  await tell(cluster, "early", 100);
  await clock.advance(60_000);
  const late = await mark(cluster, "late");
  const { events, warning } = await toldAt(cluster, then);
  assertEquals(events, ["same 1"], "of the other one it is not known any more how it was");
  assertMatch(warning!, /^299 - "Events before 2026-01-01T00:0\d:\d\d.\d{3}Z are no longer kept: /);
  const { eventsSince } = await (await cluster.fetch("/plesio/v1/time")).json();
  assertStringIncludes(warning!, eventsSince);
  assertEquals((await toldAt(cluster, late)).warning, null);
  assertEquals((await toldAt(cluster, late)).events.length, 1_102);
});
