/** Validation of Ingresses and IngressClasses (upstream's `pkg/apis/networking/validation`). */

import type { Cause, DeepReadonly, KindContext, KubeObject } from "../../machinery/types.ts";
import {
  checkDomainPrefixedPath,
  isDns1123Subdomain,
  isPortName,
  isPortNumber,
  isWildcardDns1123Subdomain,
  nameIsDnsLabel,
  nameIsDnsSubdomain,
  nameIsPathSegment,
} from "../../machinery/names.ts";
import { parseIp } from "../../machinery/ip.ts";
import { validateIp } from "./ip_validation.ts";
import { isSet, METADATA, type Path, Report, SPEC, STATUS } from "./report.ts";
import { validateBalancerHost } from "./service_validation.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

/** Where the class of an Ingress stood before it had a field. */
export const CLASS_ANNOTATION = "kubernetes.io/ingress.class";
const PATH_TYPES = ["Exact", "ImplementationSpecific", "Prefix"];
const BAD_SEQUENCES = ["//", "/./", "/../", "%2f", "%2F"];
const BAD_SUFFIXES = ["/..", "/."];

function validateHost(host: string, path: Path, r: Report): void {
  if (host.startsWith("*.") || host.includes("*")) {
    r.check(isWildcardDns1123Subdomain(host), path, host);
  } else r.check(isDns1123Subdomain(host), path, host);
}

function validateReference(reference: Obj, path: Path, r: Report): void {
  const { apiGroup, kind = "", name = "" } = reference;
  if (isSet(apiGroup)) r.check(isDns1123Subdomain(apiGroup), path.child("apiGroup"), apiGroup);
  if (kind === "") r.required(path.child("kind"));
  else r.check(nameIsPathSegment(kind, false), path.child("kind"), kind);
  if (name === "") r.required(path.child("name"));
  else r.check(nameIsPathSegment(name, false), path.child("name"), name);
}

function validateBackend(backend: Obj, path: Path, r: Report): void {
  const { resource, service } = backend ?? {};
  if (isSet(resource) && isSet(service)) {
    return r.invalid(path, "", "cannot set both resource and service backends");
  }
  if (isSet(resource)) return validateReference(resource, path.child("resource"), r);
  if (!isSet(service)) return r.invalid(path, "", "resource or service backend is required");
  const { name = "", port = {} } = service;
  const at = path.child("service");
  if (name === "") r.required(at.child("name"));
  else r.check(nameIsDnsLabel(name, false), at.child("name"), name);
  if (port.name && port.number) r.invalid(path, "", "cannot set both port name & port number");
  else if (port.name) r.check(isPortName(port.name), at.child("port", "name"), port.name);
  else if (port.number) r.check(isPortNumber(port.number), at.child("port", "number"), port.number);
  else r.required(path, "port name or number is required");
}

function validatePath(entry: Obj, path: Path, r: Report): void {
  const { path: url = "", pathType } = entry;
  const at = path.child("path");
  if (!isSet(pathType)) {
    return r.required(path.child("pathType"), "pathType must be specified");
  }
  if (pathType === "Exact" || pathType === "Prefix") {
    if (!url.startsWith("/")) r.invalid(at, url, "must be an absolute path");
    if (url !== "") {
      for (const bad of BAD_SEQUENCES) {
        if (url.includes(bad)) r.invalid(at, url, `must not contain '${bad}'`);
      }
      for (const bad of BAD_SUFFIXES) {
        if (url.endsWith(bad)) r.invalid(at, url, `cannot end with '${bad}'`);
      }
    }
  } else if (pathType === "ImplementationSpecific") {
    if (url !== "" && !url.startsWith("/")) r.invalid(at, url, "must be an absolute path");
  } else r.notSupported(path.child("pathType"), pathType, PATH_TYPES);
  validateBackend(entry.backend, path.child("backend"), r);
}

