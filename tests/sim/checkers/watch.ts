/**
 * The six promises of a watch, by watchers that go on over the whole run: each is resumed, after whatever
 * ended it, where it was, in the same process or in the next. Some of them dawdle.
 *
 * - ordered: revisions only grow;
 * - unique: none comes twice;
 * - reliable: what a batch says has come has come, each change as it lies in the log;
 * - atomic: what one commit changed comes in one batch;
 * - resumable: the one after the last comes next, also after a crash;
 * - bookmarkable: nothing at or below a batch's revision comes later.
 */
import { CompactedError } from "../../../kv/mod.ts";
import type { KubeObject } from "../../../api/machinery/types.ts";
import type { Batch, Event } from "../../../kv/contract.ts";
import type { Process } from "../process.ts";
import type { Truth } from "../truth.ts";
import type { Checker, Sight } from "./checker.ts";

interface Watcher {
  readonly id: number;
  readonly prefix: string;
  /** It takes up to so long over a batch. */
  readonly dawdleMs: number;
  readonly eventsMax: number | undefined;
  /** Everything up to here has come. */
  last: number;
  /** The process that it watches now. */
  at: Process | undefined;
}

/** See the module's text. */
export function watchChecker(sight: Sight, random: () => number): Checker & { stop(): void } {
  const { truth } = sight;
  let stopped = false;
  const watchers: Watcher[] = [
    { prefix: "/", dawdleMs: 0, eventsMax: undefined },
    { prefix: "/registry/pods/", dawdleMs: 0, eventsMax: undefined },
    { prefix: "/registry/", dawdleMs: 3_000, eventsMax: 40 },
  ].map((one, id) => ({ ...one, id, last: 0, at: undefined }));
  const follow = async (watcher: Watcher, process: Process) => {
    watcher.at = process;
    const store = process.running.database.objects;
    while (!stopped && !process.dead && watcher.at === process) {
      const { prefix, last: after, eventsMax } = watcher;
      const watch = store.watch({ prefix, after, eventsMax, progressEveryMs: 500 });
      try {
        for await (const batch of watch) {
          if (stopped || process.dead || watcher.at !== process) return watch.close();
          judge(watcher, batch, sight);
          if (watcher.dawdleMs) await process.clock.sleep(random() * watcher.dawdleMs);
        }
      } catch (error) {
        // The log does not reach back so far: begin anew from the state, as clients do.
        if (error instanceof CompactedError) watcher.last = store.view().revision;
      }
      await process.clock.sleep(10, { kind: "background" });
    }
  };
  return {
    name: "watch",
    opened(process) {
      for (const watcher of watchers) {
        if (watcher.at && !watcher.at.dead && random() < 0.5) continue;
        void follow(watcher, process);
      }
    },
    rest() {
      const behind = watchers.filter(({ last, prefix, dawdleMs }) => {
        const next = missing(truth, prefix, last, truth.revision);
        return next && truth.changes.get(next)!.at + dawdleMs <= sight.now();
      });
      return behind.map(({ id, last }) => `watcher ${id} is at ${last} of ${truth.revision}`);
    },
    stop() {
      stopped = true;
    },
  };
}

function judge(watcher: Watcher, batch: Batch<KubeObject>, { truth, fail }: Sight): void {
  const wrong = (text: string) => fail("watch", `watcher ${watcher.id} ${text}`);
  const seen = new Set<number>();
  const groups = new Set<number>();
  let last = watcher.last;
  for (const event of batch.events) {
    if (event.revision <= last) wrong(`(ordered, unique): ${event.revision} after ${last}`);
    last = event.revision;
    seen.add(last);
    groups.add(truth.commitOf.get(last) ?? -1);
    const difference = differs(event, truth);
    if (difference) wrong(`(reliable): ${event.key}@${event.revision} ${difference}`);
  }
  if (batch.revision < last) wrong(`(bookmarkable): ${batch.revision} is said after ${last} came`);
  if (batch.revision > truth.revision) wrong(`saw ${batch.revision} before it was durable`);
  const from = watcher.last;
  const lost = missing(truth, watcher.prefix, from, batch.revision, seen);
  if (lost !== undefined) wrong(`(reliable, resumable): ${lost} never came, after ${from}`);
  for (let next = batch.revision + 1; groups.has(truth.commitOf.get(next) ?? -2); next++) {
    if (truth.changes.get(next)?.key.startsWith(watcher.prefix)) {
      wrong(`(atomic): ${next} was left out of its commit's batch`);
    }
  }
  watcher.last = Math.max(last, batch.revision);
}

/** The first change within (from, to] that is not among those seen. */
function missing(truth: Truth, prefix: string, from: number, to: number, seen?: Set<number>) {
  for (let revision = from + 1; revision <= to; revision++) {
    const change = truth.changes.get(revision);
    if (change?.key.startsWith(prefix) && !seen?.has(revision)) return revision;
  }
  return undefined;
}

function differs(event: Event<KubeObject>, truth: Truth): string | undefined {
  const change = truth.changes.get(event.revision);
  if (!change) return "is not in the log";
  if (change.key !== event.key) return `is ${change.key} in the log`;
  if (change.type !== event.type) return `is a ${change.type} in the log, came as ${event.type}`;
  if (event.previous?.revision !== change.before?.revision) {
    return `came with ${event.previous?.revision} before it, in the log ${change.before?.revision}`;
  }
  const { object } = change;
  if (!object || change.type === "delete") return undefined;
  const { metadata } = event.item.value;
  if (metadata.uid !== object.metadata.uid) return `has uid ${metadata.uid}`;
  if (Number(metadata.resourceVersion) !== event.revision) {
    return `shows resourceVersion ${metadata.resourceVersion}`;
  }
  const same = sameBytes(event.item.bytes, change.bytes!);
  return same ? undefined : "came with other bytes than lie in the log";
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
