/**
 * From one kind to another that shares its objects: another version of it, or the same in another group. By way of the
 * stored version, or by the webhook of a custom resource's definition.
 */
import { edit } from "./edit.ts";
import type { DeepReadonly, Kind, KubeObject } from "./types.ts";

/** `group/version`, or `version` of the core group. */
function apiVersionOf({ group, version }: Kind): string {
  return group ? `${group}/${version}` : version;
}

/** A private copy of `object`, which is of `from`, as `to` has it. */
export function convertTo(
  to: Kind,
  from: Kind,
  object: DeepReadonly<KubeObject>,
): KubeObject | Promise<KubeObject> {
  if (from === to) return edit<KubeObject>(object);
  const convert = from.storage?.convert ?? to.storage?.convert;
  if (convert) return convert([object], apiVersionOf(to)).then(([converted]) => converted);
  const copy = edit<KubeObject>(object);
  const stored = from.storage ? from.storage.toStorage(copy) : copy;
  return to.storage ? to.storage.fromStorage(stored) : edit<KubeObject>(stored);
}
