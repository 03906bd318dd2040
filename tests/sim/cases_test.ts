/** What seeds of the simulation have found, as scripts: see the track record in README.md. */
import { assertEquals } from "@std/assert";
import { DEPLOYMENTS, JOBS, PODS, REPLICA_SETS } from "../../actors/runtime/mod.ts";
import type { Client, ClientWatch } from "../../api/client/contract.ts";
import { timedOut } from "../../api/machinery/errors.ts";
import type { Mutation } from "./mutations.ts";
import { CALM } from "./sim_kv.ts";
import type { Obj } from "./truth.ts";
import { clientOf, Stage } from "./stage.ts";

const POD = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "a" },
  spec: { nodeName: "n", containers: [{ name: "c", image: "app" }] },
};
const at = { resource: PODS, namespace: "default" };

Deno.test("a write that was done, but not heard of, and written over says which version it is", async () => {
  using stage = await Stage.make({ shared: true });
  const [one, other] = [await stage.open(), await stage.open()];
  const made = await stage.until(clientOf(one).create(at, POD));
  const target = { ...at, name: "a" };
  const status = { ...made.status as object, message: "told by its node" };
  stage.trouble = { ...CALM, unsure: 1 };
  const telling = clientOf(one).update({ ...target, subresource: "status" }, { ...made, status });
  await stage.pass(0);
  one.pause();
  stage.trouble = CALM;
  await stage.until(clientOf(other).delete(target, { gracePeriodSeconds: 30 }));
  one.resume();
  const told = await stage.until(telling);
  const next = Number(made.metadata.resourceVersion) + 1;
  assertEquals(told.metadata.resourceVersion, `${next}`);
});

interface Behind {
  /** Which news is held back (all). */
  which?(object: Obj): boolean;
  /** Stands in for that verb. */
  create?(client: Client): Client["create"];
}

/** Actors whose caches of one kind are behind until they are let on. */
function behind(plural: string, { which = () => true, create }: Behind = {}) {
  let gate = Promise.withResolvers<void>();
  gate.resolve();
  const wrap = (client: Client): Client => ({
    ...client,
    as: (user, agent) => wrap(client.as(user, agent)),
    under: (term) => wrap(client.under(term)),
    because: (...why) => wrap(client.because(...why)),
    create: create?.(client) ?? client.create,
    watch: async <T>(...[target, query, options]: Parameters<Client["watch"]>) => {
      const watch = await client.watch<T>(target, query, options);
      if (target.resource.plural !== plural) return watch;
      return gated(watch, (object) => which(object) ? gate.promise : undefined);
    },
  });
  const mutation: Mutation = {
    name: "behind",
    text: `caches of ${plural} are behind`,
    client: wrap,
  };
  return {
    mutation,
    hold: () => gate = Promise.withResolvers<void>(),
    letOn: () => gate.resolve(),
  };
}

function gated<T>(
  watch: ClientWatch<T>,
  wait: (object: Obj) => Promise<void> | undefined,
): ClientWatch<T> {
  return {
    close: () => watch.close(),
    async *[Symbol.asyncIterator]() {
      for await (const events of watch) {
        for (const { object } of events) await wait(object);
        yield events;
      }
    },
  };
}

const TEMPLATE = { metadata: { labels: { app: "a" } }, spec: { containers: POD.spec.containers } };

function podsOf(stage: Stage) {
  return [...stage.truth.list("/registry/pods/")];
}

Deno.test("a pod that was created, but not heard of, is not created twice by a stale cache", async () => {
  using stage = await Stage.make();
  let unheard = 2;
  const create = (client: Client): Client["create"] => async (target, ...rest) => {
    const made = await client.create(target, ...rest);
    if (target.resource.plural === "pods" && unheard-- > 0) throw timedOut("no answer");
    // deno-lint-ignore no-explicit-any -- of whatever kind was asked for
    return made as any;
  };
  const pods = behind("pods", { create });
  const client = clientOf(await stage.open(pods.mutation));
  pods.hold();
  const spec = { replicas: 3, selector: { matchLabels: { app: "a" } }, template: TEMPLATE };
  const set = { resource: REPLICA_SETS, namespace: "default" };
  await stage.until(client.create(set, { metadata: { name: "a" }, spec }));
  await stage.pass(5_000);
  assertEquals(podsOf(stage).length, 1, "it waits for its cache");
  pods.letOn();
  await stage.pass(5_000);
  assertEquals(podsOf(stage).length, 3);
});

const INDEXED = { completions: 1, completionMode: "Indexed" };

/** A Job, run by hand. */
async function runJob(stage: Stage, client: Client, rest: object = INDEXED) {
  const template = { spec: { ...TEMPLATE.spec, restartPolicy: "Never" } };
  const spec = { ...rest, template };
  await stage.until(
    client.create({ resource: JOBS, namespace: "default" }, { metadata: { name: "a" }, spec }),
  );
  await stage.pass(1_000);
}

async function end(stage: Stage, client: Client, name: string) {
  const target = { ...at, name, subresource: "status" };
  const patch = { type: "merge" as const, body: { status: { phase: "Succeeded" } } };
  await stage.until(client.patch(target, patch));
  await stage.pass(5_000);
}

