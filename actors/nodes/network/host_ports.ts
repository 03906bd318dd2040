/** Ports of the machine that pods ask for: what leads from an address to a container. Pure. */
import type { DeepReadonly, KubeObject } from "../../../api/machinery/types.ts";
import { type Family, familyOf } from "./traffic.ts";

type Obj = DeepReadonly<KubeObject>;

/** Before the key of a pod, among the keys of services. */
export const POD_KEY = "pod/";

/** A port of the machine and where it leads. */
export interface HostPort {
  protocol: string;
  address: string;
  port: number;
  to: { ip: string; port: number };
}

/** Whether a pod asks for any. */
export function hasHostPorts(pod: Obj | undefined): boolean {
  return portsOf(pod).some(({ hostPort }) => hostPort);
}

interface ContainerPort {
  hostPort?: number;
  hostIP?: string;
  containerPort: number;
  protocol?: string;
}

function portsOf(pod: Obj | undefined): ContainerPort[] {
  // Init containers have their ports only while they go on as sidecars.
  const sidecars = (pod?.spec.initContainers ?? []).filter((container: Obj) =>
    container.restartPolicy === "Always"
  );
  return [...pod?.spec.containers ?? [], ...sidecars].flatMap(({ ports }) => ports ?? []);
}

/**
 * The ports of a pod of this machine, while it may run. One without `hostIP` is at the addresses that `addresses` gives
 * for its node.
 */
export function hostPortsOf(
  pod: Obj,
  family: Family,
  addresses: (node: string) => readonly string[],
): HostPort[] {
  const { spec, status } = pod;
  if (spec.hostNetwork || status?.phase === "Succeeded" || status?.phase === "Failed") return [];
  const ips: string[] = (status?.podIPs ?? []).map(({ ip }: { ip: string }) => ip);
  const ip = ips.find((each) => familyOf(each) === family);
  if (!ip || !spec.nodeName) return [];
  return portsOf(pod).flatMap(({ hostPort, hostIP, containerPort, protocol = "TCP" }) => {
    if (!hostPort) return [];
    const own = addresses(spec.nodeName);
    const everywhere = !hostIP || hostIP === "0.0.0.0" || hostIP === "::";
    const at = everywhere ? own : own.length > 0 ? [hostIP] : [];
    return at.filter((address) => familyOf(address) === family).map((address) => ({
      protocol,
      address,
      port: hostPort,
      to: { ip, port: containerPort },
    }));
  });
}
