/**
 * Validation of the volume types that pods and PersistentVolumes share: mostly drivers of old storage
 * systems, whose rules are which fields must be there (upstream's `validate…VolumeSource` functions).
 */

import {
  isDns1123Label,
  isDns1123Subdomain,
  nameIsDnsLabel,
  rangeText,
} from "../../machinery/names.ts";
import { isSet, type Path, type Report } from "./report.ts";
import { validateDescendingPath, validateNoBacksteps } from "./validate_paths.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
/** Checks one volume source. `pv`: as a PersistentVolume's, with that object's name. */
export type SourceCheck = (source: Obj, path: Path, r: Report, pv?: { name: string }) => void;

function need(...names: string[]): SourceCheck {
  return (source, path, r) => {
    for (const name of names) {
      const value = source[name];
      if (!value || value.length === 0) r.required(path.child(name));
    }
  };
}

function secretRef(source: Obj, path: Path, r: Report, namespaced: boolean): void {
  if (!isSet(source.secretRef)) return;
  if (!source.secretRef.name) r.required(path.child("secretRef", "name"));
  if (namespaced && !source.secretRef.namespace) r.required(path.child("secretRef", "namespace"));
}

function partition(source: Obj, path: Path, r: Report): void {
  const value = source.partition ?? 0;
  if (value < 0 || value > 255) r.invalid(path.child("partition"), value, rangeText(1, 255));
}

function lun(value: number, path: Path, r: Report): void {
  if (value < 0 || value > 255) r.invalid(path.child("lun"), value, rangeText(0, 255));
}

const HOST_PATH_TYPES = new Set([
  "",
  "BlockDevice",
  "CharDevice",
  "Directory",
  "DirectoryOrCreate",
  "File",
  "FileOrCreate",
  "Socket",
]);

const hostPath: SourceCheck = (source, path, r) => {
  if (!source.path) return r.required(path.child("path"));
  validateNoBacksteps(source.path, path.child("path"), r);
  if (isSet(source.type) && !HOST_PATH_TYPES.has(source.type)) {
    r.notSupported(path.child("type"), source.type, HOST_PATH_TYPES);
  }
};

const IQN = /iqn\.\d{4}-\d{2}\.([A-Za-z0-9.-]+)(:[^,;*&$|\s]+)$/;
const EUI = /^eui.[A-Za-z0-9]{16}$/;
const NAA = /^naa.[A-Za-z0-9]{32}$/;
const INITIATOR_TEXT =
  "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";

function qualifiedIscsi(name: string, path: Path, r: Report, form: string): void {
  const kind = name.slice(0, 3);
  if (kind !== "iqn" && kind !== "eui" && kind !== "naa") return r.invalid(path, name, form);
  const good = kind === "iqn" ? IQN : kind === "eui" ? EUI : NAA;
  if (!good.test(name)) r.invalid(path, name, "must be valid format");
}

const iscsi: SourceCheck = (source, path, r, pv) => {
  const form = pv ? "must be valid format" : "must be valid format starting with iqn, eui, or naa";
  if (!source.targetPortal) r.required(path.child("targetPortal"));
  const initiated = isSet(source.initiatorName);
  if (pv && initiated && `${pv.name}:${source.targetPortal ?? ""}`.length > 64) {
    r.invalid(path.child("targetportal"), source.targetPortal ?? "", INITIATOR_TEXT);
  }
  if (!source.iqn) r.required(path.child("iqn"));
  else qualifiedIscsi(source.iqn, path.child("iqn"), r, form);
  lun(source.lun ?? 0, path, r);
  if ((source.chapAuthDiscovery || source.chapAuthSession) && !isSet(source.secretRef)) {
    r.required(path.child("secretRef"));
  }
  if (pv) secretRef(source, path, r, false);
  if (initiated) qualifiedIscsi(source.initiatorName, path.child("initiatorname"), r, form);
};

/** The rule on names that an iSCSI initiator brings to pods. */
export function validateIscsiName(volume: Obj, path: Path, r: Report): void {
  const { iscsi: source, name = "" } = volume;
  if (!isSet(source?.initiatorName)) return;
  if (`${name}:${source.targetPortal ?? ""}`.length > 64) {
    r.invalid(path.child("name"), name, INITIATOR_TEXT);
  }
}

const fc: SourceCheck = (source, path, r) => {
  const wwns: string[] = source.targetWWNs ?? [];
  const wwids: string[] = source.wwids ?? [];
  const at = path.child("targetWWNs");
  if (wwns.length === 0 && wwids.length === 0) {
    r.required(at, "must specify either targetWWNs or wwids, but not both");
  }
  if (wwns.length > 0 && wwids.length > 0) {
    r.invalid(at, wwns, "targetWWNs and wwids can not be specified simultaneously");
  }
  if (wwns.length === 0) return;
  if (!isSet(source.lun)) {
    r.required(path.child("lun"), "lun is required if targetWWNs is specified");
  } else lun(source.lun, path, r);
};

const nfs: SourceCheck = (source, path, r) => {
  need("server", "path")(source, path, r);
  const target = source.path ?? "";
  if (!target.startsWith("/")) r.invalid(path.child("path"), target, "must be an absolute path");
};

const PAIRS_TEXT = "must be a host:port pair or multiple pairs separated by commas";
const HOST_PORT = /^(\[[^\[\]]*\]|[^:\[\]]*):[^:\[\]]*$/;

