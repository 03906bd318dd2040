/**
 * The scheduler's figures: Kubernetes' own scheduler_perf workloads (5,000 nodes), through the API, on simulated
 * nodes that also run what they get. Rates are pods bound per second, from the first create.
 */
import { type Access, RawConnection } from "../e2e/raw_http.ts";
import { Server } from "../e2e/server.ts";
import { get, pump } from "./load.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Nodes of each workload (scheduler_perf's). */
export const NODES = 5_000;
const ZONES = ["moon-1", "moon-2", "moon-3"];

/** One workload: pods that are there before, and those whose binding is measured. */
export interface Workload {
  name: string;
  before: number;
  pods: number;
  /** What the pods before, and the measured ones, are like. */
  beforeSpec?: Record<string, unknown>;
  spec: Record<string, unknown>;
  /** kube-scheduler's threshold in its own CI, in pods per second, where we know it. */
  upstream?: number;
  floor: number;
}

const hostname = "kubernetes.io/hostname";
const zone = "topology.kubernetes.io/zone";
const selector = { matchLabels: { color: "blue" } };
const requests = (cpu: string) => ({
  containers: [{
    name: "pause",
    image: "registry.k8s.io/pause:3.10",
    resources: { requests: { cpu, memory: "500Mi" } },
  }],
});
const near = (kind: "podAffinity" | "podAntiAffinity", topologyKey: string) => ({
  affinity: {
    [kind]: {
      requiredDuringSchedulingIgnoredDuringExecution: [{ labelSelector: selector, topologyKey }],
    },
  },
});

/** scheduler_perf's SchedulingBasic, SchedulingPodAntiAffinity, SchedulingPodAffinity, TopologySpreading, PreemptionBasic. */
export const WORKLOADS: readonly Workload[] = [
  { name: "plain", before: 1000, pods: 10_000, spec: requests("100m"), upstream: 680, floor: 800 },
  {
    name: "anti-affinity",
    before: 1000,
    pods: 2000,
    spec: { ...requests("100m"), ...near("podAntiAffinity", hostname) },
    upstream: 60,
    floor: 100,
  },
  {
    name: "affinity",
    before: 5000,
    pods: 5000,
    spec: { ...requests("100m"), ...near("podAffinity", zone) },
    upstream: 35,
    floor: 60,
  },
  {
    name: "spread",
    before: 5000,
    pods: 5000,
    beforeSpec: requests("100m"),
    spec: {
      ...requests("100m"),
      topologySpreadConstraints: [{
        maxSkew: 5,
        topologyKey: zone,
        whenUnsatisfiable: "DoNotSchedule",
        labelSelector: selector,
      }],
    },
    floor: 300,
  },
  {
    name: "preemption",
    before: 20_000,
    pods: 5000,
    // Four fill a node
    beforeSpec: { ...requests("7500m"), priority: 0, terminationGracePeriodSeconds: 0 },
    spec: { ...requests("24000m"), priorityClassName: "system-cluster-critical" },
    floor: 300,
  },
];

/** Runs one workload on a fresh cluster: pods bound per second. */
export async function schedulingRate(workload: Workload): Promise<number> {
  await using server = await Server.start({
    flags: ["--nodes", String(NODES), "--runtime", "simulated"],
  });
  const { access } = server;
  await labelZones(access);
  if (workload.before > 0) {
    await bind(access, "before", workload.before, workload.beforeSpec ?? workload.spec);
  }
  return await bind(access, "measured", workload.pods, workload.spec);
}

async function labelZones(access: Access): Promise<void> {
  const { items } = await get(access, "/api/v1/nodes") as {
    items: { metadata: { name: string } }[];
  };
  await pump(access, 16, items.length, (connection, i) => {
    const body = { metadata: { labels: { [zone]: ZONES[i % ZONES.length] } } };
    return connection.request(
      "PATCH",
      `/api/v1/nodes/${items[i].metadata.name}`,
      encoder.encode(JSON.stringify(body)),
      "application/merge-patch+json",
    );
  });
}

/** Creates pods of one kind and waits until all are bound: pods per second. */
async function bind(access: Access, load: string, count: number, spec: unknown): Promise<number> {
  const path = "/api/v1/namespaces/kube-system/pods";
  const list = await get(access, `${path}?limit=1`);
  const { resourceVersion } = list.metadata as { resourceVersion: string };
  const watch = await RawConnection.open(access);
  const bound = new Set<string>();
  const all = (async () => {
    let held = "";
    const query = `watch=true&resourceVersion=${resourceVersion}&labelSelector=load%3D${load}`;
    for await (const piece of watch.stream(`${path}?${query}`)) {
      held += decoder.decode(piece, { stream: true });
      for (let end; (end = held.indexOf("\n")) >= 0; held = held.slice(end + 1)) {
        const name = /"name":"([^"]+)"/.exec(held)![1];
        if (held.slice(0, end).includes('"nodeName":"')) bound.add(name);
      }
      if (bound.size >= count) return;
    }
    throw new Error(`the watch ended with ${bound.size} of ${count} pods bound`);
  })();
  const since = performance.now();
  const created = pump(access, 16, count, (connection, i) => {
    const metadata = { name: `${load}-${i}`, labels: { color: "blue", load } };
    const pod = { apiVersion: "v1", kind: "Pod", metadata, spec };
    return connection.request("POST", path, encoder.encode(JSON.stringify(pod)));
  });
  await Promise.all([created, all]);
  watch.close();
  return count / ((performance.now() - since) / 1000);
}
