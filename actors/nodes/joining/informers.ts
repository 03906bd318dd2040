/**
 * The caches of a machine that acts as its node: of pods those bound to it, of nodes itself, of ConfigMaps and Secrets
 * those that its pods name, one watch each, as the kubelet's: it may read no others. All else is cached whole, as
 * wanted.
 */
import type { Change, Client, Informer, Informers } from "../../../api/client/contract.ts";
import { keyOf } from "../../../api/client/contract.ts";
import { createInformer, createInformers } from "../../../api/client/informer.ts";
import { configMapNames, secretNames } from "../../../api/machinery/pod_references.ts";
import type { DeepReadonly, KubeObject, ResourceId } from "../../../api/machinery/types.ts";
import type { Clock } from "../../../kv/clock.ts";
import { CONFIG_MAPS, NODES, PODS, SECRETS } from "../types.ts";

/** What they are made with. */
export interface NodeInformersOptions {
  client: Client;
  clock: Clock;
  node: string;
  onError: (resource: ResourceId, error: unknown) => void;
}

/**
 * The node's informers, and those of the machine's network: these show all services, endpoints and nodes, but of pods
 * this node's alone. `everyPod` shows the pods of all machines too, from when it is asked for them: NetworkPolicies are
 * about pods anywhere.
 */
export function createNodeInformers(
  options: NodeInformersOptions,
): { own: Informers; network: Informers; everyPod: Informers } {
  const { client, clock, node, onError } = options;
  const scoped = (resource: ResourceId, fieldSelector: string) =>
    createInformer(resource, {
      client,
      clock,
      scope: { fieldSelector },
      onError: (error) => onError(resource, error),
    });
  const whole = createInformers(client, clock, { onError });
  const pods = scoped(PODS, `spec.nodeName=${node}`);
  const nodes = scoped(NODES, `metadata.name=${node}`);
  const named = [
    new NamedObjects(CONFIG_MAPS, configMapNames, pods, options),
    new NamedObjects(SECRETS, secretNames, pods, options),
  ];
  const all = [pods, nodes, ...named];
  const id = ({ group, plural }: ResourceId) => `${plural}.${group}`;
  const byResource = new Map<string, Informer>(all.map((one) => [id(one.resource), one]));
  const own: Informers = {
    for: <T>(resource: ResourceId) =>
      (byResource.get(id(resource)) ?? whole.for(resource)) as unknown as Informer<T>,
    busy: () => all.filter((one) => one.pending > 0).map((one) => id(one.resource)),
    stop: async () => void await Promise.all(all.map((one) => one.stop())),
  };
  const network: Informers = {
    for: <T>(resource: ResourceId) =>
      (id(resource) === id(PODS) ? pods : whole.for(resource)) as unknown as Informer<T>,
    busy: () => whole.busy(),
    stop: () => whole.stop(),
  };
  return { own, network, everyPod: whole };
}

type Object = DeepReadonly<KubeObject>;
type Cache = ReturnType<typeof createInformer>;
type Listener = (change: Change<KubeObject>) => void;

/** One object that pods name: its cache, and whose pods want it. */
interface Held {
  cache: Cache;
  pods: Set<string>;
  unsubscribe(): void;
}

/**
 * The objects of a resource that this node's pods name. A name is watched as long as a pod bears it. What is not there
 * yet is asked for anew by whoever needs it, so that nobody waits for these caches.
 */
export class NamedObjects implements Informer {
  readonly resource: ResourceId;
  readonly resourceVersion = "";
  readonly synced = true;
  readonly #names: (pod: Object) => Iterable<string>;
  readonly #options: NodeInformersOptions;
  readonly #held = new Map<string, Held>();
  readonly #listeners = new Set<Listener>();
  readonly #unsubscribe: () => void;

  constructor(
    resource: ResourceId,
    names: (pod: Object) => Iterable<string>,
    pods: Informer,
    options: NodeInformersOptions,
  ) {
    this.resource = resource;
    this.#names = names;
    this.#options = options;
    this.#unsubscribe = pods.subscribe(({ key, object }) => this.#follow(key, object));
  }

  get size(): number {
    return [...this.list()].length;
  }

  get pending(): number {
    let pending = 0;
    for (const { cache } of this.#held.values()) pending += cache.pending;
    return pending;
  }

  /** Names that are watched. */
  get watched(): string[] {
    return [...this.#held.keys()].sort();
  }

  whenSynced(): Promise<void> {
    return Promise.resolve();
  }

  get(key: string): Object | undefined {
    return this.#held.get(key)?.cache.get(key);
  }

  *list(namespace?: string): Iterable<Object> {
    for (const { cache } of this.#held.values()) yield* cache.list(namespace);
  }

  index(name: string): void {
    throw new RangeError(`no index "${name}" on what pods name`);
  }

  byIndex(name: string): readonly Object[] {
    throw new RangeError(`no index "${name}" on what pods name`);
  }

  subscribe(listener: Listener): () => void {
    this.#listeners.add(listener);
    for (const object of this.list()) listener({ key: keyOf(object), object });
    return () => this.#listeners.delete(listener);
  }

  async stop(): Promise<void> {
    this.#unsubscribe();
    await Promise.all([...this.#held.keys()].map((key) => this.#release(key)));
  }

  #follow(pod: string, object: Object | undefined): void {
    const wanted = new Set<string>();
    if (object) {
      for (const name of this.#names(object)) wanted.add(`${object.metadata.namespace}/${name}`);
    }
    for (const key of wanted) this.#hold(key, pod);
    for (const [key, held] of this.#held) {
      if (wanted.has(key) || !held.pods.delete(pod) || held.pods.size > 0) continue;
      void this.#release(key);
    }
  }

  #hold(key: string, pod: string): void {
    const known = this.#held.get(key);
    if (known) return void known.pods.add(pod);
    const [namespace, name] = key.split("/");
    const { client, clock, onError } = this.#options;
    const cache = createInformer(this.resource, {
      client,
      clock,
      scope: { namespace, fieldSelector: `metadata.name=${name}` },
      onError: (error) => onError(this.resource, error),
    });
    const unsubscribe = cache.subscribe((change) => {
      for (const listener of this.#listeners) listener(change);
    });
    this.#held.set(key, { cache, pods: new Set([pod]), unsubscribe });
  }

  async #release(key: string): Promise<void> {
    const held = this.#held.get(key);
    if (!held) return;
    this.#held.delete(key);
    held.unsubscribe();
    await held.cache.stop();
  }
}