const quobyte: SourceCheck = (source, path, r) => {
  const registry = source.registry ?? "";
  if (registry === "") r.required(path.child("registry"), PAIRS_TEXT);
  else if ((source.tenant ?? "").length >= 65) {
    r.required(path.child("tenant"), "must be a UUID and may not exceed a length of 64 characters");
  } else {
    for (const pair of registry.split(",")) {
      if (!HOST_PORT.test(pair)) r.invalid(path.child("registry"), registry, PAIRS_TEXT);
    }
  }
  need("volume")(source, path, r);
};

const glusterfs: SourceCheck = (source, path, r, pv) => {
  need("endpoints", "path")(source, path, r);
  const namespace = source.endpointsNamespace;
  if (!pv || !isSet(namespace)) return;
  const at = path.child("endpointsNamespace");
  if (namespace === "") {
    r.invalid(at, "", "if the endpointnamespace is set, it must be a valid namespace name");
  } else r.check(nameIsDnsLabel(namespace, false), at, namespace);
};

const flocker: SourceCheck = (source, path, r) => {
  const { datasetName = "", datasetUUID = "" } = source;
  if (!datasetName && !datasetUUID) {
    r.required(path, "one of datasetName and datasetUUID is required");
  }
  if (datasetName && datasetUUID) {
    r.invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously");
  }
  if (datasetName.includes("/")) {
    r.invalid(path.child("datasetName"), datasetName, "must not contain '/'");
  }
};

const flexVolume: SourceCheck = (source, path, r) => {
  need("driver")(source, path, r);
  for (const option in source.options ?? {}) {
    const slash = option.indexOf("/");
    const domain = `.${(slash < 0 ? option : option.slice(0, slash)).toLowerCase()}`;
    if (domain.endsWith(".kubernetes.io") || domain.endsWith(".k8s.io")) {
      const text = "kubernetes.io and k8s.io namespaces are reserved";
      r.invalid(path.child("options").key(option), option, text);
    }
  }
};

const azureFile: SourceCheck = (source, path, r, pv) => {
  need("secretName", "shareName")(source, path, r);
  if (pv && source.secretNamespace === "") r.required(path.child("secretNamespace"));
};

const CACHING_MODES = ["None", "ReadOnly", "ReadWrite"];
const DISK_KINDS = ["Dedicated", "Managed", "Shared"];
const MANAGED_URI =
  "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
const BLOB_URI = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";

const azureDisk: SourceCheck = (source, path, r) => {
  const { cachingMode, kind, diskURI = "" } = source;
  need("diskName", "diskURI")(source, path, r);
  if (isSet(cachingMode) && !CACHING_MODES.includes(cachingMode)) {
    r.notSupported(path.child("cachingMode"), cachingMode, CACHING_MODES);
  }
  if (!isSet(kind)) return;
  if (!DISK_KINDS.includes(kind)) r.notSupported(path.child("kind"), kind, DISK_KINDS);
  const managed = kind === "Managed";
  if (!diskURI.startsWith(managed ? "/subscriptions/" : "https://")) {
    r.notSupported(path.child("diskURI"), diskURI, [managed ? MANAGED_URI : BLOB_URI]);
  }
};

const storageos: SourceCheck = (source, path, r, pv) => {
  const { volumeName, volumeNamespace } = source;
  if (!volumeName) r.required(path.child("volumeName"));
  else r.check(isDns1123Label(volumeName), path.child("volumeName"), volumeName);
  if (volumeNamespace) {
    r.check(isDns1123Label(volumeNamespace), path.child("volumeNamespace"), volumeNamespace);
  }
  secretRef(source, path, r, pv !== undefined);
};

const gitRepo: SourceCheck = (source, path, r) => {
  need("repository")(source, path, r);
  validateDescendingPath(source.directory ?? "", path.child("directory"), r);
};

/** The name of a CSI driver. */
export function validateCsiDriverName(name: string, path: Path, r: Report): void {
  if (!name) return r.required(path);
  if (name.length > 63) r.tooLong(path, 63);
  r.check(isDns1123Subdomain(name.toLowerCase()), path, name);
}

/** Checks by field name, of the types that pods and PersistentVolumes share. */
export const SHARED_SOURCES: Readonly<Record<string, SourceCheck>> = {
  hostPath,
  gcePersistentDisk: (source, path, r) => {
    need("pdName")(source, path, r);
    partition(source, path, r);
  },
  awsElasticBlockStore: (source, path, r) => {
    need("volumeID")(source, path, r);
    partition(source, path, r);
  },
  gitRepo,
  nfs,
  iscsi,
  glusterfs,
  flocker,
  rbd: need("monitors", "image"),
  cinder: (source, path, r, pv) => {
    need("volumeID")(source, path, r);
    secretRef(source, path, r, pv !== undefined);
  },
  cephfs: need("monitors"),
  quobyte,
  fc,
  flexVolume,
  azureFile,
  vsphereVolume: need("volumePath"),
  photonPersistentDisk: need("pdID"),
  portworxVolume: need("volumeID"),
  azureDisk,
  scaleIO: need("gateway", "system", "volumeName"),
  storageos,
};

/** Upstream's paths differ from the field's name in two places. */
export const SOURCE_PATHS: Readonly<Record<string, string>> = {
  gcePersistentDisk: "persistentDisk",
};
