/**
 * MutatingAdmissionWebhook and ValidatingAdmissionWebhook: asks the webhooks that are configured (upstream:
 * admission/plugin/webhook). Mutating ones one after the other, validating ones all at once. A webhook that refuses ends
 * the request in its own words; one that cannot be asked ends it too, unless its configuration says otherwise.
 */
import { askWebhook, WebhookError } from "../../client/webhook_call.ts";
import { OutboundError } from "../../client/outbound.ts";
import { convertTo } from "../../machinery/conversion.ts";
import { applyDefaults } from "../../machinery/defaults.ts";
import { edit } from "../../machinery/edit.ts";
import { badRequest, internal, timedOut } from "../../machinery/errors.ts";
import { JsonError, parseJson } from "../../machinery/json.ts";
import { isMap, jsonTypeName, sameJson } from "../../machinery/json_value.ts";
import { jsonPatch } from "../../machinery/patch.ts";
import { decode } from "../../machinery/schema.ts";
import { StacklessError } from "../../machinery/stackless_error.ts";
import {
  ApiError,
  type DeepReadonly,
  type Kind,
  type KubeObject,
  type Status,
} from "../../machinery/types.ts";
import { type PluginContext, refusal, unknownConversion, whyUndecodable } from "../admission.ts";
import type { StepType } from "../admission_metrics.ts";
import type { Admission, AdmissionPlugin, Reinvocation } from "../contract.ts";
import { admissionValues } from "../match_conditions.ts";
import {
  isAdmissionConfiguration,
  matchRules,
  namespaceMatches,
  objectMatches,
} from "../request_matching.ts";
import { type WebhookUsers, withCredentials } from "../webhook_credentials.ts";
import { type Hook, Hooks, type HookType } from "../webhook_hooks.ts";
import {
  type Asked,
  ReviewError,
  reviewOf,
  reviewVersion,
  type Verdict,
  verdictOf,
} from "../webhook_review.ts";

const STEPS: Readonly<Record<HookType, StepType>> = { mutating: "admit", validating: "validating" };
const PREFIXES: Readonly<Record<HookType, string>> = {
  mutating: "mutation.webhook.admission.k8s.io/",
  validating: "validating.webhook.admission.k8s.io/",
};
const PATCH_PREFIX = "patch.webhook.admission.k8s.io/";
const LOWEST_REFUSAL = 400;
const PEM_BEGIN = "-----BEGIN CERTIFICATE-----";

/** A webhook could not be asked, or what it said was no answer. */
class CallFailure extends StacklessError {
  readonly code: number;
  constructor(hook: Hook, why: string, code: number) {
    super(`failed calling webhook ${JSON.stringify(hook.name)}: ${why}`);
    this.code = code;
  }
}

/** A webhook said no. */
class Rejection extends StacklessError {
  readonly refused: ApiError;
  constructor(refused: ApiError) {
    super(refused.message);
    this.refused = refused;
  }
}

/** The plugin that lets webhooks change what is written. `users`: who we are to them. */
export function mutatingWebhooks(
  context: PluginContext,
  users: WebhookUsers = {},
): AdmissionPlugin {
  const hooks = new Hooks();
  return {
    name: "MutatingAdmissionWebhook",
    handles: (a) => concerned(hooks, "mutating", a),
    mutate: (a) =>
      new Round({ ...context, users }, a, "mutating").mutate(hooks.of("mutating", a.view)),
  };
}

/** The plugin that lets webhooks refuse what is written. `users`: who we are to them. */
export function validatingWebhooks(
  context: PluginContext,
  users: WebhookUsers = {},
): AdmissionPlugin {
  const hooks = new Hooks();
  return {
    name: "ValidatingAdmissionWebhook",
    handles: (a) => concerned(hooks, "validating", a),
    validate: (a) =>
      new Round({ ...context, users }, a, "validating").validate(hooks.of("validating", a.view)),
  };
}

interface RoundContext extends PluginContext {
  users: WebhookUsers;
}

function concerned(hooks: Hooks, type: HookType, a: Admission): boolean {
  return hooks.any(type, a.view) && !isAdmissionConfiguration(a);
}

