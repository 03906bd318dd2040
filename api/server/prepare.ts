/**
 * What the server itself puts into objects before they are stored, and what it does not let a write
 * change: system metadata, generation, status (upstream: registry/rest create.go, update.go).
 */
import { type Decision, forbiddenRequest, nodeOfAccount } from "../auth/mod.ts";
import { without } from "../machinery/edit.ts";
import { badRequest, conflict, invalid } from "../machinery/errors.ts";
import type {
  Cause,
  DeepReadonly,
  IpFamily,
  Kind,
  KindContext,
  KubeObject,
  Right,
} from "../machinery/types.ts";
import { keepMeta, META_OF_SUBRESOURCE } from "../kinds/rules/prepare.ts";
import { Unsettled } from "../machinery/pace.ts";
import { keepsMetaOnStatus, validateCreate, validateMetaUpdate } from "../kinds/rules/meta.ts";
import { serviceFamilies } from "./allocators.ts";
import { attributesOf } from "./authorize.ts";
import { type Deps, subjectOf, timeText } from "./deps.ts";
import { equalJson } from "./equal.ts";
import type { ApiRequest } from "./request.ts";

/** Characters of generated name suffixes: no vowels, nothing that reads like another. */
const SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH = 5;
/** Longest name that is generated. */
const GENERATED_NAME_MAX = 63;

/** A name from a prefix, as upstream's SimpleNameGenerator makes it. */
export function generatedName(deps: Deps, prefix: string): string {
  const base = prefix.slice(0, GENERATED_NAME_MAX - SUFFIX_LENGTH);
  let suffix = "";
  for (let i = 0; i < SUFFIX_LENGTH; i++) {
    suffix += SUFFIX_LETTERS[Math.floor(deps.clock.random() * SUFFIX_LETTERS.length)];
  }
  return base + suffix;
}

/** Whether a kind has a subresource of this name. */
export function hasSubresource(kind: Kind, name: string): boolean {
  for (const subresource of kind.subresources) if (subresource.name === name) return true;
  return false;
}

/** What hooks are told: made twice for every write, so without closures. */
class RequestContext implements KindContext {
  readonly now: number;
  readonly #deps: Deps;
  readonly #request: ApiRequest;
  /** What was decided outside, by the right that was asked for. */
  #decided?: Map<string, Decision>;

  constructor(deps: Deps, request: ApiRequest) {
    this.now = deps.clock.now();
    this.#deps = deps;
    this.#request = request;
  }

  get user(): string {
    return this.#request.user.name;
  }

  get requester(): ApiRequest["user"] {
    return this.#request.user;
  }

  get verb(): string {
    return this.#request.verb;
  }

