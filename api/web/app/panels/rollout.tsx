/** A workload's rollout as it happens, its revisions, and the way back to one. */
import { now } from "../browser.ts";
import { type KindInfo, kindOf } from "../discovery.ts";
import { client, FIELD_MANAGER, reasonOf } from "../kube.ts";
import { useLive } from "../live.ts";
import type { PanelProps } from "../panels.ts";
import { Bar } from "../parts/bar.tsx";
import { announce, Badge, Card, Scrolling } from "../parts/basics.tsx";
import { KindTable } from "../pages/list.tsx";
import { usePodTable } from "../pods.ts";
import { type Progress, progressOf, type Revision, revisionsOf, undoPatch } from "../rollout.ts";
import { selectorText } from "../selectors.ts";
import { objectHref } from "../router.ts";
import { ago, t } from "../words.ts";

/** The panel. */
export function RolloutPanel(props: PanelProps) {
  const { kind, object } = props;
  const source = kindOf("apps", kind.kind === "Deployment" ? "replicasets" : "controllerrevisions");
  const { namespace } = object.metadata;
  const { rows } = useLive(
    source && { resource: source, namespace, labelSelector: selectorText(object) },
  );
  const revisions = revisionsOf(object, [...rows.values()].map((row) => row.object));
  const pods = kindOf("", "pods");
  const table = usePodTable(props);
  return (
    <div class="cards">
      <Card title={t("panel.rollout")} class="whole">
        <ProgressBars progress={progressOf(object)} paused={!!object.spec.paused} />
      </Card>
      <Card title={t("rollout.revisions")} class="whole">
        <Revisions {...props} {...{ source, revisions }} />
      </Card>
      {pods && (
        <Card title={t("pods")} class="whole">
          <KindTable kind={pods} state={table} short />
        </Card>
      )}
    </div>
  );
}

const BARS = ["updated", "ready", "available"] as const;

function ProgressBars({ progress, paused }: { progress: Progress; paused: boolean }) {
  const word = t(paused ? "rollout.paused" : progress.done ? "rollout.done" : "rollout.going");
  return (
    <>
      <p role="status">
        <span class={`badge ${progress.done ? "good" : "busy"}`}>{word}</span>
      </p>
      {BARS.map((name) => (
        <Bar
          key={name}
          name={t(`rollout.${name}`)}
          value={progress[name]}
          max={progress.wanted}
          text={`${progress[name]} / ${progress.wanted}`}
        />
      ))}
    </>
  );
}

function Revisions(
  { kind, object, source, revisions }: PanelProps & {
    source: KindInfo | undefined;
    revisions: readonly Revision[];
  },
) {
  const undo = async (revision: Revision) => {
    const { namespace, name } = object.metadata;
    try {
      const target = { resource: kind, namespace, name };
      await client.patch(target, undoPatch(object, revision), { fieldManager: FIELD_MANAGER });
      announce(t("rollout.undone", { revision: revision.revision }));
    } catch (error) {
      announce(reasonOf(error), true);
    }
  };
  return (
    <Scrolling label={t("rollout.revisions")}>
      <table>
        <thead>
          <tr>
            {(["revision.short", "name", "image", "rollout.pods", "age", "rollout.cause"] as const)
              .map((key) => <th key={key} scope="col">{t(key)}</th>)}
            <th scope="col">
              <span class="only-read">{t("rollout.undo")}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {revisions.map((one, i) => (
            <tr key={one.name}>
              <td>{one.revision} {i === 0 && <Badge word={t("rollout.current")} />}</td>
              <td>
                {source
                  ? <a href={objectHref(source, one.source.metadata)}>{one.name}</a>
                  : one.name}
              </td>
              <td>{one.images.join(", ")}</td>
              <td>{one.replicas === undefined ? "" : `${one.ready} / ${one.replicas}`}</td>
              <td>{ago(one.created, now())}</td>
              <td>{one.cause}</td>
              <td>
                {i > 0 && (
                  <button
                    type="button"
                    disabled={!!object.spec.paused}
                    onClick={() => undo(one)}
                  >
                    {t("rollout.undo")}
                  </button>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scrolling>
  );
}
