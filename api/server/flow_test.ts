import { assert, assertEquals } from "@std/assert";
import { ManualClock } from "../../kv/mod.ts";
import type { User } from "../client/contract.ts";
import { type FlowLabel, QueueSet, type Ticket, type Waiting, type Work } from "./flow_queues.ts";
import { divided, handOf, Integrator, RetryAfter } from "./flow_shares.ts";
import { type LevelObject, Levels } from "./flow_levels.ts";
import { type FlowSchema, matchesSchema } from "./flow_matching.ts";
import { TURN_REQUESTS_MAX } from "./flow_turns.ts";
import { WatchCounts } from "./flow_work.ts";
import { createApi } from "../mod.ts";
import { createKinds } from "../kinds/mod.ts";
import { ADMIN, CONFIG_MAPS, openApi } from "./fixture_test.ts";
import { callOfRequest } from "./app.ts";

Deno.test("divided() gives each the same multiple of its target, within its bounds", () => {
  const items = [
    { target: 10, least: 5, most: 100 },
    { target: 30, least: 5, most: 100 },
  ];
  assertEquals(divided(80, items)!.map(Math.round), [20, 60]);
  const bound = [
    { target: 10, least: 0, most: 12 },
    { target: 10, least: 0, most: 100 },
    { target: 10, least: 30, most: 40 },
  ];
  const given = divided(60, bound)!;
  assertEquals(given.map((share) => Math.round(share * 1e6) / 1e6), [12, 18, 30]);
  assertEquals(divided(1, [{ target: 1, least: 2, most: 3 }]), undefined);
  assertEquals(divided(9, [{ target: 1, least: 2, most: 3 }]), undefined);
});

Deno.test("handOf() deals different queues, the same ones for the same names", () => {
  const hand = handOf("schema", "flow", 64, 6);
  assertEquals(hand.length, 6);
  assertEquals(new Set(hand).size, 6);
  assert(hand.every((card) => card >= 0 && card < 64));
  assertEquals(handOf("schema", "flow", 64, 6), hand);
  assert(handOf("schema", "other", 64, 6).join() !== hand.join());
  assertEquals(handOf("a", "b", 3, 3).sort(), [0, 1, 2]);
});

Deno.test("Integrator tells mean, deviation and the highest since it was asked", () => {
  const demand = new Integrator(0);
  demand.set(10, 0);
  demand.set(0, 50);
  assertEquals(demand.take(100), { mean: 5, deviation: 5, highest: 10, ms: 100 });
  assertEquals(demand.take(200), { mean: 0, deviation: 0, highest: 0, ms: 100 });
});

Deno.test("RetryAfter grows while many are refused, and shrinks again", () => {
  const retry = new RetryAfter();
  for (let i = 0; i < 10; i++) retry.refused(100);
  assertEquals(retry.seconds, 1);
  retry.refused(101);
  assertEquals(retry.seconds, 2);
  for (let second = 102; second < 400; second++) {
    for (let i = 0; i < 100; i++) retry.refused(second);
  }
  assertEquals(retry.seconds, 32);
  retry.refused(1000);
  assertEquals(retry.seconds, 31);
});

const PLAIN: Work = { seats: 1, finalSeats: 0, finalMs: 0 };

/** A set of queues, and whom it served, in order. */
function queueSet(limit: number, queuing = { queues: 8, hand: 2, lengthMax: 4 }) {
  const clock = new ManualClock();
  const set = new QueueSet(clock);
  set.configure(queuing, limit);
  const served: string[] = [];
  const enter = (flow: string, queue: number, work = PLAIN, waitMs = 1000) => {
    const label: FlowLabel = { schema: "s", flow, hand: [queue] };
    const entered = set.enter(label, work, { waitMs: () => waitMs, details: flow });
    if (typeof entered === "string") return entered;
    if ("served" in entered) {
      entered.served.then((yes) => served.push(yes ? flow : `-${flow}`));
      return entered;
    }
    served.push(flow);
    return entered;
  };
  return { clock, set, enter, served };
}

