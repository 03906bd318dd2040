/** Rules of the apiextensions group: the definitions of custom resources. */
import {
  type Crd,
  defaultDefinition,
  definitionErrors,
  definitionStatusErrors,
  formatWarnings,
  loadCrdEngine,
  noteStoredVersion,
} from "../../machinery/crd/mod.ts";
import type {
  Cause,
  Column,
  DeepReadonly,
  Kind,
  KindHooks,
  KubeObject,
} from "../../machinery/types.ts";
import { validateClient } from "./admission_webhooks.ts";
import { Path, Report } from "./report.ts";

const CLIENT = new Path("spec").child("conversion", "webhookClientConfig");

const definitions: KindHooks = {
  load: loadCrdEngine,
  defaults: defaultDefinition,
  prepareCreate(object) {
    object.status = { conditions: null, acceptedNames: { plural: "", kind: "" } };
    noteStoredVersion(object);
  },
  prepareUpdate(object, old, { subresource }) {
    if (subresource === "status") {
      object.spec = old.spec;
      if (!object.status?.storedVersions?.length) noteStoredVersion(object);
    } else {
      object.status = { ...old.status };
      noteStoredVersion(object);
    }
  },
  validate: (object) => [...definitionErrors(object), ...conversionErrors(object)],
  validateUpdate: (object, old, { subresource }) =>
    subresource === "status"
      ? definitionStatusErrors(object)
      : [...definitionErrors(object, old as unknown as Crd), ...conversionErrors(object)],
  warnings: formatWarnings,
};

/** What is wrong with where a conversion webhook is; that there must be one is the definition's own rule. */
function conversionErrors(object: DeepReadonly<KubeObject>): Cause[] {
  const { strategy, webhook } = object.spec.conversion ?? {};
  const client = strategy === "Webhook" ? webhook?.clientConfig : undefined;
  if (!client || (client.url === undefined) === (client.service === undefined)) return [];
  const r = new Report();
  validateClient(client, CLIENT, r);
  return r.causes;
}

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
