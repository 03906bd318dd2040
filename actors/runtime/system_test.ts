import { assert, assertEquals } from "@std/assert";
import type { Mail, Queue, Term, Terms } from "../../kv/contract.ts";
import type { Because, Client } from "../../api/client/contract.ts";
import type { ActorContext } from "./contract.ts";
import { fedPorts, thing, turn } from "./fakes_test.ts";
import { createSystem } from "./system.ts";
import { CHILD_RESTARTS_MAX } from "./limits.ts";

const PODS = { group: "", version: "v1", plural: "pods" };

Deno.test("actor: started-first: handle waits for start and for the caches it uses", async () => {
  const ports = fedPorts();
  const pods = ports.informers.fed(PODS);
  pods.synced = false;
  const system = createSystem(ports);
  const seen: string[] = [];
  let ready = () => {};
  const actor = system.spawn("a", {
    async start(context) {
      context.informers.for(PODS);
      await new Promise<void>((resolve) => ready = resolve);
      seen.push("started");
    },
    handle: (key) => void seen.push(key),
  });
  actor.send("x");
  await turn();
  assertEquals(seen, []);
  ready();
  await turn();
  assertEquals(seen, ["started"]);
  assertEquals(system.report()[0].state, "starting");
  pods.sync();
  await turn();
  assertEquals(seen, ["started", "x"]);
  await system.stop();
});

Deno.test("actor: supervised: a start that fails is tried again after growing pauses", async () => {
  const ports = fedPorts();
  const system = createSystem(ports);
  const at: number[] = [];
  system.spawn("a", {
    start() {
      at.push(ports.clock.now());
      if (at.length < 4) throw new Error("no");
    },
    handle() {},
  });
  await turn();
  assertEquals(system.report()[0].state, "backing-off");
  await ports.clock.advance(10_000);
  assertEquals(at.map((t) => t - at[0]), [0, 100, 300, 700]);
  const report = system.report()[0];
  assertEquals([report.state, report.restarts, report.lastError], ["running", 3, "Error: no"]);
  await system.stop();
});

Deno.test("actor: supervised: a fault in a listener restarts the actor; rebuilt: with a new state", async () => {
  const ports = fedPorts();
  const system = createSystem(ports);
  const states: number[] = [];
  let lives = 0;
  const actor = system.spawn("a", {
    start(context) {
      const life = ++lives;
      context.informers.for(PODS).subscribe((change) => {
        if (life === 1 && change.key === "default/bad") throw new Error("bad pod");
      });
      return { life };
    },
    handle: (_key, state) => void states.push(state.life),
  });
  actor.send("x");
  await turn();
  ports.informers.fed(PODS).put(thing("Pod", "bad"));
  actor.send("between");
  await ports.clock.advance(1000);
  assertEquals(states, [1, 2]);
  assertEquals(ports.informers.fed(PODS).listeners.size, 1, "the first life unsubscribed");
  await system.stop();
  assertEquals(ports.informers.fed(PODS).listeners.size, 0);
});

Deno.test("actor: drained: stop lets handlers end, then children stop, then stop is called", async () => {
  const ports = fedPorts();
  const system = createSystem(ports);
  const seen: string[] = [];
  const actor = system.spawn("a", {
    start(context) {
      context.spawn("child", {
        start() {},
        handle() {},
        stop: () => void seen.push("child stopped"),
      });
    },
    handle: (key, _state, context) =>
      new Promise<void>((resolve) => {
        context.signal.addEventListener("abort", () => {
          seen.push(`${key} aborted`);
          resolve();
        });
      }),
    stop: () => void seen.push("stopped"),
  });
  actor.send("x");
  actor.send("y");
  await turn();
  assertEquals(system.report().map((r) => r.address), ["a", "a/child"]);
  assertEquals(system.busy(), ["a"]);
  await actor.stop();
  assertEquals(seen, ["x aborted", "child stopped", "stopped"]);
  assertEquals(system.report(), []);
});

