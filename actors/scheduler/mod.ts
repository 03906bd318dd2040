/**
 * The scheduler: finds a node for every pod that has none, by kube-scheduler's rules (v1.36).
 *
 * Reading order: `framework.ts` (what a pod, a node and a plugin are), `scheduler.ts` (the actor: watches in,
 * bindings out), `queue.ts` (which pod next), `algorithm.ts` (one decision), `cluster.ts` (the picture it
 * decides on), `node_memory.ts` (what need not be asked again), `happenings.ts` (what a change is to it),
 * `plugins/` (the rules, under upstream's names), `preemption.ts` (making room), `devices/` (devices for claims),
 * `extenders.ts` (asking others), `configuration.ts` and `profile.ts` (which plugins, told what), `explain.ts`
 * (why a pod is where it is), `steps.ts` (long work that lets others in), `metrics.ts`.
 *
 * What it promises: every decision sees all decisions before it, bound or not (pods are assumed on their
 * node at once); refusals are told in upstream's words, as an event and in the pod's PodScheduled
 * condition; cost per pod grows with nodes and distinct affinity terms, not with the pods already bound.
 *
 * What it does not do: it never evicts for anything but priority, it does not retry a binding that the API
 * refused because the pod is bound; extended resources are no devices, and no device waits for conditions.
 *
 * ```ts
 * import { scheduler } from "./mod.ts";
 * import type { System } from "../runtime/contract.ts";
 *
 * function startScheduler(system: System) {
 *   return system.spawn("scheduler/default", scheduler(), { singleton: true });
 * }
 * ```
 */
export { type Attempt, type Explanation } from "./explain.ts";
export { fitErrorText, type Plugin } from "./framework.ts";
export { type SchedulerConfiguration } from "./configuration.ts";
export { type PluginFactory, type PluginHandle } from "./profile.ts";
export { Scheduler, scheduler, type SchedulerOptions } from "./scheduler.ts";
export { SchedulerView } from "./view.ts";
