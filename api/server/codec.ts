/**
 * Objects as bytes. Stored: UTF-8 JSON that begins with apiVersion, kind and metadata, in this order,
 * without resourceVersion. Sent: the same bytes with the resourceVersion put in behind `"metadata":{`,
 * so that reading never turns an object into text again.
 */
import type { Codec, Item } from "../../kv/contract.ts";
import { applyDefaults } from "../machinery/defaults.ts";
import { type FieldSet, setText } from "../machinery/apply/mod.ts";
import { edit, setOwn } from "../machinery/edit.ts";
import type { DeepReadonly, Kind, KubeObject } from "../machinery/types.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Whether the first three keys are the three the layout wants. */
function inOrder(value: KubeObject): boolean {
  let at = 0;
  for (const key in value) {
    if (at === 0 && key !== "apiVersion") return false;
    if (at === 1 && key !== "kind") return false;
    if (at === 2) return key === "metadata";
    at++;
  }
  return false;
}

/** Parts shorter than this are not worth remembering, unless V8 is slow with them. */
const TEXT_LENGTH_MIN = 200;
/** Texts that are remembered: as many again may be from before. */
const TEXTS_MAX = 512;
let texts = new WeakMap<object, string>();
let textsBefore = new WeakMap<object, string>();
let textCount = 0;

/**
 * An object's JSON. A write of the status shares the rest with the stored object, which is frozen: that was written out
 * before, most often lately, and V8 takes several times as long for what has frozen lists in it. So it does for the
 * fields of managedFields (their keys have quotation marks), most of which many objects share.
 */
function textOf(object: KubeObject): string {
  return jsonOf(object, (key, part) => {
    if (key === "status") return undefined;
    if (key !== "metadata") return stands(part) ? standingText(part) : undefined;
    return isManaged(part) ? jsonOf(part, metadataText) : undefined;
  });
}

function isManaged(metadata: unknown): metadata is KubeObject["metadata"] {
  const { managedFields } = (metadata ?? {}) as Partial<KubeObject["metadata"]>;
  return Array.isArray(managedFields) && managedFields.length > 0;
}

function metadataText(key: string, part: unknown): string | undefined {
  if (key === "managedFields") return `[${(part as object[]).map(entryText).join(",")}]`;
  return Array.isArray(part) && stands(part) ? standingText(part, 0) : undefined;
}

function entryText(entry: object): string {
  return jsonOf(
    entry,
    (key, part) => key === "fieldsV1" && part ? setText(part as FieldSet) : undefined,
  );
}

/** JSON of an object some of whose fields' JSON is known. */
function jsonOf(
  object: object,
  known: (key: string, part: unknown) => string | undefined,
): string {
  const fields = object as Record<string, unknown>;
  let text = "";
  let others: Record<string, unknown> | undefined;
  for (const key in fields) {
    const part = fields[key];
    const partText = known(key, part);
    if (partText === undefined) {
      setOwn(others ??= {}, key, part);
      continue;
    }
    if (others) text = withFields(text, others);
    others = undefined;
    text += `${text === "" ? "{" : ","}${JSON.stringify(key)}:${partText}`;
  }
  if (others) text = withFields(text, others);
  return text === "" ? "{}" : `${text}}`;
}

/** The beginning of an object's JSON, with more fields. */
function withFields(text: string, others: object): string {
  const more = JSON.stringify(others);
  if (more === "{}") return text;
  return text === "" ? more.slice(0, -1) : `${text},${more.slice(1, -1)}`;
}

function stands(part: unknown): part is object {
  return typeof part === "object" && part !== null && Object.isFrozen(part);
}

/** JSON of frozen data. */
function standingText(part: object, lengthMin: number = TEXT_LENGTH_MIN): string {
  const known = texts.get(part) ?? textsBefore.get(part);
  if (known !== undefined) return known;
  const text = JSON.stringify(part);
  if (text.length < lengthMin) return text;
  if (textCount++ >= TEXTS_MAX) {
    textCount = 1;
    textsBefore = texts;
    texts = new WeakMap();
  }
  texts.set(part, text);
  return text;
}

/** The store's codec for Kubernetes objects. */
export const objectCodec: Codec<KubeObject> = {
  encode(value) {
    let object = value;
    const meta = value.metadata as KubeObject["metadata"] | undefined;
    if (!inOrder(value) || meta?.resourceVersion !== undefined) {
      const { apiVersion, kind, metadata, ...rest } = value;
      const { resourceVersion: _, ...others } = metadata;
      object = { apiVersion, kind, metadata: others as KubeObject["metadata"], ...rest };
    }
    return encoder.encode(textOf(object));
  },
  decode(bytes, revision) {
    const value = JSON.parse(decoder.decode(bytes)) as KubeObject;
    value.metadata.resourceVersion = String(revision);
    return value;
  },
  stamp(value, revision) {
    if (Object.isFrozen(value.metadata)) {
      const metadata = { ...value.metadata, resourceVersion: String(revision) };
      return { ...value, metadata };
    }
    value.metadata.resourceVersion = String(revision);
    return value;
  },
};

