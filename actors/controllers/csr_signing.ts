/**
 * Approved certificate requests for Kubernetes' own signers are signed by the cluster's authority, or marked as
 * failed where they ask for what their signer does not give.
 *
 * Behaviour matched: pkg/controller/certificates/signer/signer.go, v1.36.
 */
import type { KubeObject } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  CERTIFICATE_SIGNING_REQUESTS,
  type Controller,
  targetOf,
} from "../runtime/mod.ts";
import { changed } from "./objects.ts";
import type { ControllerPorts } from "./ports.ts";

/** The row; the authority comes from the ports. */
export function csrSigningController(
  { certificates }: Pick<ControllerPorts, "certificates">,
): Controller<void> {
  return {
    name: "certificatesigningrequest-signing",
    account: "certificate-controller",
    for: CERTIFICATE_SIGNING_REQUESTS,
    reconcile: async (key, context) => {
      if (certificates) await reconcile(key, context, certificates.signedStatus);
    },
  };
}

/** Signs one request, or says why not. */
export async function reconcile(
  key: string,
  context: ActorContext,
  signedStatus: NonNullable<ControllerPorts["certificates"]>["signedStatus"],
): Promise<void> {
  const csr = context.informers.for(CERTIFICATE_SIGNING_REQUESTS).get(key);
  if (!csr) return;
  const status = await signedStatus(csr);
  if (!status) return;
  const target = targetOf(CERTIFICATE_SIGNING_REQUESTS, csr, "status");
  await changed(context.client.update<KubeObject>(target, { ...csr, status }));
}
