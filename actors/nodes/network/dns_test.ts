import { Buffer } from "node:buffer";
import { createSocket } from "node:dgram";
import { connect, createServer } from "node:net";
import { assert, assertEquals } from "@std/assert";
import packet from "dns-packet";
import { RealClock } from "../../../kv/clock.ts";
import { type Box, openBox } from "../fixture_test.ts";
import { dns, type DnsPlace, UDP_BYTES_MAX, UDP_BYTES_MIN } from "./dns.ts";
import { CACHE_SECONDS_MAX, DnsForwarder, nameservers, ttlPlaces } from "./dns_forward.ts";

const SERVICES = { group: "", version: "v1", plural: "services" };
const SLICES = { group: "discovery.k8s.io", version: "v1", plural: "endpointslices" };

/** Linux has all of 127/8: another server at 127.0.0.1 is not in the way. */
const ADDRESS = Deno.build.os === "linux" ? "127.93.0.10" : "127.0.0.1";

async function serving(box: Box): Promise<DnsPlace> {
  const { promise, resolve } = Promise.withResolvers<DnsPlace>();
  box.system.spawn(
    "dns/test",
    dns({ address: ADDRESS, zone: "cluster.local", upstreams: () => [ADDRESS], ready: resolve }),
  );
  return await promise;
}

function question(name: string, type: string, size?: number): Buffer {
  const opt = size ? [{ type: "OPT", name: ".", udpPayloadSize: size }] : [];
  return packet.encode({
    type: "query",
    id: 7,
    flags: packet.RECURSION_DESIRED,
    questions: [{ type: type as "A", name }],
    additionals: opt as packet.Answer[],
  });
}

async function overUdp(to: DnsPlace, query: Buffer): Promise<Buffer> {
  const socket = createSocket("udp4");
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  socket.on("message", resolve);
  socket.send(query, to.port, to.hostname);
  return await promise.finally(() => socket.close());
}

async function overTcp(to: DnsPlace, query: Buffer): Promise<Buffer> {
  const socket = connect(to.port, to.hostname);
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  let held: Buffer = Buffer.alloc(0);
  socket.on("data", (data: Buffer) => {
    held = Buffer.concat([held, data]);
    if (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) resolve(held.subarray(2));
  });
  const length = Buffer.alloc(2);
  length.writeUInt16BE(query.length);
  socket.write(Buffer.concat([length, query]));
  return await promise.finally(() => socket.destroy());
}

Deno.test("dns() answers over UDP as much as the client takes, the rest over TCP", async () => {
  await using box = await openBox({ clock: new RealClock() });
  const target = { namespace: "default" };
  await box.client.create({ resource: SERVICES, ...target }, {
    metadata: { name: "many" },
    spec: { clusterIP: "None", ports: [{ port: 80 }] },
  });
  await box.client.create({ resource: SLICES, ...target }, {
    metadata: { name: "many-1", labels: { "kubernetes.io/service-name": "many" } },
    addressType: "IPv4",
    ports: [{ name: "", port: 80, protocol: "TCP" }],
    endpoints: Array.from({ length: 200 }, (_, i) => ({ addresses: [`10.244.0.${i + 1}`] })),
  });
  const place = await serving(box);
  const name = "many.default.svc.cluster.local";
  for (const [size, limit] of [[undefined, UDP_BYTES_MIN], [4096, UDP_BYTES_MAX]] as const) {
    const short = await overUdp(place, question(name, "A", size));
    assert(short.length <= limit && short.length > limit / 2, `${short.length} of ${limit}`);
    const { flags = 0, additionals = [] } = packet.decode(short);
    assert(flags & packet.TRUNCATED_RESPONSE);
    assertEquals(additionals.length, size ? 1 : 0);
  }
  const all = packet.decode(await overTcp(place, question(name, "A")));
  assertEquals(all.answers?.length, 200);
  assertEquals(all.flag_tc, false);
  const next = packet.decode(await overTcp(place, question(name, "A")));
  assert(String(all.answers?.[0].data) !== String(next.answers?.[0].data), "addresses take turns");
});

Deno.test("dns() says no with the zone's SOA, and that it cannot say where nobody else may", async () => {
  await using box = await openBox({ clock: new RealClock() });
  const place = await serving(box);
  for (
    const [name, code] of [["nobody.default.svc.cluster.local", "NXDOMAIN"], [
      "cluster.local",
      "NOERROR",
    ]]
  ) {
    const reply = packet.decode(await overUdp(place, question(name, "A")));
    assertEquals([reply.rcode, reply.flag_aa, reply.answers], [code, true, []]);
    const [soa] = reply.authorities ?? [];
    assertEquals([soa.type, soa.name, soa.ttl], ["SOA", "cluster.local", 5]);
    assertEquals(soa.data.mname, "ns.dns.cluster.local");
    assertEquals(soa.data.minimum, 5);
  }
  // The only other resolver is this one: it is not asked.
  const reply = packet.decode(await overUdp(place, question("example.com", "A")));
  assertEquals(reply.rcode, "SERVFAIL");
});

