/**
 * Custom resources: what a CustomResourceDefinition may say, the kinds it makes, and what its objects must
 * be.
 *
 * A definition is checked in upstream's words (`definition.ts`: names, versions, columns; `structural.ts`
 * and `openapi_checks.ts`: its schemas; `../cel`: its rules). `statusOf` accepts its names and establishes
 * it. `customKinds` turns it into rows like those of built-in kinds: decoding, pruning, declared defaults,
 * server-side apply, printing and OpenAPI run on their schemas unchanged; hooks add what only custom
 * resources have: value validations (`values.ts`, `formats.ts`) and rules.
 *
 * Promises:
 * - *linear*: patterns run on RE2; no pattern and no value makes a match run for ever.
 * - *ratchet*: on update, parts that did not change are not validated again, and schemas that were
 *   accepted stay accepted.
 * - *lazy*: nothing here is loaded before the first definition; `loadCrdEngine` says when.
 */
export { CLEANUP_FINALIZER, statusOf, withCondition } from "./conditions.ts";
export {
  type Crd,
  type CrdCondition,
  type CrdNames,
  type CrdVersion,
  defaultDefinition,
  definitionErrors,
  definitionStatusErrors,
  formatWarnings,
  isTrue,
  noteStoredVersion,
  SELECTABLE_FIELDS_MAX,
} from "./definition.ts";
export { loadCrdEngine } from "./engine.ts";
export { type Props, rootSchema } from "./json_schema.ts";
export { type ConvertObjects, customKinds } from "./rows.ts";
export { valueErrors } from "./values.ts";
