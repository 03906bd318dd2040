/** Objects as YAML, made or changed one after the other by server-side apply. */
import { discover, type KindInfo, kindOfObject } from "./discovery.ts";
import { reasonOf, writeYaml } from "./kube.ts";
import { parseDocuments, printYaml } from "./yaml.ts";

/** What became of one. */
export interface Applied {
  kind?: KindInfo;
  name: string;
  namespace?: string;
  failure?: string;
  dryRun: boolean;
}

/** Applies every document, in order. Throws YamlError for what is no YAML; failures of single objects are told of each. */
export async function applyDocuments(
  text: string,
  { dryRun, namespace }: { dryRun: boolean; namespace: string },
): Promise<Applied[]> {
  const results: Applied[] = [];
  for (const object of parseDocuments(text).flatMap(itemsOf)) {
    results.push(await applyOne(object, { dryRun, namespace }));
  }
  return results;
}

function itemsOf(value: any): any[] {
  return Array.isArray(value?.items) && String(value.kind).endsWith("List") ? value.items : [value];
}

async function applyOne(
  object: any,
  { dryRun, namespace }: { dryRun: boolean; namespace: string },
): Promise<Applied> {
  const name = object?.metadata?.name ?? "";
  // A kind may have been made by an earlier document
  if (!kindOfObject(object)) await discover();
  const kind = kindOfObject(object);
  if (!kind) {
    const failure = `no matches for kind "${object?.kind}" in version "${object?.apiVersion}"`;
    return { name, failure, dryRun };
  }
  const where = kind.namespaced ? object.metadata?.namespace ?? namespace : undefined;
  const version = object.apiVersion.split("/").at(-1);
  const target = { resource: { ...kind, version }, namespace: where, name };
  try {
    if (!name) throw new TypeError("metadata.name: Required value");
    await writeYaml(target, printYaml(object), { dryRun });
    return { kind, name, namespace: where, dryRun };
  } catch (error) {
    return { kind, name, namespace: where, failure: reasonOf(error), dryRun };
  }
}