/** Another resolver: answers each question by a function, and counts. */
async function resolver(answer: (query: packet.DecodedPacket, stream: boolean) => packet.Packet) {
  let asked = 0;
  const reply = (query: Buffer, stream: boolean) => {
    asked++;
    const decoded = packet.decode(query);
    return packet.encode({
      id: decoded.id,
      type: "response",
      questions: decoded.questions,
      ...answer(decoded, stream),
    });
  };
  const server = createServer((socket) => {
    socket.on("data", (data: Buffer) => {
      const message = reply(data.subarray(2), true);
      const length = Buffer.alloc(2);
      length.writeUInt16BE(message.length);
      socket.write(Buffer.concat([length, message]));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const socket = createSocket("udp4");
  socket.on("message", (query, from) => socket.send(reply(query, false), from.port, from.address));
  await new Promise<void>((resolve) => socket.bind(port, "127.0.0.1", resolve));
  return {
    port,
    asked: () => asked,
    async [Symbol.asyncDispose]() {
      socket.close();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A real clock whose monotonic time a test can move on. */
class Moved extends RealClock {
  byMs = 0;
  override monotonic(): number {
    return super.monotonic() + this.byMs;
  }
}

const found = (name: string, ttl: number, data = "192.0.2.1") => ({
  answers: [{ type: "A" as const, name, ttl, data }],
});

Deno.test("DnsForwarder keeps answers for their time, asks once, and counts it down", async () => {
  const clock = new Moved();
  await using upstream = await resolver(({ questions }) => found(questions![0].name, 300));
  const forwarder = new DnsForwarder({
    clock,
    upstreams: () => ["127.0.0.1"],
    port: upstream.port,
  });
  const ask = async (id: number) => {
    const query = question("example.com", "A");
    query.writeUInt16BE(id);
    const reply = packet.decode((await forwarder.ask(query))!);
    assertEquals(reply.id, id);
    return reply.answers![0];
  };
  const both = await Promise.all([ask(1), ask(2)]);
  assertEquals(both.map((record: packet.Answer) => record.data), ["192.0.2.1", "192.0.2.1"]);
  assertEquals(upstream.asked(), 1);
  clock.byMs += 10_000;
  const later = await ask(3);
  assertEquals([later.ttl, upstream.asked()], [290, 1]);
  clock.byMs += CACHE_SECONDS_MAX * 1000;
  await ask(4);
  assertEquals(upstream.asked(), 2);
});

Deno.test("DnsForwarder asks the next one, and over TCP what was cut", async () => {
  await using upstream = await resolver(({ questions }, stream) =>
    stream ? found(questions![0].name, 0) : { flags: packet.TRUNCATED_RESPONSE }
  );
  // Nobody listens at 127.0.0.2 on Linux; elsewhere it is no address of the machine.
  const upstreams = () => ["127.0.0.2", "127.0.0.1"];
  const forwarder = new DnsForwarder({ clock: new RealClock(), upstreams, port: upstream.port });
  const reply = packet.decode((await forwarder.ask(question("example.com", "A")))!);
  assertEquals([reply.answers?.length, reply.flag_tc], [1, false]);
  // What has no time to live is not kept.
  await forwarder.ask(question("example.com", "A"));
  assertEquals(upstream.asked(), 4);
});

Deno.test("DnsForwarder stops when its own question comes back", async () => {
  let loops = 0;
  let forwarder: DnsForwarder | undefined = undefined as DnsForwarder | undefined;
  await using upstream = await resolver(({ questions }) => {
    forwarder!.isOwn(questions![0].name);
    return { flags: 2 };
  });
  forwarder = new DnsForwarder({
    clock: new RealClock(),
    upstreams: () => ["127.0.0.1"],
    port: upstream.port,
    looped: () => loops++,
  });
  await forwarder.probe();
  assertEquals([await forwarder.ask(question("example.com", "A")), loops, upstream.asked()], [
    undefined,
    1,
    1,
  ]);
});

Deno.test("ttlPlaces() and nameservers() read what they can", () => {
  assertEquals(ttlPlaces(Buffer.from([0, 1, 2])), []);
  const message = packet.encode({ type: "response", ...found("example.com", 77) });
  assertEquals(ttlPlaces(message).map((place) => message.readUInt32BE(place)), [77]);
  assertEquals(nameservers("# x\nnameserver 1.1.1.1\nsearch a\n nameserver fd00::1 \n"), [
    "1.1.1.1",
    "fd00::1",
  ]);
});
