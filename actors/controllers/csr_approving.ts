/**
 * Certificate requests that need no person: a node's client certificate is approved when its requester may create
 * `certificatesigningrequests/nodeclient`, or `…/selfnodeclient` where it asks for itself.
 *
 * Behaviour matched: pkg/controller/certificates/approver/sarapprove.go, v1.36.
 */
import type { KubeObject } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  CERTIFICATE_SIGNING_REQUESTS,
  type Controller,
  type Outcome,
  SUBJECT_ACCESS_REVIEWS,
  targetOf,
} from "../runtime/mod.ts";
import { isSettled } from "./certificate_requests.ts";
import { changed } from "./objects.ts";
import type { ControllerPorts, CsrApproval } from "./ports.ts";

/** How long a request that may not be approved waits before it is asked again. */
const AGAIN_MS = 5 * 60_000;

/** The row; what a request asks for is read by the ports. */
export function csrApprovingController(
  { certificates }: Pick<ControllerPorts, "certificates">,
): Controller<void> {
  return {
    name: "certificatesigningrequest-approving",
    account: "certificate-controller",
    for: CERTIFICATE_SIGNING_REQUESTS,
    reconcile: async (key, context) =>
      certificates && await reconcile(key, context, certificates.approvalsFor),
  };
}

/** Approves one request if somebody with the right to it asked. */
export async function reconcile(
  key: string,
  context: ActorContext,
  approvalsFor: NonNullable<ControllerPorts["certificates"]>["approvalsFor"],
): Promise<Outcome> {
  const csr = context.informers.for(CERTIFICATE_SIGNING_REQUESTS).get(key);
  if (!csr || isSettled(csr)) return;
  const approvals = await approvalsFor(csr);
  for (const approval of approvals) {
    if (!await isAllowed(context, csr, approval)) continue;
    const condition = {
      type: "Approved",
      status: "True",
      reason: "AutoApproved",
      message: approval.message,
    };
    const status = { ...csr.status, conditions: [...csr.status?.conditions ?? [], condition] };
    const target = targetOf(CERTIFICATE_SIGNING_REQUESTS, csr, "approval");
    await changed(context.client.update<KubeObject>(target, { ...csr, status }));
    return;
  }
  if (approvals.length > 0) return { afterMs: AGAIN_MS };
}

async function isAllowed(
  { client }: ActorContext,
  csr: NonNullable<Parameters<typeof isSettled>[0]>,
  { subresource }: CsrApproval,
): Promise<boolean> {
  const { username: user, uid, groups, extra } = csr.spec;
  const review = await client.create<KubeObject>({ resource: SUBJECT_ACCESS_REVIEWS }, {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SubjectAccessReview",
    spec: {
      user,
      uid,
      groups,
      extra,
      resourceAttributes: {
        group: "certificates.k8s.io",
        resource: "certificatesigningrequests",
        verb: "create",
        subresource,
        version: "*",
      },
    },
  });
  return review.status?.allowed === true;
}
