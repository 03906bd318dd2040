/**
 * Many seeds, in as many workers as the machine has cores. With a record they may be begun again where they were
 * left: a line of it says which seeds of which commit ran, and which of them failed.
 */
import type { Order, Report } from "./sim_worker.ts";

/** Seeds that a worker takes at once, and a line of a record is about. */
export const BLOCK = 10;
/** Blocks after which a worker ends and another begins: what modules keep does not add up. */
const BLOCKS_PER_WORKER = 100;
/** Seeds after which it is said how far it is. */
const SAY_EVERY = 500;

/** What is run. */
export interface Many {
  from: number;
  count: number;
  order: Omit<Order, "seed">;
  /** Where it is noted what ran. */
  record?: SeedRecord;
  workers?: number;
  tell(line: string): void;
}

/** What came of it. */
export interface Outcome {
  ran: number;
  /** Seeds that failed, those of former times included. */
  failed: number[];
  seconds: number;
}

/** Where it is noted which blocks of seeds ran. */
export interface SeedRecord {
  commit: string;
  /** Lines as they were found. */
  lines: readonly string[];
  add(line: string): void;
}

/** The command that shows a run. */
export function commandOf({ seed, steps, shared, mutation, twice }: Order): string {
  const parts = [`deno task sim ${seed}`];
  if (steps !== undefined) parts.push(`--steps ${steps}`);
  if (shared !== undefined) parts.push(shared ? "--shared" : "--alone");
  if (twice) parts.push("--twice");
  if (mutation) parts.push(`--mutation ${mutation}`);
  return parts.join(" ");
}

interface Block {
  from: number;
  to: number;
}

/** The blocks that are left to run, and what a record says of the others; each begins at a multiple of its length. */
export function blocksOf(
  { from, count, record }: Pick<Many, "from" | "count" | "record">,
): { left: Block[]; failed: number[] } {
  const done = new Map<string, number[]>();
  for (const line of record?.lines ?? []) {
    const [commit, range, ...failed] = line.split(" ");
    if (commit === record!.commit) done.set(range, failed.map(Number));
  }
  const left: Block[] = [];
  const failed: number[] = [];
  for (let at = from; at < from + count;) {
    const to = Math.min(at + BLOCK - at % BLOCK, from + count) - 1;
    const before = done.get(`${at}-${to}`);
    if (before) failed.push(...before);
    else left.push({ from: at, to });
    at = to + 1;
  }
  return { left, failed };
}

/** Runs them all; each that fails is told with the command that shows it. */
export async function runMany(many: Many): Promise<Outcome> {
  const { order, record, tell } = many;
  const { left, failed } = blocksOf(many);
  const startedAt = performance.now();
  const seconds = () => (performance.now() - startedAt) / 1000;
  const total = left.reduce((sum, { from, to }) => sum + to - from + 1, 0);
  let ran = 0;
  const runBlock = async (worker: Worker, { from, to }: Block) => {
    const wrong: number[] = [];
    for (let seed = from; seed <= to; seed++) {
      const { failure } = await answerOf(worker, { ...order, seed });
      if (++ran % SAY_EVERY === 0) tell(`${ran} of ${total} seeds, ${seconds().toFixed(0)} s`);
      if (!failure) continue;
      wrong.push(seed);
      tell(`seed ${seed} FAILED at ${failure.step} (${failure.checker}): ${failure.text}`);
      tell(`  ${commandOf({ ...order, seed })}`);
    }
    failed.push(...wrong);
    record?.add([record.commit, `${from}-${to}`, ...wrong].join(" "));
  };
  const workers = Math.min(many.workers ?? navigator.hardwareConcurrency, left.length);
  await Promise.all(Array.from({ length: workers }, async () => {
    while (left.length > 0) {
      const worker = new Worker(new URL("./sim_worker.ts", import.meta.url), { type: "module" });
      try {
        for (let blocks = 0; blocks < BLOCKS_PER_WORKER; blocks++) {
          const block = left.shift();
          if (!block) break;
          await runBlock(worker, block);
        }
      } finally {
        worker.terminate();
      }
    }
  }));
  return { ran, failed: failed.sort((a, b) => a - b), seconds: seconds() };
}

function answerOf(worker: Worker, order: Order): Promise<Report> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => reject(new Error(`seed ${order.seed}: ${event.message}`));
    worker.postMessage(order);
  });
}
