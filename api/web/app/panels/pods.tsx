/** The pods that belong to an object, live. */
import { kindOf } from "../discovery.ts";
import { KindTable } from "../pages/list.tsx";
import type { PanelProps } from "../panels.ts";
import { usePodTable } from "../pods.ts";

/** The panel. */
export function PodsPanel(props: PanelProps) {
  const kind = kindOf("", "pods");
  const state = usePodTable(props);
  return kind ? <KindTable kind={kind} state={state} /> : null;
}
