import { assert, assertEquals } from "@std/assert";
import { gunzipSync } from "node:zlib";
import { ManualClock, RealClock } from "../../kv/mod.ts";
import { type Call, isStream, type Reply } from "./http.ts";
import { ADMIN, CONFIG_MAPS, type Fixture, openApi } from "./fixture_test.ts";
import { callOfRequest } from "./app.ts";
import { Closing } from "./closing.ts";
import { compressed, GZIP_BYTES_MIN } from "./compress.ts";
import { Deadlines } from "./deadlines.ts";

const MAPS = "/api/v1/namespaces/default/configmaps";

function callTo(
  path: string,
  over: Partial<Call> & { headers?: () => [] } = {},
  init?: RequestInit,
) {
  return { ...callOfRequest(new Request(`https://x${path}`, init)), user: ADMIN, ...over };
}

async function bytesOf({ body }: Reply): Promise<Uint8Array> {
  if (!isStream(body)) return body ?? new Uint8Array();
  const parts: Uint8Array[] = [];
  for await (const part of body) parts.push(part);
  return new Uint8Array(parts.flatMap((part) => [...part]));
}

async function statusOf(reply: Reply) {
  return JSON.parse(new TextDecoder().decode(await bytesOf(reply)));
}

Deno.test("Deadlines: nearly all end by one timer, in their order; a shorter one by its own", async () => {
  const clock = new ManualClock();
  const deadlines = new Deadlines(clock, 60_000);
  const never = new Promise<string>(() => {});
  const said: string[] = [];
  const late = (name: string) => () => {
    said.push(name);
    return name;
  };
  void deadlines.within({ began: clock.monotonic(), limitMs: 60_000 }, never, late("first"));
  await clock.advance(10_000);
  void deadlines.within({ began: clock.monotonic(), limitMs: 60_000 }, never, late("second"));
  void deadlines.within({ began: clock.monotonic(), limitMs: 1_000 }, never, late("short"));
  assertEquals(
    await deadlines.within(
      { began: clock.monotonic(), limitMs: 60_000 },
      Promise.resolve("done"),
      late("no"),
    ),
    "done",
  );
  await clock.advance(49_999);
  assertEquals(said, ["short"]);
  await clock.advance(1);
  assertEquals(said, ["short", "first"]);
  await clock.advance(10_000);
  assertEquals(said, ["short", "first", "second"]);
});

Deno.test("Deadlines.limitOf() reads the query's timeout in upstream's words", async () => {
  const deadlines = new Deadlines(new ManualClock(), 60_000);
  assertEquals(deadlines.limitOf(""), 60_000);
  assertEquals(deadlines.limitOf("timeout=5s"), 5_000);
  assertEquals(deadlines.limitOf("timeout=0s"), 60_000);
  assertEquals(deadlines.limitOf("timeout=2m"), 60_000);
  assertEquals(deadlines.limitOf("timeoutSeconds=1"), 60_000);
  await using f = await openApi();
  const reply = await f.api.answer(callTo(`${MAPS}?timeout=soon`));
  assertEquals(reply.status, 400);
  assertEquals(
    (await statusOf(reply)).message,
    'invalid timeout specified in the request URL - time: invalid duration "soon"',
  );
});

Deno.test("passage: a request that takes too long is answered 504; its late end is nobody's", async () => {
  const clock = new ManualClock();
  await using f = await openApi({ clock, front: { requestTimeoutMs: 2000 } });
  const give = Promise.withResolvers<Uint8Array>();
  const waiting = f.api.answer(
    callTo(MAPS, { body: () => give.promise }, {
      method: "POST",
      headers: { "content-type": "application/json" },
    }),
  );
  await clock.turn();
  await clock.advance(2000);
  const reply = await waiting;
  assertEquals(reply.status, 504);
  const status = await statusOf(reply);
  assertEquals([status.reason, status.message], [
    "Timeout",
    "Timeout: request did not complete within the allotted timeout",
  ]);
  give.resolve(new TextEncoder().encode(`{"metadata":{"name":"late"}}`));
});

