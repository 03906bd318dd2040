/**
 * What Gateways and HTTPRoutes say: routes and certificates for each port of a Gateway, and what is to be told of both in
 * their status. Pure. Conditions and reasons are the Gateway API's (v1).
 */
import { labelSelector } from "../../../../api/machinery/selectors.ts";
import { parseDuration } from "../../../../api/machinery/time.ts";
import type { DeepReadonly, KubeObject } from "../../../../api/machinery/types.ts";
import type { FrontPort } from "./fronts.ts";
import type { Certificate } from "./ingress_routes.ts";
import {
  type Backend,
  type Filter,
  hostMatch,
  inOrder,
  type PathChange,
  type Route,
} from "./routes.ts";

type Obj = DeepReadonly<KubeObject>;

/** Whose GatewayClasses are ours. */
export const GATEWAY_CONTROLLER = "plesio.dev/gateway";
const GROUP = "gateway.networking.k8s.io";

/** A condition without its time. */
export interface Condition {
  type: string;
  status: "True" | "False";
  reason: string;
  message: string;
  observedGeneration: number;
}

/** What a Gateway becomes. */
export interface GatewayPlan {
  gateway: Obj;
  ports: FrontPort[];
  listeners: {
    name: string;
    attachedRoutes: number;
    supportedKinds: object[];
    conditions: Condition[];
  }[];
}

/** What is told of a route at one of its parents. */
export interface ParentStatus {
  parentRef: object;
  conditions: Condition[];
}

/** What is read. */
export interface GatewayWorld {
  classes: Iterable<Obj>;
  gateways: Iterable<Obj>;
  routes: Iterable<Obj>;
  grants: Iterable<Obj>;
  namespace(name: string): Obj | undefined;
  /** A Service or a Secret, by `namespace/name`. */
  service(key: string): Obj | undefined;
  secret(key: string): Obj | undefined;
}

/** Everything that is to be served and told. */
export interface GatewayPlans {
  classes: Obj[];
  gateways: GatewayPlan[];
  routes: Map<Obj, ParentStatus[]>;
}

export function gatewayPlans(world: GatewayWorld): GatewayPlans {
  const classes = [...world.classes].filter(({ spec }) =>
    spec.controllerName === GATEWAY_CONTROLLER
  );
  const names = new Set(classes.map(({ metadata }) => metadata.name));
  const gateways = [...world.gateways].filter(({ spec, metadata }) =>
    names.has(spec.gatewayClassName) && !metadata.deletionTimestamp
  );
  const plans = new Map(gateways.map((gateway) => [keyOf(gateway), new Planned(gateway, world)]));
  const routes: GatewayPlans["routes"] = new Map();
  for (const route of world.routes) {
    const told: ParentStatus[] = [];
    for (const ref of (route.spec.parentRefs ?? []) as readonly Ref[]) {
      if ((ref.group ?? GROUP) !== GROUP || (ref.kind ?? "Gateway") !== "Gateway") continue;
      const planned = plans.get(`${ref.namespace ?? route.metadata.namespace}/${ref.name}`);
      if (planned) told.push({ parentRef: ref, conditions: planned.attach(route, ref) });
    }
    if (told.length > 0) routes.set(route, told);
  }
  return { classes, gateways: [...plans.values()].map((planned) => planned.plan()), routes };
}

interface Ref {
  group?: string;
  kind?: string;
  namespace?: string;
  name: string;
  sectionName?: string;
  port?: number;
}

interface Listener {
  spec: Obj;
  usable: boolean;
  conditions: Condition[];
  certificates: Certificate[];
  routes: Route[];
  attached: number;
}

function keyOf({ metadata: { namespace, name } }: Obj): string {
  return `${namespace}/${name}`;
}

/** Makes conditions of one generation. */
function conditionsOf({ metadata }: Obj) {
  return (
    type: string,
    reason: string,
    message = "",
    status: "True" | "False" = "True",
  ): Condition => ({
    type,
    status,
    reason,
    message,
    observedGeneration: metadata.generation ?? 0,
  });
}

