/** Why a pod is where it is, or nowhere: the scheduler's own explanation. */
import { useAsked } from "../asked.ts";
import { askJson, pathOf } from "../kube.ts";
import type { PanelProps } from "../panels.ts";
import { Card, Facts, Failure, Scrolling, Waiting } from "../parts/basics.tsx";
import { queueText, refusalText, remedyText, resultText } from "../explanation_text.ts";
import { moment, t } from "../words.ts";

/** The panel. */
export function ExplanationPanel({ kind, object }: PanelProps) {
  const { namespace, name, resourceVersion } = object.metadata;
  const path = pathOf({ resource: kind, namespace, name, subresource: "explanation" });
  const { answer: said, failure, again } = useAsked(
    (signal) => askJson(path, { signal }),
    [path, resourceVersion],
  );
  if (failure) return <Failure text={failure} />;
  if (!said) return <Waiting />;
  const { lastAttempt, now, wouldFit = [], queue } = said;
  return (
    <div class="cards">
      <Card
        title={t("explain.now")}
        class="whole"
        actions={<button type="button" onClick={again}>{t("again")}</button>}
      >
        {now?.message && <p>{now.message}</p>}
        <Because reasons={now?.reasons ?? []} />
        <Facts
          facts={[
            [t("explain.scheduler"), said.schedulerName],
            [t("explain.queue"), queueText(queue)],
            [t("explain.feasible"), now && `${now.feasible} / ${now.nodes}`],
          ]}
        />
      </Card>
      {wouldFit.length > 0 && (
        <Card title={t("explain.wouldFit")}>
          <ul>
            {wouldFit.map(({ plugin, what, facts, nodes }: any) => (
              <li key={plugin + what}>
                <strong>{remedyText({ what, facts })}</strong> ({plugin},{" "}
                {t("explain.nodes", { count: nodes })})
              </li>
            ))}
          </ul>
        </Card>
      )}
      {lastAttempt && (
        <Card title={t("explain.last")}>
          <Facts
            facts={[
              [t("explain.time"), moment(lastAttempt.time)],
              [t("explain.result"), resultText(lastAttempt.result)],
              [t("explain.attempts"), lastAttempt.attempts],
            ]}
          />
          <p>{lastAttempt.message}</p>
        </Card>
      )}
      {now?.matrix && <Matrix matrix={now.matrix} />}
    </div>
  );
}

/** What the reasons mean: the message has them in the words that people search for. */
function Because({ reasons }: { reasons: readonly any[] }) {
  const known = reasons.filter(({ plugin, nodes }) => nodes > 0 && refusalText(plugin));
  if (known.length === 0) return null;
  return (
    <ul>
      {known.map(({ plugin, reason, nodes }) => (
        <li key={plugin + reason} title={reason}>
          {t("explain.because", {
            nodes: t("explain.nodes", { count: nodes }),
            why: refusalText(plugin),
          })}
        </li>
      ))}
    </ul>
  );
}

function Matrix({ matrix }: { matrix: readonly any[] }) {
  return (
    <Card title={t("explain.matrix")} class="whole">
      <Scrolling label={t("explain.matrix")}>
        <table>
          <thead>
            <tr>
              <th scope="col">{t("node")}</th>
              <th scope="col">{t("explain.refusals")}</th>
              <th scope="col">{t("explain.score")}</th>
            </tr>
          </thead>
          <tbody>
            {matrix.map(({ node, refusals = [], scores = {}, total }) => (
              <tr key={node}>
                <td>{node}</td>
                <td>
                  {refusals.map(({ plugin, reasons = [], remedy, facts }: any) =>
                    `${plugin}: ${reasons.join(", ")}` +
                    (remedy ? ` (${remedyText({ what: remedy, facts })})` : "")
                  ).join("; ")}
                </td>
                <td>
                  {total !== undefined && <strong>{total}</strong>} {Object.entries(scores).map(
                    ([plugin, score]) => `${plugin} ${score}`,
                  ).join(", ")}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scrolling>
    </Card>
  );
}
