/** How the front of an API server is configured: what stands between a connection and the pipeline. Types alone. */
import type { AuditPolicy } from "../auth/audit_policy.ts";
import type { AuditLogOptions } from "./audit_log.ts";
import type { AuditWebhookOptions } from "./audit_webhook.ts";
import type { FlowOptions } from "./flow.ts";

/** What is audited, and where it is told. */
export interface AuditOptions {
  policy: AuditPolicy;
  log?: AuditLogOptions;
  webhook?: AuditWebhookOptions;
}

/** Options of the front; each has kube-apiserver's default. */
export interface FrontOptions {
  /** Absent: nothing is audited. */
  audit?: AuditOptions;
  /** How long a request may take that is not long-running by nature (default 60,000). */
  requestTimeoutMs?: number;
  /** How many requests are served at once, and who waits. */
  flow?: Pick<FlowOptions, "readsMax" | "writesMax" | "fair">;
}
