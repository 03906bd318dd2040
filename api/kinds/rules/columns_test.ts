import { assertEquals } from "@std/assert";
import { kindOf, NOW } from "./fixture.ts";

// deno-lint-ignore no-explicit-any -- tests write objects as they come
type Obj = any;

/** The cells of an object, by column. */
function cells(name: string, object: Obj): Record<string, unknown> {
  const row = { metadata: { name: "x", creationTimestamp: "2026-01-02T03:02:05Z" }, ...object };
  return Object.fromEntries(kindOf(name).columns.map((c) => [c.name, c.cell!(row, NOW)]));
}

function pod(status: Obj, spec: Obj = {}, metadata: Obj = {}): string {
  const row = cells("v1/Pod", {
    metadata: { name: "x", creationTimestamp: "2026-01-02T03:02:05Z", ...metadata },
    spec: { containers: [{ name: "a" }, { name: "b" }], ...spec },
    status,
  });
  return `${row.Ready} ${row.Status} ${row.Restarts} ${row.Age}`;
}

const running = { ready: true, state: { running: {} } };

Deno.test("pods: READY STATUS RESTARTS AGE as kubectl shows them", async (t) => {
  const init = { initContainers: [{ name: "i" }, { name: "j" }] };
  const cases: [string, string, string][] = [
    ["pending", pod({ phase: "Pending" }), "0/2 Pending 0 2m"],
    [
      "running",
      pod({ phase: "Running", containerStatuses: [running, running] }),
      "2/2 Running 0 2m",
    ],
    [
      "restarted",
      pod({
        phase: "Running",
        containerStatuses: [running, {
          ...running,
          restartCount: 3,
          lastState: { terminated: { finishedAt: "2026-01-02T02:59:05Z" } },
        }],
      }),
      "2/2 Running 3 (5m ago) 2m",
    ],
    [
      "crash loop",
      pod({
        phase: "Running",
        containerStatuses: [running, {
          restartCount: 1,
          state: { waiting: { reason: "CrashLoopBackOff" } },
        }],
      }),
      "1/2 CrashLoopBackOff 1 2m",
    ],
    [
      "completed",
      pod({
        phase: "Succeeded",
        containerStatuses: [{ state: { terminated: { exitCode: 0, reason: "Completed" } } }],
      }),
      "0/2 Completed 0 2m",
    ],
    [
      "one of two completed",
      pod({
        phase: "Running",
        conditions: [{ type: "Ready", status: "False" }],
        containerStatuses: [
          { state: { terminated: { exitCode: 0, reason: "Completed" } } },
          running,
        ],
      }),
      "1/2 NotReady 0 2m",
    ],
    [
      "exit code without reason",
      pod({ phase: "Failed", containerStatuses: [{ state: { terminated: { exitCode: 7 } } }] }),
      "0/2 ExitCode:7 0 2m",
    ],
    [
      "init",
      pod({
        phase: "Pending",
        initContainerStatuses: [
          { name: "i", state: { terminated: { exitCode: 0 } } },
          { name: "j", state: { waiting: { reason: "PodInitializing" } } },
        ],
      }, init),
      "0/2 Init:1/2 0 2m",
    ],
    [
      "init failed",
      pod({
        phase: "Pending",
        initContainerStatuses: [{
          name: "i",
          state: { terminated: { exitCode: 1, reason: "Error" } },
        }],
      }, init),
      "0/2 Init:Error 0 2m",
    ],
    [
      "sidecar",
      pod({
        phase: "Running",
        initContainerStatuses: [{ name: "i", started: true, ready: true, state: { running: {} } }],
        containerStatuses: [running, running],
      }, { initContainers: [{ name: "i", restartPolicy: "Always" }] }),
      "3/3 Running 0 2m",
    ],
    [
      "gated",
      pod({
        phase: "Pending",
        conditions: [{ type: "PodScheduled", status: "False", reason: "SchedulingGated" }],
      }),
      "0/2 SchedulingGated 0 2m",
    ],
    [
      "terminating",
      pod({ phase: "Running", containerStatuses: [running, running] }, {}, {
        deletionTimestamp: "2026-01-02T03:04:00Z",
      }),
      "2/2 Terminating 0 2m",
    ],
    [
      "lost",
      pod({ phase: "Running", reason: "NodeLost" }, {}, {
        deletionTimestamp: "2026-01-02T03:04:00Z",
      }),
      "0/2 Unknown 0 2m",
    ],
    ["evicted", pod({ phase: "Failed", reason: "Evicted" }), "0/2 Evicted 0 2m"],
  ];
  for (const [name, actual, expected] of cases) {
    await t.step(name, () => assertEquals(actual, expected));
  }
});

Deno.test("services: addresses and ports", () => {
  const of = (spec: Obj, status: Obj = {}) => {
    const row = cells("v1/Service", { spec, status });
    return `${row.Type} ${row["Cluster-IP"]} ${row["External-IP"]} ${
      row["Port(s)"]
    } ${row.Selector}`;
  };
  const ports = [{ port: 80, protocol: "TCP", nodePort: 30080 }, { port: 53, protocol: "UDP" }];
  assertEquals(
    of({ type: "NodePort", clusterIPs: ["10.0.0.1"], ports, selector: { b: "2", a: "1" } }),
    "NodePort 10.0.0.1 <none> 80:30080/TCP,53/UDP a=1,b=2",
  );
  assertEquals(
    of({ type: "LoadBalancer", clusterIPs: ["10.0.0.1"] }),
    "LoadBalancer 10.0.0.1 <pending> <none> <none>",
  );
  assertEquals(
    of({ type: "LoadBalancer", externalIPs: ["1.1.1.1"] }, {
      loadBalancer: { ingress: [{ ip: "9.9.9.9" }, { hostname: "h" }] },
    }),
    "LoadBalancer <none> 9.9.9.9,h,1.1.1.1 <none> <none>",
  );
  assertEquals(
    of({ type: "ExternalName", externalName: "a.b" }),
    "ExternalName <none> a.b <none> <none>",
  );
});

