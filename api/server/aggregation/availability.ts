/**
 * Whether a part of the API that another server serves can be had: first what the store tells of its Service
 * (pure), then whether it answers for its own discovery document. Reasons and texts are upstream's.
 */
import type { Clock } from "../../../kv/clock.ts";
import type { View } from "../../../kv/contract.ts";
import type { Outbound } from "../../client/outbound.ts";
import type { DeepReadonly, KubeObject } from "../../machinery/types.ts";
import { type Remote, remoteHeaders } from "./remote.ts";

/** What is known of a remote's availability. */
export interface Availability {
  status: "True" | "False";
  reason: string;
  message: string;
}

/** Longest wait for a discovery document, in ms: extension servers are to answer that at once. */
export const DISCOVERY_TIMEOUT_MS = 5_000;
/** How often a remote is asked before it counts as gone: its Service may have bad endpoints among good ones. */
export const ATTEMPTS_MAX = 5;
/** Who we are when we ask for ourselves. */
export const AGGREGATOR = { name: "system:kube-aggregator", groups: ["system:masters"] };

type Stored = DeepReadonly<KubeObject>;

const unavailable = (reason: string, message: string): Availability => ({
  status: "False",
  reason,
  message,
});

/** What is wrong with a remote's Service as the store tells it; undefined: nothing. */
export function missing(view: View<KubeObject>, remote: Remote): Availability | undefined {
  const { namespace, name, port } = remote.service;
  const said = `service/${name} in ${JSON.stringify(namespace)}`;
  const service = view.get(`/registry/services/specs/${namespace}/${name}`)?.value;
  if (!service) return unavailable("ServiceNotFound", `${said} is not present`);
  // Others have no cluster address: their endpoints are not told here
  if ((service.spec?.type ?? "ClusterIP") !== "ClusterIP") return undefined;
  const ports = (service.spec?.ports ?? []) as readonly { name?: string; port: number }[];
  const listed = ports.find((one) => one.port === port);
  if (!listed) return unavailable("ServicePortError", `${said} is not listening on port ${port}`);
  const slices: Stored[] = [];
  for (const { value } of view.scan(`/registry/endpointslices/${namespace}/`)) {
    if (value.metadata.labels?.["kubernetes.io/service-name"] === name) slices.push(value);
  }
  if (slices.length === 0) {
    return unavailable("EndpointsNotFound", `cannot find endpointslices for ${said}`);
  }
  const portName = listed.name ?? "";
  if (slices.some((slice) => hasAddress(slice, portName))) return undefined;
  return unavailable(
    "MissingEndpoints",
    `endpointslices for ${said} have no addresses with port name ${JSON.stringify(portName)}`,
  );
}

function hasAddress(slice: Stored, portName: string): boolean {
  const endpoints = (slice.endpoints ?? []) as readonly Stored[];
  if (!endpoints.some((one) => one.conditions?.ready !== false)) return false;
  const ports = (slice.ports ?? []) as readonly { name?: string; port?: number }[];
  return ports.some((one) => (one.name ?? "") === portName && one.port);
}

/** What a probe needs. */
export interface Probing {
  outbound: Outbound;
  clock: Clock;
}

/** Asks a remote for its discovery document: once, and if that fails as often again as is allowed, all at once. */
export async function probe({ outbound }: Probing, remote: Remote): Promise<Availability> {
  const first = await attempt(outbound, remote);
  if (!first) return { status: "True", reason: "Passed", message: "all checks passed" };
  const more: Promise<void>[] = [];
  for (let i = 1; i < ATTEMPTS_MAX; i++) {
    more.push(
      attempt(outbound, remote).then((error) => {
        if (error) throw new Error(error);
      }),
    );
  }
  try {
    await Promise.any(more);
    return { status: "True", reason: "Passed", message: "all checks passed" };
  } catch {
    return unavailable("FailedDiscoveryCheck", first);
  }
}

/** Undefined, or what is wrong. */
async function attempt(outbound: Outbound, remote: Remote): Promise<string | undefined> {
  const { namespace, name, port } = remote.service;
  const path = `/apis/${remote.group}/${remote.version}`;
  const url = `https://${name}.${namespace}.svc:${port}${path}`;
  try {
    const { status } = await outbound.send(await remote.endpoint(), {
      method: "GET",
      path,
      headers: remoteHeaders(AGGREGATOR),
      timeoutMs: DISCOVERY_TIMEOUT_MS,
    });
    if (status >= 200 && status < 300) return undefined;
    return `failing or missing response from ${url}: bad status from ${url}: ${status}`;
  } catch (error) {
    return `failing or missing response from ${url}: ${(error as Error).message}`;
  }
}
