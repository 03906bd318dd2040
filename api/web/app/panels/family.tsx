/** Owners and children of an object. Nothing indexes owners: the namespace's metadata is read once for it. */
import { useAsked } from "../asked.ts";
import { type KindInfo, listable } from "../discovery.ts";
import { type Branch, familyOf, type Relative } from "../family.ts";
import { clientFor } from "../kube.ts";
import type { PanelProps } from "../panels.ts";
import { Card, Waiting } from "../parts/basics.tsx";
import { at, objectHref } from "../router.ts";
import { t } from "../words.ts";

/** Objects of one kind that are looked at. */
const OBJECTS_MAX = 2_000;

/** The panel. */
export function FamilyPanel({ kind, object }: PanelProps) {
  const { namespace, uid } = object.metadata;
  const { answer: relatives, again } = useAsked(async () => {
    const kinds = listable.peek().filter((one) => one.namespaced || !namespace);
    const lists = await Promise.all(kinds.map((one) => metadataOf(one, namespace)));
    return [...lists.flat(), { kind, metadata: object.metadata }];
  }, [uid, at.value]);
  if (!relatives) return <Waiting />;
  return (
    <Card
      title={t("panel.family")}
      actions={<button type="button" onClick={again}>{t("again")}</button>}
    >
      <Branches branches={familyOf(uid, relatives)} here={uid} />
    </Card>
  );
}

async function metadataOf(kind: KindInfo, namespace?: string): Promise<Relative[]> {
  // Events are about objects, but nobody's
  if (kind.plural === "events" || !kind.verbs.includes("list")) return [];
  try {
    const list = await clientFor("metadata", at.peek()).list({ resource: kind, namespace }, {
      limit: OBJECTS_MAX,
    });
    return list.items.map(({ metadata }) => ({ kind, metadata }));
  } catch {
    // What one may not see is not shown
    return [];
  }
}

function Branches({ branches, here }: { branches: readonly Branch[]; here: string }) {
  return (
    <ul class="tree">
      {branches.map(({ relative: { kind, metadata }, children }) => (
        <li key={metadata.uid}>
          <span class="quiet">{kind.kind}</span>{" "}
          <a
            href={objectHref(kind, metadata)}
            aria-current={metadata.uid === here ? "true" : undefined}
          >
            {metadata.name}
          </a>
          {children.length > 0 && <Branches branches={children} here={here} />}
        </li>
      ))}
    </ul>
  );
}
