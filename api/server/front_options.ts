/** How the front of an API server is configured: what stands between a connection and the pipeline. Types alone. */
import type { AuditPolicy } from "../auth/audit_policy.ts";
import type { AuditLogOptions } from "./audit_log.ts";
import type { AuditWebhookOptions } from "./audit_webhook.ts";
import type { ClosingOptions } from "./closing.ts";
import type { BrowserOptions } from "./cors.ts";
import type { FlowOptions } from "./flow.ts";
import type { TracingOptions } from "./otlp.ts";

/** What is audited, and where it is told. */
export interface AuditOptions {
  policy: AuditPolicy;
  log?: AuditLogOptions;
  webhook?: AuditWebhookOptions;
}

/** What every answer is looked at for. */
export interface FrontPolicy {
  /** Absent: browsers are told nothing. */
  browsers?: BrowserOptions;
  /** Part of the requests over HTTP/2 whose client is asked to connect anew (default 0, at most 0.02). */
  goawayChance?: number;
  /** What `/flagz` shows: the values of flags by name. */
  flags?: Readonly<Record<string, string>>;
  /** A watch that names no timeout ends after this long, and up to as long again, in ms (default 1,800,000). */
  minRequestTimeoutMs?: number;
}

/** Options of the front; each has kube-apiserver's default. */
export interface FrontOptions extends FrontPolicy {
  /** Where spans go; absent: nothing is recorded. */
  tracing?: TracingOptions;
  /** Absent: nothing is audited. */
  audit?: AuditOptions;
  /** How long a request may take that is not long-running by nature (default 60,000). */
  requestTimeoutMs?: number;
  /** How it ends. */
  closing?: ClosingOptions;
  /** Streams of one HTTP/2 connection at once (default 1,000). */
  streamsMax?: number;
  /** How many requests are served at once, and who waits. */
  flow?: Pick<FlowOptions, "readsMax" | "writesMax" | "fair">;
}
