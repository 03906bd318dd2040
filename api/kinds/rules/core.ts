/**
 * The core group's rules: what a schema cannot say. One entry per kind in each of three tables: hooks
 * (defaults, what a write may touch, validation), columns, and the fields that selectors may name.
 *
 * Reading order: `pod_defaults.ts`, `pod_prepare.ts`, `pod_validation.ts` and its parts for pods and
 * templates; `core_*.ts` and `service_*.ts` for the rest; `meta.ts` for what all objects share.
 */

import type { KindHooks, KubeObject } from "../../machinery/types.ts";
import { nameIsDns1035Label, nameIsDnsLabel } from "../../machinery/names.ts";
import * as defaults from "./core_defaults.ts";
import * as prepare from "./core_prepare.ts";
import { defaultPod, defaultPodTemplate } from "./pod_defaults.ts";
import { podGracePeriod, preparePodCreate, preparePodUpdate } from "./pod_prepare.ts";
import { podWarnings, validatePod, validatePodUpdate } from "./pod_validation.ts";
import { statusHooks } from "./prepare.ts";
import { prepareServiceCreate, prepareServiceUpdate } from "./service_prepare.ts";

export { columns } from "./core_columns.ts";
export { fields } from "./core_fields.ts";
export { defaultPodSpec, defaultPodTemplate } from "./pod_defaults.ts";
export { validatePodSpec, validatePodTemplate, validateTemplate } from "./pod_spec.ts";

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
  },
  ReplicationController: {
    defaults: defaults.defaultReplicationController,
    ...statusHooks({ generation: true, status: () => ({ replicas: 0 }) }),
  },
  Service: {
    defaults: defaults.defaultService,
    prepareCreate: prepareServiceCreate,
    prepareUpdate: prepareServiceUpdate,
    validateName: nameIsDns1035Label,
  },
  Endpoints: { defaults: defaults.defaultEndpoints },
  Node: { defaults: defaults.defaultNode, prepareUpdate: prepare.prepareNodeUpdate },
  Namespace: {
    defaults: defaults.defaultNamespace,
    prepareCreate: prepare.prepareNamespaceCreate,
    prepareUpdate: prepare.prepareNamespaceUpdate,
    validateName: nameIsDnsLabel,
  },
  PersistentVolume: {
    defaults: defaults.defaultPersistentVolume,
    prepareCreate: prepare.prepareVolumeCreate,
    prepareUpdate: prepare.prepareVolumeUpdate,
  },
  PersistentVolumeClaim: {
    defaults: defaults.defaultPersistentVolumeClaim,
    prepareCreate: prepare.prepareClaimCreate,
    prepareUpdate: prepare.prepareClaimUpdate,
  },
  Secret: { defaults: defaults.defaultSecret },
  ConfigMap: {},
  ServiceAccount: {
    prepareCreate: prepare.prepareServiceAccount,
    prepareUpdate: prepare.prepareServiceAccount,
  },
  ResourceQuota: statusHooks(),
  LimitRange: {
    defaults: defaults.defaultLimitRange,
    prepareCreate: prepare.prepareLimitRangeCreate,
  },
  Event: {},
};
