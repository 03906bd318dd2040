/**
 * `deno task sim <seed>` runs one seed and prints what happened. `deno task sim --seeds 50 [--from 1]` runs
 * many and prints each that fails with the command that shows it; then the exit code is 1. `--mutation name`
 * plants a bug (`mutations.ts`), `--steps n` makes runs longer or shorter, `--shared` or `--alone` chooses
 * whether two processes share the database. `--exactness` runs the writers of `exactness.ts` instead.
 */
import { parseArgs } from "node:util";
import { runExactness } from "./exactness.ts";
import { mutationOf } from "./mutations.ts";
import { optionsOf, type Order } from "./sim_worker.ts";
import { type RunResult, runSeed } from "./world.ts";

function commandOf({ seed, steps, shared, mutation }: Order): string {
  const parts = [`deno task sim ${seed}`];
  if (steps !== undefined) parts.push(`--steps ${steps}`);
  if (shared !== undefined) parts.push(shared ? "--shared" : "--alone");
  if (mutation) parts.push(`--mutation ${mutation}`);
  return parts.join(" ");
}

function lineOf({ seed, revisions, answered, requests, crashes, restedS, digest }: RunResult) {
  return `seed ${seed}: ${revisions} revisions, ${answered} of ${requests} requests done, ` +
    `${crashes} crashes, at rest after ${restedS} s, trace ${digest}`;
}

function number(flag: string, text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  throw new TypeError(`${flag} must be a number, not "${text}"`);
}

async function one(order: Order): Promise<boolean> {
  const result = await runSeed({ ...optionsOf(order), tell: (line) => console.log(line) });
  console.log(lineOf(result));
  const { failure } = result;
  if (failure) console.error(`FAILED at ${failure.step} (${failure.checker}): ${failure.text}`);
  return failure === undefined;
}

/** Runs many, in as many workers as the machine has cores. */
async function many(orders: Order[]): Promise<boolean> {
  const failed: number[] = [];
  const waiting = [...orders];
  const startedAt = performance.now();
  const workers = Math.max(1, Math.min(navigator.hardwareConcurrency, orders.length));
  await Promise.all(Array.from({ length: workers }, async () => {
    const worker = new Worker(new URL("./sim_worker.ts", import.meta.url), { type: "module" });
    for (let order = waiting.shift(); order; order = waiting.shift()) {
      const result = await answerOf(worker, order);
      if (!result.failure) continue;
      const { step, checker, text } = result.failure;
      failed.push(order.seed);
      console.error(`seed ${order.seed} FAILED at ${step} (${checker}): ${text}`);
      console.error(`  ${commandOf(order)}`);
    }
    worker.terminate();
  }));
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`${orders.length} seeds, ${failed.length} failed, ${seconds} s`);
  return failed.length === 0;
}

function answerOf(worker: Worker, order: Order): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(order);
  });
}

/** Seeds of the exactness run; one alone tells what happens. */
async function exact(from: number, seeds: number): Promise<boolean> {
  let failed = 0;
  for (let seed = from; seed < from + seeds; seed++) {
    const tell = seeds === 1 ? (line: string) => console.log(line) : undefined;
    const { failure, answered, refused, lost, kills, revisions } = await runExactness({
      seed,
      tell,
    });
    const line =
      `seed ${seed}: ${revisions} revisions, ${answered} requests done, ${refused} refused, ` +
      `${lost} lost, ${kills} kills`;
    if (failure) {
      failed++;
      console.error(`${line}\nFAILED: ${failure}\n  deno task sim ${seed} --exactness`);
    } else if (seeds === 1) console.log(line);
  }
  console.log(`${seeds} seeds, ${failed} failed`);
  return failed === 0;
}

async function main(args: string[]): Promise<boolean> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      seeds: { type: "string" },
      from: { type: "string", default: "1" },
      steps: { type: "string" },
      mutation: { type: "string" },
      shared: { type: "boolean" },
      alone: { type: "boolean" },
      exactness: { type: "boolean", default: false },
    },
  });
  const { mutation } = values;
  const steps = values.steps === undefined ? undefined : number("--steps", values.steps);
  const shared = values.shared ? true : values.alone ? false : undefined;
  const from = number("--from", values.from);
  if (mutation) mutationOf(mutation);
  if (values.exactness) {
    const seeds = values.seeds === undefined ? 1 : number("--seeds", values.seeds);
    const first = positionals[0] === undefined ? from : number("the seed", positionals[0]);
    return await exact(first, seeds);
  }
  if (values.seeds === undefined) {
    const seed = positionals[0] === undefined ? from : number("the seed", positionals[0]);
    return await one({ seed, steps, shared, mutation });
  }
  const count = number("--seeds", values.seeds);
  return await many(
    Array.from({ length: count }, (_, i) => ({ seed: from + i, steps, shared, mutation })),
  );
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args) ? 0 : 1);
  } catch (error) {
    console.error(error instanceof TypeError ? `sim: ${error.message}` : error);
    Deno.exit(1);
  }
}
