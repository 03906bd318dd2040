/**
 * A request to the API as data, and what is answered. HTTP and the in-process client both make these;
 * everything behind them neither knows nor cares which one it was.
 */
import type { AuditRecord } from "./audit.ts";
import type { Cause, Term, Watch } from "../../kv/contract.ts";
import type { Item } from "../../kv/contract.ts";
import type { Patch, User } from "../client/contract.ts";
import type { DeepReadonly, Kind, KubeObject, Status } from "../machinery/types.ts";

/** Upstream's request verbs. */
export type RequestVerb =
  | "create"
  | "get"
  | "list"
  | "watch"
  | "update"
  | "patch"
  | "delete"
  | "deletecollection"
  | "connect";

/** The query's parameters, parsed. `raw` keeps the query string for what only streams read. */
export interface Params {
  labelSelector?: string;
  fieldSelector?: string;
  resourceVersion?: string;
  resourceVersionMatch?: string;
  limit?: number;
  continue?: string;
  allowWatchBookmarks?: boolean;
  sendInitialEvents?: boolean;
  timeoutSeconds?: number;
  dryRun?: boolean;
  fieldManager?: string;
  fieldValidation?: "Ignore" | "Warn" | "Strict";
  force?: boolean;
  raw?: URLSearchParams;
}

/** DeleteOptions, from body and query. */
export interface DeleteOptions {
  dryRun?: boolean;
  gracePeriodSeconds?: number;
  propagationPolicy?: "Orphan" | "Background" | "Foreground";
  orphanDependents?: boolean;
  preconditions?: { uid?: string; resourceVersion?: string };
  ignoreStoreReadErrorWithClusterBreakingPotential?: boolean;
}

/** What was posted or put. */
export interface Body {
  /** JSON value; belongs to the request unless `shared`. */
  value: unknown;
  /** The caller may still hold it: copy before changing. */
  shared: boolean;
  /** Paths that occurred twice, for field validation. */
  duplicates: readonly string[];
}

/** Where a request comes from, as far as whoever sends it knows. */
export interface Origin {
  /** The revision that it reacts to; 0: none is named. */
  because: number;
  /** The actor that asks. */
  by?: string;
  /** The trace that it belongs to. */
  trace?: string;
  /** The span that asks. */
  span?: string;
  /** Hears of revisions before they are committed. */
  wrote?: (revision: number) => void;
  /** Whether that span is recorded. */
  sampled?: boolean;
}

/** One request for a resource. */
export interface ApiRequest {
  verb: RequestVerb;
  kind: Kind;
  namespace: string;
  name: string;
  subresource: string;
  /** What follows a proxy subresource. */
  rest?: string;
  user: User;
  /** Default field manager. */
  agent: string;
  /** When a client of this process asked (monotonic, ms); absent: it came over HTTP. */
  askedAt?: number;
  params: Params;
  body?: Body;
  patch?: Patch;
  /** Paths that the patch names twice. */
  patchDuplicates?: readonly string[];
  deleteOptions?: DeleteOptions;
  term?: Term;
  /** Why it is asked; absent: nothing is said. */
  origin?: Origin;
  /** Why it writes: what its revisions keep. Found out before anything is written (`causes.ts`). */
  cause?: Cause;
  /** Its own span, once something hangs on it. */
  span?: string;
  signal?: AbortSignal;
  /** When it must have been answered (monotonic, ms); absent: never. */
  deadline?: number;
  /** Told when a watch has sent what was there. */
  initialized?: () => void;
  /** What the audit tells of it; absent: nothing. */
  audit?: AuditRecord;
  /** Lines for `Warning` headers. */
  warnings: string[];
  /** Stages entered so far; filled only while somebody traces. */
  stages?: { stage: string; at: number }[];
}

/** One page of a list: items as stored, for the caller to represent. */
export interface Page {
  kind: Kind;
  items: readonly Item<KubeObject>[];
  revision: number;
  continue?: string;
  remaining?: number;
}

/** One event of a watch: an item, the revision it shows and what happened. */
export interface Frame {
  type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  /** Absent at BOOKMARK. */
  item?: Item<KubeObject>;
  revision: number;
  /** A BOOKMARK that ends the initial events. */
  initialEnd?: boolean;
}

/** A watch that has begun. Iterate once. Throws ApiError (410) when it cannot go on. */
export interface FrameStream extends AsyncIterable<readonly Frame[]> {
  readonly kind: Kind;
  close(): void;
}

/** What a request came to. Exactly one of the optional fields but `kind` and `code` counts. */
export interface Answer {
  code: number;
  /** How to read `object`, `item`, `page`. */
  kind: Kind;
  object?: DeepReadonly<KubeObject>;
  /** The stored item of an object of `kind`; its bytes may be sent instead of `object`. */
  item?: Item<KubeObject>;
  page?: Page;
  watch?: FrameStream;
  status?: Status;
}

export type { Watch };
