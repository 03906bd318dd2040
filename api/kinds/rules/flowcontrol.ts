/** Rules of flow control (upstream's `pkg/apis/flowcontrol`): which requests queue where, and how long. */

import type {
  Cause,
  Column,
  DeepReadonly,
  Kind,
  KindHooks,
  KubeObject,
} from "../../machinery/types.ts";
import { nameIsDnsLabel, nameIsDnsSubdomain } from "../../machinery/names.ts";
import { AGE_COLUMN, column, NAME_COLUMN, type Row } from "./cells.ts";
import { statusHooks } from "./prepare.ts";
import { isSet, METADATA, type Path, Report, SPEC, STATUS } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const EXEMPT = "exempt";
const PRECEDENCE_DEFAULT = 1000;
const PRECEDENCE_MAX = 10000;
const HAND_SIZE_DEFAULT = 8;
const QUEUES_DEFAULT = 64;
const QUEUES_MAX = 10_000_000;
const QUEUE_LENGTH_DEFAULT = 50;
const SHARES_DEFAULT = 30;
/** Bits of the hash that deals a request's hand of queues. */
const HASH_BITS_MAX = 60;
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
const PRESERVE_ZERO = "flowcontrol.k8s.io/preserve-zero-concurrency-shares";

function defaultLevel(level: KubeObject): void {
  const { exempt, limited } = level.spec ?? {};
  if (exempt) {
    exempt.nominalConcurrencyShares ??= 0;
    exempt.lendablePercent ??= 0;
  }
  if (!limited) return;
  limited.nominalConcurrencyShares ??= SHARES_DEFAULT;
  limited.lendablePercent ??= 0;
  const queuing = limited.limitResponse?.queuing;
  if (!queuing) return;
  queuing.handSize ||= HAND_SIZE_DEFAULT;
  queuing.queues ||= QUEUES_DEFAULT;
  queuing.queueLengthLimit ||= QUEUE_LENGTH_DEFAULT;
}

// --- flow schemas ----------------------------------------------------------------------------------------

function validateSchema(schema: Stored): Cause[] {
  const r = new Report();
  const { spec } = schema;
  const precedence = spec.matchingPrecedence ?? 0;
  const at = SPEC.child("matchingPrecedence");
  if (precedence <= 0) r.invalid(at, precedence, "must be a positive value");
  if (precedence > PRECEDENCE_MAX) {
    r.invalid(at, precedence, `must not be greater than ${PRECEDENCE_MAX}`);
  }
  if (precedence === 1 && schema.metadata.name !== EXEMPT) {
    r.invalid(at, precedence, "only the schema named 'exempt' may have matchingPrecedence 1");
  }
  const method = spec.distinguisherMethod;
  if (method && !["ByNamespace", "ByUser"].includes(method.type)) {
    r.notSupported(SPEC.child("distinguisherMethod", "type"), method, ["ByNamespace", "ByUser"]);
  }
  const level = spec.priorityLevelConfiguration?.name ?? "";
  const levelPath = SPEC.child("priorityLevelConfiguration", "name");
  if (level) r.check(nameIsDnsSubdomain(level, false), levelPath, level);
  else r.required(levelPath, "must reference a priority level");
  (spec.rules ?? []).forEach((rule: Obj, i: number) => {
    validateRule(rule, SPEC.child("rules").index(i), r);
  });
  validateConditions(schema, r);
  return r.causes;
}