Deno.test("passage: a watch has no deadline", async () => {
  await using f = await openApi({ front: { requestTimeoutMs: 10 } });
  const reply = await f.api.answer(callTo(`${MAPS}?watch=true&timeoutSeconds=1`));
  assertEquals(reply.status, 200);
  const pieces = (reply.body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  const next = pieces.next();
  await new RealClock().sleep(30);
  await f.client.create({ resource: CONFIG_MAPS, namespace: "default" }, {
    metadata: { name: "a" },
  });
  assert(!(await next).done);
  await pieces.return?.();
});

Deno.test("passage: a watch that names no timeout ends after --min-request-timeout", async () => {
  const clock = new ManualClock();
  await using f = await openApi({ clock, front: { minRequestTimeoutMs: 5000 } });
  const ended = bytesOf(await f.api.answer(callTo(`${MAPS}?watch=true`)));
  await clock.turn();
  await clock.advance(10_000);
  assertEquals(await ended, new Uint8Array());
});

async function filled(f: Fixture, maps: number): Promise<void> {
  for (let i = 0; i < maps; i++) {
    await f.client.create({ resource: CONFIG_MAPS, namespace: "default" }, {
      metadata: { name: `m${i}` },
      data: { text: "x".repeat(20_000) },
    });
  }
}

Deno.test("passage: long answers are compressed for who takes gzip, watches never", async () => {
  await using f = await openApi();
  await filled(f, 10);
  const gzip = { headers: { "accept-encoding": "deflate, gzip" } };
  const plain = await bytesOf(await f.api.answer(callTo(MAPS)));
  const list = await f.api.answer(callTo(MAPS, {}, gzip));
  assertEquals([list.headers["content-encoding"], list.headers.vary], ["gzip", "Accept-Encoding"]);
  assertEquals(new Uint8Array(gunzipSync(await bytesOf(list))), plain);
  const short = await f.api.answer(callTo(`${MAPS}/m1`, {}, gzip));
  assertEquals(short.headers["content-encoding"], undefined);
  const other = await f.api.answer(
    callTo(MAPS, {}, { headers: { "accept-encoding": "gzipped" } }),
  );
  assertEquals(other.headers["content-encoding"], undefined);
  const watch = await f.api.answer(
    callTo(`${MAPS}?watch=true&timeoutSeconds=1`, {}, gzip),
  );
  assertEquals(watch.headers["content-encoding"], undefined);
  await (watch.body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]().return?.();
});

Deno.test("compressed() leaves what is just short enough", async () => {
  const reply = (bytes: number): Reply => ({
    status: 200,
    headers: {},
    body: new Uint8Array(bytes),
  });
  assertEquals((await compressed(reply(GZIP_BYTES_MIN))).headers, {});
  const long = await compressed(reply(GZIP_BYTES_MIN + 1));
  assertEquals(gunzipSync(long.body as Uint8Array).length, GZIP_BYTES_MIN + 1);
});

Deno.test("passage: browsers of allowed origins may use the API, and are told of TLS", async () => {
  const browsers = {
    corsOrigins: [/^https:\/\/console\.example\.com$/],
    hsts: ["max-age=31536000", "includeSubDomains"],
  };
  await using f = await openApi({ front: { browsers } });
  const from = (origin: string, method = "GET") =>
    f.api.answer(callTo("/version", {}, { method, headers: { origin } }));
  const good = await from("https://console.example.com");
  assertEquals(good.headers["access-control-allow-origin"], "https://console.example.com");
  assertEquals(good.headers["access-control-allow-credentials"], "true");
  assertEquals(good.headers["strict-transport-security"], "max-age=31536000; includeSubDomains");
  const asked = await from("https://console.example.com", "OPTIONS");
  assertEquals(asked.status, 204);
  assertEquals(
    asked.headers["access-control-allow-methods"],
    "POST, GET, OPTIONS, PUT, DELETE, PATCH",
  );
  const bad = await from("https://evil.example.com");
  assertEquals(bad.headers["access-control-allow-origin"], undefined);
});

Deno.test("passage: clients over HTTP/2 are asked to connect anew, by chance", async () => {
  await using f = await openApi({ front: { goawayChance: 1 } });
  const reply = await f.api.answer(callTo("/version", { http2: true }));
  assertEquals(reply.headers.connection, "close");
  assertEquals((await f.api.answer(callTo("/version"))).headers.connection, undefined);
});

Deno.test("warnings: together too long, each of them is cut", async () => {
  await using f = await openApi();
  const unknown: Record<string, string> = {};
  for (let i = 0; i < 30; i++) unknown[`f${i}${"x".repeat(300)}`] = "";
  const reply = await f.api.answer(
    callTo(MAPS, {}, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ metadata: { name: "w" }, ...unknown }),
    }),
  );
  const lines = reply.headers.warning as string[];
  assert(lines.every((line) => line.length <= 256 + `299 - "\\"\\""`.length), lines[0]);
  assertEquals(lines.length, 4096 / 256);
});

Deno.test("Closing: readyz says no, requests are refused, watches end, those under way are waited for", async () => {
  await using f = await openApi();
  const watch = await f.api.answer(callTo(`${MAPS}?watch=true`));
  const ended = bytesOf(watch);
  const give = Promise.withResolvers<Uint8Array>();
  const slow = f.api.answer(
    callTo(MAPS, { body: () => give.promise }, {
      method: "POST",
      headers: { "content-type": "application/json" },
    }),
  );
  await f.clock.turn();
  const closed = f.api.shutdown();
  await f.clock.turn();
  const refused = await f.api.answer(callTo(MAPS));
  assertEquals([refused.status, refused.headers["retry-after"]], [503, "1"]);
  assertEquals((await statusOf(refused)).message, "apiserver is shutting down");
  const ready = await f.api.answer(callTo("/readyz"));
  assertEquals(ready.status, 500);
  assert(new TextDecoder().decode(await bytesOf(ready)).includes("[-]shutdown failed"));
  assertEquals((await f.api.answer(callTo("/livez"))).status, 200);
  await ended;
  give.resolve(new TextEncoder().encode(`{"metadata":{"name":"late"}}`));
  assertEquals((await slow).status, 201);
  await closed;
});

Deno.test("Closing: asked for, clients are told to come again in five seconds; nobody is waited for longer than a while", async () => {
  const clock = new ManualClock();
  const closing = new Closing(clock, { delayMs: 1000, retryAfter: true });
  closing.entered();
  let done = false;
  const closed = closing.close().then(() => done = true);
  assertEquals([closing.unready, closing.refusing], [true, false]);
  await clock.advance(1000);
  await clock.turn();
  const refused = closing.refusal(callTo("/version"))!;
  assertEquals([refused.status, refused.headers["retry-after"], refused.headers.connection], [
    429,
    "5",
    "close",
  ]);
  assertEquals(closing.refusal(callTo("/metrics")), undefined);
  assertEquals(done, false);
  await clock.advance(5000);
  await closed;
});
