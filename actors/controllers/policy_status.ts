/**
 * ValidatingAdmissionPolicies: says in their status whether their expressions check against the kinds that they are
 * about.
 *
 * Behaviour matched: pkg/controller/validatingadmissionpolicystatus, v1.36.
 */
import { expressionWarnings } from "../../api/machinery/policy_check.ts";
import type { ResourceId } from "../../api/machinery/types.ts";
import { type ActorContext, type Controller, isGone, type Outcome } from "../runtime/mod.ts";
import type { Obj } from "./objects.ts";
import type { ControllerPorts } from "./ports.ts";

/** The name under which it writes. */
const MANAGER = "validatingadmissionpolicy-status";
export const POLICIES: ResourceId = Object.freeze({
  group: "admissionregistration.k8s.io",
  version: "v1",
  plural: "validatingadmissionpolicies",
});

/** The row, with what knows the kinds. */
export function policyStatusController(
  { kinds }: Pick<ControllerPorts, "kinds">,
): Controller<void> {
  return {
    name: MANAGER,
    account: `${MANAGER}-controller`,
    for: POLICIES,
    selects: isDue,
    reconcile: (key, context) => reconcile(key, context, kinds),
  };
}

/** Whether a policy is newer than what its status is about. Pure. */
export function isDue(policy: Obj): boolean {
  return (policy.metadata.generation ?? 0) > (policy.status?.observedGeneration ?? 0);
}

/** Checks one policy. */
export async function reconcile(
  key: string,
  context: ActorContext,
  kinds: ControllerPorts["kinds"],
): Promise<Outcome> {
  const policy = context.informers.for(POLICIES).get(key);
  if (!policy || !isDue(policy)) return;
  const warnings = await expressionWarnings(policy, kinds);
  try {
    await context.client.patch({
      resource: POLICIES,
      name: policy.metadata.name,
      subresource: "status",
    }, {
      type: "apply",
      force: true,
      body: {
        apiVersion: "admissionregistration.k8s.io/v1",
        kind: "ValidatingAdmissionPolicy",
        metadata: { name: policy.metadata.name },
        status: {
          observedGeneration: policy.metadata.generation!,
          typeChecking: warnings.length
            ? { expressionWarnings: warnings.map((one) => ({ ...one })) }
            : {},
        },
      },
    }, { fieldManager: MANAGER });
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}
