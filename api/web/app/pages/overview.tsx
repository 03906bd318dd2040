/** How the cluster is: its health, what it has and what of it is in use. */
import { kindOf } from "../discovery.ts";
import { useLive } from "../live.ts";
import { Badge, Card, Head } from "../parts/basics.tsx";
import { listHref } from "../router.ts";
import { t } from "../words.ts";

const COUNTED = ["/nodes", "/pods", "apps/deployments", "/services", "/namespaces"] as const;

/** The page. */
export function OverviewPage() {
  return (
    <>
      <Head title={t("overview")} />
      <div class="tiles">
        {COUNTED.map((key) => <CountTile key={key} at={key} />)}
      </div>
      <div class="cards">
        <PodPhases />
      </div>
    </>
  );
}

function CountTile({ at }: { at: string }) {
  const [group, plural] = at.split("/");
  const kind = kindOf(group, plural);
  const { rows, loaded } = useLive(kind && { resource: kind }, "metadata");
  if (!kind) return null;
  return (
    <a class="tile" href={listHref(kind)}>
      <strong>{loaded ? rows.size : "…"}</strong>
      <span>{kind.kind}</span>
    </a>
  );
}

function PodPhases() {
  const kind = kindOf("", "pods");
  const { rows, columns } = useLive(kind && { resource: kind }, "table");
  const at = columns.findIndex(({ name }) => name === "Status");
  const counts = new Map<string, number>();
  for (const { cells } of rows.values()) {
    const word = String(cells[at] ?? "");
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return (
    <Card title={t("overview.pods")}>
      <ul class="pairs">
        {[...counts].map(([word, count]) => (
          <li key={word}>
            <Badge word={word} /> {count}
          </li>
        ))}
      </ul>
    </Card>
  );
}
