/**
 * Watches: the store's events as frames that know nothing of a representation yet.
 *
 * - A watch from revision n delivers everything after n, in order; from "" or "0" first the state, as ADDED.
 * - `sendInitialEvents` adds a bookmark that says where the state ended.
 * - With a selector an object that begins to match is ADDED, one that ceases to is DELETED.
 * - It ends at its timeout, with a bookmark if those were asked for, or with 410 when the reader fell behind.
 * - One of a custom resource ends as at its timeout soon after the definition has changed or is gone.
 */
import {
  CompactedError,
  type Event,
  FutureRevisionError,
  type Item,
  SlowWatcherError,
  type View,
  type Wanted,
  type Watch,
} from "../../kv/contract.ts";
import { expired } from "../machinery/errors.ts";
import type { Kind, KubeObject } from "../machinery/types.ts";
import { type Deps, futureRevision, keyFor, prefixFor, revisionOf, storeOf } from "./deps.ts";
import { prepareServed } from "./conversions.ts";
import { checkListOptions, REVISION_WAIT_MS, viewFor } from "./list.ts";
import type { ApiRequest, Frame, FrameStream, Params } from "./request.ts";
import { type Selection, selectionOf } from "./selection.ts";

/** A watch that names no timeout ends after this long, plus up to as long again. */
export const WATCH_TIMEOUT_MS = 1_800_000;
/** A watch of a kind that is served no more, or by another row, ends this long after, as upstream. */
export const REPLACED_MS = 1_000;
/** How often an idle watch tells how far it has come. */
export const BOOKMARK_EVERY_MS = 60_000;
/** Initial events handed over at once. */
const INITIAL_STEP = 500;

/** Begins a watch; throws 410, 400 or 422 when it cannot. */
export async function beginWatch(deps: Deps, request: ApiRequest): Promise<FrameStream> {
  const { kind, namespace, params } = request;
  checkListOptions(params, true, deps.features?.get("WatchList"));
  const selection = selectionOf(kind, params, request.name);
  const store = storeOf(deps, kind);
  const given = params.resourceVersion ?? "";
  const initial = params.sendInitialEvents ?? (given === "" || given === "0");
  let view: View<KubeObject> | undefined;
  let after: number;
  if (initial) {
    view = await viewFor(deps, kind, given);
    after = view.revision;
  } else {
    after = given === "" || given === "0" ? (await store.fresh()).revision : revisionOf(given);
    if (after < store.oldest() - 1) throw tooOld(after, store.oldest());
    if (after > store.view().revision) await waitFor(deps, kind, after);
  }
  const single = selection.name !== undefined && (namespace || !kind.namespaced);
  const prefix = single ? keyFor(kind, namespace, selection.name!) : prefixFor(kind, namespace);
  const watch = store.watch({
    prefix,
    wanted: wantedOf(kind, params, selection),
    after,
    progressEveryMs: params.allowWatchBookmarks ? BOOKMARK_EVERY_MS : undefined,
  });
  return stream(deps, request, { watch, view, prefix, after, selection });
}

/** What a watch with a selector wants. What a webhook converts is judged once that has been done. */
function wantedOf(
  kind: Kind,
  { labelSelector = "", fieldSelector = "" }: Params,
  { matches, name = "" }: Selection,
): Wanted<KubeObject> | undefined {
  if (!matches || kind.storage?.convert) return undefined;
  return {
    name: JSON.stringify([numberOf(kind), labelSelector, fieldSelector, name]),
    takes: ({ item, previous }) => matches(item) || (previous !== undefined && matches(previous)),
  };
}

const numbers = new WeakMap<Kind, number>();
let numbered = 0;

/** What tells a kind from what its definition was before, or is in another version. */
function numberOf(kind: Kind): number {
  let number = numbers.get(kind);
  if (number === undefined) numbers.set(kind, number = ++numbered);
  return number;
}

async function waitFor(deps: Deps, kind: Kind, revision: number): Promise<void> {
  try {
    await storeOf(deps, kind).reached(revision, { timeoutMs: REVISION_WAIT_MS });
  } catch (error) {
    if (error instanceof FutureRevisionError) throw futureRevision(revision, error.current);
    throw error;
  }
}

function tooOld(asked: number, oldest: number) {
  return expired(`too old resource version: ${asked} (${oldest})`);
}

interface Parts {
  watch: Watch<KubeObject>;
  view?: View<KubeObject>;
  prefix: string;
  after: number;
  selection: Selection;
}

