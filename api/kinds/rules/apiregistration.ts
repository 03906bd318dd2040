/** Rules of APIServices (upstream's kube-aggregator `pkg/apis/apiregistration`). */

import type {
  Cause,
  Column,
  DeepReadonly,
  Kind,
  KindContext,
  KindHooks,
  KubeObject,
} from "../../machinery/types.ts";
import {
  isDns1035Label,
  isDns1123Subdomain,
  isPathSegmentName,
  isPortNumber,
} from "../../machinery/names.ts";
import { formatTime } from "../../machinery/time.ts";
import { AGE_COLUMN, column, NAME_COLUMN } from "./cells.ts";
import { keep } from "./prepare.ts";
import { METADATA, Path, Report, SPEC, STATUS } from "./report.ts";

type Stored = DeepReadonly<KubeObject>;

const GROUP_PRIORITY_MAX = 20000;
const VERSION_PRIORITY_MAX = 1000;
const CONDITION_STATUSES = ["True", "False", "Unknown"];

function prepareCreate(service: KubeObject, context: KindContext): void {
  service.status = {};
  if (service.spec?.service) return;
  // What this server serves itself is there at once.
  service.status.conditions = [{
    type: "Available",
    status: "True",
    lastTransitionTime: formatTime(context.now),
    reason: "Local",
    message: "Local APIServices are always available",
  }];
}

function prepareUpdate(service: KubeObject, old: Stored, context: KindContext): void {
  keep(service, old, context.subresource === "status" ? "spec" : "status");
}

function validate(service: Stored): Cause[] {
  const r = new Report();
  const { spec } = service;
  const wanted = `${spec.version ?? ""}.${spec.group ?? ""}`;
  for (const field of ["generateName", "name"] as const) {
    const name = service.metadata[field] ?? "";
    if (name === "" || name === wanted || isPathSegmentName(name).length > 0) continue;
    const message = `must be \`spec.version+"."+spec.group\`: ${JSON.stringify(wanted)}`;
    r.invalid(METADATA.child(field), name, message);
  }
  if (!spec.group && spec.version !== "v1") {
    r.required(SPEC.child("group"), "only v1 may have an empty group and it better be legacy kube");
  }
  if (spec.group) r.check(isDns1123Subdomain(spec.group), SPEC.child("group"), spec.group);
  r.check(isDns1035Label(spec.version ?? ""), SPEC.child("version"), spec.version ?? "");
  const priorities: [string, number][] = [
    ["groupPriorityMinimum", GROUP_PRIORITY_MAX],
    ["versionPriority", VERSION_PRIORITY_MAX],
  ];
  for (const [field, max] of priorities) {
    const value = spec[field] ?? 0;
    if (value <= 0 || value > max) {
      r.invalid(SPEC.child(field), value, `must be positive and less than ${max}`);
    }
  }
  if (spec.service) validateService(spec, r);
  else validateLocal(spec, r);
  return r.causes;
}

function validateLocal(spec: Stored["spec"], r: Report): void {
  if (spec.caBundle) {
    const size = `${Uint8Array.fromBase64(spec.caBundle).length} bytes`;
    r.invalid(SPEC.child("caBundle"), size, "local APIServices may not have a caBundle");
  }
  if (spec.insecureSkipTLSVerify) {
    r.invalid(
      SPEC.child("insecureSkipTLSVerify"),
      true,
      "local APIServices may not have insecureSkipTLSVerify",
    );
  }
}

function validateService(spec: Stored["spec"], r: Report): void {
  const path = SPEC.child("service");
  if (!spec.service.namespace) r.required(path.child("namespace"));
  if (!spec.service.name) r.required(path.child("name"));
  const problems = isPortNumber(spec.service.port);
  if (problems.length > 0) {
    r.invalid(path.child("port"), spec.service.port, `port is not valid: ${problems.join(", ")}`);
  }
  if (spec.insecureSkipTLSVerify && spec.caBundle) {
    r.invalid(SPEC.child("insecureSkipTLSVerify"), true, "may not be true if caBundle is present");
  }
}

function validateUpdate(service: Stored, _old: Stored, context: KindContext): Cause[] {
  if (context.subresource !== "status") return validate(service);
  const r = new Report();
  const path: Path = STATUS.child("conditions");
  (service.status?.conditions ?? []).forEach((condition: { status: string }, i: number) => {
    if (CONDITION_STATUSES.includes(condition.status)) return;
    r.notSupported(path.index(i).child("status"), condition.status, CONDITION_STATUSES, true);
  });
  return r.causes;
}

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {
  APIService: {
    defaults(service) {
      if (service.spec?.service) service.spec.service.port ??= 443;
    },
    prepareCreate,
    prepareUpdate,
    validate,
    validateUpdate,
    validateName: (name) => isPathSegmentName(name),
  },
};

interface Condition {
  type: string;
  status: string;
  reason?: string;
}

/** Columns by kind. */
export const columns: Record<string, Column[]> = {
  APIService: [
    NAME_COLUMN,
    column(
      "Service",
      ({ spec }) =>
        spec?.service ? `${spec.service.namespace ?? ""}/${spec.service.name ?? ""}` : "Local",
      {
        description: "The service behind this part of the API",
      },
    ),
    column("Available", ({ status }) => {
      const conditions: readonly Condition[] = status?.conditions ?? [];
      const found = conditions.find((c) => c.type === "Available");
      if (!found) return "Unknown";
      return found.status !== "True" && found.reason
        ? `${found.status} (${found.reason})`
        : found.status;
    }, { description: "Whether it answers" }),
    AGE_COLUMN,
  ],
};

/** Selectable fields by kind. */
export const fields: Record<string, Kind["fields"]> = {};
