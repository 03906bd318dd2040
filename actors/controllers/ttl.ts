/**
 * How long kubelets may keep Secrets and ConfigMaps before they ask again: an annotation of each node, longer in
 * larger clusters. The sizes overlap, so that a cluster at an edge does not go to and fro.
 *
 * Behaviour matched: pkg/controller/ttl/ttl_controller.go, v1.36.
 */
import { type Controller, isGone, NODES, targetOf } from "../runtime/mod.ts";

const ANNOTATION = "node.alpha.kubernetes.io/ttl";

/** From how many nodes down and up to how many a step holds, and its seconds. */
const STEPS: readonly { min: number; max: number; seconds: number }[] = [
  { min: 0, max: 100, seconds: 0 },
  { min: 90, max: 500, seconds: 15 },
  { min: 450, max: 1000, seconds: 30 },
  { min: 900, max: 2000, seconds: 60 },
  { min: 1800, max: Infinity, seconds: 300 },
];

interface State {
  step: number;
}

export const ttlController: Controller<State> = {
  name: "ttl",
  account: "ttl-controller",
  for: NODES,
  start: () => ({ step: 0 }),
  async reconcile(key, context, state) {
    const nodes = context.informers.for(NODES);
    const node = nodes.get(key);
    state.step = stepFor(nodes.size, state.step);
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
