/**
 * What can be seen of the scheduler from outside it. Whoever composes a cluster makes one, hands it to the scheduler,
 * which fills it while it runs, and to the API, which asks it: `GET /api/v1/namespaces/N/pods/P/explanation`.
 */
import { notFound, unavailable } from "../../api/machinery/errors.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import type { Explanation } from "./explain.ts";

/** What a running scheduler can be asked. */
export interface Seen {
  /** Why the pod `namespace/name` is where it is; undefined: it is not known (yet). */
  explain(key: string): Promise<Explanation | undefined>;
  /** Metrics in Prometheus' text format. */
  metricLines(): Iterable<string>;
}

/** See the module's text. */
export class SchedulerView {
  #seen: Seen | undefined;
  /** Asks the process in which the scheduler runs, where there are others; rejects where it runs in none. */
  elsewhere: ((pod: string) => Promise<unknown>) | undefined;

  /** Shows a scheduler, or none. */
  show(seen: Seen | undefined): void {
    this.#seen = seen;
  }

  /** Why a pod is where it is, for another process; undefined where no scheduler runs here. */
  explainHere(pod: string): Promise<unknown> | undefined {
    return this.#seen?.explain(pod);
  }

  /** Its metrics as text; nothing while none runs. */
  metricsText(): string {
    return this.#seen ? [...this.#seen.metricLines()].join("\n") : "";
  }

  /** The answers of the API's own subresources, by `plural.group/subresource`. */
  readonly subresources = {
    "pods/explanation": async (
      _object: unknown,
      { namespace, name }: { namespace: string; name: string },
    ): Promise<KubeObject> => {
      const pod = `${namespace}/${name}`;
      const explanation = this.#seen ? await this.#seen.explain(pod) : await this.elsewhere?.(pod);
      if (explanation) return explanation as KubeObject;
      if (!this.#seen && !this.elsewhere) throw unavailable("no scheduler runs in this process");
      throw notFound({ group: "", resource: "pods" }, name);
    },
  };
}
