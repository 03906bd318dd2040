/** The map of actors: the API server above, groups of actors below it, pods on their nodes, and messages that fly. */
import type { ComponentChildren, RefObject } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { ActorReport } from "../../client/plesio.ts";
import {
  type ActorGroup,
  groupsOf,
  homesOf,
  type MapNode,
  type MapPod,
  namesOf,
  nodesOf,
  placeOf,
  PODS_SHOWN_MAX,
  shortName,
} from "./actor_groups.ts";
import type { ActorMessage } from "./actors_live.ts";
import { kindOf } from "./discovery.ts";
import { Flights, type Point } from "./flights.ts";
import { type LiveState, useLive } from "./live.ts";
import { toneOf } from "./parts/basics.tsx";
import { changed, listHref, objectHref } from "./router.ts";
import { language, t } from "./words.ts";

/** Nodes that are shown. */
const NODES_SHOWN_MAX = 200;
/** Actors of a group that are shown. */
const ACTORS_SHOWN_MAX = 200;
/** The place that messages come from. */
const SERVER = "api";

/** Hears of messages. */
export type Landing = (messages: readonly ActorMessage[]) => void;

/** Where things are on the map, by what they are called. */
type Places = Map<string, HTMLElement>;

/** The map. `landing`: whom to tell of messages. */
export function ActorMap(
  { reports, chosen, landing }: {
    reports: ReadonlyMap<string, ActorReport>;
    chosen: string | undefined;
    landing: RefObject<Landing | null>;
  },
) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const places = useRef<Places>(new Map()).current;
  const homes = useRef<() => ReadonlyMap<string, string>>(() => new Map());
  useEffect(() => {
    const flights = new Flights(canvas.current!);
    landing.current = (messages) => {
      const here = box.current!.getBoundingClientRect();
      const from = middleOf(places.get(SERVER), here);
      for (const { to, key, outcome } of messages) {
        if (flights.full) break;
        const { pod, actor } = placeOf(to, key);
        const place = (pod && placeOfPod(pod, places, homes.current)) || places.get(actor);
        const at = middleOf(place, here);
        if (from && at) flights.fly(from, at, outcome === "failed" || outcome === "gaveUp");
      }
    };
    return () => landing.current = null;
  }, []);
  const put = (name: string) => (element: HTMLElement | null) => {
    if (element) places.set(name, element);
    else places.delete(name);
  };
  const kind = kindOf("", "pods");
  const live = useLive(kind && { resource: kind }, "table");
  // Drawn when pods change, not with each message
  const nodes = useMemo(() => {
    const pods = podsOf(live);
    let known: ReadonlyMap<string, string> | undefined;
    homes.current = () => known ??= homesOf(pods);
    return <NodesWithPods pods={pods} put={put} />;
  }, [live.rows, language.value]);
  return (
    <div class="actor-map" ref={box}>
      <div class="actor-server" ref={put(SERVER)}>{t("actors.server")}</div>
      <div class="actor-groups">
        {groupsOf(reports.values()).map((group) => (
          <Group key={group.id} {...{ group, chosen, put }}>
            {group.id === "nodes" && nodes}
          </Group>
        ))}
      </div>
      <canvas ref={canvas} aria-hidden="true" />
    </div>
  );
}

/** A pod's place: its own, or its node's where pods are not shown one by one. */
function placeOfPod(
  pod: string,
  places: Places,
  homes: () => ReadonlyMap<string, string>,
): HTMLElement | undefined {
  return places.get(`pod ${pod}`) ?? places.get(`home ${homes().get(pod)}`);
}

/** The middle of an element, seen from the map's corner; undefined: it is not there. */
function middleOf(element: HTMLElement | undefined, here: DOMRect): Point | undefined {
  if (!element) return undefined;
  const { left, top, width, height } = element.getBoundingClientRect();
  return { x: left - here.left + width / 2, y: top - here.top + height / 2 };
}

/** Pods of a table of the server. */
function podsOf({ rows, columns }: LiveState): MapPod[] {
  const column = (name: string) => columns.findIndex((one) => one.name === name);
  const [status, node] = [column("Status"), column("Node")];
  return [...rows.values()].map(({ object: { metadata: { namespace, name, uid } }, cells }) => ({
    namespace,
    name,
    uid,
    status: String(cells[status] ?? ""),
    node: String(cells[node] ?? ""),
  }));
}

type Put = (name: string) => (element: HTMLElement | null) => void;

