/**
 * Rules of the flowcontrol group: FlowSchemas and priority levels (upstream's `pkg/apis/flowcontrol`). That
 * the mandatory objects keep their fixed specs is left to whoever keeps them.
 */

import { internalValue } from "./internal_value.ts";
import type {
  Cause,
  Column,
  DeepReadonly,
  Kind,
  KindContext,
  KindHooks,
  KubeObject,
} from "../../machinery/types.ts";
import { nameIsDnsLabel, nameIsDnsSubdomain } from "../../machinery/names.ts";
import { AGE_COLUMN, column, NAME_COLUMN, type Row } from "./cells.ts";
import { statusHooks } from "./prepare.ts";
import { isSet, type Path, Report, SPEC, STATUS } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const EXEMPT = "exempt";
const PRECEDENCE_MAX = 10_000;
const QUEUES_MAX = 10_000_000;
const ENTROPY_BITS_MAX = 60;
const METHODS = ["ByNamespace", "ByUser"];
const SUBJECTS: readonly [string, string][] = [
  ["User", "user"],
  ["Group", "group"],
  ["ServiceAccount", "serviceAccount"],
];
const VERBS = [
  "create",
  "delete",
  "deletecollection",
  "get",
  "list",
  "patch",
  "proxy",
  "update",
  "watch",
];

// --- flow schemas -----------------------------------------------------------------------------------

function validateSubject(subject: Obj, path: Path, r: Report): void {
  const { kind = "" } = subject;
  const own = SUBJECTS.find(([name]) => name === kind);
  if (!own) {
    r.notSupported(path.child("kind"), kind, SUBJECTS.map(([name]) => name));
    return;
  }
  const at = path.child(own[1]);
  const { name = "", namespace = "" } = subject[own[1]] ?? {};
  if (!subject[own[1]]) r.required(at, `${own[1]} is required when subject kind is '${kind}'`);
  else {
    if (name === "") r.required(at.child("name"));
    if (kind === "ServiceAccount") {
      if (name !== "" && name !== "*") {
        r.check(nameIsDnsSubdomain(name, false), at.child("name"), name);
      }
      if (namespace === "") {
        r.required(at.child("namespace"), "must specify namespace for service account");
      } else r.check(nameIsDnsLabel(namespace, false), at.child("namespace"), namespace);
    }
  }
  for (const [other, field] of SUBJECTS) {
    if (other === kind || !subject[field]) continue;
    r.forbidden(path.child(field), `${field} is forbidden when subject kind is not '${other}'`);
  }
}

/** Checks a list that is not empty and holds nothing beside a `*`; returns whether it has none. */
function validateWildcard(
  list: string[],
  path: Path,
  r: Report,
  words: { none: string; others: string },
): boolean {
  if (list.length === 0) r.required(path, words.none);
  else if (list.includes("*")) {
    if (list.length > 1) {
      r.invalid(path, list, `if '*' is present, must not specify other ${words.others}`);
    }
  } else return true;
  return false;
}

function validateVerbs(verbs: string[], path: Path, r: Report): void {
  const words = { none: "verbs must contain at least one value", others: "verbs" };
  if (!validateWildcard(verbs, path, r, words)) return;
  if (verbs.some((verb) => !VERBS.includes(verb))) r.notSupported(path, verbs, VERBS);
}

function urlProblem(url: string): string {
  if (url === "") return "must not be empty";
  if (url === "/") return "";
  if (!url.startsWith("/")) return "must start with slash";
  if (url.includes(" ")) return "must not contain white-space";
  if (url.includes("//")) return "must not contain double slash";
  const stars = url.split("*").length - 1;
  const bad = stars > 1 || (stars === 1 && !url.endsWith("/*"));
  return bad ? "wildcard can only do suffix matching" : "";
}

function validateUrlRule(rule: Obj, path: Path, r: Report): void {
  validateVerbs(rule.verbs ?? [], path.child("verbs"), r);
  const urls: string[] = rule.nonResourceURLs ?? [];
  const at = path.child("nonResourceURLs");
  const none = "nonResourceURLs must contain at least one value";
  if (!validateWildcard(urls, at, r, { none, others: "non-resource URLs" })) return;
  urls.forEach((url, i) => {
    const problem = urlProblem(url);
    if (problem) r.invalid(at.index(i), url, problem);
  });
}

