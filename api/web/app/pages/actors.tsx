/**
 * The cluster's actors at work: as a map on which messages fly, as a table, and as a list of messages. One that is chosen
 * is told of in full, and can be held back where the cluster was started to allow it.
 */
import { useRef } from "preact/hooks";
import type { ActorAct, ActorReport } from "../../../client/plesio.ts";
import { ActorMap, type Landing } from "../actor_map.tsx";
import { type ActorMessage, control, useActors } from "../actors_live.ts";
import { reasonOf } from "../kube.ts";
import type { PageProps } from "../pages.ts";
import {
  announce,
  Badge,
  Card,
  Facts,
  Failure,
  Head,
  Scrolling,
  Tabs,
  Waiting,
} from "../parts/basics.tsx";
import { Filters } from "../parts/filters.tsx";
import { changed, href } from "../router.ts";
import { matching } from "../search.ts";
import { ms, t } from "../words.ts";

const VIEWS = [
  { id: "map", title: "actors.map" },
  { id: "table", title: "actors.table" },
  { id: "messages", title: "actors.messages" },
] as const;

/** Actors of the table that are shown. */
const ROWS_SHOWN_MAX = 300;
/** Messages that are shown of one actor. */
const OWN_MESSAGES = 8;

/** The page: `actors?view=VIEW&actor=ADDRESS`. */
export function ActorsPage({ query }: PageProps) {
  const landing = useRef<Landing | null>(null);
  const state = useActors((messages) => landing.current?.(messages));
  const view = VIEWS.find(({ id }) => id === query.get("view")) ?? VIEWS[0];
  const chosen = state.reports.get(query.get("actor") ?? "");
  return (
    <>
      <Head title={t("actors")} />
      <p class="quiet">{t("actors.what")}</p>
      <Tabs
        label={t("actors.views")}
        tabs={VIEWS}
        current={view.id}
        hrefOf={(id) => changed({ view: id })}
      />
      {state.failure && <Failure text={state.failure} />}
      {!state.loaded && !state.failure && <Waiting />}
      {chosen && (
        <OneActor
          report={chosen}
          messages={state.messages.filter(({ to }) => to === chosen.address)}
          mayControl={state.control}
        />
      )}
      {state.loaded && view.id === "map" && (
        <ActorMap reports={state.reports} chosen={chosen?.address} landing={landing} />
      )}
      {state.loaded && view.id === "table" && (
        <ActorTable reports={state.reports} search={query.get("search") ?? ""} />
      )}
      {state.loaded && view.id === "messages" && <Messages messages={state.messages} />}
    </>
  );
}

function OneActor(
  { report, messages, mayControl }: {
    report: ActorReport;
    messages: readonly ActorMessage[];
    mayControl: boolean;
  },
) {
  const { address, paused } = report;
  const act = (what: ActorAct) => () =>
    void control(address, what).catch((error) => announce(reasonOf(error), true));
  const actions = (
    <div class="actions">
      {mayControl && !paused && (
        <button type="button" onClick={act("pause")}>{t("actors.pause")}</button>
      )}
      {mayControl && paused && (
        <>
          <button type="button" onClick={act("step")} disabled={report.waiting === 0}>
            {t("actors.step")}
          </button>
          <button type="button" onClick={act("resume")}>{t("actors.resume")}</button>
        </>
      )}
      <a class="button" href={changed({ actor: undefined })}>{t("close")}</a>
    </div>
  );
  return (
    <Card title={address} class="one-actor" actions={actions}>
      <div class="cards">
        <Facts
          facts={[
            [t("actors.state"), <StateBadge key="s" report={report} />],
            [t("actors.mailbox"), t("actors.mailbox.depths", depths(report))],
            [t("actors.lag"), ms(report.lagMs)],
            [t("actors.handled"), report.handled],
            [t("actors.failed"), report.failed],
            [t("actors.restarts"), report.restarts],
            [t("actors.lastKey"), report.lastKey && <code key="k">{report.lastKey}</code>],
            [t("actors.lastError"), report.lastError],
          ]}
        />
        {messages.length > 0 && (
          <Scrolling label={t("actors.messages")} class="scroller">
            <MessageTable messages={messages.slice(0, OWN_MESSAGES)} own />
          </Scrolling>
        )}
      </div>
      {!mayControl && <p class="quiet">{t("actors.noControl")}</p>}
    </Card>
  );
}