const ticketOf = (entered: Ticket | Waiting | string) =>
  (typeof entered === "object" && "served" in entered ? entered.ticket : entered) as Ticket;

Deno.test("QueueSet leaves some seats to others, whatever one flow asks for", async () => {
  const { set, enter, served, clock } = queueSet(16, { queues: 8, hand: 2, lengthMax: 50 });
  const first = ticketOf(enter("flood", 0));
  for (let i = 0; i < 20; i++) enter("flood", i % 2);
  assertEquals([served.length, set.seatsInUse], [14, 14]);
  const calm = ticketOf(enter("calm", 2));
  assertEquals(served.at(-1), "calm");
  set.leave(first);
  await clock.turn();
  assertEquals([served.length, served.at(-1), set.seatsInUse], [16, "flood", 15]);
  set.leave(calm);
  await clock.turn();
  assertEquals(set.seatsInUse, 14);
  // Without a name it is many users'
  for (let i = 0; i < 4; i++) enter("", 3);
  assertEquals(set.seatsInUse, 16);
});

Deno.test("QueueSet serves as many as there are seats for, the rest in order", async () => {
  const { set, enter, served, clock } = queueSet(2);
  const first = ticketOf(enter("a", 0));
  enter("b", 0);
  enter("c", 0);
  assertEquals([set.serving, set.waiting], [2, 1]);
  set.leave(first);
  await clock.advance(0);
  await clock.turn();
  assertEquals(served, ["a", "b", "c"]);
});

Deno.test("QueueSet refuses what its queue cannot hold while no seat is free", () => {
  const { set, enter } = queueSet(1, { queues: 8, hand: 1, lengthMax: 2 });
  for (let i = 0; i < 3; i++) enter("a", 0);
  assertEquals(enter("a", 0), "queue-full");
  assertEquals(typeof enter("b", 1), "object");
  assertEquals(set.counts.rejected, 1);
});

Deno.test("QueueSet gives two flows the same, however many requests one of them has", async () => {
  const { set, enter, served, clock } = queueSet(1, { queues: 8, hand: 1, lengthMax: 100 });
  const running: Ticket[] = [];
  const all = [ticketOf(enter("flood", 0))];
  running.push(all[0]);
  for (let i = 0; i < 40; i++) all.push(ticketOf(enter("flood", 0, PLAIN, 60_000)));
  for (let i = 0; i < 5; i++) all.push(ticketOf(enter("calm", 1, PLAIN, 60_000)));
  for (let i = 0; i < 12; i++) {
    await clock.advance(10);
    const current = all.find((ticket) =>
      ticket.decide === undefined && !running.includes(ticket)
    ) ??
      running.at(-1)!;
    if (!running.includes(current)) running.push(current);
    set.leave(running.at(-1)!);
    await clock.turn();
  }
  const calm = served.slice(0, 12).filter((flow) => flow === "calm").length;
  assert(calm >= 4, served.join());
});

Deno.test("QueueSet lets nobody wait longer than they have; who goes is forgotten", async () => {
  const { set, enter, served, clock } = queueSet(1);
  enter("a", 0);
  enter("b", 0, PLAIN, 500);
  const gone = ticketOf(enter("c", 0));
  await clock.advance(499);
  assertEquals(set.waiting, 2);
  await clock.advance(1);
  await clock.turn();
  assertEquals(set.waiting, 1);
  set.giveUp(gone, "cancelled");
  await clock.turn();
  assertEquals(served, ["a", "-b", "-c"]);
  assertEquals([set.counts.timedOut, set.counts.cancelled], [1, 1]);
});

Deno.test("QueueSet holds up narrow requests for a wide one whose turn it is", async () => {
  const { set, enter, served, clock } = queueSet(4);
  const first = ticketOf(enter("a", 0));
  const second = ticketOf(enter("b", 1));
  enter("wide", 2, { seats: 4, finalSeats: 0, finalMs: 0 });
  await clock.advance(1);
  enter("narrow", 3);
  // The wide one's turn comes first by virtual time only once its work is counted: both wait or one is let in
  set.leave(first);
  set.leave(second);
  await clock.turn();
  assert(served.includes("wide") || served.includes("narrow"));
  assert(set.seatsInUse <= 4);
});

