/** The API over every kind of database: what a database that others share costs. */
import { EtcdCluster, hasEtcd } from "../etcd_cluster.ts";
import { Server } from "../e2e/server.ts";
import { KvServer, TOKEN } from "../kv_server.ts";
import { createPods, post } from "./load.ts";

/** Members of the cluster of etcd. */
const MEMBERS = 3;
const PODS = 3_000;

/** Creates a second over one database: 16 connections, and one. */
export interface BackendRate {
  readonly name: string;
  readonly many: number;
  readonly one: number;
}

async function rates(name: string, flags: string[]): Promise<BackendRate> {
  const env = { DENO_KV_ACCESS_TOKEN: TOKEN };
  await using server = await Server.start({ flags: ["--components", "api", ...flags], env });
  // Its controllers would have made it.
  await post(server.access, "/api/v1/namespaces/default/serviceaccounts", {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: "default" },
  });
  await createPods(server.access, 16, 1000, "warm");
  const many = await createPods(server.access, 16, PODS, "many");
  return { name, many, one: await createPods(server.access, 1, PODS / 10, "one") };
}

/** Measures one after the other; etcd where it is installed. */
export async function* backendRates(): AsyncGenerator<BackendRate> {
  yield await rates("memory", ["--memory"]);
  yield await rates("a SQLite file", []);
  const folder = await Deno.makeTempDir({ prefix: "plesio-bench-" });
  try {
    const kv = await KvServer.start({ data: `${folder}/shared.db` });
    yield await rates("KV Connect over a SQLite file", ["--kv", kv.url]);
    await kv.stop();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  if (!hasEtcd) return console.error("etcd: skipped, it is not installed");
  const cluster = await EtcdCluster.start(MEMBERS);
  try {
    yield await rates(`etcd, ${MEMBERS} members here`, ["--kv", cluster.url()]);
  } finally {
    await cluster.dispose();
  }
}
