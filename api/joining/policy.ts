/**
 * What a cluster needs so that nodes may join it, by kubeadm's names: whoever has a bootstrap token may ask for a
 * node's certificate, and is given one unasked; a node may renew its own; anybody may read `cluster-info`, which the
 * tokens sign; nodes may read how the cluster's network is divided. Two rules are ours: the proxy, the DNS and the guard
 * of a joined machine act as its node, so that nodes may read services, their endpoints, where the other nodes are, and
 * NetworkPolicies with the pods that they are about, as the agent of a network plugin may on each node elsewhere.
 */
import type { Client, Target } from "../client/contract.ts";
import { ApiError, type KubeObject } from "../machinery/types.ts";

/** The group that tokens for nodes put their bearers into. */
export const TOKEN_GROUP = "system:bootstrappers:kubeadm:default-node-token";
/** How the cluster's network is divided: `kube-system/kubeadm-config`. */
export const CLUSTER_CONFIGURATION = "kubeadm-config";

/** The ranges that a joining machine is told. */
export interface ClusterRanges {
  podRange: string;
  serviceRange: string;
}

const RBAC = "rbac.authorization.k8s.io";
const rbac = (plural: string) => ({ group: RBAC, version: "v1", plural });
const CONFIG_MAPS = { group: "", version: "v1", plural: "configmaps" };
const user = (name: string) => ({ kind: "User", apiGroup: RBAC, name });
const group = (name: string) => ({ kind: "Group", apiGroup: RBAC, name });
const NODES = group("system:nodes");
const TOKENS = group(TOKEN_GROUP);
const READS = ["get", "list", "watch"];
const CSR = "system:certificates.k8s.io:certificatesigningrequests";

interface Grant {
  name: string;
  /** Of a namespace; absent: of the cluster. */
  namespace?: string;
  /** A role that there is; else `rules` make one of the grant's own name. */
  role?: string;
  rules?: readonly object[];
  to: readonly object[];
}

const reading = (name: string) => [
  { apiGroups: [""], resources: ["configmaps"], resourceNames: [name], verbs: ["get"] },
];

const GRANTS: readonly Grant[] = [
  { name: "kubeadm:kubelet-bootstrap", role: "system:node-bootstrapper", to: [TOKENS] },
  { name: "kubeadm:node-autoapprove-bootstrap", role: `${CSR}:nodeclient`, to: [TOKENS] },
  {
    name: "kubeadm:node-autoapprove-certificate-rotation",
    role: `${CSR}:selfnodeclient`,
    to: [NODES],
  },
  {
    name: "kubeadm:get-nodes",
    rules: [{ apiGroups: [""], resources: ["nodes"], verbs: ["get"] }],
    to: [TOKENS],
  },
  {
    name: "kubeadm:bootstrap-signer-clusterinfo",
    namespace: "kube-public",
    rules: reading("cluster-info"),
    to: [user("system:anonymous")],
  },
  {
    name: "kubeadm:nodes-kubeadm-config",
    namespace: "kube-system",
    rules: reading(CLUSTER_CONFIGURATION),
    to: [TOKENS, NODES],
  },
  {
    name: "plesio:node-network",
    rules: [
      { apiGroups: [""], resources: ["nodes", "services", "namespaces"], verbs: READS },
      { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: READS },
    ],
    to: [NODES],
  },
  {
    name: "plesio:node-policies",
    rules: [
      { apiGroups: [""], resources: ["pods"], verbs: ["list", "watch"] },
      { apiGroups: ["networking.k8s.io"], resources: ["networkpolicies"], verbs: READS },
    ],
    to: [NODES],
  },
];
/** Tells which of the grants there are: who had fewer gets the others. */
const GRANTED = "plesio.dev/grants";

/**
 * Makes what is missing; rights that are there stay as they are. The configuration is written last: where it is as it
 * should be, all else has been made, and a restart writes nothing.
 */
export async function publishJoining(client: Client, ranges: ClusterRanges): Promise<void> {
  const target = { resource: CONFIG_MAPS, namespace: "kube-system" };
  const wanted = configuration(ranges);
  const found = await client.get<KubeObject>({ ...target, name: CLUSTER_CONFIGURATION }).catch(
    (error) => {
      if (!(error instanceof ApiError && error.code === 404)) throw error;
      return undefined;
    },
  );
  const granted = found?.metadata.annotations?.[GRANTED] === String(GRANTS.length);
  if (granted && found?.data?.ClusterConfiguration === wanted.data.ClusterConfiguration) return;
  const writes = GRANTS.flatMap((grant) => objectsOf(grant));
  await Promise.all(writes.map(([target, object]) => ensure(client, target, object)));
  if (!found) return await ensure(client, target, wanted);
  const patch = { type: "merge", body: wanted } as const;
  await client.patch({ ...target, name: CLUSTER_CONFIGURATION }, patch);
}

function objectsOf({ name, namespace, role, rules, to }: Grant): [Target, object][] {
  const [roles, bindings, kind] = namespace
    ? ["roles", "rolebindings", "Role"]
    : ["clusterroles", "clusterrolebindings", "ClusterRole"];
  const roleRef = { apiGroup: RBAC, kind, name: role ?? name };
  const binding: [Target, object] = [
    { resource: rbac(bindings), namespace },
    { metadata: { name }, roleRef, subjects: to },
  ];
  if (!rules) return [binding];
  return [[{ resource: rbac(roles), namespace }, { metadata: { name }, rules }], binding];
}

/** kubeadm's ClusterConfiguration, as far as nodes read it. */
function configuration({ podRange, serviceRange }: ClusterRanges) {
  const text = [
    "apiVersion: kubeadm.k8s.io/v1beta4",
    "kind: ClusterConfiguration",
    "clusterName: plesio",
    "kubernetesVersion: v1.36.0",
    "networking:",
    "  dnsDomain: cluster.local",
    `  podSubnet: ${podRange}`,
    `  serviceSubnet: ${serviceRange}`,
    "",
  ].join("\n");
  const annotations = { [GRANTED]: String(GRANTS.length) };
  return {
    metadata: { name: CLUSTER_CONFIGURATION, annotations },
    data: { ClusterConfiguration: text },
  };
}

async function ensure(client: Client, target: Target, object: object): Promise<void> {
  await client.create(target, object).catch((error) => {
    if (!(error instanceof ApiError && error.reason === "AlreadyExists")) throw error;
  });
}
