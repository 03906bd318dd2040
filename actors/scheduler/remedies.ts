/**
 * What would make a node do for a pod that a default plugin keeps off it: one sentence's object per plugin, such as
 * `cpu 500m more` or `a toleration for dedicated=db:NoSchedule`. Asked only when somebody reads an explanation.
 */
import { quantity } from "../../api/machinery/quantity.ts";
import type { Amounts, Cycle, NodeInfo, Taint } from "./framework.ts";
import { requiredNodes } from "./plugins/node_affinity.ts";
import { tolerates } from "./plugins/node_basics.ts";

type Remedy = (cycle: Cycle, node: NodeInfo) => string | undefined;

/** By plugin. Those that are absent have nothing to say beyond their reason. */
export const REMEDIES: Readonly<Record<string, Remedy | undefined>> = {
  NodeUnschedulable: () => "the node uncordoned",
  TaintToleration: ({ pod }, { taints }) =>
    taints
      .filter((taint) =>
        taint.effect !== "PreferNoSchedule" && !tolerates(pod.pod.spec.tolerations, taint)
      )
      .map((taint) => `a toleration for ${taintText(taint)}`).join(" and "),
  NodeAffinity: nodeAffinityRemedy,
  NodePorts: ({ pod }, node) =>
    pod.hostPorts
      .filter((port) => node.ports.has(`${port.protocol}/${port.port}`))
      .map((port) => `host port ${port.port}/${port.protocol} free`).join(" and "),
  NodeResourcesFit: resourcesRemedy,
  PodTopologySpread: ({ pod }, { labels }) => {
    const keys = keysOf(pod.pod.spec.topologySpreadConstraints ?? []);
    const missing = keys.filter((key) => labels[key] === undefined);
    if (missing.length > 0) return `${missing.map((key) => `label ${key}`).join(" and ")} on it`;
    return `fewer matching pods in ${placeText(keys, labels)}, or a greater maxSkew`;
  },
  InterPodAffinity: ({ pod }, { labels }) => {
    const keys = [...new Set([...pod.affinity, ...pod.antiAffinity].map((t) => t.topologyKey))];
    const missing = keys.filter((key) => labels[key] === undefined);
    if (missing.length > 0) return `${missing.map((key) => `label ${key}`).join(" and ")} on it`;
    if (keys.length === 0) return "no pod there whose anti-affinity names this one";
    return `other pods in ${placeText(keys, labels)}`;
  },
};

function taintText({ key, value, effect }: Readonly<Taint>): string {
  return `${key}${value ? `=${value}` : ""}:${effect}`;
}

function keysOf(constraints: readonly { topologyKey: string; whenUnsatisfiable: string }[]) {
  const hard = constraints.filter((c) => c.whenUnsatisfiable === "DoNotSchedule");
  return [...new Set(hard.map((constraint) => constraint.topologyKey))];
}

function placeText(keys: readonly string[], labels: Readonly<Record<string, string>>): string {
  return keys.map((key) => `${key}=${labels[key]}`).join(", ");
}

function nodeAffinityRemedy({ pod }: Cycle, node: NodeInfo): string | undefined {
  const selector = (pod.pod.spec.nodeSelector ?? {}) as Readonly<Record<string, string>>;
  const missing = Object.entries(selector).filter(([key, value]) => node.labels[key] !== value);
  const labels = missing.map(([key, value]) => `label ${key}=${value}`).join(" and ");
  const patched = { ...node, labels: { ...node.labels, ...Object.fromEntries(missing) } };
  if (requiredNodes(pod)?.(patched) ?? true) return labels && `${labels} on it`;
  return `${labels ? `${labels} and ` : ""}labels as the pod's node affinity requires on it`;
}

function resourcesRemedy({ pod: { request } }: Cycle, node: NodeInfo): string {
  const { allocatable, requested } = node;
  const short: string[] = [];
  const check = (name: string, missing: number, text: string) => {
    if (missing > 0) short.push(`${name} ${text}`);
  };
  check("one pod", node.pods.size + 1 - node.podsMax, "fewer on it");
  const amount = (name: string, of: (amounts: Amounts) => number, write: (n: number) => string) => {
    const want = of(request);
    if (want === 0) return;
    const missing = want - (of(allocatable) - of(requested));
    check(name, missing, `${write(missing)} more`);
  };
  const binary = (n: number) => quantity(n, "BinarySI").toString();
  amount("cpu", (a) => a.cpu, (n) => quantity(n, "DecimalSI", -3).toString());
  amount("memory", (a) => a.memory, binary);
  amount("ephemeral-storage", (a) => a.ephemeral, binary);
  for (const name of request.scalars?.keys() ?? []) {
    amount(name, (a) => a.scalars?.get(name) ?? 0, String);
  }
  return short.join(" and ");
}
