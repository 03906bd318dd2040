/**
 * What forks cost: of a cluster with 10,000 objects in a process of its own, so that the memory measured is theirs. Run as
 * a program it prints the figures as JSON.
 */
import type { KubeObject } from "../../api/machinery/types.ts";
import { Cluster } from "../../mod.ts";
import { median } from "./median.ts";

const OBJECTS = 10_000;
const FORKS = 200;

/** Milliseconds and megabytes. */
export interface ForkFigures {
  firstMs: number;
  medianMs: number;
  /** The whole process with all forks, untouched, and with each of them asked once and at rest. */
  untouchedMB: number;
  touchedMB: number;
  firstRequestMs: number;
  settleMs: number;
}

/** Measures them in another process. */
export async function forkFigures(): Promise<ForkFigures> {
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--v8-flags=--expose-gc", import.meta.url],
    stdout: "piped",
    stderr: "piped",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** A cluster with a Deployment's pods on three nodes, and objects beside them. */
async function filled(): Promise<Cluster> {
  const cluster = await Cluster.start({ nodes: 3 });
  const { client } = cluster;
  await client.create<KubeObject>({
    resource: { group: "apps", version: "v1", plural: "deployments" },
    namespace: "default",
  }, {
    metadata: { name: "web" },
    spec: {
      replicas: 300,
      selector: { matchLabels: { app: "web" } },
      template: {
        metadata: { labels: { app: "web" } },
        spec: { containers: [{ name: "c", image: "nginx:1" }] },
      },
    },
  });
  const maps = {
    resource: { group: "", version: "v1", plural: "configmaps" },
    namespace: "default",
  };
  for (let i = 0; i < OBJECTS; i += 500) {
    await Promise.all(Array.from({ length: 500 }, (_, j) =>
      client.create(maps, {
        metadata: { name: `map-${i + j}` },
        data: { value: "x".repeat(500) },
      })));
  }
  await cluster.settle();
  return cluster;
}

async function measure(): Promise<ForkFigures> {
  const cluster = await filled();
  // Such a collection also gives pages back, so that what is left is what the forks hold
  const collect = (globalThis as { gc?: (how: object) => void }).gc;
  const rss = () => {
    collect?.({ type: "major", flavor: "last-resort" });
    return Deno.memoryUsage().rss / 1e6;
  };
  const forks: Cluster[] = [];
  const times: number[] = [];
  for (let i = 0; i < FORKS; i++) {
    const since = performance.now();
    forks.push(await cluster.fork());
    times.push(performance.now() - since);
  }
  const untouchedMB = rss();
  const requests: number[] = [];
  const settles: number[] = [];
  const node = {
    resource: { group: "", version: "v1", plural: "nodes" },
    name: "plesio-0",
  };
  for (const fork of forks) {
    const since = performance.now();
    await fork.client.get(node);
    const asked = performance.now();
    await fork.settle();
    requests.push(asked - since);
    settles.push(performance.now() - asked);
  }
  const touchedMB = rss();
  return {
    firstMs: times[0],
    medianMs: median(times),
    untouchedMB,
    touchedMB,
    firstRequestMs: median(requests),
    settleMs: median(settles),
  };
}

if (import.meta.main) {
  console.log(JSON.stringify(await measure()));
  Deno.exit(0);
}
