/**
 * What goes on inside the process, under the names of upstream's calls between processes: `rest_client_*` of clients that
 * call the pipeline directly, `etcd_*` of writes until they are committed (reads are answered from memory: nothing is asked); and
 * how long the rules of custom resources take.
 */
import { DEFAULT_BOUNDS, Duration, LabelTexts, Tally, textOf } from "../machinery/metric_series.ts";
import type { Kind } from "../machinery/types.ts";
import { LATENCY_BUCKETS } from "./metrics.ts";
import type { ApiRequest, RequestVerb } from "./request.ts";

/** Upper bounds of a client's latency, in seconds (upstream's). */
const CLIENT_BUCKETS = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60];
/** Whom clients of the process call. */
const HOST = "kubernetes";

/** Verbs as a client sends them. */
const METHODS: Readonly<Record<RequestVerb, string>> = {
  get: "GET",
  list: "GET",
  watch: "GET",
  create: "POST",
  update: "PUT",
  patch: "PATCH",
  delete: "DELETE",
  deletecollection: "DELETE",
  connect: "GET",
};

/** What a write comes to in the store; all others update. */
const OPERATIONS: Partial<Record<RequestVerb, string>> = {
  create: "create",
  delete: "delete",
  deletecollection: "delete",
};

const CODES = new LabelTexts((method: string, code: number) =>
  `code="${code}",host="${HOST}",method="${method}"`
);
const VERBS = new LabelTexts((host: string, verb: string) => `host="${host}",verb="${verb}"`);
const WRITES = new LabelTexts(({ group, plural }: Kind, operation: string) =>
  `group="${group}",operation="${operation}",resource="${plural}"`
);

/** See the module's text. */
export class InnerMetrics {
  readonly #asked = new Tally("rest_client_requests_total", "Requests of clients, by code");
  readonly #askedTimes = new Duration(
    "rest_client_request_duration_seconds",
    "How long clients wait for answers, in seconds",
    CLIENT_BUCKETS,
  );
  readonly #writes = new Tally("etcd_requests_total", "Writes into the store");
  readonly #writeErrors = new Tally("etcd_request_errors_total", "Writes that failed");
  readonly #writeTimes = new Duration(
    "etcd_request_duration_seconds",
    "How long writes take until they are committed, in seconds",
    LATENCY_BUCKETS,
  );

  readonly #rules = new Duration(
    "apiserver_cel_evaluation_duration_seconds",
    "How long the rules of a custom resource take, in seconds",
    DEFAULT_BOUNDS,
  );

  /** The rules of a custom resource were looked at. */
  judged(ms: number): void {
    this.#rules.add("", ms);
  }

  /** A client of this process was answered. */
  answered(verb: RequestVerb, code: number, ms: number): void {
    const method = METHODS[verb];
    this.#asked.add(CODES.of(method, code));
    this.#askedTimes.add(VERBS.of(HOST, method), ms);
  }

  /** A write was committed, or refused by the store. */
  wrote({ verb, kind, subresource }: ApiRequest, ms: number, failed: boolean): void {
    const operation = (!subresource && OPERATIONS[verb]) || "update";
    const labels = WRITES.of(kind, operation);
    this.#writes.add(labels);
    if (failed) this.#writeErrors.add(labels);
    this.#writeTimes.add(labels, ms);
  }

  /** Lines for `/metrics`. */
  text(): string {
    const clients = [this.#asked, this.#askedTimes];
    const store = [this.#writes, this.#writeErrors, this.#writeTimes];
    return textOf([...clients, ...store, this.#rules]);
  }
}
