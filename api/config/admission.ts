/**
 * `--admission-control-config-file`: an AdmissionConfiguration says what each admission plugin is told, in place or by the
 * path of another file. Checked as kube-apiserver checks it; plugins that take no configuration are passed over.
 */
import type { PluginOptions } from "../auth/mod.ts";
import { validateTolerations } from "../kinds/rules/pod_affinity.ts";
import { Path, Report } from "../kinds/rules/report.ts";
import { duplicate, index, invalid, notSupported } from "../machinery/field_errors.ts";
import { isDns1123Label, isDns1123Subdomain } from "../machinery/names.ts";
import { formatDuration } from "../machinery/time.ts";
import type { Cause } from "../machinery/types.ts";
import { parseYaml } from "../machinery/yaml.ts";
import { besides } from "./authorization.ts";
import { causesText, type Document, type DocumentKind, readDocument } from "./document.ts";
import { type Flags, UsageError } from "./flags.ts";
import type { ReadConfig } from "./server.ts";
import { type ReadFile, webhookEndpoint, webhookUsers } from "./webhook_endpoint.ts";

const FLAG = "admission-control-config-file";

const CONFIGURATION: DocumentKind = {
  kind: "AdmissionConfiguration",
  group: "apiserver.config.k8s.io",
  versions: ["v1"],
  shape: { plugins: [{ name: "string", path: "string", configuration: "any" }] },
};

/** What a plugin's own configuration is read with. */
interface Reading {
  /** Reads a file by its whole path. */
  read: ReadFile;
  /** Where the configuration lies: paths in it are meant from there. */
  path: string;
}

type Reader = (text: string, reading: Reading) => PluginOptions | Promise<PluginOptions>;

/** How the configuration of each plugin that has one is read. */
const READERS: Readonly<Record<string, Reader>> = {
  EventRateLimit: eventLimits,
  ImagePolicyWebhook: imagePolicy,
  MutatingAdmissionWebhook: async (text, reading) => {
    const users = await usersIn(text, reading);
    return users ? { mutatingUsers: users } : {};
  },
  PodNodeSelector: nodeSelectors,
  PodSecurity: podSecurity,
  PodTolerationRestriction: tolerations,
  ResourceQuota: limitedResources,
  ValidatingAdmissionWebhook: async (text, reading) => {
    const users = await usersIn(text, reading);
    return users ? { validatingUsers: users } : {};
  },
};

/** What the flag's file asks for. Throws UsageError. */
export async function admissionOfFlags(flags: Flags, read: ReadConfig): Promise<PluginOptions> {
  const path = flags[FLAG];
  const text = await read(FLAG, path);
  let options: PluginOptions = {};
  try {
    if (path !== undefined && text !== undefined) {
      options = await admissionOptions(text, path, async (file) => await read(FLAG, file) ?? "");
    }
  } catch (error) {
    if (error instanceof UsageError || !(error instanceof Error)) throw error;
    throw new UsageError(`--${FLAG}: ${error.message}`);
  }
  const name = "ImagePolicyWebhook";
  if (flags["enable-admission-plugins"].includes(name) && !options.imagePolicy) {
    throw new UsageError(
      `couldn't init admission plugin ${JSON.stringify(name)}: no config specified; ` +
        `--${FLAG} says what it asks`,
    );
  }
  return options;
}

/** What an AdmissionConfiguration asks for. `path` is where it lies. Throws Error. */
export async function admissionOptions(
  text: string,
  path: string,
  read: ReadFile,
): Promise<PluginOptions> {
  const options: PluginOptions[] = [];
  const seen = new Set<string>();
  for (const plugin of pluginsOf(text, path)) {
    const { name = "" } = plugin;
    // Of several the first counts, as upstream
    if (seen.has(name) || !READERS[name]) continue;
    seen.add(name);
    const inline = plugin.configuration !== undefined;
    if (!inline && !plugin.path) continue;
    const where = inline ? path : besides(path, plugin.path);
    const own = inline ? JSON.stringify(plugin.configuration) : await read(where);
    try {
      options.push(await READERS[name](own, { read, path: where }));
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      throw new Error(`couldn't init admission plugin ${JSON.stringify(name)}: ${error.message}`);
    }
  }
  return Object.assign({}, ...options);
}

