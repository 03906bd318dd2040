/**
 * Jobs that ended and say how long they want to be kept: deleted when that time is over.
 *
 * Behaviour matched: pkg/controller/ttlafterfinished, v1.36.
 */
import type { KubeObject } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  type Controller,
  isGone,
  JOBS,
  type Outcome,
  targetOf,
} from "../runtime/mod.ts";
import { finishedCondition } from "./job_rules.ts";
import { type Obj, timeOf } from "./objects.ts";

export const ttlAfterFinishedController: Controller<void> = {
  name: "ttl-after-finished",
  account: "ttl-after-finished-controller",
  for: JOBS,
  reconcile,
};

/** When a Job's time is over, in ms since 1970; undefined when it never is. Pure. */
export function expiryOf(job: Obj): number | undefined {
  const seconds = job.spec.ttlSecondsAfterFinished;
  const end = finishedCondition(job);
  if (seconds === undefined || seconds === null || !end || job.metadata.deletionTimestamp) return;
  return timeOf(end.lastTransitionTime) + seconds * 1000;
}

/** Deletes one Job if its time is over, else comes back then. */
export async function reconcile(key: string, context: ActorContext): Promise<Outcome> {
  const cached = context.informers.for(JOBS).get(key);
  const now = context.clock.now();
  const expiry = cached && expiryOf(cached);
  if (expiry === undefined) return;
  if (expiry > now) return { afterMs: expiry - now };
  try {
    // The cache may be behind: its owner could have given it more time.
    const job = await context.client.get<KubeObject>(targetOf(JOBS, cached!));
    const fresh = expiryOf(job);
    if (job.metadata.uid !== cached!.metadata.uid || fresh === undefined) return;
    if (fresh > now) return { afterMs: fresh - now };
    const { uid, resourceVersion } = job.metadata;
    await context.client.delete(targetOf(JOBS, job), {
      propagationPolicy: "Foreground",
      preconditions: { uid, resourceVersion },
    });
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}