Deno.test("actor: supervised: a child that gives up is told to its parent", async () => {
  const ports = fedPorts();
  const system = createSystem(ports);
  const told: string[] = [];
  let starts = 0;
  system.spawn("a", {
    start(context) {
      context.spawn("child", {
        start() {
          starts++;
          throw new Error("never");
        },
        handle() {},
      });
    },
    handle() {},
    childFailed: (name, error) => void told.push(`${name}: ${(error as Error).message}`),
  });
  await ports.clock.advance(10 * 60_000);
  assertEquals(told, ["child: never"]);
  assertEquals(starts, CHILD_RESTARTS_MAX);
  await system.stop();
});

Deno.test("actor: bounded: after an overflow the actor is told of everything again", async () => {
  const ports = fedPorts();
  const pods = ports.informers.fed(PODS);
  for (let i = 0; i < 10; i++) pods.put(thing("Pod", `p${i}`));
  const system = createSystem(ports);
  const seen = new Set<string>();
  let gate = () => {};
  const blocked = new Promise<void>((resolve) => gate = resolve);
  system.spawn("a", {
    start(context) {
      context.informers.for(PODS).subscribe((change) => context.send("a", change.key));
    },
    async handle(key) {
      await blocked;
      seen.add(key);
    },
  }, { keysMax: 4 });
  await turn();
  gate();
  for (let i = 0; i < 5; i++) await turn();
  assertEquals(seen.size, 10);
  await system.stop();
});

Deno.test("system: durable mail goes through the queue and reaches the actor by its address", async () => {
  const ports = fedPorts();
  const sent: Mail[] = [];
  let listener: (mail: Mail) => void | Promise<void> = () => {};
  const queue = {
    send: (mail: Mail) => {
      sent.push(mail);
      return Promise.resolve();
    },
    listen: (handler: typeof listener) => void (listener = handler),
  } as unknown as Queue;
  const system = createSystem({ ...ports, queue });
  const seen: string[] = [];
  system.spawn("a", { start() {}, handle: (key) => void seen.push(key) });
  system.send("a", "x", { durable: true, delayMs: 7 });
  assertEquals(sent, [{ to: "a", key: "x", delayMs: 7 }]);
  listener({ to: "a", key: "x" });
  listener({ to: "elsewhere", key: "x" });
  await turn();
  assertEquals(seen, ["x"]);
  await system.stop();
});

Deno.test("system: singleton: lives while its process holds the term, its client carries it", async () => {
  const ports = fedPorts();
  let held: string | undefined = "other";
  let lose = () => {};
  const terms: Terms = {
    holder: "me",
    acquire: (name) => {
      if (held && held !== "me") return Promise.resolve(undefined);
      held = "me";
      return Promise.resolve({ name, holder: "me", fence: 1 });
    },
    release: () => {
      held = undefined;
      return Promise.resolve();
    },
    lost: () => new Promise<void>((resolve) => lose = resolve),
  };
  const fences: (Term | undefined)[] = [];
  const client = {
    ...ports.client,
    under: (term: Term) => ({ term, because: () => ({ term }) }),
  } as unknown as typeof ports.client;
  const system = createSystem({ ...ports, client, terms });
  const seen: string[] = [];
  const handle = system.spawn("one", {
    start: (context) => void fences.push((context.client as unknown as { term: Term }).term),
    handle: (key) => void seen.push(key),
    stop: () => void seen.push("stopped"),
  }, { singleton: true });
  await turn();
  handle.send("dropped");
  assertEquals(fences, []);
  held = undefined;
  await ports.clock.advance(2_000);
  assertEquals(fences, [{ name: "one", holder: "me", fence: 1 }]);
  handle.send("x");
  await turn();
  held = "other";
  lose();
  await turn();
  assertEquals(seen, ["x", "stopped"]);
  held = undefined;
  await ports.clock.advance(2_000);
  assertEquals(fences.length, 2);
  await handle.stop();
  assert(held === undefined, "the term was given up");
  await system.stop();
});

