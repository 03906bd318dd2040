/**
 * Which class is the default one: of those whose annotation says so the newest, and of equally new ones the
 * first by name.
 */
import type { View } from "../../../kv/contract.ts";
import type { DeepReadonly, KubeObject } from "../../machinery/types.ts";

/** The default class under a prefix, if there is one. */
export function newestDefault(
  view: View<KubeObject>,
  prefix: string,
  annotations: readonly string[],
): DeepReadonly<KubeObject> | undefined {
  let found: DeepReadonly<KubeObject> | undefined;
  // Keys come in the order of names, so that only a newer class takes the place.
  for (const { value } of view.scan(prefix)) {
    if (!annotations.some((name) => value.metadata.annotations?.[name] === "true")) continue;
    if (!found || value.metadata.creationTimestamp > found.metadata.creationTimestamp) {
      found = value;
    }
  }
  return found;
}
