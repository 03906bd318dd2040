import { assertEquals } from "@std/assert";
import WebSocket from "ws";
import type { NodeApi, RemoteProcess } from "../client/node_api.ts";
import { badRequest } from "../machinery/errors.ts";
import { ADMIN_TOKEN, CONFIG_MAPS, type Fixture, openApi, pod, PODS } from "./fixture_test.ts";
import { spdyDictionary } from "../client/spdy_dictionary.ts";
import { SpdySession, type SpdyStream } from "../client/spdy.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const at = { resource: PODS, namespace: "default" };

/** A process that says what it reads in capitals, and ends with 3. */
function shout(): RemoteProcess {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>({
    transform: (data, controller) =>
      controller.enqueue(encoder.encode(decoder.decode(data).toUpperCase())),
  });
  const [stdout, copy] = readable.tee();
  const ended = (async () => {
    for await (const _ of copy);
    return { exitCode: 3 };
  })();
  return { stdin: writable, stdout, resize() {}, ended, close() {} };
}

/** A connection to this port ends by itself. */
const SHORT_PORT = 81;

const node: NodeApi = {
  logs: () => Promise.resolve(new Response("a line\n").body!),
  exec: ({ command }) =>
    command[0] === "no" ? Promise.reject(badRequest("no such thing")) : Promise.resolve(shout()),
  attach: () => Promise.resolve(shout()),
  portForward: (_pod, port) => {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const writer = writable.getWriter();
    void writer.write(encoder.encode(`port ${port}: `));
    if (port === SHORT_PORT) void writer.close();
    else writer.releaseLock();
    return Promise.resolve({ readable, writable, close() {} });
  },
  fetch: (request) => Promise.resolve(new Response(`node ${new URL(request.url).pathname}`)),
};

async function running(): Promise<Fixture & { url: string; stop: () => Promise<void> }> {
  const f = await openApi({ dialer: () => Promise.resolve(node) });
  await f.client.create(at, pod("p"));
  await f.client.create({ ...at, name: "p", subresource: "binding" }, { target: { name: "n" } });
  const listener = await f.api.listen({ port: 0 });
  return { ...f, url: `127.0.0.1:${listener.port}`, stop: () => listener.close() };
}

interface Message {
  channel: number;
  text: string;
}

/** Opens a WebSocket and collects what comes until it closes. */
function open(url: string, protocols: string[]) {
  const headers = { authorization: `Bearer ${ADMIN_TOKEN}` };
  const ws = new WebSocket(url, protocols, { headers });
  const messages: Message[] = [];
  const opened = new Promise<void>((resolve, reject) => {
    ws.on("open", () => resolve());
    ws.on("unexpected-response", (_req, res) => {
      ws.terminate();
      reject(new Error(`refused with ${res.statusCode}`));
    });
    ws.on("error", reject);
  });
  ws.on("message", (data: Uint8Array) => {
    messages.push({ channel: data[0], text: decoder.decode(data.subarray(1)) });
  });
  const closed = new Promise<void>((resolve) => ws.on("close", () => resolve()));
  return { ws, messages, opened, closed };
}

function textOf(messages: readonly Message[], channel: number): string {
  return messages.filter((m) => m.channel === channel).map((m) => m.text).join("");
}

Deno.test("exec over WebSocket v5: input, its end, output, exit code", async () => {
  const f = await running();
  const query = "command=x&stdin=true&stdout=true";
  const url = `ws://${f.url}/api/v1/namespaces/default/pods/p/exec?${query}`;
  const { ws, messages, opened, closed } = open(url, ["v5.channel.k8s.io"]);
  await opened;
  assertEquals(ws.protocol, "v5.channel.k8s.io");
  ws.send(new Uint8Array([0, ...encoder.encode("hello")]));
  ws.send(new Uint8Array([255, 0]));
  await closed;
  assertEquals(textOf(messages, 1), "HELLO");
  const status = JSON.parse(textOf(messages, 3));
  assertEquals([status.reason, status.details.causes[0].message], ["NonZeroExitCode", "3"]);
  await f.stop();
  await f[Symbol.asyncDispose]();
});

