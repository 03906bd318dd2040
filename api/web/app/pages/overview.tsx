/** How the cluster is: its health, what it has, what of it is in use, and what it is doing. */
import { useMemo, useState } from "preact/hooks";
import { amount, bytesText, requestOf, RESOURCES } from "../amounts.ts";
import { kindOf, kindOfObject } from "../discovery.ts";
import { aboutEvents, lastSeen, useEvents } from "../events.ts";
import { askJson, askText, reasonOf } from "../kube.ts";
import { type LiveState, useLive } from "../live.ts";
import { type Figure, useServerMetrics } from "../server_metrics.ts";
import { usageOf, useHistory, useMetrics, usePolling } from "../metrics.ts";
import { Badge, Card, Facts, Failure, Head } from "../parts/basics.tsx";
import { Plot } from "../parts/plot.tsx";
import { listHref, objectHref } from "../router.ts";
import { timeHere } from "../time_bar.tsx";
import { ago, t, type TextKey } from "../words.ts";

const COUNTED = ["/nodes", "/pods", "apps/deployments", "/services", "/namespaces"] as const;
/** Warnings that are shown. */
const WARNINGS_MAX = 8;

type Rows = LiveState["rows"];

/** The page. */
export function OverviewPage() {
  const kind = kindOf("", "nodes");
  const { rows: nodes } = useLive(kind && { resource: kind });
  return (
    <>
      <Head title={t("overview")} />
      <div class="tiles">
        {COUNTED.map((key) => <CountTile key={key} at={key} />)}
      </div>
      <div class="cards">
        <Health nodes={nodes} />
        <PodPhases />
        <Capacity nodes={nodes} />
        <ServerPlots />
        <Warnings />
      </div>
    </>
  );
}

function CountTile({ at }: { at: string }) {
  const [group, plural] = at.split("/");
  const kind = kindOf(group, plural);
  const { rows, loaded } = useLive(kind && { resource: kind }, "metadata");
  if (!kind) return null;
  return (
    <a class="tile" href={listHref(kind)}>
      <strong>{loaded ? rows.size : "…"}</strong>
      <span>{kind.kind}</span>
    </a>
  );
}

function Health({ nodes }: { nodes: Rows }) {
  const [checks, setChecks] = useState<readonly { name: string; good: boolean }[]>([]);
  const [version, setVersion] = useState<string>();
  usePolling("health", () => {
    // A check that fails makes the whole answer a failure, whose text names it
    askText("/readyz?verbose").catch(reasonOf).then((text) => setChecks(checksIn(text)));
  });
  usePolling("version", () => {
    askJson("/version").then(({ gitVersion }) => setVersion(gitVersion), () => undefined);
  }, 60_000);
  const bad = checks.filter(({ good }) => !good);
  const ready = [...nodes.values()].filter(({ object }) =>
    object.status?.conditions?.some(({ type, status }: any) =>
      type === "Ready" && status === "True"
    )
  );
  return (
    <Card title={t("overview.health")}>
      <Facts
        facts={[
          [
            t("overview.server"),
            checks.length > 0 && (
              <span class={`badge ${bad.length ? "bad" : "good"}`}>
                {bad.length
                  ? bad.map(({ name }) => name).join(", ")
                  : t("overview.checks", { count: checks.length })}
              </span>
            ),
          ],
          [
            t("overview.nodesReady"),
            <span key="n" class={`badge ${ready.length === nodes.size ? "good" : "bad"}`}>
              {ready.length} / {nodes.size}
            </span>,
          ],
          [t("overview.version"), version],
        ]}
      />
    </Card>
  );
}

function checksIn(text: string): { name: string; good: boolean }[] {
  return [...text.matchAll(/^\[([+-])\](\S+)/gm)].map(([, sign, name]) => ({
    name,
    good: sign === "+",
  }));
}

