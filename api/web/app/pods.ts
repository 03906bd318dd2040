/** The pods of an object: itself, those that a workload selects, those on a node. */
import { kindOf } from "./discovery.ts";
import { type LiveQuery, type LiveState, useLive } from "./live.ts";
import type { PanelProps } from "./panels.ts";
import { selectorText } from "./selectors.ts";

/** How an object's pods are found; undefined: it has none. */
function podQuery({ kind, object }: PanelProps): LiveQuery | undefined {
  const resource = kindOf("", "pods");
  if (!resource) return undefined;
  const { namespace, name } = object.metadata;
  if (kind.kind === "Pod") return { resource, namespace, fieldSelector: `metadata.name=${name}` };
  if (kind.kind === "Node") return { resource, fieldSelector: `spec.nodeName=${name}` };
  const labelSelector = selectorText(object);
  return labelSelector ? { resource, namespace, labelSelector } : undefined;
}

/** Follows them. */
export function usePods(props: PanelProps): readonly any[] {
  const { rows } = useLive(podQuery(props));
  return [...rows.values()].map(({ object }) => object);
}

/** The same as a table. */
export function usePodTable(props: PanelProps): LiveState {
  return useLive(podQuery(props), "table");
}