/** The list of plugins; the file may be ImagePolicyWebhook's own, as it once was. */
function pluginsOf(text: string, path: string): Document[] {
  try {
    return readDocument(text, CONFIGURATION).plugins ?? [];
  } catch (error) {
    const { value } = parseYaml(text);
    const old = typeof value === "object" && value !== null && !("kind" in value) &&
      "imagePolicy" in value;
    if (!old) throw error;
    return [{ name: "ImagePolicyWebhook", path }];
  }
}

// --- webhooks -------------------------------------------------------------------------------------------

const WEBHOOKS: DocumentKind = {
  kind: "WebhookAdmissionConfiguration",
  group: "apiserver.config.k8s.io",
  versions: ["v1"],
  shape: { kubeConfigFile: "string" },
};

async function usersIn(text: string, { read }: Reading) {
  const { kubeConfigFile: path = "" } = readDocument(text, WEBHOOKS);
  if (path === "") return undefined;
  if (!/^(\/|[A-Za-z]:[\\/])/.test(path)) {
    throw new Error(
      causesText([invalid("kubeConfigFile", path, "must be an absolute file path")]),
    );
  }
  return await webhookUsers(await read(path), (file) => read(besides(path, file)));
}

/** A time as ImagePolicyWebhook writes it: a number, 0 for the default, -1 for none at all. */
function bounded(
  value: unknown,
  { unitMs, min, max, least }: { unitMs: number; min: number; max: number; least: string },
): number | undefined {
  if (value === undefined || value === null || value === 0) return undefined;
  if (typeof value !== "number") {
    throw new Error(
      `json: cannot unmarshal ${typeof value} into Go struct field of type time.Duration`,
    );
  }
  if (value === -1) return 0;
  const ms = value * unitMs;
  if (ms >= min && ms <= max) return ms;
  throw new Error(
    `valid value is between ${least} and ${formatDuration(max)}, got ${formatDuration(ms)}`,
  );
}

const TTL = { unitMs: 1000, min: 1000, max: 30 * 60_000, least: "1s" };
const BACKOFF = { unitMs: 1, min: Number.MIN_VALUE, max: 5 * 60_000, least: "1ns" };

async function imagePolicy(text: string, { read, path }: Reading): Promise<PluginOptions> {
  const value = parseYaml(text).value as { imagePolicy?: Document } | null;
  const config = value?.imagePolicy ?? {};
  const retryMs = bounded(config.retryBackoff, BACKOFF);
  const allowMs = bounded(config.allowTTL, TTL);
  const denyMs = bounded(config.denyTTL, TTL);
  const file = besides(path, String(config.kubeConfigFile ?? ""));
  const endpoint = await webhookEndpoint(await read(file), (one) => read(besides(file, one)));
  return {
    imagePolicy: { endpoint, allowMs, denyMs, retryMs, defaultAllow: config.defaultAllow === true },
  };
}

// --- the others -----------------------------------------------------------------------------------------

function refuse(causes: readonly Cause[]): void {
  if (causes.length) throw new Error(causesText(causes));
}

const EVENT_LIMITS: DocumentKind = {
  kind: "Configuration",
  group: "eventratelimit.admission.k8s.io",
  versions: ["v1alpha1"],
  shape: { limits: [{ type: "string", qps: "number", burst: "number", cacheSize: "number" }] },
};
const EVENT_TYPES = ["Namespace", "Server", "SourceAndObject", "User"];
/** Keys remembered by a limit that does not say (upstream's default). */
const EVENT_KEYS = 4096;

function eventLimits(text: string): PluginOptions {
  const { limits = [] } = readDocument(text, EVENT_LIMITS);
  const causes: Cause[] = [];
  if (limits.length === 0) causes.push(invalid("limits", limits, "must not be empty"));
  limits.forEach((limit: Document, i: number) => {
    const at = index("limits", i);
    if (!EVENT_TYPES.includes(limit.type)) {
      causes.push(notSupported(`${at}.type`, limit.type ?? "", EVENT_TYPES));
    }
    for (const field of ["burst", "qps"]) {
      const value = limit[field] ?? 0;
      if (value <= 0) causes.push(invalid(`${at}.${field}`, value, "must be positive"));
    }
    if (limit.type !== "Server" && (limit.cacheSize ?? 0) < 0) {
      causes.push(invalid(`${at}.cacheSize`, limit.cacheSize, "must not be negative"));
    }
  });
  refuse(causes);
  return {
    eventLimits: limits.map((limit: Document) => ({
      ...limit,
      cacheSize: limit.cacheSize || EVENT_KEYS,
    })),
  };
}

