/**
 * A revisioned store with log, watch, mail, terms and compaction on Deno KV. Knows no Kubernetes.
 *
 * TEXT
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
export { MANUAL_START_MS, ManualClock, RealClock } from "./clock.ts";
export { type DatabaseOptions, FORMAT_VERSION, openDatabase } from "./database.ts";
export { deepFreeze } from "./item.ts";
export * as limits from "./limits.ts";
