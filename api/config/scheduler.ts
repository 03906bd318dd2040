/**
 * `--scheduler-config`: a KubeSchedulerConfiguration, as kube-scheduler's `--config`. Read strictly here; what its values
 * mean, and whether they can be, is the scheduler's affair. A plugin may name its module (`args.module`): a path is meant
 * from the file's folder.
 */
import {
  type Document,
  type DocumentKind,
  readDocument,
  readFields,
  type Shape,
} from "./document.ts";
import { type Flags, UsageError } from "./flags.ts";
import type { ReadConfig } from "./server.ts";

const FLAG = "scheduler-config";
const GROUP = "kubescheduler.config.k8s.io";

const PLUGIN_SET: Shape = {
  enabled: [{ name: "string", weight: "number" }],
  disabled: [{ name: "string", weight: "number" }],
};

const POINTS = [
  ...["preEnqueue", "queueSort", "preFilter", "filter", "postFilter", "preScore", "score"],
  ...["reserve", "permit", "preBind", "bind", "postBind", "multiPoint"],
  ...["placementGenerate", "placementScore"],
];

const CONFIGURATION: DocumentKind = {
  kind: "KubeSchedulerConfiguration",
  group: GROUP,
  versions: ["v1"],
  shape: {
    parallelism: "number",
    leaderElection: "any",
    clientConnection: "any",
    enableProfiling: "boolean",
    enableContentionProfiling: "boolean",
    percentageOfNodesToScore: "number",
    podInitialBackoffSeconds: "number",
    podMaxBackoffSeconds: "number",
    delayCacheUntilActive: "boolean",
    profiles: [{
      schedulerName: "string",
      percentageOfNodesToScore: "number",
      plugins: Object.fromEntries(POINTS.map((point) => [point, PLUGIN_SET])),
      pluginConfig: [{ name: "string", args: "any" }],
    }],
    extenders: [{
      urlPrefix: "string",
      filterVerb: "string",
      preemptVerb: "string",
      prioritizeVerb: "string",
      weight: "number",
      bindVerb: "string",
      enableHTTPS: "boolean",
      tlsConfig: {
        insecure: "boolean",
        serverName: "string",
        certFile: "string",
        keyFile: "string",
        caFile: "string",
        certData: "string",
        keyData: "string",
        caData: "string",
      },
      httpTimeout: "duration",
      nodeCacheCapable: "boolean",
      managedResources: [{ name: "string", ignoredByScheduler: "boolean" }],
      ignorable: "boolean",
    }],
  },
};

const META = { apiVersion: "string", kind: "string" } as const;
const WEIGHTED: Shape = [{ name: "string", weight: "number" }];
const SHAPE: Shape = [{ utilization: "number", score: "number" }];

/** What the default plugins may be told. */
const ARGS: Readonly<Record<string, { readonly [field: string]: Shape }>> = {
  DefaultPreemption: { minCandidateNodesPercentage: "number", minCandidateNodesAbsolute: "number" },
  DynamicResources: { filterTimeout: "duration", bindingTimeout: "duration" },
  InterPodAffinity: {
    hardPodAffinityWeight: "number",
    ignorePreferredTermsOfExistingPods: "boolean",
  },
  NodeAffinity: { addedAffinity: "any" },
  NodeResourcesBalancedAllocation: { resources: WEIGHTED },
  NodeResourcesFit: {
    ignoredResources: "strings",
    ignoredResourceGroups: "strings",
    scoringStrategy: {
      type: "string",
      resources: WEIGHTED,
      requestedToCapacityRatio: { shape: SHAPE },
    },
  },
  PodTopologySpread: { defaultConstraints: "any", defaultingType: "string" },
  VolumeBinding: { bindTimeoutSeconds: "number", shape: SHAPE },
};

/** What the flag's file asks for; undefined without it. Throws UsageError. */
export async function schedulerOfFlags(
  flags: Flags,
  read: ReadConfig,
): Promise<Document | undefined> {
  const path = flags[FLAG];
  const text = await read(FLAG, path);
  if (path === undefined || text === undefined) return undefined;
  try {
    const configuration = schedulerConfiguration(text, path);
    for (const { tlsConfig: tls } of configuration.extenders ?? []) {
      for (const name of ["cert", "key", "ca"]) {
        const file = tls?.[`${name}File`];
        if (file) tls[`${name}Data`] = btoa(await read(FLAG, file) ?? "");
      }
    }
    return configuration;
  } catch (error) {
    if (error instanceof UsageError || !(error instanceof Error)) throw error;
    throw new UsageError(`--${FLAG}: ${error.message}`);
  }
}

/** Reads a configuration that lies at `path`. Throws Error. */
export function schedulerConfiguration(text: string, path: string): Document {
  const configuration = readDocument(text, CONFIGURATION);
  (configuration.profiles ?? []).forEach((profile: Document, i: number) => {
    (profile.pluginConfig ?? []).forEach((config: Document, j: number) => {
      const { name, args = {} } = config;
      if (Object.hasOwn(ARGS, name)) {
        config.args = argsOf(name, args, `.profiles[${i}].pluginConfig[${j}]`);
      } else if (typeof args?.module === "string") {
        config.args = { ...args, module: resolved(args.module, path) };
      }
    });
  });
  return configuration;
}

function argsOf(name: string, args: Document, path: string): Document {
  const decoding = (text: string) =>
    new Error(`decoding ${path}: decoding args for plugin ${name}: ${text}`);
  const { apiVersion = `${GROUP}/v1`, kind = `${name}Args` } = args ?? {};
  if (apiVersion !== `${GROUP}/v1`) {
    throw decoding(
      `no kind ${JSON.stringify(kind)} is registered for version ${JSON.stringify(apiVersion)}`,
    );
  }
  if (kind !== `${name}Args`) {
    throw new Error(
      `decoding ${path}: args for plugin ${name} were not of type ${name}Args.${GROUP}, got ${kind}.${GROUP}`,
    );
  }
  const unknown: string[] = [];
  let told: Document;
  try {
    told = readFields(args, { ...META, ...ARGS[name] }, unknown);
  } catch (error) {
    throw decoding((error as Error).message);
  }
  if (unknown.length > 0) {
    const problems = unknown.map((field) => `unknown field "${field}"`).join(", ");
    throw new Error(
      `strict decoding error: decoding ${path}: strict decoding error: decoding args for plugin ${name}: ` +
        `strict decoding error: ${problems}`,
    );
  }
  const { apiVersion: _version, kind: _kind, ...fields } = told;
  return fields;
}

/** A module as it is named in a file: what is no URL is a path from the file's folder. */
function resolved(module: string, path: string): string {
  if (/^[a-z][a-z0-9+.-]+:/i.test(module) || module.startsWith("/")) return module;
  const folder = path.includes("/") ? path.slice(0, path.lastIndexOf("/") + 1) : "";
  return `${folder}${module}`;
}
