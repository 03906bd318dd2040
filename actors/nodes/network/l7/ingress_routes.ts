/** What Ingresses say, as routes and certificates. Pure. Matched: the API's own words on hosts and paths (v1.36). */
import type { DeepReadonly, KubeObject } from "../../../../api/machinery/types.ts";
import { type Backend, type HostMatch, hostMatch, type Route } from "./routes.ts";

type Obj = DeepReadonly<KubeObject>;

/** Whose IngressClasses are ours. */
export const INGRESS_CONTROLLER = "plesio.dev/ingress";
const CLASS_ANNOTATION = "kubernetes.io/ingress.class";

/** A certificate by the name a client asks for; without one it serves whoever names none that is known. */
export interface Certificate {
  host: HostMatch;
  /** `namespace/name` of a Secret of type kubernetes.io/tls. */
  secret: string;
}

/** Whether an Ingress is of one of our classes. One that names none is nobody's. */
export function isOurs(ingress: Obj, classes: ReadonlySet<string>): boolean {
  const name = ingress.spec.ingressClassName ?? ingress.metadata.annotations?.[CLASS_ANNOTATION];
  return name !== undefined && classes.has(name);
}

/** The names of our classes. */
export function ownClasses(classes: Iterable<Obj>): Set<string> {
  const names = new Set<string>();
  for (const { metadata, spec } of classes) {
    if (spec?.controller === INGRESS_CONTROLLER) names.add(metadata.name);
  }
  return names;
}

export function ingressRoutes(ingress: Obj): Route[] {
  const { namespace, name, creationTimestamp = "" } = ingress.metadata;
  const own = { source: `Ingress ${namespace}/${name}`, created: creationTimestamp };
  const routes: Route[] = [];
  for (const { host, http } of ingress.spec.rules ?? []) {
    for (const { path = "/", pathType, backend } of http?.paths ?? []) {
      routes.push({
        ...own,
        host: hostMatch(host, "one"),
        path: { type: pathType === "Exact" ? "Exact" : "Prefix", value: path },
        backends: [backendOf(backend, namespace!)],
      });
    }
  }
  const { defaultBackend } = ingress.spec;
  if (defaultBackend) {
    routes.push({
      ...own,
      host: { type: "Any" },
      path: { type: "Prefix", value: "/" },
      backends: [backendOf(defaultBackend, namespace!)],
      last: true,
    });
  }
  return routes;
}

/** A resource as a backend is nothing we can serve. */
function backendOf({ service }: Obj, namespace: string): Backend {
  if (!service) return { port: 0, weight: 1 };
  const { number, name } = service.port ?? {};
  return { service: `${namespace}/${service.name}`, port: number ?? name ?? 0, weight: 1 };
}

export function ingressCertificates(ingress: Obj): Certificate[] {
  const { namespace } = ingress.metadata;
  return ((ingress.spec.tls ?? []) as readonly { hosts?: string[]; secretName?: string }[])
    .flatMap(({ hosts, secretName }) => {
      if (!secretName) return [];
      const secret = `${namespace}/${secretName}`;
      const names = hosts?.length ? hosts : [undefined];
      return names.map((host) => ({ host: hostMatch(host, "one"), secret }));
    });
}
