/**
 * Plugins of certificate signing requests: who may approve and sign for which signer, and that nobody gets a
 * client certificate of system:masters this way.
 */
import { Buffer } from "node:buffer";
import { type PluginContext, refusal } from "../admission.ts";
import type { Admission, AdmissionPlugin, Authorizer } from "../contract.ts";
import { MASTERS } from "../names.ts";
import { readRequest } from "../pki.ts";
import { onlyGarbageFieldsChanged } from "../rbac_escalation.ts";

const GROUP = "certificates.k8s.io";
const CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client";

function isRequest(a: Admission, subresource: string): boolean {
  return a.kind.plural === "certificatesigningrequests" && a.kind.group === GROUP &&
    a.subresource === subresource;
}

/** A right on a signer is given by its name, or by `<domain>/*` for all of a domain. */
async function mayUse(
  authorizer: Authorizer,
  a: Admission,
  { verb, signer }: { verb: string; signer: string },
): Promise<boolean> {
  const ask = async (name: string) =>
    (await authorizer.authorize({
      user: a.user,
      verb,
      resourceRequest: true,
      group: GROUP,
      version: "*",
      resource: "signers",
      subresource: "",
      namespace: "",
      name,
      path: "",
    })).allowed;
  return await ask(signer) || await ask(`${signer.split("/")[0]}/*`);
}

/** Approving needs the verb `approve` on the signer. */
export function certificateApproval({ authorizer }: PluginContext): AdmissionPlugin {
  return {
    name: "CertificateApproval",
    handles: (a) => isRequest(a, "approval") && a.operation === "UPDATE",
    async validate(a) {
      const signer: string = a.old?.spec?.signerName ?? "";
      if (await mayUse(authorizer, a, { verb: "approve", signer })) return;
      throw refusal(
        a,
        `user not permitted to approve requests with signerName ${JSON.stringify(signer)}`,
      );
    },
  };
}

/** Putting a certificate into a request needs the verb `sign` on the signer. */
export function certificateSigning({ authorizer }: PluginContext): AdmissionPlugin {
  return {
    name: "CertificateSigning",
    handles: (a) => isRequest(a, "status") && a.operation === "UPDATE",
    async validate(a) {
      const part = (status: Record<string, unknown> | undefined) =>
        JSON.stringify([status?.certificate ?? "", status?.conditions ?? []]);
      if (part(a.old?.status) === part(a.object?.status)) return;
      const signer: string = a.old?.spec?.signerName ?? "";
      if (await mayUse(authorizer, a, { verb: "sign", signer })) return;
      throw refusal(
        a,
        `user not permitted to sign requests with signerName ${JSON.stringify(signer)}`,
      );
    },
  };
}

/** Bundles of a signer's authorities need the verb `attest` on the signer. */
export function clusterTrustBundleAttest({ authorizer }: PluginContext): AdmissionPlugin {
  return {
    name: "ClusterTrustBundleAttest",
    handles: (a) =>
      a.kind.plural === "clustertrustbundles" && a.kind.group === GROUP && !a.subresource &&
      (a.operation === "CREATE" || a.operation === "UPDATE"),
    async validate(a) {
      const signer: string = a.object?.spec?.signerName ?? "";
      if (signer === "" || (a.old && onlyGarbageFieldsChanged(a.object!, a.old))) return;
      if (await mayUse(authorizer, a, { verb: "attest", signer })) return;
      throw refusal(a, `user not permitted to attest for signerName ${JSON.stringify(signer)}`);
    },
  };
}

/** Refuses requests for a client certificate in system:masters. */
export const certificateSubjectRestriction: AdmissionPlugin = {
  name: "CertificateSubjectRestriction",
  handles: (a) => isRequest(a, "") && a.operation === "CREATE",
  async validate(a) {
    const spec = a.object?.spec;
    if (spec?.signerName !== CLIENT_SIGNER) return;
    let organizations: readonly string[];
    try {
      const pem = Buffer.from(spec.request ?? "", "base64").toString("utf8");
      organizations = (await readRequest(pem)).subject.organizations;
    } catch (error) {
      throw refusal(a, `failed to parse CSR: ${(error as Error).message}`);
    }
    if (!organizations.includes(MASTERS)) return;
    throw refusal(a, `use of ${CLIENT_SIGNER} signer with ${MASTERS} group is not allowed`);
  },
};
