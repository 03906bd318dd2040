/**
 * Defaults of pods and pod templates: what Kubernetes fills in after decoding (upstream's
 * `pkg/apis/core/v1/defaults.go`). A template gets less than a pod: requests from limits, service links and
 * host ports are a pod's alone, so that templates written before those defaults existed keep their hash.
 *
 * All functions change their argument in place and do nothing the second time.
 */

import { defaultPodResources, roundAmounts } from "./pod_resources.ts";
import { defaultPullPolicy } from "./image_reference.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;

/** Every field of a volume that names a source. */
const VOLUME_SOURCES = [
  "emptyDir",
  "configMap",
  "secret",
  "projected",
  "persistentVolumeClaim",
  "hostPath",
  "downwardAPI",
  "csi",
  "ephemeral",
  "image",
  "nfs",
  "gcePersistentDisk",
  "awsElasticBlockStore",
  "gitRepo",
  "iscsi",
  "glusterfs",
  "rbd",
  "flexVolume",
  "cinder",
  "cephfs",
  "flocker",
  "fc",
  "azureFile",
  "vsphereVolume",
  "quobyte",
  "azureDisk",
  "photonPersistentDisk",
  "portworxVolume",
  "scaleIO",
  "storageos",
] as const;

/** Mode of files from ConfigMaps, Secrets, the downward API and projections: 0644. */
const FILE_MODE = 0o644;
const TOKEN_SECONDS = 3600;
const CERTIFICATE_SECONDS = 86_400;
const GRACE_SECONDS = 30;

/** Fills a Pod. */
export function defaultPod(pod: Obj): void {
  const spec = pod.spec;
  if (!isObject(spec)) return;
  for (const list of [spec.containers, spec.initContainers]) {
    if (Array.isArray(list)) { for (const container of list) requestsFromLimits(container); }
  }
  if (spec.resources) defaultPodResources(spec);
  spec.enableServiceLinks ??= true;
  if (spec.terminationGracePeriodSeconds < 0) spec.terminationGracePeriodSeconds = 1;
  if (spec.hostNetwork === true) {
    hostPorts(spec.containers);
    hostPorts(spec.initContainers);
  }
  defaultPodSpec(spec);
}

/** Fills a PodTemplateSpec, wherever it is embedded. */
export function defaultPodTemplate(template: Obj): void {
  if (isObject(template) && isObject(template.spec)) defaultPodSpec(template.spec);
}

/** Fills a PodSpec with what pods and templates share. */
export function defaultPodSpec(spec: Obj): void {
  spec.dnsPolicy ||= "ClusterFirst";
  spec.restartPolicy ||= "Always";
  spec.securityContext ??= {};
  spec.terminationGracePeriodSeconds ??= GRACE_SECONDS;
  spec.schedulerName ||= "default-scheduler";
  if (spec.overhead) roundAmounts(spec.overhead);
  if (spec.resources) roundResources(spec.resources);
  // The old name of serviceAccountName is still written: clients of both fields see the same value.
  if (spec.serviceAccountName) spec.serviceAccount = spec.serviceAccountName;
  else if (spec.serviceAccount) spec.serviceAccountName = spec.serviceAccount;
  if (Array.isArray(spec.volumes)) { for (const volume of spec.volumes) defaultVolume(volume); }
  if (Array.isArray(spec.initContainers)) {
    for (const container of spec.initContainers) defaultContainer(container);
  }
  if (Array.isArray(spec.containers)) {
    for (const container of spec.containers) defaultContainer(container);
  }
  if (Array.isArray(spec.ephemeralContainers)) {
    for (const container of spec.ephemeralContainers) defaultContainer(container);
  }
}

