/**
 * Custom resources whose versions a webhook converts (upstream: apiextensions-apiserver, pkg/apiserver/conversion), and
 * the step that makes what is read ready: `served()` is synchronous, so what takes a webhook is converted before, many
 * objects a call, and remembered as long as the stored object lives.
 */
import type { Item } from "../../kv/contract.ts";
import { endpointOf } from "../auth/webhook_hooks.ts";
import { askWebhook, WebhookError } from "../client/webhook_call.ts";
import { type Endpoint, OutboundError } from "../client/outbound.ts";
import type { ConvertObjects, Crd } from "../machinery/crd/mod.ts";
import { applyDefaults } from "../machinery/defaults.ts";
import { edit } from "../machinery/edit.ts";
import { goTypeName, isMap, jsonTypeName } from "../machinery/json_value.ts";
import { Counter, Duration, textOf } from "../machinery/metric_series.ts";
import { ApiError, type DeepReadonly, type Kind, type KubeObject } from "../machinery/types.ts";
import { validateAnnotations, validateLabels } from "../kinds/rules/meta.ts";
import { Path, Report } from "../kinds/rules/report.ts";
import { apiVersionOf, formsOf } from "./codec.ts";
import type { Deps } from "./deps.ts";

/** How long a conversion webhook has. */
export const CONVERSION_TIMEOUT_MS = 30_000;
/** Objects of one call. */
export const CONVERSIONS_AT_ONCE = 500;

type Stored = DeepReadonly<KubeObject>;

const METADATA = new Path("metadata");

/** What upstream answers to a conversion that failed: an error without a reason. */
function failed(message: string): ApiError {
  return new ApiError({ code: 500, message });
}

/** Upper bounds of latency, in seconds (upstream's). */
const BUCKETS = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 45, 60];