/** A Gateway while routes are attached to it. */
class Planned {
  readonly #gateway: Obj;
  readonly #world: GatewayWorld;
  readonly #listeners: Listener[];

  constructor(gateway: Obj, world: GatewayWorld) {
    this.#gateway = gateway;
    this.#world = world;
    const taken = new Map<number, string>();
    const hosts = new Set<string>();
    this.#listeners = (gateway.spec.listeners as readonly Obj[]).map((spec) =>
      this.#listener(spec, taken, hosts)
    );
  }

  plan(): GatewayPlan {
    const byPort = Map.groupBy(
      this.#listeners.filter(({ usable }) => usable),
      ({ spec }) => spec.port,
    );
    const ports = [...byPort].map(([port, listeners]) => {
      const certificates = listeners.flatMap((listener) => listener.certificates);
      const routes = inOrder(listeners.flatMap((listener) => listener.routes));
      return { port, routes, ...(listeners[0].spec.protocol === "HTTPS" && { certificates }) };
    });
    const listeners = this.#listeners.map(({ spec, attached, conditions }) => ({
      name: spec.name,
      attachedRoutes: attached,
      supportedKinds: [{ group: GROUP, kind: "HTTPRoute" }],
      conditions,
    }));
    return { gateway: this.#gateway, ports, listeners };
  }

  #listener(spec: Obj, taken: Map<number, string>, hosts: Set<string>): Listener {
    const condition = conditionsOf(this.#gateway);
    const listener = { spec, certificates: [], routes: [], attached: 0 };
    const { port, protocol, hostname = "" } = spec;
    if (protocol !== "HTTP" && protocol !== "HTTPS") {
      const why = `protocol ${protocol} is not served`;
      const conditions = [
        condition("Accepted", "UnsupportedProtocol", why, "False"),
        condition("Programmed", "Invalid", why, "False"),
      ];
      return { ...listener, usable: false, conditions };
    }
    const other = taken.get(port) ?? protocol;
    const conflict = other !== protocol
      ? "ProtocolConflict"
      : hosts.has(`${port} ${hostname}`)
      ? "HostnameConflict"
      : undefined;
    if (conflict) {
      const why = `another listener has port ${port}`;
      const conditions = ["Accepted", "Programmed"].map((type) =>
        condition(type, conflict, why, "False")
      );
      conditions.push(condition("Conflicted", conflict, why));
      return { ...listener, usable: false, conditions };
    }
    taken.set(port, protocol);
    hosts.add(`${port} ${hostname}`);
    const { certificates, wrong } = protocol === "HTTPS"
      ? this.#certificates(spec)
      : { certificates: [], wrong: undefined };
    const usable = wrong === undefined;
    const conditions = [
      condition("Accepted", "Accepted"),
      condition("Conflicted", "NoConflicts", "", "False"),
      usable
        ? condition("ResolvedRefs", "ResolvedRefs")
        : condition("ResolvedRefs", wrong!.reason, wrong!.message, "False"),
      usable
        ? condition("Programmed", "Programmed")
        : condition("Programmed", "Invalid", wrong!.message, "False"),
    ];
    return { ...listener, usable, certificates, conditions };
  }

  #certificates({ hostname, tls }: Obj): {
    certificates: Certificate[];
    wrong?: { reason: string; message: string };
  } {
    const { namespace } = this.#gateway.metadata;
    const refs = (tls?.certificateRefs ?? []) as readonly Ref[];
    const wrong = (reason: string, message: string) => ({
      certificates: [],
      wrong: { reason, message },
    });
    if (tls?.mode === "Passthrough") {
      return wrong("InvalidCertificateRef", "mode Passthrough is not served");
    }
    if (refs.length === 0) return wrong("InvalidCertificateRef", "no certificate is named");
    const certificates: Certificate[] = [];
    for (const ref of refs) {
      const key = `${ref.namespace ?? namespace}/${ref.name}`;
      if ((ref.kind ?? "Secret") !== "Secret" || ref.group) {
        return wrong("InvalidCertificateRef", `${ref.kind} is not a Secret`);
      }
      if (!this.#granted({ kind: "Gateway", namespace: namespace! }, "Secret", ref)) {
        return wrong("RefNotPermitted", `secret "${key}" is not granted`);
      }
      if (!this.#world.secret(key)) {
        return wrong("InvalidCertificateRef", `secret "${key}" does not exist`);
      }
      certificates.push({ host: hostMatch(hostname, "many"), secret: key });
    }
    return { certificates };
  }

  /** Whether an object may be named from another namespace. */
  #granted(from: { kind: string; namespace: string }, kind: string, to: Ref): boolean {
    const namespace = to.namespace ?? from.namespace;
    if (namespace === from.namespace) return true;
    return [...this.#world.grants].some(({ metadata, spec }) =>
      metadata.namespace === namespace &&
      (spec.from as readonly Ref[]).some((f) =>
        f.group === GROUP && f.kind === from.kind && f.namespace === from.namespace
      ) &&
      (spec.to as readonly Ref[]).some((t) =>
        !t.group && t.kind === kind && (!t.name || t.name === to.name)
      )
    );
  }

  /** Attaches a route where it may be, and tells how that went. */
  attach(route: Obj, ref: Ref): Condition[] {
    const condition = conditionsOf(route);
    const named = this.#listeners.filter(({ spec }) =>
      (!ref.sectionName || spec.name === ref.sectionName) && (!ref.port || spec.port === ref.port)
    );
    const allowed = named.filter(({ spec }) => this.#allows(spec, route));
    const hosts = allowed.map((listener) => ({
      listener,
      names: commonHosts(listener.spec.hostname, route.spec.hostnames),
    })).filter(({ names }) => names.length > 0);
    const unsupported = unsupportedOf(route);
    const why = named.length === 0
      ? "NoMatchingParent"
      : allowed.length === 0
      ? "NotAllowedByListeners"
      : hosts.length === 0
      ? "NoMatchingListenerHostname"
      : unsupported
      ? "UnsupportedValue"
      : undefined;
    const { backends, wrong } = this.#backendsOf(route);
    const resolved = wrong
      ? condition("ResolvedRefs", wrong.reason, wrong.message, "False")
      : condition("ResolvedRefs", "ResolvedRefs");
    if (why) {
      return [
        condition("Accepted", why, unsupported ?? `no listener takes the route`, "False"),
        resolved,
      ];
    }
    for (const { listener, names } of hosts) {
      listener.attached++;
      for (const name of names) listener.routes.push(...routesOf(route, name, backends));
    }
    return [condition("Accepted", "Accepted"), resolved];
  }

  #allows({ allowedRoutes }: Obj, { metadata }: Obj): boolean {
    const kinds = (allowedRoutes?.kinds ?? []) as readonly Ref[];
    if (kinds.length > 0 && !kinds.some(({ kind }) => kind === "HTTPRoute")) return false;
    const { from = "Same", selector } = allowedRoutes?.namespaces ?? {};
    if (from === "All") return true;
    if (from === "Same") return metadata.namespace === this.#gateway.metadata.namespace;
    const namespace = this.#world.namespace(metadata.namespace!);
    return labelSelector(selector).matches(namespace?.metadata.labels ?? {});
  }

  /** The backends of each rule; what cannot be used keeps its weight, and is answered with 500. */
  #backendsOf(route: Obj): { backends: Backend[][]; wrong?: { reason: string; message: string } } {
    let wrong: { reason: string; message: string } | undefined;
    const namespace = route.metadata.namespace!;
    const backends = ((route.spec.rules ?? []) as readonly Obj[]).map((rule) =>
      ((rule.backendRefs ?? []) as readonly (Ref & Obj)[]).map((ref) => {
        const key = `${ref.namespace ?? namespace}/${ref.name}`;
        const reason = ref.group || (ref.kind ?? "Service") !== "Service"
          ? "InvalidKind"
          : !this.#granted({ kind: "HTTPRoute", namespace }, "Service", ref)
          ? "RefNotPermitted"
          : !this.#world.service(key)
          ? "BackendNotFound"
          : undefined;
        if (reason) wrong ??= { reason, message: `service "${key}" cannot be used` };
        return {
          service: reason ? undefined : key,
          port: ref.port ?? 0,
          weight: ref.weight ?? 1,
          filters: filtersOf(ref.filters),
        };
      })
    );
    return { backends, wrong };
  }
}