Deno.test("nodes: status and roles", () => {
  const row = cells("v1/Node", {
    metadata: {
      name: "n",
      labels: { "node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge" },
    },
    spec: { unschedulable: true },
    status: {
      conditions: [{ type: "Ready", status: "True" }],
      addresses: [{ type: "InternalIP", address: "1.2.3.4" }],
      nodeInfo: { kubeletVersion: "v1.36.0", containerRuntimeVersion: "isolate://2.9.6" },
    },
  });
  assertEquals(row, {
    Name: "n",
    Status: "Ready,SchedulingDisabled",
    Roles: "edge,worker",
    Age: "<unknown>",
    Version: "v1.36.0",
    "Internal-IP": "1.2.3.4",
    "External-IP": "<none>",
    "OS-Image": "<unknown>",
    "Kernel-Version": "<unknown>",
    "Container-Runtime": "isolate://2.9.6",
  });
});

Deno.test("volumes, claims, endpoints, events, quotas", () => {
  const pv = cells("v1/PersistentVolume", {
    spec: {
      capacity: { storage: "1Gi" },
      accessModes: ["ReadWriteMany", "ReadWriteOnce"],
      persistentVolumeReclaimPolicy: "Delete",
      claimRef: { namespace: "ns", name: "c" },
      storageClassName: "standard",
    },
    status: { phase: "Bound" },
  });
  assertEquals([
    pv.Capacity,
    pv["Access Modes"],
    pv.Claim,
    pv.StorageClass,
    pv.VolumeAttributesClass,
  ], [
    "1Gi",
    "RWO,RWX",
    "ns/c",
    "standard",
    "<unset>",
  ]);
  const pvc = cells("v1/PersistentVolumeClaim", { spec: {}, status: { phase: "Pending" } });
  assertEquals([pvc.Status, pvc.Volume, pvc.Capacity, pvc["Access Modes"]], [
    "Pending",
    "",
    "",
    "",
  ]);

  const addresses = Array.from({ length: 5 }, (_, i) => ({ ip: `10.0.0.${i}` }));
  const endpoints = (subsets: Obj) => cells("v1/Endpoints", { subsets }).Endpoints;
  assertEquals(
    endpoints([{ addresses, ports: [{ port: 80 }] }]),
    "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 2 more...",
  );
  assertEquals(endpoints(undefined), "<none>");

  const event = cells("v1/Event", {
    involvedObject: { kind: "Pod", name: "web" },
    type: "Normal",
    reason: "Started",
    message: " up \n",
    lastTimestamp: "2026-01-02T03:03:55Z",
    firstTimestamp: "2026-01-02T02:04:05Z",
    count: 4,
    source: { component: "kubelet", host: "n" },
  });
  assertEquals(
    [
      event["Last Seen"],
      event.Object,
      event.Message,
      event["First Seen"],
      event.Count,
      event.Source,
    ],
    ["10s", "pod/web", "up", "60m", 4, "kubelet, n"],
  );
  const quota = cells("v1/ResourceQuota", {
    status: { hard: { pods: "10", "limits.cpu": "4" }, used: { pods: "3" } },
  });
  assertEquals([quota.Request, quota.Limit], ["pods: 3/10", "limits.cpu: 0/4"]);
});

Deno.test("workloads: readiness, selectors, durations", () => {
  const deployment = cells("apps/v1/Deployment", {
    spec: {
      replicas: 3,
      selector: { matchLabels: { app: "web" } },
      template: { spec: { containers: [{ name: "a", image: "i" }, { name: "b", image: "j" }] } },
    },
    status: { readyReplicas: 2, updatedReplicas: 1 },
  });
  assertEquals(
    [deployment.Ready, deployment["Up-to-date"], deployment.Available, deployment.Images],
    ["2/3", 1, 0, "i,j"],
  );
  assertEquals(deployment.Selector, "app=web");
  const job = cells("batch/v1/Job", {
    spec: { completions: 2 },
    status: {
      succeeded: 2,
      startTime: "2026-01-02T03:00:00Z",
      completionTime: "2026-01-02T03:01:05Z",
      conditions: [{ type: "Complete", status: "True" }],
    },
  });
  assertEquals([job.Status, job.Completions, job.Duration], ["Complete", "2/2", "65s"]);
  const cron = cells("batch/v1/CronJob", {
    spec: { schedule: "* * * * *", suspend: false },
    status: {},
  });
  assertEquals([cron.Timezone, cron.Suspend, cron.Active, cron["Last Schedule"]], [
    "<none>",
    "False",
    0,
    "<none>",
  ]);
});

Deno.test("fields: what selectors see", () => {
  const fields = kindOf("v1/Pod").fields!;
  const row: Obj = {
    metadata: { name: "p" },
    spec: { nodeName: "n", hostNetwork: true },
    status: { phase: "Running", podIPs: [{ ip: "1.2.3.4" }] },
  };
  assertEquals(Object.fromEntries(Object.entries(fields).map(([name, of]) => [name, of(row)])), {
    "spec.nodeName": "n",
    "spec.restartPolicy": "",
    "spec.schedulerName": "",
    "spec.serviceAccountName": "",
    "spec.hostNetwork": "true",
    "status.phase": "Running",
    "status.podIP": "1.2.3.4",
    "status.podIPs": "1.2.3.4",
    "status.nominatedNodeName": "",
  });
});
