/** Rules of the apiextensions group: the definitions of custom resources. */
import {
  type Crd,
  defaultDefinition,
  definitionErrors,
  loadCrdEngine,
  noteStoredVersion,
} from "../../machinery/crd/mod.ts";
import type { Column, Kind, KindHooks } from "../../machinery/types.ts";

const definitions: KindHooks = {
  load: loadCrdEngine,
  defaults: defaultDefinition,
  prepareCreate(object) {
    object.status = {};
    noteStoredVersion(object);
  },
  prepareUpdate(object, old, { subresource }) {
    if (subresource === "status") object.spec = old.spec;
    else {
      object.status = { ...old.status };
      noteStoredVersion(object);
    }
  },
  validate: (object) => definitionErrors(object),
  validateUpdate: (object, old, { subresource }) =>
    subresource === "status" ? [] : definitionErrors(object, old as unknown as Crd),
};

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = { CustomResourceDefinition: definitions };

/** Columns by kind. */
export const columns: Record<string, Column[]> = {
  CustomResourceDefinition: [
    { name: "Name", type: "string", format: "name", cell: (object) => object.metadata.name },
    {
      name: "Created At",
      type: "date",
      cell: (object) => object.metadata.creationTimestamp ?? null,
    },
  ],
};

/** Selectable fields by kind. */
export const fields: Record<string, Kind["fields"]> = {};
