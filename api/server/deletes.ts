/**
 * delete and deletecollection: preconditions, finalizers for the garbage collector, graceful deletion
 * (upstream: registry/rest/delete.go, registry/generic/registry/store.go). What is to happen to an object is
 * one pure decision, taken inside the store's write.
 */
import type { Draft, Item } from "../../kv/contract.ts";
import { CLEANUP_FINALIZER } from "../machinery/crd/mod.ts";
import { conflict, notFound } from "../machinery/errors.ts";
import type { DeepReadonly, Kind, KubeObject, Status } from "../machinery/types.ts";
import { admissionOf, admitCommit, committers, mutate, review } from "./admit.ts";
import { claimsOf } from "./allocators.ts";
import { atRevision, served } from "./codec.ts";
import { prepareServed } from "./conversions.ts";
import { type Deps, keyFor, storeOf, subjectOf, timeText } from "./deps.ts";
import { listPage } from "./list.ts";
import type { Answer, ApiRequest, DeleteOptions } from "./request.ts";
import { write } from "./request_write.ts";
import { itemAfter } from "./writes.ts";

/** Times a delete starts again because the object moved. */
const ATTEMPTS_MAX = 5;
/** Deletes of a collection that run at once. */
const COLLECTION_AT_ONCE = 64;
/** The garbage collector's finalizers. */
const ORPHAN = "orphan";
const FOREGROUND = "foregroundDeletion";

/** Kinds whose deletion answers with the object itself (upstream: ReturnDeletedObject). */
const RETURNS_OBJECT: Readonly<Record<string, readonly string[]>> = {
  "": [
    "pods",
    "services",
    "serviceaccounts",
    "persistentvolumes",
    "persistentvolumeclaims",
    "podtemplates",
    "resourcequotas",
  ],
  "resource.k8s.io": [
    "deviceclasses",
    "devicetaintrules",
    "resourceclaims",
    "resourceclaimtemplates",
    "resourcepoolstatusrequests",
    "resourceslices",
  ],
  "storage.k8s.io": [
    "csidrivers",
    "csinodes",
    "storageclasses",
    "volumeattachments",
    "volumeattributesclasses",
  ],
};

/** What is to become of an object. */
export type Fate =
  | { type: "remove"; last?: KubeObject }
  | { type: "keep"; object: KubeObject }
  | { type: "pending" };

/** Where a namespace's and a CRD's own rules differ from everybody's. */
export interface DeletionRules {
  /** Seconds of grace; 0 removes at once. */
  grace(object: DeepReadonly<KubeObject>, asked: number | undefined): number;
  /** Finalizers that are not in metadata. */
  held(object: DeepReadonly<KubeObject>): boolean;
  /** A finalizer that deletion begins with, whatever else is asked for. */
  finalizer?: string;
  /** Changes the object when it begins to be deleted. */
  begin(object: KubeObject, now: number): void;
  /** Dependents are orphaned when nobody says otherwise. */
  orphans: boolean;
}

function rulesOf(kind: Kind): DeletionRules {
  const pods = kind.path === "/registry/pods";
  const namespaces = kind.path === "/registry/namespaces";
  const definitions = kind.path === "/registry/apiextensions.k8s.io/customresourcedefinitions";
  return {
    grace(object, asked) {
      if (!kind.hooks.gracePeriod) return 0;
      let seconds = asked ?? kind.hooks.gracePeriod(object);
      if (pods) {
        if (!object.spec?.nodeName) return 0;
        const phase = object.status?.phase;
        if (phase === "Succeeded" || phase === "Failed") return 0;
      }
      if (seconds < 0) seconds = 1;
      return seconds;
    },
    held: (object) => namespaces && (object.spec?.finalizers?.length ?? 0) > 0,
    begin(object, now) {
      if (namespaces) object.status = { ...object.status, phase: "Terminating" };
      if (definitions) beginCrdDeletion(object, now);
    },
    finalizer: definitions ? CLEANUP_FINALIZER : undefined,
    orphans: kind.group === "" && kind.plural === "replicationcontrollers" ||
      kind.group === "batch" && kind.plural === "jobs",
  };
}

