/**
 * Shows behaviours: one cluster with a node of each runtime side by side, every behaviour in a namespace of its own on
 * every runtime that it applies to, several at once.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { Cluster } from "../../../mod.ts";
import { Containerd, type IMAGES } from "../containerd.ts";
import { type Behaviour, type RuntimeName, RUNTIMES } from "./behaviour.ts";
import { eventually, type Reached, resourceOf, Scene } from "./scene.ts";

/** So many behaviours are at work at one time: pods wait for probes and hooks most of theirs. */
const AT_ONCE = 16;
/** Only behaviours whose names have this in them: for those who work on one. */
const ONLY = Deno.env.get("PLESIO_BEHAVIOURS");

/** Registers the areas' behaviours as the steps of a test. */
export function shows(
  areas: Record<string, readonly Behaviour[]>,
  runtimes: readonly RuntimeName[],
  images: readonly (keyof typeof IMAGES)[],
): void {
  const loose = { sanitizeOps: false, sanitizeResources: false, sanitizeExit: false };
  Deno.test({ name: `behaviours on ${runtimes.join(" and ")}`, ...loose }, async (t) => {
    const world = await openWorld(runtimes, images);
    const turns = new Turns(AT_ONCE);
    const steps: Promise<boolean>[] = [];
    let count = 0;
    for (const [area, behaviours] of Object.entries(areas)) {
      for (const behaviour of behaviours) {
        if (ONLY && !`${area}: ${behaviour.name}`.includes(ONLY)) continue;
        for (const runtime of runtimes) {
          const reason = behaviour.not?.[runtime] ??
            (runtimes.length === 1 ? behaviour.alone : undefined);
          const about = reason ? ` (left out: ${reason})` : "";
          const namespace = `b-${++count}`;
          steps.push(t.step({
            ...loose,
            name: `${runtime}, ${area}: ${behaviour.name}${about}`,
            ignore: reason !== undefined,
            fn: () => turns.run(() => show(behaviour, new Scene(runtime, namespace, world))),
          }));
        }
      }
    }
    const shown = await Promise.all(steps);
    await world.close(shown.every((one) => one));
  });
}

async function show(behaviour: Behaviour, scene: Scene): Promise<void> {
  await scene.open();
  try {
    await see(behaviour, scene);
  } catch (error) {
    const account = await scene.account().catch((why) => `no account: ${why.message}`);
    throw new Error(`${(error as Error).message}\n${account}`, { cause: error });
  } finally {
    await scene.close();
  }
}

async function see({ objects = [], pod, log, ends, then }: Behaviour, scene: Scene): Promise<void> {
  await scene.create(...objects);
  if (pod) {
    if (log !== undefined || ends !== undefined) await scene.once("p", pod, ends);
    else await scene.pod("p", pod);
  }
  if (typeof log === "string") assertEquals(await scene.logs("p"), log);
  else if (log) assertMatch(await scene.logs("p"), log);
  await then?.(scene);
}

/** Lets so many be at work at one time. */
class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async run(work: () => Promise<void>): Promise<void> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }
}

/** A cluster for behaviours. */
interface World extends Reached {
  /** Takes it down; `clean` when nothing must be left behind. */
  close(clean: boolean): Promise<void>;
}

async function openWorld(
  runtimes: readonly RuntimeName[],
  images: readonly (keyof typeof IMAGES)[],
): Promise<World> {
  const containerd = runtimes.includes("containerd") ? await Containerd.start(images) : undefined;
  const data = await Deno.makeTempDir({ prefix: "plesio-behaviours-" });
  const cluster = await Cluster.start({
    clock: "real",
    data,
    nodes: RUNTIMES.filter((one) => runtimes.includes(one)).length,
    runtime: "isolate",
    ...containerd && { containerRuntime: containerd.runtime },
  });
  const { port } = await cluster.listen({ port: 0 });
  const { authorityPem: ca, certificatePem: cert, keyPem: key } = await cluster.access();
  const pods = { resource: resourceOf("Pod") };
  return {
    cluster,
    host: `127.0.0.1:${port}`,
    tls: { ca, cert, key },
    close: async (clean) => {
      const left = async () => (await cluster.client.list(pods)).items.length;
      // Their volumes are mounts: the folder can go once they have gone.
      const over = eventually("the end of all pods", async () => await left() === 0);
      await (clean ? over : over.catch(() => undefined));
      await cluster.stop();
      await containerd?.stop();
      const removed = Deno.remove(data, { recursive: true });
      await (clean ? removed : removed.catch(() => undefined));
    },
  };
}