const POD_SECURITY: DocumentKind = {
  kind: "PodSecurityConfiguration",
  group: "pod-security.admission.config.k8s.io",
  versions: ["v1", "v1beta1", "v1alpha1"],
  shape: {
    defaults: {
      "enforce": "string",
      "enforce-version": "string",
      "audit": "string",
      "audit-version": "string",
      "warn": "string",
      "warn-version": "string",
    },
    exemptions: { usernames: "strings", namespaces: "strings", runtimeClasses: "strings" },
  },
};
const LEVELS = ["privileged", "baseline", "restricted"];

function podSecurity(text: string): PluginOptions {
  const { defaults = {}, exemptions = {} } = readDocument(text, POD_SECURITY);
  const causes: Cause[] = [];
  const found: NonNullable<NonNullable<PluginOptions["podSecurity"]>["defaults"]> = {};
  for (const mode of ["enforce", "warn", "audit"] as const) {
    const level = defaults[mode] || "privileged";
    const version = defaults[`${mode}-version`] || "latest";
    if (!LEVELS.includes(level)) {
      causes.push(invalid(`defaults.${mode}`, level, `must be one of ${LEVELS.join(", ")}`));
    }
    if (version !== "latest" && !/^v1\.([0-9]|[1-9][0-9]*)$/.test(version)) {
      causes.push(invalid(`defaults.${mode}-version`, version, 'must be "latest" or "v1.x"'));
    }
    found[mode] = { level, version };
  }
  const lists: [string, (name: string) => readonly string[]][] = [
    ["namespaces", isDns1123Label],
    ["runtimeClasses", isDns1123Subdomain],
    ["usernames", (name) => name === "" ? ["username must not be empty"] : []],
  ];
  for (const [list, check] of lists) {
    const names: string[] = exemptions[list] ?? [];
    names.forEach((name, i) => {
      const at = index(`exemptions.${list}`, i);
      const problems = check(name);
      if (problems.length) causes.push(invalid(at, name, problems.join(", ")));
      else if (names.indexOf(name) < i) causes.push(duplicate(at, name));
    });
  }
  refuse(causes);
  return { podSecurity: { defaults: found, exemptions } };
}

/** PodNodeSelector's file is of no kind: a map of selectors by namespace. */
function nodeSelectors(text: string): PluginOptions {
  const value = parseYaml(text).value as Document;
  const selectors = value?.podNodeSelectorPluginConfig ?? {};
  const wrong = typeof selectors !== "object" || Array.isArray(selectors) ||
    Object.values(selectors).some((selector) => typeof selector !== "string");
  if (wrong) {
    throw new Error("podNodeSelectorPluginConfig: Invalid value: must be a map of node selectors");
  }
  return { nodeSelectors: selectors };
}

const TOLERATION = {
  key: "string",
  operator: "string",
  value: "string",
  effect: "string",
  tolerationSeconds: "number",
} as const;
const TOLERATIONS: DocumentKind = {
  kind: "Configuration",
  group: "podtolerationrestriction.admission.k8s.io",
  versions: ["v1alpha1"],
  shape: { default: [TOLERATION], whitelist: [TOLERATION] },
};

function tolerations(text: string): PluginOptions {
  const found = readDocument(text, TOLERATIONS);
  const report = new Report();
  const path = new Path("podtolerationrestriction");
  for (const list of ["default", "whitelist"]) {
    validateTolerations(found[list] ?? [], path.child(list), report);
  }
  const problems = report.causes.map(({ field, message }) => `${field}: ${message}`);
  if (problems.length) throw new Error(`invalid config: [${problems.join(" ")}]`);
  return { tolerations: { default: found.default, whitelist: found.whitelist } };
}

const RESOURCE_QUOTA: DocumentKind = {
  kind: "ResourceQuotaConfiguration",
  group: "apiserver.config.k8s.io",
  versions: ["v1"],
  shape: {
    limitedResources: [{
      apiGroup: "string",
      resource: "string",
      matchContains: "strings",
      matchScopes: [{ scopeName: "string", operator: "string", values: "strings" }],
    }],
  },
};

function limitedResources(text: string): PluginOptions {
  const { limitedResources: limited = [] } = readDocument(text, RESOURCE_QUOTA);
  const causes: Cause[] = [];
  limited.forEach((one: Document, i: number) => {
    if (!one.resource) {
      const at = `${index("limitedResources", i)}.resource`;
      causes.push({ reason: "FieldValueRequired", message: "Required value", field: at });
    }
  });
  refuse(causes);
  return { limitedResources: limited };
}