Deno.test("system: singleton: a life after a fault begins with caches that are listed anew", async () => {
  const ports = fedPorts();
  const pods = ports.informers.fed(PODS);
  pods.resourceVersion = "9";
  const terms: Terms = {
    holder: "me",
    acquire: (name) => Promise.resolve({ name, holder: "me", fence: 1, revision: 7 }),
    release: () => Promise.resolve(),
    lost: () => new Promise(() => {}),
  };
  const client = { ...ports.client, under: () => ports.client } as typeof ports.client;
  const system = createSystem({ ...ports, client, terms });
  let lives = 0;
  system.spawn("one", {
    start(context) {
      const life = ++lives;
      context.informers.for(PODS).subscribe(() => {
        if (life === 1) throw new Error("bad pod");
      });
    },
    handle() {},
  }, { singleton: true });
  await turn();
  assertEquals([lives, pods.asked], [1, []], "it reflects more than the term");
  pods.put(thing("Pod", "a"));
  await ports.clock.advance(1_000);
  assertEquals([lives, pods.asked], [2, [Infinity]]);
  await system.stop();
});

Deno.test("actor: because: what a handler writes and sends follows from the event that woke it", async () => {
  const ports = fedPorts();
  const writes: string[] = [];
  const clientOf = (by: string | undefined, because: number): Client => ({
    because: (revision: number, more?: Because) => clientOf(more?.by ?? by, revision),
    create: () => {
      writes.push(`${by} ${because}`);
      return Promise.resolve({});
    },
  } as unknown as Client);
  const system = createSystem({ ...ports, client: clientOf(undefined, 0) });
  const write = (context: ActorContext) =>
    context.client.create({ resource: PODS }, {}).then(() => {});
  system.spawn("a", {
    async start(context) {
      await write(context);
      context.informers.for(PODS).subscribe(({ key }) => context.send("a", key));
    },
    async handle(key, _state, context) {
      await write(context);
      context.send("b", key);
    },
  });
  system.spawn("b", { start: () => {}, handle: (_key, _state, context) => write(context) });
  await turn();
  const pod = thing("Pod", "web");
  pod.metadata.resourceVersion = "41";
  ports.informers.fed(PODS).put(pod);
  await turn();
  system.send("b", "by itself");
  await turn();
  assertEquals(writes, ["a 0", "a 41", "b 41", "b 0"]);
  await system.stop();
});

Deno.test("system: paused: an actor stays paused over a restart; it does not keep the system busy, and can be stopped", async () => {
  const ports = fedPorts();
  const pods = ports.informers.fed(PODS);
  const system = createSystem(ports);
  const seen: string[] = [];
  const actor = system.spawn("a", {
    start(context) {
      context.informers.for(PODS).subscribe(({ key }) => {
        if (key.endsWith("bad")) throw new Error("fault");
        actor.send(key);
      });
    },
    handle: (key) => void seen.push(key),
  });
  await turn();
  assertEquals(system.control("none"), undefined);
  system.control("a")!.pause();
  pods.put(thing("Pod", "one"));
  pods.put(thing("Pod", "bad"));
  pods.objects.clear();
  await ports.clock.advance(1000);
  assertEquals([system.report()[0].restarts, system.report()[0].paused], [1, true]);
  actor.send("x");
  actor.send("y");
  await turn();
  assertEquals([seen, system.busy(), system.report()[0].waiting], [[], [], 2]);
  assertEquals(system.control("a")!.step(), true);
  await turn();
  assertEquals(seen, ["x"]);
  system.control("a")!.resume();
  await turn();
  assertEquals([seen, system.report()[0].paused], [["x", "y"], undefined]);
  system.control("a")!.pause();
  actor.send("z");
  await system.stop();
  assertEquals(seen, ["x", "y"]);
});

Deno.test("system: observed: every observer hears of every actor's messages, children's too, until it leaves", async () => {
  const system = createSystem(fedPorts());
  const actor = system.spawn("a", {
    start: (context) => context.spawn("child", { start() {}, handle() {} }),
    handle: (key, child) => child.send(key),
  });
  await turn();
  const heard: string[][] = [[], []];
  const [first, second] = heard.map((list) =>
    system.observe(({ to, key, outcome }) => list.push(`${to} ${key} ${outcome}`))
  );
  actor.send("x");
  await turn();
  first();
  actor.send("y");
  await turn();
  second();
  actor.send("z");
  await turn();
  const of = (key: string) => [`a ${key} done`, `a/child ${key} done`];
  assertEquals(heard, [of("x"), [...of("x"), ...of("y")]]);
  await system.stop();
});
