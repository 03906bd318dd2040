/**
 * A scheduler plugin of one's own, as a module: pods go only on nodes of their own colour, and rather on nodes whose
 * names come late. A configuration switches it on and names this file:
 *
 * ```yaml
 * profiles:
 * - plugins: { multiPoint: { enabled: [{ name: Colour }] } }
 *   pluginConfig: [{ name: Colour, args: { module: ./custom_plugin_example.ts, label: colour } }]
 * ```
 */
import type { PluginFactory } from "./mod.ts";

const colour: PluginFactory = ({ label = "colour" }: { label?: string }) => ({
  name: "Colour",
  wakesOn: ["NodeAdd", "NodeLabels", "OwnLabels"],
  preFilter: ({ pod }) => (pod.labels[label] ? undefined : "skip"),
  filter: ({ pod }, node) =>
    node.labels[label] === pod.labels[label]
      ? undefined
      : { plugin: "Colour", reasons: ["node(s) had another colour"], unresolvable: true },
  remedy: ({ pod }) => `label ${label}=${pod.labels[label]} on it`,
  score: (_cycle, node) => node.name.charCodeAt(0) % 100,
});
export default colour;
