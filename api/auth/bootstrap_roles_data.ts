/**
 * The roles and bindings every cluster starts with, as Kubernetes 1.36 defines them. A table: the
 * notation is `bootstrap_roles.ts`'s. One rule is a line of words: verbs, groups, resources and, where the
 * rule is limited, names; or verbs and URLs. `read` is get, list and watch; `write` is create, delete,
 * deletecollection, patch and update; `core` is the group without a name.
 */
// deno-fmt-ignore-file -- one rule a line keeps the table readable
import type { BindingRow, RoleRow } from "./bootstrap_roles.ts";

/** ClusterRoles of people and components. */
export const CLUSTER_ROLES: readonly RoleRow[] = [
  {
    name: "admin",
    aggregates: "admin",
    rules: [],
  },
  {
    name: "cluster-admin",
    rules: [
      "* * *",
      "* *",
    ],
  },
  {
    name: "edit",
    aggregateTo: "admin",
    aggregates: "edit",
    rules: [],
  },
  {
    name: "system:aggregate-to-admin",
    aggregateTo: "admin",
    rules: [
      "create authorization.k8s.io localsubjectaccessreviews",
      "write,read rbac.authorization.k8s.io rolebindings,roles",
    ],
  },
  {
    name: "system:aggregate-to-edit",
    aggregateTo: "edit",
    rules: [
      "read core pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy",
      "impersonate core serviceaccounts",
      "write core pods,pods/attach,pods/exec,pods/portforward,pods/proxy",
      "create core pods/eviction",
      "write core configmaps,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,secrets,serviceaccounts,services,services/proxy",
      "create core serviceaccounts/token",
      "write core,events.k8s.io events",
      "write apps daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,statefulsets,statefulsets/scale",
      "write autoscaling horizontalpodautoscalers",
      "write batch cronjobs,jobs",
      "write extensions daemonsets,deployments,deployments/rollback,deployments/scale,ingresses,networkpolicies,replicasets,replicasets/scale,replicationcontrollers/scale",
      "write policy poddisruptionbudgets",
      "write networking.k8s.io ingresses,networkpolicies",
      "write,read coordination.k8s.io leases",
      "write resource.k8s.io resourceclaims,resourceclaimtemplates",
    ],
  },
  {
    name: "system:aggregate-to-view",
    aggregateTo: "view",
    rules: [
      "read core configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/status",
      "read core bindings,limitranges,namespaces/status,pods/log,pods/status,replicationcontrollers/status,resourcequotas,resourcequotas/status",
      "read core namespaces",
      "read core,events.k8s.io events",
      "read discovery.k8s.io endpointslices",
      "read apps controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,statefulsets/scale,statefulsets/status",
      "read autoscaling horizontalpodautoscalers,horizontalpodautoscalers/status",
      "read batch cronjobs,cronjobs/status,jobs,jobs/status",
      "read extensions daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,ingresses,ingresses/status,networkpolicies,replicasets,replicasets/scale,replicasets/status,replicationcontrollers/scale",
      "read policy poddisruptionbudgets,poddisruptionbudgets/status",
      "read networking.k8s.io ingresses,ingresses/status,networkpolicies",
      "read resource.k8s.io resourceclaims,resourceclaims/status,resourceclaimtemplates",
    ],
  },
  {
    name: "system:auth-delegator",
    rules: [
      "create authentication.k8s.io tokenreviews",
      "create authorization.k8s.io subjectaccessreviews",
    ],
  },
  {
    name: "system:basic-user",
    rules: [
      "create authorization.k8s.io selfsubjectaccessreviews,selfsubjectrulesreviews",
      "create authentication.k8s.io selfsubjectreviews",
    ],
  },
  {
    name: "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
    rules: [
      "create certificates.k8s.io certificatesigningrequests/nodeclient",
    ],
  },
  {
    name: "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
    rules: [
      "create certificates.k8s.io certificatesigningrequests/selfnodeclient",
    ],
  },
  {
    name: "system:certificates.k8s.io:kube-apiserver-client-approver",
    rules: [
      "approve certificates.k8s.io signers kubernetes.io/kube-apiserver-client",
    ],
  },
  {
    name: "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
    rules: [
      "approve certificates.k8s.io signers kubernetes.io/kube-apiserver-client-kubelet",
    ],
  },
  {
    name: "system:certificates.k8s.io:kubelet-serving-approver",
    rules: [
      "approve certificates.k8s.io signers kubernetes.io/kubelet-serving",
    ],
  },
  {
    name: "system:certificates.k8s.io:legacy-unknown-approver",
    rules: [
      "approve certificates.k8s.io signers kubernetes.io/legacy-unknown",
    ],
  },
  {
    name: "system:discovery",
    rules: [
      "get /api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,/version/",
    ],
  },
  {
    name: "system:heapster",
    rules: [
      "read core events,namespaces,nodes,pods",
      "read extensions deployments",
    ],
  },
  {
    name: "system:kube-aggregator",
    rules: [
      "read core endpoints,services",
    ],
  },
  {
    name: "system:kube-controller-manager",
    rules: [
      "create,patch,update core,events.k8s.io events",
      "create coordination.k8s.io leases",
      "get,update coordination.k8s.io leases kube-controller-manager",
      "create core secrets,serviceaccounts",
      "delete core secrets",
      "get core configmaps,namespaces,secrets,serviceaccounts",
      "update core secrets,serviceaccounts",
      "create authentication.k8s.io tokenreviews",
      "create authorization.k8s.io subjectaccessreviews",
      "list,watch * *",
      "create core serviceaccounts/token",
    ],
  },
  {
    name: "system:kube-dns",
    rules: [
      "list,watch core endpoints,services",
    ],
  },
  {
    name: "system:kube-scheduler",
    rules: [
      "create,patch,update core,events.k8s.io events",
      "create coordination.k8s.io leases",
      "read,update coordination.k8s.io leases kube-scheduler",
      "write,read coordination.k8s.io leasecandidates",
      "read core nodes",
      "read,delete core pods",
      "create core bindings,pods/binding",
      "patch,update core pods/status",
      "read core replicationcontrollers,services",
      "read apps,extensions replicasets",
      "read apps statefulsets",
      "read policy poddisruptionbudgets",
      "read core persistentvolumeclaims,persistentvolumes",
      "create authentication.k8s.io tokenreviews",
      "create authorization.k8s.io subjectaccessreviews",
      "read storage.k8s.io csinodes",
      "read storage.k8s.io volumeattachments",
      "read core namespaces",
      "read storage.k8s.io csidrivers",
      "read storage.k8s.io csistoragecapacities",
      "read resource.k8s.io deviceclasses",
      "read,patch,update resource.k8s.io resourceclaims",
      "read,patch,update resource.k8s.io resourceclaims/status",
      "update core pods/finalizers",
      "read resource.k8s.io resourceslices",
      "create,delete resource.k8s.io resourceclaims",
      "patch,update resource.k8s.io resourceclaims/binding",
    ],
  },
  {
    name: "system:kubelet-api-admin",
    rules: [
      "read core nodes",
      "proxy core nodes",
      "* core nodes/log,nodes/metrics,nodes/proxy,nodes/stats",
      "* core nodes/configz,nodes/healthz,nodes/pods",
    ],
  },
  {
    name: "system:monitoring",
    rules: [
      "get /flagz,/healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*,/statusz",
      "get core nodes/metrics",
    ],
  },
  {
    name: "system:node",
    rules: [
      "create authentication.k8s.io tokenreviews",
      "create authorization.k8s.io localsubjectaccessreviews,subjectaccessreviews",
      "read core services",
      "read,create core nodes",
      "patch,update core nodes/status",
      "patch,update core nodes",
      "create,patch,update core,events.k8s.io events",
      "read core pods",
      "create,delete core pods",
      "patch,update core pods/status",
      "create core pods/eviction",
      "read core configmaps,secrets",
      "get core persistentvolumeclaims,persistentvolumes",
      "get core endpoints",
      "read,create certificates.k8s.io certificatesigningrequests",
      "create,delete,get,patch,update coordination.k8s.io leases",
      "get storage.k8s.io volumeattachments",
      "create core serviceaccounts/token",
      "get,patch,update core persistentvolumeclaims/status",
      "read storage.k8s.io csidrivers",
      "create,delete,get,patch,update storage.k8s.io csinodes",
      "read node.k8s.io runtimeclasses",
      "get resource.k8s.io resourceclaims",
      "deletecollection resource.k8s.io resourceslices",
      "get core serviceaccounts",
    ],
  },
  {
    name: "system:node-bootstrapper",
    rules: [
      "read,create certificates.k8s.io certificatesigningrequests",
    ],
  },
  {
    name: "system:node-problem-detector",
    rules: [
      "get core nodes",
      "patch core nodes/status",
      "create,patch,update core,events.k8s.io events",
    ],
  },
  {
    name: "system:node-proxier",
    rules: [
      "list,watch core endpoints,services",
      "read core nodes",
      "create,patch,update core,events.k8s.io events",
      "list,watch networking.k8s.io servicecidrs",
      "list,watch discovery.k8s.io endpointslices",
    ],
  },
  {
    name: "system:persistent-volume-provisioner",
    rules: [
      "read,create,delete core persistentvolumes",
      "read,update core persistentvolumeclaims",
      "read storage.k8s.io storageclasses",
      "watch core events",
      "create,patch,update core,events.k8s.io events",
    ],
  },
  {
    name: "system:public-info-viewer",
    rules: [
      "get /healthz,/livez,/readyz,/version,/version/",
    ],
  },
  {
    name: "system:service-account-issuer-discovery",
    rules: [
      "get /.well-known/openid-configuration,/.well-known/openid-configuration/,/openid/v1/jwks,/openid/v1/jwks/",
    ],
  },
  {
    name: "system:volume-scheduler",
    rules: [
      "read,patch,update core persistentvolumes",
      "read storage.k8s.io storageclasses",
      "read,patch,update core persistentvolumeclaims",
    ],
  },
  {
    name: "view",
    aggregateTo: "edit",
    aggregates: "view",
    rules: [],
  },
];

