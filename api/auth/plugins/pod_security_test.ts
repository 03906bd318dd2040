import { assertEquals } from "@std/assert";
import { admission, admit, messageOf, namespace, State, stored } from "../state_fixture.ts";
import { AdmissionMetrics } from "../admission_metrics.ts";
import { podSecurity } from "./pod_security.ts";
import { type Level, violations } from "./pod_security_checks.ts";

// deno-lint-ignore no-explicit-any -- specs of pods
type Any = any;

const GOOD: Any = {
  securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
  containers: [{
    name: "c",
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
  }],
};

const container = (securityContext: Any, more: Any = {}) => ({
  containers: [{ name: "a", securityContext, ...more }],
});

function text(level: Level, minor: number, spec: Any, metadata: Any = {}): string {
  return violations({ level, minor }, spec, metadata)
    .map(({ reason, detail }) => `${reason} (${detail})`).join(", ");
}

Deno.test("violations() names what baseline forbids", async (t) => {
  const cases: [string, Any, string][] = [
    ["nothing", container({}), ""],
    [
      "privileged",
      container({ privileged: true }),
      'privileged (container "a" must not set securityContext.privileged=true)',
    ],
    [
      "host namespaces",
      { hostNetwork: true, hostIPC: true, containers: [] },
      "host namespaces (hostNetwork=true, hostIPC=true)",
    ],
    [
      "capabilities",
      container({ capabilities: { add: ["SYS_ADMIN", "CHOWN", "NET_RAW"] } }),
      'non-default capabilities (container "a" must not include "NET_RAW", "SYS_ADMIN" in ' +
      "securityContext.capabilities.add)",
    ],
    [
      "host ports of two",
      {
        initContainers: [{ name: "i", ports: [{ hostPort: 80 }] }],
        containers: [{ name: "a", ports: [{ hostPort: 8080 }, { containerPort: 1 }] }],
      },
      'hostPort (containers "i", "a" use hostPorts 80, 8080)',
    ],
    [
      "host paths",
      { containers: [], volumes: [{ name: "v", hostPath: { path: "/" } }] },
      'hostPath volumes (volume "v")',
    ],
    [
      "seLinux",
      { securityContext: { seLinuxOptions: { type: "spc_t", user: "u" } }, containers: [] },
      'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "spc_t"; user may ' +
      "not be set)",
    ],
    [
      "sysctls",
      { securityContext: { sysctls: [{ name: "kernel.msgmax" }] }, containers: [] },
      "forbidden sysctls (kernel.msgmax)",
    ],
    [
      "seccomp",
      container({ seccompProfile: { type: "Unconfined" } }),
      'seccompProfile (container "a" must not set securityContext.seccompProfile.type to ' +
      '"Unconfined")',
    ],
    [
      "probe hosts",
      container({}, { livenessProbe: { httpGet: { host: "1.1.1.1" } } }),
      'probe or lifecycle host (container "a" uses probe or lifecycle host "1.1.1.1")',
    ],
    [
      "procMount",
      container({ procMount: "Unmasked" }),
      'procMount (container "a" must not set securityContext.procMount to "Unmasked")',
    ],
  ];
  for (const [name, spec, expected] of cases) {
    await t.step(name, () => assertEquals(text("baseline", Infinity, spec), expected));
  }
  const annotations = { "container.apparmor.security.beta.kubernetes.io/a": "unconfined" };
  assertEquals(
    text("baseline", Infinity, container({}), { annotations }),
    "forbidden AppArmor profile (annotation must not set AppArmor profile type to " +
      '"container.apparmor.security.beta.kubernetes.io/a="unconfined"")',
  );
});

