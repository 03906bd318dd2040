/**
 * Validation of containers: regular, init, sidecar and ephemeral (upstream's `validateContainerCommon` and
 * the three lists around it).
 */

import { isDns1123Label, isPortName, isPortNumber } from "../../machinery/names.ts";
import { validateEnv, validateEnvFrom } from "./pod_env.ts";
import type { PodOptions } from "./pod_options.ts";
import { validateLifecycle, validateProbes } from "./pod_probes.ts";
import { validateContainerSecurity } from "./pod_security.ts";
import { validatePullPolicy, type Volumes } from "./pod_volumes.ts";
import { validateResources } from "./quantity_validation.ts";
import { isSet, type Path, type Report } from "./report.ts";
import { validateMounts } from "./pod_mounts.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;

/** What the containers of one pod share. */
export interface PodParts {
  spec: Obj;
  volumes: Volumes;
  /** Names in spec.resourceClaims. */
  claims: ReadonlySet<string>;
  /** terminationGracePeriodSeconds, where it is set. */
  grace: number | undefined;
  options: PodOptions;
}

const PROTOCOLS = ["SCTP", "TCP", "UDP"];

/** Checks a protocol of a port. */
export function validateProtocol(protocol: string | undefined, path: Path, r: Report): void {
  if (protocol === "TCP" || protocol === "UDP" || protocol === "SCTP") return;
  if (!protocol) r.required(path.child("protocol"));
  else r.notSupported(path.child("protocol"), protocol, PROTOCOLS);
}

function validatePorts(ports: Obj[], path: Path, r: Report): void {
  const names = new Set<string>();
  for (let i = 0; i < ports.length; i++) {
    const { name, containerPort, hostPort, protocol } = ports[i];
    const at = path.index(i);
    if (name) {
      const messages = isPortName(name);
      if (messages.length) r.check(messages, at.child("name"), name);
      else if (names.has(name)) r.duplicate(at.child("name"), name);
      else names.add(name);
    }
    if (!containerPort) r.required(at.child("containerPort"));
    else r.check(isPortNumber(containerPort), at.child("containerPort"), containerPort);
    if (hostPort) r.check(isPortNumber(hostPort), at.child("hostPort"), hostPort);
    validateProtocol(protocol, at, r);
  }
}

/** Host ports may be taken once. */
function validateHostPorts(containers: Obj[], path: Path, r: Report): void {
  let taken: Set<string> | undefined;
  for (let i = 0; i < containers.length; i++) {
    const ports: Obj[] | undefined = containers[i].ports;
    if (!ports) continue;
    for (let j = 0; j < ports.length; j++) {
      const { hostPort, protocol, hostIP = "" } = ports[j];
      if (!hostPort) continue;
      const key = `${protocol}/${hostIP}/${hostPort}`;
      taken ??= new Set();
      if (taken.has(key)) r.duplicate(path.index(i).child("ports").index(j).child("hostPort"), key);
      else taken.add(key);
    }
  }
}

