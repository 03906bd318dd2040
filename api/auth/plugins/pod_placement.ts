/**
 * Plugins of where pods may go: PodNodeSelector (a namespace's annotation names labels that nodes of its pods must
 * have) and LimitPodHardAntiAffinityTopology. Both are off by default, as upstream.
 */
import { isPod, refusal } from "../admission.ts";
import { badRequest } from "../../machinery/errors.ts";
import { isLabelValue, isQualifiedName } from "../../machinery/names.ts";
import type { Admission, AdmissionPlugin } from "../contract.ts";

type Labels = Record<string, string>;

const SELECTOR = "scheduler.alpha.kubernetes.io/node-selector";
const HOSTNAME = "kubernetes.io/hostname";

function selectorOf(a: Admission): Labels {
  const namespace = a.view.get(`/registry/namespaces/${a.namespace}`)?.value as
    | { metadata: { annotations?: Labels } }
    | undefined;
  const text = namespace?.metadata.annotations?.[SELECTOR] ?? "";
  const labels: Labels = {};
  if (text === "") return labels;
  for (const part of text.split(",")) {
    const [key, value, ...more] = part.split("=").map((word) => word.trim());
    const bad = value === undefined || more.length > 0 || isQualifiedName(key).length > 0 ||
      isLabelValue(value).length > 0;
    if (bad) throw badRequest(`invalid selector: [${part}]`);
    labels[key] = value;
  }
  return labels;
}

function refuseConflict(a: Admission, wanted: Labels): void {
  const own: Labels = a.object!.spec?.nodeSelector ?? {};
  const conflict = Object.keys(own).some((key) =>
    wanted[key] !== undefined && wanted[key] !== own[key]
  );
  if (!conflict) return;
  throw refusal(a, "pod node label selector conflicts with its namespace node label selector");
}

/** Upstream's PodNodeSelector, without a file that says more. */
export const podNodeSelector: AdmissionPlugin = {
  name: "PodNodeSelector",
  handles: (a) => isPod(a) && a.operation === "CREATE",
  mutate(a) {
    const wanted = selectorOf(a);
    refuseConflict(a, wanted);
    if (Object.keys(wanted).length === 0) return;
    const spec = a.object!.spec ??= {};
    spec.nodeSelector = { ...wanted, ...spec.nodeSelector };
  },
  validate(a) {
    refuseConflict(a, selectorOf(a));
  },
};

/** Upstream's LimitPodHardAntiAffinityTopology: who keeps others away may do so from a node, not from more. */
export const limitPodHardAntiAffinityTopology: AdmissionPlugin = {
  name: "LimitPodHardAntiAffinityTopology",
  handles: (a) => isPod(a) && (a.operation === "CREATE" || a.operation === "UPDATE"),
  validate(a) {
    const { podAntiAffinity } = a.object!.spec?.affinity ?? {};
    for (const term of podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []) {
      const key = term.topologyKey ?? "";
      if (key === HOSTNAME) continue;
      const text = "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey " +
        `${key} but only key ${HOSTNAME} is allowed`;
      throw refusal(a, text);
    }
  },
};
