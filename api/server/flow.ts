/**
 * Flow control: how many requests are worked on at once. What is over the limit is told to come again in a
 * second. Watches and streams do not count, nor does the cluster's own administration.
 */
import { tooManyRequests } from "../machinery/errors.ts";
import type { Passage } from "./passage.ts";

/** Reads at once (upstream: --max-requests-inflight). */
export const READS_MAX = 400;
/** Writes at once (upstream: --max-mutating-requests-inflight). */
export const WRITES_MAX = 200;
const RETRY_SECONDS = 1;
const NOTHING = () => {};

/** Counts what is being worked on. */
export class Flow {
  reads = 0;
  writes = 0;
  refused = 0;

  /** Lets a request in, or throws 429. Call what is returned when the request is answered. */
  enter({ user, requested: { verb }, longRunning }: Passage): () => void {
    if (longRunning) return NOTHING;
    const reading = verb === "get" || verb === "list";
    const full = reading ? this.reads >= READS_MAX : this.writes >= WRITES_MAX;
    if (full && !user.groups.includes("system:masters")) {
      this.refused++;
      throw tooManyRequests("Too many requests, please try again later.", RETRY_SECONDS);
    }
    if (reading) this.reads++;
    else this.writes++;
    return () => {
      if (reading) this.reads--;
      else this.writes--;
    };
  }

  /** For `/metrics`. */
  lines(): string {
    return [
      "# HELP apiserver_current_inflight_requests Requests being worked on",
      "# TYPE apiserver_current_inflight_requests gauge",
      `apiserver_current_inflight_requests{request_kind="readOnly"} ${this.reads}`,
      `apiserver_current_inflight_requests{request_kind="mutating"} ${this.writes}`,
      "# HELP apiserver_dropped_requests_total Requests told to come again",
      "# TYPE apiserver_dropped_requests_total counter",
      `apiserver_dropped_requests_total ${this.refused}`,
    ].join("\n");
  }
}
