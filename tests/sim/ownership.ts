/**
 * A plain model of who owns which field, and random histories of several managers to hold the server against it.
 *
 * The model knows leaves (scalars, whole atomic values, members of sets, items of keyed lists) and, for each manager, the
 * set of leaves it owns. Its rules fit on a page: see `Model`. It shares nothing with the code under test but JSON. (It knows
 * no containers: histories keep something in each map and list, so that none comes or goes.)
 */

// deno-lint-ignore no-explicit-any -- JSON of every kind
export type Json = any;

/** As much of a schema as ownership depends on. */
export type Shape =
  | "whole"
  | { map: Shape }
  | { fields: Readonly<Record<string, Shape>> }
  | { set: true }
  | { keyed: string; item: Readonly<Record<string, Shape>> };

/** One request of a history. */
export interface Step {
  verb: "apply" | "update" | "patch" | "apply status" | "update status";
  manager: string;
  force?: boolean;
  body: Json;
}

/** Leaves and what they hold, as JSON. */
export type Leaves = Map<string, string>;

/** The leaves of a value. */
export function leavesOf(value: Json, shape: Shape, path = "", out: Leaves = new Map()): Leaves {
  if (value === undefined || value === null) return out;
  if (shape === "whole") out.set(path, JSON.stringify(sorted(value)));
  else if ("map" in shape) {
    for (const key of Object.keys(value)) leavesOf(value[key], shape.map, `${path}.${key}`, out);
  } else if ("fields" in shape) {
    for (const key of Object.keys(shape.fields)) {
      leavesOf(value[key], shape.fields[key], `${path}.${key}`, out);
    }
  } else if ("set" in shape) { for (const item of value) out.set(`${path}[=${item}]`, ""); }
  else {
    for (const item of value) {
      const at = `${path}[${item[shape.keyed]}]`;
      out.set(at, "");
      for (const key of Object.keys(shape.item)) {
        leavesOf(item[key], shape.item[key], `${at}.${key}`, out);
      }
    }
  }
  return out;
}

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
}

/** The leaves that a manager's `fieldsV1` names. */
export function ownedLeaves(
  set: Json,
  shape: Shape,
  path = "",
  out: Set<string> = new Set(),
): Set<string> {
  if (shape === "whole") return out.add(path);
  for (const element of Object.keys(set)) {
    if (element === ".") continue;
    const rest = element.slice(2);
    const inner = set[element];
    if ("map" in shape) ownedLeaves(inner, shape.map, `${path}.${rest}`, out);
    else if ("fields" in shape) {
      if (shape.fields[rest]) ownedLeaves(inner, shape.fields[rest], `${path}.${rest}`, out);
    } else if ("set" in shape) out.add(`${path}[=${JSON.parse(rest)}]`);
    else {
      const at = `${path}[${JSON.parse(rest)[shape.keyed]}]`;
      if (Object.keys(inner).length === 0 || inner["."]) out.add(at);
      ownedLeaves(inner, { fields: shape.item }, at, out);
    }
  }
  return out;
}

/** A manager as the model names it. */
export function ownerName(operation: string, manager: string, subresource = ""): string {
  return [operation, manager, subresource].filter(Boolean).join(" ");
}

/** See the module's text. */
export class Model {
  leaves: Leaves = new Map();
  readonly owners: Map<string, Set<string>> = new Map();

  /** A write that says how all is to be: what it changes is its writer's, alone; what it takes away is nobody's. */
  update(owner: string, next: Leaves): void {
    const changed = [...next].filter(([leaf, value]) => this.leaves.get(leaf) !== value);
    const gone = [...this.leaves.keys()].filter((leaf) => !next.has(leaf));
    for (const set of this.owners.values()) {
      for (const [leaf] of changed) set.delete(leaf);
      for (const leaf of gone) set.delete(leaf);
    }
    for (const [leaf] of changed) this.#of(owner).add(leaf);
    this.leaves = next;
    this.#tidy();
  }

  /** Whose fields an apply would change, as `owner leaf`. */
  conflicts(owner: string, wanted: Leaves): string[] {
    const found: string[] = [];
    for (const [other, set] of this.owners) {
      if (other === owner) continue;
      for (const [leaf, value] of wanted) {
        if (set.has(leaf) && this.leaves.get(leaf) !== value) found.push(`${other} ${leaf}`);
      }
    }
    return found.sort();
  }

  /** A wish: its fields are its writer's, with whoever wanted the same; its former ones go if they are nobody's. */
  apply(owner: string, wanted: Leaves): void {
    const former = this.owners.get(owner) ?? new Set();
    for (const [leaf, value] of wanted) {
      if (this.leaves.has(leaf) && this.leaves.get(leaf) !== value) {
        for (const [other, set] of this.owners) if (other !== owner) set.delete(leaf);
      }
      this.leaves.set(leaf, value);
    }
    this.owners.set(owner, new Set(wanted.keys()));
    // Items first: what is in them goes with them
    for (const leaf of [...former].sort()) if (!wanted.has(leaf)) this.#drop(leaf);
    this.#tidy();
  }

  /** Removes a leaf unless somebody owns it; an item goes with all that is in it, but not without its name. */
  #drop(leaf: string): void {
    for (const set of this.owners.values()) if (set.has(leaf)) return;
    const item = leaf.match(/^(.*\])\.(?:name|type)$/)?.[1];
    if (item !== undefined && this.leaves.has(item)) return;
    const gone = [...this.leaves.keys()].filter((one) =>
      one === leaf || leaf.endsWith("]") && one.startsWith(`${leaf}.`)
    );
    for (const one of gone) {
      this.leaves.delete(one);
      for (const set of this.owners.values()) set.delete(one);
    }
  }

  #of(owner: string): Set<string> {
    let set = this.owners.get(owner);
    if (!set) this.owners.set(owner, set = new Set());
    return set;
  }

  #tidy(): void {
    for (const [owner, set] of this.owners) if (set.size === 0) this.owners.delete(owner);
  }
}

/** A JSON merge patch, by its definition (RFC 7396). */
export function merged(target: Json, patch: Json): Json {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const out = typeof target === "object" && target !== null && !Array.isArray(target)
    ? { ...target }
    : {};
  for (const key of Object.keys(patch)) {
    if (patch[key] === null) delete out[key];
    else out[key] = merged(out[key], patch[key]);
  }
  return out;
}
