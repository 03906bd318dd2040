/**
 * Rules of the batch group: Jobs and CronJobs. A Job's selector is made by the server from its uid, unless
 * `manualSelector` is set (upstream's `pkg/registry/batch/job/strategy.go`).
 */

import { selectorValue } from "./replica_validation.ts";
import type {
  Cause,
  Column,
  DeepReadonly,
  Kind,
  KindHooks,
  KubeObject,
} from "../../machinery/types.ts";
import { isLabelValue } from "../../machinery/names.ts";
import { formatLabelSelector } from "../../machinery/selectors.ts";
import { age, humanDuration, parseTime } from "../../machinery/time.ts";
import { AGE_COLUMN, column, NAME_COLUMN, type Row, templateColumns } from "./cells.ts";
import { isTimeZone, scheduleProblem } from "./cron_schedule.ts";
import { JOB_LABELS, validateJob, validateJobSpec, validateJobUpdate } from "./job_validation.ts";
import { defaultPodTemplate } from "./pod_defaults.ts";
import { workloadWarnings } from "./pod_warnings.ts";
import { statusHooks } from "./prepare.ts";
import { nonNegative } from "./replica_validation.ts";
import { isSet, METADATA, type Path, Report, SPEC } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;

const INT32_MAX = 2147483647;
const BACKOFF_LIMIT = 6;
/** A Job's name gets eleven characters of time behind its CronJob's. */
const CRON_NAME_MAX = 52;

function defaultJob(job: KubeObject): void {
  const spec: Obj = job.spec ??= {};
  if (!isSet(spec.completions) && !isSet(spec.parallelism)) spec.completions = spec.parallelism = 1;
  spec.parallelism ??= 1;
  spec.backoffLimit ??= isSet(spec.backoffLimitPerIndex) ? INT32_MAX : BACKOFF_LIMIT;
  labelsOfTemplate(job);
  spec.completionMode ??= "NonIndexed";
  spec.suspend ??= false;
  spec.podReplacementPolicy ??= spec.podFailurePolicy ? "Failed" : "TerminatingOrFailed";
  spec.manualSelector ??= false;
  defaultJobTemplate(spec);
}

/** A Job without labels of its own has its template's. */
function labelsOfTemplate({ metadata, spec }: KubeObject): void {
  const labels = spec.template?.metadata?.labels;
  if (!labels || Object.keys(metadata.labels ?? {}).length > 0) return;
  // A name that is no label is refused in the template; upstream copies the labels after that
  if (isLabelValue(metadata.name ?? "").length > 0) return;
  // The very same ones: those that are generated for the template are the Job's, too
  metadata.labels = labels;
}

/** What Jobs and templates of Jobs share. */
function defaultJobTemplate(spec: Obj): void {
  for (const rule of spec.podFailurePolicy?.rules ?? []) {
    for (const pattern of rule.onPodConditions ?? []) pattern.status ||= "True";
  }
  defaultPodTemplate(spec.template);
}

/** Makes the selector, and the labels that it finds, from the Job's uid and name. */
function generateSelector(job: KubeObject): void {
  const spec: Obj = job.spec;
  if (spec.manualSelector === true) return;
  const { uid = "", name = "" } = job.metadata;
  const labels = ((spec.template ??= {}).metadata ??= {}).labels ??= {};
  labels[JOB_LABELS.oldName] ??= name;
  labels[JOB_LABELS.name] ??= name;
  labels[JOB_LABELS.oldUid] ??= uid;
  labels[JOB_LABELS.uid] ??= uid;
  const match = (spec.selector ??= {}).matchLabels ??= {};
  match[JOB_LABELS.uid] ??= uid;
}

const status = statusHooks({
  generation: true,
  podSpec: ({ spec }) => (spec?.jobTemplate?.spec ?? spec)?.template?.spec,
});

function defaultCronJob(cron: KubeObject): void {
  const spec: Obj = cron.spec ??= {};
  spec.concurrencyPolicy ||= "Allow";
  spec.suspend ??= false;
  spec.successfulJobsHistoryLimit ??= 3;
  spec.failedJobsHistoryLimit ??= 1;
  if (spec.jobTemplate?.spec) defaultJobTemplate(spec.jobTemplate.spec);
}

const ZONE_PART = /^[A-Za-z._0-9+-]{1,14}$/;

function validateTimeZone(zone: string, r: Report): void {
  const at = SPEC.child("timeZone");
  if (zone === "") return r.invalid(at, zone, "timeZone must be nil or non-empty string");
  for (const part of zone.split("/")) {
    if (part === "." || part === ".." || part.startsWith("-") || !ZONE_PART.test(part)) {
      return r.invalid(at, zone, `unknown time zone ${zone}`);
    }
  }
  if (zone.toLowerCase() === "local") {
    const text =
      "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
    return r.invalid(at, zone, text);
  }
  if (!isTimeZone(zone)) r.invalid(at, zone, `unknown time zone ${zone}`);
}

const CONCURRENCY = ["Allow", "Forbid", "Replace"];

