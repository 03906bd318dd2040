/**
 * `metrics.k8s.io/v1beta1`: what nodes and pods use, asked of the nodes when it is read. The API server
 * answers with it for the two kinds that are not stored.
 */
import { notFound } from "../../api/machinery/errors.ts";
import { parseLabelSelector } from "../../api/machinery/selectors.ts";
import type { KubeObject } from "../../api/machinery/types.ts";
import { addUp, type NodeUsage, type PodUsage } from "./metrics.ts";
import type { ContainerStats } from "./runtimes/runtime.ts";

/** A read of one of the kinds. */
export interface MetricsRequest {
  verb: string;
  name: string;
  namespace: string;
  params: { labelSelector?: string };
}

const API_VERSION = "metrics.k8s.io/v1beta1";
/** What the numbers are an average over. */
const WINDOW = "15s";

type Answer = (object: KubeObject | undefined, request: MetricsRequest) => Promise<KubeObject>;

/** Answers by `plural.group`; `usages` asks all nodes. */
export function metricsApi(usages: () => Promise<NodeUsage[]>): Record<string, Answer> {
  const answer = (
    kind: string,
    resource: string,
    objects: (all: readonly NodeUsage[], request: MetricsRequest) => KubeObject[],
  ): Answer =>
  async (_object, request) => {
    const all = objects(await usages(), request);
    if (request.verb === "list") {
      const selector = parseLabelSelector(request.params.labelSelector);
      const items = all.filter((o) => selector.matches(o.metadata.labels ?? {}));
      return { apiVersion: API_VERSION, kind: `${kind}List`, metadata: {}, items } as never;
    }
    const one = all.find((o) => o.metadata.name === request.name);
    if (one) return one;
    const name = request.namespace ? `${request.namespace}/${request.name}` : request.name;
    throw notFound({ group: "metrics.k8s.io", resource }, name);
  };
  return {
    "nodes.metrics.k8s.io": answer("NodeMetrics", "nodemetrics", (all) => all.map(nodeMetrics)),
    "pods.metrics.k8s.io": answer(
      "PodMetrics",
      "podmetrics",
      (all, { namespace }) =>
        all.flatMap(({ pods, at }) =>
          pods.filter((p) => !namespace || p.namespace === namespace).map((p) => podMetrics(p, at))
        ),
    ),
  };
}

function usage(stats: ContainerStats) {
  return {
    cpu: `${Math.round(stats.cpuNanoCores)}n`,
    memory: `${Math.ceil(stats.workingSetBytes / 1024)}Ki`,
  };
}

function head(kind: string, name: string, at: number, labels: Record<string, string>) {
  const time = new Date(at).toISOString().slice(0, 19) + "Z";
  return {
    apiVersion: API_VERSION,
    kind,
    metadata: { name, labels, creationTimestamp: time, uid: "", resourceVersion: "" },
    timestamp: time,
    window: WINDOW,
  };
}

function nodeMetrics(node: NodeUsage): KubeObject {
  return { ...head("NodeMetrics", node.node, node.at, node.labels), usage: usage(node.total) };
}

function podMetrics(pod: PodUsage, at: number): KubeObject {
  const object: KubeObject = head("PodMetrics", pod.name, at, pod.labels);
  object.metadata.namespace = pod.namespace;
  object.containers = pod.containers.map((c) => ({ name: c.name, usage: usage(c.stats) }));
  return object;
}

/** What all pods of a node use. */
export function totalOf(pods: readonly PodUsage[]): ContainerStats {
  return addUp(pods.flatMap((pod) => pod.containers.map((c) => c.stats)));
}
