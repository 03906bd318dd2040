/**
 * What a request is thought to cost: a list by the bytes it will hold at once, a watch the same while it begins, a
 * write by those who watch what it changes. Numbers are upstream's, where nothing else is said.
 */
import type { Requested } from "../auth/impersonate.ts";
import { parseFieldSelector, SelectorError } from "../machinery/selectors.ts";
import type { Kind, KubeObject } from "../machinery/types.ts";
import type { View } from "../../kv/contract.ts";
import type { Work } from "./flow_queues.ts";

/** One seat for so many bytes of a list. */
const BYTES_PER_SEAT = 100_000;
/** A list that is sent in pieces holds no more than this at once. */
const LIST_BYTES_MAX = 1_000_000;
/** Seats of one list at most. */
export const LIST_SEATS_MAX = 100;
/** Seats of one write at most. */
export const WRITE_SEATS_MAX = 10;
/** Watchers that are one seat's work. */
const WATCHES_PER_SEAT = 10;
/**
 * How long such a seat is thought to work for one event, in ms. Chosen after what the fan-out of events was measured to
 * take, not measured itself. (Upstream thinks 5: here a few watchers would then stop all writes.)
 */
const EVENT_MS = 0.2;

const PLAIN: Work = Object.freeze({ seats: 1, finalSeats: 0, finalMs: 0 });

/** Counts the watches over HTTP by what they watch. */
export class WatchCounts {
  #all = 0;
  readonly #counts = new Map<string, number>();

  /** Open watches by labels, as metrics show them. */
  readonly open = new Map<string, number>();

  /** Notes a watch; call what is returned when it ends. */
  begin(requested: Requested): () => void {
    const { group, resource, namespace, name, version } = requested;
    const scope = name ? "resource" : namespace ? "namespace" : "cluster";
    const labels = `group="${group}",resource="${resource}",scope="${scope}",subresource="",` +
      `verb="WATCH",version="${version}"`;
    const end = this.#interest(requested);
    this.open.set(labels, (this.open.get(labels) ?? 0) + 1);
    let over = false;
    return () => {
      if (over) return;
      over = true;
      end();
      const left = this.open.get(labels)! - 1;
      if (left > 0) this.open.set(labels, left);
      else this.open.delete(labels);
    };
  }

  #interest(requested: Requested): () => void {
    // A watcher of one node's pods is not told of others: it is no part of a write's cost
    if (requested.resource === "pods" && ofOneNode(requested.fieldSelector)) return () => {};
    const key = keyOf(requested, requested.namespace, requested.name);
    this.#add(key, 1);
    return () => this.#add(key, -1);
  }

  #add(key: string, by: number): void {
    this.#all += by;
    const count = (this.#counts.get(key) ?? 0) + by;
    if (count > 0) this.#counts.set(key, count);
    else this.#counts.delete(key);
  }

  /** How many hear of a write; fewer than `least` are not counted exactly. */
  interested(requested: Requested, least: number): number {
    if (this.#all < least) return this.#all;
    const of = (namespace: string, name: string) =>
      this.#counts.get(keyOf(requested, namespace, name)) ?? 0;
    const { namespace, name } = requested;
    return of("", "") + (namespace ? of(namespace, "") : 0) + (name ? of(namespace, name) : 0);
  }
}

function keyOf({ group, resource }: Requested, namespace: string, name: string): string {
  return `${resource}.${group}/${namespace}/${name}`;
}

function ofOneNode(selector: string | undefined): boolean {
  if (!selector?.includes("spec.nodeName")) return false;
  try {
    return !!parseFieldSelector(selector).exact("spec.nodeName");
  } catch (error) {
    if (error instanceof SelectorError) return false;
    throw error;
  }
}

/** What an estimate looks at. */
export interface WorkContext {
  watches: WatchCounts;
  /** Seats of one request of the level at most; 0: no bound of its own. */
  seatsMax: number;
  kind: (requested: Requested) => Kind | undefined;
  view: (kind: Kind) => View<KubeObject>;
}

/** Estimates a request; `query` is its query string. */
export function workOf(requested: Requested, query: string, context: WorkContext): Work {
  switch (requested.verb) {
    case "list":
      return requested.resourceRequest ? listWork(requested, query, context) : PLAIN;
    case "watch":
      return sendsState(query) ? listWork(requested, query, context) : PLAIN;
    case "create":
    case "update":
    case "patch":
    case "delete":
      return writeWork(requested, context);
    default:
      return PLAIN;
  }
}

/** Whether a watch begins with everything that is there. */
function sendsState(query: string): boolean {
  const params = new URLSearchParams(query);
  const initial = params.get("sendInitialEvents");
  if (initial === "true" || initial === "1") return true;
  const revision = params.get("resourceVersion") ?? "";
  return revision === "" || revision === "0";
}

function listWork(requested: Requested, query: string, context: WorkContext): Work {
  const most = Math.min(context.seatsMax || LIST_SEATS_MAX, LIST_SEATS_MAX);
  if (requested.name) return PLAIN;
  const kind = context.kind(requested);
  if (!kind || kind.virtual) return PLAIN;
  const view = context.view(kind);
  let objects = view.count(`${kind.path}/`);
  if (objects === 0) return PLAIN;
  const limit = query.includes("limit=") ? Number(new URLSearchParams(query).get("limit")) : 0;
  if (limit > 0 && limit < objects) objects = limit;
  let bytes = 0;
  for (const item of view.scan(`${kind.path}/`)) {
    bytes = item.bytes.length;
    break;
  }
  const held = Math.min(objects * bytes, LIST_BYTES_MAX);
  const seats = Math.min(most, Math.max(1, Math.ceil(held / BYTES_PER_SEAT)));
  return seats === 1 ? PLAIN : { seats, finalSeats: 0, finalMs: 0 };
}

function writeWork(requested: Requested, { watches, seatsMax }: WorkContext): Work {
  // A token is an event for nobody
  if (requested.resource === "serviceaccounts" && requested.subresource === "token") return PLAIN;
  const count = watches.interested(requested, WATCHES_PER_SEAT);
  if (count < WATCHES_PER_SEAT) return PLAIN;
  const wanted = Math.ceil(count / WATCHES_PER_SEAT);
  const finalSeats = Math.min(wanted, seatsMax || WRITE_SEATS_MAX, WRITE_SEATS_MAX);
  // The same work, narrower and longer
  return { seats: 1, finalSeats, finalMs: wanted * EVENT_MS / finalSeats };
}
