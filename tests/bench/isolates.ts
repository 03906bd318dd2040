/** How long pods of real processes take from POST to Ready, one at a time and many at once. */
import { type Access, RawConnection } from "../e2e/raw_http.ts";
import { get } from "./load.ts";
import { median } from "./median.ts";

const PODS = "/api/v1/namespaces/default/pods";
/** Starts that meet cold code: not counted. */
const WARM = 5;
/** Longest wait for all of them. */
const WAIT_MS_MAX = 120_000;

/** A pod that is Ready as soon as its process runs: it has no probes. */
function isolate(name: string): Record<string, unknown> {
  const container = {
    name: "c",
    image: "denoland/deno:2.9.6",
    command: ["deno", "eval", "setInterval(() => {}, 100000)"],
  };
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: { containers: [container], terminationGracePeriodSeconds: 0 },
  };
}

interface Seen {
  type: string;
  object: {
    metadata: { name: string };
    status: { conditions?: { type: string; status: string }[] };
  };
}

/** Tells when each pod was first seen Ready. */
async function watchReady(access: Access) {
  const { metadata } = await get(access, `${PODS}?limit=1`) as {
    metadata: { resourceVersion: string };
  };
  const connection = await RawConnection.open(access);
  const ready = new Map<string, number>();
  let wake: (() => void) | undefined;
  const decoder = new TextDecoder();
  let rest = "";
  const follow = async () => {
    const path = `${PODS}?watch=true&resourceVersion=${metadata.resourceVersion}`;
    for await (const piece of connection.stream(path)) {
      const now = performance.now();
      const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        if (!line.startsWith("{")) continue;
        const { object: { metadata, status } } = JSON.parse(line) as Seen;
        const is = status.conditions?.some((c) => c.type === "Ready" && c.status === "True");
        if (is && !ready.has(metadata.name)) ready.set(metadata.name, now);
      }
      wake?.();
    }
  };
  follow().catch(() => undefined);
  const all = async (names: readonly string[]) => {
    const until = performance.now() + WAIT_MS_MAX;
    while (!names.every((name) => ready.has(name))) {
      if (performance.now() > until) {
        throw new Error(`${names.filter((name) => !ready.has(name)).length} pods are not Ready`);
      }
      await Promise.race([
        new Promise<void>((resolve) => wake = resolve),
        new Promise((resolve) => setTimeout(resolve, 1_000)),
      ]);
    }
  };
  return { ready, all, close: () => connection.close() };
}

/** Creates pods over one connection. */
async function creating(access: Access) {
  const connection = await RawConnection.open(access);
  const create = async (name: string) => {
    const body = new TextEncoder().encode(JSON.stringify(isolate(name)));
    const { status } = await connection.request("POST", PODS, body);
    if (status !== 201) throw new Error(`creating ${name} was answered with ${status}`);
  };
  return { create, close: () => connection.close() };
}

/** The median of POST to Ready, one pod after the other, in ms. */
export async function startMs(access: Access, count: number): Promise<number> {
  const watching = await watchReady(access);
  const creator = await creating(access);
  const times: number[] = [];
  for (let i = -WARM; i < count; i++) {
    const name = `one-${i + WARM}`;
    const since = performance.now();
    await creator.create(name);
    await watching.all([name]);
    if (i >= 0) times.push(watching.ready.get(name)! - since);
  }
  for (const one of [creator, watching]) one.close();
  return median(times);
}

/** From the first POST until all are Ready, in ms. */
export async function allReadyMs(access: Access, count: number): Promise<number> {
  const watching = await watchReady(access);
  const names = Array.from({ length: count }, (_, i) => `many-${i}`);
  const creator = await creating(access);
  const since = performance.now();
  for (const name of names) await creator.create(name);
  await watching.all(names);
  for (const one of [creator, watching]) one.close();
  return Math.max(...names.map((name) => watching.ready.get(name)!)) - since;
}
