/**
 * Who set which field of an object, and what follows when somebody applies a configuration.
 *
 * Every object carries `metadata.managedFields`: per manager, operation (Apply or Update), version and
 * subresource, the set of fields it is responsible for. Creates, updates and patches are tracked by
 * difference (`trackUpdate`): whoever changes a field owns it, alone. Applies (`apply`) state a wish: the
 * fields of the configuration, and no others, are the applier's from then on.
 *
 * Promises:
 * - *conflict*: an apply that would change a value which another manager owns changes nothing and names
 *   every such field; forced, it takes them over. Equal values are owned together.
 * - *prune*: a field that an applier leaves out goes, if it was its own and nobody else has it.
 * - *whole*: atomic lists and maps are owned as one value; sets and keyed lists item by item.
 * - *silence*: an apply that changes neither values nor owners changes no timestamp either.
 * - *bound*: at most ten updaters are kept apart, older ones become `ancient-changes`.
 *
 * Sets of fields are kept in the form in which objects carry them (`field_set.ts`), so that tracking a
 * write costs one walk over the object and shares all sets that did not change with the object before it.
 *
 * Read `field_set.ts`, `shape.ts` (what of a schema matters here), `compare.ts`, `merge.ts`, `managers.ts`,
 * `track.ts`, `apply.ts`. Semantics follow structured-merge-diff and apimachinery's `managedfields`.
 *
 * ```ts
 * import { trackUpdate } from "./mod.ts";
 * import type { SchemaSet } from "../types.ts";
 *
 * const schemas: SchemaSet = {
 *   Thing: { type: "object", properties: { data: { type: "map", items: { type: "string" } } } },
 * };
 * const metadata = { name: "t", uid: "", resourceVersion: "", creationTimestamp: "" };
 * const thing = { apiVersion: "v1", kind: "Thing", metadata, data: { a: "1" } };
 * const entries = trackUpdate(schemas, "Thing", undefined, thing, {
 *   manager: "me",
 *   apiVersion: "v1",
 *   time: "2026-11-21T00:00:00Z",
 * });
 * console.assert(entries![0].manager === "me");
 * ```
 */
export {
  type Applied,
  type Applier,
  apply,
  LAST_APPLIED_ANNOTATION,
  resetFields,
} from "./apply.ts";
export { compareStored, type OtherVersion, trackUpdate, type Writer } from "./track.ts";
export {
  ANCIENT_CHANGES,
  BEFORE_FIRST_APPLY,
  parentEntries,
  readManaged,
  type ReplicasPaths,
  scaleEntries,
  UPDATE_MANAGERS_MAX,
} from "./managers.ts";
export { type FieldSet, hasPath, pathsOf, pathText, setOf, setText } from "./field_set.ts";
export { configurationErrors, mergeObjects } from "./merge.ts";
export { DEDUCED, type Shape, shapeOf, WHOLE } from "./shape.ts";
