/**
 * From a configuration to plugins: the registry of those that come with the scheduler, and which of them, and of
 * others, a profile has at which extension point.
 */
import { becauseOf, type Informer, type Informers } from "../../api/client/contract.ts";
import { bindsByConditions } from "../../api/kinds/gates.ts";
import { labelSelector } from "../../api/machinery/selectors.ts";
import type { Clock } from "../../kv/clock.ts";
import type { Recorder } from "../runtime/contract.ts";
import { Algorithm, type FilterQuestion } from "./algorithm.ts";
import { type PointTimes, SchedulerMetrics } from "./metrics.ts";
import type { Cluster } from "./cluster.ts";
import {
  type CompleteConfiguration,
  EXTENSION_POINTS,
  type ExtensionPoint,
  type PluginRef,
  type PluginSets,
} from "./configuration.ts";
import type { Diagnosis, Happening, Plugin, PodInfo } from "./framework.ts";
import { dynamicResources } from "./plugins/dynamic_resources.ts";
import { preempt, type PreemptionArgs, RememberedCandidates } from "./preemption.ts";
import { atOnce } from "./steps.ts";
import { interPodAffinity } from "./plugins/inter_pod_affinity.ts";
import { nodeAffinity } from "./plugins/node_affinity.ts";
import {
  imageLocality,
  nodeDeclaredFeatures,
  nodeName,
  nodePorts,
  nodeUnschedulable,
  schedulingGates,
  taintToleration,
} from "./plugins/node_basics.ts";
import { nodeResourcesBalancedAllocation, nodeResourcesFit } from "./plugins/node_resources.ts";
import { nodeVolumeLimits } from "./plugins/node_volume_limits.ts";
import { podTopologySpread, type Siblings } from "./plugins/pod_topology_spread.ts";
import {
  volumeBinding,
  type VolumePorts,
  volumeRestrictions,
  volumeZone,
} from "./plugins/volumes.ts";

/** The caches that plugins read. */
export interface PluginInformers extends VolumePorts {
  services: Informer;
  replicationControllers: Informer;
  replicaSets: Informer;
  statefulSets: Informer;
  namespaces: Informer;
}

/** What a plugin is made with beside its arguments. */
export interface PluginHandle extends PluginInformers {
  /** Every kind's cache; asking for one here keeps it from then on. */
  informers: Informers;
  clock: Clock;
  recorder: Recorder;
  cluster: Cluster;
  /** Which feature gates are on (default: as upstream's are by default). */
  features?: ReadonlyMap<string, boolean>;
  /** Says that something changed which the scheduler does not watch: it wakes the pods that it can help. */
  changed(happening: Happening): void;
  /** Why a pod does not pass the profile's filters on a node as the cluster stands when that is asked. */
  filter(pod: PodInfo): FilterQuestion;
}

/** Makes a plugin with the arguments of its `pluginConfig`. A module's default export may be one. */
// deno-lint-ignore no-explicit-any -- what a plugin is told is its own affair
export type PluginFactory = (args: any, handle: PluginHandle) => Plugin | Promise<Plugin>;

/** Plugins by name, to be switched on by profiles. */
export type Registry = Readonly<Record<string, PluginFactory>>;

/** The plugins that come with the scheduler. */
export const REGISTRY: Registry = {
  SchedulingGates: () => schedulingGates,
  PrioritySort: () => prioritySort,
  NodeUnschedulable: () => nodeUnschedulable,
  NodeName: () => nodeName,
  TaintToleration: () => taintToleration,
  NodeAffinity: nodeAffinity,
  NodePorts: () => nodePorts,
  NodeResourcesFit: nodeResourcesFit,
  VolumeRestrictions: (_args, handle) => volumeRestrictions(handle),
  NodeVolumeLimits: (_args, handle) => {
    const storage = (plural: string) =>
      handle.informers.for({ group: "storage.k8s.io", version: "v1", plural });
    const { claims, volumes, classes } = handle;
    const csiNodes = storage("csinodes");
    const attachments = storage("volumeattachments");
    return nodeVolumeLimits({ claims, volumes, classes, csiNodes, attachments });
  },
  VolumeBinding: (args, handle) => volumeBinding(handle, args),
  VolumeZone: (_args, handle) => volumeZone(handle),
  PodTopologySpread: (args, handle) => podTopologySpread((pod) => siblingsOf(pod, handle), args),
  InterPodAffinity: interPodAffinity,
  DynamicResources: (args, handle) => {
    const { client, changed, shared, features } = handle;
    const of = (plural: string) =>
      handle.informers.for({ group: "resource.k8s.io", version: "v1", plural });
    return dynamicResources({
      client,
      changed,
      shared,
      bindsByConditions: bindsByConditions(features),
      uuid: () => handle.clock.uuid(),
      now: () => handle.clock.now(),
      wait: handle.wait,
      said: ({ pod }, reason, message) =>
        handle.recorder.event(pod, "Normal", reason, message, { action: "Scheduling" }),
      claims: of("resourceclaims"),
      classes: of("deviceclasses"),
      slices: of("resourceslices"),
    }, args);
  },
  DefaultPreemption: defaultPreemption,
  NodeResourcesBalancedAllocation: nodeResourcesBalancedAllocation,
  ImageLocality: () => imageLocality,
  NodeDeclaredFeatures: () => nodeDeclaredFeatures,
  DefaultBinder: defaultBinder,
};

