/**
 * Values as upstream prints them in errors where it holds its internal type in hand: Go's names, Go's order, and
 * everything that was left out as null or zero.
 */

import { INTERNAL_TYPES } from "../generated/internal_types.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;

interface InternalField {
  name: string;
  /** The API's name, in lower case. */
  key: string;
  code: string;
}

/** Where the two names differ by more than their case. */
const ALIASES: Readonly<Record<string, string>> = {
  DataDiskURI: "diskuri",
  CephMonitors: "monitors",
  RBDImage: "image",
  RBDPool: "pool",
  RadosUser: "user",
  DiscoveryCHAPAuth: "chapauthdiscovery",
  SessionCHAPAuth: "chapauthsession",
  EndpointsName: "endpoints",
};

const parsed = new Map<string, InternalField[]>();

function fieldsOf(type: string): InternalField[] {
  let fields = parsed.get(type);
  if (!fields) {
    fields = INTERNAL_TYPES[type].split(" ").map((text) => {
      const colon = text.indexOf(":");
      const name = text.slice(0, colon);
      return { name, key: ALIASES[name] ?? name.toLowerCase(), code: text.slice(colon + 1) };
    });
    parsed.set(type, fields);
  }
  return fields;
}

/** The host's namespaces are fields of the pod in the API, and of its security context inside. */
const HOST_FIELDS = ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers"];

function inside(type: string, value: Obj): Obj {
  if (type !== "PodSpec") return value;
  const context = { ...value.securityContext };
  for (const field of HOST_FIELDS) if (value[field] !== undefined) context[field] = value[field];
  return { ...value, securityContext: context };
}

/** The value of an internal type's name, such as `RoleRef`. */
export function internalValue(type: string, value: Obj): Obj {
  if (value === undefined || value === null) return null;
  const given = new Map<string, Obj>();
  const source = inside(type, value);
  for (const key in source) given.set(key.toLowerCase(), source[key]);
  const out: Record<string, Obj> = {};
  for (const { name, key, code } of fieldsOf(type)) {
    if (name === "ObjectMeta") Object.assign(out, sortedMaps(value.metadata));
    else out[name] = convert(code, given.get(key));
  }
  return out;
}

/** Metadata is printed as the API has it, its maps in the order of their keys. */
function sortedMaps(meta: Obj): Obj {
  const out: Record<string, Obj> = { ...meta };
  for (const field of ["labels", "annotations"]) {
    const map = out[field];
    if (!map) continue;
    out[field] = Object.fromEntries(Object.keys(map).sort().map((key) => [key, map[key]]));
  }
  return out;
}

const ZEROS: Readonly<Record<string, Obj>> = { s: "", i: 0, b: false, q: "0" };

function convert(code: string, value: Obj): Obj {
  const absent = value === undefined || value === null;
  const rest = code.slice(1);
  switch (code[0]) {
    case "@":
      return internalValue(rest, value ?? {});
    case "*":
      return absent ? null : internalValue(rest.slice(1), value);
    case "[":
      return absent ? null : value.map((item: Obj) => convert(rest, item));
    case "{":
      return absent ? null : Object.fromEntries(
        Object.keys(value).sort().map((key) => [key, convert(rest, value[key])]),
      );
    default:
      return absent ? ZEROS[code] ?? null : value;
  }
}
