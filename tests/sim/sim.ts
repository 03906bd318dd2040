/**
 * `deno task sim <seed>` runs one seed and prints what happened. `deno task sim --seeds 50 [--from 1]` runs
 * many and prints each that fails with the command that shows it; then the exit code is 1. `--mutation name`
 * plants a bug (`mutations.ts`), `--steps n` makes runs longer or shorter, `--shared` or `--alone` chooses
 * whether two processes share the database, `--twice` runs controllers twice under one term. `--record file` notes which seeds of which commit ran, and leaves out those
 * that did. `--exactness` runs the writers of `exactness.ts` instead.
 */
import { parseArgs } from "node:util";
import { runExactness } from "./exactness.ts";
import { mutationOf } from "./mutations.ts";
import { type Many, runMany, type SeedRecord } from "./many.ts";
import { optionsOf, type Order } from "./sim_worker.ts";
import { type RunResult, runSeed } from "./world.ts";

function lineOf({ seed, revisions, answered, requests, crashes, restedS, digest }: RunResult) {
  return `seed ${seed}: ${revisions} revisions, ${answered} of ${requests} requests done, ` +
    `${crashes} crashes, at rest after ${restedS} s, trace ${digest()}`;
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

/** Runs many; `record` is the file that says which of them ran already. */
async function many(
  { record: path, ...range }: Omit<Many, "tell" | "record"> & { record?: string },
): Promise<boolean> {
  const record = path === undefined ? undefined : await recordOf(path);
  const outcome = await runMany({ ...range, record, tell: (line) => console.log(line) });
  const { ran, failed, seconds } = outcome;
  const former = ran < range.count ? `, ${range.count - ran} were run before` : "";
  console.log(`${ran} seeds, ${failed.length} failed, ${seconds.toFixed(1)} s${former}`);
  if (failed.length > 0) console.log(`failed: ${failed.join(" ")}`);
  return failed.length === 0;
}

/** The record in a file, for the commit that lies here: seeds of a changed tree are of no commit. */
async function recordOf(path: string): Promise<SeedRecord> {
  const changed = await git("status", "--porcelain", "--untracked-files=no");
  if (changed !== "") throw new TypeError("--record needs a tree without changes: commit first");
  const text = await Deno.readTextFile(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  });
  return {
    commit: await git("rev-parse", "--short", "HEAD"),
    lines: text.split("\n").filter((line) => line !== ""),
    add: (line) => Deno.writeTextFileSync(path, `${line}\n`, { append: true }),
  };
}

async function git(...args: string[]): Promise<string> {
  const cwd = new URL(".", import.meta.url);
  const { code, stdout, stderr } = await new Deno.Command("git", { args, cwd }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  if (code !== 0) throw new TypeError(`git ${args[0]}: ${text(stderr)}`);
  return text(stdout);
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
      twice: { type: "boolean" },
      record: { type: "string" },
      exactness: { type: "boolean", default: false },
    },
  });
  const { mutation, twice } = values;
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
    return await one({ seed, steps, shared, mutation, twice });
  }
  const count = number("--seeds", values.seeds);
  const order = { steps, shared, mutation, twice };
  const { record } = values;
  if (record !== undefined && Object.values(order).some((value) => value !== undefined)) {
    throw new TypeError(
      "--record is of plain runs: without --steps, --shared, --alone, --mutation, --twice",
    );
  }
  return await many({ from, count, order, record });
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args) ? 0 : 1);
  } catch (error) {
    console.error(error instanceof TypeError ? `sim: ${error.message}` : error);
    Deno.exit(1);
  }
}
