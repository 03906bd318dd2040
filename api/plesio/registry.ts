/** `/debug/registry/…`: what lies in the store, for people who want to see it. */
import { jsonReply, type Reply } from "../server/http.ts";
import { allowMethods, type Asked } from "./endpoint.ts";

/** Keys shown at once at most. */
const KEYS_SHOWN_MAX = 1_000;

/** An object under its key, else the keys that begin so. */
export function registry(asked: Asked): Reply {
  allowMethods(asked, "GET");
  const { objects, events } = asked.ports.database;
  const key = `/registry${asked.rest}`;
  const view = key.startsWith("/registry/events") ? events.view() : objects.view();
  const item = view.get(key);
  if (item) return jsonReply(200, { key, revision: item.revision, value: item.value });
  const keys: string[] = [];
  for (const { key: found } of view.scan(key)) {
    if (keys.push(found) === KEYS_SHOWN_MAX) break;
  }
  return jsonReply(200, { prefix: key, revision: view.revision, count: view.count(key), keys });
}
