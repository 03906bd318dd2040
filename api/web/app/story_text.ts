/** What a hop of a story did, in the language that is spoken: from what the server tells as facts. */
import type { Hop, HopChange } from "../../client/plesio.ts";
import { t } from "./words.ts";

/** Verbs that requests write with. */
const VERBS = ["create", "update", "patch", "apply", "delete", "deletecollection"] as const;

/** What was asked for, `update/status` too. */
export function verbText(verb: string): string {
  const [name, subresource] = verb.split("/");
  const known = VERBS.find((one) => one === name);
  const text = known ? t(`verb.${known}`) : name;
  return subresource ? t("verb.of", { verb: text, subresource }) : text;
}

/** What changed, in a few words; "" for nothing that stories tell. */
export function changesText({ changes = [] }: Hop): string {
  return changes.map(changeText).join(", ");
}

function changeText(change: HopChange): string {
  switch (change.what) {
    case "deleting":
      return t("story.deleting");
    case "condition":
      return change.holds ? change.type : t("story.not", { condition: change.type });
    case "field": {
      const { field, from, to } = change;
      const name = t(`story.field.${field}`);
      return from === undefined ? `${name} ${to}` : `${name} ${from} → ${to}`;
    }
  }
}
