/** The kinds by which the API is extended: admission, custom resources, aggregation. */
import { renamed } from "./convert_versions.ts";
import type { Group, Row } from "./rows.ts";
import * as admissionRules from "./rules/admissionregistration.ts";
import * as apiextensionsRules from "./rules/apiextensions.ts";
import * as apiregistrationRules from "./rules/apiregistration.ts";

const categories = ["api-extensions"];

function policyRow(kind: string, plural: string, rest: Partial<Row> = {}): Row {
  return { kind, plural, categories, cluster: true, generation: true, ...rest };
}

/** `admissionregistration.k8s.io/v1`. */
export const admissionregistration: Group = {
  group: "admissionregistration.k8s.io",
  version: "v1",
  prefix: "io.k8s.api.admissionregistration.v1",
  rules: admissionRules,
  rows: [
    policyRow("MutatingAdmissionPolicy", "mutatingadmissionpolicies"),
    policyRow("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings"),
    policyRow("MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
    policyRow("ValidatingAdmissionPolicy", "validatingadmissionpolicies", { sub: "status" }),
    policyRow("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
    policyRow("ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
  ],
};

const toV1 = renamed("admissionregistration.k8s.io", "v1beta1", "v1");

/** `admissionregistration.k8s.io/v1beta1`. */
export const admissionregistrationBeta: Group = {
  group: "admissionregistration.k8s.io",
  version: "v1beta1",
  prefix: "io.k8s.api.admissionregistration.v1beta1",
  level: "beta",
  rules: admissionRules,
  rows: [
    policyRow("MutatingAdmissionPolicy", "mutatingadmissionpolicies", { storage: toV1 }),
    policyRow("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", {
      storage: toV1,
    }),
  ],
};

/** `apiextensions.k8s.io/v1`. */
export const apiextensions: Group = {
  group: "apiextensions.k8s.io",
  version: "v1",
  prefix: "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
  rules: apiextensionsRules,
  rows: [{
    kind: "CustomResourceDefinition",
    plural: "customresourcedefinitions",
    short: ["crd", "crds"],
    categories,
    cluster: true,
    generation: true,
    sub: "status",
    path: "apiextensions.k8s.io/customresourcedefinitions",
  }],
};

/** `apiregistration.k8s.io/v1`. */
export const apiregistration: Group = {
  group: "apiregistration.k8s.io",
  version: "v1",
  prefix: "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1",
  rules: apiregistrationRules,
  rows: [{
    kind: "APIService",
    plural: "apiservices",
    categories,
    cluster: true,
    sub: "status",
    path: "apiregistration.k8s.io/apiservices",
  }],
};