function PodPhases() {
  const kind = kindOf("", "pods");
  const { rows, columns } = useLive(kind && { resource: kind }, "table");
  const at = columns.findIndex(({ name }) => name === "Status");
  const counts = new Map<string, number>();
  for (const { cells } of rows.values()) {
    const word = String(cells[at] ?? "");
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return (
    <Card title={t("overview.pods")}>
      <ul class="pairs">
        {[...counts].map(([word, count]) => (
          <li key={word}>
            <a href={kind && listHref(kind, { search: word })}>
              <Badge word={word} /> {count}
            </a>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Capacity({ nodes }: { nodes: Rows }) {
  const kind = kindOf("", "pods");
  const { rows: pods } = useLive(
    kind && {
      resource: kind,
      fieldSelector: "status.phase!=Succeeded,status.phase!=Failed",
    },
  );
  const usage = useMetrics("nodes");
  return (
    <>
      {RESOURCES.map((resource) => (
        <CapacityCard key={resource.name} {...{ resource, nodes, pods, usage }} />
      ))}
    </>
  );
}

function sumOf(rows: Rows, count: (object: any) => number): number {
  return [...rows.values()].reduce((sum, { object }) => sum + count(object), 0);
}

function CapacityCard(
  { resource: { name, text }, nodes, pods, usage }: {
    resource: typeof RESOURCES[number];
    nodes: Rows;
    pods: Rows;
    usage: ReadonlyMap<string, any>;
  },
) {
  const all = useMemo(() => sumOf(nodes, (node) => amount(node.status?.allocatable?.[name])), [
    nodes,
  ]);
  const asked = useMemo(
    () => sumOf(pods, (pod) => pod.spec.nodeName ? requestOf(pod, name) : 0),
    [pods],
  );
  const used = usage.size
    ? [...usage.values()].reduce((total, item) => total + (usageOf(item, name) ?? 0), 0)
    : undefined;
  const usedPoints = useHistory(used, `used ${name}`);
  const askedPoints = useHistory(all ? asked : undefined, `asked ${name}`);
  return (
    <Card title={t("overview.capacity", { resource: name })}>
      <Facts
        facts={[
          [t("overview.allocatable"), text(all)],
          [t("overview.requested"), `${text(asked)} (${all ? Math.round(asked / all * 100) : 0}%)`],
        ]}
      />
      <Plot
        title={t("metrics.usage")}
        text={text}
        lines={[
          { name: t("overview.used"), points: usedPoints },
          { name: t("overview.requested"), points: askedPoints },
        ]}
      />
    </Card>
  );
}

const PLOTS: readonly {
  title: TextKey;
  lines: readonly (readonly [Figure, TextKey])[];
  text: (value: number) => string;
}[] = [
  {
    title: "overview.traffic",
    lines: [
      ["requests", "overview.requests"],
      ["commits", "overview.commits"],
      ["failures", "overview.failures"],
    ],
    text: (value) => `${value >= 10 ? Math.round(value) : value.toFixed(1)}/s`,
  },
  {
    title: "overview.latency",
    lines: [["latency", "overview.p99"]],
    text: (value) => `${(value * 1000).toFixed(value < 0.01 ? 1 : 0)} ms`,
  },
  {
    title: "overview.work",
    lines: [["watchers", "overview.watchers"], ["depth", "overview.depth"]],
    text: (value) => String(Math.round(value)),
  },
  { title: "overview.memory", lines: [["memory", "overview.memory"]], text: bytesText },
];

function ServerPlots() {
  const { points, failure } = useServerMetrics();
  return (
    <Card title={t("overview.serverPlots")} class="whole">
      {failure && <Failure text={failure} />}
      <div class="plots">
        {PLOTS.map(({ title, lines, text }) => (
          <Plot
            key={title}
            title={t(title)}
            text={text}
            lines={lines.map(([figure, name]) => ({ name: t(name), points: points[figure] ?? [] }))}
          />
        ))}
      </div>
    </Card>
  );
}

function Warnings() {
  const events = useEvents("type=Warning").slice(0, WARNINGS_MAX);
  const said = aboutEvents(events.length);
  return (
    <Card title={t("overview.warnings")} class="whole">
      {said && <p class="quiet">{said}</p>}
      <ul class="events">
        {events.map((event) => {
          const about = event.involvedObject;
          const of = kindOfObject(about);
          return (
            <li key={event.metadata.uid}>
              <Badge word={event.reason} />{" "}
              {of ? <a href={objectHref(of, about)}>{about.kind} {about.name}</a> : about.name}{" "}
              <span class="quiet">{ago(lastSeen(event), timeHere())}</span>
              <p>{event.message}</p>
            </li>
          );
        })}
      </ul>
    </Card>
  );
}
