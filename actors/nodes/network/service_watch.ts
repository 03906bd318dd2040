/** What the service proxies of a machine look at: services, their endpoints, and pods that ask for ports of the machine. */
import type { Informer } from "../../../api/client/contract.ts";
import type { ActorContext } from "../../runtime/contract.ts";
import { ENDPOINT_SLICES, PODS, SERVICES } from "../types.ts";
import { BY_SERVICE, serviceOf } from "./endpoints.ts";
import { hasHostPorts, POD_KEY } from "./host_ports.ts";
import type { ProxyMetrics } from "./proxy_metrics.ts";

/** The caches, until `unsubscribe` is called. */
export interface ServiceWatch {
  services: Informer;
  /** Indexed `BY_SERVICE`. */
  slices: Informer;
  pods: Informer;
  unsubscribe: (() => void)[];
}

/** Watches them; `look` is told the key of each service that is concerned, and of each pod behind `POD_KEY`. */
export function watchServices(
  { informers }: ActorContext,
  look: (key: string) => void,
  metrics: ProxyMetrics,
): ServiceWatch {
  const services = informers.for(SERVICES);
  const slices = informers.for(ENDPOINT_SLICES);
  slices.index(BY_SERVICE, serviceOf);
  const pods = informers.for(PODS);
  const unsubscribe = [
    services.subscribe(({ key }) => {
      metrics.serviceChanged();
      look(key);
    }),
    slices.subscribe(({ object, old }) => {
      metrics.endpointsChanged();
      for (const slice of [object, old]) if (slice) serviceOf(slice).forEach(look);
    }),
    pods.subscribe(({ key, object, old }) => {
      if (hasHostPorts(object ?? old)) look(`${POD_KEY}${key}`);
    }),
  ];
  return { services, slices, pods, unsubscribe };
}
