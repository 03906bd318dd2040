/** The KV Connect server, as Deno's own client and ours find it. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ManualClock, RealClock } from "./clock.ts";
import { ConnectStore } from "./connect_client.ts";
import { connectHandler, type ConnectOptions, serveConnect } from "./connect_server.ts";
import { keyBytes } from "./key_bytes.ts";
import {
  CONNECT_BODY_BYTES_MAX,
  CONNECT_CALL_MS,
  CONNECT_PING_MS,
  CONNECT_SILENCE_MS,
  CONNECT_TOKEN_LENGTH_MIN,
} from "./limits.ts";
import { openShared } from "./open.ts";
import { message } from "./protobuf.ts";
import { Unreachable } from "./remote_kv.ts";

const TOKEN = "a token of tests";
Deno.env.set("DENO_KV_ACCESS_TOKEN", TOKEN);

const CLIENTS: Record<string, (url: string) => Promise<Deno.Kv>> = {
  "Deno's client": (url) => Deno.openKv(url),
  "our client": (url) => openShared(url),
};

/** A database, and the same by KV Connect. */
async function served(
  client: string,
  run: (remote: Deno.Kv, local: Deno.Kv) => Promise<void>,
  options: Partial<ConnectOptions> = {},
): Promise<void> {
  const kv = await Deno.openKv(":memory:");
  const server = serveConnect({ kv, clock: new RealClock(), token: TOKEN, ...options });
  const remote = await CLIENTS[client](server.url);
  try {
    await run(remote, kv);
  } finally {
    remote.close();
    await server.close();
    kv.close();
  }
}

for (const client of Object.keys(CLIENTS)) {
  Deno.test(`${client}: entries are those of the database, with their versionstamps`, () =>
    served(client, async (remote, local) => {
      const { versionstamp } = await remote.set(["a", 1], "text");
      await local.set(["a", 2], new Uint8Array([1]));
      const [one, two] = await Array.fromAsync(local.list({ prefix: ["a"] }));
      assertEquals(one.versionstamp, versionstamp);
      assertEquals(await Array.fromAsync(remote.list({ prefix: ["a"] })), [one, two]);
      assertEquals(await remote.getMany([["a", 1], ["b"]]), [
        one,
        { key: ["b"], value: null, versionstamp: null },
      ]);
    }));

  Deno.test(`${client}: a watch that ended is no longer one of the server's`, () =>
    served(client, async (remote, local) => {
      await local.set(["a"], 1);
      for (let i = 0; i < 3; i++) {
        const reader = remote.watch([["a"]]).getReader();
        assertEquals((await reader.read()).value![0].value, 1);
        await reader.cancel();
      }
    }, { watchesMax: 1 }));
}

Deno.test("Deno's client counts, and sets what expires", () =>
  served("Deno's client", async (remote, local) => {
    const done = await remote.atomic().sum(["c"], 5n).max(["d"], 3n).min(["e"], 2n)
      .set(["f"], 1, { expireIn: 60_000 }).commit();
    assert(done.ok);
    const found = await local.getMany([["c"], ["d"], ["e"], ["f"]]);
    const [five, three, two] = [5n, 3n, 2n].map((n) => new Deno.KvU64(n));
    assertEquals(found.map(({ value }) => value), [five, three, two, 1]);
    await assertRejects(() => remote.enqueue("mail"), Error, "not supported in KV Connect");
  }));

Deno.test("our client says what it cannot do, and why it was refused", async () => {
  await served("our client", async (remote) => {
    await assertRejects(() => remote.enqueue("mail"), TypeError, "has no queue");
    assertThrows(() => remote.atomic().enqueue("mail"), TypeError, "no queue");
    assertThrows(() => remote.atomic().set(["a"], 1, { expireIn: 1 }), TypeError, "no expiry");
    assertThrows(() => remote.list({ prefix: [] }, { cursor: "x" }), TypeError, "cursors");
    assertThrows(() => remote.list({ prefix: [] }, { batchSize: 1001 }), TypeError, "max 1000");
    assertThrows(() => remote.list({} as Deno.KvListSelector), TypeError, "without a prefix");
    await assertRejects(
      async () => await remote.getMany(Array(11).fill(["a"])),
      TypeError,
      "max 10",
    );
    const many = remote.atomic();
    for (let i = 0; i <= 1000; i++) many.set(["a", i], 1);
    await assertRejects(() => many.commit(), TypeError, "max 1000");
    remote.close();
    await assertRejects(async () => await remote.get(["a"]), TypeError, "closed");
  });
  await served("our client", async (remote) => {
    await assertRejects(async () => await remote.get(["a"]), TypeError, "token is wrong");
  }, { token: "a token of others" });
});

