/**
 * PodTopologyLabels: a pod learns the zone and region of its node as labels of its own, when it is bound (the
 * Binding's labels go to the pod) or created on a node.
 */
import { isPod } from "../admission.ts";
import type { AdmissionPlugin } from "../contract.ts";

const LABELS = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

/** Upstream's PodTopologyLabels. */
export const podTopologyLabels: AdmissionPlugin = {
  name: "PodTopologyLabels",
  handles: (a) => a.operation === "CREATE" && (isPod(a) || isPod(a, "binding")),
  mutate(a) {
    const object = a.object!;
    const target = a.subresource ? object.target : undefined;
    const node = a.subresource ? target?.kind === "Node" && target.name : object.spec?.nodeName;
    if (!node) return;
    const labels = a.view.get(`/registry/minions/${node}`)?.value.metadata.labels;
    for (const name of LABELS) {
      const value = labels?.[name];
      if (value !== undefined) ((object.metadata ??= {} as never).labels ??= {})[name] = value;
    }
  },
};
