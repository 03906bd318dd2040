/**
 * NodeRestriction: a node writes its own Node, lease, CSINode and the status of its own pods; it cannot relabel
 * itself into trust, nor get a token for a pod that runs elsewhere. Users that are no nodes are not touched.
 */
import { Buffer } from "node:buffer";
import { notFound } from "../../machinery/errors.ts";
import type { DeepReadonly, KubeObject } from "../../machinery/types.ts";
import { nameOf, type PluginContext, refusal } from "../admission.ts";
import type { Admission, AdmissionPlugin } from "../contract.ts";
import { nodeOf } from "../node.ts";
import { readRequest } from "../pki.ts";
import { claimNames, firstReference } from "../../machinery/pod_references.ts";

// deno-lint-ignore no-explicit-any -- objects are checked by their schema
type Any = any;

const MIRROR = "kubernetes.io/config.mirror";
const quote = JSON.stringify;

/** Labels of Kubernetes' own domains that a node may set on itself. */
const KUBELET_LABELS = new Set([
  "kubernetes.io/hostname",
  "topology.kubernetes.io/zone",
  "topology.kubernetes.io/region",
  "failure-domain.beta.kubernetes.io/zone",
  "failure-domain.beta.kubernetes.io/region",
  "node.kubernetes.io/instance-type",
  "beta.kubernetes.io/instance-type",
  "kubernetes.io/os",
  "kubernetes.io/arch",
  "beta.kubernetes.io/os",
  "beta.kubernetes.io/arch",
]);
const KUBELET_DOMAINS = ["kubelet.kubernetes.io", "node.kubernetes.io"];
const RESTRICTED_DOMAIN = "node-restriction.kubernetes.io";
const NODE_SIGNERS = [
  "kubernetes.io/kubelet-serving",
  "kubernetes.io/kube-apiserver-client-kubelet",
];

/** Upstream's NodeRestriction. */
export function nodeRestriction(
  { authorizer }: Pick<PluginContext, "authorizer">,
): AdmissionPlugin {
  return {
    name: "NodeRestriction",
    handles: (a) => a.operation !== "CONNECT" && nodeOf(a.user) !== undefined,
    mutate(a) {
      const node = nodeOf(a.user)!;
      if (!node) {
        throw refusal(a, `could not determine node from user ${quote(a.user.name)}`);
      }
      switch (a.kind.group ? `${a.kind.plural}.${a.kind.group}` : a.kind.plural) {
        case "pods":
          return checkPod(a, node);
        case "nodes":
          return checkNode(a, node);
        case "persistentvolumeclaims":
          return checkClaim(a, node);
        case "serviceaccounts":
          return checkToken(a, node, authorizer);
        case "leases.coordination.k8s.io":
          if (a.namespace !== "kube-node-lease") {
            throw refusal(a, 'can only access leases in the "kube-node-lease" system namespace');
          }
          return checkOwn(a, node, "node lease");
        case "csinodes.storage.k8s.io":
          return checkOwn(a, node, "CSINode");
        case "resourceslices.resource.k8s.io":
          return checkSlice(a, node);
        case "podcertificaterequests.certificates.k8s.io":
          throw refusal(a, "PodCertificateRequest feature gate is disabled");
        case "certificatesigningrequests.certificates.k8s.io":
          return checkRequest(a, node);
      }
    },
  };
}

function podOf(a: Admission, name: string): DeepReadonly<KubeObject> {
  const pod = a.view.get(`/registry/pods/${a.namespace}/${name}`)?.value;
  if (!pod) throw notFound({ group: "", resource: "pod" }, name);
  return pod;
}

