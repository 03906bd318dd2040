import { assert, assertEquals } from "@std/assert";
import { ManualClock } from "../../kv/clock.ts";
import { Cluster } from "../../mod.ts";
import type { ContainerRecord } from "./container_record.ts";
import { openBox } from "./fixture_test.ts";
import { KEPT_CONTAINER_BYTES_MAX, KEPT_MS_MAX, KeptLogs, memoryPlace } from "./kept_logs.ts";
import { searchLogs } from "./log_search.ts";
import { startNode } from "./node.ts";
import { logFolder } from "./runtimes/log_folder.ts";
import { type Pod, PODS } from "./types.ts";

const pod = (name: string) =>
  ({ metadata: { name, namespace: "shop", uid: `uid-${name}` } }) as Pod;

/** A container whose runtime has this log. */
function record(name: string, log: (attempt: number) => string, restarts = 0): ContainerRecord {
  const logs = ({ attempt }: { attempt: number }) =>
    Promise.resolve(new Response(log(attempt)).body!);
  return { name, restarts, runtime: { logs } } as unknown as ContainerRecord;
}

const found = async (kept: KeptLogs, search: object) =>
  (await Array.fromAsync(kept.find(search))).flat();

const line = (text: string, at = "2026-01-01T00:00:00.000000000Z") => `${at} ${text}\n`;

