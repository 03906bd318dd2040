/** A map that forgets what has not been used for long. */

/**
 * Two generations: when the younger one is full it becomes the older one, and what that held is forgotten; whoever is
 * asked for in the older one is young again. (One map in the order of use takes an entry out and puts it in again at
 * every look, and walks over the holes of all that went before when it forgets the first.) Values are never undefined:
 * that means not known.
 */
export class Memory<V> {
  #young = new Map<string, V>();
  #old = new Map<string, V>();
  readonly #max: number;

  /** `max`: entries that are kept at most. The half of them that was used last surely is. */
  constructor(max: number) {
    this.#max = Math.ceil(max / 2);
  }

  get(key: string): V | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: string, value: V): void {
    if (this.#young.size >= this.#max && !this.#young.has(key)) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }
}
