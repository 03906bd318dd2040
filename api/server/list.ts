/**
 * get and list: reads of one revision of the state. A list's pages all show the revision of its first one;
 * a continue token names it, and is answered with 410 and a fresh token once history no longer reaches back.
 */
import { Buffer } from "node:buffer";
import { CompactedError, FutureRevisionError, type Item, type View } from "../../kv/contract.ts";
import { badRequest, expired, invalid, notFound } from "../machinery/errors.ts";
import type { ApiError, Cause, Kind, KubeObject } from "../machinery/types.ts";
import { prepareServed } from "./conversions.ts";
import {
  type Deps,
  futureRevision,
  keyFor,
  prefixFor,
  revisionOf,
  storeOf,
  subjectOf,
} from "./deps.ts";
import { parseRawJson } from "./parse.ts";
import type { Answer, ApiRequest, Page, Params } from "./request.ts";
import { type Selection, selectionOf } from "./selection.ts";

/** How long a read waits for a revision this process does not know yet. */
export const REVISION_WAIT_MS = 3_000;
/**
 * How long the pages of one list may take. History may reach further back in a quiet cluster, but clients are
 * promised no more than upstream keeps, and must have met the end of it.
 */
export const PAGES_MS_MAX = 5 * 60_000;
/** Objects looked at between two looks at the clock. */
const SCAN_STEP = 128;

/** Answers a get. */
export async function getObject(deps: Deps, request: ApiRequest): Promise<Answer> {
  const { kind, namespace, name, params } = request;
  const view = await viewFor(deps, kind, params.resourceVersion);
  const item = view.get(keyFor(kind, namespace, name));
  if (!item) throw notFound(subjectOf(kind), name);
  if (kind.storage?.convert) await prepareServed(kind, [item]);
  return { code: 200, kind, item };
}

/** A view no older than asked for: unset is the newest anywhere, "0" whatever is here. */
export async function viewFor(
  deps: Deps,
  kind: Kind,
  resourceVersion?: string,
): Promise<View<KubeObject>> {
  const store = storeOf(deps, kind);
  if (!resourceVersion) return await store.fresh();
  const revision = revisionOf(resourceVersion);
  if (revision <= store.view().revision) return store.view();
  try {
    return await store.reached(revision, { timeoutMs: REVISION_WAIT_MS });
  } catch (error) {
    if (error instanceof FutureRevisionError) throw futureRevision(revision, error.current);
    throw error;
  }
}

/** Checks what upstream's ValidateListOptions checks. `watchList`: watches may begin with what is there. */
export function checkListOptions(params: Params, watch: boolean, watchList = true): void {
  const causes: Cause[] = [];
  const { resourceVersionMatch: match, resourceVersion, sendInitialEvents } = params;
  const forbid = (field: string, why: string) =>
    causes.push({ reason: "FieldValueForbidden", message: `Forbidden: ${why}`, field });
  if (match !== undefined && match !== "") {
    const name = "resourceVersionMatch";
    if (watch && sendInitialEvents === undefined) {
      forbid(name, `${name} is forbidden for watch unless sendInitialEvents is provided`);
    } else if (!watch && !resourceVersion) {
      forbid(name, `${name} is forbidden unless resourceVersion is provided`);
    }
    if (params.continue) forbid(name, `${name} is forbidden when continue is provided`);
    if (match !== "Exact" && match !== "NotOlderThan") {
      causes.push({
        reason: "FieldValueNotSupported",
        message: `Unsupported value: ${JSON.stringify(match)}: supported values: ` +
          `"Exact", "NotOlderThan", ""`,
        field: name,
      });
    }
    if (match === "Exact" && resourceVersion === "0") {
      forbid(name, `${name} "exact" is forbidden for resourceVersion "0"`);
    }
  }
  // A watch from nowhere is one of initial events to upstream, which may not be continued
  if (watch && params.continue && !resourceVersion && !match) {
    forbid("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided");
  }
  if (sendInitialEvents !== undefined) {
    if (!watch) forbid("sendInitialEvents", "sendInitialEvents is forbidden for list");
    else if (match !== "NotOlderThan") {
      forbid(
        "resourceVersionMatch",
        "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
      );
      if (match) {
        causes.push({
          reason: "FieldValueNotSupported",
          message: `Unsupported value: ${JSON.stringify(match)}: supported values: "NotOlderThan"`,
          field: "resourceVersionMatch",
        });
      }
    }
    if (watch && !watchList) {
      forbid(
        "sendInitialEvents",
        "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
      );
    }
  }
  if (causes.length) throw invalid("meta.k8s.io", "ListOptions", "", causes);
}

interface Start {
  view: View<KubeObject>;
  after?: string;
  /** When the first page was read, wall time in ms. */
  at?: number;
}

/** Where a list reads from. */
async function startOf(deps: Deps, kind: Kind, params: Params): Promise<Start> {
  if (params.continue) return await resume(deps, kind, params);
  const { resourceVersion, resourceVersionMatch, limit } = params;
  if (resourceVersion) revisionOf(resourceVersion, "invalid resource version: ");
  const exact = resourceVersionMatch === "Exact" ||
    (!resourceVersionMatch && limit && resourceVersion && resourceVersion !== "0");
  if (!exact) return { view: await viewFor(deps, kind, resourceVersion) };
  return { view: await viewAt(deps, kind, revisionOf(resourceVersion!)) };
}

