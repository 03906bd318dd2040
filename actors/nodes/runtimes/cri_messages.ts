/**
 * The Container Runtime Interface, version `v1` (Kubernetes 1.36), as facts: its messages (see
 * `grpc_messages.ts` for how to read a line), its methods and the numbers of its enumerations. What is
 * only for Windows, SELinux, checkpoints and streams of lists is left out: this node does not ask for it.
 */
import type { RpcFacts } from "../../../api/client/grpc.ts";
import type { MessageOf } from "../../../api/client/grpc_messages.ts";

const MESSAGES = {
  VersionRequest: "version=1",
  VersionResponse: "version=1 runtimeName=2 runtimeVersion=3 runtimeApiVersion=4",
  DNSConfig: "servers=1:[] searches=2:[] options=3:[]",
  PortMapping: "protocol=1:int32 containerPort=2:int32 hostPort=3:int32 hostIp=4",
  Mount:
    "containerPath=1 hostPath=2 readonly=3:bool selinuxRelabel=4:bool propagation=5:int32 uidMappings=6:[IDMapping] gidMappings=7:[IDMapping] recursiveReadOnly=8:bool image=9:ImageSpec imageSubPath=10",
  IDMapping: "hostId=1:int containerId=2:int length=3:int",
  UserNamespace: "mode=1:int32 uids=2:[IDMapping] gids=3:[IDMapping]",
  NamespaceOption:
    "network=1:int32 pid=2:int32 ipc=3:int32 targetId=4 usernsOptions=5:UserNamespace",
  Int64Value: "value=1:int",
  LinuxSandboxSecurityContext:
    "namespaceOptions=1:NamespaceOption runAsUser=3:Int64Value runAsGroup=8:Int64Value readonlyRootfs=4:bool supplementalGroups=5:[int] supplementalGroupsPolicy=11:int32 privileged=6:bool seccomp=9:SecurityProfile apparmor=10:SecurityProfile",
  SecurityProfile: "profileType=1:int32 localhostRef=2",
  LinuxPodSandboxConfig:
    "cgroupParent=1 securityContext=2:LinuxSandboxSecurityContext sysctls=3:{} overhead=4:LinuxContainerResources resources=5:LinuxContainerResources",
  PodSandboxMetadata: "name=1 uid=2 namespace=3 attempt=4:int",
  PodSandboxConfig:
    "metadata=1:PodSandboxMetadata hostname=2 logDirectory=3 dnsConfig=4:DNSConfig portMappings=5:[PortMapping] labels=6:{} annotations=7:{} linux=8:LinuxPodSandboxConfig",
  RunPodSandboxRequest: "config=1:PodSandboxConfig runtimeHandler=2",
  RunPodSandboxResponse: "podSandboxId=1",
  StopPodSandboxRequest: "podSandboxId=1",
  StopPodSandboxResponse: "",
  RemovePodSandboxRequest: "podSandboxId=1",
  RemovePodSandboxResponse: "",
  PodSandboxStatusRequest: "podSandboxId=1 verbose=2:bool",
  PodIP: "ip=1",
  PodSandboxNetworkStatus: "ip=1 additionalIps=2:[PodIP]",
  Namespace: "options=2:NamespaceOption",
  LinuxPodSandboxStatus: "namespaces=1:Namespace",
  PodSandboxStatus:
    "id=1 metadata=2:PodSandboxMetadata state=3:int32 createdAt=4:int network=5:PodSandboxNetworkStatus linux=6:LinuxPodSandboxStatus labels=7:{} annotations=8:{} runtimeHandler=9",
  PodSandboxStatusResponse:
    "status=1:PodSandboxStatus info=2:{} containersStatuses=3:[ContainerStatus] timestamp=4:int",
  PodSandboxStateValue: "state=1:int32",
  PodSandboxFilter: "id=1 state=2:PodSandboxStateValue labelSelector=3:{}",
  ListPodSandboxRequest: "filter=1:PodSandboxFilter",
  PodSandbox:
    "id=1 metadata=2:PodSandboxMetadata state=3:int32 createdAt=4:int labels=5:{} annotations=6:{} runtimeHandler=7",
  ListPodSandboxResponse: "items=1:[PodSandbox]",
  PodSandboxStatsRequest: "podSandboxId=1",
  PodSandboxStatsResponse: "stats=1:PodSandboxStats",
  PodSandboxStatsFilter: "id=1 labelSelector=2:{}",
  ListPodSandboxStatsRequest: "filter=1:PodSandboxStatsFilter",
  ListPodSandboxStatsResponse: "stats=1:[PodSandboxStats]",
  PodSandboxAttributes: "id=1 metadata=2:PodSandboxMetadata labels=3:{} annotations=4:{}",
  PodSandboxStats: "attributes=1:PodSandboxAttributes linux=2:LinuxPodSandboxStats",
  LinuxPodSandboxStats:
    "cpu=1:CpuUsage memory=2:MemoryUsage network=3:NetworkUsage process=4:ProcessUsage containers=5:[ContainerStats] io=6:IoUsage",
  NetworkUsage:
    "timestamp=1:int defaultInterface=2:NetworkInterfaceUsage interfaces=3:[NetworkInterfaceUsage]",
  NetworkInterfaceUsage:
    "name=1 rxBytes=2:UInt64Value rxErrors=3:UInt64Value txBytes=4:UInt64Value txErrors=5:UInt64Value",
  ProcessUsage: "timestamp=1:int processCount=2:UInt64Value",
  ImageSpec: "image=1 annotations=2:{} userSpecifiedImage=18 runtimeHandler=19 imageRef=20",
  KeyValue: "key=1 value=2",
  LinuxContainerResources:
    "cpuPeriod=1:int cpuQuota=2:int cpuShares=3:int memoryLimitInBytes=4:int oomScoreAdj=5:int cpusetCpus=6 cpusetMems=7 hugepageLimits=8:[HugepageLimit] unified=9:{} memorySwapLimitInBytes=10:int",
  HugepageLimit: "pageSize=1 limit=2:int",
  Capability: "addCapabilities=1:[] dropCapabilities=2:[] addAmbientCapabilities=3:[]",
  LinuxContainerSecurityContext:
    "capabilities=1:Capability privileged=2:bool namespaceOptions=3:NamespaceOption runAsUser=5:Int64Value runAsGroup=12:Int64Value runAsUsername=6 readonlyRootfs=7:bool supplementalGroups=8:[int] supplementalGroupsPolicy=17:int32 noNewPrivs=11:bool maskedPaths=13:[] readonlyPaths=14:[] seccomp=15:SecurityProfile apparmor=16:SecurityProfile",
  LinuxContainerConfig:
    "resources=1:LinuxContainerResources securityContext=2:LinuxContainerSecurityContext",
  LinuxContainerUser: "uid=1:int gid=2:int supplementalGroups=3:[int]",
  ContainerMetadata: "name=1 attempt=2:int",
  Device: "containerPath=1 hostPath=2 permissions=3",
  CDIDevice: "name=1",
  ContainerConfig:
    "metadata=1:ContainerMetadata image=2:ImageSpec command=3:[] args=4:[] workingDir=5 envs=6:[KeyValue] mounts=7:[Mount] devices=8:[Device] labels=9:{} annotations=10:{} logPath=11 stdin=12:bool stdinOnce=13:bool tty=14:bool linux=15:LinuxContainerConfig cdiDevices=17:[CDIDevice] stopSignal=18:int32",
  CreateContainerRequest:
    "podSandboxId=1 config=2:ContainerConfig sandboxConfig=3:PodSandboxConfig",
  CreateContainerResponse: "containerId=1",
  StartContainerRequest: "containerId=1",
  StartContainerResponse: "",
  StopContainerRequest: "containerId=1 timeout=2:int",
  StopContainerResponse: "",
  RemoveContainerRequest: "containerId=1",
  RemoveContainerResponse: "",
  ContainerStateValue: "state=1:int32",
  ContainerFilter: "id=1 state=2:ContainerStateValue podSandboxId=3 labelSelector=4:{}",
  ListContainersRequest: "filter=1:ContainerFilter",
  Container:
    "id=1 podSandboxId=2 metadata=3:ContainerMetadata image=4:ImageSpec imageRef=5 state=6:int32 createdAt=7:int labels=8:{} annotations=9:{} imageId=10",
  ListContainersResponse: "containers=1:[Container]",
  ContainerStatusRequest: "containerId=1 verbose=2:bool",
  ContainerStatus:
    "id=1 metadata=2:ContainerMetadata state=3:int32 createdAt=4:int startedAt=5:int finishedAt=6:int exitCode=7:int32 image=8:ImageSpec imageRef=9 reason=10 message=11 labels=12:{} annotations=13:{} mounts=14:[Mount] logPath=15 resources=16:ContainerResources imageId=17 user=18:ContainerUser stopSignal=19:int32",
  ContainerStatusResponse: "status=1:ContainerStatus info=2:{}",
  ContainerResources: "linux=1:LinuxContainerResources",
  ContainerUser: "linux=1:LinuxContainerUser",
  UpdateContainerResourcesRequest: "containerId=1 linux=2:LinuxContainerResources annotations=4:{}",
  UpdateContainerResourcesResponse: "",
  ExecSyncRequest: "containerId=1 cmd=2:[] timeout=3:int",
  ExecSyncResponse: "stdout=1:bytes stderr=2:bytes exitCode=3:int32",
  ExecRequest: "containerId=1 cmd=2:[] tty=3:bool stdin=4:bool stdout=5:bool stderr=6:bool",
  ExecResponse: "url=1",
  AttachRequest: "containerId=1 stdin=2:bool tty=3:bool stdout=4:bool stderr=5:bool",
  AttachResponse: "url=1",
  PortForwardRequest: "podSandboxId=1 port=2:[int32]",
  PortForwardResponse: "url=1",
  ImageFilter: "image=1:ImageSpec",
  ListImagesRequest: "filter=1:ImageFilter",
  Image:
    "id=1 repoTags=2:[] repoDigests=3:[] size=4:int uid=5:Int64Value username=6 spec=7:ImageSpec pinned=8:bool",
  ListImagesResponse: "images=1:[Image]",
  ImageStatusRequest: "image=1:ImageSpec verbose=2:bool",
  ImageStatusResponse: "image=1:Image info=2:{}",
  AuthConfig: "username=1 password=2 auth=3 serverAddress=4 identityToken=5 registryToken=6",
  PullImageRequest: "image=1:ImageSpec auth=2:AuthConfig sandboxConfig=3:PodSandboxConfig",
  PullImageResponse: "imageRef=1",
  RemoveImageRequest: "image=1:ImageSpec",
  RemoveImageResponse: "",
  RuntimeCondition: "type=1 status=2:bool reason=3 message=4",
  RuntimeStatus: "conditions=1:[RuntimeCondition]",
  StatusRequest: "verbose=1:bool",
  RuntimeHandlerFeatures: "recursiveReadOnlyMounts=1:bool userNamespaces=2:bool",
  RuntimeHandler: "name=1 features=2:RuntimeHandlerFeatures",
  RuntimeFeatures: "supplementalGroupsPolicy=1:bool userNamespacesHostNetwork=2:bool",
  StatusResponse:
    "status=1:RuntimeStatus info=2:{} runtimeHandlers=3:[RuntimeHandler] features=4:RuntimeFeatures",
  ImageFsInfoRequest: "",
  UInt64Value: "value=1:int",
  FilesystemIdentifier: "mountpoint=1",
  FilesystemUsage:
    "timestamp=1:int fsId=2:FilesystemIdentifier usedBytes=3:UInt64Value inodesUsed=4:UInt64Value",
  ImageFsInfoResponse:
    "imageFilesystems=1:[FilesystemUsage] containerFilesystems=2:[FilesystemUsage]",
  ContainerStatsRequest: "containerId=1",
  ContainerStatsResponse: "stats=1:ContainerStats",
  ListContainerStatsRequest: "filter=1:ContainerStatsFilter",
  ContainerStatsFilter: "id=1 podSandboxId=2 labelSelector=3:{}",
  ListContainerStatsResponse: "stats=1:[ContainerStats]",
  ContainerAttributes: "id=1 metadata=2:ContainerMetadata labels=3:{} annotations=4:{}",
  ContainerStats:
    "attributes=1:ContainerAttributes cpu=2:CpuUsage memory=3:MemoryUsage writableLayer=4:FilesystemUsage swap=5:SwapUsage io=6:IoUsage",
  CpuUsage: "timestamp=1:int usageCoreNanoSeconds=2:UInt64Value usageNanoCores=3:UInt64Value",
  MemoryUsage:
    "timestamp=1:int workingSetBytes=2:UInt64Value availableBytes=3:UInt64Value usageBytes=4:UInt64Value rssBytes=5:UInt64Value pageFaults=6:UInt64Value majorPageFaults=7:UInt64Value",
  IoUsage: "timestamp=1:int",
  SwapUsage: "timestamp=1:int swapAvailableBytes=2:UInt64Value swapUsageBytes=3:UInt64Value",
  ReopenContainerLogRequest: "containerId=1",
  ReopenContainerLogResponse: "",
  GetEventsRequest: "",
  ContainerEventResponse:
    "containerId=1 containerEventType=2:int32 createdAt=3:int podSandboxStatus=4:PodSandboxStatus containersStatuses=5:[ContainerStatus]",
  SubscribeRequest: "filters=1:[]",
  Envelope: "topic=3",
} as const;

