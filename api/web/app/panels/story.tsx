/** The story of an object: from the request that began it, through every part of the cluster, with the time of each hop. */
import type { Hop } from "../../../client/plesio.ts";
import type { PanelProps } from "../panels.ts";
import { Failure, Waiting } from "../parts/basics.tsx";
import { hopHref, useStory } from "../story.ts";
import { changesText, verbText } from "../story_text.ts";
import { inOrder, partsOf, type Placed } from "../story_order.ts";
import { moment, ms, partText, t } from "../words.ts";

/** Deeper hops stand no further to the right. */
const DEPTH_SHOWN_MAX = 9;

/** The panel. */
export function StoryPanel(props: PanelProps) {
  const { story, failure } = useStory(props);
  if (failure) return <Failure text={failure} />;
  if (!story) return <Waiting />;
  const { hops, began, since, untold } = story;
  const lastMs = hops.reduce((latest, { sinceMs }) => Math.max(latest, sinceMs), 1);
  return (
    <div>
      <p>{t("story.began", { time: moment(began), count: hops.length, span: ms(lastMs) })}</p>
      <ol class="story-parts" aria-label={t("story.parts")}>
        {partsOf(hops).map(({ part, sinceMs, count }) => (
          <li key={part} class={toneOf(part)}>
            <strong>{partText(part)}</strong>
            <span>+{ms(sinceMs)} · {t("story.hops", { count })}</span>
          </li>
        ))}
      </ol>
      <ol class="story-hops" aria-label={t("panel.story")}>
        {inOrder(hops).map((placed) => (
          <HopRow key={placed.hop.revision} placed={placed} lastMs={lastMs} />
        ))}
      </ol>
      {since && <p class="quiet">{t("story.since", { revision: since })}</p>}
      {untold && <p class="quiet">{t("story.untold", { count: untold })}</p>}
    </div>
  );
}

function HopRow({ placed: { hop, depth }, lastMs }: { placed: Placed; lastMs: number }) {
  const { sinceMs, afterMs = 0, part, node, by, verb, object, revision, because } = hop;
  const what = changesText(hop);
  const place = (of: number) => `${Math.max(0, Math.min(100, of / lastMs * 100))}%`;
  const who = node ? t("part.nodeNamed", { node }) : partText(part);
  return (
    <li class={`hop ${toneOf(part)}`}>
      <span class="hop-time">+{ms(sinceMs)}</span>
      <span class="hop-line" aria-hidden="true">
        <span
          style={{ left: place(sinceMs - afterMs), width: `max(4px, ${place(afterMs)})` }}
        />
      </span>
      <span
        class="hop-text"
        style={{ paddingInlineStart: `${Math.min(depth, DEPTH_SHOWN_MAX) * 12}px` }}
      >
        <span class="badge" title={by}>{who}</span> {verbText(verb)} <HopObject hop={hop} />
        {what && <span>: {what}</span>}{" "}
        <small class="quiet">
          {because === undefined
            ? t("story.revision", { revision })
            : t("story.after", { revision, because, after: ms(afterMs) })}
        </small>
        <span class="only-read">{object.namespace}</span>
      </span>
    </li>
  );
}

/** An object's name, to what it was then. */
function HopObject({ hop }: { hop: Hop }) {
  const { kind, name } = hop.object;
  const address = hopHref(hop);
  return address ? <a href={address}>{kind} {name}</a> : <span>{kind} {name}</span>;
}

/** A part's colour. */
function toneOf(part: string): string {
  if (part.endsWith(" controller")) return "by-controller";
  return { "API server": "by-api", scheduler: "by-scheduler", node: "by-node" }[part] ?? "by-other";
}
