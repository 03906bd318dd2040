/**
 * The `scale` subresource: one small object over the replicas of many kinds. Custom resources say in their
 * CRD where those lie; everything else keeps them in spec.replicas and status.replicas.
 */
import { internal, invalid } from "../machinery/errors.ts";
import { edit } from "../machinery/edit.ts";
import { goQuote } from "../machinery/go_format.ts";
import { labelSelector, selectorOf } from "../machinery/selectors.ts";
import type {
  DeepReadonly,
  Kind,
  KubeObject,
  ManagedFieldsEntry,
  ScalePaths,
} from "../machinery/types.ts";
import { apply, parentEntries, scaleEntries, trackUpdate } from "../machinery/apply/mod.ts";
import type { Patch } from "../client/contract.ts";
import { apiVersionOf, served } from "./codec.ts";
import { decodeAs, formOf } from "./decoding.ts";
import { type Deps, timeText } from "./deps.ts";
import { getObject } from "./list.ts";
import { patchPlain } from "./patching.ts";
import { checkUpdate } from "./prepare.ts";
import type { Answer, ApiRequest } from "./request.ts";
import { managerOf } from "./tracking.ts";
import { change, PATCH_ATTEMPTS_MAX, type Shown } from "./writes.ts";

const PLAIN: ScalePaths = { spec: ["spec", "replicas"], status: ["status", "replicas"] };
const SCALE = formOf("autoscaling", "v1", "Scale");

function pathsOf(kind: Kind): ScalePaths {
  return kind.scale ?? PLAIN;
}

function read(object: DeepReadonly<KubeObject>, path: readonly string[]): unknown {
  let at: unknown = object;
  for (const name of path) {
    if (typeof at !== "object" || at === null) return undefined;
    at = (at as Record<string, unknown>)[name];
  }
  return at;
}

/** An object's Scale. */
export function scaleOf(kind: Kind, object: DeepReadonly<KubeObject>): KubeObject {
  const paths = pathsOf(kind);
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const status: Record<string, unknown> = { replicas: Number(read(object, paths.status) ?? 0) };
  const selector = selectorText(kind, object, paths);
  if (selector) status.selector = selector;
  // No replicas are not mentioned (upstream: omitempty): nobody owns them then, and no test finds them.
  const replicas = Number(read(object, paths.spec) ?? 0);
  return {
    apiVersion: "autoscaling/v1",
    kind: "Scale",
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: replicas === 0 ? {} : { replicas },
    status,
  };
}

function selectorText(kind: Kind, object: DeepReadonly<KubeObject>, paths: ScalePaths): string {
  if (paths.selector) return String(read(object, paths.selector) ?? "");
  if (kind.custom) return "";
  const selector = object.spec?.selector;
  if (!selector) return "";
  if (kind.group === "") return selectorOf(selector).toString();
  return labelSelector(selector).toString();
}

/** Answers a get of a scale. */
export async function getScale(deps: Deps, request: ApiRequest): Promise<Answer> {
  const { item } = await getObject(deps, request);
  const { kind } = request;
  const object = served(kind, item!);
  if (kind.scale && read(object, kind.scale.spec) === undefined) {
    const path = goQuote(`.${kind.scale.spec.join(".")}`);
    throw internal(`the spec replicas field ${path} does not exist`);
  }
  return { code: 200, kind: SCALE, object: scaleOf(kind, object) };
}

/** Answers an update or patch of a scale. */
export async function writeScale(deps: Deps, request: ApiRequest): Promise<Answer> {
  const { kind } = request;
  const sent = request.patch ? undefined : decodeAs(request, SCALE).object;
  const answer = await change(deps, { ...request, body: undefined }, {
    attemptsMax: sent?.metadata.resourceVersion ? 1 : PATCH_ATTEMPTS_MAX,
    produce: (old) => {
      if (request.patch?.type === "apply") return applyScale(deps, request, old);
      const scale = sent ?? patchPlain(request, SCALE, scaleOf(kind, old));
      const object = scaled(request, old, scale);
      trackScale(deps, request, old, object);
      return { ...shownAs(kind, object, old, scale), applied: true };
    },
  });
  const object = answer.object ?? served(kind, answer.item!);
  return { code: 200, kind: SCALE, object: scaleOf(kind, object) };
}

