/**
 * The actors of a control plane, as data: which there are, what each needs, which are switched on.
 *
 * Reading order: `runtime/mod.ts` (what an actor is), `controllers/mod.ts` (the table of controllers),
 * `scheduler/mod.ts`, `nodes/mod.ts`.
 */
import type { Client } from "../api/client/contract.ts";
import { checkControllers, type ControllerPorts, startControllers } from "./controllers/mod.ts";
import type { System } from "./runtime/mod.ts";
import { scheduler, type SchedulerOptions, SchedulerView } from "./scheduler/mod.ts";

export { type SchedulerOptions, SchedulerView };

export type { ControllerPorts };
export { ControllerMetrics, localCloud, UNINITIALIZED } from "./controllers/mod.ts";

/** What a control plane is started with. */
export interface ControlPlaneOptions {
  /** One that may act as others: each actor gets its own identity from it. */
  client: Client;
  /** What controllers need beside the API. */
  ports: ControllerPorts;
  /** Which controllers run, as kube-controller-manager's flag: `*`, `name`, `-name` (default `*`). */
  controllers?: string;
  /** Whether the scheduler runs, and how (default true). */
  scheduler?: boolean | SchedulerOptions;
}

/** Starts the actors of a control plane in a system. They stop with it. Throws for an unknown controller. */
export function startControlPlane(system: System, options: ControlPlaneOptions): void {
  const { client, ports, controllers = "*", scheduler: schedule = true } = options;
  checkControllers(controllers, ports);
  startControllers(system, { client, ports, enabled: controllers });
  if (!schedule) return;
  system.spawn("scheduler/default", scheduler(schedule === true ? {} : schedule), {
    singleton: true,
    component: "default-scheduler",
    client: client.as(
      { name: "system:kube-scheduler", groups: ["system:authenticated"] },
      "kube-scheduler",
    ),
  });
}