/** How a watch ended, unless the store ended it. */
interface End {
  timedOut: boolean;
  closed: boolean;
}

function stream(deps: Deps, request: ApiRequest, parts: Parts): FrameStream {
  const { watch } = parts;
  const { params, signal } = request;
  const timeoutMs = params.timeoutSeconds
    ? params.timeoutSeconds * 1000
    : (deps.front.minRequestTimeoutMs ?? WATCH_TIMEOUT_MS) * (1 + deps.clock.random());
  const end: End = { timedOut: false, closed: false };
  const { replaced } = request.kind;
  const endAfter = (ms: number) =>
    deps.clock.timer("background", ms, () => {
      end.timedOut = true;
      watch.close();
    });
  let timer = endAfter(timeoutMs);
  const endSoon = () => {
    timer.cancel();
    timer = endAfter(REPLACED_MS);
  };
  if (replaced?.aborted) endSoon();
  replaced?.addEventListener("abort", endSoon, { once: true });
  const close = () => {
    replaced?.removeEventListener("abort", endSoon);
    timer.cancel();
    end.closed = true;
    watch.close();
  };
  if (signal?.aborted) close();
  signal?.addEventListener("abort", close, { once: true });
  const done = () => {
    signal?.removeEventListener("abort", close);
    close();
  };
  return {
    kind: request.kind,
    close,
    [Symbol.asyncIterator]: () => frames(deps, request, { ...parts, done }, end),
  };
}

async function* frames(
  deps: Deps,
  request: ApiRequest,
  { watch, view, prefix, after, selection, done }: Parts & { done: () => void },
  end: End,
): AsyncGenerator<readonly Frame[]> {
  const { params } = request;
  let last = after;
  try {
    if (view) {
      const since = deps.clock.monotonic();
      yield* initialFrames(deps, request.kind, view, { prefix, selection });
      if (params.sendInitialEvents && params.allowWatchBookmarks) {
        deps.watchEvents.listed(request, deps.clock.monotonic() - since);
        yield [{ type: "BOOKMARK", revision: view.revision, initialEnd: true }];
      }
    }
    request.initialized?.();
    try {
      // No generator delegates to another here: each one that does costs every event several turns of promises.
      for await (const batch of watch) {
        if (end.closed && !end.timedOut) return;
        last = batch.revision;
        if (request.kind.storage?.convert) {
          await prepareServed(request.kind, batch.events.flatMap((e) => [e.item, e.previous]));
        }
        const found = framesOf(batch.events, selection.matches);
        if (found.length) yield found;
        else if (batch.events.length === 0 && params.allowWatchBookmarks) {
          yield [{ type: "BOOKMARK", revision: last }];
        }
      }
    } catch (error) {
      if (end.closed && !end.timedOut) return;
      if (error instanceof CompactedError) throw tooOld(last, error.oldest);
      if (error instanceof SlowWatcherError) {
        throw expired(`too old resource version: ${last} (the watcher fell behind)`);
      }
      if (!end.timedOut) throw error;
    }
    if (end.timedOut && params.allowWatchBookmarks) {
      yield [{ type: "BOOKMARK", revision: Math.max(last, watch.revision) }];
    }
  } finally {
    done();
  }
}

async function* initialFrames(
  deps: Deps,
  kind: Kind,
  view: View<KubeObject>,
  { prefix, selection }: { prefix: string; selection: Selection },
): AsyncGenerator<readonly Frame[]> {
  if (kind.storage?.convert) await prepareServed(kind, [...view.scan(prefix)]);
  let step: Frame[] = [];
  const { matches } = selection;
  for (const item of view.scan(prefix)) {
    if (matches && !matches(item)) continue;
    step.push({ type: "ADDED", item, revision: item.revision });
    if (step.length < INITIAL_STEP) continue;
    yield step;
    step = [];
    await deps.turn();
  }
  if (step.length) yield step;
}

/** What a selector's watcher sees of events. */
function framesOf(
  events: readonly Event<KubeObject>[],
  matches?: (item: Item<KubeObject>) => boolean,
): Frame[] {
  const out: Frame[] = [];
  for (const event of events) {
    const { item, previous, revision } = event;
    if (event.type === "put") {
      const now = !matches || matches(item);
      const before = previous !== undefined && (!matches || matches(previous));
      if (now) out.push({ type: before ? "MODIFIED" : "ADDED", item, revision });
      else if (before) out.push({ type: "DELETED", item: previous, revision });
    } else if (!matches || matches(previous ?? item)) {
      out.push({ type: "DELETED", item, revision });
    }
  }
  return out;
}