/** Fills a container of any of the three lists. */
export function defaultContainer(container: Obj): void {
  if (!isObject(container)) return;
  container.imagePullPolicy ||= defaultPullPolicy(container.image);
  container.terminationMessagePath ||= "/dev/termination-log";
  container.terminationMessagePolicy ||= "File";
  // A struct without omission in Go: every stored container shows it.
  container.resources ??= {};
  roundResources(container.resources);
  if (Array.isArray(container.ports)) {
    for (const port of container.ports) if (isObject(port)) port.protocol ||= "TCP";
  }
  if (Array.isArray(container.env)) {
    for (const variable of container.env) {
      const from = variable?.valueFrom;
      if (!isObject(from)) continue;
      if (isObject(from.fieldRef)) from.fieldRef.apiVersion ||= "v1";
      if (isObject(from.fileKeyRef)) from.fileKeyRef.optional ??= false;
    }
  }
  if (container.livenessProbe) defaultProbe(container.livenessProbe);
  if (container.readinessProbe) defaultProbe(container.readinessProbe);
  if (container.startupProbe) defaultProbe(container.startupProbe);
  const lifecycle = container.lifecycle;
  if (isObject(lifecycle)) {
    defaultHttpGet(lifecycle.postStart?.httpGet);
    defaultHttpGet(lifecycle.preStop?.httpGet);
  }
}

function defaultProbe(probe: Obj): void {
  if (!isObject(probe)) return;
  probe.timeoutSeconds ||= 1;
  probe.periodSeconds ||= 10;
  probe.successThreshold ||= 1;
  probe.failureThreshold ||= 3;
  defaultHttpGet(probe.httpGet);
  if (isObject(probe.grpc)) probe.grpc.service ??= "";
}

function defaultHttpGet(action: Obj): void {
  if (!isObject(action)) return;
  action.path ||= "/";
  action.scheme ||= "HTTP";
}

/** Fills a volume of a pod. Source defaults that are plain values stand in the facts table. */
export function defaultVolume(volume: Obj): void {
  if (!isObject(volume)) return;
  if (!hasSource(volume)) volume.emptyDir = {};
  if (isObject(volume.configMap)) volume.configMap.defaultMode ??= FILE_MODE;
  if (isObject(volume.secret)) volume.secret.defaultMode ??= FILE_MODE;
  if (isObject(volume.projected)) defaultProjected(volume.projected);
  if (isObject(volume.hostPath)) volume.hostPath.type ??= "";
  if (isObject(volume.downwardAPI)) {
    volume.downwardAPI.defaultMode ??= FILE_MODE;
    defaultDownwardItems(volume.downwardAPI.items);
  }
  if (isObject(volume.image)) {
    volume.image.pullPolicy ||= defaultPullPolicy(volume.image.reference);
  }
  if (isObject(volume.ephemeral?.volumeClaimTemplate?.spec)) {
    volume.ephemeral.volumeClaimTemplate.spec.volumeMode ??= "Filesystem";
  }
}

function hasSource(volume: Obj): boolean {
  for (const source of VOLUME_SOURCES) {
    if (volume[source] !== undefined && volume[source] !== null) return true;
  }
  return false;
}

function defaultProjected(projected: Obj): void {
  projected.defaultMode ??= FILE_MODE;
  if (!Array.isArray(projected.sources)) return;
  for (const source of projected.sources) {
    if (isObject(source?.serviceAccountToken)) {
      source.serviceAccountToken.expirationSeconds ??= TOKEN_SECONDS;
    }
    if (isObject(source?.podCertificate)) {
      source.podCertificate.maxExpirationSeconds ??= CERTIFICATE_SECONDS;
    }
    if (isObject(source?.downwardAPI)) defaultDownwardItems(source.downwardAPI.items);
  }
}

function defaultDownwardItems(items: Obj): void {
  if (!Array.isArray(items)) return;
  for (const item of items) if (isObject(item?.fieldRef)) item.fieldRef.apiVersion ||= "v1";
}

/** A limit without a request is also the request. */
function requestsFromLimits(container: Obj): void {
  const resources = container?.resources;
  if (!isObject(resources) || !isObject(resources.limits)) return;
  const requests = resources.requests ??= {};
  for (const name in resources.limits) requests[name] ??= resources.limits[name];
}

function roundResources({ limits, requests }: Obj): void {
  if (limits) roundAmounts(limits);
  if (requests) roundAmounts(requests);
}

function hostPorts(containers: Obj): void {
  if (!Array.isArray(containers)) return;
  for (const container of containers) {
    if (!Array.isArray(container?.ports)) continue;
    for (const port of container.ports) if (isObject(port)) port.hostPort ||= port.containerPort;
  }
}

function isObject(value: unknown): value is Record<string, Obj> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
