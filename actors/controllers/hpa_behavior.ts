/**
 * How fast an autoscaler may follow what its metrics ask for: stabilisation windows (recent recommendations
 * hold a change back) and policies (so many pods or per cent in a period), or the older fixed rules where no
 * behaviour is given. What was recommended and done is kept here, in memory, as upstream keeps it.
 *
 * Behaviour matched: pkg/controller/podautoscaler/horizontal.go (normalizeDesiredReplicas and what it calls), v1.36.
 */
import { REPLICAS_MAX } from "./hpa_calculator.ts";
import { SETTINGS } from "./settings.ts";

/** Without a behaviour one step at most doubles, but may reach this. */
const SCALE_UP_FACTOR = 2;
const SCALE_UP_MIN = 4;

/** One direction of `spec.behavior`, defaults filled in. */
export interface ScalingRules {
  stabilizationWindowSeconds?: number;
  selectPolicy?: "Max" | "Min" | "Disabled";
  policies?: readonly { type: "Pods" | "Percent"; value: number; periodSeconds: number }[];
  tolerance?: string;
}

export interface Behavior {
  scaleUp?: ScalingRules;
  scaleDown?: ScalingRules;
}

/** Between what and what. */
export interface Wish {
  current: number;
  desired: number;
  min: number;
  max: number;
}

/** What a rule says, for a condition. */
export interface Verdict {
  replicas: number;
  /** `AbleToScale`: why the recommendation was or was not followed. */
  able: { reason: string; message: string };
  /** `ScalingLimited`. */
  limited: { limited: boolean; reason: string; message: string };
}

interface Moment {
  at: number;
  count: number;
}

const LIMITS = {
  ScaleUpLimit: "the desired replica count is increasing faster than the maximum scale rate",
  ScaleDownLimit: "the desired replica count is decreasing faster than the maximum scale rate",
  TooManyReplicas: "the desired replica count is more than the maximum replica count",
  TooFewReplicas: "the desired replica count is less than the minimum replica count",
  DesiredWithinRange: "the desired count is within the acceptable range",
} as const;
type Limit = keyof typeof LIMITS;

const STABILIZED = {
  ScaleUpStabilized:
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
  ScaleDownStabilized:
    "recent recommendations were higher than current one, applying the highest recent recommendation",
} as const;

/** The past of one autoscaler. */
export class ScalingHistory {
  /** What the metrics asked for, unstabilised. */
  #recommended: Moment[];
  /** How many replicas were added and taken away, when. */
  #added: Moment[] = [];
  #removed: Moment[] = [];
  readonly #downscaleWindowMs: number;

  /** Begins with what there is: a restart does not scale down what nobody has watched yet. */
  constructor(
    replicas: number,
    now: number,
    downscaleWindowMs = SETTINGS.horizontalPodAutoscalerDownscaleStabilization,
  ) {
    this.#downscaleWindowMs = downscaleWindowMs;
    this.#recommended = [{ at: now, count: replicas }];
  }

  /** Turns a wish into what is allowed now, and remembers it. */
  normalize(wish: Wish, behavior: Behavior | undefined, now: number): Verdict {
    const stable = behavior ? this.#stabilize(wish, behavior, now) : this.#highest(wish, now);
    const able = stable === wish.desired
      ? { reason: "ReadyForNewScale", message: "recommended size matches current size" }
      : stabilized(behavior !== undefined && wish.desired >= wish.current);
    const [replicas, limit] = behavior
      ? this.#limit({ ...wish, desired: stable }, behavior, now)
      : fixedLimit({ ...wish, desired: stable });
    return {
      replicas,
      able,
      limited: { limited: replicas !== stable, reason: limit, message: LIMITS[limit] },
    };
  }

