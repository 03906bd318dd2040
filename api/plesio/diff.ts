/**
 * `/plesio/v1/diff?from=&to=`: what changed between two moments (revisions or times; `to`: now), as JSON, or as text with
 * `format=text`. `namespace` and `resource` (`pods`, `deployments.apps`) narrow it. Secrets are told of without their
 * values, as in an export.
 */
import type { Item } from "../../kv/contract.ts";
import type { Diff, ObjectChange } from "../client/plesio.ts";
import { badRequest } from "../machinery/errors.ts";
import { fieldChanges } from "../machinery/field_changes.ts";
import { Redaction } from "../machinery/redact.ts";
import type { DeepReadonly, Kinds, KubeObject } from "../machinery/types.ts";
import { prefixFor } from "../server/deps.ts";
import { jsonReply, type Reply, textReply } from "../server/http.ts";
import { allowMethods, type Asked, parametersOf, wantsText } from "./endpoint.ts";
import { dated, type Moment, momentOf } from "./moment.ts";
import type { PlesioPorts } from "./ports.ts";

/** Objects that are told of at most. */
export const DIFF_OBJECTS_MAX = 10_000;
const PARAMETERS = ["from", "to", "namespace", "resource", "format"];

/** What of it is wanted. */
export interface DiffOptions {
  namespace?: string;
  /** `pods`, `deployments.apps`. */
  resource?: string;
  /** Whether Secrets' values are shown (false). */
  secrets?: boolean;
}

/** Compares two moments. Throws ApiError 400 for a resource that there is not. */
export async function diffOf(
  { database: { objects }, kinds }: Pick<PlesioPorts, "database" | "kinds">,
  { from, to }: { from: Moment; to?: Moment },
  options: DiffOptions = {},
): Promise<Diff> {
  const side = async (moment: Moment) => {
    const revision = await momentOf(objects, moment);
    return { at: await dated(objects, revision), view: await objects.at(revision) };
  };
  const [old, now] = [await side(from), await side(to ?? objects.view().revision)];
  const prefix = prefixOf(kinds, options);
  const show = options.secrets ? (object: DeepReadonly<KubeObject>) => object : redacting();
  const found: Pick<Diff, "added" | "changed" | "removed"> = {
    added: [],
    changed: [],
    removed: [],
  };
  let count = 0;
  for (const { before, after } of now.view.changedFrom!(old.view, prefix)) {
    const namespace = (after ?? before)!.value.metadata.namespace;
    if (options.namespace !== undefined && namespace !== options.namespace) continue;
    if (count++ === DIFF_OBJECTS_MAX) break;
    if (!before) found.added.push(changeOf(after!));
    else if (!after) found.removed.push(changeOf(before));
    else {
      const changes = fieldChanges(show(before.value), show(after.value));
      found.changed.push({ ...changeOf(after), changes });
    }
  }
  const truncated = count > DIFF_OBJECTS_MAX && { truncated: true as const };
  return { from: old.at, to: now.at, ...found, ...truncated };
}

/** Shows objects without what is secret in them alone. */
function redacting() {
  const redaction = new Redaction();
  return (object: DeepReadonly<KubeObject>) => {
    redaction.know(object);
    return redaction.of(object);
  };
}

function changeOf({ value }: Item<KubeObject>): ObjectChange {
  const { namespace, name, resourceVersion } = value.metadata;
  const of = namespace ? { namespace, name } : { name };
  return { apiVersion: value.apiVersion!, kind: value.kind!, ...of, resourceVersion };
}

/** The keys of a resource's objects. */
function prefixOf(kinds: Kinds, { resource, namespace }: DiffOptions): string {
  if (!resource) return "/registry/";
  const [plural, ...group] = resource.split(".");
  const kind = kinds.all().find((one) => one.plural === plural && one.group === group.join("."));
  if (!kind) throw badRequest(`there is no resource ${JSON.stringify(resource)}`);
  if (kind.store === "events") throw badRequest("events have a history of their own, of an hour");
  return prefixFor(kind, namespace ?? "");
}

/** Answers it. */
export async function diff(asked: Asked): Promise<Reply> {
  allowMethods(asked, "GET");
  const query = parametersOf(asked, PARAMETERS);
  const from = query.get("from");
  if (!from) throw badRequest("from is missing: a revision or a time");
  const found = await diffOf(asked.ports, { from, to: query.get("to") ?? undefined }, {
    namespace: query.get("namespace") ?? undefined,
    resource: query.get("resource") ?? undefined,
  });
  return wantsText(asked) ? textReply(200, textOf(found)) : jsonReply(200, found);
}

/** A difference for people. */
export function textOf({ from, to, added, changed, removed, truncated }: Diff): string {
  const named = ({ kind, namespace, name }: ObjectChange) =>
    `${kind} ${namespace ? `${namespace}/` : ""}${name}`;
  const value = (json: unknown) => json === undefined ? "" : JSON.stringify(json);
  const lines = [`${from.revision} (${from.time}) to ${to.revision} (${to.time})`];
  for (const one of added) lines.push(`+ ${named(one)}`);
  for (const one of removed) lines.push(`- ${named(one)}`);
  for (const one of changed) {
    lines.push(`~ ${named(one)}`);
    for (const { op, path, was, value: is } of one.changes ?? []) {
      const sign = { add: "+", remove: "-", replace: "~" }[op];
      const both = [was, is].filter((side) => side !== undefined).map(value).join(" -> ");
      lines.push(`    ${sign} ${path}: ${both}`);
    }
  }
  if (truncated) lines.push(`and more: ${DIFF_OBJECTS_MAX} objects are told of at most`);
  return `${lines.join("\n")}\n`;
}
