/** All checkers. */
import { acknowledgedChecker } from "./acknowledged.ts";
import { bindingChecker } from "./binding.ts";
import { identityChecker } from "./identity.ts";
import type { Checker, Sight } from "./checker.ts";
import { convergenceChecker } from "./convergence.ts";
import { ownersChecker } from "./owners.ts";
import { removalsChecker } from "./removals.ts";
import { replicasChecker } from "./replicas.ts";
import { revisionsChecker } from "./revisions.ts";
import { termsChecker } from "./terms.ts";
import { watchChecker } from "./watch.ts";

export type { Answer, Checker, Sight } from "./checker.ts";

/** Makes them for one run. `random` is the run's chance. */
export function createCheckers(sight: Sight, random: () => number): Checker[] {
  return [
    revisionsChecker(sight),
    bindingChecker(sight),
    removalsChecker(sight),
    identityChecker(sight),
    // Before what follows from it: who must not act creates too much as well.
    termsChecker(sight),
    replicasChecker(sight),
    watchChecker(sight, random),
    acknowledgedChecker(sight),
    ownersChecker(sight),
    convergenceChecker(sight),
  ];
}
