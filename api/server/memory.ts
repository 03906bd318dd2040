/**
 * Gives back what a busy time took. V8 collects garbage as it makes some, and keeps the pages: a server with nothing to do
 * would hold for good what its busiest minute needed. A collection takes as long as the heap is large (some hundred
 * milliseconds, and 3 s of processor time at 1.3 GB), so it must have grown by a part of what it is; it is made when
 * nobody asks, and only where the process was started with `--expose-gc`.
 */

/** By how much the heap must have grown for a collection to be worth its time: so many bytes at least … */
export const GROWN_BYTES_MIN = 32 * 1024 * 1024;
/** … and so large a part of what the last one left. */
export const GROWN_SHARE_MIN = 1 / 8;

/** What it needs of the process. */
interface Process {
  /** Bytes of the heap, garbage and free pages included. */
  heapBytes(): number;
  /** Absent: there is no asking for it. */
  collect: (() => void) | undefined;
}

/** Makes what gives memory back where that is worth it. */
export function memoryGiver({ heapBytes, collect }: Process): () => void {
  let left = 0;
  return () => {
    if (!collect || heapBytes() < left + Math.max(GROWN_BYTES_MIN, left * GROWN_SHARE_MIN)) return;
    collect();
    left = heapBytes();
  };
}
