/** A test of a Deployment in this process: `deno test -A` in this folder. */
import { assert, assertEquals } from "@std/assert";
import { Cluster } from "../../../mod.ts";

const deployments = { group: "apps", version: "v1", plural: "deployments" };
const web = { resource: deployments, namespace: "default", name: "web" };

/** A cluster with a Deployment, and a client of ours. */
async function start() {
  const cluster = await Cluster.start({ testKit: true });
  const me = { name: "me", groups: ["system:masters"] };
  const client = cluster.client.as(me, "typescript-example");
  const labels = { app: "web" };
  const containers = [{ name: "c", image: "nginx" }];
  const template = { metadata: { labels }, spec: { containers } };
  const spec = { replicas: 3, selector: { matchLabels: labels }, template };
  await client.create({ ...web, name: undefined }, { metadata: { name: "web" }, spec });
  await cluster.settle();
  return { cluster, client, kit: cluster.kit };
}

async function ready(cluster: Cluster): Promise<number> {
  const { status } = await cluster.client.get<any>(web);
  return status.readyReplicas;
}

Deno.test("settle: until nobody has anything to do", async () => {
  const { cluster } = await start();
  await using _ = cluster;
  assertEquals(await ready(cluster), 3);
});

Deno.test("clock: time goes on as far as it is told, or until something is so", async () => {
  const { cluster, kit } = await start();
  await using _ = cluster;
  assertEquals((await kit.advance("1h30m")).advanced, "1h30m0s");
  kit.faults.add({ node: "plesio-0", loss: true });
  await kit.until({
    path: "/api/v1/nodes/plesio-0",
    cel: "object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'Unknown')",
  });
});

Deno.test("fork: a cluster of its own for a test", async () => {
  const { cluster } = await start();
  await using _ = cluster;
  await using fork = await cluster.fork();
  await fork.client.delete(web);
  await fork.settle();
  assertEquals((await fork.client.list({ ...web, name: undefined })).items, []);
  assertEquals(await ready(cluster), 3);
});

Deno.test("faults: a client meets conflicts, and tries again", async () => {
  const { cluster, client, kit } = await start();
  await using _ = cluster;
  kit.faults.add({ client: "typescript-example", verb: "patch", times: 2, status: 409 });
  const scale = () => client.patch(web, { type: "merge", body: { spec: { replicas: 5 } } });
  await scale().catch(scale).catch(scale);
  await cluster.settle();
  assertEquals(await ready(cluster), 5);
  assertEquals(kit.faults.list()[0].struck, 2);
});

Deno.test("ledger: a gate for what clients should not do", async () => {
  const { cluster, client, kit } = await start();
  await using _ = cluster;
  assertEquals(kit.ledger.check(), []);
  await client.patch(web, { type: "merge", body: { spec: { replicas: 3 } } });
  const [{ text }] = kit.ledger.check({ limits: { noOpWrites: 0 } });
  assert(text.startsWith("typescript-example (me) wrote what was there already: once"), text);
});

Deno.test("reset: back to how it was at the start", async () => {
  const { cluster, kit } = await start();
  await using _ = cluster;
  await kit.reset();
  assertEquals((await cluster.client.list({ ...web, name: undefined })).items, []);
});
