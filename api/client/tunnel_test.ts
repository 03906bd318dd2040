import { assert, assertEquals, assertRejects } from "@std/assert";
import { ManualClock } from "../../kv/clock.ts";
import { badRequest } from "../machinery/errors.ts";
import { ApiError, type Json } from "../machinery/types.ts";
import {
  type Call,
  CALLS_MAX,
  PIECE_BYTES_MAX,
  PING_MS,
  SILENCE_MS_MAX,
  Tunnel,
  WINDOW_BYTES,
  WORDS_BYTES_MAX,
} from "./tunnel.ts";
import { carrierPair } from "./tunnel_fixture.ts";

type Answer = (question: Json, call: Call) => Promise<Json>;

function pair(answer: Answer = () => Promise.resolve(null)) {
  const clock = new ManualClock();
  const [here, there] = carrierPair();
  const asking = new Tunnel(here, { clock });
  const answering = new Tunnel(there, { clock, answer });
  return { clock, here, there, asking, answering };
}

/** Lets everything arrive that is on its way. */
async function arrived() {
  for (let i = 0; i < 200; i++) await Promise.resolve();
}

Deno.test("Tunnel answers, and refuses in the words of the other side", async () => {
  const { asking } = pair((question) =>
    question === "no"
      ? Promise.reject(badRequest("not this"))
      : Promise.resolve({ heard: question })
  );
  assertEquals(await asking.ask("yes").answer, { heard: "yes" });
  const error = await assertRejects(() => asking.ask("no").answer, ApiError, "not this");
  assertEquals(error.code, 400);
});

Deno.test("Tunnel sends no more than a window to who does not read", async () => {
  const calls: Call[] = [];
  const { asking, there } = pair((_, call) => {
    calls.push(call);
    return Promise.resolve(null);
  });
  const { call, answer } = asking.ask("flood");
  await answer;
  const before = there.sent;
  const writer = calls[0].writable(1).getWriter();
  const writing = writer.write(new Uint8Array(4 * WINDOW_BYTES));
  await arrived();
  const frames = WINDOW_BYTES / PIECE_BYTES_MAX;
  assertEquals(there.sent - before, WINDOW_BYTES + 6 * frames);
  let read = 0;
  const reader = call.readable(1).getReader();
  while (read < 4 * WINDOW_BYTES) read += (await reader.read()).value!.length;
  await writing;
  assertEquals(read, 4 * WINDOW_BYTES);
});

Deno.test("Tunnel: a call that is held back holds back no other", async () => {
  const calls: Call[] = [];
  const { asking } = pair((_, call) => {
    calls.push(call);
    return Promise.resolve(null);
  });
  await asking.ask("slow").answer;
  const { call, answer } = asking.ask("quick");
  await answer;
  void calls[0].writable(1).getWriter().write(new Uint8Array(10 * WINDOW_BYTES)).catch(() => {});
  await arrived();
  await calls[1].writable(1).getWriter().write(new Uint8Array([7]));
  assertEquals([...(await call.readable(1).getReader().read()).value!], [7]);
});

for (
  const [what, broken] of [
    ["more than was granted", (id: number) => {
      const piece = new Uint8Array(6 + WINDOW_BYTES + 1);
      piece.set([4, 1, 0, 0, 0, id]);
      return piece;
    }],
    ["a frame without a head", () => new Uint8Array([4, 1])],
    [
      "a grant of what was not sent",
      (id: number) => new Uint8Array([6, 0, 0, 0, 0, id, 0, 0, 0, 1]),
    ],
    ["words that are no JSON", (id: number) => new Uint8Array([7, 0, 0, 0, 0, id, 123])],
    ["an unknown frame", (id: number) => new Uint8Array([99, 0, 0, 0, 0, id])],
    ["too many words", (id: number) => {
      const said = new Uint8Array(6 + WORDS_BYTES_MAX + 1).fill(32);
      said.set([7, 0, 0, 0, 0, id]);
      return said;
    }],
  ] as const
) {
  Deno.test(`Tunnel disconnects who sends ${what}`, async () => {
    const { asking, there } = pair();
    const { call, answer } = asking.ask("x");
    await answer;
    await there.send(broken(call.id));
    assert((await asking.closed).startsWith("broken rules: "), await asking.closed);
    assertEquals(asking.calls, 0);
  });
}

Deno.test("Tunnel disconnects who asks where nothing may be asked", async () => {
  const { asking, answering } = pair();
  answering.ask("what").answer.catch(() => {});
  assertEquals(await asking.closed, "broken rules: a question to who only asks");
});

Deno.test("Tunnel takes no more than so many calls at once", async () => {
  const { asking } = pair();
  const calls: Call[] = [];
  for (let i = 0; i < CALLS_MAX; i++) calls.push(asking.ask(i).call);
  const text = `the node has ${CALLS_MAX} calls under way already`;
  await assertRejects(async () => await asking.ask("one more").answer, ApiError, text);
  await arrived();
  calls[0].close();
  await asking.ask("room again").answer;
});

Deno.test("Tunnel notices a dead connection by its silence, and ends its calls", async () => {
  const { clock, asking, here } = pair();
  const { call, answer } = asking.ask("follow");
  await answer;
  for (let ms = 0; ms < 600_000; ms += PING_MS) {
    await clock.advance(PING_MS);
    await arrived();
  }
  assertEquals(asking.calls, 1);
  here.cut();
  const reading = call.readable(1).getReader().read();
  const failed = assertRejects(() => reading, ApiError, "the connection to the node was lost");
  for (let ms = 0; ms <= SILENCE_MS_MAX; ms += PING_MS) await clock.advance(PING_MS);
  assertEquals(await asking.closed, "the other side is silent");
  await failed;
  await assertRejects(async () => await asking.ask("more").answer, ApiError, "was lost");
});

Deno.test("Tunnel: a call that is over lets what came before be read", async () => {
  const { asking } = pair(async (_, call) => {
    const writer = call.writable(1).getWriter();
    await writer.write(new Uint8Array([1, 2]));
    await writer.close();
    call.close();
    return null;
  });
  const { call, answer } = asking.ask("x");
  await answer;
  await call.over;
  const reader = call.readable(1).getReader();
  assertEquals([...(await reader.read()).value!], [1, 2]);
  assertEquals((await reader.read()).done, true);
});
