/**
 * What validation writes to: a list of causes, and paths that are spelled out only when an error needs them.
 * A good object costs a few small allocations and no strings.
 */

import type { Cause } from "../../machinery/types.ts";
import * as error from "../../machinery/field_errors.ts";

/** A place in an object: a chain of steps, printed as `spec.containers[0].name`. */
export class Path {
  readonly #parent: Path | undefined;
  readonly #step: string | number;
  readonly #key: boolean;

  constructor(step: string, parent?: Path);
  constructor(step: string | number, parent: Path | undefined, key: boolean);
  constructor(step: string | number, parent?: Path, key = false) {
    this.#step = step;
    this.#parent = parent;
    this.#key = key;
  }

  /** The field of that name; several names go deeper at once. */
  child(name: string, ...more: string[]): Path {
    let path = new Path(name, this);
    for (const next of more) path = new Path(next, path);
    return path;
  }

  /** The item at that index. */
  index(i: number): Path {
    return new Path(i, this, true);
  }

  /** The entry of a map. */
  key(name: string): Path {
    return new Path(name, this, true);
  }

  toString(): string {
    const above = this.#parent;
    const top = above === undefined || (above.#step === "" && !above.#key);
    const parent = top ? "" : above.toString();
    if (this.#key || this.#step === "") return `${parent}[${this.#step}]`;
    return parent === "" ? `${this.#step}` : `${parent}.${this.#step}`;
  }
}

/** The usual roots. */
export const METADATA = new Path("metadata");
export const SPEC = new Path("spec");
export const STATUS = new Path("status");
/** The whole object: `[]` by itself, and nothing before a field. */
export const ROOT = new Path("");

/** Collects causes. */
export class Report {
  readonly causes: Cause[] = [];

  required(path: Path, message = ""): void {
    this.causes.push(error.required(path.toString(), message));
  }

  invalid(path: Path, value: unknown, message: string): void {
    this.causes.push(error.invalid(path.toString(), value, message));
  }

  /** One cause for each message of a check such as `isDns1123Label`. */
  check(messages: readonly string[], path: Path, value: unknown): void {
    for (const message of messages) this.invalid(path, value, message);
  }

  /** A value outside an enumeration; the list is printed sorted unless its order is upstream's. */
  notSupported(path: Path, value: unknown, supported: Iterable<string>, ordered = false): void {
    const list = [...supported];
    if (!ordered) list.sort();
    this.causes.push(error.notSupported(path.toString(), value, list));
  }

  duplicate(path: Path, value: unknown): void {
    this.causes.push(error.duplicate(path.toString(), value));
  }

  forbidden(path: Path, message: string): void {
    this.causes.push(error.forbidden(path.toString(), message));
  }

  tooLong(path: Path, max: number): void {
    this.causes.push(error.tooLong(path.toString(), max));
  }

  tooMany(path: Path, actual: number, max: number): void {
    this.causes.push(error.tooMany(path.toString(), actual, max));
  }

  notFound(path: Path, value: unknown): void {
    this.causes.push(error.notFound(path.toString(), value));
  }

  /** Takes over causes made elsewhere. */
  add(causes: readonly Cause[]): void {
    for (const cause of causes) this.causes.push(cause);
  }
}

/** Whether a field holds something: not absent, not null. */
export function isSet(value: unknown): boolean {
  return value !== undefined && value !== null;
}
