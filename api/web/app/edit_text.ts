/** YAML as people edit it: without what the server keeps for itself. */
import { parseYaml, printYaml } from "./yaml.ts";

/** Fields that no apply may carry, or that change with each write. */
const KEPT_BY_SERVER = [
  "managedFields",
  "resourceVersion",
  "uid",
  "creationTimestamp",
  "generation",
  "selfLink",
];

/** The text without them, and without the status. */
export function editable(yaml: string): string {
  const { status: _, ...object } = parseYaml(yaml) as any;
  const metadata = { ...object.metadata };
  for (const field of KEPT_BY_SERVER) delete metadata[field];
  return printYaml({ ...object, metadata });
}

/** The text without what nobody reads: who manages which field. */
export function readable(yaml: string): string {
  const { metadata: { managedFields: _, ...metadata }, ...object } = parseYaml(yaml) as any;
  return printYaml({ ...object, metadata });
}

/** The revision that a text of the server is of. */
export function revisionIn(yaml: string): string | undefined {
  return (parseYaml(yaml) as any)?.metadata?.resourceVersion;
}

/** The same text, of a revision: the server refuses to put it in the place of any other. */
export function ofRevision(yaml: string, revision: string | undefined): string {
  const object = parseYaml(yaml) as any;
  return printYaml({ ...object, metadata: { ...object?.metadata, resourceVersion: revision } });
}