/** One run of a chain of webhooks over one write. */
class Round {
  readonly #context: RoundContext;
  readonly #a: Admission;
  readonly #step: StepType;
  readonly #type: HookType;
  /** The object in other versions, until it changes; the old one, which does not. */
  readonly #objects = new Map<Kind, DeepReadonly<KubeObject>>();
  readonly #olds = new Map<Kind, DeepReadonly<KubeObject>>();

  constructor(context: RoundContext, a: Admission, type: HookType) {
    this.#context = context;
    this.#a = a;
    this.#type = type;
    this.#step = STEPS[type];
  }

  // --- which are asked --------------------------------------------------------------------------------

  /** The kind to ask a webhook about; undefined when it is not asked. */
  async #chosen(hook: Hook): Promise<Kind | undefined> {
    const a = this.#a;
    const kinds = this.#context.kinds?.();
    const kind = matchRules(hook.rules, hook.matchPolicy, a, kinds);
    if (!kind || !objectMatches(hook.objectSelector, a)) return undefined;
    if (!namespaceMatches(hook.namespaceSelector, a)) return undefined;
    if (!hook.conditions) return kind;
    const { object, old } = await this.#askedAbout(kind);
    const conditions = await hook.conditions();
    const values = admissionValues({
      admission: a,
      authorizer: this.#context.authorizer,
      object,
      old,
      matched: kind,
    });
    const { clock, metrics } = this.#context;
    const start = clock.monotonic();
    const result = await conditions.match(values, { pace: a.pace?.() });
    const type = this.#step;
    const labels = { name: hook.name, kind: "webhook", type, operation: a.operation };
    const outcome = result.error !== undefined ? "error" : result.matches ? undefined : "exclusion";
    metrics?.conditions(labels, clock.monotonic() - start, outcome);
    if (result.error !== undefined) {
      throw refusal(a, result.error);
    }
    return result.matches ? kind : undefined;
  }

  // --- what they are shown ----------------------------------------------------------------------------

  async #askedAbout(kind: Kind): Promise<Asked> {
    const { object, old } = this.#a;
    return {
      kind,
      object: object && await this.#formOf(object, kind, this.#objects),
      old: old && await this.#formOf(old, kind, this.#olds),
    };
  }

  async #formOf(
    object: DeepReadonly<KubeObject>,
    kind: Kind,
    known: Map<Kind, DeepReadonly<KubeObject>>,
  ): Promise<DeepReadonly<KubeObject>> {
    if (kind === this.#a.kind || this.#a.form) return object;
    let form = known.get(kind);
    if (!form) {
      try {
        form = await convertTo(kind, this.#a.kind, object);
      } catch (error) {
        throw internal(error instanceof Error ? error.message : String(error));
      }
      known.set(kind, form);
    }
    return form;
  }

  // --- asking -----------------------------------------------------------------------------------------

  /** Asks one webhook. Throws CallFailure, Rejection or ApiError. */
  async #ask(hook: Hook, asked: Asked): Promise<Verdict> {
    const a = this.#a;
    if (a.dryRun && !hook.dryRun) {
      if (hook.dryRun === undefined) throw new CallFailure(hook, "Webhook SideEffects is nil", 400);
      const name = JSON.stringify(hook.name);
      throw badRequest(`admission webhook ${name} does not support dry run`);
    }
    const version = reviewVersion(hook.reviewVersions);
    if (!version) {
      const why = "webhook does not accept known AdmissionReview versions (v1, v1beta1)";
      throw new CallFailure(hook, `could not create admission objects: ${why}`, 400);
    }
    const uid = this.#context.clock.uuid();
    const answer = await this.#call(hook, reviewOf(a, asked, { uid, version }), version);
    let verdict: Verdict;
    try {
      verdict = verdictOf(answer, { uid, version, mutating: this.#type === "mutating" });
    } catch (error) {
      if (!(error instanceof ReviewError)) throw error;
      const what = error.undecodable
        ? "failed to call webhook"
        : "received invalid webhook response";
      throw new CallFailure(hook, `${what}: ${error.message}`, 503);
    }
    for (const [key, value] of Object.entries(verdict.auditAnnotations)) {
      a.annotate(`${hook.name}/${key}`, value);
    }
    for (const warning of verdict.warnings) a.warn(warning);
    if (!verdict.allowed) throw new Rejection(refusalOf(hook, verdict.result));
    return verdict;
  }

  async #call(hook: Hook, body: unknown, version: string): Promise<unknown> {
    const outbound = this.#context.outbound?.();
    if (!hook.endpoint || !outbound) {
      const why = "webhook configuration must have either service or URL";
      throw new CallFailure(hook, `could not get REST client: ${why}`, 500);
    }
    const { timeoutMs } = hook;
    const { caBundle } = hook.endpoint;
    if (caBundle !== undefined && !caBundle.includes(PEM_BEGIN)) {
      const why = "unable to load root certificates: unable to parse bytes as PEM block";
      throw new CallFailure(hook, `could not get REST client: ${why}`, 500);
    }
    try {
      const { signal } = this.#a;
      const endpoint = withCredentials(hook.endpoint, this.#context.users);
      const wanted = { apiVersion: `admission.k8s.io/${version}`, kind: "AdmissionReview" };
      return await askWebhook(outbound, endpoint, { body, wanted, timeoutMs, signal });
    } catch (error) {
      const told = error instanceof WebhookError || error instanceof OutboundError;
      if (!told) throw error;
      const code = error instanceof WebhookError ? error.code : 503;
      throw new CallFailure(hook, `failed to call webhook: ${error.message}`, code);
    }
  }

  /** Asks one webhook, counts what came of it, and says whether the request may go on. */
  async #observed(hook: Hook, index: string, work: () => Promise<void>): Promise<void> {
    const { metrics, clock } = this.#context;
    const labels = { name: hook.name, type: this.#step, operation: this.#a.operation };
    const start = clock.monotonic();
    const took = () => clock.monotonic() - start;
    try {
      await work();
      metrics?.called(labels, { ms: took(), code: 200, rejected: false });
    } catch (error) {
      if (error instanceof CallFailure) {
        const rejected = !hook.ignoresFailure;
        if (rejected) metrics?.rejected(labels, "calling_webhook_error", error.code);
        metrics?.called(labels, { ms: took(), code: error.code, rejected });
        if (rejected) throw internal(error.message);
        metrics?.failedOpen(hook.name, this.#step);
        this.#a.annotate(`failed-open.${PREFIXES[this.#type]}${index}`, hook.name);
        if (this.#a.signal?.aborted) {
          throw timedOut("request did not complete within requested timeout");
        }
        return;
      }
      const code = error instanceof Rejection ? error.refused.code : 0;
      const why = error instanceof Rejection ? "no_error" : "apiserver_internal_error";
      metrics?.rejected(labels, why, code);
      metrics?.called(labels, { ms: took(), code, rejected: true });
      throw error instanceof Rejection ? error.refused : error;
    }
  }

  // --- the chains -------------------------------------------------------------------------------------

  /** Asks validating webhooks, all at once. The first to refuse is heard. */
  async validate(hooks: readonly Hook[]): Promise<void> {
    const chosen: { hook: Hook; asked: Asked }[] = [];
    for (const hook of hooks) {
      const kind = await this.#chosen(hook);
      if (kind) chosen.push({ hook, asked: await this.#askedAbout(kind) });
    }
    const errors: unknown[] = [];
    await Promise.all(chosen.map(async ({ hook, asked }, i) => {
      try {
        await this.#observed(hook, `round_0_index_${i}`, async () => {
          await this.#ask(hook, asked);
        });
      } catch (error) {
        errors.push(error);
      }
    }));
    if (errors.length) throw errors[0];
  }

  /** Asks mutating webhooks, one after the other, each about what the one before it left. */
  async mutate(hooks: readonly Hook[]): Promise<void> {
    const a = this.#a;
    const again = a.reinvocation ??= {
      wanted: false,
      again: false,
      called: new Set(),
      due: new Set(),
    };
    // Plugins of ours have changed it since: whoever wants to see that does
    if (again.again && !sameJson(again.left, a.object)) requireAgain(again);
    for (const [i, hook] of hooks.entries()) {
      const kind = await this.#chosen(hook);
      if (!kind || (again.again && !again.due.has(hook.id))) continue;
      const asked = await this.#askedAbout(kind);
      const index = `round_${again.again ? 1 : 0}_index_${i}`;
      let changed = false;
      await this.#observed(hook, index, async () => {
        try {
          const verdict = await this.#ask(hook, asked);
          changed = await this.#apply(hook, { asked, verdict, index });
        } finally {
          const said = { configuration: hook.configuration, webhook: hook.name, mutated: changed };
          a.annotate(PREFIXES.mutating + index, JSON.stringify(said));
        }
      });
      if (changed) {
        requireAgain(again);
        again.wanted = true;
      }
      if (hook.reinvoked) again.called.add(hook.id);
    }
    again.left = a.object && edit<KubeObject>(a.object);
  }

  /** Applies a webhook's patch; whether it changed anything. */
  async #apply(
    hook: Hook,
    { asked, verdict, index }: { asked: Asked; verdict: Verdict; index: string },
  ): Promise<boolean> {
    if (!verdict.patch) return false;
    const { form, kind, object } = this.#a;
    const operations = operationsOf(hook, verdict.patch);
    if (operations.length === 0) return false;
    if (!asked.object || !object) {
      throw internal(
        `admission webhook ${JSON.stringify(hook.name)} attempted to modify the object, which is ` +
          "not supported for this operation",
      );
    }
    if (verdict.patchType !== "JSONPatch") {
      throw new CallFailure(
        hook,
        `unsupported patch type ${JSON.stringify(verdict.patchType)}`,
        400,
      );
    }
    const next = patched(form ?? asked.kind, asked.object, operations);
    const said = {
      configuration: hook.configuration,
      webhook: hook.name,
      patch: operations,
      patchType: verdict.patchType,
    };
    const held = { requestLevel: true };
    this.#a.annotate(PATCH_PREFIX + index, JSON.stringify(said), held);
    if (sameJson(next, asked.object)) return false;
    const back = form ? next : await convertTo(kind, asked.kind, next);
    replace(object, back);
    this.#objects.clear();
    return true;
  }
}