async function viewAt(deps: Deps, kind: Kind, revision: number): Promise<View<KubeObject>> {
  try {
    return await storeOf(deps, kind).at(revision);
  } catch (error) {
    if (error instanceof FutureRevisionError) throw futureRevision(revision, error.current);
    if (error instanceof CompactedError) {
      throw expired(
        `The resourceVersion for the provided list is too old. (requested ${revision}, ` +
          `oldest ${error.oldest})`,
      );
    }
    throw error;
  }
}

interface Token {
  v: string;
  rv: number;
  start: string;
  at?: number;
}

/**
 * An opaque continue token: after which key, at which revision (-1: whatever is newest), of a list whose first page
 * was read `at` (wall time in ms).
 */
export function continueToken(revision: number, start: string, at?: number): string {
  const token: Token = { v: "meta.k8s.io/v1", rv: revision, start, at };
  return Buffer.from(JSON.stringify(token)).toString("base64url");
}

function invalidToken(why: string): ApiError {
  return badRequest(`invalid continue token: continue key is not valid: ${why}`);
}

/** Where Go's decoder of unpadded base64url stops; undefined: nowhere. */
function badBase64(text: string): number | undefined {
  const at = text.search(/[^A-Za-z0-9_-]/);
  if (at >= 0) return at;
  return text.length % 4 === 1 ? text.length - 1 : undefined;
}

function readToken(text: string): Token {
  const bad = badBase64(text);
  if (bad !== undefined) throw invalidToken(`illegal base64 data at input byte ${bad}`);
  let token: Partial<Token>;
  try {
    token = parseRawJson(Buffer.from(text, "base64url")).value as Partial<Token>;
  } catch (error) {
    throw invalidToken((error as Error).message);
  }
  if (token?.v !== "meta.k8s.io/v1") {
    throw invalidToken(`server does not recognize this encoded version ${token?.v ?? ""}`);
  }
  const { rv, start, at } = token;
  if (!Number.isSafeInteger(rv) || rv === 0 || (at !== undefined && typeof at !== "number")) {
    throw invalidToken("incorrect encoded start resourceVersion (version meta.k8s.io/v1)");
  }
  if (typeof start !== "string" || start === "") {
    throw invalidToken("encoded start key empty (version meta.k8s.io/v1)");
  }
  return token as Token;
}

async function resume(deps: Deps, kind: Kind, params: Params): Promise<Start> {
  const token = readToken(params.continue!);
  if (params.resourceVersion && params.resourceVersion !== "0") {
    throw badRequest("specifying resource version is not allowed when using continue");
  }
  const after = `${kind.path}/${token.start}`;
  if (token.rv < 0) return { view: await storeOf(deps, kind).fresh(), after };
  const { at } = token;
  if (at !== undefined && deps.clock.now() - at > PAGES_MS_MAX) throw pagesExpired(token);
  try {
    return { view: await storeOf(deps, kind).at(token.rv), after, at };
  } catch (error) {
    if (error instanceof FutureRevisionError) throw futureRevision(token.rv, error.current);
    throw error instanceof CompactedError ? pagesExpired(token) : error;
  }
}

/** 410 with a token by which the rest can be had, of whatever revision is newest then. */
function pagesExpired({ start }: Token) {
  return expired(
    "The provided continue parameter is too old to display a consistent list result. You can " +
      "start a new list without the continue parameter, or use the continue token in this " +
      "response to retrieve the remainder of the results. Continuing with the provided token " +
      "results in an inconsistent list - objects that were created, modified, or deleted " +
      "between the time the first chunk was returned and now may show up in the list.",
    continueToken(-1, start),
  );
}

/** Answers a list: one page of items as stored. */
export async function listPage(deps: Deps, request: ApiRequest): Promise<Page> {
  const { kind, namespace, params } = request;
  checkListOptions(params, false);
  const selection = selectionOf(kind, params, request.name);
  const { view, after, at = deps.clock.now() } = await startOf(deps, kind, params);
  const limit = params.limit ?? 0;
  if (selection.name !== undefined && !after && (namespace || !kind.namespaced)) {
    const item = view.get(keyFor(kind, namespace, selection.name));
    if (kind.storage?.convert) await prepareServed(kind, [item]);
    const items = item && (!selection.matches || selection.matches(item)) ? [item] : [];
    return { kind, items, revision: view.revision };
  }
  const prefix = prefixFor(kind, namespace);
  // A selector looks at the objects as they are served
  if (selection.matches && kind.storage?.convert) {
    await prepareServed(kind, [...view.scan(prefix, { after })]);
  }
  const { items, more } = await scan(deps, view, { prefix, after, limit, selection });
  const page: Page = { kind, items, revision: view.revision };
  if (!more) return page;
  const last = items[items.length - 1].key;
  page.continue = continueToken(view.revision, last.slice(kind.path.length + 1), at);
  if (!selection.matches) page.remaining = view.count(prefix, { after: last });
  return page;
}

interface Scan {
  prefix: string;
  after?: string;
  limit: number;
  selection: Selection;
}

async function scan(deps: Deps, view: View<KubeObject>, { prefix, after, limit, selection }: Scan) {
  const items: Item<KubeObject>[] = [];
  const { matches } = selection;
  if (!matches) {
    for (const item of view.scan(prefix, { after })) {
      if (limit && items.length === limit) return { items, more: true };
      items.push(item);
    }
    return { items, more: false };
  }
  let seen = 0;
  const pace = deps.pace();
  for (const item of view.scan(prefix, { after })) {
    if (++seen % SCAN_STEP === 0 && pace.due) await pace.turn();
    if (!matches(item)) continue;
    if (limit && items.length === limit) return { items, more: true };
    items.push(item);
  }
  return { items, more: false };
}
