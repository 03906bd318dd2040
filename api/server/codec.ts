/**
 * Objects as bytes. Stored: UTF-8 JSON that begins with apiVersion, kind and metadata, in this order,
 * without resourceVersion. Sent: the same bytes with the resourceVersion put in behind `"metadata":{`,
 * so that reading never turns an object into text again.
 */
import type { Codec, Item } from "../../kv/contract.ts";
import { applyDefaults } from "../machinery/defaults.ts";
import { type FieldSet, setText } from "../machinery/apply/mod.ts";
import { edit, setOwn, without } from "../machinery/edit.ts";
import type { DeepReadonly, Kind, KubeObject, ManagedFieldsEntry } from "../machinery/types.ts";

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

/** Parts shorter than this are not worth remembering. */
const TEXT_LENGTH_MIN = 200;
/** Texts that are remembered: as many again may be from before. */
const TEXTS_MAX = 256;
let texts = new WeakMap<object, string>();
let textsBefore = new WeakMap<object, string>();
let textCount = 0;

/**
 * An object's JSON. A write of the status shares the rest with the stored object, which is frozen: that was written out
 * before, most often lately, and V8 takes several times as long for what has frozen lists in it. So it does for the
 * fields of managedFields (their keys have quotation marks), most of which many objects share.
 */
function textOf(object: KubeObject): string {
  let text = "";
  let fresh: Record<string, unknown> | undefined = {};
  for (const key in object) {
    const part = object[key];
    const isMeta = key === "metadata";
    if (isMeta ? !isManaged(part) : key === "status" || !stands(part)) {
      setOwn(fresh ??= {}, key, part);
      continue;
    }
    const partText = isMeta ? metadataText(part) : standingText(part);
    text += `${fresh ? fieldsText(fresh) : ""},${JSON.stringify(key)}:${partText}`;
    fresh = undefined;
  }
  if (text === "") return JSON.stringify(object);
  return `{${(text + (fresh ? fieldsText(fresh) : "")).slice(1)}}`;
}

function isManaged(metadata: KubeObject["metadata"] | undefined): boolean {
  return Array.isArray(metadata?.managedFields) && metadata.managedFields.length > 0;
}

function metadataText(metadata: KubeObject["metadata"]): string {
  const { managedFields } = metadata;
  const others = without(metadata, "managedFields");
  const entries = managedFields!.map(entryText).join(",");
  return `{${fieldsText(others).slice(1)}${
    isEmpty(others) ? "" : ","
  }"managedFields":[${entries}]}`;
}

function isEmpty(object: object): boolean {
  for (const _ in object) return false;
  return true;
}

function entryText(entry: ManagedFieldsEntry): string {
  const { fieldsV1 } = entry;
  if (!fieldsV1) return JSON.stringify(entry);
  const others = fieldsText(without(entry, "fieldsV1")).slice(1);
  return `{${others}${others ? "," : ""}"fieldsV1":${setText(fieldsV1 as unknown as FieldSet)}}`;
}

function stands(part: unknown): part is object {
  return typeof part === "object" && part !== null && Object.isFrozen(part);
}

/** The fields of an object as they stand in JSON, with a comma before them. */
function fieldsText(object: object): string {
  const text = JSON.stringify(object);
  return text === "{}" ? "" : `,${text.slice(1, -1)}`;
}

function standingText(part: object): string {
  const known = texts.get(part) ?? textsBefore.get(part);
  if (known !== undefined) return known;
  const text = JSON.stringify(part);
  if (text.length < TEXT_LENGTH_MIN) return text;
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
