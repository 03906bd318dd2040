/** What an object is, in short: its metadata, conditions and events. */
import { aboutEvents, lastSeen, useEvents } from "../events.ts";
import type { PanelProps } from "../panels.ts";
import { Badge, Card, Facts } from "../parts/basics.tsx";
import { timeHere } from "../time_bar.tsx";
import { ago, moment, t } from "../words.ts";

/** The panel. */
export function SummaryPanel({ object }: PanelProps) {
  const { metadata } = object;
  return (
    <div class="cards">
      <Card title={t("metadata")}>
        <Facts
          facts={[
            [t("created"), <span key="c">{moment(metadata.creationTimestamp)}</span>],
            [t("deleting"), metadata.deletionTimestamp && moment(metadata.deletionTimestamp)],
            ["UID", <code key="u">{metadata.uid}</code>],
            [t("revision"), metadata.resourceVersion],
            [t("labels"), pairs(metadata.labels)],
            [t("annotations"), pairs(metadata.annotations)],
            [t("finalizers"), metadata.finalizers?.join(", ")],
          ]}
        />
      </Card>
      {object.status?.conditions?.length > 0 && (
        <Conditions
          conditions={object.status.conditions}
        />
      )}
      <Events object={object} />
    </div>
  );
}

function pairs(pairs: Record<string, string> = {}) {
  const all = Object.entries(pairs);
  return all.length > 0 && (
    <ul class="pairs">
      {all.map(([name, value]) => (
        <li key={name} title={`${name}=${value}`}>
          <code>{name}={value.length > 60 ? `${value.slice(0, 60)}…` : value}</code>
        </li>
      ))}
    </ul>
  );
}

function Conditions({ conditions }: { conditions: readonly any[] }) {
  return (
    <Card title={t("conditions")}>
      <ul class="conditions">
        {conditions.map(({ type, status, reason, message, lastTransitionTime }) => (
          <li key={type}>
            <strong>{type}</strong> <Badge word={status} /> {reason}{" "}
            <span class="quiet">{ago(lastTransitionTime, timeHere())}</span>
            {message && <p>{message}</p>}
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Events({ object }: { object: any }) {
  const { uid, name, namespace } = object.metadata;
  // Nodes are told of under their names
  const about = object.kind === "Node"
    ? `involvedObject.kind=Node,involvedObject.name=${name}`
    : `involvedObject.uid=${uid}`;
  const events = useEvents(about, namespace);
  const said = aboutEvents(events.length);
  return (
    <Card title={t("events")}>
      {said && <p class="quiet">{said}</p>}
      <ul class="events">
        {events.map((event) => (
          <li key={event.metadata.name}>
            <Badge word={event.type} /> <strong>{event.reason}</strong>{" "}
            <span class="quiet">
              {ago(lastSeen(event), timeHere())}
              {(event.count ?? event.series?.count ?? 1) > 1 &&
                ` ×${event.count ?? event.series.count}`} ·{" "}
              {event.source?.component || event.reportingComponent}
            </span>
            <p>{event.message}</p>
          </li>
        ))}
      </ul>
    </Card>
  );
}
