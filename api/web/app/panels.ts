/** What an object's page shows: each panel is a file and a row, for the objects that it says. */
import type { ComponentType } from "preact";
import type { KindInfo } from "./discovery.ts";
import { SummaryPanel } from "./panels/summary.tsx";
import { YamlPanel } from "./panels/yaml.tsx";
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
  /** Which objects have it (default all). */
  when?: (object: any, kind: KindInfo) => boolean;
}

/** In this order; the first is shown first. */
export const PANELS: readonly Panel[] = [
  { id: "summary", title: "panel.summary", view: SummaryPanel },
  { id: "yaml", title: "panel.yaml", view: YamlPanel },
];
