/**
 * The fields of Kubernetes 1.36's internal types, in their order, of those types that errors print whole. A field
 * is `Name:code`: s string, i number, b boolean, q quantity, n absent is null, j as in the API, @T struct,
 * *@T pointer to one, [x list, {x map.
 */
export const INTERNAL_TYPES: Readonly<Record<string, string>> = {
  AWSElasticBlockStoreVolumeSource:
    "VolumeID:s FSType:s Partition:i ReadOnly:b",
  Affinity:
    "NodeAffinity:*@NodeAffinity PodAffinity:*@PodAffinity PodAntiAffinity:*@PodAntiAffinity",
  AppArmorProfile:
    "Type:s LocalhostProfile:n",
  AzureDiskVolumeSource:
    "DiskName:s DataDiskURI:s CachingMode:n FSType:n ReadOnly:n Kind:n",
  AzureFilePersistentVolumeSource:
    "SecretName:s ShareName:s ReadOnly:b SecretNamespace:n",
  AzureFileVolumeSource:
    "SecretName:s ShareName:s ReadOnly:b",
  CELDeviceSelector:
    "Expression:s",
  CSINodeDriver:
    "Name:s NodeID:s TopologyKeys:[s Allocatable:*@VolumeNodeResources",
  CSIPersistentVolumeSource:
    "Driver:s VolumeHandle:s ReadOnly:b FSType:s VolumeAttributes:{s ControllerPublishSecretRef:*@SecretReference NodeStageSecretRef:*@SecretReference NodePublishSecretRef:*@SecretReference ControllerExpandSecretRef:*@SecretReference NodeExpandSecretRef:*@SecretReference",
  CSIVolumeSource:
    "Driver:s ReadOnly:n FSType:n VolumeAttributes:{s NodePublishSecretRef:*@LocalObjectReference",
  Capabilities:
    "Add:[s Drop:[s",
  CapacityRequirements:
    "Requests:{q",
  CephFSPersistentVolumeSource:
    "Monitors:[s Path:s User:s SecretFile:s SecretRef:*@SecretReference ReadOnly:b",
  CephFSVolumeSource:
    "Monitors:[s Path:s User:s SecretFile:s SecretRef:*@LocalObjectReference ReadOnly:b",
  CinderPersistentVolumeSource:
    "VolumeID:s FSType:s ReadOnly:b SecretRef:*@SecretReference",
  CinderVolumeSource:
    "VolumeID:s FSType:s ReadOnly:b SecretRef:*@LocalObjectReference",
  ClusterTrustBundleProjection:
    "Name:n SignerName:n LabelSelector:n Optional:n Path:s",
  ConfigMapEnvSource:
    "Name:s Optional:n",
  ConfigMapKeySelector:
    "Name:s Key:s Optional:n",
  ConfigMapProjection:
    "Name:s Items:[@KeyToPath Optional:n",
  ConfigMapVolumeSource:
    "Name:s Items:[@KeyToPath DefaultMode:n Optional:n",
  Container:
    "Name:s Image:s Command:[s Args:[s WorkingDir:s Ports:[@ContainerPort EnvFrom:[@EnvFromSource Env:[@EnvVar Resources:@ResourceRequirements ResizePolicy:[@ContainerResizePolicy RestartPolicy:n RestartPolicyRules:[@ContainerRestartRule VolumeMounts:[@VolumeMount VolumeDevices:[@VolumeDevice LivenessProbe:*@Probe ReadinessProbe:*@Probe StartupProbe:*@Probe Lifecycle:*@Lifecycle TerminationMessagePath:s TerminationMessagePolicy:s ImagePullPolicy:s SecurityContext:*@SecurityContext Stdin:b StdinOnce:b TTY:b",
  ContainerPort:
    "Name:s HostPort:i ContainerPort:i Protocol:s HostIP:s",
  ContainerResizePolicy:
    "ResourceName:s RestartPolicy:s",
  ContainerRestartRule:
    "Action:s ExitCodes:*@ContainerRestartRuleOnExitCodes",
  ContainerRestartRuleOnExitCodes:
    "Operator:s Values:[i",
  ContainerState:
    "Waiting:*@ContainerStateWaiting Running:*@ContainerStateRunning Terminated:*@ContainerStateTerminated",
  ContainerStateRunning:
    "StartedAt:j",
  ContainerStateTerminated:
    "ExitCode:i Signal:i Reason:s Message:s StartedAt:j FinishedAt:j ContainerID:s",
  ContainerStateWaiting:
    "Reason:s Message:s",
  DaemonSetUpdateStrategy:
    "Type:s RollingUpdate:*@RollingUpdateDaemonSet",
  DeploymentStrategy:
    "Type:s RollingUpdate:*@RollingUpdateDeployment",
  DeviceClaim:
    "Requests:[@DeviceRequest Constraints:[@DeviceConstraint Config:[@DeviceClaimConfiguration",
  DeviceClaimConfiguration:
    "Requests:[s Opaque:*@OpaqueDeviceConfiguration",
  DeviceClassConfiguration:
    "Opaque:*@OpaqueDeviceConfiguration",
  DeviceClassSpec:
    "Selectors:[@DeviceSelector Config:[@DeviceClassConfiguration ExtendedResourceName:n",
  DeviceConstraint:
    "Requests:[s MatchAttribute:n DistinctAttribute:n",
  DeviceRequest:
    "Name:s Exactly:*@ExactDeviceRequest FirstAvailable:[@DeviceSubRequest",
  DeviceSelector:
    "CEL:*@CELDeviceSelector",
  DeviceSubRequest:
    "Name:s DeviceClassName:s Selectors:[@DeviceSelector AllocationMode:s Count:i Tolerations:[@DeviceToleration Capacity:*@CapacityRequirements",
  DeviceToleration:
    "Key:s Operator:s Value:s Effect:s TolerationSeconds:n",
  DownwardAPIProjection:
    "Items:[@DownwardAPIVolumeFile",
  DownwardAPIVolumeFile:
    "Path:s FieldRef:*@ObjectFieldSelector ResourceFieldRef:*@ResourceFieldSelector Mode:n",
  DownwardAPIVolumeSource:
    "Items:[@DownwardAPIVolumeFile DefaultMode:n",
  EmptyDirVolumeSource:
    "Medium:s SizeLimit:n",
  EnvFromSource:
    "Prefix:s ConfigMapRef:*@ConfigMapEnvSource SecretRef:*@SecretEnvSource",
  EnvVar:
    "Name:s Value:s ValueFrom:*@EnvVarSource",
  EnvVarSource:
    "FieldRef:*@ObjectFieldSelector ResourceFieldRef:*@ResourceFieldSelector ConfigMapKeyRef:*@ConfigMapKeySelector SecretKeyRef:*@SecretKeySelector FileKeyRef:*@FileKeySelector",
  EphemeralContainer:
    "Name:s Image:s Command:[s Args:[s WorkingDir:s Ports:[@ContainerPort EnvFrom:[@EnvFromSource Env:[@EnvVar Resources:@ResourceRequirements ResizePolicy:[@ContainerResizePolicy RestartPolicy:n RestartPolicyRules:[@ContainerRestartRule VolumeMounts:[@VolumeMount VolumeDevices:[@VolumeDevice LivenessProbe:*@Probe ReadinessProbe:*@Probe StartupProbe:*@Probe Lifecycle:*@Lifecycle TerminationMessagePath:s TerminationMessagePolicy:s ImagePullPolicy:s SecurityContext:*@SecurityContext Stdin:b StdinOnce:b TTY:b TargetContainerName:s",
  EphemeralVolumeSource:
    "VolumeClaimTemplate:*@PersistentVolumeClaimTemplate",
  EventSource:
    "Component:s Host:s",
  ExactDeviceRequest:
    "DeviceClassName:s Selectors:[@DeviceSelector AllocationMode:s Count:i AdminAccess:n Tolerations:[@DeviceToleration Capacity:*@CapacityRequirements",
  ExecAction:
    "Command:[s",
  FCVolumeSource:
    "TargetWWNs:[s Lun:n FSType:s ReadOnly:b WWIDs:[s",
  FileKeySelector:
    "VolumeName:s Path:s Key:s Optional:n",
  FlexPersistentVolumeSource:
    "Driver:s FSType:s SecretRef:*@SecretReference ReadOnly:b Options:{s",
  FlexVolumeSource:
    "Driver:s FSType:s SecretRef:*@LocalObjectReference ReadOnly:b Options:{s",
  FlockerVolumeSource:
    "DatasetName:s DatasetUUID:s",
  FlowDistinguisherMethod:
    "Type:s",
  GCEPersistentDiskVolumeSource:
    "PDName:s FSType:s Partition:i ReadOnly:b",
  GRPCAction:
    "Port:i Service:n",
  GitRepoVolumeSource:
    "Repository:s Revision:s Directory:s",
  GlusterfsPersistentVolumeSource:
    "EndpointsName:s Path:s ReadOnly:b EndpointsNamespace:n",
  GlusterfsVolumeSource:
    "EndpointsName:s Path:s ReadOnly:b",
  HTTPGetAction:
    "Path:s Port:i Host:s Scheme:s HTTPHeaders:[@HTTPHeader",
  HTTPHeader:
    "Name:s Value:s",
  HostAlias:
    "IP:s Hostnames:[s",
  HostPathVolumeSource:
    "Path:s Type:n",
  ISCSIPersistentVolumeSource:
    "TargetPortal:s IQN:s Lun:i ISCSIInterface:s FSType:s ReadOnly:b Portals:[s DiscoveryCHAPAuth:b SessionCHAPAuth:b SecretRef:*@SecretReference InitiatorName:n",
  ISCSIVolumeSource:
    "TargetPortal:s IQN:s Lun:i ISCSIInterface:s FSType:s ReadOnly:b Portals:[s DiscoveryCHAPAuth:b SessionCHAPAuth:b SecretRef:*@LocalObjectReference InitiatorName:n",
  ImageVolumeSource:
    "Reference:s PullPolicy:s",
  KeyToPath:
    "Key:s Path:s Mode:n",
  Lifecycle:
    "PostStart:*@LifecycleHandler PreStop:*@LifecycleHandler StopSignal:n",
  LifecycleHandler:
    "Exec:*@ExecAction HTTPGet:*@HTTPGetAction TCPSocket:*@TCPSocketAction Sleep:*@SleepAction",
  LimitRangeItem:
    "Type:s Max:{q Min:{q Default:{q DefaultRequest:{q MaxLimitRequestRatio:{q",
  LocalObjectReference:
    "Name:s",
  LocalVolumeSource:
    "Path:s FSType:n",
  NFSVolumeSource:
    "Server:s Path:s ReadOnly:b",
  NodeAddress:
    "Type:s Address:s",
  NodeAffinity:
    "RequiredDuringSchedulingIgnoredDuringExecution:*@NodeSelector PreferredDuringSchedulingIgnoredDuringExecution:[@PreferredSchedulingTerm",
  NodeSelector:
    "NodeSelectorTerms:[@NodeSelectorTerm",
  NodeSelectorRequirement:
    "Key:s Operator:s Values:[s",
  NodeSelectorTerm:
    "MatchExpressions:[@NodeSelectorRequirement MatchFields:[@NodeSelectorRequirement",
  ObjectFieldSelector:
    "APIVersion:s FieldPath:s",
  ObjectReference:
    "Kind:s Namespace:s Name:s UID:s APIVersion:s ResourceVersion:s FieldPath:s",
  OpaqueDeviceConfiguration:
    "Driver:s Parameters:j",
  ParentReference:
    "Group:s Resource:s Namespace:s Name:s",
  PersistentVolumeClaimSpec:
    "AccessModes:[s Selector:n Resources:@VolumeResourceRequirements VolumeName:s StorageClassName:n VolumeMode:n DataSource:*@TypedLocalObjectReference DataSourceRef:*@TypedObjectReference VolumeAttributesClassName:n",
  PersistentVolumeClaimTemplate:
    "ObjectMeta:j Spec:@PersistentVolumeClaimSpec",
  PersistentVolumeClaimVolumeSource:
    "ClaimName:s ReadOnly:b",
  PersistentVolumeSource:
    "GCEPersistentDisk:*@GCEPersistentDiskVolumeSource AWSElasticBlockStore:*@AWSElasticBlockStoreVolumeSource HostPath:*@HostPathVolumeSource Glusterfs:*@GlusterfsPersistentVolumeSource NFS:*@NFSVolumeSource RBD:*@RBDPersistentVolumeSource Quobyte:*@QuobyteVolumeSource ISCSI:*@ISCSIPersistentVolumeSource FlexVolume:*@FlexPersistentVolumeSource Cinder:*@CinderPersistentVolumeSource CephFS:*@CephFSPersistentVolumeSource FC:*@FCVolumeSource Flocker:*@FlockerVolumeSource AzureFile:*@AzureFilePersistentVolumeSource VsphereVolume:*@VsphereVirtualDiskVolumeSource AzureDisk:*@AzureDiskVolumeSource PhotonPersistentDisk:*@PhotonPersistentDiskVolumeSource PortworxVolume:*@PortworxVolumeSource ScaleIO:*@ScaleIOPersistentVolumeSource Local:*@LocalVolumeSource StorageOS:*@StorageOSPersistentVolumeSource CSI:*@CSIPersistentVolumeSource",
  PersistentVolumeSpec:
    "Capacity:{q GCEPersistentDisk:*@GCEPersistentDiskVolumeSource AWSElasticBlockStore:*@AWSElasticBlockStoreVolumeSource HostPath:*@HostPathVolumeSource Glusterfs:*@GlusterfsPersistentVolumeSource NFS:*@NFSVolumeSource RBD:*@RBDPersistentVolumeSource Quobyte:*@QuobyteVolumeSource ISCSI:*@ISCSIPersistentVolumeSource FlexVolume:*@FlexPersistentVolumeSource Cinder:*@CinderPersistentVolumeSource CephFS:*@CephFSPersistentVolumeSource FC:*@FCVolumeSource Flocker:*@FlockerVolumeSource AzureFile:*@AzureFilePersistentVolumeSource VsphereVolume:*@VsphereVirtualDiskVolumeSource AzureDisk:*@AzureDiskVolumeSource PhotonPersistentDisk:*@PhotonPersistentDiskVolumeSource PortworxVolume:*@PortworxVolumeSource ScaleIO:*@ScaleIOPersistentVolumeSource Local:*@LocalVolumeSource StorageOS:*@StorageOSPersistentVolumeSource CSI:*@CSIPersistentVolumeSource AccessModes:[s ClaimRef:*@ObjectReference PersistentVolumeReclaimPolicy:s StorageClassName:s MountOptions:[s VolumeMode:n NodeAffinity:*@VolumeNodeAffinity VolumeAttributesClassName:n",
  PhotonPersistentDiskVolumeSource:
    "PdID:s FSType:s",
  PodAffinity:
    "RequiredDuringSchedulingIgnoredDuringExecution:[@PodAffinityTerm PreferredDuringSchedulingIgnoredDuringExecution:[@WeightedPodAffinityTerm",
  PodAffinityTerm:
    "LabelSelector:n Namespaces:[s TopologyKey:s NamespaceSelector:n MatchLabelKeys:[s MismatchLabelKeys:[s",
  PodAntiAffinity:
    "RequiredDuringSchedulingIgnoredDuringExecution:[@PodAffinityTerm PreferredDuringSchedulingIgnoredDuringExecution:[@WeightedPodAffinityTerm",
  PodCertificateProjection:
    "SignerName:s KeyType:s MaxExpirationSeconds:n CredentialBundlePath:s KeyPath:s CertificateChainPath:s UserAnnotations:{s",
  PodDNSConfig:
    "Nameservers:[s Searches:[s Options:[@PodDNSConfigOption",
  PodDNSConfigOption:
    "Name:s Value:n",
  PodDisruptionBudgetSpec:
    "MinAvailable:n Selector:n MaxUnavailable:n UnhealthyPodEvictionPolicy:n",
  PodFailurePolicy:
    "Rules:[@PodFailurePolicyRule",
  PodFailurePolicyOnExitCodesRequirement:
    "ContainerName:n Operator:s Values:[i",
  PodFailurePolicyOnPodConditionsPattern:
    "Type:s Status:s",
  PodFailurePolicyRule:
    "Action:s OnExitCodes:*@PodFailurePolicyOnExitCodesRequirement OnPodConditions:[@PodFailurePolicyOnPodConditionsPattern",
  PodOS:
    "Name:s",
  PodReadinessGate:
    "ConditionType:s",
  PodResourceClaim:
    "Name:s ResourceClaimName:n ResourceClaimTemplateName:n",
  PodSchedulingGate:
    "Name:s",
  PodSchedulingGroup:
    "PodGroupName:n",
  PodSecurityContext:
    "HostNetwork:b HostPID:b HostIPC:b ShareProcessNamespace:n HostUsers:n SELinuxOptions:*@SELinuxOptions WindowsOptions:*@WindowsSecurityContextOptions RunAsUser:n RunAsGroup:n RunAsNonRoot:n SupplementalGroups:[i SupplementalGroupsPolicy:n FSGroup:n FSGroupChangePolicy:n Sysctls:[@Sysctl SeccompProfile:*@SeccompProfile AppArmorProfile:*@AppArmorProfile SELinuxChangePolicy:n",
  PodSpec:
    "Volumes:[@Volume InitContainers:[@Container Containers:[@Container EphemeralContainers:[@EphemeralContainer RestartPolicy:s TerminationGracePeriodSeconds:n ActiveDeadlineSeconds:n DNSPolicy:s NodeSelector:{s ServiceAccountName:s AutomountServiceAccountToken:n NodeName:s SecurityContext:*@PodSecurityContext ImagePullSecrets:[@LocalObjectReference Hostname:s Subdomain:s SetHostnameAsFQDN:n Affinity:*@Affinity SchedulerName:s Tolerations:[@Toleration HostAliases:[@HostAlias PriorityClassName:s Priority:n PreemptionPolicy:n DNSConfig:*@PodDNSConfig ReadinessGates:[@PodReadinessGate RuntimeClassName:n Overhead:{q EnableServiceLinks:n TopologySpreadConstraints:[@TopologySpreadConstraint OS:*@PodOS SchedulingGates:[@PodSchedulingGate ResourceClaims:[@PodResourceClaim Resources:*@ResourceRequirements HostnameOverride:n SchedulingGroup:*@PodSchedulingGroup",
  PodTemplateSpec:
    "ObjectMeta:j Spec:@PodSpec",
  PortworxVolumeSource:
    "VolumeID:s FSType:s ReadOnly:b",
  PreferredSchedulingTerm:
    "Weight:i Preference:@NodeSelectorTerm",
  Probe:
    "Exec:*@ExecAction HTTPGet:*@HTTPGetAction TCPSocket:*@TCPSocketAction GRPC:*@GRPCAction InitialDelaySeconds:i TimeoutSeconds:i PeriodSeconds:i SuccessThreshold:i FailureThreshold:i TerminationGracePeriodSeconds:n",
  ProjectedVolumeSource:
    "Sources:[@VolumeProjection DefaultMode:n",
  QuobyteVolumeSource:
    "Registry:s Volume:s ReadOnly:b User:s Group:s Tenant:s",
  RBDPersistentVolumeSource:
    "CephMonitors:[s RBDImage:s FSType:s RBDPool:s RadosUser:s Keyring:s SecretRef:*@SecretReference ReadOnly:b",
  RBDVolumeSource:
    "CephMonitors:[s RBDImage:s FSType:s RBDPool:s RadosUser:s Keyring:s SecretRef:*@LocalObjectReference ReadOnly:b",
  ResourceClaim:
    "Name:s Request:s",
  ResourceClaimSpec:
    "Devices:@DeviceClaim",
  ResourceClaimTemplateSpec:
    "ObjectMeta:j Spec:@ResourceClaimSpec",
  ResourceFieldSelector:
    "ContainerName:s Resource:s Divisor:q",
  ResourceRequirements:
    "Limits:{q Requests:{q Claims:[@ResourceClaim",
  RoleRef:
    "APIGroup:s Kind:s Name:s",
  RollingUpdateDaemonSet:
    "MaxUnavailable:i MaxSurge:i",
  RollingUpdateDeployment:
    "MaxUnavailable:i MaxSurge:i",
  RollingUpdateStatefulSetStrategy:
    "Partition:i MaxUnavailable:n",
  SELinuxOptions:
    "User:s Role:s Type:s Level:s",
  ScaleIOPersistentVolumeSource:
    "Gateway:s System:s SecretRef:*@SecretReference SSLEnabled:b ProtectionDomain:s StoragePool:s StorageMode:s VolumeName:s FSType:s ReadOnly:b",
  ScaleIOVolumeSource:
    "Gateway:s System:s SecretRef:*@LocalObjectReference SSLEnabled:b ProtectionDomain:s StoragePool:s StorageMode:s VolumeName:s FSType:s ReadOnly:b",
  ScopeSelector:
    "MatchExpressions:[@ScopedResourceSelectorRequirement",
  ScopedResourceSelectorRequirement:
    "ScopeName:s Operator:s Values:[s",
  SeccompProfile:
    "Type:s LocalhostProfile:n",
  SecretEnvSource:
    "Name:s Optional:n",
  SecretKeySelector:
    "Name:s Key:s Optional:n",
  SecretProjection:
    "Name:s Items:[@KeyToPath Optional:n",
  SecretReference:
    "Name:s Namespace:s",
  SecretVolumeSource:
    "SecretName:s Items:[@KeyToPath DefaultMode:n Optional:n",
  SecurityContext:
    "Capabilities:*@Capabilities Privileged:n SELinuxOptions:*@SELinuxOptions WindowsOptions:*@WindowsSecurityContextOptions RunAsUser:n RunAsGroup:n RunAsNonRoot:n ReadOnlyRootFilesystem:n AllowPrivilegeEscalation:n ProcMount:n SeccompProfile:*@SeccompProfile AppArmorProfile:*@AppArmorProfile",
  ServiceAccountTokenProjection:
    "Audience:s ExpirationSeconds:i Path:s",
  ServicePort:
    "Name:s Protocol:s AppProtocol:n Port:i TargetPort:i NodePort:i",
  SleepAction:
    "Seconds:i",
  StatefulSetUpdateStrategy:
    "Type:s RollingUpdate:*@RollingUpdateStatefulSetStrategy",
  StorageOSPersistentVolumeSource:
    "VolumeName:s VolumeNamespace:s FSType:s ReadOnly:b SecretRef:*@ObjectReference",
  StorageOSVolumeSource:
    "VolumeName:s VolumeNamespace:s FSType:s ReadOnly:b SecretRef:*@LocalObjectReference",
  SuccessPolicy:
    "Rules:[@SuccessPolicyRule",
  SuccessPolicyRule:
    "SucceededIndexes:n SucceededCount:n",
  Sysctl:
    "Name:s Value:s",
  TCPSocketAction:
    "Port:i Host:s",
  Taint:
    "Key:s Value:s Effect:s TimeAdded:n",
  Toleration:
    "Key:s Operator:s Value:s Effect:s TolerationSeconds:n",
  TopologySpreadConstraint:
    "MaxSkew:i TopologyKey:s WhenUnsatisfiable:s LabelSelector:n MinDomains:n NodeAffinityPolicy:n NodeTaintsPolicy:n MatchLabelKeys:[s",
  TypedLocalObjectReference:
    "APIGroup:n Kind:s Name:s",
  TypedObjectReference:
    "APIGroup:n Kind:s Name:s Namespace:n",
  Volume:
    "Name:s HostPath:*@HostPathVolumeSource EmptyDir:*@EmptyDirVolumeSource GCEPersistentDisk:*@GCEPersistentDiskVolumeSource AWSElasticBlockStore:*@AWSElasticBlockStoreVolumeSource GitRepo:*@GitRepoVolumeSource Secret:*@SecretVolumeSource NFS:*@NFSVolumeSource ISCSI:*@ISCSIVolumeSource Glusterfs:*@GlusterfsVolumeSource PersistentVolumeClaim:*@PersistentVolumeClaimVolumeSource RBD:*@RBDVolumeSource Quobyte:*@QuobyteVolumeSource FlexVolume:*@FlexVolumeSource Cinder:*@CinderVolumeSource CephFS:*@CephFSVolumeSource Flocker:*@FlockerVolumeSource DownwardAPI:*@DownwardAPIVolumeSource FC:*@FCVolumeSource AzureFile:*@AzureFileVolumeSource ConfigMap:*@ConfigMapVolumeSource VsphereVolume:*@VsphereVirtualDiskVolumeSource AzureDisk:*@AzureDiskVolumeSource PhotonPersistentDisk:*@PhotonPersistentDiskVolumeSource Projected:*@ProjectedVolumeSource PortworxVolume:*@PortworxVolumeSource ScaleIO:*@ScaleIOVolumeSource StorageOS:*@StorageOSVolumeSource CSI:*@CSIVolumeSource Ephemeral:*@EphemeralVolumeSource Image:*@ImageVolumeSource",
  VolumeAttachmentSource:
    "PersistentVolumeName:n InlineVolumeSpec:*@PersistentVolumeSpec",
  VolumeAttachmentSpec:
    "Attacher:s Source:@VolumeAttachmentSource NodeName:s",
  VolumeDevice:
    "Name:s DevicePath:s",
  VolumeMount:
    "Name:s ReadOnly:b RecursiveReadOnly:n MountPath:s SubPath:s MountPropagation:n SubPathExpr:s",
  VolumeNodeAffinity:
    "Required:*@NodeSelector",
  VolumeNodeResources:
    "Count:n",
  VolumeProjection:
    "Secret:*@SecretProjection DownwardAPI:*@DownwardAPIProjection ConfigMap:*@ConfigMapProjection ServiceAccountToken:*@ServiceAccountTokenProjection ClusterTrustBundle:*@ClusterTrustBundleProjection PodCertificate:*@PodCertificateProjection",
  VolumeResourceRequirements:
    "Limits:{q Requests:{q",
  VsphereVirtualDiskVolumeSource:
    "VolumePath:s FSType:s StoragePolicyName:s StoragePolicyID:s",
  WeightedPodAffinityTerm:
    "Weight:i PodAffinityTerm:@PodAffinityTerm",
  WindowsSecurityContextOptions:
    "GMSACredentialSpecName:n GMSACredentialSpec:n RunAsUserName:n HostProcess:n",
};