Deno.test("violations() asks of restricted pods what they must say", () => {
  assertEquals(text("restricted", Infinity, GOOD), "");
  assertEquals(
    text("restricted", Infinity, { containers: [{ name: "a" }] }),
    'allowPrivilegeEscalation != false (container "a" must set ' +
      "securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container " +
      '"a" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or ' +
      'container "a" must set securityContext.runAsNonRoot=true), seccompProfile (pod or ' +
      'container "a" must set securityContext.seccompProfile.type to "RuntimeDefault" or ' +
      '"Localhost")',
  );
  const nfs = { ...GOOD, volumes: [{ name: "v", nfs: {} }] };
  assertEquals(
    text("restricted", Infinity, nfs),
    'restricted volume types (volume "v" uses restricted volume type "nfs")',
  );
});

Deno.test("violations() judges by the version that is asked for", () => {
  const sysctl = {
    securityContext: { sysctls: [{ name: "net.ipv4.tcp_rmem" }] },
    containers: [],
  };
  assertEquals(text("baseline", 31, sysctl), "forbidden sysctls (net.ipv4.tcp_rmem)");
  assertEquals(text("baseline", 32, sysctl), "");
  const windows = { ...GOOD, os: { name: "windows" }, containers: [{ name: "a" }] };
  assertEquals(text("restricted", 24, windows).includes("allowPrivilegeEscalation"), true);
  assertEquals(text("restricted", 25, windows).includes("allowPrivilegeEscalation"), false);
  const mapped = {
    ...GOOD,
    hostUsers: false,
    securityContext: { ...GOOD.securityContext, runAsUser: 0 },
  };
  assertEquals(text("restricted", 34, mapped), "runAsUser=0 (pod must not set runAsUser=0)");
  assertEquals(text("restricted", 35, mapped), "");
});

function setup(labels: Record<string, string>) {
  const state = new State();
  const prefixed = Object.fromEntries(
    Object.entries(labels).map(([k, v]) => [`pod-security.kubernetes.io/${k}`, v]),
  );
  state.put("/registry/namespaces/ns", namespace("ns", { labels: prefixed }));
  return state;
}

async function judge(state: State, resource: string, object: Any, more: Any = {}) {
  const [plural, group = ""] = resource.split(".");
  const a = admission(state, { resource: plural, group, namespace: "ns", object, ...more });
  const message = await messageOf(() => admit(podSecurity(), a, state));
  return { message, warnings: a.warnings, annotations: a.annotations };
}

const bad: Any = {
  metadata: { name: "web" },
  spec: { hostNetwork: true, containers: [{ name: "a" }] },
};

Deno.test("podSecurity() enforces, warns and annotates by the namespace's labels", async () => {
  const silent = await judge(setup({}), "pods", bad);
  assertEquals(silent, { message: "", warnings: [], annotations: {} });
  const enforced = await judge(setup({ enforce: "baseline" }), "pods", bad);
  assertEquals(
    enforced.message,
    'pods "web" is forbidden: violates PodSecurity "baseline:latest": host namespaces ' +
      "(hostNetwork=true)",
  );
  const warned = await judge(setup({ warn: "baseline", "warn-version": "v1.20" }), "pods", bad);
  assertEquals(warned.message, "");
  assertEquals(warned.warnings, [
    'would violate PodSecurity "baseline:v1.20": host namespaces (hostNetwork=true)',
  ]);
  const audited = await judge(setup({ audit: "baseline" }), "pods", bad);
  assertEquals(audited.annotations, {
    "pod-security.kubernetes.io/enforce-policy": "privileged:latest",
    "pod-security.kubernetes.io/audit-violations":
      'would violate PodSecurity "baseline:latest": host namespaces (hostNetwork=true)',
  });
  const broken = await judge(setup({ enforce: "nonsense" }), "pods", bad);
  assertEquals(
    broken.message.startsWith('pods "web" is forbidden: violates PodSecurity "restricted'),
    true,
  );
});

