/**
 * Validation of what clients ask of a running pod: logs, exec, attach, port-forward (upstream's
 * `ValidatePodLogOptions` and `LogLocation`, `streamLocation` in `pkg/registry/core/pod`).
 */

import type { Cause, DeepReadonly, KubeObject } from "../../machinery/types.ts";
import { isSet, Path, Report, ROOT } from "./report.ts";

/** Options of the log subresource, decoded. */
export interface PodLogOptions {
  container?: string;
  follow?: boolean;
  previous?: boolean;
  sinceSeconds?: number;
  sinceTime?: string;
  timestamps?: boolean;
  tailLines?: number;
  limitBytes?: number;
  insecureSkipTLSVerifyBackend?: boolean;
  stream?: string;
}

const STREAMS = ["All", "Stderr", "Stdout"];

/** Checks the options of a log request. */
export function validatePodLogOptions(options: PodLogOptions): Cause[] {
  const r = new Report();
  const { tailLines, limitBytes, sinceSeconds, sinceTime, stream } = options;
  if (isSet(tailLines) && tailLines! < 0) {
    r.invalid(new Path("tailLines"), tailLines, "must be greater than or equal to 0");
  }
  if (isSet(limitBytes) && limitBytes! < 1) {
    r.invalid(new Path("limitBytes"), limitBytes, "must be greater than 0");
  }
  if (isSet(sinceSeconds) && isSet(sinceTime)) {
    r.forbidden(ROOT, "at most one of `sinceTime` or `sinceSeconds` may be specified");
  } else if (isSet(sinceSeconds) && sinceSeconds! < 1) {
    r.invalid(new Path("sinceSeconds"), sinceSeconds, "must be greater than 0");
  }
  if (stream) {
    if (!STREAMS.includes(stream)) r.notSupported(new Path("stream"), stream, STREAMS);
    if (stream !== "All" && isSet(tailLines)) {
      r.forbidden(ROOT, "`tailLines` and specific `stream` are mutually exclusive for now");
    }
  }
  return r.causes;
}

type Stored = DeepReadonly<KubeObject>;

/** The container that a request means, or why none can be told: the text of a 400. */
export function chooseContainer(
  pod: Stored,
  wanted: string | undefined,
): { container: string } | { problem: string } {
  const spec = pod.spec ?? {};
  const names: string[] = [];
  for (const list of [spec.initContainers, spec.containers, spec.ephemeralContainers]) {
    for (const container of list ?? []) names.push(container.name);
  }
  const { name } = pod.metadata;
  if (wanted) {
    if (names.includes(wanted)) return { container: wanted };
    return { problem: `container ${wanted} is not valid for pod ${name}` };
  }
  const count = spec.containers?.length ?? 0;
  if (count === 1) return { container: spec.containers[0].name };
  const text = `a container name must be specified for pod ${name}`;
  return { problem: count === 0 ? text : `${text}, choose one of: [${names.join(" ")}]` };
}
