/** What claims, classes and slices of devices have in common (upstream's `pkg/apis/resource/validation`). */

import {
  isCIdentifier,
  isDns1123Subdomain,
  isLabelValue,
  isQualifiedName,
} from "../../machinery/names.ts";
import type { Path, Report } from "./report.ts";
import { validateCsiDriverName } from "./volume_sources.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;

const POOL_NAME_LENGTH_MAX = 253;
const BINDING_CONDITIONS_MAX = 4;
/** Of an attribute's or capacity's name, its domain apart. */
export const IDENTIFIER_LENGTH_MAX = 32;
export const TAINT_EFFECTS = ["NoExecute", "NoSchedule", "None"];

/** How a list's items are checked; with `key`, none may occur twice. */
export interface Items {
  check(item: Obj, path: Path): void;
  key?(item: Obj): string;
  /** A key as errors show it (default: itself). */
  shown?(item: Obj): unknown;
}

/** Checks a list. One that is too long is not looked into. `max` below zero: of any length. */
export function each(
  list: readonly Obj[] | undefined,
  max: number,
  path: Path,
  r: Report,
  items: Items,
): void {
  if (!list) return;
  if (max >= 0 && list.length > max) return r.tooMany(path, list.length, max);
  list.forEach((item, i) => items.check(item, path.index(i)));
  if (!items.key) return;
  const seen = new Set<string>();
  list.forEach((item, i) => {
    const key = items.key!(item);
    if (seen.has(key)) r.duplicate(path.index(i), items.shown ? items.shown(item) : key);
    seen.add(key);
  });
}

/** Checks the name of a pool of devices: DNS names between slashes. */
export function validatePoolName(name: string, path: Path, r: Report): void {
  if (name === "") return r.required(path);
  if (name.length > POOL_NAME_LENGTH_MAX) r.tooLong(path, POOL_NAME_LENGTH_MAX);
  for (const part of name.split("/")) r.check(isDns1123Subdomain(part), path, part);
}

/** A name that may begin with a driver's domain. What stands after a second slash is not looked at. */
export function validateQualifiedName(name: string, path: Path, r: Report): void {
  const parts = name.split("/");
  if (parts.length > 2) return;
  if (parts.length === 2) {
    if (parts[0] === "") r.invalid(path, "", "the domain must not be empty");
    else validateCsiDriverName(parts[0], path, r);
    if (parts[1] === "") return r.invalid(path, "", "the name must not be empty");
  }
  const id = parts[parts.length - 1];
  if (id.length > IDENTIFIER_LENGTH_MAX) r.tooLong(path, IDENTIFIER_LENGTH_MAX);
  r.check(isCIdentifier(id), path, id);
}

/** The name of an attribute of one driver. */
export function validateFullName(name: string, path: Path, r: Report): void {
  validateQualifiedName(name, path, r);
  if (name.includes("/")) return;
  r.invalid(path, name, "a fully qualified name must be a domain and a name separated by a slash");
}

/** Checks a taint; an effect that was there before is not judged again. */
export function validateTaint(taint: Obj, path: Path, r: Report, old?: Obj): void {
  const { key = "", value = "", effect = "" } = taint;
  r.check(isQualifiedName(key), path.child("key"), key);
  if (value) r.check(isLabelValue(value), path.child("value"), value);
  if (old && (old.effect ?? "") === effect) return;
  if (!effect) r.required(path.child("effect"));
  else if (!TAINT_EFFECTS.includes(effect)) {
    r.notSupported(path.child("effect"), effect, TAINT_EFFECTS);
  }
}

/** Conditions that a device's pods wait for, and those that end the waiting: both or none, and never the same. */
export function validateBindings(device: Obj, path: Path, r: Report): void {
  const names = ["bindingConditions", "bindingFailureConditions"] as const;
  const [good = [], bad = []]: (string[] | undefined)[] = names.map((name) => device[name]);
  const [goodAt, badAt] = names.map((name) => path.child(name));
  for (const [list, at] of [[good, goodAt], [bad, badAt]] as const) {
    each(list, BINDING_CONDITIONS_MAX, at, r, {
      check: (type, path) => r.check(isQualifiedName(type), path, type),
    });
  }
  good.forEach((type, i) => {
    if (good.indexOf(type) < i) r.duplicate(goodAt.index(i), type);
  });
  bad.forEach((type, i) => {
    if (bad.indexOf(type) < i) r.duplicate(badAt.index(i), type);
    if (!good.includes(type)) return;
    const text = "bindingFailureConditions must not overlap with bindingConditions";
    r.invalid(badAt.index(i), type, text);
  });
  if (good.length === 0 && bad.length > 0) {
    const text = "bindingConditions are required to use bindingFailureConditions";
    r.invalid(goodAt, device.bindingConditions ?? null, text);
  }
  if (bad.length === 0 && good.length > 0) {
    const text = "bindingFailureConditions are required to use bindingConditions";
    r.invalid(badAt, device.bindingFailureConditions ?? null, text);
  }
}

/** Parameters for a driver: its name, and an object that only it understands. */
export function validateConfig(config: Obj, path: Path, r: Report): void {
  if (!config.opaque) return r.required(path.child("opaque"));
  validateCsiDriverName(config.opaque.driver ?? "", path.child("opaque", "driver"), r);
  validateRaw(config.opaque.parameters, path.child("opaque", "parameters"), r);
}

const RAW_LENGTH_MAX = 10 * 1024;

/** An object of a driver's own making. */
export function validateRaw(value: unknown, path: Path, r: Report): void {
  if (value === undefined || value === null) return r.required(path);
  if (JSON.stringify(value).length > RAW_LENGTH_MAX) return r.tooLong(path, RAW_LENGTH_MAX);
  if (typeof value !== "object" || Array.isArray(value)) {
    r.invalid(path, "<value omitted>", "must be a valid JSON object");
  }
}
