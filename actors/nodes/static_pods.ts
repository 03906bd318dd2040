/**
 * Pods that a node has from files of its own, and their mirrors in the API: objects by which others see them. The file
 * alone says what runs: a mirror that is deleted comes back, and a file that changes is another pod.
 *
 * - own-files: what a file says runs whether or not the API can be reached.
 * - one-name: of two pods of one name the second waits for the end of the first.
 * - mirrored: each has one mirror, of the same hash, made anew when it goes or is another's.
 *
 * Behaviour matched: pkg/kubelet/config/{file,common}.go, pkg/kubelet/pod/mirror_client.go, kubelet.go
 * (tryReconcileMirrorPods), v1.36. A file's first document counts, as upstream's does.
 */
import { createHash } from "node:crypto";
import { createKinds, validateCreate } from "../../api/kinds/mod.ts";
import { type Client, type Informer, keyOf } from "../../api/client/contract.ts";
import { applyDefaults } from "../../api/machinery/defaults.ts";
import { sameJson } from "../../api/machinery/json_value.ts";
import { firstReference } from "../../api/machinery/pod_references.ts";
import { decode } from "../../api/machinery/schema.ts";
import { ApiError, type DeepReadonly, type Kind } from "../../api/machinery/types.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import { parseYamlDocuments } from "../../api/machinery/yaml.ts";
import type { Clock } from "../../kv/clock.ts";
import type { Logger } from "../runtime/mod.ts";
import { HASH, isMirror, MIRROR, SEEN, SOURCE } from "./pod_source.ts";
import { samePodStatus } from "./pod_status.ts";
import { type Pod, PODS, type PodStatus } from "./types.ts";

/** A file that says what pod is to run. */
export interface Manifest {
  path: string;
  text: string;
}

/** Where a node's files are. */
export interface ManifestSource {
  /** All of them, in order of their names. */
  read(): Promise<Manifest[]>;
  /** `changed` is called when one may have changed; returns how to stop that. */
  watch(changed: () => void): () => void;
}

/** How often files are read though nobody said that they have changed. */
export const MANIFESTS_READ_MS = 20_000;

let podKind: Kind | undefined;

/** The pod of a file, as its node runs it. Throws an Error that says what is wrong with it. */
export function staticPod({ path, text }: Manifest, node: string, now: number): Pod {
  const [value] = parseYamlDocuments(text);
  const { apiVersion, kind } = (value ?? {}) as { apiVersion?: unknown; kind?: unknown };
  if (apiVersion !== "v1" || kind !== "Pod") throw new Error("it is no v1 Pod");
  podKind ??= createKinds().byKind("", "v1", "Pod")!;
  const { object } = decode(podKind, value, "Ignore");
  applyDefaults(podKind.schemas, podKind.schema, object);
  podKind.hooks.defaults?.(object);
  const { metadata, spec } = object as KubeObject & { spec: Any };
  if (!metadata?.name) throw new Error("invalid pod: name is needed for the pod");
  metadata.uid ||= hashOf(object, `host:${node}file:${path}`);
  metadata.name = `${metadata.name}-${node.toLowerCase()}`;
  metadata.namespace ||= "default";
  spec.nodeName = node;
  metadata.annotations = { ...metadata.annotations, [HASH]: metadata.uid };
  const tolerations = spec.tolerations ?? [];
  const bearsAll = (t: Any) => t.operator === "Exists" && t.effect === "NoExecute" && !t.key;
  if (!tolerations.some(bearsAll)) {
    spec.tolerations = [...tolerations, { operator: "Exists", effect: "NoExecute" }];
  }
  // Its own files are the node's to read: there is nobody whose rights would count
  const context = {
    now,
    user: node,
    verb: "create",
    refused: () => undefined,
    subresource: "",
    uuid: () => metadata.uid,
  };
  const [cause] = validateCreate(object, podKind, context);
  if (cause) throw new Error(`invalid pod: ${cause.field}: ${cause.message}`);
  const reference = firstReference(object);
  if (reference) throw new Error(`static pods may not reference ${reference}`);
  metadata.annotations[SEEN] = new Date(now).toISOString();
  metadata.annotations[SOURCE] = "file";
  return { ...object, apiVersion, kind, status: { phase: "Pending" } } as unknown as Pod;
}

// deno-lint-ignore no-explicit-any -- a pod's spec, checked by its schema
type Any = any;

/** 128 bits as hexadecimal digits, as the uids of static pods are. */
function hashOf(object: unknown, more: string): string {
  return createHash("sha256").update(JSON.stringify(object)).update(more).digest("hex").slice(
    0,
    32,
  );
}

/** What static pods need of their node. */
export interface StaticPodsOptions {
  node: string;
  /** None: mirrors that are found stand for nothing. */
  source?: ManifestSource;
  client: Client;
  clock: Pick<Clock, "now">;
  log: Logger;
  pods: Informer<Pod>;
  /** The Node as the API has it; undefined: it is not registered. */
  registered(): DeepReadonly<KubeObject> | undefined;
}

