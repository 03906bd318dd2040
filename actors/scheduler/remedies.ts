/**
 * What would make a node do for a pod that a default plugin keeps off it, as facts, and in words: `cpu 500m more`,
 * `a toleration for dedicated=db:NoSchedule`. Asked only when somebody reads an explanation.
 */
import type { RemedyFact } from "../../api/client/plesio.ts";
import { quantity } from "../../api/machinery/quantity.ts";
import type { Amounts, Cycle, NodeInfo, Plugin, Taint } from "./framework.ts";
import { requiredNodes } from "./plugins/node_affinity.ts";
import { tolerates } from "./plugins/node_basics.ts";

/** By plugin. Those that are absent have nothing to say beyond their reason. */
const REMEDIES: Readonly<
  Record<string, ((cycle: Cycle, node: NodeInfo) => RemedyFact[]) | undefined>
> = {
  NodeUnschedulable: () => [{ what: "uncordon" }],
  TaintToleration: ({ pod }, { taints }) =>
    taints
      .filter((taint) =>
        taint.effect !== "PreferNoSchedule" && !tolerates(pod.pod.spec.tolerations, taint)
      )
      .map((taint) => ({ what: "toleration", taint: taintText(taint) })),
  NodeAffinity: nodeAffinityRemedy,
  NodePorts: ({ pod }, node) =>
    pod.hostPorts
      .filter((port) => node.ports.has(`${port.protocol}/${port.port}`))
      .map((port) => ({ what: "hostPort", port: `${port.port}/${port.protocol}` })),
  NodeResourcesFit: resourcesRemedy,
  PodTopologySpread: ({ pod }, { labels }) => {
    const keys = keysOf(pod.pod.spec.topologySpreadConstraints ?? []);
    return missingOf(keys, labels) ?? [{ what: "spread", place: placeText(keys, labels) }];
  },
  InterPodAffinity: ({ pod }, { labels }) => {
    const keys = [...new Set([...pod.affinity, ...pod.antiAffinity].map((t) => t.topologyKey))];
    if (keys.length === 0) return [{ what: "antiAffinity" }];
    return missingOf(keys, labels) ?? [{ what: "pods", place: placeText(keys, labels) }];
  },
};

/** What would make a plugin pass a node that it refuses. A plugin of the user's own has words for it, or none. */
export function remedyOf(
  { name, remedy }: Plugin,
  cycle: Cycle,
  node: NodeInfo,
): { remedy?: string; facts?: readonly RemedyFact[] } {
  const told = remedy?.(cycle, node);
  if (told) return { remedy: told };
  const facts = remedy ? undefined : REMEDIES[name]?.(cycle, node);
  return facts?.length ? { remedy: remedyText(facts), facts } : {};
}

/** Facts in words. */
export function remedyText(facts: readonly RemedyFact[]): string {
  const last = facts[facts.length - 1].what;
  const onIt = last === "label" || last === "affinity" ? " on it" : "";
  return facts.map(factText).join(" and ") + onIt;
}

function factText(fact: RemedyFact): string {
  switch (fact.what) {
    case "uncordon":
      return "the node uncordoned";
    case "affinity":
      return "labels as the pod's node affinity requires";
    case "podFewer":
      return "one pod fewer on it";
    case "antiAffinity":
      return "no pod there whose anti-affinity names this one";
    case "toleration":
      return `a toleration for ${fact.taint}`;
    case "label":
      return `label ${fact.label}`;
    case "hostPort":
      return `host port ${fact.port} free`;
    case "amount":
      return `${fact.resource} ${fact.amount} more`;
    case "spread":
      return `fewer matching pods in ${fact.place}, or a greater maxSkew`;
    case "pods":
      return `other pods in ${fact.place}`;
    case "eviction":
      return `eviction of ${fact.pods}, of lower priority`;
    case "not":
      return `not: ${fact.reason}`;
  }
}

/** The labels that a node lacks; undefined: it has them all. */
function missingOf(
  keys: readonly string[],
  labels: Readonly<Record<string, string>>,
): RemedyFact[] | undefined {
  const missing = keys.filter((key) => labels[key] === undefined);
  return missing.length > 0
    ? missing.map((label) => ({ what: "label" as const, label }))
    : undefined;
}

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

function nodeAffinityRemedy({ pod }: Cycle, node: NodeInfo): RemedyFact[] {
  const selector = (pod.pod.spec.nodeSelector ?? {}) as Readonly<Record<string, string>>;
  const missing = Object.entries(selector).filter(([key, value]) => node.labels[key] !== value);
  const labels: RemedyFact[] = missing.map(([key, value]) => ({
    what: "label",
    label: `${key}=${value}`,
  }));
  const patched = { ...node, labels: { ...node.labels, ...Object.fromEntries(missing) } };
  if (requiredNodes(pod)?.(patched) ?? true) return labels;
  return [...labels, { what: "affinity" }];
}

function resourcesRemedy({ pod: { request } }: Cycle, node: NodeInfo): RemedyFact[] {
  const { allocatable, requested } = node;
  const short: RemedyFact[] = [];
  if (node.pods.size + 1 > node.podsMax) short.push({ what: "podFewer" });
  const amount = (
    resource: string,
    of: (amounts: Amounts) => number,
    write: (n: number) => string,
  ) => {
    const want = of(request);
    if (want === 0) return;
    const missing = want - (of(allocatable) - of(requested));
    if (missing > 0) short.push({ what: "amount", resource, amount: write(missing) });
  };
  const binary = (n: number) => quantity(n, "BinarySI").toString();
  amount("cpu", (a) => a.cpu, (n) => quantity(n, "DecimalSI", -3).toString());
  amount("memory", (a) => a.memory, binary);
  amount("ephemeral-storage", (a) => a.ephemeral, binary);
  for (const name of request.scalars?.keys() ?? []) {
    amount(name, (a) => a.scalars?.get(name) ?? 0, String);
  }
  return short;
}
