/**
 * Which pods a node probably has: found without visiting all pods of a namespace. It follows the store and so may lag
 * behind; what it says is a place to look first, never an answer.
 */
import type { View, Watch } from "../../kv/contract.ts";
import type { KubeObject } from "../machinery/types.ts";

const PREFIX = "/registry/pods/";
const NONE: ReadonlySet<string> = new Set();

/** Changes of what lies under a prefix, after a revision. */
export type Follow = (options: { prefix: string; after: number }) => Watch<KubeObject>;

/** Keys of pods by namespace and node, once it was told to start. */
export class PodsOfNodes {
  readonly #follow: Follow;
  #keys: Map<string, Set<string>> | undefined;

  constructor(follow: Follow) {
    this.#follow = follow;
  }

  /** Keys of pods that were seen on the node. */
  of(namespace: string, node: string): ReadonlySet<string> {
    return this.#keys?.get(`${namespace}/${node}`) ?? NONE;
  }

  /** Begins with a view, and follows from there. Costs a visit to every pod the first time, then nothing. */
  start(view: View<KubeObject>): void {
    if (this.#keys) return;
    const keys = new Map<string, Set<string>>();
    this.#keys = keys;
    for (const { key, value } of view.scan(PREFIX)) add(keys, key, value.spec?.nodeName);
    this.#run(keys, view.revision).catch(() => {
      // Fell behind, or the store was closed: the next start begins anew
    }).finally(() => this.#keys = undefined);
  }

  async #run(keys: Map<string, Set<string>>, after: number): Promise<void> {
    for await (const { events } of this.#follow({ prefix: PREFIX, after })) {
      for (const { type, key, item, previous } of events) {
        const node = item.value.spec?.nodeName;
        if (type === "delete") remove(keys, key, node);
        else if (!previous?.value.spec?.nodeName) add(keys, key, node);
      }
    }
  }
}

function groupOf(key: string, node: string): string {
  return `${key.slice(PREFIX.length, key.lastIndexOf("/"))}/${node}`;
}

function add(keys: Map<string, Set<string>>, key: string, node: string | undefined): void {
  if (!node) return;
  const group = groupOf(key, node);
  const known = keys.get(group);
  if (known) known.add(key);
  else keys.set(group, new Set([key]));
}

function remove(keys: Map<string, Set<string>>, key: string, node: string | undefined): void {
  if (!node) return;
  const group = groupOf(key, node);
  const known = keys.get(group);
  if (known?.delete(key) && known.size === 0) keys.delete(group);
}
