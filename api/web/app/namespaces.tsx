/** Which namespace is looked at: one choice for all pages. */
import { signal } from "@preact/signals";
import { liked } from "./browser.ts";
import { useLive } from "./live.ts";
import { t } from "./words.ts";

/** No namespace: all of them. */
export const ALL_NAMESPACES = "";

/** The chosen one. */
export const namespace = signal(liked.getItem("namespace") ?? ALL_NAMESPACES);

/** Chooses. */
function chooseNamespace(name: string): void {
  namespace.value = name;
  liked.setItem("namespace", name);
}

/** The choice. */
export function NamespaceChoice() {
  const { rows } = useLive(
    { resource: { group: "", version: "v1", plural: "namespaces" } },
    "metadata",
  );
  const names = new Set([...rows.values()].map(({ object }) => object.metadata.name));
  if (namespace.value) names.add(namespace.value);
  return (
    <select
      aria-label={t("namespace")}
      value={namespace.value}
      onChange={(event) => chooseNamespace(event.currentTarget.value)}
    >
      <option value="">{t("allNamespaces")}</option>
      {[...names].sort().map((name) => <option key={name} value={name}>{name}</option>)}
    </select>
  );
}
