/**
 * Validation of ResourceSlices (upstream's `pkg/apis/resource/validation`): the pool, who reaches it, and what its
 * devices say of themselves.
 */

import { isDns1123Label, isDns1123Subdomain } from "../../machinery/names.ts";
import { type Quantity, tryParseQuantity } from "../../machinery/quantity.ts";
import type { Cause, DeepReadonly, KubeObject } from "../../machinery/types.ts";
import { semanticEqual } from "./equality.ts";
import { validateNodeSelector } from "./pod_affinity.ts";
import { isSet, type Path, Report, SPEC } from "./report.ts";
import { isNativeResource } from "./resource_names.ts";
import {
  each,
  IDENTIFIER_LENGTH_MAX,
  validateBindings,
  validatePoolName,
  validateQualifiedName,
  validateTaint,
} from "./resource_parts_validation.ts";
import { validateCsiDriverName } from "./volume_sources.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const DEVICES_MAX = 128;
/** Of devices with taints or counters. */
const DEVICES_MAX_ADVANCED = 64;
const COUNTER_SETS_MAX = 8;
const COUNTERS_MAX = 32;
const CONSUMPTIONS_MAX = 2;
const ATTRIBUTES_MAX = 32;
const ATTRIBUTE_VALUES_MAX = 48;
const ATTRIBUTE_LENGTH_MAX = 64;
const DEVICE_TAINTS_MAX = 16;
const REQUEST_VALUES_MAX = 10;
const IMMUTABLE = "field is immutable";
const TRUE_ONLY = "must be either unset or set to true";

/** Checks a slice, an update against the stored one. */
export function validateSlice(slice: Stored, old?: Stored): Cause[] {
  const r = new Report();
  const { spec } = slice;
  validateCsiDriverName(spec.driver ?? "", SPEC.child("driver"), r);
  validatePool(spec.pool ?? {}, r);
  if (old) validateUnchanged(spec, old.spec ?? {}, r);
  validateNodeChoice(spec, r);
  if (spec.sharedCounters && spec.devices) {
    r.invalid(SPEC, "", "only one of `sharedCounters` or `devices` is allowed");
  }
  const devices: Obj[] = spec.devices ?? [];
  const advanced = devices.some(({ taints, consumesCounters }) =>
    taints?.length > 0 || consumesCounters?.length > 0
  );
  each(devices, advanced ? DEVICES_MAX_ADVANCED : DEVICES_MAX, SPEC.child("devices"), r, {
    check(device, path) {
      const before = old?.spec?.devices?.find((other: Obj) => other.name === device.name);
      validateDevice(device, before, path, r, spec.perDeviceNodeSelection === true);
    },
    key: (device) => device.name ?? "",
  });
  each(spec.sharedCounters, COUNTER_SETS_MAX, SPEC.child("sharedCounters"), r, {
    check(set, path) {
      validateCounterName(set.name ?? "", path.child("name"), r);
      validateCounters(set.counters, path.child("counters"), r);
    },
    key: (set) => set.name ?? "",
  });
  return r.causes;
}

function validatePool(pool: Obj, r: Report): void {
  const at = SPEC.child("pool");
  const { name = "", resourceSliceCount: count = 0, generation = 0 } = pool;
  validatePoolName(name, at.child("name"), r);
  if (count <= 0) r.invalid(at.child("resourceSliceCount"), count, "must be greater than zero");
  if (generation < 0) {
    r.invalid(at.child("generation"), generation, "must be greater than or equal to zero");
  }
}

function validateUnchanged(spec: Obj, before: Obj, r: Report): void {
  const same = (path: Path, now: unknown, then: unknown, none: unknown) => {
    if (now !== then) r.invalid(path, now ?? none, IMMUTABLE);
  };
  same(SPEC.child("pool", "name"), spec.pool?.name, before.pool?.name, "");
  same(SPEC.child("driver"), spec.driver, before.driver, "");
  same(SPEC.child("nodeName"), spec.nodeName, before.nodeName, null);
}

const NODE_CHOICE = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, " +
  "`perDeviceNodeSelection` is required";