function validateRule(rule: Obj, path: Path, r: Report): void {
  const { subjects = [], resourceRules = [], nonResourceRules = [] } = rule;
  if (subjects.length === 0) {
    r.required(path.child("subjects"), "subjects must contain at least one value");
  }
  subjects.forEach((s: Obj, i: number) => validateSubject(s, path.child("subjects").index(i), r));
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

const SUBJECTS: Record<string, string> = {
  ServiceAccount: "serviceAccount",
  User: "user",
  Group: "group",
};

function validateSubject(subject: Obj, path: Path, r: Report): void {
  const own = SUBJECTS[subject.kind];
  if (!own) return r.notSupported(path.child("kind"), subject.kind ?? "", Object.keys(SUBJECTS));
  const value = subject[own];
  const at = path.child(own);
  if (!value) r.required(at, `${own} is required when subject kind is '${subject.kind}'`);
  else {
    if (!value.name) r.required(at.child("name"));
    if (own === "serviceAccount") {
      if (value.name && value.name !== "*") {
        r.check(nameIsDnsSubdomain(value.name, false), at.child("name"), value.name);
      }
      if (value.namespace) {
        r.check(nameIsDnsLabel(value.namespace, false), at.child("namespace"), value.namespace);
      } else r.required(at.child("namespace"), "must specify namespace for service account");
    }
  }
  for (const [kind, field] of Object.entries(SUBJECTS)) {
    if (field !== own && subject[field]) {
      r.forbidden(path.child(field), `${field} is forbidden when subject kind is not '${kind}'`);
    }
  }
}

/** A list that is `*` alone or names things. Returns whether its members are to be looked at. */
function wildcard(list: readonly string[], path: Path, what: string, r: Report): boolean {
  if (!list.includes("*")) return true;
  if (list.length > 1) r.invalid(path, list, `if '*' is present, must not specify other ${what}`);
  return false;
}

function validateVerbs(rule: Obj, path: Path, r: Report): void {
  const verbs: string[] = rule.verbs ?? [];
  const at = path.child("verbs");
  if (verbs.length === 0) r.required(at, "verbs must contain at least one value");
  else if (wildcard(verbs, at, "verbs", r) && verbs.some((v) => !VERBS.includes(v))) {
    r.notSupported(at, verbs, VERBS);
  }
}

function validateResourceRule(rule: Obj, path: Path, r: Report): void {
  validateVerbs(rule, path, r);
  const { apiGroups = [], resources = [], namespaces = [] } = rule;
  if (apiGroups.length === 0) {
    r.required(path.child("apiGroups"), "resource rules must supply at least one api group");
  } else wildcard(apiGroups, path.child("apiGroups"), "api groups", r);
  if (resources.length === 0) {
    r.required(path.child("resources"), "resource rules must supply at least one resource");
  } else wildcard(resources, path.child("resources"), "resources", r);
  const at = path.child("namespaces");
  if (namespaces.length === 0 && !rule.clusterScope) {
    r.required(
      at,
      "resource rules that are not cluster scoped must supply at least one namespace",
    );
  } else if (wildcard(namespaces, at, "namespaces", r)) {
    namespaces.forEach((namespace: string, i: number) => {
      for (const problem of nameIsDnsLabel(namespace, false)) {
        const head = "each member of this list must be '*' or a DNS-1123 label; ";
        r.invalid(at.index(i), namespace, head + problem);
      }
    });
  }
}

function urlProblem(url: string): string | undefined {
  if (url === "") return "must not be empty";
  if (url === "/") return undefined;
  if (!url.startsWith("/")) return "must start with slash";
  if (url.includes(" ")) return "must not contain white-space";
  if (url.includes("//")) return "must not contain double slash";
  const stars = url.split("*").length - 1;
  return stars > 1 || (stars === 1 && !url.endsWith("/*"))
    ? "wildcard can only do suffix matching"
    : undefined;
}

function validateUrlRule(rule: Obj, path: Path, r: Report): void {
  validateVerbs(rule, path, r);
  const urls: string[] = rule.nonResourceURLs ?? [];
  const at = path.child("nonResourceURLs");
  if (urls.length === 0) r.required(at, "nonResourceURLs must contain at least one value");
  else if (wildcard(urls, at, "non-resource URLs", r)) {
    urls.forEach((url, i) => {
      const problem = urlProblem(url);
      if (problem) r.invalid(at.index(i), url, problem);
    });
  }
}

function validateConditions(object: Stored, r: Report): void {
  const seen = new Set<string>();
  (object.status?.conditions ?? []).forEach((condition: Obj, i: number) => {
    const at = STATUS.child("conditions").index(i).child("type");
    if (seen.has(condition.type ?? "")) r.duplicate(at, condition.type);
    seen.add(condition.type ?? "");
    if (!condition.type) r.required(at);
  });
}

// --- priority levels -------------------------------------------------------------------------------------

function validateLevel(level: Stored): Cause[] {
  const r = new Report();
  if (isSet(level.metadata.annotations?.[PRESERVE_ZERO])) {
    r.forbidden(METADATA.child("annotations"), `annotation '${PRESERVE_ZERO}' is forbidden`);
  }
  const { type = "", exempt, limited } = level.spec;
  if ((level.metadata.name === EXEMPT) !== (type === "Exempt")) {
    const message = "must be 'Exempt' if and only if `name` is 'exempt'";
    r.invalid(SPEC.child("type"), type, message);
  }
  if (type === "Exempt") {
    if (limited) r.forbidden(SPEC.child("limited"), "must be nil if the type is not Limited");
    if (exempt) validateShares(exempt, SPEC.child("exempt"), r);
  } else if (type === "Limited") {
    if (exempt) r.forbidden(SPEC.child("exempt"), "must be nil if the type is Limited");
    if (limited) validateLimited(limited, SPEC.child("limited"), r);
    else r.required(SPEC.child("limited"), "must not be empty when type is Limited");
  } else r.notSupported(SPEC.child("type"), type, ["Exempt", "Limited"]);
  validateConditions(level, r);
  return r.causes;
}

function validateShares(part: Obj, path: Path, r: Report): void {
  const shares = part.nominalConcurrencyShares ?? 0;
  if (shares < 0) {
    r.invalid(path.child("nominalConcurrencyShares"), shares, "must be a non-negative integer");
  }
}

function validateLendable(part: Obj, path: Path, r: Report): void {
  const percent = part.lendablePercent ?? 0;
  if (percent < 0 || percent > 100) {
    r.invalid(path.child("lendablePercent"), percent, "must be between 0 and 100, inclusive");
  }
}

function validateLimited(limited: Obj, path: Path, r: Report): void {
  validateShares(limited, path, r);
  const response = limited.limitResponse ?? {};
  const at = path.child("limitResponse");
  if (response.type === "Reject") {
    if (response.queuing) {
      r.forbidden(at.child("queuing"), "must be nil if limited.limitResponse.type is not Limited");
    }
  } else if (response.type === "Queue") {
    if (response.queuing) validateQueuing(response.queuing, at.child("queuing"), r);
    else {
      r.required(
        at.child("queuing"),
        "must not be empty if limited.limitResponse.type is Limited",
      );
    }
  } else r.notSupported(at.child("type"), response.type ?? "", ["Queue", "Reject"]);
  validateLendable(limited, path, r);
  if ((limited.borrowingLimitPercent ?? 0) < 0) {
    r.invalid(
      path.child("borrowingLimitPercent"),
      limited.borrowingLimitPercent,
      "if specified, must be a non-negative integer",
    );
  }
}

/** The bits that dealing `hand` of `deck` cards takes. */
function entropyBits(deck: number, hand: number): number {
  return Math.ceil(Math.log2(deck) * hand);
}

function validateQueuing(queuing: Obj, path: Path, r: Report): void {
  const { queueLengthLimit = 0, queues = 0, handSize = 0 } = queuing;
  if (queueLengthLimit <= 0) {
    r.invalid(path.child("queueLengthLimit"), queueLengthLimit, "must be positive");
  }
  if (queues <= 0) r.invalid(path.child("queues"), queues, "must be positive");
  else if (queues > QUEUES_MAX) {
    r.invalid(path.child("queues"), queues, `must not be greater than ${QUEUES_MAX}`);
  }
  const at = path.child("handSize");
  if (handSize <= 0) r.invalid(at, handSize, "must be positive");
  else if (handSize > queues) {
    r.invalid(at, handSize, `should not be greater than queues (${queues})`);
  } else if (entropyBits(queues, handSize) > HASH_BITS_MAX) {
    r.invalid(
      at,
      handSize,
      `required entropy bits of deckSize ${queues} and handSize ${handSize} should not be ` +
        `greater than ${HASH_BITS_MAX}`,
    );
  }
}

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {
  FlowSchema: {
    ...statusHooks({ generation: true }),
    defaults(schema) {
      if (schema.spec) schema.spec.matchingPrecedence ||= PRECEDENCE_DEFAULT;
    },
    validate: validateSchema,
    validateName: nameIsDnsSubdomain,
  },
  PriorityLevelConfiguration: {
    ...statusHooks({ generation: true }),
    defaults: defaultLevel,
    validate: validateLevel,
    validateName: nameIsDnsSubdomain,
  },
};

const queuing = (level: Row, field: string) =>
  level.spec?.limited?.limitResponse?.queuing?.[field] ?? "<none>";

/** Columns by kind. */
export const columns: Record<string, Column[]> = {
  FlowSchema: [
    NAME_COLUMN,
    column("PriorityLevel", ({ spec }) => spec?.priorityLevelConfiguration?.name ?? ""),
    column("MatchingPrecedence", ({ spec }) => spec?.matchingPrecedence ?? 0),
    column("DistinguisherMethod", ({ spec }) => spec?.distinguisherMethod?.type ?? "<none>"),
    AGE_COLUMN,
    column(
      "MissingPL",
      ({ status }) =>
        (status?.conditions ?? []).find((c: Obj) => c.type === "Dangling")?.status ?? "?",
    ),
  ],
  PriorityLevelConfiguration: [
    NAME_COLUMN,
    column("Type", ({ spec }) => spec?.type ?? ""),
    column(
      "NominalConcurrencyShares",
      ({ spec }) => spec?.limited?.nominalConcurrencyShares ?? "<none>",
    ),
    column("Queues", (level) => queuing(level, "queues")),
    column("HandSize", (level) => queuing(level, "handSize")),
    column("QueueLengthLimit", (level) => queuing(level, "queueLengthLimit")),
    AGE_COLUMN,
  ],
};

/** Selectable fields by kind. */
export const fields: Record<string, Kind["fields"]> = {};
