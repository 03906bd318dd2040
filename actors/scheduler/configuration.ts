/**
 * KubeSchedulerConfiguration (`kubescheduler.config.k8s.io/v1`): what a scheduler can be told. Fields, defaults, merging
 * and errors are kube-scheduler's (v1.36). What only concerns its process (leader election, its client, profiling) and
 * `parallelism`, which one thread has no use for, is checked and has no effect.
 */
import { bindsByConditions } from "../../api/kinds/gates.ts";
import {
  child,
  duplicate,
  forbidden,
  index,
  invalid,
  notSupported,
  required,
} from "../../api/machinery/field_errors.ts";
import { isQualifiedName } from "../../api/machinery/names.ts";
import type { Cause } from "../../api/machinery/types.ts";

/** A plugin, switched on; `weight` is that of its scores. */
export interface PluginRef {
  name: string;
  weight?: number;
}

export interface PluginSet {
  enabled?: readonly PluginRef[];
  /** `*` switches all default ones off. */
  disabled?: readonly { name: string }[];
}

/** Where plugins have their say, in upstream's order. */
export const EXTENSION_POINTS = [
  "preEnqueue",
  "queueSort",
  "preFilter",
  "filter",
  "postFilter",
  "preScore",
  "score",
  "reserve",
  "permit",
  "preBind",
  "bind",
  "postBind",
] as const;
export type ExtensionPoint = (typeof EXTENSION_POINTS)[number];

export type PluginSets = { readonly [point in ExtensionPoint | "multiPoint"]?: PluginSet };

/** One scheduler by name: pods choose it by `spec.schedulerName`. */
export interface ProfileConfiguration {
  /** Default `default-scheduler`, where there is one profile. */
  schedulerName?: string;
  percentageOfNodesToScore?: number;
  plugins?: PluginSets;
  /** What plugins are told, by name. */
  pluginConfig?: readonly { name: string; args?: unknown }[];
}

/** A process that is asked over HTTP, beside the plugins. */
export interface ExtenderConfiguration {
  urlPrefix: string;
  filterVerb?: string;
  preemptVerb?: string;
  prioritizeVerb?: string;
  /** Of its priorities. */
  weight?: number;
  bindVerb?: string;
  enableHTTPS?: boolean;
  tlsConfig?: {
    insecure?: boolean;
    serverName?: string;
    /** PEM, as base64. */
    certData?: string;
    keyData?: string;
    caData?: string;
  };
  /** In ms (default 5,000). */
  httpTimeout?: number;
  /** It knows the nodes: it is told names only. */
  nodeCacheCapable?: boolean;
  /** It is asked about pods that want one of these; none: about all. */
  managedResources?: readonly { name: string; ignoredByScheduler?: boolean }[];
  /** Its failures do not keep pods from being scheduled. */
  ignorable?: boolean;
}

/** See the module's text. */
export interface SchedulerConfiguration {
  parallelism?: number;
  /** Of which nodes are looked for before the best is taken; 0: upstream's adaptive share. */
  percentageOfNodesToScore?: number;
  podInitialBackoffSeconds?: number;
  podMaxBackoffSeconds?: number;
  profiles?: readonly ProfileConfiguration[];
  extenders?: readonly ExtenderConfiguration[];
}

/** A configuration with every default filled in. */
export interface CompleteConfiguration {
  percentageOfNodesToScore: number;
  backoffMsMin: number;
  backoffMsMax: number;
  profiles: readonly {
    schedulerName: string;
    percentageOfNodesToScore?: number;
    plugins: PluginSets;
    args: ReadonlyMap<string, unknown>;
  }[];
  extenders: readonly ExtenderConfiguration[];
}