Deno.test("QueueSet serves alone who wants more seats than there are", () => {
  const { set, enter } = queueSet(2, { queues: 0, hand: 1, lengthMax: 0 });
  const wide = { seats: 9, finalSeats: 0, finalMs: 0 };
  const ticket = ticketOf(enter("wide", 0, wide));
  assertEquals(set.seatsInUse, 9);
  assertEquals(enter("narrow", 0), "concurrency-limit");
  set.leave(ticket);
  assertEquals(typeof enter("narrow", 0), "object");
  assertEquals(enter("wide", 0, wide), "concurrency-limit");
});

Deno.test("QueueSet keeps a write's seats as long as its watchers have work", async () => {
  const { set, enter, clock } = queueSet(4);
  const ticket = ticketOf(enter("a", 0, { seats: 1, finalSeats: 3, finalMs: 5 }));
  assertEquals(set.seatsInUse, 3);
  set.leave(ticket);
  assertEquals([set.seatsInUse, set.serving], [3, 0]);
  await clock.advance(5);
  assertEquals([set.seatsInUse, set.idle], [0, true]);
});

Deno.test("QueueSet has fewer queues once those beyond are empty", () => {
  const { set, enter } = queueSet(4, { queues: 4, hand: 1, lengthMax: 4 });
  const ticket = ticketOf(enter("a", 3));
  set.configure({ queues: 2, hand: 1, lengthMax: 4 }, 4);
  assertEquals(set.queues.length, 4);
  set.leave(ticket);
  assertEquals(set.queues.length, 2);
});

const requested = (over: object = {}) => ({
  verb: "get",
  resourceRequest: true,
  group: "",
  version: "v1",
  resource: "pods",
  subresource: "",
  namespace: "default",
  name: "a",
  path: "",
  ...over,
});

Deno.test("matchesSchema() looks at subjects and rules as upstream does", async (t) => {
  const account: User = { name: "system:serviceaccount:kube-system:x", groups: [] };
  const ann: User = { name: "ann", groups: ["dev"] };
  const everything = {
    verbs: ["*"],
    apiGroups: ["*"],
    resources: ["*"],
    clusterScope: true,
    namespaces: ["*"],
  };
  const user = { kind: "User", user: { name: "ann" } };
  const rule = (over: object, subject: object = user) => ({
    subjects: [subject],
    resourceRules: [{ ...everything, ...over }],
  });
  const cases: [string, object, User, object, boolean][] = [
    ["a user", rule({}), ann, {}, true],
    ["another user", rule({}), account, {}, false],
    ["anybody", rule({}, { kind: "User", user: { name: "*" } }), account, {}, true],
    ["a group", rule({}, { kind: "Group", group: { name: "dev" } }), ann, {}, true],
    [
      "an account of a namespace",
      rule({}, {
        kind: "ServiceAccount",
        serviceAccount: { namespace: "kube-system", name: "*" },
      }),
      account,
      {},
      true,
    ],
    [
      "an account by name",
      rule({}, { kind: "ServiceAccount", serviceAccount: { namespace: "kube-system", name: "y" } }),
      account,
      {},
      false,
    ],
    ["a verb", rule({ verbs: ["list"] }), ann, {}, false],
    ["a subresource by its whole name", rule({ resources: ["pods"] }), ann, {
      subresource: "status",
    }, false],
    ["the cluster's scope", rule({ clusterScope: false }), ann, { namespace: "" }, false],
    ["a namespace", rule({ namespaces: ["x"] }), ann, {}, false],
    [
      "a path below",
      { subjects: [user], nonResourceRules: [{ verbs: ["get"], nonResourceURLs: ["/healthz/*"] }] },
      ann,
      { resourceRequest: false, path: "/healthz/ping" },
      true,
    ],
    [
      "a path beside",
      { subjects: [user], nonResourceRules: [{ verbs: ["get"], nonResourceURLs: ["/healthz"] }] },
      ann,
      { resourceRequest: false, path: "/healthzz" },
      false,
    ],
  ];
  for (const [name, one, who, over, expected] of cases) {
    await t.step(name, () => {
      const spec = {
        priorityLevelConfiguration: { name: "x" },
        matchingPrecedence: 1,
        rules: [one],
      };
      assertEquals(matchesSchema(spec, who, requested(over)), expected);
    });
  }
});