function validateSpec(spec: Obj, r: Report): void {
  const rules: Obj[] = spec.rules ?? [];
  if (rules.length === 0 && !isSet(spec.defaultBackend)) {
    r.invalid(SPEC, spec.rules ?? null, "either `defaultBackend` or `rules` must be specified");
  }
  if (isSet(spec.defaultBackend)) {
    validateBackend(spec.defaultBackend, SPEC.child("defaultBackend"), r);
  }
  rules.forEach(({ host, http }, i) => {
    const at = SPEC.child("rules").index(i);
    if (host) {
      if (parseIp(host)) r.invalid(at.child("host"), host, "must be a DNS name, not an IP address");
      else validateHost(host, at.child("host"), r);
    }
    if (!isSet(http)) return;
    const paths: Obj[] = http.paths ?? [];
    const pathsAt = at.child("http", "paths");
    if (paths.length === 0) r.required(pathsAt);
    paths.forEach((entry, j) => validatePath(entry, pathsAt.index(j), r));
  });
  spec.tls?.forEach(({ hosts = [], secretName }: Obj, i: number) => {
    const at = SPEC.child("tls").index(i);
    hosts.forEach((host: string, j: number) => validateHost(host, at.child("hosts").index(j), r));
    if (secretName) {
      r.check(nameIsDnsSubdomain(secretName, false), at.child("secretName"), secretName);
    }
  });
  const name = spec.ingressClassName;
  if (isSet(name)) r.check(nameIsDnsSubdomain(name, false), SPEC.child("ingressClassName"), name);
}

/** Checks a new Ingress. */
export function validateIngress(ingress: Stored): Cause[] {
  const r = new Report();
  const spec: Obj = ingress.spec ?? {};
  validateSpec(spec, r);
  const annotation = ingress.metadata.annotations?.[CLASS_ANNOTATION];
  if (annotation !== undefined && isSet(spec.ingressClassName)) {
    const at = METADATA.child("annotations").child(CLASS_ANNOTATION);
    r.invalid(at, annotation, "can not be set when the class field is also set");
  }
  return r.causes;
}

/** Checks a changed Ingress. */
export function validateIngressUpdate(
  ingress: Stored,
  _old: Stored,
  context: KindContext,
): Cause[] {
  const r = new Report();
  if (context.subresource !== "status") validateSpec(ingress.spec ?? {}, r);
  else {
    const at = STATUS.child("loadBalancer", "ingress");
    ingress.status?.loadBalancer?.ingress?.forEach(({ ip, hostname }: Obj, i: number) => {
      if (ip) validateIp(ip, at.index(i).child("ip"), r);
      if (hostname) validateBalancerHost(hostname, at.index(i).child("hostname"), r);
    });
  }
  return r.causes;
}

const CONTROLLER_LENGTH_MAX = 250;

function validateParameters(parameters: Obj, r: Report): void {
  const at = SPEC.child("parameters");
  validateReference(parameters, at, r);
  const { scope, namespace } = parameters;
  if (!isSet(scope)) r.required(at.child("scope"));
  else if (scope !== "Cluster" && scope !== "Namespace") {
    r.notSupported(at.child("scope"), scope, ["Cluster", "Namespace"]);
  }
  if (scope === "Namespace") {
    const text = "`parameters.scope` is set to 'Namespace'";
    if (!isSet(namespace)) r.required(at.child("namespace"), text);
    else r.check(nameIsDnsLabel(namespace, false), at.child("namespace"), namespace);
  }
  if (scope === "Cluster" && isSet(namespace)) {
    r.forbidden(at.child("namespace"), "`parameters.scope` is set to 'Cluster'");
  }
}

/** Checks a new IngressClass. */
export function validateIngressClass(object: Stored): Cause[] {
  const r = new Report();
  const { controller = "", parameters } = object.spec ?? {};
  const at = SPEC.child("controller");
  if (controller.length > CONTROLLER_LENGTH_MAX) r.tooLong(at, CONTROLLER_LENGTH_MAX);
  r.add(checkDomainPrefixedPath(`${at}`, controller));
  if (isSet(parameters)) validateParameters(parameters, r);
  return r.causes;
}

/** Checks a changed IngressClass: its controller stays. */
export function validateIngressClassUpdate(object: Stored, old: Stored): Cause[] {
  const r = new Report();
  r.add(validateIngressClass(object));
  const controller = object.spec?.controller ?? "";
  if (controller !== (old.spec?.controller ?? "")) {
    r.invalid(SPEC.child("controller"), controller, "field is immutable");
  }
  return r.causes;
}
