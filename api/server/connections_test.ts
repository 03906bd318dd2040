import { assertEquals } from "@std/assert";
import { EventEmitter } from "node:events";
import { ManualClock } from "../../kv/mod.ts";
import {
  BUSY_REQUESTS_MIN,
  Connections,
  HEAD_MS_MAX,
  IDLE_MS_MAX,
  LEFT_MS,
  PING_EVERY_MS,
  PING_MS_MAX,
  QUIET_REQUESTS_MAX,
  RESETS_MAX,
  RUNNING_MAX,
  SWEEP_MS,
} from "./connections.ts";
import type { Http2Session, IncomingMessage, Socket, TLSSocket } from "./listen.ts";

let ports = 1000;

/** A socket that only knows whether it is open. */
class FakeSocket extends EventEmitter {
  remoteAddress = "127.0.0.1";
  remotePort = ports++;
  bytesRead = 0;
  destroyed = false;
  keepAlive = 0;
  paused = false;
  passed = 0;
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  setNoDelay(): void {}
  setKeepAlive(_: boolean, ms: number): void {
    this.keepAlive = ms;
  }
  destroy(): void {
    this.destroyed = true;
    this.emit("close");
  }
}

class FakeSession extends EventEmitter {
  closed = false;
  destroyed = false;
  code = 0;
  pings: (() => void)[] = [];
  socket: FakeSocket;
  constructor(socket: FakeSocket) {
    super();
    this.socket = socket;
  }
  ping(answered: () => void): void {
    this.pings.push(answered);
  }
  close(): void {
    this.closed = true;
  }
  goaway(code: number): void {
    this.code = code;
  }
  destroy(): void {
    this.destroyed = true;
  }
}

function setUp(options?: ConstructorParameters<typeof Connections>[1]) {
  const clock = new ManualClock();
  const connections = new Connections(clock, options);
  const open = () => {
    const socket = new FakeSocket();
    connections.add(socket as unknown as Socket);
    return socket;
  };
  const openHttp2 = () => {
    const socket = open();
    const session = new FakeSession(socket);
    // The library has its listener before anybody is told
    socket.on("data", (piece: Uint8Array) => socket.passed += piece.length);
    connections.opened(session as unknown as Http2Session);
    connections.secured(socket as unknown as TLSSocket);
    socket.emit("data", new Uint8Array(24));
    return session;
  };
  const request = (socket: FakeSocket | FakeSession) =>
    connections.begin(
      (socket instanceof FakeSession
        ? { socket: socket.socket, stream: { session: socket } }
        : { socket }) as unknown as IncomingMessage,
    );
  return { clock, connections, open, openHttp2, request };
}

Deno.test("Connections: who says nothing is hung up on, as is who never ends a head", async () => {
  const { clock, open, request, connections } = setUp();
  const silent = open();
  const slow = open();
  request(slow)();
  await clock.advance(SWEEP_MS);
  slow.bytesRead = 10;
  await clock.advance(HEAD_MS_MAX);
  assertEquals([silent.destroyed, slow.destroyed], [true, false]);
  await clock.advance(2 * SWEEP_MS);
  assertEquals(slow.destroyed, true);
  assertEquals(connections.closed.head, 2);
  assertEquals(connections.size, 0);
});

Deno.test("Connections: idle ones go, busy ones stay; TCP looks whether they are there", async () => {
  const { clock, open, openHttp2, request } = setUp();
  const idle = open();
  request(idle)();
  const idleSession = openHttp2();
  request(idleSession)();
  const busy = open();
  request(busy);
  assertEquals(busy.keepAlive, 60_000);
  await clock.advance(IDLE_MS_MAX + 3 * SWEEP_MS);
  await clock.turn();
  assertEquals([idle.destroyed, idleSession.closed, busy.destroyed], [true, true, false]);
});

