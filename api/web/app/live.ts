/**
 * Lists that follow the server: a list in pages, then a watch from where it ended. Too old: listed again; cut off: tried
 * again, ever later. Events are shown together before the next picture, so that a thousand cost one.
 */
import { type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { keyOf, type Target } from "../../client/contract.ts";
import { ApiError } from "../../machinery/types.ts";
import { pause, soon } from "./browser.ts";
import { clientFor, type Form, reasonOf } from "./kube.ts";
import { at } from "./router.ts";

/** What is asked for at once. */
const PAGE_ITEMS = 2_000;
const RETRY_MS = 500;
const RETRY_MS_MAX = 15_000;

/** One item: an object, or a table's row with its cells. */
export interface Row {
  readonly key: string;
  readonly object: any;
  readonly cells: readonly any[];
}

/** A table's column, as the server describes it. */
export interface Column {
  readonly name: string;
  readonly type: string;
  readonly description: string;
  /** 0: always shown. */
  readonly priority: number;
}

/** How a list stands. */
export interface LiveState {
  readonly rows: ReadonlyMap<string, Row>;
  readonly columns: readonly Column[];
  /** The first list is there. */
  readonly loaded: boolean;
  /** Why it does not follow at the moment. */
  readonly failure?: string;
}

/** What is to be followed. */
export interface LiveQuery extends Target {
  /** As it was at that moment: it is read once, and stays. */
  at?: string;
  labelSelector?: string;
  fieldSelector?: string;
}

const EMPTY: LiveState = { rows: new Map(), columns: [], loaded: false };

/** Follows a list until the signal ends it. */
export function follow(
  { labelSelector, fieldSelector, at, ...target }: LiveQuery,
  form: Form,
  signal_: AbortSignal,
): ReadonlySignal<LiveState> {
  const state = signal<LiveState>(EMPTY);
  const query = { labelSelector, fieldSelector };
  void new Following(state, { target, query, form, at, stop: signal_ }).run();
  return state;
}

interface Followed {
  target: Target;
  query: { labelSelector?: string; fieldSelector?: string };
  form: Form;
  at?: string;
  stop: AbortSignal;
}

class Following {
  readonly #state: Signal<LiveState>;
  readonly #followed: Followed;
  #rows = new Map<string, Row>();
  #columns: readonly Column[] = [];
  #revision = "";
  #drawing = false;

  constructor(state: Signal<LiveState>, followed: Followed) {
    this.#state = state;
    this.#followed = followed;
  }

  async run(): Promise<void> {
    const { at, stop } = this.#followed;
    let wait = RETRY_MS;
    while (!stop.aborted) {
      const before = this.#revision;
      try {
        if (!this.#revision) await this.#list();
        if (at !== undefined) return;
        await this.#watch();
        wait = RETRY_MS;
        if (this.#revision !== before) continue;
      } catch (error) {
        if (stop.aborted) return;
        if (this.#revision !== before) wait = RETRY_MS;
        const code = error instanceof ApiError ? error.code : undefined;
        if (code === 410 && at === undefined) this.#revision = "";
        else this.#state.value = { ...this.#now(), failure: reasonOf(error) };
        // What is not there or not allowed now may be later, but not in a moment
        if (code === 403 || code === 404) wait = RETRY_MS_MAX;
      }
      await pause(wait, stop);
      wait = Math.min(wait * 2, RETRY_MS_MAX);
    }
  }

  async #list(): Promise<void> {
    const { target, query, form, at, stop } = this.#followed;
    const client = clientFor(form, at);
    const found = new Map<string, Row>();
    let revision = "";
    let next: string | undefined;
    do {
      const page: any = await client.list(target, {
        ...query,
        limit: PAGE_ITEMS,
        ...(next && { continue: next }),
      });
      if (stop.aborted) return;
      this.#take(page);
      for (const row of rowsOf(page)) found.set(row.key, row);
      next = page.metadata.continue;
      revision = page.metadata.resourceVersion ?? "";
      if (next) this.#state.value = { rows: found, columns: this.#columns, loaded: false };
    } while (next);
    // Only a whole list is followed: one that broke off is begun again
    this.#rows = found;
    this.#revision = revision;
    this.#draw();
  }

  async #watch(): Promise<void> {
    const { target, query, form, stop } = this.#followed;
    const events = await clientFor(form).watch<any>(target, {
      ...query,
      resourceVersion: this.#revision,
      allowWatchBookmarks: true,
    }, { signal: stop });
    if (this.#state.peek().failure) this.#draw();
    for await (const batch of events) {
      for (const { type, object } of batch) {
        for (const row of rowsOf(object)) {
          this.#revision = row.object.metadata.resourceVersion ?? this.#revision;
          if (type === "BOOKMARK") continue;
          if (type === "DELETED") this.#rows.delete(row.key);
          else this.#rows.set(row.key, row);
        }
      }
      this.#draw();
    }
  }

  #take(page: any): void {
    if (page.columnDefinitions?.length) this.#columns = page.columnDefinitions;
  }

  #now(): LiveState {
    return { rows: this.#rows, columns: this.#columns, loaded: this.#state.peek().loaded };
  }

  #draw(): void {
    if (this.#drawing) return;
    this.#drawing = true;
    soon(() => {
      this.#drawing = false;
      const rows = new Map(this.#rows);
      this.#state.value = { rows, columns: this.#columns, loaded: true };
    });
  }
}

/** The rows of what a list or an event holds. */
function rowsOf(value: any): Row[] {
  if (value.rows) {
    return value.rows.map(({ object, cells }: any) => ({ key: keyOf(object), object, cells }));
  }
  const items = value.items ?? [value];
  return items.map((object: any) => ({ key: keyOf(object), object, cells: [] }));
}

/**
 * Follows a list as long as a part of the page is there; undefined: nothing to follow now. Of the past, where the page
 * is of it.
 */
export function useLive(query: LiveQuery | undefined, form: Form = "object"): LiveState {
  const asked = query && { at: at.value, ...query };
  const key = JSON.stringify([asked, form]);
  const followed = useMemo(() => {
    const stop = new AbortController();
    return { stop, state: asked ? follow(asked, form, stop.signal) : signal(EMPTY) };
  }, [key]);
  useEffect(() => () => followed.stop.abort(), [followed]);
  return followed.state.value;
}

/** Follows one object; undefined: not there (yet). */
export function useObject(target: Target & { name: string } | undefined) {
  const query = target &&
    { ...target, name: undefined, fieldSelector: `metadata.name=${target.name}` };
  const { rows, ...state } = useLive(query);
  return { ...state, object: rows.values().next().value?.object };
}
