/**
 * Who a container runs as and what it may do, as CRI has it. Pure; in upstream's defaults
 * (`pkg/kubelet/kuberuntime/security_context.go`, `pkg/securitycontext/util.go`).
 */
import type { DeepReadonly } from "../../../api/machinery/types.ts";
import type { ContainerOf, Pod, SecurityProfile } from "../types.ts";
import { type Cri, GROUPS_POLICY, NAMESPACE, PROFILE } from "./cri_messages.ts";
import { type ImageOwner, RuntimeError } from "./runtime.ts";

/** What a container does not see of /proc and /sys, unless its procMount is `Unmasked`. */
const MASKED_PATHS = [
  "/proc/asound",
  "/proc/acpi",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/sys/firmware",
  "/sys/devices/virtual/powercap",
];
const READ_ONLY_PATHS = [
  "/proc/bus",
  "/proc/fs",
  "/proc/irq",
  "/proc/sys",
  "/proc/sysrq-trigger",
];

/** Whose namespaces a pod's containers are in. */
export function namespacesOf({ spec }: Pod): Cri<"NamespaceOption"> {
  return {
    network: spec.hostNetwork ? NAMESPACE.NODE : NAMESPACE.POD,
    ipc: spec.hostIPC ? NAMESPACE.NODE : NAMESPACE.POD,
    pid: spec.hostPID
      ? NAMESPACE.NODE
      : spec.shareProcessNamespace
      ? NAMESPACE.POD
      : NAMESPACE.CONTAINER,
  };
}

/** The groups that a pod's processes are in beside their own. */
function groupsOf({ spec }: Pod): { groups: number[]; policy: number } {
  const { fsGroup, supplementalGroups = [], supplementalGroupsPolicy } = spec.securityContext ?? {};
  const groups = [...(fsGroup === undefined ? [] : [fsGroup]), ...supplementalGroups];
  const policy = supplementalGroupsPolicy === "Strict" ? GROUPS_POLICY.Strict : GROUPS_POLICY.Merge;
  return { groups, policy };
}

const wrap = (value: number | undefined) => value === undefined ? undefined : { value };

/** What the sandbox of a pod may do. */
export function sandboxSecurity(pod: Pod): Cri<"LinuxSandboxSecurityContext"> {
  const { groups, policy } = groupsOf(pod);
  const all = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  const { runAsUser, runAsGroup } = pod.spec.securityContext ?? {};
  return {
    namespaceOptions: namespacesOf(pod),
    privileged: all.some((c) => c.securityContext?.privileged),
    seccomp: { profileType: PROFILE.RuntimeDefault },
    runAsUser: wrap(runAsUser),
    runAsGroup: wrap(runAsGroup),
    supplementalGroups: groups,
    supplementalGroupsPolicy: policy,
  };
}

/** What a container may do. `target`: the container whose processes it sees. */
export function containerSecurity(
  pod: Pod,
  container: ContainerOf,
  options: { user?: ImageOwner; target?: string; profiles: string },
): Cri<"LinuxContainerSecurityContext"> {
  const { user = {}, target, profiles } = options;
  const all = pod.spec.securityContext, own = container.securityContext;
  const unmasked = own?.procMount === "Unmasked";
  const runAsUser = own?.runAsUser ?? all?.runAsUser;
  const namespaces = namespacesOf(pod);
  if (target && namespaces.pid === NAMESPACE.CONTAINER) {
    namespaces.pid = NAMESPACE.TARGET;
    namespaces.targetId = target;
  }
  const { groups, policy } = groupsOf(pod);
  const appArmor = own?.appArmorProfile ?? all?.appArmorProfile;
  return {
    namespaceOptions: namespaces,
    capabilities: own?.capabilities && {
      addCapabilities: [...own.capabilities.add ?? []],
      dropCapabilities: [...own.capabilities.drop ?? []],
    },
    privileged: own?.privileged ?? false,
    readonlyRootfs: own?.readOnlyRootFilesystem ?? false,
    noNewPrivs: own?.allowPrivilegeEscalation === false,
    runAsUser: wrap(runAsUser ?? user.uid),
    ...(runAsUser === undefined && user.name ? { runAsUsername: user.name } : {}),
    runAsGroup: wrap(own?.runAsGroup ?? all?.runAsGroup),
    supplementalGroups: groups,
    supplementalGroupsPolicy: policy,
    maskedPaths: unmasked ? [] : MASKED_PATHS,
    readonlyPaths: unmasked ? [] : READ_ONLY_PATHS,
    seccomp: profileOf(own?.seccompProfile ?? all?.seccompProfile, `${profiles}/`) ??
      { profileType: PROFILE.Unconfined },
    ...(appArmor ? { apparmor: profileOf(appArmor, "") } : {}),
  };
}

function profileOf(
  profile: DeepReadonly<SecurityProfile> | undefined,
  before: string,
): Cri<"SecurityProfile"> | undefined {
  if (!profile) return undefined;
  if (profile.type === "RuntimeDefault") return { profileType: PROFILE.RuntimeDefault };
  if (profile.type !== "Localhost") return { profileType: PROFILE.Unconfined };
  if (!profile.localhostProfile) {
    throw new RuntimeError(
      "CreateContainerConfigError",
      "localhostProfile must be set if seccompProfile type is Localhost.",
    );
  }
  return { profileType: PROFILE.Localhost, localhostRef: before + profile.localhostProfile };
}
