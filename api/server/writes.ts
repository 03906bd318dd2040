/**
 * create, update and patch, for every kind. What may wait (admission, validation) runs first, on a base
 * revision; what must be exact runs inside the store's write. When the object moved in between, an update
 * that named a resourceVersion is refused with 409, everything else starts again from the new object.
 */
import type { Item, Store } from "../../kv/contract.ts";
import type { Admission } from "../auth/contract.ts";
import { without } from "../machinery/edit.ts";
import { alreadyExists, conflict, invalid, notFound } from "../machinery/errors.ts";
import { ApiError, type DeepReadonly, type Kind, type KubeObject } from "../machinery/types.ts";
import { attributesOf, authorize } from "./authorize.ts";
import { checkAdmitted, settleManaged } from "./admitted.ts";
import { admissionOf, admitCommit, committers, mutate, review } from "./admit.ts";
import { claimsOf } from "./allocators.ts";
import { type Plan, withPlan } from "./claim_plan.ts";
import { apiVersionOf, atRevision, objectCodec, served } from "./codec.ts";
import { convertedForm, prepareServed } from "./conversions.ts";
import { decodeBody, fillDefaults } from "./decoding.ts";
import { type Deps, enter, keyFor, storeOf, subjectOf } from "./deps.ts";
import { removedByUpdate } from "./deletes.ts";
import { equalButManaged, equalJson } from "./equal.ts";
import { patched } from "./patching.ts";
import {
  checkName,
  checkNamespace,
  checkUpdate,
  generatedName,
  prepareCreate,
  prepareUpdate,
  validateChanged,
  validateNew,
} from "./prepare.ts";
import type { Answer, ApiRequest } from "./request.ts";
import { write } from "./request_write.ts";
import { prepareTracking, tracked } from "./tracking.ts";

/** Times a name is generated again when the first one is taken. */
const NAME_ATTEMPTS_MAX = 8;
/** Times a patch or apply starts again because the object moved. */
export const PATCH_ATTEMPTS_MAX = 5;
/** Times an unconditional update starts again. */
const UPDATE_ATTEMPTS_MAX = 100;

/**
 * The stored form of an object of a kind; `form`, where a webhook has made it before. A name that was generated since
 * is put into that as well.
 */
function storedForm(kind: Kind, object: KubeObject, form?: KubeObject): KubeObject {
  if (!form) return kind.storage ? kind.storage.toStorage(object) : object;
  return { ...form, metadata: { ...form.metadata, name: object.metadata.name } };
}

/**
 * The item a write left, as this process now sees it, or one made up where it was written over since: in the same
 * commit, say. Both say of which version they are.
 */
export function itemAfter(
  store: Store<KubeObject>,
  key: string,
  revision: number,
  value: KubeObject,
): Item<KubeObject> {
  const item = store.view().get(key);
  if (item?.revision === revision) return item;
  const shown = atRevision(value, revision) as KubeObject;
  return { key, revision, value: shown, bytes: objectCodec.encode(value) };
}

/** Answers a create. */
export function createObject(deps: Deps, request: ApiRequest): Promise<Answer> {
  enter(deps, request, "decode");
  const { object } = decodeBody(deps, request);
  return createDecoded(deps, request, object);
}

/** Metadata that is wiped from what is to be created (upstream: WipeObjectMetaSystemFields), where owners would see it. */
const WIPED = ["deletionTimestamp", "deletionGracePeriodSeconds"];

/** Creates a decoded object, which belongs to the request. */
async function createDecoded(
  deps: Deps,
  request: ApiRequest,
  object: KubeObject,
  apply?: (object: KubeObject) => void,
): Promise<Answer> {
  const { kind } = request;
  const admission = admissionOf(deps, request, {
    operation: "CREATE",
    object,
    name: object.metadata.name ?? "",
  });
  if (kind.namespaced && !object.metadata.namespace) object.metadata.namespace = request.namespace;
  // Nobody sets what the server does; what admission adds is nobody's
  for (const field of WIPED) object.metadata = without(object.metadata, field);
  if (!apply) tracked(deps, request, undefined, object);
  enter(deps, request, "mutate");
  const { managedFields } = object.metadata;
  const mutated = mutate(deps, admission);
  if (typeof mutated === "boolean" ? mutated : await mutated) fillDefaults(kind, object);
  if (admission.reinvocation) settleManaged(request, object, managedFields);
  enter(deps, request, "prepare");
  const generated = object.metadata.name ? undefined : object.metadata.generateName;
  const { resourceVersion } = object.metadata;
  prepareCreate(deps, request, object);
  apply?.(object);
  enter(deps, request, "validate");
  const validating = validateNew(deps, request, object);
  if (validating) await validating;
  const store = storeOf(deps, kind);
  const written = await withPlan(deps, { admission }, (plan) => {
    enter(deps, request, "admit");
    const commit = () => {
      enter(deps, request, "commit");
      const unfit = resourceVersion && resourceVersion !== "0" && !request.params.dryRun;
      if (unfit) throw versionGiven();
      return commitCreate(deps, request, { admission, object, generated, plan });
    };
    const reviewing = review(deps, admission);
    return reviewing ? reviewing.then(commit) : commit();
  });
  const answer = answerOf(store, request, written);
  return { ...answer instanceof Promise ? await answer : answer, code: 201 };
}