function validateResourceRule(rule: Obj, path: Path, r: Report): void {
  const { clusterScope } = rule;
  const apiGroups = rule.apiGroups ?? [], resources = rule.resources ?? [];
  const namespaces = rule.namespaces ?? [];
  validateVerbs(rule.verbs ?? [], path.child("verbs"), r);
  const groupWords = {
    none: "resource rules must supply at least one api group",
    others: "api groups",
  };
  validateWildcard(apiGroups, path.child("apiGroups"), r, groupWords);
  const resourceWords = {
    none: "resource rules must supply at least one resource",
    others: "resources",
  };
  validateWildcard(resources, path.child("resources"), r, resourceWords);
  if (namespaces.length === 0 && clusterScope) return;
  const at = path.child("namespaces");
  const none = "resource rules that are not cluster scoped must supply at least one namespace";
  if (!validateWildcard(namespaces, at, r, { none, others: "namespaces" })) return;
  namespaces.forEach((namespace: string, i: number) => {
    for (const message of nameIsDnsLabel(namespace, false)) {
      const text = `each member of this list must be '*' or a DNS-1123 label; ${message}`;
      r.invalid(at.index(i), namespace, text);
    }
  });
}

function validateFlowRule(rule: Obj, path: Path, r: Report): void {
  const { resourceRules = [], nonResourceRules = [] } = rule;
  const subjects = rule.subjects ?? [];
  if (subjects.length === 0) {
    r.required(path.child("subjects"), "subjects must contain at least one value");
  }
  subjects.forEach((subject: Obj, i: number) => {
    validateSubject(subject, path.child("subjects").index(i), r);
  });
  if (resourceRules.length === 0 && nonResourceRules.length === 0) {
    r.required(path, "at least one of resourceRules and nonResourceRules has to be non-empty");
  }
  resourceRules.forEach((rule: Obj, i: number) => {
    validateResourceRule(rule, path.child("resourceRules").index(i), r);
  });
  nonResourceRules.forEach((rule: Obj, i: number) => {
    validateUrlRule(rule, path.child("nonResourceRules").index(i), r);
  });
}

function validateFlowSchema({ metadata, spec = {} }: Stored): Cause[] {
  const r = new Report();
  const { matchingPrecedence: precedence = 0, distinguisherMethod: method } = spec;
  const at = SPEC.child("matchingPrecedence");
  if (precedence <= 0) r.invalid(at, precedence, "must be a positive value");
  if (precedence > PRECEDENCE_MAX) {
    r.invalid(at, precedence, `must not be greater than ${PRECEDENCE_MAX}`);
  }
  if (precedence === 1 && metadata.name !== EXEMPT) {
    const text = "only the schema named 'exempt' may have matchingPrecedence 1";
    r.invalid(at, precedence, text);
  }
  if (method && !METHODS.includes(method.type)) {
    const shown = internalValue("FlowDistinguisherMethod", method);
    r.notSupported(SPEC.child("distinguisherMethod", "type"), shown, METHODS);
  }
  const level = spec.priorityLevelConfiguration?.name ?? "";
  const levelAt = SPEC.child("priorityLevelConfiguration", "name");
  if (level === "") r.required(levelAt, "must reference a priority level");
  else r.check(nameIsDnsSubdomain(level, false), levelAt, level);
  spec.rules?.forEach((rule: Obj, i: number) => {
    validateFlowRule(rule, SPEC.child("rules").index(i), r);
  });
  return r.causes;
}

function validateStatus({ status = {} }: Stored): Cause[] {
  const r = new Report();
  const seen = new Set<string>();
  status.conditions?.forEach(({ type = "" }: Obj, i: number) => {
    const at = STATUS.child("conditions").index(i).child("type");
    if (seen.has(type)) r.duplicate(at, type);
    seen.add(type);
    if (type === "") r.required(at);
  });
  return r.causes;
}

// --- priority levels --------------------------------------------------------------------------------

function defaultPriorityLevel({ spec = {} }: KubeObject): void {
  const { exempt, limited } = spec;
  if (exempt) {
    exempt.nominalConcurrencyShares ??= 0;
    exempt.lendablePercent ??= 0;
  }
  if (!limited) return;
  limited.nominalConcurrencyShares ??= 30;
  limited.lendablePercent ??= 0;
  const queuing = limited.limitResponse?.queuing;
  if (!queuing) return;
  queuing.handSize ||= 8;
  queuing.queues ||= 64;
  queuing.queueLengthLimit ||= 50;
}

function validateShares(level: Obj, path: Path, r: Report): void {
  const { nominalConcurrencyShares: shares, lendablePercent: lendable } = level;
  if (isSet(shares) && shares < 0) {
    r.invalid(path.child("nominalConcurrencyShares"), shares, "must be a non-negative integer");
  }
  if (isSet(lendable) && (lendable < 0 || lendable > 100)) {
    r.invalid(path.child("lendablePercent"), lendable, "must be between 0 and 100, inclusive");
  }
}

/** Bits that dealing a hand from a deck takes from a request's hash. */
function entropyBits(deck: number, hand: number): number {
  return Math.ceil(Math.log2(deck) * hand);
}

