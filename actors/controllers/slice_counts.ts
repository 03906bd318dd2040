/** How many endpoints and slices Services have, added up for the metrics as they change (upstream: endpointslice/metrics). */
import type { Obj } from "./objects.ts";
import type { ControllerMetrics } from "./metrics.ts";
import type { Group, Plan } from "./slice_plan.ts";

/** What one Service adds to the sums. */
interface Counted {
  endpoints: number;
  slices: number;
  wanted: number;
  distribution?: string;
}

/** See the module's text. */
export class SliceCounts {
  readonly #metrics: ControllerMetrics;
  readonly #services = new Map<string, Counted>();
  readonly #sums = { endpoints: 0, slices: 0, wanted: 0 };
  readonly #distributions = new Map<string, number>();

  constructor(metrics: ControllerMetrics) {
    this.#metrics = metrics;
  }

  /** A Service was looked at; `present` are the slices it had. */
  planned(
    key: string,
    service: Obj,
    { groups, plan, present, endpointsMax }: {
      groups: readonly Group[];
      plan: Plan;
      present: number;
      endpointsMax: number;
    },
  ): void {
    const { addedEndpoints, removedEndpoints } = this.#metrics;
    addedEndpoints.note({}, plan.added);
    removedEndpoints.note({}, plan.removed);
    let endpoints = 0;
    let wanted = 0;
    for (const group of groups) {
      endpoints += group.endpoints.length;
      wanted += Math.ceil(group.endpoints.length / endpointsMax);
    }
    const slices = present + plan.create.length - plan.remove.length;
    const { trafficDistribution: distribution } = service.spec;
    this.#replace(key, { endpoints, slices, wanted: Math.max(1, wanted), distribution });
  }

  /** A Service is gone. */
  forget(key: string): void {
    this.#replace(key, undefined);
  }

  #replace(key: string, now: Counted | undefined): void {
    const before = this.#services.get(key);
    if (now) this.#services.set(key, now);
    else this.#services.delete(key);
    const sums = this.#sums;
    for (const name of ["endpoints", "slices", "wanted"] as const) {
      sums[name] += (now?.[name] ?? 0) - (before?.[name] ?? 0);
    }
    const { sliceEndpoints, slices, wantedSlices } = this.#metrics;
    sliceEndpoints.set({}, sums.endpoints);
    slices.set({}, sums.slices);
    wantedSlices.set({}, sums.wanted);
    if (before?.distribution === now?.distribution) return;
    this.#distribute(before?.distribution, -1);
    this.#distribute(now?.distribution, 1);
  }

  #distribute(distribution: string | undefined, more: number): void {
    if (distribution === undefined) return;
    const count = (this.#distributions.get(distribution) ?? 0) + more;
    this.#distributions.set(distribution, count);
    this.#metrics.distributions.set({ traffic_distribution: distribution }, count);
  }
}
