/** Two texts' difference, as lines that were taken away and added. */
import { differenceOf } from "../difference.ts";
import { t } from "../words.ts";

const SPOKEN = { "-": "difference.removed", "+": "difference.added" } as const;

/** Shows it. */
export function Difference({ before, after }: { before: string; after: string }) {
  const lines = differenceOf(before, after);
  if (lines.every(({ sign }) => sign === "…")) return <p class="quiet">{t("difference.none")}</p>;
  return (
    <pre class="difference" tabIndex={0} aria-label={t("yaml.difference")}>
      {lines.map((line, i) => {
        if (line.sign === "…") {
          return <span key={i} class="gap">{t("difference.gap", { count: line.count })}</span>;
        }
        const said = line.sign === " " ? undefined : t(SPOKEN[line.sign]);
        const name = { " ": "", "-": "removed", "+": "added" }[line.sign];
        return (
          <span key={i} class={name}>
            {said && <span class="only-read">{said}</span>}
            {`${line.sign} ${line.text}`}
          </span>
        );
      })}
    </pre>
  );
}
