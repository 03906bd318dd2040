/**
 * Kubernetes' own signers of certificate requests, as functions of a CertificateSigningRequest: what the
 * approver would ask before it approves one by itself, and what status the signer would write. No I/O: a
 * controller reads, asks and writes.
 */
import { Buffer } from "node:buffer";
import type { Clock } from "../../kv/clock.ts";
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";
import { CERTIFICATE_DAYS } from "./limits.ts";
import { NODE_PREFIX, NODES } from "./names.ts";
import { type Issued, readRequest, type RequestFacts, signRequest } from "./pki.ts";

/** Certificates with which nodes serve. */
export const KUBELET_SERVING = "kubernetes.io/kubelet-serving";
/** Certificates with which nodes are clients. */
export const KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet";
/** Certificates of anybody else as a client. */
export const CLIENT = "kubernetes.io/kube-apiserver-client";
/** The signer of old requests: no promise about who trusts it. */
export const LEGACY = "kubernetes.io/legacy-unknown";

/** Nothing shorter is signed: clocks differ, and certificates begin five minutes early. */
const SECONDS_MIN = 600;

type Request = DeepReadonly<KubeObject>;

/** What must be allowed to the requester for a request to be approved unasked, and what is then said. */
export interface Approval {
  /** Subresource of certificatesigningrequests on which the requester needs `create`. */
  subresource: "selfnodeclient" | "nodeclient";
  /** The condition's message. */
  message: string;
}

/** The ways in which a request may be approved without a person, the narrowest first; none for most. */
export async function approvalsFor(csr: Request): Promise<Approval[]> {
  const { conditions = [], certificate } = csr.status ?? {};
  if (
    certificate || conditions.some((c: Condition) => c.type === "Approved" || c.type === "Denied")
  ) {
    return [];
  }
  if (csr.spec?.signerName !== KUBELET_CLIENT) return [];
  const facts = await factsOf(csr);
  if (problemOf(csr, facts)) return [];
  const own = csr.spec.username === facts.subject.commonName;
  return [
    ...(own
      ? [{
        subresource: "selfnodeclient" as const,
        message: "Auto approving self kubelet client certificate after SubjectAccessReview.",
      }]
      : []),
    {
      subresource: "nodeclient",
      message: "Auto approving kubelet client certificate after SubjectAccessReview.",
    },
  ];
}

/** One condition of a request. */
interface Condition {
  type: string;
  status?: string;
}

/**
 * The status of an approved request once it is signed, or has failed for good; undefined when there is nothing
 * to do. Throws TypeError when the request cannot be read.
 */
export async function signedStatus(
  csr: Request,
  authority: Issued,
  clock: Clock,
): Promise<Record<string, unknown> | undefined> {
  const { conditions = [], certificate } = csr.status ?? {};
  const has = (type: string) =>
    conditions.some((c: Condition) => c.type === type && c.status !== "False");
  if (certificate || !has("Approved") || has("Denied") || has("Failed")) return undefined;
  if (![KUBELET_SERVING, KUBELET_CLIENT, CLIENT, LEGACY].includes(csr.spec?.signerName)) {
    return undefined;
  }
  const facts = await factsOf(csr);
  const problem = problemOf(csr, facts);
  if (problem) {
    const now = new Date(clock.now()).toISOString().replace(/\.\d+Z$/, "Z");
    const failed = {
      type: "Failed",
      status: "True",
      reason: "SignerValidationFailure",
      message: problem,
      lastUpdateTime: now,
      lastTransitionTime: now,
    };
    return { ...csr.status, conditions: [...conditions, failed] };
  }
  const pem = await signRequest(authority, clock, {
    requestPem: pemOf(csr),
    usages: csr.spec.usages ?? [],
    expirationSeconds: secondsOf(csr),
  });
  return { ...csr.status, certificate: Buffer.from(pem, "utf8").toString("base64") };
}

function pemOf(csr: Request): string {
  return Buffer.from(csr.spec?.request ?? "", "base64").toString("utf8");
}

async function factsOf(csr: Request): Promise<RequestFacts> {
  return await readRequest(pemOf(csr));
}

function secondsOf(csr: Request): number {
  const longest = CERTIFICATE_DAYS * 24 * 3600;
  const asked: number = csr.spec.expirationSeconds ?? longest;
  return Math.max(Math.min(asked, longest), SECONDS_MIN);
}

/** Why a signer does not sign this request; undefined when it does. */
function problemOf(csr: Request, facts: RequestFacts): string | undefined {
  const usages: readonly string[] = csr.spec.usages ?? [];
  switch (csr.spec.signerName) {
    case KUBELET_SERVING:
      return servingProblem(facts) ?? usagesProblem(usages, "server auth") ?? nodeProblem(facts);
    case KUBELET_CLIENT:
      return kubeletProblem(facts) ?? nodeProblem(facts) ?? usagesProblem(usages, "client auth");
    case CLIENT:
      return clientProblem(usages);
    default:
      return undefined;
  }
}

function organizationProblem({ subject }: RequestFacts): string | undefined {
  return subject.organizations.length === 1 && subject.organizations[0] === NODES
    ? undefined
    : "subject organization is not system:nodes";
}

function servingProblem(facts: RequestFacts): string | undefined {
  const problem = organizationProblem(facts);
  if (problem) return problem;
  if (facts.dnsNames.length === 0 && facts.ipAddresses.length === 0) {
    return "DNS or IP subjectAltName is required";
  }
  if (facts.emails.length) return "Email subjectAltNames are not allowed";
  if (facts.uris.length) return "URI subjectAltNames are not allowed";
  return undefined;
}

function kubeletProblem(facts: RequestFacts): string | undefined {
  const problem = organizationProblem(facts);
  if (problem) return problem;
  if (facts.dnsNames.length) return "DNS subjectAltNames are not allowed";
  if (facts.emails.length) return "Email subjectAltNames are not allowed";
  if (facts.ipAddresses.length) return "IP subjectAltNames are not allowed";
  if (facts.uris.length) return "URI subjectAltNames are not allowed";
  return undefined;
}

function nodeProblem({ subject }: RequestFacts): string | undefined {
  return subject.commonName?.startsWith(NODE_PREFIX)
    ? undefined
    : "subject common name does not begin with system:node:";
}

/** Nodes' keys sign, may encipher (RSA needs it), and do the one thing they are for. */
function usagesProblem(usages: readonly string[], purpose: string): string | undefined {
  const given = new Set(usages);
  given.delete("key encipherment");
  if (given.size === 2 && given.has("digital signature") && given.has(purpose)) return undefined;
  return `usages did not match [${
    ["digital signature", "key encipherment", purpose].sort().join(" ")
  }]`;
}

function clientProblem(usages: readonly string[]): string | undefined {
  for (const usage of usages) {
    if (!["digital signature", "key encipherment", "client auth"].includes(usage)) {
      return `invalid usage for client certificate: ${usage}`;
    }
  }
  return usages.includes("client auth")
    ? undefined
    : "missing required usage for client certificate: client auth";
}
