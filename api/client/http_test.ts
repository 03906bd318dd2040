import { assertEquals, assertRejects } from "@std/assert";
import { ApiError } from "../machinery/types.ts";
import { ADMIN, CONFIG_MAPS, openApi } from "../server/fixture_test.ts";
import { httpClient, LINE_LENGTH_MAX, linesOf } from "./http.ts";
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

/** A body that comes in these pieces; `left` is called when nobody wants the rest. */
function bodyOf(pieces: Iterable<string>, left = () => {}): ReadableStream<Uint8Array> {
  const rest = pieces[Symbol.iterator]();
  const encoder = new TextEncoder();
  return new ReadableStream({
    pull(controller) {
      const { done, value } = rest.next();
      if (done) controller.close();
      else controller.enqueue(encoder.encode(value));
    },
    cancel: left,
  });
}

Deno.test("linesOf() gives lines whole however they come, and what has no end only to who asks", async () => {
  const pieces = ["a", "b\nc\nd", "e", "\n", "f"];
  const lines = async (options?: { last: boolean }) =>
    (await Array.fromAsync(linesOf(bodyOf(pieces), options))).map((some) => some.join());
  assertEquals(await lines(), ["ab,c", "de"]);
  assertEquals(await lines({ last: true }), ["ab,c", "de", "f"]);
});

Deno.test("linesOf() leaves a body that nobody reads on, and one whose line does not end", async () => {
  let left = 0;
  const endless = function* (piece: string) {
    for (;;) yield piece;
  };
  for await (const some of linesOf(bodyOf(endless("a\n"), () => left++))) {
    assertEquals(some, ["a"]);
    break;
  }
  assertEquals(left, 1);
  const long = linesOf(bodyOf(endless("a".repeat(LINE_LENGTH_MAX / 4)), () => left++));
  await assertRejects(() => Array.fromAsync(long), RangeError, "too long");
  assertEquals(left, 2);
});