/** Counts what conversion webhooks are asked, by upstream's names. */
export class ConversionMetrics {
  readonly #requests = new Counter(
    "apiserver_conversion_webhook_request_total",
    "Calls of conversion webhooks, by how they ended",
  );
  readonly #durations = new Duration(
    "apiserver_conversion_webhook_duration_seconds",
    "Time that conversion webhooks take, in seconds",
    BUCKETS,
  );

  /** One call; `failure`: what was wrong with it. */
  called(ms: number, failure = ""): void {
    const labels = { result: failure ? "failure" : "success", failure_type: failure };
    this.#requests.add(labels);
    this.#durations.add(labels, ms);
  }

  /** Everything as Prometheus reads it. */
  text(): string {
    return textOf([this.#requests, this.#durations]);
  }
}

/** The webhook of a definition that has one. */
export function conversionWebhook(
  deps: Deps,
  crd: DeepReadonly<Crd>,
  metrics: ConversionMetrics,
): ConvertObjects | undefined {
  const { conversion } = crd.spec;
  if (conversion?.strategy !== "Webhook") return undefined;
  const { clientConfig = {}, conversionReviewVersions } = conversion.webhook ?? {};
  const endpoint = endpointOf(clientConfig);
  if (endpoint?.caBundle?.trim() === "") endpoint.caBundle = undefined;
  const versions = (conversionReviewVersions ?? []) as string[];
  const version = versions.find((one) => one === "v1" || one === "v1beta1");
  return async (objects, desiredAPIVersion) => {
    const subject = `conversion webhook for ${gvkOf(objects[0])}`;
    if (!version) throw failed("no supported conversion review versions");
    const uid = deps.clock.uuid();
    const apiVersion = `apiextensions.k8s.io/${version}`;
    const start = deps.clock.monotonic();
    let stage = "call_failure";
    try {
      const request = { uid, desiredAPIVersion, objects };
      const answer = await asked(deps, { endpoint, apiVersion, request, subject });
      stage = "malformed_response_failure";
      const found = convertedOf(answer, { uid, apiVersion, strict: version === "v1", subject });
      stage = "partial_response_failure";
      if (found.length !== objects.length) {
        throw failed(`${subject} returned ${found.length} objects, expected ${objects.length}`);
      }
      stage = "invalid_converted_object_failure";
      const converted = found.map((one, i) => checked(one, objects[i], desiredAPIVersion));
      metrics.called(deps.clock.monotonic() - start);
      return converted;
    } catch (error) {
      metrics.called(deps.clock.monotonic() - start, `conversion_webhook_${stage}`);
      throw error;
    }
  };
}

async function asked(
  deps: Deps,
  { endpoint, apiVersion, request, subject }: {
    endpoint: Endpoint | undefined;
    apiVersion: string;
    request: unknown;
    subject: string;
  },
): Promise<unknown> {
  const kind = "ConversionReview";
  try {
    if (!endpoint) throw new WebhookError("webhook configuration must have either service or URL");
    return await askWebhook(deps.outbound, endpoint, {
      body: { kind, apiVersion, request },
      wanted: { apiVersion, kind },
      timeoutMs: CONVERSION_TIMEOUT_MS,
    });
  } catch (error) {
    if (!(error instanceof WebhookError || error instanceof OutboundError)) throw error;
    throw failed(`${subject} failed: ${error.message}`);
  }
}

function gvkOf({ apiVersion = "", kind = "" }: Stored): string {
  return `${apiVersion.includes("/") ? apiVersion : `/${apiVersion}`}, Kind=${kind}`;
}

interface Response {
  uid?: string;
  result?: { status?: string; message?: string };
  convertedObjects?: unknown[];
}

function convertedOf(
  answer: unknown,
  { uid, apiVersion, strict, subject }: {
    uid: string;
    apiVersion: string;
    strict: boolean;
    subject: string;
  },
): unknown[] {
  const review = (answer ?? {}) as { apiVersion?: string; kind?: string; response?: Response };
  const refuse = (why: string) => failed(`${subject} failed: ${why}`);
  const { response } = review;
  if (strict && (review.apiVersion !== apiVersion || review.kind !== "ConversionReview")) {
    const given = gvkOf({ apiVersion: review.apiVersion, kind: review.kind } as KubeObject);
    throw refuse(`expected webhook response of ${apiVersion}, Kind=ConversionReview, got ${given}`);
  }
  if (typeof response !== "object" || response === null) throw refuse("no response provided");
  if (strict && response.uid !== uid) {
    throw refuse(
      `expected response.uid=${JSON.stringify(uid)}, got ${JSON.stringify(response.uid ?? "")}`,
    );
  }
  const { status = "", message } = response.result ?? {};
  if (status !== "Success") {
    throw refuse(message || `response.result.status was '${status}', not 'Success'`);
  }
  const objects = response.convertedObjects ?? [];
  if (Array.isArray(objects)) return objects;
  throw refuse(
    `json: cannot unmarshal ${jsonTypeName(objects)} into Go struct field ` +
      "ConversionResponse.response.convertedObjects of type []runtime.RawExtension",
  );
}

/** One converted object: its metadata is the original's but for labels and annotations. */
function checked(converted: unknown, original: Stored, apiVersion: string): KubeObject {
  const subject = `conversion webhook for ${gvkOf(original)} returned`;
  const out = (typeof converted === "object" ? converted : undefined) as KubeObject | undefined;
  const invalid = (what: string) => failed(`${subject} invalid ${what}`);
  if (out?.apiVersion !== apiVersion) {
    throw invalid(
      `object at index 0: invalid groupVersion (expected ${apiVersion}, received ${
        out?.apiVersion ?? ""
      })`,
    );
  }
  if (out.kind !== original.kind) {
    throw invalid(
      `object at index 0: invalid kind (expected ${original.kind}, received ${out.kind ?? ""})`,
    );
  }
  const same = [["name", "name"], ["namespace", "namespace"], ["uid", "UID"]] as const;
  for (const [field, shown] of same) {
    const before = original.metadata[field] ?? "";
    const after = out.metadata?.[field] ?? "";
    if (before !== after) {
      throw invalid(`object: must have the same ${shown}: ${before} != ${after}`);
    }
  }
  const given: unknown = out.metadata;
  if (given === undefined) throw invalid("metadata: missing metadata in converted object");
  if (!isMap(given)) {
    const what = goTypeName(given);
    throw invalid(`metadata: invalid metadata of type ${what} in converted object`);
  }
  const metadata = edit<KubeObject["metadata"]>(original.metadata);
  for (const field of ["labels", "annotations"] as const) {
    const some: unknown = given[field];
    delete metadata[field];
    if (some === undefined || some === null) continue;
    if (!isMap(some)) {
      const what = goTypeName(some);
      throw invalid(`metadata: invalid metadata.${field} of type ${what} in converted object`);
    }
    for (const [key, value] of Object.entries(some)) {
      if (typeof value === "string") continue;
      throw invalid(
        `metadata: metadata.${field}[${key}] must be a string, but is ${
          goTypeName(value)
        } in converted object`,
      );
    }
    const texts = some as Record<string, string>;
    const report = new Report();
    if (field === "labels") validateLabels(texts, METADATA.child(field), report);
    else validateAnnotations(texts, METADATA.child("annotation"), report);
    const problems = report.causes.map((cause) => `${cause.field}: ${cause.message}`);
    if (problems.length) {
      const text = problems.length === 1 ? problems[0] : `[${problems.join(", ")}]`;
      throw invalid(`metadata: ${text}`);
    }
    metadata[field] = texts;
  }
  return { ...out, metadata };
}

// --- what is read ---------------------------------------------------------------------------------------

/** Conversions that are under way, by what they convert. */
const pending = new WeakMap<object, Map<Kind, Promise<void>>>();

/**
 * Makes items ready for `served()`. Resolves at once, and costs one look, for kinds that no webhook converts. Rejects
 * with the ApiError of the conversion.
 */
export async function prepareServed(
  kind: Kind,
  items: readonly (Item<KubeObject> | undefined)[],
): Promise<void> {
  const convert = kind.storage?.convert;
  if (!convert) return;
  const apiVersion = apiVersionOf(kind);
  const todo = new Set<Stored>();
  const waits: Promise<void>[] = [];
  for (const item of items) {
    if (!item || item.value.apiVersion === apiVersion || formsOf(item.value).has(kind)) continue;
    const under = pending.get(item.value)?.get(kind);
    if (under) waits.push(under);
    else todo.add(item.value);
  }
  const values = [...todo];
  for (let at = 0; at < values.length; at += CONVERSIONS_AT_ONCE) {
    const some = values.slice(at, at + CONVERSIONS_AT_ONCE);
    const work = convertAll(kind, some);
    for (const value of some) {
      const known = pending.get(value) ?? new Map();
      pending.set(value, known.set(kind, work));
    }
    waits.push(
      work.finally(() => {
        for (const value of some) pending.get(value)?.delete(kind);
      }),
    );
  }
  await Promise.all(waits);
}

async function convertAll(kind: Kind, values: readonly Stored[]): Promise<void> {
  const converted = await kind.storage!.convert!(values, apiVersionOf(kind));
  for (const [i, form] of converted.entries()) {
    if (kind.readDefaults) applyDefaults(kind.schemas, kind.schema, form);
    formsOf(values[i]).set(kind, form);
  }
}

/** The stored form of an object that a webhook converts; undefined for every other kind. */
export async function convertedForm(
  kind: Kind,
  object: KubeObject,
): Promise<KubeObject | undefined> {
  const { storage } = kind;
  if (!storage?.convert) return undefined;
  const [form] = await storage.convert([object], storage.version);
  return form;
}
