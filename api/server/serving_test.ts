import { assertEquals, assertRejects } from "@std/assert";
import { PassThrough } from "node:stream";
import { joinedBytes } from "../machinery/joined_bytes.ts";
import { type IncomingMessage, listen } from "./listen.ts";
import { callOf } from "./serving.ts";

/** A request whose body the test writes. */
function setUp() {
  const body = new PassThrough();
  const request = Object.assign(body, { headers: {}, method: "POST", complete: false });
  const call = callOf(request as unknown as IncomingMessage);
  const listening = () => ["data", "end", "aborted"].map((name) => body.listenerCount(name));
  return { body: request, call, listening };
}

Deno.test("Call.body() gives what was sent, and listens no longer than that", async () => {
  const { body, call, listening } = setUp();
  const before = listening();
  const read = call.body(100);
  body.write("he");
  body.end("llo");
  assertEquals(new TextDecoder().decode(await read), "hello");
  assertEquals(listening(), before);
  // What goes wrong afterwards is nobody's business
  body.emit("error", new Error("late"));
});

Deno.test("Call.body() listens no longer where there is too much, or its client has gone", async () => {
  const { body, call, listening } = setUp();
  const before = listening();
  const read = call.body(3);
  body.write("hello");
  await assertRejects(() => read, Error, "too large");
  assertEquals(listening(), before);
  const other = setUp();
  const half = other.call.body(100);
  other.body.emit("aborted");
  await assertRejects(() => half, Error, "unexpected EOF");
  assertEquals(other.listening(), before);
});

Deno.test("serve() sends the pieces of an answer as they are, however long they are", async () => {
  const pieces = [1, 20_000, 3, 100_000, 64 * 1024].map((length, i) =>
    new Uint8Array(length).fill(65 + i)
  );
  const body = async function* () {
    yield* pieces;
  };
  const listener = await listen({
    answer: () => Promise.resolve({ status: 200, headers: {}, body: body() }),
    upgrade: () => {},
  }, { port: 0 });
  try {
    const answer = await fetch(`http://127.0.0.1:${listener.port}/`);
    assertEquals(await answer.bytes(), joinedBytes(pieces));
  } finally {
    await listener.close();
  }
});
