import { assertEquals, assertRejects } from "@std/assert";
import { ApiError } from "../machinery/types.ts";
import { ADMIN, CONFIG_MAPS, openApi } from "../server/fixture_test.ts";
import { httpClient } from "./http.ts";
import { createInformers } from "./informer.ts";

const maps = { resource: CONFIG_MAPS, namespace: "default" };

Deno.test("httpClient() does what the in-process client does", async () => {
  await using f = await openApi();
  const client = httpClient({
    server: "http://plesio",
    transport: (request) => f.api.fetch(request, { user: ADMIN }),
    agent: "remote",
  });
  const made = await client.create(maps, { metadata: { name: "a" }, data: { x: "1" } });
  assertEquals(made.metadata.managedFields?.[0].manager, "remote");
  const there: unknown = await client.get({ ...maps, name: "a" });
  const here: unknown = await f.client.get({ ...maps, name: "a" });
  assertEquals(there, here);
  await client.patch({ ...maps, name: "a" }, {
    type: "apply",
    body: {
      apiVersion: "v1",
      kind: "ConfigMap",
      data: { y: "2" },
    },
  });
  const list = await client.list(maps);
  assertEquals(list.items.map((o) => [o.kind, o.data.x, o.data.y]), [["ConfigMap", "1", "2"]]);
  await client.delete({ ...maps, name: "a" });
  const gone = await assertRejects(() => client.get({ ...maps, name: "a" }), ApiError);
  assertEquals(gone.message, `configmaps "a" not found`);
});

Deno.test("httpClient() keeps informers", async () => {
  await using f = await openApi();
  const client = httpClient({
    server: "http://plesio",
    transport: (request) => f.api.fetch(request, { user: ADMIN }),
  });
  const informers = createInformers(client, f.clock);
  const cache = informers.for(CONFIG_MAPS);
  await cache.whenSynced();
  const told = Promise.withResolvers<void>();
  cache.subscribe(({ key }) => key === "default/b" && told.resolve());
  await f.client.create(maps, { metadata: { name: "b" } });
  await told.promise;
  assertEquals(cache.get("default/b")?.kind, "ConfigMap");
  await informers.stop();
});
