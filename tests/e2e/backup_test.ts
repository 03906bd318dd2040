/** Snapshots of every kind of database, restored into every other; and of a running cluster, over HTTPS. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { backup } from "../../api/backup.ts";
import { openCluster } from "../../api/open_cluster.ts";
import { DatabaseError, RealClock } from "../../kv/mod.ts";
import { Cluster } from "../../mod.ts";
import { serveKv } from "../contracts/served_kv.ts";
import { EtcdCluster, hasEtcd } from "../etcd_cluster.ts";
import { Server } from "./server.ts";

const PASSPHRASE = "correct horse battery staple";
const SECRETS = { group: "", version: "v1", plural: "secrets" };

/** Where a database can be: as flags, and as the path that opens it. */
interface Place {
  readonly flags: string[];
  readonly path: string;
}

/** Makes new places of each kind. */
async function withPlaces(
  run: (places: Record<string, () => Promise<Place>>, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "plesio-backup-" });
  const served: { dispose(): Promise<void> }[] = [];
  const etcd = hasEtcd ? await EtcdCluster.start(1) : undefined;
  let count = 0;
  const shared = (path: string) => Promise.resolve({ flags: ["--kv", path], path });
  try {
    await run({
      file: () => {
        const data = `${folder}/${++count}`;
        return Promise.resolve({ flags: ["--data", data], path: `${data}/cluster.db` });
      },
      "KV Connect": async () => {
        const kv = await serveKv();
        served.push(kv);
        return await shared(kv.url);
      },
      ...etcd && { etcd: () => shared(etcd.url(`/backup-${++count}`)) },
    }, folder);
  } finally {
    for (const kv of served) await kv.dispose();
    await etcd?.dispose();
    await Deno.remove(folder, { recursive: true });
  }
}

/** All that a database holds, and how far it is. */
async function contents(path: string) {
  const database = await openCluster({ kv: path }, new RealClock());
  try {
    const { objects, events } = database;
    const lines = [objects, events].flatMap((store) =>
      [...store.view().scan("/")].map(({ key, revision, value }) =>
        `${key} ${revision} ${JSON.stringify(value)}`
      )
    );
    const authority = await database.settings.get("ca");
    return { lines, authority, id: objects.clusterId, revision: objects.view().revision };
  } finally {
    await database.close();
  }
}

async function makeCluster(data: string): Promise<void> {
  const only = { components: ["api", "controllers"] as const, nodes: 0, clock: "manual" as const };
  const cluster = await Cluster.start({ ...only, data });
  await cluster.client.create({ resource: SECRETS, namespace: "default" }, {
    metadata: { name: "one" },
    stringData: { password: "a treasure" },
  });
  await cluster.settle();
  await cluster.stop();
}

Deno.test("a snapshot of every kind of database is restored into every other, with all that is in it", () =>
  withPlaces(async (places, folder) => {
    await makeCluster(`${folder}/first`);
    const first = await contents(`${folder}/first/cluster.db`);
    assert(first.lines.some((line) => line.startsWith("/registry/secrets/default/one ")));
    const base = `${folder}/base`;
    const told = await backup(["snapshot", "--file", base, "--data", `${folder}/first`]);
    assert(told[0].includes("in the clear"), told[0]);
    assertEquals((await Deno.stat(base)).mode! & 0o777, 0o600);
    for (const [from, makeSource] of Object.entries(places)) {
      const source = await makeSource();
      await backup(["restore", "--file", base, ...source.flags]);
      const file = `${folder}/from-${from}`;
      await backup(["snapshot", "--file", file, ...source.flags], PASSPHRASE);
      assert(!(await Deno.readTextFile(file)).includes(btoa("a treasure")));
      for (const [to, makeTarget] of Object.entries(places)) {
        const target = await makeTarget();
        await backup(["restore", "--file", file, ...target.flags], PASSPHRASE);
        const found = await contents(target.path);
        assertEquals(found.lines, first.lines, `${from} to ${to}`);
        assertEquals([found.id, found.authority], [first.id, first.authority]);
        assert(found.revision >= first.revision + 2_000_000_000);
        await assertRejects(
          () => backup(["restore", "--file", file, ...target.flags], PASSPHRASE),
          DatabaseError,
          "in use",
        );
      }
    }
  }));

Deno.test("what cannot be backed up or restored is refused with a reason", async () => {
  const folder = await Deno.makeTempDir({ prefix: "plesio-backup-" });
  const file = `${folder}/file`;
  await Deno.writeTextFile(`${folder}/text`, "hello");
  const cases: [string[], string][] = [
    [["snapshot"], "deno task snapshot --file"],
    [["snapshot", "--file", file, "--data", "a", "--kv", "b"], "deno task snapshot --file"],
    [["snapshot", "--file", file, "--data", `${folder}/none`], "There is no database"],
    [["snapshot", "--file", file, "--kubeconfig", "x"], "set PLESIO_SNAPSHOT_PASSPHRASE"],
    [["restore", "--file", file, "--kubeconfig", "x"], "deno task snapshot --file"],
    [["restore", "--file", `${folder}/text`, "--data", folder], "not a Plesio snapshot"],
  ];
  for (const [args, text] of cases) await assertRejects(() => backup(args), Error, text);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a running cluster's snapshot, asked for over HTTPS, starts another elsewhere", async () => {
  const server = await Server.start({ flags: ["--nodes", "0"] });
  const kv = await serveKv();
  const file = `${server.folder}/snapshot`;
  try {
    const asked = ["snapshot", "--file", file, "--kubeconfig", server.kubeconfig];
    await assertRejects(() => backup(asked, "short"), TypeError, "answers 400: a snapshot holds");
    await assertRejects(() => backup(asked, "ein längerer Satz"), TypeError, "ASCII");
    await backup(asked, PASSPHRASE);
    await backup(["restore", "--file", file, "--kv", kv.url], PASSPHRASE);
    const cluster = await Cluster.start({ kv: kv.url, nodes: 0, clock: "real" });
    const found = await cluster.client.get({
      resource: { group: "", version: "v1", plural: "namespaces" },
      name: "kube-system",
    });
    assertEquals(found.metadata.name, "kube-system");
    await cluster.listen({ port: 0 });
    // It is the same cluster: whoever trusted that one trusts this.
    assertEquals((await cluster.access()).authorityPem, server.access.caPem);
    await cluster.stop();
  } finally {
    await server.stop();
    await kv.dispose();
  }
});