function checkPod(a: Admission, node: string): void {
  const me = quote(node);
  if (a.subresource === "status") return checkPodStatus(a, node);
  if (a.subresource === "eviction") {
    if (a.operation !== "CREATE") throw refusal(a, `unexpected operation ${a.operation}`);
    const name = a.name || a.object?.metadata?.name;
    if (!name) throw refusal(a, "could not determine pod from request data");
    if (podOf(a, name).spec?.nodeName === node) return;
    throw refusal(a, `node ${node} can only evict pods with spec.nodeName set to itself`);
  }
  if (a.subresource) {
    throw refusal(
      a,
      `unexpected pod subresource ${
        quote(a.subresource)
      }, only 'status' and 'eviction' are allowed`,
    );
  }
  if (a.operation === "CREATE") return checkMirror(a, node);
  if (a.operation !== "DELETE") {
    throw refusal(
      a,
      `unexpected operation ${
        quote(a.operation)
      }, node ${me} can only create and delete mirror pods`,
    );
  }
  if ((a.old ?? podOf(a, a.name)).spec?.nodeName !== node) {
    throw refusal(a, `node ${me} can only delete pods with spec.nodeName set to itself`);
  }
}

function checkMirror(a: Admission, node: string): void {
  const me = quote(node);
  const { metadata, spec } = a.object!;
  if (metadata.annotations?.[MIRROR] === undefined) {
    throw refusal(
      a,
      `pod does not have "${MIRROR}" annotation, node ${me} can only create mirror pods`,
    );
  }
  if (spec?.nodeName !== node) {
    throw refusal(a, `node ${me} can only create pods with spec.nodeName set to itself`);
  }
  const owners = metadata.ownerReferences ?? [];
  const only = `node ${me} can only create pods with`;
  if (owners.length > 1) throw refusal(a, `${only} a single owner reference set to itself`);
  const [owner] = owners;
  if (!owner || owner.apiVersion !== "v1" || owner.kind !== "Node" || owner.name !== node) {
    throw refusal(a, `${only} an owner reference set to itself`);
  }
  if (!owner.controller) {
    throw refusal(a, `${only} a controller owner reference set to itself`);
  }
  if (owner.blockOwnerDeletion) {
    throw refusal(a, `node ${me} must not set blockOwnerDeletion on an owner reference`);
  }
  const uid = a.view.get(`/registry/minions/${node}`)?.value.metadata.uid;
  if (uid === undefined) throw notFound({ group: "", resource: "nodes" }, node);
  if (uid !== owner.uid) {
    throw refusal(a, `node ${node} UID mismatch: expected ${owner.uid} got ${uid}`);
  }
  const reference = firstReference(a.object!);
  if (reference) {
    throw refusal(a, `node ${me} can not create pods that reference ${reference}`);
  }
}

function checkPodStatus(a: Admission, node: string): void {
  if (a.operation !== "UPDATE") throw refusal(a, `unexpected operation ${quote(a.operation)}`);
  const { old, object } = a;
  const me = quote(node);
  if (old?.spec?.nodeName !== node) {
    throw refusal(
      a,
      `node ${me} can only update pod status for pods with spec.nodeName set to itself`,
    );
  }
  if (!same(old.metadata.labels, object?.metadata.labels)) {
    throw refusal(a, `node ${me} cannot update labels through pod status`);
  }
  if (!same(old.status?.resourceClaimStatuses, object?.status?.resourceClaimStatuses)) {
    throw refusal(a, `node ${me} cannot update resource claim statues`);
  }
  const extended = "extendedResourceClaimStatus";
  if (!same(old.status?.[extended], object?.status?.[extended])) {
    throw refusal(a, `node ${me} cannot update extended resource claim status`);
  }
}