Deno.test("Connections: clients with streams are pinged; who does not answer is gone", async () => {
  const { clock, openHttp2, request, connections } = setUp();
  const alive = openHttp2();
  const dead = openHttp2();
  request(alive);
  request(dead);
  await clock.advance(PING_EVERY_MS + SWEEP_MS);
  assertEquals([alive.pings.length, dead.pings.length], [1, 1]);
  alive.pings[0]();
  await clock.advance(PING_MS_MAX + 2 * SWEEP_MS);
  assertEquals([alive.socket.destroyed, dead.socket.destroyed], [false, true]);
  assertEquals(connections.closed.dead, 1);
});

const RESET = new Uint8Array([0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8]);

Deno.test("Connections: who resets streams as fast as it opens them is left waiting, told, and hung up on", async () => {
  const { clock, openHttp2, request, connections } = setUp();
  const calm = openHttp2();
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < RESETS_MAX; i++) calm.socket.emit("data", RESET);
    await clock.advance(SWEEP_MS);
  }
  assertEquals([calm.code, calm.socket.paused], [0, false]);
  assertEquals(calm.socket.passed, 24 + 3 * RESETS_MAX * RESET.length);
  const rapid = openHttp2();
  const many = new Uint8Array(2 * RESETS_MAX * RESET.length);
  for (let i = 0; i < 2 * RESETS_MAX; i++) many.set(RESET, i * RESET.length);
  rapid.socket.emit("data", many);
  assertEquals([rapid.code, rapid.socket.paused], [0, true]);
  assertEquals(rapid.socket.passed, 24 + RESETS_MAX * RESET.length);
  const greedy = openHttp2();
  for (let i = 0; i <= RUNNING_MAX; i++) request(greedy);
  assertEquals(greedy.socket.paused, true);
  assertEquals(connections.closed.resets, 2);
  assertEquals(rapid.socket.destroyed, false);
  await clock.advance(LEFT_MS + SWEEP_MS);
  await clock.turn();
  assertEquals([rapid.code, rapid.destroyed, greedy.destroyed], [11, true, true]);
});

Deno.test("Connections: whose head is too long is left waiting, and hung up on", async () => {
  const { clock, open, connections } = setUp();
  const endless = open();
  connections.refused(endless as unknown as Socket);
  assertEquals([endless.paused, endless.destroyed], [true, false]);
  await clock.advance(LEFT_MS + SWEEP_MS);
  assertEquals([endless.destroyed, connections.size, connections.closed.head], [true, 0, 1]);
});

Deno.test("Connections: a session that ends while its frames are read does so a turn later", async () => {
  const { clock, openHttp2 } = setUp();
  const [left, broken] = [openHttp2(), openHttp2()];
  left.close();
  broken.emit("error", new Error("a broken frame"));
  assertEquals([left.closed, broken.destroyed], [false, false]);
  await clock.turn();
  assertEquals([left.closed, broken.destroyed], [true, true]);
});

Deno.test("Connections: more than there may be are closed as they come", () => {
  const { open, connections } = setUp({ max: 2 });
  const all = [open(), open(), open()];
  assertEquals(all.map((socket) => socket.destroyed), [false, false, true]);
  assertEquals([connections.size, connections.closed.full], [2, 1]);
  connections.close();
  assertEquals(connections.size, 0);
});

Deno.test("Connections: when the server ends, idle ones go at once and HTTP/2 is asked to", async () => {
  const { clock, open, openHttp2, request, connections } = setUp();
  const idle = open();
  request(idle)();
  const busy = open();
  request(busy);
  const session = openHttp2();
  connections.drain();
  await clock.turn();
  assertEquals([idle.destroyed, busy.destroyed, session.closed], [true, false, true]);
});

Deno.test("Connections: when a busy time is over, somebody is told, once", async () => {
  let rested = 0;
  const { clock, open, request } = setUp({ rested: () => rested++ });
  const socket = open();
  const ask = async (requests: number) => {
    for (let i = 0; i < requests; i++) request(socket)();
    await clock.advance(SWEEP_MS);
  };
  await ask(QUIET_REQUESTS_MAX);
  await ask(BUSY_REQUESTS_MIN);
  await ask(QUIET_REQUESTS_MAX + 1);
  assertEquals(rested, 0);
  socket.destroy();
  await clock.advance(2 * SWEEP_MS);
  assertEquals(rested, 1);
});
