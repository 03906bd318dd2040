/**
 * An audit Policy's text (`audit.k8s.io/v1`, YAML or JSON) as rules, with upstream's texts for bad ones. Fields that
 * nobody knows are no error, as upstream falls back to reading leniently; `warn` hears of them.
 */
import { child, index, invalid, notSupported, required } from "../machinery/field_errors.ts";
import { isDns1123Subdomain } from "../machinery/names.ts";
import type { Cause } from "../machinery/types.ts";
import { parseYaml } from "../machinery/yaml.ts";
import {
  AUDIT_LEVELS,
  AUDIT_STAGES,
  type AuditPolicy,
  type AuditRule,
} from "../auth/audit_policy.ts";

const RULE_FIELDS: Readonly<Record<keyof AuditRule, Shape>> = {
  level: "string",
  users: "strings",
  userGroups: "strings",
  verbs: "strings",
  resources: "objects",
  namespaces: "strings",
  nonResourceURLs: "strings",
  omitStages: "strings",
  omitManagedFields: "boolean",
};
const POLICY_FIELDS: Readonly<Record<string, Shape>> = {
  apiVersion: "string",
  kind: "string",
  metadata: "object",
  rules: "objects",
  omitStages: "strings",
  omitManagedFields: "boolean",
};
const RESOURCE_FIELDS: Readonly<Record<string, Shape>> = {
  group: "string",
  resources: "strings",
  resourceNames: "strings",
};

type Shape = "string" | "boolean" | "strings" | "object" | "objects";
type Raw = Record<string, unknown>;

/** Reads a policy. Throws Error in upstream's words. */
export function parseAuditPolicy(
  text: string,
  warn: (text: string) => void = () => undefined,
): AuditPolicy {
  let value: unknown;
  try {
    value = parseYaml(text).value;
  } catch (error) {
    throw new Error(`failed decoding: ${(error as Error).message}`);
  }
  const raw = isMap(value) ? value : {};
  const { apiVersion = "", kind = "" } = raw as { apiVersion?: string; kind?: string };
  if (apiVersion !== "audit.k8s.io/v1" || kind !== "Policy") {
    const version = String(apiVersion || "");
    const known = version === "audit.k8s.io/v1" || version === "";
    throw new Error(
      known && kind !== "" && version !== ""
        ? `failed decoding: no kind "${kind}" is registered for version "${version}"`
        : `unknown group version field ${version || "/"}, Kind=${kind} in policy`,
    );
  }
  const odd = new Set<string>();
  checkShape(raw, POLICY_FIELDS, "", odd);
  const policy = raw as unknown as AuditPolicy;
  const rules = policy.rules ?? [];
  rules.forEach((rule, i) => {
    const path = index("rules", i);
    checkShape(rule as unknown as Raw, RULE_FIELDS, path, odd);
    rule.resources?.forEach((one, j) =>
      checkShape(one, RESOURCE_FIELDS, index(`${path}.resources`, j), odd)
    );
  });
  for (const field of odd) warn(`unknown field ${JSON.stringify(field)}`);
  const causes = [
    ...stageCauses(policy.omitStages, "omitStages"),
    ...rules.flatMap((rule, i) => ruleCauses(rule, index("rules", i))),
  ];
  if (causes.length > 0) throw new Error(aggregate(causes));
  if (rules.length === 0) throw new Error("loaded illegal policy with 0 rules");
  return { ...policy, rules };
}

function aggregate(causes: readonly Cause[]): string {
  const texts = [...new Set(causes.map(({ field, message }) => `${field}: ${message}`))];
  return texts.length === 1 ? texts[0] : `[${texts.join(", ")}]`;
}

function isMap(value: unknown): value is Raw {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const SHAPES: Readonly<Record<Shape, (value: unknown) => boolean>> = {
  string: (value) => typeof value === "string",
  boolean: (value) => typeof value === "boolean",
  strings: (value) => Array.isArray(value) && value.every((one) => typeof one === "string"),
  object: isMap,
  objects: (value) => Array.isArray(value) && value.every(isMap),
};

/** Throws for a field of the wrong type; collects those that nobody knows, and leaves out empty ones. */
function checkShape(
  raw: Raw,
  fields: Readonly<Record<string, Shape>>,
  path: string,
  odd: Set<string>,
): void {
  for (const name of Object.keys(raw)) {
    const shape = fields[name];
    if (!shape) odd.add(child(path, name));
    else if (raw[name] === null) delete raw[name];
    else if (!SHAPES[shape](raw[name])) {
      const wanted = shape === "strings"
        ? "a list of strings"
        : shape === "objects"
        ? "a list of objects"
        : `${shape === "object" ? "an" : "a"} ${shape}`;
      throw new Error(`failed decoding: ${child(path, name)} must be ${wanted}`);
    }
  }
}

function ruleCauses(rule: AuditRule, path: string): Cause[] {
  const causes: Cause[] = [];
  const { level, nonResourceURLs = [], resources = [], namespaces = [] } = rule;
  if (!level) causes.push(required(child(path, "level")));
  else if (!AUDIT_LEVELS.includes(level)) {
    causes.push(notSupported(child(path, "level"), level, AUDIT_LEVELS));
  }
  const urls = child(path, "nonResourceURLs");
  nonResourceURLs.forEach((url, i) => {
    if (url === "*") return;
    if (!url.startsWith("/")) {
      causes.push(
        invalid(index(urls, i), url, "non-resource URL rules must begin with a '/' character"),
      );
    }
    if (url.slice(0, -1).includes("*")) {
      causes.push(
        invalid(
          index(urls, i),
          url,
          "non-resource URL wildcards '*' must be the final character of the rule",
        ),
      );
    }
  });
  causes.push(...resourceCauses(resources, child(path, "resources")));
  causes.push(...stageCauses(rule.omitStages, child(path, "omitStages")));
  if (nonResourceURLs.length > 0 && (resources.length > 0 || namespaces.length > 0)) {
    causes.push(
      invalid(
        urls,
        nonResourceURLs,
        "rules cannot apply to both regular resources and non-resource URLs",
      ),
    );
  }
  return causes;
}

function resourceCauses(resources: NonNullable<AuditRule["resources"]>, path: string): Cause[] {
  const causes: Cause[] = [];
  for (const { group = "", resources: names = [], resourceNames = [] } of resources) {
    if (group !== "" && group !== "*") {
      const problems = isDns1123Subdomain(group);
      if (problems.length) causes.push(invalid(child(path, "group"), group, problems.join(",")));
    }
    if (resourceNames.length > 0 && names.length === 0) {
      causes.push(
        invalid(
          child(path, "resourceNames"),
          resourceNames,
          "using resourceNames requires at least one resource",
        ),
      );
    }
  }
  return causes;
}

function stageCauses(stages: readonly string[] | undefined, path: string): Cause[] {
  return (stages ?? []).flatMap((stage, i) =>
    (AUDIT_STAGES as readonly string[]).includes(stage)
      ? []
      : [invalid(index(path, i), stage, `allowed stages are ${AUDIT_STAGES.join(",")}`)]
  );
}
