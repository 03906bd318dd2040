/**
 * Answers on the health check ports of services whose external traffic stays on a node: an actor that tells load
 * balancers outside whether a node has endpoints of the service. Form and words are kube-proxy's.
 *
 * Nodes of one machine each answer at their own address, for their own endpoints.
 */
import type { DeepReadonly, KubeObject } from "../../../api/machinery/types.ts";
import type { Informer } from "../../../api/client/contract.ts";
import type { ActorContext, Behaviour } from "../../runtime/contract.ts";
import { ENDPOINT_SLICES, SERVICES } from "../types.ts";
import { BY_SERVICE, serviceOf } from "./endpoints.ts";
import { isProxied, policiesOf } from "./traffic.ts";

type Obj = DeepReadonly<KubeObject>;

/** A node and the address at which its health is asked for. */
export interface HealthPlace {
  node: string;
  address: string;
}

interface Server {
  port: number;
  http: Deno.HttpServer[];
}

interface State {
  services: Informer;
  slices: Informer;
  servers: Map<string, Server>;
  unsubscribe: (() => void)[];
}

/** The actor: `proxy/<machine>/health`. */
export function healthCheck(places: readonly HealthPlace[]): Behaviour<State> {
  return {
    start(context) {
      const services = context.informers.for(SERVICES);
      const slices = context.informers.for(ENDPOINT_SLICES);
      slices.index(BY_SERVICE, serviceOf);
      const unsubscribe = [services.subscribe(({ key, object, old }) => {
        if (portOf(object) !== portOf(old)) context.send(context.address, key);
      })];
      return { services, slices, servers: new Map(), unsubscribe };
    },
    handle: (key, state, context) => mend(key, state, context, places),
    async stop(state) {
      for (const end of state.unsubscribe) end();
      for (const key of [...state.servers.keys()]) await close(key, state);
    },
  };
}

/** The port on which a service wants its health told. */
function portOf(service: Obj | undefined): number | undefined {
  if (!service || service.spec.type !== "LoadBalancer" || !isProxied(service)) return undefined;
  return policiesOf(service).externalLocal && service.spec.healthCheckNodePort || undefined;
}

async function mend(
  key: string,
  state: State,
  { recorder }: ActorContext,
  places: readonly HealthPlace[],
): Promise<void> {
  const service = state.services.get(key);
  const port = portOf(service);
  if (state.servers.get(key)?.port === port) return;
  await close(key, state);
  if (port === undefined) return;
  const http: Deno.HttpServer[] = [];
  state.servers.set(key, { port, http });
  for (const { node, address } of places) {
    try {
      http.push(Deno.serve(
        { hostname: address, port, onListen: () => undefined },
        () => answer(key, localEndpoints(state.slices.byIndex(BY_SERVICE, key), node)),
      ));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      const text = `node ${node} failed to start healthcheck "${key}" on port ${port}: ${why}`;
      recorder.event(service!, "Warning", "FailedToStartServiceHealthcheck", text, {
        action: "Listen",
      });
    }
  }
}

/** How many addresses a node has that are ready. */
export function localEndpoints(slices: Iterable<Obj>, node: string): number {
  const found = new Set<string>();
  for (const slice of slices) {
    for (const { addresses, nodeName, conditions } of slice.endpoints ?? []) {
      if (nodeName === node && (conditions?.ready ?? true)) found.add(addresses[0]);
    }
  }
  return found.size;
}

function answer(key: string, count: number): Response {
  const [namespace, name] = key.split("/");
  const service = `\t"service": {\n\t\t"namespace": "${namespace}",\n\t\t"name": "${name}"\n\t},`;
  return new Response(
    `{\n${service}\n\t"localEndpoints": ${count},\n\t"serviceProxyHealthy": true\n}`,
    {
      status: count > 0 ? 200 : 503,
      headers: {
        "content-type": "application/json",
        "x-content-type-options": "nosniff",
        "x-load-balancing-endpoint-weight": String(count),
      },
    },
  );
}

async function close(key: string, { servers }: State): Promise<void> {
  const server = servers.get(key);
  servers.delete(key);
  await Promise.all(server?.http.map((http) => http.shutdown()) ?? []);
}
