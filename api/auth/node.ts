/**
 * The Node authorizer: a node may read what the pods bound to it need, and write what is its own; nothing of other
 * nodes. NodeRestriction (`plugins/node_restriction.ts`) checks what can be known only from the object.
 *
 * There is no graph to keep: relations are looked up in the head view, so that a pod's binding counts at once. Where
 * namespaces have many pods, those of a node are looked at first (`pods_of_nodes.ts`).
 */
import type { View } from "../../kv/contract.ts";
import type { User } from "../client/contract.ts";
import { qualified } from "../machinery/errors.ts";
import { parseFieldSelector, SelectorError } from "../machinery/selectors.ts";
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";
import { parseRule } from "./bootstrap_roles.ts";
import { CLUSTER_ROLES } from "./bootstrap_roles_data.ts";
import type { Attributes, Authorizer, Decision, PolicyRule, PromptAuthorizer } from "./contract.ts";
import { PODS_VISITED_MAX } from "./limits.ts";
import { NODE_PREFIX, NODES } from "./names.ts";
import {
  claimNames,
  configMapNames,
  includes,
  resourceClaimNames,
  secretNames,
} from "../machinery/pod_references.ts";
import type { PodsOfNodes } from "./pods_of_nodes.ts";
import { ruleAllows } from "./rbac_rules.ts";

const ALLOW: Decision = Object.freeze({ allowed: true });
const NO: Decision = Object.freeze({ allowed: false });
const LEASES = "kube-node-lease";

const no = (reason: string): Decision => ({ allowed: false, reason });

/** The node a user is; undefined for users that are no nodes. */
export function nodeOf(user: User): string | undefined {
  if (!user.name.startsWith(NODE_PREFIX) || !user.groups.includes(NODES)) return undefined;
  return user.name.slice(NODE_PREFIX.length);
}

type Pod = DeepReadonly<KubeObject>;
type Relation = (pod: Pod, name: string) => boolean;

/** Whether a pod needs an object of its namespace. Mirror pods, which nodes make, give no rights. */
const RELATIONS: Readonly<Record<string, Relation>> = {
  secrets: (pod, name) => includes(secretNames(pod), name),
  configmaps: (pod, name) => includes(configMapNames(pod), name),
  persistentvolumeclaims: (pod, name) => includes(claimNames(pod), name),
  resourceclaims: (pod, name) => includes(resourceClaimNames(pod), name),
  serviceaccounts: (pod, name) => pod.spec?.serviceAccountName === name,
};

/** The Node authorizer over a view of the head. */
export class NodeAuthorizer implements PromptAuthorizer {
  readonly #view: () => View<KubeObject>;
  readonly #rules: readonly PolicyRule[];
  readonly #pods: PodsOfNodes | undefined;

  /** `pods` makes many pods cost less (default: all pods of a namespace are visited). */
  constructor(view: () => View<KubeObject>, pods?: PodsOfNodes) {
    this.#view = view;
    this.#pods = pods;
    this.#rules = CLUSTER_ROLES.find((r) => r.name === "system:node")!.rules.map(parseRule);
  }

  rules(user: User): ReturnType<Authorizer["rules"]> {
    if (nodeOf(user) === undefined) return { rules: [], errors: [] };
    const errors = ["node authorizer does not support user rule resolution"];
    return { rules: [], errors, incomplete: true };
  }

  authorize(a: Attributes): Decision {
    const node = nodeOf(a.user);
    if (node === undefined) return NO;
    if (!node) return no(`unknown node for user ${JSON.stringify(a.user.name)}`);
    if (a.resourceRequest) {
      const special = this.#special(node, a);
      if (special) return special;
    }
    return this.#rules.some((rule) => ruleAllows(rule, a)) ? ALLOW : NO;
  }