/** Roles that upstream's add-ons bring and this server has built in. */
export const ADDON_ROLES: readonly RoleRow[] = [
  {
    name: "system:aggregated-metrics-reader",
    aggregateTo: "view",
    rules: [
      "read metrics.k8s.io nodes,pods",
    ],
  },
];

/** Who has the ClusterRoles above from the start. */
export const CLUSTER_BINDINGS: readonly BindingRow[] = [
  {
    name: "cluster-admin",
    role: "ClusterRole cluster-admin",
    subjects: ["Group system:masters"],
  },
  {
    name: "system:basic-user",
    role: "ClusterRole system:basic-user",
    subjects: ["Group system:authenticated"],
  },
  {
    name: "system:discovery",
    role: "ClusterRole system:discovery",
    subjects: ["Group system:authenticated"],
  },
  {
    name: "system:kube-controller-manager",
    role: "ClusterRole system:kube-controller-manager",
    subjects: ["User system:kube-controller-manager"],
  },
  {
    name: "system:kube-dns",
    role: "ClusterRole system:kube-dns",
    subjects: ["ServiceAccount kube-system/kube-dns"],
  },
  {
    name: "system:kube-scheduler",
    role: "ClusterRole system:kube-scheduler",
    subjects: ["User system:kube-scheduler"],
  },
  {
    name: "system:monitoring",
    role: "ClusterRole system:monitoring",
    subjects: ["Group system:monitoring"],
  },
  {
    name: "system:node",
    role: "ClusterRole system:node",
    subjects: [],
  },
  {
    name: "system:node-proxier",
    role: "ClusterRole system:node-proxier",
    subjects: ["User system:kube-proxy"],
  },
  {
    name: "system:public-info-viewer",
    role: "ClusterRole system:public-info-viewer",
    subjects: ["Group system:authenticated", "Group system:unauthenticated"],
  },
  {
    name: "system:service-account-issuer-discovery",
    role: "ClusterRole system:service-account-issuer-discovery",
    subjects: ["Group system:serviceaccounts"],
  },
  {
    name: "system:volume-scheduler",
    role: "ClusterRole system:volume-scheduler",
    subjects: ["User system:kube-scheduler"],
  },
];

