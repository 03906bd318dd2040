/**
 * The actor runtime: what controllers, the scheduler and nodes are built on.
 *
 * An actor is a behaviour (`start`, `handle(key)`, `stop`), a state that `start` made from the API, and a
 * mailbox of keys. Messages are keys, never objects, so losing, repeating, merging or delaying one is
 * harmless and a crash at any await loses nothing: what an actor knows it can read again.
 *
 * What it promises is listed by name in `contract.ts`; the tests beside each file quote those names.
 *
 * What it does not do: it keeps no state of the cluster (the API does), it does not order messages of
 * different keys, and it does not deliver to actors of other processes except by durable mail.
 *
 * Reading order: `contract.ts`, `mailbox.ts` (keys to handlers), `actor.ts` (a life), `supervisor.ts`
 * (restarts), `placement.ts` (singletons), `system.ts` (addresses), `reconciler.ts` (controllers on top
 * of it), `ownership.ts` (owners and children), `recorder.ts` (Events).
 *
 * ```ts
 * import { createSystem } from "./mod.ts";
 * import type { SystemPorts } from "./contract.ts";
 *
 * function greet(ports: SystemPorts) {
 *   const system = createSystem(ports);
 *   const greeter = system.spawn("greeter", {
 *     start: () => ({ greeted: 0 }),
 *     handle(key, state, context) {
 *       state.greeted++;
 *       context.log("info", `hello, ${key}`);
 *     },
 *   });
 *   greeter.send("world");
 * }
 * ```
 */
export * from "./contract.ts";
export { allAtOnce, BATCH_MAX, slowStart } from "./batches.ts";
export { every } from "./periodic.ts";
export { OWN_WRITES_MS_MAX, OwnWrites } from "./own_writes.ts";
export * from "./ownership.ts";
export * from "./reconciler.ts";
export * from "./resources.ts";
export { EventRecorder, referenceTo } from "./recorder.ts";
export { createSystem } from "./system.ts";
