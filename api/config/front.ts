/** The flags of the API server's front as its options: audit, limits, deadlines. Names and texts are kube-apiserver's. */
import type { AuditLogOptions, AuditMode } from "../server/audit_log.ts";
import type { BrowserOptions } from "../server/cors.ts";
import type { AuditWebhookOptions } from "../server/audit_webhook.ts";
import type { AuditOptions, FrontOptions } from "../server/front_options.ts";
import { besides } from "./authorization.ts";
import { parseAuditPolicy } from "./audit_policy.ts";
import { type Flags, shownFlags, UsageError } from "./flags.ts";
import type { ReadConfig } from "./server.ts";
import { type Environment, tracingOptions } from "./tracing.ts";
import { webhookEndpoint } from "./webhook_endpoint.ts";

const MEGABYTE = 1024 * 1024;

/** The options that flags ask for. Throws UsageError. */
export async function frontOptions(
  flags: Flags,
  read: ReadConfig,
  env?: Environment,
): Promise<FrontOptions> {
  return {
    audit: await auditOptions(flags, read),
    tracing: await tracingOptions(flags, read, env),
    requestTimeoutMs: flags["request-timeout"],
    flags: shownFlags(flags),
    browsers: browserOptions(flags),
    goawayChance: flags["goaway-chance"],
    minRequestTimeoutMs: flags["min-request-timeout"] * 1000,
    streamsMax: flags["http2-max-streams-per-connection"],
    closing: {
      delayMs: flags["shutdown-delay-duration"],
      retryAfter: flags["shutdown-send-retry-after"],
    },
    flow: {
      readsMax: flags["max-requests-inflight"],
      writesMax: flags["max-mutating-requests-inflight"],
      fair: flags["enable-priority-and-fairness"],
    },
  };
}

function browserOptions(flags: Flags): BrowserOptions | undefined {
  const origins = flags["cors-allowed-origins"];
  const hsts = flags["strict-transport-security-directives"];
  if (origins.length === 0 && hsts.length === 0) return undefined;
  for (const directive of hsts) {
    if (/^(max-age=\d+|includeSubDomains|preload)$/.test(directive)) continue;
    throw new UsageError(
      "--strict-transport-security-directives invalid, allowed values: max-age=expireTime, " +
        `includeSubDomains, preload. see https://tools.ietf.org/html/rfc6797#section-6.1 for more information`,
    );
  }
  const corsOrigins = origins.map((origin) => {
    const refuse = (why: string) =>
      new UsageError(`--cors-allowed-origins has an invalid regular expression: ${why}`);
    // What is not anchored lets in origins that only begin, or end, so
    if (!/\^|\/\//.test(origin) || !/[$:]/.test(origin)) {
      throw refuse("regular expression does not pin to start/end of host in the origin header");
    }
    try {
      return new RegExp(origin);
    } catch (error) {
      throw refuse((error as Error).message);
    }
  });
  return { corsOrigins, hsts };
}

async function auditOptions(flags: Flags, read: ReadConfig): Promise<AuditOptions | undefined> {
  const log = logOptions(flags);
  const webhook = await webhookOptions(flags, read);
  const path = flags["audit-policy-file"];
  const text = await read("audit-policy-file", path);
  if (text === undefined) return undefined;
  try {
    return { policy: parseAuditPolicy(text), log, webhook };
  } catch (error) {
    throw new UsageError(
      `loading audit policy file: ${(error as Error).message}: from file ${path}`,
    );
  }
}

type Backend = "log" | "webhook";

function truncation(flags: Flags, backend: Backend) {
  const eventBytesMax = flags[`audit-${backend}-truncate-max-event-size`];
  const batchBytesMax = flags[`audit-${backend}-truncate-max-batch-size`];
  if (eventBytesMax <= 0) {
    throw new UsageError(
      `invalid audit truncate ${backend} max event size ${eventBytesMax}, must be a positive number`,
    );
  }
  if (batchBytesMax < eventBytesMax) {
    throw new UsageError(
      `invalid audit truncate ${backend} max batch size ${batchBytesMax}, must be greater than ` +
        `max event size (${eventBytesMax})`,
    );
  }
  return flags[`audit-${backend}-truncate-enabled`] ? { eventBytesMax, batchBytesMax } : undefined;
}

function bufferMax(flags: Flags, backend: Backend, mode: AuditMode): number {
  const size = flags[`audit-${backend}-batch-buffer-size`];
  if (mode === "batch" && size <= 0) {
    throw new UsageError(
      `invalid audit batch ${backend} buffer size ${size}, must be a positive number`,
    );
  }
  return size;
}

function logOptions(flags: Flags): AuditLogOptions | undefined {
  const path = flags["audit-log-path"];
  if (!path) return undefined;
  const mode = flags["audit-log-mode"];
  return {
    path,
    mode,
    format: flags["audit-log-format"],
    bufferMax: bufferMax(flags, "log", mode),
    bytesMax: flags["audit-log-maxsize"] * MEGABYTE,
    daysMax: flags["audit-log-maxage"],
    backupsMax: flags["audit-log-maxbackup"],
    compress: flags["audit-log-compress"],
    truncation: truncation(flags, "log"),
  };
}

async function webhookOptions(
  flags: Flags,
  read: ReadConfig,
): Promise<AuditWebhookOptions | undefined> {
  const flag = "audit-webhook-config-file";
  const text = await read(flag, flags[flag]);
  if (text === undefined) return undefined;
  const mode = flags["audit-webhook-mode"];
  const batchMax = flags["audit-webhook-batch-max-size"];
  const qps = flags["audit-webhook-batch-throttle-qps"];
  const burst = flags["audit-webhook-batch-throttle-burst"];
  const throttled = flags["audit-webhook-batch-throttle-enable"];
  const positive = (what: string, value: number) => {
    if (value > 0) return;
    throw new UsageError(
      `invalid audit batch webhook ${what} ${value}, must be a positive number`,
    );
  };
  if (mode === "batch") {
    positive("max batch size", batchMax);
    if (throttled) {
      positive("throttle QPS", qps);
      positive("throttle burst", burst);
    }
  }
  const endpoint = await webhookEndpoint(
    text,
    async (path) => await read(flag, besides(flags[flag] ?? "", path)) ?? "",
  )
    .catch((error) => {
      throw error instanceof UsageError
        ? error
        : new UsageError(`initializing audit webhook: ${(error as Error).message}`);
    });
  return {
    endpoint,
    mode,
    batchMax,
    bufferMax: bufferMax(flags, "webhook", mode),
    batchWaitMs: flags["audit-webhook-batch-max-wait"],
    throttle: throttled ? { qps, burst } : false,
    backoffMs: flags["audit-webhook-initial-backoff"],
    truncation: truncation(flags, "webhook"),
  };
}
