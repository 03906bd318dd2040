/**
 * The table of admission plugins: upstream's order, and which are on by default. The two that begin
 * `RBAC…`/`ClusterRole…` are ours: upstream does their work in its storage layer and in a controller.
 */
import type { AdmissionPlugin } from "../contract.ts";
import type { WebhookUsers } from "../webhook_credentials.ts";
import type { PluginContext } from "../admission.ts";
import { clusterRoleAggregation } from "../aggregation.ts";
import { rbacEscalationBy } from "../rbac_escalation.ts";
import { alwaysAdmit, alwaysDeny } from "./always.ts";
import { alwaysPullImages } from "./always_pull_images.ts";
import {
  certificateApproval,
  certificateSigning,
  certificateSubjectRestriction,
  clusterTrustBundleAttest,
} from "./certificates.ts";
import { type EventLimit, eventRateLimit } from "./event_rate_limit.ts";
import { imagePolicy, type ImagePolicyOptions } from "./image_policy.ts";
import { limitRanger } from "./limit_ranger.ts";
import type { LimitedResource } from "./limited_resources.ts";
import { mutatingPolicy } from "./mutating_policy.ts";
import { namespaceLifecycle } from "./namespace_lifecycle.ts";
import { defaultIngressClass, denyServiceExternalIps } from "./network.ts";
import { namespaceAutoProvision, namespaceExists } from "./namespaces.ts";
import { nodeRestriction } from "./node_restriction.ts";
import { ownerReferences } from "./owner_references.ts";
import { limitPodHardAntiAffinityTopology, podNodeSelector } from "./pod_placement.ts";
import { podResizeValidator } from "./pod_resize.ts";
import { podSecurity, type PodSecurityOptions } from "./pod_security.ts";
import {
  podTolerationRestriction,
  type TolerationRestriction,
} from "./pod_toleration_restriction.ts";
import { podTopologyLabels } from "./pod_topology_labels.ts";
import { priority } from "./priority.ts";
import { resourceQuota } from "./resource_quota.ts";
import { runtimeClass } from "./runtime_class.ts";
import { serviceAccount } from "./service_account.ts";
import {
  defaultStorageClass,
  persistentVolumeClaimResize,
  storageObjectInUseProtection,
} from "./storage.ts";
import {
  defaultTolerationSeconds,
  extendedResourceToleration,
  taintNodesByCondition,
} from "./tolerations.ts";
import { validatingPolicy } from "./validating_policy.ts";
import { mutatingWebhooks, validatingWebhooks } from "./webhooks.ts";

/** Which plugins are on, and what those that are configured do. */
export interface PluginOptions {
  /** Names of plugins to switch on that are off by default. */
  enable?: readonly string[];
  /** Names of plugins to switch off. */
  disable?: readonly string[];
  /** Limits of EventRateLimit. */
  eventLimits?: readonly EventLimit[];
  /** What ImagePolicyWebhook asks. It cannot be switched on without. */
  imagePolicy?: ImagePolicyOptions;
  /** Levels and exemptions of PodSecurity (default: all privileged, none). */
  podSecurity?: PodSecurityOptions;
  /** Node selectors by namespace, and a default, of PodNodeSelector (default: none). */
  nodeSelectors?: Readonly<Record<string, string>>;
  /** What PodTolerationRestriction does where annotations say nothing (default: nothing). */
  tolerations?: TolerationRestriction;
  /** What may be used only where a ResourceQuota covers it (default: nothing). */
  limitedResources?: readonly LimitedResource[];
  /** Who the server is to the webhooks of MutatingAdmissionWebhook (default: nobody). */
  mutatingUsers?: WebhookUsers;
  /** Who it is to those of ValidatingAdmissionWebhook (default: nobody). */
  validatingUsers?: WebhookUsers;
}

/** One row: the name, how to make it, and whether it is off until it is asked for. */
interface Row {
  name: string;
  make: (context: PluginContext, options: PluginOptions) => AdmissionPlugin;
  off?: boolean;
  /** Part of the server, and no plugin to whoever configures it. */
  always?: boolean;
}

