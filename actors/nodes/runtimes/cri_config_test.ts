import { assertEquals, assertThrows } from "@std/assert";
import type { ContainerOf, Pod, PodSpec } from "../types.ts";
import { cgroupOf, containerConfig, sandboxConfig } from "./cri_config.ts";
import { GROUPS_POLICY, NAMESPACE, PROFILE } from "./cri_messages.ts";
import { oomScoreOf, quotaOf, resourcesOf, sharesOf } from "./cri_resources.ts";
import { containerSecurity, namespacesOf } from "./cri_security.ts";
import { podLimits } from "./pod_cgroups.ts";
import { RuntimeError } from "./runtime.ts";

const GIB = 2 ** 30;

function podOf(spec: Partial<PodSpec>): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: "web",
      namespace: "ns",
      uid: "u-1",
      labels: { app: "web" },
      annotations: { a: "b" },
    },
    spec: { containers: [{ name: "c" }], ...spec },
  } as unknown as Pod;
}

const asking = (requests: object, limits: object = {}) =>
  podOf({ containers: [{ name: "c", resources: { requests, limits } as never }] });

Deno.test("sandboxConfig() names the pod as a kubelet does", () => {
  const pod = podOf({
    containers: [{ name: "c", ports: [{ containerPort: 80, hostPort: 8080, protocol: "UDP" }] }],
    securityContext: { sysctls: [{ name: "kernel.shm_rmid_forced", value: "1" }], fsGroup: 7 },
  });
  const resolv = "search a b\nnameserver 10.96.0.10\noptions ndots:5\n";
  const sandbox = { pod, ips: [], hostname: "web", hosts: "", resolv };
  const config = sandboxConfig(sandbox, { attempt: 2, logs: "/var/log/pods" });
  assertEquals(config.metadata, { name: "web", namespace: "ns", uid: "u-1", attempt: 2 });
  assertEquals(config.labels, {
    app: "web",
    "io.kubernetes.pod.name": "web",
    "io.kubernetes.pod.namespace": "ns",
    "io.kubernetes.pod.uid": "u-1",
  });
  assertEquals(config.annotations, { a: "b" });
  assertEquals(config.logDirectory, "/var/log/pods/ns_web_u-1");
  assertEquals(config.dnsConfig, {
    servers: ["10.96.0.10"],
    searches: ["a", "b"],
    options: ["ndots:5"],
  });
  assertEquals(config.portMappings, [{
    protocol: 1,
    containerPort: 80,
    hostPort: 8080,
    hostIp: "",
  }]);
  assertEquals(config.linux?.cgroupParent, "/kubepods/besteffort/podu-1");
  assertEquals(config.linux?.sysctls, { "kernel.shm_rmid_forced": "1" });
  assertEquals(config.linux?.securityContext?.supplementalGroups, [7]);
  const host = podOf({ hostNetwork: true });
  const shared = sandboxConfig({ ...sandbox, pod: host }, { attempt: 0, logs: "/l" });
  assertEquals([shared.hostname, shared.portMappings], [undefined, []]);
});

Deno.test("containerConfig() carries what labels and annotations tell the next life", () => {
  const container: ContainerOf = {
    name: "c",
    image: "nginx",
    terminationMessagePath: "/dev/termination-log",
    terminationMessagePolicy: "File",
    lifecycle: { stopSignal: "SIGUSR1" },
    tty: true,
  };
  const pod = podOf({ containers: [container as never], terminationGracePeriodSeconds: 9 });
  const config = containerConfig({
    sandbox: { pod, ips: [], hostname: "", hosts: "", resolv: "" },
    container,
    kind: "app",
    attempt: 3,
    env: new Map([["A", "1"]]),
    command: ["x"],
    mounts: [],
    imageId: "sha256:1",
  }, {
    mounts: [
      { hostPath: "/h", containerPath: "/c", readOnly: true, propagation: "Bidirectional" },
    ],
    profiles: "/p",
    machineBytes: GIB,
  });
  assertEquals(config.metadata, { name: "c", attempt: 3 });
  assertEquals(config.logPath, "c/3.log");
  assertEquals(config.stopSignal, 29);
  assertEquals(config.annotations, {
    "io.kubernetes.container.restartCount": "3",
    "io.kubernetes.container.terminationMessagePath": "/dev/termination-log",
    "io.kubernetes.container.terminationMessagePolicy": "File",
    "io.kubernetes.pod.terminationGracePeriod": "9",
  });
  assertEquals(config.mounts?.[0].propagation, 2);
  assertEquals(config.envs, [{ key: "A", value: "1" }]);
});

