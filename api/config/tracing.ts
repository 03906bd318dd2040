/**
 * Where spans and metrics go: `--tracing-config-file`, a TracingConfiguration as kube-apiserver reads it, `--otlp-endpoint`, and
 * what OpenTelemetry's environment says where flags and file are silent:
 *
 * | variable | |
 * | --- | --- |
 * | `OTEL_EXPORTER_OTLP_ENDPOINT` | as `--otlp-endpoint`: `/v1/traces` and `/v1/metrics` are added to it |
 * | `OTEL_EXPORTER_OTLP_{TRACES,METRICS}_ENDPOINT` | where one of them goes instead, as it is; set alone, the other goes nowhere |
 * | `OTEL_EXPORTER_OTLP_PROTOCOL` | as `--otlp-protocol` |
 * | `OTEL_EXPORTER_OTLP_HEADERS`, `…_{TRACES,METRICS}_HEADERS` | sent along: `key=value,key=value`, values percent-encoded; no flag has them, as they are often secret |
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

/** A process's environment. What is set to nothing is as if it were not set. */
export type Environment = (name: string) => string | undefined;

/** What flags ask for; undefined: nothing is told anybody. Throws UsageError. */
export async function tracingOptions(
  flags: Flags,
  read: ReadConfig,
  env: Environment = () => undefined,
): Promise<TracingOptions | undefined> {
  const set = (name: string) => env(`OTEL_EXPORTER_OTLP_${name}`) || undefined;
  const flag = flags["otlp-endpoint"];
  const told = flag || set("ENDPOINT");
  const to = (signal: "TRACES" | "METRICS") => {
    const own = flag ? undefined : set(`${signal}_ENDPOINT`);
    if (own) return urlOf(own).href;
    return told && `${withoutSlash(urlOf(told))}/v1/${signal.toLowerCase()}`;
  };
  const text = await read(FLAG, flags[FLAG]);
  const file = text === undefined ? undefined : fileOf(text);
  // A TracingConfiguration is of traces alone
  const url = file?.endpoint ?? to("TRACES") ?? (file && tracesUrl(ENDPOINT_DEFAULT));
  const metricsUrl = to("METRICS");
  if (!url && !metricsUrl) return undefined;
  const protocol = flags["otlp-protocol"] || set("PROTOCOL") || "http/protobuf";
  const headers = headersOf("HEADERS", set);
  const metricsHeaders = { ...headers, ...headersOf("METRICS_HEADERS", set) };
  return {
    ...(url && { url, headers: { ...headers, ...headersOf("TRACES_HEADERS", set) } }),
    encoding: encodingOf(protocol),
    // Who asks for it in one word wants all of it
    samplingRatePerMillion: file ? file.samplingRatePerMillion : RATE_MAX,
    ...(metricsUrl && { metricsUrl, metricsHeaders }),
  };
}

/** Headers as a variable lists them. No value is shown, however wrong it is. */
function headersOf(name: string, set: Environment): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const entry of (set(name) ?? "").split(",")) {
    if (entry.trim() === "") continue;
    const [, key, value] = /^\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(.*?)\s*$/.exec(entry) ?? [];
    const decoded = key === undefined ? undefined : decodedOf(value);
    // deno-lint-ignore no-control-regex -- they end a header
    if (decoded === undefined || /[\x00-\x08\x0a-\x1f\x7f]/.test(decoded)) {
      const which = key === undefined ? "" : ` (${key})`;
      throw new UsageError(
        `OTEL_EXPORTER_OTLP_${name} must list headers as key=value,key=value, with values percent-encoded${which}`,
      );
    }
    headers[key.toLowerCase()] = decoded;
  }
  return headers;
}

function decodedOf(value: string): string | undefined {
  try {
    return decodeURIComponent(value);
  } catch {
    return undefined; // a percent sign that begins nothing
  }
}

/** Of a TracingConfiguration: where its traces go, if it says so, and how many. */
function fileOf(text: string): { endpoint?: string; samplingRatePerMillion?: number } {
  try {
    const { endpoint, samplingRatePerMillion } = readTracing(text);
    return { endpoint: endpoint && tracesUrl(endpoint), samplingRatePerMillion };
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

function tracesUrl(endpoint: string): string {
  return `${withoutSlash(urlOf(endpoint))}/v1/traces`;
}

/** An endpoint as OpenTelemetry or upstream writes it. */
function urlOf(endpoint: string): URL {
  const plain = endpoint.replace(/^dns:\/\/\/?/, "");
  const url = URL.parse(/^https?:\/\//.test(plain) ? plain : `http://${plain}`);
  if (!url?.hostname) {
    throw new UsageError(`the endpoint ${JSON.stringify(endpoint)} is no address`);
  }
  return url;
}

const withoutSlash = ({ origin, pathname }: URL): string =>
  `${origin}${pathname.replace(/\/+$/, "")}`;
