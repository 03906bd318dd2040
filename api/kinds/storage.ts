/** The kinds of storage and of dynamic resource allocation. */
import { DRA_CLAIM, DRA_CLAIM_TEMPLATE, DRA_SLICE } from "./convert_resource.ts";
import { renamed } from "./convert_versions.ts";
import type { Group, Row } from "./rows.ts";
import * as resourceRules from "./rules/resource.ts";
import * as storagemigrationRules from "./rules/storagemigration.ts";
import * as storageRules from "./rules/storage.ts";

/** `storage.k8s.io/v1`. */
export const storage: Group = {
  group: "storage.k8s.io",
  version: "v1",
  prefix: "io.k8s.api.storage.v1",
  rules: storageRules,
  rows: [
    { kind: "CSIDriver", plural: "csidrivers", cluster: true },
    { kind: "CSINode", plural: "csinodes", cluster: true },
    { kind: "CSIStorageCapacity", plural: "csistoragecapacities" },
    { kind: "StorageClass", plural: "storageclasses", short: ["sc"], cluster: true },
    { kind: "VolumeAttachment", plural: "volumeattachments", cluster: true, sub: "status" },
    {
      kind: "VolumeAttributesClass",
      plural: "volumeattributesclasses",
      short: ["vac"],
      cluster: true,
    },
  ],
};

/** `storage.k8s.io/v1beta1`. */
export const storageBeta: Group = {
  group: "storage.k8s.io",
  version: "v1beta1",
  prefix: "io.k8s.api.storage.v1beta1",
  level: "beta",
  deprecated: "v1.34+, unavailable in v1.37+; use storage.k8s.io/v1 VolumeAttributesClass",
  rules: storageRules,
  rows: [{
    kind: "VolumeAttributesClass",
    plural: "volumeattributesclasses",
    short: ["vac"],
    cluster: true,
    storage: renamed("storage.k8s.io", "v1beta1", "v1"),
  }],
};

/** `storagemigration.k8s.io/v1beta1`. */
export const storagemigrationBeta: Group = {
  group: "storagemigration.k8s.io",
  version: "v1beta1",
  prefix: "io.k8s.api.storagemigration.v1beta1",
  level: "beta",
  rules: storagemigrationRules,
  rows: [{
    kind: "StorageVersionMigration",
    plural: "storageversionmigrations",
    cluster: true,
    sub: "status",
  }],
};

function draRows(
  claim?: Row["storage"],
  template?: Row["storage"],
  slice?: Row["storage"],
  deviceClass?: Row["storage"],
  suffix = "",
): Row[] {
  const rules = (kind: string) => suffix ? { rules: kind + suffix } : {};
  return [
    {
      kind: "DeviceClass",
      plural: "deviceclasses",
      cluster: true,
      generation: true,
      storage: deviceClass,
    },
    {
      kind: "ResourceClaim",
      plural: "resourceclaims",
      sub: "status",
      storage: claim,
      ...rules("ResourceClaim"),
    },
    {
      kind: "ResourceClaimTemplate",
      plural: "resourceclaimtemplates",
      storage: template,
      ...rules("ResourceClaimTemplate"),
    },
    {
      ...rules("ResourceSlice"),
      kind: "ResourceSlice",
      plural: "resourceslices",
      cluster: true,
      generation: true,
      storage: slice,
    },
  ];
}

/** `resource.k8s.io/v1`. */
export const resource: Group = {
  group: "resource.k8s.io",
  version: "v1",
  prefix: "io.k8s.api.resource.v1",
  rules: resourceRules,
  rows: draRows(),
};

const beta2 = renamed("resource.k8s.io", "v1beta2", "v1");

/** `resource.k8s.io/v1beta2`. */
export const resourceBeta2: Group = {
  group: "resource.k8s.io",
  version: "v1beta2",
  prefix: "io.k8s.api.resource.v1beta2",
  level: "beta",
  deprecated: "v1.36+, unavailable in v1.39+",
  rules: resourceRules,
  rows: [
    ...draRows(beta2, beta2, beta2, beta2),
    {
      kind: "DeviceTaintRule",
      plural: "devicetaintrules",
      deprecated: "",
      cluster: true,
      generation: true,
      sub: "status",
    },
  ],
};

/** `resource.k8s.io/v1beta1`. */
export const resourceBeta1: Group = {
  group: "resource.k8s.io",
  version: "v1beta1",
  prefix: "io.k8s.api.resource.v1beta1",
  level: "beta",
  deprecated: "v1.35+, unavailable in v1.38+",
  rules: resourceRules,
  rows: draRows(
    DRA_CLAIM,
    DRA_CLAIM_TEMPLATE,
    DRA_SLICE,
    renamed("resource.k8s.io", "v1beta1", "v1"),
    ".v1beta1",
  ),
};
