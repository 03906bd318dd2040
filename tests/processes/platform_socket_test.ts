/** WebSockets where a platform holds the sockets (`Deno.serve`): watches, and the tunnel of a node that has dialled in. */
import { assertEquals, assertRejects } from "@std/assert";
import WebSocket from "ws";
import type { NodeApi } from "../../api/client/node_api.ts";
import { FLOODED, INBOX_BYTES_MAX, socketed } from "../../api/client/socketed.ts";
import { Tunnel } from "../../api/client/tunnel.ts";
import { answerFor } from "../../api/client/tunnel_node.ts";
import { RealClock } from "../../kv/mod.ts";
import { Cluster } from "../../mod.ts";

/** A cluster behind the platform's server. */
async function served() {
  const cluster = await Cluster.start({
    clock: "real",
    components: ["api"],
    nodes: 0,
    tokens: new Map([
      ["admin", { name: "ada", groups: ["system:masters"] }],
      ["node", { name: "system:node:far", groups: ["system:nodes", "system:authenticated"] }],
    ]),
  });
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    async (request) => (await cluster.api.serve(request)).response,
  );
  return {
    cluster,
    url: `ws://127.0.0.1:${server.addr.port}`,
    async [Symbol.asyncDispose]() {
      await server.shutdown();
      await cluster.stop();
    },
  };
}

/** Opens a WebSocket as a user; rejects with the status of a refusal. */
async function open(url: string, token: string, protocols: string[] = []) {
  const socket = new WebSocket(url, protocols, { headers: { authorization: `Bearer ${token}` } });
  await new Promise<void>((resolve, reject) => {
    socket.once("open", () => resolve());
    socket.once("error", reject);
    socket.once("unexpected-response", (_request, { statusCode }) => {
      socket.terminate();
      reject(new Error(`refused: ${statusCode}`));
    });
  });
  return socket;
}

const maps = { resource: { group: "", version: "v1", plural: "configmaps" }, namespace: "default" };

Deno.test("a watch comes over a platform's WebSocket, and what is refused is refused as over HTTP", async () => {
  await using world = await served();
  const path = "/api/v1/namespaces/default/configmaps?watch=true";
  await assertRejects(() => open(world.url + path, "nobody"), Error, "refused: 401");
  await assertRejects(
    () => open(`${world.url}/api/v1/namespaces/default/pods/none/exec?command=ls`, "admin"),
    Error,
    "refused: 404",
  );
  const socket = await open(world.url + path, "admin");
  const heard = Promise.withResolvers<string>();
  socket.on("message", (data) => {
    const { object } = JSON.parse(String(data));
    if (object.metadata.name === "seen") heard.resolve(object.metadata.name);
  });
  await world.cluster.client.create(maps, { metadata: { name: "seen" } } as never);
  assertEquals(await heard.promise, "seen");
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.close();
  await closed;
});

Deno.test("a node dials in over a platform's WebSocket, and is asked through it", async () => {
  await using world = await served();
  const { client } = world.cluster;
  const core = (plural: string) => ({ group: "", version: "v1", plural });
  await client.create({ resource: core("nodes") }, { metadata: { name: "far" } } as never);
  const accounts = { resource: core("serviceaccounts"), namespace: "default" };
  await client.create(accounts, { metadata: { name: "default" } } as never);
  await client.create({ resource: core("pods"), namespace: "default" }, {
    metadata: { name: "p" },
    spec: { nodeName: "far", containers: [{ name: "c", image: "x" }] },
  } as never);
  const text = "line\n".repeat(100_000);
  const node = {
    logs: () => Promise.resolve(new Response(text).body!),
  } as unknown as NodeApi;
  const protocol = "v1.tunnel.plesio.dev";
  const socket = await open(`${world.url}/api/v1/nodes/far/tunnel`, "node", [protocol]);
  const clock = new RealClock();
  const tunnel = new Tunnel(socketed(socket, protocol), { clock, answer: answerFor(node) });
  const log = await world.cluster.fetch("/api/v1/namespaces/default/pods/p/log");
  assertEquals(log.status, 200);
  assertEquals((await log.text()).length, text.length);
  tunnel.close("the test is over");
  await tunnel.closed;
  await new Promise((resolve) => socket.once("close", resolve));
});

Deno.test("what a client sends beyond what may wait ends a platform's WebSocket with 1013", async () => {
  await using world = await served();
  // Nobody hears what is sent to a watch
  const path = "/api/v1/namespaces/default/configmaps?watch=true";
  const socket = await open(world.url + path, "admin");
  const closed = new Promise<[number, string]>((resolve) =>
    socket.once("close", (code, reason) => resolve([code, String(reason)]))
  );
  const message = new Uint8Array(1024 * 1024);
  for (let sent = 0; sent < INBOX_BYTES_MAX; sent += message.length) socket.send(message);
  const { promise: still, resolve } = Promise.withResolvers<string>();
  socket.once("message", (data) => resolve(JSON.parse(String(data)).object.metadata.name));
  await world.cluster.client.create(maps, { metadata: { name: "seen" } } as never);
  assertEquals(await still, "seen", "as much as may wait is no reason");
  socket.send(message);
  assertEquals(await closed, [1013, FLOODED]);
});