/** Upstream's default plugins, in order, with their weights. */
export const DEFAULT_PLUGINS: readonly PluginRef[] = [
  { name: "SchedulingGates" },
  { name: "PrioritySort" },
  { name: "NodeUnschedulable" },
  { name: "NodeName" },
  { name: "TaintToleration", weight: 3 },
  { name: "NodeAffinity", weight: 2 },
  { name: "NodePorts" },
  { name: "NodeResourcesFit", weight: 1 },
  { name: "VolumeRestrictions" },
  { name: "NodeVolumeLimits" },
  { name: "VolumeBinding" },
  { name: "VolumeZone" },
  { name: "PodTopologySpread", weight: 2 },
  { name: "InterPodAffinity", weight: 2 },
  { name: "DynamicResources", weight: 2 },
  { name: "DefaultPreemption" },
  { name: "NodeResourcesBalancedAllocation", weight: 1 },
  { name: "ImageLocality", weight: 1 },
  { name: "DefaultBinder" },
  { name: "NodeDeclaredFeatures" },
];

const PARALLELISM = 16;
const BACKOFF_SECONDS_MIN = 1;
const BACKOFF_SECONDS_MAX = 10;
const DEFAULT_NAME = "default-scheduler";

/** Fills in what is absent. Throws TypeError, in upstream's words, for what cannot be. */
export function completeConfiguration(
  given: SchedulerConfiguration,
  features?: Features,
): CompleteConfiguration {
  const {
    parallelism = PARALLELISM,
    percentageOfNodesToScore = 0,
    podInitialBackoffSeconds = BACKOFF_SECONDS_MIN,
    podMaxBackoffSeconds = BACKOFF_SECONDS_MAX,
    extenders = [],
  } = given;
  const profiles = given.profiles?.length ? given.profiles : [{}];
  const named = profiles.map((profile): ProfileConfiguration => ({
    ...profile,
    schedulerName: profile.schedulerName ?? (profiles.length === 1 ? DEFAULT_NAME : ""),
    plugins: mergedPlugins(profile.plugins),
    pluginConfig: (profile.pluginConfig ?? []).map(({ name, args }) => ({
      name,
      args: ARGUMENTS[name]?.complete((args ?? {}) as Args) ?? args,
    })),
  }));
  const causes: Cause[] = [];
  if (parallelism <= 0) {
    const why = "should be an integer value greater than zero";
    causes.push(invalid("parallelism", parallelism, why));
  }
  checkProfiles(named, causes, features);
  checkPercentage("percentageOfNodesToScore", percentageOfNodesToScore, causes);
  if (podInitialBackoffSeconds <= 0) {
    const why = "must be greater than 0";
    causes.push(invalid("podInitialBackoffSeconds", podInitialBackoffSeconds, why));
  }
  if (podMaxBackoffSeconds < podInitialBackoffSeconds) {
    const why = "must be greater than or equal to PodInitialBackoffSeconds";
    causes.push(invalid("podMaxBackoffSeconds", podMaxBackoffSeconds, why));
  }
  checkExtenders(extenders, causes);
  if (causes.length > 0) throw new TypeError(causesText(causes));
  return {
    percentageOfNodesToScore,
    backoffMsMin: podInitialBackoffSeconds * 1000,
    backoffMsMax: podMaxBackoffSeconds * 1000,
    profiles: named.map(({ schedulerName, plugins, pluginConfig, ...profile }) => ({
      schedulerName: schedulerName!,
      percentageOfNodesToScore: profile.percentageOfNodesToScore,
      plugins: plugins!,
      args: argumentsOf(pluginConfig!, extenders),
    })),
    extenders,
  };
}

/** What plugins are told; resources that only extenders look at are none of NodeResourcesFit's. */
function argumentsOf(
  given: readonly { name: string; args?: unknown }[],
  extenders: readonly ExtenderConfiguration[],
): ReadonlyMap<string, unknown> {
  const args = new Map(given.map(({ name, args }) => [name, args]));
  for (const [name, known] of Object.entries(ARGUMENTS)) {
    if (!args.has(name)) args.set(name, known!.complete({}));
  }
  const ignored = extenders.flatMap(({ managedResources = [] }) =>
    managedResources.filter((one) => one.ignoredByScheduler).map(({ name }) => name)
  );
  if (ignored.length === 0) return args;
  const fit = args.get("NodeResourcesFit") as Args;
  const ignoredResources = [...fit.ignoredResources ?? [], ...ignored];
  return args.set("NodeResourcesFit", { ...fit, ignoredResources });
}