function depths({ waiting, running, delayed }: ActorReport) {
  return { waiting, running, delayed };
}

function StateBadge({ report: { state, paused } }: { report: ActorReport }) {
  return paused
    ? <span class="badge busy">{t("actors.paused")}</span>
    : <Badge word={state === "running" ? "Running" : state} />;
}

/** The table, with a search once there is more than one sees. */
function ActorTable(
  { reports, search }: { reports: ReadonlyMap<string, ActorReport>; search: string },
) {
  const found = matching(reports.values(), search, ({ address, state }) => `${address} ${state}`);
  const shown = found.slice(0, ROWS_SHOWN_MAX);
  return (
    <>
      <Filters label={t("actors.search")} search={search} />
      <ActorRows reports={shown} />
      {found.length > shown.length && (
        <p class="quiet">{t("actors.moreRows", { count: found.length - shown.length })}</p>
      )}
    </>
  );
}

function ActorRows({ reports }: { reports: readonly ActorReport[] }) {
  return (
    <Scrolling label={t("actors.table")} class="scroller">
      <table class="plain-table">
        <caption class="only-read">{t("actors")}</caption>
        <thead>
          <tr>
            <th scope="col">{t("actors.address")}</th>
            <th scope="col">{t("actors.state")}</th>
            <th scope="col">{t("actors.waiting")}</th>
            <th scope="col">{t("actors.lag")}</th>
            <th scope="col">{t("actors.handled")}</th>
            <th scope="col">{t("actors.failed")}</th>
            <th scope="col">{t("actors.restarts")}</th>
            <th scope="col">{t("actors.lastKey")}</th>
            <th scope="col">{t("actors.lastError")}</th>
          </tr>
        </thead>
        <tbody>
          {reports.map((report) => (
            <tr key={report.address}>
              <th scope="row">
                <a href={changed({ actor: report.address })}>{report.address}</a>
              </th>
              <td>
                <StateBadge report={report} />
              </td>
              <td class="number">{report.waiting}</td>
              <td class="number">{ms(report.lagMs)}</td>
              <td class="number">{report.handled}</td>
              <td class="number">{report.failed}</td>
              <td class="number">{report.restarts}</td>
              <td>{report.lastKey && <code>{report.lastKey}</code>}</td>
              <td class="short-text" title={report.lastError}>{report.lastError}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scrolling>
  );
}

function Messages({ messages }: { messages: readonly ActorMessage[] }) {
  if (messages.length === 0) return <p class="quiet">{t("actors.noMessages")}</p>;
  return (
    <Scrolling label={t("actors.messages")} class="scroller">
      <MessageTable messages={messages} />
    </Scrolling>
  );
}

function MessageTable({ messages, own }: { messages: readonly ActorMessage[]; own?: boolean }) {
  return (
    <table class="plain-table">
      <caption class="only-read">{t("actors.messages")}</caption>
      <thead>
        <tr>
          {!own && <th scope="col">{t("actors.to")}</th>}
          <th scope="col">{t("actors.key")}</th>
          <th scope="col">{t("actors.because")}</th>
          <th scope="col">{t("actors.waited")}</th>
          <th scope="col">{t("actors.worked")}</th>
          <th scope="col">{t("actors.outcome")}</th>
        </tr>
      </thead>
      <tbody>
        {messages.map((message) => (
          <tr key={message.number}>
            {!own && (
              <td>
                <a href={changed({ actor: message.to })}>{message.to}</a>
              </td>
            )}
            <td>
              <code>{message.key}</code>
            </td>
            <td class="number">
              {message.because && <BecauseLink revision={message.because} />}
            </td>
            <td class="number">{ms(message.waitedMs)}</td>
            <td class="number">{ms(message.workedMs)}</td>
            <td>
              <Outcome message={message} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** To what that revision wrote. */
function BecauseLink({ revision }: { revision: number }) {
  return (
    <a href={href(["diff"], { from: String(revision - 1), to: String(revision) })}>{revision}</a>
  );
}

function Outcome({ message: { outcome, afterMs } }: { message: ActorMessage }) {
  const tone = { done: "good", later: "", failed: "bad", gaveUp: "bad" }[outcome];
  const after = afterMs === undefined ? "" : ` (${ms(afterMs)})`;
  return <span class={`badge ${tone}`}>{t(`actors.outcome.${outcome}`) + after}</span>;
}
