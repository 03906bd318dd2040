/**
 * The files of a volume that is made of objects: configMap, secret, downwardAPI, projected. Pure but for
 * reading the objects and asking for tokens; errors say what is missing in upstream's words.
 */
import type { DeepReadonly, KubeObject } from "../../../api/machinery/types.ts";
import { labelSelector as selectorOf } from "../../../api/machinery/selectors.ts";
import { containerNamed } from "../container_record.ts";
import { type FieldFacts, fieldValue, resourceValue } from "../fields.ts";
import type { Objects } from "../objects.ts";
import type {
  DownwardFile,
  KeyToPath,
  Pod,
  ProjectedSource,
  TrustBundleSource,
  Volume,
} from "../types.ts";
import type { VolumeFile } from "./atomic_writer.ts";

/** Mode of files unless told. */
const MODE = 0o644;
/** How old what was read of trust bundles may become: no pod hears of their changes. */
const BUNDLE_AGE_MS = 60_000;

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
  const { clusterTrustBundle, podCertificate } = source;
  const uid = onlyUser(pod);
  // What proves who one is, is its user's alone; a group that is to read it gets that with the whole volume.
  const own = uid !== undefined || pod.spec.securityContext?.fsGroup !== undefined ? 0o600 : mode;
  const add = (path: string, text: string, refreshInMs = Infinity) => {
    made.files.set(path, { bytes: new TextEncoder().encode(text), mode: own, uid });
    made.refreshInMs = Math.min(made.refreshInMs ?? Infinity, refreshInMs);
  };
  if (configMap) await addObject(made, pod, "configmap", configMap, mode, sources);
  if (secret) await addObject(made, pod, "secret", secret, mode, sources);
  if (downwardAPI) addDownward(made, pod, downwardAPI.items ?? [], mode, sources.facts);
  if (serviceAccountToken) {
    const { token, refreshInMs } = await sources.tokens.token(pod, serviceAccountToken);
    add(serviceAccountToken.path, token, refreshInMs);
  }
  if (clusterTrustBundle) await addTrustBundle(add, clusterTrustBundle, sources.objects);
  if (podCertificate) throw new Error("podCertificate sources are not supported by this node");
}

async function addTrustBundle(
  add: (path: string, text: string, refreshInMs: number) => void,
  source: DeepReadonly<TrustBundleSource>,
  objects: Objects,
): Promise<void> {
  const { path, name, signerName, labelSelector, optional } = source;
  if (!name && !signerName) {
    throw new Error("ClusterTrustBundle projection requires either name or signerName to be set");
  }
  const all = await objects.trustBundles(name);
  // A selector that was not given matches nothing, an empty one everything.
  const selector = selectorOf(labelSelector);
  const chosen = name
    ? all
    : all.filter(({ spec, metadata }) =>
      spec.signerName === signerName && selector.matches(metadata.labels)
    );
  if (chosen.length === 0 && !optional) {
    throw new Error(
      name
        ? `while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io "${name}" not found`
        : "combination of signerName and labelSelector matched zero ClusterTrustBundles",
    );
  }
  add(path, trustAnchors(chosen.map(({ spec }) => spec.trustBundle as string)), BUNDLE_AGE_MS);
}

/** The certificates of bundles, each once, as PEM without what stands between them. Pure. */
export function trustAnchors(bundles: readonly string[]): string {
  const anchors = new Set<string>();
  for (const bundle of bundles) {
    const blocks = bundle.matchAll(
      /-----BEGIN CERTIFICATE-----([\s\S]*?)-----END CERTIFICATE-----/g,
    );
    for (const [, body] of blocks) {
      // Headers of a block are lines with a colon.
      anchors.add(
        body.split("\n").filter((line) => !line.includes(":")).join("").replace(/\s/g, ""),
      );
    }
  }
  return [...anchors].sort().map((body) =>
    `-----BEGIN CERTIFICATE-----\n${
      body.replace(/(.{64})(?=.)/g, "$1\n")
    }\n-----END CERTIFICATE-----\n`
  ).join("");
}

/** The user of every container; undefined where one names none, or they differ. */
function onlyUser({ spec }: Pod): number | undefined {
  const all = [
    ...spec.initContainers ?? [],
    ...spec.containers,
    ...spec.ephemeralContainers ?? [],
  ];
  const users = new Set(
    all.map((one) => one.securityContext?.runAsUser ?? spec.securityContext?.runAsUser),
  );
  return users.size === 1 ? [...users][0] : undefined;
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
        : "configmap references non-existent config key";
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
