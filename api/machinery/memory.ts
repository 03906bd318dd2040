/** A map that forgets what was used longest ago. */

/** See the module's text. Values are never undefined: that means not known. */
export class Memory<V> {
  readonly #map = new Map<string, V>();
  readonly #max: number;

  /** `max`: entries that are kept. */
  constructor(max: number) {
    this.#max = max;
  }

  get(key: string): V | undefined {
    const value = this.#map.get(key);
    if (value !== undefined) {
      this.#map.delete(key);
      this.#map.set(key, value);
    }
    return value;
  }

  set(key: string, value: V): void {
    this.#map.delete(key);
    this.#map.set(key, value);
    if (this.#map.size > this.#max) this.#map.delete(this.#map.keys().next().value!);
  }
}
