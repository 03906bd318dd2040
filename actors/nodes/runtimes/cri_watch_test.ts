import { assertEquals } from "@std/assert";
import { ManualClock } from "../../../kv/clock.ts";
import { RpcError } from "../../../api/client/grpc.ts";
import { CriWatch } from "./cri_watch.ts";

/** A runtime that tells events when a test says so, by one method alone, or has none. */
function world(events?: ReadableStream<object>, by = "GetContainerEvents") {
  const clock = new ManualClock();
  const state = { asked: 0, streams: 0, down: false };
  const seen: number[] = [];
  const client = {
    call: (method: string) => {
      if (state.down) return Promise.reject(new RpcError("Unavailable", "no connection"));
      if (method === "ListContainers") state.asked++;
      return Promise.resolve({});
    },
    async *stream(method: string) {
      state.streams++;
      if (!events || method !== by) throw new RpcError("Unimplemented", "unknown method");
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
  assertEquals(state.streams, 2, "a runtime without events is asked once for each kind");
  watch.stop();
  await clock.advance(60_000);
  await settle();
  assertEquals(state.asked, 7);
});

const watchIsTold = async (by: string) => {
  let tell!: () => void;
  const events = new ReadableStream<object>({
    start: (controller) => {
      tell = () => controller.enqueue({ containerId: "x" });
    },
  });
  const { clock, state, watch } = world(events, by);
  watch.start();
  await settle();
  assertEquals(state.asked, 0);
  tell();
  await settle();
  assertEquals(state.asked, 1);
  await clock.advance(150);
  await settle();
  assertEquals(state.asked, 2, "what it was told may be known a moment later only");
  watch.stop();
};

Deno.test("CriWatch looks at once when CRI tells of something", () =>
  watchIsTold("GetContainerEvents"));

Deno.test("CriWatch looks at once when a containerd before CRI's events tells of something", () =>
  watchIsTold("Subscribe"));

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