const levelObject = (name: string, limited: object): LevelObject =>
  ({
    apiVersion: "flowcontrol.apiserver.k8s.io/v1",
    kind: "PriorityLevelConfiguration",
    metadata: { name, uid: `uid-${name}` },
    spec: { type: "Limited", limited },
  }) as unknown as LevelObject;

const queue = (queues: number, handSize: number, queueLengthLimit: number) => ({
  type: "Queue" as const,
  queuing: { queues, handSize, queueLengthLimit },
});

Deno.test("Levels divide the seats by shares, and lend what is not wanted", async () => {
  const clock = new ManualClock();
  const levels = new Levels(clock, 100);
  levels.digest([
    levelObject("busy", {
      nominalConcurrencyShares: 20,
      limitResponse: queue(4, 1, 50),
    }),
    levelObject("idle", {
      nominalConcurrencyShares: 25,
      lendablePercent: 80,
      limitResponse: queue(4, 1, 50),
    }),
  ], []);
  const [busy, idle] = ["busy", "idle"].map((name) => levels.levels.get(name)!);
  assertEquals([busy.nominal, idle.nominal], [40, 50]);
  assertEquals([idle.least, idle.most], [10, 150]);
  const label = { schema: "s", flow: "f", hand: [0] };
  for (let i = 0; i < 80; i++) busy.set.enter(label, PLAIN, { waitMs: () => 1e6, details: 0 });
  await clock.advance(10_000);
  levels.lend();
  assert(busy.current > 40, String(busy.current));
  assert(idle.current >= 10);
});

Deno.test("Levels at rest lend as if they had done so every ten seconds", async () => {
  const clock = new ManualClock();
  const objects = [
    levelObject("busy", { nominalConcurrencyShares: 20, limitResponse: queue(4, 1, 50) }),
    levelObject("idle", {
      nominalConcurrencyShares: 25,
      lendablePercent: 80,
      limitResponse: queue(4, 1, 50),
    }),
  ];
  const [resting, ticking] = [new Levels(clock, 100), new Levels(clock, 100)];
  const wakes: number[] = [];
  for (const levels of [resting, ticking]) levels.digest(objects, []);
  assert(resting.rest((afterMs) => wakes.push(afterMs)));
  ticking.lend();
  for (const ms of [10_000, 10_000, 3_000]) {
    await clock.advance(ms);
    if (ms === 10_000) ticking.lend();
  }
  assertEquals(wakes, []);
  for (const levels of [resting, ticking]) {
    const { set } = levels.levels.get("busy")!;
    const label = { schema: "s", flow: "f", hand: [0] };
    for (let i = 0; i < 80; i++) set.enter(label, PLAIN, { waitMs: () => 1e6, details: 0 });
  }
  assertEquals(wakes, [7_000]);
  await clock.advance(7_000);
  ticking.lend();
  assertEquals(resting.rest((afterMs) => wakes.push(afterMs)), false);
  const seats = (levels: Levels) => [...levels.levels.values()].map(({ current }) => current);
  assertEquals(seats(resting), seats(ticking));
  assert(resting.levels.get("busy")!.current > 40);
});