function validateNodeChoice(spec: Obj, r: Report): void {
  const chosen: string[] = [];
  if (isSet(spec.nodeName)) {
    if (spec.nodeName) {
      chosen.push("`nodeName`");
      r.check(isDns1123Subdomain(spec.nodeName), SPEC.child("nodeName"), spec.nodeName);
    } else {
      const message = "must be either unset or set to a non-empty string";
      r.invalid(SPEC.child("nodeName"), "", message);
    }
  }
  if (spec.nodeSelector) {
    chosen.push("`nodeSelector`");
    const at = SPEC.child("nodeSelector");
    validateNodeSelector(spec.nodeSelector, at, r);
    const terms: Obj[] | undefined = spec.nodeSelector.nodeSelectorTerms;
    if (terms?.length !== 1) {
      const text = "must have exactly one node selector term";
      r.invalid(at.child("nodeSelectorTerms"), terms ?? null, text);
    }
  }
  for (const field of ["allNodes", "perDeviceNodeSelection"]) {
    if (spec[field]) chosen.push(`\`${field}\``);
    else if (isSet(spec[field])) r.invalid(SPEC.child(field), false, TRUE_ONLY);
  }
  if (chosen.length === 0) r.required(SPEC, NODE_CHOICE);
  else if (chosen.length > 1) {
    r.invalid(SPEC, `{${chosen.join(", ")}}`, `${NODE_CHOICE}, but multiple fields are set`);
  }
}

// --- devices ---------------------------------------------------------------------------------------------

function validateDevice(
  device: Obj,
  old: Obj,
  path: Path,
  r: Report,
  choosesNodes: boolean,
): void {
  r.check(isDns1123Label(device.name ?? ""), path.child("name"), device.name ?? "");
  validateSizes(device, path, r);
  validateMap(device.attributes, -1, path.child("attributes"), r, {
    key: validateQualifiedName,
    value: validateAttribute,
  });
  validateMap(device.capacity, -1, path.child("capacity"), r, {
    key: validateQualifiedName,
    value: device.allowMultipleAllocations === true ? validateShared : validateSingle,
  });
  if (!old || !semanticEqual(old.taints, device.taints)) {
    each(device.taints, DEVICE_TAINTS_MAX, path.child("taints"), r, {
      check: (taint, path) => validateTaint(taint, path, r),
    });
  }
  each(device.consumesCounters, CONSUMPTIONS_MAX, path.child("consumesCounters"), r, {
    check(consumption, path) {
      validateCounterName(consumption.counterSet ?? "", path.child("counterSet"), r);
      validateCounters(consumption.counters, path.child("counters"), r);
    },
    key: (consumption) => consumption.counterSet ?? "",
  });
  if (choosesNodes) validateDeviceNodes(device, path, r);
  else if (["nodeName", "nodeSelector", "allNodes"].some((field) => isSet(device[field]))) {
    const text = "`nodeName`, `nodeSelector` and `allNodes` can only be set if " +
      "`perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    r.invalid(path, null, text);
  }
  validateBindings(device, path, r);
  validateMappings(device, path.child("nodeAllocatableResourceMappings"), r);
}

function validateSizes({ attributes = {}, capacity = {} }: Obj, path: Path, r: Report): void {
  const entries = Object.keys(attributes).length + Object.keys(capacity).length;
  if (entries > ATTRIBUTES_MAX) {
    const text = `the total number of attributes and capacities must not exceed ${ATTRIBUTES_MAX}`;
    r.invalid(path, entries, text);
  }
  let values = 0;
  for (const attribute of Object.values<Obj>(attributes)) {
    const listed = LISTS.reduce((sum, field) => sum + (attribute[field]?.length ?? 0), 0);
    values += listed || 1;
  }
  if (values > ATTRIBUTE_VALUES_MAX) {
    const text = `the total number of attribute values must not exceed ${ATTRIBUTE_VALUES_MAX}`;
    r.invalid(path, values, text);
  }
}

const DEVICE_NODE_CHOICE = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required " +
  "when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";

function validateDeviceNodes(device: Obj, path: Path, r: Report): void {
  const chosen: string[] = [];
  const { nodeName, nodeSelector, allNodes } = device;
  if (isSet(nodeName)) {
    if (nodeName) {
      chosen.push("`nodeName`");
      r.check(isDns1123Subdomain(nodeName), path.child("nodeName"), nodeName);
    } else r.invalid(path.child("nodeName"), "", "must not be empty");
  }
  if (isSet(nodeSelector)) {
    chosen.push("`nodeSelector`");
    validateNodeSelector(nodeSelector, path.child("nodeSelector"), r);
  }
  if (allNodes === true) chosen.push("`allNodes`");
  else if (isSet(allNodes)) r.invalid(path.child("allNodes"), allNodes, TRUE_ONLY);
  if (chosen.length === 0) r.required(path, DEVICE_NODE_CHOICE);
  else if (chosen.length > 1) r.invalid(path, `{${chosen.join(", ")}}`, DEVICE_NODE_CHOICE);
}