/** The order of the queue: `queue.ts` itself has it built in. */
const prioritySort: Plugin = {
  name: "PrioritySort",
  wakesOn: [],
  before: (a, b) => a.priority > b.priority,
};

const BUDGETS = { group: "policy", version: "v1", plural: "poddisruptionbudgets" };
const PODS = { group: "", version: "v1", plural: "pods" };

/** Makes room by eviction: see `preemption.ts`. */
function defaultPreemption(args: PreemptionArgs, handle: PluginHandle): Plugin {
  const budgets = handle.informers.for(BUDGETS);
  const remembered = new RememberedCandidates(handle.cluster);
  const steps = (pod: PodInfo, diagnosis: Diagnosis) =>
    preempt(pod, diagnosis, {
      cluster: handle.cluster,
      filter: handle.filter,
      budgets: () => budgets.list(),
      random: () => handle.clock.random(),
      remembered,
    }, args);
  return {
    name: "DefaultPreemption",
    wakesOn: [],
    postFilter: (pod, diagnosis) => atOnce(steps(pod, diagnosis)),
    postFilterInSteps: steps,
  };
}

/** Writes a pod's binding. */
function defaultBinder(_args: unknown, { client }: PluginHandle): Plugin {
  return {
    name: "DefaultBinder",
    wakesOn: [],
    async bind({ pod: { pod } }, node) {
      const { namespace, name, uid } = pod.metadata;
      await becauseOf(client, pod).create({
        resource: PODS,
        namespace,
        name,
        subresource: "binding",
      }, {
        apiVersion: "v1",
        kind: "Binding",
        metadata: { name, namespace, uid },
        target: { apiVersion: "v1", kind: "Node", name: node.name },
      });
    },
  };
}

/** The methods by which a plugin is at an extension point; the first is the one that says so. */
const METHODS: Readonly<Record<ExtensionPoint, readonly (keyof Plugin)[]>> = {
  preEnqueue: ["preEnqueue"],
  queueSort: ["before"],
  preFilter: ["preFilter"],
  filter: ["filter"],
  postFilter: ["postFilter", "postFilterInSteps"],
  preScore: ["preScore"],
  score: ["score", "normalize"],
  reserve: ["reserve", "unreserve"],
  permit: ["permit"],
  preBind: ["preBind"],
  bind: ["bind"],
  postBind: ["postBind"],
};

/** What upstream calls a plugin of a point. */
const TYPES: Readonly<Record<ExtensionPoint, string>> = {
  preEnqueue: "PreEnqueuePlugin",
  queueSort: "QueueSortPlugin",
  preFilter: "PreFilterPlugin",
  filter: "FilterPlugin",
  postFilter: "PostFilterPlugin",
  preScore: "PreScorePlugin",
  score: "ScorePlugin",
  reserve: "ReservePlugin",
  permit: "PermitPlugin",
  preBind: "PreBindPlugin",
  bind: "BindPlugin",
  postBind: "PostBindPlugin",
};

/** Where plugins come from that are not the scheduler's own. */
export interface Loading {
  /** Plugins of your own, by name; a profile switches them on. */
  plugins?: Registry;
  /** Loads the module that a plugin's `args.module` names; its default export makes the plugin. */
  load?: (module: string) => Promise<{ default: PluginFactory }>;
}

