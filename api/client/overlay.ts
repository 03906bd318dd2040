/**
 * What a cluster's forks keep in common. Each has caches of its own, which begin with the same objects where the forks
 * began at the same moment: the map of these is made once, and each cache lays over it what has changed since.
 */
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";
import { keyOf } from "./contract.ts";

type Objects = ReadonlyMap<string, DeepReadonly<KubeObject>>;

const NOTHING: Objects = new Map();
const GONE = Symbol("gone");

/** A map over one that others share, which it does not change. */
export class Overlay {
  #base = NOTHING;
  readonly #own = new Map<string, DeepReadonly<KubeObject> | typeof GONE>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Begins, empty as it is, with what others have too. */
  begin(base: Objects): void {
    this.#base = base;
    this.#size = base.size;
  }

  get(key: string): DeepReadonly<KubeObject> | undefined {
    const own = this.#own.get(key);
    if (own === undefined) return this.#base.get(key);
    return own === GONE ? undefined : own;
  }

  set(key: string, object: DeepReadonly<KubeObject>): void {
    if (this.get(key) === undefined) this.#size++;
    this.#own.set(key, object);
  }

  delete(key: string): void {
    if (this.get(key) === undefined) return;
    this.#size--;
    if (this.#base.has(key)) this.#own.set(key, GONE);
    else this.#own.delete(key);
  }

  /** What there is: first what was there at the beginning, whatever has become of it, then the others as they came. */
  entries(): Iterable<[string, DeepReadonly<KubeObject>]> {
    // Without a base nothing is kept of what has gone
    if (this.#base === NOTHING) return this.#own as Map<string, DeepReadonly<KubeObject>>;
    return this.#laid();
  }

  values(): Iterable<DeepReadonly<KubeObject>> {
    if (this.#base === NOTHING) return (this.#own as Objects).values();
    return valuesOf(this.#laid());
  }

  *#laid(): Generator<[string, DeepReadonly<KubeObject>]> {
    for (const entry of this.#base) {
      const own = this.#own.get(entry[0]);
      if (own === undefined) yield entry;
      else if (own !== GONE) yield [entry[0], own];
    }
    for (const [key, own] of this.#own) {
      if (own !== GONE && !this.#base.has(key)) yield [key, own];
    }
  }
}

function* valuesOf<V>(entries: Iterable<[string, V]>): Generator<V> {
  for (const [, value] of entries) yield value;
}

/** The newest listing of each resource that a cluster's forks began with, for as long as one of them has it. */
export class Listings {
  readonly #newest = new Map<string, WeakRef<Objects>>();

  /** These objects by their keys: the map that another has already, if it lists the very same in the same order. */
  of(resource: string, items: readonly DeepReadonly<KubeObject>[]): Objects {
    const known = this.#newest.get(resource)?.deref();
    if (known && isListed(known, items)) return known;
    const made = new Map(items.map((object) => [keyOf(object), object]));
    this.#newest.set(resource, new WeakRef(made));
    return made;
  }
}

function isListed(known: Objects, items: readonly DeepReadonly<KubeObject>[]): boolean {
  if (known.size !== items.length) return false;
  let at = 0;
  for (const object of known.values()) if (object !== items[at++]) return false;
  return true;
}
