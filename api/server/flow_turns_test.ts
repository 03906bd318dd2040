import { assert, assertEquals } from "@std/assert";
import { ManualClock } from "../../kv/mod.ts";
import {
  LONG_ANSWERS_MAX,
  RATION_DEBT_MS_MAX,
  RATION_MS_MAX,
  RATION_PART,
  RATIONED_MS,
  RATIONED_TURN_REQUESTS_MAX,
  Rations,
  REQUEST_CHARGE_MS,
  SHARED_LONG_ANSWERS_MAX,
  SHARED_SLICE_MS,
  SHARED_TURN_REQUESTS_MAX,
  SLICE_CHARGE_MS_MAX,
  SLICE_MS,
  Slices,
  type Standing,
  TURN_CHARGE_MS_MAX,
  TURN_REQUESTS_MAX,
  TURN_WAITERS_MAX,
  TURN_WAITING_MAX,
  Turns,
} from "./flow_turns.ts";

Deno.test("Turns: in a turn a user's first requests are begun, the rest in later ones, users by turns", async () => {
  const waiting: (() => void)[] = [];
  const turn = async () => {
    for (const go of waiting.splice(0)) go();
    await new ManualClock().turn();
  };
  const turns = new Turns({
    manual: true,
    monotonic: () => 0,
    turn: () => new Promise((go) => waiting.push(go)),
    sleep: () => Promise.reject(new Error("nobody rests")),
  });
  const begun: string[] = [];
  const enter = (user: string) => {
    const entered = turns.enter(user, false);
    if (entered) void entered.then(() => begun.push(user));
    else begun.push(user);
  };
  for (let i = 0; i < TURN_REQUESTS_MAX + TURN_WAITERS_MAX + 2; i++) enter("flood");
  enter("calm");
  assertEquals(begun.length, TURN_REQUESTS_MAX + 1);
  assertEquals(begun.at(-1), "calm");
  // A turn in which somebody waits has two parts: its work, then the look at the sockets
  await turn();
  assertEquals(begun.length, TURN_REQUESTS_MAX + 1);
  await turn();
  assertEquals(begun.length, TURN_REQUESTS_MAX + TURN_WAITERS_MAX + 1);
  await turn();
  await turn();
  assertEquals(begun.length, TURN_REQUESTS_MAX + TURN_WAITERS_MAX + 3);
  assertEquals(waiting.length, 0);
});

Deno.test("Turns: while several ask, few of a user are begun between two looks at the sockets", async () => {
  const waiting: { look?: boolean; go: () => void }[] = [];
  const turns = new Turns({
    manual: false,
    monotonic: () => 0,
    turn: (look) => new Promise((go) => waiting.push({ look, go })),
    sleep: () => Promise.reject(new Error("nobody rests")),
  });
  const looks: (boolean | undefined)[] = [];
  const turn = async () => {
    for (const { look, go } of waiting.splice(0)) {
      looks.push(look);
      go();
    }
    await new ManualClock().turn();
  };
  assertEquals(turns.sliceMs, SLICE_MS);
  const begun: string[] = [];
  const enter = (user: string) => {
    const entered = turns.enter(user, false, user === "admin" ? "exempt" : "user");
    if (entered) void entered.then(() => begun.push(user));
    else begun.push(user);
    return entered;
  };
  enter("calm");
  for (let i = 0; i < TURN_WAITING_MAX + 2 + SHARED_TURN_REQUESTS_MAX; i++) {
    assert(enter("admin") !== false);
  }
  assertEquals(turns.sliceMs, SHARED_SLICE_MS);
  for (let i = 0; i < 1 + RATIONED_TURN_REQUESTS_MAX; i++) enter("other");
  assertEquals(begun.length, 1 + SHARED_TURN_REQUESTS_MAX + RATIONED_TURN_REQUESTS_MAX);
  begun.length = 0;
  await turn();
  await turn();
  assertEquals(looks, [false, true]);
  // Users by turns
  assertEquals(begun, ["admin", "other"]);
});

