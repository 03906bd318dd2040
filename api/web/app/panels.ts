/** What an object's page shows: each panel is a file and a row, for the objects that it says. */
import type { ComponentType } from "preact";
import type { KindInfo } from "./discovery.ts";
import { ExplanationPanel } from "./panels/explanation.tsx";
import { FamilyPanel } from "./panels/family.tsx";
import { HistoryPanel } from "./panels/history.tsx";
import { LogsPanel } from "./panels/logs.tsx";
import { MetricsPanel } from "./panels/metrics.tsx";
import { NodePodsPanel } from "./panels/node_pods.tsx";
import { PodsPanel } from "./panels/pods.tsx";
import { ProxyPanel } from "./panels/proxy.tsx";
import { RolloutPanel } from "./panels/rollout.tsx";
import { StoryPanel } from "./panels/story.tsx";
import { SummaryPanel } from "./panels/summary.tsx";
import { TerminalPanel } from "./panels/terminal.tsx";
import { YamlPanel } from "./panels/yaml.tsx";
import { selectorText } from "./selectors.ts";
import type { TextKey } from "./words.ts";

/** What a panel is given: the object as it is now. */
export interface PanelProps {
  kind: KindInfo;
  object: any;
}

/** One row. */
export interface Panel {
  id: string;
  title: TextKey;
  view: ComponentType<PanelProps>;
  /** Also of an object as it was (default: only as it is now). */
  past?: boolean;
  /** Which objects have it (default all). */
  when?: (object: any, kind: KindInfo) => boolean;
}

type When = NonNullable<Panel["when"]>;
const isKind = (...kinds: string[]): When => (_, { kind }) => kinds.includes(kind);
const pod = isKind("Pod");
const workload = isKind("Deployment", "StatefulSet", "DaemonSet");
const node = isKind("Node");
/** Pods and what selects them. */
const logging: When = (object, kind) =>
  pod(object, kind) || (kind.kind !== "Service" && selecting(object, kind));
const selecting: When = (object, { namespaced }) =>
  namespaced && selectorText(object) !== undefined;

/** In this order; the first is shown first. */
export const PANELS: readonly Panel[] = [
  { id: "summary", title: "panel.summary", view: SummaryPanel, past: true },
  { id: "rollout", title: "panel.rollout", view: RolloutPanel, when: workload },
  { id: "allocated", title: "pods", view: NodePodsPanel, past: true, when: node },
  { id: "pods", title: "pods", view: PodsPanel, past: true, when: selecting },
  { id: "explanation", title: "panel.explanation", view: ExplanationPanel, when: pod },
  { id: "logs", title: "panel.logs", view: LogsPanel, when: logging },
  { id: "terminal", title: "panel.terminal", view: TerminalPanel, when: pod },
  { id: "proxy", title: "panel.proxy", view: ProxyPanel, when: isKind("Pod", "Service") },
  { id: "metrics", title: "panel.metrics", view: MetricsPanel, when: isKind("Pod", "Node") },
  { id: "family", title: "panel.family", view: FamilyPanel, past: true },
  { id: "yaml", title: "panel.yaml", view: YamlPanel, past: true },
  { id: "story", title: "panel.story", view: StoryPanel, past: true },
  { id: "history", title: "panel.history", view: HistoryPanel, past: true },
];
