/**
 * A cluster behind `fetch`, as on Deno Deploy: no native queue, instances that come and go, cron every minute. The
 * database counts what is asked of it, the clock is a virtual one.
 */
import { assert, assertEquals } from "@std/assert";
import { servedBy } from "../../api/serve_host.ts";
import { Served, type ServedCluster, SLEEP_AFTER_MS } from "../../api/serve.ts";
import { Cluster, type ClusterOptions } from "../../mod.ts";
import { ManualClock, MemoryKv } from "../../kv/mod.ts";
import { KvCount } from "./counting_kv.ts";

const MINUTE = 60_000;

/** One database, and instances on it. */
class Platform {
  readonly memory = new MemoryKv();
  readonly clock = new ManualClock();
  readonly count = new KvCount();

  readonly #instances: Served[] = [];
  readonly #clusters = new Set<ServedCluster>();
  /** How often an instance was woken. */
  starts = 0;

  instance(options: ClusterOptions = {}): Served {
    const tokens = new Map([["t", { name: "ada", groups: ["system:masters"] }]]);
    const served = new Served({
      clock: this.clock,
      open: () => Promise.resolve(this.count.of(this.memory.open())),
      start: async (clock) => {
        this.starts++;
        const kv = this.count.of(this.memory.open());
        const parts = { nodes: 2, tokens, ...options, kv, clock };
        const cluster = (await Cluster.start(parts)).served();
        this.#clusters.add(cluster);
        return { ...cluster, stop: () => (this.#clusters.delete(cluster), cluster.stop()) };
      },
      log: (_level, text, fields) => console.error(text, fields),
    });
    this.#instances.push(served);
    return served;
  }

  /** Time passes, in steps in which what is awake may do something; every minute cron asks these. */
  async pass(ms: number, cron: readonly Served[] = []): Promise<void> {
    for (const until = this.clock.now() + ms; this.clock.now() < until;) {
      const minute = MINUTE - this.clock.now() % MINUTE;
      const busy = this.#instances.some((one) => one.awake);
      const step = Math.min(until - this.clock.now(), minute, busy ? 1_000 : MINUTE);
      await this.clock.advance(step);
      // What a step sets going are chains of awaits that no clock sees
      const working = () => [...this.#clusters].some((one) => one.busy().length > 0);
      for (let i = 0; busy && (i < 20 || working()) && i < 2_000; i++) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      for (const one of this.#instances) if (!one.awake) await one.sleep();
      if (this.clock.now() % MINUTE === 0) await Promise.all(cron.map((one) => one.cron()));
    }
  }
}

async function ask(served: Served, path: string, body?: unknown) {
  const response = await served.fetch(
    new Request(`https://cluster.test${path}`, {
      method: body ? "POST" : "GET",
      ...(body ? { body: JSON.stringify(body) } : {}),
      headers: { authorization: "Bearer t", "content-type": "application/json" },
    }),
  );
  return { status: response.status, value: await response.json() };
}

const cronJob = {
  metadata: { name: "hourly" },
  spec: {
    schedule: "0 * * * *",
    jobTemplate: {
      spec: {
        template: {
          spec: { restartPolicy: "Never", containers: [{ name: "c", image: "busybox" }] },
        },
      },
    },
  },
};

Deno.test("an idle cluster asks ten things a minute of its database at most, cron included", async () => {
  const platform = new Platform();
  const { count } = platform;
  const served = platform.instance();
  assertEquals((await ask(served, "/api/v1/namespaces")).status, 200);
  await ask(served, "/apis/batch/v1/namespaces/default/cronjobs", cronJob);
  await platform.pass(SLEEP_AFTER_MS + MINUTE, [served]);
  assertEquals(served.awake, false);
  for (let minute = 0; minute < 10; minute++) {
    const before = count.operations;
    await platform.pass(MINUTE, [served]);
    const asked = count.operations - before;
    assert(asked <= 10, `${asked} operations in a minute in which nobody asked`);
    assert(asked >= 1, "cron did not look");
  }
  assertEquals(count.watches, 0);
  assertEquals(served.awake, false);
});

Deno.test("a cluster that sleeps wakes for a request, in under 500 ms", async () => {
  const platform = new Platform();
  const served = platform.instance();
  const took: number[] = [];
  for (let i = 0; i < 3; i++) {
    await ask(served, "/api/v1/namespaces/default/configmaps", { metadata: { name: `m${i}` } });
    await platform.pass(SLEEP_AFTER_MS + MINUTE);
    assertEquals(served.awake, false);
    const since = performance.now();
    const { value } = await ask(served, "/api/v1/namespaces/default/configmaps");
    took.push(performance.now() - since);
    // Nothing that was answered is lost by sleep
    assertEquals(
      value.items.filter((o: { metadata: { name: string } }) => /^m\d$/.test(o.metadata.name))
        .length,
      i + 1,
    );
  }
  assert(Math.min(...took) < 500, `waking took ${took.map(Math.round)} ms`);
  await served.sleep();
});

Deno.test("cron fires a CronJob that was due while the cluster slept", async () => {
  const platform = new Platform();
  const served = platform.instance();
  await ask(served, "/apis/batch/v1/namespaces/default/cronjobs", cronJob);
  await platform.pass(SLEEP_AFTER_MS + MINUTE, [served]);
  assertEquals(served.awake, false);
  const before = platform.starts;
  for (let minute = 0; minute < 62; minute++) await platform.pass(MINUTE, [served]);
  assertEquals(platform.starts - before, 1, "woken for the one thing that there was to do");
  await platform.pass(2 * MINUTE);
  assertEquals(served.awake, false);
  const { value } = await ask(served, "/apis/batch/v1/namespaces/default/jobs");
  assertEquals(value.items.length, 1);
  assertEquals(value.items[0].metadata.ownerReferences[0].name, "hourly");
  await served.sleep();
});

Deno.test("an instance that is ended without a word is missed by cron, and another one goes on", async () => {
  const platform = new Platform();
  const gone = platform.instance();
  await ask(gone, "/apis/batch/v1/namespaces/default/cronjobs", cronJob);
  // Nothing of it is heard any more: it is left alone, on a clock that stands still for it
  const other = new Platform();
  Object.assign(other, { memory: platform.memory });
  await other.clock.advance(platform.clock.now() - other.clock.now() + 61 * MINUTE);
  const next = other.instance();
  await next.cron();
  assertEquals(next.awake, true);
  await other.pass(2 * MINUTE, [next]);
  const { value } = await ask(next, "/apis/batch/v1/namespaces/default/jobs");
  assertEquals(value.items.length, 1);
  await other.pass(3 * MINUTE, [next]);
  assertEquals(next.awake, false, "what the dead one left keeps nobody awake for ever");
});

Deno.test("two instances answer for one cluster, and the last one that sleeps knows what is due", async () => {
  const platform = new Platform();
  const [a, b] = [platform.instance(), platform.instance()];
  const made = await ask(a, "/api/v1/namespaces/default/configmaps", { metadata: { name: "one" } });
  const read = await ask(b, "/api/v1/namespaces/default/configmaps/one");
  assertEquals(read.value.metadata.uid, made.value.metadata.uid);
  await ask(b, "/apis/batch/v1/namespaces/default/cronjobs", cronJob);
  await platform.pass(SLEEP_AFTER_MS + 2 * MINUTE, [a, b]);
  assertEquals([a.awake, b.awake], [false, false]);
  for (let minute = 0; minute < 62; minute++) await platform.pass(MINUTE, [b]);
  const { value } = await ask(a, "/apis/batch/v1/namespaces/default/jobs");
  assertEquals(value.items.length, 1);
  await a.sleep();
  await b.sleep();
});

Deno.test("an open answer keeps an instance awake", async () => {
  const platform = new Platform();
  const served = platform.instance();
  const watch = await served.fetch(
    new Request("https://cluster.test/api/v1/configmaps?watch=true", {
      headers: { authorization: "Bearer t" },
    }),
  );
  await platform.pass(SLEEP_AFTER_MS + MINUTE);
  assertEquals(served.awake, true);
  await watch.body!.cancel();
  await platform.pass(SLEEP_AFTER_MS + MINUTE);
  assertEquals(served.awake, false);
});

Deno.test("a cluster without a database to share stays awake", async () => {
  let started = 0;
  const clock = new ManualClock();
  const door = servedBy({
    clock,
    log: () => undefined,
    start: async () => {
      started++;
      return (await Cluster.start({ clock, nodes: 0, components: ["api"] })).served();
    },
  });
  for (let i = 0; i < 2; i++) {
    const answer = await door.fetch(new Request("https://cluster.test/healthz"));
    assertEquals(await answer.text(), "ok");
    await clock.advance(10 * MINUTE);
  }
  assertEquals(started, 1);
  await door.sleep();
});

Deno.test("a cluster whose database cannot be had says so, and is woken by the next request", async () => {
  const platform = new Platform();
  let away = true;
  const said: string[] = [];
  const served = new Served({
    clock: platform.clock,
    open: () => Promise.resolve(platform.memory.open()),
    start: async (clock) => {
      if (away) throw new Error("password of db is x");
      const kv = platform.memory.open();
      return (await Cluster.start({ nodes: 0, components: ["api"], kv, clock })).served();
    },
    log: (_level, text) => void said.push(text),
  });
  const first = await served.fetch(new Request("https://cluster.test/healthz"));
  assertEquals([first.status, first.headers.get("retry-after")], [503, "1"]);
  const { kind, reason, message } = await first.json();
  assertEquals([kind, reason], ["Status", "ServiceUnavailable"]);
  assertEquals(message, "the cluster cannot be reached now, try again");
  assertEquals(said, ["the cluster could not be woken"]);
  away = false;
  const second = await served.fetch(new Request("https://cluster.test/healthz"));
  assertEquals(await second.text(), "ok");
  await served.sleep();
});

Deno.test("a cluster that cannot say that it is awake is stopped, and started anew by the next request", async () => {
  const platform = new Platform();
  let away = true;
  let running = 0;
  const served = new Served({
    clock: platform.clock,
    open: () => {
      if (away) return Promise.reject(new Error("away"));
      return Promise.resolve(platform.memory.open());
    },
    start: async (clock) => {
      running++;
      const kv = platform.memory.open();
      const parts = { nodes: 0, components: ["api"] as const, kv, clock };
      const cluster = (await Cluster.start(parts)).served();
      return { ...cluster, stop: () => (running--, cluster.stop()) };
    },
    log: () => undefined,
  });
  const ask = async () => (await served.fetch(new Request("https://cluster.test/healthz"))).status;
  assertEquals([await ask(), running], [503, 0]);
  away = false;
  assertEquals([await ask(), running], [200, 1]);
  await served.sleep();
  assertEquals(running, 0);
});
