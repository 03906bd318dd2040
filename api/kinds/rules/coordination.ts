/** Rules of the coordination group: what a schema cannot say. None yet. */
import type { Column, Kind, KindHooks } from "../../machinery/types.ts";

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {};
/** Columns by kind. */
export const columns: Record<string, Column[]> = {};
/** Selectable fields by kind. */
export const fields: Record<string, Kind["fields"]> = {};
