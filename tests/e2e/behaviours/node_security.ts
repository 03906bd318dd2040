/** Node: who a container is, and what it may do. */
import { assertEquals, assertMatch } from "@std/assert";
import { IMAGES } from "../containerd.ts";
import { type Behaviour, type Manifest, NO_ROOT } from "./behaviour.ts";
import { modes, type Program, STAY, tries, WHO } from "./programs.ts";

const DENO_LIMITS = "what it may do is bounded by Deno's permissions, not by the kernel's";
const SHARED = "its processes share the machine's namespaces";
const ONE_IMAGE = "its image has no user";

const pod = (securityContext: Manifest) => ({ spec: { securityContext } });
const container = (securityContext: Manifest) => ({ container: { securityContext } });
const status = (name: string) => `grep ${name}: /proc/self/status`;

const USERS: readonly Behaviour[] = [
  {
    name: "Security Context should run the container with uid 65534",
    not: { isolate: NO_ROOT },
    pod: { run: WHO, ...container({ runAsUser: 65534 }) },
    log: "65534 0\n",
  },
  {
    name: "Security Context should run the container with uid 0",
    not: { isolate: NO_ROOT },
    pod: { run: WHO, ...container({ runAsUser: 0 }) },
    log: "0 0\n",
  },
  {
    name: "Security Context should support pod.Spec.SecurityContext.RunAsUser And RunAsGroup",
    not: { isolate: NO_ROOT },
    pod: { run: WHO, ...pod({ runAsUser: 1001, runAsGroup: 2002 }) },
    log: "1001 2002\n",
  },
  {
    name:
      "Security Context should support container.SecurityContext.RunAsUser And RunAsGroup before the pod's",
    not: { isolate: NO_ROOT },
    pod: {
      run: WHO,
      ...pod({ runAsUser: 1001, runAsGroup: 2002 }),
      ...container({ runAsUser: 1003, runAsGroup: 2004 }),
    },
    log: "1003 2004\n",
  },
  {
    name: "Security Context should run with an image specified user ID, or the user that it names",
    not: { isolate: ONE_IMAGE },
    pod: { run: WHO, container: { image: IMAGES.numbered }, ...pod({ runAsNonRoot: true }) },
    log: "101 101\n",
    then: async (scene) => {
      await scene.once("q", { run: WHO, container: { image: IMAGES.named } });
      assertEquals(await scene.logs("q"), "101 101\n");
    },
  },
  {
    name:
      "Security Context When creating a pod with SupplementalGroups should add them to the process",
    not: { isolate: "a process here cannot ask for its groups" },
    pod: {
      run: "id -G",
      ...pod({ runAsUser: 1000, runAsGroup: 3000, supplementalGroups: [4000], fsGroup: 2000 }),
    },
    log: /^3000 (2000 4000|4000 2000)\n$/,
  },
  {
    name:
      "Security Context SupplementalGroupsPolicy should be Merge with the image's groups, or Strict",
    not: { isolate: ONE_IMAGE },
    pod: {
      run: "id -G",
      container: { image: IMAGES.numbered },
      ...pod({ supplementalGroups: [4000], supplementalGroupsPolicy: "Merge" }),
    },
    log: /50000/,
    then: async (scene) => {
      await scene.pod("q", {
        run: "id -G",
        container: { image: IMAGES.numbered },
        spec: {
          restartPolicy: "Never",
          securityContext: { supplementalGroups: [4000], supplementalGroupsPolicy: "Strict" },
        },
      });
      const ended = await scene.is(
        "Pod",
        "q",
        ({ status }) => ["Succeeded", "Failed"].includes(status?.phase) && status,
      );
      // A containerd before 2.0 cannot do it, and says so.
      if (ended.reason === "SupplementalGroupsPolicyNotSupported") return;
      assertEquals(await scene.logs("q"), "101 4000\n");
    },
  },
  {
    name: "Security Context with runAsNonRoot should run with an explicit non-root user ID",
    not: { isolate: NO_ROOT },
    pod: { run: WHO, ...container({ runAsNonRoot: true, runAsUser: 1234 }) },
    log: "1234 0\n",
  },
  {
    name: "Security Context with runAsNonRoot should not run with an explicit root user ID",
    pod: { run: STAY, ...container({ runAsNonRoot: true, runAsUser: 0 }) },
    then: async (scene) => {
      const { message } = await scene.waiting("p", /^CreateContainerConfigError$/);
      assertMatch(
        message,
        /^container's runAsUser breaks non-root policy \(pod: "p_b-\d+\(.*\)", container: c\)$/,
      );
    },
  },
  {
    name: "Security Context with runAsNonRoot should not run without a specified user ID",
    not: { isolate: ONE_IMAGE },
    pod: { run: STAY, ...pod({ runAsNonRoot: true }) },
    then: async (scene) => {
      const { message } = await scene.waiting("p", /^CreateContainerConfigError$/);
      assertMatch(message, /^container has runAsNonRoot and image will run as root \(pod: /);
      await scene.pod("q", {
        run: STAY,
        container: { image: IMAGES.named },
        ...pod({ runAsNonRoot: true }),
      });
      const named = await scene.waiting("q", /^CreateContainerConfigError$/);
      assertMatch(named.message, /image has non-numeric user \(web\), cannot verify/);
    },
  },
  {
    name: "Security Context should give a volume's files to fsGroup",
    not: { isolate: NO_ROOT },
    pod: {
      run: modes("/v"),
      container: { volumeMounts: [{ name: "v", mountPath: "/v" }] },
      spec: {
        securityContext: { runAsUser: 1000, fsGroup: 2000 },
        volumes: [{ name: "v", emptyDir: {} }],
      },
    },
    log: "/v 2777 0 2000\n",
  },
];

const RIGHTS: readonly Behaviour[] = [
  {
    name:
      "Security Context should run the container with readonly rootfs when readOnlyRootFilesystem=true",
    pod: { run: tries("/file"), ...container({ readOnlyRootFilesystem: true }) },
    log: "refused\n",
  },
  {
    name:
      "Security Context should run the container with writable rootfs when readOnlyRootFilesystem=false",
    pod: { run: tries("/file"), ...container({ readOnlyRootFilesystem: false }) },
    log: "ok\n",
  },
  {
    name: "Security Context should write to volumes of a container with readonly rootfs",
    pod: {
      run: tries("/v/file"),
      container: {
        securityContext: { readOnlyRootFilesystem: true },
        volumeMounts: [{ name: "v", mountPath: "/v" }],
      },
      spec: { volumes: [{ name: "v", emptyDir: {} }] },
    },
    log: "ok\n",
  },
  {
    name:
      "Security Context should run the container as unprivileged when false, as privileged when true",
    not: { isolate: DENO_LIMITS },
    pod: { run: "mount -t tmpfs none /tmp 2>&1", ...container({ privileged: false }) },
    ends: "Failed",
    then: async (scene) => {
      const run = "mount -t tmpfs none /tmp && echo mounted";
      await scene.once("q", { run, ...container({ privileged: true }) });
      assertEquals(await scene.logs("q"), "mounted\n");
    },
  },
  {
    name: "Security Context should let a privileged container run commands, and no other",
    not: { containerd: "its containers run what is in their images" },
    pod: {
      run: runs(),
      ...container({ privileged: true }),
    },
    log: "ok\n",
    then: async (scene) => {
      await scene.once("q", { run: runs() });
      assertEquals(await scene.logs("q"), "NotCapable\n");
    },
  },
  {
    name: "Security Context should not let a container see the machine's files and processes",
    pod: {
      run: {
        sh:
          "cat /proc/[0-9]*/cmdline | grep -c '[c]ontainerd'; cat /etc/shadow 2>&1 | grep -c root",
        ts: `say(tried(() => read("/proc/1/environ")) === "ok" ? 1 : 0);
          say(tried(() => read("/etc/shadow")) === "ok" ? 1 : 0)`,
      },
      spec: { restartPolicy: "Never" },
    },
    then: async (scene) => {
      await scene.is("Pod", "p", (pod) => ["Succeeded", "Failed"].includes(pod.status?.phase));
      assertEquals(await scene.logs("p"), "0\n0\n");
    },
  },
  {
    name: "Security Context should not allow privilege escalation when false",
    not: { isolate: DENO_LIMITS },
    pod: { run: status("NoNewPrivs"), ...container({ allowPrivilegeEscalation: false }) },
    log: "NoNewPrivs:\t1\n",
  },
  {
    name:
      "Security Context should allow privilege escalation when true, and when not explicitly set",
    not: { isolate: DENO_LIMITS },
    pod: { run: status("NoNewPrivs"), ...container({ runAsUser: 1000 }) },
    log: "NoNewPrivs:\t0\n",
  },
  {
    name: "Security Context should drop and add capabilities",
    not: { isolate: DENO_LIMITS },
    pod: {
      run: status("CapEff"),
      ...container({ capabilities: { drop: ["ALL"], add: ["NET_ADMIN"] } }),
    },
    log: "CapEff:\t0000000000001000\n",
  },
  {
    name:
      "Security Context should support seccomp unconfined on the container and runtime/default on the pod",
    not: { isolate: DENO_LIMITS },
    pod: { run: status("Seccomp"), ...pod({ seccompProfile: { type: "RuntimeDefault" } }) },
    log: "Seccomp:\t2\n",
    then: async (scene) => {
      await scene.once("q", {
        run: status("Seccomp"),
        ...container({ seccompProfile: { type: "Unconfined" } }),
        ...pod({ seccompProfile: { type: "RuntimeDefault" } }),
      });
      assertEquals(await scene.logs("q"), "Seccomp:\t0\n");
    },
  },
  {
    name: "Sysctls should support sysctls",
    not: { isolate: SHARED },
    pod: {
      run: "cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
      ...pod({ sysctls: [{ name: "net.ipv4.ip_unprivileged_port_start", value: "81" }] }),
    },
    log: "81\n",
  },
  {
    name: "Sysctls should not launch unsafe, but not explicitly enabled sysctls on the node",
    pod: { run: STAY, ...pod({ sysctls: [{ name: "kernel.msgmax", value: "1000" }] }) },
    then: async (scene) => {
      const { status } = await scene.phase("p", "Failed");
      assertEquals(status.reason, "SysctlForbidden");
    },
  },
  {
    name:
      "Pods should have processes of their own, share them by shareProcessNamespace, or see the machine's",
    not: { isolate: SHARED },
    pod: { run: "ps", spec: { shareProcessNamespace: true } },
    log: /sleep 100000/,
    then: async (scene) => {
      await scene.once("own", { run: "ps" });
      assertEquals((await scene.logs("own")).match(/ps$/gm)?.length, 1);
      assertEquals(/containerd/.test(await scene.logs("own")), false);
      await scene.once("host", { run: "ps", spec: { hostPID: true } });
      assertMatch(await scene.logs("host"), /containerd/);
    },
  },
];

/** Whether it may run a command. */
function runs(): Program {
  return { ts: `say(tried(() => new Deno.Command("deno", { args: ["-V"] }).outputSync()))` };
}

export const SECURITY: readonly Behaviour[] = [...USERS, ...RIGHTS];
