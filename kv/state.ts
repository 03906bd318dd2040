/**
 * The state at a revision, and the same as a write sees it while it changes it.
 *
 * Both are thin: the state is a root of the persistent map (`btree.ts`). The store's own keys (terms) live
 * in the same map before every key that begins with `/`; views and drafts do not show them.
 */

import * as btree from "./btree.ts";
import type { Cause, Codec, Draft, Item, Mail, View } from "./contract.ts";
import { TooLargeError } from "./contract.ts";
import { DELETE, INTERNAL_DELETE, INTERNAL_PUT, type Kind, PUT } from "./codec.ts";
import { StoredItem } from "./item.ts";
import { KEY_LENGTH_MAX, MAIL_BYTES_MAX, MAIL_DELAY_MS_MAX, OBJECT_BYTES_MAX } from "./limits.ts";

/** A root of the state map. */
export type Root<T> = btree.Node<StoredItem<T>>;

/** The root of an empty state. */
export function emptyRoot<T>(): Root<T> {
  return btree.EMPTY;
}

/** The first key that users of the store can have. */
const FIRST_USER_KEY = "/";

/** The state at one revision: see `View`. */
export class StateView<T> implements View<T> {
  readonly revision: number;
  readonly root: Root<T>;

  constructor(revision: number, root: Root<T>) {
    this.revision = revision;
    this.root = root;
  }

  get(key: string): Item<T> | undefined {
    return btree.get(this.root, key);
  }

  scan(prefix: string, options?: { after?: string }): Iterable<Item<T>> {
    return scanRoot(this.root, prefix, options?.after);
  }

  count(prefix: string, options?: { after?: string }): number {
    return countRoot(this.root, prefix, options?.after);
  }

  isAsIn(other: View<T>, prefix: string): boolean {
    return other instanceof StateView && sameUnder(this.root, other.root as Root<T>, prefix);
  }

  changedFrom(other: View<T>, prefix: string): Iterable<btree.Difference<StoredItem<T>>> {
    const range = { from: scanFrom(prefix, undefined), end: btree.prefixEnd(prefix) };
    return btree.differences((other as StateView<T>).root, this.root, range);
  }
}

function scanFrom(prefix: string, after: string | undefined): string {
  const from = prefix < FIRST_USER_KEY ? FIRST_USER_KEY : prefix;
  // "\0" is the least continuation of a key.
  return after !== undefined && after >= from ? after + "\0" : from;
}

function scanRoot<T>(
  root: Root<T>,
  prefix: string,
  after: string | undefined,
): IterableIterator<StoredItem<T>> {
  return btree.scan(root, scanFrom(prefix, after), btree.prefixEnd(prefix));
}

function countRoot<T>(root: Root<T>, prefix: string, after: string | undefined): number {
  const end = btree.prefixEnd(prefix);
  const last = end === undefined ? root.size : btree.rank(root, end);
  return Math.max(0, last - btree.rank(root, scanFrom(prefix, after)));
}

/** Whether two roots hold the very same items under a prefix. */
function sameUnder<T>(a: Root<T>, b: Root<T>, prefix: string): boolean {
  return btree.sameItems(a, b, { from: scanFrom(prefix, undefined), end: btree.prefixEnd(prefix) });
}

/** One change of a draft: `item` is the new state, or the last one at a delete. */
export interface Change<T> {
  readonly kind: Kind;
  readonly item: StoredItem<T>;
  readonly previous: StoredItem<T> | undefined;
  /** Whether the record carries the item's bytes (a delete's may be those of `previous`). */
  readonly withBody: boolean;
}

/** What a write changes while it runs: see `Draft`. */
export class WriteDraft<T> implements Draft<T> {
  revision: number;
  root: Root<T>;
  readonly changes: Change<T>[] = [];
  readonly mails: Mail[] = [];
  readonly #codec: Codec<T>;
  readonly #cause: Cause | undefined;
  #over = false;

  constructor(revision: number, root: Root<T>, codec: Codec<T>, cause?: Cause) {
    this.revision = revision;
    this.root = root;
    this.#codec = codec;
    this.#cause = cause;
  }

  get(key: string): Item<T> | undefined {
    return btree.get(this.root, key);
  }