async function commitCreate(
  deps: Deps,
  request: ApiRequest,
  { admission, object, generated, plan }: {
    admission: Admission;
    object: KubeObject;
    /** What the name was made of, if it was made. */
    generated: string | undefined;
    plan: Plan | undefined;
  },
): Promise<Written | undefined> {
  const { kind } = request;
  const plugins = committers(deps, admission);
  const claims = claimsOf(kind);
  const form = kind.storage?.convert && await convertedForm(kind, object);
  const { dryRun } = request.params;
  return await write(deps, request, { store: storeOf(deps, kind), dryRun }, (draft) => {
    if (plan && !plan.holds(draft)) return undefined;
    let value = storedForm(kind, object, form);
    let key = keyFor(kind, request.namespace, object.metadata.name);
    for (let attempt = 1; draft.get(key); attempt++) {
      if (!generated || attempt >= NAME_ATTEMPTS_MAX) throw taken(request, object);
      object.metadata.name = generatedName(deps, generated);
      value = storedForm(kind, object, form);
      key = keyFor(kind, request.namespace, object.metadata.name);
    }
    admitCommit(deps, plugins, { admission, draft });
    if (claims) value = claims.create(deps, draft, value, dryRun);
    return { key, value, revision: draft.put(key, value) };
  });
}

/** To upstream this is an error of its storage, after everything else and without a reason. */
function versionGiven(): ApiError {
  const message = "resourceVersion should not be set on objects to be created";
  return new ApiError({ code: 500, message });
}

function taken(request: ApiRequest, object: KubeObject) {
  const error = alreadyExists(subjectOf(request.kind), object.metadata.name);
  if (!object.metadata.generateName) return error;
  error.status.details!.retryAfterSeconds = 1;
  return error;
}

interface Written {
  key: string;
  value: KubeObject;
  revision: number;
}

function answerOf(
  store: Store<KubeObject>,
  request: ApiRequest,
  written: Written | undefined,
  base?: Item<KubeObject>,
): Answer | Promise<Answer> {
  const { kind } = request;
  const { key, value, revision } = written!;
  if (!request.params.dryRun) {
    return { code: 200, kind, item: itemAfter(store, key, revision, value) };
  }
  // What was not written keeps the resourceVersion of what is there
  const shown = base ? atRevision(value, base.revision) as KubeObject : value;
  const item = { key, revision: 0, value: shown, bytes: new Uint8Array() };
  const answer = () => ({ code: 200, kind, object: served(kind, item) });
  return kind.storage?.convert ? prepareServed(kind, [item]).then(answer) : answer();
}

/** Kinds that an update creates when they are absent (upstream: AllowCreateOnUpdate). */
const CREATED_BY_UPDATE = new Set([
  "endpoints",
  "events",
  "leasecandidates",
  "leases",
  "limitranges",
  "roles",
  "rolebindings",
  "runtimeclasses",
  "clusterroles",
  "clusterrolebindings",
  "services",
]);

/** Kinds whose updates must say of which version they are (upstream: AllowUnconditionalUpdate is false). */
const VERSION_WANTED = new Set([
  "apiservices.apiregistration.k8s.io",
  "clustertrustbundles.certificates.k8s.io",
  "csidrivers.storage.k8s.io",
  "csinodes.storage.k8s.io",
  "csistoragecapacities.storage.k8s.io",
  "customresourcedefinitions.apiextensions.k8s.io",
  "leasecandidates.coordination.k8s.io",
  "leases.coordination.k8s.io",
  "mutatingadmissionpolicies.admissionregistration.k8s.io",
  "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
  "mutatingwebhookconfigurations.admissionregistration.k8s.io",
  "podcertificaterequests.certificates.k8s.io",
  "poddisruptionbudgets.policy",
  "runtimeclasses.node.k8s.io",
  "storageversionmigrations.storagemigration.k8s.io",
  "validatingadmissionpolicies.admissionregistration.k8s.io",
  "validatingadmissionpolicybindings.admissionregistration.k8s.io",
  "validatingwebhookconfigurations.admissionregistration.k8s.io",
  "volumeattachments.storage.k8s.io",
]);

