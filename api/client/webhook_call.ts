/**
 * One question to a webhook of any sort: JSON is posted, JSON comes back. What goes wrong is told in the words of
 * upstream's client (client-go `rest`), because they end up in answers that clients match on.
 */
import { goQuote } from "../machinery/go_format.ts";
import { JsonError, parseJson } from "../machinery/json.ts";
import { jsonTypeName } from "../machinery/json_value.ts";
import { TYPE_META } from "../machinery/schema.ts";
import { StacklessError } from "../machinery/stackless_error.ts";
import { parseYaml } from "../machinery/yaml.ts";
import type { Endpoint, Outbound, OutboundAnswer, OutboundHeaders } from "./outbound.ts";

/** Most bytes of a webhook's answer: the largest object, as base64, and some more. */
export const WEBHOOK_ANSWER_BYTES_MAX = 8 * 1024 * 1024;
/** Most bytes of a body that are quoted in an error. */
const QUOTED_BYTES_MAX = 2048;

/** Why a webhook gave no usable answer. */
export class WebhookError extends StacklessError {
  /** The HTTP status it answered with, or 503 where there was none. */
  readonly code: number;
  /** It may pass: the other side fails inside, is busy, or was too slow. */
  readonly passing: boolean;

  constructor(message: string, code = 503, passing = false) {
    super(message);
    this.code = code;
    this.passing = passing;
  }
}

/** What is asked. */
export interface Question {
  body: unknown;
  /** Told to the webhook as well, in whole seconds. */
  timeoutMs: number;
  /** What the answer is decoded as: `admission.k8s.io/v1` and a kind. */
  wanted: { apiVersion: string; kind: string };
  signal?: AbortSignal;
}

const JSON_TYPE = "application/json";
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Asks; the answer, parsed. Throws WebhookError, or OutboundError when it could not be reached. */
export async function askWebhook(
  outbound: Outbound,
  endpoint: Endpoint,
  { body, wanted, timeoutMs, signal }: Question,
): Promise<unknown> {
  const answer = await outbound.send(endpoint, {
    method: "POST",
    query: `timeout=${Math.ceil(timeoutMs / 1000)}s`,
    headers: {
      accept: "application/json, */*",
      "content-type": JSON_TYPE,
      "user-agent": "kube-apiserver-admission",
    },
    body: encoder.encode(JSON.stringify(body)),
    timeoutMs,
    bytesMax: WEBHOOK_ANSWER_BYTES_MAX,
    signal,
  });
  const value = parsed(answer);
  checkKind(value, wanted);
  return value;
}

/** The answer must be of the kind that was asked for; one that does not say is taken for it. */
function checkKind(value: unknown, wanted: Question["wanted"]): void {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new WebhookError(
      `couldn't get version/kind; json parse error: json: cannot unmarshal ${
        jsonTypeName(value)
      } ` +
        `into Go value of type ${TYPE_META}`,
    );
  }
  const { apiVersion = "", kind = "" } = value as { apiVersion?: unknown; kind?: unknown };
  if (apiVersion === "" && kind === "") return;
  if (apiVersion === wanted.apiVersion && kind === wanted.kind) return;
  const short = (text: string) => text.slice(text.lastIndexOf("/") + 1);
  const group = wanted.apiVersion.slice(0, wanted.apiVersion.indexOf("/"));
  const sibling = kind === wanted.kind && String(apiVersion).startsWith(`${group}/`);
  if (sibling || (apiVersion === "v1" && kind === "Status")) {
    throw new WebhookError(
      `converting (${short(String(apiVersion))}.${kind}) to ` +
        `(${short(wanted.apiVersion)}.${wanted.kind}): unknown conversion`,
    );
  }
  throw new WebhookError(
    `no kind ${JSON.stringify(kind)} is registered for version ${JSON.stringify(apiVersion)} in ` +
      `scheme "pkg/runtime/scheme.go:111"`,
  );
}

function typeOf(headers: OutboundHeaders): string {
  const type = headers["content-type"] ?? "";
  return typeof type === "string" ? type : type[0];
}

/**
 * Why an answer is no success, in upstream's words: what its body says where that is a failed Status, else by the
 * code. Undefined for a success.
 */
export function refusalOf({ status, headers, body }: OutboundAnswer): WebhookError | undefined {
  if (status >= 200 && status <= 206) return undefined;
  const type = typeOf(headers);
  const plain = type === "" || type.startsWith("text/");
  const said = plain ? decoder.decode(body.subarray(0, QUOTED_BYTES_MAX)).trim() : "unknown";
  return statusError(decoder.decode(body)) ??
    new WebhookError(refusalText(status, said), status, passes(REASONS[status], status));
}

function parsed(answer: OutboundAnswer): unknown {
  const refused = refusalOf(answer);
  if (refused) throw refused;
  const { status, headers, body } = answer;
  const type = typeOf(headers);
  const text = decoder.decode(body);
  // Upstream reads JSON from whatever type is said, and webhooks exist that say none: Go then guesses text
  if (text === "") {
    throw new WebhookError(
      `0-length response with status code: ${status} and content type: ${type || JSON_TYPE}`,
    );
  }
  try {
    return parseJson(text).value;
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    // Upstream's decoder takes YAML as well, and most texts are some
    const value = yamlOrNot(text);
    if (value !== undefined) return value;
    throw new WebhookError(`couldn't get version/kind; json parse error: ${error.message}`);
  }
}

function yamlOrNot(text: string): unknown {
  try {
    return parseYaml(text).value;
  } catch {
    return undefined;
  }
}

/** What a body that is a failed Status says. */
function statusError(text: string): WebhookError | undefined {
  if (!text.includes(`"Status"`)) return undefined;
  try {
    const value = JSON.parse(text);
    if (value?.kind !== "Status" || value.status === "Success") return undefined;
    const { message, reason, code } = value;
    return new WebhookError(message || reason || "unknown", code || 500, passes(reason, code));
  } catch {
    return undefined;
  }
}

/** Reasons of failures that may pass. */
const PASSING_REASONS = ["InternalError", "Timeout", "TooManyRequests"];
/** The reasons of codes that are no faults inside the other side. */
const REASONS: Readonly<Record<number, string>> = { 503: "ServiceUnavailable" };

function passes(reason: string | undefined, code: number | undefined): boolean {
  if (reason) return PASSING_REASONS.includes(reason);
  return code !== undefined && (code === 429 || code >= 500);
}

/** How upstream's client words a code whose answer says nothing itself. */
const REFUSAL_TEXTS: Readonly<Record<number, string>> = {
  400: "the server rejected our request for an unknown reason",
  401: "the server has asked for the client to provide credentials",
  404: "the server could not find the requested resource",
  405: "the server does not allow this method on the requested resource",
  409: "the server reported a conflict",
  422: "the server rejected our request due to an error in our request",
  429: "the server has received too many requests and has asked us to try again later",
  503: "the server is currently unable to handle the request",
  504:
    "the server was unable to return a response in the time allotted, but may still be processing the request",
};

function refusalText(status: number, said: string): string {
  if (status === 403 || status === 415) return said;
  if (status === 406) {
    return said && said !== "unknown"
      ? said
      : "the server was unable to respond with a content type that the client supports";
  }
  if (REFUSAL_TEXTS[status]) return REFUSAL_TEXTS[status];
  return status >= 500
    ? `an error on the server (${goQuote(said)}) has prevented the request from succeeding`
    : `the server responded with the status code ${status} but did not return more information`;
}
