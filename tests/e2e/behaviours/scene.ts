/** Where one behaviour is shown: a namespace of its own on a cluster, with pods of one runtime. */
import { WebSocket } from "ws";
import type { Client, Informer } from "../../../api/client/contract.ts";
import type { DeepReadonly, KubeObject } from "../../../api/machinery/types.ts";
import type { Cluster } from "../../../mod.ts";
import { type Manifest, podOf, type PodSketch, type RuntimeName } from "./behaviour.ts";
import { forRuntime, type Program, wordsOf } from "./programs.ts";

/** How long anything may take that is waited for. */
const WAIT_MS = 30_000;
/** How often is looked at what no watch tells of: a log, an answer. */
const LOOK_MS = 100;
/** Which nodes run the pods of a runtime. */
const NODE_LABEL: Record<RuntimeName, string> = { containerd: "cri", isolate: "isolate" };
/** Channels of `v5.channel.k8s.io`. */
const [STDIN, STDOUT, STDERR, STATUS, CLOSE] = [0, 1, 2, 3, 255];

/** Kinds that behaviours make, and where they lie. */
const GROUPS: Record<string, [group: string, version: string, plural: string, cluster?: true]> = {
  ConfigMap: ["", "v1", "configmaps"],
  Secret: ["", "v1", "secrets"],
  Pod: ["", "v1", "pods"],
  Service: ["", "v1", "services"],
  Endpoints: ["", "v1", "endpoints"],
  ServiceAccount: ["", "v1", "serviceaccounts"],
  PersistentVolumeClaim: ["", "v1", "persistentvolumeclaims"],
  PersistentVolume: ["", "v1", "persistentvolumes", true],
  Namespace: ["", "v1", "namespaces", true],
  Node: ["", "v1", "nodes", true],
  Event: ["", "v1", "events"],
  EndpointSlice: ["discovery.k8s.io", "v1", "endpointslices"],
  Lease: ["coordination.k8s.io", "v1", "leases"],
  NetworkPolicy: ["networking.k8s.io", "v1", "networkpolicies"],
  RuntimeClass: ["node.k8s.io", "v1", "runtimeclasses", true],
};

/** Resolves with what `look` finds, within some time; rejects with what there is else. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T> | T,
  ms = WAIT_MS,
): Promise<Exclude<T, undefined | null | false | "">> {
  const end = performance.now() + ms;
  for (let last: unknown = undefined;;) {
    try {
      const found = await look();
      if (found) return found as Exclude<T, undefined | null | false | "">;
      last = found;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) throw new Error(`waited ${ms} ms for ${what}: ${last}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/** What a cluster is reached by. */
export interface Reached {
  cluster: Cluster;
  /** `127.0.0.1:<port>`, and an administrator's certificate. */
  host: string;
  tls: { ca: string; cert: string; key: string };
}

/** See the module's text. */
export class Scene {
  readonly runtime: RuntimeName;
  readonly namespace: string;
  readonly client: Client;
  readonly #reached: Reached;

  constructor(runtime: RuntimeName, namespace: string, reached: Reached) {
    this.runtime = runtime;
    this.namespace = namespace;
    this.client = reached.cluster.client;
    this.#reached = reached;
  }

  /** The same namespace, with pods of the other runtime. */
  other(): Scene {
    const other = this.runtime === "isolate" ? "containerd" : "isolate";
    return new Scene(other, this.namespace, this.#reached);
  }

  /** The namespace, and in it what every one has. */
  async open(): Promise<void> {
    const namespaces = { resource: resourceOf("Namespace") };
    await this.client.create(namespaces, { metadata: { name: this.namespace } });
    await this.is("ServiceAccount", "default", (account) => account);
  }

  /** Asks for the end of everything in it. */
  async close(): Promise<void> {
    await this.client.deleteCollection(this.target("Pod"), { gracePeriodSeconds: 0 });
    await this.client.delete({ resource: resourceOf("Namespace"), name: this.namespace });
  }

  /** The label of the nodes that run the pods. */
  get nodes() {
    return { "plesio.dev/runtime": NODE_LABEL[this.runtime] };
  }

  target(kind: string) {
    return {
      resource: resourceOf(kind),
      ...!GROUPS[kind][3] && { namespace: this.namespace },
    };
  }

  at(kind: string, name: string) {
    return { ...this.target(kind), name };
  }

  /** A manifest for the runtime; `NAMESPACE` in any text becomes the namespace's name. */
  #made(manifest: Manifest): Manifest {
    const text = JSON.stringify(forRuntime(manifest, this.runtime));
    return JSON.parse(text.replaceAll("NAMESPACE", this.namespace));
  }