/** Upstream's aggregate of errors. */
function causesText(causes: readonly Cause[]): string {
  const texts = [...new Set(causes.map(({ field, message }) => `${field}: ${message}`))];
  return texts.length === 1 ? texts[0] : `[${texts.join(", ")}]`;
}

// --- plugins ----------------------------------------------------------------------------------------------

/** A profile's plugins: the default ones at all points, with what is said of them and others. */
function mergedPlugins(given: PluginSets = {}): PluginSets {
  const merged: Record<string, PluginSet> = {
    multiPoint: mergedSet({ enabled: DEFAULT_PLUGINS }, given.multiPoint),
  };
  for (const point of EXTENSION_POINTS) merged[point] = mergedSet({}, given[point]);
  return merged;
}

function mergedSet(defaults: PluginSet, given: PluginSet = {}): PluginSet {
  const disabled = given.disabled ?? [];
  const off = new Set(disabled.map(({ name }) => name));
  const asked = [...given.enabled ?? []];
  const enabled: PluginRef[] = [];
  for (const plugin of off.has("*") ? [] : defaults.enabled ?? []) {
    if (off.has(plugin.name)) continue;
    const at = asked.findIndex(({ name }) => name === plugin.name);
    // One that is named again keeps its place, with what is said now
    enabled.push(at < 0 ? plugin : asked.splice(at, 1)[0]);
  }
  return { enabled: [...enabled, ...asked], disabled };
}

// --- what plugins are told --------------------------------------------------------------------------------

// deno-lint-ignore no-explicit-any -- read by the plugin that it is for, after it was checked here
type Args = any;

interface Arguments {
  /** Fills in defaults. */
  complete(args: Args): Args;
  check(args: Args, path: string, causes: Cause[], features?: Features): void;
}

/** Which feature gates are on (default: as upstream's are by default). */
type Features = ReadonlyMap<string, boolean>;

const RESOURCES = [{ name: "cpu", weight: 1 }, { name: "memory", weight: 1 }];
const STRATEGIES = ["LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"];
const WEIGHT_MAX = 100;
const POINT_SCORE_MAX = 10;

const weighted = (resources: readonly Args[] | undefined) =>
  resources?.length
    ? resources.map((resource) => ({ ...resource, weight: resource.weight || 1 }))
    : RESOURCES;

