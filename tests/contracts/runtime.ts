/**
 * What every container runtime promises the pod worker, as one suite. An implementation hands in how to
 * make one and which commands end with a code, or idle; what it cannot do it lists with the reason.
 */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { ApiError } from "../../api/machinery/types.ts";
import type { Pod } from "../../actors/nodes/types.ts";
import type { ContainerEnd, ContainerSpec, Runtime } from "../../actors/nodes/runtimes/runtime.ts";

/** One implementation. */
export interface RuntimeUnderTest {
  name: string;
  image: string;
  /** A command that ends by itself with this code. */
  quits(code: number): string[];
  /** A command that runs until it is stopped. */
  idles: string[];
  /** What it says once it hears a signal (absent: it does from its start). */
  hears?: string;
  open(folder: string): Promise<Runtime>;
  /** Lets this much time pass. */
  pass(ms: number): Promise<void>;
  /** What a container that quits says, if anything. */
  says?: RegExp;
  /** Names of cases it cannot pass, with the reason. */
  skips?: Record<string, string>;
}

const pod = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: {
    name: "p",
    namespace: "ns",
    uid: "0-1-2",
    resourceVersion: "1",
    creationTimestamp: "",
  },
  spec: { containers: [{ name: "c" }] },
} as Pod;

function specOf(t: RuntimeUnderTest, command: string[], attempt = 0): ContainerSpec {
  const container = { name: "c", image: t.image, command };
  const sandbox = { pod, ips: [], hostname: "p", hosts: "", resolv: "" };
  const env = new Map([["A", "1"]]);
  return { sandbox, container, kind: "app", attempt, env, command, mounts: [], imageId: "" };
}

async function begin(runtime: Runtime, spec: ContainerSpec) {
  const id = await runtime.create(spec);
  const ends: ContainerEnd[] = [];
  const { promise, resolve } = Promise.withResolvers<ContainerEnd>();
  await runtime.start(id, (end) => {
    ends.push(end);
    resolve(end);
  });
  return { id, ends, ended: promise };
}

const read = (runtime: Runtime, attempt: number) =>
  runtime.logs({
    pod,
    container: "c",
    attempt,
    follow: false,
    timestamps: false,
    stream: "All",
    ended: Promise.resolve(),
  }).then((stream) => new Response(stream).text());

/** The cases, by the promise they check. */
const CASES: Record<string, (t: RuntimeUnderTest, runtime: Runtime) => Promise<void>> = {
  "an image it runs is pulled, another it refuses to run": async (t, runtime) => {
    assert(runtime.runs(t.image));
    const { signal } = new AbortController();
    const image = await runtime.pull(t.image, "IfNotPresent", signal, {
      ...specOf(t, []),
      fetching: () => {},
    });
    assertMatch(image.imageId, new RegExp(`^${runtime.name}://`));
  },
  "the end is told once, with its code and times": async (t, runtime) => {
    const { ended, ends, id } = await begin(runtime, specOf(t, t.quits(3)));
    assertMatch(id, new RegExp(`^${runtime.name}://[0-9a-f]{64}$`));
    await t.pass(1000);
    const end = await ended;
    assertEquals(end.exitCode, 3);
    assert(end.startedAt <= end.finishedAt);
    await runtime.remove(id);
    await t.pass(10);
    assertEquals(ends.length, 1);
  },
  "a stop ends it within its grace period": async (t, runtime) => {
    const { ended, id } = await begin(runtime, specOf(t, t.idles));
    await t.pass(20);
    while (t.hears && await read(runtime, 0) !== t.hears) await t.pass(20);
    runtime.stop(id, 5000);
    runtime.stop(id, 5000);
    await t.pass(100);
    const { exitCode } = await ended;
    assert(exitCode === 0 || exitCode === 143, `ended by the signal, not killed: ${exitCode}`);
  },
  "no grace is a kill": async (t, runtime) => {
    const { ended, id } = await begin(runtime, specOf(t, t.idles));
    runtime.stop(id, 0);
    await t.pass(100);
    assertEquals(typeof (await ended).exitCode, "number");
  },
  "each start has a log of its own, which outlives it until it is forgotten": async (
    t,
    runtime,
  ) => {
    for (const attempt of [0, 1]) {
      const { ended, id } = await begin(runtime, specOf(t, t.quits(0), attempt));
      await t.pass(1000);
      await ended;
      await runtime.remove(id);
    }
    for (const attempt of [0, 1]) assertMatch(await read(runtime, attempt), t.says ?? /./);
    await runtime.forget(pod);
    assertEquals(await read(runtime, 0), "");
  },
  "exec runs beside it": async (t, runtime) => {
    const { id } = await begin(runtime, specOf(t, t.idles));
    const streams = { stdin: false, stdout: true, stderr: false, tty: false };
    const process = await runtime.exec(id, { command: ["printenv", "A"], ...streams });
    assertEquals(await new Response(process.stdout).text(), "1\n");
    assertEquals((await process.ended).exitCode, 0);
  },
  "exec without processes is refused": async (t, runtime) => {
    const { id } = await begin(runtime, specOf(t, t.idles));
    const streams = { stdin: false, stdout: true, stderr: false, tty: false };
    const refusal = await assertRejects(
      () => runtime.exec(id, { command: ["ls"], ...streams }),
      ApiError,
    );
    assertEquals(refusal.code, 400);
  },
  "it knows what a container uses while it runs": async (t, runtime) => {
    const { ended, id } = await begin(runtime, specOf(t, t.idles));
    assert((await runtime.stats(id))!.memoryBytes > 0);
    runtime.stop(id, 0);
    await t.pass(100);
    await ended;
    await runtime.remove(id);
    assertEquals(await runtime.stats(id), undefined);
  },
  "closing ends everything": async (t, runtime) => {
    const { ended } = await begin(runtime, specOf(t, t.idles));
    await runtime.close();
    if (runtime.real) assert((await ended).exitCode !== 0);
  },
};

/** Runs the suite over one implementation. */
export function runtimeContract(t: RuntimeUnderTest): void {
  for (const [name, check] of Object.entries(CASES)) {
    const ignore = t.skips !== undefined && name in t.skips;
    Deno.test({ name: `runtime ${t.name}: ${name}`, ignore }, async () => {
      const folder = await Deno.makeTempDir();
      const runtime = await t.open(folder);
      await runtime.startSandbox(specOf(t, []).sandbox);
      try {
        await check(t, runtime);
      } finally {
        await runtime.close();
        await Deno.remove(folder, { recursive: true });
      }
    });
  }
}