/** A message of CRI. */
export type Cri<K extends keyof typeof MESSAGES> = MessageOf<typeof MESSAGES, K>;

/** What a container runtime offers. */
export const CRI = {
  messages: MESSAGES,
  services: {
    "runtime.v1.RuntimeService": [
      "Version",
      "RunPodSandbox",
      "StopPodSandbox",
      "RemovePodSandbox",
      "PodSandboxStatus",
      "ListPodSandbox",
      "CreateContainer",
      "StartContainer",
      "StopContainer",
      "RemoveContainer",
      "ListContainers",
      "ContainerStatus",
      "UpdateContainerResources",
      "ReopenContainerLog",
      "ExecSync",
      "Exec",
      "Attach",
      "PortForward",
      "ContainerStats",
      "ListContainerStats",
      "PodSandboxStats",
      "ListPodSandboxStats",
      "Status",
      "GetContainerEvents",
    ],
    "runtime.v1.ImageService": [
      "ListImages",
      "ImageStatus",
      "PullImage",
      "RemoveImage",
      "ImageFsInfo",
    ],
    // Not CRI, but at the same socket, and older there than CRI's own events.
    "containerd.services.events.v1.Events": ["Subscribe"],
  },
  names: {
    Subscribe: { request: "SubscribeRequest", response: "Envelope" },
    GetContainerEvents: { request: "GetEventsRequest", response: "ContainerEventResponse" },
  },
} satisfies RpcFacts<typeof MESSAGES>;

