/** Metrics of what admission asks of webhooks and policies, by upstream's names. */
import {
  Counter,
  Duration,
  type Labels,
  LabelTexts,
  Tally,
  textOf,
} from "../machinery/metric_series.ts";
import type { Admission } from "./contract.ts";

/** Upper bounds of latency, in seconds (upstream's). */
const BUCKETS = [0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 25];
/** Those of a whole step of admission. */
const STEP_BUCKETS = [0.005, 0.025, 0.1, 0.5, 1, 2.5];
/** Those of match conditions. */
const CONDITION_BUCKETS = [0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25];
/** Those of policies' expressions. */
const POLICY_BUCKETS = [5e-7, 0.001, 0.01, 0.1, 1];
/** Codes above are shown as this one. */
const CODE_MAX = 600;
const PREFIX = "apiserver_admission_";

/** How a webhook is called in metrics. */
export type StepType = "admit" | "validating";

/** What was asked about: whom, in which chain, at which operation. */
interface Call {
  name: string;
  type: StepType;
  operation: string;
}

/** An expression of a policy, and how it ended. */
interface Judged {
  policy: string;
  binding: string;
  /** What went wrong; undefined: nothing. */
  message?: string;
}

/** Whose say it was, in which step, and how it ended. */
interface Asked {
  plugin: string;
  type: "admit" | "validate";
  rejected: boolean;
}

const pluginTexts = (type: Asked["type"], rejected: boolean) =>
  new LabelTexts((name: string, operation: string) =>
    `name="${name}",operation="${operation}",rejected="${rejected}",type="${type}"`
  );
const stepTexts = (type: Asked["type"]) =>
  new LabelTexts((rejected: boolean, operation: string) =>
    `operation="${operation}",rejected="${rejected}",type="${type}"`
  );
const STEPS = { admit: stepTexts("admit"), validate: stepTexts("validate") };
const PLUGINS = {
  admit: [pluginTexts("admit", false), pluginTexts("admit", true)],
  validate: [pluginTexts("validate", false), pluginTexts("validate", true)],
};

/** A policy's two metrics. */
class PolicyMetrics {
  readonly #checks: Counter;
  readonly #durations: Duration;

  constructor(type: "validating" | "mutating") {
    const prefix = `apiserver_${type}_admission_policy_check_`;
    this.#checks = new Counter(`${prefix}total`, "Checks of policies, by how they ended");
    const help = "Time that expressions of policies take, in seconds";
    this.#durations = new Duration(`${prefix}duration_seconds`, help, POLICY_BUCKETS);
  }

  add({ policy, binding, message }: Judged, ms: number, more: Labels = {}): void {
    const labels = { ...more, error_type: errorType(message), policy, policy_binding: binding };
    this.#checks.add(labels);
    this.#durations.add(labels, ms);
  }

  *lines(): Generator<string> {
    yield* this.#checks.lines();
    yield* this.#durations.lines();
  }
}

/** Upstream tells errors apart by how their texts begin. */
function errorType(message: string | undefined): string {
  if (message === undefined) return "no_error";
  if (message.startsWith("compilation")) return "compile_error";
  const spent = "validation failed due to running out of cost budget";
  return message.startsWith(spent) ? "out_of_budget" : "invalid_error";
}

function judgedLabels({ operation, kind, subresource }: Admission): string {
  const resource = kind.plural === "pods" && kind.group === "" ? "pod" : "controller";
  return `request_operation="${operation.toLowerCase()}",resource="${resource}",` +
    `subresource="${subresource}"`;
}