  scan(prefix: string, options?: { after?: string }): Iterable<Item<T>> {
    return scanRoot(this.root, prefix, options?.after);
  }

  count(prefix: string, options?: { after?: string }): number {
    return countRoot(this.root, prefix, options?.after);
  }

  put(key: string, value: T): number {
    this.#open("put");
    checkKey(key);
    const bytes = this.#codec.encode(value);
    checkSize(key, bytes.length);
    // A frozen value cannot be stamped in place, so it is decoded when it is read.
    const kept = typeof value === "object" && Object.isFrozen(value) ? undefined : value;
    return this.#put(PUT, key, bytes, kept);
  }

  delete(key: string, last?: T): number | undefined {
    this.#open("delete");
    const previous = btree.get(this.root, key);
    if (previous === undefined || key < FIRST_USER_KEY) return undefined;
    const revision = ++this.revision;
    let item: StoredItem<T>;
    if (last === undefined) item = previous.at(revision);
    else {
      const bytes = this.#codec.encode(last);
      checkSize(key, bytes.length);
      const kept = typeof last === "object" && Object.isFrozen(last) ? undefined : last;
      item = new StoredItem(key, revision, bytes, this.#codec, kept);
    }
    item.cause = this.#cause;
    this.root = btree.remove(this.root, key);
    this.changes.push({ kind: DELETE, item, previous, withBody: last !== undefined });
    return revision;
  }

  mail(mail: Mail): void {
    this.#open("send mail");
    checkMail(mail);
    this.mails.push(mail);
  }

  /** Puts (or removes) a value of the store's own. */
  putInternal(key: string, bytes: Uint8Array | undefined): number | undefined {
    if (bytes !== undefined) return this.#put(INTERNAL_PUT, key, bytes, undefined);
    const previous = btree.get(this.root, key);
    if (previous === undefined) return undefined;
    const item = previous.at(++this.revision);
    this.root = btree.remove(this.root, key);
    this.changes.push({ kind: INTERNAL_DELETE, item, previous, withBody: false });
    return this.revision;
  }

  /** The write returned: a draft that leaked out of it changes nothing any more. */
  end(): void {
    this.#over = true;
  }

  #put(kind: Kind, key: string, bytes: Uint8Array, value: T | undefined): number {
    const previous = btree.get(this.root, key);
    const revision = ++this.revision;
    const item = new StoredItem(key, revision, bytes, this.#codec, value);
    item.cause = this.#cause;
    this.root = btree.set(this.root, item);
    this.changes.push({ kind, item, previous, withBody: true });
    return revision;
  }

  #open(what: string): void {
    if (this.#over) throw new TypeError(`Cannot ${what} in a write that has ended`);
  }
}

function checkKey(key: string): void {
  if (key.charCodeAt(0) !== 0x2f || key.length < 2) {
    throw new TypeError(`Cannot put "${key}": a key begins with "/" and has a name`);
  }
  if (key.length > KEY_LENGTH_MAX) {
    throw new TooLargeError(
      `Cannot put a key of ${key.length} characters: at most ${KEY_LENGTH_MAX} are allowed`,
      "object",
    );
  }
}

function checkSize(key: string, length: number): void {
  if (length <= OBJECT_BYTES_MAX) return;
  throw new TooLargeError(
    `Cannot put "${key}" with ${length} bytes: at most ${OBJECT_BYTES_MAX} are allowed`,
    "object",
  );
}

/** Throws for mail that cannot be sent. */
export function checkMail(mail: Mail): void {
  if (mail.to === "") throw new TypeError("Cannot send mail without an address");
  if (mail.to.length + mail.key.length > MAIL_BYTES_MAX / 4) {
    throw new TooLargeError(
      `Cannot send mail of ${mail.to.length + mail.key.length} characters: a message is a key`,
      "object",
    );
  }
  const delayMs = mail.delayMs ?? 0;
  if (!(delayMs >= 0) || delayMs > MAIL_DELAY_MS_MAX) {
    throw new RangeError(
      `Cannot delay mail by ${delayMs} ms: 0 to ${MAIL_DELAY_MS_MAX} is allowed`,
    );
  }
}