/** The scheduler's own plugins, those given, and those whose arguments name a module. */
export function registryOf(
  { profiles }: CompleteConfiguration,
  { plugins = {}, load }: Loading,
): Registry {
  const registry: Record<string, PluginFactory> = { ...REGISTRY };
  const add = (name: string, factory: PluginFactory) => {
    if (Object.hasOwn(registry, name)) throw new TypeError(`a plugin named ${name} already exists`);
    registry[name] = factory;
  };
  for (const [name, factory] of Object.entries(plugins)) add(name, factory);
  const modules = new Map<string, string>();
  for (const { args } of profiles) {
    for (const [name, told] of args) {
      const module = (told as { module?: unknown } | undefined)?.module;
      if (typeof module === "string" && !Object.hasOwn(REGISTRY, name)) modules.set(name, module);
    }
  }
  for (const [name, module] of modules) {
    if (!load) {
      throw new TypeError(`Cannot load plugin ${name} from "${module}": no loader was given`);
    }
    add(name, async (args, handle) => {
      const made = (await load(module)).default;
      if (typeof made === "function") return await made(args, handle);
      throw new TypeError(`the default export of "${module}" does not make a plugin`);
    });
  }
  return registry;
}

/** A profile at work. */
export interface Profile {
  name: string;
  /** All of them, in the order of their filters. */
  plugins: readonly Plugin[];
  byName: ReadonlyMap<string, Plugin>;
  /** Those on at a point, in its own order. */
  at: Readonly<Record<ExtensionPoint, readonly Plugin[]>>;
  algorithm: Algorithm;
  points: PointTimes;
}

/** Makes a configuration's profiles, by their schedulers' names. They share the cluster's picture and its promises. */
export async function profilesOf(
  configuration: CompleteConfiguration,
  registry: Registry,
  { metrics = new SchedulerMetrics(), ...handle }: Omit<PluginHandle, "filter"> & {
    metrics?: SchedulerMetrics;
  },
): Promise<Map<string, Profile>> {
  const profiles = new Map<string, Profile>();
  for (const settings of configuration.profiles) {
    const name = settings.schedulerName;
    const filter: PluginHandle["filter"] = (pod) => profiles.get(name)!.algorithm.filter(pod);
    const made = await pluginsOf(settings, registry, { ...handle, filter });
    const points = metrics.points(name, handle.clock);
    const algorithm = new Algorithm(handle.cluster, made.plugins, {
      points,
      random: () => handle.clock.random(),
      percentageOfNodesToScore: settings.percentageOfNodesToScore ??
        configuration.percentageOfNodesToScore,
    });
    profiles.set(name, { name, ...made, algorithm, points });
  }
  return profiles;
}

/** Throws TypeError, in upstream's words, for a plugin that is switched on and does not exist. */
export function checkRegistered(
  { profiles }: CompleteConfiguration,
  registry: Registry,
): void {
  // The first point that upstream looks at names the missing one's type
  const fallback: ExtensionPoint = "preFilter";
  for (const { plugins } of profiles) {
    for (const point of [...EXTENSION_POINTS, "multiPoint"] as const) {
      for (const { name } of plugins[point]?.enabled ?? []) {
        if (Object.hasOwn(registry, name)) continue;
        throw missing(name, point === "multiPoint" ? fallback : point);
      }
    }
  }
}

function missing(name: string, point: ExtensionPoint): TypeError {
  return new TypeError(`${TYPES[point]} "${name}" does not exist`);
}

type ProfileSettings = CompleteConfiguration["profiles"][number];

/**
 * A profile's plugins, each with the methods of the points that it is on at and the weight it has there. They come in
 * the order of their filters; those without one follow in the order they are named. Throws TypeError in upstream's words.
 */
async function pluginsOf(
  { schedulerName, plugins: sets, args }: ProfileSettings,
  registry: Registry,
  handle: PluginHandle,
): Promise<Pick<Profile, "plugins" | "byName" | "at">> {
  const named = new Set<string>();
  for (const set of Object.values(sets)) for (const { name } of set?.enabled ?? []) named.add(name);
  const made = new Map<string, Plugin>();
  for (const name of named) {
    const factory = Object.hasOwn(registry, name) ? registry[name] : undefined;
    if (factory) made.set(name, await factory(args.get(name) ?? {}, handle));
  }
  const points = new Map<ExtensionPoint, PluginRef[]>();
  for (const point of EXTENSION_POINTS) points.set(point, enabledAt(point, sets, made));
  const sorting = points.get("queueSort")!.length;
  if (sorting !== 1) {
    const got = sorting === 0 ? "none" : String(sorting);
    throw new TypeError(
      `only one queue sort plugin required for profile with scheduler name "${schedulerName}", but got ${got}`,
    );
  }
  if (points.get("bind")!.length === 0) {
    throw new TypeError(
      `at least one bind plugin is needed for profile with scheduler name "${schedulerName}"`,
    );
  }
  const order = [...new Set([...points.get("filter")!.map(({ name }) => name), ...named])];
  const plugins = order.flatMap((name) => {
    const on = EXTENSION_POINTS.filter((point) => points.get(point)!.some((p) => p.name === name));
    const plugin = made.get(name);
    if (!plugin || on.length === 0) return [];
    const score = points.get("score")!.find((ref) => ref.name === name);
    return [viewOf(plugin, on, score && (score.weight || 1))];
  });
  const byName = new Map(plugins.map((plugin) => [plugin.name, plugin]));
  const at = (point: ExtensionPoint) => points.get(point)!.map(({ name }) => byName.get(name)!);
  return {
    plugins,
    byName,
    at: Object.fromEntries(
      EXTENSION_POINTS.map((point) => [point, at(point)]),
    ) as unknown as Profile[
      "at"
    ],
  };
}

