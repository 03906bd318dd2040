import { assertEquals } from "@std/assert";
import { ManualClock } from "../../../kv/clock.ts";
import { CriHealth, RUNTIME_SILENCE_MS_MAX } from "./cri_health.ts";

const READY = [{ type: "RuntimeReady", status: true }, { type: "NetworkReady", status: true }];

/** A runtime that says what a test says; undefined: it does not answer. */
function world() {
  const clock = new ManualClock();
  const said: { conditions?: object[] } = { conditions: READY };
  const health = new CriHealth(
    clock,
    () =>
      said.conditions
        ? Promise.resolve({ status: { conditions: said.conditions } })
        : Promise.reject(new Error("no connection")),
  );
  return { clock, said, health };
}

Deno.test("CriHealth: a runtime is down when it has not answered for so long, and well once it does", async () => {
  const { clock, said, health } = world();
  assertEquals(await health.problem(), undefined);
  said.conditions = undefined;
  assertEquals(await health.problem(), undefined);
  await clock.advance(RUNTIME_SILENCE_MS_MAX - 1);
  assertEquals(await health.problem(), undefined);
  await clock.advance(1);
  assertEquals(await health.problem(), "container runtime is down");
  said.conditions = READY;
  assertEquals(await health.problem(), undefined);
  said.conditions = undefined;
  await clock.advance(RUNTIME_SILENCE_MS_MAX - 1);
  assertEquals(await health.problem(), undefined);
});

Deno.test("CriHealth: one that has never answered may not have been asked yet", async () => {
  const { clock, said, health } = world();
  said.conditions = undefined;
  await clock.advance(RUNTIME_SILENCE_MS_MAX);
  const text = "container runtime status check may not have completed yet";
  assertEquals(await health.problem(), text);
});

Deno.test("CriHealth: what a runtime says of itself counts at once, and as long as it says nothing else", async () => {
  const { clock, said, health } = world();
  await health.problem();
  const network = "container runtime network not ready: NetworkReady=false " +
    "reason:NetworkPluginNotReady message:cni plugin not initialized";
  const [reason, message] = ["NetworkPluginNotReady", "cni plugin not initialized"];
  said.conditions = [READY[0], { type: "NetworkReady", status: false, reason, message }];
  assertEquals(await health.problem(), network);
  said.conditions = undefined;
  assertEquals(await health.problem(), network);
  const runtime = "container runtime not ready: RuntimeReady=false reason: message:";
  said.conditions = [READY[1]];
  assertEquals(await health.problem(), runtime);
  await clock.advance(RUNTIME_SILENCE_MS_MAX);
  assertEquals(await health.problem(), `[container runtime is down, ${runtime}]`);
});
