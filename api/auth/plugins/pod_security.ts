/**
 * PodSecurity: a namespace's labels say how much its pods may do (enforce), and what is only reported to the
 * writer (warn) or the audit log (audit). Controllers' templates are never refused, only reported on.
 */
import { invalid as invalidObject } from "../../machinery/errors.ts";
import { invalid } from "../../machinery/field_errors.ts";
import type { Cause, DeepReadonly, KubeObject } from "../../machinery/types.ts";
import { refusal } from "../admission.ts";
import type { AdmissionMetrics } from "../admission_metrics.ts";
import type { Admission, AdmissionPlugin } from "../contract.ts";
import { type Level, type Violation, violations } from "./pod_security_checks.ts";

type Labels = DeepReadonly<Record<string, string>> | undefined;

interface LevelVersion {
  level: Level;
  /** A minor version, or Infinity for `latest`. */
  minor: number;
}

interface Policy {
  enforce: LevelVersion;
  audit: LevelVersion;
  warn: LevelVersion;
}

type Mode = keyof Policy;

const MODES: readonly Mode[] = ["enforce", "audit", "warn"];
const PREFIX = "pod-security.kubernetes.io/";
const LEVELS: readonly Level[] = ["privileged", "baseline", "restricted"];
/** Pods looked at when a namespace's level is raised. */
const PODS_CHECKED_MAX = 3000;
const NO_POD = new Set([
  "exec",
  "attach",
  "binding",
  "eviction",
  "log",
  "portforward",
  "proxy",
  "status",
  "token",
]);
/** Where the pod template is. */
const TEMPLATES: Readonly<Record<string, (object: KubeObject) => KubeObject | undefined>> = {
  "replicationcontrollers": (o) => o.spec?.template,
  "podtemplates": (o) => o.template,
  "apps/replicasets": (o) => o.spec?.template,
  "apps/deployments": (o) => o.spec?.template,
  "apps/statefulsets": (o) => o.spec?.template,
  "apps/daemonsets": (o) => o.spec?.template,
  "batch/jobs": (o) => o.spec?.template,
  "batch/cronjobs": (o) => o.spec?.jobTemplate?.spec?.template,
};

function resourceOf(a: Admission): string {
  return a.kind.group ? `${a.kind.group}/${a.kind.plural}` : a.kind.plural;
}

/** How pods are judged where a namespace says nothing, and whose are not judged at all. */
export interface PodSecurityOptions {
  /** Levels and versions by mode (default: privileged, latest). */
  defaults?: Partial<Record<Mode, { level?: Level; /** `latest` or `v1.30`. */ version?: string }>>;
  exemptions?: {
    usernames?: readonly string[];
    runtimeClasses?: readonly string[];
    namespaces?: readonly string[];
  };
}

interface Settings {
  defaults: Policy;
  exempt: Record<"usernames" | "runtimeClasses" | "namespaces", ReadonlySet<string>>;
}

function settingsOf({ defaults = {}, exemptions = {} }: PodSecurityOptions): Settings {
  const of = (mode: Mode): LevelVersion => {
    const { level = "privileged", version = "latest" } = defaults[mode] ?? {};
    return { level, minor: minorOf(version) ?? Infinity };
  };
  const { usernames, runtimeClasses, namespaces } = exemptions;
  return {
    defaults: { enforce: of("enforce"), audit: of("audit"), warn: of("warn") },
    exempt: {
      usernames: new Set(usernames),
      runtimeClasses: new Set(runtimeClasses),
      namespaces: new Set(namespaces),
    },
  };
}

/** A minor version; undefined when the text is none. */
function minorOf(version: string): number | undefined {
  if (version === "latest") return Infinity;
  const match = /^v1\.([0-9]|[1-9][0-9]*)$/.exec(version);
  return match ? Number(match[1]) : undefined;
}

/** Why a pod is not judged; undefined when it is. */
function exemption({ exempt }: Settings, a: Admission): string | undefined {
  if (exempt.namespaces.has(a.namespace)) return "namespace";
  return exempt.usernames.has(a.user.name) ? "user" : undefined;
}

