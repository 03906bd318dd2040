/**
 * The table of what is served now: built-in kinds, fixed at start, and the kinds of CustomResourceDefinitions,
 * which come and go.
 */
import type { Kind, Kinds } from "../machinery/types.ts";
import { kindsOf } from "./rows.ts";
import { GROUPS } from "./groups.ts";
import { schemas } from "./schemas.ts";

/** What `createKinds` may be told. */
export interface KindsOptions {
  /** Serve beta versions too. */
  beta?: boolean;
  /** Which kinds are served, in the place of `beta`. */
  serves?: (kind: Kind) => boolean;
}

class Registry implements Kinds {
  version = 1;
  readonly #builtIn: readonly Kind[];
  readonly #custom = new Map<string, readonly Kind[]>();
  readonly #byResource = new Map<string, Kind>();
  readonly #byKind = new Map<string, Kind>();
  #all: readonly Kind[];

  constructor(builtIn: readonly Kind[]) {
    this.#builtIn = builtIn;
    this.#all = builtIn;
    for (const kind of builtIn) this.#add(kind);
  }

  byResource(group: string, version: string, plural: string): Kind | undefined {
    return this.#byResource.get(`${group}/${version}/${plural}`);
  }

  byKind(group: string, version: string, kind: string): Kind | undefined {
    return this.#byKind.get(`${group}/${version}/${kind}`);
  }

  all(): readonly Kind[] {
    return this.#all;
  }

  setCustom(name: string, kinds: readonly Kind[]): void {
    const old = this.#custom.get(name) ?? [];
    if (old.length === 0 && kinds.length === 0) return;
    for (const kind of old) {
      this.#byResource.delete(`${kind.group}/${kind.version}/${kind.plural}`);
      this.#byKind.delete(`${kind.group}/${kind.version}/${kind.kind}`);
    }
    const rows = kinds.filter((k) => !this.#isBuiltIn(k)).map(withBuiltInSchemas);
    for (const kind of rows) this.#add(kind);
    if (rows.length === 0) this.#custom.delete(name);
    else this.#custom.set(name, rows);
    this.#all = [...this.#builtIn, ...[...this.#custom.values()].flat()];
    this.version++;
  }

  /** A custom kind never takes a built-in one's place. */
  #isBuiltIn(kind: Kind): boolean {
    const resource = this.byResource(kind.group, kind.version, kind.plural);
    const named = this.byKind(kind.group, kind.version, kind.kind);
    return (resource !== undefined && !resource.custom) || (named !== undefined && !named.custom);
  }

  #add(kind: Kind): void {
    this.#byResource.set(`${kind.group}/${kind.version}/${kind.plural}`, kind);
    this.#byKind.set(`${kind.group}/${kind.version}/${kind.kind}`, kind);
  }
}

/** Custom schemas refer to built-in ones (metadata): those they lack are looked up there. */
function withBuiltInSchemas(kind: Kind): Kind {
  if (Object.getPrototypeOf(kind.schemas) !== Object.prototype) return kind;
  return { ...kind, schemas: Object.assign(Object.create(schemas), kind.schemas) };
}

let builtIn: readonly Kind[] | undefined;

/** A fresh registry of all built-in kinds. */
export function createKinds(options: KindsOptions = {}): Kinds {
  builtIn ??= GROUPS.flatMap(kindsOf);
  const { beta = false, serves = (kind) => beta || kind.level === undefined } = options;
  return new Registry(builtIn.filter(serves));
}