/** Roles in the system's namespaces. */
export const NAMESPACE_ROLES: readonly RoleRow[] = [
  {
    name: "system:controller:bootstrap-signer",
    namespace: "kube-public",
    rules: [
      "read core configmaps",
      "update core configmaps cluster-info",
      "create,patch,update core,events.k8s.io events",
    ],
  },
  {
    name: "extension-apiserver-authentication-reader",
    namespace: "kube-system",
    rules: [
      "read core configmaps extension-apiserver-authentication",
    ],
  },
  {
    name: "system::leader-locking-kube-controller-manager",
    namespace: "kube-system",
    rules: [
      "read,create,update coordination.k8s.io leases",
      "read,create,update coordination.k8s.io leasecandidates",
    ],
  },
  {
    name: "system::leader-locking-kube-scheduler",
    namespace: "kube-system",
    rules: [
      "read,create,update coordination.k8s.io leases",
      "read,create,update coordination.k8s.io leasecandidates",
    ],
  },
  {
    name: "system:controller:bootstrap-signer",
    namespace: "kube-system",
    rules: [
      "read core secrets",
    ],
  },
  {
    name: "system:controller:cloud-provider",
    namespace: "kube-system",
    rules: [
      "read,create core configmaps",
    ],
  },
  {
    name: "system:controller:token-cleaner",
    namespace: "kube-system",
    rules: [
      "read,delete core secrets",
      "create,patch,update core,events.k8s.io events",
    ],
  },
];

