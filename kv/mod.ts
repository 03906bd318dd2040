/**
 * A revisioned store with log, watches, mail, terms and compaction on Deno KV. It knows no Kubernetes:
 * values are of any type that a `Codec` turns into bytes, keys are paths such as `/registry/pods/a/b`.
 *
 * The problem: Deno KV gives atomic commits with few checks, a watch that merges updates and takes ten
 * keys, and versionstamps that are neither small nor one per object. A cluster needs dense revisions,
 * exact reads at any of them, and watches that miss nothing. The simple ideas fail: a counter checked by
 * every writer commits 300 times a second among 64 writers, and a log filled by several at once has gaps.
 *
 * The idea: state is the fold of a log, and one committer per process appends to it. Writes are functions
 * of the state; it runs all that wait and commits them together, with one check on the head of the log.
 * Whoever finds the head moved reads what moved it and runs its functions again.
 *
 * What it promises (`tests/contracts/store.ts` has a test for each):
 *
 * - **Dense revisions.** Each put and each delete takes the next integer. None is used twice, none goes
 *   back, not by `kill -9` (`tests/e2e/kill_store_test.ts`) and not by a restore, which jumps forward.
 * - **Strict serializability.** Writes take effect one after another, at some moment between call and
 *   answer, however many objects they change and however many processes write.
 * - **Durable when answered.** Nothing is answered or seen before its commit is on disk (SQLite: WAL with a
 *   sync per commit). A commit that failed in an unknown way is sent until its outcome is known.
 * - **Six promises of a watch**: ordered, unique, reliable, atomic, resumable, bookmarkable (`watch.ts`).
 * - **A bound.** The store never outgrows `bytesMax`: history shortens first, then writes are refused with
 *   `TooLargeError`, while deletes and changes that enlarge nothing still pass.
 * - **Fencing.** A write that carries a term is refused in its very commit once the term has passed.
 * - **Causes.** Every revision keeps why it was written (trace, what it reacted to, by whom), as long as its record is
 *   in the log; a snapshot keeps those of what is in it.
 * - **Mail** is delivered at least once, also after a crash, in no order (`queue.ts`).
 * - **Refusal of wrecks.** A database that is torn, foreign, newer, sealed by another key or in use is
 *   refused with a `DatabaseError` that says so, and left as it was.
 *
 * What it does not do: keep a row per object beside the log (see `log.ts`), compare wall clocks of two
 * machines, or make many processes fast on one SQLite file (they work, and share fairly).
 *
 * Read in this order: `contract.ts`, `state.ts`, `btree.ts`, `former.ts`, `committer.ts`, `log.ts`,
 * `codec.ts`, `watch.ts`, `history.ts`, `compact.ts`, `store.ts`, `lease.ts`, `queue.ts`, `database.ts`; for
 * processes that share a database `processes.ts` (who is there), `links.ts` (how they speak without a network) and
 * `due.ts` (when one that sleeps is to be woken).
 *
 * It lies in whatever keeps the few promises of Deno KV that it counts on: `open.ts` says what there is,
 * `remote_kv.ts` what is counted on, `connect_client.ts`, `connect_server.ts` and `etcd.ts` how it is kept.
 *
 * @example
 * ```ts
 * import { type Codec, openDatabase, RealClock } from "./mod.ts";
 *
 * const codec: Codec<{ name: string }> = {
 *   encode: (value) => new TextEncoder().encode(JSON.stringify(value)),
 *   decode: (bytes) => JSON.parse(new TextDecoder().decode(bytes)),
 *   stamp: (value) => value,
 * };
 * const database = await openDatabase({ codec, clock: new RealClock() });
 * const store = database.objects;
 * const revision = await store.write((draft) => {
 *   if (draft.get("/people/ada")) throw new Error("she is here already");
 *   return draft.put("/people/ada", { name: "Ada" });
 * });
 * for await (const { events } of store.watch({ prefix: "/people/", after: revision - 1 })) {
 *   console.assert(events[0].item.value.name === "Ada");
 *   break;
 * }
 * await database.close();
 * ```
 */

export type * from "./contract.ts";
export {
  ClosedError,
  CompactedError,
  DatabaseError,
  FutureRevisionError,
  SlowWatcherError,
  StoreError,
  TermOverError,
  TooLargeError,
} from "./contract.ts";
export type { Clock, Timer, TimerKind } from "./clock.ts";
export { MANUAL_START_MS, ManualClock, RealClock, WorkClock } from "./clock.ts";
export { type DatabaseOptions, FORMAT_VERSION, openDatabase } from "./database.ts";
export { type DueRecord, DueRecords } from "./due.ts";
export { deepFreeze } from "./item.ts";
export { MemoryKv } from "./memory_kv.ts";
export { addSealKey, isFile, openShared } from "./open.ts";
export type { StateGiven, StoreGiven } from "./database.ts";
export { type Replayed, replayed } from "./replay.ts";
export { sealKeyId } from "./seal.ts";
export { sealSnapshot, unsealSnapshot } from "./snapshot_envelope.ts";
export * as limits from "./limits.ts";
