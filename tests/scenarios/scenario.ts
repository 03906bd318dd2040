/**
 * Scenarios: what Kubernetes documents of a controller, as files that are read rather than programmed. Each runs
 * under the virtual clock in milliseconds (`virtual.ts`); those marked `kubectl: true` also run with kubectl
 * against a cluster in real time (`kubectl.ts`).
 *
 * ```yaml
 * source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#failed-deployment
 * kubectl: true              # may also be run by kubectl, in real time (default false)
 * cluster: {nodes: 3}        # options of Cluster.start; `now` is the time that it begins with
 * steps:
 * - does: a rollout begins   # what the step is about; it names failures
 *   apply: […objects…]       # server-side apply; objects without a namespace go to `default`
 *   create: […objects…]      # with POST, so that generateName and failures can be seen
 *   patch: {of: deployment/web, type: merge, subresource: status, with: {…}}
 *                            # of a kind alone: each object of it that `labels` and `where` select
 *   delete: {of: pod/web-0, propagation: Foreground, gracePeriodSeconds: 0} # or a kind, as with patch
 *   evict: pod/web-0
 *   undo: {of: deployment/web, toRevision: 1} # kubectl rollout undo; without a revision to the one before
 *   fails: ~disruption budget # the call must be refused, with this message
 *   advance: 10m             # time passes (virtual clock only), after the calls and before `expect`
 *   off: 400d                # … without the cluster: it ends, and begins again with what it had so much later
 *   expect:                  # each must come true, within `within` (default 60s; the virtual clock runs on for it)
 *   - of: deployment/web     # an object; `is` is the part of it that matters
 *     is: {status: {readyReplicas: 3}}
 *   - of: pods               # a list, by `namespace`, `labels` and `where` (a part of each that counts)
 *     labels: app=web
 *     where: {status: {phase: Running}}
 *     count: 3
 *     each: {spec: {…}}      # a part of every one of them
 *     names: [web-0, web-1]  # in any order
 *   - events: deployment/web # events of an object, oldest first, each a text or pattern "Reason: message"
 *     include: [~^ScalingReplicaSet]
 *     exclude: [~FailedCreate]
 *   - gone: pod/web-0
 *   stays: 30s               # what `expect` says must also hold at each second from then on (virtual clock only)
 * ```
 *
 * A text `$of(KIND/NAME).metadata.uid` stands for what that object has there when the step begins (another namespace:
 * `$of(NAMESPACE/KIND/NAME)`): owners are named by uid, and some names hold a hash.
 *
 * In `is`, `where` and `each`: objects are compared by the keys given; `null` means absent; a list must have as many
 * items, each compared in place, but `{$has: […]}` is a list with such items among others, in any order; a text
 * beginning with `~` is a regular expression; `$any` is anything that is there.
 */
import { parse } from "@std/yaml";
import type { KubeObject } from "../../api/machinery/types.ts";

/** `KIND/NAME` or `KIND`, with any name that kubectl knows the kind by; `NAMESPACE` beside it (default `default`). */
export type Reference = string;

export interface Expectation {
  of?: Reference;
  events?: Reference;
  gone?: Reference;
  namespace?: string;
  is?: unknown;
  labels?: string;
  where?: unknown;
  count?: number;
  each?: unknown;
  names?: string[];
  include?: string[];
  exclude?: string[];
}

/** Which objects: one by its name, or those of a kind by labels and a part of them. */
export interface Target {
  of: Reference;
  namespace?: string;
  labels?: string;
  where?: unknown;
}

export interface Step {
  does?: string;
  apply?: KubeObject[];
  create?: KubeObject[];
  patch?: Target & {
    type?: "merge" | "strategic" | "json";
    subresource?: string;
    with: unknown;
  };
  delete?: Target & {
    propagation?: "Foreground" | "Background" | "Orphan";
    gracePeriodSeconds?: number;
  };
  evict?: Reference;
  undo?: { of: Reference; toRevision?: number };
  fails?: string;
  advance?: string;
  off?: string;
  expect?: Expectation[];
  within?: string;
  stays?: string;
}

export interface Scenario {
  name: string;
  source: string;
  kubectl?: boolean;
  cluster?: { nodes?: number; now?: string } & Record<string, unknown>;
  steps: Step[];
}

/** What a scenario is played on. Calls reject with an Error whose message is the server's. */
export interface Stage {
  apply(object: KubeObject): Promise<void>;
  create(object: KubeObject): Promise<void>;
  patch(patch: NonNullable<Step["patch"]>): Promise<void>;
  delete(deletion: NonNullable<Step["delete"]>): Promise<void>;
  evict(reference: Reference): Promise<void>;
  undo(undo: NonNullable<Step["undo"]>): Promise<void>;
  get(reference: Reference, namespace?: string): Promise<KubeObject | undefined>;
  list(kind: Reference, namespace?: string, labels?: string): Promise<KubeObject[]>;
  /** Lets time pass; false: time passes by itself here. */
  advance(ms: number): Promise<boolean>;
  /** Ends the cluster and begins it anew with what it had, so much later (virtual clock only). */
  off(ms: number): Promise<void>;
  /** Lets what is under way go on, for a moment at most; answers how long that was, in ms. */
  wait(): Promise<number>;
}

