/** `/plesio/v1/time`: how far back the cluster can be seen; with `at`, also which revision and time that moment is. */
import type { TimeSpan } from "../client/plesio.ts";
import { jsonReply, type Reply } from "../server/http.ts";
import { allowMethods, type Asked } from "./endpoint.ts";
import { dated, keptSince, momentOf } from "./moment.ts";

/** Answers it. */
export async function time(asked: Asked): Promise<Reply> {
  allowMethods(asked, "GET");
  const { objects, events } = asked.ports.database;
  const asks = new URLSearchParams(asked.call.query).get("at");
  const [oldest, newest] = [objects.oldest(), objects.view().revision];
  const at = asks === null ? undefined : await dated(objects, await momentOf(objects, asks));
  const since = await keptSince(events);
  const span: TimeSpan = {
    oldest: await dated(objects, oldest),
    newest: await dated(objects, newest),
    at,
    eventsSince: since === undefined ? undefined : new Date(since).toISOString(),
  };
  return jsonReply(200, span);
}