Deno.test("Slices: one slice of all long work between two looks at the sockets", async () => {
  const waiting: { look?: boolean; go: () => void }[] = [];
  const slices = new Slices({
    turn: (look) => new Promise((go) => waiting.push({ look, go })),
  });
  const went: string[] = [];
  for (const name of ["a", "b"]) void slices.turn().then(() => went.push(name));
  for (const [look, then] of [[true, ["a"]], [false, ["a"]], [true, ["a", "b"]]] as const) {
    const [only, ...others] = waiting.splice(0);
    assertEquals([only.look, others.length], [look, 0]);
    only.go();
    await new ManualClock().turn();
    assertEquals(went, [...then]);
  }
  assertEquals(waiting.length, 0);
});

Deno.test("Slices: users have theirs by turns, however much each has waiting", async () => {
  const clock = new ManualClock();
  const slices = new Slices(clock);
  const went: string[] = [];
  const waits = ["a", "a", "a", "a", "b", "c", "b"].map(async (user, i) => {
    await slices.turn(user);
    went.push(`${user}${i}`);
  });
  await Promise.all(waits);
  assertEquals(went, ["a0", "b4", "c5", "a1", "b6", "a2", "a3"]);
});

Deno.test("Rations: what a user does has a part of the time once that was much, what others do has not", async () => {
  const clock = new ManualClock();
  const rations = new Rations(clock);
  const slices = RATION_MS_MAX / SLICE_MS;
  for (let i = 0; i < slices; i++) assertEquals(rations.spend("flood", SLICE_MS), 0);
  assertEquals(rations.spend("flood", SLICE_MS), SLICE_MS / RATION_PART);
  assertEquals(rations.spend("calm", SLICE_MS), 0);
  // Who waits may do all of it again
  await clock.advance(10 * RATION_MS_MAX / RATION_PART);
  for (let i = 0; i < slices; i++) assertEquals(rations.spend("flood", SLICE_MS), 0);
  assertEquals(rations.spend("flood", SLICE_MS), SLICE_MS / RATION_PART);
});

Deno.test("Rations: who works for less than a quarter of the time is calm, whether or not it has to rest", async () => {
  const clock = new ManualClock();
  const rations = new Rations(clock);
  for (let i = 0; i < 10 * RATION_MS_MAX; i++) {
    rations.spend("calm", 1);
    rations.spend("flood", 2);
    await clock.advance(5);
  }
  assertEquals(["calm", "flood", "another"].map((user) => rations.isCalm(user)), [
    true,
    false,
    true,
  ]);
  assert(rations.spend("calm", 1) > 0);
});

Deno.test("Turns: who has done much rests while others ask, and is begun again after that", async () => {
  let now = 0;
  const sleeping: { ms: number; go: () => void }[] = [];
  const turns = new Turns({
    manual: false,
    monotonic: () => now,
    turn: () => new ManualClock().turn(),
    sleep: (ms) => new Promise((go) => sleeping.push({ ms, go })),
  });
  const turn = async () => {
    for (let i = 0; i < 4; i++) await new ManualClock().turn();
  };
  const standings: Record<string, Standing> = { scheduler: "own", admin: "exempt" };
  /** Begins one of a user's, in a turn that is as long as counts; what it waits for where it has to. */
  const enter = async (user: string) => {
    const entered = turns.enter(user, false, standings[user]);
    if (entered) return { entered };
    now += TURN_CHARGE_MS_MAX;
    await turn();
  };
  // Alone nobody rests
  for (let i = 0; i < RATION_MS_MAX; i++) assertEquals(await enter("flood"), undefined);
  await enter("calm");
  for (const user of ["scheduler", "admin"]) {
    for (let i = 0; i < RATION_MS_MAX; i++) assertEquals(await enter(user), undefined);
  }
  let waiting: Awaited<ReturnType<typeof enter>>;
  let done = 0;
  for (; !waiting; done++) {
    if (done % 20 === 0) await enter("calm");
    waiting = await enter("flood");
  }
  const each = TURN_CHARGE_MS_MAX * (1 - RATION_PART) + REQUEST_CHARGE_MS;
  assert(Math.abs(done - RATION_MS_MAX / each) < 3);
  let begun = false;
  void waiting.entered.then(() => begun = true);
  await turn();
  assertEquals(turns.enter("calm", false), undefined);
  await turn();
  assertEquals([begun, sleeping.length], [false, 1]);
  now += sleeping[0].ms;
  sleeping[0].go();
  await turn();
  assertEquals(begun, true);
  // For a while nobody else has asked but a part of the cluster
  void turns.enter("flood", false);
  await turn();
  now += RATIONED_MS;
  for (const { go } of sleeping.splice(0)) go();
  await turn();
  turns.enter("scheduler", false, "own");
  await turn();
  for (let i = 0; i < 2 * RATION_MS_MAX; i++) assertEquals(await enter("flood"), undefined);
});

