/**
 * The types of the variables that admission, authorization and authentication hand to expressions: fields
 * that upstream declares and no others, so that what compiles here compiles there.
 */
import {
  BOOL,
  DYN,
  INT,
  listOf,
  mapOf,
  type ObjectField,
  STRING,
  TIMESTAMP,
  type Type,
} from "./types.ts";

function declare(name: string, types: Record<string, Type>): Type {
  const fields = new Map<string, ObjectField>();
  for (const [field, type] of Object.entries(types)) {
    fields.set(field, { name: field, schema: { type: "any" }, type });
  }
  return { kind: "object", name, fields };
}

const STRINGS = listOf(STRING);
const EXTRA = mapOf(STRING, STRINGS);
const LABELS = mapOf(STRING, STRING);

const groupVersionKind = declare("kubernetes.GroupVersionKind", {
  group: STRING,
  version: STRING,
  kind: STRING,
});

const groupVersionResource = declare("kubernetes.GroupVersionResource", {
  group: STRING,
  version: STRING,
  resource: STRING,
});

/** `user` of authentication rules, `request.userInfo` of admission. */
export const USER_INFO: Type = declare("kubernetes.UserInfo", {
  username: STRING,
  uid: STRING,
  groups: STRINGS,
  extra: EXTRA,
});

/** `request` of admission. */
export const ADMISSION_REQUEST: Type = declare("kubernetes.AdmissionRequest", {
  kind: groupVersionKind,
  resource: groupVersionResource,
  subResource: STRING,
  requestKind: groupVersionKind,
  requestResource: groupVersionResource,
  requestSubResource: STRING,
  name: STRING,
  namespace: STRING,
  operation: STRING,
  userInfo: USER_INFO,
  dryRun: BOOL,
  options: DYN,
});

/** `namespaceObject` of admission. */
export const NAMESPACE: Type = declare("kubernetes.Namespace", {
  metadata: declare("kubernetes.NamespaceMetadata", {
    name: STRING,
    generateName: STRING,
    namespace: STRING,
    labels: LABELS,
    annotations: LABELS,
    UID: STRING,
    creationTimestamp: TIMESTAMP,
    deletionGracePeriodSeconds: INT,
    deletionTimestamp: TIMESTAMP,
    generation: INT,
    resourceVersion: STRING,
    finalizers: STRINGS,
  }),
  spec: declare("kubernetes.NamespaceSpec", { finalizers: STRINGS }),
  status: declare("kubernetes.NamespaceStatus", {
    conditions: listOf(declare("kubernetes.NamespaceCondition", {
      status: STRING,
      type: STRING,
      lastTransitionTime: TIMESTAMP,
      message: STRING,
      reason: STRING,
    })),
    phase: STRING,
  }),
});

const selector = (name: string) =>
  declare(name, {
    rawSelector: STRING,
    requirements: listOf(declare("kubernetes.SelectorRequirement", {
      key: STRING,
      operator: STRING,
      values: STRINGS,
    })),
  });

/** `request` of authorization: the spec of a SubjectAccessReview. */
export const ACCESS_REVIEW: Type = declare("kubernetes.SubjectAccessReviewSpec", {
  resourceAttributes: declare("kubernetes.ResourceAttributes", {
    namespace: STRING,
    verb: STRING,
    group: STRING,
    version: STRING,
    resource: STRING,
    subresource: STRING,
    name: STRING,
    fieldSelector: selector("kubernetes.FieldSelectorAttributes"),
    labelSelector: selector("kubernetes.LabelSelectorAttributes"),
  }),
  nonResourceAttributes: declare("kubernetes.NonResourceAttributes", {
    path: STRING,
    verb: STRING,
  }),
  user: STRING,
  groups: STRINGS,
  extra: EXTRA,
  uid: STRING,
});

/** `claims` of authentication. */
export const CLAIMS: Type = mapOf(STRING, DYN);

/** `device` of claims' selectors: attributes and capacity by domain, then by name. */
export const DEVICE: Type = declare("kubernetes.DRADevice", {
  driver: STRING,
  allowMultipleAllocations: BOOL,
  attributes: mapOf(STRING, mapOf(STRING, DYN)),
  capacity: mapOf(STRING, mapOf(STRING, { kind: "opaque", name: "kubernetes.Quantity" })),
});

/** A type of no fields but those that its expressions name later: `variables` of policies. */
export function recordType(name: string, types: Record<string, Type>): Type {
  return declare(name, types);
}
