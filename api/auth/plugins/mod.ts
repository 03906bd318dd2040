/**
 * The table of admission plugins: upstream's order, and which are on by default. The two that begin
 * `RBAC…`/`ClusterRole…` are ours: upstream does their work in its storage layer and in a controller.
 */
import type { AdmissionPlugin } from "../contract.ts";
import type { PluginContext } from "../admission.ts";
import { clusterRoleAggregation } from "../aggregation.ts";
import { rbacEscalation } from "../rbac_escalation.ts";
import { limitRanger } from "./limit_ranger.ts";
import { namespaceLifecycle } from "./namespace_lifecycle.ts";
import { defaultIngressClass, denyServiceExternalIps } from "./network.ts";
import { podSecurity } from "./pod_security.ts";
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

/** One row: the name, how to make it, and whether it is off until it is asked for. */
interface Row {
  name: string;
  make: (context: PluginContext) => AdmissionPlugin;
  off?: boolean;
}

const on = (plugin: AdmissionPlugin): Row => ({ name: plugin.name, make: () => plugin });
const off = (plugin: AdmissionPlugin): Row => ({ ...on(plugin), off: true });

const ROWS: readonly Row[] = [
  on(namespaceLifecycle),
  on(limitRanger),
  { name: "ServiceAccount", make: serviceAccount },
  on(taintNodesByCondition),
  on(podSecurity),
  on(priority),
  on(defaultTolerationSeconds),
  off(extendedResourceToleration),
  on(defaultStorageClass),
  on(storageObjectInUseProtection),
  on(persistentVolumeClaimResize),
  on(runtimeClass),
  on(defaultIngressClass),
  off(denyServiceExternalIps),
  on(clusterRoleAggregation),
  { name: "RBACEscalation", make: (context) => rbacEscalation(context.authorizer) },
  { name: "ResourceQuota", make: (context) => resourceQuota(context.kinds) },
];

/** Names of all plugins, in order. */
export const PLUGIN_NAMES: readonly string[] = ROWS.map((row) => row.name);

/**
 * The plugins that are on: the default ones, those in `enable`, without those in `disable`. Throws TypeError for a
 * name that no plugin has.
 */
export function createPlugins(
  context: PluginContext,
  options: { enable?: readonly string[]; disable?: readonly string[] } = {},
): AdmissionPlugin[] {
  const { enable = [], disable = [] } = options;
  for (const name of [...enable, ...disable]) {
    if (!PLUGIN_NAMES.includes(name)) {
      throw new TypeError(`unknown admission plugin ${JSON.stringify(name)}`);
    }
  }
  return ROWS
    .filter((row) => enable.includes(row.name) || (!row.off && !disable.includes(row.name)))
    .map((row) => row.make(context));
}