/** Upstream's PodSecurity. */
export function podSecurity(
  options: PodSecurityOptions = {},
  metrics?: AdmissionMetrics,
): AdmissionPlugin {
  const settings = settingsOf(options);
  const { defaults } = settings;
  /** By the labels of stored namespaces. */
  const policies = new WeakMap<object, ReturnType<typeof policyOf>>();
  const policyFor = (labels: Labels) => {
    if (!labels) return policyOf(labels, defaults);
    let known = policies.get(labels);
    if (!known) policies.set(labels, known = policyOf(labels, defaults));
    return known;
  };
  // Where nothing is asked by default, what no namespace asks for need not be looked at
  const idle = MODES.every((mode) => defaults[mode].level === "privileged");
  return {
    name: "PodSecurity",
    handles(a) {
      if (a.operation !== "CREATE" && a.operation !== "UPDATE") return false;
      const resource = resourceOf(a);
      if (resource === "pods") return !NO_POD.has(a.subresource);
      return !a.subresource && (resource === "namespaces" || resource in TEMPLATES);
    },
    validate(a) {
      const resource = resourceOf(a);
      if (resource === "namespaces") return checkNamespace(a, settings);
      const why = exemption(settings, a);
      const exempted = (why: string) => {
        metrics?.exempted(a);
        a.annotate(`${PREFIX}exempt`, why);
      };
      if (why) return exempted(why);
      const enforce = resource === "pods";
      const note = (decision: "allow" | "deny", mode: Mode, { level, minor }: LevelVersion) =>
        metrics?.judged({ decision, mode, level, version: versionShown(level, minor) }, a);
      const labels = a.view.get(`/registry/namespaces/${a.namespace}`)?.value.metadata.labels;
      // Most namespaces say nothing about pods: nothing to do.
      if (!labels && idle) return void (enforce && note("allow", "enforce", defaults.enforce));
      const { policy, errors } = policyFor(labels);
      const silent = policy.audit.level === "privileged" && policy.warn.level === "privileged" &&
        (!enforce || policy.enforce.level === "privileged");
      if (silent && errors.length === 0) {
        return void (enforce && note("allow", "enforce", policy.enforce));
      }
      const pod = enforce ? a.object! : TEMPLATES[resource](a.object!);
      if (!pod) return;
      if (enforce && a.old && !significant(pod, a.old)) return;
      if (settings.exempt.runtimeClasses.has(pod.spec?.runtimeClassName)) {
        return exempted("runtimeClass");
      }
      evaluate(a, pod, policy, { errors, enforce, note });
    },
  };
}

function evaluate(
  a: Admission,
  pod: KubeObject,
  policy: Policy,
  { errors, enforce, note }: {
    errors: Cause[];
    enforce: boolean;
    note: (decision: "allow" | "deny", mode: Mode, wanted: LevelVersion) => void;
  },
): void {
  if (errors.length) {
    const texts = errors.map((c) => `${c.field}: ${c.message}`);
    const text = texts.length === 1 ? texts[0] : `[${texts.join(", ")}]`;
    a.annotate(`${PREFIX}error`, `Failed to parse policy: ${text}`);
  }
  const results = new Map<string, Violation[]>();
  const judge = (wanted: LevelVersion) => {
    const name = describe(wanted);
    let found = results.get(name);
    if (!found) results.set(name, found = violations(wanted, pod.spec, pod.metadata));
    return found;
  };
  const text = (mode: string, wanted: LevelVersion, found: Violation[]) =>
    `${mode} PodSecurity ${JSON.stringify(describe(wanted))}: ${
      found.map(({ reason, detail }) => detail ? `${reason} (${detail})` : reason).join(", ")
    }`;
  const enforced = enforce ? judge(policy.enforce) : [];
  if (enforce) {
    a.annotate(`${PREFIX}enforce-policy`, describe(policy.enforce));
    note(enforced.length ? "deny" : "allow", "enforce", policy.enforce);
  }
  const audited = judge(policy.audit);
  if (audited.length) {
    a.annotate(`${PREFIX}audit-violations`, text("would violate", policy.audit, audited));
    note("deny", "audit", policy.audit);
  }
  if (enforced.length) throw refusal(a, text("violates", policy.enforce, enforced));
  const warned = judge(policy.warn);
  if (!warned.length) return;
  a.warn(text("would violate", policy.warn, warned));
  note("deny", "warn", policy.warn);
}

/** A version in metrics: privileged is always the latest, and what is to come is one. */
function versionShown(level: Level, minor: number): string {
  if (minor === Infinity || level === "privileged") return "latest";
  return minor > MINOR ? "future" : `v1.${minor}`;
}

function describe({ level, minor }: LevelVersion): string {
  return `${level}:${minor === Infinity ? "latest" : `v1.${minor}`}`;
}

/** The minor version that this server is of. */
const MINOR = 36;

/** Labels as a policy: what cannot be read is enforced strictly, and neither audited nor warned of. */
function policyOf(labels: Labels, defaults: Policy): { policy: Policy; errors: Cause[] } {
  const errors: Cause[] = [];
  const { enforce, audit, warn } = defaults;
  const policy: Policy = { enforce: { ...enforce }, audit: { ...audit }, warn: { ...warn } };
  if (!labels) return { policy, errors };
  let enforceRead = false;
  for (const mode of MODES) {
    const level = labels[PREFIX + mode];
    if (level !== undefined) {
      if (LEVELS.includes(level as Level)) {
        policy[mode].level = level as Level;
        if (mode === "enforce") enforceRead = true;
      } else {
        policy[mode].level = mode === "enforce" ? "restricted" : "privileged";
        const text = `must be one of ${LEVELS.join(", ")}`;
        errors.push(invalid(`metadata.labels[${PREFIX}${mode}]`, level, text));
      }
    }
    const version = labels[`${PREFIX}${mode}-version`];
    if (version === undefined) continue;
    const minor = minorOf(version);
    if (minor !== undefined) policy[mode].minor = minor;
    else {
      const field = `metadata.labels[${PREFIX}${mode}-version]`;
      errors.push(invalid(field, version, 'must be "latest" or "v1.x"'));
    }
  }
  if (
    labels[`${PREFIX}warn`] === undefined && enforceRead && stricter(policy.enforce, policy.warn)
  ) {
    policy.warn.level = policy.enforce.level;
    if (labels[`${PREFIX}warn-version`] === undefined) policy.warn.minor = policy.enforce.minor;
  }
  return { policy, errors };
}