function beginCrdDeletion(object: KubeObject, now: number): void {
  const conditions = (object.status?.conditions ?? []) as { type: string }[];
  const others = conditions.filter((c) => c.type !== "Terminating");
  const condition = {
    type: "Terminating",
    status: "True",
    lastTransitionTime: timeText(now),
    reason: "InstanceDeletionPending",
    message:
      "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
  };
  object.status = { ...object.status, conditions: [...others, condition] };
}

/** An object whose metadata may be changed; all else is shared with the one it was. */
function withOwnMetadata(old: DeepReadonly<KubeObject>): KubeObject {
  return { ...old, metadata: { ...old.metadata } } as KubeObject;
}

/** Decides what a delete does to an object. */
export function fateOf(
  kind: Kind,
  old: DeepReadonly<KubeObject>,
  options: DeleteOptions,
  now: number,
): Fate {
  const rules = rulesOf(kind);
  const meta = old.metadata;
  const finalizers = finalizersFor(old, options, rules);
  const held = finalizers.length > 0 || rules.held(old);
  if (meta.deletionTimestamp) {
    const running = meta.deletionGracePeriodSeconds;
    if (running !== undefined && running > 0) return shorten(kind, old, options, now);
    if (held) {
      if (sameList(finalizers, meta.finalizers ?? [])) return { type: "pending" };
      const object = withOwnMetadata(old);
      object.metadata.finalizers = finalizers;
      return { type: "keep", object };
    }
    return { type: "remove" };
  }
  const grace = rules.grace(old, options.gracePeriodSeconds);
  const object = withOwnMetadata(old);
  if (finalizers.length) object.metadata.finalizers = finalizers;
  else delete object.metadata.finalizers;
  object.metadata.deletionTimestamp = timeText(now + grace * 1000);
  object.metadata.deletionGracePeriodSeconds = grace;
  if (object.metadata.generation) object.metadata.generation++;
  if (grace === 0 && !held) {
    return { type: "remove", last: kind.hooks.gracePeriod ? object : undefined };
  }
  rules.begin(object, now);
  return { type: "keep", object };
}