/** The default plugins that take arguments. */
const ARGUMENTS: Readonly<Record<string, Arguments | undefined>> = {
  DefaultPreemption: {
    complete: ({ minCandidateNodesPercentage = 10, minCandidateNodesAbsolute = 100 }) => ({
      minCandidateNodesPercentage,
      minCandidateNodesAbsolute,
    }),
    check(args, path, causes) {
      const percentage = args.minCandidateNodesPercentage;
      const absolute = args.minCandidateNodesAbsolute;
      const [percentagePath, absolutePath] = [
        child(path, "minCandidateNodesPercentage"),
        child(path, "minCandidateNodesAbsolute"),
      ];
      if (percentage < 0 || percentage > 100) {
        causes.push(invalid(percentagePath, percentage, "not in valid range [0, 100]"));
      }
      if (absolute < 0) causes.push(invalid(absolutePath, absolute, "not in valid range [0, inf)"));
      if (percentage !== 0 || absolute !== 0) return;
      const why = "cannot be zero at the same time as";
      causes.push(invalid(percentagePath, 0, `${why} minCandidateNodesAbsolute`));
      causes.push(invalid(absolutePath, 0, `${why} minCandidateNodesPercentage`));
    },
  },
  DynamicResources: {
    complete: (args) => args,
    check({ filterTimeout, bindingTimeout }, path, causes, features) {
      if (filterTimeout < 0) {
        const why = "must be zero or positive";
        causes.push(invalid(child(path, "filterTimeout"), filterTimeout, why));
      }
      if (!bindsByConditions(features)) {
        const why =
          "DRADeviceBindingConditions or DRAResourceClaimDeviceStatus feature gate is disabled";
        if (bindingTimeout !== undefined) {
          causes.push(forbidden(child(path, "bindingTimeout"), why));
        }
      } else if (bindingTimeout < 1000) {
        const why = "must be at least 1 second";
        causes.push(invalid(child(path, "bindingTimeout"), bindingTimeout, why));
      }
    },
  },
  InterPodAffinity: {
    complete: ({ hardPodAffinityWeight = 1, ignorePreferredTermsOfExistingPods = false }) => ({
      hardPodAffinityWeight,
      ignorePreferredTermsOfExistingPods,
    }),
    check({ hardPodAffinityWeight: weight }, path, causes) {
      if (weight >= 0 && weight <= WEIGHT_MAX) return;
      const why = "not in valid range [0, 100]";
      causes.push(invalid(child(path, "hardPodAffinityWeight"), weight, why));
    },
  },
  NodeAffinity: { complete: (args) => args, check: checkAddedAffinity },
  NodeResourcesBalancedAllocation: {
    complete: ({ resources }) => ({ resources: weighted(resources) }),
    check({ resources }, path, causes) {
      const seen = new Set<string>();
      resources.forEach(({ name, weight }: Args, i: number) => {
        const at = index(child(path, "resources"), i);
        if (seen.has(name)) causes.push(duplicate(child(at, "name"), name));
        seen.add(name);
        if (weight !== 1) causes.push(invalid(child(at, "weight"), weight, "must be 1"));
      });
    },
  },
  NodeResourcesFit: {
    complete: (
      { scoringStrategy: { resources, ...strategy } = { type: "LeastAllocated" }, ...args },
    ) => ({
      ...args,
      scoringStrategy: { ...strategy, resources: weighted(resources) },
    }),
    check: checkFit,
  },
  PodTopologySpread: {
    complete: ({ defaultConstraints, defaultingType }) => ({
      defaultConstraints: defaultConstraints ?? [],
      defaultingType: defaultingType || "System",
    }),
    check: checkSpread,
  },
  VolumeBinding: {
    complete: ({ bindTimeoutSeconds = 600, shape }) => ({ bindTimeoutSeconds, shape }),
    check({ bindTimeoutSeconds, shape }, path, causes) {
      if (bindTimeoutSeconds < 0) {
        const why = "invalid BindTimeoutSeconds, should not be a negative value";
        causes.push(invalid(child(path, "bindTimeoutSeconds"), bindTimeoutSeconds, why));
      }
      if (shape === undefined) return;
      const why =
        "unexpected field `shape`, remove it or turn on the feature gate StorageCapacityScoring";
      causes.push(invalid(child(path, "shape"), shape, why));
    },
  },
};

function checkFit(args: Args, path: string, causes: Cause[]): void {
  const names = (field: string, wrong: (name: string) => string[]) =>
    (args[field] ?? []).forEach((name: string, i: number) => {
      for (const why of wrong(name)) causes.push(invalid(index(child(path, field), i), name, why));
    });
  names("ignoredResources", isQualifiedName);
  names("ignoredResourceGroups", (group) => [
    ...group.includes("/") ? ["resource group name can't contain '/'"] : [],
    ...isQualifiedName(group),
  ]);
  const { type, resources, requestedToCapacityRatio: ratio } = args.scoringStrategy;
  const at = child(path, "scoringStrategy");
  if (!STRATEGIES.includes(type)) causes.push(notSupported(child(at, "type"), type, STRATEGIES));
  resources.forEach(({ name, weight }: Args, i: number) => {
    if (weight > 0 && weight <= WEIGHT_MAX) return;
    const why = `resource weight of ${name} not in valid range (0, 100]`;
    causes.push(invalid(child(index(child(at, "resources"), i), "weight"), weight, why));
  });
  const ratioPath = child(at, "requestedToCapacityRatio");
  if (type === "RequestedToCapacityRatio") {
    if (!ratio) {
      const why = "must be specified when type is RequestedToCapacityRatio";
      causes.push(required(ratioPath, why));
    } else checkShape(ratio.shape ?? [], child(ratioPath, "shape"), causes);
  } else if (ratio) {
    causes.push(forbidden(ratioPath, "must be nil when type is not RequestedToCapacityRatio"));
  }
}

