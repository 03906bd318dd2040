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

/** Plugins by what they have a say in: there are some thirty, few of them in any one step. */
export interface AdmissionChain {
  readonly mutating: readonly AdmissionPlugin[];
  readonly validating: readonly AdmissionPlugin[];
  readonly committing: readonly AdmissionPlugin[];
}

/** Sorts plugins by steps, each in its order. */
export function chainOf(plugins: readonly AdmissionPlugin[]): AdmissionChain {
  return {
    mutating: plugins.filter((plugin) => plugin.mutate),
    validating: plugins.filter((plugin) => plugin.validate),
    committing: plugins.filter((plugin) => plugin.commit),
  };
}

/** What a step does, as a whole or with one plugin. */
type Act<T> = (step: Step, plugin: AdmissionPlugin) => T | Promise<T>;

/**
 * One step over one write, which tells how long it took and how long each plugin did. Some ten are asked at every write:
 * one that answers at once costs no allocation.
 */
class Step {
  readonly deps: Deps;
  readonly admission: Admission;
  /** Of writes inside their function. */
  readonly draft: Draft<KubeObject> | undefined;
  readonly #type: "admit" | "validate";
  readonly #began: number;
  /** When the plugin that is asked had its turn. */
  #since: number;

  constructor(
    deps: Deps,
    admission: Admission,
    type: "admit" | "validate",
    draft?: Draft<KubeObject>,
  ) {
    this.deps = deps;
    this.admission = admission;
    this.draft = draft;
    this.#type = type;
    this.#began = this.#since = deps.clock.monotonic();
  }

  /** Runs the step. */
  run<T>(act: Act<T>): T | Promise<T> {
    return this.#told(act, undefined);
  }

  /** Lets one plugin have its say. */
  ask(plugin: AdmissionPlugin, act: Act<void>): void | Promise<void> {
    return this.#told(act, plugin);
  }

  #told<T>(act: Act<T>, plugin: AdmissionPlugin | undefined): T | Promise<T> {
    let done: T | Promise<T>;
    try {
      done = act(this, plugin!);
    } catch (error) {
      this.#tell(plugin, true);
      throw error;
    }
    if (done instanceof Promise) return this.#late(done, plugin);
    this.#tell(plugin, false);
    return done;
  }

  async #late<T>(done: Promise<T>, plugin: AdmissionPlugin | undefined): Promise<T> {
    let rejected = true;
    try {
      const value = await done;
      rejected = false;
      return value;
    } finally {
      this.#tell(plugin, rejected);
    }
  }

  #tell(plugin: AdmissionPlugin | undefined, rejected: boolean): void {
    const { admissions, clock } = this.deps;
    if (!admissions) return;
    const type = this.#type;
    const { operation } = this.admission;
    const now = clock.monotonic();
    if (!plugin) return admissions.stepped(type, operation, { ms: now - this.#began, rejected });
    admissions.asked({ plugin: plugin.name, type, rejected }, operation, now - this.#since);
    this.#since = now;
  }
}

/**
 * Runs the mutating plugins; tells whether any may have changed something. All of them run a second time when a webhook
 * has changed the object: what they would add to what it added is added too (upstream: admission/reinvocation.go).
 * It answers at once as long as they do.
 */
export function mutate(deps: Deps, admission: Admission): boolean | Promise<boolean> {
  return new Step(deps, admission, "admit").run(mutateAll);
}

function mutateAll(step: Step): boolean | Promise<boolean> {
  const changed = mutateFrom(step, { from: 0, changed: false });
  return typeof changed === "boolean" ? changed : changed.then((late) => mutateAgain(step, late));
}

function mutateAgain(step: Step, changed: boolean): boolean | Promise<boolean> {
  const again = step.admission.reinvocation;
  if (!again?.wanted) return changed;
  again.again = true;
  const ran = mutateFrom(step, { from: 0, changed });
  return typeof ran === "boolean" ? changed : ran.then(() => changed);
}

const sayMutating: Act<void> = ({ admission }, plugin) => plugin.mutate!(admission);
const sayValidating: Act<void> = ({ admission }, plugin) => plugin.validate!(admission);
const sayCommitting: Act<void> = ({ admission, draft }, plugin) =>
  plugin.commit!(admission, draft!);

function mutateFrom(
  step: Step,
  so: { from: number; changed: boolean },
): boolean | Promise<boolean> {
  let { changed } = so;
  const { admission } = step;
  const { mutating } = step.deps.admission;
  for (let i = so.from; i < mutating.length; i++) {
    const plugin = mutating[i];
    if (!plugin.handles(admission)) continue;
    if (!plugin.refuses) {
      if (!changed) own(admission.object);
      changed = true;
    }
    const pending = step.ask(plugin, sayMutating);
    if (pending) return pending.then(() => mutateFrom(step, { from: i + 1, changed }));
  }
  return changed;
}

/** Makes private what an object shares with the stored one (see decoding.ts): a plugin may change anything. */
function own(object: KubeObject | undefined): void {
  for (const key in object) if (Object.isFrozen(object[key])) object[key] = edit(object[key]);
}

/** Runs the validating plugins; a promise only where one of them has to wait. */
export function review(deps: Deps, admission: Admission): void | Promise<void> {
  return new Step(deps, admission, "validate").run(reviewAll);
}

function reviewAll(step: Step): void | Promise<void> {
  return reviewFrom(step, 0);
}

function reviewFrom(step: Step, from: number): void | Promise<void> {
  const { validating } = step.deps.admission;
  for (let i = from; i < validating.length; i++) {
    const plugin = validating[i];
    if (!plugin.handles(step.admission)) continue;
    const pending = step.ask(plugin, sayValidating);
    if (pending) return pending.then(() => reviewFrom(step, i + 1));
  }
}

/** Whether any validating plugin looks. */
export function reviewed(deps: Deps, admission: Admission): boolean {
  return deps.admission.validating.some((plugin) => plugin.handles(admission));
}

/** The plugins that want a say inside the write. */
export function committers(deps: Deps, admission: Admission): readonly AdmissionPlugin[] {
  if (admission.kind.store === "events") return NONE;
  let found: AdmissionPlugin[] | undefined;
  for (const plugin of deps.admission.committing) {
    if (plugin.handles(admission)) (found ??= []).push(plugin);
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
  if (plugins.length === 0) return;
  const step = new Step(deps, admission, "validate", draft);
  for (const plugin of plugins) {
    if (plugin.mutate || plugin.validate) plugin.commit!(admission, draft);
    else step.ask(plugin, sayCommitting);
  }
}
