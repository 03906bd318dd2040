import { assertEquals, assertRejects } from "@std/assert";
import { readFlags, UsageError } from "./flags.ts";
import { tracingOptions } from "./tracing.ts";

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
    headers: {},
  });
  const whole = `${HEAD}endpoint: collector.local:4318\nsamplingRatePerMillion: 100\n`;
  assertEquals(await read(whole.replace("/v1", "/v1beta1")), {
    url: "http://collector.local:4318/v1/traces",
    encoding: "protobuf",
    samplingRatePerMillion: 100,
    headers: {},
  });
  const { url } = (await read(`${HEAD}endpoint: dns:///collector:1\n`))!;
  assertEquals(url, "http://collector:1/v1/traces");
});

Deno.test("tracingOptions() takes OpenTelemetry's endpoint: all traces, unless a file says how many", async () => {
  const flag = ["--otlp-endpoint", "https://otel.example.com/otlp/"];
  const url = "https://otel.example.com/otlp/v1/traces";
  const metricsUrl = "https://otel.example.com/otlp/v1/metrics";
  const encoding = "protobuf" as const;
  const none = { headers: {}, metricsHeaders: {} };
  const all = { url, encoding, samplingRatePerMillion: 1_000_000, metricsUrl, ...none };
  assertEquals(await read(undefined, ...flag), all);
  assertEquals(await read(`${HEAD}samplingRatePerMillion: 7\n`, ...flag), {
    ...all,
    samplingRatePerMillion: 7,
  });
  assertEquals((await read(`${HEAD}endpoint: here:1\n`, ...flag))!.url, "http://here:1/v1/traces");
});

Deno.test("tracingOptions() reads OpenTelemetry's environment where flags are silent; what is set to nothing is not set", async () => {
  const by = async (env: Record<string, string>, ...args: string[]) => {
    const none = () => Promise.resolve(undefined);
    const prefixed = (name: string) => env[name.replace("OTEL_EXPORTER_OTLP_", "")];
    return await tracingOptions(readFlags(args), none, prefixed);
  };
  const told = async (...args: Parameters<typeof by>) => {
    const { url, metricsUrl, encoding } = (await by(...args))!;
    return [url, metricsUrl, encoding];
  };
  const env = { ENDPOINT: "http://env:4318", PROTOCOL: "http/json" };
  const both = ["http://env:4318/v1/traces", "http://env:4318/v1/metrics", "json"];
  assertEquals(await told(env), both);
  const flags = ["--otlp-endpoint", "flag:1", "--otlp-protocol", "http/protobuf"];
  const flagged = ["http://flag:1/v1/traces", "http://flag:1/v1/metrics", "protobuf"];
  assertEquals(await told(env, ...flags), flagged);
  assertEquals(await by({ ENDPOINT: "", PROTOCOL: "", TRACES_ENDPOINT: "" }), undefined);
  const own = { TRACES_ENDPOINT: "https://t/x?y=z", METRICS_ENDPOINT: "http://m" };
  assertEquals(await told({ ...env, ...own }), ["https://t/x?y=z", "http://m/", "json"]);
  assertEquals(await told({ ...own }, ...flags), flagged);
  const alone = await by({ METRICS_ENDPOINT: "http://m/v1/metrics" });
  assertEquals([alone!.url, alone!.metricsUrl], [undefined, "http://m/v1/metrics"]);

  const headers = {
    HEADERS: "Authorization=Bearer%20hush, x-tenant = one,",
    METRICS_HEADERS: "x-tenant=two",
  };
  const sent = await by({ ...env, ...headers });
  assertEquals(sent!.headers, { authorization: "Bearer hush", "x-tenant": "one" });
  assertEquals(sent!.metricsHeaders, { authorization: "Bearer hush", "x-tenant": "two" });
  for (const wrong of ["hush", "a b=hush", "a=%zzhush", "a=hush%0d%0ab: c"]) {
    const error = await assertRejects(() => by({ ...env, HEADERS: wrong }), UsageError);
    assertEquals(/HEADERS must list/.test(error.message) && !error.message.includes("hush"), true);
  }
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