function checkShape(shape: readonly Args[], path: string, causes: Cause[]): void {
  if (shape.length === 0) {
    causes.push(required(path, "at least one point must be specified"));
    return;
  }
  const unsorted = shape.findIndex((point, i) =>
    i > 0 && shape[i - 1].utilization >= point.utilization
  );
  if (unsorted > 0) {
    const { utilization } = shape[unsorted];
    const at = child(index(path, unsorted), "utilization");
    causes.push(invalid(at, utilization, "values must be sorted in increasing order"));
  }
  shape.forEach((point, i) => {
    const within = (field: string, max: number) => {
      const value = point[field] ?? 0;
      if (value >= 0 && value <= max) return;
      const at = child(index(path, i), field);
      causes.push(invalid(at, value, `not in valid range [0, ${max}]`));
    };
    within("utilization", 100);
    within("score", POINT_SCORE_MAX);
  });
}

function checkSpread(args: Args, path: string, causes: Cause[]): void {
  const { defaultConstraints: constraints, defaultingType: type } = args;
  const typePath = child(path, "defaultingType");
  if (type !== "System" && type !== "List") {
    causes.push(notSupported(typePath, type, ["System", "List"]));
  } else if (type === "System" && constraints.length > 0) {
    causes.push(invalid(typePath, type, "when .defaultConstraints are not empty"));
  }
  const all = child(path, "defaultConstraints");
  constraints.forEach((constraint: Args, i: number) => {
    const at = index(all, i);
    const { maxSkew = 0, topologyKey, whenUnsatisfiable: when } = constraint;
    if (maxSkew <= 0) {
      causes.push(invalid(child(at, "maxSkew"), maxSkew, "not in valid range (0, inf)"));
    }
    if (!topologyKey) causes.push(required(child(at, "topologyKey"), "can not be empty"));
    else {
      for (const why of isQualifiedName(topologyKey)) {
        causes.push(invalid(child(at, "topologyKey"), topologyKey, why));
      }
    }
    const known = ["DoNotSchedule", "ScheduleAnyway"];
    if (!when) causes.push(required(child(at, "whenUnsatisfiable"), "can not be empty"));
    else if (!known.includes(when)) {
      causes.push(notSupported(child(at, "whenUnsatisfiable"), when, known));
    }
    if (constraint.labelSelector) {
      const why = "constraint must not define a selector, as they deduced for each pod";
      causes.push(forbidden(child(at, "labelSelector"), why));
    }
    const twin = constraints.slice(0, i).some((other: Args) =>
      other.topologyKey === topologyKey && other.whenUnsatisfiable === when
    );
    if (twin) causes.push(duplicate(at, `{${topologyKey}, ${when}}`));
  });
}

const OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"];

function checkAddedAffinity({ addedAffinity }: Args, path: string, causes: Cause[]): void {
  if (!addedAffinity) return;
  const at = child(path, "addedAffinity");
  const requirements = (term: Args, termPath: string) => {
    for (const field of ["matchExpressions", "matchFields"]) {
      (term?.[field] ?? []).forEach(({ operator }: Args, i: number) => {
        if (OPERATORS.includes(operator)) return;
        const where = child(index(child(termPath, field), i), "operator");
        causes.push(notSupported(where, operator, [...OPERATORS].sort()));
      });
    }
  };
  const hard = "requiredDuringSchedulingIgnoredDuringExecution";
  const soft = "preferredDuringSchedulingIgnoredDuringExecution";
  (addedAffinity[hard]?.nodeSelectorTerms ?? []).forEach((term: Args, i: number) =>
    requirements(term, index(child(child(at, hard), "nodeSelectorTerms"), i))
  );
  (addedAffinity[soft] ?? []).forEach(({ preference }: Args, i: number) =>
    requirements(preference, index(child(at, soft), i))
  );
}

// --- profiles and extenders -------------------------------------------------------------------------------

