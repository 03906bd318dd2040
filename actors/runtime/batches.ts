/**
 * Many calls at once, carefully: slow start as upstream's controllers do it. The first batch is small,
 * each that went well is followed by one twice as large, and the first that fails ends it: a quota that
 * refuses the first pod is not asked a thousand times.
 */

/** Calls in the first batch, as upstream's. */
export const SLOW_START_FIRST = 1;
/** Calls under way at once at most. */
export const BATCH_MAX = 512;

/** Runs `call` `count` times in growing batches. Resolves with how many went well and the first error. */
export async function slowStart(
  count: number,
  call: (index: number) => Promise<unknown>,
): Promise<{ done: number; error?: unknown }> {
  let done = 0;
  let next = 0;
  let size = Math.min(count, SLOW_START_FIRST);
  while (size > 0) {
    const batch: Promise<unknown>[] = [];
    for (let i = 0; i < size; i++) batch.push(call(next++));
    const results = await Promise.allSettled(batch);
    let failed: PromiseRejectedResult | undefined;
    for (const result of results) {
      if (result.status === "fulfilled") done++;
      else failed ??= result;
    }
    if (failed) return { done, error: failed.reason };
    size = Math.min(size * 2, BATCH_MAX, count - next);
  }
  return { done };
}

/** Runs `call` for each item, at most `BATCH_MAX` at once; rejects with the first error after all ended. */
export async function allAtOnce<T>(
  items: readonly T[],
  call: (item: T) => Promise<unknown>,
): Promise<void> {
  let error: unknown;
  let failed = false;
  for (let at = 0; at < items.length; at += BATCH_MAX) {
    const results = await Promise.allSettled(items.slice(at, at + BATCH_MAX).map(call));
    for (const result of results) {
      if (result.status === "fulfilled" || failed) continue;
      failed = true;
      error = result.reason;
    }
  }
  if (failed) throw error;
}
