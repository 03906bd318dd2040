/**
 * Objects that are shared are frozen; who wants to change one takes a private copy first. Works on JSON
 * values only: plain objects, arrays, scalars.
 */
import type { DeepReadonly } from "./types.ts";

/** A private deep copy, free to change. */
export function edit<T>(value: DeepReadonly<T> | T): T {
  return typeof value === "object" && value !== null ? copy(value) as T : value as T;
}

function copy(value: object): object {
  if (Array.isArray(value)) {
    const out = value.slice();
    for (let i = 0; i < out.length; i++) {
      const item = out[i];
      if (typeof item === "object" && item !== null) out[i] = copy(item);
    }
    return out;
  }
  // The spread keeps the hidden class; own keys called __proto__ stay own keys.
  const out: Record<string, unknown> = { ...value };
  for (const key in out) {
    const item = out[key];
    if (typeof item === "object" && item !== null) out[key] = copy(item);
  }
  return out;
}

/** Freezes a value and everything in it; returns the same value. Frozen parts are taken as done. */
export function deepFreeze<T>(value: T): DeepReadonly<T> {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) freeze(value);
  return value as DeepReadonly<T>;
}

function freeze(value: object): void {
  Object.freeze(value);
  if (Array.isArray(value)) {
    for (const item of value) {
      if (typeof item === "object" && item !== null && !Object.isFrozen(item)) freeze(item);
    }
    return;
  }
  const record = value as Record<string, unknown>;
  for (const key in record) {
    const item = record[key];
    if (typeof item === "object" && item !== null && !Object.isFrozen(item)) freeze(item);
  }
}

/**
 * An object without one key; itself where it has none. What is stored for long must not lose a key by `delete`: V8
 * makes a hash table of an object that loses one in the middle, and each later read, copy and JSON of it is several
 * times slower. (A rest pattern copies well, but slowly.)
 */
export function without<T extends object>(value: T, key: string): T {
  if (!(key in value)) return value;
  const from = value as Record<string, unknown>;
  const out: Record<string, unknown> = {};
  for (const name in from) if (name !== key) setOwn(out, name, from[name]);
  return out as T;
}

/** Sets a key that came from outside: `__proto__` becomes an own key like any other. */
export function setOwn(target: Record<string, unknown>, key: string, value: unknown): void {
  if (key === "__proto__") {
    Object.defineProperty(target, key, {
      value,
      writable: true,
      enumerable: true,
      configurable: true,
    });
  } else target[key] = value;
}
