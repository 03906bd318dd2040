/**
 * Plugins of volumes: DefaultStorageClass, StorageObjectInUseProtection, PersistentVolumeClaimResize.
 */
import type { DeepReadonly, KubeObject } from "../../machinery/types.ts";
import { tryParseQuantity } from "../../machinery/quantity.ts";
import { refusal } from "../admission.ts";
import type { Admission, AdmissionPlugin } from "../contract.ts";
import { newestDefault } from "./default_class.ts";

const CLASSES = "/registry/storageclasses/";
const CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class";
const DEFAULT_ANNOTATIONS = [
  "storageclass.kubernetes.io/is-default-class",
  "storageclass.beta.kubernetes.io/is-default-class",
];

function isClaim(a: Admission): boolean {
  return a.kind.plural === "persistentvolumeclaims" && a.kind.group === "" && !a.subresource;
}

/** The class a claim names, in its field or its old annotation; undefined when it names none. */
function classOf(claim: DeepReadonly<KubeObject>): string | undefined {
  return claim.metadata.annotations?.[CLASS_ANNOTATION] ??
    claim.spec?.storageClassName ?? undefined;
}

/** A claim that names no class gets the default one. */
export const defaultStorageClass: AdmissionPlugin = {
  name: "DefaultStorageClass",
  handles: (a) => isClaim(a) && a.operation === "CREATE",
  mutate(a) {
    const claim = a.object!;
    if (classOf(claim) !== undefined) return;
    const found = newestDefault(a.view, CLASSES, DEFAULT_ANNOTATIONS);
    if (found) (claim.spec ??= {}).storageClassName = found.metadata.name;
  },
};

const FINALIZERS: Record<string, string> = {
  persistentvolumes: "kubernetes.io/pv-protection",
  persistentvolumeclaims: "kubernetes.io/pvc-protection",
  volumeattributesclasses: "kubernetes.io/vac-protection",
};

/** Volumes and claims stay until nothing uses them: a finalizer that their controllers remove. */
export const storageObjectInUseProtection: AdmissionPlugin = {
  name: "StorageObjectInUseProtection",
  handles: (a) =>
    a.operation === "CREATE" && !a.subresource && a.kind.plural in FINALIZERS &&
    (a.kind.group === "" || a.kind.group === "storage.k8s.io"),
  mutate(a) {
    const { metadata } = a.object!;
    const finalizer = FINALIZERS[a.kind.plural];
    if (!metadata.finalizers?.includes(finalizer)) (metadata.finalizers ??= []).push(finalizer);
  },
};

/** A claim may grow only when it is bound and its class says that volumes can. */
export const persistentVolumeClaimResize: AdmissionPlugin = {
  name: "PersistentVolumeClaimResize",
  handles: (a) => isClaim(a) && a.operation === "UPDATE",
  validate(a) {
    const { object, old } = a;
    if (!object || !old) return;
    const size = tryParseQuantity(object.spec?.resources?.requests?.storage);
    const before = tryParseQuantity(old.spec?.resources?.requests?.storage);
    if (!size || (before ? size.compare(before) <= 0 : size.sign <= 0)) return;
    if (old.status?.phase !== "Bound") {
      throw refusal(a, "Only bound persistent volume claims can be expanded");
    }
    const name = classOf(object);
    const expandable = name && name === classOf(old) &&
      a.view.get(CLASSES + name)?.value.allowVolumeExpansion === true;
    if (!expandable) {
      throw refusal(
        a,
        "only dynamically provisioned pvc can be resized and the storageclass that provisions " +
          "the pvc must support resize",
      );
    }
  },
};
