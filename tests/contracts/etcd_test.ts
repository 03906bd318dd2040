/** The contracts of KV, store and queue over three members of etcd, where it is installed. */

import { openDatabase, RealClock } from "../../kv/mod.ts";
import { openShared } from "../../kv/open.ts";
import { EtcdCluster, hasEtcd } from "../etcd_cluster.ts";
import { kvContract } from "./kv.ts";
import { queueContract } from "./queue.ts";
import { type StoreBench, storeContract, thingCodec } from "./store.ts";

if (hasEtcd) {
  let cluster: EtcdCluster;
  Deno.test.beforeAll(async () => {
    cluster = await EtcdCluster.start(3);
  });
  Deno.test.afterAll(() => cluster.dispose());
  let count = 0;
  const make = (): Promise<StoreBench> => {
    // Each case has a database of its own.
    const path = cluster.url(`/case-${++count}`);
    return Promise.resolve({
      durable: true,
      open: (options) =>
        openDatabase({ path, codec: thingCodec, clock: new RealClock(), ...options }),
      dispose: () => Promise.resolve(),
    });
  };
  kvContract("etcd", async () => {
    const path = cluster.url(`/case-${++count}`);
    const kv = await openShared(path);
    return { kv, dispose: () => Promise.resolve() };
  });
  storeContract("etcd", make, { has: ["durable", "shared"] });
  queueContract("mailbox, etcd", async () => ({ ...await make(), clock: undefined }));
} else {
  Deno.test({ name: "contracts over etcd: it is not installed here", ignore: true, fn: () => {} });
}