  /** The decision on resources of which a node has its own only; undefined for the others. */
  #special(node: string, a: Attributes): Decision | undefined {
    switch (qualified(a)) {
      case "secrets":
      case "configmaps":
        return this.#readOne(node, a);
      case "persistentvolumeclaims":
        return a.subresource === "status" ? this.#updateStatus(node, a) : this.#getOne(node, a);
      case "persistentvolumes":
      case "resourceclaims.resource.k8s.io":
      case "volumeattachments.storage.k8s.io":
        return this.#getOne(node, a);
      case "serviceaccounts":
        return this.#serviceAccount(node, a);
      case "leases.coordination.k8s.io":
        return ownLease(node, a);
      case "csinodes.storage.k8s.io":
        return ownCsiNode(node, a);
      case "resourceslices.resource.k8s.io":
        return this.#slice(node, a);
      case "nodes":
        return ownNode(node, a);
      case "pods":
        return this.#pod(node, a);
      case "podcertificaterequests.certificates.k8s.io":
        return NO;
    }
    return undefined;
  }

  #readOne(node: string, a: Attributes): Decision {
    if (!["get", "list", "watch"].includes(a.verb)) {
      return no("can only read resources of this type");
    }
    if (a.subresource) return no("cannot read subresource");
    if (!a.namespace) return no("can only read namespaced object of this type");
    return this.#related(node, a);
  }

  #getOne(node: string, a: Attributes): Decision {
    if (a.verb !== "get") return no("can only get individual resources of this type");
    if (a.subresource) return no("cannot get subresource");
    return this.#related(node, a);
  }

  #updateStatus(node: string, a: Attributes): Decision {
    if (a.verb !== "update" && a.verb !== "patch") {
      return no("can only get/update/patch this type");
    }
    return this.#related(node, a);
  }

  #serviceAccount(node: string, a: Attributes): Decision {
    if (a.verb === "get" && !a.subresource) return this.#readOne(node, a);
    if (a.verb !== "create" || !a.name) {
      return no("can only create tokens for individual service accounts");
    }
    if (a.subresource !== "token") {
      return no("can only create token subresource of serviceaccount");
    }
    return this.#related(node, a);
  }

  #slice(node: string, a: Attributes): Decision {
    if (a.subresource) return no("cannot authorize ResourceSlice subresources");
    if (a.verb === "create") return ALLOW;
    if (["get", "update", "patch", "delete"].includes(a.verb)) return this.#related(node, a);
    if (["list", "watch", "deletecollection"].includes(a.verb)) {
      return selects(a, "spec.nodeName", node) ? ALLOW : no(
        "can only list/watch/deletecollection resourceslices with nodeName field selector",
      );
    }
    return no(
      "only the following verbs are allowed for a ResourceSlice: " +
        "get, watch, list, create, update, patch, delete, deletecollection",
    );
  }

  #pod(node: string, a: Attributes): Decision {
    if (a.subresource === "status") {
      return a.verb === "update" || a.verb === "patch" ? ALLOW : NO;
    }
    if (a.subresource === "eviction") return a.verb === "create" ? ALLOW : NO;
    if (a.subresource) return NO;
    if (a.verb === "create" || a.verb === "delete") return ALLOW;
    if (a.verb === "get") return this.#related(node, a);
    if (a.verb !== "list" && a.verb !== "watch") return NO;
    if (selects(a, "spec.nodeName", node)) return ALLOW;
    if (a.name) return this.#related(node, a);
    return no("can only list/watch pods with spec.nodeName field selector");
  }

  #related(node: string, a: Attributes): Decision {
    if (!a.name) return no("No Object name found");
    return this.#isRelated(node, a)
      ? ALLOW
      : no(`no relationship found between node '${node}' and this object`);
  }

  #isRelated(node: string, { resource, namespace, name }: Attributes): boolean {
    const view = this.#view();
    const value = (key: string) => view.get(key)?.value;
    if (resource === "pods") {
      return value(`/registry/pods/${namespace}/${name}`)?.spec?.nodeName === node;
    }
    if (resource === "volumeattachments") {
      return value(`/registry/volumeattachments/${name}`)?.spec?.nodeName === node;
    }
    if (resource === "resourceslices") {
      return value(`/registry/resourceslices/${name}`)?.spec?.nodeName === node;
    }
    if (resource === "persistentvolumes") {
      const claim = value(`/registry/persistentvolumes/${name}`)?.spec?.claimRef;
      return claim !== undefined &&
        this.#needs(view, node, {
          namespace: claim.namespace,
          ...relation("persistentvolumeclaims", claim.name),
        });
    }
    if (this.#needs(view, node, { namespace, ...relation(resource, name) })) return true;
    return resource === "secrets" && this.#volumeNeeds(view, node, { namespace, name });
  }

  #needs(
    view: View<KubeObject>,
    node: string,
    { namespace, test }: { namespace: string; test: (pod: Pod) => boolean },
  ): boolean {
    const gives = (pod: Pod | undefined) =>
      pod?.spec?.nodeName === node &&
      pod.metadata.annotations?.["kubernetes.io/config.mirror"] === undefined && test(pod);
    for (const key of this.#pods?.of(namespace, node) ?? []) {
      if (gives(view.get(key)?.value)) return true;
    }
    let visited = 0;
    for (const { value: pod } of view.scan(`/registry/pods/${namespace}/`)) {
      if (gives(pod)) return true;
      if (++visited === PODS_VISITED_MAX) this.#pods?.start(view);
    }
    return false;
  }

  /** Whether a pod of the node uses a volume that names the secret. */
  #volumeNeeds(
    view: View<KubeObject>,
    node: string,
    secret: { namespace: string; name: string },
  ): boolean {
    for (const { value: volume } of view.scan("/registry/persistentvolumes/")) {
      const claim = volume.spec?.claimRef;
      if (
        !claim ||
        !volumeSecrets(volume, claim.namespace).some((ref) =>
          ref.name === secret.name && ref.namespace === secret.namespace
        )
      ) continue;
      const test = relation("persistentvolumeclaims", claim.name);
      if (this.#needs(view, node, { namespace: claim.namespace, ...test })) return true;
    }
    return false;
  }
}