/** How a map's entries are checked: the key under the map's place, the value under its own. */
interface Entries {
  key(name: string, path: Path, r: Report): void;
  value?(value: Obj, path: Path, r: Report): void;
}

function validateMap(map: Obj, max: number, path: Path, r: Report, check: Entries): void {
  const names = Object.keys(map ?? {}).sort();
  if (max >= 0 && names.length > max) return r.tooMany(path, names.length, max);
  for (const name of names) {
    check.key(name, path, r);
    check.value?.(map[name], path.key(shortened(name)), r);
  }
}

/** The longest name that is a good one. */
const NAME_LENGTH_MAX = 63 + 1 + IDENTIFIER_LENGTH_MAX;

/** Names in paths lose their middle where they are too long. */
function shortened(name: string): string {
  if (name.length <= NAME_LENGTH_MAX) return name;
  const rest = NAME_LENGTH_MAX - 3;
  return `${name.slice(0, (rest + 1) >> 1)}...${name.slice(name.length - (rest >> 1))}`;
}

const SEMVER = new RegExp(
  "^(0|[1-9]\\d*)\\.(0|[1-9]\\d*)\\.(0|[1-9]\\d*)" +
    "(-(0|[1-9]\\d*|\\d*[a-zA-Z-][0-9a-zA-Z-]*)(\\.(0|[1-9]\\d*|\\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?" +
    "(\\+[0-9a-zA-Z-]+(\\.[0-9a-zA-Z-]+)*)?$",
);
/** An attribute's fields, each with the name it has inside. */
const VALUES: Readonly<Record<string, string>> = {
  int: "IntValue",
  bool: "BoolValue",
  string: "StringValue",
  version: "VersionValue",
  ints: "IntValues",
  bools: "BoolValues",
  strings: "StringValues",
  versions: "VersionValues",
};
const LISTS = ["bools", "ints", "strings", "versions"];

function validateText(value: string, path: Path, r: Report, version: boolean): void {
  if (version && !SEMVER.test(value)) {
    r.invalid(path, value, "must be a string compatible with semver.org spec 2.0.0");
  }
  if (value.length > ATTRIBUTE_LENGTH_MAX) r.tooLong(path, ATTRIBUTE_LENGTH_MAX);
}

function validateAttribute(attribute: Obj, path: Path, r: Report): void {
  const { string, version } = attribute;
  if (isSet(string)) validateText(string, path.child("string"), r, false);
  if (isSet(version)) validateText(version, path.child("version"), r, true);
  for (const field of LISTS) {
    const list: Obj[] | undefined = attribute[field];
    if (!isSet(list)) continue;
    if (list!.length === 0) r.invalid(path.child(field), list, "must not be empty if specified");
    if (field !== "strings" && field !== "versions") continue;
    list!.forEach((item, i) => {
      validateText(item, path.child(field).index(i), r, field === "versions");
    });
  }
  const given = Object.keys(VALUES).filter((field) => isSet(attribute[field]));
  if (given.length === 1) return;
  const shown = given.length === 0 ? "" : Object.fromEntries(
    Object.entries(VALUES).map(([field, name]) => [name, attribute[field] ?? null]),
  );
  r.invalid(path, shown, "exactly one value must be specified");
}

function validateCounterName(name: string, path: Path, r: Report): void {
  if (!name) r.required(path);
  else r.check(isDns1123Label(name), path, name);
}

function validateCounters(counters: Obj, path: Path, r: Report): void {
  if (!counters || Object.keys(counters).length === 0) return r.required(path);
  validateMap(counters, COUNTERS_MAX, path, r, {
    key: (name, path, r) => r.check(isDns1123Label(name), path, name),
  });
}

/** What a device gives pods of a node's own resources. */
function validateMappings(device: Obj, path: Path, r: Report): void {
  for (const name of Object.keys(device.nodeAllocatableResourceMappings ?? {}).sort()) {
    const { allocationMultiplier, capacityKey } = device.nodeAllocatableResourceMappings[name];
    const at = path.key(name);
    if (!isNativeResource(name)) {
      r.invalid(at, name, "must be a node allocatable resource name");
    }
    if (!isSet(allocationMultiplier) && !isSet(capacityKey)) {
      r.invalid(at, "", "at least one of allocationMultiplier or capacityKey must be set");
    }
    if (isSet(allocationMultiplier) && quantityOf(allocationMultiplier).sign <= 0) {
      r.invalid(at.child("allocationMultiplier"), allocationMultiplier, "must be positive");
    }
    if (capacityKey === "") {
      r.invalid(at.child("capacityKey"), "", "capacityKey must not be an empty string");
    } else if (isSet(capacityKey) && device.capacity?.[capacityKey] === undefined) {
      r.notFound(at.child("capacityKey"), capacityKey);
    }
  }
}