/** See the module's text. */
export class StaticPods {
  readonly #options: StaticPodsOptions;
  /** By `namespace/name`. */
  #wanted = new Map<string, Pod>();
  /** What was said of a file that is no pod, so that it is said once. */
  #complaints = new Map<string, string>();

  constructor(options: StaticPodsOptions) {
    this.#options = options;
  }

  /** Reads the files. A file that is wrong is told of and left out. */
  async read(): Promise<void> {
    const { source, node, clock, log } = this.#options;
    const wanted = new Map<string, Pod>();
    const complaints = new Map<string, string>();
    for (const manifest of await source?.read() ?? []) {
      try {
        const pod = staticPod(manifest, node, clock.now());
        const key = keyOf(pod);
        const known = this.#wanted.get(key);
        // The same object as long as it says the same: then it is the same pod.
        wanted.set(key, known && samePod(known, pod) ? known : pod);
      } catch (error) {
        const why = (error as Error).message;
        complaints.set(manifest.path, why);
        if (this.#complaints.get(manifest.path) === why) continue;
        log("error", "Could not process manifest file", { path: manifest.path, why });
      }
    }
    this.#wanted = wanted;
    this.#complaints = complaints;
  }

  /** What is to run. */
  wanted(): Iterable<Pod> {
    return this.#wanted.values();
  }

  /** The pod of a name, if a file says so. */
  get(key: string): Pod | undefined {
    return this.#wanted.get(key);
  }

  /** Removes mirrors of this node that no pod stands behind; `held` are the names of those that still run. */
  async removeOrphans(held: ReadonlySet<string>): Promise<void> {
    const { pods, node } = this.#options;
    for (const pod of pods.list() as Iterable<Pod>) {
      if (pod.spec.nodeName !== node || !isMirror(pod)) continue;
      const key = keyOf(pod);
      if (!this.#wanted.has(key) && !held.has(key)) await this.#delete(pod);
    }
  }

  /**
   * Sees to it that a pod has its mirror, and that the mirror says how it is. Never rejects; false when it has to be
   * tried again.
   */
  async tell(pod: Pod, status: PodStatus): Promise<boolean> {
    const { client, log, pods } = this.#options;
    try {
      const found = pods.get(keyOf(pod)) as Pod | undefined;
      const hash = pod.metadata.annotations![HASH];
      let mirror = found;
      if (found) {
        const other = found.metadata.annotations?.[MIRROR] !== hash;
        if (other || found.metadata.deletionTimestamp) {
          // Somebody's own pod of that name is not ours to remove.
          if (!isMirror(found)) return false;
          await this.#delete(found);
          mirror = undefined;
        }
      }
      mirror ??= await this.#create(pod);
      if (!mirror || samePodStatus(status, mirror.status as PodStatus)) return mirror !== undefined;
      const { namespace, name } = mirror.metadata;
      const target = { resource: PODS, namespace, name, subresource: "status" };
      await client.update<Pod>(target, { ...mirror, status });
      return true;
    } catch (error) {
      const fields = { pod: keyOf(pod), error: String(error) };
      // Another write came first, or the mirror has just gone: the cache will say so.
      const usual = error instanceof ApiError && (error.code === 409 || error.code === 404);
      log(usual ? "debug" : "warn", "a mirror pod is not up to date", fields);
      return false;
    }
  }

  async #create(pod: Pod): Promise<Pod | undefined> {
    const { client, node, registered } = this.#options;
    const uid = registered()?.metadata.uid;
    if (!uid) return undefined;
    const { uid: hash, annotations, ...metadata } = pod.metadata;
    const { namespace } = metadata;
    return await client.create<Pod>({ resource: PODS, namespace }, {
      apiVersion: "v1",
      kind: "Pod",
      metadata: {
        ...metadata,
        annotations: { ...annotations, [MIRROR]: annotations?.[HASH] ?? hash },
        ownerReferences: [{ apiVersion: "v1", kind: "Node", name: node, uid, controller: true }],
      },
      spec: pod.spec,
    }) as Pod;
  }

  /** At once, and that one alone. */
  async #delete({ metadata: { namespace, name, uid } }: Pod): Promise<void> {
    try {
      const target = { resource: PODS, namespace, name };
      const query = { gracePeriodSeconds: 0, preconditions: { uid } };
      await this.#options.client.delete(target, query);
    } catch (error) {
      if (!(error instanceof ApiError) || (error.code !== 404 && error.code !== 409)) throw error;
    }
  }
}

/** Whether two readings of a file say the same: when they were read does not count. */
function samePod(a: Pod, b: Pod): boolean {
  const said = ({ metadata, spec }: Pod) => {
    const { [SEEN]: _, ...annotations } = metadata.annotations ?? {};
    return { metadata: { ...metadata, annotations }, spec };
  };
  return sameJson(said(a), said(b));
}