/** Throws 422 where an update says of no version that it is of, and must. */
function checkVersionGiven({ kind, name }: ApiRequest): void {
  if (!kind.custom && !VERSION_WANTED.has(`${kind.plural}.${kind.group}`)) return;
  throw invalid(kind.group, kind.plural, name, [{
    reason: "FieldValueInvalid",
    message: "Invalid value: 0: must be specified for an update",
    field: "metadata.resourceVersion",
  }]);
}

/** Answers an update. */
export function updateObject(deps: Deps, request: ApiRequest): Promise<Answer> {
  const { object: sent } = decodeBody(deps, request);
  // Before it is looked for
  checkName(request, sent);
  checkNamespace(request, sent);
  const wanted = sent.metadata.resourceVersion;
  const conditional = wanted !== undefined && wanted !== "" && wanted !== "0";
  return change(deps, request, {
    attemptsMax: conditional ? 1 : UPDATE_ATTEMPTS_MAX,
    produce: (_old, attempt) => {
      if (!conditional) checkVersionGiven(request);
      return { object: attempt === 0 ? sent : decodeBody(deps, request).object };
    },
    absent: () => {
      if (request.subresource || !CREATED_BY_UPDATE.has(request.kind.plural)) return undefined;
      checkUpdate(request, sent, { metadata: {} } as KubeObject);
      return sent;
    },
  });
}

/** Answers a patch of any type. */
export function patchObject(deps: Deps, request: ApiRequest): Promise<Answer> {
  return change(deps, request, {
    attemptsMax: PATCH_ATTEMPTS_MAX,
    produce: (old) => patched(deps, request, old),
    absent: () => {
      if (request.patch!.type !== "apply" || request.subresource) return undefined;
      return patched(deps, request, undefined).object;
    },
  });
}

/** What admission is shown of a change that was not asked for as an object of the kind: a Scale. */
export interface Shown {
  form: Kind;
  object: KubeObject;
  old: DeepReadonly<KubeObject>;
  /** Carries what admission made of it over to the object. */
  carry(): void;
}

/** How a change makes the new object out of the old one. */
export interface Change {
  attemptsMax: number;
  /** A private object, decoded and defaulted. `applied`: its managedFields are right already. */
  produce(
    old: DeepReadonly<KubeObject>,
    attempt: number,
  ): { object: KubeObject; applied?: boolean; shown?: Shown };
  /** What to create when there is no object; undefined: 404. */
  absent?(): KubeObject | undefined;
}

/** Changes one object: the pipeline of update, patch, apply and of writes to subresources. */
export async function change(deps: Deps, request: ApiRequest, how: Change): Promise<Answer> {
  const { kind, namespace, name } = request;
  const store = storeOf(deps, kind);
  const key = keyFor(kind, namespace, name);
  for (let attempt = 0; attempt < how.attemptsMax; attempt++) {
    const base = (await store.fresh()).get(key);
    if (!base) {
      const object = how.absent?.();
      if (!object) throw notFound(subjectOf(kind), name);
      return await createAbsent(deps, request, object);
    }
    const answer = await tryChange(deps, request, { how, base, attempt });
    if (answer) return answer;
  }
  throw conflict(subjectOf(kind), name);
}

/** Who may change may not therefore create: that is a right of its own. */
async function createAbsent(deps: Deps, request: ApiRequest, object: KubeObject): Promise<Answer> {
  await authorize(deps, { ...attributesOf(request), verb: "create" });
  if (request.patch?.type !== "apply") return await createDecoded(deps, request, object);
  const managed = object.metadata.managedFields;
  return await createDecoded(deps, request, object, (created) => {
    created.metadata.managedFields = managed;
  });
}

interface Attempt {
  how: Change;
  base: Item<KubeObject>;
  attempt: number;
}

