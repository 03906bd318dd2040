/**
 * The core group's rules: what a schema cannot say. One entry per kind in each of three tables: hooks
 * (defaults, what a write may touch, validation), columns, and the fields that selectors may name.
 *
 * Reading order: `pod_defaults.ts`, `pod_prepare.ts`, `pod_validation.ts` and its parts for pods and
 * templates; `core_*.ts` and `service_*.ts` for the rest; `meta.ts` for what all objects share.
 */

import type { Kind, KindHooks, KubeObject } from "../../machinery/types.ts";
import { nameIsDnsLabel, nameIsDnsSubdomain, nameIsPathSegment } from "../../machinery/names.ts";
import { validateClaim, validateClaimUpdate } from "./claim_validation.ts";
import * as defaults from "./core_defaults.ts";
import * as prepare from "./core_prepare.ts";
import * as check from "./core_validation.ts";
import * as warn from "./core_warnings.ts";
import { secretWarnings } from "./secret_warnings.ts";
import { semanticEqual } from "./equality.ts";
import { validateEvent } from "./event_validation.ts";
import { podRowConditions } from "./pod_columns.ts";
import { defaultPod, defaultPodTemplate } from "./pod_defaults.ts";
import { podGracePeriod, preparePodCreate, preparePodUpdate } from "./pod_prepare.ts";
import { validatePod, validatePodUpdate } from "./pod_validation.ts";
import { podWarnings, templateWarnings, workloadWarnings } from "./pod_warnings.ts";
import { statusHooks } from "./prepare.ts";
import { validateLimitRange, validateQuota, validateQuotaUpdate } from "./quota_validation.ts";
import { Path, SPEC } from "./report.ts";
import { prepareServiceCreate, prepareServiceUpdate } from "./service_prepare.ts";
import { validateService, validateServiceUpdate } from "./service_validation.ts";
import { validateVolume, validateVolumeUpdate } from "./volume_validation.ts";

export { columns } from "./core_columns.ts";
export { fields } from "./core_fields.ts";
export { defaultPodSpec, defaultPodTemplate } from "./pod_defaults.ts";
export { validatePodSpec, validatePodTemplate, validateTemplate } from "./pod_spec.ts";

/** A subdomain, of which upstream counts the bytes; of generated names only that they fit into a path. */
function controllerName(name: string, prefix: boolean): string[] {
  if (prefix) return nameIsPathSegment(name, prefix);
  return nameIsDnsSubdomain(name, prefix).map((text) =>
    text.replace(/^(must be no more than \d+) characters$/, "$1 bytes")
  );
}

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {
  Pod: {
    defaults: defaultPod,
    prepareCreate: preparePodCreate,
    prepareUpdate: preparePodUpdate,
    validate: validatePod,
    validateUpdate: validatePodUpdate,
    warnings: podWarnings,
    gracePeriod: podGracePeriod,
  },
  PodTemplate: {
    defaults: (object: KubeObject) => defaultPodTemplate(object.template),
    prepareCreate: prepare.prepareTemplateCreate,
    prepareUpdate: prepare.prepareTemplateUpdate,
    validate: check.validatePodTemplateObject,
    validateUpdate: check.validatePodTemplateObject,
    warnings: (object, old) =>
      semanticEqual(object.template, old?.template)
        ? []
        : templateWarnings(object.template, new Path("template")),
  },
  ReplicationController: {
    defaults: defaults.defaultReplicationController,
    ...statusHooks({
      generation: true,
      status: () => ({ replicas: 0 }),
      podSpec: (object) => object.spec?.template?.spec,
    }),
    validate: check.validateReplicationController,
    validateName: controllerName,
    validateUpdate: check.validateReplicationControllerUpdate,
    warnings: workloadWarnings((o) => o.spec?.template, SPEC.child("template"), true),
  },
  Service: {
    defaults: defaults.defaultService,
    statusDefaults: defaults.defaultServiceStatus,
    prepareCreate: prepareServiceCreate,
    prepareUpdate: prepareServiceUpdate,
    validate: validateService,
    validateUpdate: validateServiceUpdate,
    validateName: nameIsDnsLabel,
    warnings: warn.serviceWarnings,
  },
  Endpoints: {
    defaults: defaults.defaultEndpoints,
    validate: check.validateEndpoints,
    validateUpdate: check.validateEndpoints,
  },
  Node: {
    defaults: defaults.defaultNode,
    prepareCreate: prepare.prepareNodeCreate,
    prepareUpdate: prepare.prepareNodeUpdate,
    validate: check.validateNode,
    validateUpdate: check.validateNodeUpdate,
    warnings: warn.nodeWarnings,
  },
  Namespace: {
    defaults: defaults.defaultNamespace,
    prepareCreate: prepare.prepareNamespaceCreate,
    prepareUpdate: prepare.prepareNamespaceUpdate,
    validate: check.validateNamespace,
    validateUpdate: check.validateNamespaceUpdate,
    validateName: nameIsDnsLabel,
  },
  PersistentVolume: {
    defaults: defaults.defaultPersistentVolume,
    prepareCreate: prepare.prepareVolumeCreate,
    prepareUpdate: prepare.prepareVolumeUpdate,
    validate: validateVolume,
    validateUpdate: validateVolumeUpdate,
    warnings: warn.persistentVolumeWarnings,
  },
  PersistentVolumeClaim: {
    defaults: defaults.defaultPersistentVolumeClaim,
    prepareCreate: prepare.prepareClaimCreate,
    prepareUpdate: prepare.prepareClaimUpdate,
    validate: validateClaim,
    validateUpdate: validateClaimUpdate,
    warnings: warn.persistentVolumeClaimWarnings,
  },
  Secret: {
    defaults: defaults.defaultSecret,
    validate: check.validateSecret,
    validateUpdate: check.validateSecretUpdate,
    warnings: secretWarnings,
  },
  ConfigMap: {
    validate: check.validateConfigMap,
    validateUpdate: check.validateConfigMapUpdate,
  },
  ServiceAccount: {
    prepareCreate: prepare.prepareServiceAccount,
    prepareUpdate: prepare.prepareServiceAccount,
    warnings: warn.serviceAccountWarnings,
  },
  ResourceQuota: {
    defaults: defaults.defaultResourceQuota,
    ...statusHooks(),
    validate: validateQuota,
    validateUpdate: validateQuotaUpdate,
  },
  LimitRange: {
    defaults: defaults.defaultLimitRange,
    prepareCreate: prepare.prepareLimitRangeCreate,
    validate: validateLimitRange,
    validateUpdate: validateLimitRange,
  },
  Event: { validate: validateEvent, validateUpdate: validateEvent },
  Binding: { validate: check.validateBinding },
};

/** What Tables say of whole rows, by kind. */
export const rowConditions: Record<string, Kind["rowConditions"]> = { Pod: podRowConditions };
