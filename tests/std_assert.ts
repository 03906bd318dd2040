/**
 * `@std/assert`, typed. The copy of it that npm has carries no types, and `assert` without its signature
 * narrows nothing. Where JSR can be reached, the import map names `jsr:@std/assert` instead of this file.
 */
import * as std from "deno-std/assert";

// deno-lint-ignore no-explicit-any -- a constructor of any error
type ErrorClass<E extends Error> = abstract new (...args: any[]) => E;

export const AssertionError: new (message: string) => Error = std.AssertionError;
export const assert: (condition: unknown, message?: string) => asserts condition = std.assert;
export const assertEquals: <T>(actual: T, expected: T, message?: string) => void = std.assertEquals;
export const assertNotEquals: <T>(actual: T, expected: T, message?: string) => void =
  std.assertNotEquals;
export const assertStrictEquals: <T>(
  actual: unknown,
  expected: T,
  message?: string,
) => asserts actual is T = std.assertStrictEquals;
export const assertNotStrictEquals: <T>(actual: T, expected: T, message?: string) => void =
  std.assertNotStrictEquals;
export const assertExists: <T>(actual: T, message?: string) => asserts actual is NonNullable<T> =
  std.assertExists;
export const assertMatch: (actual: string, expected: RegExp, message?: string) => void =
  std.assertMatch;
export const assertNotMatch: (actual: string, expected: RegExp, message?: string) => void =
  std.assertNotMatch;
export const assertStringIncludes: (actual: string, expected: string, message?: string) => void =
  std.assertStringIncludes;
export const assertArrayIncludes: <T>(
  actual: ArrayLike<T>,
  expected: ArrayLike<T>,
  message?: string,
) => void = std.assertArrayIncludes;
export const assertObjectMatch: (actual: object, expected: object, message?: string) => void =
  std.assertObjectMatch;
export const assertGreater: <T>(actual: T, expected: T, message?: string) => void =
  std.assertGreater;
export const assertGreaterOrEqual: <T>(actual: T, expected: T, message?: string) => void =
  std.assertGreaterOrEqual;
export const assertLess: <T>(actual: T, expected: T, message?: string) => void = std.assertLess;
export const assertLessOrEqual: <T>(actual: T, expected: T, message?: string) => void =
  std.assertLessOrEqual;
export const assertInstanceOf: <E>(
  actual: unknown,
  // deno-lint-ignore no-explicit-any -- any constructor
  type: abstract new (...args: any[]) => E,
  message?: string,
) => asserts actual is E = std.assertInstanceOf;
export const assertIsError: <E extends Error = Error>(
  error: unknown,
  type?: ErrorClass<E>,
  includes?: string | RegExp,
  message?: string,
) => asserts error is E = std.assertIsError;

export function assertThrows(fn: () => unknown, message?: string): unknown;
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  type: ErrorClass<E>,
  includes?: string,
  message?: string,
): E;
export function assertThrows(...args: unknown[]): unknown {
  return std.assertThrows(...args);
}

export function assertRejects(fn: () => PromiseLike<unknown>, message?: string): Promise<unknown>;
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  type: ErrorClass<E>,
  includes?: string,
  message?: string,
): Promise<E>;
export function assertRejects(...args: unknown[]): Promise<unknown> {
  return std.assertRejects(...args);
}

export const equal: (a: unknown, b: unknown) => boolean = std.equal;
export const fail: (message?: string) => never = std.fail;
export const unreachable: (reason?: string) => never = std.unreachable;