Deno.test("our client goes on after its server was away", async () => {
  const kv = await Deno.openKv(":memory:");
  const serve = (port?: number) => serveConnect({ kv, clock: new RealClock(), token: TOKEN, port });
  const first = serve();
  const remote = await CLIENTS["our client"](first.url);
  await remote.set(["a"], 1);
  const reader = remote.watch([["a"]]).getReader();
  await reader.read();
  await first.close();
  const waiting = Promise.all([remote.get(["a"]), remote.set(["b"], 2), reader.read()]);
  const again = serve(Number(new URL(first.url).port));
  await kv.set(["a"], 3);
  const [got, , { value: watched }] = await waiting;
  assert(got.value === 1 || got.value === 3);
  assertEquals(watched![0].value, 3);
  assertEquals((await kv.get(["b"])).value, 2);
  remote.close();
  assertEquals((await reader.read()).done, true);
  await again.close();
  kv.close();
});

Deno.test("a server keeps its watches alive", async () => {
  const kv = await Deno.openKv(":memory:");
  const clock = new ManualClock();
  const handle = connectHandler({ kv, clock, token: TOKEN });
  await kv.set(["a"], 1);
  const answer = await handle(post("/v3/watch", body({ 1: [message({ 1: keyBytes(["a"]) })] })));
  const reader = answer.body!.getReader();
  assert((await reader.read()).value!.length > 4);
  for (let i = 0; i < 2; i++) {
    const frame = reader.read();
    await clock.advance(CONNECT_PING_MS);
    assertEquals((await frame).value, new Uint8Array(4));
  }
  await reader.cancel();
  kv.close();
});

Deno.test("our client leaves a watch that has fallen silent", async () => {
  const kv = await Deno.openKv(":memory:");
  // The server's time stands still.
  const server = serveConnect({ kv, clock: new ManualClock(), token: TOKEN });
  const clock = new ManualClock();
  const store = new ConnectStore({ url: server.url, token: TOKEN, clock });
  await kv.set(["a"], 1);
  const watch = store.watch([keyBytes(["a"])], new AbortController().signal);
  assertEquals((await watch.next()).value![0]?.value.encoding, 1);
  const silent = assertRejects(() => watch.next(), Unreachable, "it is silent");
  await clock.advance(CONNECT_SILENCE_MS);
  await silent;
  store.close();
  await server.close();
  kv.close();
});

Deno.test("our client leaves a server that does not answer, and knows that it told it nothing", async () => {
  const asked = Array.from({ length: 4 }, () => Promise.withResolvers<void>());
  const answers = Array.from({ length: 4 }, () => Promise.withResolvers<Response>());
  let count = 0;
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => {
    asked[count].resolve();
    return answers[count++].promise;
  });
  const clock = new ManualClock();
  const url = `http://127.0.0.1:${server.addr.port}/`;
  const store = new ConnectStore({ url, token: TOKEN, clock });
  const refused = (text: string) =>
    assertRejects(() => store.commit({ checks: [], mutations: [] }), Unreachable, text);
  const late = refused("it does not answer");
  await asked[0].promise;
  await clock.advance(CONNECT_CALL_MS);
  assertEquals((await late).isSent, false);
  answers[1].resolve(new Response("not now", { status: 503 }));
  assertEquals((await refused("not now")).isSent, false);
  // A watch, too
  answers[2].resolve(Response.json({
    version: 3,
    databaseId: "x",
    endpoints: [{ url: "/v3", consistency: "strong" }],
    token: TOKEN,
    expiresAt: new Date(clock.now() + 3_600_000).toISOString(),
  }));
  const watch = store.watch([keyBytes(["a"])], new AbortController().signal);
  const silent = assertRejects(() => watch.next(), Unreachable, "it does not answer");
  await asked[3].promise;
  await clock.advance(CONNECT_CALL_MS);
  await silent;
  store.close();
  for (const { resolve } of answers) resolve(new Response());
  await server.shutdown();
});

