/**
 * An authorizer that asks somebody outside by SubjectAccessReview, as kube-apiserver's Webhook mode.
 *
 * Promises: answers are remembered no longer than they may be, `REVIEWS_CACHED_MAX` of them at most, and none for
 * requests that could be made up to fill that memory; equal questions at the same time are asked once; where nobody
 * answers, or a match condition cannot be evaluated, the failure policy decides: no opinion (an error, unless another
 * authorizer allows) or a firm no.
 */
import type { Clock } from "../../kv/clock.ts";
import { type Endpoint, type Outbound, OutboundError } from "../client/outbound.ts";
import type { User } from "../client/contract.ts";
import { parseFieldSelector, parseLabelSelector, SelectorError } from "../machinery/selectors.ts";
import type { Attributes, Authorizer, Decision } from "./contract.ts";
import type { Evaluation } from "./identity_metrics.ts";
import { REVIEW_NAMES_MAX, REVIEWS_CACHED_MAX } from "./limits.ts";
import {
  compileMatchConditions,
  type MatchCondition,
  type MatchConditions,
} from "./match_conditions.ts";
import { Remembered } from "./remembered.ts";
import { ReviewWebhook } from "./review_webhook.ts";

/** One authorization webhook. */
export interface AuthorizationWebhook {
  endpoint: Endpoint;
  /** Of `authorization.k8s.io`. */
  version: "v1" | "v1beta1";
  /** Of one try, in ms. */
  timeoutMs: number;
  /** How long an allowing answer counts; 0: no longer than the question. */
  authorizedMs: number;
  /** How long any other answer counts. */
  unauthorizedMs: number;
  /** What counts when nobody answers. */
  failurePolicy: "NoOpinion" | "Deny";
  /** Requests that do not match are not asked about. */
  matchConditions?: readonly MatchCondition[];
}

interface Deps {
  outbound: () => Outbound;
  clock: Clock;
  /** Hears of every question (default: nobody). */
  evaluated?: (how: { result: Evaluation; ms: number; failedOpen: boolean }) => void;
}

const NO_OPINION: Decision = Object.freeze({ allowed: false });

/** Asks a webhook. */
export class WebhookAuthorizer implements Authorizer {
  readonly #config: AuthorizationWebhook;
  readonly #deps: Deps;
  readonly #webhook: ReviewWebhook;
  readonly #answers: Remembered<Decision>;
  readonly #asked = new Map<string, Promise<Decision>>();
  #conditions: Promise<MatchConditions> | undefined;

  constructor(config: AuthorizationWebhook, deps: Deps) {
    this.#config = config;
    this.#deps = deps;
    this.#answers = new Remembered(deps.clock, REVIEWS_CACHED_MAX);
    this.#webhook = new ReviewWebhook({
      outbound: deps.outbound,
      clock: deps.clock,
      endpoint: config.endpoint,
      apiVersion: `authorization.k8s.io/${config.version}`,
      kind: "SubjectAccessReview",
      empty: { allowed: false },
      timeoutMs: config.timeoutMs,
    });
  }

  rules(_user: User, _namespace: string): ReturnType<Authorizer["rules"]> {
    const errors = ["webhook authorizer does not support user rule resolution"];
    return { rules: [], errors, incomplete: true };
  }

  authorize(attributes: Attributes): Decision | Promise<Decision> {
    const spec = reviewSpec(attributes);
    if (this.#config.matchConditions?.length) return this.#ifMatching(attributes, spec);
    return this.#known(attributes, spec);
  }

  async #ifMatching(attributes: Attributes, spec: ReviewSpec): Promise<Decision> {
    this.#conditions ??= compileMatchConditions(this.#config.matchConditions!, "authorization");
    const result = await (await this.#conditions).match({ request: spec });
    if (result.error !== undefined) return this.#failed(result.error);
    return result.matches ? await this.#known(attributes, spec) : NO_OPINION;
  }

  #known(attributes: Attributes, spec: ReviewSpec): Decision | Promise<Decision> {
    const key = JSON.stringify(spec);
    const known = this.#answers.get(key);
    if (known) return known;
    let asked = this.#asked.get(key);
    if (!asked) {
      asked = this.#ask(attributes, spec, key).finally(() => this.#asked.delete(key));
      this.#asked.set(key, asked);
    }
    return asked;
  }

  async #ask(attributes: Attributes, spec: ReviewSpec, key: string): Promise<Decision> {
    const { clock, evaluated } = this.#deps;
    const began = clock.now();
    let status: Record<string, unknown>;
    try {
      status = await this.#webhook.ask(this.#config.version === "v1" ? spec : olderSpec(spec));
      evaluated?.({ result: "success", ms: clock.now() - began, failedOpen: false });
    } catch (error) {
      const late = error instanceof OutboundError && error.failure === "timeout";
      evaluated?.({
        result: late ? "timeout" : "error",
        ms: clock.now() - began,
        failedOpen: this.#config.failurePolicy === "NoOpinion",
      });
      return this.#failed(error instanceof Error ? error.message : String(error));
    }
    const decision = decisionOf(status);
    const lifeMs = status.allowed === true
      ? this.#config.authorizedMs
      : this.#config.unauthorizedMs;
    if (lifeMs > 0 && mayBeRemembered(attributes)) this.#answers.set(key, decision, lifeMs);
    return decision;
  }

  #failed(error: string): Decision {
    return this.#config.failurePolicy === "Deny"
      ? { allowed: false, denied: true, error }
      : { allowed: false, error };
  }
}