function validateResizePolicy(container: Obj, path: Path, r: Report, podPolicy: string): void {
  const at = path.child("resizePolicy");
  const seen = new Set<string>();
  container.resizePolicy.forEach(({ resourceName = "", restartPolicy = "" }: Obj, i: number) => {
    if (seen.has(resourceName)) r.duplicate(at.index(i), resourceName);
    seen.add(resourceName);
    if (resourceName === "") r.required(at);
    else if (resourceName !== "cpu" && resourceName !== "memory") {
      r.notSupported(at, resourceName, ["cpu", "memory"]);
    }
    if (restartPolicy === "") r.required(at);
    else if (restartPolicy !== "NotRequired" && restartPolicy !== "RestartContainer") {
      r.notSupported(at, restartPolicy, ["NotRequired", "RestartContainer"]);
    }
    if (podPolicy === "Never" && restartPolicy !== "NotRequired") {
      r.invalid(at, restartPolicy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
    }
  });
}

const MESSAGE_POLICIES = ["File", "FallbackToLogsOnError"];

/** What all containers have in common. */
function validateCommon(container: Obj, path: Path, r: Report, pod: PodParts): void {
  const { name, image, terminationMessagePolicy: policy } = container;
  if (!name) r.required(path.child("name"));
  else {
    const messages = isDns1123Label(name);
    if (messages.length) r.check(messages, path.child("name"), name);
  }
  if (!image) r.required(path.child("image"));
  if (policy !== "File" && policy !== "FallbackToLogsOnError") {
    const at = path.child("terminationMessagePolicy");
    if (!policy) r.required(at);
    else r.notSupported(at, policy, MESSAGE_POLICIES, true);
  }
  if (container.ports) validatePorts(container.ports, path.child("ports"), r);
  validateEnv(container.env, path, r);
  validateEnvFrom(container.envFrom, path, r);
  validateMounts(container, path, r, pod.volumes);
  validatePullPolicy(container.imagePullPolicy, path, r);
  if (container.resources) {
    validateResources(container.resources, path.child("resources"), r, pod.claims);
  }
  if (container.resizePolicy?.length) {
    validateResizePolicy(container, path, r, pod.spec.restartPolicy);
  }
  if (container.securityContext) {
    const at = path.child("securityContext");
    validateContainerSecurity(container.securityContext, at, r, pod.spec.hostUsers !== false);
  }
  // Templates tolerate blanks around an image: some systems use " " as a mark.
  if (pod.options.isPod && image && image !== image.trim()) {
    r.invalid(path.child("image"), image, "must not have leading or trailing whitespace");
  }
}

const RESTART_POLICIES = ["Always", "Never", "OnFailure"];
const RULES_MAX = 20;
const EXIT_CODES_MAX = 255;

/** A container's own restart policy and rules. */
function validateRestart(container: Obj, path: Path, r: Report, init: boolean): void {
  const { restartPolicy, restartPolicyRules: rules } = container;
  const at = path.child("restartPolicy");
  if (!isSet(restartPolicy)) {
    if (rules?.length) r.required(at, "must specify restartPolicy when restart rules are used");
    if (init) return;
  } else if (!RESTART_POLICIES.includes(restartPolicy)) {
    r.notSupported(at, restartPolicy, RESTART_POLICIES);
  }
  if (!rules) return;
  const list = path.child("restartPolicyRules");
  if (rules.length > RULES_MAX) r.tooMany(list, rules.length, RULES_MAX);
  rules.forEach(({ action = "", exitCodes }: Obj, i: number) => {
    if (action !== "Restart" && action !== "RestartAllContainers") {
      r.notSupported(list.index(i).child("action"), action, ["Restart", "RestartAllContainers"]);
    }
    const codesAt = list.index(i).child("exitCodes");
    if (!isSet(exitCodes)) return r.required(codesAt, "must be specified");
    const { operator = "", values = [] } = exitCodes;
    if (operator !== "In" && operator !== "NotIn") {
      r.notSupported(codesAt.child("operator"), operator, ["In", "NotIn"]);
    }
    if (values.length > EXIT_CODES_MAX) {
      r.tooMany(codesAt.child("values"), values.length, EXIT_CODES_MAX);
    }
  });
}

/** Checks the regular containers. */
export function validateContainers(path: Path, r: Report, pod: PodParts): void {
  const containers: Obj[] | undefined = pod.spec.containers;
  if (!containers?.length) return r.required(path);
  const names = new Set<string>();
  for (let i = 0; i < containers.length; i++) {
    const container = containers[i];
    const at = path.index(i);
    validateCommon(container, at, r, pod);
    if (names.has(container.name)) r.duplicate(at.child("name"), container.name);
    else names.add(container.name);
    if (container.lifecycle) {
      validateLifecycle(
        container.lifecycle,
        pod.grace,
        at.child("lifecycle"),
        r,
        pod.spec.os?.name,
      );
    }
    validateProbes(container, pod.grace, at, r);
    validateRestart(container, at, r, false);
  }
  validateHostPorts(containers, path, r);
}

const NOT_FOR_INIT = ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"];

/** Checks the init containers, of which those that always restart are sidecars. */
export function validateInitContainers(path: Path, r: Report, pod: PodParts): void {
  const containers: Obj[] | undefined = pod.spec.initContainers;
  if (!containers?.length) return;
  const names = new Set<string>();
  for (const { name } of pod.spec.containers ?? []) names.add(name);
  for (let i = 0; i < containers.length; i++) {
    const container = containers[i];
    const at = path.index(i);
    validateCommon(container, at, r, pod);
    validateRestart(container, at, r, true);
    if (names.has(container.name)) r.duplicate(at.child("name"), container.name);
    else if (container.name) names.add(container.name);
    validateHostPorts([container], path, r);
    if (container.restartPolicy === "Always") {
      if (container.lifecycle) {
        const os = pod.spec.os?.name;
        validateLifecycle(container.lifecycle, pod.grace, at.child("lifecycle"), r, os);
      }
      validateProbes(container, pod.grace, at, r);
      continue;
    }
    for (const field of NOT_FOR_INIT) {
      if (!isSet(container[field])) continue;
      const text = "may not be set for init containers without restartPolicy=Always";
      r.forbidden(at.child(field), text);
    }
  }
}

const NOT_FOR_EPHEMERAL = [
  "ports",
  "resources",
  "resizePolicy",
  "restartPolicy",
  "restartPolicyRules",
  "livenessProbe",
  "readinessProbe",
  "startupProbe",
  "lifecycle",
];

function isEmpty(value: Obj): boolean {
  if (!isSet(value)) return true;
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === "object" && Object.keys(value).length === 0;
}

/** Checks the ephemeral containers, which are for looking only. */
export function validateEphemeralContainers(path: Path, r: Report, pod: PodParts): void {
  const containers: Obj[] | undefined = pod.spec.ephemeralContainers;
  if (!containers?.length) return;
  const others = new Set<string>();
  for (const list of [pod.spec.containers, pod.spec.initContainers]) {
    for (const { name } of list ?? []) others.add(name);
  }
  const names = new Set(others);
  const asPod = { ...pod, options: { ...pod.options, isPod: true } };
  containers.forEach((container, i) => {
    const at = path.index(i);
    validateCommon(container, at, r, asPod);
    if (names.has(container.name)) r.duplicate(at.child("name"), container.name);
    else names.add(container.name);
    const target = container.targetContainerName;
    if (target && !others.has(target)) r.notFound(at.child("targetContainerName"), target);
    for (const field of NOT_FOR_EPHEMERAL) {
      if (field === "lifecycle" ? !isSet(container[field]) : isEmpty(container[field])) continue;
      r.forbidden(at.child(field), "cannot be set for an Ephemeral Container");
    }
    container.volumeMounts?.forEach((mount: Obj, j: number) => {
      for (const field of ["subPath", "subPathExpr"]) {
        if (!mount[field]) continue;
        const mountAt = at.child("volumeMounts").index(j).child(field);
        r.forbidden(mountAt, "cannot be set for an Ephemeral Container");
      }
    });
  });
}
