/**
 * `/plesio/v1/export?from=&to=`: an incident in one file, to be looked at and replayed elsewhere: the state at `from`
 * (default: as far back as history goes) and every revision up to `to` (default: now), without what is secret in it
 * (the rule: `machinery/redact.ts`). Whoever may ask for it gets all objects.
 *
 * One JSON document a line:
 *
 * - `{ plesio: "incident", format: 1, clusterId, from, to }`: both `{ revision, time, events }` (the revision of the
 *   events' own history);
 * - `{ store, state: KEY, revision, object }`: one object of the state; `store` is `objects` or `events`;
 * - `{ store, revision, time, put: KEY, object, cause }` or `{ …, delete: KEY, … }` (the object's last state): one
 *   revision, those of each store in order; without `put` and `delete` it was something of the store's own;
 * - `{ end: N }`: how many lines came before. A file without it was cut short.
 */
import type { Changed, Item, Store, View } from "../../kv/contract.ts";
import { badRequest } from "../machinery/errors.ts";
import { Redaction } from "../machinery/redact.ts";
import type { KubeObject } from "../machinery/types.ts";
import type { Reply } from "../server/http.ts";
import { allowMethods, type Asked, parametersOf } from "./endpoint.ts";
import { type Moment, momentOf } from "./moment.ts";
import type { PlesioPorts } from "./ports.ts";

/** Revisions in one file at most. */
export const EXPORT_REVISIONS_MAX = 200_000;
const LINES_PER_PIECE = 200;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

type StoreName = "objects" | "events";

interface Gathered {
  readonly name: StoreName;
  readonly state: readonly Item<KubeObject>[];
  readonly changes: readonly Changed<KubeObject>[];
}

/** The lines of a file, in pieces. Rejects before the first when history does not reach so far. */
export async function exportOf(
  { database: { objects, events } }: Pick<PlesioPorts, "database">,
  { from, to }: { from?: Moment; to?: Moment } = {},
): Promise<AsyncIterable<Uint8Array>> {
  const [begin, end] = [
    await momentOf(objects, from ?? objects.oldest()),
    await momentOf(objects, to ?? objects.view().revision),
  ];
  await events.fresh();
  if (end < begin) throw badRequest(`to (${end}) is before from (${begin})`);
  if (end - begin > EXPORT_REVISIONS_MAX) {
    throw badRequest(`${end - begin} revisions are too many: ${EXPORT_REVISIONS_MAX} at most`);
  }
  const side = async (revision: number) => {
    const time = await objects.timeOf(revision);
    // Events that history no longer tells of begin where it does
    const then = await events.revisionBy(time).catch(() => events.oldest());
    return { revision, time, events: then };
  };
  const [first, last] = [await side(begin), await side(end)];
  const gathered = [
    await gather("objects", objects, await objects.at(begin), end),
    await gather("events", events, await events.at(first.events), last.events),
  ];
  const head = {
    plesio: "incident",
    format: 1,
    clusterId: objects.clusterId,
    from: first,
    to: last,
  };
  return pieces(linesOf(head, gathered));
}

async function gather(
  name: StoreName,
  store: Store<KubeObject>,
  view: View<KubeObject>,
  until: number,
): Promise<Gathered> {
  const changes: Changed<KubeObject>[] = [];
  for await (const change of store.changes(view.revision, until)) changes.push(change);
  return { name, state: [...view.scan("/")], changes };
}

function* linesOf(head: object, gathered: readonly Gathered[]): Generator<string> {
  const redaction = new Redaction();
  for (const { state, changes } of gathered) {
    for (const { value } of state) redaction.know(value);
    for (const { event } of changes) if (event) redaction.know(event.item.value);
  }
  const object = ({ bytes }: Item<KubeObject>) =>
    redaction.of(JSON.parse(decoder.decode(bytes)) as KubeObject);
  let count = 1;
  yield JSON.stringify(head);
  for (const { name: store, state } of gathered) {
    for (const item of state) {
      count++;
      yield JSON.stringify({
        store,
        state: item.key,
        revision: item.revision,
        object: object(item),
      });
    }
  }
  for (const { name: store, changes } of gathered) {
    for (const { revision, time, event, cause } of changes) {
      count++;
      const what = event && { [event.type]: event.key, object: object(event.item) };
      yield JSON.stringify({ store, revision, time, ...what, ...(cause && { cause }) });
    }
  }
  yield JSON.stringify({ end: count });
}

async function* pieces(lines: Iterable<string>): AsyncGenerator<Uint8Array> {
  let waiting: string[] = [];
  for (const line of lines) {
    if (waiting.push(line) < LINES_PER_PIECE) continue;
    yield encoder.encode(`${waiting.join("\n")}\n`);
    waiting = [];
    await undefined;
  }
  yield encoder.encode(`${waiting.join("\n")}\n`);
}

/** Answers it. */
export async function exported(asked: Asked): Promise<Reply> {
  allowMethods(asked, "GET");
  const query = parametersOf(asked, ["from", "to"]);
  const body = await exportOf(asked.ports, {
    from: query.get("from") ?? undefined,
    to: query.get("to") ?? undefined,
  });
  return { status: 200, headers: { "content-type": "application/x-ndjson" }, body };
}
