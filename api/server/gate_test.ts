import { assertEquals } from "@std/assert";
import { EventEmitter } from "node:events";
import { ManualClock } from "../../kv/mod.ts";
import {
  Frames,
  Gate,
  letHeadsIn,
  letStreamsIn,
  REQUEST_BYTES_FREE,
  TURN_BYTES_MAX,
  TURN_STREAMS_EACH,
  TURN_STREAMS_MAX,
} from "./gate.ts";
import type { TLSSocket } from "./listen.ts";

const DATA = 0;
const HEADERS = 1;
const RST_STREAM = 3;

function frame(type: number, bytes: number): number[] {
  return [bytes >> 16, bytes >> 8 & 255, bytes & 255, type, 0, 0, 0, 0, 1, ...Array(bytes).fill(1)];
}

/** A socket that hands over what it is given unless it is paused. */
class FakeSocket extends EventEmitter {
  passed: number[] = [];
  paused = false;
  destroyed = false;
  #later: Uint8Array[] = [];
  constructor() {
    super();
    this.on("data", (piece: Uint8Array) => this.passed.push(...piece));
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
    for (const piece of this.#later.splice(0)) this.give(piece);
  }
  give(piece: Uint8Array): void {
    if (this.paused) this.#later.push(piece);
    else this.emit("data", piece);
  }
}

function sender(reset = () => true) {
  return { requests: 0, leftSince: undefined as number | undefined, reset };
}

Deno.test("Frames: streams and resets are counted however the bytes are cut", () => {
  const bytes = new Uint8Array([
    ...Array(24).fill(80),
    ...frame(4, 0),
    ...frame(HEADERS, 20),
    ...frame(DATA, 300),
    ...frame(HEADERS, 1),
    ...frame(RST_STREAM, 4),
  ]);
  for (let size = 1; size <= bytes.length; size++) {
    const frames = new Frames();
    let opened = 0;
    let resets = 0;
    for (let at = 0; at < bytes.length; at += size) {
      const piece = bytes.subarray(at, at + size);
      const passed = frames.walk(piece, () => ++opened > 0, () => ++resets > 0);
      assertEquals(passed, piece.length);
    }
    assertEquals([size, opened, resets], [size, 2, 1]);
  }
});

Deno.test("letStreamsIn(): a read that opens many streams is passed on by turns, nothing of it lost", async () => {
  const clock = new ManualClock();
  const gate = new Gate(clock);
  const [flood, calm] = [new FakeSocket(), new FakeSocket()];
  for (const socket of [flood, calm]) {
    letStreamsIn(socket as unknown as TLSSocket, gate, sender(() => true));
    socket.give(new Uint8Array(24));
  }
  await clock.turn();
  await clock.turn();
  const one = frame(HEADERS, 10);
  const count = (socket: FakeSocket) => (socket.passed.length - 24) / one.length;
  const bytes = Array.from({ length: 5 * TURN_STREAMS_MAX }, () => one).flat();
  flood.give(new Uint8Array(bytes));
  assertEquals([count(flood), flood.paused], [TURN_STREAMS_MAX, true]);
  flood.give(new Uint8Array(frame(DATA, 5)));
  calm.give(new Uint8Array(one));
  assertEquals(count(calm), 0);
  while (count(calm) === 0) await clock.turn();
  assertEquals(count(flood), TURN_STREAMS_MAX + TURN_STREAMS_EACH);
  for (let i = 0; i < 100 && flood.paused; i++) await clock.turn();
  assertEquals(flood.passed.slice(24), [...bytes, ...frame(DATA, 5)]);
  assertEquals([flood.paused, gate.waiting], [false, 0]);
});

Deno.test("letStreamsIn(): after a reset too many nothing is passed on", async () => {
  const clock = new ManualClock();
  const socket = new FakeSocket();
  let left = 2;
  const rapid = sender(() => {
    if (left-- > 0) return true;
    rapid.leftSince = 0;
    return false;
  });
  letStreamsIn(socket as unknown as TLSSocket, new Gate(clock), rapid);
  const bytes = [...Array(24).fill(80), ...[1, 2, 3, 4].flatMap(() => frame(RST_STREAM, 4))];
  socket.give(new Uint8Array(bytes));
  socket.give(new Uint8Array(frame(DATA, 1)));
  await clock.turn();
  assertEquals(socket.passed.length, 24 + 2 * 13);
});

Deno.test("letHeadsIn(): who sends on without a request is read once in a turn, others as they come", async () => {
  const clock = new ManualClock();
  const gate = new Gate(clock);
  const socket = new FakeSocket();
  const slow = sender();
  letHeadsIn(socket as unknown as TLSSocket, gate, slow);
  const piece = new Uint8Array(REQUEST_BYTES_FREE / 2);
  for (let i = 0; i < 6; i++) {
    slow.requests++;
    socket.give(piece);
  }
  assertEquals(socket.paused, false);
  for (let i = 0; i < 3; i++) socket.give(piece);
  assertEquals(socket.paused, true);
  await clock.turn();
  await clock.turn();
  assertEquals([socket.paused, gate.waiting], [false, 0]);
  assertEquals(socket.passed.length, 9 * piece.length);
  socket.give(piece);
  assertEquals(socket.paused, true);
  slow.leftSince = 0;
  await clock.turn();
  await clock.turn();
  assertEquals(socket.paused, true);
});

Deno.test("Gate.letOut() writes a bounded number of bytes in a turn, in the order they came", async () => {
  const clock = new ManualClock();
  const gate = new Gate(clock);
  const piece = new Uint8Array(TURN_BYTES_MAX / 4);
  const out: number[] = [];
  for (let i = 0; i < 12; i++) {
    const turn = gate.letOut(piece);
    if (turn) void turn.then(() => out.push(i));
    else out.push(i);
  }
  assertEquals(out, [0, 1, 2, 3]);
  await clock.turn();
  await clock.turn();
  assertEquals(out.slice(0, 8), [0, 1, 2, 3, 4, 5, 6, 7]);
  for (let i = 0; i < 10; i++) await clock.turn();
  assertEquals([out.at(-1), gate.waiting], [11, 0]);
});
