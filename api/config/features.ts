/**
 * Feature gates and `--runtime-config`: which kinds are served, and what little else can be switched here. Names,
 * defaults and the texts of errors are Kubernetes 1.36's. A gate that upstream has and that means nothing here is
 * taken, so that a command line written for upstream's server goes on working, and changes nothing.
 */
import { joinedErrors } from "../auth/authorize.ts";
import { GATED_KINDS } from "../kinds/gates.ts";
import { createKinds } from "../kinds/mod.ts";
import type { Kind, Kinds } from "../machinery/types.ts";
import { UsageError } from "./flags.ts";
import { FEATURE_NAMES } from "./feature_names.ts";

/** How far a feature is. */
export type Stage = "alpha" | "beta" | "ga" | "deprecated";

/** A gate as it is by default. */
export interface Feature {
  stage: Stage;
  on: boolean;
  locked: boolean;
  /** Those that it cannot be on without. */
  needs: readonly string[];
}

/** The gates that change something here: what they do when they are set to other than their default. */
export const EFFECTIVE: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    Object.entries(GATED_KINDS).map(([kind, gate]) => [gate, `serves ${kind}`]),
  ),
  DRADeviceBindingConditions: "pods wait for devices that are brought to their nodes",
  DRAResourceClaimDeviceStatus: "drivers tell of devices in a claim's status",
  DRAResourceClaimGranularStatusAuthorization:
    "a claim's status takes rights on resourceclaims/binding and resourceclaims/driver",
  HPAScaleToZero: "autoscalers may take the last pod away, and bring the first one back",
  MaxUnavailableStatefulSet: "an update of a StatefulSet may take down several pods at once",
  WatchList: "watches may begin with what is there (sendInitialEvents)",
};

let features: ReadonlyMap<string, Feature> | undefined;

/** All gates. */
export function knownFeatures(): ReadonlyMap<string, Feature> {
  return features ??= new Map(
    FEATURE_NAMES.trim().split("\n").map((line) => {
      const [own, needs] = line.split(" needs ");
      const [name, stage, ...more] = own.split(" ");
      return [name, {
        stage: stage as Stage,
        on: more.includes("on"),
        locked: more.includes("locked"),
        needs: needs?.split(" ") ?? [],
      }];
    }),
  );
}

/** Go's strconv.ParseBool. */
function boolOf(text: string): boolean | undefined {
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  if (/^(0|f|F|FALSE|false|False)$/.test(text)) return false;
  return undefined;
}

function notBool(text: string): string {
  return `err: strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`;
}

/** The state of every gate, from what `--feature-gates` sets. Throws UsageError for what cannot be set. */
export function featureGates(settings: readonly string[]): ReadonlyMap<string, boolean> {
  const set = settingsOf(settings);
  const states = new Map<string, boolean>();
  const wrong: string[] = [];
  for (const [name, { stage, on, locked }] of knownFeatures()) {
    const own = set.get(name);
    if (locked && own === !on) {
      wrong.push(`cannot set feature gate ${name} to ${own}, feature is locked to ${on}`);
    }
    const all = locked ? undefined : set.get(ALL_OF[stage] ?? "");
    states.set(name, own ?? all ?? on);
  }
  // What nobody has set agrees with itself
  if (set.size > 0 && wrong.length === 0) wrong.push(...unmet(states));
  if (wrong.length > 0) throw new UsageError(joinedErrors(wrong));
  return states;
}

function settingsOf(settings: readonly string[]): Map<string, boolean> {
  const set = new Map<string, boolean>();
  for (const setting of settings) {
    const [name, text] = setting.split(/=(.*)/).map((part) => part.trim());
    if (text === undefined) throw new UsageError(`missing bool value for ${name}`);
    const value = boolOf(text);
    if (value === undefined) {
      throw new UsageError(`invalid value of ${name}=${text}, ${notBool(text)}`);
    }
    set.set(name, value);
  }
  for (const name of set.keys()) {
    if (!knownFeatures().has(name)) throw new UsageError(`unrecognized feature gate: ${name}`);
  }
  return set;
}

/** What is on without something that it needs. */
function* unmet(states: ReadonlyMap<string, boolean>): Generator<string> {
  for (const [name, { needs }] of knownFeatures()) {
    const off = states.get(name) ? needs.filter((other) => !states.get(other)) : [];
    if (off.length === 0) continue;
    yield `${name} is enabled, but depends on features that are disabled: [${off.join(" ")}]`;
  }
}

/** Gates that stand for all of a stage. */
const ALL_OF: Partial<Record<Stage, string>> = { alpha: "AllAlpha", beta: "AllBeta" };

