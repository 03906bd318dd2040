import { assert, assertEquals, assertMatch } from "@std/assert";
import { KubeletMetrics } from "./kubelet_metrics.ts";
import { metricsResponse, type NodeUsage } from "./metrics.ts";

const fs = {
  capacityBytes: 1000,
  availableBytes: 400,
  usedBytes: 600,
  inodes: 100,
  inodesFree: 70,
  inodesUsed: 30,
};
const stats = {
  cpuNanoseconds: 3e9,
  cpuNanoCores: 5e8,
  memoryBytes: 50,
  workingSetBytes: 40,
  rssBytes: 30,
  pageFaults: 7,
  majorPageFaults: 1,
  swapBytes: 2,
  rootfs: { usedBytes: 10, inodesUsed: 3 },
};
const usage: NodeUsage = {
  node: "n0",
  labels: {},
  at: 0,
  startedAt: 0,
  total: stats,
  capacityBytes: 100,
  held: { own: 1, others: 2 },
  nodeFs: fs,
  imageFs: { ...fs, own: true, usedBytes: 1 },
  machine: {
    cpuNanoseconds: 9e9,
    cpuNanoCores: 1e9,
    memory: {
      capacityBytes: 200,
      usageBytes: 90,
      workingSetBytes: 80,
      rssBytes: 60,
      pageFaults: 5,
      majorPageFaults: 4,
    },
    swap: { capacityBytes: 10, usageBytes: 3 },
    interfaces: [{ name: "eth0", rxBytes: 1, rxErrors: 2, txBytes: 3, txErrors: 4 }],
    processes: 20,
    processesMax: 1000,
  },
  pods: [{
    namespace: "default",
    name: "p",
    uid: "u",
    labels: {},
    startedAt: 0,
    containers: [{
      name: "c",
      startedAt: 0,
      id: "containerd://abc",
      image: "i",
      stats,
      logs: { usedBytes: 20, inodesUsed: 2 },
    }],
    sandbox: {
      interfaces: [{ name: "eth0", rxBytes: 8, rxErrors: 0, txBytes: 9, txErrors: 0 }],
      processes: 3,
    },
    volumes: [
      { ...fs, name: "scratch", ephemeral: true, usedBytes: 100, inodesUsed: 5 },
      { ...fs, name: "data", ephemeral: false, claim: "disk" },
    ],
  }],
};

async function page(path: string, counts?: KubeletMetrics): Promise<string> {
  const url = new URL(path, "http://node");
  return await (await metricsResponse(url, () => Promise.resolve(usage), counts))!.text();
}

Deno.test("/stats/summary tells of the node, its pods, their storage and their volumes", async () => {
  const { node, pods: [pod] } = JSON.parse(await page("/stats/summary"));
  assertEquals(node.memory.availableBytes, 120);
  assertEquals(node.memory.pageFaults, 5);
  assertEquals([node.cpu.usageNanoCores, node.network.name], [1e9, "eth0"]);
  assertEquals([node.fs.usedBytes, node.runtime.imageFs.usedBytes], [600, 1]);
  assertEquals([node.rlimit.maxpid, node.rlimit.curproc], [1000, 20]);
  assertEquals([node.swap.swapAvailableBytes, node.swap.swapUsageBytes], [7, 3]);
  assertEquals(node.systemContainers.map(({ name }: { name: string }) => name), ["pods"]);
  assertEquals(pod.podRef, { name: "p", namespace: "default", uid: "u" });
  assertEquals(pod.memory.rssBytes, 30);
  assertEquals(pod.network.interfaces[0].rxBytes, 8);
  assertEquals(pod.process_stats, { process_count: 3 });
  // The container's own files, its logs, and the volume that goes with the pod.
  assertEquals(pod["ephemeral-storage"].usedBytes, 130);
  assertEquals(pod["ephemeral-storage"].inodesUsed, 10);
  assertEquals(pod["ephemeral-storage"].availableBytes, 400);
  assertEquals(pod.volume[0].pvcRef, undefined);
  assertEquals(pod.volume[1].pvcRef, { name: "disk", namespace: "default" });
  assertEquals(pod.containers[0].rootfs.usedBytes, 10);
  assertEquals(pod.containers[0].logs.inodesUsed, 2);
  assertEquals(pod.containers[0].swap.swapUsageBytes, 2);
});

