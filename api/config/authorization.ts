/**
 * `--authorization-config`, or `--authorization-mode` and its fellows: the chain of authorizers, checked as
 * kube-apiserver checks it.
 */
import { abacPolicies } from "../auth/abac.ts";
import {
  AUTHORIZATION_MODES as MODES,
  type AuthorizerOptions,
  type PlainMode,
} from "../auth/authorizers.ts";
import { MATCH_CONDITIONS_MAX } from "../auth/limits.ts";
import { compiledExpression, loadExpressions } from "../auth/match_conditions.ts";
import {
  duplicate,
  index,
  invalid,
  notSupported,
  required,
  tooMany,
} from "../machinery/field_errors.ts";
import { isDns1123Subdomain } from "../machinery/names.ts";
import { formatDuration } from "../machinery/time.ts";
import type { Cause } from "../machinery/types.ts";
import {
  aggregate,
  causesText,
  type Document,
  type DocumentKind,
  readDocument,
} from "./document.ts";
import { type ReadFile, webhookEndpoint } from "./webhook_endpoint.ts";

const CONFIGURATION: DocumentKind = {
  kind: "AuthorizationConfiguration",
  group: "apiserver.config.k8s.io",
  versions: ["v1", "v1beta1"],
  shape: {
    authorizers: [{
      type: "string",
      name: "string",
      webhook: {
        authorizedTTL: "duration",
        cacheAuthorizedRequests: "boolean",
        unauthorizedTTL: "duration",
        cacheUnauthorizedRequests: "boolean",
        timeout: "duration",
        subjectAccessReviewVersion: "string",
        matchConditionSubjectAccessReviewVersion: "string",
        failurePolicy: "string",
        connectionInfo: { type: "string", kubeConfigFile: "string" },
        matchConditions: [{ expression: "string" }],
      },
    }],
  },
};

type Mode = (typeof MODES)[number];

/** How long answers count where nothing is said, in ms. */
export const AUTHORIZED_MS = 5 * 60_000;
export const UNAUTHORIZED_MS = 30_000;
/** Longest timeout of a webhook. */
export const TIMEOUT_MS_MAX = 30_000;

/** The chain that a file asks for. `read` reads the kubeconfigs that it names. Throws Error. */
export async function authorizationOptions(
  text: string,
  read: ReadFile,
): Promise<AuthorizerOptions[]> {
  let document: Document;
  try {
    document = readDocument(text, CONFIGURATION);
  } catch (error) {
    throw new Error(
      `failed to load AuthorizationConfiguration from file: ${(error as Error).message}`,
    );
  }
  const authorizers: Document[] = document.authorizers ?? [];
  for (const { webhook } of authorizers) if (webhook) applyDefaults(webhook);
  await loadExpressions();
  const causes = check(authorizers);
  if (causes.length) throw new Error(causesText(causes));
  checkNames(authorizers);
  return await Promise.all(authorizers.map((one) => optionsOf(one, read)));
}

function applyDefaults(webhook: Document): void {
  webhook.authorizedTTL ||= AUTHORIZED_MS;
  webhook.unauthorizedTTL ||= UNAUTHORIZED_MS;
  webhook.cacheAuthorizedRequests ??= true;
  webhook.cacheUnauthorizedRequests ??= true;
}

async function optionsOf(one: Document, read: ReadFile): Promise<AuthorizerOptions> {
  if (one.type !== "Webhook") return { type: one.type as PlainMode, name: one.name };
  const { webhook } = one;
  const path: string = webhook.connectionInfo.kubeConfigFile;
  const kubeconfig = await read(path).catch((error) => {
    throw new Error(`error loading file ${path}: ${error.message}`);
  });
  return {
    type: "Webhook",
    name: one.name,
    webhook: {
      endpoint: await webhookEndpoint(kubeconfig, (file) => read(besides(path, file))),
      version: webhook.subjectAccessReviewVersion,
      timeoutMs: webhook.timeout,
      authorizedMs: webhook.cacheAuthorizedRequests ? webhook.authorizedTTL : 0,
      unauthorizedMs: webhook.cacheUnauthorizedRequests ? webhook.unauthorizedTTL : 0,
      failurePolicy: webhook.failurePolicy,
      matchConditions: webhook.matchConditions ?? [],
    },
  };
}

