/**
 * The kubelet's API of one node, as calls (`NodeApi`): logs, exec, attach, port-forward, and the plain
 * HTTP paths. Refusals carry upstream's texts (`pkg/kubelet/kubelet_pods.go`,
 * validateContainerLogStatus), because people search for them.
 */
import type {
  Duplex,
  ExecQuery,
  LogQuery,
  NodeApi,
  PodRef,
  RemoteProcess,
} from "../../api/client/node_api.ts";
import { badRequest, internal, notFound } from "../../api/machinery/errors.ts";
import type { ContainerRecord } from "./container_record.ts";
import { LOGS_PATH, searchLogs } from "./log_search.ts";
import type { KeptLogs } from "./kept_logs.ts";
import type { KubeletMetrics } from "./kubelet_metrics.ts";
import { metricsResponse, type NodeUsage, type UsageQuery } from "./metrics.ts";
import type { PodWorker } from "./pod_worker.ts";
import type { Runtime } from "./runtimes/runtime.ts";
import { noSystemLogs, type SystemLogs } from "./runtimes/system_logs.ts";

/** Where the logs of its machine are. */
const SYSTEM_LOGS_PATH = "/logs/";

/** What the server needs of its node. */
export interface ServedNode {
  readonly name: string;
  worker(pod: PodRef): PodWorker | undefined;
  workers(): Iterable<PodWorker>;
  usage(query?: UsageQuery): Promise<NodeUsage>;
  /** What its kubelet has counted. */
  metrics?: KubeletMetrics;
  /** Logs of its pods that are gone. */
  keptLogs?: Pick<KeptLogs, "find">;
  /** Logs of its machine (it is none, and has none). */
  systemLogs?: SystemLogs;
  now(): number;
}

/** See the module's text. */
export function nodeApi(node: ServedNode): NodeApi {
  const find = (pod: PodRef): PodWorker => {
    const worker = node.worker(pod);
    if (!worker) throw notFound({ group: "", resource: "pods" }, pod.name);
    return worker;
  };
  return {
    logs: async (query) => await openLog(find(query.pod), query, node.now()),
    exec: async (query) => {
      const { runtime, id } = running(find(query.pod), query.container);
      return await runtime.exec(id, query);
    },
    attach: async (query) => await attach(find(query.pod), query),
    portForward: async (pod, port) => await forward(find(pod), port),
    fetch: async (request) => await plain(node, new URL(request.url)),
  };
}

function recordOf(worker: PodWorker, container: string): ContainerRecord {
  const record = worker.records.find((r) => r.name === container);
  if (record) return record;
  throw badRequest(`container ${container} is not valid for pod ${worker.pod.metadata.name}`);
}

function running(worker: PodWorker, container: string): { runtime: Runtime; id: string } {
  const record = recordOf(worker, container);
  if (record.phase !== "running" || !record.runtime || !record.id) {
    throw internal(`unable to upgrade connection: container not found ("${container}")`);
  }
  return { runtime: record.runtime, id: record.id };
}

async function attach(
  worker: PodWorker,
  query: Omit<ExecQuery, "command">,
): Promise<RemoteProcess> {
  const { runtime, id } = running(worker, query.container);
  return await runtime.attach(id, query);
}

async function forward(worker: PodWorker, port: number): Promise<Duplex> {
  const real = worker.records.find((r) => r.phase === "running" && r.runtime?.real);
  const any = real ?? worker.records.find((r) => r.phase === "running");
  if (!any?.runtime) {
    const { name } = worker.pod.metadata;
    throw badRequest(
      `unable to forward port because pod is not running. Current status=${
        worker.pod.status?.phase ?? "Pending"
      } (pod ${name})`,
    );
  }
  return await any.runtime.connect(worker.pod, port);
}

async function openLog(
  worker: PodWorker,
  query: LogQuery,
  now: number,
): Promise<ReadableStream<Uint8Array>> {
  const record = recordOf(worker, query.container);
  const attempt = attemptOf(worker, record, query.previous ?? false);
  const since = query.sinceTime !== undefined
    ? Date.parse(query.sinceTime)
    : query.sinceSeconds !== undefined
    ? now - query.sinceSeconds * 1000
    : undefined;
  const follow = (query.follow ?? false) && !query.previous && record.phase === "running";
  return await record.runtime!.logs({
    pod: worker.pod,
    container: query.container,
    attempt,
    follow,
    timestamps: query.timestamps ?? false,
    sinceMs: since,
    tailLines: query.tailLines,
    limitBytes: query.limitBytes,
    stream: query.stream === "Stdout" || query.stream === "Stderr" ? query.stream : "All",
    ended: follow ? worker.whenEnded(query.container) : Promise.resolve(),
  });
}

/** Which start of the container is meant; throws when there is no log to read. */
function attemptOf(worker: PodWorker, record: ContainerRecord, previous: boolean): number {
  const pod = worker.pod.metadata.name;
  const where = `container "${record.name}" in pod "${pod}"`;
  if (previous) {
    if (record.waiting && record.end && record.runtime) return record.restarts;
    if (!record.last || !record.runtime) {
      throw badRequest(`previous terminated ${where} not found`);
    }
    return record.restarts - 1;
  }
  if ((record.phase === "running" || record.phase === "exited") && record.runtime) {
    return record.restarts;
  }
  if (record.last && record.runtime) return record.restarts - 1;
  const reason = record.waiting?.reason ??
    (worker.pod.spec.initContainers?.length ? "PodInitializing" : "ContainerCreating");
  if (reason === "ErrImagePull") {
    throw badRequest(`${where} is waiting to start: image can't be pulled`);
  }
  if (reason === "ImagePullBackOff") {
    throw badRequest(`${where} is waiting to start: trying and failing to pull image`);
  }
  throw badRequest(`${where} is waiting to start: ${reason}`);
}

/** A pod as its runtime knows it: who it is, and its containers that run. */
function runningPart({ pod, records }: PodWorker): object | undefined {
  const running = records.filter((record) => record.phase === "running");
  if (running.length === 0) return undefined;
  const { name, namespace, uid } = pod.metadata;
  const containers = running.map(({ name, image }) => ({ name, image, resources: {} }));
  return { metadata: { name, namespace, uid }, spec: { containers }, status: {} };
}

async function plain(node: ServedNode, url: URL): Promise<Response> {
  const path = url.pathname;
  if (path === "/healthz") return new Response("ok");
  const page = path.endsWith("/") ? path.slice(0, -1) : path;
  if (page === "/pods") {
    const items = [...node.workers()].map((w) => w.pod);
    return Response.json({ kind: "PodList", apiVersion: "v1", metadata: {}, items });
  }
  if (page === "/runningpods") {
    const items = [...node.workers()].map(runningPart).filter((pod) => pod !== undefined);
    return Response.json({ kind: "PodList", apiVersion: "v1", metadata: {}, items });
  }
  if (path.startsWith(SYSTEM_LOGS_PATH)) {
    return await (node.systemLogs ?? noSystemLogs)(path.slice(SYSTEM_LOGS_PATH.length));
  }
  if (page === LOGS_PATH) return Response.json({ lines: await searchLogs(node, url.searchParams) });
  const response = await metricsResponse(url, (query) => node.usage(query), node.metrics);
  return response ?? new Response("404 page not found\n", { status: 404 });
}
