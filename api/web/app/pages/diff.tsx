/** What changed in the whole cluster between two moments. */
import { useMemo } from "preact/hooks";
import type { Diff, ObjectChange, TimeSpan } from "../../../client/plesio.ts";
import { useAsked } from "../asked.ts";
import { kindOfObject } from "../discovery.ts";
import { askJson } from "../kube.ts";
import type { PageProps } from "../pages.ts";
import { Card, Failure, Field, Head, Waiting } from "../parts/basics.tsx";
import { changed, go, objectHref } from "../router.ts";
import { timeSpan } from "../time_bar.tsx";
import { moment, t } from "../words.ts";

/** Revisions that are looked back where nobody says how far. */
const REVISIONS_BACK = 20;

/** The page: `diff?from=MOMENT&to=MOMENT`. */
export function DiffPage({ query }: PageProps) {
  const span = timeSpan.value;
  // Where it begins stays, while the newest revision moves on
  const begin = useMemo(() => span && beginOf(span), [!span]);
  const to = query.get("to") ?? "";
  const from = query.get("from") ?? begin ?? "";
  const set = (name: string) => (event: Event) =>
    go(changed({ [name]: (event.currentTarget as HTMLInputElement).value.trim() }));
  return (
    <>
      <Head title={t("diff")} />
      <p class="quiet">{t("diff.what")}</p>
      <form class="filters" onSubmit={(event) => event.preventDefault()}>
        <Field name={t("diff.from")} hint={t("diff.hint")}>
          <input value={from} onChange={set("from")} />
        </Field>
        <Field name={t("diff.to")} hint={t("diff.toHint")}>
          <input value={to} onChange={set("to")} />
        </Field>
      </form>
      {from && <Changes key={`${from} ${to}`} from={from} to={to} />}
    </>
  );
}

function beginOf({ oldest, newest }: TimeSpan): string {
  return String(Math.max(oldest.revision, newest.revision - REVISIONS_BACK));
}

function Changes({ from, to }: { from: string; to: string }) {
  const query = new URLSearchParams(to ? { from, to } : { from });
  const { answer: diff, failure } = useAsked(
    (signal) => askJson<Diff>(`/plesio/v1/diff?${query}`, { signal }),
    [],
  );
  if (failure) return <Failure text={failure} />;
  if (!diff) return <Waiting />;
  const { added, changed: altered, removed } = diff;
  const side = ({ revision, time }: Diff["from"]) => `${revision} (${moment(time)})`;
  return (
    <>
      <p role="status">
        {t("diff.sum", {
          from: side(diff.from),
          to: side(diff.to),
          added: added.length,
          changed: altered.length,
          removed: removed.length,
        })}
      </p>
      {diff.truncated && <p class="quiet">{t("diff.truncated")}</p>}
      <div class="cards">
        <Objects title={t("diff.added")} objects={added} at={diff.to.revision} />
        <Objects title={t("diff.removed")} objects={removed} at={diff.from.revision} />
      </div>
      <Objects title={t("diff.changed")} objects={altered} at={diff.to.revision} />
    </>
  );
}

function Objects(
  { title, objects, at }: { title: string; objects: readonly ObjectChange[]; at: number },
) {
  if (objects.length === 0) return null;
  return (
    <Card title={title}>
      <ul class="diff-objects">
        {objects.map((object) => (
          <li key={`${object.kind} ${object.namespace} ${object.name}`}>
            <ObjectLink object={object} at={at} />
            {object.changes && (
              <ul>
                {object.changes.map(({ path, was, value }) => (
                  <li key={path}>
                    <code>{path}</code>: <Value value={was} name="difference.removed" />{" "}
                    <Value value={value} name="difference.added" />
                  </li>
                ))}
              </ul>
            )}
          </li>
        ))}
      </ul>
    </Card>
  );
}

function ObjectLink({ object, at }: { object: ObjectChange; at: number }) {
  const kind = kindOfObject(object);
  const { namespace, name } = object;
  const text = `${object.kind} ${namespace ? `${namespace}/` : ""}${name}`;
  return kind ? <a href={objectHref(kind, object, { at: String(at) })}>{text}</a> : <>{text}</>;
}

function Value(
  { value, name }: { value: unknown; name: "difference.removed" | "difference.added" },
) {
  if (value === undefined) return null;
  const removed = name === "difference.removed";
  return (
    <span class={removed ? "removed" : "added"}>
      <span class="only-read">{t(name)}</span> {removed ? "−" : "+"} {JSON.stringify(value)}
    </span>
  );
}