/** Who is on at a point: those named there that are on everywhere, those on everywhere, the others named there. */
function enabledAt(
  point: ExtensionPoint,
  sets: PluginSets,
  made: ReadonlyMap<string, Plugin>,
): PluginRef[] {
  const { enabled = [], disabled = [] } = sets[point] ?? {};
  const off = new Set(disabled.map(({ name }) => name));
  const has = (name: string) => made.get(name)![METHODS[point][0]] !== undefined;
  for (const { name } of enabled) {
    if (!made.has(name)) throw missing(name, point);
    if (!has(name)) throw new TypeError(`plugin "${name}" does not extend ${TYPES[point]} plugin`);
  }
  twice(enabled, point);
  if (off.has("*")) return [...enabled];
  const everywhere = (sets.multiPoint?.enabled ?? []).filter(({ name }) =>
    has(name) && !off.has(name)
  );
  twice(everywhere, point);
  const both = enabled.filter(({ name }) => everywhere.some((other) => other.name === name));
  const rest = everywhere.filter(({ name }) => !enabled.some((other) => other.name === name));
  return [...both, ...rest, ...enabled.filter((ref) => !both.includes(ref))];
}

function twice(refs: readonly PluginRef[], point: ExtensionPoint): void {
  refs.forEach(({ name }, i) => {
    if (!refs.slice(0, i).some((other) => other.name === name)) return;
    throw new TypeError(`plugin "${name}" already registered as "${TYPES[point]}"`);
  });
}

/** A plugin with the methods of some points only, and another weight. */
function viewOf(plugin: Plugin, on: readonly ExtensionPoint[], weight: number | undefined): Plugin {
  const whole = EXTENSION_POINTS.every((point) =>
    on.includes(point) || plugin[METHODS[point][0]] === undefined
  );
  if (whole && (weight === undefined || weight === plugin.weight)) return plugin;
  const view: Record<string, unknown> = {
    name: plugin.name,
    wakesOn: plugin.wakesOn,
    ...(weight !== undefined && { weight }),
  };
  const methods = ["hint", "remedy", ...on.flatMap((point) => METHODS[point])] as const;
  for (const method of methods) {
    const own = plugin[method as keyof Plugin];
    if (typeof own === "function") view[method] = own.bind(plugin);
  }
  return view as unknown as Plugin;
}

/** What a pod without spread constraints is spread among: its services' and its owner's pods. */
function siblingsOf(pod: PodInfo, informers: PluginInformers): Siblings | undefined {
  const wanted: Record<string, string> = {};
  for (const service of informers.services.list(pod.namespace)) {
    const selector = service.spec?.selector as Readonly<Record<string, string>> | undefined;
    if (!selector || Object.keys(selector).length === 0) continue;
    if (Object.entries(selector).every(([key, value]) => pod.labels[key] === value)) {
      Object.assign(wanted, selector);
    }
  }
  const owner = pod.pod.metadata.ownerReferences?.find((reference) => reference.controller);
  const owned = owner && ownerOf(pod.namespace, owner, informers);
  const selector = owned && labelSelector(owned);
  if (Object.keys(wanted).length === 0 && !selector) return undefined;
  const pairs = Object.entries(wanted);
  return {
    id: JSON.stringify([wanted, owned ?? null]),
    matches: (labels) =>
      pairs.every(([key, value]) => labels[key] === value) &&
      (!selector || selector.matches(labels)),
  };
}

function ownerOf(
  namespace: string,
  owner: Readonly<{ kind: string; name: string }>,
  informers: PluginInformers,
) {
  const key = `${namespace}/${owner.name}`;
  switch (owner.kind) {
    case "ReplicaSet":
      return informers.replicaSets.get(key)?.spec?.selector;
    case "StatefulSet":
      return informers.statefulSets.get(key)?.spec?.selector;
    case "ReplicationController": {
      const matchLabels = informers.replicationControllers.get(key)?.spec?.selector;
      return matchLabels && { matchLabels };
    }
    default:
      return undefined;
  }
}
