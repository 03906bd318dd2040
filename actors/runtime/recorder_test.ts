import { assert, assertEquals } from "@std/assert";
import type { Client, Patch } from "../../api/client/contract.ts";
import { ApiError, type KubeObject } from "../../api/machinery/types.ts";
import { thing, ToldClock, turn } from "./fakes_test.ts";
import { EVENT_SPAM_BURST, EVENT_SPAM_REFILL_MS, EVENT_TRIES_MAX } from "./limits.ts";
import { EventRecorder, referenceTo } from "./recorder.ts";

/** A server that keeps Events; `refuse` makes it fail. */
function recorder(refuse: () => unknown = () => undefined, others: string[] = []) {
  const events = new Map<string, KubeObject>();
  let writes = 0;
  const client = {
    create: (_target: unknown, event: KubeObject) => {
      writes++;
      const error = refuse();
      if (error) return Promise.reject(error);
      events.set(event.metadata.name, event);
      return Promise.resolve(event);
    },
    patch: ({ name }: { name: string }, patch: Patch) => {
      writes++;
      const event = events.get(name);
      if (!event) return Promise.reject(new ApiError({ code: 404, reason: "NotFound" }));
      const next = { ...event, ...(patch.body as object) };
      events.set(name, next);
      return Promise.resolve(next);
    },
  } as unknown as Client;
  const clock = new ToldClock();
  const made = new EventRecorder({ client, clock, log: () => {}, component: "tester", host: "n1" });
  const rest = others.map((component) =>
    new EventRecorder({ client, clock, log: () => {}, component })
  );
  const list = () => [...events.values()].map((e) => [e.reason, e.message, e.count]);
  return { recorder: made, rest, clock, events, list, writes: () => writes };
}

const pod = thing("Pod", "web");

Deno.test("recorder writes upstream's Event", async () => {
  const { recorder: made, clock, events } = recorder();
  made.event(pod, "Normal", "Created", "Created it", { action: "Creating" });
  await turn();
  const [event] = [...events.values()];
  assert(/^web\.[0-9a-f]{16}$/.test(event.metadata.name), event.metadata.name);
  assertEquals(event.metadata.namespace, "default");
  assertEquals(event.involvedObject, {
    kind: "Pod",
    name: "web",
    namespace: "default",
    uid: "uid-web",
    apiVersion: "v1",
  });
  assertEquals(event.source, { component: "tester", host: "n1" });
  assertEquals([event.reportingComponent, event.reportingInstance], ["tester", "n1"]);
  assertEquals([event.type, event.count, event.action], ["Normal", 1, "Creating"]);
  const at = new Date(clock.now()).toISOString().replace(".000Z", "Z");
  assertEquals([event.firstTimestamp, event.lastTimestamp], [at, at]);
});

Deno.test("recorders of two sources that speak of an object at once do not take each other's names", async () => {
  const { recorder: made, rest, list } = recorder(undefined, [
    "kubelet",
    "attachdetach-controller",
  ]);
  for (const each of [made, ...rest]) each.event(pod, "Normal", "Said", "said");
  await turn();
  assertEquals(list().length, 3);
});

Deno.test("recorder counts equal Events in one, and merges those of a moment into one write", async () => {
  const { recorder: made, list, writes } = recorder();
  for (let i = 0; i < 3; i++) made.event(pod, "Normal", "Pulled", "Pulled image");
  await turn();
  assertEquals(list(), [["Pulled", "Pulled image", 3]]);
  assertEquals(writes() <= 2, true);
  made.event(pod, "Normal", "Pulled", "Pulled image");
  await turn();
  assertEquals(list(), [["Pulled", "Pulled image", 4]]);
});

Deno.test("recorder combines similar Events from the tenth on", async () => {
  const { recorder: made, list } = recorder();
  for (let i = 0; i < 12; i++) made.event(pod, "Warning", "Failed", `attempt ${i}`);
  await turn();
  const found = list();
  assertEquals(found.length, 10);
  assertEquals(found.at(-1), ["Failed", "(combined from similar events): attempt 11", 3]);
});

Deno.test("recorder drops what one source says too often about one object", async () => {
  const { recorder: made, clock, list } = recorder();
  for (let i = 0; i < 40; i++) made.event(pod, "Normal", "Same", "same");
  await turn();
  assertEquals(list(), [["Same", "same", EVENT_SPAM_BURST]]);
  made.event(thing("Pod", "other"), "Normal", "Same", "same");
  await turn();
  assertEquals(list().length, 2, "another object has its own allowance");
  await clock.advance(EVENT_SPAM_REFILL_MS);
  for (let i = 0; i < 5; i++) made.event(pod, "Normal", "Same", "same");
  await turn();
  assertEquals(list()[0][2], EVENT_SPAM_BURST + 1);
});

Deno.test("recorder says an Event anew when the old one expired", async () => {
  const { recorder: made, events, list } = recorder();
  made.event(pod, "Normal", "Pulled", "Pulled image");
  await turn();
  events.clear();
  made.event(pod, "Normal", "Pulled", "Pulled image");
  await turn();
  assertEquals(list(), [["Pulled", "Pulled image", 2]]);
});

Deno.test("recorder tries again when the server is away, not when it refuses", async () => {
  let error: unknown = new Error("connection refused");
  const away = recorder(() => error);
  away.recorder.event(pod, "Normal", "Late", "late");
  await away.clock.advance(25_000);
  assertEquals(away.list(), []);
  error = undefined;
  await away.clock.advance(10_000);
  assertEquals(away.list(), [["Late", "late", 1]]);

  const refused = recorder(() => new ApiError({ code: 403, reason: "Forbidden" }));
  refused.recorder.event(pod, "Normal", "No", "no");
  await refused.clock.advance(200_000);
  assertEquals(refused.writes(), 1);

  const dead = recorder(() => new Error("down"));
  dead.recorder.event(pod, "Normal", "Never", "never");
  await dead.clock.advance(1_000_000);
  assertEquals(dead.writes(), EVENT_TRIES_MAX);
});

Deno.test("recorder stops after the writes under way, and records nothing more", async () => {
  const { recorder: made, list } = recorder();
  made.event(pod, "Normal", "Last", "last");
  assertEquals(made.busy, true);
  await made.stop();
  made.event(pod, "Normal", "After", "after");
  await turn();
  assertEquals(list(), [["Last", "last", 1]]);
});

Deno.test("referenceTo() takes objects and references", () => {
  const reference = { apiVersion: "v1", kind: "Node", name: "n" };
  assertEquals(referenceTo(reference), reference);
  assertEquals(referenceTo(pod).uid, "uid-web");
});