function decisionOf(status: Record<string, unknown>): Decision {
  const reason = typeof status.reason === "string" && status.reason ? status.reason : undefined;
  const said = reason ? { reason } : {};
  const allowed = status.allowed === true;
  if (status.denied === true) {
    const error = "webhook subject access review returned both allow and deny response";
    return Object.freeze({ allowed: false, denied: true, ...said, ...(allowed ? { error } : {}) });
  }
  return Object.freeze({ allowed, ...said });
}

function mayBeRemembered(a: Attributes): boolean {
  const { namespace, verb, group, version, resource, subresource, name, path } = a;
  return [namespace, verb, group, version, resource, subresource, name, path]
    .reduce((sum, text) => sum + text.length, 0) < REVIEW_NAMES_MAX;
}

/** The spec of a SubjectAccessReview (v1). Empty fields are left out. */
export interface ReviewSpec extends Record<string, unknown> {
  resourceAttributes?: Record<string, unknown>;
  nonResourceAttributes?: Record<string, unknown>;
  user?: string;
  groups?: readonly string[];
  extra?: Readonly<Record<string, readonly string[]>>;
  uid?: string;
}

/** What is asked about a request, in the field order of upstream. */
export function reviewSpec(a: Attributes): ReviewSpec {
  const { user } = a;
  return {
    ...(a.resourceRequest
      ? { resourceAttributes: resourceAttributes(a) }
      : { nonResourceAttributes: given({ path: a.path, verb: a.verb }) }),
    ...(user.name ? { user: user.name } : {}),
    ...(user.groups.length ? { groups: user.groups } : {}),
    ...(user.extra && Object.keys(user.extra).length ? { extra: user.extra } : {}),
    ...(user.uid ? { uid: user.uid } : {}),
  };
}

/** v1beta1 has another name for groups. */
function olderSpec({ groups, extra, uid, ...rest }: ReviewSpec): Record<string, unknown> {
  return {
    ...rest,
    ...(groups ? { group: groups } : {}),
    ...(extra ? { extra } : {}),
    ...(uid ? { uid } : {}),
  };
}

function resourceAttributes(a: Attributes): Record<string, unknown> {
  const fields = fieldRequirements(a.fieldSelector);
  const labels = labelRequirements(a.labelSelector);
  return {
    ...given({
      namespace: a.namespace,
      verb: a.verb,
      group: a.group,
      version: a.version,
      resource: a.resource,
      subresource: a.subresource,
      name: a.name,
    }),
    ...(fields.length ? { fieldSelector: { requirements: fields } } : {}),
    ...(labels.length ? { labelSelector: { requirements: labels } } : {}),
  };
}

function given(texts: Record<string, string>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== ""));
}

/** Selectors only narrow: one that cannot be read is left out, which asks for more. */
function readable<T>(read: () => T[]): T[] {
  try {
    return read();
  } catch (error) {
    if (error instanceof SelectorError) return [];
    throw error;
  }
}

function fieldRequirements(text: string | undefined) {
  if (!text) return [];
  return readable(() =>
    parseFieldSelector(text).terms.map(({ field, value, not }) => ({
      key: field,
      operator: not ? "NotIn" : "In",
      values: [value],
    }))
  );
}

const LABEL_OPERATORS: Readonly<Record<string, string>> = {
  "=": "In",
  "==": "In",
  in: "In",
  "!=": "NotIn",
  notin: "NotIn",
  exists: "Exists",
  "!": "DoesNotExist",
};

function labelRequirements(text: string | undefined) {
  if (!text) return [];
  return readable(() =>
    parseLabelSelector(text).requirements
      .filter(({ operator }) => operator in LABEL_OPERATORS)
      .map(({ key, operator, values }) => ({
        key,
        operator: LABEL_OPERATORS[operator],
        ...(values.length ? { values } : {}),
      }))
  );
}
