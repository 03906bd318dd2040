/** What kinds the server has, custom ones too: aggregated discovery, asked for again now and then. */
import { computed, signal } from "@preact/signals";
import { askJson } from "./kube.ts";

/** A kind. */
export interface KindInfo {
  group: string;
  version: string;
  plural: string;
  kind: string;
  namespaced: boolean;
  verbs: readonly string[];
  shortNames: readonly string[];
  subresources: readonly string[];
}

const ACCEPT = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/** Every kind, the preferred version of each; undefined: not asked yet. */
export const kinds = signal<readonly KindInfo[] | undefined>(undefined);

/** Asks (again). Rejects with ApiError. */
export async function discover(): Promise<void> {
  const headers = { accept: ACCEPT };
  const [core, groups] = await Promise.all([
    askJson("/api", { headers }),
    askJson("/apis", { headers }),
  ]);
  const found = kindsIn([...core.items, ...groups.items]);
  const text = JSON.stringify(found);
  if (text !== JSON.stringify(kinds.peek())) kinds.value = found;
}

/** The kinds of a discovery's groups: of each the version that stands first. */
function kindsIn(groups: readonly any[]): KindInfo[] {
  const found = new Map<string, KindInfo>();
  for (const { metadata, versions } of groups) {
    const group = metadata?.name ?? "";
    for (const { version, resources = [] } of versions) {
      for (const one of resources) {
        const key = `${group}/${one.resource}`;
        if (found.has(key)) continue;
        found.set(key, {
          group,
          version,
          plural: one.resource,
          kind: one.responseKind?.kind ?? "",
          namespaced: one.scope === "Namespaced",
          verbs: one.verbs ?? [],
          shortNames: one.shortNames ?? [],
          subresources: (one.subresources ?? []).map((sub: any) => sub.subresource),
        });
      }
    }
  }
  return [...found.values()];
}

const byPlural = computed(() =>
  new Map((kinds.value ?? []).map((kind) => [`${kind.group}/${kind.plural}`, kind]))
);
const byKind = computed(() =>
  new Map((kinds.value ?? []).map((kind) => [`${kind.group}/${kind.kind}`, kind]))
);

/** A kind by its plural. */
export function kindOf(group: string, plural: string): KindInfo | undefined {
  return byPlural.value.get(`${group}/${plural}`);
}

/** The kind of an object. */
export function kindOfObject(object: { apiVersion?: string; kind?: string }): KindInfo | undefined {
  const { apiVersion = "", kind = "" } = object;
  const slash = apiVersion.indexOf("/");
  return byKind.value.get(`${slash < 0 ? "" : apiVersion.slice(0, slash)}/${kind}`);
}

/** Kinds that can be listed. */
export const listable = computed(() =>
  (kinds.value ?? []).filter(({ verbs }) => verbs.includes("list") && verbs.includes("watch"))
);