/** A path in a kubeconfig is meant from where that lies. */
export function besides(kubeconfig: string, path: string): string {
  if (isAbsolute(path)) return path;
  return kubeconfig.slice(0, kubeconfig.lastIndexOf("/") + 1) + path;
}

function isAbsolute(path: string): boolean {
  return path.startsWith("/") || /^[A-Za-z]:[\\/]/.test(path);
}

function check(authorizers: readonly Document[]): Cause[] {
  if (authorizers.length === 0) {
    return [required("authorizers", "at least one authorization mode must be defined")];
  }
  const causes: Cause[] = [];
  const types = new Set<string>();
  const names = new Set<string>();
  for (const [i, { type = "", name = "", webhook }] of authorizers.entries()) {
    const path = index("authorizers", i);
    const unusable = typeCause(`${path}.type`, type, types);
    if (unusable) {
      causes.push(unusable);
      continue;
    }
    types.add(type);
    causes.push(...nameCauses(`${path}.name`, name, names));
    names.add(name);
    if (type !== "Webhook") {
      if (webhook) {
        const text = "may only be specified when type=Webhook";
        causes.push(invalid(`${path}.webhook`, "non-null", text));
      }
    } else if (!webhook) causes.push(required(`${path}.webhook`, "required when type=Webhook"));
    else causes.push(...webhookCauses(path, webhook));
  }
  return causes;
}

function typeCause(path: string, type: string, seen: ReadonlySet<string>): Cause | undefined {
  if (!type) return required(path);
  if (!MODES.includes(type as Mode)) return notSupported(path, type, [...MODES].sort());
  if (seen.has(type) && type !== "Webhook") return duplicate(path, type);
  return undefined;
}

function nameCauses(path: string, name: string, seen: ReadonlySet<string>): Cause[] {
  if (!name) return [required(path)];
  if (seen.has(name)) return [duplicate(path, name)];
  const problems = isDns1123Subdomain(name);
  if (problems.length === 0) return [];
  return [invalid(path, name, `authorizer name is invalid: ${problems.join(", ")}`)];
}

function webhookCauses(path: string, webhook: Document): Cause[] {
  const causes: Cause[] = [];
  const { timeout, subjectAccessReviewVersion: version, failurePolicy } = webhook;
  if (!timeout) causes.push(required(`${path}.timeout`));
  else if (timeout > TIMEOUT_MS_MAX || timeout < 0) {
    causes.push(invalid(`${path}.timeout`, formatDuration(timeout), "must be > 0s and <= 30s"));
  }
  for (const field of ["authorizedTTL", "unauthorizedTTL"]) {
    if (webhook[field] < 0) {
      causes.push(invalid(`${path}.${field}`, formatDuration(webhook[field]), "must be > 0s"));
    }
  }
  causes.push(...oneOf(`${path}.subjectAccessReviewVersion`, version, ["v1", "v1beta1"]));
  const matching = webhook.matchConditionSubjectAccessReviewVersion;
  const at = `${path}.matchConditionSubjectAccessReviewVersion`;
  if (matching) causes.push(...oneOf(at, matching, ["v1"]));
  else if (webhook.matchConditions?.length) {
    causes.push(required(at, "required if match conditions are specified"));
  }
  causes.push(...oneOf(`${path}.failurePolicy`, failurePolicy, ["NoOpinion", "Deny"]));
  causes.push(...connectionCauses(`${path}.connectionInfo`, webhook.connectionInfo ?? {}));
  causes.push(...conditionCauses(`${path}.matchConditions`, webhook.matchConditions ?? []));
  return causes;
}

function oneOf(path: string, value: string | undefined, known: readonly string[]): Cause[] {
  if (!value) return [required(path)];
  return known.includes(value) ? [] : [notSupported(path, value, known)];
}

