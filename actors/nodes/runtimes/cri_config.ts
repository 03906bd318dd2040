/**
 * Pods and containers as CRI's configurations. Pure; names, labels and annotations are a kubelet's, so
 * that crictl and everything else that reads them shows pods as it does on any node
 * (`pkg/kubelet/kuberuntime/kuberuntime_sandbox.go`, `kuberuntime_container.go`, `labels.go`).
 */
import { parseResolv } from "../pod_files.ts";
import { qosClass } from "../pod_status.ts";
import type { ContainerOf, Pod } from "../types.ts";
import { type Cri, PROPAGATION, PROTOCOL, SIGNALS } from "./cri_messages.ts";
import { resourcesOf } from "./cri_resources.ts";
import { containerSecurity, sandboxSecurity } from "./cri_security.ts";
import type { ContainerSpec, ImageOwner, Mount, Sandbox } from "./runtime.ts";

export const POD_NAME = "io.kubernetes.pod.name";
export const POD_NAMESPACE = "io.kubernetes.pod.namespace";
export const POD_UID = "io.kubernetes.pod.uid";
export const CONTAINER_NAME = "io.kubernetes.container.name";
const CONTAINER = "io.kubernetes.container.";
export const RESTART_COUNT = `${CONTAINER}restartCount`;
export const MESSAGE_PATH = `${CONTAINER}terminationMessagePath`;
export const MESSAGE_POLICY = `${CONTAINER}terminationMessagePolicy`;

/** Where a pod's logs lie below the folder of all logs. */
export function logFolderOf(
  { name, namespace, uid }: { name: string; namespace?: string; uid: string },
): string {
  return `${namespace}_${name}_${uid}`;
}

/** Where the log of one start of a container lies below its pod's folder. */
export function logPathOf(container: string, attempt: number): string {
  return `${container}/${attempt}.log`;
}

/** The cgroup of a pod: below its class's, as a kubelet has it. */
export function cgroupOf(pod: Pod): string {
  const quality = qosClass(pod);
  const folder = quality === "Guaranteed" ? "/kubepods" : `/kubepods/${quality.toLowerCase()}`;
  return `${folder}/pod${pod.metadata.uid}`;
}

function podLabels({ metadata }: Pod): Record<string, string> {
  return {
    ...metadata.labels,
    [POD_NAME]: metadata.name,
    [POD_NAMESPACE]: metadata.namespace ?? "",
    [POD_UID]: metadata.uid,
  };
}

/** A sandbox's configuration. */
export function sandboxConfig(
  { pod, hostname, resolv }: Sandbox,
  options: { attempt: number; logs: string },
): Cri<"PodSandboxConfig"> {
  const { name, namespace, uid, annotations } = pod.metadata;
  const { spec } = pod;
  const sysctls: Record<string, string> = {};
  for (const { name, value } of spec.securityContext?.sysctls ?? []) sysctls[name] = value;
  return {
    metadata: { name, namespace, uid, attempt: options.attempt },
    labels: podLabels(pod),
    annotations: { ...annotations },
    ...(spec.hostNetwork ? {} : { hostname }),
    logDirectory: `${options.logs}/${logFolderOf(pod.metadata)}`,
    dnsConfig: parseResolv(resolv),
    portMappings: spec.hostNetwork ? [] : portMappings(pod),
    linux: {
      cgroupParent: cgroupOf(pod),
      securityContext: sandboxSecurity(pod),
      sysctls,
    },
  };
}

function portMappings({ spec }: Pod): Cri<"PortMapping">[] {
  const mappings: Cri<"PortMapping">[] = [];
  for (const { ports = [] } of spec.containers) {
    for (const { protocol = "TCP", containerPort, hostPort, hostIP } of ports) {
      mappings.push({
        protocol: PROTOCOL[protocol as keyof typeof PROTOCOL] ?? PROTOCOL.TCP,
        containerPort,
        hostPort: hostPort ?? 0,
        hostIp: hostIP ?? "",
      });
    }
  }
  return mappings;
}

/** What a container's configuration needs beside its spec. */
export interface ContainerOptions {
  mounts: readonly Mount[];
  user?: ImageOwner;
  /** The container whose processes it sees. */
  target?: string;
  /** The folder of seccomp profiles. */
  profiles: string;
  machineBytes: number;
}

/** A container's configuration. */
export function containerConfig(
  spec: ContainerSpec,
  options: ContainerOptions,
): Cri<"ContainerConfig"> {
  const { sandbox: { pod }, container, attempt } = spec;
  const signal = container.lifecycle?.stopSignal;
  return {
    metadata: { name: container.name, attempt },
    image: { image: spec.imageId || container.image, userSpecifiedImage: container.image },
    command: [...spec.command ?? []],
    args: [...spec.args ?? []],
    workingDir: container.workingDir ?? "",
    envs: [...spec.env].map(([key, value]) => ({ key, value })),
    mounts: options.mounts.map(mountOf),
    devices: (spec.devices ?? []).map((device) => ({ ...device })),
    labels: {
      [POD_NAME]: pod.metadata.name,
      [POD_NAMESPACE]: pod.metadata.namespace ?? "",
      [POD_UID]: pod.metadata.uid,
      [CONTAINER_NAME]: container.name,
    },
    annotations: containerAnnotations(pod, container, attempt),
    logPath: logPathOf(container.name, attempt),
    stdin: container.stdin ?? false,
    stdinOnce: container.stdinOnce ?? false,
    tty: container.tty ?? false,
    linux: {
      resources: resourcesOf(pod, container, options.machineBytes),
      securityContext: containerSecurity(pod, container, options),
    },
    ...(signal ? { stopSignal: SIGNALS.indexOf(signal as typeof SIGNALS[number]) } : {}),
  };
}

function containerAnnotations(pod: Pod, container: ContainerOf, attempt: number) {
  const { deletionGracePeriodSeconds } = pod.metadata;
  const { terminationGracePeriodSeconds } = pod.spec;
  const { terminationMessagePath, terminationMessagePolicy, lifecycle, ports } = container;
  const annotations: Record<string, string> = {
    [RESTART_COUNT]: String(attempt),
    [MESSAGE_PATH]: terminationMessagePath ?? "",
    [MESSAGE_POLICY]: terminationMessagePolicy ?? "",
  };
  if (deletionGracePeriodSeconds !== undefined) {
    annotations["io.kubernetes.pod.deletionGracePeriod"] = String(deletionGracePeriodSeconds);
  }
  if (terminationGracePeriodSeconds !== undefined) {
    annotations["io.kubernetes.pod.terminationGracePeriod"] = String(terminationGracePeriodSeconds);
  }
  if (lifecycle?.preStop) {
    annotations[`${CONTAINER}preStopHandler`] = JSON.stringify(lifecycle.preStop);
  }
  if (ports?.length) annotations[`${CONTAINER}ports`] = JSON.stringify(ports);
  return annotations;
}

function mountOf(mount: Mount): Cri<"Mount"> {
  return {
    containerPath: mount.containerPath,
    hostPath: mount.hostPath,
    readonly: mount.readOnly,
    ...(mount.image
      ? { image: { image: mount.image.reference }, imageSubPath: mount.image.subPath ?? "" }
      : {}),
    recursiveReadOnly: mount.recursiveReadOnly ?? false,
    propagation: mount.propagation === "HostToContainer"
      ? PROPAGATION.HOST_TO_CONTAINER
      : mount.propagation === "Bidirectional"
      ? PROPAGATION.BIDIRECTIONAL
      : PROPAGATION.PRIVATE,
  };
}