function requireAgain(again: Reinvocation): void {
  for (const id of again.called) again.due.add(id);
  again.called.clear();
}

/** A webhook's refusal as the client hears it. */
function refusalOf(hook: Hook, result: Partial<Status> = {}): ApiError {
  const denied = `admission webhook ${JSON.stringify(hook.name)} denied the request`;
  const code = Number.isInteger(result.code) ? result.code! : 0;
  const why = result.message || result.reason;
  return new ApiError({
    ...result.metadata && { metadata: result.metadata },
    ...result.reason && { reason: result.reason },
    ...result.details && { details: result.details },
    code: code < LOWEST_REFUSAL ? LOWEST_REFUSAL : code,
    message: why ? `${denied}: ${why}` : `${denied} without explanation`,
  });
}

function operationsOf(hook: Hook, text: string): unknown[] {
  const undecodable = (why: string) =>
    new CallFailure(hook, `received undecodable patch in webhook response: ${why}`, 503);
  let operations: unknown;
  try {
    operations = parseJson(text).value;
  } catch (error) {
    if (error instanceof JsonError) throw undecodable(error.message);
    throw error;
  }
  if (Array.isArray(operations)) return operations;
  const what = jsonTypeName(operations);
  throw undecodable(`json: cannot unmarshal ${what} into Go value of type jsonpatch.Patch`);
}

/** The object with the patch in it, as its kind decodes and defaults it. */
function patched(
  form: Kind,
  object: DeepReadonly<KubeObject>,
  operations: unknown[],
): KubeObject {
  try {
    const changed: unknown = jsonPatch(object as KubeObject, operations) ?? {};
    if (!isMap(changed)) {
      throw internal(
        `json: cannot unmarshal ${jsonTypeName(changed)} into Go value of type ${form.kind}`,
      );
    }
    changed.apiVersion ??= object.apiVersion;
    changed.kind ??= object.kind;
    const other = unknownConversion(form, changed as Partial<KubeObject>);
    if (other) throw new ApiError({ code: 500, message: other });
    const { object: next } = decode(form, changed, "Ignore");
    next.metadata ??= {} as KubeObject["metadata"];
    applyDefaults(form.schemas, form.schema, next);
    form.hooks.defaults?.(next);
    return next;
  } catch (error) {
    if (!(error instanceof ApiError) || error.code === 500) throw error;
    throw internal(whyUndecodable(error));
  }
}

/** Makes an object what another is, in place: whoever began the write holds it. */
function replace(object: KubeObject, by: KubeObject): void {
  for (const key of Object.keys(object)) delete object[key];
  Object.assign(object, by);
}