function connectionCauses(path: string, { type, kubeConfigFile: file }: Document): Cause[] {
  const known = ["InClusterConfig", "KubeConfigFile"];
  const causes = oneOf(`${path}.type`, type, known);
  if (causes.length) return causes;
  const at = `${path}.kubeConfigFile`;
  if (type === "InClusterConfig") {
    if (file) return [invalid(at, file, "can only be set when type=KubeConfigFile")];
    return [invalid(`${path}.type`, type, "the API server is not a pod of its own cluster")];
  }
  if (!file) return [required(at)];
  return isAbsolute(file) ? [] : [invalid(at, file, "must be an absolute path")];
}

function conditionCauses(path: string, conditions: readonly Document[]): Cause[] {
  if (conditions.length > MATCH_CONDITIONS_MAX) {
    return [tooMany(path, conditions.length, MATCH_CONDITIONS_MAX)];
  }
  const seen = new Set<string>();
  return conditions.flatMap(({ expression = "" }, i) => {
    const at = `${index(path, i)}.expression`;
    if (!expression.trim()) return [required(at)];
    if (seen.has(expression)) return [duplicate(at, expression)];
    seen.add(expression);
    const { problem } = compiledExpression(expression, "authorization", ["bool"]);
    return problem === undefined ? [] : [invalid(at, expression, problem)];
  });
}

/** kube-apiserver knows one name only for what is not a webhook. */
function checkNames(authorizers: readonly Document[]): void {
  const problems = authorizers
    .filter(({ type, name }) => type !== "Webhook" && name !== type.toLowerCase())
    .map(({ type, name }) =>
      `expected name ${type.toLowerCase()} for authorizer ${type} instead of ${name}`
    );
  if (problems.length) throw new Error(aggregate(problems));
}

/** What the flags beside `--authorization-config` say. */
export interface ModeFlags {
  modes: readonly string[];
  /** Text and path of `--authorization-webhook-config-file`. */
  webhook?: { path: string; text: string };
  /** Those of `--authorization-policy-file`. */
  policies?: { path: string; text: string };
  version: string;
  authorizedMs: number;
  unauthorizedMs: number;
}

/** The chain that flags ask for. Throws Error. */
export async function authorizationOfModes(
  flags: ModeFlags,
  read: ReadFile,
): Promise<AuthorizerOptions[]> {
  const problems: string[] = [];
  for (const mode of flags.modes) {
    if (mode === "ABAC") {
      if (!flags.policies) {
        problems.push("authorization-mode ABAC's authorization policy file not passed");
      }
    } else if (!MODES.includes(mode as Mode)) {
      problems.push(`authorization-mode "${mode}" is not a valid mode`);
    }
    if (mode === "Webhook" && !flags.webhook) {
      problems.push("authorization-mode Webhook's authorization config file not passed");
    }
  }
  if (flags.policies && !flags.modes.includes("ABAC")) {
    problems.push("cannot specify --authorization-policy-file without mode ABAC");
  }
  if (flags.webhook && !flags.modes.includes("Webhook")) {
    problems.push("cannot specify --authorization-webhook-config-file without mode Webhook");
  }
  if (new Set(flags.modes).size !== flags.modes.length) {
    const shown = flags.modes.map((mode) => JSON.stringify(mode)).join(" ");
    problems.push(`authorization-mode [${shown}] has mode specified more than once`);
  }
  if (flags.version !== "v1" && flags.version !== "v1beta1") {
    problems.push(
      `unsupported webhook authorizer version "${flags.version}", supported versions are "v1", "v1beta1"`,
    );
  }
  if (problems.length) throw new Error(aggregate(problems));
  return await Promise.all(flags.modes.map(async (type): Promise<AuthorizerOptions> => {
    const name = type.toLowerCase();
    if (type === "ABAC") {
      const { path, text } = flags.policies!;
      return { type, name, policies: abacPolicies(text, path) };
    }
    if (type !== "Webhook") return { type: type as PlainMode, name };
    const { path, text } = flags.webhook!;
    return {
      type,
      name: "default",
      webhook: {
        endpoint: await webhookEndpoint(text, (file) => read(besides(path, file))),
        version: flags.version as "v1" | "v1beta1",
        timeoutMs: TIMEOUT_MS_MAX,
        authorizedMs: flags.authorizedMs,
        unauthorizedMs: flags.unauthorizedMs,
        failurePolicy: "NoOpinion",
      },
    };
  }));
}