Deno.test("a job whose cache is behind its own counting makes no second pod of a done index", async () => {
  using stage = await Stage.make();
  const jobs = behind("jobs");
  const client = clientOf(await stage.open(jobs.mutation));
  await runJob(stage, client);
  const [pod] = podsOf(stage);
  jobs.hold();
  await end(stage, client, pod.metadata.name);
  assertEquals(podsOf(stage).length, 1);
  jobs.letOn();
  await stage.pass(5_000);
  assertEquals(podsOf(stage).map(({ metadata }) => metadata.finalizers ?? []), [[]]);
  const [{ status }] = stage.truth.list("/registry/jobs/");
  assertEquals([status.succeeded, status.completedIndexes], [1, "0"]);
});

Deno.test("a job whose cache of pods is behind counts no pod twice", async () => {
  using stage = await Stage.make();
  const pods = behind("pods", { which: ({ metadata }) => !metadata?.finalizers });
  const client = clientOf(await stage.open(pods.mutation));
  await runJob(stage, client, { completions: 3 });
  const [pod] = podsOf(stage);
  pods.hold();
  await end(stage, client, pod.metadata.name);
  const [{ status }] = stage.truth.list("/registry/jobs/");
  assertEquals(status.succeeded, 1);
});

Deno.test("a pod that a finished job did not count is let go all the same", async () => {
  using stage = await Stage.make();
  const client = clientOf(await stage.open());
  await runJob(stage, client);
  const [pod] = podsOf(stage);
  await end(stage, client, pod.metadata.name);
  const { labels, ownerReferences } = pod.metadata;
  const finalizers = ["batch.kubernetes.io/job-tracking"];
  const metadata = { name: "late", labels, ownerReferences, finalizers };
  await stage.until(client.create(at, { ...POD, metadata }));
  await stage.pass(5_000);
  const late = podsOf(stage).find(({ metadata }) => metadata.name === "late");
  assertEquals(late.metadata.finalizers, undefined);
});

Deno.test("a deployment whose cache does not show its set yet makes no second one beside it", async () => {
  using stage = await Stage.make();
  const sets = behind("replicasets");
  const client = clientOf(await stage.open(sets.mutation));
  sets.hold();
  const at = { resource: DEPLOYMENTS, namespace: "default" };
  const spec = { replicas: 3, selector: { matchLabels: { app: "a" } }, template: TEMPLATE };
  await stage.until(client.create(at, { metadata: { name: "a" }, spec }));
  const body = { spec: { template: { metadata: { annotations: { version: "2" } } } } };
  await stage.until(client.patch({ ...at, name: "a" }, { type: "merge", body }));
  await stage.pass(1_000);
  const sizes = () =>
    [...stage.truth.list("/registry/replicasets/")].map(({ spec }) => spec.replicas);
  assertEquals(sizes(), [3], "it waits for its cache");
  sets.letOn();
  await stage.pass(1_000);
  assertEquals(sizes(), [3, 1], "the replicas and their surge");
});

Deno.test("who takes a term over acts on nothing older than its term", async () => {
  using stage = await Stage.make({ shared: true });
  const first = await stage.open();
  const pods = behind("pods");
  const second = await stage.open(pods.mutation);
  // As a host of nodes does, long before any term is taken here.
  await stage.until(second.running.informers.for(PODS).whenSynced());
  pods.hold();
  const spec = { replicas: 3, selector: { matchLabels: { app: "a" } }, template: TEMPLATE };
  const set = { resource: REPLICA_SETS, namespace: "default" };
  await stage.until(clientOf(first).create(set, { metadata: { name: "a" }, spec }));
  await stage.pass(1_000);
  assertEquals(podsOf(stage).length, 3);
  first.kill();
  await stage.pass(60_000);
  assertEquals(podsOf(stage).length, 3, "its cache shows none of them yet");
  pods.letOn();
  await stage.pass(5_000);
  assertEquals(podsOf(stage).length, 3);
  await stage.until(clientOf(second).delete({ ...at, name: podsOf(stage)[0].metadata.name }));
  await stage.pass(5_000);
  assertEquals(podsOf(stage).length, 3, "it acts");
});

Deno.test("who lost a term by being cut off, and takes it again, acts on nothing older than its own work", async () => {
  using stage = await Stage.make({ shared: true });
  const pods = behind("pods");
  const process = await stage.open(pods.mutation);
  const client = clientOf(process);
  pods.hold();
  const spec = { replicas: 3, selector: { matchLabels: { app: "a" } }, template: TEMPLATE };
  const set = { resource: REPLICA_SETS, namespace: "default" };
  await stage.until(client.create(set, { metadata: { name: "a" }, spec }));
  await stage.pass(1_000);
  assertEquals(podsOf(stage).length, 3);
  const { fence } = stage.truth.terms.get("controller/replicaset")!;
  process.pause();
  await stage.pass(60_000);
  stage.trouble = { ...CALM, lost: 1 };
  process.resume();
  await stage.pass(0);
  stage.trouble = CALM;
  await stage.pass(10_000);
  assertEquals(stage.truth.terms.get("controller/replicaset")!.fence, fence + 1);
  assertEquals(podsOf(stage).length, 3, "its cache shows none of them yet");
  pods.letOn();
  await stage.pass(5_000);
  await stage.until(client.delete({ ...at, name: podsOf(stage)[0].metadata.name }));
  await stage.pass(5_000);
  assertEquals(podsOf(stage).length, 3, "it acts");
});
