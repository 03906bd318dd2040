/** What the types and fields of volumes, claims and classes mean, in our words. */
import { describedIn } from "./table.ts";

const GONE = "The driver for it is gone from Kubernetes.";

/** Volumes, claims and storage classes. */
export const STORAGE = describedIn(`
# Volume
gcePersistentDisk: A disk of Google's cloud; handled by its CSI driver.
awsElasticBlockStore: A disk of Amazon's cloud; handled by its CSI driver.
gitRepo: A clone of a Git repository. Not run any more.
iscsi: A disk that is reached over iSCSI.
glusterfs: A GlusterFS volume. ${GONE}
rbd: A Ceph block device. ${GONE}
flexVolume: A volume of an old kind of driver.
cinder: A disk of OpenStack; handled by its CSI driver.
cephfs: A CephFS share. ${GONE}
flocker: A Flocker dataset. ${GONE}
fc: A disk that is reached over Fibre Channel.
azureFile: A file share of Azure; handled by its CSI driver.
vsphereVolume: A disk of vSphere; handled by its CSI driver.
quobyte: A Quobyte volume. ${GONE}
azureDisk: A disk of Azure; handled by its CSI driver.
photonPersistentDisk: A disk of Photon. ${GONE}
portworxVolume: A Portworx volume; handled by its CSI driver.
scaleIO: A ScaleIO volume. ${GONE}
storageos: A StorageOS volume. ${GONE}
# PersistentVolumeSpec: What a volume is, and who may use it.
capacity: How large it is.
gcePersistentDisk: A disk of Google's cloud; handled by its CSI driver.
awsElasticBlockStore: A disk of Amazon's cloud; handled by its CSI driver.
hostPath: A folder of one node; for trying things out.
glusterfs: A GlusterFS volume. ${GONE}
nfs: A share of an NFS server.
rbd: A Ceph block device. ${GONE}
iscsi: A disk that is reached over iSCSI.
cinder: A disk of OpenStack; handled by its CSI driver.
cephfs: A CephFS share. ${GONE}
fc: A disk that is reached over Fibre Channel.
flocker: A Flocker dataset. ${GONE}
flexVolume: A volume of an old kind of driver.
azureFile: A file share of Azure; handled by its CSI driver.
vsphereVolume: A disk of vSphere; handled by its CSI driver.
quobyte: A Quobyte volume. ${GONE}
azureDisk: A disk of Azure; handled by its CSI driver.
photonPersistentDisk: A disk of Photon. ${GONE}
portworxVolume: A Portworx volume; handled by its CSI driver.
scaleIO: A ScaleIO volume. ${GONE}
local: A disk or folder of one node.
storageos: A StorageOS volume. ${GONE}
csi: Storage of a CSI driver.
accessModes: In which ways it can be mounted.
claimRef: The claim that it is bound to.
persistentVolumeReclaimPolicy: What becomes of it when the claim goes: Retain, Delete or Recycle.
storageClassName: The class it belongs to; none if empty.
mountOptions: Options it is mounted with.
volumeMode: Filesystem, or Block for a raw device.
nodeAffinity: The nodes that can reach it.
volumeAttributesClassName: The class of its attributes that can change.
# PersistentVolumeStatus: How a volume fares.
phase: Pending, Available, Bound, Released or Failed.
lastPhaseTransitionTime: When the phase changed last.
# VolumeNodeAffinity: The nodes that can reach a volume.
required: What must hold of a node.
# PersistentVolumeClaimSpec: What storage is asked for.
selector: Volumes that may be bound, by their labels.
dataSource: A snapshot or claim to be filled from.
dataSourceRef: What to be filled from, of any kind.
volumeAttributesClassName: The class of attributes that can change.
# VolumeResourceRequirements: How much room is asked for.
limits: The most.
requests: The least.
# PersistentVolumeClaimStatus: How a claim fares.
phase: Pending, Bound or Lost.
accessModes: In which ways the bound volume can be mounted.
capacity: How large the bound volume is.
allocatedResources: The size that is being made room for.
allocatedResourceStatuses: How growing comes along.
currentVolumeAttributesClassName: The class of attributes that holds now.
modifyVolumeStatus: How a change of the class of attributes comes along.
# PersistentVolumeClaimCondition: One thing that was observed of a claim.
# ModifyVolumeStatus: How a change of attributes comes along.
targetVolumeAttributesClassName: The class that is to hold.
status: Pending, InProgress or Infeasible.
# PersistentVolumeClaimTemplate: What a claim is to be, for those who make claims.
# StorageClass
provisioner: Who makes the volumes.
parameters: What the provisioner is told.
reclaimPolicy: What becomes of a volume when its claim goes: Delete or Retain.
mountOptions: Options the volumes are mounted with.
allowVolumeExpansion: Whether volumes may grow.
volumeBindingMode: Immediate, or WaitForFirstConsumer: when a pod is to use it.
allowedTopologies: Where volumes may be made.
# TopologySelectorTerm: Places, by labels of nodes.
matchLabelExpressions: What must hold of them.
# TopologySelectorLabelRequirement: A label, and the values that are wanted.
key: The label.
values: The values.
# EmptyDirVolumeSource: An empty folder that lives as long as the pod.
medium: Memory for one in memory; else the node's disk.
sizeLimit: How much it may hold.
# HostPathVolumeSource: A file or folder of the node.
path: Where it is on the node.
type: What must be there, or is made: Directory, DirectoryOrCreate, File, FileOrCreate, Socket and others.
# LocalVolumeSource: A disk or folder of one node.
path: Where it is on the node.
# NFSVolumeSource: A share of an NFS server.
server: The server.
path: The path that it exports.
# GitRepoVolumeSource: A clone of a Git repository. Not run any more.
repository: The repository's address.
revision: The commit.
directory: The folder it is put into.
# SecretVolumeSource: A Secret's keys as files.
secretName: The Secret's name.
# SecretVolumeSource, ConfigMapVolumeSource, SecretProjection, ConfigMapProjection
items: Which keys, and where; all of them if not given.
optional: Whether it, or its keys, may be missing.
# ConfigMapVolumeSource: A ConfigMap's keys as files.
name: The ConfigMap's name.
# SecretProjection: A Secret's keys as files.
name: The Secret's name.
# ConfigMapProjection: A ConfigMap's keys as files.
name: The ConfigMap's name.
# KeyToPath: A key as a file.
key: The key.
path: The file, from the volume's root.
mode: The file's permission bits; the volume's default if not given.
# PersistentVolumeClaimVolumeSource: A claim of the same namespace.
claimName: The claim's name.
# DownwardAPIVolumeSource: Facts about the pod as files.
# DownwardAPIProjection: Facts about the pod as files.
# DownwardAPIVolumeSource, DownwardAPIProjection
items: The files.
# DownwardAPIVolumeFile: A fact about the pod as a file.
path: The file, from the volume's root.
fieldRef: A field of the pod.
resourceFieldRef: What a container requests or may use.
mode: The file's permission bits; the volume's default if not given.
# ProjectedVolumeSource: Several sources in one folder.
sources: The sources.
# VolumeProjection: One source of a projected volume.
secret: A Secret's keys.
downwardAPI: Facts about the pod.
configMap: A ConfigMap's keys.
serviceAccountToken: A token of the pod's ServiceAccount, kept fresh.
clusterTrustBundle: Certificates of a ClusterTrustBundle.
podCertificate: A key and a certificate of the pod's own, kept fresh.
# ServiceAccountTokenProjection: A token of the pod's ServiceAccount.
audience: Whom it is for; the API server if not given.
expirationSeconds: How long it is good.
path: The file, from the volume's root.
# ClusterTrustBundleProjection: Certificates of ClusterTrustBundles as a file.
name: One bundle, by name.
signerName: Bundles of this signer.
labelSelector: Which of the signer's bundles.
optional: Whether there may be none.
path: The file, from the volume's root.
# PodCertificateProjection: A key and a certificate of the pod's own.
signerName: Who signs the certificate.
keyType: The kind of key, such as ED25519.
maxExpirationSeconds: How long the certificate is good at most.
credentialBundlePath: The file with key and certificates together.
keyPath: The file with the key alone.
certificateChainPath: The file with the certificates alone.
userAnnotations: What the signer is told besides.
# EphemeralVolumeSource: A claim of its own, made and removed with the pod.
volumeClaimTemplate: What the claim is to be.
# ImageVolumeSource: The files of an image.
reference: The image.
pullPolicy: When the image is fetched: Always, IfNotPresent or Never.
# CSIVolumeSource: Storage from a driver, made with the pod.
driver: The driver's name.
volumeAttributes: What the driver is told.
nodePublishSecretRef: A Secret that the driver needs to mount it.
# CSIPersistentVolumeSource: Storage of a CSI driver.
driver: The driver's name.
volumeHandle: The driver's name for the volume.
volumeAttributes: What the driver is told.
controllerPublishSecretRef: A Secret that the driver needs to attach it.
nodeStageSecretRef: A Secret that the driver needs to prepare it on a node.
nodePublishSecretRef: A Secret that the driver needs to mount it.
controllerExpandSecretRef: A Secret that the driver needs to make it larger.
nodeExpandSecretRef: A Secret that the driver needs to make it larger on the node.
# GCEPersistentDiskVolumeSource: A disk of Google's cloud.
pdName: The disk's name.
# AWSElasticBlockStoreVolumeSource: A disk of Amazon's cloud.
# CinderVolumeSource: A disk of OpenStack.
# CinderPersistentVolumeSource: A disk of OpenStack.
# PortworxVolumeSource: A Portworx volume.
# GlusterfsVolumeSource: A GlusterFS volume.
# GlusterfsPersistentVolumeSource: A GlusterFS volume.
# GlusterfsVolumeSource, GlusterfsPersistentVolumeSource
endpoints: The Endpoints of its servers.
path: The volume's path.
# GlusterfsPersistentVolumeSource
endpointsNamespace: The namespace of the Endpoints.
# RBDVolumeSource: A Ceph block device.
# RBDPersistentVolumeSource: A Ceph block device.
# RBDVolumeSource, RBDPersistentVolumeSource
image: The device's image.
pool: The pool it is in.
keyring: The file with the user's key.
# CephFSVolumeSource: A CephFS share.
# CephFSPersistentVolumeSource: A CephFS share.
# CephFSVolumeSource, CephFSPersistentVolumeSource
path: The folder of the share that is mounted.
secretFile: The file with the user's key.
# ISCSIVolumeSource: A disk that is reached over iSCSI.
# ISCSIPersistentVolumeSource: A disk that is reached over iSCSI.
# ISCSIVolumeSource, ISCSIPersistentVolumeSource
targetPortal: The server's address and port.
iqn: The target's name.
iscsiInterface: The interface that is used.
portals: Further addresses of the server.
chapAuthDiscovery: Whether finding targets wants a password.
chapAuthSession: Whether sessions want a password.
initiatorName: The name that the node gives itself.
# FCVolumeSource: A disk that is reached over Fibre Channel.
targetWWNs: Names of the targets.
wwids: Names of the volume.
# FlexVolumeSource: A volume of an old kind of driver.
# FlexPersistentVolumeSource: A volume of an old kind of driver.
# FlexVolumeSource, FlexPersistentVolumeSource
driver: The driver's name.
options: What the driver is told.
# FlockerVolumeSource: A Flocker dataset.
datasetName: The dataset's name.
datasetUUID: The dataset's id.
# AzureFileVolumeSource: A file share of Azure.
# AzureFilePersistentVolumeSource: A file share of Azure.
# AzureFileVolumeSource, AzureFilePersistentVolumeSource
secretName: The Secret with the account's name and key.
shareName: The share's name.
# AzureFilePersistentVolumeSource
secretNamespace: The Secret's namespace.
# AzureDiskVolumeSource: A disk of Azure.
diskName: The disk's name.
diskURI: The disk's address.
cachingMode: None, ReadOnly or ReadWrite.
# VsphereVirtualDiskVolumeSource: A disk of vSphere.
volumePath: The disk's path.
storagePolicyName: The name of its storage policy.
storagePolicyID: The id of its storage policy.
# QuobyteVolumeSource: A Quobyte volume.
registry: The addresses of its registries.
volume: The volume's name.
group: The group it is mounted as.
tenant: The tenant that owns it.
# PhotonPersistentDiskVolumeSource: A disk of Photon.
pdID: The disk's id.
# ScaleIOVolumeSource: A ScaleIO volume.
# ScaleIOPersistentVolumeSource: A ScaleIO volume.
# ScaleIOVolumeSource, ScaleIOPersistentVolumeSource
gateway: The address of its gateway.
system: The system's name.
sslEnabled: Whether the gateway is spoken to over TLS.
protectionDomain: The protection domain.
storagePool: The pool of the domain.
storageMode: ThickProvisioned or ThinProvisioned.
# StorageOSVolumeSource: A StorageOS volume.
# StorageOSPersistentVolumeSource: A StorageOS volume.
# StorageOSVolumeSource, StorageOSPersistentVolumeSource
volumeNamespace: The volume's namespace within StorageOS.
`);
