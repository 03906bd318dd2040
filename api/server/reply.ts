/**
 * From an answer to the bytes of a reply: JSON by splicing stored bytes, YAML, protobuf, Table,
 * PartialObjectMetadata; lists in pieces, so that no buffer ever holds a whole one.
 */
import type { Item } from "../../kv/contract.ts";
import {
  type IncludeObject,
  type ListMeta,
  type MetaVersion,
  partialMetadata,
  partialMetadataList,
  tableOf,
} from "../machinery/table.ts";
import type { Pace } from "../machinery/pace.ts";
import type { DeepReadonly, Kind, KubeObject, Status } from "../machinery/types.ts";
import { apiVersionOf, headLength, itemJson, jsonBytes, putAscii, served } from "./codec.ts";
import { listKindOf } from "./core.ts";
import type { Deps } from "./deps.ts";
import { formOf } from "./decoding.ts";
import type { Reply, ReplyBody } from "./http.ts";
import { contentTypeOf, type Representation } from "./negotiate.ts";
import { protobufItem, protobufList, protobufOf, yamlBytes } from "./parse.ts";
import type { Answer, Page } from "./request.ts";

/** Size of the pieces a list is sent in. */
export const PIECE_BYTES = 64 * 1024;

const encoder = new TextEncoder();
const STATUS = formOf("", "v1", "Status", "io.k8s.apimachinery.pkg.apis.meta.v1.Status");

/** What a reply depends on beside the answer. */
export interface ReplyOptions {
  representation: Representation;
  includeObject: IncludeObject;
  /** Whose request is answered: a long list takes its turns as theirs. */
  user?: string;
}

/** Writes an answer that is not a watch. */
export function replyOf(deps: Deps, answer: Answer, options: ReplyOptions): Reply {
  const { representation } = options;
  const headers = { "content-type": contentTypeOf(representation) };
  return { status: answer.code, headers, body: bodyOf(deps, answer, options) };
}

function metaVersion(representation: Representation): MetaVersion {
  return `meta.k8s.io/${representation.metaVersion}`;
}

/** metadata of a page as a list shows it. */
function listMeta(page: Page): ListMeta {
  const meta: ListMeta = { resourceVersion: String(page.revision) };
  if (page.continue) meta.continue = page.continue;
  if (page.remaining) meta.remainingItemCount = page.remaining;
  return meta;
}

function bodyOf(deps: Deps, answer: Answer, options: ReplyOptions): ReplyBody {
  const { representation } = options;
  const { kind, item, page } = answer;
  if (answer.status) return statusBytes(representation, answer.status);
  if (page && !representation.as) return pageBody(deps, page, options);
  if (page && representation.media === "json" && !representation.pretty) {
    return transformedPieces(deps, page, options);
  }
  if (page) return valueBytes(representation, undefined, transformedPage(deps, page, options));
  const plain = representation.as === undefined && representation.media === "json";
  if (item && plain && !representation.pretty) return itemJson(kind, item, { after: "\n" });
  const object = answer.object ?? served(kind, item!);
  if (representation.as) {
    return valueBytes(representation, undefined, transformed(deps, kind, object, options));
  }
  return valueBytes(representation, kind, object);
}

/** A Status in a representation. */
export function statusBytes(representation: Representation, status: Status): Uint8Array {
  return valueBytes(representation, STATUS, status as unknown as KubeObject);
}

/** Any value in a representation; `form` tells protobuf what it is. */
function valueBytes(
  representation: Representation,
  form: Kind | undefined,
  value: unknown,
): Uint8Array {
  switch (representation.media) {
    case "protobuf":
      return protobufOf(form, value as KubeObject);
    case "yaml":
      return yamlBytes(value);
    case "json":
      return representation.pretty
        ? encoder.encode(JSON.stringify(value, null, 2) + "\n")
        : jsonBytes(value);
  }
}

/** An object as Table or PartialObjectMetadata. */
export function transformed(
  deps: Deps,
  kind: Kind,
  object: DeepReadonly<KubeObject>,
  { representation, includeObject, noHeaders }: ReplyOptions & { noHeaders?: boolean },
): unknown {
  const version = metaVersion(representation);
  if (representation.as !== "Table") return partialMetadata(object, version);
  if (object.kind === "Status" || object.kind === "Table") return object;
  if (Array.isArray(object.items)) {
    const options = { now: deps.clock.now(), includeObject, version };
    return tableOf(kind, object.items as KubeObject[], {}, options);
  }
  const meta = { resourceVersion: object.metadata?.resourceVersion };
  const now = deps.clock.now();
  return tableOf(kind, [object], meta, { now, includeObject, version, noHeaders });
}

function transformedPage(
  deps: Deps,
  page: Page,
  { representation, includeObject }: ReplyOptions,
): unknown {
  const version = metaVersion(representation);
  const objects = page.items.map((item) => served(page.kind, item));
  if (representation.as !== "Table") return partialMetadataList(objects, listMeta(page), version);
  return tableOf(page.kind, objects, listMeta(page), {
    now: deps.clock.now(),
    includeObject,
    version,
  });
}

/** A list as Table or metadata, in pieces: rows are made, and written, a few at a time. */
async function* transformedPieces(
  deps: Deps,
  page: Page,
  options: ReplyOptions,
): AsyncGenerator<Uint8Array> {
  const table = options.representation.as === "Table";
  const empty = transformedPage(deps, { ...page, items: [] }, options);
  const open = JSON.stringify(empty);
  // Rows and items come last in both documents
  let text = open.slice(0, -"]}".length);
  const pace = deps.pace(options.user);
  for (let at = 0; at < page.items.length; at += LOOK_EVERY) {
    const some = { ...page, items: page.items.slice(at, at + LOOK_EVERY) };
    const part = transformedPage(deps, some, options) as { rows?: unknown[]; items?: unknown[] };
    const json = JSON.stringify(table ? part.rows : part.items);
    text += (at > 0 ? "," : "") + json.slice(1, -1);
    if (text.length > PIECE_BYTES) {
      yield encoder.encode(text);
      text = "";
    }
    if (pace.due) await pace.turn();
  }
  yield encoder.encode(`${text}]}\n`);
}

