/**
 * The API as it was: for each revision that somebody asks for, a server over a fork of the past which nobody can write
 * to. Discovery, OpenAPI, custom resources, Tables and pages are what they were then, by the same code; only who is
 * asking, and what they may, is decided by what holds now. Ages are those of that time: the clock stands still there.
 *
 * The newest few are kept, as whoever looks at a moment mostly asks more than once.
 */
import { ClosedError, type Database, ManualClock, type Store } from "../kv/mod.ts";
import type { Client, User } from "./client/contract.ts";
import { createKinds } from "./kinds/mod.ts";
import { over } from "./machinery/over.ts";
import type { KubeObject } from "./machinery/types.ts";
import type { Api, ApiOptions } from "./mod.ts";

/** Moments whose servers are kept. */
export const PAST_APIS_MAX = 8;

/** A cluster as it was at a revision. */
export interface PastApi {
  readonly revision: number;
  /** When that was committed, or the later time that was asked for (wall, ms): ages and events are those of then. */
  readonly time: number;
  answer: Api["answer"];
  fetch: Api["fetch"];
  /** What a user sees of it. */
  client(user: User): Pick<Client, "get" | "list">;
}

interface Kept {
  made: Promise<PastApi>;
  close(): Promise<void>;
}

/** See the module's text. */
export class Past {
  readonly #present: ApiOptions;
  readonly #create: (options: ApiOptions) => Api;
  readonly #kept = new Map<string, Kept>();

  /** `present`: what the server of now is made of; `create` makes one. */
  constructor(present: ApiOptions, create: (options: ApiOptions) => Api) {
    this.#present = present;
    this.#create = create;
  }

  /**
   * The API at a revision, as it was when that was committed or at a later time, before the next one. Rejects with
   * CompactedError or FutureRevisionError where there is none.
   */
  async at(revision: number, later?: number): Promise<PastApi> {
    const { database, clock } = this.#present;
    const time = Math.max(
      await database.objects.timeOf(revision),
      Math.min(later ?? 0, clock.now()),
    );
    const name = `${revision} ${time}`;
    let kept = this.#kept.get(name);
    // The one that was asked for last goes last
    this.#kept.delete(name);
    this.#kept.set(name, kept ??= this.#make(revision, time));
    kept.made.catch(() => this.#kept.delete(name));
    for (const [oldest, { close }] of this.#kept) {
      if (this.#kept.size <= PAST_APIS_MAX) break;
      this.#kept.delete(oldest);
      void close();
    }
    return await kept.made;
  }

  async close(): Promise<void> {
    const all = [...this.#kept.values()];
    this.#kept.clear();
    await Promise.all(all.map(({ close }) => close()));
  }

  #make(revision: number, time: number): Kept {
    const clock = new ManualClock({ startMs: time });
    const forking = this.#present.database.fork({ clock, at: revision, eventsOf: time });
    const made = forking.then((database): PastApi => {
      const api = this.#create({ ...asItWas(this.#present), database: readOnly(database), clock });
      const { answer, fetch } = api;
      return { revision, time, answer, fetch, client: (user) => api.client(user) };
    });
    return { made, close: () => forking.then((database) => database.close(), () => {}) };
  }
}

/** What a server of the past is made of: nothing that reaches elsewhere, and nothing that is of now alone. */
function asItWas(present: ApiOptions): ApiOptions {
  const { kinds, front, ...same } = present;
  const served = new Set(kinds.all().filter((kind) => !kind.custom));
  return {
    ...same,
    kinds: createKinds({ serves: (kind) => served.has(kind) }),
    // Whoever comes here has been audited, and recorded, on the way
    front: { ...front, audit: undefined, tracing: undefined },
    audit: undefined,
    aggregates: false,
    dialer: undefined,
    elsewhere: undefined,
    virtual: undefined,
    beside: undefined,
    following: undefined,
    metricsText: undefined,
  };
}

function readOnly(database: Database<KubeObject>): Database<KubeObject> {
  const write = () => Promise.reject(new ClosedError("the past cannot be written to"));
  const still = (store: Store<KubeObject>) => over(store, { write });
  const { objects, events } = database;
  return over(database, { objects: still(objects), events: still(events) });
}
