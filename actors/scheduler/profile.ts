/**
 * The default profile: upstream's default plugins (kube-scheduler v1.36), in its order.
 */
import type { Informer } from "../../api/client/contract.ts";
import { labelSelector } from "../../api/machinery/selectors.ts";
import type { Plugin, PodInfo } from "./framework.ts";
import { interPodAffinity } from "./plugins/inter_pod_affinity.ts";
import { nodeAffinity } from "./plugins/node_affinity.ts";
import {
  imageLocality,
  nodeName,
  nodePorts,
  nodeUnschedulable,
  schedulingGates,
  taintToleration,
} from "./plugins/node_basics.ts";
import {
  nodeResourcesBalancedAllocation,
  nodeResourcesFit,
  type ScoringStrategy,
} from "./plugins/node_resources.ts";
import { podTopologySpread, type Siblings } from "./plugins/pod_topology_spread.ts";
import {
  volumeBinding,
  type VolumePorts,
  volumeRestrictions,
  volumeZone,
} from "./plugins/volumes.ts";

/** The caches that plugins read. */
export interface PluginInformers extends VolumePorts {
  services: Informer;
  replicationControllers: Informer;
  replicaSets: Informer;
  statefulSets: Informer;
  namespaces: Informer;
}

/** The default plugins, in order; the first that refuses a node names the reason. */
export function defaultPlugins(
  informers: PluginInformers,
  options: { scoring?: ScoringStrategy } = {},
): readonly Plugin[] {
  return [
    schedulingGates,
    nodeUnschedulable,
    nodeName,
    taintToleration,
    nodeAffinity,
    nodePorts,
    nodeResourcesFit(options.scoring),
    volumeRestrictions(informers),
    volumeBinding(informers),
    volumeZone(informers),
    podTopologySpread((pod) => siblingsOf(pod, informers)),
    interPodAffinity,
    nodeResourcesBalancedAllocation,
    imageLocality,
  ];
}

/** What a pod without spread constraints is spread among: its services' and its owner's pods. */
function siblingsOf(pod: PodInfo, informers: PluginInformers): Siblings | undefined {
  const wanted: Record<string, string> = {};
  for (const service of informers.services.list(pod.namespace)) {
    const selector = service.spec?.selector as Readonly<Record<string, string>> | undefined;
    if (!selector || Object.keys(selector).length === 0) continue;
    if (Object.entries(selector).every(([key, value]) => pod.labels[key] === value)) {
      Object.assign(wanted, selector);
    }
  }
  const owner = pod.pod.metadata.ownerReferences?.find((reference) => reference.controller);
  const owned = owner && ownerOf(pod.namespace, owner, informers);
  const selector = owned && labelSelector(owned);
  if (Object.keys(wanted).length === 0 && !selector) return undefined;
  const pairs = Object.entries(wanted);
  return {
    id: JSON.stringify([wanted, owned ?? null]),
    matches: (labels) =>
      pairs.every(([key, value]) => labels[key] === value) &&
      (!selector || selector.matches(labels)),
  };
}

function ownerOf(
  namespace: string,
  owner: Readonly<{ kind: string; name: string }>,
  informers: PluginInformers,
) {
  const key = `${namespace}/${owner.name}`;
  switch (owner.kind) {
    case "ReplicaSet":
      return informers.replicaSets.get(key)?.spec?.selector;
    case "StatefulSet":
      return informers.statefulSets.get(key)?.spec?.selector;
    case "ReplicationController": {
      const matchLabels = informers.replicationControllers.get(key)?.spec?.selector;
      return matchLabels && { matchLabels };
    }
    default:
      return undefined;
  }
}
