/** Kinds that upstream serves only where a feature gate is on, whatever version is enabled. */

/** The gate of a kind, by `plural.group`. */
export const GATED_KINDS: Readonly<Record<string, string>> = {
  "clustertrustbundles.certificates.k8s.io": "ClusterTrustBundle",
  "podcertificaterequests.certificates.k8s.io": "PodCertificateRequest",
  "storageversionmigrations.storagemigration.k8s.io": "StorageVersionMigrator",
};

/** Drivers tell of their devices in a claim's status. */
export const DEVICE_STATUS = "DRAResourceClaimDeviceStatus";
/** Devices may be brought to their nodes after they were given. */
export const BINDING_CONDITIONS = "DRADeviceBindingConditions";

/** Whether pods wait for devices that are brought to their nodes: what is waited for is told in the claim's status. */
export const bindsByConditions = (features: ReadonlyMap<string, boolean> | undefined): boolean =>
  features?.get(BINDING_CONDITIONS) !== false && features?.get(DEVICE_STATUS) !== false;
