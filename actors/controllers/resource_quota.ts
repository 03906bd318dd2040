/**
 * ResourceQuotas whose `status.hard` is not what their spec says get it back. What is used, the API server
 * counts at every write; this is for those who write into the status.
 */
import { sameJson } from "../../api/machinery/json_value.ts";
import {
  type ActorContext,
  codeOf,
  type Controller,
  isGone,
  RESOURCE_QUOTAS,
  targetOf,
} from "../runtime/mod.ts";

export const resourceQuotaController: Controller<void> = {
  name: "resourcequota",
  account: "resourcequota-controller",
  for: RESOURCE_QUOTAS,
  reconcile,
};

/** Gives one quota the limits of its spec. */
export async function reconcile(key: string, context: ActorContext): Promise<void> {
  const quota = context.informers.for(RESOURCE_QUOTAS).get(key);
  if (!quota || quota.metadata.deletionTimestamp) return;
  const hard = quota.spec?.hard ?? {};
  if (sameJson(hard, quota.status?.hard ?? {})) return;
  try {
    await context.client.update({ ...targetOf(RESOURCE_QUOTAS, quota), subresource: "status" }, {
      ...quota,
      status: { ...quota.status, hard },
    });
  } catch (error) {
    // Gone, or changed meanwhile: what changed it brings it back here
    if (!isGone(error) && codeOf(error) !== 409) throw error;
  }
}
