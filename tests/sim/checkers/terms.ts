/**
 * A deposed singleton never writes: what only one actor of the cluster does is done by the process that
 * holds this actor's term in the log, at that very place in the log. Fences only grow.
 */
import { type Change, controllerOf, type Obj } from "../truth.ts";
import type { Checker, Sight } from "./checker.ts";

/** See the module's text. */
export function termsChecker(sight: Sight): Checker {
  const { fail } = sight;
  const name = "terms";
  const holders = new Map<string, string>();
  const terms = new Map<string, { holder: string; fence: number }>();
  return {
    name,
    opened(process) {
      holders.set(process.running.database.terms.holder, process.name);
    },
    commit({ steps, process }) {
      for (const step of steps) {
        if ("term" in step) {
          const { name: actor, fence, holder } = step.term;
          const before = terms.get(actor);
          if (before && fence < before.fence) {
            fail(name, `the fence of ${actor} went from ${before.fence} to ${fence}`);
          }
          if (before && fence === before.fence && holder !== before.holder && holder !== "") {
            fail(name, `term ${fence} of ${actor} has two holders`);
          }
          terms.set(actor, { holder, fence });
          continue;
        }
        const actor = actorOf(step);
        const term = actor && terms.get(actor);
        if (!actor) continue;
        const leader = term && holders.get(term.holder);
        // A process that is still opening has not told its name.
        if (term && term.holder !== "" && leader === undefined) continue;
        if (leader === process) continue;
        fail(name, `${process} did as ${actor} (${step.key}@${step.revision}), led by ${leader}`);
      }
    },
  };
}

/** Who alone writes the status of what. */
const STATUSES: Record<string, string> = {
  deployments: "controller/deployment",
  replicasets: "controller/replicaset",
  statefulsets: "controller/statefulset",
  daemonsets: "controller/daemonset",
  jobs: "controller/job",
  poddisruptionbudgets: "controller/disruption",
};

/** The status without what evictions write there themselves. */
function statusText({ status }: Obj): string {
  const evictions = { disruptionsAllowed: 0, disruptedPods: 0, conditions: 0 };
  return JSON.stringify(
    status?.disruptionsAllowed === undefined ? status : { ...status, ...evictions },
  );
}

/** Whose work a change is, if only one actor does such a thing. Objects are read where it is of interest only. */
function actorOf(change: Change): string | undefined {
  if (change.type === "delete") return undefined;
  const kind = change.key.split("/", 3)[2];
  if (kind === "pods") return actorOfPod(change);
  const status = STATUSES[kind];
  const { before } = change;
  if (before) {
    return status && statusText(before.object) !== statusText(change.object) ? status : undefined;
  }
  if (kind === "replicasets") return controllerOf(change.object) && "controller/deployment";
  if (kind !== "endpointslices") return undefined;
  const by = change.object.metadata.labels?.["endpointslice.kubernetes.io/managed-by"];
  return by === "endpointslice-controller.k8s.io" ? "controller/endpointslice" : undefined;
}

function actorOfPod({ object, before }: Change): string | undefined {
  if (!before) {
    const owner = controllerOf(object);
    return owner && `controller/${owner.kind.toLowerCase()}`;
  }
  return object.spec.nodeName && !before.object?.spec.nodeName ? "scheduler/default" : undefined;
}
