/** Revisions are dense, grow by one, are never used twice, and each record knows its object's former one. */
import type { Checker, Sight } from "./checker.ts";

/** See the module's text. */
export function revisionsChecker({ fail }: Sight): Checker {
  const name = "revisions";
  return {
    name,
    commit({ revisions, headBefore, head, steps, process }) {
      revisions.forEach((revision, i) => {
        const wanted = headBefore + 1 + i;
        if (revision !== wanted) fail(name, `${process} wrote ${revision} where ${wanted} is next`);
      });
      if (head !== headBefore + revisions.length) {
        fail(name, `the head went from ${headBefore} to ${head} by ${revisions.length} records`);
      }
      for (const step of steps) {
        if ("term" in step) continue;
        const stood = step.before?.revision ?? 0;
        if (step.previous === stood) continue;
        fail(
          name,
          `${step.key}@${step.revision} follows ${step.previous}, but ${stood} stood there`,
        );
      }
    },
  };
}
