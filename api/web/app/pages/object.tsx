/** One object: what can be done with it, and panels of what there is to see of it. */
import { type KindInfo, kindOf } from "../discovery.ts";
import { useObject } from "../live.ts";
import type { PageProps } from "../pages.ts";
import { ActionBar } from "../action_bar.tsx";
import { PANELS } from "../panels.ts";
import { Failure, Head, Tabs, Waiting } from "../parts/basics.tsx";
import { at, groupOf, listHref, objectHref } from "../router.ts";
import { t } from "../words.ts";

/** The page: `object/GROUP/PLURAL/NAMESPACE/NAME?tab=PANEL`. */
export function ObjectPage({ rest, query }: PageProps) {
  const [segment = "", plural = "", where = "-", name = ""] = rest;
  const kind = kindOf(groupOf(segment), plural);
  if (!kind) {
    return (
      <Head title={name}>
        <Failure text={t("list.noKind")} />
      </Head>
    );
  }
  const namespace = where === "-" ? undefined : where;
  return <OneObject key={rest.join("/")} {...{ kind, namespace, name, query }} />;
}

function OneObject(
  { kind, namespace, name, query }: {
    kind: KindInfo;
    namespace?: string;
    name: string;
    query: URLSearchParams;
  },
) {
  const { object, loaded, failure } = useObject({ resource: kind, namespace, name });
  const above = (
    <>
      <a href={listHref(kind)}>{kind.kind}</a>
      {namespace && ` / ${namespace}`}
    </>
  );
  if (!object) {
    return (
      <>
        <Head title={name} above={above} />
        {failure
          ? <Failure text={failure} />
          : loaded
          ? <Failure text={t("object.gone")} />
          : <Waiting />}
      </>
    );
  }
  // Lists say the kind of their items once
  const whole = { apiVersion: apiVersionOf(kind), kind: kind.kind, ...object };
  const panels = PANELS.filter(({ when, past }) =>
    (past || at.value === undefined) && (!when || when(whole, kind))
  );
  const panel = panels.find(({ id }) => id === query.get("tab")) ?? panels[0];
  const View = panel.view;
  return (
    <>
      <Head title={name} above={above}>
        {at.value === undefined && <ActionBar kind={kind} object={whole} />}
      </Head>
      <Tabs
        label={t("object.parts")}
        tabs={panels}
        current={panel.id}
        hrefOf={(id) => objectHref(kind, { namespace, name }, { tab: id })}
      />
      <View key={panel.id} kind={kind} object={whole} />
    </>
  );
}

function apiVersionOf({ group, version }: KindInfo): string {
  return group ? `${group}/${version}` : version;
}