/** Who has them. */
export const NAMESPACE_BINDINGS: readonly BindingRow[] = [
  {
    name: "system:controller:bootstrap-signer",
    namespace: "kube-public",
    role: "Role system:controller:bootstrap-signer",
    subjects: ["ServiceAccount kube-system/bootstrap-signer"],
  },
  {
    name: "system::extension-apiserver-authentication-reader",
    namespace: "kube-system",
    role: "Role extension-apiserver-authentication-reader",
    subjects: ["User system:kube-controller-manager", "User system:kube-scheduler"],
  },
  {
    name: "system::leader-locking-kube-controller-manager",
    namespace: "kube-system",
    role: "Role system::leader-locking-kube-controller-manager",
    subjects: ["User system:kube-controller-manager", "ServiceAccount kube-system/kube-controller-manager", "ServiceAccount kube-system/leader-election-controller"],
  },
  {
    name: "system::leader-locking-kube-scheduler",
    namespace: "kube-system",
    role: "Role system::leader-locking-kube-scheduler",
    subjects: ["User system:kube-scheduler", "ServiceAccount kube-system/kube-scheduler"],
  },
  {
    name: "system:controller:bootstrap-signer",
    namespace: "kube-system",
    role: "Role system:controller:bootstrap-signer",
    subjects: ["ServiceAccount kube-system/bootstrap-signer"],
  },
  {
    name: "system:controller:cloud-provider",
    namespace: "kube-system",
    role: "Role system:controller:cloud-provider",
    subjects: ["ServiceAccount kube-system/cloud-provider"],
  },
  {
    name: "system:controller:token-cleaner",
    namespace: "kube-system",
    role: "Role system:controller:token-cleaner",
    subjects: ["ServiceAccount kube-system/token-cleaner"],
  },
];
