/** PodResizeValidator: a pod that is on a node may grow as far as the node has room for it alone. */
import type { Quantity } from "../../machinery/quantity.ts";
import { ApiError, type Cause, type DeepReadonly, type KubeObject } from "../../machinery/types.ts";
import { isPod, refusal } from "../admission.ts";
import type { Admission, AdmissionPlugin } from "../contract.ts";
import { amounts, podAmounts } from "../../machinery/pod_resources.ts";

const OS = "kubernetes.io/os";

/** Upstream's PodResizeValidator. */
export const podResizeValidator: AdmissionPlugin = {
  name: "PodResizeValidator",
  handles: (a) => isPod(a, "resize") && a.operation === "UPDATE",
  validate(a) {
    const nodeName: string = a.object!.spec?.nodeName ?? "";
    if (!nodeName || a.object!.metadata.generation === a.old!.metadata.generation) return;
    const node = a.view.get(`/registry/minions/${nodeName}`)?.value;
    if (!node) throw refusal(a, `node ${JSON.stringify(nodeName)} not found`);
    const os = node.metadata.labels?.[OS] ?? "linux";
    if (os !== "linux") {
      const why = `pod resize is only supported on linux nodes, node "${nodeName}" is "${os}"`;
      throw because(a, why, "UnsupportedPlatform");
    }
    const lacking = lackingOn(node, a.object!.spec);
    if (lacking.length === 0) return;
    const why = `node didn't have enough allocatable resources: ${lacking.join("; ")}`;
    throw because(a, why, "NodeCapacity");
  },
};

function because(a: Admission, why: string, reason: string): ApiError {
  const { status } = refusal(a, why);
  return new ApiError({ ...status, details: { ...status.details, causes: [{ reason } as Cause] } });
}

/** What a node could not give a pod even if it had no other. */
function lackingOn(node: DeepReadonly<KubeObject>, spec: unknown): string[] {
  const wanted = podAmounts(spec, "requests");
  const there = amounts(node.status?.allocatable);
  const rows: [string, (amount: Quantity | undefined) => number][] = [
    ["cpu", (amount) => amount?.milliValue() ?? 0],
    ["memory", (amount) => amount?.value() ?? 0],
  ];
  return rows.flatMap(([name, shown]) => {
    const [requested, allocatable] = [wanted.get(name), there.get(name)];
    if (!requested || (allocatable && requested.compare(allocatable) <= 0)) return [];
    if (!allocatable && shown(requested) === 0) return [];
    return [`${name}, requested: ${shown(requested)}, allocatable: ${shown(allocatable)}`];
  });
}
