/**
 * Where spans and metrics go: `--tracing-config-file`, a TracingConfiguration as kube-apiserver reads it, and `--otlp-endpoint`, which
 * is what OpenTelemetry's `OTEL_EXPORTER_OTLP_ENDPOINT` names; `OTEL_EXPORTER_OTLP_PROTOCOL` is `--otlp-protocol`.
 *
 * Spans are sent by OTLP over HTTP, where upstream's are by OTLP over gRPC: an endpoint is a host and a port, or also an
 * http or https URL, and its default is OTLP/HTTP's own port.
 */
import { invalid } from "../machinery/field_errors.ts";
import type { Cause } from "../machinery/types.ts";
import type { TracingOptions } from "../server/otlp.ts";
import { causesText, type DocumentKind, readDocument } from "./document.ts";
import { type Flags, UsageError } from "./flags.ts";
import type { ReadConfig } from "./server.ts";

const FLAG = "tracing-config-file";
const RATE_MAX = 1_000_000;
/** OTLP/HTTP's. */
const ENDPOINT_DEFAULT = "localhost:4318";

const CONFIGURATION: DocumentKind = {
  kind: "TracingConfiguration",
  group: "apiserver.config.k8s.io",
  versions: ["v1", "v1beta1", "v1alpha1"],
  shape: { endpoint: "string", samplingRatePerMillion: "number" },
};

/** OTLP over HTTP, by OpenTelemetry's names. */
const PROTOCOLS = { "http/protobuf": "protobuf", "http/json": "json" } as const;

/** What OpenTelemetry's environment says and flags do not. What is set to nothing is as if it were not set. */
export function addOtlpEnvironment(flags: Flags, env: (name: string) => string | undefined): void {
  flags["otlp-endpoint"] ??= env("OTEL_EXPORTER_OTLP_ENDPOINT") || undefined;
  flags["otlp-protocol"] ??= env("OTEL_EXPORTER_OTLP_PROTOCOL") || undefined;
}

/** What flags ask for; undefined: nothing is recorded. Throws UsageError. */
export async function tracingOptions(
  flags: Flags,
  read: ReadConfig,
): Promise<TracingOptions | undefined> {
  const told = flags["otlp-endpoint"];
  const text = await read(FLAG, flags[FLAG]);
  if (text === undefined && !told) return undefined;
  const { "otlp-protocol": protocol = "http/protobuf" } = flags;
  const encoding = encodingOf(protocol);
  if (text === undefined) {
    // Who asks for it in one word wants all of it
    const url = tracesUrl(told!);
    return { url, encoding, samplingRatePerMillion: RATE_MAX, ...metricsTo(told) };
  }
  try {
    const { endpoint, samplingRatePerMillion } = readTracing(text);
    const url = tracesUrl(endpoint ?? (told || ENDPOINT_DEFAULT));
    return { url, encoding, samplingRatePerMillion, ...metricsTo(told) };
  } catch (error) {
    if (error instanceof UsageError || !(error instanceof Error)) throw error;
    throw new UsageError(`--${FLAG}: ${error.message}`);
  }
}

function encodingOf(protocol: string): TracingOptions["encoding"] {
  if (Object.hasOwn(PROTOCOLS, protocol)) return PROTOCOLS[protocol as keyof typeof PROTOCOLS];
  const known = Object.keys(PROTOCOLS).join(" or ");
  const more = protocol === "grpc"
    ? ": name the collector's port of OTLP over HTTP (4318, where gRPC's is 4317)"
    : "";
  throw new UsageError(
    `OTLP's protocol (--otlp-protocol, OTEL_EXPORTER_OTLP_PROTOCOL) must be ${known}, not "${protocol}"${more}`,
  );
}

function readTracing(text: string): { endpoint?: string; samplingRatePerMillion?: number } {
  let document;
  try {
    document = readDocument(text, CONFIGURATION);
  } catch (error) {
    throw new Error(
      "failed to read tracing config: unable to decode tracing configuration data: " +
        (error as Error).message,
    );
  }
  const { endpoint, samplingRatePerMillion } = document;
  const causes: Cause[] = [];
  const refuse = (field: string, value: unknown, why: string) =>
    causes.push(invalid(field, value, why));
  if (samplingRatePerMillion < 0) {
    refuse("samplingRatePerMillion", samplingRatePerMillion, "sampling rate must be positive");
  }
  if (samplingRatePerMillion > RATE_MAX) {
    const why = "sampling rate per million must be less than or equal to one million";
    refuse("samplingRatePerMillion", samplingRatePerMillion, why);
  }
  const scheme = /^([^/]*):\/\//.exec(endpoint ?? "")?.[1];
  if (scheme !== undefined && !["dns", "http", "https"].includes(scheme)) {
    const why = `unsupported scheme: ${scheme}.  Options are none, dns, http, or https`;
    refuse("endpoint", endpoint, why);
  }
  if (causes.length > 0) {
    throw new Error(`failed to validate tracing configuration: ${causesText(causes)}`);
  }
  return { endpoint, samplingRatePerMillion };
}

/** A TracingConfiguration is of traces alone; OpenTelemetry's endpoint is for everything. */
function metricsTo(told: string | undefined): { metricsUrl?: string } {
  return told ? { metricsUrl: `${urlOf(told)}/v1/metrics` } : {};
}

function tracesUrl(endpoint: string): string {
  return `${urlOf(endpoint)}/v1/traces`;
}

/** An endpoint as OpenTelemetry or upstream writes it, as a URL without a slash at its end. */
function urlOf(endpoint: string): string {
  const plain = endpoint.replace(/^dns:\/\/\/?/, "");
  const url = URL.parse(/^https?:\/\//.test(plain) ? plain : `http://${plain}`);
  if (!url?.hostname) {
    throw new UsageError(`the endpoint ${JSON.stringify(endpoint)} is no address`);
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}
