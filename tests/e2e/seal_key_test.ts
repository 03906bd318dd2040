/** Keys at rest of a cluster with a folder: added while it runs, taken up, dropped; a configuration file is heeded. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { encryptionOptions } from "../../api/config/encryption.ts";
import { DatabaseError, type ManualClock } from "../../kv/mod.ts";
import { Cluster } from "../../mod.ts";
import { sealKey } from "../../api/seal_key.ts";

const SECRETS = { group: "", version: "v1", plural: "secrets" };
const CONFIG_MAPS = { ...SECRETS, plural: "configmaps" };
const only = { components: ["api"] as const, nodes: 0, clock: "manual" as const };

async function withFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "plesio-seal-" });
  try {
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function disk(folder: string): Promise<string> {
  let text = "";
  for (const name of ["cluster.db", "cluster.db-wal"]) {
    const bytes = await Deno.readFile(`${folder}/${name}`).catch(() => new Uint8Array());
    text += new TextDecoder("latin1").decode(bytes);
  }
  return text;
}

/** Lets a minute pass, and what it began come to an end: files and the database take their own time. */
async function minute({ clock }: Cluster, isDone: () => boolean): Promise<void> {
  await (clock as ManualClock).advance(61_000);
  for (let turns = 0; turns < 1_000_000 && !isDone(); turns++) await clock.turn();
  assert(isDone(), "nothing was taken up");
}

Deno.test("a sealing key is added while the cluster runs, and the old one dropped after", async () => {
  await withFolder(async (data) => {
    const cluster = await Cluster.start({ ...only, data });
    const at = { resource: SECRETS, namespace: "default" };
    await cluster.client.create(at, {
      metadata: { name: "one" },
      stringData: { password: "correct horse" },
    });
    const [, id] = (await sealKey(["add", "--data", data]))[0].match(/key (\w+)/)!;
    await assertRejects(() => sealKey(["show", "--data", data]), DatabaseError, "in use");
    await minute(cluster, () => cluster.sealingKeys()[0] === id);
    await cluster.client.create(at, { metadata: { name: "two" }, stringData: { a: "b" } });
    await cluster.stop();
    const shown = await sealKey(["show", "--data", data]);
    assert(shown[0].startsWith(`${id}: `) && !shown[0].startsWith(`${id}: 0 `), shown.join("\n"));
    assert(shown[1].endsWith(": 0 values"), shown.join("\n"));
    assertEquals((await sealKey(["drop", "--data", data])).length, 1);
    assertEquals((await Deno.stat(`${data}/cluster.db.key`)).size, 32);
    const again = await Cluster.start({ ...only, data });
    const one = await again.client.get({ ...at, name: "one" });
    assertEquals(one.data, { password: btoa("correct horse") });
    await again.stop();
    assert(!(await disk(data)).includes(btoa("correct horse")));
  });
});

Deno.test("an EncryptionConfiguration says what is sealed; a changed one is taken up", async () => {
  await withFolder(async (data) => {
    const config = (resource: string, name: string) =>
      encryptionOptions(JSON.stringify({
        apiVersion: "apiserver.config.k8s.io/v1",
        kind: "EncryptionConfiguration",
        resources: [{
          resources: [resource],
          providers: [
            { secretbox: { keys: [{ name, secret: btoa(name.repeat(32).slice(0, 32)) }] } },
            { aescbc: { keys: [{ name: "a", secret: btoa("a".repeat(32)) }] } },
            { identity: {} },
          ],
        }],
      }));
    let wanted = config("secrets", "k");
    const encryptionAnew = () => Promise.resolve(wanted);
    const cluster = await Cluster.start({ ...only, data, encryption: wanted, encryptionAnew });
    const at = { resource: CONFIG_MAPS, namespace: "default" };
    await cluster.client.create(at, { metadata: { name: "one" }, data: { a: "plain as day" } });
    wanted = config("configmaps", "m");
    const before = cluster.sealingKeys().join();
    await minute(cluster, () => cluster.sealingKeys().join() !== before);
    const newest = { metadata: { name: "two" }, data: { a: "never seen" } };
    await cluster.client.create(at, newest);
    assertEquals((await cluster.client.get({ ...at, name: "one" })).data, { a: "plain as day" });
    const snapshot = await cluster.snapshot();
    await cluster.stop();
    assert(!(await disk(data)).includes("never seen"));
    await assertRejects(
      () => Cluster.start({ ...only, data, encryption: config("configmaps", "q") }),
      DatabaseError,
      "sealing key",
    );
    await using fork = await Cluster.start({ ...only, snapshot });
    assertEquals((await fork.client.get({ ...at, name: "two" })).data, { a: "never seen" });
  });
});

Deno.test("keys that do not fit are refused, the cluster goes on, and no log shows a key or a value", async () => {
  await withFolder(async (data) => {
    const lines: string[] = [];
    const log = (...line: unknown[]) => void lines.push(JSON.stringify(line));
    const cluster = await Cluster.start({ ...only, data, log });
    const at = { resource: SECRETS, namespace: "default" };
    const value = "correct horse battery staple";
    await cluster.client.create(at, { metadata: { name: "one" }, stringData: { value } });
    const path = `${data}/cluster.db.key`;
    const key = await Deno.readFile(path);
    const [id] = cluster.sealingKeys();
    await Deno.writeFile(path, new Uint8Array(32).fill(7));
    await minute(cluster, () => lines.length > 0);
    assert(lines[0].includes(`Cannot do without the sealing key ${id}`), lines[0]);
    await cluster.client.create(at, { metadata: { name: "two" }, stringData: { value } });
    await cluster.stop();
    await assertRejects(
      () => Cluster.start({ ...only, data, log }),
      DatabaseError,
      `its sealing key ${id} is not among`,
    );
    await Deno.writeFile(path, key);
    const again = await Cluster.start({ ...only, data, log });
    assertEquals((await again.client.get({ ...at, name: "two" })).data, { value: btoa(value) });
    await again.stop();
    const told = lines.join("\n");
    const secrets = [value, btoa(value), btoa(String.fromCharCode(...key))];
    const hex = [...key].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    for (const secret of [...secrets, hex]) assert(!told.includes(secret), "a log shows a secret");
  });
});
