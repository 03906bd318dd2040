/** The kinds of authentication, authorization, certificates and RBAC. */
import * as authenticationRules from "./rules/authentication.ts";
import * as authorizationRules from "./rules/authorization.ts";
import * as certificatesRules from "./rules/certificates.ts";
import * as rbacRules from "./rules/rbac.ts";
import type { Group, Row } from "./rows.ts";

function review(kind: string, plural: string, namespaced = false): Row {
  return { kind, plural, cluster: !namespaced, verbs: ["create"], virtual: true };
}

/** `authentication.k8s.io/v1`: answered, not stored. */
export const authentication: Group = {
  group: "authentication.k8s.io",
  version: "v1",
  prefix: "io.k8s.api.authentication.v1",
  rules: authenticationRules,
  rows: [
    review("SelfSubjectReview", "selfsubjectreviews"),
    review("TokenReview", "tokenreviews"),
  ],
};

/** `authorization.k8s.io/v1`: answered, not stored. */
export const authorization: Group = {
  group: "authorization.k8s.io",
  version: "v1",
  prefix: "io.k8s.api.authorization.v1",
  rules: authorizationRules,
  rows: [
    review("LocalSubjectAccessReview", "localsubjectaccessreviews", true),
    review("SelfSubjectAccessReview", "selfsubjectaccessreviews"),
    review("SelfSubjectRulesReview", "selfsubjectrulesreviews"),
    review("SubjectAccessReview", "subjectaccessreviews"),
  ],
};

/** `certificates.k8s.io/v1`. */
export const certificates: Group = {
  group: "certificates.k8s.io",
  version: "v1",
  prefix: "io.k8s.api.certificates.v1",
  rules: certificatesRules,
  rows: [{
    kind: "CertificateSigningRequest",
    plural: "certificatesigningrequests",
    short: ["csr"],
    cluster: true,
    sub: "approval status",
  }],
};

/** `certificates.k8s.io/v1beta1`. */
export const certificatesBeta: Group = {
  group: "certificates.k8s.io",
  version: "v1beta1",
  prefix: "io.k8s.api.certificates.v1beta1",
  level: "beta",
  rules: certificatesRules,
  rows: [
    { kind: "ClusterTrustBundle", plural: "clustertrustbundles", cluster: true },
    { kind: "PodCertificateRequest", plural: "podcertificaterequests", sub: "status" },
  ],
};

/** `rbac.authorization.k8s.io/v1`. */
export const rbac: Group = {
  group: "rbac.authorization.k8s.io",
  version: "v1",
  prefix: "io.k8s.api.rbac.v1",
  rules: rbacRules,
  rows: [
    { kind: "ClusterRoleBinding", plural: "clusterrolebindings", cluster: true },
    { kind: "ClusterRole", plural: "clusterroles", cluster: true },
    { kind: "RoleBinding", plural: "rolebindings" },
    { kind: "Role", plural: "roles" },
  ],
};
