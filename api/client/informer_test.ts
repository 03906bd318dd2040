import { assertEquals } from "@std/assert";
import { ManualClock } from "../../kv/clock.ts";
import type { KubeObject } from "../machinery/types.ts";
import type { Client, ClientWatch } from "./contract.ts";
import { createInformers, RETRY_MS } from "./informer.ts";

const PODS = { group: "", version: "v1", plural: "pods" };

/** A client whose watches tell nothing, and which counts its lists. */
function quietClient() {
  const server = { revision: 3, items: [] as KubeObject[], lists: 0, failing: false };
  const client = {
    list: () => {
      server.lists++;
      if (server.failing) return Promise.reject(new Error("no connection"));
      const metadata = { resourceVersion: String(server.revision) };
      return Promise.resolve({ items: [...server.items], metadata });
    },
    watch: () => {
      const over = Promise.withResolvers<void>();
      const watch: ClientWatch<KubeObject> = {
        close: () => over.resolve(),
        [Symbol.asyncIterator]: () => ({
          next: () => over.promise.then(() => ({ done: true as const, value: undefined })),
        }),
      };
      return Promise.resolve(watch);
    },
  };
  return { client: client as unknown as Client, server };
}

function pod(name: string): KubeObject {
  const metadata = { name, namespace: "default", uid: name, resourceVersion: "5" };
  return { apiVersion: "v1", kind: "Pod", metadata } as KubeObject;
}

async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await undefined;
}

Deno.test("a cache that is behind a revision lists again, once for all who wait", async () => {
  const { client, server } = quietClient();
  const informers = createInformers(client, new ManualClock());
  const pods = informers.for(PODS);
  await pods.whenSynced(3);
  assertEquals(server.lists, 1, "the first list is new enough");
  server.revision = 5;
  server.items = [pod("a")];
  const heard: string[] = [];
  pods.subscribe(({ key }) => heard.push(key));
  await Promise.all([pods.whenSynced(5), pods.whenSynced(4)]);
  assertEquals([server.lists, pods.size, pods.resourceVersion], [2, 1, "5"]);
  assertEquals(heard, ["default/a"], "the difference is told");
  await pods.whenSynced(9);
  assertEquals(server.lists, 3, "a list that began after the call is new enough, whatever it says");
  await informers.stop();
});

Deno.test("a cache that pauses after a failure is not waited for", async () => {
  const { client, server } = quietClient();
  const clock = new ManualClock();
  const informers = createInformers(client, clock);
  const pods = informers.for(PODS);
  await pods.whenSynced();
  server.failing = true;
  const waiting = pods.whenSynced(5);
  await turns();
  assertEquals(server.lists, 2);
  await clock.advance(RETRY_MS);
  await turns();
  assertEquals(server.lists, 3, "it is tried again");
  server.failing = false;
  server.revision = 5;
  const at = clock.now();
  await Promise.all([waiting, pods.whenSynced(5)]);
  assertEquals([server.lists, clock.now()], [4, at], "no time has passed");
  await informers.stop();
});

Deno.test("an informer that is stopped leaves nobody waiting", async () => {
  const { client } = quietClient();
  const informers = createInformers(client, new ManualClock());
  const pods = informers.for(PODS);
  await pods.whenSynced();
  const waiting = pods.whenSynced(5).then(() => "listed", (error) => error.message);
  await informers.stop();
  assertEquals(["listed", "the informer was stopped"].includes(await waiting), true);
});
