/**
 * The parts of Pod and Node that a node reads or writes, as types. The whole kinds are generated
 * (`api/kinds/generated`); a node only needs these fields, and everything it is handed is frozen.
 */
import type { LabelSelectorSpec } from "../../api/machinery/selectors.ts";
import type { Toleration } from "../../api/machinery/taints.ts";
import type { DeepReadonly, Json, ObjectMeta } from "../../api/machinery/types.ts";

/** Where a value of the environment comes from. */
export interface EnvSource {
  fieldRef?: { apiVersion?: string; fieldPath: string };
  resourceFieldRef?: { containerName?: string; resource: string; divisor?: string | number };
  configMapKeyRef?: { name: string; key: string; optional?: boolean };
  secretKeyRef?: { name: string; key: string; optional?: boolean };
  fileKeyRef?: { volumeName: string; path: string; key: string; optional?: boolean };
}

export interface EnvVar {
  name: string;
  value?: string;
  valueFrom?: EnvSource;
}

export interface EnvFrom {
  prefix?: string;
  configMapRef?: { name: string; optional?: boolean };
  secretRef?: { name: string; optional?: boolean };
}

export interface VolumeMount {
  name: string;
  mountPath: string;
  readOnly?: boolean;
  recursiveReadOnly?: string;
  mountPropagation?: string;
  subPath?: string;
  subPathExpr?: string;
}

export interface HttpHeader {
  name: string;
  value: string;
}

/** What a probe or a hook does. */
export interface Handler {
  exec?: { command?: string[] };
  httpGet?: {
    path?: string;
    port: number | string;
    host?: string;
    scheme?: string;
    httpHeaders?: HttpHeader[];
  };
  tcpSocket?: { port: number | string; host?: string };
  grpc?: { port: number; service?: string };
  sleep?: { seconds: number };
}

export interface Probe extends Handler {
  initialDelaySeconds?: number;
  timeoutSeconds?: number;
  periodSeconds?: number;
  successThreshold?: number;
  failureThreshold?: number;
  terminationGracePeriodSeconds?: number;
}

export interface Lifecycle {
  postStart?: Handler;
  preStop?: Handler;
  stopSignal?: string;
}

/** A seccomp or AppArmor profile. */
export interface SecurityProfile {
  type: string;
  localhostProfile?: string;
}

export interface SecurityContext {
  allowPrivilegeEscalation?: boolean;
  capabilities?: { add?: string[]; drop?: string[] };
  procMount?: string;
  seccompProfile?: SecurityProfile;
  appArmorProfile?: SecurityProfile;
  sysctls?: { name: string; value: string }[];
  privileged?: boolean;
  readOnlyRootFilesystem?: boolean;
  runAsUser?: number;
  runAsGroup?: number;
  runAsNonRoot?: boolean;
  fsGroup?: number;
  fsGroupChangePolicy?: string;
  supplementalGroups?: number[];
  supplementalGroupsPolicy?: string;
}

export interface ResourceRequirements {
  limits?: Record<string, string | number>;
  requests?: Record<string, string | number>;
}

export interface RestartRule {
  action: string;
  exitCodes?: { operator: string; values?: number[] };
}

export interface Container {
  name: string;
  image?: string;
  command?: string[];
  args?: string[];
  workingDir?: string;
  ports?: {
    name?: string;
    containerPort: number;
    hostIP?: string;
    hostPort?: number;
    protocol?: string;
  }[];
  env?: EnvVar[];
  envFrom?: EnvFrom[];
  resources?: ResourceRequirements;
  resizePolicy?: { resourceName: string; restartPolicy: string }[];
  volumeMounts?: VolumeMount[];
  volumeDevices?: { name: string; devicePath: string }[];
  livenessProbe?: Probe;
  readinessProbe?: Probe;
  startupProbe?: Probe;
  lifecycle?: Lifecycle;
  restartPolicy?: string;
  restartPolicyRules?: RestartRule[];
  terminationMessagePath?: string;
  terminationMessagePolicy?: string;
  imagePullPolicy?: string;
  securityContext?: SecurityContext;
  stdin?: boolean;
  stdinOnce?: boolean;
  tty?: boolean;
}

export interface KeyToPath {
  key: string;
  path: string;
  mode?: number;
}

export interface DownwardFile {
  path: string;
  fieldRef?: { fieldPath: string };
  resourceFieldRef?: { containerName?: string; resource: string; divisor?: string | number };
  mode?: number;
}

export interface ProjectedSource {
  configMap?: { name: string; items?: KeyToPath[]; optional?: boolean };
  secret?: { name: string; items?: KeyToPath[]; optional?: boolean };
  downwardAPI?: { items?: DownwardFile[] };
  serviceAccountToken?: { audience?: string; expirationSeconds?: number; path: string };
  clusterTrustBundle?: TrustBundleSource;
  podCertificate?: Json;
}

export interface TrustBundleSource {
  path: string;
  name?: string;
  signerName?: string;
  labelSelector?: LabelSelectorSpec;
  optional?: boolean;
}

export interface Volume {
  name: string;
  emptyDir?: { medium?: string; sizeLimit?: string | number };
  hostPath?: { path: string; type?: string };
  configMap?: { name: string; items?: KeyToPath[]; defaultMode?: number; optional?: boolean };
  secret?: { secretName?: string; items?: KeyToPath[]; defaultMode?: number; optional?: boolean };
  downwardAPI?: { items?: DownwardFile[]; defaultMode?: number };
  projected?: { sources?: ProjectedSource[]; defaultMode?: number };
  persistentVolumeClaim?: { claimName: string; readOnly?: boolean };
  ephemeral?: { volumeClaimTemplate?: Json };
  [source: string]: unknown;
}

