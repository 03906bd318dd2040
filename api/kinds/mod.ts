/**
 * The kinds of Kubernetes 1.36 as data: one row a resource, schemas from the facts table, hooks and columns
 * from `rules/`. `createKinds` is what the server serves.
 */
export { createKinds, type KindsOptions } from "./registry.ts";
export { schemaNames, schemas } from "./schemas.ts";
export { kindsOf } from "./rows.ts";
export { validateCreate } from "./rules/meta.ts";
export { SYSTEM_CLASSES, SYSTEM_CRITICAL } from "./rules/scheduling.ts";
/** Types of objects, one namespace a group-version: `core_v1.Pod`. */
export type * from "./generated/types.ts";