function validateCronSpec(spec: Obj, before: Obj, r: Report): void {
  const { schedule = "", timeZone, concurrencyPolicy, jobTemplate } = spec;
  const at = SPEC.child("schedule");
  if (schedule === "") r.required(at);
  else {
    const problem = scheduleProblem(schedule);
    if (problem) r.invalid(at, schedule, problem);
    if (schedule.includes("TZ")) {
      const known = before?.schedule?.includes("TZ") ?? false;
      if (!known) {
        r.invalid(at, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
      } else if (isSet(timeZone)) {
        r.invalid(at, schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
      }
    }
  }
  nonNegative(spec, "startingDeadlineSeconds", SPEC, r);
  if (isSet(timeZone) && timeZone !== before?.timeZone) validateTimeZone(timeZone, r);
  if (!concurrencyPolicy) r.required(SPEC.child("concurrencyPolicy"));
  else if (!CONCURRENCY.includes(concurrencyPolicy)) {
    r.notSupported(SPEC.child("concurrencyPolicy"), concurrencyPolicy, CONCURRENCY);
  }
  const job: Obj = jobTemplate?.spec ?? {};
  const jobAt = SPEC.child("jobTemplate", "spec");
  validateJobSpec(job, jobAt, r);
  if (isSet(job.selector)) {
    const shown = selectorValue(job.selector);
    r.invalid(jobAt.child("selector"), shown, "`selector` will be auto-generated");
  }
  if (job.manualSelector === true) {
    r.notSupported(jobAt.child("manualSelector"), true, ["nil", "false"], true);
  }
  nonNegative(spec, "successfulJobsHistoryLimit", SPEC, r);
  nonNegative(spec, "failedJobsHistoryLimit", SPEC, r);
}

function validateCronJob(cron: DeepReadonly<KubeObject>): Cause[] {
  const r = new Report();
  validateCronSpec(cron.spec ?? {}, undefined, r);
  const name = cron.metadata.name ?? "";
  if (name.length > CRON_NAME_MAX) {
    r.invalid(METADATA.child("name"), name, `must be no more than ${CRON_NAME_MAX} characters`);
  }
  return r.causes;
}

const COMPLETIONS_TRACKED = 100_000;
const PARALLELISM_TRACKED = 10_000;

/** Warnings of a Job's spec, which is at `path` and got by `specOf`. */
function jobWarnings(
  specOf: (object: Row) => Obj,
  path: Path,
): NonNullable<KindHooks["warnings"]> {
  return workloadWarnings((o) => specOf(o)?.template, path.child("template"), true, (object) => {
    const { completionMode, completions = 0, parallelism = 0 } = specOf(object) ?? {};
    const many = completions > COMPLETIONS_TRACKED && parallelism > PARALLELISM_TRACKED;
    if (completionMode !== "Indexed" || !many) return [];
    const text =
      "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism " +
      "higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number " +
      "of indexes fail";
    return [`${path}: ${text}`];
  });
}

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {
  Job: {
    defaults: defaultJob,
    prepareCreate(job, context) {
      generateSelector(job);
      labelsOfTemplate(job);
      status.prepareCreate(job, context);
    },
    prepareUpdate: status.prepareUpdate,
    validate: validateJob,
    validateUpdate: validateJobUpdate,
    warnings: jobWarnings((job) => job.spec, SPEC),
  },
  CronJob: {
    defaults: defaultCronJob,
    ...status,
    validate: validateCronJob,
    validateUpdate(cron, old, context) {
      if (context.subresource === "status") return [];
      const r = new Report();
      validateCronSpec(cron.spec ?? {}, old.spec, r);
      return r.causes;
    },
    warnings: jobWarnings(
      (cron) => cron.spec?.jobTemplate?.spec,
      SPEC.child("jobTemplate", "spec"),
    ),
  },
};

function isTrue(job: Row, type: string): boolean {
  return (job.status?.conditions ?? []).some((c: Obj) => c.type === type && c.status === "True");
}

function jobStatus(job: Row): string {
  if (isTrue(job, "Complete")) return "Complete";
  if (isTrue(job, "Failed")) return "Failed";
  if (job.metadata.deletionTimestamp) return "Terminating";
  if (isTrue(job, "Suspended")) return "Suspended";
  return isTrue(job, "FailureTarget") ? "FailureTarget" : "Running";
}

function completions(job: Row): string {
  const done = job.status?.succeeded ?? 0;
  if (isSet(job.spec?.completions)) return `${done}/${job.spec.completions}`;
  const parallelism = job.spec?.parallelism ?? 0;
  return parallelism > 1 ? `${done}/1 of ${parallelism}` : `${done}/1`;
}

function jobDuration(job: Row, now: number): string {
  const start = parseTime(job.status?.startTime ?? "");
  if (start === undefined) return "";
  return humanDuration((parseTime(job.status?.completionTime ?? "") ?? now) - start);
}

/** Columns by kind. */
export const columns: Record<string, Column[]> = {
  Job: [
    NAME_COLUMN,
    column("Status", jobStatus),
    column("Completions", completions),
    column("Duration", jobDuration),
    AGE_COLUMN,
    ...templateColumns((o) => o.spec?.template),
    column("Selector", (o) => formatLabelSelector(o.spec?.selector as Obj), { priority: 1 }),
  ],
  CronJob: [
    NAME_COLUMN,
    column("Schedule", (o) => o.spec?.schedule ?? ""),
    column("Timezone", (o) => o.spec?.timeZone ?? "<none>"),
    column(
      "Suspend",
      (o) => isSet(o.spec?.suspend) ? (o.spec.suspend ? "True" : "False") : "<unset>",
      {
        type: "boolean",
      },
    ),
    column("Active", (o) => (o.status?.active ?? []).length, { type: "integer" }),
    column("Last Schedule", (o, now) => {
      const last = o.status?.lastScheduleTime;
      return last ? age(last, now) : "<none>";
    }),
    AGE_COLUMN,
    ...templateColumns((o) => o.spec?.jobTemplate?.spec?.template),
    column("Selector", (o) => formatLabelSelector(o.spec?.jobTemplate?.spec?.selector as Obj), {
      priority: 1,
    }),
  ],
};

/** Selectable fields by kind. */
export const fields: Record<string, Kind["fields"]> = {
  Job: {
    "status.successful": (o) => String(o.status?.succeeded ?? 0),
  },
};
