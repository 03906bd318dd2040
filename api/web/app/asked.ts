/** Questions to the server that a part of the page asks, anew when their reasons change. */
import { useEffect, useState } from "preact/hooks";
import { reasonOf } from "./kube.ts";

/** What was answered last, or why nothing was; neither: not answered yet. */
export interface Told<T> {
  answer?: T;
  failure?: string;
}

/**
 * Asks when the part appears and whenever one of the reasons changes; `again` asks once more. An earlier question ends
 * with that, as all do when the part is left: answers never overtake one another.
 */
export function useAsked<T>(
  ask: (signal: AbortSignal) => Promise<T>,
  reasons: readonly unknown[],
): Told<T> & { again: () => void } {
  const [told, tell] = useState<Told<T>>({});
  const [times, setTimes] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    ask(stop.signal).then(
      (answer) => stop.signal.aborted || tell({ answer }),
      (error) => stop.signal.aborted || tell({ failure: reasonOf(error) }),
    );
    return () => stop.abort();
  }, [...reasons, times]);
  return { ...told, again: () => setTimes(times + 1) };
}
