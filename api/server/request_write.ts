/** How a request writes: under its term, with its cause, and taken back at the end where it is a dry run. */
import type { Draft, Store } from "../../kv/contract.ts";
import { ApiError, type KubeObject } from "../machinery/types.ts";
import type { Deps } from "./deps.ts";
import type { ApiRequest } from "./request.ts";
import { commitsRecorded } from "./request_spans.ts";

/** Thrown inside a write to take it back. */
class Undone extends Error {}

type WriteFn<R> = (draft: Draft<KubeObject>) => R;

/**
 * Runs a request's write; what `fn` gave, in a dry run too. Whoever asked hears of its revisions; where its trace is
 * recorded each is a span.
 */
export function write<R>(
  deps: Deps,
  request: ApiRequest,
  { store, dryRun }: { store: Store<KubeObject>; dryRun?: boolean },
  fn: WriteFn<R>,
): Promise<R> {
  const { term, cause, origin } = request;
  const run = <T>(some: WriteFn<T>) => store.write(some, { term, cause });
  if (dryRun) return takenBack(run, fn);
  const { clock, inner } = deps;
  const since = clock.monotonic();
  const over = (failed: boolean) => inner.wrote(request, clock.monotonic() - since, failed);
  const isRecorded = cause !== undefined && deps.spans?.wants(cause.trace) === true;
  const wrote = store === deps.database.objects ? origin?.wrote : undefined;
  if (!isRecorded && !wrote) return told(run(fn), over);
  const made = { first: 0, last: 0 };
  const writing = run((draft) => {
    made.first = draft.revision + 1;
    const returned = fn(draft);
    made.last = draft.revision;
    if (wrote) {
      for (let revision = made.first; revision <= made.last; revision++) wrote(revision);
    }
    return returned;
  });
  const recorded = isRecorded ? commitsRecorded(deps, request, { store, writing, made }) : writing;
  return told(recorded, over);
}

/** The same, and how it ended is told. */
function told<R>(writing: Promise<R>, over: (failed: boolean) => void): Promise<R> {
  return writing.then((result) => (over(false), result), (error) => {
    // What the write's own function refuses is no fault of the store's
    over(!(error instanceof ApiError));
    throw error;
  });
}

async function takenBack<R>(
  run: (fn: WriteFn<void>) => Promise<void>,
  fn: WriteFn<R>,
): Promise<R> {
  let result!: R;
  try {
    await run((draft) => {
      result = fn(draft);
      throw new Undone();
    });
  } catch (error) {
    if (!(error instanceof Undone)) throw error;
  }
  return result;
}
