/** What controllers need beside the API: facts of the cluster that whoever starts them knows. */
import type { User } from "../../api/client/contract.ts";
import type { DeepReadonly, Kind, Kinds, KubeObject } from "../../api/machinery/types.ts";
import type { Behaviour } from "../runtime/mod.ts";
import type { CloudProvider } from "./cloud.ts";
import type { ControllerMetrics } from "./metrics.ts";
import type { ControllerSettings } from "./settings.ts";
import type { StorageDrivers } from "./storage_drivers.ts";

/** The kinds that are served now. In the server's process its own registry; elsewhere discovery. */
export type ServedKinds = Pick<Kinds, "version" | "all" | "byKind" | "byResource">;

/** A way in which a certificate request may be approved without a person. */
export interface CsrApproval {
  /** Subresource of certificatesigningrequests on which the requester needs `create`. */
  subresource: string;
  /** The condition's message. */
  message: string;
}

/** The cluster's authority, for certificate requests. */
export interface CertificatePorts {
  /** The ways in which a request may be approved, the narrowest first. */
  approvalsFor(csr: DeepReadonly<KubeObject>): Promise<readonly CsrApproval[]>;
  /** The status of an approved request once it is signed or has failed; undefined: nothing to do. */
  signedStatus(csr: DeepReadonly<KubeObject>): Promise<Record<string, unknown> | undefined>;
}

/** A kind, as much of it as it takes to delete what there is of it. */
export type CollectedKind = Pick<
  Kind,
  "group" | "version" | "plural" | "kind" | "namespaced" | "verbs"
>;

/** See the module's text. */
export interface ControllerPorts {
  kinds: ServedKinds;
  /** Kinds that other servers serve behind this one, and group-versions of which that is not known now. */
  remoteKinds?(): { kinds: readonly CollectedKind[]; stale: readonly string[] };
  /** The cluster CA's certificate, PEM: what pods verify the API server with. Asked for at first use. */
  rootCa(): Promise<string>;
  /** A token for a Secret of type kubernetes.io/service-account-token; without one none is made. */
  legacyToken?(account: {
    namespace: string;
    name: string;
    uid: string;
    secret: string;
  }): string | Promise<string>;
  /** Reads and signs certificate requests; without it none is approved or signed. */
  certificates?: CertificatePorts;
  /**
   * Reads a path of the API as a user: how metrics of servers behind this one are read. Without it no metric is known.
   */
  read?(path: string, user: User): Promise<Response>;
  /**
   * Where pods' addresses come from (default 10.244.0.0/16), of two families with a comma between, and the sizes of a
   * node's parts (24 and 64).
   */
  clusterCidr?: string;
  nodeMask?: number;
  nodeMaskIpv6?: number;
  /** Which feature gates are on (default: as upstream's are by default). */
  features?: ReadonlyMap<string, boolean>;
  /** What differs from the settings that are Kubernetes' own. */
  settings?: Partial<ControllerSettings>;
  /** How many objects a controller may be at work on at once, by its name, where not as many as it has itself. */
  workers?: Readonly<Record<string, number>>;
  /** Where controllers count (default: nowhere that anybody looks). */
  metrics?: ControllerMetrics;
  /** Whoever the machines belong to; without one nodes are what they say themselves. */
  cloud?: CloudProvider;
  /** Where LoadBalancer Services' addresses come from (default: the service range's last /24). */
  loadBalancerCidr?: string;
  /** The folder under which the local-path provisioner makes volumes (default `/var/lib/plesio/volumes`). */
  localPathRoot?: string;
  /** Removes such a volume's folder on this machine; absent where there are no real folders. */
  removeFolder?(path: string): Promise<void>;
  /** Storage drivers whose volumes are made, attached and grown by this cluster itself. */
  storageDrivers?: StorageDrivers;
}

/** A controller that is not about one kind: an actor with an account. */
export interface FreeController {
  name: string;
  account: string;
  component?: string;
  workers?: number;
  // deno-lint-ignore no-explicit-any -- rows of any state
  behaviour: Behaviour<any>;
}

/** Kinds that hold objects of their own which can be listed, watched and deleted; one version of each. */
export function storedKinds(kinds: ServedKinds): Kind[] {
  const found = new Map<string, Kind>();
  for (const kind of kinds.all()) {
    if (kind.virtual) continue;
    const { verbs } = kind;
    if (!verbs.includes("list") || !verbs.includes("watch") || !verbs.includes("delete")) continue;
    const present = found.get(kind.path);
    // Of several versions under one path the first without a conversion is the cheapest.
    if (!present || present.storage && !kind.storage) found.set(kind.path, kind);
  }
  return [...found.values()];
}