Deno.test("podSecurity() only warns of controllers, and lets pods change what does not matter", async () => {
  const state = setup({ enforce: "baseline" });
  const deployment = { metadata: { name: "d" }, spec: { template: bad } };
  const created = await judge(state, "deployments.apps", deployment);
  assertEquals(created.message, "");
  assertEquals(created.warnings, [
    'would violate PodSecurity "baseline:latest": host namespaces (hostNetwork=true)',
  ]);
  const labelled = { ...bad, metadata: { name: "web", labels: { a: "b" } } };
  const update = { operation: "UPDATE", old: bad };
  assertEquals((await judge(state, "pods", labelled, update)).message, "");
  const image = { ...bad, spec: { ...bad.spec, containers: [{ name: "a", image: "new" }] } };
  assertEquals((await judge(state, "pods", image, update)).message !== "", true);
  assertEquals((await judge(state, "pods", bad, { subresource: "status" })).message, "");
});

Deno.test("podSecurity() checks labels of namespaces and the pods a new level would refuse", async () => {
  const state = setup({});
  const labels = (more: Record<string, string>): Any => ({
    metadata: {
      name: "ns",
      labels: Object.fromEntries(
        Object.entries(more).map(([k, v]) => [`pod-security.kubernetes.io/${k}`, v]),
      ),
    },
  });
  const wrong = await judge(state, "namespaces", labels({ enforce: "x", "warn-version": "1" }));
  assertEquals(
    wrong.message,
    'Namespace "ns" is invalid: [metadata.labels[pod-security.kubernetes.io/enforce]: Invalid ' +
      'value: "x": must be one of privileged, baseline, restricted, ' +
      "metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: " +
      '"1": must be "latest" or "v1.x"]',
  );
  for (const name of ["b", "a", "c"]) {
    state.put(`/registry/pods/ns/${name}`, stored({ ...bad, metadata: { name } }));
  }
  const raised = await judge(state, "namespaces", labels({ enforce: "baseline" }), {
    operation: "UPDATE",
    old: labels({}),
  });
  assertEquals(raised.warnings, [
    'existing pods in namespace "ns" violate the new PodSecurity enforce level "baseline:latest"',
    "a (and 2 other pods): host namespaces",
  ]);
});

Deno.test("PodSecurity counts what it judges, and what is exempt", async () => {
  const state = new State();
  const metrics = new AdmissionMetrics();
  const plugin = podSecurity({ exemptions: { usernames: ["root"] } }, metrics);
  const prefix = "pod-security.kubernetes.io/";
  state.put("/registry/namespaces/plain", namespace("plain"));
  state.put(
    "/registry/namespaces/strict",
    namespace("strict", {
      labels: {
        [`${prefix}enforce`]: "baseline",
        [`${prefix}enforce-version`]: "v1.30",
        [`${prefix}audit`]: "restricted",
        [`${prefix}audit-version`]: "v1.99",
        [`${prefix}warn`]: "restricted",
      },
    }),
  );
  const write = async (space: string, spec: Any, more: Any = {}) =>
    await messageOf(() => {
      const object = stored({ metadata: { name: "p", namespace: space }, spec });
      const given = { resource: "pods", namespace: space, object, ...more };
      return admit(plugin, admission(state, given), state);
    });
  await write("plain", {});
  await write("strict", GOOD);
  await write("strict", container({ privileged: true }));
  await write("strict", container({}));
  await write("strict", container({ privileged: true }), { user: { name: "root", groups: [] } });
  await write("strict", {}, { resource: "deployments", group: "apps" });
  const lines = metrics.text().split("\n").filter((line) => line.startsWith("pod_security_"));
  const of = (decision: string, mode: string, level: string, version: string) =>
    `pod_security_evaluations_total{decision="${decision}",mode="${mode}",policy_level="${level}",` +
    `policy_version="${version}",request_operation="create",resource="pod",subresource=""}`;
  assertEquals(lines.sort(), [
    `${of("allow", "enforce", "baseline", "v1.30")} 2`,
    `${of("allow", "enforce", "privileged", "latest")} 1`,
    `${of("deny", "audit", "restricted", "future")} 2`,
    `${of("deny", "enforce", "baseline", "v1.30")} 1`,
    `${of("deny", "warn", "restricted", "latest")} 1`,
    'pod_security_exemptions_total{request_operation="create",resource="pod",subresource=""} 1',
  ]);
});