function stricter(a: LevelVersion, b: LevelVersion): boolean {
  return LEVELS.indexOf(a.level) > LEVELS.indexOf(b.level);
}

function checkNamespace(a: Admission, settings: Settings): void {
  const { defaults, exempt } = settings;
  const { labels } = a.object!.metadata;
  const { policy, errors } = policyOf(labels, defaults);
  const before = a.operation === "UPDATE" ? policyOf(a.old?.metadata.labels, defaults) : undefined;
  if (errors.length && JSON.stringify(errors) !== JSON.stringify(before?.errors ?? [])) {
    throw invalidObject("", "Namespace", a.object!.metadata.name, errors);
  }
  const { name } = a.object!.metadata;
  const exempted = () => {
    const text = exempt.namespaces.has(name) && ignoredText(name, policy, labels, defaults);
    if (text) a.warn(text);
    return exempt.namespaces.has(name);
  };
  if (!before) return void exempted();
  const { enforce } = policy;
  const old = before.policy.enforce;
  if (enforce.level === "privileged") return;
  if (enforce.minor === old.minor && !stricter(enforce, old)) return;
  if (exempted()) return;
  for (const line of existingViolations(a, enforce, settings)) a.warn(line);
}

/** What to say of a policy that an exempt namespace asks for in vain. */
function ignoredText(
  name: string,
  policy: Policy,
  labels: Labels,
  defaults: Policy,
): string | undefined {
  const same = MODES.every((mode) => describe(policy[mode]) === describe(defaults[mode]));
  if (same || MODES.every((mode) => policy[mode].level === "privileged")) return undefined;
  const asked = MODES.filter((mode) => {
    const said = labels?.[PREFIX + mode] ?? labels?.[`${PREFIX}${mode}-version`];
    return said !== undefined && policy[mode].level !== "privileged";
  }).map((mode) => `${mode}=${describe(policy[mode])}`);
  return `namespace ${JSON.stringify(name)} is exempt from Pod Security, and the policy ` +
    `(${asked.join(", ")}) will be ignored`;
}

/** What a raised level would have refused among the pods that run already. */
function existingViolations(
  a: Admission,
  enforce: LevelVersion,
  { exempt }: Settings,
): string[] {
  const namespace = a.object!.metadata.name;
  const total = a.view.count(`/registry/pods/${namespace}/`);
  const byReason = new Map<string, string[]>();
  let checked = 0;
  for (const { value } of a.view.scan(`/registry/pods/${namespace}/`)) {
    if (checked++ >= PODS_CHECKED_MAX) break;
    if (exempt.runtimeClasses.has(value.spec?.runtimeClassName)) continue;
    const reason = violations(enforce, value.spec, value.metadata).map((v) => v.reason).join(", ");
    if (!reason) continue;
    const names = byReason.get(reason);
    if (names) names.push(value.metadata.name);
    else byReason.set(reason, [value.metadata.name]);
  }
  const lines: string[] = [];
  if (total > PODS_CHECKED_MAX) {
    lines.push(
      `new PodSecurity enforce level only checked against the first ${PODS_CHECKED_MAX} of ` +
        `${total} existing pods`,
    );
  }
  if (byReason.size) {
    lines.push(
      `existing pods in namespace ${JSON.stringify(namespace)} violate the new PodSecurity ` +
        `enforce level ${JSON.stringify(describe(enforce))}`,
    );
  }
  const details = [...byReason].map(([reason, names]) => {
    const others = names.length - 1;
    const more = others === 0 ? "" : ` (and ${others} other ${others === 1 ? "pod" : "pods"})`;
    return `${names[0]}${more}: ${reason}`;
  });
  return [...lines, ...details.sort()];
}

/** Of what a pod's update may change only images and ephemeral containers matter. */
function significant(pod: KubeObject, old: DeepReadonly<KubeObject>): boolean {
  for (const part of ["containers", "initContainers"]) {
    const now = pod.spec?.[part] ?? [];
    const before = old.spec?.[part] ?? [];
    if (now.length !== before.length) return true;
    for (let i = 0; i < now.length; i++) if (now[i].image !== before[i].image) return true;
  }
  for (const container of pod.spec?.ephemeralContainers ?? []) {
    const before = (old.spec?.ephemeralContainers ?? [])
      .find((c: { name: string }) => c.name === container.name);
    if (!before || before.image !== container.image) return true;
  }
  return false;
}