Deno.test("Levels: an unknown level is retained until the last of its requests is served", () => {
  const levels = new Levels(new ManualClock(), 100);
  levels.digest([levelObject("x", { limitResponse: { type: "Reject" } })], []);
  const level = levels.levels.get("x")!;
  const ticket = level.set.enter({ schema: "s", flow: "", hand: [] }, PLAIN, {
    waitMs: () => 1,
    details: 0,
  }) as Ticket;
  levels.digest([], []);
  assertEquals([levels.levels.has("x"), level.quiescing], [true, true]);
  level.set.leave(ticket);
  levels.reap(level);
  assertEquals(levels.levels.has("x"), false);
});

Deno.test("Levels: schemas in the order of precedence; without any the mandatory ones", () => {
  const levels = new Levels(new ManualClock(), 100);
  const master: User = { name: "root", groups: ["system:masters"] };
  const ann: User = { name: "ann", groups: ["system:authenticated"] };
  assertEquals(levels.classify(master, requested()).level.name, "exempt");
  assertEquals(levels.classify(ann, requested()).level.name, "catch-all");
  const schema = (name: string, matchingPrecedence: number, level: string) =>
    ({
      metadata: { name, uid: `uid-${name}` },
      spec: {
        matchingPrecedence,
        priorityLevelConfiguration: { name: level },
        distinguisherMethod: { type: "ByUser" },
        rules: [{
          subjects: [{ kind: "User", user: { name: "ann" } }],
          resourceRules: [{
            verbs: ["*"],
            apiGroups: ["*"],
            resources: ["*"],
            namespaces: ["*"],
          }],
        }],
      },
    }) as unknown as FlowSchema;
  levels.digest(
    [levelObject("low", { limitResponse: queue(8, 2, 5) })],
    [schema("b", 500, "low"), schema("a", 400, "low"), schema("c", 1, "none")],
  );
  const found = levels.classify(ann, requested());
  assertEquals([found.schema.metadata.name, found.level.name, found.label.flow], [
    "a",
    "low",
    "ann",
  ]);
  assertEquals(found.headers, {
    "x-kubernetes-pf-flowschema-uid": "uid-a",
    "x-kubernetes-pf-prioritylevel-uid": "uid-low",
  });
  assert(levels.classify(ann, requested()) === found, "remembered");
});

Deno.test("WatchCounts counts who hears of a write", () => {
  const watches = new WatchCounts();
  const ends = [
    watches.begin(requested({ verb: "watch", name: "", namespace: "" })),
    watches.begin(requested({ verb: "watch", name: "" })),
    watches.begin(requested({ verb: "watch" })),
    watches.begin(requested({ verb: "watch", name: "b" })),
    watches.begin(
      requested({ verb: "watch", namespace: "", name: "", fieldSelector: "spec.nodeName=n" }),
    ),
  ];
  assertEquals(watches.interested(requested({ verb: "update" }), 1), 3);
  assertEquals(watches.interested(requested({ verb: "create", name: "" }), 1), 2);
  for (const end of ends) end();
  assertEquals(watches.interested(requested({ verb: "update" }), 1), 0);
});

/** An API whose requests of "eve" stay open until their bodies are given. */
async function slowApi(objects: { level: object; schema?: object }) {
  const fixture = await openApi();
  const { database, clock } = fixture;
  const api = createApi({
    database,
    kinds: createKinds(),
    clock,
    authorizer: {
      authorize: () => ({ allowed: true }),
      rules: () => ({ rules: [], errors: [] }),
    },
    front: { flow: { readsMax: 4, writesMax: 2 }, requestTimeoutMs: 60_000 },
  });
  const flow = (plural: string) => ({
    resource: { group: "flowcontrol.apiserver.k8s.io", version: "v1", plural },
  });
  const admin = api.client(ADMIN);
  const level = await admin.create(flow("prioritylevelconfigurations"), {
    metadata: { name: "tight" },
    spec: { type: "Limited", limited: objects.level },
  });
  const schema = await admin.create(flow("flowschemas"), {
    metadata: { name: "tight" },
    spec: {
      matchingPrecedence: 10,
      priorityLevelConfiguration: { name: "tight" },
      distinguisherMethod: { type: "ByUser" },
      rules: [{
        subjects: [{ kind: "Group", group: { name: "tenants" } }],
        resourceRules: [{
          verbs: ["*"],
          apiGroups: ["*"],
          resources: ["*"],
          namespaces: ["*"],
        }],
      }],
    },
  });
  for (let i = 0; i < 5; i++) await clock.turn();
  const bodies: ((bytes: Uint8Array) => void)[] = [];
  const gone = new AbortController();
  const post = (name: string, user = "eve", query = "") => {
    const request = new Request(`https://x/api/v1/namespaces/default/configmaps${query}`, {
      method: "POST",
    });
    return api.answer({
      ...callOfRequest(request),
      header: (name) => name === "content-type" ? "application/json" : undefined,
      user: { name: user, groups: ["tenants"] },
      signal: gone.signal,
      body: () =>
        new Promise((resolve) => {
          bodies.push(() => resolve(new TextEncoder().encode(`{"metadata":{"name":"${name}"}}`)));
        }),
    });
  };
  return { ...fixture, api, bodies, post, level, schema, gone };
}

