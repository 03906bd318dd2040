/** What the types and fields of nodes, namespaces, rights, metadata and definitions mean, in our words. */
import { describedIn } from "./table.ts";

/** Nodes, namespaces, access, metadata and CustomResourceDefinitions. */
export const CLUSTER = describedIn(`
# ObjectMeta
selfLink: Not set any more.
# ListMeta
selfLink: Not set any more.
# OwnerReference: An object that another one belongs to, and goes with.
apiVersion: The owner's group and version.
kind: The owner's kind.
name: The owner's name.
uid: The owner's uid.
controller: Whether it is the one that takes care of the object.
blockOwnerDeletion: Whether the owner waits for the object when it is deleted in the foreground.
# ManagedFieldsEntry: Which fields one manager has set.
manager: Who.
operation: How: by Apply, or by Update.
apiVersion: The version in which the fields are named.
time: When the entry changed last.
fieldsType: How the fields are written: FieldsV1.
fieldsV1: The fields.
subresource: The subresource through which they were set.
# LabelSelector: Objects, by their labels; everything in it must hold.
# LabelSelectorRequirement: A condition on a label.
key: The label.
operator: In, NotIn, Exists or DoesNotExist.
values: What In and NotIn compare with.
# ObjectReference: An object.
kind: The object's kind.
namespace: The object's namespace.
name: The object's name.
uid: The object's uid.
apiVersion: The object's group and version.
resourceVersion: The version of the object that is meant.
fieldPath: A part of the object, such as spec.containers{web}.
# LocalObjectReference: An object of the same namespace.
name: The object's name.
# TypedLocalObjectReference: An object of the same namespace, of any kind.
apiGroup: The object's group; core if it is not given.
kind: The object's kind.
name: The object's name.
# TypedObjectReference: An object of any kind.
apiGroup: The object's group; core if it is not given.
kind: The object's kind.
name: The object's name.
namespace: The object's namespace; the same one if not given.
# SecretReference: A Secret.
name: The Secret's name.
namespace: The Secret's namespace.
# Condition: One thing that was observed.
# NamespaceSpec: What a namespace waits for before it goes.
finalizers: Who has still to clean up before the namespace can go.
# NamespaceStatus: How a namespace fares.
phase: Active, or Terminating.
# NamespaceCondition: One thing that was observed of a namespace.
# ServiceAccount
secrets: Secrets of this account's pods; only looked at where an annotation asks for it.
imagePullSecrets: Secrets that its pods pull images with.
automountServiceAccountToken: Whether pods get a token mounted unless they say otherwise.
# NodeSpec: What a node is to be.
podCIDRs: The ranges the pods' addresses come from, one a family.
providerID: The machine's name at its provider.
configSource: Not used any more.
externalID: Not used any more.
# Taint: Keeps pods away that do not tolerate it.
key: The taint's key.
value: The taint's value.
effect: NoSchedule, PreferNoSchedule, or NoExecute: pods that are there go too.
timeAdded: When it was added.
# NodeConfigSource: Not used any more: where a node's configuration came from.
configMap: The ConfigMap.
# ConfigMapNodeConfigSource: Not used any more: a ConfigMap with a node's configuration.
namespace: The ConfigMap's namespace.
name: The ConfigMap's name.
uid: The ConfigMap's uid.
resourceVersion: The ConfigMap's version.
kubeletConfigKey: The key of the configuration.
# NodeConfigStatus: Not used any more: which configuration a node had.
assigned: The one it was to use.
active: The one it used.
lastKnownGood: The one it fell back to.
error: What was wrong with the one it was to use.
# NodeStatus: How a node fares.
phase: Not set any more.
addresses: Where it is reached.
daemonEndpoints: Ports of what runs on it.
nodeInfo: What the machine is.
images: Images that lie on it.
volumesInUse: Volumes that are mounted, or may be.
volumesAttached: Volumes that are attached to it.
config: Not used any more.
runtimeHandlers: What its container runtime can do, by handler.
features: What its container runtime can do.
declaredFeatures: Features of the kubelet that pods may depend on.
# NodeCondition: One thing that was observed of a node.
lastHeartbeatTime: When it was said last.
# NodeAddress: A way to reach a node.
type: Hostname, InternalIP, ExternalIP, InternalDNS or ExternalDNS.
address: The address, or name.
# NodeDaemonEndpoints: Ports of what runs on a node.
kubeletEndpoint: The kubelet's.
# DaemonEndpoint: A port.
Port: Its number.
# NodeSystemInfo: What a machine is.
machineID: The machine's id, from its operating system.
systemUUID: The machine's id, from its hardware.
bootID: Changes with every boot.
kernelVersion: The kernel's version.
osImage: The operating system's name.
containerRuntimeVersion: The container runtime and its version.
kubeletVersion: The kubelet's version.
kubeProxyVersion: Not set any more.
operatingSystem: The operating system: linux or windows.
architecture: The processor: amd64, arm64 and so on.
swap: Its swap space.
# NodeSwapStatus: The swap space of a machine.
capacity: How many bytes.
# ContainerImage: An image that lies on a node.
names: Its names.
sizeBytes: Its size.
# AttachedVolume: A volume that is attached to a node.
name: The volume.
devicePath: Where the node finds it.
# NodeRuntimeHandler: What a handler of a container runtime can do.
name: The handler; the default one if it is empty.
features: What it can do.
# NodeRuntimeHandlerFeatures: What a handler of a container runtime can do.
recursiveReadOnlyMounts: Whether mounts can be read-only all the way down.
userNamespaces: Whether pods can have user namespaces.
# NodeFeatures: What a container runtime can do.
supplementalGroupsPolicy: Whether it heeds a pod's supplementalGroupsPolicy.
# PolicyRule: Something that may be done.
# Role, ClusterRole
rules: What may be done.
# ClusterRole
aggregationRule: Other ClusterRoles whose rules are kept together here.
# AggregationRule: Which ClusterRoles' rules are kept together.
clusterRoleSelectors: The ClusterRoles, by their labels; one that fits is enough.
# Subject: Somebody.
kind: User, Group or ServiceAccount.
apiGroup: rbac.authorization.k8s.io for users and groups, none for ServiceAccounts.
name: Their name.
namespace: The ServiceAccount's namespace.
# RoleRef: What is granted.
apiGroup: rbac.authorization.k8s.io.
kind: Role or ClusterRole.
name: The role's name.
# CustomResourceDefinitionSpec: What a kind of your own is to be.
group: The group it is served in. Part of the definition's name.
names: What it is called.
scope: Cluster, or Namespaced.
versions: The versions it is served in.
conversion: How objects get from one version to another.
preserveUnknownFields: Must be false: fields that no schema has are dropped.
# CustomResourceDefinitionNames: What a kind is called.
plural: The name in paths. Part of the definition's name.
singular: The name for one; the kind in small letters if not given.
shortNames: Shorter names for people.
kind: The kind's name.
listKind: The name of its lists; the kind followed by List if not given.
categories: Groups of kinds it belongs to, such as all.
# CustomResourceDefinitionVersion: A version of a kind.
name: Its name, such as v1.
served: Whether it is served.
storage: Whether objects are kept in it: true of exactly one.
deprecated: Whether clients are warned off it.
deprecationWarning: The warning, instead of one that is made up.
schema: What its objects look like.
subresources: Which subresources it has.
additionalPrinterColumns: What lists show of each object.
selectableFields: Fields that field selectors may name.
# CustomResourceValidation: What objects look like.
openAPIV3Schema: The schema, which must be structural.
# CustomResourceSubresources: Which subresources a kind has.
status: If it is there, status is written by itself.
scale: If it is there, objects can be scaled.
# CustomResourceSubresourceStatus: Nothing can be set here.
# CustomResourceSubresourceScale: Where the numbers are that scale speaks of.
specReplicasPath: The wanted number, below .spec.
statusReplicasPath: The number there is, below .status.
labelSelectorPath: The selector as text, below .status or .spec; autoscalers need it.
# CustomResourceColumnDefinition: A column of lists.
name: Its heading.
type: integer, number, string, boolean or date.
format: What its values are in detail, such as int32.
description: What it shows.
priority: 0 for always, more for wide lists only.
jsonPath: Where the value is.
# SelectableField: A field that field selectors may name.
jsonPath: The field.
# CustomResourceConversion: How objects get from one version to another.
strategy: None changes the apiVersion alone; Webhook asks a service.
webhook: Which service.
# WebhookConversion: A service that converts objects.
clientConfig: Where it is reached.
conversionReviewVersions: The versions of ConversionReview that it speaks, the best first.
# WebhookClientConfig: Where a webhook is reached: by a URL, or in the cluster.
url: The URL.
service: The Service.
caBundle: Certificates that its own must be signed by.
# ServiceReference: A port of a Service.
namespace: The Service's namespace.
name: The Service's name.
path: The path that is asked for.
port: The Service's port; 443 if not given.
# CustomResourceDefinitionStatus: How a definition fares.
acceptedNames: The names that are served.
storedVersions: Versions that objects were ever kept in.
# CustomResourceDefinitionCondition: One thing that was observed of a definition.
# JSONSchemaProps: A schema: what a value must be.
id: A name of the schema. Not allowed here.
$schema: The dialect of the schema.
$ref: Another schema. Not allowed here.
description: What the value means.
type: object, array, string, integer, number or boolean.
format: What the value is in detail, such as date-time.
title: A short name for the value.
default: What it is if it is not given.
maximum: The largest number.
exclusiveMaximum: Whether the largest number itself is too large.
minimum: The smallest number.
exclusiveMinimum: Whether the smallest number itself is too small.
maxLength: The most characters of a text.
minLength: The fewest characters of a text.
pattern: A regular expression that a text must match.
maxItems: The most items of a list.
minItems: The fewest items of a list.
uniqueItems: Whether no item may be twice. Only false is allowed.
multipleOf: What a number must be a multiple of.
enum: The values that are allowed.
maxProperties: The most fields of an object.
minProperties: The fewest fields of an object.
required: Fields that must be there.
items: What a list's items must be.
allOf: Schemas that must all hold.
oneOf: Schemas of which exactly one must hold.
anyOf: Schemas of which at least one must hold.
not: A schema that must not hold.
properties: An object's fields.
additionalProperties: What fields of other names must be, or whether there may be any.
patternProperties: Not allowed here.
dependencies: Not allowed here.
additionalItems: Not allowed here.
definitions: Not allowed here.
externalDocs: Where more is written about it.
example: An example of a value.
nullable: Whether null is allowed.
x-kubernetes-preserve-unknown-fields: Whether fields that are not listed are kept.
x-kubernetes-embedded-resource: Whether the value is a whole object, with kind and metadata.
x-kubernetes-int-or-string: Whether the value is a number or a text.
x-kubernetes-list-map-keys: The fields by which the items of a list are told apart, for list type map.
x-kubernetes-list-type: atomic, set or map: how lists are merged.
x-kubernetes-map-type: granular or atomic: how objects are merged.
x-kubernetes-validations: Rules in CEL that must hold.
# ExternalDocumentation: Where more is written.
description: What is written there.
url: Where.
# ValidationRule: A rule that must hold.
rule: The expression; self is the value, oldSelf the one before.
message: What is said when it does not hold.
messageExpression: An expression that makes the message.
reason: The reason of the error: FieldValueInvalid, FieldValueForbidden, FieldValueRequired or FieldValueDuplicate.
fieldPath: The field that the error is about, from here.
optionalOldSelf: Whether the rule is looked at when there was no value before.
`);