/** An object whose grace runs already: it may only be made shorter. */
function shorten(
  kind: Kind,
  old: DeepReadonly<KubeObject>,
  options: DeleteOptions,
  now: number,
): Fate {
  const running = old.metadata.deletionGracePeriodSeconds!;
  const asked = options.gracePeriodSeconds;
  if (asked === undefined || asked >= running) return { type: "pending" };
  const seconds = Math.max(asked, 0);
  const object = withOwnMetadata(old);
  const end = Date.parse(old.metadata.deletionTimestamp!) + (seconds - running) * 1000;
  object.metadata.deletionTimestamp = timeText(Number.isNaN(end) ? now : end);
  object.metadata.deletionGracePeriodSeconds = seconds;
  const held = (old.metadata.finalizers?.length ?? 0) > 0 || rulesOf(kind).held(old);
  return seconds === 0 && !held ? { type: "remove", last: object } : { type: "keep", object };
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

/** The finalizers an object has once it is deleted with these options. */
function finalizersFor(
  old: DeepReadonly<KubeObject>,
  options: DeleteOptions,
  rules: DeletionRules,
): string[] {
  const present = old.metadata.finalizers ?? [];
  if (rules.finalizer && !old.metadata.deletionTimestamp) {
    return present.includes(rules.finalizer) ? [...present] : [...present, rules.finalizer];
  }
  const policy = options.propagationPolicy;
  let orphan: boolean;
  let foreground: boolean;
  if (options.orphanDependents !== undefined) {
    orphan = options.orphanDependents;
    foreground = false;
  } else if (policy) {
    orphan = policy === "Orphan";
    foreground = policy === "Foreground";
  } else {
    orphan = present.includes(ORPHAN) || (!present.includes(FOREGROUND) && rules.orphans);
    foreground = !orphan && present.includes(FOREGROUND);
  }
  const out = present.filter((name) => name !== ORPHAN && name !== FOREGROUND);
  if (orphan) out.push(ORPHAN);
  if (foreground) out.push(FOREGROUND);
  return sameMembers(out, present) ? [...present] : out;
}

function sameMembers(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((value) => b.includes(value));
}

/** Whether an update that leaves an object like this removes it: its last finalizer has gone. */
export function removedByUpdate(
  kind: Kind,
  object: DeepReadonly<KubeObject>,
  old: DeepReadonly<KubeObject>,
): boolean {
  if (!old.metadata.deletionTimestamp) return false;
  if (old.metadata.deletionGracePeriodSeconds !== 0) return false;
  if ((object.metadata.finalizers?.length ?? 0) > 0) return false;
  return !rulesOf(kind).held(object);
}

/** Throws 409 when the object is not the one that was meant. */
export function checkPreconditions(
  kind: Kind,
  object: DeepReadonly<KubeObject>,
  options: DeleteOptions,
): void {
  const { uid, resourceVersion } = options.preconditions ?? {};
  const meta = object.metadata;
  // The subject is the kind, as upstream's `rest.BeforeDelete` has it
  const subject = { group: kind.group, resource: kind.kind };
  if (uid !== undefined && uid !== meta.uid) {
    throw conflict(
      subject,
      meta.name,
      `the UID in the precondition (${uid}) does not match the UID in record (${meta.uid}). ` +
        `The object might have been deleted and then recreated`,
    );
  }
  if (resourceVersion !== undefined && resourceVersion !== meta.resourceVersion) {
    throw conflict(
      subject,
      meta.name,
      `the ResourceVersion in the precondition (${resourceVersion}) does not match the ` +
        `ResourceVersion in record (${meta.resourceVersion}). The object might have been modified`,
    );
  }
}

const JOB_WARNING = "child pods are preserved by default when jobs are deleted; " +
  "set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";

function saysPolicy(options: DeleteOptions): boolean {
  return options.propagationPolicy !== undefined || options.orphanDependents !== undefined;
}

/** Thrown inside a write to take it back: the object is not the one that was admitted. */
class Moved extends Error {}

/** Answers a delete; `collection`: it is one of a deletecollection's. */
export async function deleteObject(
  deps: Deps,
  request: ApiRequest,
  collection = false,
): Promise<Answer> {
  const { kind } = request;
  if (
    kind.group === "batch" && kind.plural === "jobs" && !saysPolicy(request.deleteOptions ?? {})
  ) {
    request.warnings.push(JOB_WARNING);
  }
  for (let attempt = 1;; attempt++) {
    try {
      return await tryDelete(deps, request, { collection, last: attempt === ATTEMPTS_MAX });
    } catch (error) {
      if (!(error instanceof Moved)) throw error;
    }
  }
}

/** One attempt; whoever judged it sees the new object again when it moved meanwhile, but for the last time. */
async function tryDelete(
  deps: Deps,
  request: ApiRequest,
  { collection, last }: { collection: boolean; last: boolean },
): Promise<Answer> {
  const { kind, namespace, name } = request;
  const options = request.deleteOptions ?? {};
  const store = storeOf(deps, kind);
  const key = keyFor(kind, namespace, name);
  const base = (await store.fresh()).get(key);
  if (!base) throw notFound(subjectOf(kind), name);
  checkPreconditions(kind, base.value, options);
  if (kind.storage?.convert) await prepareServed(kind, [base]);
  const { dryRun: dry, ...others } = options;
  const admission = admissionOf(deps, request, {
    operation: "DELETE",
    old: served(kind, base),
    options: {
      apiVersion: "meta.k8s.io/v1",
      kind: "DeleteOptions",
      ...others,
      ...dry && { dryRun: ["All"] },
    },
    collection,
  });
  await mutate(deps, admission);
  await review(deps, admission);
  const plugins = committers(deps, admission);
  const now = deps.clock.now();
  const dryRun = options.dryRun || request.params.dryRun;
  const result = await write(deps, request, { store, dryRun }, (draft) => {
    const moved = draft.get(key)?.revision !== base.revision;
    if (moved && !last && draft.get(key)) throw new Moved();
    const deleted = applyFate(kind, { draft, key, name, options, now });
    // Who keeps books must take off what this very write took away, not what the request once saw.
    if (plugins.length) {
      const old = kind.storage?.convert ? admission.old : served(kind, deleted.before);
      admitCommit(deps, plugins, { admission: { ...admission, old }, draft });
    }
    return deleted;
  });
  return await deletionAnswer(deps, request, key, result);
}

interface Deleted {
  /** As it stood. */
  before: Item<KubeObject>;
  removed: boolean;
  revision: number;
  object: DeepReadonly<KubeObject>;
}

function applyFate(
  kind: Kind,
  { draft, key, name, options, now }: {
    draft: Draft<KubeObject>;
    key: string;
    name: string;
    options: DeleteOptions;
    now: number;
  },
): Deleted {
  const current = draft.get(key);
  if (!current) throw notFound(subjectOf(kind), name);
  checkPreconditions(kind, current.value, options);
  const fate = fateOf(kind, current.value, options, now);
  if (fate.type === "pending") {
    return { before: current, removed: false, revision: current.revision, object: current.value };
  }
  if (fate.type === "keep") {
    const revision = draft.put(key, fate.object);
    return { before: current, removed: false, revision, object: fate.object };
  }
  claimsOf(kind)?.release(draft, current.value);
  const revision = draft.delete(key, fate.last)!;
  return { before: current, removed: true, revision, object: fate.last ?? current.value };
}

async function deletionAnswer(
  deps: Deps,
  request: ApiRequest,
  key: string,
  { removed, revision, object }: Deleted,
): Promise<Answer> {
  const { kind, name } = request;
  if (removed && !RETURNS_OBJECT[kind.group]?.includes(kind.plural)) {
    // Upstream's success says no code
    const status: Omit<Status, "code"> = {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Success",
      details: {
        name,
        group: kind.group || undefined,
        kind: kind.plural,
        uid: object.metadata.uid,
      },
    };
    return { code: 200, kind, status: status as Status };
  }
  const store = storeOf(deps, kind);
  const value = object as KubeObject;
  const item = removed
    ? { key, revision, value: atRevision(value, revision) as KubeObject, bytes: new Uint8Array() }
    : itemAfter(store, key, revision, value);
  if (kind.storage?.convert) await prepareServed(kind, [item]);
  const waits = request.deleteOptions?.orphanDependents === false && !removed;
  return { code: waits ? 202 : 200, kind, object: served(kind, item) };
}

/** Answers a deletecollection: what was deleted, as a list. */
export async function deleteCollection(deps: Deps, request: ApiRequest): Promise<Answer> {
  const { kind } = request;
  const page = await listPage(deps, request);
  for (let at = 0; at < page.items.length; at += COLLECTION_AT_ONCE) {
    const some = page.items.slice(at, at + COLLECTION_AT_ONCE);
    await Promise.all(some.map((item) => deleteOne(deps, request, item.value)));
  }
  return { code: 200, kind, page };
}

async function deleteOne(
  deps: Deps,
  request: ApiRequest,
  object: DeepReadonly<KubeObject>,
): Promise<void> {
  const { name, namespace = "" } = object.metadata;
  try {
    await deleteObject(deps, { ...request, verb: "delete", name, namespace }, true);
  } catch (error) {
    // Somebody else deleted it: that is what was wanted
    if ((error as { code?: number }).code !== 404) throw error;
  }
}
