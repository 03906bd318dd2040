import { assertEquals, assertRejects } from "@std/assert";
import { readFlags, UsageError } from "./flags.ts";
import { frontOptions } from "./front.ts";

const FILES: Record<string, string> = {
  policy: "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n",
  wrong: "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Everything}]\n",
  hook: `
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: a, user: u}}]
clusters: [{name: a, cluster: {server: "https://audit.example.com/sink"}}]
users: [{name: u, user: {token: secret}}]
`,
};

const options = (...args: string[]) =>
  frontOptions(readFlags(args), (_flag, path) => Promise.resolve(path && FILES[path]));

Deno.test("frontOptions() gives upstream's defaults", async () => {
  const { flags: _, ...found } = await options();
  assertEquals(found, {
    audit: undefined,
    tracing: undefined,
    requestTimeoutMs: 60_000,
    browsers: undefined,
    goawayChance: 0,
    minRequestTimeoutMs: 1_800_000,
    streamsMax: 0,
    closing: { delayMs: 0, retryAfter: false },
    flow: { readsMax: 400, writesMax: 200, fair: true },
  });
});

Deno.test("frontOptions() reads audit's flags and files", async () => {
  const { audit, flags } = await options(
    ...["--audit-policy-file", "policy", "--audit-log-path", "/x/audit.log"],
    ...["--audit-log-maxsize", "1", "--audit-log-format", "legacy"],
    ...["--audit-webhook-config-file", "hook", "--audit-webhook-batch-max-wait", "5s"],
    ...["--no-audit-webhook-batch-throttle-enable", "--audit-webhook-truncate-enabled"],
  );
  assertEquals(audit!.policy.rules[0].level, "Metadata");
  assertEquals([audit!.log!.path, audit!.log!.bytesMax, audit!.log!.format], [
    "/x/audit.log",
    1024 * 1024,
    "legacy",
  ]);
  const { endpoint, batchWaitMs, throttle, truncation, mode } = audit!.webhook!;
  assertEquals(endpoint, { url: "https://audit.example.com/sink", bearerToken: "secret" });
  assertEquals([mode, batchWaitMs, throttle], ["batch", 5_000, false]);
  assertEquals(truncation, { eventBytesMax: 102_400, batchBytesMax: 10_485_760 });
  assertEquals(flags!["audit-webhook-batch-max-wait"], "5s");
});

Deno.test("frontOptions() without a policy audits nothing", async () => {
  assertEquals((await options("--audit-log-path", "/x/audit.log")).audit, undefined);
});

Deno.test("frontOptions() says what is wrong with a mistake", async (t) => {
  const log = ["--audit-log-path", "/x"];
  const cases: [string, string[], string][] = [
    [
      "a policy",
      ["--audit-policy-file", "wrong"],
      'loading audit policy file: rules[0].level: Unsupported value: "Everything": supported ' +
      'values: "None", "Metadata", "Request", "RequestResponse": from file wrong',
    ],
    [
      "a buffer",
      [...log, "--audit-log-mode", "batch", "--audit-log-batch-buffer-size", "0"],
      "invalid audit batch log buffer size 0, must be a positive number",
    ],
    [
      "truncation",
      [...log, "--audit-log-truncate-max-batch-size", "10"],
      "invalid audit truncate log max batch size 10, must be greater than max event size (102400)",
    ],
    [
      "an origin that is not anchored",
      ["--cors-allowed-origins", "example.com"],
      "--cors-allowed-origins has an invalid regular expression: regular expression does not " +
      "pin to start/end of host in the origin header",
    ],
    [
      "a directive",
      ["--strict-transport-security-directives", "max-age=x"],
      "--strict-transport-security-directives invalid, allowed values: max-age=expireTime, " +
      "includeSubDomains, preload. see https://tools.ietf.org/html/rfc6797#section-6.1 for more " +
      "information",
    ],
  ];
  for (const [name, args, message] of cases) {
    await t.step(name, async () => {
      const error = await assertRejects(() => options(...args), UsageError);
      assertEquals((error as Error).message, message);
    });
  }
});