const REMOVED = ["AzureDiskLimits", "CinderLimits", "EBSLimits", "GCEPDLimits"];
const VERSION = "kubescheduler.config.k8s.io/v1";
const REMOVED_TEXT =
  `was invalid in version "${VERSION}" (KubeSchedulerConfiguration is version "${VERSION}")`;

function checkPercentage(path: string, percentage: number | undefined, causes: Cause[]): void {
  if (percentage === undefined || (percentage >= 0 && percentage <= 100)) return;
  causes.push(invalid(path, percentage, "not in valid range [0-100]"));
}

function checkProfiles(
  profiles: readonly ProfileConfiguration[],
  causes: Cause[],
  features: Features | undefined,
): void {
  const seen = new Map<string, number>();
  profiles.forEach((profile, i) => {
    const path = index("profiles", i);
    const name = profile.schedulerName!;
    if (!name) causes.push(required(child(path, "schedulerName")));
    checkPercentage(
      child(path, "percentageOfNodesToScore"),
      profile.percentageOfNodesToScore,
      causes,
    );
    checkPlugins(profile, path, causes, features);
    const first = seen.get(name);
    if (first !== undefined) {
      const other = child(index("profiles", first), "schedulerName");
      causes.push(duplicate(child(path, "schedulerName"), other));
    }
    seen.set(name, i);
  });
  const sorting = ({ plugins }: ProfileConfiguration) => JSON.stringify(plugins!.queueSort);
  const length = profiles[0].plugins!.queueSort!.enabled!.length;
  if (length > 1) {
    const at = "profiles[0].plugins.queueSort.Enabled";
    causes.push(invalid(at, length, "only one queue sort plugin can be enabled"));
  }
  profiles.forEach((profile, i) => {
    if (sorting(profile) === sorting(profiles[0])) return;
    const at = child(index("profiles", i), "plugins.queueSort");
    causes.push(invalid(at, profile.plugins!.queueSort, "must be the same for all profiles"));
  });
}

function checkPlugins(
  { plugins, pluginConfig }: ProfileConfiguration,
  path: string,
  causes: Cause[],
  features: Features | undefined,
): void {
  for (const point of EXTENSION_POINTS) {
    plugins![point]!.enabled!.forEach(({ name }, i) => {
      if (!REMOVED.includes(name)) return;
      const at = index(child(path, `plugins.${point}.enabled`), i);
      causes.push(invalid(at, name, REMOVED_TEXT));
    });
  }
  const seen = new Set<string>();
  pluginConfig!.forEach(({ name, args }, i) => {
    const at = index(child(path, "pluginConfig"), i);
    if (seen.has(name)) causes.push(duplicate(at, name));
    seen.add(name);
    if (REMOVED.includes(name)) causes.push(invalid(at, name, REMOVED_TEXT));
    else ARGUMENTS[name]?.check(args, child(at, "args"), causes, features);
  });
}

const NATIVE = /^([^/]*\.)?kubernetes\.io\//;

function checkExtenders(extenders: readonly ExtenderConfiguration[], causes: Cause[]): void {
  const managed = new Set<string>();
  extenders.forEach(({ prioritizeVerb, weight = 0, managedResources = [] }, i) => {
    const path = index("extenders", i);
    if (prioritizeVerb && weight <= 0) {
      const why = "must have a positive weight applied to it";
      causes.push(invalid(child(path, "weight"), weight, why));
    }
    managedResources.forEach(({ name }, j) => {
      const at = child(index(child(path, "managedResources"), j), "name");
      const problems = isQualifiedName(name);
      for (const why of problems) causes.push(invalid(at, name, why));
      const extended = name.includes("/") && !NATIVE.test(name) && !name.startsWith("requests.");
      if (problems.length === 0 && !extended) {
        causes.push(invalid(at, name, "is an invalid extended resource name"));
      }
      if (managed.has(name)) {
        causes.push(invalid(at, name, "duplicate extender managed resource name"));
      }
      managed.add(name);
    });
  });
  const binders = extenders.filter(({ bindVerb }) => bindVerb).length;
  if (binders <= 1) return;
  const found = `found ${binders} extenders implementing bind`;
  causes.push(invalid("extenders", found, "only one extender can implement bind"));
}