const STEP_KEYS = new Set<string>([
  ...["does", "apply", "create", "patch", "delete", "evict", "undo"],
  ...["fails", "advance", "off", "expect", "within", "stays"],
]);

/** Reads a scenario; throws TypeError where it says what nobody understands. */
export function readScenario(name: string, text: string): Scenario {
  const scenario = { ...parse(text) as Scenario, name };
  if (!scenario.source) throw new TypeError(`scenario ${name}: it says no source`);
  for (const step of scenario.steps) {
    const unknown = Object.keys(step).find((key) => !STEP_KEYS.has(key));
    if (unknown) throw new TypeError(`scenario ${name}: unknown key "${unknown}"`);
  }
  return scenario;
}

/** Plays a scenario; throws at the first thing that is not as it says. */
export async function play(scenario: Scenario, stage: Stage): Promise<void> {
  for (const [index, step] of scenario.steps.entries()) {
    const title = `${scenario.name}, step ${index + 1}${step.does ? ` (${step.does})` : ""}`;
    try {
      await playStep(step, stage);
    } catch (error) {
      throw new Error(`${title}: ${error instanceof Error ? error.message : error}`, {
        cause: error,
      });
    }
  }
}

async function playStep(written: Step, stage: Stage): Promise<void> {
  const step = await filledIn(written, stage) as Step;
  await attempt(step, stage);
  if (step.off) await stage.off(milliseconds(step.off));
  if (step.advance) await stage.advance(milliseconds(step.advance));
  if (!step.expect) return;
  let left = milliseconds(step.within ?? "60s");
  let wrong: string | undefined;
  while ((wrong = await firstWrong(step.expect, stage)) !== undefined) {
    if (left <= 0) throw new Error(wrong);
    left -= await stage.wait();
  }
  const stays = milliseconds(step.stays ?? "0s");
  for (let passed = 0; passed < stays; passed += 1000) {
    if (!await stage.advance(1000)) return;
    const wrong = await firstWrong(step.expect, stage);
    if (wrong) throw new Error(`${passed / 1000 + 1} s later: ${wrong}`);
  }
}

const ELSEWHERE = /^\$of\((?:([^/()]+)\/)?([^/()]+\/[^/()]+)\)\.(.+)$/;

/** A value with every `$of(…)` in it looked up. */
async function filledIn(value: unknown, stage: Stage): Promise<unknown> {
  if (typeof value === "string") {
    const [, namespace, of, path] = ELSEWHERE.exec(value) ?? [];
    if (!of) return value;
    let found: unknown = await stage.get(of, namespace);
    if (!found) throw new Error(`${of} is not there`);
    for (const key of path.split(".")) {
      found = (found as Record<string, unknown> | undefined)?.[key];
    }
    if (found === undefined) throw new Error(`${of} has no ${path}`);
    return found;
  }
  if (Array.isArray(value)) {
    const items = [];
    for (const item of value) items.push(await filledIn(item, stage));
    return items;
  }
  if (typeof value !== "object" || value === null) return value;
  const filled: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) filled[key] = await filledIn(item, stage);
  return filled;
}

/** Makes a step's calls, and sees that they are refused where they must be. */
async function attempt(step: Step, stage: Stage): Promise<void> {
  try {
    for (const object of step.apply ?? []) await stage.apply(object);
    for (const object of step.create ?? []) await stage.create(object);
    for (const of of await targets(step.patch, stage)) await stage.patch({ ...step.patch!, of });
    for (const of of await targets(step.delete, stage)) await stage.delete({ ...step.delete!, of });
    if (step.evict) await stage.evict(step.evict);
    if (step.undo) await stage.undo(step.undo);
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    if (step.fails === undefined) throw error;
    if (difference(said, step.fails, "the refusal") === undefined) return;
    throw new Error(`refused with: ${said}`);
  }
  if (step.fails !== undefined) throw new Error("the call was not refused");
}

/** The objects that a call is about, each by its name. */
async function targets(target: Target | undefined, stage: Stage): Promise<Reference[]> {
  if (!target) return [];
  const { of, namespace, labels, where = {} } = target;
  if (of.includes("/")) return [of];
  const found = (await stage.list(of, namespace, labels))
    .filter((object) => difference(object, where, "") === undefined);
  if (!found.length) throw new Error(`there are no such ${of}`);
  return found.map(({ metadata }) => `${of}/${metadata.name}`);
}

async function firstWrong(
  expectations: readonly Expectation[],
  stage: Stage,
): Promise<string | undefined> {
  for (const expectation of expectations) {
    const wrong = await wrongOf(expectation, stage);
    if (wrong) return wrong;
  }
  return undefined;
}

