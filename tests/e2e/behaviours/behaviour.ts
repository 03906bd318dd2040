/**
 * What a behaviour is: a sentence close to the title of Kubernetes' own conformance spec, the objects that show it,
 * and what must be seen of them. Objects are manifests as people write them, but that a container (a probe, a hook)
 * says by `run` what it does: a program that every runtime here has a form of.
 */
import type { Program } from "./programs.ts";
import type { Scene } from "./scene.ts";

/** What runs pods here. */
export const RUNTIMES = ["containerd", "isolate"] as const;
export type RuntimeName = typeof RUNTIMES[number];

// deno-lint-ignore no-explicit-any -- manifests, before they are anything's types
export type Manifest = any;

/** One of them. */
export interface Behaviour {
  name: string;
  /** Where it cannot be seen, and why: a sentence for those who read the tests' output. */
  not?: Partial<Record<RuntimeName, string>>;
  /** Why isolates alone, without a node of containers beside them, cannot show it. */
  alone?: string;
  /** Made first, in order, in a namespace of its own. */
  objects?: readonly Manifest[];
  /** The pod `p`, of the container `c`: of what it is made beside its program. */
  pod?: PodSketch;
  /** The pod has run to its end, this way (`Succeeded` unless told), and its log is this. */
  log?: string | RegExp;
  ends?: "Succeeded" | "Failed";
  /** Further things that must be seen, and done in between. */
  then?(scene: Scene): Promise<void>;
}

/** On isolates: why what needs the rights of root is left out. */
export const NO_ROOT = Deno.uid() === 0 ? undefined : "only root may do this to its processes";

/** On isolates: why what must answer at a port below 1024 for every program is left out. */
export const NO_LOW_PORTS = Deno.uid() === 0
  ? undefined
  : "ports below 1024 may be closed to it: names and services answer higher, where only fetch and connect look";

/** A pod of one container `c`; with `log` or `ends` it is started once. */
export interface PodSketch {
  run?: string | Program;
  /** Fields of the container. */
  container?: Manifest;
  /** Fields of the pod's spec. */
  spec?: Manifest;
  metadata?: Manifest;
}

/** A pod as a manifest. */
export function podOf(name: string, { run, container, spec, metadata }: PodSketch): Manifest {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, ...metadata },
    spec: {
      containers: [{ name: "c", ...run !== undefined && { run }, ...container }],
      terminationGracePeriodSeconds: 1,
      automountServiceAccountToken: false,
      ...spec,
    },
  };
}

export function configMap(name: string, data: object, more: object = {}): Manifest {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data, ...more };
}

export function secret(name: string, stringData: object, more: object = {}): Manifest {
  return { apiVersion: "v1", kind: "Secret", metadata: { name }, stringData, ...more };
}

/** A Service of the pods labelled `app: <name>`, unless its spec says otherwise. */
export function service(name: string, ports: readonly Manifest[], spec: object = {}): Manifest {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name },
    spec: { selector: { app: name }, ports, ...spec },
  };
}