/** Notes who set the replicas, as far as anybody is known to own them: seen as a change of the Scale. */
function trackScale(
  deps: Deps,
  request: ApiRequest,
  old: DeepReadonly<KubeObject>,
  object: KubeObject,
): void {
  const { kind } = request;
  const apiVersion = apiVersionOf(kind);
  const paths = { [apiVersion]: pathsOf(kind).spec.map((name) => `f:${name}`) };
  const entries = old.metadata.managedFields as ManagedFieldsEntry[] | undefined;
  const before = scaleOf(kind, old);
  before.metadata.managedFields = scaleEntries(entries, paths);
  const managed = trackUpdate(SCALE.schemas, SCALE.schema, before, scaleOf(kind, object), {
    manager: managerOf(request),
    apiVersion: "autoscaling/v1",
    time: timeText(deps.clock.now()),
    subresource: "scale",
  });
  const after = parentEntries(entries, managed, apiVersion, paths);
  if (after.length) object.metadata.managedFields = after;
  else delete object.metadata.managedFields;
}

/** Applies a Scale: who owns the replicas is noted where they lie. */
function applyScale(
  deps: Deps,
  request: ApiRequest,
  old: DeepReadonly<KubeObject>,
): { object: KubeObject; applied: boolean; shown: Shown } {
  const { kind } = request;
  const apiVersion = apiVersionOf(kind);
  const paths = { [apiVersion]: pathsOf(kind).spec.map((name) => `f:${name}`) };
  const scale = scaleOf(kind, old);
  const entries = old.metadata.managedFields as ManagedFieldsEntry[] | undefined;
  scale.metadata.managedFields = scaleEntries(entries, paths);
  const { body, force } = request.patch as Extract<Patch, { type: "apply" }>;
  const { object: merged } = apply(SCALE.schemas, SCALE.schema, scale, body, {
    manager: managerOf(request),
    apiVersion: "autoscaling/v1",
    kind: "Scale",
    time: timeText(deps.clock.now()),
    subresource: "scale",
    force,
  });
  const object = scaled(request, old, merged);
  const managed = parentEntries(entries, merged.metadata.managedFields, apiVersion, paths);
  object.metadata.managedFields = managed;
  return { ...shownAs(kind, object, old, merged), applied: true };
}

/** A change of the replicas as admission sees it: as a Scale. */
function shownAs(
  kind: Kind,
  object: KubeObject,
  old: DeepReadonly<KubeObject>,
  sent: DeepReadonly<KubeObject>,
): { object: KubeObject; shown: Shown } {
  const before = scaleOf(kind, old);
  const scale = { ...before, spec: { replicas: sent.spec?.replicas ?? 0 } };
  const carry = () => setReplicas(kind, object, scale.spec.replicas);
  return { object, shown: { form: SCALE, object: scale, old: before, carry } };
}

function scaled(
  request: ApiRequest,
  old: DeepReadonly<KubeObject>,
  scale: DeepReadonly<KubeObject>,
): KubeObject {
  const { kind } = request;
  const replicas = scale.spec?.replicas ?? 0;
  const object = edit(old) as KubeObject;
  checkUpdate(request, { ...edit(scale) as KubeObject }, old);
  if (!Number.isInteger(replicas) || replicas < 0) {
    throw invalid("autoscaling", "Scale", object.metadata.name, [{
      reason: "FieldValueInvalid",
      message: `Invalid value: ${JSON.stringify(replicas)}: must be greater than or equal to 0`,
      field: "spec.replicas",
    }]);
  }
  setReplicas(kind, object, replicas);
  return object;
}

function setReplicas(kind: Kind, object: KubeObject, replicas: number): void {
  const path = pathsOf(kind).spec;
  let at: Record<string, unknown> = object;
  for (const name of path.slice(0, -1)) {
    const next = at[name];
    at = (typeof next === "object" && next !== null ? next : (at[name] = {})) as typeof at;
  }
  at[path[path.length - 1]] = replicas;
}