Deno.test("resourcesOf() gives shares, quotas and memory in the kernel's numbers", () => {
  const pod = asking({ cpu: "100m", memory: "1Gi" }, { cpu: "1500m", memory: "2Gi" });
  assertEquals(resourcesOf(pod, pod.spec.containers[0], 4 * GIB), {
    cpuShares: 102,
    cpuPeriod: 100_000,
    cpuQuota: 150_000,
    memoryLimitInBytes: 2 * GIB,
    oomScoreAdj: 750,
    hugepageLimits: [],
  });
  assertEquals([sharesOf(0), sharesOf(1), sharesOf(1e9)], [2, 2, 262_144]);
  assertEquals([quotaOf(0), quotaOf(1), quotaOf(2000)], [0, 1000, 200_000]);
  const huge = asking({}, { "hugepages-2Mi": "4Mi", "hugepages-1Gi": "1Gi" });
  assertEquals(resourcesOf(huge, huge.spec.containers[0], GIB).hugepageLimits, [
    { pageSize: "2MB", limit: 4 * 2 ** 20 },
    { pageSize: "1GB", limit: GIB },
  ]);
});

Deno.test("oomScoreOf() spares the guaranteed, and of the others who asked for more", () => {
  const score = (pod: Pod, i = 0) => oomScoreOf(pod, pod.spec.containers[i], 10 * GIB);
  assertEquals(score(podOf({})), 1000);
  const all = { cpu: "1", memory: "1Gi" };
  assertEquals(score(asking(all, all)), -997);
  assertEquals(score(asking({ memory: "1Gi" })), 900);
  assertEquals(score(asking({ cpu: "1" })), 999);
  assertEquals(score(asking({ memory: "10Gi" })), 3);
  assertEquals(score(podOf({ priorityClassName: "system-node-critical" })), -997);
  const side = {
    name: "s",
    restartPolicy: "Always",
    resources: { requests: { memory: "1Gi" } },
  };
  const app = { name: "c", resources: { requests: { memory: "5Gi" } } };
  const both = podOf({ initContainers: [side], containers: [app] });
  assertEquals(oomScoreOf(both, both.spec.initContainers![0], 10 * GIB), 500);
});

Deno.test("podLimits() bounds a pod only where every container has a bound", () => {
  const one = { name: "a", resources: { limits: { cpu: "1", memory: "1Gi" } } };
  const two = { name: "b", resources: { limits: { cpu: "500m" }, requests: { cpu: "200m" } } };
  const pod = podOf({ containers: [one, two], overhead: { cpu: "100m" } });
  assertEquals(podLimits(pod), { shares: sharesOf(1300), quotaUs: 160_000 });
  assertEquals(podLimits(podOf({})), { shares: 2 });
  const init = { name: "i", resources: { limits: { cpu: "3", memory: "2Gi" } } };
  assertEquals(podLimits(podOf({ containers: [one], initContainers: [init] })), {
    shares: sharesOf(3000),
    quotaUs: 300_000,
    memoryBytes: 2 * GIB,
  });
  assertEquals(cgroupOf(pod), "/kubepods/burstable/podu-1");
});

Deno.test("namespacesOf() and containerSecurity() read both security contexts", () => {
  assertEquals(namespacesOf(podOf({})), {
    network: NAMESPACE.POD,
    ipc: NAMESPACE.POD,
    pid: NAMESPACE.CONTAINER,
  });
  const host = podOf({ hostNetwork: true, hostPID: true, hostIPC: true });
  assertEquals(Object.values(namespacesOf(host)), [2, 2, 2]);
  assertEquals(namespacesOf(podOf({ shareProcessNamespace: true })).pid, NAMESPACE.POD);
  const pod = podOf({
    securityContext: { runAsUser: 1, supplementalGroupsPolicy: "Strict", fsGroup: 5 },
  });
  const own: ContainerOf = {
    name: "c",
    securityContext: {
      procMount: "Unmasked",
      allowPrivilegeEscalation: false,
      seccompProfile: { type: "Localhost", localhostProfile: "x.json" },
      appArmorProfile: { type: "RuntimeDefault" },
    },
  };
  const made = containerSecurity(pod, own, { user: { uid: 9 }, target: "id", profiles: "/s" });
  assertEquals(made.runAsUser, { value: 1 });
  assertEquals([made.maskedPaths, made.readonlyPaths, made.noNewPrivs], [[], [], true]);
  assertEquals(made.seccomp, { profileType: PROFILE.Localhost, localhostRef: "/s/x.json" });
  assertEquals(made.apparmor, { profileType: PROFILE.RuntimeDefault });
  assertEquals(made.namespaceOptions?.targetId, "id");
  assertEquals(made.supplementalGroupsPolicy, GROUPS_POLICY.Strict);
  const plain = containerSecurity(podOf({}), { name: "c" }, {
    user: { name: "web" },
    profiles: "/s",
  });
  assertEquals([plain.runAsUser, plain.runAsUsername], [undefined, "web"]);
  assertEquals(plain.seccomp, { profileType: PROFILE.Unconfined });
  const error = assertThrows(() =>
    containerSecurity(podOf({}), {
      name: "c",
      securityContext: { seccompProfile: { type: "Localhost" } },
    }, { profiles: "/s" }), RuntimeError);
  assertEquals(error.reason, "CreateContainerConfigError");
});
