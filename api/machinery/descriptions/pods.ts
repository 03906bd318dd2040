/** What the types and fields of pods mean, in our words. */
import { describedIn } from "./table.ts";

/** Pods, their containers and what runs them. */
export const PODS = describedIn(`
# PodTemplateSpec: What a pod is to be, for those who make pods.
# Container, EphemeralContainer
resizePolicy: What happens to the container when its resources change, by resource.
restartPolicyRules: When it is restarted, by its exit code; looked at before restartPolicy.
# EphemeralContainer: A container that is added to a running pod to look into it.
name: Unique among all containers of the pod.
image: What to run.
command: What to start instead of the image's entry point.
args: Arguments, instead of the image's.
workingDir: Where it starts, instead of the image's folder.
ports: Not allowed here.
env: Environment variables.
envFrom: ConfigMaps and Secrets whose keys become environment variables.
resources: Not allowed here: it uses what the pod has been given.
restartPolicy: Not allowed here.
volumeMounts: Where it sees the pod's volumes.
volumeDevices: Block devices it is given.
livenessProbe: Not allowed here.
readinessProbe: Not allowed here.
startupProbe: Not allowed here.
lifecycle: Not allowed here.
terminationMessagePath: A file whose text becomes the message when it ends.
terminationMessagePolicy: Where that message comes from.
imagePullPolicy: When the image is fetched. Always for :latest, else IfNotPresent.
securityContext: User, rights and limits of this container.
stdin: Keep its standard input open.
stdinOnce: Close its standard input after the first client has left.
tty: Give it a terminal.
targetContainerName: The container whose processes it sees, if the runtime can do that.
# ContainerPort: A port that a container listens on.
# EnvVar: An environment variable.
# EnvVarSource: Where the value of an environment variable comes from. One of these is set.
fieldRef: A field of the pod: its name, labels, addresses and the like.
resourceFieldRef: What a container requests or may use of a resource.
configMapKeyRef: A key of a ConfigMap.
secretKeyRef: A key of a Secret.
fileKeyRef: A key in a file of environment variables that lies in a volume.
# EnvFromSource: A ConfigMap or Secret whose keys become environment variables.
prefix: Put before each name.
configMapRef: The ConfigMap.
secretRef: The Secret.
# ConfigMapEnvSource: A ConfigMap whose keys become environment variables.
name: The ConfigMap's name.
optional: Whether it may be missing.
# SecretEnvSource: A Secret whose keys become environment variables.
name: The Secret's name.
optional: Whether it may be missing.
# ConfigMapKeySelector: A key of a ConfigMap.
name: The ConfigMap's name.
key: The key whose value is taken.
optional: Whether the ConfigMap or the key may be missing.
# SecretKeySelector: A key of a Secret.
name: The Secret's name.
key: The key whose value is taken.
optional: Whether the Secret or the key may be missing.
# FileKeySelector: A key in a file of environment variables.
volumeName: The volume that the file lies in.
path: The file, from the volume's root.
key: The name whose value is taken.
optional: Whether the file or the key may be missing.
# ObjectFieldSelector: A field of the pod itself.
fieldPath: The field, such as metadata.name or status.podIP.
apiVersion: The version in which the path is read; v1 if it is empty.
# ResourceFieldSelector: An amount of a container's resources.
containerName: The container; needed in volumes.
resource: The amount, such as limits.cpu.
divisor: The unit it is written in; 1 if it is not given.
# ResourceRequirements: What is needed and what may be used at most.
claims: Devices it uses, by the names of the pod's claims.
# ResourceClaim
name: The name of a claim in the pod's resourceClaims.
request: The request in that claim; all of its requests if it is empty.
# ContainerResizePolicy: What happens to a container when one of its resources changes.
resourceName: The resource: cpu or memory.
restartPolicy: Whether the container is restarted for it.
# ContainerRestartRule: When a container that ended is restarted.
action: What is done when the rule fits: Restart, or RestartAllContainers.
exitCodes: The exit codes that the rule is for.
# ContainerRestartRuleOnExitCodes: Exit codes, and whether they are meant or all others.
operator: In or NotIn.
values: The exit codes.
# VolumeMount: Where a container sees a volume.
recursiveReadOnly: Whether what is mounted below is read-only too.
mountPropagation: Whether mounts made later are seen by the other side.
subPathExpr: Like subPath, with $(NAME) replaced by the container's variables.
# VolumeDevice: A volume as a block device.
name: The volume, by its name in the pod; it must be a claim.
devicePath: Where the container finds the device.
# Probe: A check of a container, done again and again.
terminationGracePeriodSeconds: How long the container has to stop when this fails; the pod's own if not given.
# ExecAction: Runs a command in the container.
command: The program and its arguments; no shell is around them.
# HTTPGetAction: Asks for a path over HTTP.
path: The path that is asked for.
port: The container's port, by number or name.
host: The host to connect to; the pod's address if it is empty.
scheme: HTTP or HTTPS.
httpHeaders: Headers to send.
# HTTPHeader: A header of a request.
name: The header's name.
value: The header's value.
# TCPSocketAction: Opens a connection.
port: The container's port, by number or name.
host: The host to connect to; the pod's address if it is empty.
# GRPCAction: Asks a gRPC health service.
port: The number of the port.
service: The service that is asked about.
# Lifecycle: What runs when a container has started and before it is stopped.
postStart: Runs at once after the container was made. If it fails, the container is killed.
preStop: Runs before the container is told to stop.
stopSignal: The signal that stops it, instead of the image's.
# LifecycleHandler: Something to do at a point of a container's life. One of these is set.
exec: Runs a command in the container.
httpGet: Asks for a path over HTTP.
tcpSocket: Kept for old manifests; nothing is done.
sleep: Waits.
# SleepAction: Waits for a while.
seconds: How long.
# SecurityContext: User, rights and limits of one container. They win over the pod's.
capabilities: Capabilities of the kernel to add and to take away.
privileged: Whether it has all rights of the node's root.
seLinuxOptions: Its SELinux label.
windowsOptions: What holds on Windows.
runAsUser: The number of the user it runs as.
runAsGroup: The number of the group it runs as.
runAsNonRoot: Whether it is refused when it would run as root.
readOnlyRootFilesystem: Whether its root file system can only be read.
allowPrivilegeEscalation: Whether a program of it can gain more rights than the one that started it.
procMount: How much of /proc it sees.
seccompProfile: Which system calls it may make.
appArmorProfile: Its AppArmor profile.
# Capabilities: Capabilities of the kernel.
add: Those to add.
drop: Those to take away.
# SELinuxOptions: An SELinux label.
user: The label's user.
role: The label's role.
type: The label's type.
level: The label's level.
# WindowsSecurityContextOptions: Rights on Windows.
gmsaCredentialSpecName: The name of the credential spec to use.
gmsaCredentialSpec: The credential spec itself; filled in by a webhook.
runAsUserName: The user it runs as.
hostProcess: Whether it runs as a process of the host; all containers of a pod or none.
# SeccompProfile: Which system calls may be made.
type: RuntimeDefault, Unconfined or Localhost.
localhostProfile: A file on the node, for type Localhost.
# AppArmorProfile: An AppArmor profile.
type: RuntimeDefault, Unconfined or Localhost.
localhostProfile: A profile that is loaded on the node, for type Localhost.
# PodSpec
serviceAccount: The old name of serviceAccountName.
setHostnameAsFQDN: Whether its host name is the full one.
hostUsers: If false, the pod has a user namespace: root in it is nobody on the node.
resourceClaims: The claims of devices that its containers refer to.
hostnameOverride: The host name as it is, whatever else would follow from name and subdomain.
schedulingGroup: The group of pods that are scheduled together.
# PodSecurityContext: User, group and rights that hold for all containers of a pod.
seLinuxOptions: The SELinux label of all containers.
windowsOptions: What holds on Windows.
runAsUser: The number of the user they run as.
runAsGroup: The number of the group they run as.
runAsNonRoot: Whether a container is refused that would run as root.
supplementalGroups: Further groups of each container's first process.
supplementalGroupsPolicy: Whether groups of the image's own files count too: Merge or Strict.
fsGroup: The group that owns the volumes' files.
fsGroupChangePolicy: When a volume's files are given to that group: Always or OnRootMismatch.
sysctls: Settings of the kernel for the pod's namespaces.
seccompProfile: Which system calls they may make.
appArmorProfile: The AppArmor profile of all containers.
seLinuxChangePolicy: How volumes get their label: by a mount option, or file by file.
# Sysctl: A setting of the kernel.
name: The setting's name.
value: The setting's value.
# Affinity: Where a pod is to run, or not.
nodeAffinity: By what the nodes are.
podAffinity: Near which pods.
podAntiAffinity: Away from which pods.
# NodeAffinity: Which nodes are asked for, by labels and fields.
requiredDuringSchedulingIgnoredDuringExecution: Must hold when the pod is placed; later changes do not move it.
preferredDuringSchedulingIgnoredDuringExecution: Adds to a node's score when the pod is placed.
# PreferredSchedulingTerm: Nodes that are liked, and how much.
weight: What such a node gains, 1 to 100.
preference: Which nodes.
# PodAffinity: Near which pods a pod is to run.
requiredDuringSchedulingIgnoredDuringExecution: Must hold when the pod is placed; later changes do not move it.
preferredDuringSchedulingIgnoredDuringExecution: Adds to a node's score when the pod is placed.
# PodAntiAffinity: Away from which pods a pod is to run.
requiredDuringSchedulingIgnoredDuringExecution: Must hold when the pod is placed; later changes do not move it.
preferredDuringSchedulingIgnoredDuringExecution: Takes from a node's score when the pod is placed.
# PodAffinityTerm: Some pods, and what counts as near.
labelSelector: Which pods, by their labels.
namespaces: In which namespaces, by name.
topologyKey: Nodes are near each other when they have the same value of this label.
matchLabelKeys: Labels whose values are taken from the pod that is placed and must be equal.
mismatchLabelKeys: Labels whose values are taken from the pod that is placed and must differ.
# WeightedPodAffinityTerm: Pods to be near, and how much.
weight: How much it counts, 1 to 100.
podAffinityTerm: Which pods, and what is near.
# NodeSelector: Nodes, by labels and fields; one of the terms must hold.
nodeSelectorTerms: The terms, of which one is enough.
# NodeSelectorTerm: Conditions on a node; all must hold.
matchFields: Conditions on the node's fields: metadata.name only.
# NodeSelectorRequirement: A condition on a label or field of a node.
key: The label or field.
operator: In, NotIn, Exists, DoesNotExist, Gt or Lt.
values: What the operator compares with.
# Toleration: A taint that a pod puts up with.
key: The taint's key; all taints if it is empty and the operator is Exists.
operator: Equal, Exists, and where it is switched on Lt or Gt.
value: The taint's value, for Equal.
effect: The taint's effect; all effects if it is empty.
tolerationSeconds: How long a NoExecute taint is put up with; for ever if not given.
# HostAlias: A line of the hosts file.
ip: The address.
hostnames: The names that lead to it.
# PodDNSConfig: How a pod looks up names, beside its policy.
nameservers: Addresses of name servers.
searches: Domains that short names are looked up in.
options: Options of the resolver.
# PodDNSConfigOption: An option of the resolver.
name: The option, such as ndots.
value: Its value, if it has one.
# PodReadinessGate: A condition that must be true before the pod is ready.
conditionType: The type of the condition in the pod's status.
# PodSchedulingGate: Something that keeps a pod from being scheduled.
name: Unique among the pod's gates.
# TopologySpreadConstraint: How evenly pods are spread over places.
maxSkew: By how many pods two places may differ at most.
topologyKey: Nodes with the same value of this label are one place.
whenUnsatisfiable: What happens when it cannot be kept: DoNotSchedule or ScheduleAnyway.
labelSelector: The pods that are counted.
minDomains: How many places there should be at least.
nodeAffinityPolicy: Whether nodes count that the pod may not be placed on: Honor or Ignore.
nodeTaintsPolicy: Whether taints that are not tolerated keep nodes from counting: Honor or Ignore.
matchLabelKeys: Labels whose values are taken from the pod that is placed; only equal pods are counted.
# PodOS: The operating system that a pod is made for.
name: linux or windows.
# PodResourceClaim: A claim of devices that a pod uses.
name: What the pod's containers call it.
resourceClaimName: A ResourceClaim of the same namespace.
resourceClaimTemplateName: A template from which a claim is made for this pod alone.
# PodSchedulingGroup: Which pods are scheduled together.
podGroupName: The PodGroup of the same namespace.
# PodCondition: One thing that was observed of a pod.
# PodStatus
hostIPs: The node's addresses, one a family.
podIPs: The pod's addresses, one a family.
ephemeralContainerStatuses: How each ephemeral container fares.
resize: How a change of resources comes along; now told by conditions.
resourceClaimStatuses: The claims that were made from the pod's templates.
extendedResourceClaimStatus: The claim that stands for extended resources the pod asked for.
allocatedResources: What the node has set aside for the pod as a whole.
resources: What the pod as a whole needs and may use now.
nodeAllocatableResourceClaimStatuses: What its claims take of the node's own cpu, memory and the like.
# HostIP: An address of the node.
ip: The address.
# PodIP: An address of the pod.
ip: The address.
# ContainerStatus: How a container fares.
name: The container's name.
state: What it is doing now.
lastState: How it ended last.
ready: Whether it passes its readiness probe.
restartCount: How often it was restarted.
image: The image it runs.
imageID: The image, by its digest.
containerID: The runtime's name for it.
started: Whether it has passed its startup probe.
allocatedResources: What the node has set aside for it.
resources: What it needs and may use now.
volumeMounts: How its volumes are mounted.
user: Whose process it is.
allocatedResourcesStatus: Whether its devices are in order.
stopSignal: The signal that stops it.
# ContainerState: What a container is doing. One of these is set; none means waiting.
waiting: It has not started.
running: It runs.
terminated: It has ended.
# ContainerStateWaiting: A container that has not started.
# ContainerStateRunning: A container that runs.
startedAt: When it was started.
# ContainerStateTerminated: A container that has ended.
exitCode: The code it ended with.
signal: The signal it ended by.
startedAt: When it was started.
finishedAt: When it ended.
containerID: The runtime's name for it.
# VolumeMountStatus: How a volume is mounted in a container.
name: The volume's name.
mountPath: The folder it is seen at.
readOnly: Whether it can only be read.
recursiveReadOnly: Whether what is mounted below is read-only too.
volumeStatus: What is known of the volume itself.
# VolumeStatus: What is known of a mounted volume.
image: Of a volume that is an image.
# ImageVolumeStatus: What is known of a volume that is an image.
imageRef: The image, by its digest.
# ContainerUser: Whose process a container is.
linux: On Linux.
# LinuxContainerUser: User and groups of a container's first process.
uid: The user's number.
gid: The group's number.
supplementalGroups: Further groups.
# ResourceStatus: Whether a container's devices are in order.
name: The resource, or claim and request.
resources: Each of its devices.
# ResourceHealth: Whether a device is in order.
resourceID: The device.
health: Healthy, Unhealthy or Unknown.
message: More about it.
# PodResourceClaimStatus: The claim that was made from a template for a pod.
name: The name in the pod's resourceClaims.
resourceClaimName: The ResourceClaim; absent if none was needed.
# PodExtendedResourceClaimStatus: The claim that stands for extended resources of a pod.
requestMappings: Which container's resource each request of it is for.
resourceClaimName: The ResourceClaim.
# ContainerExtendedResourceRequest: An extended resource of a container, as a request of a claim.
containerName: The container.
resourceName: The extended resource.
requestName: The request in the claim.
# NodeAllocatableResourceClaimStatus: What a claim takes of a node's own resources.
resourceClaimName: The ResourceClaim.
containers: The containers that use it.
resources: How much of each resource.
`);
