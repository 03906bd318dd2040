/** Stand-ins for the ports of the runtime's own tests: a clock that is told, informers that are fed. */
import type { Change, Client, Informer, Informers } from "../../api/client/contract.ts";
import type { DeepReadonly, KubeObject, ResourceId } from "../../api/machinery/types.ts";
import { keyOf } from "../../api/client/contract.ts";
import { ManualClock } from "../../kv/clock.ts";
import type { ActorContext, SystemPorts } from "./contract.ts";

/** A manual clock that lets everything that follows a timer happen before the next one. */
export class ToldClock extends ManualClock {
  override async advance(ms: number): Promise<void> {
    const end = this.now() + ms;
    await turn();
    for (let next = this.nextAt(); next !== undefined && next <= end; next = this.nextAt()) {
      await super.advance(Math.max(0, next - this.now()));
      await turn();
    }
    await super.advance(end - this.now());
  }
}

/** Lets all microtasks run. */
export async function turn(): Promise<void> {
  for (let i = 0; i < 50; i++) await undefined;
}

/** A cache that tests put objects into. */
export class FedInformer implements Informer<KubeObject> {
  readonly objects = new Map<string, DeepReadonly<KubeObject>>();
  readonly listeners = new Set<(change: Change<KubeObject>) => void>();
  synced = true;
  resourceVersion = "0";
  #waiters: (() => void)[] = [];
  readonly resource: ResourceId;
  constructor(resource: ResourceId) {
    this.resource = resource;
  }
  get size(): number {
    return this.objects.size;
  }
  /** What it was asked to reflect. */
  readonly asked: (number | undefined)[] = [];
  whenSynced(revision?: number): Promise<void> {
    this.asked.push(revision);
    if (this.synced) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }
  sync(): void {
    this.synced = true;
    for (const waiter of this.#waiters.splice(0)) waiter();
  }
  get(key: string): DeepReadonly<KubeObject> | undefined {
    return this.objects.get(key);
  }
  list(): Iterable<DeepReadonly<KubeObject>> {
    return this.objects.values();
  }
  index(): void {}
  byIndex(): readonly DeepReadonly<KubeObject>[] {
    return [];
  }
  subscribe(listener: (change: Change<KubeObject>) => void): () => void {
    this.listeners.add(listener);
    for (const [key, object] of this.objects) listener({ key, object });
    return () => void this.listeners.delete(listener);
  }
  put(object: KubeObject): void {
    const key = keyOf(object);
    const old = this.objects.get(key);
    this.objects.set(key, object);
    for (const listener of [...this.listeners]) listener({ key, old, object });
  }
}

/** Informers made at first use. */
export class FedInformers implements Informers {
  readonly made = new Map<string, FedInformer>();
  for<T = KubeObject>(resource: ResourceId): Informer<T> {
    return this.fed(resource) as unknown as Informer<T>;
  }
  fed(resource: ResourceId): FedInformer {
    let informer = this.made.get(resource.plural);
    if (!informer) this.made.set(resource.plural, informer = new FedInformer(resource));
    return informer;
  }
  busy(): string[] {
    return [];
  }
  stop(): Promise<void> {
    return Promise.resolve();
  }
}

/** Ports of a system whose client answers nothing. */
export function fedPorts(): SystemPorts & { clock: ToldClock; informers: FedInformers } {
  const client = {
    under: () => client,
    as: () => client,
    because: () => client,
  } as unknown as Client;
  return { client, informers: new FedInformers(), clock: new ToldClock(), log: () => {} };
}

/** An object with little in it. */
export function thing(kind: string, name: string, rest: object = {}): KubeObject {
  return {
    apiVersion: "v1",
    kind,
    metadata: { name, namespace: "default", uid: `uid-${name}` } as KubeObject["metadata"],
    ...rest,
  };
}

/** A behaviour's context is handed around in tests only. */
export type { ActorContext };
