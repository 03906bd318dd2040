import { assert, assertEquals, assertMatch } from "@std/assert";
import { Cluster } from "../../mod.ts";
import { CONFLICTS_MAX, LIST_ITEMS_MAX, REPEATS_MAX } from "./ledger.ts";

const configMaps = { group: "", version: "v1", plural: "configmaps" };
const leases = { group: "coordination.k8s.io", version: "v1", plural: "leases" };
const all = { resource: configMaps, namespace: "default" };
const ME = { name: "me", groups: ["system:masters"] };

async function place() {
  const cluster = await Cluster.start({ nodes: 0, testKit: true, components: ["api"] });
  return {
    cluster,
    ledger: cluster.kit.ledger,
    as: (agent: string) => cluster.client.as(ME, agent),
  };
}

Deno.test("a client that behaves is found nothing of; what it asked is told", async () => {
  const { cluster, ledger, as } = await place();
  await using _ = cluster;
  const good = as("good");
  await good.create(all, { metadata: { name: "a" } });
  await good.patch({ ...all, name: "a" }, { type: "merge", body: { data: { a: "1" } } });
  await good.list(all, { limit: 100 });
  (await good.watch(all, { allowWatchBookmarks: true })).close();
  await good.get({ ...all, name: "b" }).catch(() => undefined);
  assertEquals(ledger.check(), []);
  assertEquals(ledger.report(), [{
    client: "good",
    user: "me",
    requests: {
      "create configmaps": 1,
      "patch configmaps": 1,
      "list configmaps": 1,
      "watch configmaps": 1,
      "get configmaps": 1,
    },
    failures: { 404: 1 },
    findings: {},
  }]);
  ledger.clear();
  assertEquals(ledger.report(), []);
});

Deno.test("each of the bad habits is found, and said in plain words", async (t) => {
  const { cluster, ledger, as } = await place();
  await using _ = cluster;
  const found = (client: string) =>
    ledger.check({ client }).map(({ rule, count }) => `${rule} ${count}`);
  await t.step("no-op writes", async () => {
    const client = as("writer");
    await client.create(all, { metadata: { name: "w" }, data: { a: "1" } });
    const same = { type: "merge", body: { data: { a: "1" } } } as const;
    await client.patch({ ...all, name: "w" }, same);
    await client.patch({ ...all, name: "w" }, same, { dryRun: true });
    assertEquals(found("writer"), ["noOpWrites 1"]);
    const [{ text }] = ledger.check({ client: "writer" });
    assertEquals(
      text,
      "writer (me) wrote what was there already: once, never allowed. patch configmaps default/w",
    );
  });
  await t.step("hot loops: no more than so many times the same within ten seconds", async () => {
    const client = as("reader");
    const read = () => client.get({ ...all, name: "w" });
    for (let i = 0; i < REPEATS_MAX; i++) await read();
    assertEquals(found("reader"), []);
    for (let i = 0; i < 100; i++) await read();
    assertEquals(found("reader"), ["hotLoops 1"]);
    const patient = as("patient");
    for (let i = 0; i < 30; i++) {
      await patient.get({ ...all, name: "w" });
      await cluster.kit.advance("5s");
    }
    assertEquals(found("patient"), []);
  });
  await t.step("watches without bookmarks, but not of one object", async () => {
    const client = as("watcher");
    (await client.watch(all)).close();
    (await client.watch(all, { fieldSelector: "metadata.name=w" })).close();
    assertEquals(found("watcher"), ["watchesWithoutBookmarks 1"]);
  });
  await t.step("lists of many objects without a limit", async () => {
    for (let i = 0; i <= LIST_ITEMS_MAX; i++) {
      await cluster.client.create(all, { metadata: { name: `many-${i}` } });
    }
    const client = as("lister");
    await client.list(all, { limit: 500 });
    await client.list(all, { resourceVersion: "0" });
    assertEquals(found("lister"), []);
    await client.list(all);
    assertEquals(found("lister"), ["unboundedLists 1"]);
  });
  await t.step("conflicts without backoff", async () => {
    const old = await cluster.client.get({ ...all, name: "w" }) as any;
    await cluster.client.patch({ ...all, name: "w" }, { type: "merge", body: { data: { b: "" } } });
    const write = (name: string) =>
      as(name).update({ ...all, name: "w" }, old).catch(() => undefined);
    for (let i = 0; i < CONFLICTS_MAX; i++) await write("hasty");
    assert(found("hasty").includes("conflictsWithoutBackoff 1"), String(found("hasty")));
    for (let i = 0; i < 2 * CONFLICTS_MAX; i++) {
      await write("calm");
      await cluster.kit.advance("1s");
    }
    assertEquals(found("calm"), []);
  });
  await t.step("writes after a lost lease", async () => {
    const target = { resource: leases, namespace: "default" };
    const spec = (holderIdentity: string) => ({ spec: { holderIdentity } });
    await as("one").create(target, { metadata: { name: "leader" }, ...spec("one") });
    await as("one").create(all, { metadata: { name: "by-one" } });
    const take = (who: string) =>
      as(who).patch({ ...target, name: "leader" }, { type: "merge", body: spec(who) });
    await take("two");
    await as("two").create(all, { metadata: { name: "by-two" } });
    assertEquals([found("one"), found("two")], [[], []]);
    await as("one").delete({ ...all, name: "by-one" });
    assertEquals(found("one"), ["writesAfterLostLease 1"]);
    await take("one");
    await as("one").delete({ ...all, name: "by-two" });
    assertEquals(found("one"), ["writesAfterLostLease 1"]);
  });
});

Deno.test("the gate answers 200, or 409 in plain words; limits say what is looked at", async () => {
  const { cluster, as } = await place();
  await using _ = cluster;
  (await as("watcher").watch(all)).close();
  const check = async (body: unknown) => {
    const init = { method: "POST", body: JSON.stringify(body) };
    const answer = await cluster.fetch("/plesio/v1/ledger/check", init);
    return { status: answer.status, body: await answer.json() };
  };
  const { status, body } = await check({});
  assertEquals([status, body.reason], [409, "BeyondLimits"]);
  assertMatch(body.message, /^watcher \(me\) watched without bookmarks, .* once, never allowed/);
  assertEquals(body.details.causes[0].reason, "watchesWithoutBookmarks");
  assertEquals((await check({ limits: { noOpWrites: 0 } })).status, 200);
  assertEquals((await check({ limits: { watchesWithoutBookmarks: 1 } })).status, 200);
  assertEquals((await check({ limits: { requests: 0 } })).status, 409);
  assertEquals((await check({ client: "nobody" })).status, 200);
  assertEquals((await check({ limits: { hotloops: 0 } })).status, 400);
  const shown = await cluster.fetch("/plesio/v1/ledger?client=watcher");
  assertEquals((await shown.json()).clients[0].requests, { "watch configmaps": 1 });
  const cleared = await cluster.fetch("/plesio/v1/ledger", { method: "DELETE" });
  assertEquals(await cleared.json(), { clients: [] });
});
