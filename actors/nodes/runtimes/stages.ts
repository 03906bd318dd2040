/**
 * Stages: the behaviour of simulated containers as data. A stage says which state of which containers
 * it is about, how long that state lasts and what comes after it. `stages/default.yaml` holds ours.
 */
import { parse } from "@std/yaml";
import type { Clock } from "../../../kv/clock.ts";
import type { ContainerSpec, ImageUser } from "./runtime.ts";

export type StageState = "pulling" | "created" | "running" | "stopping";

const STATES: readonly string[] = ["pulling", "created", "running", "stopping"];
const NEXT: readonly string[] = ["failed", "running", "exited"];

/** A container, or what is known of it while its image is pulled. */
type Staged = ImageUser & Partial<ContainerSpec>;

export interface Stage {
  name: string;
  from: StageState;
  when?: {
    kind?: string;
    owner?: string;
    command?: string;
    image?: string;
    annotation?: string;
  };
  after?: { ms?: number; jitterMs?: number; group?: number; annotation?: string };
  to: "failed" | "running" | "exited";
  exitCode?: number;
  exitCodeFrom?: { annotation?: string; group?: number };
  message?: string;
  messageFrom?: { annotation?: string };
}

/** What a stage does to one container. */
export interface Transition {
  stage: Stage;
  afterMs: number;
  exitCode: number;
  message?: string;
}

interface Compiled extends Stage {
  commandPattern?: RegExp;
  imagePattern?: RegExp;
}

/** A list of stages, ready to be asked. */
export class Stages {
  readonly #byState = new Map<StageState, Compiled[]>();

  constructor(stages: readonly Stage[]) {
    for (const stage of stages) {
      if (!STATES.includes(stage.from)) {
        throw new TypeError(`Cannot use stage "${stage.name}": unknown state "${stage.from}"`);
      }
      if (!NEXT.includes(stage.to) || (stage.to === "failed") !== (stage.from === "pulling")) {
        throw new TypeError(`Cannot use stage "${stage.name}": unknown next state "${stage.to}"`);
      }
      const compiled: Compiled = { ...stage };
      if (stage.when?.command) compiled.commandPattern = new RegExp(stage.when.command);
      if (stage.when?.image) compiled.imagePattern = new RegExp(stage.when.image);
      const list = this.#byState.get(stage.from) ?? [];
      list.push(compiled);
      this.#byState.set(stage.from, list);
    }
  }

  /** What comes after `state` for this container; undefined when the state lasts. */
  next(state: StageState, spec: Staged, clock: Clock): Transition | undefined {
    const stages = this.#byState.get(state);
    if (!stages) return undefined;
    const words = spec.command?.length || spec.args?.length
      ? [...(spec.command ?? []), ...(spec.args ?? [])].join(" ")
      : undefined;
    for (const stage of stages) {
      const groups = matches(stage, spec, words);
      if (groups) return stage.to === state ? undefined : transition(stage, spec, groups, clock);
    }
    return undefined;
  }
}

const NO_GROUPS: readonly string[] = [];

function matches(
  stage: Compiled,
  spec: Staged,
  words: string | undefined,
): readonly string[] | undefined {
  const when = stage.when;
  if (!when) return NO_GROUPS;
  const { metadata } = spec.sandbox.pod;
  if (when.kind && when.kind !== spec.kind) return undefined;
  if (when.annotation && metadata.annotations?.[when.annotation] === undefined) return undefined;
  if (when.owner && !metadata.ownerReferences?.some((o) => o.controller && o.kind === when.owner)) {
    return undefined;
  }
  if (stage.imagePattern && !stage.imagePattern.test(spec.container.image ?? "")) return undefined;
  if (!stage.commandPattern) return NO_GROUPS;
  return words === undefined ? undefined : stage.commandPattern.exec(words) ?? undefined;
}

function transition(
  stage: Stage,
  spec: Staged,
  groups: readonly string[],
  clock: Clock,
): Transition {
  const annotation = (name: string | undefined) =>
    name === undefined ? NaN : Number(spec.sandbox.pod.metadata.annotations?.[name]);
  const { ms = 0, jitterMs = 0, group, annotation: from } = stage.after ?? {};
  let afterMs = jitterMs ? ms + Math.floor(clock.random() * jitterMs) : ms;
  const seconds = group !== undefined ? Number(groups[group]) : annotation(from);
  if (seconds >= 0) afterMs += seconds * 1000;
  const { annotation: codeFrom, group: codeGroup } = stage.exitCodeFrom ?? {};
  const code = codeGroup !== undefined
    ? Number(groups[codeGroup])
    : codeOf(spec, codeFrom && spec.sandbox.pod.metadata.annotations?.[codeFrom]);
  const told = stage.messageFrom?.annotation;
  const message = told ? spec.sandbox.pod.metadata.annotations?.[told] : stage.message;
  const exitCode = Number.isInteger(code) ? code & 255 : stage.exitCode ?? 0;
  return { stage, afterMs, exitCode, message };
}

/** An exit code, or several with commas: one for each attempt, the last one for all that follow. */
function codeOf(spec: Staged, codes: string | undefined): number {
  if (codes === undefined) return NaN;
  const list = codes.split(",");
  return Number(list[Math.min(spec.attempt, list.length - 1)]);
}

let defaults: Stages | undefined;

/** The stages of `stages/default.yaml`, read once. */
export function defaultStages(): Stages {
  if (!defaults) {
    const text = Deno.readTextFileSync(new URL("./stages/default.yaml", import.meta.url));
    defaults = parseStages(text);
  }
  return defaults;
}

/** Stages from YAML; throws with the stage's name when one cannot be used. */
export function parseStages(text: string): Stages {
  const { stages } = parse(text) as { stages?: Stage[] };
  if (!Array.isArray(stages)) throw new TypeError('Cannot read stages: there is no list "stages"');
  return new Stages(stages);
}