Deno.test("all three versions of the protocol are spoken", async () => {
  const kv = await Deno.openKv(":memory:");
  const handle = connectHandler({ kv, clock: new RealClock(), token: TOKEN });
  await kv.set(["a"], new Uint8Array([1]));
  for (const version of [1, 2, 3]) {
    const request = post("/db", JSON.stringify({ supportedVersions: [version, 9] }));
    const metadata = await (await handle(request)).json();
    assertEquals(metadata.version, version);
    const { url, consistency } = metadata.endpoints[0];
    assertEquals(consistency, "strong");
    assertEquals(url, version === 1 ? "http://kv.test/db/v1" : `/db/v${version}`);
    const key = keyBytes(["a"]);
    const body = message({ 1: [message({ 1: key, 2: new Uint8Array([...key, 0]), 3: 1 })] });
    const read = await handle(post(`/db/v${version}/snapshot_read`, body, version));
    assertEquals([read.status, read.headers.get("content-type")], [200, "application/x-protobuf"]);
    assertEquals((await read.bytes()).includes(1), true);
  }
  // Without a body only the first is known.
  assertEquals((await (await handle(post("/"))).json()).version, 1);
  kv.close();
});

function post(path: string, body?: BodyInit, version = 3, token = TOKEN): Request {
  const id = version === 1 ? "x-transaction-domain-id" : "x-denokv-database-id";
  const headers = {
    authorization: `Bearer ${token}`,
    "x-denokv-version": String(version),
    [id]: "00000000-0000-0000-0000-000000000000",
  };
  return new Request(`http://kv.test${path}`, { method: "POST", body, headers });
}

Deno.test("what cannot be done is refused with a reason", async (t) => {
  const kv = await Deno.openKv(":memory:");
  const handle = connectHandler({ kv, clock: new RealClock(), token: TOKEN, watchesMax: 0 });
  const key = keyBytes(["a"]);
  const range = (end: Uint8Array, limit: number) => message({ 1: key, 2: end, 3: limit });
  const [behind, far] = [new Uint8Array([...key, 0]), keyBytes(["b"])];
  const reads = (...ranges: Uint8Array[]) => post("/v3/snapshot_read", body({ 1: ranges }));
  const writes = (mutation: Record<number, number | Uint8Array>) =>
    post("/v3/atomic_write", body({ 2: [message({ 1: key, ...mutation })] }));
  const cases: [string, Request, number, string][] = [
    ["another method", new Request("http://kv.test/"), 405, "by POST"],
    ["another token", post("/", undefined, 3, "a token of thieves"), 401, "token is wrong"],
    ["no version of ours", post("/", `{"supportedVersions":[7]}`), 400, "versions 1 to 3"],
    ["metadata that is no JSON", post("/", "{"), 400, "not JSON"],
    ["another database", post("/v1/watch", undefined, 3), 400, "no database"],
    ["another call", post("/v3/reboot"), 404, `no "reboot"`],
    ["a torn message", post("/v3/watch", new Uint8Array([10, 9])), 400, "cut short"],
    ["too many bytes", post("/v3/watch", new Uint8Array(CONNECT_BODY_BYTES_MAX + 1)), 413, "bytes"],
    ["too many keys", reads(...Array(11).fill(range(behind, 1))), 400, "at most 10"],
    ["too many entries", reads(range(far, 1001)), 400, "at most 1000"],
    ["a read without a limit", reads(range(far, 0)), 400, "with a limit"],
    ["two ranges", reads(range(far, 1), range(far, 1)), 400, "one at a time"],
    ["a range of no keys", reads(range(new Uint8Array([3]), 1)), 400, "not one of keys"],
    ["a queue", post("/v3/atomic_write", body({ 3: [key] })), 400, "no queues"],
    ["no key", post("/v3/atomic_write", body({ 2: [message({ 3: 1 })] })), 400, "A key is not"],
    ["an unknown value", writes({ 2: message({ 1: key, 2: 9 }), 3: 1 }), 400, "encoding 9"],
    ["a torn value", writes({ 2: message({ 1: key, 2: 1 }), 3: 1 }), 400, "V8 did not"],
    ["an unknown mutation", writes({ 3: 9 }), 400, "kind 9"],
    ["a sum of texts", writes({ 2: message({ 1: key, 2: 3 }), 3: 3 }), 400, "64-bit counters"],
    ["a watch of nothing", post("/v3/watch", body({})), 400, "names keys"],
    ["too many watches", post("/v3/watch", body({ 1: [message({ 1: key })] })), 503, "0 watches"],
  ];
  for (const [name, request, status, text] of cases) {
    await t.step(name, async () => {
      const answer = await handle(request);
      assertEquals(answer.status, status);
      assert((await answer.text()).includes(text), text);
    });
  }
  const token = "x".repeat(CONNECT_TOKEN_LENGTH_MIN - 1);
  assertThrows(() => connectHandler({ kv, clock: new RealClock(), token }), TypeError, "at least");
  kv.close();
});

function body(fields: Parameters<typeof message>[0]): Uint8Array<ArrayBuffer> {
  return message(fields);
}
