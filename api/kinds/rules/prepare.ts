/**
 * What a write may touch: a status belongs to its subresource, everything else to the object itself. The
 * hooks of most kinds are made of these pieces. Parts of the stored object are shared, not copied: both are
 * read-only from here on.
 */

import type { DeepReadonly, KindContext, KubeObject } from "../../machinery/types.ts";
import { dropDisabledFields } from "./pod_features.ts";
import { semanticEqual } from "./equality.ts";

type Stored = DeepReadonly<KubeObject>;

/** Puts the stored object's field into the new one, or removes it there. */
export function keep(object: KubeObject, old: Stored, field: string): void {
  if (old[field] !== undefined) object[field] = old[field];
  else if (field in object) delete object[field];
}

/** Puts fields of the stored metadata into the new one. */
export function keepMeta(object: KubeObject, old: Stored, fields: readonly string[]): void {
  // deno-lint-ignore no-explicit-any -- names are known at run time only
  const to = object.metadata as any, from = old.metadata as any;
  for (const field of fields) {
    if (from[field] !== undefined) to[field] = from[field];
    else if (field in to) delete to[field];
  }
}

/** What a write to a subresource may not change of the metadata. */
export const META_OF_SUBRESOURCE = [
  "deletionTimestamp",
  "generation",
  "selfLink",
  "labels",
  "annotations",
  "finalizers",
  "ownerReferences",
] as const;

/** Sets the generation of an updated object: one more when any of the fields changed. */
export function raiseGeneration(object: KubeObject, old: Stored, fields: readonly string[]): void {
  const before = old.metadata.generation ?? 0;
  const changed = fields.some((field) => !semanticEqual(object[field], old[field]));
  object.metadata.generation = before + (changed ? 1 : 0);
}

/** What differs between kinds whose status is a subresource. */
export interface StatusHooksOptions {
  /** It counts its changes. */
  generation?: boolean;
  /** The status of a new object (default: empty). */
  status?: () => unknown;
  /** Where its pods' spec is: fields of features that are off are dropped there. */
  // deno-lint-ignore no-explicit-any -- fields of kinds that are known at run time only
  podSpec?: (object: Stored) => any;
}

/** Hooks of a kind whose status is a subresource; `generation` where the kind counts it. */
export function statusHooks(options: StatusHooksOptions = {}): {
  prepareCreate(object: KubeObject, context: KindContext): void;
  prepareUpdate(object: KubeObject, old: Stored, context: KindContext): void;
} {
  const { generation = false, status = () => ({}), podSpec } = options;
  return {
    prepareCreate(object) {
      if (podSpec) dropDisabledFields(podSpec(object), undefined);
      object.status = status();
      if (generation) object.metadata.generation = 1;
    },
    prepareUpdate(object, old, context) {
      if (context.subresource === "status") {
        keep(object, old, "spec");
        return;
      }
      if (podSpec) dropDisabledFields(podSpec(object), podSpec(old));
      keep(object, old, "status");
      if (generation) raiseGeneration(object, old, ["spec"]);
    },
  };
}
