/** The map of actors: the API server above, groups of actors below it, pods on their nodes, and messages that fly. */
import type { ComponentChildren, RefObject } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { ActorReport } from "../../client/plesio.ts";
import { type ActorGroup, groupsOf, type MapPod, placeOf, shortName } from "./actor_groups.ts";
import type { ActorMessage } from "./actors_live.ts";
import { kindOf } from "./discovery.ts";
import { Flights, type Point } from "./flights.ts";
import { type LiveState, useLive } from "./live.ts";
import { toneOf } from "./parts/basics.tsx";
import { changed, objectHref } from "./router.ts";
import { language, t } from "./words.ts";

/** Pods that a node shows one by one. */
const PODS_SHOWN = 120;
/** Nodes that show their pods. */
const NODES_SHOWN = 40;
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
  useEffect(() => {
    const flights = new Flights(canvas.current!);
    landing.current = (messages) => {
      const here = box.current!.getBoundingClientRect();
      const from = middleOf(places.get(SERVER), here);
      for (const { to, key, outcome } of messages) {
        const { pod, actor } = placeOf(to, key);
        const at = middleOf((pod && places.get(`pod ${pod}`)) || places.get(actor), here);
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
  const nodes = useMemo(() => <NodesWithPods pods={podsOf(live)} put={put} />, [
    live.rows,
    language.value,
  ]);
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
        {group.actors.map((report) => (
          <li key={report.address}>
            <ActorChip report={report} chosen={report.address === chosen} put={put} />
          </li>
        ))}
      </ul>
      {children}
    </section>
  );
}

function NodesWithPods({ pods, put }: { pods: readonly MapPod[]; put: Put }) {
  const byNode = new Map<string, MapPod[]>();
  for (const pod of pods) {
    const there = byNode.get(pod.node);
    if (there) there.push(pod);
    else byNode.set(pod.node, [pod]);
  }
  const nodes = [...byNode].sort(([a], [b]) => a < b ? -1 : 1);
  return (
    <>
      {nodes.slice(0, NODES_SHOWN).map(([node, there]) => (
        <NodePods key={node} node={node} pods={there} put={put} />
      ))}
      {nodes.length > NODES_SHOWN && (
        <p class="quiet">{t("actors.moreNodes", { count: nodes.length - NODES_SHOWN })}</p>
      )}
    </>
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

function NodePods({ node, pods, put }: { node: string; pods: readonly MapPod[]; put: Put }) {
  const kind = kindOf("", "pods")!;
  const shown = pods.slice(0, PODS_SHOWN);
  // A real node's actors know pods by their UIDs, a simulated one's by their names
  const both = (pod: MapPod) => (element: HTMLElement | null) => {
    put(`pod ${pod.uid}`)(element);
    put(`pod ${pod.namespace}/${pod.name}`)(element);
  };
  return (
    <div>
      <h3>{node && node !== "<none>" ? node : t("actors.noNode")}</h3>
      <ul class="map-pods">
        {shown.map((pod) => (
          <li key={pod.uid}>
            <a
              class={`map-pod ${toneOf(pod.status)}`}
              href={objectHref(kind, pod)}
              title={`${pod.namespace}/${pod.name}: ${pod.status}`}
              ref={both(pod)}
            >
              <span class="only-read">{pod.namespace}/{pod.name}: {pod.status}</span>
            </a>
          </li>
        ))}
      </ul>
      {pods.length > shown.length && (
        <p class="quiet">{t("actors.morePods", { count: pods.length - shown.length })}</p>
      )}
    </div>
  );
}
