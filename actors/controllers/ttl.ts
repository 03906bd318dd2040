/**
 * How long kubelets may keep Secrets and ConfigMaps before they ask again: an annotation of each node, longer in
 * larger clusters. The sizes overlap, so that a cluster at an edge does not go to and fro.
 *
 * Behaviour matched: pkg/controller/ttl/ttl_controller.go, v1.36.
 */
import { type Controller, isGone, keyOf, NODES, targetOf } from "../runtime/mod.ts";

const ANNOTATION = "node.alpha.kubernetes.io/ttl";

/** From how many nodes down and up to how many a step holds, and its seconds. */
const STEPS: readonly { min: number; max: number; seconds: number }[] = [
  { min: 0, max: 100, seconds: 0 },
  { min: 90, max: 500, seconds: 15 },
  { min: 450, max: 1000, seconds: 30 },
  { min: 900, max: 2000, seconds: 60 },
  { min: 1800, max: Infinity, seconds: 300 },
];

/** A cluster that grows or shrinks is left to settle: each node is to be written once, not once a step. */
const SETTLE_MS = 1_000;

interface State {
  step: number;
  /** How many nodes there were when last looked, and since when. */
  size: number;
  since: number;
}

export const ttlController: Controller<State> = {
  name: "ttl",
  account: "ttl-controller",
  for: NODES,
  start: () => ({ step: 0, size: 0, since: 0 }),
  async reconcile(key, context, state) {
    const nodes = context.informers.for(NODES);
    const node = nodes.get(key);
    const now = context.clock.monotonic();
    if (nodes.size !== state.size) Object.assign(state, { size: nodes.size, since: now });
    const leftMs = state.since + SETTLE_MS - now;
    if (leftMs > 0) return { afterMs: leftMs };
    const step = stepFor(nodes.size, state.step);
    if (step !== state.step) {
      state.step = step;
      for (const one of nodes.list()) context.send(context.address, keyOf(one));
    }
    const wanted = String(STEPS[state.step].seconds);
    if (!node || node.metadata.annotations?.[ANNOTATION] === wanted) return;
    try {
      await context.client.patch(targetOf(NODES, node), {
        type: "strategic",
        body: { metadata: { annotations: { [ANNOTATION]: wanted } } },
      });
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  },
};

/** The step that a cluster of so many nodes is at, coming from another. Pure. */
export function stepFor(nodes: number, step: number): number {
  while (nodes > STEPS[step].max) step++;
  while (nodes < STEPS[step].min) step--;
  return step;
}