export interface PodSpec {
  nodeName?: string;
  hostname?: string;
  subdomain?: string;
  setHostnameAsFQDN?: boolean;
  hostnameOverride?: string;
  hostNetwork?: boolean;
  hostPID?: boolean;
  hostIPC?: boolean;
  shareProcessNamespace?: boolean;
  imagePullSecrets?: { name?: string }[];
  resources?: ResourceRequirements;
  overhead?: Record<string, string | number>;
  priorityClassName?: string;
  restartPolicy?: string;
  runtimeClassName?: string;
  serviceAccountName?: string;
  terminationGracePeriodSeconds?: number;
  activeDeadlineSeconds?: number;
  enableServiceLinks?: boolean;
  dnsPolicy?: string;
  dnsConfig?: {
    nameservers?: string[];
    searches?: string[];
    options?: { name: string; value?: string }[];
  };
  hostAliases?: { ip: string; hostnames?: string[] }[];
  readinessGates?: { conditionType: string }[];
  securityContext?: SecurityContext;
  volumes?: Volume[];
  initContainers?: Container[];
  containers: Container[];
  ephemeralContainers?: (Container & { targetContainerName?: string })[];
  priority?: number;
  os?: { name: string };
  nodeSelector?: Record<string, string>;
  affinity?: { [kind: string]: unknown };
  tolerations?: Toleration[];
}

export interface StateWaiting {
  reason?: string;
  message?: string;
}
export interface StateRunning {
  startedAt?: string;
}
export interface StateTerminated {
  exitCode: number;
  signal?: number;
  reason?: string;
  message?: string;
  startedAt?: string;
  finishedAt?: string;
  containerID?: string;
}
export interface ContainerState {
  waiting?: StateWaiting;
  running?: StateRunning;
  terminated?: StateTerminated;
}

export interface ContainerStatus {
  name: string;
  state: ContainerState;
  lastState: ContainerState;
  ready: boolean;
  restartCount: number;
  image: string;
  imageID: string;
  containerID?: string;
  started?: boolean;
  allocatedResources?: Record<string, string | number>;
  resources?: ResourceRequirements;
  volumeMounts?: VolumeMount[];
}

export interface Condition {
  type: string;
  status: "True" | "False" | "Unknown";
  observedGeneration?: number;
  lastProbeTime?: string | null;
  lastHeartbeatTime?: string;
  lastTransitionTime?: string;
  reason?: string;
  message?: string;
}

export interface PodStatus {
  observedGeneration?: number;
  phase?: string;
  conditions?: Condition[];
  message?: string;
  reason?: string;
  hostIP?: string;
  hostIPs?: { ip: string }[];
  podIP?: string;
  podIPs?: { ip: string }[];
  startTime?: string;
  qosClass?: string;
  initContainerStatuses?: ContainerStatus[];
  containerStatuses?: ContainerStatus[];
  ephemeralContainerStatuses?: ContainerStatus[];
  [other: string]: unknown;
}

export interface PodObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
  spec: PodSpec;
  status?: PodStatus;
}

/** A pod as the cache hands it out. */
export type Pod = DeepReadonly<PodObject>;
/** A container of a pod's spec. */
export type ContainerOf = DeepReadonly<Container>;

export const PODS = { group: "", version: "v1", plural: "pods" } as const;
export const RUNTIME_CLASSES = {
  group: "node.k8s.io",
  version: "v1",
  plural: "runtimeclasses",
} as const;
export const NODES = { group: "", version: "v1", plural: "nodes" } as const;
export const SERVICES = { group: "", version: "v1", plural: "services" } as const;
export const ENDPOINT_SLICES = {
  group: "discovery.k8s.io",
  version: "v1",
  plural: "endpointslices",
} as const;
export const NAMESPACES = { group: "", version: "v1", plural: "namespaces" } as const;
export const CONFIG_MAPS = { group: "", version: "v1", plural: "configmaps" } as const;
export const SECRETS = { group: "", version: "v1", plural: "secrets" } as const;
export const SERVICE_ACCOUNTS = { group: "", version: "v1", plural: "serviceaccounts" } as const;
export const CLAIMS = { group: "", version: "v1", plural: "persistentvolumeclaims" } as const;
export const PERSISTENT_VOLUMES = {
  group: "",
  version: "v1",
  plural: "persistentvolumes",
} as const;
export const TRUST_BUNDLES = {
  group: "certificates.k8s.io",
  version: "v1beta1",
  plural: "clustertrustbundles",
} as const;
export const LEASES = {
  group: "coordination.k8s.io",
  version: "v1",
  plural: "leases",
} as const;

/** How upstream writes a pod in messages: `name_namespace(uid)`. */
export function describePod(pod: Pod): string {
  const { name, namespace, uid } = pod.metadata;
  return `${name}_${namespace}(${uid})`;
}

let lastSecond = -1;
let lastText = "";

/** A time as the API writes it, to the second. Pods of one second share the string. */
export function timestamp(ms: number): string {
  const second = Math.floor(ms / 1000);
  if (second !== lastSecond) {
    lastSecond = second;
    lastText = new Date(second * 1000).toISOString().slice(0, 19) + "Z";
  }
  return lastText;
}