function pageBody(deps: Deps, page: Page, options: ReplyOptions): ReplyBody {
  const { kind, items } = page;
  const { representation, user } = options;
  if (representation.media === "json" && !representation.pretty) {
    return jsonPage(deps, page, user);
  }
  if (representation.media === "protobuf") return protobufPage(deps, page, user);
  const list = {
    kind: listKindOf(kind),
    apiVersion: apiVersionOf(kind),
    metadata: listMeta(page),
    items: items.map((item) => plainObject(kind, item)),
  };
  return valueBytes(representation, kind, list);
}

/** Items between two looks at the clock. */
const LOOK_EVERY = 16;

/** A list as protobuf. Its length stands at its beginning, so that it is sent only when it is whole. */
async function* protobufPage(
  deps: Deps,
  page: Page,
  user?: string,
): AsyncGenerator<Uint8Array> {
  const { kind, items } = page;
  const pace = deps.pace(user);
  const encoded: Uint8Array[] = [];
  for (let i = 0; i < items.length; i++) {
    if (i % LOOK_EVERY === 0 && pace.due) await pace.turn();
    encoded.push(protobufItem(kind, served(kind, items[i])));
  }
  yield protobufList(kind, listKindOf(kind), listMeta(page), encoded);
}

function jsonPage(deps: Deps, page: Page, user?: string): ReplyBody {
  const { kind, items } = page;
  const head = {
    kind: listKindOf(kind),
    apiVersion: apiVersionOf(kind),
    metadata: listMeta(page),
    items: [],
  };
  const open = JSON.stringify(head).slice(0, -2);
  let bytes = open.length + 8;
  for (const item of items) {
    bytes += item.bytes.length + 48;
    if (bytes > PIECE_BYTES) return jsonPieces(deps.pace(user), kind, items, open);
  }
  const writer = new PieceWriter(bytes);
  writer.text(open);
  items.forEach((item, i) => writer.item(kind, item, i > 0));
  writer.text("]}\n");
  return writer.take();
}

async function* jsonPieces(
  pace: Pace,
  kind: Kind,
  items: readonly Item<KubeObject>[],
  open: string,
): AsyncGenerator<Uint8Array> {
  const writer = new PieceWriter(PIECE_BYTES);
  writer.text(open);
  for (let i = 0; i < items.length; i++) {
    if (!writer.fits(items[i])) {
      yield writer.take();
      if (pace.due) await pace.turn();
    }
    writer.item(kind, items[i], i > 0);
  }
  writer.text("]}\n");
  yield writer.take();
}

/** Room that an item needs beside its bytes: comma, resourceVersion, and what a conversion may add. */
const ITEM_EXTRA = 64;

/** Fills pieces with items. */
class PieceWriter {
  #piece: Uint8Array;
  #at = 0;
  readonly #size: number;

  constructor(size: number) {
    this.#size = size;
    this.#piece = new Uint8Array(size);
  }

  fits(item: Item<KubeObject>): boolean {
    return this.#at === 0 || this.#at + item.bytes.length + ITEM_EXTRA < this.#piece.length;
  }

  /** Makes room; what is in the piece stays. */
  #need(bytes: number): void {
    if (this.#at + bytes <= this.#piece.length) return;
    const larger = new Uint8Array(this.#at + bytes + ITEM_EXTRA);
    larger.set(this.#piece.subarray(0, this.#at));
    this.#piece = larger;
  }

  text(text: string): void {
    this.#need(text.length);
    this.#at = putAscii(this.#piece, this.#at, text);
  }

  /** One item; those of built-in kinds go without apiVersion and kind, as upstream's do. */
  item(kind: Kind, item: Item<KubeObject>, comma: boolean): void {
    const { bytes, revision } = item;
    const head = headLength(kind, bytes);
    if (!head) {
      const json = plainItem(kind, item);
      this.#need(json.length + 1);
      if (comma) this.#piece[this.#at++] = 0x2c;
      this.#piece.set(json, this.#at);
      this.#at += json.length;
      return;
    }
    this.#need(bytes.length + ITEM_EXTRA);
    if (comma) this.#piece[this.#at++] = 0x2c;
    if (kind.custom) {
      this.#piece.set(bytes.subarray(0, head), this.#at);
      this.#at += head;
    } else this.#at = putAscii(this.#piece, this.#at, `{"metadata":{`);
    this.#at = putAscii(this.#piece, this.#at, `"resourceVersion":"${revision}",`);
    this.#piece.set(head ? bytes.subarray(head) : bytes, this.#at);
    this.#at += bytes.length - head;
  }

  take(): Uint8Array {
    const piece = this.#piece.subarray(0, this.#at);
    this.#piece = new Uint8Array(this.#size);
    this.#at = 0;
    return piece;
  }
}

function plainItem(kind: Kind, item: Item<KubeObject>): Uint8Array {
  return jsonBytes(plainObject(kind, item));
}

/** An item as a list shows it. */
function plainObject(kind: Kind, item: Item<KubeObject>): object {
  const object = served(kind, item);
  if (kind.custom) return object;
  const { apiVersion: _a, kind: _k, ...rest } = object;
  return rest;
}
