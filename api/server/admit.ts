/**
 * Runs the admission chain over one write: mutating plugins in order, validating plugins in order, and,
 * inside the write's function, those that must be exact.
 */
import type { Draft } from "../../kv/contract.ts";
import type { Admission, AdmissionPlugin, Operation } from "../auth/contract.ts";
import { edit } from "../machinery/edit.ts";
import type { DeepReadonly, Kind, KubeObject } from "../machinery/types.ts";
import type { Deps } from "./deps.ts";
import type { ApiRequest } from "./request.ts";

/** Longest text of one warning, and of all of a response's (upstream: 4 KiB when there are many). */
export const WARNING_LENGTH_MAX = 256;

/** What admission is shown of a request. */
export function admissionOf(
  deps: Deps,
  request: ApiRequest,
  what: {
    operation: Operation;
    object?: KubeObject;
    old?: DeepReadonly<KubeObject>;
    name?: string;
    options?: Record<string, unknown>;
    form?: Kind;
    collection?: boolean;
  },
): Admission {
  return {
    operation: what.operation,
    kind: request.kind,
    subresource: request.subresource,
    namespace: request.namespace,
    name: what.name ?? request.name,
    user: request.user,
    dryRun: request.params.dryRun === true || request.deleteOptions?.dryRun === true,
    object: what.object,
    old: what.old,
    options: what.options ?? optionsOf(request, what.operation),
    form: what.form,
    collection: what.collection,
    signal: request.signal,
    pace: deps.pace,
    view: deps.database.objects.view(),
    now: deps.clock.now(),
    warn: (text) => request.warnings.push(text),
    annotate(key, value, what) {
      const { audit } = request;
      if (audit && (!what?.requestLevel || audit.wantsRequest)) audit.annotate(key, value);
    },
  };
}

const OPTIONS: Partial<Record<Operation, string>> = {
  CREATE: "CreateOptions",
  UPDATE: "UpdateOptions",
};

/** What webhooks and policies see as options: a patch's are an update's, as upstream. */
function optionsOf(request: ApiRequest, operation: Operation): Record<string, unknown> {
  const kind = OPTIONS[operation];
  if (!kind) return {};
  const { dryRun, fieldManager, fieldValidation } = request.params;
  const options: Record<string, unknown> = { apiVersion: "meta.k8s.io/v1", kind };
  if (dryRun) options.dryRun = ["All"];
  if (fieldManager) options.fieldManager = fieldManager;
  if (fieldValidation) options.fieldValidation = fieldValidation;
  return options;
}

/**
 * Runs the mutating plugins; tells whether any had a say. All of them run a second time when a webhook has changed the
 * object: what they would add to what it added is added too (upstream: admission/reinvocation.go).
 */
export async function mutate(deps: Deps, admission: Admission): Promise<boolean> {
  const changed = await mutateOnce(deps, admission);
  const again = admission.reinvocation;
  if (!again?.wanted) return changed;
  again.again = true;
  await mutateOnce(deps, admission);
  return changed;
}

async function mutateOnce(deps: Deps, admission: Admission): Promise<boolean> {
  let changed = false;
  const { admission: plugins } = deps;
  // Some thirty at every write, of which most have no say: by index, which allocates nothing
  for (let i = 0; i < plugins.length; i++) {
    const plugin = plugins[i];
    if (!plugin.mutate || !plugin.handles(admission)) continue;
    if (!changed) own(admission.object);
    changed = true;
    const pending = plugin.mutate(admission);
    if (pending) await pending;
  }
  return changed;
}

/** Makes private what an object shares with the stored one (see decoding.ts): a plugin may change anything. */
function own(object: KubeObject | undefined): void {
  for (const key in object) if (Object.isFrozen(object[key])) object[key] = edit(object[key]);
}

/** Runs the validating plugins. */
export async function review(deps: Deps, admission: Admission): Promise<void> {
  const { admission: plugins } = deps;
  for (let i = 0; i < plugins.length; i++) {
    const plugin = plugins[i];
    if (!plugin.validate || !plugin.handles(admission)) continue;
    const pending = plugin.validate(admission);
    if (pending) await pending;
  }
}

/** Whether any validating plugin looks. */
export function reviewed(deps: Deps, admission: Admission): boolean {
  return deps.admission.some((plugin) => plugin.validate && plugin.handles(admission));
}

/** The plugins that want a say inside the write. */
export function committers(deps: Deps, admission: Admission): readonly AdmissionPlugin[] {
  if (admission.kind.store === "events") return [];
  return deps.admission.filter((plugin) => plugin.commit && plugin.handles(admission));
}

/** Runs them. */
export function admitCommit(
  plugins: readonly AdmissionPlugin[],
  admission: Admission,
  draft: Draft<KubeObject>,
): void {
  for (const plugin of plugins) plugin.commit!(admission, draft);
}
