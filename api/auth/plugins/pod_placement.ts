/**
 * Plugins of where pods may go: PodNodeSelector (a namespace's annotation names labels that nodes of its pods must
 * have) and LimitPodHardAntiAffinityTopology. Both are off by default, as upstream.
 */
import { isPod, refusal } from "../admission.ts";
import { goQuote } from "../../machinery/go_format.ts";
import { isLabelValue, isQualifiedName } from "../../machinery/names.ts";
import { ApiError } from "../../machinery/types.ts";
import type { Admission, AdmissionPlugin } from "../contract.ts";

type Labels = Record<string, string>;

const SELECTOR = "scheduler.alpha.kubernetes.io/node-selector";
const HOSTNAME = "kubernetes.io/hostname";
/** The entry of the configuration that is for namespaces without an annotation. */
const DEFAULT = "clusterDefaultNodeSelector";

/** Upstream hands such errors on as they are: without a reason, as faults of the server. */
function plain(message: string): ApiError {
  return new ApiError({ code: 500, message });
}

/** `a=b,c=d` as labels. */
function labelsOf(text: string): Labels {
  const labels: Labels = {};
  if (text === "") return labels;
  for (const part of text.split(",")) {
    const words = part.split("=");
    if (words.length !== 2) throw plain(`invalid selector: [${words.join(" ")}]`);
    const [key, value] = words.map((word) => word.trim());
    const checks = [["<nil>", key, isQualifiedName], [`[${key}]`, value, isLabelValue]] as const;
    for (const [place, given, check] of checks) {
      const problems = check(given);
      if (problems.length === 0) continue;
      throw plain(`${place}: Invalid value: ${goQuote(given)}: ${problems.join("; ")}`);
    }
    labels[key] = value;
  }
  return labels;
}

/** Upstream's PodNodeSelector. The configuration names a default, and for namespaces what pods may have at all. */
export function podNodeSelector(configured: Readonly<Labels> = {}): AdmissionPlugin {
  function wantedBy(a: Admission): Labels {
    const namespace = a.view.get(`/registry/namespaces/${a.namespace}`)?.value as
      | { metadata: { annotations?: Labels } }
      | undefined;
    return labelsOf(namespace?.metadata.annotations?.[SELECTOR] ?? configured[DEFAULT] ?? "");
  }
  function refuseConflict(a: Admission, wanted: Labels): void {
    const own: Labels = a.object!.spec?.nodeSelector ?? {};
    const conflict = Object.keys(own).some((key) =>
      wanted[key] !== undefined && wanted[key] !== own[key]
    );
    if (!conflict) return;
    throw refusal(a, "pod node label selector conflicts with its namespace node label selector");
  }
  function check(a: Admission): void {
    refuseConflict(a, wantedBy(a));
    const allowed = labelsOf(configured[a.namespace] ?? "");
    if (Object.keys(allowed).length === 0) return;
    const own: Labels = a.object!.spec?.nodeSelector ?? {};
    if (Object.entries(own).every(([key, value]) => allowed[key] === value)) return;
    throw refusal(a, "pod node label selector labels conflict with its namespace whitelist");
  }
  return {
    name: "PodNodeSelector",
    handles: (a) => isPod(a) && a.operation === "CREATE",
    mutate(a) {
      const wanted = wantedBy(a);
      refuseConflict(a, wanted);
      if (Object.keys(wanted).length > 0) {
        const spec = a.object!.spec ??= {};
        spec.nodeSelector = { ...wanted, ...spec.nodeSelector };
      }
      check(a);
    },
    validate: check,
  };
}

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
