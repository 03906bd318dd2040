/** What a pod or a node uses, over the time that the page is open. */
import { keyOf } from "../../../client/contract.ts";
import { amount, RESOURCES } from "../amounts.ts";
import type { PanelProps } from "../panels.ts";
import { usageOf, useHistory, useMetrics } from "../metrics.ts";
import { Card } from "../parts/basics.tsx";
import { Plot } from "../parts/plot.tsx";
import { t } from "../words.ts";

/** The panel. */
export function MetricsPanel({ kind, object }: PanelProps) {
  const plural = kind.kind === "Node" ? "nodes" : "pods";
  const item = useMetrics(plural, object.metadata).get(keyOf(object));
  return (
    <div class="cards">
      {RESOURCES.map((resource) => (
        <ResourcePlot key={resource.name} {...{ resource, item, object }} />
      ))}
    </div>
  );
}

function ResourcePlot(
  { resource: { name, text }, item, object }: {
    resource: typeof RESOURCES[number];
    item: any;
    object: any;
  },
) {
  const points = useHistory(usageOf(item, name), object.metadata.uid);
  const top = object.status?.allocatable && amount(object.status.allocatable[name]);
  return (
    <Card title={name}>
      <Plot
        title={t("metrics.usage")}
        lines={[{ name: object.metadata.name, points }]}
        text={text}
        top={top}
      />
      {item?.containers?.length > 1 && (
        <ul class="pairs">
          {item.containers.map((one: any) => (
            <li key={one.name}>{one.name}: {text(amount(one.usage[name]))}</li>
          ))}
        </ul>
      )}
    </Card>
  );
}