// --- capacity --------------------------------------------------------------------------------------------

function quantityOf(value: unknown): Quantity {
  return tryParseQuantity(value ?? "0")!;
}

function validateSingle(capacity: Obj, path: Path, r: Report): void {
  if (!isSet(capacity.requestPolicy)) return;
  r.forbidden(path.child("requestPolicy"), "allowMultipleAllocations must be true");
}

/** Capacity that several claims share: the policy tells what they may ask for. */
function validateShared({ value, requestPolicy: policy }: Obj, path: Path, r: Report): void {
  if (!isSet(policy)) return;
  const at = path.child("requestPolicy");
  const values: string[] = policy.validValues ?? [];
  const range = policy.validRange;
  if (values.length > 0 && isSet(range)) {
    const text = "exactly one policy can be specified, cannot specify " +
      '"validValues" and "validRange" at the same time';
    return r.forbidden(at, text);
  }
  const field = values.length > 0 ? "validValues" : "validRange";
  if (values.length === 0 && !isSet(range)) return;
  if (!isSet(policy.default)) {
    return r.required(at.child("default"), `required when ${field} is defined`);
  }
  const most = quantityOf(value), normal = quantityOf(policy.default);
  if (values.length > 0) validateValues(values.map(quantityOf), normal, most, at.child(field), r);
  else validateRange(range, normal, most, at.child(field), r);
}

function validateValues(
  values: Quantity[],
  normal: Quantity,
  most: Quantity,
  path: Path,
  r: Report,
): void {
  for (let i = 1; i < values.length; i++) {
    if (values[i - 1].compare(values[i]) <= 0) continue;
    r.invalid(path.index(i), `${values[i]}`, "values must be sorted in ascending order");
  }
  each(values, REQUEST_VALUES_MAX, path, r, {
    check(option: Quantity, path) {
      if (option.compare(most) <= 0) return;
      r.invalid(path, `${option}`, `option is larger than capacity value: ${most}`);
    },
    key: (option: Quantity) => `${option.value()}`,
  });
  if (values.length > REQUEST_VALUES_MAX || !values.some((v) => v.compare(normal) === 0)) {
    r.invalid(path, `${normal}`, "default value is not valid according to the requestPolicy");
  }
}

function validateRange(
  range: Obj,
  normal: Quantity,
  most: Quantity,
  path: Path,
  r: Report,
): void {
  const minAt = path.child("min"), maxAt = path.child("max"), stepAt = path.child("step");
  if (!isSet(range.min)) return r.required(minAt, "required when validRange is defined");
  const min = quantityOf(range.min);
  if (min.compare(most) > 0) {
    r.invalid(minAt, `${min}`, `min is larger than capacity value: ${most}`);
  }
  if (normal.compare(min) < 0) r.invalid(minAt, `${normal}`, `default is less than min: ${min}`);
  const max = isSet(range.max) ? quantityOf(range.max) : undefined;
  if (max) {
    if (min.compare(max) > 0) r.invalid(maxAt, `${min}`, `min is larger than max: ${max}`);
    if (max.compare(most) > 0) {
      r.invalid(maxAt, `${max}`, `max is larger than capacity value: ${most}`);
    }
    if (normal.compare(max) > 0) r.invalid(maxAt, `${normal}`, `default is more than max: ${max}`);
  }
  if (!isSet(range.step)) return;
  const step = quantityOf(range.step), first = min.add(step);
  if (first.compare(most) > 0) {
    r.invalid(stepAt, `${step}`, `one step ${first} is larger than capacity value: ${most}`);
  }
  for (const value of max ? [normal, max] : [normal]) {
    // A step of nothing would divide by it: upstream has no answer to that
    const size = step.value();
    if (size === 0 || (value.value() - min.value()) % size === 0) continue;
    const text = `value is not a multiple of a given step (${step}) from (${min})`;
    r.invalid(stepAt, `${value}`, text);
  }
}
