/** What was written of an object, by whom, and how any two of those revisions differ. */
import { useState } from "preact/hooks";
import type { Hop } from "../../../client/plesio.ts";
import { useAsked } from "../asked.ts";
import { readable } from "../edit_text.ts";
import { askYaml } from "../kube.ts";
import type { PanelProps } from "../panels.ts";
import { Failure, Scrolling, Waiting } from "../parts/basics.tsx";
import { Difference } from "../parts/difference.tsx";
import { changed } from "../router.ts";
import { useStory } from "../story.ts";
import { changesText, verbText } from "../story_text.ts";
import { ApiError } from "../../../machinery/types.ts";
import { moment, partText, t } from "../words.ts";

/** The panel. */
export function HistoryPanel(props: PanelProps) {
  const { story, failure } = useStory(props);
  const [between, setBetween] = useState<readonly [from: number, to: number]>();
  if (failure) return <Failure text={failure} />;
  if (!story) return <Waiting />;
  const { object: { kind, name, namespace }, missing = [] } = story;
  const own = story.hops.filter(({ object }) =>
    object.kind === kind && object.name === name && object.namespace === namespace
  );
  // The last write is looked at first
  const [from, to] = between ?? [
    (own.at(-2) ?? own.at(-1))?.revision ?? 0,
    own.at(-1)?.revision ?? 0,
  ];
  return (
    <div class="history">
      <Scrolling label={t("panel.history")} class="scroller">
        <table class="plain-table">
          <caption class="only-read">{t("panel.history")}</caption>
          <thead>
            <tr>
              <th scope="col">{t("history.from")}</th>
              <th scope="col">{t("history.to")}</th>
              <th scope="col">{t("history.revision")}</th>
              <th scope="col">{t("history.when")}</th>
              <th scope="col">{t("history.by")}</th>
              <th scope="col">{t("history.what")}</th>
            </tr>
          </thead>
          <tbody>
            {own.toReversed().map((hop) => (
              <Written
                key={hop.revision}
                hop={hop}
                {...{ from, to }}
                choose={(next) => setBetween(next)}
              />
            ))}
          </tbody>
        </table>
      </Scrolling>
      {missing.map((text) => <p key={text} class="quiet">{text}</p>)}
      <Between {...props} from={Math.min(from, to)} to={Math.max(from, to)} />
    </div>
  );
}

function Written(
  { hop, from, to, choose }: {
    hop: Hop;
    from: number;
    to: number;
    choose: (between: readonly [from: number, to: number]) => void;
  },
) {
  const { revision, time, part, by, verb } = hop;
  const what = changesText(hop);
  const radio = (name: "from" | "to", checked: boolean, next: readonly [number, number]) => (
    <td>
      <input
        type="radio"
        name={name}
        aria-label={`${t(`history.${name}`)} ${revision}`}
        checked={checked}
        onChange={() => choose(next)}
      />
    </td>
  );
  return (
    <tr>
      {radio("from", revision === from, [revision, to])}
      {radio("to", revision === to, [from, revision])}
      <th scope="row">
        <a href={changed({ at: String(revision), tab: "yaml" })}>{revision}</a>
      </th>
      <td>{moment(time)}</td>
      <td title={by}>{partText(part)}</td>
      <td>{verbText(verb)}{what && `: ${what}`}</td>
    </tr>
  );
}

function Between({ kind, object, from, to }: PanelProps & { from: number; to: number }) {
  const { namespace, name } = object.metadata;
  const { answer: texts, failure } = useAsked(() => {
    const target = { resource: kind, namespace, name };
    return Promise.all([textAt(target, from), textAt(target, to)]);
  }, [kind, namespace, name, from, to]);
  if (failure) return <Failure text={failure} />;
  if (!texts) return <Waiting />;
  return (
    <section aria-label={t("history.difference", { from, to })}>
      <h2>{t("history.difference", { from, to })}</h2>
      <Difference before={texts[0]} after={texts[1]} />
    </section>
  );
}

/** The YAML of a revision; nothing where the object was not there. */
async function textAt(target: Parameters<typeof askYaml>[0], revision: number): Promise<string> {
  try {
    return readable(await askYaml(target, String(revision)));
  } catch (error) {
    if (error instanceof ApiError && error.code === 404) return "";
    throw error;
  }
}
