/** What the types and fields of devices, endpoints, events, leases and the like mean, in our words. */
import { describedIn } from "./table.ts";

/** Devices and claims of them; small kinds of the core and of networking. */
export const DEVICES = describedIn(`
# DeviceClassSpec: A kind of device that claims may ask for.
selectors: What a device must be.
config: What its driver is told.
extendedResourceName: The name by which pods may ask for one among their resources.
# DeviceSelector: What a device must be.
cel: In CEL.
# CELDeviceSelector: What a device must be, in CEL.
expression: What must be true; device is the device.
# DeviceClassConfiguration: What a driver is told.
# DeviceClaimConfiguration: What a driver is told, for some requests.
# DeviceAllocationConfiguration: What a driver is told, and who said it.
source: FromClass or FromClaim.
# DeviceClassConfiguration, DeviceClaimConfiguration, DeviceAllocationConfiguration
opaque: What only the driver understands.
# DeviceClaimConfiguration, DeviceAllocationConfiguration
requests: The requests it is for; all if there are none.
# OpaqueDeviceConfiguration: What only a driver understands.
driver: The driver.
parameters: What it is told.
# ResourceClaimSpec: Which devices are asked for.
devices: The devices.
# ResourceClaimTemplateSpec: What a claim is to be, for those who make claims.
# DeviceClaim: Which devices are asked for.
requests: Each of the requests.
constraints: What must hold of the devices together.
config: What drivers are told.
# DeviceRequest: A request for devices. One of exactly and firstAvailable is set.
name: Its name, unique in the claim.
exactly: What is wanted.
firstAvailable: Several wishes; the first that can be had counts.
# ExactDeviceRequest: What is wanted.
adminAccess: Whether it is to look after devices that others use.
# DeviceSubRequest: One of several wishes.
name: Its name, unique in the request.
# ExactDeviceRequest, DeviceSubRequest
deviceClassName: The class.
selectors: What a device must be, beside what its class says.
allocationMode: ExactCount, or All.
count: How many.
capacity: How much of a device's capacity is needed.
# DeviceToleration: A taint of devices that is put up with.
key: The taint's key; all taints if it is empty and the operator is Exists.
operator: Equal or Exists.
value: The taint's value, for Equal.
effect: The taint's effect; all effects if it is empty.
tolerationSeconds: How long a NoExecute taint is put up with; for ever if not given.
# CapacityRequirements: How much of a device's capacity is needed.
requests: How much, by the capacity's name.
# DeviceConstraint: What must hold of several devices together.
requests: The requests it is about; all if there are none.
matchAttribute: An attribute that must be equal.
distinctAttribute: An attribute that must differ.
# ResourceClaimStatus: What has been given to a claim.
allocation: The devices that were found.
reservedFor: Who uses them now.
devices: What drivers tell of them.
# AllocationResult: The devices that were found for a claim.
devices: The devices.
allocationTimestamp: When they were found.
# DeviceAllocationResult: The devices that were found for a claim.
results: Each of them.
config: What their drivers are told.
# DeviceRequestAllocationResult: A device that was found for a request.
request: The request.
adminAccess: Whether it is to be looked after only.
bindingConditions: Conditions that must be true before the pod may be bound.
bindingFailureConditions: Conditions that, when true, mean that the pod cannot be bound.
consumedCapacity: How much of its capacity is taken.
# DeviceRequestAllocationResult, AllocatedDeviceStatus
driver: The driver that offers it.
pool: The pool it is in.
device: Its name in the pool.
shareID: Which share of it, if it is shared.
# ResourceClaimConsumerReference: Somebody who uses a claim.
apiGroup: The object's group; core if it is empty.
resource: The object's resource, such as pods.
name: The object's name.
uid: The object's uid.
# AllocatedDeviceStatus: What a driver tells of a device.
data: What only the driver understands.
networkData: Where it is in the network.
# NetworkDeviceData: Where a device is in the network.
interfaceName: The interface's name.
ips: Its addresses, with the length of their networks.
hardwareAddress: Its hardware address.
# ResourceSliceSpec: Devices that a driver offers.
driver: The driver.
pool: The pool they are in.
nodeName: The node whose devices they are.
allNodes: Whether every node can reach them.
devices: The devices.
perDeviceNodeSelection: Whether each device says itself which nodes can reach it.
sharedCounters: Amounts that devices take from together.
# ResourcePool: A pool of devices.
name: Its name.
generation: Grows when the pool changes; older slices do not count.
resourceSliceCount: How many slices it has.
# Device: A device.
name: Its name, unique in the pool.
attributes: What it is like.
capacity: How much of something it has.
consumesCounters: What it takes from the shared amounts.
nodeName: The node whose device it is.
allNodes: Whether every node can reach it.
taints: What keeps claims away that do not tolerate it.
bindsToNode: Whether it belongs to the node once it is given out.
bindingConditions: Conditions that must be true before a pod may be bound.
bindingFailureConditions: Conditions that, when true, mean that a pod cannot be bound.
allowMultipleAllocations: Whether several claims may share it.
nodeAllocatableResourceMappings: What it takes of the node's own resources.
# DeviceAttribute: Something that a device is like. One of these is set.
int: A number.
bool: Yes or no.
string: A text.
version: A version, as semver writes it.
ints: Numbers.
bools: Several of yes and no.
strings: Texts.
versions: Versions.
# DeviceCapacity: How much of something a device has.
value: How much.
requestPolicy: How it may be shared out.
# CapacityRequestPolicy: How a capacity may be shared out.
default: What a claim gets that does not say.
validValues: The amounts that may be asked for.
validRange: The range of amounts that may be asked for.
# CapacityRequestPolicyRange: A range of amounts.
min: The least.
max: The most.
step: By what they grow.
# DeviceCounterConsumption: What a device takes from shared amounts.
counterSet: The set.
counters: How much of each.
# CounterSet: Amounts that devices take from together.
name: Its name.
counters: How much of each there is.
# Counter: An amount.
value: How much.
# DeviceTaint: Keeps claims away from a device that do not tolerate it.
key: The taint's key.
value: The taint's value.
effect: NoSchedule, NoExecute: pods that use it go, or None.
timeAdded: When it was added.
# NodeAllocatableResourceMapping: What a device takes of one of the node's own resources.
capacityKey: The device's capacity that counts.
allocationMultiplier: By what it is multiplied.
# Binding
target: The node.
# ComponentCondition: Whether a part of the control plane answers.
error: What went wrong.
# Endpoints
subsets: Addresses and ports that belong together.
# EndpointSubset: Addresses and ports that belong together.
addresses: Those that are ready.
notReadyAddresses: Those that are not.
ports: The ports of each.
# EndpointAddress: An address behind a Service.
ip: The address.
hostname: Its name.
nodeName: The node it is on.
targetRef: Whose address it is.
# EndpointPort: A port behind a Service.
name: Its name, as the Service calls it.
port: Its number.
protocol: TCP, UDP or SCTP.
appProtocol: What is spoken on it.
# EndpointSlice
addressType: What the addresses are: IPv4, IPv6 or FQDN.
endpoints: The addresses, with their state.
ports: The ports of each.
# Endpoint: One place behind a Service.
addresses: Its addresses; the first is used.
hostname: Its name.
targetRef: Whose addresses they are.
deprecatedTopology: Labels of old that said where it is.
nodeName: The node it is on.
zone: The zone it is in.
hints: From where it should be reached.
# EndpointConditions: The state of a place behind a Service.
ready: Whether it takes new connections.
serving: Whether it is ready, even while it is being stopped.
terminating: Whether it is being stopped.
# EndpointHints: From where a place should be reached.
forZones: From which zones.
forNodes: From which nodes.
# ForZone: A zone.
name: The zone.
# ForNode: A node.
name: The node.
# Event
involvedObject: What it happened to.
regarding: What it happened to.
related: Another object that had to do with it.
source: Who told of it.
deprecatedSource: Who told of it, in older words.
firstTimestamp: When it happened first.
lastTimestamp: When it happened last.
count: How often it happened.
deprecatedFirstTimestamp: When it happened first, in older words.
deprecatedLastTimestamp: When it happened last, in older words.
deprecatedCount: How often it happened, in older words.
type: Normal, or Warning.
eventTime: When it happened first.
series: What is known of a series of such events.
action: What was done.
note: What happened, for people.
reportingComponent: The controller that told of it.
reportingController: The controller that told of it.
reportingInstance: Which instance of the controller.
# EventSource: Who told of an event.
component: The component.
host: The node it runs on.
# EventSeries: A series of events.
count: How often it happened.
lastObservedTime: When it happened last.
# LimitRangeSpec: Limits in a namespace.
limits: The limits, one a type.
# LimitRangeItem: Limits of one type of thing.
type: Pod, Container or PersistentVolumeClaim.
max: The most, by resource.
min: The least, by resource.
default: The limit that containers get which have none.
defaultRequest: The request that containers get which have none.
maxLimitRequestRatio: By what a limit may be greater than the request.
# PodTemplate
template: What the pods are to be.
# ReplicationControllerSpec: What a ReplicationController is to be.
replicas: How many pods are wanted.
minReadySeconds: How long a new pod must be ready before it counts.
selector: Which pods are its own.
template: What the pods are to be.
# ReplicationControllerStatus: How a ReplicationController fares.
replicas: Pods there are.
fullyLabeledReplicas: Pods that have all of the template's labels.
readyReplicas: Pods that are ready.
availableReplicas: Pods that have been ready for minReadySeconds.
# ReplicationControllerCondition: One thing that was observed of a ReplicationController.
# ResourceQuotaSpec: How much a namespace may use.
hard: How much, by resource.
scopes: What is counted, in words such as Terminating or BestEffort; all must fit.
scopeSelector: What is counted, as conditions.
# ScopeSelector: What a quota counts; all must hold.
# ScopedResourceSelectorRequirement: A condition on what a quota counts.
scopeName: The scope.
operator: In, NotIn, Exists or DoesNotExist.
values: What In and NotIn compare with.
# ResourceQuotaStatus: How much a namespace uses.
hard: How much it may use.
used: How much it does.
# ControllerRevision
data: The data that is remembered.
revision: Its number.
# IngressClassSpec: Which controller serves Ingresses of a class.
controller: The controller.
parameters: The object that configures it.
# IngressClassParametersReference: An object that configures a controller.
apiGroup: The object's group.
kind: The object's kind.
name: The object's name.
scope: Cluster, or Namespace.
namespace: The object's namespace.
# IPAddressSpec: Whose an address is.
parentRef: The object that has it.
# ParentReference: An object that has an address.
group: The object's group.
resource: The object's resource.
namespace: The object's namespace.
name: The object's name.
# ServiceCIDRSpec: Ranges of addresses.
cidrs: The ranges, one a family.
# ServiceCIDRStatus: How a range fares.
# LeaseSpec: Who holds something, and until when.
holderIdentity: Who.
leaseDurationSeconds: How long it is good after it was renewed.
acquireTime: When they took it.
renewTime: When they renewed it last.
leaseTransitions: How often it went to another one.
strategy: How the holder is chosen, where that is done for them.
preferredHolder: Who should have it next.
# PriorityClass
value: How important such pods are; more is more.
globalDefault: Whether pods that name no class get this one.
description: What it is for.
preemptionPolicy: Whether such pods may put others out: PreemptLowerPriority or Never.
# RuntimeClass
handler: What the node's container runtime calls it.
overhead: What running such a pod costs beside its containers.
scheduling: Where such pods may run.
# Overhead: What running a pod costs beside its containers.
podFixed: How much, by resource.
# Scheduling: Where pods may run.
# CSIDriverSpec: What a storage driver can do.
attachRequired: Whether volumes are attached before they are mounted.
podInfoOnMount: Whether the driver is told of the pod when it mounts.
volumeLifecycleModes: Lives that volumes may have: Persistent or Ephemeral.
storageCapacity: Whether the driver says how much room there is.
fsGroupPolicy: Whether a volume's files are given to a pod's group.
tokenRequests: Tokens that the driver is given when it mounts.
requiresRepublish: Whether the driver is called again and again while a volume is mounted.
seLinuxMount: Whether volumes can be mounted with a label.
nodeAllocatableUpdatePeriodSeconds: How often it is asked how many volumes a node can take.
serviceAccountTokenInSecrets: Whether tokens are handed over among the secrets.
preventPodSchedulingIfMissing: Whether pods stay away from nodes that do not have the driver.
# TokenRequest
audience: Whom the token is for.
expirationSeconds: How long it is good.
# CSINodeSpec: The storage drivers of a node.
drivers: The drivers.
# CSINodeDriver: A storage driver on a node.
name: The driver's name.
nodeID: What the driver calls the node.
topologyKeys: Labels that say where the node is, for the driver.
allocatable: How many volumes the node can take.
# VolumeNodeResources: How many volumes a node can take.
count: How many.
# CSIStorageCapacity
nodeTopology: The nodes that can reach it.
storageClassName: The class.
capacity: How much room there is in all.
maximumVolumeSize: How large a volume may be.
# VolumeAttachmentSpec: Which volume is to be attached where.
attacher: Who attaches it.
source: The volume.
nodeName: The node.
# VolumeAttachmentSource: The volume that is to be attached. One of these is set.
persistentVolumeName: A PersistentVolume, by name.
inlineVolumeSpec: A volume as it is.
# VolumeAttachmentStatus: Whether it is attached.
attached: Whether it is.
attachmentMetadata: What the node needs to know to mount it.
attachError: Why it could not be attached.
detachError: Why it could not be detached.
# VolumeError: What went wrong with a volume.
time: When.
errorCode: What the driver called it.
# NodeMetrics, PodMetrics
timestamp: The end of the time that was measured.
window: How long was measured.
# NodeMetrics
usage: What the node uses, by resource.
# PodMetrics
containers: What each container uses.
# ContainerMetrics: What a container uses now.
name: The container's name.
usage: What it uses, by resource.
# VolumeAttributesClass
driverName: The driver that it is for.
parameters: The attributes.
`);