/** Counts what webhooks and policies are asked and how it ends. */
export class AdmissionMetrics {
  readonly #steps = new Duration(
    `${PREFIX}step_admission_duration_seconds`,
    "Time that a whole step of admission takes, in seconds",
    STEP_BUCKETS,
  );
  readonly #plugins = new Duration(
    `${PREFIX}controller_admission_duration_seconds`,
    "Time that one plugin takes, in seconds",
    STEP_BUCKETS,
  );
  readonly #requests = new Counter(
    `${PREFIX}webhook_request_total`,
    "Requests that webhooks were asked about, by code",
  );
  readonly #rejections = new Counter(
    `${PREFIX}webhook_rejection_count`,
    "Requests that webhooks refused, by why",
  );
  readonly #failedOpen = new Counter(
    `${PREFIX}webhook_fail_open_count`,
    "Failures to ask a webhook that were ignored",
  );
  readonly #conditionErrors = new Counter(
    `${PREFIX}match_condition_evaluation_errors_total`,
    "Match conditions that could not be evaluated",
  );
  readonly #exclusions = new Counter(
    `${PREFIX}match_condition_exclusions_total`,
    "Requests that match conditions kept from a webhook",
  );
  readonly #durations = new Duration(
    `${PREFIX}webhook_admission_duration_seconds`,
    "Time that webhooks take, in seconds",
    BUCKETS,
  );

  readonly #conditions = new Duration(
    `${PREFIX}match_condition_evaluation_seconds`,
    "Time that match conditions take, in seconds",
    CONDITION_BUCKETS,
  );

  readonly #evaluations = new Tally(
    "pod_security_evaluations_total",
    "Pods and templates of pods that were judged, by level and mode",
  );
  readonly #exemptions = new Tally(
    "pod_security_exemptions_total",
    "Pods and templates of pods that were not judged",
  );

  readonly #validating = new PolicyMetrics("validating");
  readonly #mutating = new PolicyMetrics("mutating");

  /** A step of admission is over: all plugins that change an object, or all that judge it. */
  stepped(type: "admit" | "validate", operation: string, ended: { ms: number; rejected: boolean }) {
    const { ms, rejected } = ended;
    this.#steps.add(STEPS[type].of(rejected, operation), ms);
  }

  /** One plugin has had its say. */
  asked({ plugin, type, rejected }: Asked, operation: string, ms: number): void {
    this.#plugins.add(PLUGINS[type][rejected ? 1 : 0].of(plugin, operation), ms);
  }

  /** A validation did not hold; `action` is what came of it: `deny`, `warn`, `audit`, or `allow` for an ignored error. */
  validated(judged: Judged, action: string, ms: number): void {
    this.#validating.add(judged, ms, { enforcement_action: action });
  }

  /** A pod or a template of one was judged by PodSecurity. */
  judged(
    { decision, mode, level, version }: {
      decision: "allow" | "deny";
      mode: string;
      level: string;
      version: string;
    },
    a: Admission,
  ): void {
    this.#evaluations.add(
      `decision="${decision}",mode="${mode}",policy_level="${level}",policy_version="${version}",` +
        judgedLabels(a),
    );
  }

  /** One was not judged. */
  exempted(a: Admission): void {
    this.#exemptions.add(judgedLabels(a));
  }

  /** A mutation was made, or could not be. */
  mutated(judged: Judged, ms: number): void {
    this.#mutating.add(judged, ms);
  }

  /** One call that was made, refused or not. */
  called(
    { name, type, operation }: Call,
    { ms, code, rejected }: { ms: number; code: number; rejected: boolean },
  ): void {
    const labels = { name, type, operation };
    this.#requests.add({ ...labels, code: Math.min(code, CODE_MAX), rejected });
    this.#durations.add({ ...labels, rejected }, ms);
  }

  /** A request was refused by a webhook, or because it could not be asked. */
  rejected(
    { name, type, operation }: Call,
    why: "no_error" | "calling_webhook_error" | "apiserver_internal_error",
    code: number,
  ): void {
    const labels = { name, type, operation, error_type: why };
    this.#rejections.add({ ...labels, rejection_code: Math.min(code, CODE_MAX) });
  }

  /** A webhook could not be asked, and that was ignored. */
  failedOpen(name: string, type: StepType): void {
    this.#failedOpen.add({ name, type });
  }

  /** Match conditions were looked at; they kept a request from a webhook, or could not tell. */
  conditions(labels: Labels, ms: number, outcome?: "error" | "exclusion"): void {
    this.#conditions.add(labels, ms);
    if (outcome === "error") this.#conditionErrors.add(labels);
    else if (outcome) this.#exclusions.add(labels);
  }

  /** Everything as Prometheus reads it. */
  text(): string {
    return textOf([
      this.#steps,
      this.#plugins,
      this.#requests,
      this.#rejections,
      this.#failedOpen,
      this.#conditionErrors,
      this.#exclusions,
      this.#durations,
      this.#conditions,
      this.#evaluations,
      this.#exemptions,
      this.#validating,
      this.#mutating,
    ]);
  }
}
