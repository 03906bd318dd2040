/**
 * Several connections to one SQLite file get "database is locked" at once when they write together. Nothing
 * of such a write happened, so it is safe, and enough, to try again a moment later.
 */

import type { Clock } from "./clock.ts";

const TRIES_MAX = 200;
const PAUSE_MS_MAX = 4;

/** Whether an error says that another connection is writing. */
export function isLocked(error: unknown): boolean {
  return error instanceof Error && /database is (locked|busy)|table is locked/.test(error.message);
}

/** How long to wait before the next try: random, so that two do not keep meeting. */
export function lockedPauseMs(clock: Clock): number {
  return clock.random() * PAUSE_MS_MAX;
}

/** Does `work` again while another connection is writing. Only for work that may be done twice. */
export async function patiently<R>(clock: Clock, work: () => Promise<R>): Promise<R> {
  for (let tries = 1;; tries++) {
    try {
      return await work();
    } catch (error) {
      if (!isLocked(error) || tries === TRIES_MAX) throw error;
      await clock.sleep(lockedPauseMs(clock));
    }
  }
}
