/** What the service proxy of a machine counts, under kube-proxy's names (pkg/proxy/metrics). Its nodes show it. */
import {
  Counter,
  Duration,
  exponentialBounds,
  Gauge,
} from "../../../api/machinery/metric_series.ts";
import type { ActorContext } from "../../runtime/contract.ts";

/** Upper bounds in seconds: doubling from a millisecond, as upstream's. */
const SYNC_BOUNDS = exponentialBounds(0.001, 2, 15);

/** See the file's text. One for each machine. */
export class ProxyMetrics {
  /** Families of addresses; upstream has a proxy for each, here one sees to both. */
  readonly #families: readonly { ip_family: string }[];
  readonly #syncs = new Duration(
    "kubeproxy_sync_proxy_rules_duration_seconds",
    "[ALPHA] SyncProxyRules latency in seconds",
    SYNC_BOUNDS,
  );
  readonly #lastSync = new Gauge(
    "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
    "[ALPHA] The last time proxy rules were successfully synced",
  );
  readonly #failures = new Counter(
    "kubeproxy_sync_proxy_rules_failures_total",
    "[ALPHA] Cumulative proxy rules sync failures",
  );
  readonly #services = new Counter(
    "kubeproxy_sync_proxy_rules_service_changes_total",
    "[ALPHA] Cumulative proxy rules Service changes",
  );
  readonly #endpoints = new Counter(
    "kubeproxy_sync_proxy_rules_endpoint_changes_total",
    "[ALPHA] Cumulative proxy rules Endpoint changes",
  );

  /** When all was last as it should be, and since when that fails. */
  #lastMs?: number;
  #failingSinceMs?: number;

  constructor({ second }: { second?: unknown } = {}) {
    this.#families = (second ? ["IPv4", "IPv6"] : ["IPv4"]).map((ip_family) => ({ ip_family }));
  }

  serviceChanged(): void {
    this.#services.add({});
  }

  endpointsChanged(): void {
    this.#endpoints.add({});
  }

  /** Times a bringing up to date, of rules or of sockets. */
  async synced<R>({ clock }: ActorContext, work: () => Promise<R>): Promise<R> {
    const began = clock.monotonic();
    try {
      const result = await work();
      this.#lastMs = clock.now();
      this.#failingSinceMs = undefined;
      for (const family of this.#families) {
        this.#syncs.add(family, clock.monotonic() - began);
        this.#lastSync.set(family, this.#lastMs / 1000);
      }
      return result;
    } catch (error) {
      this.#failingSinceMs ??= clock.now();
      for (const family of this.#families) this.#failures.add(family);
      throw error;
    }
  }

  /** What is told of the proxy's health. */
  health(): { families: readonly string[]; lastMs?: number; failingSinceMs?: number } {
    const families = this.#families.map(({ ip_family }) => ip_family);
    return { families, lastMs: this.#lastMs, failingSinceMs: this.#failingSinceMs };
  }

  /** Lines for `/metrics`. */
  text(): string {
    const all = [this.#syncs, this.#lastSync, this.#failures, this.#services, this.#endpoints];
    let text = "";
    for (const metric of all) for (const line of metric.lines()) text += `${line}\n`;
    return text;
  }
}
