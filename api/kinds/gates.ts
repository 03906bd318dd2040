/** Kinds that upstream serves only where a feature gate is on, whatever version is enabled. */

/** The gate of a kind, by `plural.group`. */
export const GATED_KINDS: Readonly<Record<string, string>> = {
  "clustertrustbundles.certificates.k8s.io": "ClusterTrustBundle",
  "podcertificaterequests.certificates.k8s.io": "PodCertificateRequest",
  "storageversionmigrations.storagemigration.k8s.io": "StorageVersionMigrator",
};
