/**
 * A pod that runs is not taken away under its node: it is told to go first, and leaves when the node has let it go,
 * unless people force it or the node is gone. So no two pods of one name ever run at once.
 */
import { isLive } from "../truth.ts";
import type { Checker, Sight } from "./checker.ts";

/** The collector of pods may act on what was true of a node so long ago. */
const STALE_MS = 60_000;

/** See the module's text. */
export function removalsChecker({ truth, fail, now }: Sight): Checker {
  const name = "removals";
  const forced = new Set<string>();
  return {
    name,
    asked({ verb, what }) {
      const pod = verb === "delete" && /^pods (.*) within 0$/.exec(what)?.[1];
      if (pod) forced.add(`/registry/pods/${pod}`);
    },
    commit({ steps, process }) {
      for (const step of steps) {
        if ("term" in step || step.type !== "delete") continue;
        const pod = step.key.startsWith("/registry/pods/") && step.before?.object;
        if (!pod || !pod.spec.nodeName || !isLive(pod) || forced.has(step.key)) continue;
        const node = truth.state.get(`/registry/minions/${pod.spec.nodeName}`)?.object;
        const since = Date.parse(node?.metadata.creationTimestamp ?? "");
        if (!node || now() - since < STALE_MS) continue;
        fail(
          name,
          `${process} took ${step.key} (${pod.metadata.uid}) away from ${pod.spec.nodeName}`,
        );
      }
    },
  };
}
