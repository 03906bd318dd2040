/**
 * An object as the store holds it: its encoded bytes, and its value, decoded at first use and the same
 * object at every use.
 *
 * A value that was put here is kept rather than decoded again, and is the store's from then on. Until its
 * commit it may still be given up (the write runs again), and stamping changes it in place: so whoever reads
 * the item before, in the same group, gets a copy of its own instead. Freezing waits for the first reader
 * after the commit: many values are never read as such.
 */

import type { Cause, Codec, Item } from "./contract.ts";

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
  /** Why it was written, where that is known. Set by whoever makes the item. */
  cause: Cause | undefined;
  readonly #codec: Codec<T>;
  #value: T | undefined;
  #state: number;
  /** The same object at another revision: its value is this one's but for the stamp. */
  #other: StoredItem<T> | undefined;

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
    this.cause = undefined;
    this.#codec = codec;
    this.#value = value;
    this.#state = value === undefined ? ENCODED : PUT;
  }

  /** The decoded value, deep-frozen. */
  get value(): T {
    if (this.#state === FROZEN) return this.#value as T;
    if (this.#state !== STAMPED) this.#value = this.#read();
    deepFreeze(this.#value);
    this.#state = FROZEN;
    return this.#value as T;
  }

  #read(): T {
    const other = this.#other;
    if (other === undefined) return this.#codec.decode(this.bytes, this.revision);
    this.#other = undefined;
    // Stamping copies what is frozen.
    return this.#codec.stamp(other.value, this.revision);
  }

  /** What the record of this item counts against the store's bound. */
  get size(): number {
    return recordSize(this.key, this.bytes.length);
  }

  /** The write that made this item is committed. */
  settle(): void {
    if (this.#state !== PUT) return;
    this.#value = this.#codec.stamp(this.#value as T, this.revision);
    this.#state = STAMPED;
  }

  /** This state of the object, at another revision (that of its deletion). */
  at(revision: number): StoredItem<T> {
    const item = new StoredItem(this.key, revision, this.bytes, this.#codec);
    item.#other = this;
    return item;
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
