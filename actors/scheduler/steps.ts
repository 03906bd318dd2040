/**
 * Long work in steps: it says where others may be let in between, and whoever runs it decides whether they are.
 */
import type { Clock } from "../../kv/clock.ts";

/** Work that comes to a `T`. What it has read may have changed after a step. */
export type Steps<T> = Generator<void, T>;

/** Runs work without letting anybody in. */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value as T;
  }
}

/** Runs work, and lets others in whenever `sliceMs` are over. Each step runs inside `within`. */
export async function inTurns<T>(
  steps: Steps<T>,
  { clock, sliceMs, within }: {
    clock: Pick<Clock, "monotonic" | "turn">;
    sliceMs: number;
    within<R>(step: () => R): R;
  },
): Promise<T> {
  let began = clock.monotonic();
  for (;;) {
    const { done, value } = within(() => steps.next());
    if (done) return value as T;
    if (clock.monotonic() - began < sliceMs) continue;
    await clock.turn();
    began = clock.monotonic();
  }
}