const on = (plugin: AdmissionPlugin): Row => ({ name: plugin.name, make: () => plugin });
const off = (plugin: AdmissionPlugin): Row => ({ ...on(plugin), off: true });

/** What upstream's gates guard that are off by default, and is not served: there is nothing to judge. */
const unserved = (name: string): Row => on({ name, handles: () => false });

const ROWS: readonly Row[] = [
  off(alwaysAdmit),
  { name: "NamespaceAutoProvision", make: namespaceAutoProvision, off: true },
  on(namespaceLifecycle),
  off(namespaceExists),
  off(limitPodHardAntiAffinityTopology),
  on(limitRanger),
  { name: "ServiceAccount", make: serviceAccount },
  { name: "NodeRestriction", make: nodeRestriction },
  on(taintNodesByCondition),
  off(alwaysPullImages),
  {
    name: "ImagePolicyWebhook",
    make: (context, options) => imagePolicy(context, options.imagePolicy),
    off: true,
  },
  {
    name: "PodSecurity",
    make: ({ metrics }, options) => podSecurity(options.podSecurity, metrics),
  },
  {
    name: "PodNodeSelector",
    make: (_context, options) => podNodeSelector(options.nodeSelectors),
    off: true,
  },
  on(priority),
  on(defaultTolerationSeconds),
  {
    name: "PodTolerationRestriction",
    make: (_context, options) => podTolerationRestriction(options.tolerations),
    off: true,
  },
  {
    name: "EventRateLimit",
    make: (_context, options) => eventRateLimit(options.eventLimits),
    off: true,
  },
  off(extendedResourceToleration),
  on(defaultStorageClass),
  on(storageObjectInUseProtection),
  unserved("PodGroupProtection"),
  { name: "OwnerReferencesPermissionEnforcement", make: ownerReferences, off: true },
  on(persistentVolumeClaimResize),
  on(runtimeClass),
  { name: "CertificateApproval", make: certificateApproval },
  { name: "CertificateSigning", make: certificateSigning },
  { name: "ClusterTrustBundleAttest", make: clusterTrustBundleAttest },
  on(certificateSubjectRestriction),
  on(defaultIngressClass),
  off(denyServiceExternalIps),
  on(podTopologyLabels),
  unserved("PodGroupWorkloadExists"),
  unserved("JobValidation"),
  on(podResizeValidator),
  { ...on(clusterRoleAggregation), always: true },
  {
    name: "RBACEscalation",
    make: ({ authorizer }) => rbacEscalationBy(authorizer),
    always: true,
  },
  { name: "MutatingAdmissionPolicy", make: mutatingPolicy },
  {
    name: "MutatingAdmissionWebhook",
    make: (context, options) => mutatingWebhooks(context, options.mutatingUsers),
  },
  { name: "ValidatingAdmissionPolicy", make: validatingPolicy },
  {
    name: "ValidatingAdmissionWebhook",
    make: (context, options) => validatingWebhooks(context, options.validatingUsers),
  },
  {
    name: "ResourceQuota",
    make: (context, options) => resourceQuota(context.kinds, options.limitedResources),
  },
  off(alwaysDeny),
];

/** Names of the plugins that can be switched, in order. */
export const PLUGIN_NAMES: readonly string[] = ROWS.filter(({ always }) => !always)
  .map((row) => row.name);

/**
 * The plugins that are on: the default ones, those in `enable`, without those in `disable`. Throws TypeError for a
 * name that no plugin has.
 */
export function createPlugins(
  context: PluginContext,
  options: PluginOptions = {},
): AdmissionPlugin[] {
  const { enable = [], disable = [] } = options;
  for (const name of [...enable, ...disable]) {
    if (!PLUGIN_NAMES.includes(name)) {
      throw new TypeError(`unknown admission plugin ${JSON.stringify(name)}`);
    }
  }
  return ROWS
    .filter((row) => enable.includes(row.name) || (!row.off && !disable.includes(row.name)))
    .map((row) => row.make(context, options));
}