Deno.test("exec that the node refuses is refused before the handshake", async () => {
  const f = await running();
  const url = `ws://${f.url}/api/v1/namespaces/default/pods/p/exec?command=no&stdout=true`;
  const { opened } = open(url, ["v4.channel.k8s.io"]);
  assertEquals(await opened.catch((error) => error.message), "refused with 400");
  await f.stop();
  await f[Symbol.asyncDispose]();
});

Deno.test("watch over WebSocket: an event a message", async () => {
  const f = await running();
  const url = `ws://${f.url}/api/v1/namespaces/default/configmaps?watch=true`;
  const { ws, opened } = open(url, []);
  await opened;
  const message = new Promise<string>((resolve) =>
    ws.on("message", (data: Uint8Array) => resolve(decoder.decode(data)))
  );
  await f.client.create({ resource: CONFIG_MAPS, namespace: "default" }, {
    metadata: { name: "m" },
  });
  const event = JSON.parse(await message);
  assertEquals([event.type, event.object.metadata.name], ["ADDED", "m"]);
  ws.terminate();
  await f.stop();
  await f[Symbol.asyncDispose]();
});

/** A client as browsers are: its token is among the subprotocols. */
function asBrowser(url: string, protocols: string[]) {
  const token = btoa(ADMIN_TOKEN).replace(/=+$/, "").replaceAll("+", "-").replaceAll("/", "_");
  return new globalThis.WebSocket(url, [
    `base64url.bearer.authorization.k8s.io.${token}`,
    ...protocols,
  ]);
}

Deno.test("watch and logs over WebSocket, the token among the subprotocols", async (t) => {
  const f = await running();
  await t.step("watch", async () => {
    const url = `ws://${f.url}/api/v1/namespaces/default/configmaps?watch=true`;
    const ws = asBrowser(url, ["v5.example"]);
    const message = new Promise<string>((resolve) => ws.onmessage = ({ data }) => resolve(data));
    await new Promise((resolve) => ws.onopen = resolve);
    assertEquals(ws.protocol, "v5.example");
    await f.client.create({ resource: CONFIG_MAPS, namespace: "default" }, {
      metadata: { name: "browsed" },
    });
    const event = JSON.parse(await message);
    assertEquals([event.type, event.object.metadata.name], ["ADDED", "browsed"]);
    const closed = new Promise((resolve) => ws.onclose = resolve);
    ws.close();
    await closed;
  });
  for (
    const [protocol, wanted] of [
      ["binary.k8s.io", "a line\n"],
      ["base64.binary.k8s.io", btoa("a line\n")],
    ]
  ) {
    await t.step(`log in ${protocol}`, async () => {
      const ws = asBrowser(`ws://${f.url}/api/v1/namespaces/default/pods/p/log`, [protocol]);
      ws.binaryType = "arraybuffer";
      let text = "";
      ws.onmessage = ({ data }) => text += typeof data === "string" ? data : decoder.decode(data);
      const { code } = await new Promise<CloseEvent>((resolve) => ws.onclose = resolve);
      assertEquals([ws.protocol, text, code], [protocol, wanted, 1000]);
    });
  }
  await t.step("a token alone is refused", async () => {
    const ws = asBrowser(`ws://${f.url}/api/v1/namespaces/default/configmaps?watch=true`, []);
    const opened = await new Promise<boolean>((resolve) => {
      ws.onopen = () => resolve(true);
      ws.onerror = () => resolve(false);
    });
    assertEquals(opened, false);
  });
  await f.stop();
  await f[Symbol.asyncDispose]();
});

Deno.test("port-forward over WebSocket channels: the port's number, then data", async () => {
  const f = await running();
  const url = `ws://${f.url}/api/v1/namespaces/default/pods/p/portforward?ports=8080`;
  const { ws, opened } = open(url, ["v4.channel.k8s.io"]);
  const parts: number[] = [];
  const echoed = new Promise<void>((resolve) =>
    ws.on("message", (data: Uint8Array) => {
      if (data[0] === 0) parts.push(...data.subarray(1));
      if (decoder.decode(new Uint8Array(parts)).endsWith("ping")) resolve();
    })
  );
  await opened;
  ws.send(new Uint8Array([0, ...encoder.encode("ping")]));
  await echoed;
  assertEquals(parts.slice(0, 2), [8080 & 0xff, 8080 >> 8]);
  assertEquals(decoder.decode(new Uint8Array(parts.slice(2))), "port 8080: ping");
  ws.terminate();
  await f.stop();
  await f[Symbol.asyncDispose]();
});