function checkNode(a: Admission, node: string): void {
  const me = quote(node);
  const name = a.name || a.object?.metadata?.name || "";
  if (name !== node) {
    throw refusal(a, `node ${me} is not allowed to modify node ${quote(name)}`);
  }
  const { object, old } = a;
  if (!object) return;
  if (a.operation === "CREATE") {
    if (object.spec?.configSource) {
      throw refusal(a, `node ${me} is not allowed to create pods with a non-nil configSource`);
    }
    const forbidden = forbiddenLabels(object.metadata.labels, undefined);
    if (forbidden.length) {
      const list = forbidden.join(", ");
      throw refusal(a, `node ${me} is not allowed to set the following labels: ${list}`);
    }
    return;
  }
  if (a.operation !== "UPDATE") return;
  if (object.spec?.configSource && !same(object.spec.configSource, old?.spec?.configSource)) {
    throw refusal(
      a,
      `node ${me} is not allowed to update configSource to a new non-nil configSource`,
    );
  }
  if (!same(object.spec?.taints, old?.spec?.taints)) {
    throw refusal(a, `node ${me} is not allowed to modify taints`);
  }
  if (!same(object.metadata.ownerReferences, old?.metadata.ownerReferences)) {
    throw refusal(a, `node ${me} is not allowed to modify ownerReferences`);
  }
  const forbidden = forbiddenLabels(object.metadata.labels, old?.metadata.labels);
  if (forbidden.length) {
    throw refusal(a, `is not allowed to modify labels: ${forbidden.join(", ")}`);
  }
}

type Labels = DeepReadonly<Record<string, string>> | undefined;

/** Labels that differ and that a node may not touch. */
function forbiddenLabels(now: Labels, before: Labels): string[] {
  const names = new Set([...Object.keys(now ?? {}), ...Object.keys(before ?? {})]);
  return [...names].filter((name) => {
    if (now?.[name] === before?.[name]) return false;
    const slash = name.indexOf("/");
    const domain = slash < 0 ? "" : name.slice(0, slash);
    const under = (parent: string) => domain === parent || domain.endsWith(`.${parent}`);
    if (under(RESTRICTED_DOMAIN)) return true;
    if (!under("kubernetes.io") && !under("k8s.io")) return false;
    return !KUBELET_LABELS.has(name) && !KUBELET_DOMAINS.some(under);
  }).sort();
}

function checkClaim(a: Admission, node: string): void {
  if (a.subresource !== "status") throw refusal(a, "may only update PVC status");
  if (a.operation !== "UPDATE") throw refusal(a, `unexpected operation ${quote(a.operation)}`);
  const plain = (claim: Any) => {
    const { resourceVersion: _r, managedFields: _m, ...metadata } = claim?.metadata ?? {};
    const {
      capacity: _c,
      conditions: _o,
      allocatedResources: _a,
      allocatedResourceStatuses: _s,
      ...status
    } = claim?.status ?? {};
    return { ...claim, metadata, status };
  };
  if (same(plain(a.old), plain(a.object))) return;
  throw refusal(
    a,
    `node ${quote(node)} is not allowed to update fields other than status.quantity and ` +
      `status.conditions`,
  );
}

async function checkToken(
  a: Admission,
  node: string,
  authorizer: PluginContext["authorizer"],
): Promise<void> {
  if (a.operation !== "CREATE" || a.subresource !== "token") return;
  const spec: Any = a.object?.spec ?? {};
  const ref = spec.boundObjectRef;
  if (!ref || ref.apiVersion !== "v1" || ref.kind !== "Pod" || !ref.name) {
    throw refusal(a, "node requested token not bound to a pod");
  }
  if (!ref.uid) throw refusal(a, "node requested token with a pod binding without a uid");
  const pod = podOf(a, ref.name);
  if (ref.uid !== pod.metadata.uid) {
    throw refusal(
      a,
      `the UID in the bound object reference (${ref.uid}) does not match the UID in record. The ` +
        `object might have been deleted and then recreated`,
    );
  }
  if (pod.spec?.nodeName !== node) {
    throw refusal(a, "node requested token bound to a pod scheduled on a different node");
  }
  const audiences: readonly string[] = spec.audiences ?? [];
  if (audiences.length > 1) throw refusal(a, "node may only request 0 or 1 audiences");
  const audience = audiences[0] ?? "";
  if (usesAudience(a, pod, audience)) return;
  const { allowed } = await authorizer.authorize({
    user: a.user,
    verb: "request-serviceaccounts-token-audience",
    resourceRequest: true,
    group: "",
    version: "v1",
    resource: audience,
    subresource: "",
    namespace: a.namespace,
    name: a.name,
    path: "",
  });
  if (allowed) return;
  throw refusal(
    a,
    `audience ${quote(audience)} not found in pod spec volume, ${a.user.name} is not authorized ` +
      `to request tokens for this audience`,
  );
}