  /** Creates objects; pods go to a node of the runtime. */
  async create(...manifests: readonly Manifest[]): Promise<void> {
    for (const manifest of manifests) {
      const made = this.#made(manifest);
      if (made.kind === "Pod") {
        made.spec.nodeSelector ??= made.spec.nodeName ? undefined : this.nodes;
      }
      await this.client.create(this.target(made.kind), made);
    }
  }

  async pod(name: string, sketch: PodSketch): Promise<void> {
    await this.create(podOf(name, sketch));
  }

  /** Runs a pod once, to this end of it. */
  async once(name: string, sketch: PodSketch, end = "Succeeded"): Promise<Manifest> {
    await this.pod(name, { ...sketch, spec: { restartPolicy: "Never", ...sketch.spec } });
    return await this.phase(name, end);
  }

  get(kind: string, name: string): Promise<Manifest> {
    return this.client.get(this.at(kind, name));
  }

  async patch(kind: string, name: string, body: Manifest, subresource?: string): Promise<void> {
    const target = { ...this.at(kind, name), ...subresource && { subresource } };
    await this.client.patch(target, { type: "strategic", body: this.#made(body) });
  }

  async delete(kind: string, name: string, gracePeriodSeconds?: number): Promise<void> {
    const query = gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds };
    await this.client.delete(this.at(kind, name), query);
  }

  /** Deletes it, and waits until it is gone. */
  async gone(kind: string, name: string, gracePeriodSeconds?: number): Promise<void> {
    await this.delete(kind, name, gracePeriodSeconds);
    await this.ended(kind, name);
  }

  /** Waits until it is gone. */
  async ended(kind: string, name: string): Promise<void> {
    await eventually(
      `the end of ${name}`,
      () =>
        this.get(kind, name).then(
          () => false,
          (error) => error.code === 404 || Promise.reject(error),
        ),
    );
  }

  /** Follows an object until `look` finds something in it. */
  is<T>(
    kind: string,
    name: string,
    look: (object: Manifest) => T,
    ms = WAIT_MS,
  ): Promise<Exclude<T, undefined | null | false | "">> {
    const key = GROUPS[kind][3] ? name : `${this.namespace}/${name}`;
    const informer: Informer = this.#reached.cluster.informers.for(resourceOf(kind));
    return new Promise((resolve, reject) => {
      let stop = () => {};
      const timer = setTimeout(() => {
        stop();
        const seen = JSON.stringify(informer.get(key)?.status ?? informer.get(key));
        reject(new Error(`waited ${ms} ms for ${kind} ${name} to be as ${look}: ${seen}`));
      }, ms);
      const done = (found: T) => {
        clearTimeout(timer);
        stop();
        resolve(found as Exclude<T, undefined | null | false | "">);
      };
      let over = false;
      const see = (
        { key: changed, object }: { key: string; object?: DeepReadonly<KubeObject> },
      ) => {
        if (over || changed !== key || !object) return;
        try {
          const found = look(object);
          if (!found) return;
          over = true;
          // What is there already is told of before there is a way to stop.
          queueMicrotask(() => done(found));
        } catch (error) {
          over = true;
          clearTimeout(timer);
          queueMicrotask(() => stop());
          reject(error);
        }
      };
      stop = informer.subscribe(see);
    });
  }

  phase(name: string, phase: string): Promise<Manifest> {
    return this.is("Pod", name, (pod) => {
      const now = pod.status?.phase;
      if (now !== phase && ["Succeeded", "Failed"].includes(now)) {
        throw new Error(`${name} is ${now}, not ${phase}: ${JSON.stringify(pod.status)}`);
      }
      return now === phase && pod;
    });
  }

  ready(name: string, wanted = "True"): Promise<Manifest> {
    return this.is("Pod", name, (pod) => conditionOf(pod, "Ready")?.status === wanted && pod);
  }

  /** Waits until the container `c` (or another) waits with a reason, and returns why. */
  waiting(name: string, reason: RegExp, container = "c"): Promise<Manifest> {
    return this.is("Pod", name, (pod) => {
      const all = [
        ...pod.status?.containerStatuses ?? [],
        ...pod.status?.initContainerStatuses ?? [],
      ];
      const { waiting } = all.find((one) => one.name === container)?.state ?? {};
      return reason.test(waiting?.reason ?? "") && waiting;
    });
  }

  async logs(name: string, query = "container=c"): Promise<string> {
    const path = `/api/v1/namespaces/${this.namespace}/pods/${name}/log?${query}`;
    const answer = await this.#reached.cluster.fetch(path);
    if (!answer.ok) throw new Error((await answer.json()).message);
    return await answer.text();
  }

  /** What the server answers to a GET of a path. */
  fetch(path: string, init?: RequestInit): Promise<Response> {
    return this.#reached.cluster.fetch(path, init);
  }

  /** Runs a program in a pod to its end. */
  async exec(
    name: string,
    run: string | Program | readonly string[],
    { container = "c", input }: { container?: string; input?: string } = {},
  ): Promise<{ code: number; out: string; err: string; message?: string }> {
    const words = Array.isArray(run) ? run : wordsOf(run as string | Program, this.runtime);
    const query = new URLSearchParams({ container, stdout: "true", stderr: "true" });
    if (input !== undefined) query.set("stdin", "true");
    for (const word of words) query.append("command", word);
    const path = `/api/v1/namespaces/${this.namespace}/pods/${name}/exec?${query}`;
    const { host, tls } = this.#reached;
    const socket = new WebSocket(`wss://${host}${path}`, ["v5.channel.k8s.io"], tls);
    const text: Record<number, string> = { [STDOUT]: "", [STDERR]: "", [STATUS]: "" };
    const decoder = new TextDecoder();
    await new Promise<void>((resolve, reject) => {
      socket.on("open", () => {
        if (input === undefined) return;
        socket.send(new Uint8Array([STDIN, ...new TextEncoder().encode(input)]));
        socket.send(new Uint8Array([CLOSE, STDIN]));
      });
      socket.on("message", (data: Uint8Array) => {
        text[data[0]] += decoder.decode(data.subarray(1));
      });
      socket.on("close", () => resolve());
      socket.on("error", reject);
    });
    const status = JSON.parse(text[STATUS] || "{}");
    const cause = status.details?.causes?.find((one: Manifest) => one.reason === "ExitCode");
    const code = status.status === "Success" ? 0 : Number(cause?.message ?? -1);
    return { code, out: text[STDOUT], err: text[STDERR], message: status.message };
  }

  /** What a program says in a pod, without the space around it. */
  async says(name: string, run: string | Program, container?: string): Promise<string> {
    return (await this.exec(name, run, { container })).out.trim();
  }

  /** Asks from within a pod until the answer is as wanted. */
  async answers(name: string, run: string | Program, wanted: string | RegExp): Promise<string> {
    let said = "";
    const look = async () => {
      said = await this.says(name, run);
      return typeof wanted === "string" ? said === wanted : wanted.test(said);
    };
    await eventually(`${name} to hear ${wanted}`, look).catch((error) => {
      throw new Error(`${error.message}; it heard ${said}`);
    });
    return said;
  }

  async events(): Promise<string[]> {
    const list = await this.client.list<Manifest>(this.target("Event"));
    return list.items.map((e) => `${e.involvedObject.name}: ${e.type} ${e.reason} ${e.message}`);
  }

  /** Waits for an event. */
  async event(pattern: RegExp): Promise<string> {
    return await eventually(
      `an event like ${pattern}`,
      async () => (await this.events()).find((event) => pattern.test(event)),
    );
  }

  /** What there is, for those who look for a failure's cause. */
  async account(): Promise<string> {
    const pods = await this.client.list<Manifest>(this.target("Pod"));
    const told = pods.items.map((pod) => `${pod.metadata.name}: ${JSON.stringify(pod.status)}`);
    for (const pod of pods.items) {
      for (const { name } of pod.spec.containers) {
        const text = await this.logs(pod.metadata.name, `container=${name}&tailLines=10`)
          .catch((error) => `no log: ${error.message}`);
        told.push(`log of ${pod.metadata.name}/${name}: ${text}`);
      }
    }
    return [...told, ...await this.events()].join("\n");
  }
}

export function resourceOf(kind: string) {
  const [group, version, plural] = GROUPS[kind];
  return { group, version, plural };
}

export function conditionOf(pod: Manifest, type: string): Manifest | undefined {
  return pod.status?.conditions?.find((one: Manifest) => one.type === type);
}

/** The status of a container. */
export function statusOf(pod: Manifest, name = "c"): Manifest {
  const { containerStatuses = [], initContainerStatuses = [], ephemeralContainerStatuses = [] } =
    pod.status ?? {};
  return [...containerStatuses, ...initContainerStatuses, ...ephemeralContainerStatuses]
    .find((one) => one.name === name);
}