Deno.test("port-forward over WebSocket channels ends with its last connection", async () => {
  const f = await running();
  const url = `ws://${f.url}/api/v1/namespaces/default/pods/p/portforward?ports=${SHORT_PORT}`;
  const { ws, opened } = open(url, ["v4.channel.k8s.io"]);
  const closed = new Promise<number>((resolve) => ws.on("close", resolve));
  await opened;
  assertEquals(await closed, 1000);
  await f.stop();
  await f[Symbol.asyncDispose]();
});

Deno.test("logs and the node's proxy over HTTP", async () => {
  const f = await running();
  const headers = { authorization: `Bearer ${ADMIN_TOKEN}` };
  const ask = async (path: string) =>
    await (await fetch(`http://${f.url}${path}`, { headers })).text();
  assertEquals(await ask("/api/v1/namespaces/default/pods/p/log"), "a line\n");
  const wrong = JSON.parse(await ask("/api/v1/namespaces/default/pods/p/log?container=zz"));
  assertEquals(wrong.message, "container zz is not valid for pod p");
  await f.stop();
  await f[Symbol.asyncDispose]();
});

// --- SPDY -----------------------------------------------------------------------------------------------

function frame(type: number, flags: number, body: Uint8Array): Uint8Array {
  const out = new Uint8Array(8 + body.length);
  const view = new DataView(out.buffer);
  view.setUint16(0, 0x8003);
  view.setUint16(2, type);
  view.setUint32(4, flags * 0x1000000 + body.length);
  out.set(body, 8);
  return out;
}

function headerBlock(headers: Record<string, string>): number[] {
  const out: number[] = [];
  const number = (n: number) => out.push(n >>> 24, (n >> 16) & 255, (n >> 8) & 255, n & 255);
  const entries = Object.entries(headers);
  number(entries.length);
  for (const text of entries.flat()) {
    number(text.length);
    out.push(...encoder.encode(text));
  }
  return out;
}

/** A zlib stream of stored blocks; the first piece has its header. */
function stored(data: number[], first: boolean): number[] {
  const size = data.length;
  const head = first ? [0x78, 0x01] : [];
  return [...head, 0, size & 255, size >> 8, ~size & 255, (~size >> 8) & 255, ...data];
}

Deno.test("the SPDY dictionary is the specification's", () => {
  let a = 1;
  let b = 0;
  for (const byte of spdyDictionary()) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  assertEquals(((b * 65536 + a) >>> 0).toString(16), "e3c6a7c2");
});

Deno.test("SpdySession: streams, data both ways, frames cut anywhere", async () => {
  const sent: Uint8Array[] = [];
  const streams: SpdyStream[] = [];
  const session = new SpdySession({
    send(bytes) {
      sent.push(bytes);
      return Promise.resolve();
    },
    close() {},
  }, (stream) => streams.push(stream));
  const open = (id: number, headers: Record<string, string>, first: boolean) =>
    frame(
      1,
      0,
      new Uint8Array([0, 0, 0, id, 0, 0, 0, 0, 0, 0, ...stored(headerBlock(headers), first)]),
    );
  const data = new Uint8Array([0, 0, 0, 3, 1, 0, 0, 2, 104, 105]);
  const all = [
    ...open(1, { streamtype: "error" }, true),
    ...open(3, { streamtype: "data" }, false),
    ...data,
  ];
  for (let i = 0; i < all.length; i += 7) {
    await session.receive(new Uint8Array(all.slice(i, i + 7)));
  }
  assertEquals(streams.map((s) => s.headers.get("streamtype")), ["error", "data"]);
  assertEquals(sent.map((f) => f[3]), [2, 2]);
  assertEquals(
    await new Response(streams[1].readable as ReadableStream<Uint8Array<ArrayBuffer>>).text(),
    "hi",
  );
  await streams[1].write(encoder.encode("yo"));
  await streams[1].end();
  assertEquals([...sent[2]], [0, 0, 0, 3, 0, 0, 0, 2, 121, 111]);
  assertEquals([...sent[3]], [0, 0, 0, 3, 1, 0, 0, 0]);
  session.close();
  await session.closed;
});