/** Gates in the words of upstream's metric. */
export function featureLines(states: ReadonlyMap<string, boolean>): string[] {
  const name = "kubernetes_feature_enabled";
  const lines = [
    `# HELP ${name} Whether a feature gate is on.`,
    `# TYPE ${name} gauge`,
  ];
  for (const [feature, on] of states) {
    const { stage } = knownFeatures().get(feature)!;
    const label = stage === "ga" ? "" : stage.toUpperCase();
    lines.push(`${name}{name="${feature}",stage="${label}"} ${on ? 1 : 0}`);
  }
  return lines;
}

/** Which versions the general keys are for, in the order in which they are heeded. */
const MATCHERS: readonly [string, RegExp][] = [
  ["api/all", /./],
  ["api/ga", /^v\d+$/],
  ["api/beta", /^v\d+beta\d+$/],
  ["api/alpha", /^v\d+alpha\d+$/],
];

/** What decides of a kind. */
export interface Enablement {
  /** `--runtime-config`: `key=true`, `key=false` or `key`. */
  runtimeConfig?: readonly string[];
  gates?: ReadonlyMap<string, boolean>;
  /** All beta kinds, whatever gate they are behind. */
  beta?: boolean;
}

/** Whether a built-in kind is served. Throws UsageError for settings that name nothing. */
export function enablement(
  { runtimeConfig = [], gates, beta = false }: Enablement,
  kinds: readonly Kind[],
): (kind: Kind) => boolean {
  const settings = new Map<string, string>();
  for (const setting of runtimeConfig) {
    const [key, value = ""] = setting.split(/=(.*)/).map((part) => part.trim());
    settings.set(key, value);
  }
  if (settings.size === 1 && settings.get("api/all") === "false") {
    throw new UsageError("invalid runtime-config with only api/all=false");
  }
  const general = MATCHERS.flatMap(([key, pattern]): [RegExp, boolean][] => {
    const value = settings.get(key);
    settings.delete(key);
    if (value === undefined) return [];
    if (value !== "true" && value !== "false") {
      throw new UsageError(`invalid value ${key}=${value}`);
    }
    return [[pattern, value === "true"]];
  });
  const own = ownSettings(settings, kinds);
  return (kind) => {
    const { group, version, plural } = kind;
    let on = kind.level === undefined || beta;
    // Served by this server only for want of another one: general keys are for what upstream's has
    if (group !== "metrics.k8s.io") {
      for (const [pattern, value] of general) if (pattern.test(version)) on = value;
    }
    on = own.get(`${group}/${version}/${plural}`) ?? own.get(`${group}/${version}`) ?? on;
    const gate = GATED_KINDS[`${plural}.${group}`];
    return on && (beta || !gate || (gates ?? featureGates([])).get(gate) === true);
  };
}

/** The settings of single versions and resources. */
function ownSettings(
  settings: ReadonlyMap<string, string>,
  kinds: readonly Kind[],
): Map<string, boolean> {
  const own = new Map<string, boolean>();
  const unknown: string[] = [];
  for (const [key, text] of settings) {
    const [group, version, resource, ...more] = key.split("/");
    if (version === undefined || more.length > 0) throw new UsageError(`invalid key ${key}`);
    if (!kinds.some((kind) => kind.group === group)) {
      unknown.push(`${group}/${version}`);
      continue;
    }
    if (!kinds.some((kind) => kind.group === group && kind.version === version)) {
      throw new UsageError(`group version ${group}/${version} that has not been registered`);
    }
    const value = text === "" ? true : boolOf(text);
    if (value === undefined) {
      throw new UsageError(`invalid value of ${key}: ${text}, ${notBool(text)}`);
    }
    if (resource !== undefined && resource !== resource.toLowerCase()) {
      throw new UsageError(
        `invalid key ${key}: group/version/resource and resource is always lowercase plural, not ${
          JSON.stringify(resource)
        }`,
      );
    }
    own.set(key, value);
  }
  if (unknown.length > 0) {
    throw new UsageError(`unknown api groups ${[...new Set(unknown)].sort().join(",")}`);
  }
  return own;
}

/** What says which kinds are served. */
export interface ApiSettings {
  /** Serve beta kinds too, whatever gate they are behind (default false). */
  beta?: boolean;
  /** `--runtime-config`: `api/beta=true`, `apps/v1=false` and the like (default none). */
  runtimeConfig?: readonly string[];
  /** `--feature-gates`: `WatchList=false` and the like (default none). */
  featureGates?: readonly string[];
}

/** The kinds that are served, and the state of every feature gate. Throws UsageError for settings that are wrong. */
export function apisOf(
  { beta, runtimeConfig = [], featureGates: settings = [] }: ApiSettings,
): { kinds: Kinds; gates: ReadonlyMap<string, boolean> } {
  const gates = featureGates(settings);
  if (runtimeConfig.length === 0 && settings.length === 0) {
    return { kinds: createKinds({ beta }), gates };
  }
  const all = createKinds({ beta: true }).all();
  return { kinds: createKinds({ serves: enablement({ runtimeConfig, gates, beta }, all) }), gates };
}
