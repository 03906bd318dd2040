import { assert, assertEquals, assertMatch } from "@std/assert";
import { ManualClock, RealClock } from "../../kv/mod.ts";
import { Cluster } from "../../mod.ts";
import type { Call } from "../server/http.ts";
import { actors, type ActorsPort, CHANGES_EVERY_MS, MESSAGES_WAITING_MAX } from "./actors.ts";
import type { PlesioPorts } from "./ports.ts";

const ROOT = "/plesio/v1/actors";
const config = (name: string) => ({ metadata: { name, namespace: "default" } });
const MAPS = { resource: { group: "", version: "v1", plural: "configmaps" } };

/** Lines of a watch, as they come. */
async function* lines(reply: Response): AsyncGenerator<any> {
  let rest = "";
  for await (const text of reply.body!.pipeThrough(new TextDecoderStream())) {
    const found = (rest + text).split("\n");
    rest = found.pop()!;
    for (const line of found) yield JSON.parse(line);
  }
}

Deno.test("a watch tells of all actors, then of messages as they are handled, and of what has changed", async () => {
  await using cluster = await Cluster.start({ nodes: 1 });
  await cluster.settle();
  const leaving = new AbortController();
  const reply = await cluster.fetch(`${ROOT}?watch=true`, { signal: leaving.signal });
  assertEquals(reply.headers.get("content-type"), "application/json");
  const told = lines(reply);
  const { value: first } = await told.next();
  assertEquals([first.type, first.control], ["ACTORS", false]);
  const addresses = first.actors.map(({ address }: { address: string }) => address);
  for (const one of ["controller/deployment", "scheduler/default", "node/plesio-host"]) {
    assert(addresses.includes(one), one);
  }
  assert(first.actors.every((report: object) => !("times" in report)));
  const pod = { ...config("p"), spec: { containers: [{ name: "c", image: "nginx" }] } };
  const { metadata } = await cluster.client.create({
    resource: { group: "", version: "v1", plural: "pods" },
    namespace: "default",
  }, pod);
  const work = cluster.settle().then(() =>
    (cluster.clock as ManualClock).advance(CHANGES_EVERY_MS)
  );
  const messages: any[] = [];
  const changes: any[] = [];
  const ofScheduler = ({ to }: any) => to === "scheduler/default";
  const handled = ({ address, handled }: any) => address === "scheduler/default" && handled > 0;
  while (!messages.some(ofScheduler) || !changes.some(handled)) {
    const { value } = await told.next();
    if (value.type === "MESSAGES") messages.push(...value.messages);
    else {
      assertEquals(value.type, "CHANGED");
      assert(value.actors.length < first.actors.length);
      changes.push(...value.actors);
    }
  }
  await work;
  const { waitedMs, workedMs, ...message } = messages.find(ofScheduler)!;
  assert(waitedMs >= 0 && workedMs >= 0);
  assertEquals(message.because, Number(metadata.resourceVersion));
  assertEquals(message.outcome, "done");
  leaving.abort();
  await told.return(undefined);
});

Deno.test("actors are paused, stepped and resumed where the cluster was started for it", async () => {
  await using cluster = await Cluster.start({ nodes: 0, actorControl: true });
  await cluster.settle();
  const post = async (path: string) => {
    const reply = await cluster.fetch(`${ROOT}/${path}`, { method: "POST" });
    return { status: reply.status, ...await reply.json() };
  };
  const at = "controller/root-ca-certificate-publisher";
  assertEquals((await post(`${at}/pause`)).paused, true);
  const resource = { group: "", version: "v1", plural: "namespaces" };
  for (const name of ["one", "two"]) {
    await cluster.client.create({ resource }, { metadata: { name } });
  }
  // A paused actor is no reason not to come to rest
  await cluster.settle();
  const published = async () => {
    const { items } = await cluster.client.list(MAPS, {
      fieldSelector: "metadata.name=kube-root-ca.crt",
    });
    return items.filter(({ metadata }) => /one|two/.test(metadata.namespace!)).length;
  };
  assertEquals(await published(), 0);
  await post(`${at}/step`);
  await cluster.settle();
  assertEquals(await published(), 1);
  assertEquals((await post(`${at}/resume`)).paused, undefined);
  await cluster.settle();
  assertEquals(await published(), 2);
  assertMatch((await post("controller/none/pause")).message, /no actor "controller\/none"/);
  assertEquals((await post(`${at}/kill`)).code, 404);
  assertEquals((await cluster.fetch(`${ROOT}/${at}/pause`)).status, 405);
});

Deno.test("elsewhere they are not, and the refusal says how they would be; nobody else may ask", async () => {
  await using cluster = await Cluster.start({ nodes: 0, components: ["api", "controllers"] });
  const path = `${ROOT}/controller/deployment/pause`;
  const reply = await cluster.fetch(path, { method: "POST" });
  assertEquals(reply.status, 403);
  assertMatch((await reply.json()).message, /--actor-control/);
  const request = new Request(`https://plesio${path}`, { method: "POST" });
  const user = { name: "carol", groups: ["system:authenticated"] };
  const carols = await (await cluster.api.fetch(request, { user })).json();
  assertEquals(carols.code, 403);
  assertMatch(carols.message, /carol/);
});

Deno.test("a reader that is slow is told how many messages it missed; one that left costs nothing", async () => {
  let heard: ((message: any) => void) | undefined;
  const system: ActorsPort = {
    report: () => [],
    observe: (listener) => {
      heard = listener;
      return () => heard = undefined;
    },
    control: () => undefined,
  };
  const ports = { clock: new RealClock(), actors: () => system } as unknown as PlesioPorts;
  const call = { method: "GET", path: ROOT, query: "watch=true" } as Call;
  const user = { name: "u", groups: [] };
  const { body } = actors({ call, user, authorize() {}, rest: "", ports });
  assertEquals(heard, undefined, "nobody reads yet");
  const reading = (body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  const next = async () => JSON.parse(new TextDecoder().decode((await reading.next()).value));
  await next();
  for (let i = 0; i < MESSAGES_WAITING_MAX + 3; i++) {
    heard!({ to: "a", key: `${i}`, waitedMs: 1.23456, workedMs: 0, outcome: "done" });
  }
  const { messages, dropped } = await next();
  assertEquals([messages.length, dropped, messages[0].waitedMs], [MESSAGES_WAITING_MAX, 3, 1.235]);
  await reading.return!();
  assertEquals(heard, undefined);
});