function relation(resource: string, name: string): { test: (pod: Pod) => boolean } {
  const related = RELATIONS[resource];
  return { test: (pod) => related !== undefined && related(pod, name) };
}

/** Secrets that a volume's node part names. */
function volumeSecrets(
  { spec }: Pod,
  claimNamespace: string,
): { namespace: string; name: string }[] {
  const refs = [
    spec.csi?.nodePublishSecretRef,
    spec.csi?.nodeStageSecretRef,
    spec.csi?.nodeExpandSecretRef,
    spec.cephfs?.secretRef,
    spec.cinder?.secretRef,
    spec.flexVolume?.secretRef,
    spec.rbd?.secretRef,
    spec.scaleIO?.secretRef,
    spec.iscsi?.secretRef,
    spec.storageos?.secretRef,
    spec.azureFile && {
      name: spec.azureFile.secretName,
      namespace: spec.azureFile.secretNamespace,
    },
  ];
  return refs.filter((ref) => ref?.name)
    .map((ref) => ({ name: ref.name, namespace: ref.namespace || claimNamespace }));
}

/** Whether the request's field selector asks for one value of a field and nothing else of it. */
function selects(a: Attributes, field: string, value: string): boolean {
  if (!a.fieldSelector) return false;
  try {
    return parseFieldSelector(a.fieldSelector).exact(field) === value;
  } catch (error) {
    if (error instanceof SelectorError) return false;
    throw error;
  }
}

const OWN_VERBS = ["get", "create", "update", "patch", "delete"];

function ownLease(node: string, a: Attributes): Decision {
  if (!OWN_VERBS.includes(a.verb)) {
    return no("can only get, create, update, patch, or delete a node lease");
  }
  if (a.namespace !== LEASES) {
    return no(`can only access leases in the ${JSON.stringify(LEASES)} system namespace`);
  }
  if (a.verb !== "create" && a.name !== node) {
    return no("can only access node lease with the same name as the requesting node");
  }
  return ALLOW;
}

function ownCsiNode(node: string, a: Attributes): Decision {
  if (!OWN_VERBS.includes(a.verb)) {
    return no("can only get, create, update, patch, or delete a CSINode");
  }
  if (a.subresource) return no("cannot authorize CSINode subresources");
  if (a.verb !== "create" && a.name !== node) {
    return no("can only access CSINode with the same name as the requesting node");
  }
  return ALLOW;
}

function ownNode(node: string, a: Attributes): Decision {
  if (a.subresource === "status") {
    return a.verb === "update" || a.verb === "patch" ? ALLOW : NO;
  }
  // Ours: the connection that a node opens to be reached by
  if (a.subresource === "tunnel") return a.verb === "create" && a.name === node ? ALLOW : NO;
  if (a.subresource) return NO;
  if (["create", "update", "patch"].includes(a.verb)) return ALLOW;
  if (!["get", "list", "watch"].includes(a.verb)) return NO;
  if (a.name === node) return ALLOW;
  return no(
    a.name
      ? `node '${node}' cannot read '${a.name}', only its own Node object`
      : `node '${node}' cannot read all nodes, only its own Node object`,
  );
}
