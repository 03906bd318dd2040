/**
 * What the control plane needs of whoever the machines belong to: which machine a node is, whether it is there
 * and runs, and the routes between pods. One small interface, so that a provider is one object; the local one
 * plays the part for the nodes of this machine, in memory. (Load balancers are `service_lb.ts`.)
 */
import type { Obj } from "./objects.ts";

/** The taint of a node that no provider has looked at yet; whoever starts nodes under a provider gives it. */
export const UNINITIALIZED = {
  key: "node.cloudprovider.kubernetes.io/uninitialized",
  value: "true",
  effect: "NoSchedule",
};

export interface NodeAddress {
  type: string;
  address: string;
}

/** The machine behind a node. */
export interface Instance {
  /** `provider://…`; it never changes. */
  providerID: string;
  instanceType?: string;
  zone?: string;
  region?: string;
  /** How it is reached; empty: as the node itself says. */
  addresses: readonly NodeAddress[];
  /** Other labels of the node; kubernetes.io's own are not the provider's to give. */
  labels?: Readonly<Record<string, string>>;
}

/** The way to the pods of a node. */
export interface Route {
  node: string;
  cidr: string;
  /** It leads nowhere any more. */
  blackhole?: boolean;
}

export interface Routes {
  list(): Promise<readonly Route[]>;
  create(route: Route): Promise<void>;
  delete(route: Route): Promise<void>;
}

/** See the module's text. All calls may be repeated. */
export interface CloudProvider {
  readonly name: string;
  /** The machine of a node; undefined when there is none (any more). */
  instance(node: Obj): Promise<Instance | undefined>;
  /** Whether the machine is there and does not run. */
  isShutDown(node: Obj): Promise<boolean>;
  /** Absent where pods need no routes. */
  routes?: Routes;
}

/** How the local provider names things. */
export interface LocalCloudOptions {
  /** Nodes are spread over them by the number at their names' end (default `local-a`). */
  zones?: readonly string[];
  region?: string;
  instanceType?: string;
  /** Whether a node's machine is there (default: it is). */
  exists?(name: string): boolean;
  /** Whether it runs (default: it does). */
  runs?(name: string): boolean;
}

/** The provider of this machine's own nodes. */
export function localCloud(options: LocalCloudOptions = {}): CloudProvider {
  const { zones = ["local-a"], region = "local", instanceType = "local" } = options;
  if (zones.length === 0) throw new RangeError("Cannot spread nodes over no zones");
  const { exists = () => true, runs = () => true } = options;
  const routes = new Map<string, Route>();
  const keyOf = ({ node, cidr }: Route) => `${node} ${cidr}`;
  return {
    name: "local",
    instance({ metadata: { name } }) {
      if (!exists(name)) return Promise.resolve(undefined);
      return Promise.resolve({
        providerID: `plesio://${region}/${name}`,
        instanceType,
        region,
        zone: zones[Number(/\d+$/.exec(name)?.[0] ?? 0) % zones.length],
        addresses: [],
      });
    },
    isShutDown: ({ metadata }) => Promise.resolve(!runs(metadata.name)),
    routes: {
      list: () => Promise.resolve([...routes.values()]),
      create: (route) => Promise.resolve(void routes.set(keyOf(route), route)),
      delete: (route) => Promise.resolve(void routes.delete(keyOf(route))),
    },
  };
}
