/** Validation of volume mounts and devices of a container (upstream's `ValidateVolumeMounts`). */

import type { Volumes } from "./pod_volumes.ts";
import { isSet, type Path, type Report } from "./report.ts";
import { validateDescendingPath } from "./validate_paths.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;

const PROPAGATIONS = ["Bidirectional", "HostToContainer", "None"];

function validatePropagation(mount: Obj, container: Obj, path: Path, r: Report): void {
  const mode = mount.mountPropagation;
  const at = path.child("mountPropagation");
  if (!PROPAGATIONS.includes(mode)) r.notSupported(at, mode, PROPAGATIONS);
  if (mode === "Bidirectional" && container.securityContext?.privileged !== true) {
    const text = "Bidirectional mount propagation is available only to privileged containers";
    r.forbidden(at, text);
  }
}

function validateRecursiveReadOnly(mount: Obj, path: Path, r: Report): void {
  const mode = mount.recursiveReadOnly;
  const at = path.child("recursiveReadOnly");
  if (mode === "Disabled") return;
  if (mode !== "Enabled" && mode !== "IfPossible") {
    return r.notSupported(at, mode, ["Disabled", "Enabled", "IfPossible"]);
  }
  if (!mount.readOnly) r.forbidden(at, "may only be specified when readOnly is true");
  if (isSet(mount.mountPropagation) && mount.mountPropagation !== "None") {
    r.forbidden(at, "may only be specified when mountPropagation is None or not specified");
  }
}

function validateMount(mount: Obj, container: Obj, at: Path, list: Path, r: Report): void {
  // Upstream names these three below the list, not below the mount.
  if (mount.subPath) validateDescendingPath(mount.subPath, list.child("subPath"), r);
  if (mount.subPathExpr) {
    if (mount.subPath) {
      const text = "subPathExpr and subPath are mutually exclusive";
      r.invalid(at.child("subPathExpr"), mount.subPathExpr, text);
    }
    validateDescendingPath(mount.subPathExpr, list.child("subPathExpr"), r);
  }
  if (isSet(mount.mountPropagation)) validatePropagation(mount, container, list, r);
  if (isSet(mount.recursiveReadOnly)) validateRecursiveReadOnly(mount, list, r);
}

/** Checks where a container mounts volumes, as files and as devices. */
export function validateMounts(container: Obj, path: Path, r: Report, volumes: Volumes): void {
  const mounts: Obj[] | undefined = container.volumeMounts;
  const devices: Obj[] | undefined = container.volumeDevices;
  if (mounts?.length) {
    const list = path.child("volumeMounts");
    const points = new Set<string>();
    for (let i = 0; i < mounts.length; i++) {
      const mount = mounts[i];
      const { name = "", mountPath = "" } = mount;
      const at = list.index(i);
      if (!name) r.required(at.child("name"));
      if (!volumes.has(name)) r.notFound(at.child("name"), name);
      if (!mountPath) r.required(at.child("mountPath"));
      if (points.has(mountPath)) r.invalid(at.child("mountPath"), mountPath, "must be unique");
      points.add(mountPath);
      if (devices?.some((d) => d.name === name)) {
        r.invalid(at.child("name"), name, "must not already exist in volumeDevices");
      }
      if (devices?.some((d) => d.devicePath === mountPath)) {
        const text = "must not already exist as a path in volumeDevices";
        r.invalid(at.child("mountPath"), mountPath, text);
      }
      validateMount(mount, container, at, list, r);
    }
  }
  if (devices?.length) {
    validateDevices(devices, mounts ?? [], path.child("volumeDevices"), r, volumes);
  }
}

function validateDevices(
  devices: Obj[],
  mounts: Obj[],
  list: Path,
  r: Report,
  volumes: Volumes,
): void {
  const names = new Set<string>(), paths = new Set<string>();
  devices.forEach(({ name = "", devicePath = "" }, i) => {
    const nameAt = list.index(i).child("name"), pathAt = list.index(i).child("devicePath");
    const volume = volumes.get(name);
    if (!name) r.required(nameAt);
    if (names.has(name)) r.invalid(nameAt, name, "must be unique");
    if (!volume) r.notFound(nameAt, name);
    else if (!isSet(volume.persistentVolumeClaim) && !isSet(volume.ephemeral)) {
      const text =
        "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
      r.invalid(nameAt, name, text);
    }
    if (!devicePath) r.required(pathAt);
    if (paths.has(devicePath)) r.invalid(pathAt, devicePath, "must be unique");
    if (devicePath.split("/").includes("..")) {
      r.invalid(pathAt, devicePath, "can not contain backsteps ('..')");
    } else paths.add(devicePath);
    if (mounts.some((m) => m.name === name)) {
      r.invalid(nameAt, name, "must not already exist in volumeMounts");
    }
    if (mounts.some((m) => m.mountPath === devicePath)) {
      r.invalid(pathAt, devicePath, "must not already exist as a path in volumeMounts");
    }
    if (name) names.add(name);
  });
}