/** Of a port mapping. */
export const PROTOCOL = {
  TCP: 0,
  UDP: 1,
  SCTP: 2,
} as const;

/** How mounts below a mount are seen. */
export const PROPAGATION = {
  PRIVATE: 0,
  HOST_TO_CONTAINER: 1,
  BIDIRECTIONAL: 2,
} as const;

/** Whose namespace a container is in. */
export const NAMESPACE = {
  POD: 0,
  CONTAINER: 1,
  NODE: 2,
  TARGET: 3,
} as const;

/** Which groups a process has. */
export const GROUPS_POLICY = {
  Merge: 0,
  Strict: 1,
} as const;

/** Kinds of seccomp and AppArmor profiles. */
export const PROFILE = {
  RuntimeDefault: 0,
  Unconfined: 1,
  Localhost: 2,
} as const;

/** States of a sandbox. */
export const SANDBOX = {
  READY: 0,
  NOTREADY: 1,
} as const;

/** States of a container. */
export const CONTAINER = {
  CREATED: 0,
  RUNNING: 1,
  EXITED: 2,
  UNKNOWN: 3,
} as const;

/** Signals, in order of their numbers in CRI. */
export const SIGNALS = [
  "RUNTIME_DEFAULT",
  "SIGABRT",
  "SIGALRM",
  "SIGBUS",
  "SIGCHLD",
  "SIGCLD",
  "SIGCONT",
  "SIGFPE",
  "SIGHUP",
  "SIGILL",
  "SIGINT",
  "SIGIO",
  "SIGIOT",
  "SIGKILL",
  "SIGPIPE",
  "SIGPOLL",
  "SIGPROF",
  "SIGPWR",
  "SIGQUIT",
  "SIGSEGV",
  "SIGSTKFLT",
  "SIGSTOP",
  "SIGSYS",
  "SIGTERM",
  "SIGTRAP",
  "SIGTSTP",
  "SIGTTIN",
  "SIGTTOU",
  "SIGURG",
  "SIGUSR1",
  "SIGUSR2",
  "SIGVTALRM",
  "SIGWINCH",
  "SIGXCPU",
  "SIGXFSZ",
  "SIGRTMIN",
  "SIGRTMINPLUS1",
  "SIGRTMINPLUS2",
  "SIGRTMINPLUS3",
  "SIGRTMINPLUS4",
  "SIGRTMINPLUS5",
  "SIGRTMINPLUS6",
  "SIGRTMINPLUS7",
  "SIGRTMINPLUS8",
  "SIGRTMINPLUS9",
  "SIGRTMINPLUS10",
  "SIGRTMINPLUS11",
  "SIGRTMINPLUS12",
  "SIGRTMINPLUS13",
  "SIGRTMINPLUS14",
  "SIGRTMINPLUS15",
  "SIGRTMAXMINUS14",
  "SIGRTMAXMINUS13",
  "SIGRTMAXMINUS12",
  "SIGRTMAXMINUS11",
  "SIGRTMAXMINUS10",
  "SIGRTMAXMINUS9",
  "SIGRTMAXMINUS8",
  "SIGRTMAXMINUS7",
  "SIGRTMAXMINUS6",
  "SIGRTMAXMINUS5",
  "SIGRTMAXMINUS4",
  "SIGRTMAXMINUS3",
  "SIGRTMAXMINUS2",
  "SIGRTMAXMINUS1",
  "SIGRTMAX",
] as const;
