/**
 * The autoscaler's two pure parts against Kubernetes' own: `autoscaler.json` was written by a program over
 * v1.36's replica calculator and normalisation, from random pods, metrics, pasts and rules. Times are seconds ago.
 */
import { assertEquals } from "@std/assert";
import { formatTime } from "../../api/machinery/time.ts";
import golden from "./autoscaler.json" with { type: "json" };
import { type Behavior, ScalingHistory } from "../../actors/controllers/hpa_behavior.ts";
import {
  byAverage,
  byShare,
  byUtilization,
  byValue,
  type Calculated,
  type PodMetrics,
  type Scene,
} from "../../actors/controllers/hpa_calculator.ts";
import type { Obj } from "../../actors/controllers/objects.ts";

const NOW = Date.UTC(2026, 0, 1);
/** Half a second more, so that nothing stands on an edge. */
const ago = (seconds: number) => NOW - seconds * 1000 - 500;
const text = (seconds: number) => formatTime(ago(seconds));

interface GoldenPod {
  phase: string;
  deleted?: boolean;
  ready?: string;
  start: number;
  change: number;
  request: number;
  metric: number;
  age: number;
}

function podOf(pod: GoldenPod, name: string, resource: string): Obj {
  const { phase, deleted, ready, start, change, request } = pod;
  const conditions = ready
    ? [{ type: "Ready", status: ready, lastTransitionTime: text(change) }]
    : [];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, ...(deleted && { deletionTimestamp: text(0) }) },
    spec: { containers: [{ name: "c", resources: { requests: { [resource]: `${request}m` } } }] },
    status: { phase, conditions, ...(start >= 0 && { startTime: text(start) }) },
  } as unknown as Obj;
}

type Case = (typeof golden.calculations)[number];

function calculate(c: Case): Calculated {
  const { kind, resource = "", target, usage = 0 } = c;
  const pods = (c.pods ?? []) as GoldenPod[];
  const name = (i: number) => `p${String(i).padStart(2, "0")}`;
  const metrics: PodMetrics = new Map();
  for (const [i, { metric, age }] of pods.entries()) {
    if (metric >= 0) metrics.set(name(i), { value: metric, at: ago(age), windowMs: 60_000 });
  }
  const scene: Scene = {
    pods: pods.map((pod, i) => podOf(pod, name(i), resource)),
    replicas: c.current,
    statusReplicas: c.status,
    tolerances: { up: c.up, down: c.down },
    now: NOW,
  };
  if (kind === "utilization") return byUtilization(scene, metrics, { target, resource });
  if (kind === "average") return byAverage(scene, metrics, { target, resource });
  if (kind === "metric") return byAverage(scene, metrics, { target });
  return kind === "value" || kind === "external"
    ? byValue(scene, usage, target)
    : byShare(scene, usage, target);
}

Deno.test("the calculator proposes what Kubernetes' own does", () => {
  for (const [i, c] of golden.calculations.entries()) {
    let found: unknown[];
    try {
      const { replicas, utilization = 0, usage } = calculate(c);
      found = [replicas, utilization, usage];
    } catch (error) {
      found = [(error as Error).message];
    }
    assertEquals(found, c.out, `case ${i}: ${JSON.stringify(c)}`);
  }
});

Deno.test("windows, policies and bounds allow what Kubernetes' own do", () => {
  for (const [i, b] of golden.behaviors.entries()) {
    const behavior = b.behavior as Behavior | undefined;
    const [first, ...others] = b.recs;
    const history = new ScalingHistory(first.change, ago(first.age));
    const past = [
      ...others.map(({ age, change }) => ({ age, desired: change })),
      ...b.ups.map(({ age, change }) => ({ age, scaled: change })),
      ...b.downs.map(({ age, change }) => ({ age, scaled: -change })),
    ].sort((a, b) => b.age - a.age);
    const { current, min, max } = b;
    for (const one of past) {
      if ("desired" in one) {
        const wish = { current, desired: one.desired, min, max };
        history.normalize(wish, behavior, ago(one.age));
      } else history.scaled(100, 100 + one.scaled, behavior, ago(one.age));
    }
    const wish = { current, desired: b.desired, min, max };
    const { replicas, able, limited } = history.normalize(wish, behavior, NOW);
    assertEquals(
      [
        replicas,
        `AbleToScale True ${able.reason}`,
        `ScalingLimited ${limited.limited ? "True" : "False"} ${limited.reason}`,
      ],
      b.out,
      `case ${i}: ${JSON.stringify(b)}`,
    );
  }
});