async function turns(clock: { turn(): Promise<void> }): Promise<void> {
  for (let i = 0; i < 5; i++) await clock.turn();
}

const lineOf = (text: string, start: string) =>
  text.split("\n").find((line) => line.startsWith(start));

Deno.test("flow: requests over the limit wait in queues, and beyond them are told to come again", async () => {
  await using f = await slowApi({
    level: { nominalConcurrencyShares: 0, limitResponse: queue(1, 1, 2) },
  });
  // No shares are no seats of its own, and nobody lends: none is served before the level borrows
  const first = f.post("a");
  const second = f.post("b");
  await turns(f.clock);
  const refused = await f.post("c");
  assertEquals(refused.status, 429);
  assertEquals(refused.headers["retry-after"], "1");
  assertEquals(refused.headers["content-type"], "text/plain; charset=utf-8");
  assertEquals(
    new TextDecoder().decode(refused.body as Uint8Array),
    "Too many requests, please try again later.\n",
  );
  assertEquals(refused.headers["x-kubernetes-pf-prioritylevel-uid"], f.level.metadata.uid);
  assertEquals(refused.headers["x-kubernetes-pf-flowschema-uid"], f.schema.metadata.uid);
  f.gone.abort();
  assertEquals((await first).status, 429);
  assertEquals((await second).status, 429);
});

Deno.test("flow: a level that rejects has no queue; what fits is served", async () => {
  await using f = await slowApi({
    level: {
      nominalConcurrencyShares: 1,
      borrowingLimitPercent: 0,
      limitResponse: { type: "Reject" },
    },
  });
  const first = f.post("a");
  while (f.bodies.length < 1) await f.clock.turn();
  const refused = await f.post("b");
  assertEquals(refused.status, 429);
  f.bodies[0](new Uint8Array());
  const reply = await first;
  assertEquals(reply.status, 201);
  assertEquals(reply.headers["x-kubernetes-pf-flowschema-uid"], f.schema.metadata.uid);
  const again = f.post("c");
  while (f.bodies.length < 2) await f.clock.turn();
  f.bodies[1](new Uint8Array());
  assertEquals((await again).status, 201);
  const dump = await f.api.fetch(
    new Request("https://x/debug/api_priority_and_fairness/dump_priority_levels"),
    { user: ADMIN },
  );
  const rows = (await dump.text()).split("\n").map((row) => row.split(/,\s+/));
  assertEquals(rows[0].slice(0, 4), [
    "PriorityLevelName",
    "ActiveQueues",
    "IsIdle",
    "IsQuiescing",
  ]);
  const row = rows.find(([name]) => name === "tight")!;
  assertEquals(row.slice(6, 8), ["2", "1"]);
  const scraped = await f.api.fetch(new Request("https://x/metrics"), { user: ADMIN });
  const text = await scraped.text();
  const labels = `{priority_level="tight",flow_schema="tight"`;
  assertEquals(
    lineOf(text, `apiserver_flowcontrol_rejected_requests_total${labels}`),
    `apiserver_flowcontrol_rejected_requests_total${labels},reason="concurrency-limit"} 1`,
  );
  assert(lineOf(text, 'apiserver_flowcontrol_nominal_limit_seats{priority_level="tight"}'));
  const seats = `apiserver_flowcontrol_work_estimated_seats_bucket${labels},le=`;
  // Two were served, one was refused: each was estimated
  assertEquals(lineOf(text, `${seats}"1"`), `${seats}"1"} 3`);
  assertEquals(
    lineOf(text, "apiserver_current_inqueue_requests{"),
    'apiserver_current_inqueue_requests{request_kind="readOnly"} 0',
  );
});

