/**
 * A small state for the tests of this folder: a view and a draft over a sorted map, and a clock that moves when told.
 */
import type { Clock } from "../../kv/clock.ts";
import type { Draft, Item, View } from "../../kv/contract.ts";
import { deepFreeze, edit } from "../machinery/edit.ts";
import type { KubeObject } from "../machinery/types.ts";
import type { Admission, AdmissionPlugin } from "./contract.ts";

/** A mutable state whose `view()` always shows the head. */
export class State {
  revision = 1;
  readonly items = new Map<string, Item<KubeObject>>();

  put(key: string, object: unknown): number {
    const revision = ++this.revision;
    const value = deepFreeze(edit(object)) as KubeObject;
    this.items.set(key, { key, revision, bytes: new Uint8Array(), value });
    return revision;
  }

  delete(key: string): number | undefined {
    return this.items.delete(key) ? ++this.revision : undefined;
  }

  /** The head, as a view and as a draft at once. */
  view(): Draft<KubeObject> {
    return this.#draft;
  }

  readonly #draft: Draft<KubeObject> = this.#makeDraft();

  #makeDraft(): Draft<KubeObject> {
    // deno-lint-ignore no-this-alias -- the draft's getter needs the state's revision
    const state = this;
    return {
      get revision() {
        return state.revision;
      },
      get: (key) => state.items.get(key),
      *scan(prefix, options) {
        const keys = [...state.items.keys()].filter((k) => k.startsWith(prefix)).sort();
        for (const key of keys) {
          if (!options?.after || key > options.after) yield state.items.get(key)!;
        }
      },
      count: (prefix) => [...state.items.keys()].filter((k) => k.startsWith(prefix)).length,
      put: (key, value) => state.put(key, value),
      delete: (key) => state.delete(key),
      mail: () => {},
    };
  }
}

/** A clock that stands still; `set` moves it. Randomness is a plain counter. */
export function stillClock(start = Date.parse("2026-01-01T00:00:00Z")) {
  let now = start;
  let drawn = 0;
  const clock: Clock = {
    manual: true,
    now: () => now,
    monotonic: () => now,
    timer: () => ({ cancel: () => {} }),
    sleep: (delayMs) => {
      now += delayMs;
      return Promise.resolve();
    },
    turn: () => Promise.resolve(),
    random: () => (drawn++ * 0.37) % 1,
    uuid: () => `00000000-0000-4000-8000-${String(drawn++).padStart(12, "0")}`,
    bytes: (length) => new Uint8Array(length).map(() => drawn++ * 31 + 7),
  };
  return { clock, set: (ms: number) => now = ms };
}

/** An object with the metadata every stored object has. */
export function stored(object: Record<string, unknown> & { metadata: unknown }): KubeObject {
  const metadata = object.metadata as Record<string, unknown>;
  return {
    ...object,
    metadata: {
      uid: `uid-${metadata.name}`,
      creationTimestamp: "2026-01-01T00:00:00Z",
      ...metadata,
    },
  } as unknown as KubeObject;
}

/** An active namespace. */
export function namespace(name: string, more: Record<string, unknown> = {}): KubeObject {
  return stored({
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name, ...more },
    status: { phase: "Active" },
  });
}

/** An admission with defaults for what a test does not care about. */
export function admission(
  state: State,
  given: Partial<Admission> & { resource: string; group?: string },
): Admission & { warnings: string[]; annotations: Record<string, string> } {
  const { resource, group = "", ...rest } = given;
  const warnings: string[] = [];
  const annotations: Record<string, string> = {};
  return {
    operation: "CREATE",
    kind: { plural: resource, group, version: "v1", kind: resource, namespaced: true } as never,
    subresource: "",
    namespace: "",
    name: "",
    user: { name: "alice", groups: ["system:authenticated"] },
    dryRun: false,
    options: {},
    view: state.view() as View<KubeObject>,
    now: Date.parse("2026-01-01T00:00:00Z"),
    warn: (text) => warnings.push(text),
    annotate: (key, value) => annotations[key] = value,
    warnings,
    annotations,
    ...rest,
  };
}

/** Runs an admission through one plugin: mutate, validate, commit. */
export async function admit(plugin: AdmissionPlugin, a: Admission, state: State): Promise<void> {
  if (!plugin.handles(a)) return;
  await plugin.mutate?.(a);
  await plugin.validate?.(a);
  plugin.commit?.(a, state.view());
}

/** The message of what a function throws; empty when it does not. */
export async function messageOf(fn: () => unknown): Promise<string> {
  try {
    await fn();
    return "";
  } catch (error) {
    return (error as Error).message;
  }
}
