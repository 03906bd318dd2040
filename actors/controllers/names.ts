/**
 * The names by which `--controllers` knows a controller: our own, which is the last part of its actor's
 * address, kube-controller-manager's, and the older name that it still takes.
 *
 * Names matched: cmd/kube-controller-manager/names/controller_names.go and the aliases beside it, v1.36.
 */

/** Upstream's names (older ones included) that are not ours plus `-controller`. */
const ALIASES: Readonly<Record<string, string>> = {
  "attachdetach": "persistentvolume-attach-detach",
  "bootstrapsigner": "bootstrap-signer",
  "csrapproving": "certificatesigningrequest-approving",
  "csrcleaner": "certificatesigningrequest-cleaner",
  "csrsigning": "certificatesigningrequest-signing",
  "endpoints-controller": "endpoint",
  "endpointslice-mirroring-controller": "endpointslicemirroring",
  "garbage-collector-controller": "garbagecollector",
  "horizontal-pod-autoscaler-controller": "horizontalpodautoscaling",
  "legacy-service-account-token-cleaner": "legacy-serviceaccount-token-cleaner",
  "node-ipam-controller": "nodeipam",
  "node-lifecycle-controller": "nodelifecycle",
  "persistentvolume-protection-controller": "pv-protection",
  "persistentvolumeclaim-protection-controller": "pvc-protection",
  "pod-garbage-collector-controller": "podgc",
  "resource-claim-controller": "resourceclaim",
  "root-ca-cert-publisher": "root-ca-certificate-publisher",
  "route": "node-route",
  "service": "service-lb",
  "tokencleaner": "token-cleaner",
};

/**
 * Upstream's names that stand for nothing here, and why: a list that switches them on or off is no mistake,
 * because it works with the real program.
 */
export const WITHOUT_EFFECT: Readonly<Record<string, string>> = {
  "cloud-node-controller": "where there is no cloud provider",
  "cloud-node-lifecycle": "where there is no cloud provider",
  "cloud-node-lifecycle-controller": "where there is no cloud provider",
  "node-route-controller": "where there is no cloud provider",
  "route": "where there is no cloud provider",
  "podcertificaterequest-cleaner-controller": "no signer issues pod certificates",
  "podgroup-protection-controller": "PodGroups are not served",
  "resourcepoolstatusrequest-controller": "ResourcePoolStatusRequests are not served",
  "selinux-warning-controller": "it only warns, of what nodes without SELinux do not do",
  "kube-apiserver-serving-clustertrustbundle-publisher-controller":
    "ClusterTrustBundles are not served by default",
  "storage-version-migrator-controller": "StorageVersionMigrations are not served by default",
  "svm": "StorageVersionMigrations are not served by default",
  "storage-version-gc": "one API server: no StorageVersion is left behind",
  "storageversion-garbage-collector-controller": "one API server: no StorageVersion is left behind",
};

/** The name of a row that a word of `--controllers` means; the word itself where it is no other name. */
export function rowNamed(word: string, rows: ReadonlySet<string>): string {
  if (rows.has(word)) return word;
  const alias = ALIASES[word];
  if (alias !== undefined) return alias;
  const short = word.replace(/-controller$/, "");
  return rows.has(short) ? short : word;
}

/** What is wrong with a list such as `*,-cronjob`; undefined when all its words are known. */
export function controllersProblem(list: string, rows: ReadonlySet<string>): string | undefined {
  for (const word of list.split(",")) {
    const name = word.trim().replace(/^-/, "");
    if (name === "" || name === "*" || name in WITHOUT_EFFECT) continue;
    if (!rows.has(rowNamed(name, rows))) {
      return `"${name}" is not in the list of known controllers: ${[...rows].join(", ")}`;
    }
  }
}

/** Whether a list such as `*,-cronjob` or `deployment,replicaset` switches a row on: its first word about it counts. */
export function isEnabled(list: string, name: string, rows: ReadonlySet<string>): boolean {
  let all = false;
  for (const part of list.split(",")) {
    const word = part.trim();
    if (word === "*") all = true;
    else if (word.startsWith("-")) {
      if (rowNamed(word.slice(1), rows) === name) return false;
    } else if (rowNamed(word, rows) === name) return true;
  }
  return all;
}