Deno.test("flow: a FlowSchema says whether its level is there", async () => {
  await using f = await openApi();
  const schemas = { group: "flowcontrol.apiserver.k8s.io", version: "v1", plural: "flowschemas" };
  await f.client.create({ resource: schemas }, {
    metadata: { name: "lost" },
    spec: {
      matchingPrecedence: 10,
      priorityLevelConfiguration: { name: "nowhere" },
      rules: [{
        subjects: [{ kind: "User", user: { name: "ann" } }],
        nonResourceRules: [{ verbs: ["get"], nonResourceURLs: ["/x"] }],
      }],
    },
  });
  let conditions: Record<string, string>[] | undefined;
  // Whoever writes the status may have to wait for a busy machine
  for (const until = f.clock.monotonic() + 20_000; !conditions;) {
    assert(f.clock.monotonic() < until, "no status was written");
    await f.clock.sleep(5);
    const found = await f.client.get({ resource: schemas, name: "lost" });
    conditions = (found.status as { conditions?: Record<string, string>[] })?.conditions;
  }
  const [condition] = conditions!;
  assertEquals([condition.type, condition.status, condition.reason], [
    "Dangling",
    "True",
    "NotFound",
  ]);
  assertEquals(
    condition.message,
    'This FlowSchema references the PriorityLevelConfiguration object named "nowhere" but there is no such object',
  );
});

Deno.test("flow: a watch gives its seats back once what was there has been sent", async () => {
  await using f = await openApi();
  const response = await f.api.fetch(
    new Request("https://x/api/v1/namespaces/default/configmaps?watch=true"),
    { user: { name: "system:apiserver", groups: ["system:masters", "system:authenticated"] } },
  );
  await f.client.create({ resource: CONFIG_MAPS, namespace: "default" }, {
    metadata: { name: "seen" },
  });
  const reader = response.body!.getReader();
  await reader.read();
  const scraped = await f.api.fetch(new Request("https://x/metrics"), { user: ADMIN });
  const text = await scraped.text();
  assert(
    text.includes('apiserver_current_inflight_requests{request_kind="readOnly"} 1'),
    text.slice(0, 900),
  );
  await reader.cancel();
});

Deno.test("flow: a flood by one user holds up another's request by a turn's worth of it", async () => {
  await using f = await openApi({
    authorizer: {
      authorize: () => ({ allowed: true }),
      rules: () => ({ rules: [], errors: [] }),
    },
    front: { flow: { readsMax: 4000 } },
  });
  await f.client.create({ resource: CONFIG_MAPS, namespace: "default" }, {
    metadata: { name: "a" },
  });
  const call = (name: string) =>
    f.api.answer({
      ...callOfRequest(new Request("https://x/api/v1/namespaces/default/configmaps/a")),
      user: { name, groups: ["system:authenticated"] },
    });
  let answered = 0;
  // What a turn of the event loop brings: two hundred requests of one user, then one of another
  const flood = Array.from({ length: 200 }, async () => {
    assertEquals((await call("flood")).status, 200);
    answered++;
  });
  assertEquals((await call("calm")).status, 200);
  const before = answered;
  await Promise.all(flood);
  assert(before <= TURN_REQUESTS_MAX, `${before} of the flood's were answered first`);
});
