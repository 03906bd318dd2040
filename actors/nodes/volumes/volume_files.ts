/**
 * The files of a volume that is made of objects: configMap, secret, downwardAPI, projected. Pure but for
 * reading the objects and asking for tokens; errors say what is missing in upstream's words.
 */
import type { DeepReadonly, KubeObject } from "../../../api/machinery/types.ts";
import { containerNamed } from "../container_record.ts";
import { type FieldFacts, fieldValue, resourceValue } from "../fields.ts";
import type { Objects } from "../objects.ts";
import type { DownwardFile, KeyToPath, Pod, ProjectedSource, Volume } from "../types.ts";
import type { VolumeFile } from "./atomic_writer.ts";

/** Mode of files unless told. */
const MODE = 0o644;

/** Gives ServiceAccount tokens; see tokens.ts. */
export interface TokenSource {
  token(
    pod: Pod,
    source: { audience?: string; expirationSeconds?: number },
  ): Promise<{ token: string; refreshInMs: number }>;
}

/** What files are made from. */
export interface FileSources {
  objects: Objects;
  tokens: TokenSource;
  facts: FieldFacts;
}

/** Files, and when they must be looked at again by the clock alone. */
export interface MadeFiles {
  files: Map<string, VolumeFile>;
  refreshInMs?: number;
}

/** Whether a volume is made of objects. */
export function isMadeOfObjects(volume: DeepReadonly<Volume>): boolean {
  return !!(volume.configMap || volume.secret || volume.downwardAPI || volume.projected);
}

/** Makes a volume's files. Throws with what is missing. */
export async function filesOf(
  pod: Pod,
  volume: DeepReadonly<Volume>,
  sources: FileSources,
): Promise<MadeFiles> {
  const made: MadeFiles = { files: new Map() };
  const { configMap, secret, downwardAPI, projected } = volume;
  if (configMap) {
    await addObject(made, pod, "configmap", configMap, configMap.defaultMode ?? MODE, sources);
  } else if (secret) {
    const named = { ...secret, name: secret.secretName ?? "" };
    await addObject(made, pod, "secret", named, secret.defaultMode ?? MODE, sources);
  } else if (downwardAPI) {
    addDownward(made, pod, downwardAPI.items ?? [], downwardAPI.defaultMode ?? MODE, sources.facts);
  } else if (projected) {
    for (const source of projected.sources ?? []) {
      await addProjected(made, pod, source, projected.defaultMode ?? MODE, sources);
    }
  }
  return made;
}

async function addProjected(
  made: MadeFiles,
  pod: Pod,
  source: DeepReadonly<ProjectedSource>,
  mode: number,
  sources: FileSources,
): Promise<void> {
  const { configMap, secret, downwardAPI, serviceAccountToken } = source;
  if (configMap) await addObject(made, pod, "configmap", configMap, mode, sources);
  if (secret) await addObject(made, pod, "secret", secret, mode, sources);
  if (downwardAPI) addDownward(made, pod, downwardAPI.items ?? [], mode, sources.facts);
  if (serviceAccountToken) {
    const { token, refreshInMs } = await sources.tokens.token(pod, serviceAccountToken);
    const user = pod.spec.securityContext?.runAsUser ?? pod.spec.securityContext?.fsGroup;
    made.files.set(serviceAccountToken.path, {
      bytes: new TextEncoder().encode(token),
      // Nobody else in the pod may read a token, unless its user is not root.
      mode: user ? 0o644 : mode === MODE ? 0o644 : mode,
    });
    made.refreshInMs = Math.min(made.refreshInMs ?? Infinity, refreshInMs);
  }
}

async function addObject(
  made: MadeFiles,
  pod: Pod,
  kind: "configmap" | "secret",
  source: { name: string; items?: readonly KeyToPath[]; optional?: boolean },
  mode: number,
  { objects }: FileSources,
): Promise<void> {
  const namespace = pod.metadata.namespace ?? "default";
  const object =
    await (kind === "secret"
      ? objects.secret(namespace, source.name)
      : objects.configMap(namespace, source.name));
  if (!object) {
    if (source.optional) return;
    throw new Error(`${kind} "${source.name}" not found`);
  }
  const content = contentOf(object, kind);
  if (!source.items) {
    for (const [key, bytes] of content) made.files.set(key, { bytes, mode });
    return;
  }
  for (const { key, path, mode: own } of source.items) {
    const bytes = content.get(key);
    if (!bytes) {
      if (source.optional) continue;
      const what = kind === "secret"
        ? "references non-existent secret key"
        : "configmap references" +
          " non-existent config key";
      throw new Error(`${what}: ${key}`);
    }
    made.files.set(path, { bytes, mode: own ?? mode });
  }
}

function contentOf(object: DeepReadonly<KubeObject>, kind: "configmap" | "secret") {
  const content = new Map<string, Uint8Array>();
  const binary = (text: string) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const data = (object.data ?? {}) as Record<string, string>;
  for (const [key, text] of Object.entries(data)) {
    content.set(key, kind === "secret" ? binary(text) : new TextEncoder().encode(text));
  }
  const bytes = (object.binaryData ?? {}) as Record<string, string>;
  for (const [key, text] of Object.entries(bytes)) content.set(key, binary(text));
  return content;
}

function addDownward(
  made: MadeFiles,
  pod: Pod,
  items: readonly DeepReadonly<DownwardFile>[],
  mode: number,
  facts: FieldFacts,
): void {
  for (const { path, fieldRef, resourceFieldRef, mode: own } of items) {
    let text = "";
    if (fieldRef) text = fieldValue(pod, fieldRef.fieldPath, facts);
    else if (resourceFieldRef) {
      const container = containerNamed(pod, resourceFieldRef.containerName ?? "");
      text = resourceValue(pod, container, resourceFieldRef, facts);
    }
    made.files.set(path, { bytes: new TextEncoder().encode(text), mode: own ?? mode });
  }
}