Deno.test("/stats/summary may leave out all but processors and memory", async () => {
  const { node, pods } = JSON.parse(await page("/stats/summary?only_cpu_and_memory=true"));
  assertEquals(Object.keys(node).sort(), [
    "cpu",
    "memory",
    "nodeName",
    "startTime",
    "systemContainers",
  ]);
  assertEquals(Object.keys(pods[0]).sort(), ["containers", "cpu", "memory", "podRef", "startTime"]);
  assertEquals(Object.keys(pods[0].containers[0]).sort(), ["cpu", "memory", "name", "startTime"]);
});

Deno.test("/metrics/cadvisor has cAdvisor's names and labels, each family once", async () => {
  const text = await page("/metrics/cadvisor");
  const one =
    'container="c",id="/kubepods/podu/abc",image="i",name="abc",namespace="default",pod="p"';
  const whole = 'container="",id="/kubepods/podu",image="",name="",namespace="default",pod="p"';
  assert(text.includes(`container_cpu_usage_seconds_total{cpu="total",${one}} 3 0\n`));
  assert(text.includes(`container_cpu_usage_seconds_total{cpu="total",${whole}} 3 0\n`));
  assert(text.includes(`container_memory_rss{${one}} 30 0\n`));
  assert(
    text.includes(
      `container_memory_failures_total{failure_type="pgmajfault",scope="container",${one}} 1 0\n`,
    ),
  );
  assert(text.includes(`container_network_receive_bytes_total{interface="eth0",${whole}} 8 0\n`));
  assert(text.includes(`container_processes{${whole}} 3 0\n`));
  assert(text.includes("machine_memory_bytes 200\n"));
  const heads = text.split("\n").filter((line) => line.startsWith("# TYPE"));
  assertEquals(new Set(heads).size, heads.length);
});

Deno.test("/metrics and /metrics/probes have what was counted", async () => {
  const counts = new KubeletMetrics();
  counts.podStart.add({}, 1500);
  counts.containerStarted("sidecar");
  counts.containerStarted("app", "StartError");
  counts.containerEnded("app", { exitCode: 139, reason: "Error" });
  counts.probes.add({ probe_type: "Liveness", result: "successful", container: "c" });
  for (const name of ["imageVolumes", "mountedImages", "unmountedImages"] as const) {
    counts[name].add({});
  }
  const text = await page("/metrics", counts);
  assertMatch(text, /^kubelet_pod_start_duration_seconds_bucket\{le="2"\} 1$/m);
  assertMatch(text, /^kubelet_started_containers_total\{container_type="init_container"\} 1$/m);
  assertMatch(
    text,
    /^kubelet_started_containers_errors_total\{container_type="container",code="StartError"\} 1$/m,
  );
  assertMatch(
    text,
    /^kubelet_terminated_containers_total\{container_type="container",exit_code="139",reason="Error"\} 1$/m,
  );
  assertMatch(text, /^kubelet_image_volume_requested_total 1$/m);
  assertMatch(text, /^kubelet_image_volume_mounted_succeed_total 1$/m);
  assertMatch(text, /^kubelet_image_volume_mounted_errors_total 1$/m);
  assertMatch(text, /^kubelet_running_pods 1$/m);
  assertMatch(text, /^kubelet_desired_pods\{static="true"\} 1$/m);
  assertMatch(
    text,
    /^kubelet_volume_stats_used_bytes\{namespace="default",persistentvolumeclaim="disk"\} 600$/m,
  );
  assertEquals(text.includes("scratch"), false);
  assertMatch(
    await page("/metrics/probes", counts),
    /^prober_probe_total\{.*result="successful".*\} 1$/m,
  );
  assertMatch(
    await page("/metrics/resource"),
    /^container_swap_usage_bytes\{container="c",.*\} 2 0$/m,
  );
  assertMatch(await page("/metrics/resource"), /^node_memory_working_set_bytes 80 0$/m);
});
