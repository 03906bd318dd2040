/** Metrics of who was known and what was decided, by upstream's names. Counting is cheap: every request is counted. */
import {
  DEFAULT_BOUNDS,
  Duration,
  exponentialBounds,
  Tally,
  textOf,
} from "../machinery/metric_series.ts";
import type { Authorizer, Decision } from "./contract.ts";

/** Upper bounds of knowing somebody and of a decision, in seconds. */
const BUCKETS = exponentialBounds(0.001, 2, 15);

/** How a request's credentials were taken; `failure`: there were none that anybody knows. */
export type Attempt = "success" | "failure" | "error";

/** How asking a webhook ended. */
export type Evaluation = "success" | "error" | "timeout";

/** Users that are told apart in metrics. */
const KNOWN = new Set([
  "admin",
  "client",
  "kube_proxy",
  "kubelet",
  "system:serviceaccount:kube-system:default",
]);

/** Counts identities and decisions. */
export class IdentityMetrics {
  readonly #users = new Tally(
    "authenticated_user_requests",
    "Requests of users that were known, by kind of name",
  );
  readonly #attempts = new Tally("authentication_attempts", "Credentials, by how they were taken");
  readonly #attemptTimes = new Duration(
    "authentication_duration_seconds",
    "Time that knowing somebody takes, in seconds",
    BUCKETS,
  );
  readonly #asked = new Tally("authorization_attempts_total", "Decisions, by result");
  readonly #askedTimes = new Duration(
    "authorization_duration_seconds",
    "Time that decisions take, in seconds",
    BUCKETS,
  );
  readonly #decisions = new Tally(
    "apiserver_authorization_decisions_total",
    "Decisions that ended the asking, by authorizer",
  );
  readonly #evaluations = new Tally(
    "apiserver_authorization_webhook_evaluations_total",
    "Questions to authorization webhooks, by how they ended",
  );
  readonly #failedOpen = new Tally(
    "apiserver_authorization_webhook_evaluations_fail_open_total",
    "Failures to ask an authorization webhook after which others were asked",
  );
  readonly #durations = new Duration(
    "apiserver_authorization_webhook_duration_seconds",
    "Time that authorization webhooks take, in seconds",
    DEFAULT_BOUNDS,
  );

  /** Somebody asked; `name` is who it was, where that is known. */
  attempted(result: Attempt, ms: number, name?: string): void {
    const label = `result="${result}"`;
    this.#attempts.add(label);
    this.#attemptTimes.add(label, ms);
    if (name === undefined) return;
    const kind = KNOWN.has(name) ? name : name.includes("@") ? "email_id" : "other";
    this.#users.add(`username="${kind}"`);
  }

  /** A request's right was asked for. */
  decided({ allowed, denied, error }: Decision, ms: number): void {
    const result = allowed ? "allowed" : error ? "error" : denied ? "denied" : "no-opinion";
    const label = `result="${result}"`;
    this.#asked.add(label);
    this.#askedTimes.add(label, ms);
  }

  /** The authorizer, its decisions counted. */
  counted({ type, name }: { type: string; name: string }, authorizer: Authorizer): Authorizer {
    const labels = `name=${JSON.stringify(name)},type="${type}"`;
    const allowed = `decision="allowed",${labels}`;
    const denied = `decision="denied",${labels}`;
    const note = (decision: Decision): Decision => {
      if (decision.allowed) this.#decisions.add(allowed);
      else if (decision.denied) this.#decisions.add(denied);
      return decision;
    };
    return {
      authorize(attributes) {
        const decision = authorizer.authorize(attributes);
        return decision instanceof Promise ? decision.then(note) : note(decision);
      },
      rules: (user, namespace) => authorizer.rules(user, namespace),
    };
  }

  /** A webhook was asked. */
  evaluated(
    name: string,
    { result, ms, failedOpen }: { result: Evaluation; ms: number; failedOpen: boolean },
  ): void {
    const labels = `name=${JSON.stringify(name)},result="${result}"`;
    this.#evaluations.add(labels);
    if (failedOpen) this.#failedOpen.add(labels);
    this.#durations.add({ name, result }, ms);
  }

  /** Everything as Prometheus reads it. */
  text(): string {
    return textOf([
      this.#attempts,
      this.#attemptTimes,
      this.#users,
      this.#asked,
      this.#askedTimes,
      this.#decisions,
      this.#evaluations,
      this.#failedOpen,
      this.#durations,
    ]);
  }
}