  get accountNode(): string | undefined {
    return nodeOfAccount(this.#request.user);
  }

  refused(right: Right): string | undefined {
    const attributes = { ...attributesOf(this.#request), ...right };
    const key = JSON.stringify(right);
    const decision = this.#decided?.get(key) ?? this.#deps.authorizer.authorize(attributes);
    if (decision instanceof Promise) {
      throw new Unsettled(async () => {
        const late = await decision;
        (this.#decided ??= new Map()).set(key, late);
      });
    }
    const { allowed, error, reason } = decision;
    if (allowed) return undefined;
    const why = error && reason ? `${error}: ${reason}` : error || reason;
    return forbiddenRequest(attributes, { ...decision, reason: why }).message;
  }

  get subresource(): string {
    return this.#request.subresource;
  }

  get features(): Deps["features"] {
    return this.#deps.features;
  }

  get serviceFamilies(): readonly IpFamily[] {
    return serviceFamilies(this.#deps.serviceRange);
  }

  warn(line: string): void {
    this.#request.warnings.push(line);
  }

  namespaceLabels(): Readonly<Record<string, string>> {
    const key = `/registry/namespaces/${this.#request.namespace}`;
    return this.#deps.database.objects.view().get(key)?.value.metadata.labels ?? {};
  }

  uuid(): string {
    return this.#deps.clock.uuid();
  }
}

/** What hooks are told. */
export function contextOf(deps: Deps, request: ApiRequest): KindContext {
  return new RequestContext(deps, request);
}

/** The namespace of the object must be the request's; what stands in none has none. */
export function checkNamespace(request: ApiRequest, object: KubeObject): void {
  const meta = object.metadata;
  if (!request.kind.namespaced) {
    delete meta.namespace;
    return;
  }
  if (!meta.namespace) meta.namespace = request.namespace;
  else if (meta.namespace !== request.namespace) {
    throw badRequest(
      "the namespace of the provided object does not match the namespace sent on the request",
    );
  }
}

/** Metadata that nobody creates. */
const NOT_CREATED = [
  "resourceVersion",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "selfLink",
  "generation",
];

/** Makes a decoded object ready to be created. */
export function prepareCreate(deps: Deps, request: ApiRequest, object: KubeObject): void {
  const { kind } = request;
  for (const field of NOT_CREATED) object.metadata = without(object.metadata, field);
  const meta = object.metadata;
  checkNamespace(request, object);
  const context = contextOf(deps, request);
  if (hasSubresource(kind, "status") && !kind.hooks.prepareCreate) delete object.status;
  // Before the kind's hook, as upstream: a Job's selector and a Namespace's label hold uid and name.
  meta.uid = deps.clock.uuid();
  meta.creationTimestamp = timeText(context.now);
  if (!meta.name && meta.generateName) meta.name = generatedName(deps, meta.generateName);
  kind.hooks.prepareCreate?.(object, context);
  if (kind.generation) meta.generation = 1;
}

/** The group that errors name: Events of both groups are the core group's to upstream. */
function groupOf(kind: Kind): string {
  return kind.store === "events" ? "" : kind.group;
}

/** Validates an object that is to be created; throws 422. */
export function validateNew(
  deps: Deps,
  request: ApiRequest,
  object: KubeObject,
): Promise<void> | void {
  const { kind } = request;
  const context = contextOf(deps, request);
  return judged(deps, request, { object, judge: () => validateCreate(object, kind, context) });
}

/** An object, and what finds out what is wrong with it at first sight. */
interface Judging {
  object: KubeObject;
  old?: DeepReadonly<KubeObject>;
  judge: () => Cause[];
}

/** Throws 422 for what is wrong with an object, which some kinds find out only slowly. */
function judged(deps: Deps, request: ApiRequest, judging: Judging): Promise<void> | void {
  const { hooks } = request.kind;
  try {
    const causes = judging.judge();
    if (!hooks.judge) return finish(request, judging, causes);
    return judgedSlowly(deps, request, { ...judging, judge: () => causes });
  } catch (error) {
    if (!(error instanceof Unsettled)) throw error;
    return judgedSlowly(deps, request, judging, error);
  }
}

async function judgedSlowly(
  deps: Deps,
  request: ApiRequest,
  judging: Judging,
  unsettled?: Unsettled,
): Promise<void> {
  const { kind: { hooks }, warnings } = request;
  const { object, old } = judging;
  const pace = deps.pace(request.user.name);
  await unsettled?.settle(pace);
  let causes: Cause[] | undefined;
  while (!causes) {
    try {
      causes = judging.judge();
    } catch (error) {
      if (!(error instanceof Unsettled)) throw error;
      await error.settle(pace);
    }
  }
  const warn = (text: string) => warnings.push(text);
  const since = deps.clock.monotonic();
  const more = await hooks.judge?.(object, old, { causes, pace, warn });
  if (more) deps.inner.judged(deps.clock.monotonic() - since);
  finish(request, judging, more ? [...causes, ...more] : causes);
}

function finish({ kind, warnings }: ApiRequest, { object, old }: Judging, causes: Cause[]): void {
  const { name, generateName = "" } = object.metadata;
  if (causes.length) throw invalid(groupOf(kind), kind.kind, name || generateName, causes);
  const more = kind.hooks.warnings?.(object, old);
  if (more?.length) warnings.push(...more);
}

/** Checks that an object is of the name that the path says. */
export function checkName(request: ApiRequest, { metadata: meta }: KubeObject): void {
  if (meta.name === request.name) return;
  if (!meta.name) {
    throw badRequest(
      `the name of the object (${request.name} based on URL) was undeterminable: name must be ` +
        "provided",
    );
  }
  throw badRequest(
    `the name of the object (${meta.name}) does not match the name on the URL (${request.name})`,
  );
}

/** Checks who and which version an update is for. */
export function checkUpdate(
  request: ApiRequest,
  object: KubeObject,
  old: DeepReadonly<KubeObject>,
) {
  const { kind } = request;
  const meta = object.metadata;
  checkName(request, object);
  checkNamespace(request, object);
  if (meta.uid && meta.uid !== old.metadata.uid) {
    throw conflict(
      subjectOf(kind),
      request.name,
      `Precondition failed: UID in precondition: ${meta.uid}, UID in object meta: ${
        old.metadata.uid ?? ""
      }`,
    );
  }
  checkVersion(request, object, old);
}

/** Throws 409 when an object says that it is of another version; "0" says nothing, as an empty one. */
export function checkVersion(
  request: ApiRequest,
  object: KubeObject,
  old: DeepReadonly<KubeObject>,
): void {
  const wanted = object.metadata.resourceVersion;
  if (wanted && wanted !== "0" && wanted !== old.metadata.resourceVersion) {
    throw conflict(subjectOf(request.kind), request.name);
  }
}

/** Makes a decoded object ready to replace `old`: what this write may not touch is carried over. */
export function prepareUpdate(
  deps: Deps,
  request: ApiRequest,
  object: KubeObject,
  old: DeepReadonly<KubeObject>,
): void {
  const { kind, subresource } = request;
  if (hasSubresource(kind, "status")) carryOver(request, object, old);
  const meta = object.metadata = without(object.metadata, "resourceVersion");
  const before = old.metadata;
  meta.uid = before.uid;
  meta.creationTimestamp = before.creationTimestamp;
  setOrDelete(meta, "deletionTimestamp", before.deletionTimestamp);
  setOrDelete(meta, "deletionGracePeriodSeconds", before.deletionGracePeriodSeconds);
  setOrDelete(meta, "generation", before.generation);
  setOrDelete(meta, "selfLink", before.selfLink);
  if (subresource === "status" && keepsMetaOnStatus(kind)) {
    keepMeta(object, old, META_OF_SUBRESOURCE);
  }
  kind.hooks.prepareUpdate?.(object, old, contextOf(deps, request));
  if (kind.generation && subresource !== "status" && meta.generation === before.generation) {
    if (specChanged(object, old)) meta.generation = (before.generation ?? 0) + 1;
  }
}

function setOrDelete<T extends object, K extends keyof T>(target: T, key: K, value: T[K]): void {
  if (value !== undefined) target[key] = value;
  else if (key in target) delete target[key];
}

/** Keeps status on writes of the object, and everything else on writes of the status. */
function carryOver(request: ApiRequest, object: KubeObject, old: DeepReadonly<KubeObject>): void {
  if (request.subresource === "status") {
    for (const key in object) {
      if (key === "apiVersion" || key === "kind" || key === "metadata" || key === "status") {
        continue;
      }
      if (!(key in old)) delete object[key];
    }
    for (const key in old) {
      if (key === "apiVersion" || key === "kind" || key === "metadata" || key === "status") {
        continue;
      }
      object[key] = old[key];
    }
    if (request.kind.custom) {
      const managedFields = object.metadata.managedFields;
      object.metadata = { ...old.metadata } as KubeObject["metadata"];
      setOrDelete(object.metadata, "managedFields", managedFields);
    }
    return;
  }
  if (request.subresource === "") {
    if (old.status === undefined) delete object.status;
    else object.status = old.status;
  }
}

/** Whether anything but metadata and status differs. */
function specChanged(a: DeepReadonly<KubeObject>, b: DeepReadonly<KubeObject>): boolean {
  for (const key in a) {
    if (key === "metadata" || key === "status") continue;
    if (!equalJson(a[key], b[key])) return true;
  }
  for (const key in b) {
    if (key === "metadata" || key === "status" || a[key] !== undefined) continue;
    if (b[key] !== undefined) return true;
  }
  return false;
}

/** Validates an object that is to replace `old`; throws 422. */
export function validateChanged(
  deps: Deps,
  request: ApiRequest,
  object: KubeObject,
  old: DeepReadonly<KubeObject>,
): Promise<void> | void {
  const { kind } = request;
  const context = contextOf(deps, request);
  const judge = () => {
    const causes: Cause[] = validateMetaUpdate(object, old, kind, request.subresource);
    const more = kind.hooks.validateUpdate?.(object, old, context);
    if (more?.length) causes.push(...more);
    return causes;
  };
  return judged(deps, request, { object, old, judge });
}
