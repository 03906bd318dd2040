/**
 * `kubectl rollout undo`: the server knows nothing of it, a client puts back the template that an earlier revision holds.
 * The dashboard does the same.
 *
 * Behaviour matched: k8s.io/kubectl pkg/polymorphichelpers/rollback.go, v0.36.
 */
import type { KubeObject } from "../../api/machinery/types.ts";
import { revisionsOf, undoPatch } from "../../api/web/app/rollout.ts";
import type { Step } from "./scenario.ts";

/** The patch that takes `object` back, given what holds its revisions; revision 0 is the one before the newest. */
export function rollbackPatch(
  object: KubeObject,
  holders: readonly KubeObject[],
  revision = 0,
): Pick<NonNullable<Step["patch"]>, "type" | "with"> {
  const own = revisionsOf(object, holders);
  const found = revision ? own.find((one) => one.revision === revision) : own[1];
  if (!found) {
    throw new Error(
      revision
        ? `unable to find specified revision ${revision} in history`
        : "no rollout history found",
    );
  }
  const { type, body } = undoPatch(object, found);
  return { type, with: body };
}
