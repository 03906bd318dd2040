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
    pace: () => deps.pace(request.user.name),
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
 * Runs the mutating plugins; tells whether any may have changed something. All of them run a second time when a webhook
 * has changed the object: what they would add to what it added is added too (upstream: admission/reinvocation.go).
 * It answers at once as long as they do.
 */
export function mutate(deps: Deps, admission: Admission): boolean | Promise<boolean> {
  return stepped(deps, admission, "admit", () => {
    const changed = mutateFrom(deps, admission, { from: 0, changed: false });
    return typeof changed === "boolean"
      ? changed
      : changed.then((late) => mutateAgain(deps, admission, late));
  });
}

/** Runs a step of admission, and tells how long it took. */
function stepped<T>(
  { admissions, clock }: Deps,
  { operation }: Admission,
  type: "admit" | "validate",
  step: () => T | Promise<T>,
): T | Promise<T> {
  if (!admissions) return step();
  const since = clock.monotonic();
  return reported(
    step,
    (rejected) => admissions.stepped(type, operation, { ms: clock.monotonic() - since, rejected }),
  );
}

/** Lets one plugin have its say, and tells how long it took. Some ten times a write. */
function asked(
  { admissions, clock }: Deps,
  { operation }: Admission,
  { plugin: { name }, type, at }: {
    plugin: AdmissionPlugin;
    type: "admit" | "validate";
    /** When it is its turn; then, when it is the next one's: reading the clock is what costs most. */
    at: { since: number };
  },
  say: () => void | Promise<void>,
): void | Promise<void> {
  if (!admissions) return say();
  return reported(say, (rejected) => {
    const { since } = at;
    at.since = clock.monotonic();
    admissions.asked({ plugin: name, type, rejected }, operation, at.since - since);
  });
}

/** Does something that may take its time, and tells at its end whether it was refused. */
function reported<T>(
  act: () => T | Promise<T>,
  over: (rejected: boolean) => void,
): T | Promise<T> {
  const refused = (error: unknown): never => {
    over(true);
    throw error;
  };
  let done: T | Promise<T>;
  try {
    done = act();
  } catch (error) {
    return refused(error);
  }
  if (done instanceof Promise) return done.then((late) => (over(false), late), refused);
  over(false);
  return done;
}

function mutateAgain(
  deps: Deps,
  admission: Admission,
  changed: boolean,
): boolean | Promise<boolean> {
  const again = admission.reinvocation;
  if (!again?.wanted) return changed;
  again.again = true;
  const ran = mutateFrom(deps, admission, { from: 0, changed });
  return typeof ran === "boolean" ? changed : ran.then(() => changed);
}

function mutateFrom(
  deps: Deps,
  admission: Admission,
  so: { from: number; changed: boolean },
): boolean | Promise<boolean> {
  let { changed } = so;
  const at = { since: deps.clock.monotonic() };
  const { admission: plugins } = deps;
  // Some thirty at every write, of which most have no say: by index, which allocates nothing
  for (let i = so.from; i < plugins.length; i++) {
    const plugin = plugins[i];
    if (!plugin.mutate || !plugin.handles(admission)) continue;
    if (!plugin.refuses) {
      if (!changed) own(admission.object);
      changed = true;
    }
    const pending = asked(
      deps,
      admission,
      { plugin, type: "admit", at },
      () => plugin.mutate!(admission),
    );
    if (pending) return pending.then(() => mutateFrom(deps, admission, { from: i + 1, changed }));
  }
  return changed;
}

/** Makes private what an object shares with the stored one (see decoding.ts): a plugin may change anything. */
function own(object: KubeObject | undefined): void {
  for (const key in object) if (Object.isFrozen(object[key])) object[key] = edit(object[key]);
}

/** Runs the validating plugins; a promise only where one of them has to wait. */
export function review(deps: Deps, admission: Admission): void | Promise<void> {
  return stepped(deps, admission, "validate", () => reviewFrom(deps, admission, 0));
}

function reviewFrom(deps: Deps, admission: Admission, from: number): void | Promise<void> {
  const at = { since: deps.clock.monotonic() };
  const { admission: plugins } = deps;
  for (let i = from; i < plugins.length; i++) {
    const plugin = plugins[i];
    if (!plugin.validate || !plugin.handles(admission)) continue;
    const pending = asked(
      deps,
      admission,
      { plugin, type: "validate", at },
      () => plugin.validate!(admission),
    );
    if (pending) return pending.then(() => reviewFrom(deps, admission, i + 1));
  }
}

/** Whether any validating plugin looks. */
export function reviewed(deps: Deps, admission: Admission): boolean {
  return deps.admission.some((plugin) => plugin.validate && plugin.handles(admission));
}

/** The plugins that want a say inside the write. */
export function committers(deps: Deps, admission: Admission): readonly AdmissionPlugin[] {
  if (admission.kind.store === "events") return NONE;
  let found: AdmissionPlugin[] | undefined;
  const { admission: plugins } = deps;
  for (let i = 0; i < plugins.length; i++) {
    if (plugins[i].commit && plugins[i].handles(admission)) (found ??= []).push(plugins[i]);
  }
  return found ?? NONE;
}

const NONE: readonly AdmissionPlugin[] = [];

/** Runs them. One that has had its say before is not counted again. */
export function admitCommit(
  deps: Deps,
  plugins: readonly AdmissionPlugin[],
  { admission, draft }: { admission: Admission; draft: Draft<KubeObject> },
): void {
  for (const plugin of plugins) {
    if (plugin.mutate || plugin.validate) plugin.commit!(admission, draft);
    else {
      const at = { since: deps.clock.monotonic() };
      const say = () => plugin.commit!(admission, draft);
      asked(deps, admission, { plugin, type: "validate", at }, say);
    }
  }
}