function Group(
  { group, chosen, put, children }: {
    group: ActorGroup;
    chosen: string | undefined;
    put: Put;
    children: ComponentChildren;
  },
) {
  return (
    <section class={`actor-group ${group.id}`} aria-label={t(group.title)}>
      <h2>{t(group.title)}</h2>
      <ul>
        {group.actors.slice(0, ACTORS_SHOWN_MAX).map((report) => (
          <li key={report.address}>
            <ActorChip report={report} chosen={report.address === chosen} put={put} />
          </li>
        ))}
      </ul>
      {group.actors.length > ACTORS_SHOWN_MAX && (
        <p class="quiet">
          <a href={changed({ view: "table" })}>
            {t("actors.more", { count: group.actors.length - ACTORS_SHOWN_MAX })}
          </a>
        </p>
      )}
      {children}
    </section>
  );
}

function NodesWithPods({ pods, put }: { pods: readonly MapPod[]; put: Put }) {
  const nodes = nodesOf(pods);
  const shown = nodes.slice(0, NODES_SHOWN_MAX);
  const kind = kindOf("", "pods")!;
  if (pods.length <= PODS_SHOWN_MAX) {
    return <>{shown.map((node) => <NodePods key={node.name} node={node} put={put} />)}</>;
  }
  return (
    <>
      <p class="quiet">
        {t("actors.grouped")}{" "}
        <a href={listHref(kind)}>{t("actors.allPods", { count: pods.length })}</a>
      </p>
      <ul class="map-nodes">
        {shown.map((node) => (
          <li key={node.name}>
            <NodeChip node={node} put={put} />
          </li>
        ))}
      </ul>
      {nodes.length > shown.length && (
        <p class="quiet">{t("actors.moreNodes", { count: nodes.length - shown.length })}</p>
      )}
    </>
  );
}

/** A node that tells how many pods it has, and how they are. */
function NodeChip({ node: { name, pods, states }, put }: { node: MapNode; put: Put }) {
  const address = name
    ? objectHref({ group: "", plural: "nodes" }, { name }, { tab: "allocated" })
    : listHref({ group: "", plural: "pods" }, { fields: "spec.nodeName=" });
  return (
    <a class="actor map-node" href={address} ref={put(`home ${name}`)}>
      <span class="actor-name">{name || t("actors.noNode")}</span>
      <span class="state-bar" aria-hidden="true">
        {states.map(({ status, count }) => (
          <span key={status} class={toneOf(status)} style={{ flexGrow: count }} />
        ))}
      </span>
      <span class="actor-numbers">
        <span>{t("actors.chip.pods", { count: pods.length })}</span>
        {states.map(({ status, count }) => <span key={status}>{status} {count}</span>)}
      </span>
    </a>
  );
}

function ActorChip(
  { report, chosen, put }: { report: ActorReport; chosen: boolean; put: Put },
) {
  const { address, state, paused, waiting, running, restarts, handled, lastError } = report;
  const tone = paused ? "busy" : state !== "running" || restarts > 0 ? "bad" : "";
  return (
    <a
      class={`actor ${tone} ${running ? "working" : ""}`}
      href={changed({ actor: address })}
      aria-current={chosen ? "true" : undefined}
      title={lastError ?? address}
      ref={put(address)}
    >
      <span class="actor-name">{shortName(address)}</span>
      <span class="actor-numbers">
        {paused && <span>{t("actors.paused")}</span>}
        {waiting > 0 && <span class="badge busy">{t("actors.chip.waiting", { waiting })}</span>}
        {restarts > 0 && <span class="badge bad">{t("actors.chip.restarts", { restarts })}</span>}
        <span>{t("actors.chip.handled", { handled })}</span>
      </span>
    </a>
  );
}

/** A node's pods one by one: one stop for the keyboard, whose arrows go from pod to pod. */
function NodePods({ node: { name, pods }, put }: { node: MapNode; put: Put }) {
  const kind = kindOf("", "pods")!;
  const both = (pod: MapPod) => (element: HTMLElement | null) => {
    for (const name of namesOf(pod)) put(`pod ${name}`)(element);
  };
  return (
    <div>
      <h3>{name || t("actors.noNode")}</h3>
      <ul class="map-pods" onKeyDown={arrows}>
        {pods.map((pod, i) => (
          <li key={pod.uid}>
            <a
              class={`map-pod ${toneOf(pod.status)}`}
              href={objectHref(kind, pod)}
              title={`${pod.namespace}/${pod.name}: ${pod.status}`}
              tabIndex={i === 0 ? 0 : -1}
              ref={both(pod)}
            >
              <span class="only-read">{pod.namespace}/{pod.name}: {pod.status}</span>
            </a>
          </li>
        ))}
      </ul>
    </div>
  );
}

const STEPS: Readonly<Record<string, number>> = {
  ArrowRight: 1,
  ArrowDown: 1,
  ArrowLeft: -1,
  ArrowUp: -1,
};

function arrows(event: KeyboardEvent): void {
  const step = STEPS[event.key];
  if (!step) return;
  const links = [...(event.currentTarget as HTMLElement).querySelectorAll("a")];
  const next = links[links.indexOf(document.activeElement as HTMLAnchorElement) + step];
  event.preventDefault();
  next?.focus();
}
