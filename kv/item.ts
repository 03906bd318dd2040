/**
 * An object as the store holds it: its encoded bytes, and its value, decoded at first use and the same
 * object at every use.
 *
 * A value that was put here is kept rather than decoded again. Until its commit it may still be given up
 * (the write runs again), so it is neither frozen nor final; `settle` makes it both. Freezing waits for
 * the first reader after the commit: many values are never read as such.
 */

import type { Codec, Item } from "./contract.ts";

/** Bytes that a record takes besides key and value, as accounted (not measured). */
const RECORD_BYTES = 48;

/** What an item's record counts against the store's bound. */
export function recordSize(key: string, bodyBytes: number): number {
  return RECORD_BYTES + key.length + bodyBytes;
}

const ENCODED = 0;
const PUT = 1;
const STAMPED = 2;
const FROZEN = 3;

/** See the module's text. */
export class StoredItem<T> implements Item<T> {
  readonly key: string;
  readonly revision: number;
  readonly bytes: Uint8Array;
  readonly #codec: Codec<T>;
  #value: T | undefined;
  #state: number;
  #settled: boolean;

  /** `value`, if given, is a value that was put and is not committed yet. */
  constructor(
    key: string,
    revision: number,
    bytes: Uint8Array,
    codec: Codec<T>,
    value?: T,
  ) {
    this.key = key;
    this.revision = revision;
    this.bytes = bytes;
    this.#codec = codec;
    this.#value = value;
    this.#state = value === undefined ? ENCODED : PUT;
    this.#settled = value === undefined;
  }

  /** The decoded value. Deep-frozen once the item is committed. */
  get value(): T {
    if (this.#state === FROZEN) return this.#value as T;
    if (this.#state === ENCODED) this.#value = this.#codec.decode(this.bytes, this.revision);
    else if (this.#state === PUT) this.#stamp();
    if (this.#settled) {
      deepFreeze(this.#value);
      this.#state = FROZEN;
    }
    return this.#value as T;
  }

  /** What the record of this item counts against the store's bound. */
  get size(): number {
    return recordSize(this.key, this.bytes.length);
  }

  /** The write that made this item is committed. */
  settle(): void {
    if (this.#state === PUT) this.#stamp();
    this.#settled = true;
  }

  /** This state of the object, at another revision (that of its deletion). */
  at(revision: number): StoredItem<T> {
    return new StoredItem(this.key, revision, this.bytes, this.#codec);
  }

  #stamp(): void {
    this.#value = this.#codec.stamp(this.#value as T, this.revision);
    this.#state = STAMPED;
  }
}

/** Freezes plain data all the way down. Stops at what is frozen already. */
export function deepFreeze(value: unknown): void {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return;
  if (ArrayBuffer.isView(value)) return;
  Object.freeze(value);
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const element = value[i];
      if (typeof element === "object" && element !== null) deepFreeze(element);
    }
    return;
  }
  for (const name in value) {
    const field = (value as Record<string, unknown>)[name];
    if (typeof field === "object" && field !== null) deepFreeze(field);
  }
}