/** The hosts at which a listener takes a route; `*` is any. */
export function commonHosts(
  own: string | undefined,
  asked: readonly string[] | undefined,
): string[] {
  if (!asked?.length) return [own ?? "*"];
  return asked.flatMap((host) => {
    if (!own || own === host) return [host];
    const under = (wide: string, name: string) =>
      wide.startsWith("*.") && name.endsWith(wide.slice(1));
    if (under(own, host)) return [host];
    return under(host, own) ? [own] : [];
  });
}

const SUPPORTED = new Set([
  "RequestHeaderModifier",
  "ResponseHeaderModifier",
  "RequestRedirect",
  "URLRewrite",
]);

function unsupportedOf({ spec }: Obj): string | undefined {
  const rules = (spec.rules ?? []) as readonly Obj[];
  const all = rules.flatMap((rule) => [
    ...rule.filters ?? [],
    ...(rule.backendRefs ?? []).flatMap((ref: Obj) => ref.filters ?? []),
  ]);
  const type = all.find((filter: Obj) => !SUPPORTED.has(filter.type))?.type;
  return type && `filter ${type} is not supported`;
}

const PATH_TYPES = {
  Exact: "Exact",
  PathPrefix: "Prefix",
  RegularExpression: "RegularExpression",
} as const;

