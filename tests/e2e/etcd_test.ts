/** etcd as a database, beside the contracts: TLS, refusals, compaction, and members that come and go. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { DatabaseError, limits, ManualClock, openDatabase, RealClock } from "../../kv/mod.ts";
import { EtcdStore } from "../../kv/etcd.ts";
import { EtcdMembers } from "../../kv/etcd_members.ts";
import { openShared } from "../../kv/open.ts";
import { Message, message } from "../../kv/protobuf.ts";
import { remoteKv } from "../../kv/remote_kv.ts";
import { thingCodec, within } from "../contracts/store.ts";
import { type ClusterTls, EtcdCluster, hasEtcd } from "../etcd_cluster.ts";

const ignore = !hasEtcd;

async function withCluster(
  members: number,
  run: (cluster: EtcdCluster) => Promise<void>,
  tls?: ClusterTls,
): Promise<void> {
  const cluster = await EtcdCluster.start(members, tls);
  try {
    await run(cluster);
  } finally {
    await cluster.dispose();
  }
}

Deno.test({
  name: "etcd: prefixes are databases of their own, and what is foreign stays untouched",
  ignore,
  fn: () =>
    withCluster(1, async (cluster) => {
      const [one, two] = [
        await openShared(cluster.url()),
        await openShared(cluster.url("/other/place/")),
      ];
      await one.set(["a"], 1);
      await two.set(["a"], 2);
      assertEquals((await one.get(["a"])).value, 1);
      assertEquals((await two.get(["a"])).value, 2);
      assertEquals((await Array.fromAsync(one.list({ prefix: [] }))).length, 1);
      const members = await EtcdMembers.of({
        members: [cluster.address(0).replace("http://", "")],
        clock: new RealClock(),
      });
      const put = message({ 1: "/plesio/\x7f", 2: "foreign" });
      await members.call("/etcdserverpb.KV/Put", put);
      const all = { start: [new Uint8Array()], end: [true] };
      assertEquals((await Array.fromAsync(one.list(all))).length, 1);
      for (const kv of [one, two]) kv.close();
      members.close();
    }),
});

Deno.test({
  name: "etcd: its own history is compacted up to where it stood at the compaction before",
  ignore,
  fn: () =>
    withCluster(1, async (cluster) => {
      const clock = new ManualClock();
      const real = new RealClock();
      const member = cluster.address(0).replace("http://", "");
      const members = await EtcdMembers.of({ members: [member], clock: real });
      const prefix = new TextEncoder().encode("/c/");
      const kv = remoteKv(new EtcdStore(members, prefix, clock), real, limits.KV_MUTATIONS_MAX);
      const at = async (versionstamp: string) => {
        const revision = Number.parseInt(versionstamp, 16);
        const request = message({ 1: "/c/", 2: "/c0", 4: revision });
        return new Message(await members.call("/etcdserverpb.KV/Range", request)).all(2).length;
      };
      const first = await kv.set(["a"], 1);
      await kv.set(["a"], 2);
      const third = await kv.set(["b"], 3);
      await clock.advance(limits.ETCD_COMPACT_EVERY_MS);
      const fourth = await kv.set(["b"], 4);
      assertEquals(await at(first.versionstamp), 1);
      await clock.advance(limits.ETCD_COMPACT_EVERY_MS);
      const gone = async () => {
        for (;;) {
          try {
            await at(first.versionstamp);
          } catch (error) {
            return (error as Error).message;
          }
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
      };
      assert(
        (await within(gone())).includes("refused: mvcc: required revision has been compacted"),
      );
      assertEquals([await at(third.versionstamp), await at(fourth.versionstamp)], [2, 2]);
      assertEquals((await kv.getMany([["a"], ["b"]])).map(({ value }) => value), [2, 4]);
      // Nothing more is asked of an etcd that stands still.
      await clock.advance(3 * limits.ETCD_COMPACT_EVERY_MS);
      kv.close();
    }),
});

Deno.test({
  name: "etcd: with most members gone nothing is answered; it goes on when they are back",
  ignore,
  fn: () =>
    withCluster(3, async (cluster) => {
      const kv = await openShared(cluster.url());
      const first = await kv.set(["a"], 1);
      const reader = kv.watch([["a"]]).getReader();
      assertEquals((await reader.read()).value![0].value, 1);
      await Promise.all([cluster.kill(0), cluster.stop(1)]);
      const writing = kv.set(["b"], 2);
      const reading = kv.get(["a"]);
      let answered = false;
      Promise.all([writing, reading]).then(() => answered = true);
      await new Promise((resolve) => setTimeout(resolve, 700));
      assertEquals(answered, false);
      cluster.startMember(0);
      const [, read] = await within(Promise.all([writing, reading]), 20_000);
      assertEquals(read.versionstamp, first.versionstamp);
      // Through a member that has been there all along, and one that came back.
      await kv.set(["a"], 3);
      assertEquals((await within(reader.read())).value![0].value, 3);
      kv.close();
      assertEquals((await reader.read()).done, true);
      await assertRejects(() => kv.get(["a"]), TypeError, "The database is closed");
    }),
});

Deno.test({
  name: "etcds: members and clients prove who they are",
  ignore,
  fn: async () => {
    const folder = await Deno.makeTempDir({ prefix: "plesio-etcds-" });
    try {
      const tls = await makeTls(folder);
      await withCluster(1, async (cluster) => {
        const { ca, cert, key } = tls;
        const kv = await openShared(`${cluster.url()}?ca=${ca}&cert=${cert}&key=${key}`);
        await kv.set(["a"], 1);
        assertEquals((await kv.get(["a"])).value, 1);
        kv.close();
        // Neither a stranger nor a member under another name.
        const members = [`localhost:${cluster.url().split(":").at(-1)}`];
        const [caPem, certPem, keyPem] = await Promise.all(
          [ca, cert, key].map((f) => Deno.readFile(f)),
        );
        const clock = new RealClock();
        const named = await EtcdMembers.of({
          members,
          tls: { ca: caPem, cert: certPem, key: keyPem },
          clock,
        });
        const asked = message({ 1: "a" });
        const range = "/etcdserverpb.KV/Range";
        await assertRejects(() => named.call(range, asked), Error, "does not match certificate");
        const anonymous = await EtcdMembers.of({
          members: [cluster.url().replace("etcds://", "")],
          tls: { ca: caPem },
          clock,
        });
        await assertRejects(() => anonymous.call(range, asked), Error, "cannot be reached");
        for (const one of [named, anonymous]) one.close();
      }, tls);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

/** An authority, and a certificate of it for 127.0.0.1, by openssl. */
async function makeTls(folder: string): Promise<ClusterTls> {
  const [ca, caKey, cert, key] = ["ca", "ca-key", "cert", "key"].map((n) => `${folder}/${n}.pem`);
  const openssl = async (...args: string[]) => {
    const { success, stderr } = await new Deno.Command("openssl", { args }).output();
    assert(success, new TextDecoder().decode(stderr));
  };
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  await openssl("req", "-x509", ...ec, "-keyout", caKey, "-out", ca, "-subj", "/CN=ca");
  const request = `${folder}/request.pem`;
  await openssl("req", ...ec, "-keyout", key, "-out", request, "-subj", "/CN=member");
  await Deno.writeTextFile(`${folder}/ext`, "subjectAltName=IP:127.0.0.1\n");
  await openssl(
    ...["x509", "-req", "-in", request, "-CA", ca, "-CAkey", caKey, "-CAcreateserial"],
    ...["-extfile", `${folder}/ext`, "-out", cert, "-days", "2"],
  );
  return { ca, cert, key };
}

Deno.test("a URL of etcd that says something else is refused with what is wrong", async () => {
  const cases: [string, string][] = [
    ["etcd://", "such a URL is etcd://host:port"],
    ["etcd://user@host", "such a URL is etcd://host:port"],
    ["etcd://host?ca=x", `no parameter "ca" (etcds:// has ca, cert, key)`],
    ["etcds://host?pass=x", `no parameter "pass"`],
    ["etcds://host?ca=/none/such", "its ca cannot be read"],
    [`etcds://host?cert=${new URL(import.meta.url).pathname}`, "come together"],
  ];
  for (const [path, text] of cases) {
    const opening = () => openDatabase({ path, codec: thingCodec, clock: new RealClock() });
    await assertRejects(opening, DatabaseError, text);
  }
});
