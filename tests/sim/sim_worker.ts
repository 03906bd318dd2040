/** Runs seeds in a worker: orders come as messages, results go back. */
import { mutationOf } from "./mutations.ts";
import { type RunOptions, type RunResult, runSeed } from "./world.ts";

/** A run as it travels to a worker. */
export interface Order {
  seed: number;
  steps?: number;
  shared?: boolean;
  mutation?: string;
  twice?: boolean;
  /** The digest is wanted as well. */
  digest?: boolean;
}

/** What comes back of it. */
export type Report = Omit<RunResult, "digest"> & { digest?: string };

/** What `runSeed` is called with. */
export function optionsOf({ seed, steps, shared, mutation, twice }: Order): RunOptions {
  return { seed, steps, shared, twice, ...(mutation && { mutation: mutationOf(mutation) }) };
}

/** What a worker's global scope has; the window's types know nothing of it. */
interface Scope {
  onmessage?: (event: MessageEvent<Order>) => void;
  postMessage(message: unknown): void;
}

// Imported by the main program it is only a module.
if (
  typeof (globalThis as { window?: unknown; WorkerGlobalScope?: unknown }).WorkerGlobalScope !==
    "undefined"
) {
  const scope = globalThis as unknown as Scope;
  // Where an error was made is told by the run of that seed alone; here it costs a tenth of the time.
  Error.stackTraceLimit = 0;
  scope.onmessage = async ({ data }) => {
    const { digest, ...result } = await runSeed(optionsOf(data));
    scope.postMessage(data.digest ? { ...result, digest: digest() } : result);
  };
}
