/**
 * What storage drivers speak, as facts: CSI 1.x, and the kubelet's protocol by which they register. Names and numbers
 * of fields are those of `csi.proto` and of `pluginregistration/v1/api.proto`; only what is used here is listed.
 */

const ACCESS = "capability=5:VolumeCapability";

const CSI_MESSAGES = {
  // Identity
  GetPluginInfoRequest: "",
  GetPluginInfoResponse: "name=1 vendorVersion=2",
  GetPluginCapabilitiesRequest: "",
  GetPluginCapabilitiesResponse: "capabilities=1:[PluginCapability]",
  PluginCapability: "service=1:Kind volumeExpansion=2:Kind",
  ProbeRequest: "",
  ProbeResponse: "ready=1:BoolValue",
  BoolValue: "value=1:bool",
  // Node
  NodeGetInfoRequest: "",
  NodeGetInfoResponse: "nodeId=1 maxVolumesPerNode=2:int accessibleTopology=3:Topology",
  NodeGetCapabilitiesRequest: "",
  NodeGetCapabilitiesResponse: "capabilities=1:[Capability]",
  NodeStageVolumeRequest:
    "volumeId=1 publishContext=2:{} stagingTargetPath=3 capability=4:VolumeCapability secrets=5:{} volumeContext=6:{}",
  NodeStageVolumeResponse: "",
  NodeUnstageVolumeRequest: "volumeId=1 stagingTargetPath=2",
  NodeUnstageVolumeResponse: "",
  NodePublishVolumeRequest:
    `volumeId=1 publishContext=2:{} stagingTargetPath=3 targetPath=4 ${ACCESS} readonly=6:bool secrets=7:{} volumeContext=8:{}`,
  NodePublishVolumeResponse: "",
  NodeUnpublishVolumeRequest: "volumeId=1 targetPath=2",
  NodeUnpublishVolumeResponse: "",
  NodeExpandVolumeRequest:
    `volumeId=1 volumePath=2 capacityRange=3:CapacityRange stagingTargetPath=4 ${ACCESS} secrets=6:{}`,
  NodeExpandVolumeResponse: "capacityBytes=1:int",
  NodeGetVolumeStatsRequest: "volumeId=1 volumePath=2 stagingTargetPath=3",
  NodeGetVolumeStatsResponse: "usage=1:[VolumeUsage] volumeCondition=2:VolumeCondition",
  VolumeUsage: "available=1:int total=2:int used=3:int unit=4:int32",
  VolumeCondition: "abnormal=1:bool message=2",
  // Controller
  ControllerGetCapabilitiesRequest: "",
  ControllerGetCapabilitiesResponse: "capabilities=1:[Capability]",
  CreateVolumeRequest:
    "name=1 capacityRange=2:CapacityRange capabilities=3:[VolumeCapability] parameters=4:{} secrets=5:{} contentSource=6:ContentSource accessibility=7:TopologyRequirement mutableParameters=8:{}",
  CreateVolumeResponse: "volume=1:Volume",
  DeleteVolumeRequest: "volumeId=1 secrets=2:{}",
  DeleteVolumeResponse: "",
  ControllerPublishVolumeRequest:
    "volumeId=1 nodeId=2 capability=3:VolumeCapability readonly=4:bool secrets=5:{} volumeContext=6:{}",
  ControllerPublishVolumeResponse: "publishContext=1:{}",
  ControllerUnpublishVolumeRequest: "volumeId=1 nodeId=2 secrets=3:{}",
  ControllerUnpublishVolumeResponse: "",
  ControllerExpandVolumeRequest:
    "volumeId=1 capacityRange=2:CapacityRange secrets=3:{} capability=4:VolumeCapability",
  ControllerExpandVolumeResponse: "capacityBytes=1:int nodeExpansionRequired=2:bool",
  // Parts
  Capability: "rpc=1:Kind",
  Kind: "type=1:int32",
  VolumeCapability: "block=1:Block mount=2:Mount accessMode=3:AccessMode",
  Block: "",
  Mount: "fsType=1 mountFlags=2:[] volumeMountGroup=3",
  AccessMode: "mode=1:int32",
  CapacityRange: "requiredBytes=1:int limitBytes=2:int",
  Topology: "segments=1:{}",
  TopologyRequirement: "requisite=1:[Topology] preferred=2:[Topology]",
  Volume:
    "capacityBytes=1:int volumeId=2 volumeContext=3:{} contentSource=4:ContentSource accessibleTopology=5:[Topology]",
  ContentSource: "snapshot=1:FromSnapshot volume=2:FromVolume",
  FromSnapshot: "snapshotId=1",
  FromVolume: "volumeId=1",
} as const;

/** A driver: `Probe`, `NodePublishVolume`, … */
export const CSI = {
  messages: CSI_MESSAGES,
  services: {
    "csi.v1.Identity": ["GetPluginInfo", "GetPluginCapabilities", "Probe"],
    "csi.v1.Node": [
      "NodeGetInfo",
      "NodeGetCapabilities",
      "NodeStageVolume",
      "NodeUnstageVolume",
      "NodePublishVolume",
      "NodeUnpublishVolume",
      "NodeExpandVolume",
      "NodeGetVolumeStats",
    ],
    "csi.v1.Controller": [
      "ControllerGetCapabilities",
      "CreateVolume",
      "DeleteVolume",
      "ControllerPublishVolume",
      "ControllerUnpublishVolume",
      "ControllerExpandVolume",
    ],
  },
} as const;

const REGISTRATION_MESSAGES = {
  InfoRequest: "",
  PluginInfo: "type=1 name=2 endpoint=3 supportedVersions=4:[]",
  RegistrationStatus: "pluginRegistered=1:bool error=2",
  RegistrationStatusResponse: "",
} as const;

/** What listens at the sockets of a kubelet's `plugins_registry`. */
export const REGISTRATION = {
  messages: REGISTRATION_MESSAGES,
  services: { "pluginregistration.Registration": ["GetInfo", "NotifyRegistrationStatus"] },
  names: {
    GetInfo: { request: "InfoRequest", response: "PluginInfo" },
    NotifyRegistrationStatus: {
      request: "RegistrationStatus",
      response: "RegistrationStatusResponse",
    },
  },
} as const;

/** What a node service can do beyond publishing (NodeServiceCapability.RPC.Type). */
export const NODE_CAN = {
  stage: 1,
  measure: 2,
  expand: 3,
  multiWriter: 5,
  mountGroup: 6,
} as const;

/** What a controller service can do (ControllerServiceCapability.RPC.Type). */
export const CONTROLLER_CAN = {
  create: 1,
  publish: 2,
  expand: 9,
  multiWriter: 13,
} as const;

const SINGLE_WRITER = 1, MANY_READERS = 3, MANY_WRITERS = 5;
const ONE_POD = 6, ONE_NODE = 7;

/** A claim's access mode as CSI's; drivers that tell one pod from one node are told (`precise`). */
export function accessModeOf(mode: string, precise: boolean): number {
  switch (mode) {
    case "ReadWriteOnce":
      return precise ? ONE_NODE : SINGLE_WRITER;
    case "ReadWriteOncePod":
      return precise ? ONE_POD : SINGLE_WRITER;
    case "ReadOnlyMany":
      return MANY_READERS;
    case "ReadWriteMany":
      return MANY_WRITERS;
  }
  return 0;
}

/** What a volume's usage is counted in (VolumeUsage.Unit). */
export const USAGE_UNIT = { bytes: 1, inodes: 2 } as const;