/**
 * Whether one of the pod's volumes needs a token for this audience. Refuses where none does, but what some of them are
 * cannot be found out.
 */
function usesAudience(a: Admission, pod: DeepReadonly<KubeObject>, audience: string): boolean {
  const missing: string[] = [];
  for (const volume of pod.spec?.volumes ?? []) {
    const sources: readonly Any[] = volume.projected?.sources ?? [];
    if (
      sources.some((s) =>
        s.serviceAccountToken && (s.serviceAccountToken.audience ?? "") === audience
      )
    ) return true;
    const driver = driverOf(a, pod, volume, missing);
    if (!driver) continue;
    const found = a.view.get(`/registry/csidrivers/${driver}`)?.value;
    if (!found) missing.push(`csidriver.storage.k8s.io ${quote(driver)} not found`);
    if (found?.spec?.tokenRequests?.some((r: Any) => r.audience === audience)) return true;
  }
  if (missing.length === 0) return false;
  const why = missing.length === 1 ? missing[0] : `[${missing.join(", ")}]`;
  throw refusal(a, `error validating audience ${quote(audience)}: ${why}`);
}

/** The CSI driver behind a volume, if there is one. */
function driverOf(
  a: Admission,
  pod: DeepReadonly<KubeObject>,
  volume: Any,
  missing: string[],
): string | undefined {
  if (volume.csi) return volume.csi.driver;
  const [claimName] = claimNames({ ...pod, spec: { volumes: [volume] } });
  if (claimName === undefined) return undefined;
  const claim = a.view.get(`/registry/persistentvolumeclaims/${a.namespace}/${claimName}`)?.value;
  if (!claim) {
    missing.push(`persistentvolumeclaim ${quote(claimName)} not found`);
    return undefined;
  }
  const name: string = claim.spec?.volumeName ?? "";
  const bound = a.view.get(`/registry/persistentvolumes/${name}`)?.value;
  if (!bound) missing.push(`persistentvolume ${quote(name)} not found`);
  return bound?.spec?.csi?.driver;
}

function checkOwn(a: Admission, node: string, what: string): void {
  const name = a.operation === "CREATE" ? a.object?.metadata?.name : a.name || nameOf(a);
  if (name === node || (a.operation !== "CREATE" && a.old?.metadata.name === node)) return;
  throw refusal(a, `can only access ${what} with the same name as the requesting node`);
}

function checkSlice(a: Admission, node: string): void {
  const slice = a.operation === "CREATE" ? a.object : a.operation === "DELETE" ? a.old : undefined;
  if (!slice || slice.spec?.nodeName === node) return;
  const verb = a.operation.toLowerCase();
  throw refusal(a, `can only ${verb} ResourceSlice with the same NodeName as the requesting node`);
}

async function checkRequest(a: Admission, node: string): Promise<void> {
  const spec: Any = a.object?.spec ?? {};
  if (a.operation !== "CREATE" || !NODE_SIGNERS.includes(spec.signerName)) return;
  let commonName: string | undefined;
  try {
    const pem = Buffer.from(spec.request ?? "", "base64").toString("utf8");
    commonName = (await readRequest(pem)).subject.commonName;
  } catch (error) {
    throw refusal(a, `unable to parse csr: ${(error as Error).message}`);
  }
  if (commonName === `system:node:${node}`) return;
  throw refusal(a, `can only create a node CSR with CN=system:node:${node}`);
}

/** Equality of JSON values; the order of keys does not count, absent equals empty. */
function same(a: unknown, b: unknown): boolean {
  if (a === b || (empty(a) && empty(b))) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  const left = a as Record<string, unknown>;
  const right = b as Record<string, unknown>;
  const keys = new Set([...Object.keys(left), ...Object.keys(right)]);
  for (const key of keys) if (!same(left[key], right[key])) return false;
  return true;
}

function empty(value: unknown): boolean {
  return value === undefined || value === null ||
    (typeof value === "object" && Object.keys(value).length === 0);
}