Deno.test("KeptLogs keeps the last two starts of each container, and finds lines by owner, time and text", async () => {
  const clock = new ManualClock();
  const folder = await Deno.makeTempDir();
  for (const place of [memoryPlace(), logFolder(`${folder}/kept`)]) {
    const kept = new KeptLogs({ place, clock });
    await kept.keep(pod("web"), [
      record("app", (attempt) => line(`start ${attempt}`), 3),
      record("silent", () => ""),
    ]);
    const texts = async (search: object) => (await found(kept, search)).map(({ text }) => text);
    assertEquals(await texts({}), ["start 2", "start 3"]);
    assertEquals((await texts({ namespace: "shop", pod: "web", container: "app" })).length, 2);
    assertEquals(await texts({ pod: "other" }), []);
    assertEquals(await texts({ grep: "3" }), ["start 3"]);
    assertEquals(await texts({ untilMs: Date.parse("2025-01-01") }), []);
    assertEquals((await found(kept, {}))[0].gone, true);
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("KeptLogs is bounded in bytes by container and in all, and by age", async () => {
  const clock = new ManualClock();
  const place = memoryPlace();
  const kept = new KeptLogs({ place, clock, bytesMax: KEPT_CONTAINER_BYTES_MAX * 2 });
  const long = Array.from({ length: 30_000 }, (_, i) => line(`line ${i} ${"x".repeat(40)}`)).join(
    "",
  );
  for (const name of ["a", "b", "c"]) {
    await kept.keep(pod(name), [record("app", () => long)]);
    await clock.advance(1_000);
  }
  assertEquals(place.list().map(({ name }) => name.split("_")[2]), ["b", "c"]);
  assert(place.list().every(({ bytes }) => bytes <= KEPT_CONTAINER_BYTES_MAX));
  const [first] = await found(kept, { pod: "c" });
  assert(first.text.startsWith("line "), first.text);
  await clock.advance(KEPT_MS_MAX);
  kept.trim();
  assertEquals(place.list(), []);
});

Deno.test("KeptLogs bounds what a former life has left, and looks into its place once", async () => {
  const clock = new ManualClock();
  const place = memoryPlace();
  for (const name of ["a", "b"]) {
    await new KeptLogs({ place, clock }).keep(pod(name), [record("app", () => line("x"))]);
    await clock.advance(1_000);
  }
  let looks = 0;
  const list = () => (looks++, place.list().reverse());
  const bytesMax = line("x").length * 2;
  const kept = new KeptLogs({ place: { ...place, list }, clock, bytesMax });
  assertEquals((await found(kept, {})).map(({ pod }) => pod), ["a", "b"]);
  for (const name of ["c", "d"]) await kept.keep(pod(name), [record("app", () => line("x"))]);
  assertEquals((await found(kept, {})).map(({ pod }) => pod), ["c", "d"]);
  assertEquals([place.list().length, looks], [2, 1]);
});

Deno.test("searchLogs() answers with the newest lines of all, in order, however many are found", async () => {
  const kept = new KeptLogs({ place: memoryPlace(), clock: new ManualClock() });
  const texts: string[] = [];
  for (const [i, name] of ["a", "b", "c", "d"].entries()) {
    const lines = Array.from({ length: 9_000 }, (_, n) => {
      const at = new Date(Date.UTC(2026, 0, 1) + (n * 7919 + i) % 9_000).toISOString();
      texts.push(`${at} ${name} ${n}`);
      return `${texts.at(-1)}\n`;
    });
    await kept.keep(pod(name), [record("app", () => lines.join(""))]);
  }
  const node = { workers: () => [], keptLogs: kept };
  const ask = async (query: string) =>
    (await searchLogs(node, new URLSearchParams(query))).map(({ time, text }) => `${time} ${text}`);
  const at = (text: string) => Date.parse(text.slice(0, text.indexOf(" ")));
  const sorted = texts.sort((a, b) => at(a) - at(b));
  assertEquals(await ask(""), sorted.slice(-10_000));
  assertEquals(await ask("limit=3"), sorted.slice(-3));
});

Deno.test("a pod goes whether its logs can be kept or not", async () => {
  await using box = await openBox();
  const place = {
    ...memoryPlace(),
    write: () => {
      throw new Error("no space left on device");
    },
  };
  const node = startNode(box.system, { name: "n", clock: box.clock, logPlace: place });
  await box.pod("p", "n", { containers: [{ name: "c", image: "nginx" }] });
  const phase = async () => (await box.get("p")).status?.phase;
  await box.pass("it to run", 100, async () => await phase() === "Running");
  const one = { resource: PODS, namespace: "default", name: "p" };
  await box.client.delete(one, { gracePeriodSeconds: 1 });
  await box.pass("it to go", 100, async () => await phase().catch(() => "gone") === "gone");
  await box.pass("its worker to go", 100, () => box.system.report().length === 1);
  await node.stop();
});

Deno.test("/plesio/v1/logs finds lines of pods that run and of pods that are gone, on all nodes", async () => {
  await using cluster = await Cluster.start({ nodes: 2 });
  await cluster.settle();
  const pods = { group: "", version: "v1", plural: "pods" };
  for (const name of ["one", "two"]) {
    await cluster.client.create({ resource: pods, namespace: "default" }, {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name },
      spec: { containers: [{ name: "c", image: "nginx" }] },
    });
  }
  await cluster.settle();
  await cluster.client.delete({ resource: pods, namespace: "default", name: "one" });
  await cluster.settle();
  const ask = async (query: string) =>
    await (await cluster.fetch(`/plesio/v1/logs?${query}`)).json();
  const { lines, missing } = await ask("namespace=default");
  assertEquals(missing, []);
  const of = (pod: string) => lines.filter((l: { pod: string }) => l.pod === pod);
  assert(of("one").length > 0 && of("one").every((l: { gone: boolean }) => l.gone));
  assert(of("two").length > 0 && of("two").every((l: { gone: boolean }) => !l.gone));
  assertEquals((await ask("pod=one&limit=1")).lines.length, 1);
  assertEquals((await ask("grep=no-such-text")).lines, []);
  const text = await (await cluster.fetch("/plesio/v1/logs?pod=one&format=text")).text();
  assert(text.includes("default/one/c simulated:"), text);
  for (const bad of ["since=yesterday", "limit=0", "pods=x"]) {
    assertEquals((await ask(bad)).code, 400, bad);
  }
});

Deno.test("/plesio/v1/logs refuses whoever may not list nodes, and leaves out nodes whose logs one may not see", async () => {
  await using cluster = await Cluster.start({ nodes: 1 });
  const rbac = (plural: string) => ({
    resource: { group: "rbac.authorization.k8s.io", version: "v1", plural },
  });
  const subjects = [{ kind: "User", apiGroup: "rbac.authorization.k8s.io", name: "carol" }];
  const allow = async (name: string, rule: object) => {
    await cluster.client.create(rbac("clusterroles"), { metadata: { name }, rules: [rule] });
    await cluster.client.create(rbac("clusterrolebindings"), {
      metadata: { name },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name },
      subjects,
    });
    await cluster.settle();
  };
  const ask = async () => {
    const user = { name: "carol", groups: ["system:authenticated"] };
    const reply = await cluster.api.fetch(new Request("https://x/plesio/v1/logs"), { user });
    return { status: reply.status, said: await reply.json() };
  };
  await allow("logs", { nonResourceURLs: ["/plesio/v1/logs"], verbs: ["get"] });
  const refused = await ask();
  assertEquals([refused.status, refused.said.details.kind], [403, "nodes"]);
  await allow("nodes", { apiGroups: [""], resources: ["nodes"], verbs: ["list"] });
  assertEquals(await ask(), { status: 200, said: { lines: [], missing: ["plesio-0"] } });
});
