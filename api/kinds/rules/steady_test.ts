import { assertEquals } from "@std/assert";
import { create, kindOf, podWith, update } from "./fixture.ts";

// deno-lint-ignore no-explicit-any -- tests write objects as they come
type Obj = any;

const template = {
  metadata: { labels: { app: "web" } },
  spec: { containers: [{ name: "c", image: "nginx:1" }] },
};
const selector = { matchLabels: { app: "web" } };
const workload = { spec: { selector, template } };
const claim = {
  spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
};
const ended = { spec: { ...template.spec, restartPolicy: "Never" } };
const scaleTargetRef = { apiVersion: "apps/v1", kind: "Deployment", name: "web" };

const OBJECTS: Record<string, Obj> = {
  "v1/Pod": podWith((pod) => pod.spec.volumes = [{ name: "v", configMap: { name: "c" } }]),
  "v1/PodTemplate": { template },
  "v1/ReplicationController": { spec: { template } },
  "v1/Service": { spec: { ports: [{ port: 80 }], type: "LoadBalancer" } },
  "v1/Endpoints": { subsets: [{ addresses: [{ ip: "10.0.0.1" }], ports: [{ port: 1 }] }] },
  "v1/Namespace": {},
  "v1/Node": { status: { capacity: { cpu: "1" } } },
  "v1/PersistentVolume": {
    spec: {
      capacity: { storage: "1Gi" },
      accessModes: ["ReadWriteOnce"],
      hostPath: { path: "/x" },
    },
  },
  "v1/PersistentVolumeClaim": claim,
  "v1/ConfigMap": { data: { a: "b" } },
  "v1/Secret": { stringData: { a: "b" } },
  "v1/ServiceAccount": {},
  "v1/ResourceQuota": { spec: { hard: { pods: "1" } } },
  "v1/LimitRange": { spec: { limits: [{ type: "Container", max: { cpu: "1" } }] } },
  "apps/v1/Deployment": workload,
  "apps/v1/ReplicaSet": workload,
  "apps/v1/DaemonSet": workload,
  "apps/v1/StatefulSet": {
    spec: {
      ...workload.spec,
      serviceName: "web",
      volumeClaimTemplates: [{ ...claim, metadata: { name: "v" } }],
    },
  },
  "batch/v1/Job": { spec: { template: ended } },
  "batch/v1/CronJob": {
    spec: { schedule: "* * * * *", jobTemplate: { spec: { template: ended } } },
  },
  "autoscaling/v1/HorizontalPodAutoscaler": { spec: { maxReplicas: 2, scaleTargetRef } },
  "autoscaling/v2/HorizontalPodAutoscaler": { spec: { maxReplicas: 2, scaleTargetRef } },
  "policy/v1/PodDisruptionBudget": { spec: { minAvailable: 1, selector } },
  "networking.k8s.io/v1/Ingress": {
    spec: { defaultBackend: { service: { name: "web", port: { number: 80 } } } },
  },
  "networking.k8s.io/v1/NetworkPolicy": { spec: { podSelector: selector } },
  "storage.k8s.io/v1/StorageClass": { provisioner: "example.com/x" },
  "storage.k8s.io/v1/CSIDriver": { spec: {} },
  "scheduling.k8s.io/v1/PriorityClass": { value: 1 },
  "discovery.k8s.io/v1/EndpointSlice": {
    addressType: "IPv4",
    endpoints: [{ addresses: ["10.0.0.1"] }],
    ports: [{ port: 80 }],
  },
  "coordination.k8s.io/v1/Lease": { spec: { holderIdentity: "a" } },
};

Deno.test("writing back what is stored changes nothing and is always allowed", async (t) => {
  for (const [name, rest] of Object.entries(OBJECTS)) {
    await t.step(name, () => {
      const { object, problems } = create(name, { metadata: { name: "web" }, ...rest });
      assertEquals(problems, []);
      const hasStatus = kindOf(name).subresources.some((sub) => sub.name === "status");
      for (const subresource of hasStatus ? ["", "status"] : [""]) {
        const again = update(name, object, () => {}, subresource);
        assertEquals(again.problems, []);
        assertEquals(again.object, object);
      }
    });
  }
});