/** One attempt; undefined when the object moved meanwhile. */
async function tryChange(
  deps: Deps,
  request: ApiRequest,
  { how, base, attempt }: Attempt,
): Promise<Answer | undefined> {
  const { kind } = request;
  if (kind.storage?.convert) await prepareServed(kind, [base]);
  const old = served(kind, base);
  enter(deps, request, "decode");
  if (kind.storage?.convert && request.patch?.type === "apply") {
    await prepareTracking(deps, kind, old);
  }
  const { object, applied, shown } = how.produce(old, attempt);
  checkUpdate(request, object, old);
  const admission = admissionOf(deps, request, {
    operation: "UPDATE",
    object,
    old,
    ...shown,
  });
  if (!applied) {
    if (kind.storage?.convert) await prepareTracking(deps, kind, old, object);
    tracked(deps, request, old, object);
  }
  const { managedFields } = object.metadata;
  enter(deps, request, "mutate");
  const mutated = mutate(deps, admission);
  if (typeof mutated === "boolean" ? mutated : await mutated) {
    shown?.carry();
    fillDefaults(kind, object);
    if (admission.reinvocation) {
      object.metadata ??= {} as KubeObject["metadata"];
      if (!shown) checkAdmitted(request, object, old);
      settleManaged(request, object, managedFields);
    }
  }
  enter(deps, request, "prepare");
  const settled = object.metadata.managedFields;
  prepareUpdate(deps, request, object, old);
  if (settled) object.metadata.managedFields = settled;
  else object.metadata = without(object.metadata, "managedFields");
  const unchanged = equalButManaged(object, old) && sameManaged(object, old) &&
    isCurrent(kind, base);
  enter(deps, request, "validate");
  if (unchanged && !applied && !kind.hooks.judge) {
    request.warnings.push(...kind.hooks.warnings?.(object, old) ?? []);
  } else {
    const validating = validateChanged(deps, request, object, old);
    if (validating) await validating;
  }
  return await withPlan(deps, { admission, old: base.value }, (plan) => {
    enter(deps, request, "admit");
    // Judges see which version is replaced; it is not stored
    object.metadata.resourceVersion = old.metadata.resourceVersion;
    const commit = (): Promise<Answer | undefined> => {
      if (unchanged) return Promise.resolve({ code: 200, kind, item: base });
      object.metadata = without(object.metadata, "resourceVersion");
      return commitChange(deps, request, { admission, object, base, plan });
    };
    const reviewing = review(deps, admission);
    return reviewing ? reviewing.then(commit) : commit();
  });
}

/** Whether an object is stored as it would be now: a write that changes nothing moves it to a new storage version. */
function isCurrent(kind: Kind, { value }: Item<KubeObject>): boolean {
  return !kind.custom || value.apiVersion === (kind.storage?.version ?? apiVersionOf(kind));
}

/** Whether two objects' managedFields differ in nothing but times. */
function sameManaged(object: KubeObject, old: DeepReadonly<KubeObject>): boolean {
  const one = object.metadata.managedFields;
  const two = old.metadata.managedFields;
  if (one === undefined || two === undefined) return one === two;
  if (one.length !== two.length) return false;
  return one.every((entry, i) => {
    const { time: _a, ...left } = entry;
    const { time: _b, ...right } = two[i];
    return equalJson(left, right);
  });
}

async function commitChange(
  deps: Deps,
  request: ApiRequest,
  { admission, object, base, plan }: {
    admission: Admission;
    object: KubeObject;
    base: Item<KubeObject>;
    plan: Plan | undefined;
  },
): Promise<Answer | undefined> {
  const { kind } = request;
  enter(deps, request, "commit");
  const store = storeOf(deps, kind);
  const plugins = committers(deps, admission);
  const claims = claimsOf(kind);
  const form = (kind.storage?.convert && await convertedForm(kind, object)) ||
    storedForm(kind, object);
  const removed = removedByUpdate(kind, form, base.value);
  const { dryRun } = request.params;
  const written = await write(deps, request, { store, dryRun }, (draft) => {
    const current = draft.get(base.key);
    if (!current || current.revision !== base.revision) return undefined;
    if (plan && !plan.holds(draft)) return undefined;
    admitCommit(deps, plugins, { admission, draft });
    if (removed) {
      claims?.release(draft, current.value);
      return { key: base.key, value: form, revision: draft.delete(base.key, form)! };
    }
    const value = claims ? claims.update(deps, draft, form, current.value, dryRun) : form;
    return { key: base.key, value, revision: draft.put(base.key, value) };
  });
  if (!written) return undefined;
  if (removed) {
    // What is answered is what was asked for, and that was of the version that went
    const value = atRevision(form, base.revision) as KubeObject;
    const item = { key: base.key, revision: written.revision, value, bytes: new Uint8Array() };
    if (kind.storage?.convert) await prepareServed(kind, [item]);
    return { code: 200, kind, object: served(kind, item) };
  }
  return answerOf(store, request, written, base);
}
