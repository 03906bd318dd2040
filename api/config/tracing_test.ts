import { assertEquals, assertRejects } from "@std/assert";
import { readFlags, UsageError } from "./flags.ts";
import { addOtlpEnvironment, tracingOptions } from "./tracing.ts";

const HEAD = "apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\n";

function read(file: string | undefined, ...args: string[]) {
  const flags = readFlags(file === undefined ? args : ["--tracing-config-file", "f", ...args]);
  return tracingOptions(flags, (_flag, path) => Promise.resolve(path && file));
}

Deno.test("tracingOptions() reads a TracingConfiguration as kube-apiserver does, and sends by HTTP", async () => {
  assertEquals(await read(undefined), undefined);
  assertEquals(await read(HEAD), {
    url: "http://localhost:4318/v1/traces",
    encoding: "protobuf",
    samplingRatePerMillion: undefined,
  });
  const whole = `${HEAD}endpoint: collector.local:4318\nsamplingRatePerMillion: 100\n`;
  assertEquals(await read(whole.replace("/v1", "/v1beta1")), {
    url: "http://collector.local:4318/v1/traces",
    encoding: "protobuf",
    samplingRatePerMillion: 100,
  });
  const { url } = (await read(`${HEAD}endpoint: dns:///collector:1\n`))!;
  assertEquals(url, "http://collector:1/v1/traces");
});

Deno.test("tracingOptions() takes OpenTelemetry's endpoint: all traces, unless a file says how many", async () => {
  const flag = ["--otlp-endpoint", "https://otel.example.com/otlp/"];
  const url = "https://otel.example.com/otlp/v1/traces";
  const metricsUrl = "https://otel.example.com/otlp/v1/metrics";
  const encoding = "protobuf" as const;
  const all = { url, encoding, samplingRatePerMillion: 1_000_000, metricsUrl };
  assertEquals(await read(undefined, ...flag), all);
  assertEquals(await read(`${HEAD}samplingRatePerMillion: 7\n`, ...flag), {
    ...all,
    samplingRatePerMillion: 7,
  });
  assertEquals((await read(`${HEAD}endpoint: here:1\n`, ...flag))!.url, "http://here:1/v1/traces");
});

Deno.test("addOtlpEnvironment() fills in what flags leave open; what is set to nothing is not set", () => {
  const from = (env: Record<string, string>, ...args: string[]) => {
    const flags = readFlags(args);
    addOtlpEnvironment(flags, (name) => env[name]);
    return [flags["otlp-endpoint"], flags["otlp-protocol"]];
  };
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: "http://env:4318",
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
  };
  assertEquals(from(env), ["http://env:4318", "http/json"]);
  assertEquals(
    from(env, "--otlp-endpoint", "flag:1", "--otlp-protocol", "http/protobuf"),
    ["flag:1", "http/protobuf"],
  );
  assertEquals(
    from({ OTEL_EXPORTER_OTLP_ENDPOINT: "", OTEL_EXPORTER_OTLP_PROTOCOL: "" }),
    [undefined, undefined],
  );
});

Deno.test("tracingOptions() speaks OTLP over HTTP in both of its forms, and says that it has no gRPC", async () => {
  const by = (protocol: string) =>
    read(undefined, "--otlp-endpoint", "collector:4318", "--otlp-protocol", protocol);
  assertEquals((await by("http/json"))!.encoding, "json");
  assertEquals((await by("http/protobuf"))!.encoding, "protobuf");
  await assertRejects(
    () => by("grpc"),
    UsageError,
    'must be http/protobuf or http/json, not "grpc": name the collector\'s port of OTLP over HTTP',
  );
  await assertRejects(() => by("smoke"), UsageError, 'not "smoke"');
  // Nothing is sent: nothing is wrong
  assertEquals(await read(undefined, "--otlp-protocol", "grpc"), undefined);
});

Deno.test("tracingOptions() says what is wrong with a mistake", async (t) => {
  const cases: Record<string, [file: string, why: string]> = {
    "a rate below zero": [
      `${HEAD}samplingRatePerMillion: -1\n`,
      "--tracing-config-file: failed to validate tracing configuration: samplingRatePerMillion: " +
      "Invalid value: -1: sampling rate must be positive",
    ],
    "a rate above all": [
      `${HEAD}samplingRatePerMillion: 1000001\n`,
      "sampling rate per million must be less than or equal to one million",
    ],
    "a scheme that nobody speaks": [
      `${HEAD}endpoint: unix:///run/otel.sock\n`,
      'endpoint: Invalid value: "unix:///run/otel.sock": unsupported scheme: unix.  Options are ' +
      "none, dns, http, or https",
    ],
    "an unknown field": [`${HEAD}rate: 1\n`, 'strict decoding error: unknown field "rate"'],
    "another kind": ["apiVersion: v1\nkind: Pod\n", 'no kind "Pod" is registered'],
  };
  for (const [name, [file, why]] of Object.entries(cases)) {
    await t.step(name, async () => {
      await assertRejects(() => read(file), UsageError, why);
    });
  }
  await assertRejects(
    () => read(undefined, "--otlp-endpoint", "http://"),
    UsageError,
    "no address",
  );
});
