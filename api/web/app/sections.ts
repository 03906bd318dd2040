/** Where kinds stand in the navigation. What is in no section stands under its API group. */
import type { KindInfo } from "./discovery.ts";
import type { TextKey } from "./words.ts";

/** Sections and their kinds, as GROUP/PLURAL, in the order in which people look for them. */
const SECTIONS: readonly { title: TextKey; kinds: readonly string[] }[] = [
  {
    title: "section.workloads",
    kinds: [
      "/pods",
      "apps/deployments",
      "apps/statefulsets",
      "apps/daemonsets",
      "apps/replicasets",
      "batch/jobs",
      "batch/cronjobs",
      "autoscaling/horizontalpodautoscalers",
      "policy/poddisruptionbudgets",
      "/replicationcontrollers",
    ],
  },
  {
    title: "section.network",
    kinds: [
      "/services",
      "networking.k8s.io/ingresses",
      "networking.k8s.io/networkpolicies",
      "discovery.k8s.io/endpointslices",
      "networking.k8s.io/ingressclasses",
    ],
  },
  {
    title: "section.configuration",
    kinds: ["/configmaps", "/secrets", "/resourcequotas", "/limitranges"],
  },
  {
    title: "section.storage",
    kinds: ["/persistentvolumeclaims", "/persistentvolumes", "storage.k8s.io/storageclasses"],
  },
  {
    title: "section.cluster",
    kinds: ["/nodes", "/namespaces", "/events", "apiextensions.k8s.io/customresourcedefinitions"],
  },
  {
    title: "section.access",
    kinds: [
      "/serviceaccounts",
      "rbac.authorization.k8s.io/roles",
      "rbac.authorization.k8s.io/rolebindings",
      "rbac.authorization.k8s.io/clusterroles",
      "rbac.authorization.k8s.io/clusterrolebindings",
    ],
  },
];

/** A section as it is shown. */
export interface Section {
  title: TextKey | undefined;
  /** Instead of a title of the table: an API group. */
  group?: string;
  kinds: readonly KindInfo[];
}

/** All kinds in sections: those of the table first, then custom ones by group, then the rest. */
export function sectionsOf(kinds: readonly KindInfo[]): Section[] {
  const byKey = new Map(kinds.map((kind) => [`${kind.group}/${kind.plural}`, kind]));
  const sections: Section[] = SECTIONS.map(({ title, kinds: keys }) => ({
    title,
    kinds: keys.flatMap((key) => {
      const found = byKey.get(key);
      byKey.delete(key);
      return found ? [found] : [];
    }),
  }));
  // The same objects twice
  byKey.delete("events.k8s.io/events");
  const groups = new Map<string, KindInfo[]>();
  for (const kind of byKey.values()) {
    const known = groups.get(kind.group);
    if (known) known.push(kind);
    else groups.set(kind.group, [kind]);
  }
  const rest = [...groups].sort(([a], [b]) => own(a) - own(b) || (a < b ? -1 : 1));
  for (const [group, found] of rest) sections.push({ title: undefined, group, kinds: found });
  return sections.filter(({ kinds }) => kinds.length > 0);
}

/** Groups of custom kinds come before Kubernetes' own. */
function own(group: string): number {
  return group === "" || !group.includes(".") || group.endsWith(".k8s.io") ? 1 : 0;
}
