/** Waiting for what comes in its own time, in real time. */

/** How it is waited. */
export interface Waiting {
  withinMs: number;
  /** How long it is looked away before it is looked again (50). */
  everyMs?: number;
  /** A look that throws is one that found nothing (false). */
  patient?: boolean;
}

/** What was looked for, once it is there. */
export type Found<T> = Exclude<T, undefined | null | false | 0 | "">;

/** Makes what looks until it finds something, which it resolves with; it rejects when that does not come in time. */
export function waiting({ withinMs, everyMs = 50, patient = false }: Waiting) {
  return async <T>(what: string, look: () => Promise<T> | T): Promise<Found<T>> => {
    const since = performance.now();
    for (let why: unknown;;) {
      try {
        const found = await look();
        if (found) return found as Found<T>;
      } catch (error) {
        if (!patient) throw error;
        why = error;
      }
      if (performance.now() - since > withinMs) {
        throw new Error(`not within ${withinMs / 1000} s: ${what}${why ? `; ${why}` : ""}`);
      }
      await new Promise((resolve) => setTimeout(resolve, everyMs));
    }
  };
}
