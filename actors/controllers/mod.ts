/**
 * The table of controllers: one row each. `controllersFor` makes the rows with what some of them need
 * beside the API.
 */
import type { Controller } from "../runtime/mod.ts";
import { replicaSetController, replicationController } from "./replicaset.ts";

/** What controllers need beside the API. */
export interface ControllerOptions {
  /** Where nodes' podCIDRs come from (default 10.244.0.0/16). */
  podRange?: string;
  /** Where load balancers' addresses come from (default: the last /24 of the service range). */
  loadBalancerRange?: string;
}

/** All rows. */
export function controllersFor(_options: ControllerOptions = {}): readonly Controller[] {
  return [replicaSetController, replicationController] as unknown as readonly Controller[];
}

/** All names. */
export const CONTROLLERS: readonly string[] = controllersFor().map((controller) => controller.name);
