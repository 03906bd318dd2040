import { assertEquals } from "@std/assert";
import { ManualClock } from "../../../kv/clock.ts";
import { RpcError } from "../grpc.ts";
import { CriWatch } from "./cri_watch.ts";

/** A runtime that tells events when a test says so, or has none. */
function world(events?: ReadableStream<object>) {
  const clock = new ManualClock();
  const state = { asked: 0, streams: 0, down: false };
  const seen: number[] = [];
  const client = {
    call: (method: string) => {
      if (state.down) return Promise.reject(new RpcError("Unavailable", "no connection"));
      if (method === "ListContainers") state.asked++;
      return Promise.resolve({});
    },
    async *stream() {
      state.streams++;
      if (!events) throw new RpcError("Unimplemented", "unknown method");
      yield* events;
    },
    close: () => {},
  };
  const watch = new CriWatch({
    client: client as never,
    clock,
    seen: () => Promise.resolve(void seen.push(clock.now())),
  });
  return { clock, state, seen, watch };
}

/** Lets what is under way go on. */
async function settle() {
  for (let i = 0; i < 50; i++) await undefined;
  await new Promise((resolve) => setTimeout(resolve, 0));
}

Deno.test("CriWatch looks each second, more often after a start, and never again once stopped", async () => {
  const { clock, state, watch } = world();
  watch.start();
  for (let i = 0; i < 3; i++) {
    await clock.advance(1000);
    await settle();
  }
  assertEquals(state.asked, 3);
  watch.soon();
  for (let i = 0; i < 4; i++) {
    await clock.advance(150);
    await settle();
  }
  assertEquals(state.asked, 7);
  assertEquals(state.streams, 1, "a runtime without events is asked for them once");
  watch.stop();
  await clock.advance(60_000);
  await settle();
  assertEquals(state.asked, 7);
});

Deno.test("CriWatch looks at once when the runtime tells of something", async () => {
  let tell!: () => void;
  const events = new ReadableStream<object>({
    start: (controller) => {
      tell = () => controller.enqueue({ containerId: "x" });
    },
  });
  const { state, watch } = world(events);
  watch.start();
  await settle();
  assertEquals(state.asked, 0);
  tell();
  await settle();
  assertEquals(state.asked, 1);
  watch.stop();
});

Deno.test("CriWatch says that the runtime is down until it answers again", async () => {
  const { clock, state, seen, watch } = world();
  state.down = true;
  watch.start();
  await clock.advance(1000);
  await settle();
  assertEquals([watch.problem?.message, seen.length], [
    "rpc error: code = Unavailable desc = no connection",
    0,
  ]);
  state.down = false;
  await clock.advance(1000);
  await settle();
  assertEquals([watch.problem, seen.length], [undefined, 1]);
  watch.stop();
});