Deno.test("Turns: those who all do much share all of the time", async () => {
  let now = 0;
  let rested = 0;
  const turns = new Turns({
    manual: false,
    monotonic: () => now,
    turn: () => new ManualClock().turn(),
    sleep: (ms) => {
      now += ms;
      rested++;
      return Promise.resolve();
    },
  });
  for (let i = 0; i < 4 * RATION_MS_MAX; i++) {
    // Both have had their rations by now, and neither is calm
    if (i === 2 * RATION_MS_MAX) rested = 0;
    await Promise.all(["one", "other"].map((user) => turns.enter(user, false)));
    now += TURN_CHARGE_MS_MAX;
    for (let j = 0; j < 4; j++) await new ManualClock().turn();
  }
  assertEquals(rested, 0);
});

Deno.test("Turns: a user's long work is rationed while other users ask, however long a slice says it took", async () => {
  const clock = new ManualClock();
  const turns = new Turns(clock);
  const work = (user: string) => {
    let waitMs = 0;
    for (let done = 0; done < 2 * RATION_MS_MAX; done += SLICE_CHARGE_MS_MAX) {
      waitMs = turns.worked(user, 10 * SLICE_CHARGE_MS_MAX);
    }
    return waitMs;
  };
  turns.enter("flood", false);
  assertEquals(work("flood"), 0);
  turns.enter("scheduler", false, "own");
  assertEquals(work("flood"), 0);
  turns.enter("admin", false, "exempt");
  assertEquals(["scheduler", "admin"].map(work), [0, 0]);
  assertEquals(work("flood"), RATION_DEBT_MS_MAX / RATION_PART);
  await clock.advance(RATIONED_MS);
  assertEquals(work("flood"), 0);
  // Nothing of it comes in while it works, but others ask on
  for (let i = 0; i < 4; i++) {
    turns.enter("calm", false);
    await clock.advance(RATIONED_MS / 2);
    assert(work("flood") > 0);
  }
  assertEquals(turns.sliceMs, SHARED_SLICE_MS);
});

Deno.test("Turns: long answers are sent a few at a time; who lets too many wait is refused", async () => {
  const clock = new ManualClock();
  const turns = new Turns(clock);
  let begun = 0;
  const enter = () => {
    const entered = turns.enter("flood", true);
    if (entered) void entered.then(() => begun++);
    else if (entered === undefined) begun++;
    return entered;
  };
  for (let i = 0; i < LONG_ANSWERS_MAX + TURN_WAITING_MAX; i++) assert(enter() !== false);
  assertEquals(enter(), false);
  for (let i = 0; i < 9; i++) await clock.turn();
  assertEquals(begun, LONG_ANSWERS_MAX);
  turns.left("flood");
  for (let i = 0; i < 9; i++) await clock.turn();
  assertEquals(begun, LONG_ANSWERS_MAX + 1);
});

Deno.test("Turns: while several ask, fewer long answers of a user are sent at once", async () => {
  const turns = new Turns({
    manual: false,
    monotonic: () => 0,
    turn: () => new ManualClock().turn(),
    sleep: () => Promise.reject(new Error("nobody rests")),
  });
  const turn = async () => {
    for (let i = 0; i < 9; i++) await new ManualClock().turn();
  };
  turns.enter("calm", false);
  for (let i = 0; i < SHARED_LONG_ANSWERS_MAX; i++) {
    assertEquals(turns.enter("flood", true), undefined);
  }
  let begun = false;
  const next = turns.enter("flood", true);
  assert(next instanceof Promise);
  void next.then(() => begun = true);
  await turn();
  assertEquals(begun, false);
  turns.left("flood");
  await turn();
  assertEquals(begun, true);
});