/** `group/version`, or `version` of the core group. */
export function apiVersionOf(kind: { group: string; version: string }): string {
  return kind.group ? `${kind.group}/${kind.version}` : kind.version;
}

const prefixes = new WeakMap<Kind, Uint8Array>();

/** What a stored object of this kind begins with when no conversion is needed. */
function prefixOf(kind: Kind): Uint8Array {
  let prefix = prefixes.get(kind);
  if (!prefix) {
    const head = { apiVersion: apiVersionOf(kind), kind: kind.kind };
    prefix = encoder.encode(JSON.stringify(head).slice(0, -1) + `,"metadata":{`);
    prefixes.set(kind, prefix);
  }
  return prefix;
}

/** The length of the stored head when `bytes` can be sent as they are, else 0. */
export function headLength(kind: Kind, bytes: Uint8Array): number {
  if (kind.readDefaults) return 0;
  const prefix = prefixOf(kind);
  if (bytes.length <= prefix.length) return 0;
  for (let i = 0; i < prefix.length; i++) if (bytes[i] !== prefix[i]) return 0;
  return prefix.length;
}

const converted = new WeakMap<object, WeakMap<Kind, DeepReadonly<KubeObject>>>();

/** What is remembered of a stored object: how each kind that shows it has it, as long as that is served. */
export function formsOf(value: DeepReadonly<KubeObject>): WeakMap<Kind, DeepReadonly<KubeObject>> {
  let forms = converted.get(value);
  if (!forms) converted.set(value, forms = new WeakMap());
  return forms;
}

/**
 * An item's object as `kind` serves it: the stored one itself wherever the versions agree. What a webhook converts has
 * been made ready before (`prepareServed` in conversions.ts).
 */
export function served(kind: Kind, item: Item<KubeObject>): DeepReadonly<KubeObject> {
  const value = item.value;
  const storage = kind.storage;
  const same = value.apiVersion === apiVersionOf(kind);
  if (same && !kind.readDefaults) return value;
  // Stored by a definition whose storage version was another one
  const convert = storage?.fromStorage ??
    ((object: DeepReadonly<KubeObject>) =>
      ({ ...object, apiVersion: apiVersionOf(kind) }) as KubeObject);
  const forms = formsOf(value);
  let form = forms.get(kind);
  if (!form) {
    if (storage?.convert && !same) throw new Error(`${item.key} is shown before its conversion`);
    form = same ? value : convert(value);
    if (kind.readDefaults) {
      const copy = edit<KubeObject>(form);
      applyDefaults(kind.schemas, kind.schema, copy);
      form = copy;
    }
    forms.set(kind, form);
  }
  return form;
}

/** The object with another resourceVersion (of a watcher's DELETED event, say). */
export function atRevision(
  object: DeepReadonly<KubeObject>,
  revision: number,
): DeepReadonly<KubeObject> {
  const resourceVersion = String(revision);
  if (object.metadata.resourceVersion === resourceVersion) return object;
  return { ...object, metadata: { ...object.metadata, resourceVersion } };
}

/** Writes ASCII text at a place and returns the place behind it. */
export function putAscii(target: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) target[at++] = text.charCodeAt(i);
  return at;
}

/** JSON of an item as its kind serves it, between `before` and `after` (ASCII). */
export function itemJson(
  kind: Kind,
  item: Item<KubeObject>,
  options: { revision?: number; before?: string; after?: string } = {},
): Uint8Array {
  const { before = "", after = "", revision = item.revision } = options;
  const bytes = item.bytes;
  const head = headLength(kind, bytes);
  if (!head) {
    const text = JSON.stringify(atRevision(served(kind, item), revision));
    return encoder.encode(before + text + after);
  }
  const version = `"resourceVersion":"${revision}",`;
  const out = new Uint8Array(bytes.length + version.length + before.length + after.length);
  let at = putAscii(out, 0, before);
  out.set(bytes.subarray(0, head), at);
  at = putAscii(out, at + head, version);
  out.set(bytes.subarray(head), at);
  putAscii(out, at + bytes.length - head, after);
  return out;
}

/** JSON as bytes. */
export function jsonBytes(value: unknown): Uint8Array {
  return encoder.encode(JSON.stringify(value));
}
