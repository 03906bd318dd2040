/** Checks of resource lists: names and amounts (upstream's `validateResourceRequirements` and its parts). */

import { isDns1123Label, isQualifiedName } from "../../machinery/names.ts";
import { type Quantity, tryParseQuantity } from "../../machinery/quantity.ts";
import {
  isExtendedResource,
  isHugePages,
  isIntegerResource,
  isNativeResource,
  isOvercommitAllowed,
  isPodLevelResource,
  isStandardContainerResource,
  isStandardQuotaResource,
  isStandardResource,
} from "./resource_names.ts";
import { isSet, type Path, type Report } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;

/** The three names that nearly every list holds need no further look. */
function isPlain(name: string): boolean {
  return name === "cpu" || name === "memory" || name === "ephemeral-storage";
}

/** Checks the name of a resource; returns whether it is well formed. */
export function validateResourceName(name: string, path: Path, r: Report): boolean {
  const messages = isQualifiedName(name);
  if (messages.length) {
    r.check(messages, path, name);
    return false;
  }
  if (!name.includes("/") && !isStandardResource(name)) {
    r.invalid(path, name, "must be a standard resource type or fully qualified");
    return false;
  }
  return true;
}

/** Checks the name of a resource that a container asks for. */
export function validateContainerResourceName(name: string, path: Path, r: Report): void {
  if (isPlain(name)) return;
  validateResourceName(name, path, r);
  if (!name.includes("/")) {
    if (!isStandardContainerResource(name)) {
      r.invalid(path, name, "must be a standard resource for containers");
    }
  } else if (!isNativeResource(name) && !isExtendedResource(name)) {
    r.invalid(path, name, "doesn't follow extended resource name standard");
  }
}

function validatePodResourceName(name: string, path: Path, r: Report): void {
  if (name === "cpu" || name === "memory") return;
  if (validateResourceName(name, path, r) && !isPodLevelResource(name)) {
    r.notSupported(path, name, ["cpu", "hugepages-", "memory"]);
  }
}

/** Checks the name of a resource that a quota limits. */
export function validateQuotaResourceName(name: string, path: Path, r: Report): void {
  validateResourceName(name, path, r);
  if (!name.includes("/") && !isStandardQuotaResource(name)) {
    r.invalid(path, name, "must be a standard resource for quota");
  }
}

/** Checks that an amount fits its resource: not negative, and whole where it is counted. */
export function validateAmount(name: string, amount: Quantity, path: Path, r: Report): void {
  if (amount.sign < 0) {
    r.invalid(path, amount.toString(), "must be greater than or equal to 0");
  }
  if (!isPlain(name) && isIntegerResource(name) && amount.milliValue() % 1000 !== 0) {
    r.invalid(path, amount.toString(), "must be an integer");
  }
}

/** Checks each amount of a list, with a check of its own for names. */
export function validateAmounts(
  list: Obj,
  path: Path,
  r: Report,
  nameCheck: (name: string, path: Path, r: Report) => void,
): void {
  for (const name in list ?? {}) {
    nameCheck(name, path.key(name), r);
    const amount = tryParseQuantity(list[name]);
    if (amount) validateAmount(name, amount, path.key(name), r);
  }
}

function validateHugePages(name: string, amount: Quantity, path: Path, r: Report): void {
  const size = tryParseQuantity(name.slice("hugepages-".length));
  const divisible = size !== undefined && size.sign > 0 && amount.value() % size.value() === 0;
  if (divisible) return;
  r.invalid(path, amount.toString(), `${amount} is not positive integer multiple of ${name}`);
}

/** Checks requests and limits. `pod`: those of the pod as a whole. */
export function validateResources(
  resources: Obj,
  path: Path,
  r: Report,
  claims: ReadonlySet<string>,
  pod = false,
): void {
  if (!resources) return;
  const { limits, requests } = resources;
  const nameCheck = pod ? validatePodResourceName : validateContainerResourceName;
  let compute = false, huge = false;
  for (const name in limits ?? {}) {
    const amount = tryParseQuantity(limits[name]);
    if (pod || !isPlain(name)) nameCheck(name, path.child("limits").key(name), r);
    if (!amount) continue;
    if (amount.sign < 0 || !isPlain(name)) {
      validateAmount(name, amount, path.child("limits").key(name), r);
    }
    if (name === "cpu" || name === "memory") compute = true;
    else if (isHugePages(name)) {
      huge = true;
      validateHugePages(name, amount, path.child("limits").key(name), r);
    }
  }
  for (const name in requests ?? {}) {
    const amount = tryParseQuantity(requests[name]);
    if (pod || !isPlain(name)) nameCheck(name, path.child("requests").key(name), r);
    if (!amount) continue;
    if (amount.sign < 0 || !isPlain(name)) {
      validateAmount(name, amount, path.child("requests").key(name), r);
    }
    validateRequest(name, amount, limits, path, r);
    if (name === "cpu" || name === "memory") compute = true;
    else if (isHugePages(name)) {
      huge = true;
      validateHugePages(name, amount, path.child("requests").key(name), r);
    }
  }
  if (huge && !compute) r.forbidden(path, "HugePages require cpu or memory");
  if (resources.claims?.length) {
    validateClaimNames(resources.claims, path.child("claims"), r, claims);
  }
}

function validateRequest(name: string, amount: Quantity, limits: Obj, path: Path, r: Report): void {
  const limit = isSet(limits?.[name]) ? tryParseQuantity(limits[name]) : undefined;
  if (!limit) {
    if (!isOvercommitAllowed(name)) {
      r.required(path.child("limits"), "Limit must be set for non overcommitable resources");
    }
    return;
  }
  const order = amount.compare(limit);
  if (order !== 0 && !isOvercommitAllowed(name)) {
    r.invalid(
      path.child("requests"),
      amount.toString(),
      `must be equal to ${name} limit of ${limit}`,
    );
  } else if (order > 0) {
    const text = `must be less than or equal to ${name} limit of ${limit}`;
    r.invalid(path.child("requests"), amount.toString(), text);
  }
}

function validateClaimNames(
  claims: Obj[],
  path: Path,
  r: Report,
  known: ReadonlySet<string>,
): void {
  const seen = new Set<string>();
  claims.forEach(({ name, request }, i) => {
    const at = path.index(i);
    if (!name) return r.required(at);
    if (seen.has(name)) r.duplicate(at, name);
    else {
      const key = request ? `${name}/${request}` : name;
      if (request) r.check(isDns1123Label(request), at.child("request"), request);
      if (seen.has(key)) r.duplicate(at, key);
      else if (!request) {
        for (const other of seen) if (other.startsWith(`${name}/`)) r.duplicate(at, name);
      }
      seen.add(key);
    }
    if (known.has(name)) return;
    const list = known.size ? `: ${[...known].sort().join(", ")}` : " which is empty";
    r.causes.push({
      reason: "FieldValueNotFound",
      field: `${at}`,
      message: `Not found: "${name}": must be one of the names in pod.spec.resourceClaims${list}`,
    });
  });
}
