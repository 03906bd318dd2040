/** A node's pods, by what they ask for and what they take of it. */
import { keyOf } from "../../../client/contract.ts";
import { amount, requestOf, RESOURCES } from "../amounts.ts";
import { kindOf } from "../discovery.ts";
import { usageOf, useMetrics } from "../metrics.ts";
import type { PanelProps } from "../panels.ts";
import { Bar } from "../parts/bar.tsx";
import { Card, Scrolling } from "../parts/basics.tsx";
import { usePods } from "../pods.ts";
import { objectHref } from "../router.ts";
import { t } from "../words.ts";

/** The panel. */
export function NodePodsPanel(props: PanelProps) {
  const { allocatable = {} } = props.object.status ?? {};
  const pods = usePods(props).filter(({ status }) =>
    status?.phase !== "Succeeded" && status?.phase !== "Failed"
  );
  return (
    <div class="cards">
      <Card title={t("node.allocated")} class="whole">
        {RESOURCES.map(({ name, text }) => {
          const max = amount(allocatable[name]);
          const value = pods.reduce((sum, pod) => sum + requestOf(pod, name), 0);
          return (
            <Bar key={name} {...{ name, value, max }} text={`${text(value)} / ${text(max)}`} />
          );
        })}
        <Bar
          name={t("pods")}
          value={pods.length}
          max={amount(allocatable.pods)}
          text={`${pods.length} / ${amount(allocatable.pods)}`}
        />
      </Card>
      <Card title={t("pods")} class="whole">
        <PodTable pods={pods} />
      </Card>
    </div>
  );
}

function PodTable({ pods }: { pods: readonly any[] }) {
  const usage = useMetrics("pods");
  const sorted = [...pods].sort((a, b) =>
    requestOf(b, "cpu") - requestOf(a, "cpu") || requestOf(b, "memory") - requestOf(a, "memory")
  );
  return (
    <Scrolling label={t("pods")}>
      <table>
        <thead>
          <tr>
            <th scope="col">{t("namespace")}</th>
            <th scope="col">{t("name")}</th>
            {(["node.request", "node.usage"] as const).map((key) =>
              RESOURCES.map(({ name }) => (
                <th key={key + name} scope="col">{t(key, { resource: name })}</th>
              ))
            )}
          </tr>
        </thead>
        <tbody>
          {sorted.map((pod) => (
            <PodRow
              key={pod.metadata.uid}
              pod={pod}
              used={usage.get(keyOf(pod))}
            />
          ))}
        </tbody>
      </table>
    </Scrolling>
  );
}

function PodRow({ pod, used }: { pod: any; used: any }) {
  const kind = kindOf("", "pods");
  return (
    <tr>
      <td>{pod.metadata.namespace}</td>
      <td>{kind && <a href={objectHref(kind, pod.metadata)}>{pod.metadata.name}</a>}</td>
      {RESOURCES.map(({ name, text }) => <td key={name}>{text(requestOf(pod, name))}</td>)}
      {RESOURCES.map(({ name, text }) => {
        const value = usageOf(used, name);
        return <td key={name}>{value === undefined ? "–" : text(value)}</td>;
      })}
    </tr>
  );
}
