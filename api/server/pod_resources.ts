/**
 * `/metrics/resources`, kube-scheduler's page: what each pod asks for and may use at most, by node (upstream:
 * pkg/scheduler/metrics/resources). Some pods at a time, so that others have their turns.
 */
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";
import { podAmounts } from "../machinery/pod_resources.ts";
import type { Deps } from "./deps.ts";
import type { Reply } from "./http.ts";

/** Pods that are added up in one turn. */
const PODS_A_TURN = 128;
const PARTS = [
  ["requests", "kube_pod_resource_request", "What pods ask for"],
  ["limits", "kube_pod_resource_limit", "What pods may use at most"],
] as const;
/** Units of resources; others are counted, and those have none. */
const UNITS: readonly [pattern: RegExp, unit: string][] = [
  [/^cpu$/, "cores"],
  [/^(memory|storage|ephemeral-storage|hugepages-.*)$/, "bytes"],
  [/^attachable-volumes-/, "integer"],
];

/** The reply to a scrape. */
export function podResourcesReply(deps: Deps): Reply {
  return {
    status: 200,
    headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
    body: pieces(deps),
  };
}

async function* pieces({ database, turn }: Deps): AsyncGenerator<Uint8Array> {
  const view = database.objects.view();
  const encoder = new TextEncoder();
  for (const [part, name, help] of PARTS) {
    let text = `# HELP ${name} ${help}\n# TYPE ${name} gauge\n`;
    let pods = 0;
    for (const { value } of view.scan("/registry/pods/")) {
      for (const line of linesOf(value, part)) text += `${name}{${line}\n`;
      if (++pods % PODS_A_TURN !== 0) continue;
      yield encoder.encode(text);
      text = "";
      await turn();
    }
    yield encoder.encode(text);
  }
}

function* linesOf(
  { metadata, spec, status }: DeepReadonly<KubeObject>,
  part: "requests" | "limits",
): Generator<string> {
  const { nodeName = "", schedulerName = "", priority = "" } = spec;
  if (nodeName && (status?.phase === "Succeeded" || status?.phase === "Failed")) return;
  for (const [resource, amount] of podAmounts(spec, part)) {
    const value = amount.approximate();
    if (value === 0) continue;
    const unit = UNITS.find(([pattern]) => pattern.test(resource))?.[1] ?? "";
    yield `namespace="${metadata.namespace}",pod="${metadata.name}",node="${nodeName}",` +
      `scheduler="${schedulerName}",priority="${priority}",resource="${resource}",` +
      `unit="${unit}"} ${value}`;
  }
}