function validateQueuing(queuing: Obj, path: Path, r: Report): void {
  const { queueLengthLimit: limit = 0, queues = 0, handSize = 0 } = queuing;
  const positive = "must be positive";
  if (limit <= 0) r.invalid(path.child("queueLengthLimit"), limit, positive);
  if (queues <= 0) r.invalid(path.child("queues"), queues, positive);
  else if (queues > QUEUES_MAX) {
    r.invalid(path.child("queues"), queues, `must not be greater than ${QUEUES_MAX}`);
  }
  const at = path.child("handSize");
  if (handSize <= 0) r.invalid(at, handSize, positive);
  else if (handSize > queues) {
    r.invalid(at, handSize, `should not be greater than queues (${queues})`);
  } else if (entropyBits(queues, handSize) > ENTROPY_BITS_MAX) {
    const text = `required entropy bits of deckSize ${queues} and handSize ${handSize} should ` +
      `not be greater than ${ENTROPY_BITS_MAX}`;
    r.invalid(at, handSize, text);
  }
}

function validateLimited(limited: Obj, path: Path, r: Report): void {
  validateShares(limited, path, r);
  const { borrowingLimitPercent: limit, limitResponse = {} } = limited;
  if (isSet(limit) && limit < 0) {
    const text = "if specified, must be a non-negative integer";
    r.invalid(path.child("borrowingLimitPercent"), limit, text);
  }
  const at = path.child("limitResponse");
  const { type = "", queuing } = limitResponse;
  if (type === "Reject") {
    if (queuing) {
      const text = "must be nil if limited.limitResponse.type is not Limited";
      r.forbidden(at.child("queuing"), text);
    }
  } else if (type === "Queue") {
    if (queuing) validateQueuing(queuing, at.child("queuing"), r);
    else {
      const text = "must not be empty if limited.limitResponse.type is Limited";
      r.required(at.child("queuing"), text);
    }
  } else r.notSupported(at.child("type"), type, ["Queue", "Reject"]);
}

function validatePriorityLevel({ metadata, spec = {} }: Stored): Cause[] {
  const r = new Report();
  const { type = "", exempt, limited } = spec;
  if ((metadata.name === EXEMPT) !== (type === "Exempt")) {
    const text = "must be 'Exempt' if and only if `name` is 'exempt'";
    r.invalid(SPEC.child("type"), type, text);
  }
  if (type === "Exempt") {
    if (limited) r.forbidden(SPEC.child("limited"), "must be nil if the type is not Limited");
    if (exempt) validateShares(exempt, SPEC.child("exempt"), r);
  } else if (type === "Limited") {
    if (exempt) r.forbidden(SPEC.child("exempt"), "must be nil if the type is Limited");
    if (limited) validateLimited(limited, SPEC.child("limited"), r);
    else r.required(SPEC.child("limited"), "must not be empty when type is Limited");
  } else r.notSupported(SPEC.child("type"), type, ["Exempt", "Limited"]);
  return r.causes;
}

function updateOf(validate: (object: Stored) => Cause[]): KindHooks["validateUpdate"] {
  return (object: Stored, _old: Stored, { subresource }: KindContext) =>
    subresource === "status" ? validateStatus(object) : validate(object);
}

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {
  FlowSchema: {
    ...statusHooks({ generation: true }),
    defaults({ spec = {} }) {
      spec.matchingPrecedence ||= 1000;
    },
    validate: validateFlowSchema,
    validateUpdate: updateOf(validateFlowSchema),
  },
  PriorityLevelConfiguration: {
    ...statusHooks({ generation: true }),
    defaults: defaultPriorityLevel,
    validate: validatePriorityLevel,
    validateUpdate: updateOf(validatePriorityLevel),
  },
};

function limitedCell(field: (limited: Obj) => unknown): (row: Row) => string | number {
  return ({ spec }) => {
    const value = spec?.limited ? field(spec.limited) : undefined;
    return isSet(value) ? value as number : "<none>";
  };
}

/** Columns by kind. */
export const columns: Record<string, Column[]> = {
  FlowSchema: [
    NAME_COLUMN,
    column("PriorityLevel", (o) => o.spec?.priorityLevelConfiguration?.name ?? ""),
    column("MatchingPrecedence", (o) => o.spec?.matchingPrecedence ?? 0),
    column("DistinguisherMethod", (o) => o.spec?.distinguisherMethod?.type ?? "<none>"),
    AGE_COLUMN,
    column(
      "MissingPL",
      (o) => o.status?.conditions?.find((c: Obj) => c.type === "Dangling")?.status ?? "?",
    ),
  ],
  PriorityLevelConfiguration: [
    NAME_COLUMN,
    column("Type", (o) => o.spec?.type ?? ""),
    column("NominalConcurrencyShares", limitedCell((l) => l.nominalConcurrencyShares)),
    column("Queues", limitedCell((l) => l.limitResponse?.queuing?.queues)),
    column("HandSize", limitedCell((l) => l.limitResponse?.queuing?.handSize)),
    column("QueueLengthLimit", limitedCell((l) => l.limitResponse?.queuing?.queueLengthLimit)),
    AGE_COLUMN,
  ],
};

/** Selectable fields by kind. */
export const fields: Record<string, Kind["fields"]> = {};
