/**
 * For tests of rules: takes an object the way of the pipeline (decode, default, prepare, validate) without a
 * server, and tells what validation says, one line a cause.
 */

import { applyDefaults } from "../../machinery/defaults.ts";
import { edit } from "../../machinery/edit.ts";
import { decode } from "../../machinery/schema.ts";
import {
  ApiError,
  type Cause,
  type Kind,
  type KindContext,
  type KubeObject,
} from "../../machinery/types.ts";
import { createKinds } from "../mod.ts";
import { validateCreate, validateMetaUpdate } from "./meta.ts";

const kinds = createKinds({ beta: true });

/** The time of all tests here: 2026-01-02T03:04:05Z. */
export const NOW = Date.UTC(2026, 0, 2, 3, 4, 5);

/** The row of a kind such as `v1/Pod` or `apps/v1/Deployment`. */
export function kindOf(name: string): Kind {
  const parts = name.split("/");
  const [group, version, kind] = parts.length === 2 ? ["", ...parts] : parts;
  const row = kinds.byKind(group, version, kind);
  if (!row) throw new Error(`no kind ${name}`);
  return row;
}

/** A context of hooks. */
export function contextOf(subresource = ""): KindContext {
  return {
    now: NOW,
    user: "test",
    verb: "update",
    refused: () => undefined,
    subresource,
    uuid: () => "11111111-2222-3333-4444-555555555555",
  };
}

// deno-lint-ignore no-explicit-any -- tests write objects as they come
type Obj = any;

/** Decodes and defaults an object; its apiVersion and kind are the row's. */
export function decoded(name: string, object: Obj): KubeObject {
  const kind = kindOf(name);
  const apiVersion = kind.group ? `${kind.group}/${kind.version}` : kind.version;
  const full = { apiVersion, kind: kind.kind, ...object };
  const { object: result } = decode(kind, full, "Strict", []);
  applyDefaults(kind.schemas, kind.schema, result);
  kind.hooks.defaults?.(result);
  return result;
}

/** Causes as upstream prints them. */
export function lines(causes: readonly Cause[]): string[] {
  return causes.map((cause) => `${cause.field}: ${cause.message}`);
}

/** A new object as it would be stored, and what validation says of it. */
export function create(name: string, object: Obj): { object: KubeObject; problems: string[] } {
  const kind = kindOf(name);
  const made = decoded(name, object);
  made.metadata.uid ||= "u-1";
  made.metadata.creationTimestamp ||= "2026-01-02T03:04:05Z";
  if (kind.namespaced) made.metadata.namespace ||= "default";
  const refused = refusal(() => kind.hooks.prepareCreate?.(made, contextOf()));
  const causes = refused ?? validateCreate(made, kind, contextOf());
  return { object: made, problems: lines(causes) };
}

/** What a hook refuses by throwing, as causes. */
function refusal(hook: () => void): Cause[] | undefined {
  try {
    hook();
  } catch (error) {
    if (error instanceof ApiError) return error.status.details?.causes as Cause[];
    throw error;
  }
}

/** Changes a stored object by `change`, through a subresource if one is named. */
export function update(
  name: string,
  old: KubeObject,
  change: (object: Obj) => void,
  subresource = "",
): { object: KubeObject; problems: string[] } {
  const kind = kindOf(name);
  const next = edit(old) as KubeObject;
  change(next);
  kind.hooks.defaults?.(next);
  const context = contextOf(subresource);
  const causes = refusal(() => kind.hooks.prepareUpdate?.(next, old, context)) ?? [
    ...validateMetaUpdate(next, old, kind, subresource),
    ...kind.hooks.validateUpdate?.(next, old, context) ?? [],
  ];
  return { object: next, problems: lines(causes) };
}

/** A pod with one container, changed by `change`. */
export function podWith(change: (pod: Obj) => void = () => {}): Obj {
  const pod = {
    metadata: { name: "web" },
    spec: { containers: [{ name: "c", image: "nginx:1.27" }] },
  };
  change(pod);
  return pod;
}