function routesOf(route: Obj, host: string, backends: readonly Backend[][]): Route[] {
  const { creationTimestamp = "" } = route.metadata;
  return ((route.spec.rules ?? []) as readonly Obj[]).flatMap((rule, i) => {
    const span = rule.timeouts?.request ?? rule.timeouts?.backendRequest;
    const matches = (rule.matches?.length ? rule.matches : [{}]) as readonly Obj[];
    return matches.map(({ path, method, headers, queryParams }) => ({
      source: `HTTPRoute ${keyOf(route)}`,
      created: creationTimestamp,
      host: hostMatch(host, "many"),
      path: {
        type: PATH_TYPES[(path?.type ?? "PathPrefix") as keyof typeof PATH_TYPES],
        value: path?.value ?? "/",
      },
      method,
      headers: valuesOf(headers),
      query: valuesOf(queryParams),
      filters: filtersOf(rule.filters),
      backends: backends[i],
      timeoutMs: span ? parseDuration(span) || undefined : undefined,
    }));
  });
}

function valuesOf(matches: readonly Obj[] | undefined): Route["headers"] {
  return (matches ?? []).map(({ name, type, value }) => ({ name, type: type ?? "Exact", value }));
}

function filtersOf(filters: readonly Obj[] | undefined): Filter[] {
  return (filters ?? []).flatMap((filter): Filter[] => {
    switch (filter.type) {
      case "RequestHeaderModifier":
        return [{ type: "RequestHeaders", change: filter.requestHeaderModifier ?? {} }];
      case "ResponseHeaderModifier":
        return [{ type: "ResponseHeaders", change: filter.responseHeaderModifier ?? {} }];
      case "RequestRedirect": {
        const { path, statusCode = 302, ...rest } = filter.requestRedirect ?? {};
        return [{ type: "Redirect", ...rest, statusCode, path: pathOf(path) }];
      }
      case "URLRewrite":
        return [{
          type: "Rewrite",
          hostname: filter.urlRewrite?.hostname,
          path: pathOf(filter.urlRewrite?.path),
        }];
      default:
        return [];
    }
  });
}

function pathOf(path: Obj | undefined): PathChange | undefined {
  if (!path) return undefined;
  const value = path.type === "ReplaceFullPath" ? path.replaceFullPath : path.replacePrefixMatch;
  return { type: path.type, value: value ?? "/" };
}