  /** Notes a change that was made, for policies to count. */
  scaled(before: number, after: number, behavior: Behavior | undefined, now: number): void {
    if (!behavior) return;
    const up = after > before;
    const rules = up ? behavior.scaleUp : behavior.scaleDown;
    const longest = Math.max(0, ...(rules?.policies ?? []).map((p) => p.periodSeconds)) * 1000;
    const list = (up ? this.#added : this.#removed).filter(({ at }) => at >= now - longest);
    list.push({ at: now, count: Math.abs(after - before) });
    if (up) this.#added = list;
    else this.#removed = list;
  }

  /** The highest of the last minutes. */
  #highest({ desired }: Wish, now: number): number {
    const recent = this.#recommended.filter(({ at }) => at >= now - this.#downscaleWindowMs);
    const highest = Math.max(desired, ...recent.map(({ count }) => count));
    this.#recommended = [...recent, { at: now, count: desired }];
    return highest;
  }

  /** The present count, brought between the lowest and the highest of what was asked for lately. */
  #stabilize({ current, desired }: Wish, behavior: Behavior, now: number): number {
    const upSince = now - (behavior.scaleUp?.stabilizationWindowSeconds ?? 0) * 1000;
    const down = behavior.scaleDown?.stabilizationWindowSeconds;
    const downSince = now - (down === undefined ? this.#downscaleWindowMs : down * 1000);
    let lowest = desired;
    let highest = desired;
    for (const { at, count } of this.#recommended) {
      if (at > upSince) lowest = Math.min(lowest, count);
      if (at > downSince) highest = Math.max(highest, count);
    }
    const oldest = Math.min(upSince, downSince);
    this.#recommended = this.#recommended.filter(({ at }) => at >= oldest);
    this.#recommended.push({ at: now, count: desired });
    return Math.min(Math.max(current, lowest), highest);
  }

  #limit({ current, desired, min, max }: Wish, behavior: Behavior, now: number): [number, Limit] {
    if (desired > current) {
      const fastest = Math.max(current, this.#reach(current, behavior.scaleUp, 1, now));
      const limit = Math.min(max, fastest);
      if (desired > limit) return [limit, max > fastest ? "ScaleUpLimit" : "TooManyReplicas"];
    } else if (desired < current) {
      const fastest = Math.min(current, this.#reach(current, behavior.scaleDown, -1, now));
      const limit = Math.max(min, fastest);
      if (desired < limit) return [limit, min < fastest ? "ScaleDownLimit" : "TooFewReplicas"];
    }
    return [desired, "DesiredWithinRange"];
  }

  /** How far the policies let the count go in a direction. */
  #reach(current: number, rules: ScalingRules = {}, direction: 1 | -1, now: number): number {
    if (rules.selectPolicy === "Disabled") return current;
    const reaches = (rules.policies ?? []).map(({ type, value, periodSeconds }) => {
      const since = now - periodSeconds * 1000;
      const start = current - sumSince(this.#added, since) + sumSince(this.#removed, since);
      if (type === "Pods") return start + direction * value;
      const reach = start * (1 + direction * value / 100);
      // Rounded up, or a few replicas would never become more.
      return direction > 0 ? Math.ceil(reach) : Math.trunc(reach);
    });
    const takesMax = (rules.selectPolicy === "Min") === (direction < 0);
    const pick = takesMax ? Math.max : Math.min;
    return Math.min(REPLICAS_MAX, Math.max(-REPLICAS_MAX, pick(...reaches)));
  }
}

function sumSince(moments: readonly Moment[], since: number): number {
  return moments.reduce((sum, { at, count }) => at > since ? sum + count : sum, 0);
}

function stabilized(up: boolean): { reason: string; message: string } {
  const reason = up ? "ScaleUpStabilized" : "ScaleDownStabilized";
  return { reason, message: STABILIZED[reason] };
}

function fixedLimit({ current, desired, min, max }: Wish): [number, Limit] {
  const fastest = Math.max(SCALE_UP_FACTOR * current, SCALE_UP_MIN);
  if (desired < min) return [min, "TooFewReplicas"];
  if (desired > Math.min(max, fastest)) {
    return max > fastest ? [fastest, "ScaleUpLimit"] : [max, "TooManyReplicas"];
  }
  return [desired, "DesiredWithinRange"];
}
