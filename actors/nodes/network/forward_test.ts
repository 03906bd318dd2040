import { assertEquals } from "@std/assert";
import { RealClock } from "../../../kv/clock.ts";
import { Balancer } from "./balancer.ts";
import { forward } from "./forward.ts";

const clock = new RealClock();

function echoServer(hostname: string) {
  const listener = Deno.listen({ hostname, port: 0 });
  const done = (async () => {
    for await (const connection of listener) {
      connection.readable.pipeTo(connection.writable).catch(() => undefined);
    }
  })();
  return { port: (listener.addr as Deno.NetAddr).port, close: () => (listener.close(), done) };
}

async function roundTrip(port: number, text: string): Promise<string> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const writer = connection.writable.getWriter();
  const written = writer.write(new TextEncoder().encode(text)).then(() => connection.closeWrite());
  let received = "";
  for await (const chunk of connection.readable.pipeThrough(new TextDecoderStream())) {
    received += chunk;
  }
  await written;
  return received;
}

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return port;
}

Deno.test("forward() carries a connection to an endpoint that answers, half-closes included", async () => {
  const echo = echoServer("127.0.0.1");
  const dead = freePort();
  const balancer = new Balancer();
  balancer.set([{ ip: "127.0.0.1", port: dead }, { ip: "127.0.0.1", port: echo.port }]);
  const port = freePort();
  const locate = (e: { ip: string; port: number }) => ({ hostname: e.ip, port: e.port });
  const forwarder = await forward({
    protocol: "TCP",
    hostname: "127.0.0.1",
    port,
    balancer,
    clock,
    locate,
  });
  const big = "x".repeat(200_000);
  assertEquals(await roundTrip(port, "hello"), "hello");
  assertEquals((await roundTrip(port, big)).length, big.length);
  await forwarder.close();
  await echo.close();
});

Deno.test("forward() resets a connection that no endpoint takes", async () => {
  const balancer = new Balancer();
  balancer.set([{ ip: "127.0.0.1", port: 1 }]);
  const port = freePort();
  const forwarder = await forward({
    protocol: "TCP",
    hostname: "127.0.0.1",
    port,
    balancer,
    clock,
    locate: () => undefined,
  });
  const outcome = await Deno.connect({ hostname: "127.0.0.1", port }).then(async (connection) => {
    const read = await connection.read(new Uint8Array(1)).finally(() => connection.close());
    return read === null ? "closed" : "data";
  }).catch(() => "reset");
  assertEquals(outcome === "data", false);
  await forwarder.close();
});

Deno.test("forward() carries datagrams both ways", async () => {
  const { createSocket } = await import("node:dgram");
  const server = createSocket("udp4");
  server.on("message", (data, from) => server.send(`echo ${data}`, from.port, from.address));
  await new Promise<void>((resolve) => server.bind(0, "127.0.0.1", resolve));
  const balancer = new Balancer();
  balancer.set([{ ip: "127.0.0.1", port: server.address().port }]);
  const port = freePort();
  const locate = (e: { ip: string; port: number }) => ({ hostname: e.ip, port: e.port });
  const forwarder = await forward({
    protocol: "UDP",
    hostname: "127.0.0.1",
    port,
    balancer,
    clock,
    locate,
  });
  const client = createSocket("udp4");
  const reply = new Promise<string>((resolve) =>
    client.once("message", (data) => resolve(String(data)))
  );
  client.send("hi", port, "127.0.0.1");
  assertEquals(await reply, "echo hi");
  client.close();
  await forwarder.close();
  await new Promise<void>((resolve) => server.close(resolve));
});
