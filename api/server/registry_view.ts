/** `/debug/registry/…`: what lies in the store, for people who want to see it. */
import type { Database } from "../../kv/mod.ts";
import type { KubeObject } from "../machinery/types.ts";

/** Keys shown at once at most. */
const KEYS_SHOWN_MAX = 1_000;

/** An object under its key, else the keys that begin so. */
export function registryView({ objects, events }: Database<KubeObject>, path: string): unknown {
  const key = path.replace(/^\/debug/, "");
  const view = key.startsWith("/registry/events") ? events.view() : objects.view();
  const item = view.get(key);
  if (item) return { key, revision: item.revision, value: item.value };
  const keys: string[] = [];
  for (const { key: found } of view.scan(key)) {
    if (keys.push(found) === KEYS_SHOWN_MAX) break;
  }
  return { prefix: key, revision: view.revision, count: view.count(key), keys };
}