async function wrongOf(expected: Expectation, stage: Stage): Promise<string | undefined> {
  const { namespace } = expected;
  if (expected.gone) {
    return await stage.get(expected.gone, namespace) ? `${expected.gone} is there` : undefined;
  }
  if (expected.events) return await wrongEvents(expected, stage);
  const of = expected.of ?? "";
  if (!of.includes("/")) {
    return wrongList(expected, await stage.list(of, namespace, expected.labels));
  }
  const object = await stage.get(of, namespace);
  return object ? difference(object, expected.is, of) : `${of} is not there`;
}

function wrongList(expected: Expectation, all: readonly KubeObject[]): string | undefined {
  const { of, where, count, each, names } = expected;
  const found = all.filter((object) => difference(object, where ?? {}, "") === undefined);
  const those = found.map((object) => object.metadata.name).sort();
  if (count !== undefined && found.length !== count) {
    const others = all.length > found.length ? ` of ${all.length}` : "";
    return `${of}: ${found.length}${others} instead of ${count}: ${those.join(", ")}`;
  }
  if (names && JSON.stringify([...names].sort()) !== JSON.stringify(those)) {
    return `${of}: ${those.join(", ")} instead of ${names.join(", ")}`;
  }
  if (each === undefined) return undefined;
  // What nothing is true of would be true of everything.
  if (!found.length && count === undefined) return `${of}: there are none`;
  for (const object of found) {
    const wrong = difference(object, each, `${of}/${object.metadata.name}`);
    if (wrong) return wrong;
  }
  return undefined;
}

async function wrongEvents(expected: Expectation, stage: Stage): Promise<string | undefined> {
  const [, name] = expected.events!.split("/");
  const about = await stage.get(expected.events!, expected.namespace);
  const all = await stage.list("events", expected.namespace);
  const lines = all
    .filter(({ involvedObject }) =>
      involvedObject?.name === name && (!about || involvedObject.kind === about.kind)
    )
    .sort((a, b) => timeOf(a) < timeOf(b) ? -1 : 1)
    .map((event) => `${event.reason}: ${event.message}`);
  const has = (wanted: string) => lines.some((line) => difference(line, wanted, "") === undefined);
  const missing = expected.include?.find((wanted) => !has(wanted));
  if (missing) return `no event "${missing}" of ${expected.events}, only ${JSON.stringify(lines)}`;
  const unwanted = expected.exclude?.find(has);
  return unwanted && `event "${unwanted}" of ${expected.events}: ${JSON.stringify(lines)}`;
}

function timeOf(event: KubeObject): string {
  return event.firstTimestamp ?? event.eventTime ?? event.metadata.creationTimestamp ?? "";
}

/** Where a value is not as expected, in words; see the module's text for how they are compared. */
export function difference(actual: unknown, expected: unknown, at: string): string | undefined {
  if (expected === undefined) return undefined;
  if (expected === null) {
    return actual === undefined || actual === null ? undefined : `${at} is ${show(actual)}`;
  }
  if (expected === "$any") return actual === undefined ? `${at} is absent` : undefined;
  if (typeof expected === "string" && expected.startsWith("~")) {
    const matches = typeof actual === "string" && new RegExp(expected.slice(1)).test(actual);
    return matches ? undefined : `${at} is ${show(actual)}, not like ${expected.slice(1)}`;
  }
  if (typeof expected !== "object") {
    return actual === expected ? undefined : `${at} is ${show(actual)}, not ${show(expected)}`;
  }
  if (typeof actual !== "object" || actual === null) return `${at} is ${show(actual)}`;
  if ("$has" in expected) return lacking(actual, expected.$has as unknown[], at);
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual) || actual.length !== expected.length) {
      return `${at} is ${show(actual)}, not ${show(expected)}`;
    }
  }
  for (const [key, value] of Object.entries(expected)) {
    const wrong = difference((actual as Record<string, unknown>)[key], value, `${at}.${key}`);
    if (wrong) return wrong;
  }
  return undefined;
}

function lacking(actual: object, wanted: readonly unknown[], at: string): string | undefined {
  const items = Object.values(actual);
  const missing = wanted.find((one) => !items.some((item) => !difference(item, one, "")));
  return missing === undefined ? undefined : `${at} is ${show(actual)}, without ${show(missing)}`;
}

function show(value: unknown): string {
  return value === undefined ? "absent" : JSON.stringify(value);
}

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `10m`, `1h30m` in ms. */
export function milliseconds(text: string): number {
  let sum = 0;
  const rest = text.replace(/(\d+)(ms|s|m|h|d)/g, (_, count, unit) => {
    sum += Number(count) * UNITS[unit];
    return "";
  });
  if (rest || text === "") throw new TypeError(`"${text}" is no span of time`);
  return sum;
}
