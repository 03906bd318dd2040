/** What the types and fields of workloads, autoscaling and Services mean, in our words. */
import { describedIn } from "./table.ts";

/** Workloads, Services, Ingresses and policies about pods. */
export const WORKLOADS = describedIn(`
# DeploymentSpec: What a Deployment is to be.
# DeploymentStrategy: How old pods are replaced by new ones.
type: RollingUpdate, or Recreate: all old ones go first.
rollingUpdate: How far it may stray from the wanted number, for RollingUpdate.
# RollingUpdateDeployment: How far a rolling update may stray from the wanted number.
# DeploymentStatus: How a Deployment fares.
replicas: Pods there are.
updatedReplicas: Pods of the newest template.
readyReplicas: Pods that are ready.
availableReplicas: Pods that have been ready for minReadySeconds.
unavailableReplicas: Pods that are still missing to be all available.
terminatingReplicas: Pods that are being stopped.
# DeploymentStatus, DaemonSetStatus, StatefulSetStatus
collisionCount: How often a name was taken; it goes into the next one.
# DeploymentCondition: One thing that was observed of a Deployment.
# ReplicaSetSpec: What a ReplicaSet is to be.
minReadySeconds: How long a new pod must be ready before it counts.
# ReplicaSetStatus: How a ReplicaSet fares.
replicas: Pods there are.
fullyLabeledReplicas: Pods that have all of the template's labels.
readyReplicas: Pods that are ready.
availableReplicas: Pods that have been ready for minReadySeconds.
terminatingReplicas: Pods that are being stopped.
# ReplicaSetCondition: One thing that was observed of a ReplicaSet.
# StatefulSetSpec: What a StatefulSet is to be.
selector: Which pods are its own. Cannot be changed.
template: What the pods are to be; each gets a number.
revisionHistoryLimit: How many old revisions are kept to go back to.
minReadySeconds: How long a new pod must be ready before it counts.
persistentVolumeClaimRetentionPolicy: What becomes of claims when pods or the set go.
ordinals: From which number pods are counted.
# StatefulSetUpdateStrategy: How pods are replaced when the template changes.
type: RollingUpdate, or OnDelete: only when somebody deletes them.
rollingUpdate: How a rolling update is done.
# RollingUpdateStatefulSetStrategy: How a rolling update is done.
partition: Only pods of this number and above are replaced.
maxUnavailable: How many pods may be missing while it goes on.
# StatefulSetPersistentVolumeClaimRetentionPolicy: What becomes of claims.
whenDeleted: When the set is deleted: Retain or Delete.
whenScaled: When the set gets smaller: Retain or Delete.
# StatefulSetOrdinals: How pods are numbered.
start: The first number.
# StatefulSetStatus: How a StatefulSet fares.
replicas: Pods there are.
readyReplicas: Pods that are ready.
currentReplicas: Pods of currentRevision.
updatedReplicas: Pods of updateRevision.
currentRevision: The revision of pods that are not yet updated.
updateRevision: The newest revision.
availableReplicas: Pods that have been ready for minReadySeconds.
# StatefulSetCondition: One thing that was observed of a StatefulSet.
# DaemonSetSpec: What a DaemonSet is to be.
selector: Which pods are its own. Cannot be changed.
template: What the pods are to be; its node selector says where they run.
minReadySeconds: How long a new pod must be ready before it counts.
revisionHistoryLimit: How many old revisions are kept to go back to.
# DaemonSetUpdateStrategy: How pods are replaced when the template changes.
type: RollingUpdate, or OnDelete: only when somebody deletes them.
rollingUpdate: How a rolling update is done.
# RollingUpdateDaemonSet: How a rolling update is done.
maxUnavailable: How many nodes may be without a pod that is available.
maxSurge: How many nodes may have two pods meanwhile.
# DaemonSetStatus: How a DaemonSet fares.
currentNumberScheduled: Nodes that have a pod and are to have one.
numberMisscheduled: Nodes that have a pod and are not to.
desiredNumberScheduled: Nodes that are to have a pod.
numberReady: Nodes whose pod is ready.
updatedNumberScheduled: Nodes whose pod is of the newest template.
numberAvailable: Nodes whose pod has been ready for minReadySeconds.
numberUnavailable: Nodes that are to have an available pod and do not.
# DaemonSetCondition: One thing that was observed of a DaemonSet.
# JobTemplateSpec: What a Job is to be, for those who make Jobs.
# JobSpec: What a Job is to be.
podFailurePolicy: What is done about a pod that failed, by how it failed.
successPolicy: When the Job counts as succeeded before all pods have.
backoffLimitPerIndex: How often pods of one number may fail, for numbered pods.
maxFailedIndexes: How many numbers may fail before the Job does.
selector: Which pods are its own; the system sets it.
manualSelector: Whether the selector is one's own, at one's own risk.
template: What the pods are to be.
podReplacementPolicy: Whether a pod is replaced when it is being stopped, or only when it has failed.
managedBy: Who runs the Job, if not the Job controller.
# PodFailurePolicy: What is done about pods that failed.
rules: Looked at in order; the first that fits counts.
# PodFailurePolicyRule: What is done about one way of failing.
action: FailJob, FailIndex, Ignore or Count.
onExitCodes: The exit codes that the rule is for.
onPodConditions: The pods' conditions that the rule is for.
# PodFailurePolicyOnExitCodesRequirement: Exit codes of a pod's containers.
containerName: The container; any if it is not given.
operator: In or NotIn.
values: The exit codes.
# PodFailurePolicyOnPodConditionsPattern: A condition of a pod.
type: The condition's type.
status: The condition's status; True if not given.
# SuccessPolicy: When a Job counts as succeeded.
rules: One that holds is enough.
# SuccessPolicyRule: Pods that must have succeeded.
succeededIndexes: Their numbers, as a list of ranges.
succeededCount: How many of them.
# JobStatus: How a Job fares.
startTime: When the Job was first worked on.
completionTime: When it had succeeded.
active: Pods that have not ended.
succeeded: Pods that succeeded.
failed: Pods that failed.
terminating: Pods that are being stopped.
completedIndexes: Numbers that succeeded, as a list of ranges.
failedIndexes: Numbers that failed, as a list of ranges.
uncountedTerminatedPods: Pods that have ended and are not yet counted.
ready: Pods that are ready.
# UncountedTerminatedPods: Pods that have ended and are not yet counted.
succeeded: Uids of those that succeeded.
failed: Uids of those that failed.
# JobCondition: One thing that was observed of a Job.
# CronJobSpec: When Jobs are made, and what they are.
successfulJobsHistoryLimit: How many Jobs that succeeded are kept.
failedJobsHistoryLimit: How many Jobs that failed are kept.
# CronJobStatus: How a CronJob fares.
active: Jobs that run now.
lastScheduleTime: When a Job was made last.
lastSuccessfulTime: When a Job succeeded last.
# HorizontalPodAutoscalerSpec: Between which numbers a workload is scaled, and by what.
targetCPUUtilizationPercentage: The use of cpu aimed at, in percent of what is requested.
# CrossVersionObjectReference: An object, by kind and name.
kind: The object's kind.
name: The object's name.
apiVersion: The object's group and version.
# MetricSpec: Something that is measured, and the value aimed at. The field of its type is set.
type: Object, Pods, Resource, ContainerResource or External.
object: Something measured of one object.
pods: Something measured of each pod.
resource: What the pods use of a resource.
containerResource: What one container of each pod uses of a resource.
external: Something measured outside the cluster.
# ObjectMetricSource: Something measured of one object, and the value aimed at.
describedObject: The object.
target: The value aimed at.
metric: What is measured.
# PodsMetricSource: Something measured of each pod, and the mean aimed at.
metric: What is measured.
target: The mean aimed at.
# ResourceMetricSource: What pods use of a resource, and the mean aimed at.
name: The resource, such as cpu.
target: The value aimed at.
# ContainerResourceMetricSource: What one container of each pod uses, and the mean aimed at.
name: The resource, such as cpu.
target: The value aimed at.
container: The container.
# ExternalMetricSource: Something measured outside the cluster, and the value aimed at.
metric: What is measured.
target: The value aimed at.
# MetricIdentifier: What is measured.
name: Its name.
selector: Labels that narrow it down.
# MetricTarget: The value aimed at.
type: Utilization, Value or AverageValue.
value: The value in all.
averageValue: The mean over all pods.
averageUtilization: The mean over all pods, in percent of what they request.
# HorizontalPodAutoscalerBehavior: How fast it scales.
scaleUp: Upwards.
scaleDown: Downwards.
# HPAScalingRules: How fast it scales in one direction.
stabilizationWindowSeconds: How far back earlier answers are looked at, so that it does not waver.
selectPolicy: Which policy counts: the one that changes most, least, or Disabled for none.
policies: How much may change in how long.
tolerance: How far the measure may be off before anything is done.
# HPAScalingPolicy: How much may change in how long.
type: Pods, or Percent.
value: How many, or how much.
periodSeconds: In how long.
# HorizontalPodAutoscalerStatus: How an autoscaler fares.
lastScaleTime: When it changed the number last.
currentReplicas: Replicas there are.
desiredReplicas: Replicas that it wants.
currentMetrics: What was measured last.
currentCPUUtilizationPercentage: The use of cpu, in percent of what is requested.
# MetricStatus: What was measured last. The field of its type is set.
type: Object, Pods, Resource, ContainerResource or External.
object: Something measured of one object.
pods: Something measured of each pod.
resource: What the pods use of a resource.
containerResource: What one container of each pod uses of a resource.
external: Something measured outside the cluster.
# ObjectMetricStatus: What was measured of one object.
metric: What is measured.
current: The value.
describedObject: The object.
# PodsMetricStatus: What was measured of each pod.
metric: What is measured.
current: The mean.
# ResourceMetricStatus: What pods use of a resource.
name: The resource.
current: The value.
# ContainerResourceMetricStatus: What one container of each pod uses of a resource.
name: The resource.
current: The value.
container: The container.
# ExternalMetricStatus: What was measured outside the cluster.
metric: What is measured.
current: The value.
# MetricValueStatus: A measured value.
value: In all.
averageValue: The mean over all pods.
averageUtilization: The mean over all pods, in percent of what they request.
# HorizontalPodAutoscalerCondition: One thing that was observed of an autoscaler.
# PodDisruptionBudgetSpec: How many pods may be taken away on purpose.
minAvailable: How many must be left, as a number or in percent.
selector: The pods it is about; all of the namespace if it is empty.
maxUnavailable: How many may be missing, as a number or in percent.
unhealthyPodEvictionPolicy: Whether pods that are not ready may be taken away whatever the budget says.
# PodDisruptionBudgetStatus: How a budget stands.
disruptedPods: Pods whose eviction was allowed and which are not yet gone, and since when.
disruptionsAllowed: Pods that may be taken away now.
currentHealthy: Pods that are ready.
desiredHealthy: Pods that must be ready.
expectedPods: Pods that count.
# ServiceSpec: What a Service is to be.
loadBalancerIP: The address that a load balancer is asked for. Providers have ways of their own now.
loadBalancerSourceRanges: Where clients of the load balancer may come from.
healthCheckNodePort: The node's port that says whether pods are on it, for external traffic policy Local.
sessionAffinityConfig: How long a client stays with one pod.
allocateLoadBalancerNodePorts: Whether a load balancer gets ports on the nodes.
trafficDistribution: Which endpoints are liked better: those near the client.
# ServicePort: A port of a Service.
# SessionAffinityConfig: How a client stays with one pod.
clientIP: By the client's address.
# ClientIPConfig: How a client stays with one pod, by its address.
timeoutSeconds: For how long.
# ServiceStatus: How a Service fares.
# ServiceStatus, IngressStatus
loadBalancer: What the load balancer has given it.
# LoadBalancerStatus: What a load balancer has given a Service.
ingress: Where it is reached from outside.
# IngressLoadBalancerStatus: What a load balancer has given an Ingress.
ingress: Where it is reached from outside.
# LoadBalancerIngress: A place where a load balancer is reached.
# IngressLoadBalancerIngress: A place where a load balancer is reached.
# LoadBalancerIngress, IngressLoadBalancerIngress
ip: Its address.
hostname: Its name.
ports: Its ports, with what is wrong with them.
# LoadBalancerIngress
ipMode: Whether traffic inside the cluster takes the way over it: VIP or Proxy.
# PortStatus: A port of a load balancer.
# IngressPortStatus: A port of a load balancer.
# PortStatus, IngressPortStatus
port: The port's number.
protocol: TCP, UDP or SCTP.
error: What is wrong with it.
# IngressSpec: What an Ingress is to be.
# IngressStatus: How an Ingress fares.
# IngressBackend: Where requests go.
service: A Service of the same namespace.
resource: Another object of the same namespace that takes them.
# IngressServiceBackend: A Service, and its port.
name: The Service's name.
port: The Service's port.
# ServiceBackendPort: A port of a Service: by name or by number.
name: The port's name.
number: The port's number.
# IngressTLS: A certificate, and the hosts that it is for.
hosts: The hosts.
secretName: The Secret with the certificate and its key.
# IngressRule: The paths of one host.
host: The host, perhaps with *. in front; all hosts if it is empty.
http: Its paths.
# HTTPIngressRuleValue: The paths of one host.
paths: Each path, and where requests for it go.
# HTTPIngressPath: A path, and where requests for it go.
path: The path.
pathType: Exact, Prefix by whole parts, or ImplementationSpecific.
backend: Where they go.
# NetworkPolicySpec: Who may speak to some pods, and to whom they may speak.
# NetworkPolicyIngressRule: Who may speak to the pods, and on which ports.
ports: The ports; all if there are none.
from: Who; everybody if there are none.
# NetworkPolicyEgressRule: To whom the pods may speak, and on which ports.
ports: The ports; all if there are none.
to: To whom; everybody if there are none.
# NetworkPolicyPort: A port, or a range of them.
protocol: TCP, UDP or SCTP.
port: The port, by number or name; all if it is not given.
endPort: The last of a range that begins with port.
# NetworkPolicyPeer: Some pods, or some addresses.
podSelector: Pods, by their labels: of this namespace, or of those selected.
ipBlock: Addresses outside the cluster.
# IPBlock: A range of addresses.
cidr: The range.
except: Ranges in it that do not count.
`);
